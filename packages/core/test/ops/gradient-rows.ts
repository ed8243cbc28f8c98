/** For every primitive with a gradient: functions of float64 tensors that reach it, at points where they are smooth. */
import * as b from '../../src/ops/binary.js';
import { barrier, cast } from '../../src/ops/cast.js';
import * as conv from '../../src/ops/conv.js';
import { einsum } from '../../src/ops/einsum.js';
import { embedding } from '../../src/ops/embedding.js';
import { complexFft, halfFromReal, realFromHalf } from '../../src/ops/fft.js';
import { gather, indexSelect, take } from '../../src/ops/gather.js';
import { concat, stack } from '../../src/ops/join.js';
import { eighOf } from '../../src/ops/linalg-eigen.js';
import { qrOf } from '../../src/ops/linalg-qr.js';
import { choleskyOf, luOf, transposed, triangular } from '../../src/ops/linalg-solve.js';
import { linear, matmul } from '../../src/ops/matmul.js';
import { pad } from '../../src/ops/pad.js';
import * as pool from '../../src/ops/pool.js';
import { gammaSlope, igamma } from '../../src/ops/random-samplers.js';
import { amax, amin, prod, sum } from '../../src/ops/reduce.js';
import * as scan from '../../src/ops/scan.js';
import * as scatter from '../../src/ops/scatter.js';
import { sort } from '../../src/ops/sort.js';
import { where } from '../../src/ops/ternary.js';
import * as u from '../../src/ops/unary.js';
import { permute, reshape } from '../../src/ops/view.js';
import { asStrided, diagonal, slice, unfold } from '../../src/ops/view-slice.js';
import { replaceView } from '../../src/ops/write-view.js';
import { createFromArray } from '../../src/tensor/dispatch.js';
import type { Tensor } from '../../src/tensor/tensor.js';

export interface Row {
  readonly fn: (...inputs: Tensor[]) => Tensor | readonly Tensor[];
  readonly inputs: () => Tensor[];
  /** Default 2: the gradient of the gradient is checked too. */
  readonly order?: 1 | 2;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, c) => a * c, 1);

/** Float64 numbers in (lo, hi) without ties, in a scrambled order that depends on the seed. */
export function reals(shape: readonly number[], lo = -1, hi = 1, seed = 1): Tensor {
  const n = sizeOf(shape);
  const step = (hi - lo) / Math.max(1, n);
  const stride = [7, 5, 3, 11, 13].find((p) => n % p !== 0) ?? 1;
  return createFromArray(
    Array.from({ length: n }, (_, i) => lo + step * ((((i + seed) * stride) % Math.max(1, n)) + 0.41)),
    'float64',
    shape,
  );
}
export function whole(data: readonly number[], shape: readonly number[] = [data.length]): Tensor {
  return createFromArray(data, 'int32', shape);
}
const bools = (data: readonly number[], shape: readonly number[]): Tensor => createFromArray(data, 'bool', shape);

const shapes = [[], [3], [2, 3], [2, 1, 5]];
/** A function of one tensor, over several shapes, with its arguments in (lo, hi). */
function unary(fn: (x: Tensor) => Tensor, lo = -1, hi = 1, order: 1 | 2 = 2): Row[] {
  return shapes.map((shape) => ({ fn, inputs: () => [reals(shape, lo, hi)], order }));
}
/** A function of two tensors that broadcast. */
function binary(
  fn: (x: Tensor, y: Tensor) => Tensor,
  [lo, hi]: [number, number] = [-1, 1],
  [lo2, hi2]: [number, number] = [lo, hi],
  order: 1 | 2 = 2,
): Row[] {
  const pairs = [
    [[], []],
    [
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3]],
    [
      [2, 1],
      [1, 4],
    ],
    [[], [5]],
  ];
  return pairs.map(([p, q]) => ({ fn, inputs: () => [reals(p, lo, hi), reals(q, lo2, hi2, 2)], order }));
}
const row = (fn: Row['fn'], inputs: () => Tensor[], order: 1 | 2 = 2): Row => ({ fn, inputs, order });

export const gradientRows: Record<string, readonly Row[]> = {
  barrier: [
    row(
      (x) => barrier(x),
      () => [reals([2, 3])],
    ),
  ],
  cast: [
    row(
      (x) => cast(x, 'float64'),
      () => [reals([2, 2])],
    ),
    row(
      (x) => b.mul(permute(x, [1, 0]), x),
      () => [reals([2, 2])],
    ),
  ],
  neg: unary(u.neg),
  abs: unary(u.abs, 0.1, 1),
  sign: unary(u.sign, 0.1, 1, 1),
  floor: unary(u.floor, 0.1, 0.9, 1),
  ceil: unary(u.ceil, 0.1, 0.9, 1),
  round: unary(u.round, 0.6, 0.9, 1),
  trunc: unary(u.trunc, 0.1, 0.9, 1),
  sqrt: unary(u.sqrt, 0.5, 2),
  rsqrt: unary(u.rsqrt, 0.5, 2),
  reciprocal: unary(u.reciprocal, 0.5, 2),
  exp: unary(u.exp),
  exp2: unary(u.exp2),
  expm1: unary(u.expm1),
  log: unary(u.log, 0.5, 2),
  log2: unary(u.log2, 0.5, 2),
  log10: unary(u.log10, 0.5, 2),
  log1p: unary(u.log1p, -0.5, 2),
  sin: unary(u.sin),
  cos: unary(u.cos),
  tan: unary(u.tan),
  asin: unary(u.asin, -0.8, 0.8),
  acos: unary(u.acos, -0.8, 0.8),
  atan: unary(u.atan),
  sinh: unary(u.sinh),
  cosh: unary(u.cosh),
  tanh: unary(u.tanh),
  asinh: unary(u.asinh),
  acosh: unary(u.acosh, 1.5, 3),
  atanh: unary(u.atanh, -0.8, 0.8),
  erf: unary(u.erf),
  erfc: unary(u.erfc),
  erfinv: unary(u.erfinv, -0.8, 0.8),
  lgamma: unary(u.lgamma, 0.6, 4),
  digamma: unary(u.digamma, 0.6, 4),
  sigmoid: unary(u.sigmoid),
  relu: [...unary(u.relu, 0.1, 1), ...unary(u.relu, -1, -0.1)],
  polygamma: [
    ...unary((x) => u.polygamma(1, x), 0.6, 4),
    ...unary((x) => b.mul(u.digamma(x), 1), -0.9, -0.1, 1),
    ...unary((x) => u.polygamma(3, x), 1.5, 4),
  ],
  clamp: [
    row(
      (x) => u.clampToNumbers(x, -0.5, 0.6),
      () => [reals([7])],
    ),
    row(
      (x) => u.clampToNumbers(x, null, 0.3),
      () => [reals([7])],
    ),
  ],

  add: binary(b.add),
  sub: binary(b.sub),
  mul: binary(b.mul),
  div: binary(b.div, [-1, 1], [0.5, 2]),
  floorDivide: binary(b.floorDivide, [0.6, 0.9], [0.2, 0.29], 1),
  remainder: binary(b.remainder, [1.05, 1.2], [0.52, 0.58], 1),
  fmod: binary(b.fmod, [1.05, 1.2], [0.52, 0.58], 1),
  pow: binary(b.pow, [0.5, 2], [-1.5, 2]),
  maximum: binary(b.maximum, [-1, 1], [1.1, 2]),
  minimum: binary(b.minimum, [-1, 1], [1.1, 2]),
  atan2: binary(b.atan2, [0.2, 1], [0.3, 1]),
  copysign: binary(b.copysign, [0.2, 1], [0.3, 1]),
  hypot: binary(b.hypot, [0.2, 1], [0.3, 1]),
  logaddexp: binary(b.logaddexp),
  where: [
    row(
      (x, y) => where(bools([1, 0, 1], [3]), x, y),
      () => [reals([2, 3]), reals([3], -1, 1, 2)],
    ),
    row(
      (x) => where(bools([1, 0], [2, 1]), 2, x),
      () => [reals([3])],
    ),
  ],

  sum: [
    row(
      (x) => sum(x),
      () => [reals([2, 3])],
    ),
    row(
      (x) => u.exp(sum(x, [0, 2], true)),
      () => [reals([2, 3, 2])],
    ),
    row(
      (x) => u.exp(sum(x, 1)),
      () => [reals([2, 3])],
    ),
  ],
  prod: [
    row(
      (x) => prod(x, 1),
      () => [reals([2, 3], 0.5, 2)],
    ),
    row(
      (x) => prod(x),
      () => [reals([2, 2], -2, -0.5)],
    ),
    row(
      (x) => prod(x, 1, true),
      () => [createFromArray([0, 2, 3, 1, 0, 0], 'float64', [2, 3])],
      1,
    ),
  ],
  reduceMax: [
    row(
      (x) => u.exp(amax(x, 1)),
      () => [reals([3, 4])],
    ),
    row(
      (x) => u.exp(amax(x)),
      () => [reals([7])],
    ),
  ],
  reduceMin: [
    row(
      (x) => u.exp(amin(x, 0, true)),
      () => [reals([3, 4])],
    ),
  ],

  cumsum: [
    row(
      (x) => u.exp(scan.cumsum(x, 0)),
      () => [reals([5])],
    ),
    row(
      (x) => u.exp(scan.cumsum(x, 0)),
      () => [reals([3, 4])],
    ),
    row(
      (x) => u.exp(scan.cumsum(x, 1)),
      () => [reals([2, 3, 2])],
    ),
  ],
  cumprod: [
    row(
      (x) => scan.cumprod(x, 1),
      () => [reals([2, 4], 0.5, 1.5)],
    ),
    row(
      (x) => scan.cumprod(x, 0),
      () => [reals([3, 2], -1.5, -0.5)],
    ),
    row(
      (x) => scan.cumprod(x, 1),
      () => [createFromArray([1, 0, 2, 3, 0, 2, 0, 1], 'float64', [2, 4])],
      1,
    ),
  ],
  logcumsumexp: [
    row(
      (x) => scan.logcumsumexp(x, 1),
      () => [reals([2, 4])],
    ),
    row(
      (x) => scan.logcumsumexp(x, 0),
      () => [reals([3, 2])],
    ),
  ],
  cumExtreme: [
    row(
      (x) => u.exp(scan.cummax(x, 1).values),
      () => [reals([2, 5])],
    ),
    row(
      (x) => u.exp(scan.cummin(x, 0).values),
      () => [reals([4, 2])],
    ),
  ],
  sort: [
    row(
      (x) => u.exp(sort(x, 1).values),
      () => [reals([2, 5])],
    ),
    row(
      (x) => u.exp(sort(x, 0, { descending: true }).values),
      () => [reals([20, 2])],
    ),
  ],

  contract: [
    row(matmul, () => [reals([2, 3]), reals([3, 4], -1, 1, 2)]),
    row(matmul, () => [reals([2, 2, 3]), reals([3, 2], -1, 1, 2)]),
    row(matmul, () => [reals([2, 1, 2, 3]), reals([3, 3, 2], -1, 1, 2)]),
    row(matmul, () => [reals([3]), reals([2, 3, 2], -1, 1, 2)]),
    row(
      (x, w, c) => linear(x, w, c),
      () => [reals([2, 3]), reals([4, 3], -1, 1, 2), reals([4], -1, 1, 3)],
    ),
    row(
      (x, y) => einsum('bij,kj->bki', x, y),
      () => [reals([2, 3, 2]), reals([3, 2], -1, 1, 2)],
    ),
  ],
  conv: [
    row(
      (x, w) => conv.conv1d(x, w, null, { stride: 2, padding: 1 }),
      () => [reals([2, 2, 6]), reals([3, 2, 3], -1, 1, 2)],
    ),
    row(
      (x, w) => conv.conv2d(x, w, null, { padding: 'same' }),
      () => [reals([1, 2, 4, 3]), reals([2, 2, 2, 3], -1, 1, 2)],
    ),
    row(
      (x, w) => conv.conv2d(x, w, null, { groups: 2, dilation: 2, padding: 1 }),
      () => [reals([1, 4, 4, 4]), reals([2, 2, 2, 2], -1, 1, 2)],
    ),
    row(
      (x, w) => conv.conv3d(x, w),
      () => [reals([1, 1, 2, 3, 2]), reals([2, 1, 2, 2, 1], -1, 1, 2)],
    ),
    row(
      (x, w) => conv.conv1d(x, w, null, { padding: 2, paddingMode: 'reflect' }),
      () => [reals([1, 1, 5]), reals([1, 1, 3], -1, 1, 2)],
    ),
  ],
  convInputGrad: [
    row(
      (x, w, c) => conv.convTranspose1d(x, w, c, { stride: 2, padding: 1, outputPadding: 1 }),
      () => [reals([1, 2, 4]), reals([2, 3, 3], -1, 1, 2), reals([3])],
    ),
    row(
      (x, w) => conv.convTranspose2d(x, w, null, { groups: 2, stride: [1, 2] }),
      () => [reals([1, 2, 3, 2]), reals([2, 1, 2, 2], -1, 1, 2)],
    ),
  ],
  convWeightGrad: [
    row(
      (x, w) => u.exp(conv.conv2d(x, w, null, { stride: 2, padding: 1 })),
      () => [reals([1, 1, 4, 5]), reals([2, 1, 3, 2], -1, 1, 2)],
    ),
  ],
  maxPool: [
    row(
      (x) => u.exp(pool.maxPool1d(x, 3, { stride: 2, padding: 1 })),
      () => [reals([1, 2, 7])],
    ),
    row(
      (x) => u.exp(pool.maxPool2d(x, 2)),
      () => [reals([1, 2, 4, 5])],
    ),
    row(
      (x) => u.exp(pool.maxPool2d(x, [2, 3], { stride: 1, dilation: [2, 1], ceilMode: true })),
      () => [reals([1, 1, 5, 4])],
    ),
    row(
      (x) => u.exp(pool.adaptiveMaxPool2d(x, [2, 3])),
      () => [reals([1, 1, 5, 7])],
    ),
  ],
  maxPoolLarge: [
    row(
      (x) => u.exp(pool.maxPool2d(x, 9, { stride: 1 })),
      () => [reals([1, 1, 10, 10])],
    ),
  ],
  maxPoolGrad: [
    row(
      (x) => u.exp(pool.maxPool2d(x, 3, { stride: 1, padding: 1 })),
      () => [reals([1, 1, 4, 4])],
    ),
  ],
  windowSum: [
    row(
      (x) => u.exp(pool.avgPool2d(x, 2, { stride: 1, padding: 1 })),
      () => [reals([1, 2, 3, 4])],
    ),
    row(
      (x) => pool.avgPool1d(x, 3, { stride: 2, ceilMode: true, countIncludePad: false }),
      () => [reals([2, 1, 8])],
    ),
    row(
      (x) => pool.avgPool2d(x, 9, { stride: 1 }),
      () => [reals([1, 1, 9, 10])],
    ),
  ],
  windowSumGrad: [
    row(
      (x) => u.exp(pool.adaptiveAvgPool2d(x, [2, 3])),
      () => [reals([1, 1, 5, 4])],
    ),
  ],
  pad: [
    row(
      (x) => u.exp(pad(x, [1, 2, 0, 1], { value: 0.5 })),
      () => [reals([2, 3])],
    ),
    row(
      (x) => u.exp(pad(x, [-1, 1, 1, -1])),
      () => [reals([3, 4])],
    ),
  ],

  gather: [
    row(
      (x) => u.exp(gather(x, 1, whole([0, 2, 1, 1], [2, 2]))),
      () => [reals([2, 3])],
    ),
    row(
      (x) => u.exp(gather(x, 0, whole([-1, 0, 1], [1, 3]))),
      () => [reals([2, 3])],
    ),
  ],
  indexSelect: [
    row(
      (x) => u.exp(indexSelect(x, 0, whole([2, 0, 2, -1]))),
      () => [reals([3, 4])],
    ),
    row(
      (x) => u.exp(indexSelect(x, 1, whole([3, 1]))),
      () => [reals([2, 4])],
    ),
    row(
      (x) => u.exp(embedding(whole([1, 0, 1, 2], [2, 2]), x)),
      () => [reals([3, 2])],
    ),
    row(
      (x) => u.exp(take(x, whole([5, 0, 5]))),
      () => [reals([2, 3])],
    ),
  ],
  scatter: [
    row(
      (x, y) => u.exp(scatter.scatter(x, 1, whole([2, 0, 1, 2], [2, 2]), y)),
      () => [reals([2, 3]), reals([2, 2], -1, 1, 2)],
    ),
    row(
      (x, y) => scatter.indexCopy(x, 0, whole([1]), y),
      () => [reals([2, 3]), reals([1, 3], -1, 1, 2)],
    ),
  ],
  scatterAdd: [
    row(
      (x, y) => u.exp(scatter.scatterAdd(x, 0, whole([1, 0, 1, 1], [2, 2]), y)),
      () => [reals([2, 3]), reals([3, 2], -1, 1, 2)],
    ),
  ],
  scatterReduce: [
    row(
      (x, y) => scatter.scatterReduce(x, 1, whole([0, 2, 0, 1, 1, 1], [2, 3]), y, 'prod'),
      () => [reals([2, 3], 0.5, 2), reals([2, 3], 0.5, 2, 2)],
    ),
    row(
      (x, y) => u.exp(scatter.scatterReduce(x, 1, whole([0, 2, 0, 1, 1, 1], [2, 3]), y, 'amax')),
      () => [reals([2, 3]), reals([2, 3], -0.9, 1.2, 2)],
    ),
    row(
      (x, y) => u.exp(scatter.scatterReduce(x, 1, whole([0, 2, 0, 1, 1, 1], [2, 3]), y, 'amin', { includeSelf: false })),
      () => [reals([2, 3]), reals([2, 3], -0.9, 1.2, 2)],
    ),
    row(
      (x, y) => u.exp(scatter.scatterReduce(x, 1, whole([0, 2, 0, 1, 1, 1], [2, 3]), y, 'mean')),
      () => [reals([2, 3]), reals([2, 3], -0.9, 1.2, 2)],
    ),
  ],
  indexAdd: [
    row(
      (x, y) => u.exp(scatter.indexAdd(x, 0, whole([1, 1, 0]), y)),
      () => [reals([2, 3]), reals([3, 3], -1, 1, 2)],
    ),
    row(
      (x, y) => u.exp(scatter.indexAdd(x, 1, whole([1, 1, 0]), y, { alpha: 2 })),
      () => [reals([2, 3]), reals([2, 3], -1, 1, 2)],
    ),
  ],
  concat: [
    row(
      (x, y) => u.exp(concat([x, y, x], 0)),
      () => [reals([2, 3]), reals([1, 3], -1, 1, 2)],
    ),
    row(
      (x, y) => u.exp(concat([x, y], -1)),
      () => [reals([2, 2, 1]), reals([2, 2, 3], -1, 1, 2)],
    ),
    row(
      (x, y) => u.exp(stack([x, y], 1)),
      () => [reals([2, 3]), reals([2, 3], -1, 1, 2)],
    ),
  ],
  embedSlice: [
    row(
      (x) =>
        u.exp(
          slice(x, [
            [1, 4, 2],
            [null, null, -1],
          ]),
        ),
      () => [reals([5, 3])],
    ),
  ],
  embedDiagonal: [
    row(
      (x) => u.exp(diagonal(x, { offset: 1 })),
      () => [reals([3, 4])],
    ),
  ],
  foldWindows: [
    row(
      (x) => u.exp(unfold(x, 1, 3, 2)),
      () => [reals([2, 7])],
    ),
  ],
  foldStrided: [
    row(
      (x) => u.exp(asStrided(x, [2, 3], [1, 2])),
      () => [reals([8])],
    ),
  ],
  writeView: [
    row(
      (x, y) => u.exp(reshape(replaceView(x, y, { shape: [2, 2], strides: [3, 1], offset: 1 }), [2, 3])),
      () => [reals([2, 3]), reals([2, 2], -1, 1, 2)],
    ),
  ],

  triangularSolve: [
    row(
      (a, x) => triangular(a, x, { upper: false }),
      () => [reals([2, 3, 3], 0.5, 1.5), reals([2, 3, 2], -1, 1, 2)],
    ),
    row(
      (a, x) => triangular(transposed(a), x, { upper: true, unit: true }),
      () => [reals([3, 3]), reals([3, 5], -1, 1, 2)],
    ),
  ],
  cholesky: [
    row(
      (x) => choleskyOf(b.add(matmul(x, transposed(x)), 0.2)).factor,
      () => [reals([2, 3, 4])],
    ),
  ],
  lu: [
    row(
      (x) => luOf(x).packed,
      () => [reals([2, 3, 3])],
    ),
    row(
      (x) => luOf(x).packed,
      () => [reals([4, 2])],
    ),
    row(
      (x) => luOf(x).packed,
      () => [reals([2, 4])],
    ),
  ],
  qr: [
    row(
      (x) => Object.values(qrOf(x, false)),
      () => [reals([2, 4, 3])],
    ),
    row(
      (x) => Object.values(qrOf(x, true)),
      () => [reals([2, 3])],
    ),
  ],
  eigh: [
    row(
      (x) => {
        const { values, vectors } = eighOf(b.add(x, transposed(x)));
        return [values, b.mul(vectors, vectors)];
      },
      () => [reals([2, 3, 3])],
    ),
  ],
  fft: [
    row(
      (x) => u.sin(complexFft(x, false)),
      () => [reals([2, 6, 2])],
    ),
    row(
      (x) => u.sin(complexFft(x, true, 0.5)),
      () => [reals([17, 2])],
    ),
  ],
  rfft: [
    row(
      (x) => u.sin(halfFromReal(x)),
      () => [reals([2, 6])],
    ),
    row(
      (x) => u.sin(halfFromReal(x, 0.5)),
      () => [reals([7])],
    ),
  ],
  irfft: [
    row(
      (x) => u.sin(realFromHalf(x, 6)),
      () => [reals([2, 4, 2], -0.3, 0.3)],
    ),
    row(
      (x) => u.sin(realFromHalf(x, 5, 0.5)),
      () => [reals([3, 2])],
    ),
  ],
  igamma: [row(igamma, () => [reals([4], 0.3, 3), reals([4], 0.2, 4, 2)], 1)],
  gammaSlope: [
    row(
      (x) => gammaSlope(reals([5], 0.3, 3), x),
      () => [reals([5], 0.2, 4, 2)],
    ),
  ],
};
