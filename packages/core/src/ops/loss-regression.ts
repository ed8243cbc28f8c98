/** Losses of real-valued predictions. */
import { raised } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { softplus } from './activation.js';
import { add, div, gt, lt, maximum, mul, sub } from './binary.js';
import { stopGradient } from './common.js';
import { checkTarget, finish, type LossOptions } from './loss-common.js';
import { where } from './ternary.js';
import { abs, exp, log, square } from './unary.js';

/** The squared differences. */
export function mseLoss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  checkTarget(x, target, 'mseLoss');
  return composite('mseLoss', () => finish(square(sub(raised(x), target)), reduction));
}
/** The absolute differences. */
export function l1Loss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  checkTarget(x, target, 'l1Loss');
  return composite('l1Loss', () => finish(abs(sub(raised(x), target)), reduction));
}

export interface SmoothL1Options extends LossOptions {
  /** Difference at which the parabola becomes a line; 0 gives {@link l1Loss}. Default 1. */
  readonly beta?: number;
}
/** `d ** 2 / (2 beta)` for differences below beta, `|d| - beta / 2` from there on. */
export function smoothL1Loss(x: Tensor, target: Tensor, { reduction = 'mean', beta = 1 }: SmoothL1Options = {}): Tensor {
  checkTarget(x, target, 'smoothL1Loss');
  if (beta === 0) return l1Loss(x, target, { reduction });
  return composite('smoothL1Loss', () => {
    const distance = abs(sub(raised(x), target));
    return finish(where(lt(distance, beta), mul(square(distance), 0.5 / beta), sub(distance, 0.5 * beta)), reduction);
  });
}

export interface HuberOptions extends LossOptions {
  /** Difference at which the parabola becomes a line. Default 1. */
  readonly delta?: number;
}
/** `d ** 2 / 2` for differences up to delta, `delta * (|d| - delta / 2)` beyond (Huber, 1964). */
export function huberLoss(x: Tensor, target: Tensor, { reduction = 'mean', delta = 1 }: HuberOptions = {}): Tensor {
  checkTarget(x, target, 'huberLoss');
  return composite('huberLoss', () => {
    const distance = abs(sub(raised(x), target));
    return finish(where(lt(distance, delta), mul(square(distance), 0.5), mul(sub(distance, 0.5 * delta), delta)), reduction);
  });
}

/** `log(cosh(d))`: a parabola near 0 and a line far out, smooth everywhere. */
export function logCoshLoss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  checkTarget(x, target, 'logCoshLoss');
  return composite('logCoshLoss', () => {
    const difference = sub(raised(x), target);
    // log(cosh(d)) = d + softplus(-2 d) - log(2), which overflows nowhere; on |d| it keeps its digits too.
    const distance = abs(difference);
    return finish(sub(add(distance, softplus(mul(distance, -2))), Math.LN2), reduction);
  });
}

export interface QuantileLossOptions extends LossOptions {
  /** The quantile that is predicted, from 0 to 1. Default 0.5: half the absolute difference. */
  readonly quantile?: number;
}
/** The pinball loss: `q * d` for targets above the prediction and `(q - 1) * d` below, `d = target - x` (Koenker and Bassett, 1978). */
export function quantileLoss(x: Tensor, target: Tensor, { reduction = 'mean', quantile = 0.5 }: QuantileLossOptions = {}): Tensor {
  checkTarget(x, target, 'quantileLoss');
  return composite('quantileLoss', () => {
    const difference = sub(target, x);
    return finish(maximum(mul(difference, quantile), mul(difference, quantile - 1)), reduction);
  });
}

export interface PoissonNllOptions extends LossOptions {
  /** Whether the input is the logarithm of the rate. Default true. */
  readonly logInput?: boolean;
  /** Adds Stirling's approximation of `log(target!)` for targets above 1. */
  readonly full?: boolean;
  /** Keeps the logarithm of a rate of 0 finite when `logInput` is false. */
  readonly eps?: number;
}
/** Negative log-likelihood of counts under a Poisson distribution: `exp(x) - target * x`, or `x - target * log(x + eps)`. */
export function poissonNllLoss(
  x: Tensor,
  target: Tensor,
  { logInput = true, full = false, eps = 1e-8, reduction = 'mean' }: PoissonNllOptions = {},
): Tensor {
  checkTarget(x, target, 'poissonNllLoss');
  return composite('poissonNllLoss', () => {
    const plain = logInput ? sub(exp(x), mul(target, x)) : sub(x, mul(target, log(add(x, eps))));
    if (!full) return finish(plain, reduction);
    const large = gt(target, 1);
    const counts = where(large, target, 1);
    const stirling = add(sub(mul(counts, log(counts)), counts), mul(log(mul(counts, 2 * Math.PI)), 0.5));
    return finish(add(plain, where(large, stirling, 0)), reduction);
  });
}

export interface GaussianNllOptions extends LossOptions {
  /** Adds the constant `log(2 pi) / 2`. */
  readonly full?: boolean;
  /** Smallest variance that counts; below it the gradient is that at this variance. */
  readonly eps?: number;
}
/**
 * Negative log-likelihood of targets under normal distributions of means x and the given variances, which broadcast over x:
 * `(log(var) + (x - target) ** 2 / var) / 2` (Nix and Weigend, 1994).
 */
export function gaussianNllLoss(
  x: Tensor,
  target: Tensor,
  variance: Tensor,
  { full = false, eps = 1e-6, reduction = 'mean' }: GaussianNllOptions = {},
): Tensor {
  checkTarget(x, target, 'gaussianNllLoss');
  checkTarget(x, variance, 'gaussianNllLoss');
  return composite('gaussianNllLoss', () => {
    const plain = stopGradient(variance);
    const floored = add(variance, maximum(sub(eps, plain), 0));
    const values = mul(add(log(floored), div(square(sub(x, target)), floored)), 0.5);
    return finish(full ? add(values, 0.5 * Math.log(2 * Math.PI)) : values, reduction);
  });
}
