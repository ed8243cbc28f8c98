/** The recorded PyTorch cases, and how each of their operations is called here. */

import type { DType } from '../../src/dtype.js';
import * as activation from '../../src/ops/activation.js';
import { scaledDotProductAttention } from '../../src/ops/attention.js';
import * as binary from '../../src/ops/binary.js';
import { cast } from '../../src/ops/cast.js';
import type { TensorOrScalar } from '../../src/ops/common.js';
import * as conv from '../../src/ops/conv.js';
import { einsum } from '../../src/ops/einsum.js';
import { embedding } from '../../src/ops/embedding.js';
import * as gather from '../../src/ops/gather.js';
import type { InterpolateOptions } from '../../src/ops/interpolate.js';
import { interpolate } from '../../src/ops/interpolate.js';
import * as join from '../../src/ops/join.js';
import * as loss from '../../src/ops/loss.js';
import * as matmul from '../../src/ops/matmul.js';
import * as norm from '../../src/ops/normalization.js';
import type { PadMode } from '../../src/ops/pad.js';
import { pad } from '../../src/ops/pad.js';
import * as pool from '../../src/ops/pool.js';
import * as reduce from '../../src/ops/reduce.js';
import * as scan from '../../src/ops/scan.js';
import * as scatter from '../../src/ops/scatter.js';
import * as search from '../../src/ops/search.js';
import * as sort from '../../src/ops/sort.js';
import * as statistics from '../../src/ops/statistics.js';
import * as ternary from '../../src/ops/ternary.js';
import * as unary from '../../src/ops/unary.js';
import { pixelShuffle, unfold2d } from '../../src/ops/vision.js';
import { createFromArray } from '../../src/tensor/dispatch.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { referenceFiles } from './reference-files.js';

export interface TensorJson {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}
export type ArgJson = TensorJson | number | string | null | readonly TensorJson[];
export interface CaseJson {
  readonly op: string;
  readonly args: readonly ArgJson[];
  readonly attrs: Readonly<Record<string, unknown>>;
  readonly outputs: readonly TensorJson[];
  readonly grads?: readonly (TensorJson | null | readonly (TensorJson | null)[])[];
  readonly special?: boolean;
}

export function loadCases(family: string): CaseJson[] {
  return (referenceFiles[family] as unknown as { readonly cases: CaseJson[] }).cases;
}

export function numbersOf(t: TensorJson): number[] {
  return t.data.map(Number);
}
export function isTensorJson(value: unknown): value is TensorJson {
  return typeof value === 'object' && value !== null && 'dtype' in value && 'data' in value;
}
export function tensorOf(t: TensorJson): Tensor {
  const data = t.dtype === 'int64' ? t.data.map((v) => BigInt(v)) : numbersOf(t);
  return createFromArray(data, t.dtype, t.shape);
}
/** The weight that the gradients of the cases were taken with. */
export function cotangent(shape: readonly number[], dtype: DType): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return createFromArray(
    Array.from({ length: size }, (_, i) => (((7 * i + 3) % 11) - 5.5) / 4),
    dtype,
    shape,
  );
}

export type Arg = Tensor | number | null | Tensor[];
type Attrs = Readonly<Record<string, unknown>>;
type Run = (args: readonly Arg[], attrs: Attrs) => Tensor | readonly Tensor[];

/** Tensors of an argument list that must be tensors. */
function tensors(args: readonly Arg[]): Tensor[] {
  return args.map((a) => {
    if (a instanceof Tensor) return a;
    throw new TypeError('a tensor is missing');
  });
}
function operands(args: readonly Arg[]): TensorOrScalar[] {
  return args.map((a) => {
    if (a instanceof Tensor || typeof a === 'number') return a;
    throw new TypeError('an operand is missing');
  });
}
function optional(a: Arg | undefined): Tensor | null {
  return a instanceof Tensor ? a : null;
}
function list(a: Arg | undefined): Tensor[] {
  if (Array.isArray(a)) return a;
  throw new TypeError('a list is missing');
}
const one =
  (fn: (x: Tensor) => Tensor): Run =>
  (args) =>
    fn(tensors(args)[0]);
const two =
  (fn: (a: TensorOrScalar, b: TensorOrScalar) => Tensor): Run =>
  (args) => {
    const [a, b] = operands(args);
    return fn(a, b);
  };
const withOptions =
  <O>(fn: (x: Tensor, options: O) => Tensor): Run =>
  (args, attrs) =>
    fn(tensors(args)[0], attrs as O);
const reduction =
  (fn: (x: Tensor, dim?: number[], keepdim?: boolean) => Tensor): Run =>
  (args, attrs) =>
    fn(tensors(args)[0], attrs.dim as number[] | undefined, attrs.keepdim as boolean);
const dimOf = (attrs: Attrs): number => attrs.dim as number;
const pair = ({ values, indices }: statistics.ValuesAndIndices): Tensor[] => [values, indices];

const convolution =
  (fn: typeof conv.conv1d): Run =>
  ([x, w, b], attrs) => {
    const [input, weight] = tensors([x, w]);
    return fn(input, weight, optional(b), attrs as conv.ConvOptions);
  };
const maxPooling =
  (fn: (x: Tensor, k: number[], o: pool.MaxPoolOptions & { returnIndices: true }) => pool.PooledWithIndices): Run =>
  ([x], attrs) => {
    const { values, indices } = fn(tensors([x])[0], attrs.kernelSize as number[], { ...attrs, returnIndices: true });
    return attrs.returnIndices ? [values, indices] : [values];
  };
const averagePooling =
  (fn: typeof pool.avgPool1d): Run =>
  ([x], attrs) =>
    fn(tensors([x])[0], attrs.kernelSize as number[], attrs);
const adaptive =
  (fn: (x: Tensor, size: number[]) => Tensor): Run =>
  ([x], attrs) =>
    fn(tensors([x])[0], attrs.outputSize as number[]);

const unaryNames = [
  'neg',
  'abs',
  'sign',
  'exp',
  'exp2',
  'expm1',
  'log',
  'log2',
  'log10',
  'log1p',
  'sqrt',
  'rsqrt',
  'square',
  'reciprocal',
  'sin',
  'cos',
  'tan',
  'asin',
  'acos',
  'atan',
  'sinh',
  'cosh',
  'tanh',
  'asinh',
  'acosh',
  'atanh',
  'erf',
  'erfc',
  'erfinv',
  'lgamma',
  'digamma',
  'sigmoid',
  'floor',
  'ceil',
  'round',
  'trunc',
  'frac',
  'relu',
  'isNaN',
  'isInf',
  'isFinite',
  'logicalNot',
  'bitwiseNot',
] as const satisfies readonly (keyof typeof unary)[];
const binaryNames = [
  'add',
  'sub',
  'mul',
  'div',
  'maximum',
  'minimum',
  'pow',
  'atan2',
  'fmod',
  'remainder',
  'floorDivide',
  'copysign',
  'hypot',
  'logaddexp',
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'logicalAnd',
  'logicalOr',
  'logicalXor',
  'bitwiseAnd',
  'bitwiseOr',
  'bitwiseXor',
  'bitwiseLeftShift',
  'bitwiseRightShift',
] as const satisfies readonly (keyof typeof binary)[];
const plainActivations = ['relu6', 'silu', 'mish', 'softsign', 'hardsigmoid', 'hardswish', 'selu', 'logSigmoid', 'tanhshrink'] as const;

export const operations: Record<string, Run> = {
  ...Object.fromEntries(unaryNames.map((name) => [name, one(unary[name])])),
  ...Object.fromEntries(binaryNames.map((name) => [name, two(binary[name])])),
  ...Object.fromEntries(plainActivations.map((name) => [name, one(activation[name])])),
  gelu: withOptions(activation.gelu),
  leakyRelu: withOptions(activation.leakyRelu),
  elu: withOptions(activation.elu),
  celu: withOptions(activation.celu),
  softplus: withOptions(activation.softplus),
  hardtanh: withOptions(activation.hardtanh),
  hardshrink: withOptions(activation.hardshrink),
  softshrink: withOptions(activation.softshrink),
  threshold: withOptions(activation.threshold),
  glu: withOptions(activation.glu),
  prelu: (args) => {
    const [x, w] = tensors(args);
    return activation.prelu(x, w);
  },
  softmax: ([x], attrs) => statistics.softmax(tensors([x])[0], dimOf(attrs)),
  logSoftmax: ([x], attrs) => statistics.logSoftmax(tensors([x])[0], dimOf(attrs)),
  softmin: ([x], attrs) => statistics.softmin(tensors([x])[0], dimOf(attrs)),

  where: (args) => {
    const [c, a, b] = tensors(args);
    return ternary.where(c, a, b);
  },
  maskedFill: (args, { value }) => {
    const [a, mask] = tensors(args);
    return ternary.maskedFill(a, mask, Number(value));
  },
  clamp: withOptions(ternary.clamp),
  lerp: ([a, b, w]) => {
    const [start, end] = tensors([a, b]);
    return ternary.lerp(start, end, typeof w === 'number' ? w : tensors([w])[0]);
  },
  addcmul: (args, attrs) => {
    const [a, b, c] = tensors(args);
    return ternary.addcmul(a, b, c, attrs);
  },
  addcdiv: (args, attrs) => {
    const [a, b, c] = tensors(args);
    return ternary.addcdiv(a, b, c, attrs);
  },
  to: ([a], attrs) => cast(tensors([a])[0], attrs.dtype as DType),

  sum: reduction(reduce.sum),
  mean: reduction(reduce.mean),
  prod: reduction(reduce.prod),
  amax: reduction(reduce.amax),
  amin: reduction(reduce.amin),
  any: reduction(reduce.any),
  all: reduction(reduce.all),
  logsumexp: reduction(statistics.logsumexp),
  var: ([a], attrs) => statistics.variance(tensors([a])[0], attrs.dim as number[], attrs.keepdim as boolean, attrs),
  std: ([a], attrs) => statistics.std(tensors([a])[0], attrs.dim as number[], attrs.keepdim as boolean, attrs),
  norm: ([a], attrs) => statistics.norm(tensors([a])[0], Number(attrs.p), attrs.dim as number[], attrs.keepdim as boolean),
  max: ([a], attrs) =>
    'dim' in attrs ? pair(statistics.max(tensors([a])[0], dimOf(attrs), attrs.keepdim as boolean)) : statistics.max(tensors([a])[0]),
  min: ([a], attrs) =>
    'dim' in attrs ? pair(statistics.min(tensors([a])[0], dimOf(attrs), attrs.keepdim as boolean)) : statistics.min(tensors([a])[0]),
  argmax: ([a], attrs) => statistics.argmax(tensors([a])[0], attrs.dim as number | undefined, attrs.keepdim as boolean | undefined),
  argmin: ([a], attrs) => statistics.argmin(tensors([a])[0], attrs.dim as number | undefined, attrs.keepdim as boolean | undefined),

  cumsum: ([a], attrs) => scan.cumsum(tensors([a])[0], dimOf(attrs)),
  cumprod: ([a], attrs) => scan.cumprod(tensors([a])[0], dimOf(attrs)),
  logcumsumexp: ([a], attrs) => scan.logcumsumexp(tensors([a])[0], dimOf(attrs)),
  cummax: ([a], attrs) => pair(scan.cummax(tensors([a])[0], dimOf(attrs))),
  cummin: ([a], attrs) => pair(scan.cummin(tensors([a])[0], dimOf(attrs))),
  diff: ([a], attrs) => scan.diff(tensors([a])[0], attrs),

  sort: ([a], attrs) => pair(sort.sort(tensors([a])[0], dimOf(attrs), attrs)),
  argsort: ([a], attrs) => sort.argsort(tensors([a])[0], dimOf(attrs), attrs),
  topk: ([a], attrs) => pair(sort.topk(tensors([a])[0], attrs.k as number, dimOf(attrs), attrs)),
  unique: ([a]) => {
    const { values, inverse, counts } = search.unique(tensors([a])[0]);
    return [values, inverse, counts];
  },
  searchsorted: (args, attrs) => {
    const [sorted, values] = tensors(args);
    return search.searchsorted(sorted, values, attrs);
  },
  nonzero: one(search.nonzero),
  bincount: ([a], attrs) => search.bincount(tensors([a])[0], attrs),

  matmul: (args) => {
    const [a, b] = tensors(args);
    return matmul.matmul(a, b);
  },
  linear: ([x, w, b]) => {
    const [input, weight] = tensors([x, w]);
    return matmul.linear(input, weight, optional(b));
  },
  outer: (args) => {
    const [a, b] = tensors(args);
    return matmul.outer(a, b);
  },
  dot: (args) => {
    const [a, b] = tensors(args);
    return matmul.dot(a, b);
  },
  addmm: (args, attrs) => {
    const [c, a, b] = tensors(args);
    return matmul.addmm(c, a, b, attrs);
  },
  einsum: ([all], attrs) => einsum(attrs.equation as string, ...list(all)),

  conv1d: convolution(conv.conv1d),
  conv2d: convolution(conv.conv2d),
  conv3d: convolution(conv.conv3d),
  convTranspose1d: convolution(conv.convTranspose1d as typeof conv.conv1d),
  convTranspose2d: convolution(conv.convTranspose2d as typeof conv.conv1d),
  convTranspose3d: convolution(conv.convTranspose3d as typeof conv.conv1d),

  maxPool1d: maxPooling(pool.maxPool1d),
  maxPool2d: maxPooling(pool.maxPool2d),
  maxPool3d: maxPooling(pool.maxPool3d),
  avgPool1d: averagePooling(pool.avgPool1d),
  avgPool2d: averagePooling(pool.avgPool2d),
  avgPool3d: averagePooling(pool.avgPool3d),
  adaptiveAvgPool1d: adaptive(pool.adaptiveAvgPool1d),
  adaptiveAvgPool2d: adaptive(pool.adaptiveAvgPool2d),
  adaptiveAvgPool3d: adaptive(pool.adaptiveAvgPool3d),
  adaptiveMaxPool1d: adaptive((x, size) => pool.adaptiveMaxPool1d(x, size)),
  adaptiveMaxPool2d: adaptive((x, size) => pool.adaptiveMaxPool2d(x, size)),
  adaptiveMaxPool3d: adaptive((x, size) => pool.adaptiveMaxPool3d(x, size)),

  pad: ([x], attrs) => pad(tensors([x])[0], attrs.pad as number[], { mode: attrs.mode as PadMode, value: Number(attrs.value ?? 0) }),
  interpolate: ([x], attrs) => interpolate(tensors([x])[0], attrs as InterpolateOptions),
  pixelShuffle: ([x], attrs) => pixelShuffle(tensors([x])[0], attrs.upscaleFactor as number),
  unfold2d: ([x], attrs) => unfold2d(tensors([x])[0], attrs.kernelSize as number[], attrs),

  gather: (args, attrs) => {
    const [a, index] = tensors(args);
    return gather.gather(a, dimOf(attrs), index);
  },
  takeAlongDim: (args, attrs) => {
    const [a, index] = tensors(args);
    return gather.takeAlongDim(a, index, dimOf(attrs));
  },
  indexSelect: (args, attrs) => {
    const [a, index] = tensors(args);
    return gather.indexSelect(a, dimOf(attrs), index);
  },
  take: (args) => {
    const [a, index] = tensors(args);
    return gather.take(a, index);
  },
  embedding: (args, attrs) => {
    const [index, weight] = tensors(args);
    return embedding(index, weight, attrs);
  },
  scatter: ([a, index, source], attrs) => {
    const [x, at] = tensors([a, index]);
    return scatter.scatter(x, dimOf(attrs), at, optional(source) ?? Number(attrs.value));
  },
  scatterAdd: (args, attrs) => {
    const [x, index, source] = tensors(args);
    return scatter.scatterAdd(x, dimOf(attrs), index, source);
  },
  scatterReduce: (args, attrs) => {
    const [x, index, source] = tensors(args);
    return scatter.scatterReduce(x, dimOf(attrs), index, source, attrs.reduce as scatter.ScatterReduction, attrs);
  },
  indexAdd: (args, attrs) => {
    const [x, index, source] = tensors(args);
    return scatter.indexAdd(x, dimOf(attrs), index, source);
  },
  indexCopy: (args, attrs) => {
    const [x, index, source] = tensors(args);
    return scatter.indexCopy(x, dimOf(attrs), index, source);
  },
  indexFill: (args, attrs) => {
    const [x, index] = tensors(args);
    return scatter.indexFill(x, dimOf(attrs), index, Number(attrs.value));
  },
  maskedSelect: (args) => {
    const [x, mask] = tensors(args);
    return search.maskedSelect(x, mask);
  },
  maskedScatter: (args) => {
    const [x, mask, source] = tensors(args);
    return search.maskedScatter(x, mask, source);
  },
  oneHot: ([x], attrs) => join.oneHot(tensors([x])[0], attrs.numClasses as number),

  concat: ([all], attrs) => join.concat(list(all), dimOf(attrs)),
  stack: ([all], attrs) => join.stack(list(all), dimOf(attrs)),
  roll: ([x], attrs) => join.roll(tensors([x])[0], attrs.shifts as number[], attrs.dims as number[] | undefined),
  tile: ([x], attrs) => join.tile(tensors([x])[0], attrs.repeats as number[]),
  repeatInterleave: ([x], attrs) => join.repeatInterleave(tensors([x])[0], attrs.repeats as number | number[], dimOf(attrs)),
  tril: ([x], attrs) => join.tril(tensors([x])[0], attrs.diagonal as number),
  triu: ([x], attrs) => join.triu(tensors([x])[0], attrs.diagonal as number),
  diag: ([x], attrs) => join.diag(tensors([x])[0], attrs.diagonal as number),

  layerNorm: ([x, w, b], attrs) => norm.layerNorm(tensors([x])[0], attrs.normalizedShape as number[], optional(w), optional(b), attrs),
  rmsNorm: ([x, w], attrs) => norm.rmsNorm(tensors([x])[0], attrs.normalizedShape as number[], optional(w), attrs),
  groupNorm: ([x, w, b], attrs) => norm.groupNorm(tensors([x])[0], attrs.numGroups as number, optional(w), optional(b), attrs),
  instanceNorm: ([x, w, b], attrs) => norm.instanceNorm(tensors([x])[0], optional(w), optional(b), attrs),
  batchNorm: ([x, mean, variance, w, b], attrs) => {
    const [input, runningMean, runningVar] = tensors([x, mean, variance]);
    return [norm.batchNorm(input, runningMean, runningVar, optional(w), optional(b), attrs), runningMean, runningVar];
  },
  normalize: withOptions(statistics.normalize),
  cosineSimilarity: (args, attrs) => {
    const [a, b] = tensors(args);
    return statistics.cosineSimilarity(a, b, attrs);
  },

  crossEntropy: ([x, target, weight], attrs) => {
    const [logits, labels] = tensors([x, target]);
    return loss.crossEntropy(logits, labels, { ...attrs, weight: optional(weight) });
  },
  nllLoss: ([x, target, weight], attrs) => {
    const [logs, labels] = tensors([x, target]);
    return loss.nllLoss(logs, labels, { ...attrs, weight: optional(weight) });
  },
  bceWithLogits: ([x, target, weight, posWeight], attrs) => {
    const [logits, labels] = tensors([x, target]);
    return loss.bceWithLogits(logits, labels, { ...attrs, weight: optional(weight), posWeight: optional(posWeight) });
  },
  ...Object.fromEntries(
    (['mseLoss', 'l1Loss', 'huberLoss', 'smoothL1Loss', 'bce', 'klDiv'] as const).map((name): [string, Run] => [
      name,
      (args, attrs) => {
        const [x, target] = tensors(args);
        return loss[name](x, target, attrs);
      },
    ]),
  ),
  scaledDotProductAttention: ([q, k, v, mask], attrs) => {
    const [query, key, value] = tensors([q, k, v]);
    return scaledDotProductAttention(query, key, value, { ...attrs, mask: optional(mask) });
  },
};
