/** Local response normalization. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, mul, pow } from './binary.js';
import { pad } from './pad.js';
import { avgPool2d } from './pool.js';
import { square } from './unary.js';
import { reshape } from './view.js';

export interface LocalResponseNormOptions {
  readonly alpha?: number;
  readonly beta?: number;
  readonly k?: number;
}
/**
 * `x / (k + alpha * mean of x² over size neighbouring channels) ** beta` (Krizhevsky et al., 2012); x is [N, C, ...]. Channels
 * outside count as 0.
 */
export function localResponseNorm(x: Tensor, size: number, { alpha = 1e-4, beta = 0.75, k = 1 }: LocalResponseNormOptions = {}): Tensor {
  const op = 'localResponseNorm';
  if (x.shape.length < 3)
    throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, { op, received: x.shape, expected: '[N, C, ...]' });
  if (!Number.isInteger(size) || size < 1)
    throw new ArgumentError(`a size of ${size}`, { op, received: size, expected: 'a whole number from 1 on' });
  return composite(op, () => {
    const [batch, channels, ...space] = x.shape;
    const before = Math.floor(size / 2);
    const squares = pad(reshape(square(x), [batch, 1, channels, sizeOf(space)]), [0, 0, before, size - 1 - before]);
    const means = reshape(avgPool2d(squares, [size, 1], { stride: 1 }), x.shape);
    return div(x, pow(add(mul(means, alpha), k), beta));
  });
}
