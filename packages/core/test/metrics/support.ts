/** Metrics against recorded values. */
import { expect } from 'vitest';
import type { Metric } from '../../src/metrics/index.js';
import { narrow } from '../../src/ops/view-slice.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { TensorJson } from '../ops/cases.js';

export interface MetricCase {
  readonly name: string;
  readonly expected: Readonly<Record<string, number | readonly number[]>>;
  readonly [input: string]: unknown;
}
export function caseOf(file: unknown, name: string): MetricCase {
  const found = (file as { readonly cases: readonly MetricCase[] }).cases.find((c) => c.name === name);
  if (found === undefined) throw new Error(`no case ${name}`);
  return found;
}
export const inputOf = (c: MetricCase, name: string): TensorJson => c[name] as TensorJson;

/** The values of a metric, in the order of their names. */
export function valuesOf(result: number | Record<string, number>): number[] {
  return typeof result === 'number' ? [result] : Object.values(result);
}

/** Elements agree to 9 digits, or as many as float32 scores allow. */
export function expectClose(got: readonly number[], wanted: number | readonly number[] | undefined, what: string, tolerance = 1e-9): void {
  const list = typeof wanted === 'number' ? [wanted] : (wanted ?? []);
  expect(got.length, `${what}: number of values`).toBe(list.length);
  got.forEach((v, i) => {
    if (!(Math.abs(v - list[i]) <= tolerance * Math.max(1, Math.abs(list[i])))) expect.fail(`${what} [${i}] is ${v}, expected ${list[i]}`);
  });
}

/** One update with everything. */
export function measure(metric: Metric, prediction: Tensor, target: Tensor): number[] {
  metric.reset();
  void metric.update(prediction, target);
  return valuesOf(metric.compute());
}

/** Updates with the samples cut into the given numbers; the rest in one. */
export function measureInPieces(metric: Metric, prediction: Tensor, target: Tensor, cuts: readonly number[]): number[] {
  metric.reset();
  let from = 0;
  const n = target.shape[0];
  for (const size of [...cuts, n]) {
    const count = Math.min(size, n - from);
    if (count === 0) continue;
    const start = from;
    scope(() => void metric.update(narrow(prediction, 0, start, count), narrow(target, 0, start, count)));
    from += count;
  }
  return valuesOf(metric.compute());
}
