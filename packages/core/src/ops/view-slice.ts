/** Views of a part of the elements, and the primitives that put gradients of parts back in their place. */
import { ArgumentError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, isDense, normalizeAxes, normalizeAxis, selectLayout, sizeOf, sliceLayout } from '../graph/layout.js';
import type { Primitive } from '../graph/primitive.js';
import { apply1, viewOf } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { copy } from './cast.js';
import { primitive } from './define.js';
import { accumulate, declare, forLoop, inRange, unravel } from './statements.js';
import { reshape, unsqueeze } from './view.js';

/** `[start, stop, step]` with Python's meaning: null or absent is the end the step comes from or goes to. */
export type SliceBounds = readonly [start?: number | null, stop?: number | null, step?: number | null];

export interface ResolvedSlice {
  readonly start: number;
  readonly count: number;
  readonly step: number;
}

/** Python's slice rules (`slice.indices`) on an axis of `extent` elements. @throws ArgumentError */
export function resolveSlice(bounds: SliceBounds, extent: number, op: string): ResolvedSlice {
  const [start, stop, step] = [bounds[0] ?? null, bounds[1] ?? null, bounds[2] ?? 1];
  if (step === 0 || !Number.isInteger(step) || (start !== null && !Number.isInteger(start)) || (stop !== null && !Number.isInteger(stop))) {
    throw new ArgumentError(`slice [${bounds.join(', ')}]`, { op, received: bounds, expected: 'whole numbers, and a step other than 0' });
  }
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? extent : extent - 1;
  const clip = (i: number) => Math.min(Math.max(i < 0 ? i + extent : i, low), high);
  const first = start === null ? (step > 0 ? low : high) : clip(start);
  const last = stop === null ? (step > 0 ? high : low) : clip(stop);
  return { start: first, count: Math.max(0, Math.ceil((last - first) / step)), step };
}

/** Puts the elements of input 0 at start, start + step, ... of `axis` of zeros. */
const embedSlicePrimitive = primitive<{ readonly shape: Shape; readonly axis: number; readonly start: number; readonly step: number }>({
  name: 'embedSlice',
  infer: ([input], { shape }) => [{ dtype: input.dtype, shape }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b, inputs, load }, indices, { axis, start, step }) {
      const count = inputs[0].shape[axis];
      const distance = step > 0 ? b.sub(indices[axis], b.i32(start)) : b.sub(b.i32(start), indices[axis]);
      const size = b.i32(Math.abs(step));
      const k = b.binary('div', distance, size);
      const inside = b.and(b.binary('le', b.i32(0), distance), b.binary('lt', k, b.i32(count)));
      const guard = Math.abs(step) === 1 ? inside : b.and(inside, b.binary('eq', b.binary('rem', distance, size), b.i32(0)));
      return [load(0, indices.with(axis, k), guard)];
    },
  },
  vjp(ctx, [g]) {
    const { axis, start, step } = ctx.attrs;
    return [g === null ? null : takeSlice(g, axis, { start, step, count: ctx.inputTypes[0].shape[axis] })];
  },
});

/** Puts the elements of input 0 (last axis) on a diagonal of zeros. */
const embedDiagonalPrimitive = primitive<{ readonly shape: Shape; readonly offset: number; readonly dim1: number; readonly dim2: number }>({
  name: 'embedDiagonal',
  infer: ([input], { shape }) => [{ dtype: input.dtype, shape }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b, load }, indices, { offset, dim1, dim2 }) {
      const row = indices[dim1];
      const column = indices[dim2];
      const rest = indices.filter((_, axis) => axis !== dim1 && axis !== dim2);
      const onDiagonal = b.binary('eq', b.sub(column, row), b.i32(offset));
      return [load(0, [...rest, offset >= 0 ? row : column], onDiagonal)];
    },
  },
  vjp(ctx, [g]) {
    const { offset, dim1, dim2 } = ctx.attrs;
    return [g === null ? null : diagonal(g, { offset, dim1, dim2 })];
  },
});

/** Adds overlapping windows up: the transpose of unfold. Input 0 has the windows at `axis` and their elements last. */
const foldWindowsPrimitive = primitive<{ readonly shape: Shape; readonly axis: number; readonly step: number }>({
  name: 'foldWindows',
  infer: ([input], { shape }) => [{ dtype: input.dtype, shape }],
  lowering: {
    kind: 'loops',
    alias: false,
    stages({ b, inputs, outputs, load, store }, { axis, step }) {
      const [{ shape }] = outputs;
      const windows = inputs[0].shape[axis];
      const size = inputs[0].shape.at(-1) ?? 1;
      const cell = b.loopVar('element');
      const indices = unravel(b, b.index(cell), shape);
      const type = load(
        0,
        inputs[0].shape.map(() => b.i32(0)),
      ).type;
      const total = b.newLocal('total', type);
      const j = b.loopVar('window');
      // Windows that hold element i: the last is i / step, those before it follow as long as their end reaches i.
      const window = b.sub(b.binary('div', indices[axis], b.i32(step)), b.index(j));
      const position = b.sub(indices[axis], b.mul(window, b.i32(step)));
      const guard = b.and(inRange(b, window, windows), b.binary('lt', position, b.i32(size)));
      const value = load(0, [...indices.with(axis, window), position], guard);
      const body = [
        declare(total, b.const(type, 0)),
        forLoop(j, Math.ceil(size / step), [accumulate(total, 'add', value)]),
        store(0, indices, b.read(total)),
      ];
      return [{ grid: sizeOf(shape), cell, body, work: Math.ceil(size / step) * 4 }];
    },
  },
  vjp(ctx, [g]) {
    const size = ctx.inputTypes[0].shape.at(-1) ?? 1;
    return [g === null ? null : unfold(g, ctx.attrs.axis, size, ctx.attrs.step)];
  },
});

/** Adds input 0 up at the positions of a strided view of a vector of zeros: the transpose of asStrided. */
const foldStridedPrimitive = primitive<{ readonly length: number; readonly strides: readonly number[]; readonly offset: number }>({
  name: 'foldStrided',
  infer: ([input], { length }) => [{ dtype: input.dtype, shape: [length] }],
  lowering: {
    kind: 'loops',
    alias: false,
    stages({ b, inputs, load, store }, { length, strides, offset }) {
      const [{ shape }] = inputs;
      const zeroCell = b.loopVar('element');
      const zero = b.const(
        load(
          0,
          shape.map(() => b.i32(0)),
        ).type,
        0,
      );
      // Elements may coincide, so one cell adds them all, in order.
      const cell = b.loopVar('all');
      const i = b.loopVar('source');
      const indices = unravel(b, b.index(i), shape);
      const target = indices.reduce((sum, index, axis) => b.add(sum, b.mul(index, b.i32(strides[axis]))), b.i32(offset));
      return [
        { grid: length, cell: zeroCell, body: [store(0, [b.index(zeroCell)], zero)] },
        { grid: 1, cell, body: [forLoop(i, sizeOf(shape), [store(0, [target], load(0, indices), 'add')])], work: sizeOf(shape) * 4 },
      ];
    },
  },
  vjp(ctx, [g]) {
    return [g === null ? null : asStrided(g, ctx.inputTypes[0].shape, ctx.attrs.strides, ctx.attrs.offset)];
  },
});

export const viewPrimitives: readonly Primitive[] = [
  embedSlicePrimitive,
  embedDiagonalPrimitive,
  foldWindowsPrimitive,
  foldStridedPrimitive,
];

/** A resolved slice of one axis. */
export function takeSlice(x: Tensor, axis: number, { start, count, step }: ResolvedSlice): Tensor {
  const { shape } = x;
  if (start === 0 && step === 1 && count === shape[axis]) return x;
  return viewOf(x, sliceLayout(x, axis, start, count, step), 'slice', (g) =>
    apply1(embedSlicePrimitive, [g], { shape, axis, start, step }),
  );
}

/**
 * `[start, stop, step]` for each leading axis, null for a whole axis, with Python's meaning; steps may be negative.
 * `slice(x, [[1, 4], [null, null, -1]])` is Python's `x[1:4, ::-1]`.
 */
export function slice(x: Tensor, slices: readonly (SliceBounds | null)[]): Tensor {
  if (slices.length > x.shape.length) {
    throw new ShapeError(`${slices.length} slices of a tensor of ${x.shape.length} dimensions`, { op: 'slice', received: slices });
  }
  const first = reshape(x, x.shape);
  return slices.reduce(
    (rest: Tensor, bounds, axis) => (bounds === null ? rest : takeSlice(rest, axis, resolveSlice(bounds, x.shape[axis], 'slice'))),
    first,
  );
}

/** `length` elements of axis `dim` from `start` on. @throws ShapeError when they leave the axis */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'narrow');
  const extent = x.shape[axis];
  const first = start < 0 ? start + extent : start;
  if (!Number.isInteger(start) || !Number.isInteger(length) || first < 0 || length < 0 || first + length > extent) {
    throw new ShapeError(`elements ${start} to ${start + length} of an axis of ${extent}`, {
      op: 'narrow',
      received: [start, length],
      expected: 'a range inside the axis',
    });
  }
  return takeSlice(x, axis, { start: first, count: length, step: 1 });
}

/** The part at `index` of axis `dim`, which is dropped; -1 is the last. @throws ArgumentError when there is none */
export function select(x: Tensor, dim: number, index: number): Tensor {
  if (x.shape.length === 0) throw new ShapeError('a 0-d tensor has no axis to select from', { op: 'select', received: x.shape });
  const axis = normalizeAxis(dim, x.shape.length, 'select');
  const extent = x.shape[axis];
  if (!Number.isInteger(index) || index < -extent || index >= extent) {
    throw new ArgumentError(`index ${index} does not exist on an axis of ${extent} elements`, {
      op: 'select',
      received: index,
      expected: `a whole number from ${-extent} to ${extent - 1}`,
    });
  }
  const start = index < 0 ? index + extent : index;
  const { shape } = x;
  return viewOf(x, selectLayout(x, axis, start), 'select', (g) =>
    apply1(embedSlicePrimitive, [unsqueeze(g, axis)], { shape, axis, start, step: 1 }),
  );
}

/** Consecutive parts of `size` elements along `dim` (the last may be smaller), or of the given sizes. Views. */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const axis = normalizeAxis(dim, x.shape.length, 'split');
  const extent = x.shape[axis];
  const sizes: number[] = [];
  if (typeof size === 'number') {
    if (!Number.isInteger(size) || size < 1)
      throw new ArgumentError(`parts of ${size} elements`, { op: 'split', received: size, expected: 'a whole number of at least 1' });
    for (let start = 0; start < extent || sizes.length === 0; start += size) sizes.push(Math.min(size, extent - start));
  } else sizes.push(...size);
  if (sizes.reduce((sum, n) => sum + n, 0) !== extent) {
    throw new ShapeError(`sizes [${sizes.join(', ')}] of an axis of ${extent} elements`, {
      op: 'split',
      received: size,
      expected: `sizes with sum ${extent}`,
    });
  }
  let start = 0;
  return sizes.map((count) => {
    const part = narrow(x, axis, start, count);
    start += count;
    return part;
  });
}

/** At most `chunks` parts of equal size along `dim` (the last may be smaller). Views. */
export function chunk(x: Tensor, chunks: number, dim = 0): Tensor[] {
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new ArgumentError(`${chunks} chunks`, { op: 'chunk', received: chunks, expected: 'a whole number of at least 1' });
  const axis = normalizeAxis(dim, x.shape.length, 'chunk');
  return split(x, Math.max(1, Math.ceil(x.shape[axis] / chunks)), axis);
}

/** The parts at each position of axis `dim`, without it. Views. */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  const axis = normalizeAxis(dim, x.shape.length, 'unbind');
  return Array.from({ length: x.shape[axis] }, (_, i) => select(x, axis, i));
}

/** Reverses the order along the axes. A view (negative strides). */
export function flip(x: Tensor, dims: number | readonly number[]): Tensor {
  const axes = normalizeAxes(dims, x.shape.length, 'flip');
  const strides = x.strides.slice();
  let { offset } = x;
  for (const axis of axes) {
    offset += Math.max(0, x.shape[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  return viewOf(x, { shape: x.shape, strides, offset }, 'flip', (g) => flip(g, axes));
}

export interface DiagonalOptions {
  /** Above the main diagonal when positive, below when negative. */
  readonly offset?: number;
  readonly dim1?: number;
  readonly dim2?: number;
}

/** A diagonal of the matrices in two axes, as the last axis of a view. */
export function diagonal(x: Tensor, { offset = 0, dim1 = 0, dim2 = 1 }: DiagonalOptions = {}): Tensor {
  const rank = x.shape.length;
  const row = normalizeAxis(dim1, rank, 'diagonal');
  const column = normalizeAxis(dim2, rank, 'diagonal');
  if (row === column)
    throw new ArgumentError('dim1 and dim2 are one axis', { op: 'diagonal', received: [dim1, dim2], expected: 'two axes' });
  const { shape } = x;
  const count = Math.max(0, offset >= 0 ? Math.min(shape[row], shape[column] - offset) : Math.min(shape[row] + offset, shape[column]));
  const others = (list: readonly number[]) => list.filter((_, axis) => axis !== row && axis !== column);
  const start = count === 0 ? 0 : offset >= 0 ? offset * x.strides[column] : -offset * x.strides[row];
  const layout = {
    shape: [...others(shape), count],
    strides: [...others(x.strides), x.strides[row] + x.strides[column]],
    offset: x.offset + start,
  };
  return viewOf(x, layout, 'diagonal', (g) => apply1(embedDiagonalPrimitive, [g], { shape, offset, dim1: row, dim2: column }));
}

/** Windows of `size` elements, `step` apart, along `dim`; the elements of a window are the new last axis. A view. */
export function unfold(x: Tensor, dim: number, size: number, step: number): Tensor {
  const { shape } = x;
  const axis = normalizeAxis(dim, shape.length, 'unfold');
  const extent = shape.length === 0 ? 1 : shape[axis];
  if (!Number.isInteger(size) || !Number.isInteger(step) || size < 0 || size > extent || step < 1) {
    throw new ShapeError(`windows of ${size} elements, ${step} apart, on an axis of ${extent}`, {
      op: 'unfold',
      received: [size, step],
      expected: `a size from 0 to ${extent} and a step of at least 1`,
    });
  }
  if (shape.length === 0) return reshape(x, [size]);
  const stride = x.strides[axis];
  const layout = {
    shape: [...shape.with(axis, Math.floor((extent - size) / step) + 1), size],
    strides: [...x.strides.with(axis, stride * step), stride],
    offset: x.offset,
  };
  return viewOf(x, layout, 'unfold', (g) => apply1(foldWindowsPrimitive, [g], { shape, axis, step }));
}

/** Adds up windows (at `axis`, their elements last) that lie `step` apart along `axis` of a tensor of `shape`: the transpose of unfold. */
export function foldWindows(x: Tensor, axis: number, step: number, shape: Shape): Tensor {
  return apply1(foldWindowsPrimitive, [x], { shape, axis, step });
}

/**
 * Any strided view of the elements in row-major order: element [i0, i1, ...] is number `offset + sum(i * stride)` of them.
 * A view where the elements lie densely, else of a copy. @throws ShapeError when it leaves the elements
 */
export function asStrided(x: Tensor, shape: Shape, strides: readonly number[], offset = 0): Tensor {
  const length = sizeOf(x.shape);
  let low = offset;
  let high = offset;
  shape.forEach((extent, axis) => {
    const reach = Math.max(0, extent - 1) * strides[axis];
    if (reach < 0) low += reach;
    else high += reach;
  });
  const empty = sizeOf(shape) === 0;
  if (shape.length !== strides.length || Number.isNaN(low + high) || (!empty && (low < 0 || high >= length))) {
    throw new ShapeError(`shape ${formatShape(shape)}, strides ${formatShape(strides)}, offset ${offset} of ${length} elements`, {
      op: 'asStrided',
      received: { shape, strides, offset },
      expected: 'one stride an axis, and positions inside the elements',
    });
  }
  const dense = isDense(x) ? x : copy(x);
  const from = x.shape;
  const layout = { shape, strides, offset: empty ? dense.offset : dense.offset + offset };
  return viewOf(dense, layout, 'asStrided', (g) => reshape(apply1(foldStridedPrimitive, [g], { length, strides, offset }), from));
}
