/** The mel features of signal/ (tensor operations) are those of data/audio (host), eager and jitted, and have gradients. */
import { expect, it } from 'vitest';
import { MelSpectrogram, Mfcc } from '../../../src/data/audio/index.js';
import { checkGrads, jit, type Tensor, tensor } from '../../../src/index.js';
import { melSpectrogram, mfcc } from '../../../src/signal/index.js';

const signal = Float32Array.from({ length: 900 }, (_, t) => Math.sin(t / 5) * Math.cos(t / 90) + 0.1 * Math.sin(t * 1.7));
const options = { sampleRate: 8000, nFft: 128, hopLength: 64, nMels: 12, fMin: 50, melScale: 'slaney', norm: 'slaney' } as const;

function close(result: Tensor, expected: Float32Array): void {
  const values = result.dataSync() as Float32Array;
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(values.length).toBe(expected.length);
  for (let i = 0; i < values.length; i++) expect(Math.abs(values[i] - expected[i]) / scale).toBeLessThan(2e-5);
}

it('agree with the host', () => {
  const x = tensor(signal);
  const mel = new MelSpectrogram(options).apply(signal);
  const host = new Mfcc({ ...options, nMfcc: 8 }).apply(signal);
  const traced = jit((s: Tensor) => melSpectrogram(s, options));
  for (const f of [(s: Tensor) => melSpectrogram(s, options), traced]) {
    const out = f(x);
    expect(out.shape).toEqual([mel.rows, mel.frames]);
    close(out, mel.data);
    out.dispose();
  }
  const tracedMfcc = jit((s: Tensor) => mfcc(s, { ...options, nMfcc: 8 }));
  for (const f of [(s: Tensor) => mfcc(s, { ...options, nMfcc: 8 }), tracedMfcc]) {
    const out = f(x);
    close(out, host.data);
    out.dispose();
  }
  x.dispose();
});

it('have gradients', () => {
  const x = tensor(Float64Array.from(signal.subarray(0, 96)), { dtype: 'float64', requiresGrad: true });
  const small = { ...options, nFft: 32, hopLength: 16, nMels: 4 };
  checkGrads((s: Tensor) => melSpectrogram(s, small), [x]);
  x.dispose();
});
