/** Discrete Fourier transforms in the manner of torch.fft. Axes count without the last dimension that holds the complex parts. */
import type { DType } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { normalizeAxes, normalizeAxis } from '../graph/layout.js';
import { complexFft, halfFromReal, realFromHalf } from '../ops/fft.js';
import { pad } from '../ops/pad.js';
import { movedim } from '../ops/view.js';
import { narrow } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { complex, conj, requireComplex } from './complex.js';

/** `backward`: the inverse divides by n. `forward`: the other one does. `ortho`: both divide by its root. */
export type FftNorm = 'backward' | 'ortho' | 'forward';
export interface FftOptions {
  /** Elements along the axis: longer inputs are cut, shorter ones filled up with zeros. */
  readonly n?: number;
  /** Default -1. */
  readonly dim?: number;
  readonly norm?: FftNorm;
}
export interface FftnOptions {
  /** Elements along each of the axes. */
  readonly s?: readonly number[];
  /** Default: all axes, or the last ones when `s` is given. */
  readonly dim?: readonly number[];
  readonly norm?: FftNorm;
}

function requireFloat(x: Tensor, op: string): void {
  if (x.dtype === 'float32' || x.dtype === 'float64') return;
  throw new DTypeError(`a ${x.dtype} tensor`, {
    op,
    received: x.dtype as DType,
    expected: 'float32 or float64',
    fix: "Convert it with .to('float32').",
  });
}
function scaleOf(n: number, norm: FftNorm, inverse: boolean, op: string): number {
  if (norm === 'ortho') return 1 / Math.sqrt(n);
  if (norm !== 'backward' && norm !== 'forward')
    throw new ArgumentError(`norm ${String(norm)}`, { op, received: norm, expected: "'backward', 'ortho' or 'forward'" });
  return (norm === 'backward') === inverse ? 1 / n : 1;
}
function requireLength(n: number, op: string): void {
  if (Number.isInteger(n) && n >= 1) return;
  throw new ArgumentError(`a transform of ${n} elements`, { op, received: n, expected: 'a whole number of at least 1' });
}

/** Axis `axis` of the tensor with `n` elements. */
function resized(x: Tensor, axis: number, n: number): Tensor {
  const extent = x.shape[axis];
  if (extent === n) return x;
  if (extent > n) return narrow(x, axis, 0, n);
  const amounts = new Array<number>(2 * (x.shape.length - axis)).fill(0);
  amounts[amounts.length - 1] = n - extent;
  return pad(x, amounts);
}

/** Runs `transform` on the tensor with complex axis `axis` moved to the end, and moves it back. */
function alongComplex(x: Tensor, axis: number, transform: (moved: Tensor) => Tensor): Tensor {
  const last = x.shape.length - 2;
  return axis === last ? transform(x) : movedim(transform(movedim(x, axis, last)), last, axis);
}

function complexAxis(x: Tensor, dim: number, op: string): number {
  requireFloat(x, op);
  requireComplex(x, op, 1);
  return normalizeAxis(dim, x.shape.length - 1, op);
}

function oneDimension(x: Tensor, { n, dim = -1, norm = 'backward' }: FftOptions, inverse: boolean, op: string): Tensor {
  const axis = complexAxis(x, dim, op);
  const length = n ?? x.shape[axis];
  requireLength(length, op);
  const scale = scaleOf(length, norm, inverse, op);
  return composite(op, () => alongComplex(resized(x, axis, length), axis, (moved) => complexFft(moved, inverse, scale)));
}

/** The transform of complex numbers [..., n, 2] along one axis: `sum of x[j] e^(-2 pi i j k / n)`. */
export function fft(x: Tensor, options: FftOptions = {}): Tensor {
  return oneDimension(x, options, false, 'fft');
}
/** The inverse of {@link fft}. */
export function ifft(x: Tensor, options: FftOptions = {}): Tensor {
  return oneDimension(x, options, true, 'ifft');
}

/** The transform of real numbers along one axis, frequencies 0 .. n / 2 alone (the others are their conjugates): [..., n] to [..., n / 2 + 1, 2]. */
export function rfft(x: Tensor, { n, dim = -1, norm = 'backward' }: FftOptions = {}): Tensor {
  requireFloat(x, 'rfft');
  if (x.shape.length === 0) throw new ShapeError('a 0-d tensor', { op: 'rfft', received: x.shape, expected: 'at least one dimension' });
  const axis = normalizeAxis(dim, x.shape.length, 'rfft');
  const length = n ?? x.shape[axis];
  requireLength(length, 'rfft');
  const scale = scaleOf(length, norm, false, 'rfft');
  const last = x.shape.length - 1;
  return composite('rfft', () => {
    const sized = resized(x, axis, length);
    return axis === last ? halfFromReal(sized, scale) : movedim(halfFromReal(movedim(sized, axis, last), scale), last, axis);
  });
}
/**
 * The real numbers whose {@link rfft} along the axis is given; `n` defaults to the even 2 (frequencies - 1). Imaginary parts of
 * frequency 0 and (for even n) n / 2 do not count.
 */
export function irfft(x: Tensor, { n, dim = -1, norm = 'backward' }: FftOptions = {}): Tensor {
  const axis = complexAxis(x, dim, 'irfft');
  const length = n ?? 2 * (x.shape[axis] - 1);
  requireLength(length, 'irfft');
  const scale = scaleOf(length, norm, true, 'irfft');
  return composite('irfft', () => {
    const sized = resized(x, axis, Math.floor(length / 2) + 1);
    const last = x.shape.length - 2;
    return axis === last
      ? realFromHalf(sized, length, scale)
      : movedim(realFromHalf(movedim(sized, axis, last), length, scale), last, axis);
  });
}
/** The transform, real, of a signal with conjugate symmetry of which half is given: [..., n / 2 + 1, 2] to [..., n]. */
export function hfft(x: Tensor, { n, dim = -1, norm = 'backward' }: FftOptions = {}): Tensor {
  return composite('hfft', () => irfft(conj(x), { n, dim, norm: flipped(norm) }));
}
/** The inverse of {@link hfft}: [..., n] to [..., n / 2 + 1, 2]. */
export function ihfft(x: Tensor, { n, dim = -1, norm = 'backward' }: FftOptions = {}): Tensor {
  return composite('ihfft', () => conj(rfft(x, { n, dim, norm: flipped(norm) })));
}
function flipped(norm: FftNorm): FftNorm {
  return norm === 'backward' ? 'forward' : norm === 'forward' ? 'backward' : norm;
}

/** The axes of a transform of several dimensions and the number of elements along each; `rank` is the number of axes there are. */
function axesOf({ s, dim }: FftnOptions, rank: number, op: string): { readonly axes: number[]; readonly sizes: (number | undefined)[] } {
  const list = dim ?? Array.from({ length: s?.length ?? rank }, (_, i) => rank - (s?.length ?? rank) + i);
  const axes = list.map((axis) => normalizeAxis(axis, rank, op));
  normalizeAxes(axes, rank, op);
  if (s !== undefined && s.length !== axes.length)
    throw new ArgumentError(`${s.length} sizes for ${axes.length} axes`, { op, received: s, expected: 'one size an axis' });
  return { axes, sizes: axes.map((_, i) => s?.[i]) };
}

function manyDimensions(x: Tensor, options: FftnOptions, inverse: boolean, op: string): Tensor {
  requireFloat(x, op);
  requireComplex(x, op, 1);
  const { axes, sizes } = axesOf(options, x.shape.length - 1, op);
  return composite(op, () => axes.reduce((rest, dim, i) => oneDimension(rest, { n: sizes[i], dim, norm: options.norm }, inverse, op), x));
}
/** {@link fft} along several axes. */
export function fftn(x: Tensor, options: FftnOptions = {}): Tensor {
  return manyDimensions(x, options, false, 'fftn');
}
/** {@link ifft} along several axes. */
export function ifftn(x: Tensor, options: FftnOptions = {}): Tensor {
  return manyDimensions(x, options, true, 'ifftn');
}
/** {@link fft} along two axes, by default the last ones. */
export function fft2(x: Tensor, options: FftnOptions = {}): Tensor {
  return manyDimensions(x, { dim: [-2, -1], ...options }, false, 'fft2');
}
/** {@link ifft} along two axes, by default the last ones. */
export function ifft2(x: Tensor, options: FftnOptions = {}): Tensor {
  return manyDimensions(x, { dim: [-2, -1], ...options }, true, 'ifft2');
}
/** {@link rfft} along the last of the axes, then {@link fft} along the others. */
export function rfftn(x: Tensor, options: FftnOptions = {}): Tensor {
  const { axes, sizes } = axesOf(options, x.shape.length, 'rfftn');
  const last = axes.length - 1;
  if (last < 0) throw new ArgumentError('no axes', { op: 'rfftn', received: options.dim, expected: 'at least one axis' });
  return composite('rfftn', () => {
    const half = rfft(x, { n: sizes[last], dim: axes[last], norm: options.norm });
    return axes.slice(0, last).reduce((rest, dim, i) => fft(rest, { n: sizes[i], dim, norm: options.norm }), half);
  });
}
/** The inverse of {@link rfftn}; the last of `s` defaults to the even 2 (frequencies - 1). */
export function irfftn(x: Tensor, options: FftnOptions = {}): Tensor {
  requireComplex(x, 'irfftn', 1);
  const { axes, sizes } = axesOf(options, x.shape.length - 1, 'irfftn');
  const last = axes.length - 1;
  if (last < 0) throw new ArgumentError('no axes', { op: 'irfftn', received: options.dim, expected: 'at least one axis' });
  return composite('irfftn', () => {
    const rest = axes.slice(0, last).reduce((t, dim, i) => ifft(t, { n: sizes[i], dim, norm: options.norm }), x);
    return irfft(rest, { n: sizes[last], dim: axes[last], norm: options.norm });
  });
}
/** {@link rfftn} of two axes, by default the last ones. */
export function rfft2(x: Tensor, options: FftnOptions = {}): Tensor {
  return rfftn(x, { dim: [-2, -1], ...options });
}
/** The inverse of {@link rfft2}. */
export function irfft2(x: Tensor, options: FftnOptions = {}): Tensor {
  return irfftn(x, { dim: [-2, -1], ...options });
}
/** {@link fft} of real numbers with all frequencies: [..., n] to [..., n, 2]. */
export function fftOfReal(x: Tensor, options: FftOptions = {}): Tensor {
  return composite('fftOfReal', () => fft(complex(x), options));
}
