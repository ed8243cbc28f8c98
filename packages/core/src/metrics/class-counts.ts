/** Hits and misses by class, from scores or class numbers: the state that classification metrics share. */
import { isFloat } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { shapesEqual } from '../graph/layout.js';
import { argmax } from '../ops/statistics.js';
import { reshape } from '../ops/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { Gathering, numbersOf, quietly, ratio, shapeError } from './metric.js';

/**
 * 'multiclass': scores [N, C, ...] (the largest wins) or class numbers, targets int [N, ...]. 'binary': scores or truth values and targets
 * 0 or 1 of the same shape. 'multilabel': scores or truth values [N, C, ...] and targets of the same shape, each class by itself.
 */
export type ClassificationTask = 'multiclass' | 'binary' | 'multilabel';

export interface CountOptions {
  /** Default: 'binary' where scores have the shape of their targets, else 'multiclass'. */
  readonly task?: ClassificationTask;
  /** Default: as many as the scores have, or the largest class seen and one more. */
  readonly numClasses?: number;
  /** Scores above it count as 1 ('binary', 'multilabel'). Default 0.5; 0 for logits. */
  readonly threshold?: number;
  /** Targets of this value count nothing. */
  readonly ignoreIndex?: number;
}

/** Counts of one class against the rest. */
export interface Counts {
  /** Of the class and predicted as it. */
  readonly tp: number;
  /** Predicted as the class, of another. */
  readonly fp: number;
  /** Of the class, predicted as another. */
  readonly fn: number;
  readonly tn: number;
}

/** A table of targets (rows) by predictions, or one of four numbers a label. */
export class ClassCounts extends Gathering {
  private readonly op: string;
  private readonly options: CountOptions;
  private foundTask: ClassificationTask | null = null;
  private size = 0;
  /** Row-major [size, size]. */
  private table = new Float64Array(0);
  /** tp, fp, fn, tn of each label. */
  private labels = new Float64Array(0);

  constructor(op: string, options: CountOptions) {
    super();
    const { numClasses } = options;
    if (numClasses !== undefined && !(Number.isInteger(numClasses) && numClasses > 0)) {
      throw new ArgumentError(`numClasses is ${numClasses}`, { op, received: numClasses, expected: 'a whole number above 0' });
    }
    this.op = op;
    this.options = options;
    this.reset();
  }
  reset(): void {
    this.foundTask = this.options.task ?? null;
    this.size = 0;
    this.table = new Float64Array(0);
    this.labels = new Float64Array(0);
    const { numClasses } = this.options;
    if (numClasses !== undefined) this.resize(numClasses);
  }
  protected override gathered(): readonly string[] {
    return ['foundTask', 'size', 'table', 'labels'];
  }
  /** What the samples were taken for; null before the first. */
  get task(): ClassificationTask | null {
    return this.foundTask;
  }

  private resize(size: number): void {
    if (size <= this.size) return;
    const table = new Float64Array(size * size);
    for (let i = 0; i < this.size; i++) table.set(this.table.subarray(i * this.size, (i + 1) * this.size), i * size);
    const labels = new Float64Array(4 * size);
    labels.set(this.labels);
    Object.assign(this, { size, table, labels });
  }

  update(prediction: Tensor, target: Tensor): void {
    const scores = isFloat(prediction.dtype);
    const same = shapesEqual(prediction.shape, target.shape);
    // One score a sample may have an axis of its own.
    const single = !same && scores && prediction.shape[1] === 1 && shapesEqual(prediction.shape.toSpliced(1, 1), target.shape);
    this.foundTask ??= scores && (same || single) ? 'binary' : 'multiclass';
    switch (this.foundTask) {
      case 'multiclass':
        return this.updateClasses(prediction, target, scores);
      case 'binary':
        if (!same && !single) throw shapeError(this.op, prediction, target, 'equal shapes');
        return this.updateBinary(numbersOf(prediction), numbersOf(target));
      case 'multilabel':
        if (!same || target.shape.length < 2) throw shapeError(this.op, prediction, target, '[N, C, ...] both');
        return this.updateLabels(prediction, target);
      default:
        throw new ArgumentError(`the task '${String(this.foundTask satisfies never)}' does not exist`, {
          op: this.op,
          expected: "'multiclass', 'binary' or 'multilabel'",
        });
    }
  }

  private updateClasses(prediction: Tensor, target: Tensor, scores: boolean): void {
    const shape = scores ? prediction.shape.toSpliced(1, 1) : prediction.shape;
    if (!shapesEqual(shape, target.shape) || (scores && prediction.shape.length < 2)) {
      throw shapeError(this.op, prediction, target, 'scores [N, C, ...] or class numbers [N, ...], and targets [N, ...]');
    }
    const predicted = quietly(() => numbersOf(scores ? argmax(prediction, 1) : prediction));
    this.addClasses(numbersOf(target), predicted, scores ? prediction.shape[1] : 0);
  }
  private updateBinary(predicted: ArrayLike<number>, target: ArrayLike<number>): void {
    const { threshold = 0.5 } = this.options;
    this.addClasses(
      target,
      Uint8Array.from(predicted, (p) => (p > threshold ? 1 : 0)),
      2,
    );
  }
  private addClasses(target: ArrayLike<number>, predicted: ArrayLike<number>, atLeast: number): void {
    const { ignoreIndex, numClasses } = this.options;
    this.resize(atLeast);
    for (let i = 0; i < target.length; i++) {
      const t = target[i];
      if (t === ignoreIndex) continue;
      const p = predicted[i];
      const limit = numClasses ?? Infinity;
      if (!(Number.isInteger(t) && Number.isInteger(p) && t >= 0 && p >= 0 && t < limit && p < limit)) {
        throw new ArgumentError(`item ${i} has target ${t} and prediction ${p}`, {
          op: this.op,
          received: [t, p],
          expected: numClasses === undefined ? 'class numbers from 0' : `class numbers from 0 to ${numClasses - 1}`,
        });
      }
      if (t >= this.size || p >= this.size) this.resize(Math.max(t, p) + 1);
      this.table[t * this.size + p]++;
    }
  }
  private updateLabels(prediction: Tensor, target: Tensor): void {
    const { threshold = 0.5, ignoreIndex } = this.options;
    const [n, classes] = target.shape;
    this.resize(classes);
    const flat = (t: Tensor): ArrayLike<number> => quietly(() => numbersOf(reshape(t, [n, classes, -1])));
    const [p, y] = [flat(prediction), flat(target)];
    const places = y.length / Math.max(1, n * classes);
    for (let i = 0; i < y.length; i++) {
      if (y[i] === ignoreIndex) continue;
      const label = Math.floor(i / places) % classes;
      const hit = p[i] > threshold;
      this.labels[4 * label + (hit ? (y[i] ? 0 : 1) : y[i] ? 2 : 3)]++;
    }
  }

  /** `matrix[target][prediction]`. @throws ArgumentError for several labels a sample, which have a table each. */
  matrix(): number[][] {
    if (this.foundTask === 'multilabel') {
      throw new ArgumentError('there is no common table of several labels', { op: this.op, fix: 'Use perClass().' });
    }
    return Array.from({ length: this.size }, (_, i) => Array.from(this.table.subarray(i * this.size, (i + 1) * this.size)));
  }
  perClass(): Counts[] {
    const { size, table } = this;
    if (this.foundTask === 'multilabel') {
      return Array.from({ length: size }, (_, k) => {
        const [tp, fp, fn, tn] = this.labels.subarray(4 * k, 4 * k + 4);
        return { tp, fp, fn, tn };
      });
    }
    const rows = new Float64Array(size);
    const columns = new Float64Array(size);
    let total = 0;
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const n = table[i * size + j];
        rows[i] += n;
        columns[j] += n;
        total += n;
      }
    }
    return Array.from({ length: size }, (_, k) => {
      const tp = table[k * size + k];
      return { tp, fp: columns[k] - tp, fn: rows[k] - tp, tn: total - rows[k] - columns[k] + tp };
    });
  }
}

/**
 * How classes make one number: 'binary' takes class 1; 'micro' adds up the counts; 'macro' is the mean over the classes that occur;
 * 'weighted' weighs them by the number of their targets; 'none' gives each by its number.
 */
export type Average = 'binary' | 'micro' | 'macro' | 'weighted' | 'none';

/** A value of each class (or of summed counts), averaged. */
export function averaged(counts: readonly Counts[], average: Average, value: (c: Counts) => number): number | Record<string, number> {
  const sumOf = (pick: (c: Counts) => number): number => counts.reduce((sum, c) => sum + pick(c), 0);
  switch (average) {
    case 'binary':
      return counts.length > 1 ? value(counts[1]) : Number.NaN;
    case 'micro':
      return counts.length === 0
        ? Number.NaN
        : value({ tp: sumOf((c) => c.tp), fp: sumOf((c) => c.fp), fn: sumOf((c) => c.fn), tn: sumOf((c) => c.tn) });
    case 'macro': {
      const occurring = counts.filter((c) => c.tp + c.fp + c.fn > 0);
      return ratio(
        occurring.reduce((sum, c) => sum + value(c), 0),
        occurring.length,
        Number.NaN,
      );
    }
    case 'weighted':
      return ratio(
        sumOf((c) => (c.tp + c.fn > 0 ? value(c) * (c.tp + c.fn) : 0)),
        sumOf((c) => c.tp + c.fn),
        Number.NaN,
      );
    case 'none':
      return Object.fromEntries(counts.map((c, k) => [String(k), value(c)]));
    default:
      throw new ArgumentError(`the average '${String(average satisfies never)}' does not exist`, {
        op: 'metric',
        received: average,
        expected: "'binary', 'micro', 'macro', 'weighted' or 'none'",
      });
  }
}
