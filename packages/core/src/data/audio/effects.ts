/** Small steps on signals and spectrograms of data workers. Signals are float32 samples of one channel. */
import { ArgumentError } from '../../errors.js';
import type { ItemRandom } from '../item-random.js';
import { Resampler } from './resample.js';
import { type ComplexSpectrum, type Spectrum, Stft } from './spectrogram.js';

/** y[t] = x[t] - coefficient * x[t - 1]; the first sample stays. */
export function preEmphasis(signal: Float32Array, coefficient = 0.97): Float32Array {
  const out = signal.slice();
  for (let t = 1; t < signal.length; t++) out[t] = signal[t] - coefficient * signal[t - 1];
  return out;
}

/** The inverse of {@link preEmphasis}. */
export function deEmphasis(signal: Float32Array, coefficient = 0.97): Float32Array {
  const out = new Float32Array(signal.length);
  let before = 0;
  for (let t = 0; t < signal.length; t++) {
    before = signal[t] + coefficient * before;
    out[t] = before;
  }
  return out;
}

/**
 * 'peak': the largest magnitude becomes `level` (1); 'rms': the root mean square becomes `level` (0.1);
 * 'standard': mean 0 and standard deviation `level` (1). Silence stays silence.
 */
export function normalizeSignal(
  signal: Float32Array,
  how: 'peak' | 'rms' | 'standard' = 'peak',
  level = how === 'rms' ? 0.1 : 1,
): Float32Array {
  let mean = 0;
  if (how === 'standard') {
    for (const value of signal) mean += value;
    mean /= Math.max(1, signal.length);
  }
  let size = 0;
  for (const value of signal) size = how === 'peak' ? Math.max(size, Math.abs(value)) : size + (value - mean) ** 2;
  if (how !== 'peak') size = Math.sqrt(size / Math.max(1, signal.length));
  const gain = size > 0 ? level / size : 0;
  return signal.map((value) => (value - mean) * gain);
}

export interface PadOrTrimOptions {
  /** Where the signal lies in the silence, or which part is kept: its start (the default), middle, end, or a random place. */
  readonly at?: 'start' | 'center' | 'end' | ItemRandom;
  /** What fills up a short signal. */
  readonly value?: number;
}

/** The signal with exactly `length` samples. @throws ArgumentError */
export function padOrTrim(signal: Float32Array, length: number, options: PadOrTrimOptions = {}): Float32Array {
  if (!Number.isInteger(length) || length < 0) {
    throw new ArgumentError(`length ${length}`, { op: 'padOrTrim', received: length, expected: 'a whole number of samples' });
  }
  const { at = 'start', value = 0 } = options;
  const spare = Math.abs(signal.length - length);
  let offset = 0;
  if (at === 'center') offset = Math.floor(spare / 2);
  else if (at === 'end') offset = spare;
  else if (at !== 'start') offset = at.below(spare + 1);
  if (signal.length >= length) return signal.slice(offset, offset + length);
  const out = new Float32Array(length).fill(value);
  out.set(signal, offset);
  return out;
}

/** Cuts silence off both ends: what lies more than `topDb` decibels below the loudest frame of `frame` samples. */
export function trimSilence(signal: Float32Array, topDb = 40, frame = 512): Float32Array {
  const frames = Math.max(1, Math.ceil(signal.length / frame));
  const power = new Float64Array(frames);
  for (let t = 0; t < signal.length; t++) power[Math.floor(t / frame)] += signal[t] ** 2;
  const floor = power.reduce((a, b) => Math.max(a, b), 0) * 10 ** (-topDb / 10);
  const loud = (value: number): boolean => value > 0 && value >= floor;
  const first = power.findIndex(loud);
  return first < 0 ? signal.slice(0, 0) : signal.slice(first * frame, Math.min(signal.length, (power.findLastIndex(loud) + 1) * frame));
}

/** Samples shifted by `shift` (later when positive), the gap silent. */
export function shiftSignal(signal: Float32Array, shift: number): Float32Array {
  const out = new Float32Array(signal.length);
  if (shift >= 0) out.set(signal.subarray(0, Math.max(0, signal.length - shift)), Math.min(shift, signal.length));
  else out.set(signal.subarray(Math.min(-shift, signal.length)));
  return out;
}

/** signal + noise, the noise scaled so that the ratio of the energies is `snr` decibels. A short noise repeats. @throws ArgumentError */
export function mixNoise(signal: Float32Array, noise: Float32Array, snr: number): Float32Array {
  if (noise.length === 0) throw new ArgumentError('the noise is empty', { op: 'mixNoise', expected: 'one sample or more' });
  let signalEnergy = 0;
  let noiseEnergy = 0;
  for (let t = 0; t < signal.length; t++) {
    signalEnergy += signal[t] ** 2;
    noiseEnergy += noise[t % noise.length] ** 2;
  }
  const gain = noiseEnergy > 0 ? Math.sqrt(signalEnergy / noiseEnergy) * 10 ** (-snr / 20) : 0;
  return signal.map((value, t) => value + gain * noise[t % noise.length]);
}

/** White Gaussian noise of standard deviation 1. */
export function whiteNoise(length: number, random: ItemRandom): Float32Array {
  const out = new Float32Array(length);
  for (let t = 0; t < length; t++) out[t] = random.normal();
  return out;
}

export interface SpecAugmentOptions {
  /** Masks over rows (frequency), each of 0 to `frequencyWidth` rows. */
  readonly frequencyMasks?: number;
  readonly frequencyWidth?: number;
  /** Masks over frames (time), each of 0 to `timeWidth` frames, and at most `timeShare` of all frames. */
  readonly timeMasks?: number;
  readonly timeWidth?: number;
  readonly timeShare?: number;
  /** What masked places become; 'mean' takes the mean of the spectrogram. */
  readonly value?: number | 'mean';
}

/** Masks bands of frequencies and spans of time (Park et al., "SpecAugment", 2019, without the time warp). */
export function specAugment(spectrum: Spectrum, random: ItemRandom, options: SpecAugmentOptions = {}): Spectrum {
  const { frequencyMasks = 1, frequencyWidth = 8, timeMasks = 1, timeWidth = 16, timeShare = 1, value = 0 } = options;
  const { rows, frames } = spectrum;
  const data = spectrum.data.slice();
  const fill = value === 'mean' ? data.reduce((a, b) => a + b, 0) / Math.max(1, data.length) : value;
  const span = (size: number, widest: number): readonly [number, number] => {
    const width = Math.min(size, Math.floor(random.uniform(0, widest + 1)));
    const start = Math.floor(random.uniform(0, size - width + 1));
    return [start, start + width];
  };
  for (let i = 0; i < frequencyMasks; i++) {
    const [from, to] = span(rows, frequencyWidth);
    data.fill(fill, from * frames, to * frames);
  }
  for (let i = 0; i < timeMasks; i++) {
    const [from, to] = span(frames, Math.min(timeWidth, Math.floor(timeShare * frames)));
    for (let row = 0; row < rows; row++) data.fill(fill, row * frames + from, row * frames + to);
  }
  return { data, rows, frames };
}

/** Subtracts the mean of each row and divides by its standard deviation (cepstral mean and variance normalisation). */
export function normalizeRows(spectrum: Spectrum, eps = 1e-5): Spectrum {
  const { rows, frames } = spectrum;
  const data = new Float32Array(spectrum.data.length);
  for (let row = 0; row < rows; row++) {
    const values = spectrum.data.subarray(row * frames, (row + 1) * frames);
    let mean = 0;
    for (const value of values) mean += value / frames;
    let variance = 0;
    for (const value of values) variance += (value - mean) ** 2 / frames;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let frame = 0; frame < frames; frame++) data[row * frames + frame] = (values[frame] - mean) * scale;
  }
  return { data, rows, frames };
}

/**
 * The phase vocoder (Flanagan and Golden 1966; as torchaudio's): the spectrum played `rate` times as fast at the same pitch.
 * Each new frame interpolates the magnitudes of two neighbours and adds up their phase advance.
 */
export function phaseVocoder(spectrum: ComplexSpectrum, rate: number, hopLength: number): ComplexSpectrum {
  if (!(rate > 0)) throw new ArgumentError(`rate ${rate}`, { op: 'phaseVocoder', received: rate, expected: 'a number above 0' });
  const { rows, frames } = spectrum;
  const out = Math.ceil(frames / rate);
  const re = new Float32Array(rows * out);
  const im = new Float32Array(rows * out);
  for (let row = 0; row < rows; row++) {
    const advance = rows === 1 ? 0 : (Math.PI * hopLength * row) / (rows - 1);
    const at = (frame: number): readonly [number, number] =>
      frame < frames ? [spectrum.re[row * frames + frame], spectrum.im[row * frames + frame]] : [0, 0];
    const [firstRe, firstIm] = at(0);
    let phase = Math.atan2(firstIm, firstRe);
    for (let f = 0; f < out; f++) {
      const position = f * rate;
      const frame = Math.floor(position);
      const alpha = position - frame;
      const [r0, i0] = at(frame);
      const [r1, i1] = at(frame + 1);
      const magnitude = (1 - alpha) * Math.hypot(r0, i0) + alpha * Math.hypot(r1, i1);
      re[row * out + f] = magnitude * Math.cos(phase);
      im[row * out + f] = magnitude * Math.sin(phase);
      let step = Math.atan2(i1, r1) - Math.atan2(i0, r0) - advance;
      step -= 2 * Math.PI * Math.round(step / (2 * Math.PI));
      phase += step + advance;
    }
  }
  return { re, im, rows, frames: out };
}

/** The signal `rate` times as fast at the same pitch: round(length / rate) samples. */
export function timeStretch(signal: Float32Array, rate: number, nFft = 512): Float32Array {
  const stft = new Stft({ nFft, hopLength: nFft / 4 });
  const stretched = phaseVocoder(stft.forward(signal), rate, stft.hopLength);
  return stft.inverse(stretched, Math.round(signal.length / rate));
}

/**
 * The signal with its pitch moved by `semitones` and its length kept: stretched, then resampled. The ratio of the pitches is
 * rounded to a fraction over 100.
 */
export function pitchShift(signal: Float32Array, semitones: number, nFft = 512): Float32Array {
  const ratio = Math.max(1, Math.round(100 * 2 ** (semitones / 12)));
  if (ratio === 100) return signal.slice();
  const stretched = timeStretch(signal, 100 / ratio, nFft);
  return padOrTrim(new Resampler(ratio, 100).apply(stretched), signal.length);
}
