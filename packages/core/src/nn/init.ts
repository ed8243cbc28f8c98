/** Initialisers; all change their argument in place, without recording gradients, and return it. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import { erf } from '../ir/reference-math.js';
import { add, lt, mul } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { normal_, rand, randn, uniform_ } from '../ops/random.js';
import { argsort } from '../ops/sort.js';
import { clamp, where } from '../ops/ternary.js';
import { erfinv } from '../ops/unary.js';
import { writeInto } from '../ops/write-view.js';
import { createFromArray, readSync } from '../tensor/dispatch.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** Inputs and outputs of one unit of a weight [out, in, ...kernel]. */
export function fans(weight: Tensor): { readonly fanIn: number; readonly fanOut: number } {
  const { shape } = weight;
  if (shape.length < 2)
    throw new ShapeError(`a weight of shape ${formatShape(shape)} has no fans`, {
      op: 'init',
      received: shape,
      expected: 'two dimensions or more',
    });
  const field = sizeOf(shape.slice(2));
  return { fanIn: shape[1] * field, fanOut: shape[0] * field };
}

export type Nonlinearity = 'linear' | 'conv' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu';

/** Factor that keeps the variance of activations through a nonlinearity; `a` is leakyRelu's slope. */
export function calculateGain(nonlinearity: Nonlinearity, a = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
    case 'conv':
    case 'sigmoid':
      return 1;
    case 'tanh':
      return 5 / 3;
    case 'relu':
      return Math.SQRT2;
    case 'leakyRelu':
      return Math.sqrt(2 / (1 + a * a));
    case 'selu':
      return 3 / 4;
    default:
      return nonlinearity satisfies never;
  }
}

/** Writes what `make` computes; its temporaries are freed. */
function fill(t: Tensor, make: () => Tensor): Tensor {
  noGrad(() => scope(() => void writeInto(t, cast(make(), t.dtype))));
  return t;
}

/** Uniform between `low` and `high`. */
export function uniform(t: Tensor, low = 0, high = 1): Tensor {
  return noGrad(() => uniform_(t, low, high));
}
/** Normal with the given mean and standard deviation. */
export function normal(t: Tensor, mean = 0, std = 1): Tensor {
  return noGrad(() => normal_(t, mean, std));
}
export interface TruncNormalOptions {
  readonly mean?: number;
  readonly std?: number;
  /** Nothing lies below; default -2. */
  readonly a?: number;
  /** Nothing lies above; default 2. */
  readonly b?: number;
}
/** Normal, with what falls outside of [a, b] drawn again: by the inverse of the distribution function between both. */
export function truncNormal(t: Tensor, { mean = 0, std = 1, a = -2, b = 2 }: TruncNormalOptions = {}): Tensor {
  if (!(std > 0) || !(a < b))
    throw new ArgumentError(`std ${std} between ${a} and ${b}`, { op: 'truncNormal', expected: 'std above 0 and a below b' });
  // 2 * Phi(limit) - 1.
  const [low, high] = [a, b].map((limit) => erf((limit - mean) / std / Math.SQRT2));
  return fill(t, () => {
    const z = erfinv(add(mul(rand(t.shape), high - low), low));
    return clamp(add(mul(z, std * Math.SQRT2), mean), { min: a, max: b });
  });
}
export function constant(t: Tensor, value: number): Tensor {
  return fill(t, () => full(t.shape, value, { dtype: t.dtype }));
}
export function zeros(t: Tensor): Tensor {
  return constant(t, 0);
}
export function ones(t: Tensor): Tensor {
  return constant(t, 1);
}

function requireRank(t: Tensor, ranks: readonly number[], op: string): void {
  if (!ranks.includes(t.shape.length))
    throw new ShapeError(`a tensor of shape ${formatShape(t.shape)}`, {
      op,
      received: t.shape,
      expected: `${ranks.join(', ')} dimensions`,
    });
}
function fromHost(t: Tensor, data: Float64Array): Tensor {
  return fill(t, () => createFromArray(data, t.dtype, t.shape));
}

/** The identity matrix: a linear layer that passes on as many inputs as it can. */
export function eye(t: Tensor): Tensor {
  requireRank(t, [2], 'eye');
  const [rows, columns] = t.shape;
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < Math.min(rows, columns); i++) data[i * columns + i] = 1;
  return fromHost(t, data);
}
/** The identity of a convolution with weight [out, in / groups, ...kernel]: it passes on as many channels as it can. */
export function dirac(t: Tensor, { groups = 1 }: { readonly groups?: number } = {}): Tensor {
  requireRank(t, [3, 4, 5], 'dirac');
  const [out, channels, ...kernel] = t.shape;
  if (!Number.isInteger(groups) || groups < 1 || out % groups !== 0)
    throw new ArgumentError(`${out} channels in ${groups} groups`, {
      op: 'dirac',
      received: groups,
      expected: 'a divisor of the first extent',
    });
  const perGroup = out / groups;
  const size = sizeOf(kernel);
  const centre = kernel.reduce((at, extent) => at * extent + Math.floor(extent / 2), 0);
  const data = new Float64Array(out * channels * size);
  for (let g = 0; g < groups; g++)
    for (let d = 0; d < Math.min(perGroup, channels); d++) data[((g * perGroup + d) * channels + d) * size + centre] = 1;
  return fromHost(t, data);
}

export interface KaimingOptions {
  readonly a?: number;
  readonly mode?: 'fanIn' | 'fanOut';
  readonly nonlinearity?: Nonlinearity;
}
/** He et al., "Delving deep into rectifiers" (2015): uniform in ±gain * sqrt(3 / fan). */
export function kaimingUniform(t: Tensor, { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' }: KaimingOptions = {}): Tensor {
  const bound = calculateGain(nonlinearity, a) * Math.sqrt(3 / Math.max(1, fans(t)[mode]));
  return uniform(t, -bound, bound);
}
/** The same with a normal distribution of standard deviation gain / sqrt(fan). */
export function kaimingNormal(t: Tensor, { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' }: KaimingOptions = {}): Tensor {
  return normal(t, 0, calculateGain(nonlinearity, a) / Math.sqrt(Math.max(1, fans(t)[mode])));
}
/** Glorot and Bengio (2010): uniform in ±gain * sqrt(6 / (fanIn + fanOut)). */
export function xavierUniform(t: Tensor, gain = 1): Tensor {
  const { fanIn, fanOut } = fans(t);
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform(t, -bound, bound);
}
/** The same with a normal distribution of standard deviation gain * sqrt(2 / (fanIn + fanOut)). */
export function xavierNormal(t: Tensor, gain = 1): Tensor {
  const { fanIn, fanOut } = fans(t);
  return normal(t, 0, gain * Math.sqrt(2 / (fanIn + fanOut)));
}

/** Makes the `count` vectors of `length` numbers orthonormal, in place: Gram-Schmidt, twice for accuracy. */
function orthonormalize(vectors: Float64Array, count: number, length: number): void {
  for (let i = 0; i < count; i++) {
    const v = vectors.subarray(i * length, (i + 1) * length);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const u = vectors.subarray(j * length, (j + 1) * length);
        let dot = 0;
        for (let k = 0; k < length; k++) dot += u[k] * v[k];
        for (let k = 0; k < length; k++) v[k] -= dot * u[k];
      }
    }
    let square = 0;
    for (let k = 0; k < length; k++) square += v[k] * v[k];
    const scale = 1 / Math.sqrt(square);
    for (let k = 0; k < length; k++) v[k] *= scale;
  }
}
/**
 * A matrix, [first extent, all others], with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al.,
 * arXiv:1312.6120). Uniform among them: a matrix of normal numbers, made orthogonal.
 */
export function orthogonal(t: Tensor, { gain = 1 }: { readonly gain?: number } = {}): Tensor {
  if (t.shape.length < 2)
    throw new ShapeError(`a tensor of shape ${formatShape(t.shape)}`, {
      op: 'orthogonal',
      received: t.shape,
      expected: 'two dimensions or more',
    });
  const rows = t.shape[0];
  const columns = sizeOf(t.shape.slice(1));
  const [count, length] = rows <= columns ? [rows, columns] : [columns, rows];
  const vectors = Float64Array.from(scope(() => readSync(randn([count, length]))) as Float32Array);
  orthonormalize(vectors, count, length);
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) data[i * columns + j] = gain * (rows <= columns ? vectors[i * length + j] : vectors[j * length + i]);
  return fromHost(t, data);
}

/** Normal numbers, with the share `sparsity` of each column, rounded up, set to 0 (Martens, 2010). */
export function sparse(t: Tensor, { sparsity, std = 0.01 }: { readonly sparsity: number; readonly std?: number }): Tensor {
  requireRank(t, [2], 'sparse');
  const zeros = Math.ceil(sparsity * t.shape[0]);
  return fill(t, () => {
    const rank = argsort(argsort(rand(t.shape), 0), 0);
    return where(lt(rank, zeros), 0, mul(randn(t.shape), std));
  });
}
