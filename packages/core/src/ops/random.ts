/** Random tensors. All draw from a generator's state tensor and advance it, inside jit() too. */
import { noGrad } from '../autograd/mode.js';
import { type DType, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import type { Primitive } from '../graph/primitive.js';
import { apply1, applyInPlace, scalarTensor } from '../tensor/dispatch.js';
import type { Generator } from '../tensor/generator.js';
import { defaultGenerator } from '../tensor/generator.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { add, div, gt, lt, minimum, mul } from './binary.js';
import { cast } from './cast.js';
import type { TensorOptions } from './create.js';
import { setRequiresGrad } from './create.js';
import { iota } from './iota.js';
import { advancePrimitive, integerPrimitive, normalPrimitive, randomBitsPrimitive, uniformPrimitive } from './random-primitives.js';
import { amax } from './reduce.js';
import { cumsum } from './scan.js';
import { searchsorted } from './search.js';
import { argsort, topk } from './sort.js';
import { clamp, where } from './ternary.js';
import { log1p, neg } from './unary.js';
import { reshape } from './view.js';
import { narrow } from './view-slice.js';
import { checkInPlace, writeInto } from './write-view.js';

export interface RandomOptions extends TensorOptions {
  /** The default generator when absent. */
  readonly generator?: Generator;
}

function draw(primitive: Primitive, shape: Shape, dtype: DType, generator: Generator | undefined, inputs: readonly Tensor[] = []): Tensor {
  if (!Array.isArray(shape) || shape.some((extent) => !Number.isInteger(extent) || extent < 0)) {
    throw new ShapeError(`shape ${JSON.stringify(shape)}`, {
      op: 'random',
      received: shape,
      expected: 'an array of whole numbers of at least 0',
    });
  }
  const { state } = generator ?? defaultGenerator;
  const flat = apply1(primitive, [state, ...inputs], { length: sizeOf(shape), dtype });
  applyInPlace(advancePrimitive, [state]);
  return reshape(flat, shape.slice());
}

function floating(options: RandomOptions, op: string): DType {
  const dtype = options.dtype ?? 'float32';
  if (!isFloat(dtype))
    throw new DTypeError(`dtype ${dtype}`, { op, received: dtype, expected: 'a floating dtype', fix: 'Use randint() for whole numbers.' });
  return dtype;
}

function finish(t: Tensor, options: RandomOptions): Tensor {
  return options.requiresGrad ? setRequiresGrad(t, true) : t;
}

/** Uniform over [0, 1): float32 in steps of 2^-24, float64 of 2^-53, float16 of 2^-11, bfloat16 of 2^-8. */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  const dtype = floating(options, 'rand');
  return finish(
    composite('rand', () => draw(uniformPrimitive, shape, dtype, options.generator)),
    options,
  );
}

/** Standard normal. */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  const dtype = floating(options, 'randn');
  return finish(
    composite('randn', () => draw(normalPrimitive, shape, dtype, options.generator)),
    options,
  );
}

/** Uniform over [low, high). */
export function uniform(shape: Shape, low = 0, high = 1, options: RandomOptions = {}): Tensor {
  const dtype = floating(options, 'uniform');
  return finish(
    composite('uniform', () => add(mul(draw(uniformPrimitive, shape, dtype, options.generator), high - low), low)),
    options,
  );
}

/** Normal with the given mean and standard deviation. */
export function normal(shape: Shape, mean = 0, std = 1, options: RandomOptions = {}): Tensor {
  const dtype = floating(options, 'normal');
  if (!(std >= 0))
    throw new ArgumentError(`standard deviation ${std}`, { op: 'normal', received: std, expected: 'a number of at least 0' });
  return finish(
    composite('normal', () => add(mul(draw(normalPrimitive, shape, dtype, options.generator), std), mean)),
    options,
  );
}

/** {@link rand} with the shape and, unless given, the dtype of another tensor. */
export function randLike(like: Tensor, options: RandomOptions = {}): Tensor {
  return rand(like.shape, { ...options, dtype: options.dtype ?? like.dtype });
}
/** {@link randn} with the shape and, unless given, the dtype of another tensor. */
export function randnLike(like: Tensor, options: RandomOptions = {}): Tensor {
  return randn(like.shape, { ...options, dtype: options.dtype ?? like.dtype });
}

/** Whole numbers from `low` (0 when left out) up to but without `high`, int64 unless another dtype is given. */
export function randint(high: number, shape: Shape, options?: RandomOptions): Tensor;
export function randint(low: number, high: number, shape: Shape, options?: RandomOptions): Tensor;
export function randint(first: number, second: number | Shape, third?: Shape | RandomOptions, fourth?: RandomOptions): Tensor {
  const [low, high, shape, options] =
    typeof second === 'number'
      ? [first, second, third as Shape, fourth ?? {}]
      : [0, first, second, (third as RandomOptions | undefined) ?? {}];
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low >= high) {
    throw new ArgumentError(`from ${low} to ${high}`, { op: 'randint', received: [low, high], expected: 'whole numbers, low below high' });
  }
  const bounds = [scalarTensor(low, 'float64'), scalarTensor(high, 'float64')];
  return finish(
    composite('randint', () => draw(integerPrimitive, shape, options.dtype ?? 'int64', options.generator, bounds)),
    options,
  );
}

/** The numbers 0 .. n-1 in random order, int64. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  if (!Number.isInteger(n) || n < 0)
    throw new ArgumentError(`n ${n}`, { op: 'randperm', received: n, expected: 'a whole number of at least 0' });
  return composite('randperm', () =>
    cast(argsort(draw(randomBitsPrimitive, [n], 'int32', options.generator), 0), options.dtype ?? 'int64'),
  );
}

/** 1 with the probability that each element of `p` says, else 0; dtype and shape of `p`. No gradient. */
export function bernoulli(p: Tensor, options?: RandomOptions): Tensor;
/** A tensor of ones (with probability `p`) and zeros, float32 unless another dtype is given. */
export function bernoulli(p: number, shape: Shape, options?: RandomOptions): Tensor;
export function bernoulli(p: Tensor | number, second?: RandomOptions | Shape, third: RandomOptions = {}): Tensor {
  const [shape, options] = Array.isArray(second)
    ? [second as Shape, third]
    : [(p as Tensor).shape, (second as RandomOptions | undefined) ?? {}];
  const dtype = options.dtype ?? (p instanceof Tensor ? p.dtype : 'float32');
  return noGrad(() => composite('bernoulli', () => cast(lt(draw(uniformPrimitive, shape, 'float32', options.generator), p), dtype)));
}

export interface MultinomialOptions {
  readonly replacement?: boolean;
  readonly generator?: Generator;
}

/**
 * `numSamples` positions along the last axis of `weights` (a vector or matrix, not negative, need not sum to 1), drawn with
 * those weights; int64 [numSamples] or [rows, numSamples]. Without replacement by an exponential race: the smallest of
 * E_i / w_i with E_i exponential (Efraimidis and Spirakis, 2006).
 */
export function multinomial(weights: Tensor, numSamples: number, { replacement = false, generator }: MultinomialOptions = {}): Tensor {
  const rank = weights.shape.length;
  const count = weights.shape[rank - 1] ?? 0;
  if (rank < 1 || rank > 2 || !isFloat(weights.dtype)) {
    throw new ShapeError(`weights of ${weights.dtype} ${formatShape(weights.shape)}`, {
      op: 'multinomial',
      received: weights.shape,
      expected: 'a floating vector or matrix',
    });
  }
  if (!Number.isInteger(numSamples) || numSamples < 1 || count === 0 || (!replacement && numSamples > count)) {
    throw new ArgumentError(`${numSamples} samples of ${count}`, {
      op: 'multinomial',
      received: numSamples,
      expected: replacement ? 'at least 1' : `1 to ${count}`,
      fix: replacement ? undefined : 'Give { replacement: true } to draw more.',
    });
  }
  return noGrad(() =>
    composite('multinomial', () => {
      const w = weights.dtype === 'float64' ? weights : cast(weights, 'float32');
      const draws = (shape: Shape) => draw(uniformPrimitive, shape, w.dtype, generator);
      if (!replacement) {
        // Above 0, so that a weight of 0 never wins.
        const race = clamp(neg(log1p(neg(draws(w.shape)))), { min: 2 ** -26 });
        return topk(div(w, race), numSamples).indices;
      }
      const sums = cumsum(w, -1);
      const total = narrow(sums, -1, count - 1, 1);
      const target = mul(draws([...w.shape.slice(0, -1), numSamples]), total);
      // The first position whose running sum exceeds the target; rounding must not pick a trailing weight of 0.
      const below = searchsorted(sums, target, { right: true });
      const last = amax(where(gt(w, 0), iota(count, 'int64'), 0), -1, true);
      return minimum(below, last);
    }),
  );
}

/** Overwrites `t` with uniform numbers over [low, high). Returns it. @throws AutogradError, DTypeError */
export function uniform_(t: Tensor, low = 0, high = 1, options: Pick<RandomOptions, 'generator'> = {}): Tensor {
  checkInPlace('uniform_', t, []);
  composite('uniform_', () => writeInto(t, uniform(t.shape, low, high, { ...options, dtype: t.dtype })));
  return t;
}
/** Overwrites `t` with normal numbers. Returns it. @throws AutogradError, DTypeError */
export function normal_(t: Tensor, mean = 0, std = 1, options: Pick<RandomOptions, 'generator'> = {}): Tensor {
  checkInPlace('normal_', t, []);
  composite('normal_', () => writeInto(t, normal(t.shape, mean, std, { ...options, dtype: t.dtype })));
  return t;
}
