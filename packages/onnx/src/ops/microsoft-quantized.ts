/** Quantized operators of com.microsoft: integers in and out, or on one side. */
import {
  add,
  bitwiseAnd,
  bitwiseRightShift,
  cast,
  concat,
  leakyRelu,
  matmul,
  mean,
  movedim,
  mul,
  narrow,
  reshape,
  sigmoid,
  softmax,
  stack,
  sub,
  sum,
  type Tensor,
  transpose,
  where,
} from 'trireme';
import { TensorValue, type Value } from '../engine/value.js';
import { axisOf, optionalTensorAt, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { first, standard } from './microsoft-fused.js';
import { poolOps } from './pool.js';
import { centred, dequantized, dynamicallyQuantized, quantized, quantizeOps } from './quantize.js';
import { byColumn, integerProduct, quantizedOps } from './quantized.js';
import { computed } from './tensors.js';

type Inputs = readonly (Value | null)[];

/** A scale or zero point of a whole tensor. */
const single = (t: Tensor): Tensor => (sizeOf(t.shape) === 1 ? reshape(t, []) : t);
const singleOrNull = (x: TensorValue | null): Tensor | null => (x === null ? null : single(x.tensor));

/** The real numbers of a quantized input that begins at `k`: value, scale, zero point. */
function realAt(inputs: Inputs, k: number, ctx: OpContext): Tensor {
  const x = tensorAt(inputs, k, ctx);
  return dequantized(x.tensor, x.type, single(tensorAt(inputs, k + 1, ctx).tensor), singleOrNull(optionalTensorAt(inputs, k + 2, ctx)));
}

/** Real results as integers of the type of input 0, with scale and zero point that begin at input `k`. */
function quantizedLike(inputs: Inputs, k: number, ctx: OpContext, compute: () => Tensor): TensorValue {
  const { type } = tensorAt(inputs, 0, ctx);
  return computed(type, () => {
    const scale = single(tensorAt(inputs, k, ctx).tensor);
    return quantized(compute(), scale, singleOrNull(optionalTensorAt(inputs, k + 1, ctx)), type);
  });
}

/** A function of one quantized tensor: inputs X, its scale and zero point, then those of the result. */
function mapped(device: (x: Tensor, ctx: OpContext) => Tensor): OpFunction {
  return (inputs, ctx) => quantizedLike(inputs, 3, ctx, () => device(realAt(inputs, 0, ctx), ctx));
}
function combined(device: (a: Tensor, b: Tensor) => Tensor): OpFunction {
  return (inputs, ctx) => quantizedLike(inputs, 6, ctx, () => device(realAt(inputs, 0, ctx), realAt(inputs, 3, ctx)));
}

/** An operator of ai.onnx on channels-first data. */
function channelsFirst(x: Tensor, run: OpFunction, rest: readonly Value[], ctx: OpContext): Tensor {
  const last = ctx.attrs.int('channels_last', 0) !== 0;
  const y = first(run([TensorValue.ofTensor(last ? movedim(x, -1, 1) : x, 'float32'), ...rest], standard(ctx)), ctx).tensor;
  return last ? movedim(y, 1, -1) : y;
}

function softmaxOf(x: Tensor, ctx: OpContext): Tensor {
  const axis = ctx.attrs.int('axis', -1);
  if (ctx.attrs.int('opset') >= 13) return softmax(x, axis);
  const at = axisOf(axis, x.ndim, ctx);
  return reshape(softmax(reshape(x, [sizeOf(x.shape.slice(0, at)), -1]), 1), x.shape);
}

/** Splits bytes into numbers of `bits` bits, the first in the lowest ones. */
function unpacked(bytes: Tensor, bits: number): Tensor {
  if (bits === 8) return bytes;
  const parts = Array.from({ length: 8 / bits }, (_, i) => bitwiseAnd(bitwiseRightShift(bytes, i * bits), 2 ** bits - 1));
  return reshape(stack(parts, -1), [...bytes.shape.slice(0, -1), -1]);
}

/** Weights of N rows in blocks along K, each with a scale and a zero point: [N, K] real numbers. */
function blockWeights(inputs: Inputs, ctx: OpContext): Tensor {
  const { attrs } = ctx;
  const [n, k, bits, block] = [attrs.int('N'), attrs.int('K'), attrs.int('bits', 4), attrs.int('block_size')];
  if (bits !== 2 && bits !== 4 && bits !== 8) ctx.fail(`weights of ${bits} bits`, '2, 4 or 8');
  const blocks = Math.ceil(k / block);
  const [packed, scales, zeros] = [tensorAt(inputs, 1, ctx), tensorAt(inputs, 2, ctx), optionalTensorAt(inputs, 3, ctx)];
  const codes = reshape(unpacked(packed.tensor, bits), [n, blocks, block]);
  const scale = reshape(scales.tensor, [n, blocks, 1]);
  const wide = cast(codes, scale.dtype === 'float16' ? 'float32' : scale.dtype);
  const weights = mul(sub(wide, zeroPoints(zeros, n, blocks, bits, ctx)), cast(scale, wide.dtype));
  return narrow(reshape(weights, [n, blocks * block]), 1, 0, k);
}

function zeroPoints(zeros: TensorValue | null, n: number, blocks: number, bits: number, ctx: OpContext): Tensor | number {
  if (zeros === null) return 2 ** (bits - 1);
  if (zeros.type !== 'uint8') return cast(reshape(zeros.tensor, [n, blocks, 1]), 'float32');
  const perRow = Math.ceil((blocks * bits) / 8);
  if (sizeOf(zeros.shape) !== n * perRow) ctx.fail(`zero points of shape [${zeros.shape.join(', ')}]`, `[${n}, ${perRow}]`);
  const codes = narrow(unpacked(reshape(zeros.tensor, [n, perRow]), bits), 1, 0, blocks);
  return cast(reshape(codes, [n, blocks, 1]), 'float32');
}

/** `sum * scale + bias` in float32. */
function realProduct(product: Tensor, scale: Tensor, bias: TensorValue | null): Tensor {
  const real = mul(cast(product, 'float32'), scale);
  return bias === null ? real : add(real, bias.tensor);
}

const dynamicQuantizeMatMul: OpFunction = (inputs, ctx) => {
  const [a, b, bScale] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
  const [bZero, bias] = [optionalTensorAt(inputs, 3, ctx), optionalTensorAt(inputs, 4, ctx)];
  return computed('float32', () => {
    const { y, scale, zero } = dynamicallyQuantized(a.tensor);
    const product = integerProduct(TensorValue.ofTensor(y, 'uint8'), TensorValue.ofTensor(zero, 'uint8'), b, bZero);
    return realProduct(product, mul(scale, byColumn(bScale.tensor)), bias);
  });
};

const matMulIntegerToFloat: OpFunction = (inputs, ctx) => {
  const [a, b, aScale, bScale] = [0, 1, 2, 3].map((k) => tensorAt(inputs, k, ctx));
  const [aZero, bZero, bias] = [4, 5, 6].map((k) => optionalTensorAt(inputs, k, ctx));
  return computed('float32', () =>
    realProduct(integerProduct(a, aZero, b, bZero), mul(single(aScale.tensor), byColumn(bScale.tensor)), bias),
  );
};

const qGemm: OpFunction = (inputs, ctx) => {
  const [a, aScale, aZero] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
  const [b, bScale, bZero] = [3, 4, 5].map((k) => tensorAt(inputs, k, ctx));
  const [bias, yScale, yZero] = [6, 7, 8].map((k) => optionalTensorAt(inputs, k, ctx));
  const type = yScale === null ? 'float32' : (yZero?.type ?? a.type);
  return computed(type, () => {
    const left = centred(a.tensor, a.type, single(aZero.tensor));
    const transposed = ctx.attrs.int('transB', 0) !== 0;
    const weight = transposed ? transpose(b.tensor, 0, 1) : b.tensor;
    const right = centred(weight, b.type, byColumn(bZero.tensor));
    const product = matmul(ctx.attrs.int('transA', 0) === 0 ? left : transpose(left, 0, 1), right);
    const total = bias === null ? product : add(product, bias.tensor);
    const real = mul(cast(total, 'float32'), mul(mul(single(aScale.tensor), byColumn(bScale.tensor)), ctx.attrs.float('alpha', 1)));
    return yScale === null ? real : quantized(real, single(yScale.tensor), singleOrNull(yZero), type);
  });
};

/** Inputs: scale and zero point of the result, then three for each part. */
const qLinearConcat: OpFunction = (inputs, ctx) => {
  const { type } = tensorAt(inputs, 2, ctx);
  return computed(type, () => {
    const parts: Tensor[] = [];
    for (let k = 2; k < inputs.length; k += 3) parts.push(realAt(inputs, k, ctx));
    const joined = concat(parts, axisOf(ctx.attrs.int('axis'), parts[0].ndim, ctx));
    return quantized(joined, single(tensorAt(inputs, 0, ctx).tensor), single(tensorAt(inputs, 1, ctx).tensor), type);
  });
};

const qLinearWhere: OpFunction = (inputs, ctx) => {
  const [condition, x, zero] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), tensorAt(inputs, 8, ctx)];
  return computed(x.type, () => {
    const chosen = where(condition.tensor, realAt(inputs, 1, ctx), realAt(inputs, 4, ctx));
    return quantized(chosen, single(tensorAt(inputs, 7, ctx).tensor), single(zero.tensor), x.type);
  });
};

const qLinearConv: OpFunction = (inputs, ctx) => {
  if (ctx.attrs.int('channels_last', 0) === 0) return quantizedOps.QLinearConv(inputs, standard(ctx));
  const [x, zero] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 7, ctx)];
  return computed(zero.type, () => {
    const moved = TensorValue.ofTensor(movedim(x.tensor, -1, 1), x.type);
    return movedim(first(quantizedOps.QLinearConv([moved, ...inputs.slice(1)], standard(ctx)), ctx).tensor, 1, -1);
  });
};

function meanOver(x: Tensor, ctx: OpContext): Tensor {
  const axes = ctx.attrs.ints('axes', []);
  return mean(x, axes.length === 0 ? null : axes, ctx.attrs.int('keepdims', 1) !== 0);
}

export const microsoftQuantizedOps = {
  QuantizeLinear: (inputs, ctx) => quantizeOps.QuantizeLinear(inputs, standard(ctx)),
  DequantizeLinear: (inputs, ctx) => quantizeOps.DequantizeLinear(inputs, standard(ctx)),
  QLinearAdd: combined(add),
  QLinearMul: combined(mul),
  QLinearSigmoid: mapped(sigmoid),
  QLinearLeakyRelu: mapped((x, ctx) => leakyRelu(x, { negativeSlope: ctx.attrs.float('alpha', 0.01) })),
  QLinearSoftmax: mapped(softmaxOf),
  QLinearReduceMean: mapped(meanOver),
  QLinearAveragePool: mapped((x, ctx) => channelsFirst(x, poolOps.AveragePool, [], ctx)),
  QLinearGlobalAveragePool: mapped((x, ctx) => channelsFirst(x, poolOps.GlobalAveragePool, [], ctx)),
  QLinearConcat: qLinearConcat,
  QLinearWhere: qLinearWhere,
  QLinearConv: qLinearConv,
  QGemm: qGemm,
  MatMulNBits: (inputs, ctx) => {
    const [a, bias] = [tensorAt(inputs, 0, ctx), optionalTensorAt(inputs, 5, ctx)];
    return computed(a.type, () => {
      const product = matmul(a.tensor, cast(blockWeights(inputs, ctx), a.tensor.dtype).t());
      return bias === null ? product : add(product, bias.tensor);
    });
  },
  DynamicQuantizeMatMul: dynamicQuantizeMatMul,
  MatMulIntegerToFloat: matMulIntegerToFloat,
  MulInteger: (inputs, ctx) => {
    const [a, aZero] = [tensorAt(inputs, 0, ctx), optionalTensorAt(inputs, 1, ctx)];
    const [b, bZero] = [tensorAt(inputs, 2, ctx), optionalTensorAt(inputs, 3, ctx)];
    return computed('int32', () => mul(centred(a.tensor, a.type, singleOrNull(aZero)), centred(b.tensor, b.type, singleOrNull(bZero))));
  },
  ReduceSumInteger: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return computed('int32', () => cast(sum(x.tensor, ctx.attrs.ints('axes'), ctx.attrs.int('keepdims') !== 0), 'int32'));
  },
} satisfies OpTable;
