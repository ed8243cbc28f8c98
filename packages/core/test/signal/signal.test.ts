/** Short-time transforms, convolution and resampling: what comes back, and what is refused. */
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { ArgumentError, ShapeError } from '../../src/errors.js';
import { jit } from '../../src/jit.js';
import { mul, sub } from '../../src/ops/binary.js';
import { ones, tensor, zeros } from '../../src/ops/create.js';
import { normal } from '../../src/ops/random.js';
import * as signal from '../../src/signal/index.js';
import { Generator } from '../../src/tensor/generator.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const random = (shape: readonly number[], seed: number, dtype: 'float32' | 'float64' = 'float64'): Tensor =>
  normal(shape, 0, 1, { dtype, generator: new Generator(seed) });
const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);
const worst = (a: Tensor, b: Tensor): number => {
  expect(a.shape).toEqual(b.shape);
  return Math.max(0, ...numbers(sub(a, b)).map(Math.abs));
};

describe('stft and istft', () => {
  test.each([
    { nFft: 16, hopLength: 4 },
    { nFft: 16, hopLength: 5, normalized: true },
    { nFft: 15, hopLength: 4 },
    { nFft: 16, hopLength: 4, winLength: 10 },
    { nFft: 16, hopLength: 4, onesided: false },
  ])('one undoes the other: %o', (options) => {
    const window = signal.hannWindow(options.winLength ?? options.nFft, { dtype: 'float64' });
    const x = random([2, 3, 61], 1);
    const z = signal.stft(x, { ...options, window });
    const frequencies = options.onesided === false ? options.nFft : Math.floor(options.nFft / 2) + 1;
    // Frames stand over the extended signal: as many as fit.
    expect(z.shape).toEqual([
      2,
      3,
      frequencies,
      1 + Math.floor((61 + 2 * Math.floor(options.nFft / 2) - options.nFft) / options.hopLength),
      2,
    ]);
    const back = signal.istft(z, { ...options, window, length: 61 });
    const covered = Math.min(61, (z.shape[3] - 1) * options.hopLength);
    expect(worst(back.narrow(-1, 0, covered), x.narrow(-1, 0, covered))).toBeLessThan(1e-12);
  });
  test('a sine stands out at its frequency', () => {
    const x = tensor(Array.from({ length: 400 }, (_, i) => Math.sin((2 * Math.PI * 5 * i) / 40)));
    const power = signal.spectrogram(x, { nFft: 40, hopLength: 20, window: signal.hannWindow(40) });
    expect(power.shape).toEqual([21, 21]);
    const loudest = numbers(power.narrow(1, 5, 10).argmax(0));
    expect(loudest).toEqual(new Array(10).fill(5));
    expect(
      worst(
        signal.spectrogram(x, { nFft: 40, power: 1 }).mul(signal.spectrogram(x, { nFft: 40, power: 1 })),
        signal.spectrogram(x, { nFft: 40 }),
      ),
    ).toBeLessThan(1e-2);
  });
  test('gradients, and the same numbers in jit()', () => {
    const window = signal.hammingWindow(6, { dtype: 'float64' });
    checkGrads(
      (x, w) => mul(signal.stft(x, { nFft: 6, hopLength: 2, window: w }), signal.stft(x, { nFft: 6, hopLength: 2, window: w })),
      [random([11], 1), window],
      { atol: 1e-4 },
    );
    checkGrads((z, w) => signal.istft(z, { nFft: 6, hopLength: 2, window: w }), [random([4, 5, 2], 2), window], { order: 2, atol: 1e-4 });
    const x = random([2, 50], 3, 'float32');
    const f = jit((t: Tensor) => signal.spectrogram(t, { nFft: 8 }));
    expect(worst(f(x), signal.spectrogram(x, { nFft: 8 }))).toBeLessThan(1e-5);
    f.dispose();
  });
  test('what does not fit is refused', () => {
    expect(() => signal.stft(zeros([4]), { nFft: 16 })).toThrow(ShapeError);
    expect(() => signal.stft(zeros([40]), { nFft: 16, hopLength: 0 })).toThrow(ArgumentError);
    expect(() => signal.stft(zeros([40]), { nFft: 16, window: ones([8]), winLength: 9 })).toThrow(ShapeError);
    expect(() => signal.istft(zeros([5, 3, 2]), { nFft: 16 })).toThrow(/9 frequencies/);
    // Hann windows that do not overlap leave zeros between them.
    expect(() => signal.istft(zeros([9, 3, 2]), { nFft: 16, hopLength: 16, window: signal.hannWindow(16), center: false })).toThrow(
      /not determined/,
    );
  });
});

describe('convolution', () => {
  test('both ways agree, with leading axes that broadcast', () => {
    const [a, b] = [random([2, 1, 30], 1), random([3, 7], 2)];
    for (const mode of ['full', 'same', 'valid'] as const)
      expect(worst(signal.fftconvolve(a, b, mode), signal.convolve1d(a, b, mode))).toBeLessThan(1e-12);
    const kernel = random([5], 3);
    expect(worst(signal.fftconvolve(a, kernel), signal.convolve1d(a, kernel))).toBeLessThan(1e-12);
    expect(worst(signal.fftconvolve(kernel, random([9], 4), 'valid'), signal.convolve1d(kernel, random([9], 4), 'valid'))).toBeLessThan(
      1e-12,
    );
  });
  test('gradients', () => {
    checkGrads((a, b) => signal.fftconvolve(a, b, 'same'), [random([2, 6], 1), random([3], 2)], { order: 2 });
    checkGrads((a, b) => signal.convolve1d(a, b), [random([2, 6], 1), random([3], 2)], { order: 2 });
  });
  test('fast lengths have small factors', () => {
    expect([1, 7, 11, 13, 97, 1025].map(signal.nextFastLength)).toEqual([1, 8, 12, 15, 100, 1080]);
  });
  test('empty signals and unknown modes are refused', () => {
    expect(() => signal.fftconvolve(zeros([0]), zeros([3]))).toThrow(ShapeError);
    expect(() => signal.convolve1d(zeros([4]), zeros([3]), 'wrap' as never)).toThrow(ArgumentError);
  });
});

describe('resampling', () => {
  test.each([
    [16000, 8000],
    [8000, 16000],
    [44100, 16000],
    [3, 7],
  ])('a slow sine keeps its course from %d to %d', (from, to) => {
    const n = 600;
    const wave = (rate: number, count: number): number[] =>
      Array.from({ length: count }, (_, i) => Math.sin((2 * Math.PI * 0.02 * from * i) / rate));
    const y = signal.resample(tensor([wave(from, n)], { dtype: 'float64' }), from, to, { lowpassFilterWidth: 24 });
    const length = Math.ceil((n * to) / from);
    expect(y.shape).toEqual([1, length]);
    const expected = wave(to, length);
    const margin = Math.ceil(length * 0.15);
    numbers(y).forEach((v, i) => {
      if (i > margin && i < length - margin) expect(Math.abs(v - expected[i])).toBeLessThan(0.01);
    });
  });
  test('equal rates copy, odd rates are refused', () => {
    const x = random([5], 1);
    expect(worst(signal.resample(x, 100, 100), x)).toBe(0);
    expect(() => signal.resample(x, 0, 1)).toThrow(ArgumentError);
    checkGrads((t) => signal.resample(t, 2, 3), random([9], 2));
  });
});

describe('windows', () => {
  test('known values', () => {
    expect(numbers(signal.hannWindow(4, { dtype: 'float64' })).map((v) => Math.round(v * 1e9) / 1e9)).toEqual([0, 0.5, 1, 0.5]);
    expect(signal.hannWindow(0).shape).toEqual([0]);
    expect(numbers(signal.generalHammingWindow(1, 0.7))).toEqual([1]);
    expect(() => signal.hannWindow(-1)).toThrow(ArgumentError);
    expect(() => signal.gaussianWindow(4, 0)).toThrow(ArgumentError);
  });
});
