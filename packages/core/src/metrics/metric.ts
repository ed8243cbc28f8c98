/** What all metrics share: the interface, and reading tensors. */
import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import { readSync } from '../tensor/dispatch.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * A measure that is gathered batch by batch: update() with every batch, compute() at the end of the pass, reset() before the next. The
 * result does not depend on how the samples were cut into batches. update() reads its tensors and keeps none of them.
 */
export interface Metric<Prediction = Tensor, Target = Tensor> {
  readonly name: string;
  update(prediction: Prediction, target: Target): void | Promise<void>;
  /** A number, or several by name; NaN where nothing was seen. */
  compute(): number | Record<string, number>;
  reset(): void;
  /** What was gathered so far, as plain JSON; for checkpoints in the middle of a pass. */
  stateDict?(): MetricState;
  /** Goes on from where stateDict() was taken; the metric must have the same options. */
  loadStateDict?(state: MetricState): void;
}

/** Plain JSON. */
export type MetricJson = null | boolean | number | string | readonly MetricJson[] | { readonly [name: string]: MetricJson };
/** What a metric has gathered. */
export type MetricState = MetricJson;

interface Stateful {
  stateDict(): MetricState;
  loadStateDict(state: MetricState): void;
}
const isStateful = (x: unknown): x is Stateful => typeof x === 'object' && x !== null && 'loadStateDict' in x;
const listState = (values: ArrayLike<number>): MetricJson[] => Array.from(values, numberState);
/** JSON has no NaN and no infinities. */
const numberState = (v: number): number | string => (Number.isFinite(v) ? v : String(v));

function fieldState(value: unknown): MetricJson {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return numberState(value);
  if (value instanceof Float64Array) return listState(value);
  if (Array.isArray(value)) return listState(value as number[]);
  if (isStateful(value)) return value.stateDict();
  throw new ArgumentError('a field of a metric cannot be saved', { op: 'stateDict', received: value });
}

/** Base of what gathers: saves the fields that subclasses name. */
export abstract class Gathering implements Stateful {
  /** Names of the properties that update() changes: numbers, texts, lists of numbers, or gathering objects. */
  protected abstract gathered(): readonly string[];
  stateDict(): MetricState {
    const fields = this as unknown as Record<string, unknown>;
    return Object.fromEntries(this.gathered().map((name) => [name, fieldState(fields[name])]));
  }
  loadStateDict(state: MetricState): void {
    const names = this.gathered();
    const given = (typeof state === 'object' && state !== null && !Array.isArray(state) ? state : {}) as Record<string, MetricJson>;
    const missing = names.filter((name) => given[name] === undefined);
    if (missing.length > 0) {
      throw new ArgumentError(`the state lacks ${missing.join(', ')}`, {
        op: 'loadStateDict',
        received: Object.keys(given),
        expected: names.join(', '),
        fix: 'Load the state into a metric of the same kind and with the same options.',
      });
    }
    const fields = this as unknown as Record<string, unknown>;
    for (const name of names) {
      const [current, value] = [fields[name], given[name]];
      if (isStateful(current)) current.loadStateDict(value);
      else if (current instanceof Float64Array) fields[name] = Float64Array.from(value as readonly number[], Number);
      else if (Array.isArray(current)) fields[name] = (value as readonly number[]).map(Number);
      else fields[name] = typeof current === 'number' ? Number(value) : value;
    }
  }
}

/** The elements of a tensor as numbers. */
export function numbersOf(t: Tensor): ArrayLike<number> {
  const data = readSync(t);
  return data instanceof BigInt64Array ? Float64Array.from(data, Number) : data;
}

/** What `fn` makes on the way to numbers is freed and leaves nothing on the tape. */
export function quietly<T>(fn: () => T): T {
  return noGrad(() => scope(fn));
}

export function requireSameShape(op: string, prediction: Tensor, target: Tensor): void {
  if (!shapesEqual(prediction.shape, target.shape)) throw shapeError(op, prediction, target, 'equal shapes');
}

export function shapeError(op: string, prediction: Tensor, target: Tensor, expected: string): ShapeError {
  return new ShapeError(`predictions of shape ${formatShape(prediction.shape)} and targets of shape ${formatShape(target.shape)}`, {
    op,
    received: [prediction.shape, target.shape],
    expected,
  });
}

export function requireScores(op: string, prediction: Tensor): void {
  if (!isFloat(prediction.dtype)) {
    throw new DTypeError(`predictions of ${prediction.dtype}`, { op, received: prediction.dtype, expected: 'scores of a float dtype' });
  }
}

/** Numbers that come in pieces, in one growing array. */
export class NumberList {
  private data = new Float64Array(64);
  private count = 0;

  append(values: ArrayLike<number>): void {
    this.grow(this.count + values.length);
    this.data.set(values, this.count);
    this.count += values.length;
  }
  private grow(wanted: number): void {
    if (wanted <= this.data.length) return;
    const larger = new Float64Array(Math.max(wanted, this.data.length * 2));
    larger.set(this.data.subarray(0, this.count));
    this.data = larger;
  }
  get values(): Float64Array {
    return this.data.subarray(0, this.count);
  }
  clear(): void {
    this.data = new Float64Array(64);
    this.count = 0;
  }
  stateDict(): MetricState {
    return listState(this.values);
  }
  loadStateDict(state: MetricState): void {
    this.clear();
    this.append((state as readonly (number | string)[]).map(Number));
  }
}

/** `a / b`, `otherwise` where b is 0. */
export function ratio(a: number, b: number, otherwise = 0): number {
  return b === 0 ? otherwise : a / b;
}
