/** Losses of one class among many: cross entropy, negative log-likelihood, focal loss. */
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, ge, logicalAnd, logicalOr, lt, mul, ne } from './binary.js';
import { cast } from './cast.js';
import { iotaAlong } from './iota.js';
import { focalFactor } from './loss-binary.js';
import { finish, type LossOptions, type Reduction } from './loss-common.js';
import { sum } from './reduce.js';
import { logSoftmax } from './statistics.js';
import { where } from './ternary.js';
import { expm1, neg } from './unary.js';
import { reshape, unsqueeze } from './view.js';

export interface ClassificationOptions extends LossOptions {
  /** Factor of each class, [C]. */
  readonly weight?: Tensor | null;
  /** Targets of this class count nothing. Default -100. Those that are neither it nor a class make the loss NaN. */
  readonly ignoreIndex?: number;
}
export interface CrossEntropyOptions extends ClassificationOptions {
  /** Share of the target that is spread evenly over all classes, 0 to 1. */
  readonly labelSmoothing?: number;
}

/** The axis of the classes: the second, or the only one of a single sample. */
const classAxis = (x: Tensor): number => (x.shape.length === 1 ? 0 : 1);

export function checkClasses(x: Tensor, target: Tensor, op: string): void {
  const expected = x.shape.toSpliced(classAxis(x), 1);
  if (x.shape.length === 0 || !shapesEqual(expected, target.shape)) {
    throw new ShapeError(`scores of shape ${formatShape(x.shape)} and class indices of shape ${formatShape(target.shape)}`, {
      op,
      received: [x.shape, target.shape],
      expected: `scores [N, C, ...] and targets [N, ...], here ${formatShape(expected)}`,
    });
  }
}

/** A value a class as it broadcasts over the scores. */
function alongClasses(weight: Tensor, x: Tensor, op: string): Tensor {
  const axis = classAxis(x);
  if (weight.shape.length !== 1 || weight.shape[0] !== x.shape[axis]) {
    throw new ShapeError(`class weights of shape ${formatShape(weight.shape)}`, {
      op,
      received: weight.shape,
      expected: `[${x.shape[axis]}]`,
    });
  }
  return reshape(
    weight,
    x.shape.slice(axis).map((extent, i) => (i === 0 ? extent : 1)),
  );
}

export interface Targets {
  /** True at the class of each sample; false everywhere for ignored ones. */
  readonly hit: Tensor;
  /** Whether each sample counts. */
  readonly counts: Tensor;
  /** Values of the samples, NaN for those whose target is neither a class nor ignored: a sum without them would look right. */
  checked(values: Tensor): Tensor;
}
/** Class indices [N, ...] as truth values of the shape of the scores. */
export function targetsOf(x: Tensor, target: Tensor, ignoreIndex: number): Targets {
  const axis = classAxis(x);
  const classes = iotaAlong(x.shape[axis], axis, x.shape.length, target.dtype === 'int64' ? 'int64' : 'int32');
  const labels = target.dtype === 'int64' || target.dtype === 'int32' ? target : cast(target, 'int32');
  const counts = ne(labels, ignoreIndex);
  const hit = eq(classes, unsqueeze(where(counts, labels, -1), axis));
  const checked = (values: Tensor): Tensor => {
    const strange = logicalOr(lt(labels, 0), ge(labels, x.shape[axis]));
    return where(logicalAnd(counts, strange), Number.NaN, values);
  };
  return { hit, counts, checked };
}

/** Combines the losses of samples; the mean is over the weights that took part. */
function finishWeighted(values: Tensor, weights: () => Tensor, reduction: Reduction): Tensor {
  return reduction === 'mean' ? div(sum(values), sum(weights())) : finish(values, reduction);
}

/**
 * The negative of the log-probability of each target class: x [N, C, ...] (or [C]), target int [N, ...] (or a number). The mean divides
 * by the sum of the class weights of the targets.
 */
export function nllLoss(
  x: Tensor,
  target: Tensor,
  { weight = null, ignoreIndex = -100, reduction = 'mean' }: ClassificationOptions = {},
): Tensor {
  checkClasses(x, target, 'nllLoss');
  return composite('nllLoss', () => {
    const axis = classAxis(x);
    const { hit, counts, checked } = targetsOf(x, target, ignoreIndex);
    const factors = weight === null ? null : alongClasses(weight, x, 'nllLoss');
    const weighted = factors === null ? x : mul(x, factors);
    const values = checked(neg(sum(where(hit, weighted, 0), axis)));
    const taken = (): Tensor => (factors === null ? cast(counts, x.dtype) : sum(where(hit, factors, 0), axis));
    return finishWeighted(values, taken, reduction);
  });
}

function requireLogits(logits: Tensor, op: string): void {
  if (!isFloat(logits.dtype)) throw new DTypeError(`logits of ${logits.dtype}`, { op, received: logits.dtype, expected: 'a float tensor' });
}

/**
 * Cross entropy of `softmax(logits)` along axis 1. The target holds class indices (int [N, ...]) or probabilities (float, the shape of
 * the logits). The mean of the index form divides by the sum of the class weights of the targets that count, that of the other form by
 * the number of samples. Label smoothing: Szegedy et al., arXiv:1512.00567.
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  { weight = null, ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean' }: CrossEntropyOptions = {},
): Tensor {
  requireLogits(logits, 'crossEntropy');
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ArgumentError(`labelSmoothing ${labelSmoothing}`, {
      op: 'crossEntropy',
      received: labelSmoothing,
      expected: 'a number from 0 to 1',
    });
  }
  const byProbability = isFloat(target.dtype);
  if (byProbability && !shapesEqual(logits.shape, target.shape)) {
    throw new ShapeError(`logits of shape ${formatShape(logits.shape)} and probabilities of shape ${formatShape(target.shape)}`, {
      op: 'crossEntropy',
      received: [logits.shape, target.shape],
      expected: 'equal shapes (or an int target of class indices)',
    });
  }
  if (!byProbability) checkClasses(logits, target, 'crossEntropy');
  return composite('crossEntropy', () => {
    const axis = classAxis(logits);
    const classes = logits.shape[axis];
    const logs = logSoftmax(logits, axis);
    const factors = weight === null ? null : alongClasses(weight, logits, 'crossEntropy');
    const weighted = factors === null ? logs : mul(logs, factors);
    if (byProbability) {
      const smoothed = labelSmoothing === 0 ? target : add(mul(target, 1 - labelSmoothing), labelSmoothing / classes);
      const values = neg(sum(mul(weighted, smoothed), axis));
      return reduction === 'mean' ? div(sum(values), Math.max(1, sizeOf(logits.shape) / Math.max(1, classes))) : finish(values, reduction);
    }
    const { hit, counts, checked } = targetsOf(logits, target, ignoreIndex);
    const picked = checked(neg(sum(where(hit, weighted, 0), axis)));
    const taken = (): Tensor => (factors === null ? cast(counts, logits.dtype) : sum(where(hit, factors, 0), axis));
    if (labelSmoothing === 0) return finishWeighted(picked, taken, reduction);
    const spread = where(counts, neg(sum(weighted, axis)), 0);
    return finishWeighted(add(mul(picked, 1 - labelSmoothing), mul(spread, labelSmoothing / classes)), taken, reduction);
  });
}

export interface FocalOptions extends LossOptions {
  /** Factor of each class, [C]; null weighs all with 1. */
  readonly alpha?: Tensor | null;
  /** How much easy examples lose of their weight; 0 gives cross entropy. Default 2. */
  readonly gamma?: number;
  /** Targets of this class count nothing. Default -100. */
  readonly ignoreIndex?: number;
}
/**
 * Focal loss of one class among many: `alpha_c * (1 - p_c) ** gamma * -log(p_c)` with p the softmax of logits [N, C, ...] and c the
 * target, int [N, ...] (after Lin et al., arXiv:1708.02002). The mean is over the targets that count.
 */
export function focalLoss(
  logits: Tensor,
  target: Tensor,
  { alpha = null, gamma = 2, ignoreIndex = -100, reduction = 'mean' }: FocalOptions = {},
): Tensor {
  const op = 'focalLoss';
  requireLogits(logits, op);
  checkClasses(logits, target, op);
  return composite(op, () => {
    const axis = classAxis(logits);
    const { hit, counts, checked } = targetsOf(logits, target, ignoreIndex);
    const logs = sum(where(hit, logSoftmax(logits, axis), 0), axis);
    let values = neg(logs);
    if (gamma !== 0) values = mul(values, focalFactor(neg(expm1(logs)), gamma));
    if (alpha !== null) values = mul(values, sum(where(hit, alongClasses(alpha, logits, op), 0), axis));
    return finishWeighted(checked(values), () => cast(counts, logits.dtype), reduction);
  });
}
