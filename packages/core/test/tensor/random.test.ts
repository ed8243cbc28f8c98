import { describe, expect, test } from 'vitest';
import { PhiloxStream } from '../../src/data/philox.js';
import { ArgumentError, DTypeError, ShapeError } from '../../src/errors.js';
import { tensor, zeros } from '../../src/ops/create.js';
import { bernoulli, multinomial, normal, rand, randint, randn, randnLike, randperm, uniform } from '../../src/ops/random.js';
import { Generator, manualSeed } from '../../src/tensor/generator.js';

const n = 1000;
const host = (seed: number, stream: number, f: (s: PhiloxStream, i: number) => number, count = n) => {
  const source = new PhiloxStream(seed, stream);
  return Array.from({ length: count }, (_, i) => f(source, i));
};

describe('random numbers', () => {
  test.each([0, 1, 123456789, 2 ** 40 + 5, -3])('rand draws the numbers of PhiloxStream, bit by bit (seed %d)', (seed) => {
    const generator = new Generator(seed);
    expect(Array.from(rand([n], { generator }).dataSync())).toEqual(host(seed, 0, (s, i) => s.uniform(i)));
    // Each call draws from a stream of its own; the shape plays no part.
    expect(Array.from(rand([10, 100], { generator }).dataSync())).toEqual(host(seed, 1, (s, i) => s.uniform(i)));
  });

  test('randn draws the normal numbers of PhiloxStream to float32 accuracy', () => {
    const drawn = randn([n], { generator: new Generator(7) }).dataSync();
    host(7, 0, (s, i) => s.normal(i)).forEach((value, i) => {
      expect(Math.abs(Number(drawn[i]) - value)).toBeLessThan(2e-6);
    });
    const double = randn([n], { generator: new Generator(7), dtype: 'float64' }).dataSync();
    host(7, 0, (s, i) => s.normal(i)).forEach((value, i) => {
      expect(Math.abs(Number(double[i]) - value)).toBeLessThan(1e-13);
    });
  });

  test('randint draws the whole numbers of PhiloxStream.below', () => {
    const drawn = randint(-5, 95, [n], { generator: new Generator(3) });
    expect(drawn.dtype).toBe('int64');
    expect(drawn.toArray()).toEqual(host(3, 0, (s, i) => s.below(i, 100) - 5));
    expect(randint(10, [3], { dtype: 'int32' }).dtype).toBe('int32');
    const wide = randint(0, 2 ** 50, [4], { generator: new Generator(3) });
    expect(wide.toArray()).toEqual(host(3, 0, (s, i) => s.below(i, 2 ** 50), 4));
  });

  test('the seed and the state decide the numbers', () => {
    manualSeed(42);
    const first = [rand([4]).toArray(), randn([4]).toArray()];
    manualSeed(42);
    expect([rand([4]).toArray(), randn([4]).toArray()]).toEqual(first);
    const generator = new Generator(1);
    rand([2], { generator });
    const state = generator.getState();
    const next = rand([5], { generator }).toArray();
    generator.setState(state);
    expect(rand([5], { generator }).toArray()).toEqual(next);
    const other = new Generator(9);
    other.setState(state);
    expect(rand([5], { generator: other }).toArray()).toEqual(next);
    expect(Array.from(state)).toEqual([1, 0, 1, 0]);
  });

  test('narrow floats never round up to 1', () => {
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const data = rand([20000], { dtype, generator: new Generator(5) }).dataSync();
      expect(Math.max(...Array.from(data, Number))).toBeLessThan(1);
      expect(Math.min(...Array.from(data, Number))).toBeGreaterThanOrEqual(0);
    }
  });

  test('uniform and normal have the asked range and moments', () => {
    const u = uniform([20000], -3, 5, { generator: new Generator(11) });
    expect(u.amin().item()).toBeGreaterThanOrEqual(-3);
    expect(u.amax().item()).toBeLessThanOrEqual(5);
    expect(Math.abs(u.mean().item() - 1)).toBeLessThan(0.06);
    const g = normal([20000], 2, 0.5, { generator: new Generator(12), dtype: 'float64' });
    expect(Math.abs(g.mean().item() - 2)).toBeLessThan(0.015);
    expect(Math.abs(g.std().item() - 0.5)).toBeLessThan(0.01);
    expect(randnLike(g).dtype).toBe('float64');
    const x = zeros([1000]);
    x.uniform_(2, 3);
    expect(x.amin().item()).toBeGreaterThanOrEqual(2);
    x.normal_(-10, 1);
    expect(x.mean().item()).toBeLessThan(-9);
  });

  test('randperm is a permutation that the seed decides', () => {
    const order = randperm(500, { generator: new Generator(4) });
    expect(order.sort().values.toArray()).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(order.toArray()).not.toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(randperm(500, { generator: new Generator(4) }).toArray()).toEqual(order.toArray());
    expect(randperm(0).shape).toEqual([0]);
  });

  test('bernoulli is 1 as often as the probability says', () => {
    const drawn = bernoulli(0.3, [20000], { generator: new Generator(8) });
    expect(Math.abs(drawn.mean().item() - 0.3)).toBeLessThan(0.012);
    expect(bernoulli(tensor([0, 1, 0, 1])).toArray()).toEqual([0, 1, 0, 1]);
  });

  test('multinomial draws in proportion to the weights, and never a weight of 0', () => {
    const weights = tensor([
      [0, 1, 3, 0],
      [2, 0, 0, 2],
    ]);
    const drawn = multinomial(weights, 8000, { replacement: true, generator: new Generator(6) });
    expect([drawn.dtype, drawn.shape]).toEqual(['int64', [2, 8000]]);
    const share = (row: number, value: number) => drawn.select(0, row).eq(value).to('float32').mean().item();
    expect([share(0, 0), share(0, 3), share(1, 1), share(1, 2)]).toEqual([0, 0, 0, 0]);
    expect(Math.abs(share(0, 2) - 0.75)).toBeLessThan(0.02);
    expect(Math.abs(share(1, 0) - 0.5)).toBeLessThan(0.02);
  });

  test('multinomial without replacement draws different positions, likely ones first', () => {
    const drawn = multinomial(tensor([1, 1, 1, 97]).expand(2000, 4), 4, { generator: new Generator(6) });
    const rows = drawn.toArray() as number[][];
    for (const row of rows) expect([...row].sort()).toEqual([0, 1, 2, 3]);
    expect(rows.filter((row) => row[0] === 3).length / rows.length).toBeGreaterThan(0.95);
    for (let i = 0; i < 20; i++)
      expect(
        multinomial(tensor([0, 1, 0, 1]), 2)
          .sort()
          .values.toArray(),
      ).toEqual([1, 3]);
  });

  test('wrong arguments are refused', () => {
    expect(() => rand([2], { dtype: 'int32' })).toThrow(DTypeError);
    expect(() => rand([-2])).toThrow(ShapeError);
    expect(() => manualSeed(0.5)).toThrow(ArgumentError);
    expect(() => randint(5, 5, [1])).toThrow(ArgumentError);
    expect(() => multinomial(tensor([1, 2]), 3)).toThrow(/replacement: true/);
    expect(() => new Generator(1).setState([1, 2])).toThrow(ArgumentError);
  });
});
