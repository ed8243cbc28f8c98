/** Short-time Fourier transforms on the host. Definitions as torchaudio's and torch.stft's. */
import { ArgumentError } from '../../errors.js';
import { RealFft } from './fft.js';

export type WindowName = 'hann' | 'hamming' | 'blackman' | 'rectangular';

/** A periodic window of n samples (symmetric ones divide by n - 1), float64. */
export function windowArray(name: WindowName, n: number, periodic = true): Float64Array {
  const out = new Float64Array(n);
  const period = periodic || n === 1 ? n : n - 1;
  for (let i = 0; i < n; i++) {
    const angle = (2 * Math.PI * i) / period;
    if (name === 'hann') out[i] = 0.5 - 0.5 * Math.cos(angle);
    else if (name === 'hamming') out[i] = 0.54 - 0.46 * Math.cos(angle);
    else if (name === 'blackman') out[i] = 0.42 - 0.5 * Math.cos(angle) + 0.08 * Math.cos(2 * angle);
    else out[i] = 1;
  }
  return out;
}

/** Rows of numbers over time: element (row, frame) is `data[row * frames + frame]`. */
export interface Spectrum {
  readonly data: Float32Array;
  /** Frequency bins, mel bands or cepstral coefficients. */
  readonly rows: number;
  readonly frames: number;
}

export interface StftOptions {
  /** Length of the transform; 400 unless told otherwise. */
  readonly nFft?: number;
  /** Samples under the window; nFft unless told otherwise. A shorter window sits in the middle of the frame. */
  readonly winLength?: number;
  /** Samples between frames; winLength / 2 unless told otherwise. */
  readonly hopLength?: number;
  readonly window?: WindowName | ArrayLike<number>;
  /** Frame t is centred at sample t * hopLength (true unless told otherwise): the signal is padded by nFft / 2 on both sides. */
  readonly center?: boolean;
  readonly padMode?: 'reflect' | 'constant' | 'replicate';
  /** Divide by the root of the window's energy. */
  readonly normalized?: boolean;
}

export interface SpectrogramOptions extends StftOptions {
  /** Exponent of the magnitude: 2 is power (the default), 1 magnitude. */
  readonly power?: number;
}

/** Complex bins: element (bin, frame) of `re` and `im` is at `bin * frames + frame`. */
export interface ComplexSpectrum {
  readonly re: Float32Array;
  readonly im: Float32Array;
  readonly rows: number;
  readonly frames: number;
}

function whole(op: string, name: string, value: number, low: number): number {
  if (!Number.isInteger(value) || value < low) {
    throw new ArgumentError(`${name} is ${value}`, { op, received: value, expected: `a whole number, ${low} or more` });
  }
  return value;
}

/** The frames of a signal under a window, and their transforms. Tables are made once; each call only computes. */
export class Stft {
  readonly nFft: number;
  readonly winLength: number;
  readonly hopLength: number;
  readonly center: boolean;
  readonly padMode: 'reflect' | 'constant' | 'replicate';
  /** floor(nFft / 2) + 1. */
  readonly bins: number;
  /** The window in a frame of nFft samples. */
  readonly window: Float64Array;
  private readonly scale: number;
  private readonly fft: RealFft;

  /** @throws ArgumentError for lengths that are not whole numbers, or a window longer than nFft. */
  constructor(options: StftOptions = {}) {
    const op = 'Stft';
    this.nFft = whole(op, 'nFft', options.nFft ?? 400, 1);
    this.winLength = whole(op, 'winLength', options.winLength ?? this.nFft, 1);
    this.hopLength = whole(op, 'hopLength', options.hopLength ?? Math.max(1, Math.floor(this.winLength / 2)), 1);
    if (this.winLength > this.nFft) {
      throw new ArgumentError(`winLength is ${this.winLength}, nFft ${this.nFft}`, { op, expected: 'winLength <= nFft' });
    }
    this.center = options.center ?? true;
    this.padMode = options.padMode ?? 'reflect';
    const given = options.window ?? 'hann';
    const values = typeof given === 'string' ? windowArray(given, this.winLength) : given;
    if (values.length !== this.winLength) {
      throw new ArgumentError(`a window of ${values.length} samples`, { op, expected: `${this.winLength} samples` });
    }
    this.window = new Float64Array(this.nFft);
    this.window.set(Float64Array.from(values), Math.floor((this.nFft - this.winLength) / 2));
    let energy = 0;
    for (const value of this.window) energy += value * value;
    this.scale = options.normalized ? 1 / Math.sqrt(energy) : 1;
    this.fft = new RealFft(this.nFft);
    this.bins = this.fft.bins;
  }

  /** Frames that a signal of `length` samples gives. */
  frames(length: number): number {
    const padded = length + (this.center ? 2 * Math.floor(this.nFft / 2) : 0);
    return padded < this.nFft ? 0 : 1 + Math.floor((padded - this.nFft) / this.hopLength);
  }

  private check(length: number): void {
    const half = Math.floor(this.nFft / 2);
    if (this.center && this.padMode === 'reflect' && length <= half) {
      throw new ArgumentError(`${length} samples cannot be padded by ${half} through reflection`, {
        op: 'Stft',
        received: length,
        expected: `more than ${half} samples`,
        fix: "Pad the signal (padOrTrim), or choose padMode: 'constant'.",
      });
    }
    if (this.frames(length) === 0) {
      throw new ArgumentError(`${length} samples are shorter than a frame`, { op: 'Stft', expected: `${this.nFft} samples or more` });
    }
  }

  /** Calls `visit` with the bins of each frame; the arrays are used again for the next one. */
  forEachFrame(signal: Float32Array, visit: (re: Float64Array, im: Float64Array, frame: number) => void): void {
    const { nFft, window, bins } = this;
    this.check(signal.length);
    const frames = this.frames(signal.length);
    const frame = new Float64Array(nFft);
    const re = new Float64Array(bins);
    const im = new Float64Array(bins);
    const pad = this.center ? Math.floor(nFft / 2) : 0;
    const last = signal.length - 1;
    for (let f = 0; f < frames; f++) {
      const start = f * this.hopLength - pad;
      for (let i = 0; i < nFft; i++) {
        let at = start + i;
        let value = 0;
        if (at >= 0 && at <= last) value = signal[at];
        else if (this.padMode !== 'constant') {
          if (this.padMode === 'reflect') at = at < 0 ? -at : 2 * last - at;
          else at = at < 0 ? 0 : last;
          value = signal[at];
        }
        frame[i] = value * window[i] * this.scale;
      }
      this.fft.forward(frame, re, im);
      visit(re, im, f);
    }
  }

  forward(signal: Float32Array): ComplexSpectrum {
    const frames = this.frames(signal.length);
    const re = new Float32Array(this.bins * frames);
    const im = new Float32Array(this.bins * frames);
    this.forEachFrame(signal, (r, i, frame) => {
      for (let bin = 0; bin < this.bins; bin++) {
        re[bin * frames + frame] = r[bin];
        im[bin * frames + frame] = i[bin];
      }
    });
    return { re, im, rows: this.bins, frames };
  }

  /**
   * The signal of `length` samples with the given transform: frames overlapped and added, divided by the sum of the
   * squared windows (least squares, Griffin and Lim 1984).
   */
  inverse(spectrum: ComplexSpectrum, length?: number): Float32Array {
    const { nFft, window, bins, hopLength } = this;
    const { re, im, frames } = spectrum;
    const pad = this.center ? Math.floor(nFft / 2) : 0;
    const total = nFft + hopLength * Math.max(0, frames - 1);
    const sum = new Float64Array(total);
    const weight = new Float64Array(total);
    const r = new Float64Array(bins);
    const i = new Float64Array(bins);
    const frame = new Float64Array(nFft);
    for (let f = 0; f < frames; f++) {
      for (let bin = 0; bin < bins; bin++) {
        r[bin] = re[bin * frames + f] / this.scale;
        i[bin] = im[bin * frames + f] / this.scale;
      }
      this.fft.inverse(r, i, frame);
      for (let k = 0; k < nFft; k++) {
        sum[f * hopLength + k] += frame[k] * window[k];
        weight[f * hopLength + k] += window[k] * window[k];
      }
    }
    const out = new Float32Array(length ?? Math.max(0, total - 2 * pad));
    for (let t = 0; t < out.length && t + pad < total; t++) {
      out[t] = weight[t + pad] > 1e-11 ? sum[t + pad] / weight[t + pad] : 0;
    }
    return out;
  }
}

/** Magnitudes of the short-time Fourier transform to a power: [nFft / 2 + 1, frames]. */
export class Spectrogram {
  readonly stft: Stft;
  readonly power: number;

  constructor(options: SpectrogramOptions = {}) {
    this.stft = new Stft(options);
    this.power = options.power ?? 2;
    if (!(this.power > 0)) {
      throw new ArgumentError(`power is ${this.power}`, { op: 'Spectrogram', received: this.power, expected: 'a number above 0' });
    }
  }

  /** @throws ArgumentError for a signal too short for its padding. */
  apply(signal: Float32Array): Spectrum {
    const { stft, power } = this;
    const frames = stft.frames(signal.length);
    const data = new Float32Array(stft.bins * frames);
    stft.forEachFrame(signal, (re, im, frame) => {
      for (let bin = 0; bin < stft.bins; bin++) data[bin * frames + frame] = raise(re[bin] ** 2 + im[bin] ** 2, power);
    });
    return { data, rows: stft.bins, frames };
  }
}

/** |z|^power from |z|^2. */
export function raise(square: number, power: number): number {
  return power === 2 ? square : power === 1 ? Math.sqrt(square) : square ** (power / 2);
}
