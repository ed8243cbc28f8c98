/** Which frequencies the elements of a transform stand for, and putting frequency 0 into the middle. */
import { ArgumentError } from '../errors.js';
import { normalizeAxes, normalizeAxis } from '../graph/layout.js';
import { type TensorOptions, tensor } from '../ops/create.js';
import { roll } from '../ops/join.js';
import type { Tensor } from '../tensor/tensor.js';

function requireCount(n: number, op: string): void {
  if (!Number.isInteger(n) || n < 1)
    throw new ArgumentError(`${n} elements`, { op, received: n, expected: 'a whole number of at least 1' });
}
/** Frequencies of fft() of n elements that lie `d` apart, in cycles per unit: 0, 1, ..., then the negative ones, over n d. */
export function fftfreq(n: number, d = 1, options: TensorOptions = {}): Tensor {
  requireCount(n, 'fftfreq');
  const half = Math.ceil(n / 2);
  return tensor(
    Array.from({ length: n }, (_, k) => (k < half ? k : k - n) / (n * d)),
    { dtype: 'float32', ...options },
  );
}
/** Frequencies of rfft(): 0 .. floor(n / 2), over n d. */
export function rfftfreq(n: number, d = 1, options: TensorOptions = {}): Tensor {
  requireCount(n, 'rfftfreq');
  return tensor(
    Array.from({ length: Math.floor(n / 2) + 1 }, (_, k) => k / (n * d)),
    { dtype: 'float32', ...options },
  );
}

export interface ShiftOptions {
  /** Axes to shift; all by default. */
  readonly dim?: number | readonly number[];
  /** The last dimension holds complex parts: it is no axis. Default false. */
  readonly complex?: boolean;
}
function shift(x: Tensor, { dim, complex = false }: ShiftOptions, amount: (n: number) => number, op: string): Tensor {
  const rank = x.shape.length - (complex ? 1 : 0);
  const axes = typeof dim === 'number' ? [normalizeAxis(dim, rank, op)] : normalizeAxes(dim, rank, op);
  return roll(
    x,
    axes.map((axis) => amount(x.shape[axis])),
    axes,
  );
}
/** Moves frequency 0 to the middle. */
export function fftshift(x: Tensor, options: ShiftOptions = {}): Tensor {
  return shift(x, options, (n) => Math.floor(n / 2), 'fftshift');
}
/** The inverse of {@link fftshift}. */
export function ifftshift(x: Tensor, options: ShiftOptions = {}): Tensor {
  return shift(x, options, (n) => Math.ceil(n / 2), 'ifftshift');
}
