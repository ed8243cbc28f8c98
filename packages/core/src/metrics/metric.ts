/** What all metrics share: the interface, and reading tensors. */
import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { DTypeError, ShapeError } from '../errors.js';
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

  push(value: number): void {
    if (this.count === this.data.length) this.grow(this.count + 1);
    this.data[this.count++] = value;
  }
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
}

/** `a / b`, `otherwise` where b is 0. */
export function ratio(a: number, b: number, otherwise = 0): number {
  return b === 0 ? otherwise : a / b;
}
