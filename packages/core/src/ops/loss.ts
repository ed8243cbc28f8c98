/** Losses. `reduction`: 'mean' (default), 'sum', or 'none' for a value an element or sample. */
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { logSigmoid } from './activation.js';
import { add, div, eq, gt, lt, maximum, mul, ne, sub } from './binary.js';
import { cast } from './cast.js';
import { iotaAlong } from './iota.js';
import { mean, sum } from './reduce.js';
import { logSoftmax } from './statistics.js';
import { where } from './ternary.js';
import { abs, exp, log, log1p, neg, square } from './unary.js';
import { reshape, unsqueeze } from './view.js';

export type Reduction = 'mean' | 'sum' | 'none';
export interface LossOptions {
  readonly reduction?: Reduction;
}

function finish(values: Tensor, reduction: Reduction): Tensor {
  switch (reduction) {
    case 'none':
      return values;
    case 'sum':
      return sum(values);
    case 'mean':
      return mean(values);
    default:
      throw new ArgumentError(`the reduction '${String(reduction satisfies never)}' does not exist`, {
        op: 'loss',
        received: reduction,
        expected: "'mean', 'sum' or 'none'",
      });
  }
}
/** Input and target meet by broadcasting, but a target that is larger than the input is nearly always a mistake. */
function checkTarget(x: Tensor, target: Tensor, op: string): void {
  if (!shapesEqual(broadcastShapes(x.shape, target.shape, op), x.shape)) {
    throw new ShapeError(`an input of shape ${formatShape(x.shape)} and a target of shape ${formatShape(target.shape)}`, {
      op,
      received: [x.shape, target.shape],
      expected: 'equal shapes',
      fix: 'Reshape the target, for example with unsqueeze(-1).',
    });
  }
}

/** The squared differences. */
export function mseLoss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  checkTarget(x, target, 'mseLoss');
  return composite('mseLoss', () => finish(square(sub(x, target)), reduction));
}
/** The absolute differences. */
export function l1Loss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  checkTarget(x, target, 'l1Loss');
  return composite('l1Loss', () => finish(abs(sub(x, target)), reduction));
}
/** `d ** 2 / (2 beta)` for differences below beta, `|d| - beta / 2` from there on. */
export function smoothL1Loss(
  x: Tensor,
  target: Tensor,
  { reduction = 'mean', beta = 1 }: LossOptions & { readonly beta?: number } = {},
): Tensor {
  checkTarget(x, target, 'smoothL1Loss');
  if (beta === 0) return l1Loss(x, target, { reduction });
  return composite('smoothL1Loss', () => {
    const distance = abs(sub(x, target));
    return finish(where(lt(distance, beta), mul(square(distance), 0.5 / beta), sub(distance, 0.5 * beta)), reduction);
  });
}
/** `d ** 2 / 2` for differences up to delta, `delta * (|d| - delta / 2)` beyond (Huber, 1964). */
export function huberLoss(
  x: Tensor,
  target: Tensor,
  { reduction = 'mean', delta = 1 }: LossOptions & { readonly delta?: number } = {},
): Tensor {
  checkTarget(x, target, 'huberLoss');
  return composite('huberLoss', () => {
    const distance = abs(sub(x, target));
    return finish(where(lt(distance, delta), mul(square(distance), 0.5), mul(sub(distance, 0.5 * delta), delta)), reduction);
  });
}

/** Binary cross entropy of probabilities in [0, 1]; logarithms are cut at -100, as in PyTorch. */
export function bce(
  x: Tensor,
  target: Tensor,
  { weight = null, reduction = 'mean' }: LossOptions & { readonly weight?: Tensor | null } = {},
): Tensor {
  checkTarget(x, target, 'bce');
  return composite('bce', () => {
    const ofOne = maximum(log(x), -100);
    const ofZero = maximum(log1p(neg(x)), -100);
    const values = neg(add(mul(target, ofOne), mul(sub(1, target), ofZero)));
    return finish(weight === null ? values : mul(values, weight), reduction);
  });
}

export interface BceWithLogitsOptions extends LossOptions {
  /** Factor of each element. */
  readonly weight?: Tensor | null;
  /** Factor of the positive class. */
  readonly posWeight?: Tensor | null;
}
/** Binary cross entropy of `sigmoid(logits)`, without overflow. */
export function bceWithLogits(
  logits: Tensor,
  target: Tensor,
  { weight = null, posWeight = null, reduction = 'mean' }: BceWithLogitsOptions = {},
): Tensor {
  checkTarget(logits, target, 'bceWithLogits');
  return composite('bceWithLogits', () => {
    const logOne = logSigmoid(logits);
    // log(1 - sigmoid(x)) = log(sigmoid(x)) - x
    const negative = mul(sub(1, target), logits);
    const factor = posWeight === null ? null : add(mul(sub(posWeight, 1), target), 1);
    const values = sub(negative, factor === null ? logOne : mul(factor, logOne));
    return finish(weight === null ? values : mul(values, weight), reduction);
  });
}

export interface KlDivOptions {
  /** 'batchmean' divides the sum by the first extent: the mathematical divergence. */
  readonly reduction?: Reduction | 'batchmean';
  /** Whether the target holds logarithms too. */
  readonly logTarget?: boolean;
}
/** `target * (log(target) - x)`: the divergence of log-probabilities x from the target distribution. */
export function klDiv(x: Tensor, target: Tensor, { reduction = 'mean', logTarget = false }: KlDivOptions = {}): Tensor {
  checkTarget(x, target, 'klDiv');
  return composite('klDiv', () => {
    const isZero = eq(target, 0);
    const values = logTarget ? mul(exp(target), sub(target, x)) : where(isZero, 0, mul(target, sub(log(where(isZero, 1, target)), x)));
    if (reduction !== 'batchmean') return finish(values, reduction);
    return div(sum(values), x.shape[0] ?? 1);
  });
}

export interface ClassificationOptions extends LossOptions {
  /** Factor of each class, [C]. */
  readonly weight?: Tensor | null;
  /** Targets of this class count nothing. */
  readonly ignoreIndex?: number;
}
export interface CrossEntropyOptions extends ClassificationOptions {
  /** Share of the target that is spread evenly over all classes, 0 to 1. */
  readonly labelSmoothing?: number;
}

/** The axis of the classes: the second, or the only one of a single sample. */
const classAxis = (x: Tensor): number => (x.shape.length === 1 ? 0 : 1);

function checkClasses(x: Tensor, target: Tensor, op: string): void {
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

interface Targets {
  /** True at the class of each sample; false everywhere for ignored ones. */
  readonly hit: Tensor;
  /** Whether each sample counts. */
  readonly counts: Tensor;
}
function targetsOf(x: Tensor, target: Tensor, ignoreIndex: number): Targets {
  const axis = classAxis(x);
  const classes = iotaAlong(x.shape[axis], axis, x.shape.length, target.dtype === 'int64' ? 'int64' : 'int32');
  const labels = target.dtype === 'int64' || target.dtype === 'int32' ? target : cast(target, 'int32');
  const counts = ne(labels, ignoreIndex);
  const hit = eq(classes, unsqueeze(where(counts, labels, -1), axis));
  return { hit, counts };
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
    const { hit, counts } = targetsOf(x, target, ignoreIndex);
    const factors = weight === null ? null : alongClasses(weight, x, 'nllLoss');
    const weighted = factors === null ? x : mul(x, factors);
    const values = neg(sum(where(hit, weighted, 0), axis));
    const taken = (): Tensor => (factors === null ? cast(counts, x.dtype) : sum(where(hit, factors, 0), axis));
    return finishWeighted(values, taken, reduction);
  });
}

/**
 * Cross entropy of `softmax(logits)` along axis 1. The target holds class indices (int [N, ...]) or probabilities (float, the shape of
 * the logits). The mean of the index form divides by the sum of the class weights of the targets that count, that of the other form by N.
 * Label smoothing: Szegedy et al., arXiv:1512.00567.
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  { weight = null, ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean' }: CrossEntropyOptions = {},
): Tensor {
  if (!isFloat(logits.dtype))
    throw new DTypeError(`logits of ${logits.dtype}`, { op: 'crossEntropy', received: logits.dtype, expected: 'a float tensor' });
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
    const { hit, counts } = targetsOf(logits, target, ignoreIndex);
    const picked = neg(sum(where(hit, weighted, 0), axis));
    const taken = (): Tensor => (factors === null ? cast(counts, logits.dtype) : sum(where(hit, factors, 0), axis));
    if (labelSmoothing === 0) return finishWeighted(picked, taken, reduction);
    const spread = where(counts, neg(sum(weighted, axis)), 0);
    return finishWeighted(add(mul(picked, 1 - labelSmoothing), mul(spread, labelSmoothing / classes)), taken, reduction);
  });
}

/** `max(0, -y * (a - b) + margin)` for targets y of 1 (a should rank higher) and -1. */
export function marginRankingLoss(
  a: Tensor,
  b: Tensor,
  y: Tensor,
  { margin = 0, reduction = 'mean' }: LossOptions & { readonly margin?: number } = {},
): Tensor {
  return composite('marginRankingLoss', () => {
    const values = add(neg(mul(y, sub(a, b))), margin);
    return finish(where(gt(values, 0), values, 0), reduction);
  });
}
