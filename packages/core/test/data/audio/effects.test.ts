import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ComplexFft,
  deEmphasis,
  logSpectrum,
  mixNoise,
  normalizeRows,
  normalizeSignal,
  padOrTrim,
  pitchShift,
  preEmphasis,
  RealFft,
  Resampler,
  shiftSignal,
  specAugment,
  timeStretch,
  trimSilence,
  whiteNoise,
} from '../../../src/data/audio/index.js';
import { ItemRandom } from '../../../src/data/index.js';
import { ArgumentError } from '../../../src/errors.js';

const sine = (hz: number, length = 8000, rate = 8000): Float32Array =>
  Float32Array.from({ length }, (_, t) => Math.sin((2 * Math.PI * hz * t) / rate));

/** The loudest frequency in Hz. */
function pitch(signal: Float32Array, rate = 8000): number {
  const n = 4096;
  const fft = new RealFft(n);
  const re = new Float64Array(fft.bins);
  const im = new Float64Array(fft.bins);
  fft.forward(signal.subarray(1000, 1000 + n), re, im);
  let best = 0;
  for (let k = 1; k < fft.bins; k++) if (Math.hypot(re[k], im[k]) > Math.hypot(re[best], im[best])) best = k;
  return (best * rate) / n;
}

const energy = (signal: ArrayLike<number>): number => Array.from(signal).reduce((sum, value) => sum + value * value, 0);

describe('signals', () => {
  it('have the length that was asked for', () => {
    const signal = Float32Array.of(1, 2, 3);
    expect([...padOrTrim(signal, 5)]).toEqual([1, 2, 3, 0, 0]);
    expect([...padOrTrim(signal, 5, { at: 'center' })]).toEqual([0, 1, 2, 3, 0]);
    expect([...padOrTrim(signal, 5, { at: 'end', value: 9 })]).toEqual([9, 9, 1, 2, 3]);
    expect([...padOrTrim(signal, 2)]).toEqual([1, 2]);
    expect([...padOrTrim(signal, 2, { at: 'end' })]).toEqual([2, 3]);
    expect([...padOrTrim(signal, 2, { at: new ItemRandom(1) })]).toEqual([...padOrTrim(signal, 2, { at: new ItemRandom(1) })]);
    expect(() => padOrTrim(signal, -1)).toThrow(ArgumentError);
    expect([...shiftSignal(signal, 1)]).toEqual([0, 1, 2]);
    expect([...shiftSignal(signal, -2)]).toEqual([3, 0, 0]);
    expect([...shiftSignal(signal, 7)]).toEqual([0, 0, 0]);
  });

  it('are normalized, and silence stays silence', () => {
    const signal = sine(440).map((value) => value * 0.2 + 0.1);
    expect(normalizeSignal(signal).reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeCloseTo(1, 6);
    expect(Math.sqrt(energy(normalizeSignal(signal, 'rms')) / signal.length)).toBeCloseTo(0.1, 6);
    const standard = normalizeSignal(signal, 'standard');
    expect(standard.reduce((a, b) => a + b, 0) / standard.length).toBeCloseTo(0, 5);
    expect(energy(standard) / standard.length).toBeCloseTo(1, 4);
    expect([...normalizeSignal(new Float32Array(3), 'standard')]).toEqual([0, 0, 0]);
  });

  it('pre-emphasis can be undone', () => {
    const signal = sine(300, 500);
    const back = deEmphasis(preEmphasis(signal));
    for (let t = 0; t < 500; t++) expect(back[t]).toBeCloseTo(signal[t], 4);
  });

  it('noise has the energy that the ratio says', () => {
    const signal = sine(440);
    const noise = whiteNoise(1000, new ItemRandom(4));
    for (const snr of [-5, 0, 20]) {
      const mixed = mixNoise(signal, noise, snr);
      const added = mixed.map((value, t) => value - signal[t]);
      expect(10 * Math.log10(energy(signal) / energy(added))).toBeCloseTo(snr, 3);
    }
    expect(() => mixNoise(signal, new Float32Array(0), 3)).toThrow(ArgumentError);
  });

  it('silence at the ends goes', () => {
    const signal = new Float32Array(10_000);
    signal.set(sine(440, 2048), 4096);
    const trimmed = trimSilence(signal);
    expect(trimmed.length).toBe(2048);
    expect(trimSilence(new Float32Array(5000)).length).toBe(0);
  });

  it('a tone keeps its pitch in another rate, and in another tempo; pitchShift moves it', () => {
    expect(pitch(new Resampler(8000, 16_000).apply(sine(1000)), 16_000)).toBeCloseTo(1000, -1);
    const fast = timeStretch(sine(1000), 1.25);
    expect(fast.length).toBe(6400);
    expect(Math.abs(pitch(fast) - 1000)).toBeLessThan(6);
    const octave = pitchShift(sine(500), 12);
    expect(octave.length).toBe(8000);
    expect(Math.abs(pitch(padOrTrim(octave, 6000)) - 1000)).toBeLessThan(12);
    expect([...pitchShift(sine(500, 2000), 0)]).toEqual([...sine(500, 2000)]);
  });

  it('a resampled tone has the samples of the tone', () => {
    const up = new Resampler(8000, 12_000, { lowpassFilterWidth: 32 }).apply(sine(500));
    const exact = sine(500, 12_000, 12_000);
    for (let t = 500; t < 11_000; t++) expect(Math.abs(up[t] - exact[t])).toBeLessThan(2e-3);
  });
});

describe('spectrograms', () => {
  const spectrum = { data: new Float32Array(20 * 30).fill(1), rows: 20, frames: 30 };

  it('specAugment masks whole rows and columns, no more than asked for', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000 }), (seed) => {
        const { data } = specAugment(spectrum, new ItemRandom(seed), { frequencyWidth: 5, timeWidth: 7, timeShare: 0.2 });
        const rows = Array.from({ length: 20 }, (_, r) => data.subarray(30 * r, 30 * r + 30).every((v) => v === 0));
        const columns = Array.from({ length: 30 }, (_, f) => Array.from({ length: 20 }, (_, r) => data[30 * r + f]).every((v) => v === 0));
        const masked = (list: boolean[]): number => list.filter((v) => v).length;
        expect(masked(rows)).toBeLessThanOrEqual(5);
        expect(masked(columns)).toBeLessThanOrEqual(6);
        for (let i = 0; i < 600; i++) expect(data[i] === 0).toBe(rows[Math.floor(i / 30)] || columns[i % 30]);
      }),
    );
    expect(spectrum.data.every((value) => value === 1)).toBe(true);
    const mean = specAugment({ ...spectrum, data: spectrum.data.map(() => 4) }, new ItemRandom(2), { value: 'mean', timeMasks: 3 });
    expect(mean.data.every((value) => value === 4)).toBe(true);
  });

  it('rows are normalized by themselves', () => {
    const data = Float32Array.from({ length: 60 }, (_, i) => (i < 30 ? i : 7));
    const out = normalizeRows({ data, rows: 2, frames: 30 });
    expect(out.data.subarray(0, 30).reduce((a, b) => a + b, 0)).toBeCloseTo(0, 4);
    expect(energy(out.data.subarray(0, 30)) / 30).toBeCloseTo(1, 3);
    expect(out.data[45]).toBeCloseTo(0, 5);
    expect(logSpectrum(spectrum).data[0]).toBeCloseTo(0, 5);
  });

  it('transforms of any length agree with the definition', () => {
    for (const n of [1, 3, 8, 15, 23, 49, 60]) {
      const random = new ItemRandom(n);
      const x = Float64Array.from({ length: n }, () => random.normal());
      const y = Float64Array.from({ length: n }, () => random.normal());
      const re = x.slice();
      const im = y.slice();
      const fft = new ComplexFft(n);
      fft.forward(re, im);
      for (let k = 0; k < n; k++) {
        let sr = 0;
        let si = 0;
        for (let t = 0; t < n; t++) {
          const angle = (-2 * Math.PI * k * t) / n;
          sr += x[t] * Math.cos(angle) - y[t] * Math.sin(angle);
          si += x[t] * Math.sin(angle) + y[t] * Math.cos(angle);
        }
        expect(re[k]).toBeCloseTo(sr, 9);
        expect(im[k]).toBeCloseTo(si, 9);
      }
      fft.inverse(re, im);
      for (let t = 0; t < n; t++) expect(re[t]).toBeCloseTo(x[t], 12);
    }
    expect(() => new ComplexFft(0)).toThrow(ArgumentError);
  });
});
