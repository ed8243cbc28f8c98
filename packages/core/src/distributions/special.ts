/** Functions that densities are made of. */

import { broadcastShapes } from '../graph/layout.js';
import { add, eq, gt, logaddexp, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { broadcastTo, resultType } from '../ops/common.js';
import { igamma } from '../ops/random-samplers.js';
import { where } from '../ops/ternary.js';
import { lgamma, log } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** `x log(y)`, 0 where x is 0. */
export function xlogy(x: Tensor | number, y: Tensor): Tensor {
  if (!(x instanceof Tensor)) return x === 0 ? mul(y, 0) : mul(x, log(y));
  return composite('xlogy', () => {
    const isZero = eq(x, 0);
    return where(isZero, 0, mul(x, log(where(isZero, 1, y))));
  });
}
/** `log(1 + e^x)` without overflow. */
export function softplus(x: Tensor): Tensor {
  return logaddexp(x, 0);
}
/** Logarithm of the beta function. */
export function logBeta(a: Tensor, b: Tensor): Tensor {
  return sub(add(lgamma(a), lgamma(b)), lgamma(add(a, b)));
}
/** The regularised lower incomplete gamma function P(a, x) of broadcasting arguments, 0 for x <= 0. */
export function gammaCdf(a: Tensor, x: Tensor): Tensor {
  return composite('gammaCdf', () => {
    const dtype = resultType(a, x);
    const shape = broadcastShapes(a.shape, x.shape, 'gammaCdf');
    const positive = gt(x, 0);
    const value = igamma(broadcastTo(cast(a, dtype), shape), broadcastTo(where(positive, cast(x, dtype), 1), shape));
    return where(broadcastTo(positive, shape), value, 0);
  });
}
