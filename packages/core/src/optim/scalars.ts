/** Numbers of an update that may be tensors: counted steps, momenta that a schedule sets. */
import type { DType } from '../dtype.js';
import { mul, pow, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import type { TensorOrScalar } from '../ops/common.js';
import { widen } from '../ops/common.js';
import { sum } from '../ops/reduce.js';
import { sqrt } from '../ops/unary.js';
import { Tensor } from '../tensor/tensor.js';

/** The number as an operand of tensors of `dtype`. */
export function inDType(x: number | Tensor, dtype: DType): TensorOrScalar {
  return x instanceof Tensor ? cast(x, dtype) : x;
}

/** `1 - beta`. */
export function complement(beta: number | Tensor): number | Tensor {
  return beta instanceof Tensor ? sub(1, beta) : 1 - beta;
}

/** `1 - beta ** step`, the weight that a moving average has gathered. float64, as the difference is small at first. */
export function gathered(beta: number | Tensor, step: Tensor): Tensor {
  return sub(1, pow(beta, step));
}

/** Euclidean length of all elements, 0-d, in float32 at least. */
export function lengthOf(x: Tensor): Tensor {
  const wide = widen(x);
  return sqrt(sum(mul(wide, wide)));
}
