/** Operators of com.microsoft that are several of ai.onnx in one, as onnxruntime's optimizer writes them. */
import {
  add,
  clamp,
  elu,
  gelu,
  groupNorm,
  leakyRelu,
  matmul,
  mean,
  movedim,
  mul,
  relu,
  rsqrt,
  scope,
  sigmoid,
  silu,
  split,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
  transpose,
  unsqueeze,
} from 'trireme';
import { inv } from 'trireme/linalg';
import { TensorValue, type Value } from '../engine/value.js';
import { activationOps, swish } from './activation.js';
import { axisOf, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import { reshaped } from './arrange.js';
import { convOps } from './conv.js';
import { createOps } from './create.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { gatherOps } from './gather.js';
import { linearOps, scaled } from './linear.js';
import { partOps } from './parts.js';
import { computed, widened } from './tensors.js';

/** Version of ai.onnx whose operators the fused ones stand for. */
const standardOpset = 21;

/** The node as an operator of ai.onnx sees it. */
export function standard(ctx: OpContext): OpContext {
  return { ...ctx, opset: standardOpset };
}

/** The first result of an operator, which is a tensor. */
export function first(results: Value | readonly (Value | null)[], ctx: OpContext): TensorValue {
  const value = Array.isArray(results) ? (results as readonly (Value | null)[])[0] : (results as Value);
  return value?.kind === 'tensor' ? value : ctx.fail('there is no result');
}

/** The activation a fused node ends with; its parameters stand in the order of the activation's own attributes. */
function activated(x: Tensor, name: string, parameters: readonly number[], ctx: OpContext): Tensor {
  const [alpha, beta] = parameters;
  switch (name) {
    case '':
      return x;
    case 'Relu':
      return relu(x);
    case 'Tanh':
      return tanh(x);
    case 'Sigmoid':
      return sigmoid(x);
    case 'LeakyRelu':
      return leakyRelu(x, { negativeSlope: alpha ?? 0.01 });
    case 'Elu':
      return elu(x, { alpha: alpha ?? 1 });
    case 'Clip':
      return clamp(x, { min: alpha ?? null, max: beta ?? null });
    case 'HardSigmoid':
      return clamp(add(mul(x, alpha ?? 0.2), beta ?? 0.5), { min: 0, max: 1 });
    default:
      return ctx.fail(`activation '${name}'`, 'Relu, Tanh, Sigmoid, LeakyRelu, Elu, Clip or HardSigmoid');
  }
}

/** Parameters that are attributes of their own. */
function activationParameters(ctx: OpContext): number[] {
  const values = ['activation_alpha', 'activation_beta', 'activation_gamma'].map((name) => ctx.attrs.optionalFloat(name));
  return values.filter((value) => value !== undefined);
}

/** Moves the first axis behind the batches, and swaps the last two, as the attributes say. */
function operand(x: TensorValue, name: 'A' | 'B', ctx: OpContext): Tensor {
  const moved = ctx.attrs.int(`transBatch${name}`, 0) === 0 ? x.tensor : movedim(x.tensor, 0, -2);
  return ctx.attrs.int(`trans${name}`, 0) === 0 || x.shape.length < 2 ? moved : transpose(moved, -2, -1);
}

const fusedMatMul: OpFunction = (inputs, ctx) => {
  const [a, b] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
  return computed(a.type, () => {
    const product = scaled(matmul(operand(a, 'A', ctx), operand(b, 'B', ctx)), ctx.attrs.float('alpha', 1), a.type);
    return activated(product, ctx.attrs.string('activation', ''), activationParameters(ctx), ctx);
  });
};

const tanhGelu = (x: Tensor): Tensor => gelu(x, { approximate: 'tanh' });

/** A function of the sum of the input and an optional bias. */
function biased(device: (x: Tensor) => Tensor): OpFunction {
  return (inputs, ctx) => {
    const [x, bias] = [tensorAt(inputs, 0, ctx), optionalTensorAt(inputs, 1, ctx)];
    return computed(x.type, () => device(bias === null ? x.tensor : add(x.tensor, bias.tensor)));
  };
}

interface Normalized {
  readonly y: Tensor;
  readonly mean: Tensor | null;
  readonly inverse: Tensor;
}

/** Layer normalization over the last axis, with what it subtracted and divided by. */
export function normalizedRows(x: Tensor, scale: Tensor, bias: Tensor | null, epsilon: number, centre: boolean, axis = -1): Normalized {
  const axes = Array.from({ length: axis < 0 ? -axis : x.ndim - axis }, (_, i) => x.ndim - 1 - i);
  const wide = widened(x);
  const middle = centre ? mean(wide, axes, true) : null;
  const centred = middle === null ? wide : sub(wide, middle);
  const inverse = rsqrt(add(mean(square(centred), axes, true), epsilon));
  const y = mul(mul(centred, inverse), scale.to(wide.dtype));
  return { y: (bias === null ? y : add(y, bias.to(wide.dtype))).to(x.dtype), mean: middle, inverse };
}

/** Normalizes the sum of input, skip and bias; the sum is the fourth output. */
function skipNormalization(centre: boolean): OpFunction {
  return (inputs, ctx) => {
    const [x, skip, gamma] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
    const beta = centre ? optionalTensorAt(inputs, 3, ctx) : null;
    const bias = optionalTensorAt(inputs, centre ? 4 : 3, ctx);
    const epsilon = ctx.attrs.float('epsilon', 1e-12);
    const made = scope(() => {
      const both = add(x.tensor, skip.tensor);
      const total = bias === null ? both : add(both, bias.tensor);
      return { ...normalizedRows(total, gamma.tensor, beta === null ? null : beta.tensor, epsilon, centre), total };
    });
    const middle = made.mean === null ? null : TensorValue.ofTensor(made.mean, 'float32');
    return [
      TensorValue.ofTensor(made.y, x.type),
      middle,
      TensorValue.ofTensor(made.inverse, 'float32'),
      TensorValue.ofTensor(made.total, x.type),
    ];
  };
}

const simplifiedNormalization: OpFunction = (inputs, ctx) => {
  const [x, scale] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
  const axis = axisOf(ctx.attrs.int('axis', -1), x.shape.length, ctx);
  const made = scope(() => normalizedRows(x.tensor, scale.tensor, null, ctx.attrs.float('epsilon', 1e-5), false, axis));
  return [TensorValue.ofTensor(made.y, x.type), TensorValue.ofTensor(made.inverse, 'float32')];
};

/** Distances between the rows of two matrices. */
function distances(a: Tensor, b: Tensor, metric: string, ctx: OpContext): Tensor {
  if (metric !== 'euclidean' && metric !== 'sqeuclidean') ctx.fail(`metric '${metric}'`, "'euclidean' or 'sqeuclidean'");
  const squares = sum(square(sub(unsqueeze(a, 1), unsqueeze(b, 0))), -1);
  return metric === 'euclidean' ? sqrt(squares) : squares;
}

export const fusedOps = {
  FusedMatMul: fusedMatMul,
  TransposeMatMul: fusedMatMul,
  FusedMatMulActivation: fusedMatMul,
  FusedGemm: (inputs, ctx) => {
    const product = first(linearOps.Gemm(inputs, standard(ctx)), ctx);
    return computed(product.type, () => activated(product.tensor, ctx.attrs.string('activation', ''), activationParameters(ctx), ctx));
  },
  GemmFastGelu: (inputs, ctx) => {
    const [a, b, bias] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), optionalTensorAt(inputs, 2, ctx)];
    return computed(a.type, () => {
      const product = matmul(a.tensor, b.tensor);
      return tanhGelu(bias === null ? product : add(product, bias.tensor));
    });
  },
  FusedConv: (inputs, ctx) => {
    const y = first(convOps.Conv(inputs.slice(0, 3), standard(ctx)), ctx);
    const residual = optionalTensorAt(inputs, 3, ctx);
    return computed(y.type, () => {
      const total = residual === null ? y.tensor : add(y.tensor, residual.tensor);
      return activated(total, ctx.attrs.string('activation', ''), ctx.attrs.floats('activation_params', []), ctx);
    });
  },
  Gelu: (inputs, ctx) => activationOps.Gelu(inputs, standard(ctx)),
  BiasGelu: biased((x) => gelu(x)),
  FastGelu: biased(tanhGelu),
  QuickGelu: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return computed(x.type, () => swish(x.tensor, ctx.attrs.float('alpha', 1.702)));
  },
  /** The first half of the channels times the gelu of the second. */
  BiasSplitGelu: (inputs, ctx) => {
    const [x, bias] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed(x.type, () => {
      const [value, gate] = split(add(x.tensor, bias.tensor), x.shape[x.shape.length - 1] / 2, -1);
      return mul(value, gelu(gate));
    });
  },
  BiasAdd: (inputs, ctx) => {
    const [x, bias, skip] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
    return computed(x.type, () => add(add(x.tensor, bias.tensor), skip.tensor));
  },
  SkipLayerNormalization: skipNormalization(true),
  SkipSimplifiedLayerNormalization: skipNormalization(false),
  SimplifiedLayerNormalization: simplifiedNormalization,
  /** Channels last unless `channels_last` is 0. */
  GroupNorm: (inputs, ctx) => {
    const [x, gamma, beta] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
    const last = ctx.attrs.int('channels_last', 1) !== 0;
    return computed(x.type, () => {
      const source = last ? movedim(x.tensor, -1, 1) : x.tensor;
      const y = groupNorm(source, ctx.attrs.int('groups'), gamma.tensor, beta.tensor, { eps: ctx.attrs.float('epsilon', 1e-5) });
      const shaped = ctx.attrs.int('activation', 0) === 1 ? silu(y) : y;
      return last ? movedim(shaped, 1, -1) : shaped;
    });
  },
  ExpandDims: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(numbersOf(tensorAt(inputs, 1, ctx))[0], x.shape.length + 1, ctx);
    return reshaped(x, x.shape.toSpliced(axis, 0, 1), (t) => unsqueeze(t, axis));
  },
  Inverse: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return computed(x.type, () => inv(x.tensor));
  },
  CDist: (inputs, ctx) => {
    const [a, b] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed(a.type, () => distances(a.tensor, b.tensor, ctx.attrs.string('metric', 'sqeuclidean'), ctx));
  },
  Trilu: (inputs, ctx) => partOps.Trilu(inputs, standard(ctx)),
  GatherND: (inputs, ctx) => gatherOps.GatherND(inputs, standard(ctx)),
  Range: (inputs, ctx) => createOps.Range(inputs, standard(ctx)),
} satisfies OpTable;

/** Fused operators that onnxruntime puts into the standard domain. */
export const strayOps = { SimplifiedLayerNormalization: simplifiedNormalization } satisfies OpTable;
