/** Metrics of classifiers, gathered batch by batch. */
import { ArgumentError } from '../errors.js';
import { shapesEqual } from '../graph/layout.js';
import { topk } from '../ops/sort.js';
import { movedim } from '../ops/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Average, averaged, ClassCounts, type CountOptions, type Counts } from './class-counts.js';
import { Gathering, type Metric, numbersOf, quietly, ratio, requireScores, shapeError } from './metric.js';

abstract class CountingMetric extends Gathering implements Metric {
  abstract readonly name: string;
  protected readonly counts: ClassCounts;
  constructor(op: string, options: CountOptions) {
    super();
    this.counts = new ClassCounts(op, options);
  }
  update(prediction: Tensor, target: Tensor): void {
    this.counts.update(prediction, target);
  }
  reset(): void {
    this.counts.reset();
  }
  protected override gathered(): readonly string[] {
    return ['counts'];
  }
  abstract compute(): number | Record<string, number>;
}

export interface AccuracyOptions extends CountOptions {
  /** Counts a sample as right when its class is among the k best scores. Default 1. */
  readonly topK?: number;
}
/** Share of predictions that are right; with topK, of samples whose class is among the best scores [N, C, ...]. */
export class Accuracy extends Gathering implements Metric {
  readonly name: string;
  private readonly k: number;
  private readonly ignoreIndex: number | undefined;
  private readonly counts: ClassCounts;
  private hits = 0;
  private seen = 0;

  constructor(options: AccuracyOptions = {}) {
    super();
    const { topK = 1, ignoreIndex } = options;
    if (!(Number.isInteger(topK) && topK > 0)) {
      throw new ArgumentError(`topK is ${topK}`, { op: 'Accuracy', received: topK, expected: 'a whole number above 0' });
    }
    this.k = topK;
    this.ignoreIndex = ignoreIndex;
    this.name = topK === 1 ? 'accuracy' : `top${topK}Accuracy`;
    this.counts = new ClassCounts('Accuracy', options);
  }
  update(prediction: Tensor, target: Tensor): void {
    if (this.k === 1) {
      this.counts.update(prediction, target);
      return;
    }
    requireScores('Accuracy', prediction);
    if (prediction.shape.length < 2 || !shapesEqual(prediction.shape.toSpliced(1, 1), target.shape)) {
      throw shapeError('Accuracy', prediction, target, 'scores [N, C, ...] and targets [N, ...]');
    }
    const k = Math.min(this.k, prediction.shape[1]);
    const best = quietly(() => numbersOf(topk(movedim(prediction.detach(), 1, -1), k, -1).indices));
    const targets = numbersOf(target);
    for (let i = 0; i < targets.length; i++) {
      if (targets[i] === this.ignoreIndex) continue;
      this.seen++;
      for (let j = 0; j < k; j++) {
        if (best[i * k + j] === targets[i]) {
          this.hits++;
          break;
        }
      }
    }
  }
  protected override gathered(): readonly string[] {
    return ['hits', 'seen', 'counts'];
  }
  compute(): number {
    if (this.k > 1) return ratio(this.hits, this.seen, Number.NaN);
    const classes = this.counts.perClass();
    const sum = (pick: (c: Counts) => number): number => classes.reduce((total, c) => total + pick(c), 0);
    // Of several labels a sample, an absent one is right too.
    if (this.counts.task === 'multilabel') {
      return ratio(
        sum((c) => c.tp + c.tn),
        sum((c) => c.tp + c.tn + c.fp + c.fn),
        Number.NaN,
      );
    }
    return ratio(
      sum((c) => c.tp),
      sum((c) => c.tp + c.fn),
      Number.NaN,
    );
  }
  reset(): void {
    this.hits = 0;
    this.seen = 0;
    this.counts.reset();
  }
}

export interface ClassMetricOptions extends CountOptions {
  /** Default 'binary' for two classes with one score, else 'macro'. */
  readonly average?: Average;
  /** What a quotient without denominator gives. Default 0. */
  readonly zeroDivision?: number;
}
abstract class AveragedMetric extends CountingMetric {
  private readonly average: Average | undefined;
  protected readonly zeroDivision: number;
  constructor(op: string, options: ClassMetricOptions) {
    super(op, options);
    this.average = options.average;
    this.zeroDivision = options.zeroDivision ?? 0;
  }
  protected abstract value(c: Counts): number;
  compute(): number | Record<string, number> {
    const average = this.average ?? (this.counts.task === 'binary' ? 'binary' : 'macro');
    return averaged(this.counts.perClass(), average, (c) => this.value(c));
  }
}
/** Of what was predicted as a class, the share that is of it. */
export class Precision extends AveragedMetric {
  readonly name = 'precision';
  constructor(options: ClassMetricOptions = {}) {
    super('Precision', options);
  }
  protected value({ tp, fp }: Counts): number {
    return ratio(tp, tp + fp, this.zeroDivision);
  }
}
/** Of what is of a class, the share predicted as it (sensitivity). */
export class Recall extends AveragedMetric {
  readonly name = 'recall';
  constructor(options: ClassMetricOptions = {}) {
    super('Recall', options);
  }
  protected value({ tp, fn }: Counts): number {
    return ratio(tp, tp + fn, this.zeroDivision);
  }
}
/** Of what is not of a class, the share not predicted as it. */
export class Specificity extends AveragedMetric {
  readonly name = 'specificity';
  constructor(options: ClassMetricOptions = {}) {
    super('Specificity', options);
  }
  protected value({ tn, fp }: Counts): number {
    return ratio(tn, tn + fp, this.zeroDivision);
  }
}
export interface FBetaOptions extends ClassMetricOptions {
  /** How many times more recall counts than precision. Default 1. */
  readonly beta?: number;
}
/** `(1 + beta ** 2) * precision * recall / (beta ** 2 * precision + recall)`. */
export class FBetaScore extends AveragedMetric {
  readonly name: string;
  private readonly squared: number;
  constructor({ beta = 1, ...options }: FBetaOptions = {}) {
    super('FBetaScore', options);
    this.squared = beta * beta;
    this.name = beta === 1 ? 'f1' : `f${beta}`;
  }
  protected value({ tp, fp, fn }: Counts): number {
    return ratio((1 + this.squared) * tp, (1 + this.squared) * tp + this.squared * fn + fp, this.zeroDivision);
  }
}
/** The harmonic mean of precision and recall. */
export class F1Score extends FBetaScore {
  constructor(options: ClassMetricOptions = {}) {
    super({ ...options, beta: 1 });
  }
}
/** Intersection over union of predicted and true places of a class: `tp / (tp + fp + fn)`; the mean IoU of segmentation. */
export class JaccardIndex extends AveragedMetric {
  readonly name: string = 'jaccard';
  constructor(options: ClassMetricOptions = {}) {
    super('JaccardIndex', options);
  }
  protected value({ tp, fp, fn }: Counts): number {
    return ratio(tp, tp + fp + fn, this.zeroDivision);
  }
}
/** Mean IoU of segmentation: scores [N, C, H, W] or class numbers [N, H, W]. The mean is over the classes that occur. */
export class MeanIoU extends JaccardIndex {
  override readonly name = 'mIoU';
}
/** Dice coefficient of segmentation, `2 tp / (2 tp + fp + fn)`: the mean over the classes that occur. */
export class DiceScore extends FBetaScore {
  override readonly name = 'dice';
  constructor(options: ClassMetricOptions = {}) {
    super({ ...options, beta: 1 });
  }
}
/** The mean recall of the classes that have targets. */
export class BalancedAccuracy extends CountingMetric {
  readonly name = 'balancedAccuracy';
  constructor(options: CountOptions = {}) {
    super('BalancedAccuracy', options);
  }
  compute(): number {
    const present = this.counts.perClass().filter((c) => c.tp + c.fn > 0);
    return ratio(
      present.reduce((sum, { tp, fn }) => sum + tp / (tp + fn), 0),
      present.length,
      Number.NaN,
    );
  }
}
/** Share of labels that are wrong: one minus the accuracy. */
export class HammingLoss extends CountingMetric {
  readonly name = 'hammingLoss';
  constructor(options: CountOptions = {}) {
    super('HammingLoss', options);
  }
  compute(): number {
    const classes = this.counts.perClass();
    const labels = this.counts.task === 'multilabel';
    const wrong = classes.reduce((sum, c) => sum + c.fn + (labels ? c.fp : 0), 0);
    const all = classes.reduce((sum, c) => sum + c.tp + c.fn + (labels ? c.fp + c.tn : 0), 0);
    return ratio(wrong, all, Number.NaN);
  }
}

function tableSums(table: readonly (readonly number[])[]): { rows: number[]; columns: number[]; total: number; diagonal: number } {
  const rows = table.map((row) => row.reduce((a, b) => a + b, 0));
  const columns = table.map((_, j) => table.reduce((sum, row) => sum + row[j], 0));
  return { rows, columns, total: rows.reduce((a, b) => a + b, 0), diagonal: table.reduce((sum, row, i) => sum + row[i], 0) };
}

export interface ConfusionOptions extends CountOptions {
  /** Divides by the targets of a class ('true'), by its predictions ('pred') or by all ('all'). */
  readonly normalize?: 'true' | 'pred' | 'all';
}
/** Counts of targets (rows) by predictions: matrix(). compute() names each cell `target,prediction`. */
export class ConfusionMatrix extends CountingMetric {
  readonly name = 'confusion';
  private readonly normalize: ConfusionOptions['normalize'];
  constructor({ normalize, ...options }: ConfusionOptions = {}) {
    super('ConfusionMatrix', options);
    this.normalize = normalize;
  }
  matrix(): number[][] {
    const table = this.counts.matrix();
    if (this.normalize === undefined) return table;
    const { rows, columns, total } = tableSums(table);
    const by = { true: (i: number) => rows[i], pred: (_: number, j: number) => columns[j], all: () => total }[this.normalize];
    return table.map((row, i) => row.map((n, j) => ratio(n, by(i, j))));
  }
  compute(): Record<string, number> {
    return Object.fromEntries(this.matrix().flatMap((row, i) => row.map((n, j) => [`${i},${j}`, n])));
  }
}

export interface KappaOptions extends CountOptions {
  /** Weighs disagreements by the distance of the class numbers, or its square. */
  readonly weights?: 'linear' | 'quadratic';
}
/** Agreement beyond chance (Cohen, 1960): 1 is perfect, 0 chance. */
export class CohenKappa extends CountingMetric {
  readonly name = 'cohenKappa';
  private readonly weights: KappaOptions['weights'];
  constructor({ weights, ...options }: KappaOptions = {}) {
    super('CohenKappa', options);
    this.weights = weights;
  }
  compute(): number {
    const table = this.counts.matrix();
    const { rows, columns, total } = tableSums(table);
    const power = this.weights === 'quadratic' ? 2 : 1;
    const cost = (i: number, j: number): number => (this.weights === undefined ? Number(i !== j) : Math.abs(i - j) ** power);
    let observed = 0;
    let expected = 0;
    table.forEach((row, i) =>
      row.forEach((n, j) => {
        observed += cost(i, j) * n;
        expected += (cost(i, j) * rows[i] * columns[j]) / total;
      }),
    );
    return 1 - observed / expected;
  }
}

/** The correlation of predictions and targets (Matthews, 1975; Gorodkin, 2004, for more than two classes); 0 where one is constant. */
export class MatthewsCorrCoef extends CountingMetric {
  readonly name = 'matthews';
  constructor(options: CountOptions = {}) {
    super('MatthewsCorrCoef', options);
  }
  compute(): number {
    const { rows, columns, total, diagonal } = tableSums(this.counts.matrix());
    const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, v, i) => sum + v * b[i], 0);
    const spread = Math.sqrt(total * total - dot(columns, columns)) * Math.sqrt(total * total - dot(rows, rows));
    return ratio(diagonal * total - dot(rows, columns), spread);
  }
}
