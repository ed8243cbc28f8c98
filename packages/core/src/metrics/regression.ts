/** Metrics of real-valued predictions. All keep sums only, except the rank correlation. */
import type { Tensor } from '../tensor/tensor.js';
import { Gathering, type Metric, NumberList, numbersOf, ratio, requireSameShape } from './metric.js';

/** The mean over elements of a function of prediction and target. */
abstract class MeanOfElements extends Gathering implements Metric {
  abstract readonly name: string;
  private sum = 0;
  private count = 0;
  protected abstract element(prediction: number, target: number): number;
  protected finish(mean: number): number {
    return mean;
  }
  update(prediction: Tensor, target: Tensor): void {
    requireSameShape(this.name, prediction, target);
    const [p, t] = [numbersOf(prediction), numbersOf(target)];
    for (let i = 0; i < p.length; i++) this.sum += this.element(p[i], t[i]);
    this.count += p.length;
  }
  protected override gathered(): readonly string[] {
    return ['sum', 'count'];
  }
  compute(): number {
    return this.finish(ratio(this.sum, this.count, Number.NaN));
  }
  reset(): void {
    this.sum = 0;
    this.count = 0;
  }
}
export class MeanAbsoluteError extends MeanOfElements {
  readonly name = 'mae';
  protected element(p: number, t: number): number {
    return Math.abs(p - t);
  }
}
export class MeanSquaredError extends MeanOfElements {
  readonly name: string = 'mse';
  protected element(p: number, t: number): number {
    return (p - t) ** 2;
  }
}
export class RootMeanSquaredError extends MeanSquaredError {
  override readonly name = 'rmse';
  protected override finish(mean: number): number {
    return Math.sqrt(mean);
  }
}
/** The mean of `|p - t| / |t|`, a share and not a percentage; targets below 2.2e-16 count as that. */
export class MeanAbsolutePercentageError extends MeanOfElements {
  readonly name = 'mape';
  protected element(p: number, t: number): number {
    return Math.abs(p - t) / Math.max(Math.abs(t), Number.EPSILON);
  }
}
/** The mean of `(log(1 + p) - log(1 + t)) ** 2`. */
export class MeanSquaredLogError extends MeanOfElements {
  readonly name = 'msle';
  protected element(p: number, t: number): number {
    return (Math.log1p(p) - Math.log1p(t)) ** 2;
  }
}

/** Means, variances and covariance of pairs, updated stably (Chan, Golub and LeVeque, 1983). */
class Moments extends Gathering {
  count = 0;
  meanX = 0;
  meanY = 0;
  /** Sums of squared distances from the means, and of their products. */
  xx = 0;
  yy = 0;
  xy = 0;
  protected override gathered(): readonly string[] {
    return ['count', 'meanX', 'meanY', 'xx', 'yy', 'xy'];
  }
  add(x: number, y: number): void {
    this.count++;
    const dx = x - this.meanX;
    const dy = y - this.meanY;
    this.meanX += dx / this.count;
    this.meanY += dy / this.count;
    this.xx += dx * (x - this.meanX);
    this.yy += dy * (y - this.meanY);
    this.xy += dx * (y - this.meanY);
  }
}

/** Moments of two functions of prediction and target, over all elements. */
abstract class MomentMetric extends Gathering implements Metric {
  abstract readonly name: string;
  protected moments = new Moments();
  protected abstract pair(prediction: number, target: number): readonly [number, number];
  update(prediction: Tensor, target: Tensor): void {
    requireSameShape(this.name, prediction, target);
    const [p, t] = [numbersOf(prediction), numbersOf(target)];
    for (let i = 0; i < p.length; i++) this.moments.add(...this.pair(p[i], t[i]));
  }
  protected override gathered(): readonly string[] {
    return ['moments'];
  }
  abstract compute(): number;
  reset(): void {
    this.moments = new Moments();
  }
}
/** The coefficient of determination: one minus the squared errors over those of predicting the mean. */
export class R2Score extends MomentMetric {
  readonly name = 'r2';
  protected pair(p: number, t: number): readonly [number, number] {
    return [t - p, t];
  }
  compute(): number {
    const { count, xx, yy, meanX } = this.moments;
    if (count < 2) return Number.NaN;
    const errors = xx + count * meanX * meanX;
    return yy === 0 ? (errors === 0 ? 1 : 0) : 1 - errors / yy;
  }
}
/** One minus the variance of the errors over that of the targets: {@link R2Score} of predictions freed of their bias. */
export class ExplainedVariance extends MomentMetric {
  readonly name = 'explainedVariance';
  protected pair(p: number, t: number): readonly [number, number] {
    return [t - p, t];
  }
  compute(): number {
    const { count, xx, yy } = this.moments;
    if (count < 2) return Number.NaN;
    return yy === 0 ? (xx === 0 ? 1 : 0) : 1 - xx / yy;
  }
}
/** The linear correlation of predictions and targets; NaN where one is constant. */
export class PearsonCorrelation extends MomentMetric {
  readonly name = 'pearson';
  protected pair(p: number, t: number): readonly [number, number] {
    return [p, t];
  }
  compute(): number {
    const { xx, yy, xy } = this.moments;
    return ratio(xy, Math.sqrt(xx) * Math.sqrt(yy), Number.NaN);
  }
}

/** The ranks of numbers from 1; equal ones share the mean of theirs. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((i, j) => values[i] - values[j]);
  const result = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to]] === values[order[from]]) to++;
    for (let k = from; k < to; k++) result[order[k]] = (from + to + 1) / 2;
    from = to;
  }
  return result;
}
/** The correlation of the ranks of predictions and targets. Keeps all values. */
export class SpearmanCorrelation extends Gathering implements Metric {
  readonly name = 'spearman';
  private readonly predictions = new NumberList();
  private readonly targets = new NumberList();
  update(prediction: Tensor, target: Tensor): void {
    requireSameShape(this.name, prediction, target);
    this.predictions.append(numbersOf(prediction));
    this.targets.append(numbersOf(target));
  }
  protected override gathered(): readonly string[] {
    return ['predictions', 'targets'];
  }
  compute(): number {
    const [p, t] = [ranks(this.predictions.values), ranks(this.targets.values)];
    const moments = new Moments();
    p.forEach((v, i) => moments.add(v, t[i]));
    return ratio(moments.xy, Math.sqrt(moments.xx) * Math.sqrt(moments.yy), Number.NaN);
  }
  reset(): void {
    this.predictions.clear();
    this.targets.clear();
  }
}
