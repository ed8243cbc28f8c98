/**
 * Windows, in the manner of torch.hann_window and its kin: `periodic` (default) leaves out the last point of a symmetric window of one
 * element more, as spectral analysis wants it; symmetric ones suit the design of filters.
 */
import { ArgumentError } from '../errors.js';
import { type TensorOptions, tensor } from '../ops/create.js';
import type { Tensor } from '../tensor/tensor.js';

export interface WindowOptions extends TensorOptions {
  readonly periodic?: boolean;
}

/** The window of values f(i, n - 1) of a symmetric window of n points. */
function make(op: string, length: number, { periodic = true, ...options }: WindowOptions, f: (i: number, last: number) => number): Tensor {
  if (!Number.isInteger(length) || length < 0) {
    throw new ArgumentError(`${length} elements`, { op, received: length, expected: 'a whole number of at least 0' });
  }
  const last = periodic ? length : length - 1;
  const values = Array.from({ length }, (_, i) => (length === 1 ? 1 : f(i, last)));
  return tensor(values, { dtype: 'float32', ...options, shape: [length] });
}

/** `sum of (-1)^k a[k] cos(2 pi k i / (n - 1))`. */
export function generalCosineWindow(length: number, coefficients: readonly number[], options: WindowOptions = {}): Tensor {
  return make('generalCosineWindow', length, options, (i, last) =>
    coefficients.reduce((sum, a, k) => sum + (k % 2 === 0 ? a : -a) * Math.cos((2 * Math.PI * k * i) / last), 0),
  );
}
/** `alpha - (1 - alpha) cos(2 pi i / (n - 1))`. */
export function generalHammingWindow(length: number, alpha: number, options: WindowOptions = {}): Tensor {
  return generalCosineWindow(length, [alpha, 1 - alpha], options);
}
export function hannWindow(length: number, options: WindowOptions = {}): Tensor {
  return generalHammingWindow(length, 0.5, options);
}
export function hammingWindow(length: number, options: WindowOptions = {}): Tensor {
  return generalHammingWindow(length, 0.54, options);
}
export function blackmanWindow(length: number, options: WindowOptions = {}): Tensor {
  return generalCosineWindow(length, [0.42, 0.5, 0.08], options);
}
/** The window of four terms with the least side lobes (Nuttall 1981). */
export function nuttallWindow(length: number, options: WindowOptions = {}): Tensor {
  return generalCosineWindow(length, [0.3635819, 0.4891775, 0.1365995, 0.0106411], options);
}
/** A triangle from 0 to 1 to 0. */
export function bartlettWindow(length: number, options: WindowOptions = {}): Tensor {
  return make('bartlettWindow', length, options, (i, last) => 1 - Math.abs((2 * i) / last - 1));
}
/** Half a period of a sine, sampled in the middle of each element. */
export function cosineWindow(length: number, options: WindowOptions = {}): Tensor {
  return make('cosineWindow', length, options, (i, last) => Math.sin((Math.PI * (i + 0.5)) / (last + 1)));
}
/** A bell of standard deviation `std` elements. */
export function gaussianWindow(length: number, std: number, options: WindowOptions = {}): Tensor {
  if (!(std > 0))
    throw new ArgumentError(`standard deviation ${std}`, { op: 'gaussianWindow', received: std, expected: 'a positive number' });
  return make('gaussianWindow', length, options, (i, last) => Math.exp(-0.5 * ((i - last / 2) / std) ** 2));
}
/** Exponential decay by e in `tau` elements on both sides of the middle. */
export function exponentialWindow(length: number, tau: number, options: WindowOptions = {}): Tensor {
  if (!(tau > 0)) throw new ArgumentError(`decay ${tau}`, { op: 'exponentialWindow', received: tau, expected: 'a positive number' });
  return make('exponentialWindow', length, options, (i, last) => Math.exp(-Math.abs(i - last / 2) / tau));
}

/** The modified Bessel function I_0 by its power series: all terms are positive. */
function besselI0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
/** Kaiser's window: most of its energy lies in the main lobe, whose width grows with `beta`. */
export function kaiserWindow(length: number, beta = 12, options: WindowOptions = {}): Tensor {
  const scale = besselI0(beta);
  return make('kaiserWindow', length, options, (i, last) => besselI0(beta * Math.sqrt(Math.max(0, 1 - ((2 * i) / last - 1) ** 2))) / scale);
}
