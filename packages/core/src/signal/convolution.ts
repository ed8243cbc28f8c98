/** Convolutions of signals, and changing their sampling rate. */

import { promoteTypes } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { complexMul } from '../fft/complex.js';
import { irfft, rfft } from '../fft/transforms.js';
import { broadcastShapes, formatShape, sizeOf } from '../graph/layout.js';
import { cast } from '../ops/cast.js';
import { conv1d } from '../ops/conv.js';
import { hostConstant } from '../ops/fill.js';
import { pad } from '../ops/pad.js';
import { reshape, transpose } from '../ops/view.js';
import { flip, narrow } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** `full`: n + m - 1 elements; `same`: n, from the middle; `valid`: those that all of the shorter one takes part in. */
export type ConvolveMode = 'full' | 'same' | 'valid';

function cut(full: Tensor, n: number, m: number, mode: ConvolveMode, op: string): Tensor {
  const axis = full.shape.length - 1;
  switch (mode) {
    case 'full':
      return full;
    case 'same':
      return narrow(full, axis, Math.floor((m - 1) / 2), n);
    case 'valid':
      return narrow(full, axis, Math.min(n, m) - 1, Math.abs(n - m) + 1);
    default:
      throw new ArgumentError(`mode ${String(mode)}`, { op, received: mode, expected: "'full', 'same' or 'valid'" });
  }
}
function lengths(a: Tensor, b: Tensor, op: string): readonly [number, number] {
  const [n, m] = [a.shape[a.shape.length - 1] ?? 0, b.shape[b.shape.length - 1] ?? 0];
  if (n < 1 || m < 1) {
    throw new ShapeError(`shapes ${formatShape(a.shape)} and ${formatShape(b.shape)}`, {
      op,
      received: [a.shape, b.shape],
      expected: 'at least one element along the last axis of each',
    });
  }
  return [n, m];
}

/** The least length of at least n without prime factors above 5. */
export function nextFastLength(n: number): number {
  let best = Infinity;
  for (let fives = 1; fives < 2 * n; fives *= 5) {
    for (let threes = fives; threes < 2 * n; threes *= 3) {
      let size = threes;
      while (size < n) size *= 2;
      best = Math.min(best, size);
    }
  }
  return Number.isFinite(best) ? best : 1;
}

/** The convolution along the last axis by Fourier transforms: n log n operations. Leading axes broadcast. */
export function fftconvolve(a: Tensor, b: Tensor, mode: ConvolveMode = 'full'): Tensor {
  const [n, m] = lengths(a, b, 'fftconvolve');
  return composite('fftconvolve', () => {
    const size = nextFastLength(n + m - 1);
    const dtype = promoteTypes(a.dtype, b.dtype) === 'float64' ? 'float64' : 'float32';
    const product = complexMul(rfft(cast(a, dtype), { n: size }), rfft(cast(b, dtype), { n: size }));
    const full = narrow(irfft(product, { n: size }), -1, 0, n + m - 1);
    return cut(full, n, m, mode, 'fftconvolve');
  });
}

/** The convolution along the last axis by sums of products: n m operations, exact zeros stay zeros. Leading axes broadcast. */
export function convolve1d(a: Tensor, b: Tensor, mode: ConvolveMode = 'full'): Tensor {
  const [n, m] = lengths(a, b, 'convolve1d');
  return composite('convolve1d', () => {
    const lead = broadcastShapes(a.shape.slice(0, -1), b.shape.slice(0, -1), 'convolve1d');
    const one = b.shape.length === 1;
    const groups = one ? 1 : sizeOf(lead);
    const rows = one ? sizeOf(lead) : 1;
    // One filter for all signals, or a group of channels for each pair.
    const signal = reshape(a.expand([...lead, n]), one ? [rows, 1, n] : [1, groups, n]);
    const filter = reshape(flip(b.expand(one ? [m] : [...lead, m]), -1), [groups, 1, m]);
    const full = reshape(conv1d(signal, filter, null, { padding: m - 1, groups }), [...lead, n + m - 1]);
    return cut(full, n, m, mode, 'convolve1d');
  });
}

export interface ResampleOptions {
  /** Zero crossings of the sinc on each side: more are sharper and slower. Default 6. */
  readonly lowpassFilterWidth?: number;
  /** Cutoff as a share of the lower of the two Nyquist frequencies. Default 0.99. */
  readonly rolloff?: number;
}
/**
 * Signals [..., n] sampled `from` times a second as if sampled `to` times: [..., ceil(n to / from)]. A polyphase filter bank, one
 * windowed sinc for each of the to / gcd phases (Smith, "Digital Audio Resampling"), as torchaudio's resample with sinc_interp_hann.
 */
export function resample(x: Tensor, from: number, to: number, { lowpassFilterWidth = 6, rolloff = 0.99 }: ResampleOptions = {}): Tensor {
  if (
    !Number.isInteger(from) ||
    !Number.isInteger(to) ||
    from < 1 ||
    to < 1 ||
    !(lowpassFilterWidth > 0) ||
    !(rolloff > 0 && rolloff <= 1)
  ) {
    throw new ArgumentError(`from ${from} to ${to}`, {
      op: 'resample',
      received: { from, to, lowpassFilterWidth, rolloff },
      expected: 'whole sampling rates of at least 1, a positive width and a rolloff in (0, 1]',
    });
  }
  const [n] = lengths(x, x, 'resample');
  if (from === to) return composite('resample', () => x.mul(1));
  const divisor = gcd(from, to);
  const [step, phases] = [from / divisor, to / divisor];
  const base = Math.min(step, phases) * rolloff;
  const width = Math.ceil((lowpassFilterWidth * step) / base);
  const size = 2 * width + step;
  const taps: number[] = [];
  for (let phase = 0; phase < phases; phase++) {
    for (let i = 0; i < size; i++) {
      const t = Math.max(-lowpassFilterWidth, Math.min(lowpassFilterWidth, (-phase / phases + (i - width) / step) * base));
      const window = Math.cos((t * Math.PI) / lowpassFilterWidth / 2) ** 2;
      taps.push(((t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t)) * window * base) / step);
    }
  }
  return composite('resample', () => {
    const lead = x.shape.slice(0, -1);
    const rows = sizeOf(lead);
    const padded = pad(reshape(x, [rows, 1, n]), [width, width + step]);
    const bank = conv1d(padded, hostConstant(taps, x.dtype, [phases, 1, size]), null, { stride: step });
    const merged = reshape(transpose(bank, 1, 2), [rows, -1]);
    const length = Math.ceil((phases * n) / step);
    return reshape(narrow(merged, 1, 0, length), [...lead, length]);
  });
}
function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
