import { describe, expect, test } from 'vitest';
import { empty, manualSeed, matmul, nn, ones, randn, type Tensor } from '../../src/index.js';

const { init } = nn;
const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);
function moments(t: Tensor): { mean: number; std: number; max: number } {
  const data = numbers(t);
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  return {
    mean,
    std: Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length),
    max: data.reduce((a, b) => Math.max(a, Math.abs(b)), 0),
  };
}

describe('initialisers', () => {
  // A weight of 200 inputs and 100 outputs.
  const weight = (): Tensor => empty([100, 50, 4]);
  test.each([
    ['uniform', () => init.uniform(weight(), -2, 2), 2 / Math.sqrt(3), 2],
    ['normal', () => init.normal(weight(), 0, 0.3), 0.3, Infinity],
    ['kaimingUniform', () => init.kaimingUniform(weight(), { nonlinearity: 'relu' }), Math.SQRT2 / Math.sqrt(200), Math.sqrt(6 / 200)],
    ['kaimingNormal', () => init.kaimingNormal(weight(), { mode: 'fanOut', nonlinearity: 'relu' }), Math.SQRT2 / Math.sqrt(400), Infinity],
    ['xavierUniform', () => init.xavierUniform(weight(), 2), 2 * Math.sqrt(2 / 600), 2 * Math.sqrt(6 / 600)],
    ['xavierNormal', () => init.xavierNormal(weight()), Math.sqrt(2 / 600), Infinity],
    // The standard deviation of a normal distribution cut off at two of its own.
    ['truncNormal', () => init.truncNormal(weight(), { std: 0.02, a: -0.04, b: 0.04 }), 0.02 * 0.8796, 0.04],
  ])('%s has the standard deviation and limit of its formula', (_name, make, std, limit) => {
    manualSeed(7);
    const m = moments(make());
    expect(Math.abs(m.mean)).toBeLessThan(0.03 * std);
    expect(m.std / std).toBeGreaterThan(0.97);
    expect(m.std / std).toBeLessThan(1.03);
    expect(m.max).toBeLessThanOrEqual(limit * (1 + 1e-6));
  });
  test('a truncated normal distribution away from its mean stays inside', () => {
    manualSeed(8);
    const data = numbers(init.truncNormal(empty([2000]), { mean: 0, std: 1, a: 1, b: 1.5 }));
    expect(Math.min(...data)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...data)).toBeLessThanOrEqual(1.5);
    // More of it lies near 1, where the density is higher.
    expect(data.filter((v) => v < 1.25).length).toBeGreaterThan(1050);
  });
  test.each([
    [[6, 4], 'columns'],
    [[4, 6], 'rows'],
    [[3, 2, 2], 'rows'],
  ])('orthogonal of shape %j has orthonormal %s', (shape, which) => {
    manualSeed(9);
    const w = init.orthogonal(empty(shape), { gain: 2 }).reshape([shape[0], -1]);
    const gram = numbers(which === 'rows' ? matmul(w, w.t()) : matmul(w.t(), w));
    const n = Math.sqrt(gram.length);
    gram.forEach((v, i) => expect(v).toBeCloseTo(i % (n + 1) === 0 ? 4 : 0, 5));
  });
  test('sparse sets the same number of elements of each column to 0', () => {
    manualSeed(10);
    const w = init.sparse(empty([10, 4]), { sparsity: 0.25 });
    const data = numbers(w);
    for (let column = 0; column < 4; column++) expect(data.filter((v, i) => i % 4 === column && v === 0)).toHaveLength(3);
  });
  test('constants and identities', () => {
    expect(numbers(init.constant(empty([2]), 1.5))).toEqual([1.5, 1.5]);
    expect(numbers(init.zeros(ones([2])))).toEqual([0, 0]);
    expect(numbers(init.ones(empty([2])))).toEqual([1, 1]);
    expect(numbers(init.eye(empty([2, 3])))).toEqual([1, 0, 0, 0, 1, 0]);
    manualSeed(11);
    const conv = new nn.Conv2d(4, 4, 3, { padding: 1, groups: 2, bias: false });
    init.dirac(conv.weight, { groups: 2 });
    const x = randn([1, 4, 3, 3]);
    expect(numbers(conv.call(x))).toEqual(numbers(x));
  });
  test('gains are those of the literature', () => {
    expect(init.calculateGain('tanh')).toBeCloseTo(5 / 3, 12);
    expect(init.calculateGain('leakyRelu', 0.2)).toBeCloseTo(Math.sqrt(2 / 1.04), 12);
    expect(init.calculateGain('selu')).toBe(0.75);
    expect(init.fans(empty([3, 4, 5, 5]))).toEqual({ fanIn: 100, fanOut: 75 });
  });
  test('record no gradient on a parameter, and refuse what has no fans', () => {
    const layer = new nn.Linear(3, 2);
    init.orthogonal(layer.weight);
    expect(layer.weight.gradFn).toBeNull();
    expect(layer.weight.requiresGrad).toBe(true);
    expect(() => init.kaimingUniform(empty([3]))).toThrow(/no fans/);
    expect(() => init.eye(empty([3]))).toThrow(/dimensions/);
    expect(() => init.dirac(empty([3, 2, 2]), { groups: 2 })).toThrow(/groups/);
  });
});
