/** Products of integers with zero points. Sums are int32, as in onnxruntime. */
import { add, cast, conv1d, conv2d, conv3d, div, matmul, mul, reshape, round, type Tensor } from 'trireme';
import type { ElementType } from '../engine/element-type.js';
import type { TensorValue, Value } from '../engine/value.js';
import { optionalTensorAt, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';
import { centred, saturated } from './quantize.js';
import { computed } from './tensors.js';
import { geometryOf } from './windows.js';

const convolutions = { 1: conv1d, 2: conv2d, 3: conv3d } as const;

/** One number, or one a row of the last two dimensions, as it broadcasts to the matrix on the left. */
function byRow(t: Tensor): Tensor {
  return t.shape.length === 1 && t.shape[0] !== 1 ? reshape(t, [...t.shape, 1]) : sizeOf(t.shape) === 1 ? reshape(t, []) : t;
}
/** One number or one a column. */
export function byColumn(t: Tensor): Tensor {
  return sizeOf(t.shape) === 1 ? reshape(t, []) : t;
}

/** The product of two matrices of integers less their zero points, int32. */
export function integerProduct(a: TensorValue, aZero: TensorValue | null, b: TensorValue, bZero: TensorValue | null): Tensor {
  const left = centred(a.tensor, a.type, aZero === null ? null : byRow(aZero.tensor));
  return matmul(left, centred(b.tensor, b.type, bZero === null ? null : byColumn(bZero.tensor)));
}

/** One number a output channel, laid along axis 1 of `rank` dimensions. */
function byChannel(t: Tensor, rank: number): Tensor {
  return sizeOf(t.shape) === 1 ? reshape(t, []) : reshape(t, [1, t.shape[0], ...new Array<number>(rank - 2).fill(1)]);
}

/** The convolution of integers less their zero points, int32. The zero point of the weights is one number or one an output channel. */
function integerConv(
  x: TensorValue,
  xZero: TensorValue | null,
  w: TensorValue,
  wZero: TensorValue | null,
  bias: Tensor | null,
  ctx: OpContext,
): Tensor {
  const rank = x.shape.length;
  const n = rank - 2;
  if (n !== 1 && n !== 2 && n !== 3) return ctx.fail(`an input of ${rank} dimensions`, '[N, C] and 1, 2 or 3 spatial ones');
  const { begin, end, stride, dilation } = geometryOf(ctx, x.shape.slice(2), ctx.attrs.ints('kernel_shape', w.shape.slice(2)));
  const options = { stride, dilation, padding: begin, paddingEnd: end, groups: ctx.attrs.int('group', 1) };
  const perOutput =
    wZero === null || sizeOf(wZero.shape) === 1 ? null : reshape(wZero.tensor, [wZero.shape[0], ...new Array<number>(rank - 1).fill(1)]);
  const weight = centred(w.tensor, w.type, perOutput ?? (wZero === null ? null : reshape(wZero.tensor, [])));
  const input = centred(x.tensor, x.type, xZero === null ? null : reshape(xZero.tensor, []));
  return convolutions[n](input, weight, bias, options);
}

/** An int32 sum by a real factor, rounded, moved and limited to the type of the zero point. */
function requantized(sum: Tensor, factor: Tensor, zero: Tensor, type: ElementType): Tensor {
  return saturated(add(round(mul(cast(sum, 'float32'), factor)), cast(zero, 'float32')), type);
}

/** Inputs in groups of value, scale and zero point. */
function triple(inputs: readonly (Value | null)[], from: number, ctx: OpContext): [TensorValue, TensorValue, TensorValue] {
  return [tensorAt(inputs, from, ctx), tensorAt(inputs, from + 1, ctx), tensorAt(inputs, from + 2, ctx)];
}

export const quantizedOps = {
  MatMulInteger: (inputs, ctx) => {
    const [a, b] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed('int32', () => integerProduct(a, optionalTensorAt(inputs, 2, ctx), b, optionalTensorAt(inputs, 3, ctx)));
  },
  ConvInteger: (inputs, ctx) => {
    const [x, w] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed('int32', () => integerConv(x, optionalTensorAt(inputs, 2, ctx), w, optionalTensorAt(inputs, 3, ctx), null, ctx));
  },
  QLinearMatMul: (inputs, ctx) => {
    const [a, aScale, aZero] = triple(inputs, 0, ctx);
    const [b, bScale, bZero] = triple(inputs, 3, ctx);
    const [yScale, yZero] = [tensorAt(inputs, 6, ctx), tensorAt(inputs, 7, ctx)];
    return computed(yZero.type, () => {
      const scales = [byRow(aScale.tensor), byColumn(bScale.tensor), byRow(yScale.tensor)].map((t) => cast(t, 'float32'));
      const factor = div(mul(scales[0], scales[1]), scales[2]);
      return requantized(integerProduct(a, aZero, b, bZero), factor, byRow(yZero.tensor), yZero.type);
    });
  },
  QLinearConv: (inputs, ctx) => {
    const [x, xScale, xZero] = triple(inputs, 0, ctx);
    const [w, wScale, wZero] = triple(inputs, 3, ctx);
    const [yScale, yZero, bias] = [tensorAt(inputs, 6, ctx), tensorAt(inputs, 7, ctx), optionalTensorAt(inputs, 8, ctx)];
    return computed(yZero.type, () => {
      const sum = integerConv(x, xZero, w, wZero, bias === null ? null : bias.tensor, ctx);
      const factor = div(mul(reshape(xScale.tensor, []), byChannel(wScale.tensor, x.shape.length)), reshape(yScale.tensor, []));
      return requantized(sum, factor, reshape(yZero.tensor, []), yZero.type);
    });
  },
} satisfies OpTable;
