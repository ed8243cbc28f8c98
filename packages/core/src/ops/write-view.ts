/** Writing into tensors: the primitive behind every in-place operation, and assignment. */
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { AutogradError, DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import type { Primitive } from '../graph/primitive.js';
import { apply1, applyInPlace, replaceWhole } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { cast, copy } from './cast.js';
import type { TensorOrScalar } from './common.js';
import { operand } from './common.js';
import { primitive } from './define.js';
import { zerosOf } from './fill.js';
import { divisorUpTo, unravel, vectorLoop } from './statements.js';
import { contiguous, expand, reshape } from './view.js';
import { asStrided } from './view-slice.js';

type WriteAttrs = { readonly shape: Shape; readonly strides: readonly number[]; readonly offset: number };

/** Elements that one parallel cell writes: at most this many where the row divides evenly, else the whole row. */
const rowLimit = 4096;
const rowMinimum = 64;

function rowLength(last: number): number {
  const piece = divisorUpTo(last, rowLimit);
  return piece < rowMinimum ? last : piece;
}

/**
 * Input 0 (a vector) with the elements of input 1 at `offset + sum(i * stride)`. Positions must not coincide.
 */
export const writeViewPrimitive: Primitive = primitive<WriteAttrs>({
  name: 'writeView',
  infer([base, value], { shape }) {
    if (base.shape.length !== 1 || value.dtype !== base.dtype || sizeOf(value.shape) !== sizeOf(shape)) {
      throw new ShapeError(`cannot write ${value.dtype} ${formatShape(value.shape)} into ${base.dtype} ${formatShape(base.shape)}`, {
        op: 'writeView',
      });
    }
    return [base];
  },
  lowering: {
    kind: 'loops',
    alias: true,
    stages({ b, load, store }, { shape, strides, offset }) {
      const rank = shape.length;
      const last = rank === 0 ? 1 : shape[rank - 1];
      const row = rank === 0 ? 1 : rowLength(last);
      const cell = b.loopVar('row');
      const i = b.loopVar('i');
      // Cells are pieces of rows: [...outer axes, piece].
      const pieces = rank === 0 ? [] : unravel(b, b.index(cell), [...shape.slice(0, -1), last / Math.max(1, row)]);
      const indices = rank === 0 ? [] : pieces.with(rank - 1, b.add(b.mul(pieces[rank - 1], b.i32(row)), b.index(i)));
      const target = indices.reduce((sum, index, axis) => b.add(sum, b.mul(index, b.i32(strides[axis]))), b.i32(offset));
      const write = store(0, [target], load(1, indices));
      const grid = sizeOf(shape) === 0 ? 0 : sizeOf(shape) / row;
      return [{ grid, cell, body: [row === 1 && rank === 0 ? write : vectorLoop(i, row, [write])], work: row }];
    },
  },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    const { shape, strides, offset } = ctx.attrs;
    const [base, value] = ctx.inputTypes;
    return [
      ctx.needs(0) ? apply1(writeViewPrimitive, [g, zerosOf(base.dtype, shape)], ctx.attrs) : null,
      ctx.needs(1) ? reshape(asStrided(g, shape, strides, offset), value.shape) : null,
    ];
  },
});

/** Merges neighbouring axes that lie evenly in both layouts, so that rows are long. */
function mergeAxes(shape: Shape, a: readonly number[], b: readonly number[]): { shape: number[]; a: number[]; b: number[] } {
  const merged = { shape: [] as number[], a: [] as number[], b: [] as number[] };
  for (let axis = 0; axis < shape.length; axis++) {
    const extent = shape[axis];
    if (extent === 1) continue;
    const k = merged.shape.length - 1;
    if (k >= 0 && merged.a[k] === extent * a[axis] && merged.b[k] === extent * b[axis]) {
      merged.shape[k] *= extent;
      merged.a[k] = a[axis];
      merged.b[k] = b[axis];
    } else {
      merged.shape.push(extent);
      merged.a.push(a[axis]);
      merged.b.push(b[axis]);
    }
  }
  return merged;
}

/** The whole storage of a tensor as a vector. */
function baseOf(target: Tensor): Tensor {
  return new Tensor(target.storage, [target.storage.length], [1], 0);
}

/** Overwrites the elements of `target` with those of `value` (same dtype and shape). Records nothing. */
export function writeInto(target: Tensor, value: Tensor): void {
  target.assertLive('assign');
  if (target.strides.some((stride, axis) => stride === 0 && target.shape[axis] > 1)) {
    throw new ShapeError('several elements of the target share one place in memory (it was expanded)', {
      op: 'assign',
      received: target.shape,
      fix: 'Write into a clone() of it, or into what was expanded.',
    });
  }
  if (sizeOf(target.shape) === 0) return;
  if (replaceWhole(target, value)) return;
  noGrad(() =>
    composite('assign', () => {
      // Reading and writing one storage at once would depend on the order.
      const source = value.storage === target.storage ? copy(value) : value;
      const { shape, a, b } = mergeAxes(target.shape, target.strides, source.strides);
      const flat = new Tensor(source.storage, shape, b, source.offset);
      applyInPlace(writeViewPrimitive, [baseOf(target), flat], { shape, strides: a, offset: target.offset });
    }),
  );
}

/** @throws AutogradError when `target` may not be changed in place because of gradients. */
export function checkInPlace(op: string, target: Tensor, sources: readonly TensorOrScalar[]): void {
  if (!isGradEnabled()) return;
  if (target.requiresGrad) {
    throw new AutogradError(
      target.gradFn === null
        ? 'a leaf that requires gradients would be changed in place'
        : 'a tensor with gradient history would be changed in place',
      {
        op,
        received: target.shape,
        fix:
          target.gradFn === null
            ? `Put it in noGrad(() => ...) when it is an update, or use ${op.replace(/_$/, '')}().`
            : `Use ${op.replace(/_$/, '')}(), which returns a new tensor.`,
      },
    );
  }
  if (sources.some((source) => source instanceof Tensor && source.requiresGrad)) {
    throw new AutogradError('the operand requires gradients, and in-place operations record none', {
      op,
      fix: `Use ${op.replace(/_$/, '')}(), which returns a new tensor, or detach() the operand.`,
    });
  }
}

/** The value in the dtype and shape of `target`. @throws DTypeError, ShapeError */
function fitted(op: string, target: Tensor, value: TensorOrScalar): Tensor {
  const source = operand(value, value instanceof Tensor ? value.dtype : target.dtype);
  if (source.shape.length > target.shape.length) {
    // Leading axes of extent 1 may be dropped, as in PyTorch.
    const extra = source.shape.length - target.shape.length;
    if (source.shape.slice(0, extra).every((extent) => extent === 1)) return fitted(op, target, reshape(source, source.shape.slice(extra)));
    throw new ShapeError(`shape ${formatShape(source.shape)} does not fit into ${formatShape(target.shape)}`, {
      op,
      received: source.shape,
    });
  }
  return expand(cast(source, target.dtype), target.shape);
}

/** Overwrites `target` with a tensor or number that broadcasts to its shape; dtypes convert. @throws AutogradError, ShapeError */
export function assign(target: Tensor, value: TensorOrScalar): Tensor {
  checkInPlace('copy_', target, [value]);
  noGrad(() => composite('copy_', () => writeInto(target, fitted('copy_', target, value))));
  return target;
}

/** Replaces the elements of `target` by the result of `compute`. @throws AutogradError, DTypeError when dtypes would lose their kind */
export function updateInPlace(op: string, target: Tensor, sources: readonly TensorOrScalar[], compute: () => Tensor): Tensor {
  checkInPlace(op, target, sources);
  noGrad(() =>
    composite(op, () => {
      const result = compute();
      if (isFloat(result.dtype) && !isFloat(target.dtype)) {
        throw new DTypeError(`the result is ${result.dtype} and the target ${target.dtype}`, {
          op,
          received: target.dtype,
          expected: 'a floating target',
          fix: `Use ${op.replace(/_$/, '')}(), or convert the target with to('float32') before.`,
        });
      }
      writeInto(target, fitted(op, target, result));
    }),
  );
  return target;
}

/**
 * `base` with the part under a view layout replaced by `value` (dtype of base, shape of the view), as a new tensor.
 * The layout is relative to the elements of `base` in row-major order.
 */
export function replaceView(base: Tensor, value: Tensor, layout: WriteAttrs): Tensor {
  const flat = reshape(contiguous(base), [sizeOf(base.shape)]);
  const written = apply1(writeViewPrimitive, [flat, value], { shape: layout.shape, strides: layout.strides, offset: layout.offset });
  return reshape(written, base.shape);
}
