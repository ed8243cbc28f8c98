/** Putting tensors together, repeating them, and keeping triangles of matrices. */
import { promoteTypes } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, normalizeAxis, shapesEqual, sizeOf } from '../graph/layout.js';
import type { Expr } from '../ir/expr.js';
import { apply1, readSync } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { add, eq, ge, le, mul } from './binary.js';
import { cast } from './cast.js';
import { primitive } from './define.js';
import { hostConstant } from './fill.js';
import { indexSelect } from './gather.js';
import { iota, iotaAlong } from './iota.js';
import { pad } from './pad.js';
import { sum } from './reduce.js';
import { unravel, vectorLoop } from './statements.js';
import { where } from './ternary.js';
import { expand, reshape, unsqueeze } from './view.js';
import { diagonal, narrow } from './view-slice.js';

type AxisAttrs = { readonly axis: number };

/** Any number of inputs, one behind the other along the axis; a part of the kernel for each. */
const concatPrimitive = primitive<AxisAttrs>({
  name: 'concat',
  infer(inputs, { axis }) {
    const [first] = inputs;
    let total = 0;
    for (const { dtype, shape } of inputs) {
      if (
        dtype !== first.dtype ||
        shape.length !== first.shape.length ||
        shape.some((extent, i) => i !== axis && extent !== first.shape[i])
      ) {
        throw new ShapeError(`${first.dtype} ${formatShape(first.shape)} and ${dtype} ${formatShape(shape)} do not line up`, {
          op: 'concat',
          received: inputs.map((i) => i.shape),
          expected: `one dtype, and equal extents except along axis ${axis}`,
        });
      }
      total += shape[axis];
    }
    return [{ dtype: first.dtype, shape: first.shape.with(axis, total) }];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { axis }) {
      const { b } = ctx;
      let start = 0;
      return ctx.inputs.flatMap(({ shape }, k) => {
        const offset = start;
        start += shape[axis];
        if (sizeOf(shape) === 0) return [];
        const last = shape.length - 1;
        const lead = shape.slice(0, -1);
        const cell = b.loopVar('row');
        const column = b.loopVar('j');
        const at: Expr[] = [...unravel(b, b.index(cell), lead), b.index(column)];
        const to = at.with(axis, b.add(at[axis], b.i32(offset)));
        return [
          { grid: sizeOf(lead), cell, body: [vectorLoop(column, shape[last], [ctx.store(0, to, ctx.load(k, at))])], work: sizeOf(shape) },
        ];
      });
    },
  },
  vjp(ctx, [g]) {
    if (g === null) return ctx.inputTypes.map(() => null);
    const { axis } = ctx.attrs;
    let start = 0;
    return ctx.inputTypes.map(({ shape }, k) => {
      const offset = start;
      start += shape[axis];
      return ctx.needs(k) ? narrow(g, axis, offset, shape[axis]) : null;
    });
  },
});

export const joinPrimitives = [concatPrimitive];

/** The tensors one behind the other along `dim`. dtypes promote; empty vectors are skipped. @throws ShapeError, ArgumentError */
export function concat(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ArgumentError('no tensors', { op: 'concat', expected: 'at least one' });
  const filled = tensors.filter((t) => t.shape.length !== 1 || t.shape[0] !== 0);
  const parts = filled.length === 0 ? tensors.slice(0, 1) : filled;
  const axis = normalizeAxis(dim, parts[0].shape.length, 'concat');
  if (parts[0].shape.length === 0)
    throw new ShapeError('numbers without dimensions', {
      op: 'concat',
      received: [],
      expected: 'at least one dimension',
      fix: 'Use stack.',
    });
  const dtype = tensors.reduce((d, t) => promoteTypes(d, t.dtype), tensors[0].dtype);
  return composite('concat', () =>
    apply1(
      concatPrimitive,
      parts.map((t) => cast(t, dtype)),
      { axis },
    ),
  );
}

/** Tensors of one shape side by side along a new axis. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  if (tensors.length === 0) throw new ArgumentError('no tensors', { op: 'stack', expected: 'at least one' });
  const axis = normalizeAxis(dim, tensors[0].shape.length + 1, 'stack');
  const odd = tensors.find((t) => !shapesEqual(t.shape, tensors[0].shape));
  if (odd !== undefined) {
    throw new ShapeError(`shapes ${formatShape(tensors[0].shape)} and ${formatShape(odd.shape)}`, {
      op: 'stack',
      received: tensors.map((t) => t.shape),
      expected: 'one shape',
    });
  }
  return composite('stack', () =>
    concat(
      tensors.map((t) => unsqueeze(t, axis)),
      axis,
    ),
  );
}

/** The tensor `repeats[i]` times over along axis i; a shorter list counts from the last axis, a longer one adds axes in front. */
export function tile(x: Tensor, repeats: readonly number[]): Tensor {
  const rank = Math.max(x.shape.length, repeats.length);
  const shape = [...new Array<number>(rank - x.shape.length).fill(1), ...x.shape];
  const times = [...new Array<number>(rank - repeats.length).fill(1), ...repeats];
  if (times.some((r) => !Number.isInteger(r) || r < 0))
    throw new ArgumentError(`repeats [${repeats.join(', ')}]`, { op: 'tile', received: repeats, expected: 'whole numbers from 0 on' });
  return composite('tile', () => {
    const spread = reshape(
      x,
      shape.flatMap((extent) => [1, extent]),
    );
    const wide = expand(
      spread,
      shape.flatMap((extent, i) => [times[i], extent]),
    );
    const whole = reshape(
      wide,
      shape.map((extent, i) => extent * times[i]),
    );
    return times.every((r) => r === 1) ? mulOne(whole) : whole;
  });
}
/** A new tensor of the same elements. */
function mulOne(x: Tensor): Tensor {
  return x.dtype === 'bool' ? where(x, true, false) : mul(x, 1);
}
/** {@link tile}, with as many repeats as dimensions or more. */
export function repeat(x: Tensor, repeats: readonly number[]): Tensor {
  if (repeats.length < x.shape.length) {
    throw new ArgumentError(`${repeats.length} repeats for ${x.shape.length} dimensions`, {
      op: 'repeat',
      received: repeats,
      expected: 'one a dimension or more',
      fix: 'Use tile.',
    });
  }
  return tile(x, repeats);
}

/** Each element of `dim` (of the flat tensor when absent) `repeats` times in place; a list or tensor gives a number for each. */
export function repeatInterleave(x: Tensor, repeats: number | readonly number[] | Tensor, dim?: number): Tensor {
  return composite('repeatInterleave', () => {
    const source = dim === undefined ? reshape(x, [-1]) : x;
    const axis = normalizeAxis(dim ?? 0, source.shape.length, 'repeatInterleave');
    const size = source.shape[axis];
    if (typeof repeats === 'number') {
      const shape = source.shape;
      const wide = expand(unsqueeze(source, axis + 1), shape.toSpliced(axis + 1, 0, repeats));
      return repeats === 1 ? mulOne(reshape(wide, shape)) : reshape(wide, shape.with(axis, size * repeats));
    }
    const list = repeats instanceof Tensor ? Array.from(readSync(repeats), Number) : repeats;
    if (list.length !== size)
      throw new ArgumentError(`${list.length} repeats for ${size} elements`, {
        op: 'repeatInterleave',
        received: list,
        expected: 'one an element',
      });
    const positions = list.flatMap((count, i) => new Array<number>(count).fill(i));
    return indexSelect(source, axis, hostConstant(positions, 'int32', [positions.length]));
  });
}

/** Moves elements on by `shifts` along `dims`, those that leave come in at the other side; without dims in the flat tensor. */
export function roll(x: Tensor, shifts: number | readonly number[], dims?: number | readonly number[]): Tensor {
  return composite('roll', () => {
    if (dims === undefined) {
      if (typeof shifts !== 'number' && shifts.length !== 1)
        throw new ArgumentError('several shifts without dims', { op: 'roll', received: shifts, expected: 'as many dims as shifts' });
      return reshape(roll(reshape(x, [-1]), shifts, 0), x.shape);
    }
    const by = typeof shifts === 'number' ? [shifts] : shifts;
    const along = typeof dims === 'number' ? [dims] : dims;
    if (by.length !== along.length)
      throw new ArgumentError(`${by.length} shifts for ${along.length} dims`, {
        op: 'roll',
        received: [shifts, dims],
        expected: 'as many dims as shifts',
      });
    let current = x;
    along.forEach((dim, i) => {
      const axis = normalizeAxis(dim, x.shape.length, 'roll');
      const size = x.shape[axis];
      const start = size === 0 ? 0 : ((-by[i] % size) + size) % size;
      if (start !== 0) current = concat([narrow(current, axis, start, size - start), narrow(current, axis, 0, start)], axis);
    });
    return current === x ? mulOne(x) : current;
  });
}

/** A bool matrix [rows, columns]: true where `column - row` is at most, or at least, `diagonal`. */
function triangle(rows: number, columns: number, diagonal: number, lower: boolean): Tensor {
  const limit = add(iotaAlong(rows, 0, 2), diagonal);
  const column = iotaAlong(columns, 1, 2);
  return lower ? le(column, limit) : ge(column, limit);
}

function keepTriangle(x: Tensor, diagonal: number, lower: boolean): Tensor {
  const op = lower ? 'tril' : 'triu';
  if (x.shape.length < 2)
    throw new ShapeError(`shape ${formatShape(x.shape)}`, { op, received: x.shape, expected: 'at least two dimensions' });
  return composite(op, () => {
    const [rows, columns] = x.shape.slice(-2);
    return where(triangle(rows, columns, diagonal, lower), x, x.dtype === 'bool' ? false : 0);
  });
}
/** The lower triangle of the last two axes, 0 above it; a positive `diagonal` keeps as many more. */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return keepTriangle(x, diagonal, true);
}
/** The upper triangle of the last two axes, 0 below it; a positive `diagonal` drops as many. */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return keepTriangle(x, diagonal, false);
}

/** Vectors as the axes of a grid: tensor i varies along axis i of all results ('ij'), or the first two axes exchange ('xy'). */
export function meshgrid(vectors: readonly Tensor[], { indexing = 'ij' }: { readonly indexing?: 'ij' | 'xy' } = {}): Tensor[] {
  const shape = vectors.map((v) => v.shape[0] ?? 1);
  const order = vectors.map((_, i) => (indexing === 'xy' && vectors.length > 1 && i < 2 ? 1 - i : i));
  const grid = order.map((i) => shape[i]);
  return vectors.map((v, i) => {
    const axis = order.indexOf(i);
    return expand(
      reshape(
        v,
        grid.map((_, d) => (d === axis ? shape[i] : 1)),
      ),
      grid,
    );
  });
}

/** Matrices with the last axis of `x` on a diagonal: [..., n] gives [..., n + |offset|, n + |offset|]. */
export function diagEmbed(x: Tensor, offset = 0): Tensor {
  return composite('diagEmbed', () => {
    const n = x.shape[x.shape.length - 1] + Math.abs(offset);
    // Rows hold the elements; an offset below the diagonal starts in a later row.
    const rows = unsqueeze(offset < 0 ? pad(x, [-offset, 0]) : offset > 0 ? pad(x, [0, offset]) : x, x.shape.length);
    return where(eq(add(iotaAlong(n, 0, 2), offset), iotaAlong(n, 1, 2)), rows, x.dtype === 'bool' ? false : 0);
  });
}
/** Of a vector the matrix with it on a diagonal, of a matrix the diagonal. */
export function diag(x: Tensor, offset = 0): Tensor {
  if (x.shape.length === 1) return diagEmbed(x, offset);
  if (x.shape.length !== 2)
    throw new ShapeError(`shape ${formatShape(x.shape)}`, { op: 'diag', received: x.shape, expected: 'a vector or a matrix' });
  return diagonal(x, { offset });
}
/** The sum of a diagonal of a matrix. */
export function trace(x: Tensor): Tensor {
  return composite('trace', () => sum(diag(x)));
}

/** One number for each class: [...] of whole numbers gives int64 [..., classes], 1 at the number. */
export function oneHot(x: Tensor, numClasses: number): Tensor {
  return composite('oneHot', () => cast(eq(unsqueeze(x, x.shape.length), iota(numClasses, x.dtype)), 'int64'));
}
