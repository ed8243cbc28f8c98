/** Means of what is measured elsewhere, and several metrics as one. */

import { ArgumentError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { Gathering, type Metric, type MetricJson, type MetricState, numbersOf, ratio } from './metric.js';

/** The mean of losses or other numbers; each with a weight, for example the size of its batch. */
export class RunningMean extends Gathering {
  readonly name: string;
  private sum = 0;
  private weight = 0;
  constructor(name = 'mean') {
    super();
    this.name = name;
  }
  /** A number, or the elements of a tensor. */
  update(value: number | Tensor, weight = 1): void {
    const values = typeof value === 'number' ? [value] : Array.from(numbersOf(value));
    for (const v of values) this.sum += v * weight;
    this.weight += weight * values.length;
  }
  protected override gathered(): readonly string[] {
    return ['sum', 'weight'];
  }
  compute(): number {
    return ratio(this.sum, this.weight, Number.NaN);
  }
  reset(): void {
    this.sum = 0;
    this.weight = 0;
  }
}

/** Several metrics of the same predictions, updated together. A metric with several values gives `name.key`. */
export class MetricCollection<Prediction = Tensor, Target = Tensor> implements Metric<Prediction, Target> {
  readonly name = 'metrics';
  private readonly metrics: readonly (readonly [string, Metric<Prediction, Target>])[];
  /** Metrics under their own names, or under the keys of an object. */
  constructor(metrics: readonly Metric<Prediction, Target>[] | Readonly<Record<string, Metric<Prediction, Target>>>) {
    this.metrics = Array.isArray(metrics)
      ? (metrics as readonly Metric<Prediction, Target>[]).map((m) => [m.name, m] as const)
      : Object.entries(metrics as Readonly<Record<string, Metric<Prediction, Target>>>);
  }
  async update(prediction: Prediction, target: Target): Promise<void> {
    for (const [, metric] of this.metrics) await metric.update(prediction, target);
  }
  compute(): Record<string, number> {
    const values: Record<string, number> = {};
    for (const [name, metric] of this.metrics) {
      const value = metric.compute();
      if (typeof value === 'number') values[name] = value;
      else for (const [key, v] of Object.entries(value)) values[`${name}.${key}`] = v;
    }
    return values;
  }
  reset(): void {
    for (const [, metric] of this.metrics) metric.reset();
  }
  /** @throws ArgumentError when one of the metrics has no state to save. */
  stateDict(): MetricState {
    return Object.fromEntries(
      this.metrics.map(([name, metric]) => {
        if (metric.stateDict === undefined) throw new ArgumentError(`${name} has no stateDict()`, { op: 'MetricCollection' });
        return [name, metric.stateDict()];
      }),
    );
  }
  loadStateDict(state: MetricState): void {
    const states = state as Readonly<Record<string, MetricJson>>;
    for (const [name, metric] of this.metrics) metric.loadStateDict?.(states[name]);
  }
}
