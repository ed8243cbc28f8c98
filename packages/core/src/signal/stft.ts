/** Short-time Fourier transforms, in the manner of torch.stft and torch.istft. */
import { ArgumentError, ShapeError } from '../errors.js';
import { complexAbs2, requireComplex } from '../fft/complex.js';
import { fftOfReal, irfft, rfft } from '../fft/transforms.js';
import { formatShape } from '../graph/layout.js';
import { div, mul, pow } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { broadcastTo } from '../ops/common.js';
import { ones } from '../ops/create.js';
import { type PadMode, pad } from '../ops/pad.js';
import { amin } from '../ops/reduce.js';
import { abs } from '../ops/unary.js';
import { transpose } from '../ops/view.js';
import { foldWindows, narrow, unfold } from '../ops/view-slice.js';
import { currentTrace, readSync } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

interface FrameOptions {
  /** Points of each transform. */
  readonly nFft: number;
  /** Elements from one frame to the next; default nFft / 4. */
  readonly hopLength?: number;
  /** Elements of the window; shorter ones stand in the middle of the frame. Default nFft. */
  readonly winLength?: number;
  /** [winLength]; default all ones. */
  readonly window?: Tensor | null;
  /** Frame t is centred on element t * hopLength: the signal is extended by nFft / 2 on both sides. Default true. */
  readonly center?: boolean;
  /** Divides by the root of nFft. */
  readonly normalized?: boolean;
  /** Frequencies 0 .. nFft / 2 alone. Default true. */
  readonly onesided?: boolean;
}
export interface StftOptions extends FrameOptions {
  /** How the signal is extended; default 'reflect'. */
  readonly padMode?: PadMode;
}
export interface IstftOptions extends FrameOptions {
  /** Elements of the result; by default as many as the frames cover. */
  readonly length?: number;
}

function frameSizes({ nFft, hopLength, winLength, window }: FrameOptions, op: string): { readonly hop: number; readonly win: number } {
  const hop = hopLength ?? Math.floor(nFft / 4);
  const win = winLength ?? window?.shape[0] ?? nFft;
  if (!Number.isInteger(nFft) || nFft < 1 || !Number.isInteger(hop) || hop < 1 || !Number.isInteger(win) || win < 1 || win > nFft) {
    throw new ArgumentError(`frames of ${nFft}, windows of ${win}, ${hop} apart`, {
      op,
      received: { nFft, hopLength: hop, winLength: win },
      expected: 'whole numbers of at least 1, and windows no longer than frames',
    });
  }
  if (window !== undefined && window !== null && (window.shape.length !== 1 || window.shape[0] !== win)) {
    throw new ShapeError(`a window of shape ${formatShape(window.shape)}`, { op, received: window.shape, expected: `[${win}]` });
  }
  return { hop, win };
}

/** The window in the middle of nFft elements. */
function fullWindow(options: FrameOptions, win: number, like: Tensor): Tensor {
  const { nFft, window } = options;
  const values = window === undefined || window === null ? ones([win], { dtype: like.dtype }) : cast(window, like.dtype);
  const left = Math.floor((nFft - win) / 2);
  return win === nFft ? values : pad(values, [left, nFft - win - left]);
}

/**
 * Spectra of overlapping windowed frames of signals [..., n]: [..., frequencies, frames, 2]; frequencies are nFft / 2 + 1, or nFft when
 * not one-sided.
 */
export function stft(x: Tensor, options: StftOptions): Tensor {
  const { nFft, center = true, padMode = 'reflect', normalized = false, onesided = true } = options;
  const { hop, win } = frameSizes(options, 'stft');
  if (x.shape.length < 1) throw new ShapeError('a 0-d tensor', { op: 'stft', received: x.shape, expected: 'signals [..., n]' });
  const half = Math.floor(nFft / 2);
  const length = x.shape[x.shape.length - 1] + (center ? 2 * half : 0);
  if (length < nFft || (center && padMode === 'reflect' && x.shape[x.shape.length - 1] <= half)) {
    throw new ShapeError(`signals of ${x.shape[x.shape.length - 1]} elements are too short for frames of ${nFft}`, {
      op: 'stft',
      received: x.shape,
      expected: center ? `more than ${half} elements` : `at least ${nFft} elements`,
    });
  }
  return composite('stft', () => {
    const signal = center ? pad(x, [half, half], { mode: padMode }) : x;
    const axis = x.shape.length - 1;
    const frames = mul(unfold(signal, axis, nFft, hop), fullWindow(options, win, x));
    const norm = normalized ? 'ortho' : 'backward';
    const spectra = onesided ? rfft(frames, { norm }) : fftOfReal(frames, { norm });
    return transpose(spectra, axis, axis + 1);
  });
}

/**
 * The signals of which {@link stft} gave these spectra [..., frequencies, frames, 2]: the frames' inverse transforms, windowed again,
 * added up and divided by the sum of the squared windows.
 * @throws ArgumentError outside jit() where those sums vanish
 */
export function istft(z: Tensor, options: IstftOptions): Tensor {
  const { nFft, center = true, normalized = false, onesided = true, length } = options;
  const { hop, win } = frameSizes(options, 'istft');
  requireComplex(z, 'istft', 2);
  const rank = z.shape.length;
  const [frequencies, count] = z.shape.slice(rank - 3, rank - 1);
  const wanted = onesided ? Math.floor(nFft / 2) + 1 : nFft;
  if (frequencies !== wanted || count < 1) {
    throw new ShapeError(`spectra of ${frequencies} frequencies in ${count} frames`, {
      op: 'istft',
      received: z.shape,
      expected: `${wanted} frequencies (nFft ${nFft}, onesided ${onesided}) and at least one frame`,
    });
  }
  return composite('istft', () => {
    const norm = normalized ? 'ortho' : 'backward';
    const axis = rank - 3;
    // Frames are real, so the frequencies up to nFft / 2 say all.
    const half = onesided ? z : narrow(z, axis, 0, Math.floor(nFft / 2) + 1);
    const frames = irfft(transpose(half, axis, axis + 1), { n: nFft, norm });
    const window = fullWindow(options, win, z);
    const covered = nFft + hop * (count - 1);
    const total = foldWindows(mul(frames, window), axis, hop, [...frames.shape.slice(0, axis), covered]);
    const weight = foldWindows(broadcastTo(mul(window, window), [count, nFft]), 0, hop, [covered]);
    const first = center ? Math.floor(nFft / 2) : 0;
    const end = length === undefined ? covered - (center ? Math.floor(nFft / 2) : 0) : first + length;
    const kept = Math.max(0, Math.min(end, covered) - first);
    const divisor = narrow(weight, 0, first, kept);
    requireCover(divisor);
    const signal = div(narrow(total, axis, first, kept), divisor);
    return end > covered ? pad(signal, [0, end - covered]) : signal;
  });
}
function requireCover(weight: Tensor): void {
  if (currentTrace() !== null || weight.numel === 0) return;
  const least = Number(readSync(amin(abs(weight)))[0]);
  if (least > 1e-11) return;
  throw new ArgumentError('the squared windows add up to 0 somewhere, and the signal is not determined there', {
    op: 'istft',
    received: least,
    expected: 'windows that overlap everywhere',
    fix: 'Use center: true, a shorter hopLength or another window.',
  });
}

export interface SpectrogramOptions extends StftOptions {
  /** Exponent of the magnitude; default 2. */
  readonly power?: number;
}
/** Magnitudes of {@link stft} to a power: [..., frequencies, frames]. */
export function spectrogram(x: Tensor, { power = 2, ...options }: SpectrogramOptions): Tensor {
  return composite('spectrogram', () => {
    const squares = complexAbs2(stft(x, options));
    return power === 2 ? squares : pow(squares, power / 2);
  });
}
