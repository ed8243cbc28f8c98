/** Losses of probabilities: binary cross entropy, divergence, focal loss of independent labels. */
import { ShapeError } from '../errors.js';
import { raised } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { logSigmoid } from './activation.js';
import { add, div, eq, maximum, mul, sub } from './binary.js';
import { withGradient } from './custom-gradient.js';
import { checkTarget, finish, type LossOptions, type Reduction } from './loss-common.js';
import { mean, sum, sumTo } from './reduce.js';
import { where } from './ternary.js';
import { exp, log, log1p, neg, sigmoid } from './unary.js';

export interface BceOptions extends LossOptions {
  /** Factor of each element. */
  readonly weight?: Tensor | null;
}

/** The elements of {@link bce}. Its own gradient: that of the logarithms has no value at 0 and 1. */
function binaryEntropy(x: Tensor, target: Tensor): Tensor {
  return withGradient({
    name: 'bce',
    inputs: [x, target],
    savesInputs: [0, 1],
    forward: () => {
      const ofOne = maximum(log(x), -100);
      const ofZero = maximum(log1p(neg(x)), -100);
      return [neg(add(mul(target, ofOne), mul(sub(1, target), ofZero)))];
    },
    vjp: (g, ctx) => {
      const [p, y] = [ctx.input(0), ctx.input(1)];
      const toX = ctx.needs(0) ? mul(g, div(sub(p, y), maximum(mul(p, sub(1, p)), 1e-12))) : null;
      const toTarget = ctx.needs(1) ? mul(g, sub(maximum(log1p(neg(p)), -100), maximum(log(p), -100))) : null;
      return [toX, toTarget === null ? null : sumTo(toTarget, y.shape)];
    },
  });
}

/** Binary cross entropy of probabilities in [0, 1]; logarithms are cut at -100, as in PyTorch. */
export function bce(x: Tensor, target: Tensor, { weight = null, reduction = 'mean' }: BceOptions = {}): Tensor {
  checkTarget(x, target, 'bce');
  return composite('bce', () => {
    const values = binaryEntropy(raised(x), target);
    return finish(weight === null ? values : mul(values, weight), reduction);
  });
}

export interface BceWithLogitsOptions extends BceOptions {
  /** Factor of the positive class: one, or one for each place of the last axes. */
  readonly posWeight?: Tensor | number | null;
}

function logitEntropy(scores: Tensor, target: Tensor, posWeight: Tensor | number | null = null): Tensor {
  const logits = raised(scores);
  const logOne = logSigmoid(logits);
  // log(1 - sigmoid(x)) = log(sigmoid(x)) - x
  const negative = mul(sub(1, target), logits);
  const factor = posWeight === null ? null : add(mul(target, typeof posWeight === 'number' ? posWeight - 1 : sub(posWeight, 1)), 1);
  return sub(negative, factor === null ? logOne : mul(factor, logOne));
}

/** Binary cross entropy of `sigmoid(logits)`, without overflow. */
export function bceWithLogits(
  logits: Tensor,
  target: Tensor,
  { weight = null, posWeight = null, reduction = 'mean' }: BceWithLogitsOptions = {},
): Tensor {
  checkTarget(logits, target, 'bceWithLogits');
  return composite('bceWithLogits', () => {
    const values = logitEntropy(logits, target, posWeight);
    return finish(weight === null ? values : mul(values, weight), reduction);
  });
}

/**
 * {@link bceWithLogits} of several labels a sample, meaned over the classes: logits and targets [N, C], `weight` [C] a factor for each
 * class. Without reduction [N].
 */
export function multilabelSoftMarginLoss(logits: Tensor, target: Tensor, { weight = null, reduction = 'mean' }: BceOptions = {}): Tensor {
  const op = 'multilabelSoftMarginLoss';
  checkTarget(logits, target, op);
  if (logits.shape.length === 0) throw new ShapeError('logits without classes', { op, received: logits.shape, expected: '[N, C]' });
  return composite(op, () => {
    const values = logitEntropy(logits, target);
    return finish(mean(weight === null ? values : mul(values, weight), -1), reduction);
  });
}

/** `1 - p` to a power, where p may be 1 to the last bit: the gradient stays finite there. */
export function focalFactor(missing: Tensor, gamma: number): Tensor {
  const logs = log(maximum(missing, 1e-30));
  return exp(mul(logs, gamma));
}

export interface SigmoidFocalOptions extends LossOptions {
  /** Weight of the positive class, 1 - alpha that of the negative one; null weighs both with 1. Default 0.25. */
  readonly alpha?: number | null;
  /** How much easy examples lose of their weight; 0 gives binary cross entropy. Default 2. */
  readonly gamma?: number;
}
/**
 * Focal loss of independent labels: `(1 - p_t) ** gamma` times the binary cross entropy, p_t the probability of the right answer
 * (Lin et al., arXiv:1708.02002). Logits and targets (0 to 1) of one shape.
 */
export function sigmoidFocalLoss(
  logits: Tensor,
  target: Tensor,
  { alpha = 0.25, gamma = 2, reduction = 'mean' }: SigmoidFocalOptions = {},
): Tensor {
  checkTarget(logits, target, 'sigmoidFocalLoss');
  return composite('sigmoidFocalLoss', () => {
    const other = sub(1, target);
    let values = logitEntropy(logits, target);
    if (gamma !== 0) {
      // Both probabilities by themselves: 1 - sigmoid(x) has no digits left for large x.
      const missing = add(mul(sigmoid(logits), other), mul(sigmoid(neg(logits)), target));
      values = mul(values, focalFactor(missing, gamma));
    }
    if (alpha !== null) values = mul(values, add(mul(target, alpha), mul(other, 1 - alpha)));
    return finish(values, reduction);
  });
}

export interface KlDivOptions {
  /** 'batchmean' divides the sum by the first extent: the mathematical divergence. */
  readonly reduction?: Reduction | 'batchmean';
  /** Whether the target holds logarithms too. */
  readonly logTarget?: boolean;
}
/** `target * (log(target) - x)`: the divergence of log-probabilities x from the target distribution. */
export function klDiv(logs: Tensor, target: Tensor, { reduction = 'mean', logTarget = false }: KlDivOptions = {}): Tensor {
  checkTarget(logs, target, 'klDiv');
  return composite('klDiv', () => {
    const x = raised(logs);
    const isZero = eq(target, 0);
    const values = logTarget ? mul(exp(target), sub(target, x)) : where(isZero, 0, mul(target, sub(log(where(isZero, 1, target)), x)));
    if (reduction !== 'batchmean') return finish(values, reduction);
    return div(sum(values), x.shape[0] ?? 1);
  });
}
