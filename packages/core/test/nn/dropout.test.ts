import { describe, expect, test } from 'vitest';
import { ArgumentError, jit, manualSeed, nn, ones, randn, type Tensor } from '../../src/index.js';
import { runLayerTest } from './layer-test.js';

const values = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

describe('dropout', () => {
  test.each<[string, () => nn.Module, number[]]>([
    ['Dropout', () => new nn.Dropout(0.4), [3, 5]],
    ['Dropout1d', () => new nn.Dropout1d(0.4), [2, 4, 3]],
    ['Dropout1d without batch', () => new nn.Dropout1d(0.4), [4, 3]],
    ['Dropout2d', () => new nn.Dropout2d(0.4), [2, 3, 2, 2]],
    ['Dropout3d', () => new nn.Dropout3d(0.4), [2, 3, 2, 2, 1]],
    ['AlphaDropout', () => new nn.AlphaDropout(0.4), [3, 5]],
    ['FeatureAlphaDropout', () => new nn.FeatureAlphaDropout(0.4), [3, 5, 2]],
    ['RReLU', () => new nn.RReLU(), [3, 5]],
  ])('%s passes what every layer must', (_name, layer, shape) => {
    runLayerTest({ layer, inputs: [shape], outputShape: shape, stochastic: true });
  });
  test('drops whole channels', () => {
    manualSeed(1);
    const y = values(new nn.Dropout2d(0.5).call(ones([4, 8, 2, 2])));
    for (let channel = 0; channel < 32; channel++) expect(new Set(y.slice(4 * channel, 4 * channel + 4)).size).toBe(1);
    expect(new Set(y)).toEqual(new Set([0, 2]));
    const without = values(new nn.Dropout2d(0.5).call(ones([32, 2, 2])));
    for (let channel = 0; channel < 32; channel++) expect(new Set(without.slice(4 * channel, 4 * channel + 4)).size).toBe(1);
    expect(new Set(without)).toEqual(new Set([0, 2]));
    expect(() => new nn.Dropout2d().call(ones([2, 2]))).toThrow(/spatial/);
  });
  test('alpha dropout keeps mean and variance of standard normal numbers', () => {
    manualSeed(2);
    const y = new nn.AlphaDropout(0.3).call(randn([20_000]));
    const data = values(y);
    const mean = data.reduce((a, b) => a + b, 0) / data.length;
    const variance = data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(variance).toBeGreaterThan(0.96);
    expect(variance).toBeLessThan(1.04);
  });
  test('a compiled call draws anew each time', () => {
    manualSeed(3);
    const drop = new nn.Dropout(0.5);
    const run = jit((x: Tensor) => drop.call(x));
    const x = ones([64]);
    expect(values(run(x))).not.toEqual(values(run(x)));
    run.dispose();
  });
  test('refuses what is no probability', () => {
    for (const make of [() => new nn.Dropout(1.5), () => new nn.AlphaDropout(-0.1), () => new nn.Dropout1d(Number.NaN)])
      expect(make).toThrow(ArgumentError);
  });
});
