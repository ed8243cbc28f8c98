/** Activation functions, composed of elementwise operations that the compiler fuses. */
import { ShapeError } from '../errors.js';
import { formatShape, normalizeAxis } from '../graph/layout.js';
import { raised } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, gt, logicalOr, lt, maximum, minimum, mul, sub } from './binary.js';
import { requireKind } from './common.js';
import { where } from './ternary.js';
import { abs, clampToNumbers, erf, exp, expm1, log1p, neg, sigmoid, tanh } from './unary.js';
import { reshape } from './view.js';
import { narrow } from './view-slice.js';

export { logSoftmax, softmax, softmin } from './statistics.js';
export { relu, sigmoid, tanh } from './unary.js';

export interface GeluOptions {
  /** 'none': by the error function. 'tanh': Hendrycks and Gimpel's approximation. */
  readonly approximate?: 'none' | 'tanh';
}
/** `x * P(X <= x)` for a standard normal X (Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415). */
export function gelu(x: Tensor, { approximate = 'none' }: GeluOptions = {}): Tensor {
  return composite('gelu', () => {
    if (approximate === 'none') return mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1));
    const inner = mul(add(x, mul(mul(x, mul(x, x)), 0.044715)), Math.sqrt(2 / Math.PI));
    return mul(mul(x, 0.5), add(tanh(inner), 1));
  });
}

/** `x * sigmoid(x)`. */
export function silu(x: Tensor): Tensor {
  return composite('silu', () => mul(x, sigmoid(x)));
}

export interface SoftplusOptions {
  readonly beta?: number;
  /** Where `beta * x` is above this, the result is x. */
  readonly threshold?: number;
}
/** `log(1 + exp(beta * x)) / beta`. */
export function softplus(input: Tensor, { beta = 1, threshold = 20 }: SoftplusOptions = {}): Tensor {
  return composite('softplus', () => {
    const x = raised(input);
    const scaled = beta === 1 ? x : mul(x, beta);
    // max(z, 0) + log1p(exp(-|z|)) never overflows, and the shared gradient of maximum at 0 is the right one.
    const smooth = add(maximum(scaled, 0), log1p(exp(neg(abs(scaled)))));
    return where(gt(scaled, threshold), x, beta === 1 ? smooth : div(smooth, beta));
  });
}

/** `x * tanh(softplus(x))` (Misra, arXiv:1908.08681). */
export function mish(x: Tensor): Tensor {
  return composite('mish', () => mul(x, tanh(softplus(x))));
}

/** x where it is positive, `alpha * (exp(x) - 1)` elsewhere. */
export function elu(x: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor {
  return composite('elu', () => eluOf(x, alpha, 1, 1));
}
/** `scale * (x where positive, else alpha * (exp(x / width) - 1))`; the exponential only sees what is not positive. */
function eluOf(x: Tensor, alpha: number, width: number, scale: number): Tensor {
  const positive = gt(x, 0);
  const below = where(positive, 0, x);
  const curve = mul(expm1(width === 1 ? below : div(below, width)), alpha * scale);
  return where(positive, scale === 1 ? x : mul(x, scale), curve);
}
/** `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`. */
export function celu(x: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor {
  return composite('celu', () => eluOf(x, alpha, alpha, 1));
}
/** The self-normalising elu (Klambauer et al., arXiv:1706.02515, which derives both constants). */
export function selu(x: Tensor): Tensor {
  return composite('selu', () => eluOf(x, 1.6732632423543772, 1, 1.0507009873554805));
}

/** x where it is positive, `negativeSlope * x` elsewhere. */
export function leakyRelu(x: Tensor, { negativeSlope = 0.01 }: { readonly negativeSlope?: number } = {}): Tensor {
  return composite('leakyRelu', () => where(gt(x, 0), x, mul(x, negativeSlope)));
}
/** leakyRelu with a learned slope: one, or one a channel (axis 1). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  return composite('prelu', () => {
    const channels = x.shape.length > 1 ? x.shape[1] : 1;
    const count = weight.shape[0] ?? 1;
    if (weight.shape.length > 1 || (count !== 1 && count !== channels)) {
      throw new ShapeError(`a weight of shape ${formatShape(weight.shape)}`, {
        op: 'prelu',
        received: weight.shape,
        expected: `one slope, or one for each of ${channels} channels`,
      });
    }
    const slope = count === 1 ? reshape(weight, []) : reshape(weight, [count, ...new Array<number>(x.shape.length - 2).fill(1)]);
    return where(gt(x, 0), x, mul(x, slope));
  });
}

/** x limited to [0, 6]. */
export function relu6(x: Tensor): Tensor {
  return hardtanh(x, { minVal: 0, maxVal: 6 });
}
/** x limited to [minVal, maxVal]; no gradient at the limits. */
export function hardtanh(x: Tensor, { minVal = -1, maxVal = 1 }: { readonly minVal?: number; readonly maxVal?: number } = {}): Tensor {
  requireKind(x, ['float', 'int'], 'hardtanh');
  return clampToNumbers(x, minVal, maxVal);
}
/** `clamp(x / 6 + 1 / 2, 0, 1)`. */
export function hardsigmoid(x: Tensor): Tensor {
  return composite('hardsigmoid', () => div(hardtanh(add(x, 3), { minVal: 0, maxVal: 6 }), 6));
}
/** `x * clamp(x + 3, 0, 6) / 6` (Howard et al., arXiv:1905.02244). */
export function hardswish(x: Tensor): Tensor {
  return composite('hardswish', () => div(mul(x, hardtanh(add(x, 3), { minVal: 0, maxVal: 6 })), 6));
}
/** `x / (1 + |x|)`. */
export function softsign(x: Tensor): Tensor {
  return composite('softsign', () => div(x, add(abs(x), 1)));
}
/** `log(sigmoid(x))`. */
export function logSigmoid(x: Tensor): Tensor {
  return composite('logSigmoid', () => sub(minimum(x, 0), log1p(exp(neg(abs(x))))));
}
/** `x - tanh(x)`. */
export function tanhshrink(x: Tensor): Tensor {
  return composite('tanhshrink', () => sub(x, tanh(x)));
}
/** x moved towards 0 by `lambda`, 0 within that distance. */
export function softshrink(x: Tensor, { lambda = 0.5 }: { readonly lambda?: number } = {}): Tensor {
  return composite('softshrink', () => where(gt(x, lambda), sub(x, lambda), where(lt(x, -lambda), add(x, lambda), mul(x, 0))));
}
/** x, but 0 within `lambda` of 0. */
export function hardshrink(x: Tensor, { lambda = 0.5 }: { readonly lambda?: number } = {}): Tensor {
  return composite('hardshrink', () => where(logicalOr(gt(x, lambda), lt(x, -lambda)), x, 0));
}
/** x where it is above `threshold`, `value` elsewhere. */
export function threshold(x: Tensor, { threshold: limit, value }: { readonly threshold: number; readonly value: number }): Tensor {
  return composite('threshold', () => where(gt(x, limit), x, value));
}
/** The first half along `dim` times the sigmoid of the second. */
export function glu(x: Tensor, { dim = -1 }: { readonly dim?: number } = {}): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'glu');
  const size = x.shape[axis];
  if (size % 2 !== 0)
    throw new ShapeError(`axis ${axis} has ${size} elements`, { op: 'glu', received: x.shape, expected: 'an even number to halve' });
  return composite('glu', () => mul(narrow(x, axis, 0, size / 2), sigmoid(narrow(x, axis, size / 2, size / 2))));
}
