/** Reading by index. Negative indices count from the end; what lies outside is read as the nearest element, never beyond memory. */
import { dtypeInfo } from '../dtype.js';
import { DTypeError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, normalizeAxis, sizeOf } from '../graph/layout.js';
import type { TensorType } from '../graph/primitive.js';
import { apply1 } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { broadcastTo } from './common.js';
import { primitive } from './define.js';
import { zerosOf } from './fill.js';
import { indexAdd, scatterAdd } from './scatter.js';
import { clampIndex, wrapIndex } from './statements.js';
import { reshape } from './view.js';

type AxisAttrs = { readonly axis: number };

/** @throws DTypeError unless the index is of whole numbers. */
export function requireIndex(index: TensorType, op: string): void {
  if (dtypeInfo[index.dtype].kind === 'int') return;
  throw new DTypeError(`an index of ${index.dtype}`, {
    op,
    received: index.dtype,
    expected: 'an int tensor',
    fix: "Convert it with .to('int64').",
  });
}

function requireSource(input: TensorType, index: TensorType, axis: number, op: string): void {
  if (input.shape[axis] === 0 && sizeOf(index.shape) > 0) {
    throw new ShapeError(`axis ${axis} of a ${formatShape(input.shape)} tensor has no elements to read`, {
      op,
      received: input.shape,
      expected: 'an axis of extent above 0',
    });
  }
}

const gatherPrimitive = primitive<AxisAttrs>({
  name: 'gather',
  infer([input, index], { axis }) {
    requireIndex(index, 'gather');
    requireSource(input, index, axis, 'gather');
    if (index.shape.length !== input.shape.length || index.shape.some((extent, i) => i !== axis && extent > input.shape[i])) {
      throw new ShapeError(`an index of shape ${formatShape(index.shape)} does not fit a ${formatShape(input.shape)} tensor`, {
        op: 'gather',
        received: [input.shape, index.shape],
        expected: `as many axes, and except along axis ${axis} no larger extents`,
      });
    }
    return [{ dtype: input.dtype, shape: index.shape }];
  },
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b, inputs, load }, indices, { axis }) {
      const extent = inputs[0].shape[axis];
      const at = clampIndex(b, wrapIndex(b, load(1, indices), extent), extent);
      return [load(0, indices.with(axis, at))];
    },
  },
  saves: { inputs: [1] },
  vjp: (ctx, [g]) => [g === null ? null : scatterAdd(zerosOf(g.dtype, ctx.inputTypes[0].shape), ctx.attrs.axis, ctx.input(1), g), null],
  cost: 4,
});

const indexSelectPrimitive = primitive<AxisAttrs>({
  name: 'indexSelect',
  infer([input, index], { axis }) {
    requireIndex(index, 'indexSelect');
    requireSource(input, index, axis, 'indexSelect');
    if (index.shape.length !== 1) {
      throw new ShapeError(`an index of shape ${formatShape(index.shape)}`, {
        op: 'indexSelect',
        received: index.shape,
        expected: 'one dimension',
      });
    }
    return [{ dtype: input.dtype, shape: input.shape.with(axis, index.shape[0]) }];
  },
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b, inputs, load }, indices, { axis }) {
      const extent = inputs[0].shape[axis];
      const at = clampIndex(b, wrapIndex(b, load(1, [indices[axis]]), extent), extent);
      return [load(0, indices.with(axis, at))];
    },
  },
  saves: { inputs: [1] },
  vjp: (ctx, [g]) => [g === null ? null : indexAdd(zerosOf(g.dtype, ctx.inputTypes[0].shape), ctx.attrs.axis, ctx.input(1), g), null],
  cost: 4,
});

export const gatherPrimitives = [gatherPrimitive, indexSelectPrimitive];

/** `out[i][j][k] = x[index[i][j][k]][j][k]` for dim 0, and so on: one index for every result. */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  if (x.shape.length === 0) return reshape(gather(reshape(x, [1]), 0, reshape(index, [-1])), index.shape);
  return apply1(gatherPrimitive, [x, index], { axis: normalizeAxis(dim, x.shape.length, 'gather') });
}

/** {@link gather} where all axes but `dim` broadcast between tensor and index; without `dim`, of the flat tensors. */
export function takeAlongDim(x: Tensor, index: Tensor, dim?: number): Tensor {
  if (dim === undefined) return gather(reshape(x, [-1]), 0, reshape(index, [-1]));
  const axis = normalizeAxis(dim, x.shape.length, 'takeAlongDim');
  const shape = broadcastShapes(x.shape.with(axis, 1), index.shape.with(axis, 1), 'takeAlongDim');
  return gather(broadcastTo(x, shape.with(axis, x.shape[axis])), axis, broadcastTo(index, shape.with(axis, index.shape[axis])));
}

/** The slices of `x` along `dim` at the positions of a 1-d index, in its order. */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const flat = index.shape.length === 0 ? reshape(index, [1]) : index;
  if (x.shape.length === 0) return reshape(indexSelect(reshape(x, [1]), 0, flat), []);
  return apply1(indexSelectPrimitive, [x, flat], { axis: normalizeAxis(dim, x.shape.length, 'indexSelect') });
}

/** The elements of the flat tensor at `index`, in the shape of `index`. */
export function take(x: Tensor, index: Tensor): Tensor {
  return composite('take', () => reshape(indexSelect(reshape(x, [-1]), 0, reshape(index, [-1])), index.shape));
}
