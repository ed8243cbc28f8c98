/** Curves over all thresholds of a score: ROC, precision and recall, and the areas under them. */
import { ArgumentError, ShapeError } from '../errors.js';
import { shapesEqual } from '../graph/layout.js';
import type { Tensor } from '../tensor/tensor.js';
import { Gathering, type Metric, NumberList, numbersOf, ratio, requireScores, shapeError } from './metric.js';

/** True and false positives at each distinct score, from the highest down. */
interface Cumulated {
  readonly thresholds: number[];
  readonly tps: number[];
  readonly fps: number[];
}
function cumulate(op: string, labels: ArrayLike<number>, scores: ArrayLike<number>): Cumulated {
  if (labels.length !== scores.length) {
    throw new ShapeError(`there are ${labels.length} labels and ${scores.length} scores`, {
      op,
      expected: 'as many of the one as of the other',
    });
  }
  const order = Array.from({ length: scores.length }, (_, i) => i).sort((i, j) => scores[j] - scores[i]);
  const [thresholds, tps, fps]: [number[], number[], number[]] = [[], [], []];
  let tp = 0;
  order.forEach((i, rank) => {
    if (labels[i]) tp++;
    if (rank + 1 < order.length && scores[order[rank + 1]] === scores[i]) return;
    thresholds.push(scores[i]);
    tps.push(tp);
    fps.push(rank + 1 - tp);
  });
  return { thresholds, tps, fps };
}

export interface RocCurve {
  /** False positive rates, rising from 0. */
  readonly fpr: readonly number[];
  /** True positive rates, rising from 0. */
  readonly tpr: readonly number[];
  /** Scores from which on an item counts as positive; Infinity first. */
  readonly thresholds: readonly number[];
}
/** The receiver operating characteristic of scores for labels 0 and 1. Rates without items are NaN. */
export function rocCurve(labels: ArrayLike<number>, scores: ArrayLike<number>): RocCurve {
  const { thresholds, tps, fps } = cumulate('rocCurve', labels, scores);
  const share = (counts: readonly number[]): number[] => [0, ...counts].map((n) => n / (counts.at(-1) ?? 0));
  return { fpr: share(fps), tpr: share(tps), thresholds: [Infinity, ...thresholds] };
}
/** The area under {@link rocCurve}: how often a positive item scores above a negative one. NaN when one kind is missing. */
export function rocAuc(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
  const { fpr, tpr } = rocCurve(labels, scores);
  let area = 0;
  for (let i = 1; i < fpr.length; i++) area += ((fpr[i] - fpr[i - 1]) * (tpr[i] + tpr[i - 1])) / 2;
  return fpr.length > 1 ? area : Number.NaN;
}

export interface PrecisionRecallCurve {
  /** Ends with 1. */
  readonly precision: readonly number[];
  /** Falls to 0. */
  readonly recall: readonly number[];
  /** Rising; one less than the points. */
  readonly thresholds: readonly number[];
}
/** Precision and recall of scores for labels 0 and 1 at each threshold, as scikit-learn orders them. */
export function precisionRecallCurve(labels: ArrayLike<number>, scores: ArrayLike<number>): PrecisionRecallCurve {
  const { thresholds, tps, fps } = cumulate('precisionRecallCurve', labels, scores);
  const positives = tps.at(-1) ?? 0;
  return {
    precision: [...tps.map((tp, i) => tp / (tp + fps[i])).reverse(), 1],
    recall: [...tps.map((tp) => ratio(tp, positives, 1)).reverse(), 0],
    thresholds: [...thresholds].reverse(),
  };
}
/** The sum of `(recall[n] - recall[n-1]) * precision[n]` over the thresholds; NaN without positive items. */
export function averagePrecision(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
  const { tps, fps } = cumulate('averagePrecision', labels, scores);
  const positives = tps.at(-1) ?? 0;
  if (positives === 0) return Number.NaN;
  return tps.reduce((sum, tp, i) => sum + (((i === 0 ? tp : tp - tps[i - 1]) / positives) * tp) / (tp + fps[i]), 0);
}

export interface CurveOptions {
  /** Of several classes: 'macro' (default) the mean, 'weighted' by the number of their items, 'none' each by its number. */
  readonly average?: 'macro' | 'weighted' | 'none';
}
/** Keeps all scores; a class against the rest each, or one score for labels 0 and 1. */
abstract class CurveMetric extends Gathering implements Metric {
  abstract readonly name: string;
  private readonly op: string;
  private readonly average: CurveOptions['average'];
  private readonly scores = new NumberList();
  private readonly targets = new NumberList();
  /** 0 before the first batch; 1 for one score an item. */
  private classes = 0;
  /** The targets have a value for each class. */
  private multilabel = false;

  constructor(op: string, { average = 'macro' }: CurveOptions) {
    super();
    this.op = op;
    this.average = average;
  }
  /** Scores [N] (or [N, 1]) and targets 0 or 1 of that shape; scores [N, C] and targets int [N], or 0 or 1 [N, C]. */
  update(prediction: Tensor, target: Tensor): void {
    requireScores(this.op, prediction);
    const { shape } = prediction;
    const classes = shape.length === 2 ? shape[1] : 1;
    const same = shapesEqual(shape, target.shape);
    const flat = shape.length === 2 && target.shape.length === 1 && target.shape[0] === shape[0];
    if ((shape.length !== 1 && shape.length !== 2) || (!same && !flat)) {
      throw shapeError(this.op, prediction, target, 'scores [N] or [N, C] and targets [N] or [N, C]');
    }
    const multilabel = same && classes > 1;
    if (this.classes !== 0 && (this.classes !== classes || this.multilabel !== multilabel)) {
      throw new ArgumentError(`a batch with ${classes} scores an item came after one with ${this.classes}`, {
        op: this.op,
        fix: 'Call reset() between passes over different data.',
      });
    }
    this.classes = classes;
    this.multilabel = multilabel;
    this.scores.append(numbersOf(prediction));
    this.targets.append(numbersOf(target));
  }
  protected override gathered(): readonly string[] {
    return ['scores', 'targets', 'classes', 'multilabel'];
  }
  protected abstract value(labels: ArrayLike<number>, scores: ArrayLike<number>): number;

  /** Labels and scores of each class. */
  protected split(): { labels: Float64Array; scores: Float64Array }[] {
    const { classes } = this;
    const [scores, targets] = [this.scores.values, this.targets.values];
    if (classes <= 1) return [{ labels: targets, scores }];
    const n = scores.length / classes;
    return Array.from({ length: classes }, (_, k) => ({
      scores: Float64Array.from({ length: n }, (__, i) => scores[i * classes + k]),
      labels: Float64Array.from({ length: n }, (__, i) => (this.multilabel ? targets[i * classes + k] : Number(targets[i] === k))),
    }));
  }
  compute(): number | Record<string, number> {
    const parts = this.split();
    if (parts.length === 1) return this.value(parts[0].labels, parts[0].scores);
    const values = parts.map(({ labels, scores }) => this.value(labels, scores));
    if (this.average === 'none') return Object.fromEntries(values.map((v, k) => [String(k), v]));
    // A class without items of both kinds has no value.
    const weights = parts.map(({ labels }, k) =>
      Number.isNaN(values[k]) ? 0 : this.average === 'weighted' ? labels.reduce((sum, v) => sum + v, 0) : 1,
    );
    return ratio(
      values.reduce((sum, v, k) => sum + (weights[k] === 0 ? 0 : v * weights[k]), 0),
      weights.reduce((sum, w) => sum + w, 0),
      Number.NaN,
    );
  }
  reset(): void {
    this.scores.clear();
    this.targets.clear();
    this.classes = 0;
  }
}
/** Area under the ROC curve; of several classes each against the rest. */
export class RocAuc extends CurveMetric {
  readonly name = 'rocAuc';
  constructor(options: CurveOptions = {}) {
    super('RocAuc', options);
  }
  protected value(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
    return rocAuc(labels, scores);
  }
  /** The curve of each class (one for one score an item). */
  curves(): RocCurve[] {
    return this.split().map(({ labels, scores }) => rocCurve(labels, scores));
  }
}
/** Average precision, the area under the precision-recall curve; of several classes each against the rest. */
export class AveragePrecision extends CurveMetric {
  readonly name = 'averagePrecision';
  constructor(options: CurveOptions = {}) {
    super('AveragePrecision', options);
  }
  protected value(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
    return averagePrecision(labels, scores);
  }
  /** The curve of each class (one for one score an item). */
  curves(): PrecisionRecallCurve[] {
    return this.split().map(({ labels, scores }) => precisionRecallCurve(labels, scores));
  }
}

export interface CalibrationOptions {
  /** Number of equal intervals of confidence. Default 15. */
  readonly bins?: number;
  /** 'l1' (default): the expected error, weighted by the items of the bins; 'l2': its root mean square; 'max': the largest. */
  readonly norm?: 'l1' | 'l2' | 'max';
}
/**
 * How far confidence and accuracy are apart, in bins of confidence (Guo et al., arXiv:1706.04599). Predictions are probabilities: [N, C]
 * with targets int [N] (the confidence is that of the best class), or [N] with targets 0 or 1 (the confidence is that of class 1).
 */
export class CalibrationError extends Gathering implements Metric {
  readonly name = 'calibrationError';
  private readonly bins: number;
  private readonly norm: CalibrationOptions['norm'];
  private counts: Float64Array;
  private confidences: Float64Array;
  private hits: Float64Array;

  constructor({ bins = 15, norm = 'l1' }: CalibrationOptions = {}) {
    super();
    this.bins = bins;
    this.norm = norm;
    this.counts = new Float64Array(bins);
    this.confidences = new Float64Array(bins);
    this.hits = new Float64Array(bins);
  }
  update(prediction: Tensor, target: Tensor): void {
    requireScores('CalibrationError', prediction);
    const classes = prediction.shape.length === 2 ? prediction.shape[1] : 1;
    if (prediction.shape.length > 2 || target.shape.length !== 1 || target.shape[0] !== prediction.shape[0]) {
      throw shapeError('CalibrationError', prediction, target, 'probabilities [N, C] or [N] and targets [N]');
    }
    const [p, y] = [numbersOf(prediction), numbersOf(target)];
    for (let i = 0; i < y.length; i++) {
      let best = i * classes;
      for (let k = best + 1; k < (i + 1) * classes; k++) if (p[k] > p[best]) best = k;
      const confidence = p[best];
      if (!(confidence >= 0 && confidence <= 1)) {
        throw new ArgumentError(`item ${i} has the confidence ${confidence}`, {
          op: 'CalibrationError',
          received: confidence,
          expected: 'probabilities from 0 to 1',
          fix: 'Apply softmax or sigmoid first.',
        });
      }
      const bin = Math.min(this.bins - 1, Math.floor(confidence * this.bins));
      this.counts[bin]++;
      this.confidences[bin] += confidence;
      this.hits[bin] += classes === 1 ? y[i] : Number(best - i * classes === y[i]);
    }
  }
  protected override gathered(): readonly string[] {
    return ['counts', 'confidences', 'hits'];
  }
  compute(): number {
    const total = this.counts.reduce((a, b) => a + b, 0);
    if (total === 0) return Number.NaN;
    let [sum, squares, largest] = [0, 0, 0];
    this.counts.forEach((n, bin) => {
      if (n === 0) return;
      const gap = Math.abs(this.hits[bin] - this.confidences[bin]) / n;
      sum += (gap * n) / total;
      squares += (gap * gap * n) / total;
      largest = Math.max(largest, gap);
    });
    return this.norm === 'max' ? largest : this.norm === 'l2' ? Math.sqrt(squares) : sum;
  }
  reset(): void {
    this.counts = new Float64Array(this.bins);
    this.confidences = new Float64Array(this.bins);
    this.hits = new Float64Array(this.bins);
  }
}
