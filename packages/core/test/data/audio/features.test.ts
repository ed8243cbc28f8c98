/** Against torchaudio, librosa and NumPy (tools/reference/families/audio.py). */
import { describe, expect, it } from 'vitest';
import {
  amplitudeToDb,
  dctMatrix,
  MelSpectrogram,
  type MelSpectrogramOptions,
  Mfcc,
  type MfccOptions,
  melFilterbank,
  mixNoise,
  phaseVocoder,
  preEmphasis,
  RealFft,
  type ResampleOptions,
  resample,
  Spectrogram,
  type SpectrogramOptions,
  Stft,
  windowArray,
} from '../../../src/data/audio/index.js';
import { ArgumentError } from '../../../src/errors.js';
import reference from '../../reference/audio.json' with { type: 'json' };

const signal = Float32Array.from(reference.signal);

interface Case {
  readonly op: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly shape: number[];
  readonly output: number[];
  readonly input?: number[];
}

function run({ op, options, input = [] }: Case): ArrayLike<number> {
  switch (op) {
    case 'rfft': {
      const fft = new RealFft(options.n as number);
      const re = new Float64Array(fft.bins);
      const im = new Float64Array(fft.bins);
      fft.forward(input, re, im);
      return [...re, ...im];
    }
    case 'spectrogram':
      return new Spectrogram(options as SpectrogramOptions).apply(signal).data;
    case 'melFilterbank':
      return melFilterbank(options.nFft as number, options as unknown as MelSpectrogramOptions);
    case 'melSpectrogram':
      return new MelSpectrogram(options as unknown as MelSpectrogramOptions).apply(signal).data;
    case 'amplitudeToDb':
      return amplitudeToDb(new MelSpectrogram(options.of as MelSpectrogramOptions).apply(signal), { topDb: options.topDb as number }).data;
    case 'mfcc':
      return new Mfcc(options as unknown as MfccOptions).apply(signal).data;
    case 'resample':
      return resample(signal.subarray(0, 400), reference.sampleRate, options.to as number, options as ResampleOptions);
    case 'preEmphasis':
      return preEmphasis(signal, options.coefficient as number).subarray(0, 200);
    case 'mixNoise':
      return mixNoise(signal, Float32Array.from(input), options.snr as number).subarray(0, 200);
    case 'phaseVocoder': {
      const { nFft, hopLength, rate, frames } = options as { nFft: number; hopLength: number; rate: number; frames: number };
      const whole = new Stft({ nFft, hopLength }).forward(signal);
      const cut = (part: Float32Array): Float32Array =>
        Float32Array.from({ length: whole.rows * frames }, (_, i) => part[Math.floor(i / frames) * whole.frames + (i % frames)]);
      const out = phaseVocoder({ re: cut(whole.re), im: cut(whole.im), rows: whole.rows, frames }, rate, hopLength);
      return [...out.re, ...out.im];
    }
    default:
      throw new Error(op);
  }
}

describe('features of sound', () => {
  it.each(reference.cases as Case[])('$op $options', (given) => {
    const result = run(given);
    expect(result.length).toBe(given.output.length);
    const scale = given.output.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
    let worst = 0;
    for (let i = 0; i < result.length; i++) worst = Math.max(worst, Math.abs(result[i] - given.output[i]));
    expect(worst / scale).toBeLessThan(given.op === 'phaseVocoder' ? 2e-4 : 5e-6);
  });

  it('the inverse transform gives the signal back', () => {
    for (const n of [2, 7, 12, 17, 64, 90, 134]) {
      const fft = new RealFft(n);
      const re = new Float64Array(fft.bins);
      const im = new Float64Array(fft.bins);
      const back = new Float64Array(n);
      fft.forward(signal, re, im);
      fft.inverse(re, im, back);
      back.forEach((value, t) => expect(value).toBeCloseTo(signal[t], 10));
    }
    for (const options of [
      { nFft: 128, hopLength: 32 },
      { nFft: 90, winLength: 80, hopLength: 20, window: 'hamming', normalized: true },
    ] as const) {
      const stft = new Stft(options);
      const back = stft.inverse(stft.forward(signal), signal.length);
      // The last frame may not reach the end.
      for (let t = 0; t < signal.length - 64; t++) expect(Math.abs(back[t] - signal[t])).toBeLessThan(1e-5);
    }
  });

  it('the cosine transform is orthonormal', () => {
    const d = dctMatrix(9, 9);
    for (let i = 0; i < 9; i++) {
      for (let j = 0; j < 9; j++) {
        let dot = 0;
        for (let k = 0; k < 9; k++) dot += d[9 * i + k] * d[9 * j + k];
        expect(dot).toBeCloseTo(i === j ? 1 : 0, 12);
      }
    }
  });

  it('symmetric windows read the same backwards', () => {
    for (const name of ['hann', 'hamming', 'blackman'] as const) {
      const window = windowArray(name, 11, false);
      expect([...window].reverse().map((v) => v.toFixed(12))).toEqual([...window].map((v) => v.toFixed(12)));
    }
  });

  it('refuses what cannot be computed', () => {
    expect(() => new Spectrogram({ nFft: 512 }).apply(signal.subarray(0, 100))).toThrow(/256 through reflection/);
    expect(() => new Spectrogram({ nFft: 64, center: false }).apply(signal.subarray(0, 10))).toThrow(ArgumentError);
    expect(() => new Stft({ nFft: 64, winLength: 65 })).toThrow(ArgumentError);
    expect(() => new Mfcc({ sampleRate: 8000, nMels: 20, nMfcc: 21 })).toThrow(/1 to nMels/);
    expect(() => melFilterbank(64, { sampleRate: 8000, fMin: 5000 })).toThrow(ArgumentError);
    expect(() => resample(signal, 44_100.5, 8000)).toThrow(ArgumentError);
  });
});
