/** Initialisers; all change their argument in place, without recording gradients, and return it. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { full } from '../ops/create.js';
import { normal_, uniform_ } from '../ops/random.js';
import { writeInto } from '../ops/write-view.js';
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
  const field = shape.slice(2).reduce((n, s) => n * s, 1);
  return { fanIn: shape[1] * field, fanOut: shape[0] * field };
}

export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu';

/** Factor that keeps the variance of activations through a nonlinearity; `a` is leakyRelu's slope. */
export function gain(nonlinearity: Nonlinearity, a = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
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

export function uniformInit(t: Tensor, low = 0, high = 1): Tensor {
  return noGrad(() => uniform_(t, low, high));
}
export function normalInit(t: Tensor, mean = 0, std = 1): Tensor {
  return noGrad(() => normal_(t, mean, std));
}
export function constantInit(t: Tensor, value: number): Tensor {
  noGrad(() => writeInto(t, full(t.shape, value, { dtype: t.dtype })));
  return t;
}

export interface KaimingOptions {
  readonly a?: number;
  readonly mode?: 'fanIn' | 'fanOut';
  readonly nonlinearity?: Nonlinearity;
}
/** He et al., "Delving deep into rectifiers" (2015): uniform in ±gain * sqrt(3 / fan). */
export function kaimingUniform(t: Tensor, { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' }: KaimingOptions = {}): Tensor {
  const bound = gain(nonlinearity, a) * Math.sqrt(3 / Math.max(1, fans(t)[mode]));
  return uniformInit(t, -bound, bound);
}
/** The same with a normal distribution of standard deviation gain / sqrt(fan). */
export function kaimingNormal(t: Tensor, { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' }: KaimingOptions = {}): Tensor {
  return normalInit(t, 0, gain(nonlinearity, a) / Math.sqrt(Math.max(1, fans(t)[mode])));
}
/** Glorot and Bengio (2010): uniform in ±gain * sqrt(6 / (fanIn + fanOut)). */
export function xavierUniform(t: Tensor, factor = 1): Tensor {
  const { fanIn, fanOut } = fans(t);
  const bound = factor * Math.sqrt(6 / (fanIn + fanOut));
  return uniformInit(t, -bound, bound);
}
export function xavierNormal(t: Tensor, factor = 1): Tensor {
  const { fanIn, fanOut } = fans(t);
  return normalInit(t, 0, factor * Math.sqrt(2 / (fanIn + fanOut)));
}

/** @throws ArgumentError unless n is a whole number from `least`. */
export function checkCount(op: string, name: string, n: number, least = 1): void {
  if (!Number.isInteger(n) || n < least)
    throw new ArgumentError(`${name} is ${n}`, { op, received: n, expected: `a whole number, ${least} or more` });
}
