/** Mel spectrograms and cepstral coefficients, by torchaudio's definitions (and librosa's, with the Slaney options). */
import { ArgumentError } from '../../errors.js';
import { raise, type SpectrogramOptions, type Spectrum, Stft } from './spectrogram.js';

/** HTK: 2595 log10(1 + f / 700). Slaney (Auditory Toolbox): linear below 1 kHz, logarithmic above. */
export type MelScale = 'htk' | 'slaney';

const slaneyStep = 200 / 3;
const slaneyLog = Math.log(6.4) / 27;

export function hzToMel(hz: number, scale: MelScale = 'htk'): number {
  if (scale === 'htk') return 2595 * Math.log10(1 + hz / 700);
  return hz < 1000 ? hz / slaneyStep : 15 + Math.log(hz / 1000) / slaneyLog;
}

export function melToHz(mel: number, scale: MelScale = 'htk'): number {
  if (scale === 'htk') return 700 * (10 ** (mel / 2595) - 1);
  return mel < 15 ? mel * slaneyStep : 1000 * Math.exp((mel - 15) * slaneyLog);
}

export interface MelOptions {
  /** Hz. */
  readonly sampleRate: number;
  readonly nMels?: number;
  /** Hz; 0 unless told otherwise. */
  readonly fMin?: number;
  /** Hz; sampleRate / 2 unless told otherwise. */
  readonly fMax?: number;
  readonly melScale?: MelScale;
  /** 'slaney' divides each triangle by its width in Hz, so all have the same area. */
  readonly norm?: 'slaney' | null;
}

/** Triangles over the bins of a transform of length nFft: float32 [nMels, floor(nFft / 2) + 1], row-major. @throws ArgumentError */
export function melFilterbank(nFft: number, options: MelOptions): Float32Array {
  const op = 'melFilterbank';
  const { sampleRate, nMels = 128, fMin = 0, melScale = 'htk', norm = null } = options;
  const fMax = options.fMax ?? sampleRate / 2;
  if (!(sampleRate > 0)) throw new ArgumentError(`sampleRate is ${sampleRate}`, { op, expected: 'a rate in Hz above 0' });
  if (!Number.isInteger(nMels) || nMels < 1) throw new ArgumentError(`nMels is ${nMels}`, { op, expected: 'a whole number, 1 or more' });
  if (!(fMin >= 0 && fMin < fMax)) throw new ArgumentError(`fMin is ${fMin}, fMax ${fMax}`, { op, expected: '0 <= fMin < fMax' });
  const bins = Math.floor(nFft / 2) + 1;
  const low = hzToMel(fMin, melScale);
  const high = hzToMel(fMax, melScale);
  const points = Array.from({ length: nMels + 2 }, (_, i) => melToHz(low + ((high - low) * i) / (nMels + 1), melScale));
  const out = new Float32Array(nMels * bins);
  for (let m = 0; m < nMels; m++) {
    const [left, middle, right] = [points[m], points[m + 1], points[m + 2]];
    const area = norm === 'slaney' ? 2 / (right - left) : 1;
    for (let k = 0; k < bins; k++) {
      const hz = bins === 1 ? 0 : (k * sampleRate) / nFft;
      const value = Math.min((hz - left) / (middle - left), (right - hz) / (right - middle));
      out[m * bins + k] = Math.max(0, value) * area;
    }
  }
  return out;
}

export interface MelSpectrogramOptions extends SpectrogramOptions, MelOptions {}

/** A spectrogram in mel bands: [nMels, frames]. */
export class MelSpectrogram {
  readonly stft: Stft;
  readonly nMels: number;
  readonly power: number;
  private readonly bank: Float32Array;
  /** Bins of each triangle: [first, end) pairs. */
  private readonly spans: Int32Array;

  /** @throws ArgumentError */
  constructor(options: MelSpectrogramOptions) {
    this.stft = new Stft(options);
    this.nMels = options.nMels ?? 128;
    this.power = options.power ?? 2;
    this.bank = melFilterbank(this.stft.nFft, options);
    const { bins } = this.stft;
    this.spans = new Int32Array(2 * this.nMels);
    for (let m = 0; m < this.nMels; m++) {
      const row = this.bank.subarray(m * bins, (m + 1) * bins);
      const first = row.findIndex((value) => value !== 0);
      this.spans[2 * m] = Math.max(0, first);
      this.spans[2 * m + 1] = first < 0 ? 0 : row.findLastIndex((value) => value !== 0) + 1;
    }
  }

  /** @throws ArgumentError for a signal too short for its padding. */
  apply(signal: Float32Array): Spectrum {
    const { stft, nMels, bank, spans, power } = this;
    const { bins } = stft;
    const frames = stft.frames(signal.length);
    const data = new Float32Array(nMels * frames);
    const powers = new Float64Array(bins);
    stft.forEachFrame(signal, (re, im, frame) => {
      for (let k = 0; k < bins; k++) powers[k] = raise(re[k] * re[k] + im[k] * im[k], power);
      for (let m = 0; m < nMels; m++) {
        let sum = 0;
        for (let k = spans[2 * m]; k < spans[2 * m + 1]; k++) sum += bank[m * bins + k] * powers[k];
        data[m * frames + frame] = sum;
      }
    });
    return { data, rows: nMels, frames };
  }
}

export interface DecibelOptions {
  /** 10 for powers (the default), 20 for magnitudes. */
  readonly multiplier?: 10 | 20;
  /** Least value that is taken the logarithm of. */
  readonly amin?: number;
  /** What 0 dB is: a number, or 'max' for the largest element. */
  readonly ref?: number | 'max';
  /** Nothing lies further than this below the loudest element; null for no limit (the default). */
  readonly topDb?: number | null;
}

/** multiplier * log10(max(x, amin) / ref), in decibels. */
export function amplitudeToDb(spectrum: Spectrum, options: DecibelOptions = {}): Spectrum {
  const { multiplier = 10, amin = 1e-10, topDb = null } = options;
  const { data } = spectrum;
  let ref = options.ref ?? 1;
  if (ref === 'max') ref = data.reduce((a, b) => Math.max(a, b), 0);
  const offset = multiplier * Math.log10(Math.max(amin, ref));
  const out = new Float32Array(data.length);
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < data.length; i++) {
    out[i] = multiplier * Math.log10(Math.max(data[i], amin)) - offset;
    if (out[i] > top) top = out[i];
  }
  if (topDb !== null) for (let i = 0; i < out.length; i++) out[i] = Math.max(out[i], top - topDb);
  return { data: out, rows: spectrum.rows, frames: spectrum.frames };
}

/** log(x + offset), the other usual compression of mel spectrograms. */
export function logSpectrum(spectrum: Spectrum, offset = 1e-6): Spectrum {
  return { data: spectrum.data.map((value) => Math.log(value + offset)), rows: spectrum.rows, frames: spectrum.frames };
}

/** The orthonormal DCT-II: float64 [nOut, nIn], row k is sqrt(2 / nIn) cos(pi (n + 1/2) k / nIn), row 0 by 1 / sqrt(2). */
export function dctMatrix(nOut: number, nIn: number): Float64Array {
  const out = new Float64Array(nOut * nIn);
  for (let k = 0; k < nOut; k++) {
    const scale = Math.sqrt((k === 0 ? 1 : 2) / nIn);
    for (let n = 0; n < nIn; n++) out[k * nIn + n] = scale * Math.cos((Math.PI / nIn) * (n + 0.5) * k);
  }
  return out;
}

export interface MfccOptions extends MelSpectrogramOptions {
  /** Coefficients; 40 unless told otherwise, at most nMels. */
  readonly nMfcc?: number;
  /** log(mel + 1e-6) in place of decibels with a range of 80. */
  readonly logMels?: boolean;
}

/** Mel-frequency cepstral coefficients: the DCT-II over the bands of a mel spectrogram in decibels, [nMfcc, frames]. */
export class Mfcc {
  readonly mel: MelSpectrogram;
  readonly nMfcc: number;
  private readonly logMels: boolean;
  private readonly dct: Float64Array;

  /** @throws ArgumentError when nMfcc is over nMels. */
  constructor(options: MfccOptions) {
    this.mel = new MelSpectrogram(options);
    this.nMfcc = options.nMfcc ?? 40;
    if (!Number.isInteger(this.nMfcc) || this.nMfcc < 1 || this.nMfcc > this.mel.nMels) {
      throw new ArgumentError(`nMfcc is ${this.nMfcc}`, {
        op: 'Mfcc',
        received: this.nMfcc,
        expected: `a whole number from 1 to nMels (${this.mel.nMels})`,
      });
    }
    this.logMels = options.logMels ?? false;
    this.dct = dctMatrix(this.nMfcc, this.mel.nMels);
  }

  apply(signal: Float32Array): Spectrum {
    const mel = this.mel.apply(signal);
    const { data, rows, frames } = this.logMels ? logSpectrum(mel) : amplitudeToDb(mel, { topDb: 80 });
    const out = new Float32Array(this.nMfcc * frames);
    for (let k = 0; k < this.nMfcc; k++) {
      for (let frame = 0; frame < frames; frame++) {
        let sum = 0;
        for (let n = 0; n < rows; n++) sum += this.dct[k * rows + n] * data[n * frames + frame];
        out[k * frames + frame] = sum;
      }
    }
    return { data: out, rows: this.nMfcc, frames };
  }
}
