import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BatchSampler,
  DataLoader,
  type Dataset,
  DistributedSampler,
  LengthBucketSampler,
  permutation,
  RandomSampler,
  randomSplit,
  type Sampler,
  SequentialSampler,
  StratifiedSampler,
  SubsetSampler,
  WeightedRandomSampler,
} from '../../src/data/index.js';
import { ArgumentError } from '../../src/errors.js';

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const counts = (orders: Iterable<number>, n: number): number[] => {
  const seen = new Array<number>(n).fill(0);
  for (const index of orders) seen[index]++;
  return seen;
};

describe('samplers', () => {
  const labels = Int32Array.from({ length: 60 }, (_, i) => (i < 30 ? 0 : i < 50 ? 1 : 2));
  const all: [string, () => Sampler][] = [
    ['SequentialSampler', () => new SequentialSampler(20)],
    ['RandomSampler', () => new RandomSampler(20, { seed: 3 })],
    ['RandomSampler with replacement', () => new RandomSampler(20, { seed: 3, replacement: true, numSamples: 50 })],
    ['SubsetSampler', () => new SubsetSampler([4, 9, 1], { seed: 2 })],
    ['WeightedRandomSampler', () => new WeightedRandomSampler([1, 2, 3], 10, { seed: 1 })],
    ['StratifiedSampler', () => new StratifiedSampler(labels, { seed: 1 })],
    ['DistributedSampler', () => new DistributedSampler(20, { rank: 1, worldSize: 3 })],
  ];
  it.each(all)('%s gives `length` indices, a function of the epoch', (_, make) => {
    const sampler = make();
    for (const epoch of [0, 1, 7]) {
      const order = sampler.order(epoch);
      expect(order.length).toBe(sampler.length);
      expect(make().order(epoch)).toEqual(order);
    }
  });

  it('RandomSampler is the order of shuffle: true, or a part of it', () => {
    expect(new RandomSampler(30, { seed: 4 }).order(2)).toEqual(permutation(30, 4, 2));
    expect(new RandomSampler(30, { seed: 4, numSamples: 7 }).order(2)).toEqual(permutation(30, 4, 2).slice(0, 7));
    expect(() => new RandomSampler(3, { numSamples: 4 })).toThrow(ArgumentError);
    const drawn = counts(new RandomSampler(4, { replacement: true, numSamples: 8000 }).order(0), 4);
    for (const count of drawn) expect(Math.abs(count - 2000)).toBeLessThan(5 * Math.sqrt(8000 * 0.25 * 0.75));
  });

  it('WeightedRandomSampler draws in proportion to the weights', () => {
    const weights = [1, 0, 3, 4];
    const n = 8000;
    const drawn = counts(new WeightedRandomSampler(weights, n).order(0), 4);
    for (const [i, weight] of weights.entries()) {
      const p = weight / 8;
      expect(Math.abs(drawn[i] - n * p)).toBeLessThanOrEqual(5 * Math.sqrt(n * p * (1 - p)));
    }
    expect(drawn[1]).toBe(0);
  });

  it('WeightedRandomSampler without replacement draws like one after the other', () => {
    // P(first = i) = w_i / W, and P(second = j | first = i) = w_j / (W - w_i).
    const weights = [1, 2, 5];
    const sampler = new WeightedRandomSampler(weights, 2, { replacement: false });
    const trials = 6000;
    const pairs = new Map<string, number>();
    for (let epoch = 0; epoch < trials; epoch++) {
      const [a, b] = sampler.order(epoch);
      expect(a).not.toBe(b);
      pairs.set(`${a},${b}`, (pairs.get(`${a},${b}`) ?? 0) + 1);
    }
    for (const i of range(3)) {
      for (const j of range(3)) {
        if (i === j) continue;
        const p = (weights[i] / 8) * (weights[j] / (8 - weights[i]));
        expect(Math.abs((pairs.get(`${i},${j}`) ?? 0) - trials * p)).toBeLessThan(5 * Math.sqrt(trials * p * (1 - p)));
      }
    }
    expect(() => new WeightedRandomSampler([1, 0], 2, { replacement: false })).toThrow(ArgumentError);
    expect(() => new WeightedRandomSampler([1, -1], 2)).toThrow(ArgumentError);
    expect(() => new WeightedRandomSampler([0, 0], 2)).toThrow(ArgumentError);
  });

  it('StratifiedSampler uses each item once and keeps the shares of the classes in each batch', () => {
    for (const epoch of range(5)) {
      const order = new StratifiedSampler(labels, { seed: 8 }).order(epoch);
      expect(sorted(order)).toEqual(range(60));
      for (let start = 0; start < 60; start += 12) {
        const batch = [...order.slice(start, start + 12)].map((index) => labels[index]);
        // Of 12 items: 6, 4 and 2.
        for (const [label, share] of [6, 4, 2].entries()) {
          expect(Math.abs(batch.filter((other) => other === label).length - share)).toBeLessThanOrEqual(1);
        }
      }
    }
    expect(new StratifiedSampler(labels).order(0)).not.toEqual(new StratifiedSampler(labels).order(1));
  });

  it('DistributedSampler shares an order out: every item, equally many each', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 6 }),
        fc.boolean(),
        fc.boolean(),
        (n, worldSize, shuffle, dropLast) => {
          const parts = range(worldSize).map((rank) => new DistributedSampler(n, { rank, worldSize, shuffle, dropLast, seed: 6 }).order(3));
          expect(new Set(parts.map((part) => part.length)).size).toBe(1);
          const given = parts.flatMap((part) => [...part]);
          if (dropLast) {
            expect(given.length).toBe(n - (n % worldSize));
            expect(new Set(given).size).toBe(given.length);
          } else {
            expect(new Set(given)).toEqual(new Set(range(n)));
            expect(given.length).toBe(Math.ceil(n / worldSize) * worldSize);
          }
        },
      ),
    );
    const weighted = new WeightedRandomSampler([1, 2, 3], 6);
    const [a, b] = [0, 1].map((rank) => new DistributedSampler(weighted, { rank, worldSize: 2 }).order(1));
    expect([...weighted.order(1)]).toEqual([a[0], b[0], a[1], b[1], a[2], b[2]]);
    expect(() => new DistributedSampler(3, { rank: 2, worldSize: 2 })).toThrow(ArgumentError);
  });

  it('LengthBucketSampler uses each item once, within its limits, with little padding', () => {
    const lengths = Int32Array.from({ length: 500 }, (_, i) => 1 + ((i * 7919) % 97));
    const padding = (batches: readonly Int32Array[]): number => {
      const padded = batches.reduce((sum, batch) => sum + batch.length * Math.max(...[...batch].map((i) => lengths[i])), 0);
      return 1 - lengths.reduce((a, b) => a + b, 0) / padded;
    };
    const bySize = new LengthBucketSampler(lengths, { batchSize: 16, seed: 2 });
    const byTokens = new LengthBucketSampler(lengths, { maxTokens: 800, seed: 2 });
    for (const epoch of [0, 1]) {
      const sized = bySize.batches(epoch);
      expect(sorted(sized.flatMap((batch) => [...batch]))).toEqual(range(500));
      expect(sized.every((batch) => batch.length <= 16)).toBe(true);
      const bounded = byTokens.batches(epoch);
      expect(sorted(bounded.flatMap((batch) => [...batch]))).toEqual(range(500));
      for (const batch of bounded) expect(batch.length * Math.max(...[...batch].map((i) => lengths[i]))).toBeLessThanOrEqual(800);
      const order = permutation(500, 2, epoch);
      const random = range(Math.ceil(500 / 16)).map((k) => order.slice(16 * k, 16 * k + 16));
      expect(padding(sized)).toBeLessThan(padding(random) / 4);
    }
    expect(bySize.batches(0)).not.toEqual(bySize.batches(1));
    const dropping = new LengthBucketSampler(lengths, { batchSize: 16, dropLast: true }).batches(0);
    expect(dropping.every((batch) => batch.length === 16)).toBe(true);
    const unshuffled = new LengthBucketSampler([3, 1, 2], { batchSize: 2, shuffle: false });
    expect(unshuffled.batches(0)).toEqual([Int32Array.of(1, 2), Int32Array.of(0)]);
    expect(() => new LengthBucketSampler([5], { maxTokens: 4 })).toThrow(ArgumentError);
    expect(() => new LengthBucketSampler([5], {})).toThrow(ArgumentError);
  });
});

describe('DataLoader with samplers', () => {
  const numbers = (length: number): Dataset<number> => ({ length, get: (index) => index });
  const collect = async <B>(loader: DataLoader<number, B>): Promise<B[]> => {
    const batches: B[] = [];
    for await (const batch of loader) batches.push(batch);
    return batches;
  };

  it('follows the sampler, each epoch anew', async () => {
    const sampler = new WeightedRandomSampler([1, 1, 2], 7, { seed: 9 });
    const loader = new DataLoader(numbers(3), { batchSize: 3, sampler });
    expect(loader.length).toBe(3);
    for (const epoch of [0, 1]) expect((await collect(loader)).flat()).toEqual([...sampler.order(epoch)]);
  });

  it('follows the batch sampler, from any position', async () => {
    const batchSampler: BatchSampler = {
      batches: (epoch) =>
        epoch % 2 === 0 ? [Int32Array.of(0, 1, 2), Int32Array.of(3)] : [Int32Array.of(3), Int32Array.of(2), Int32Array.of(1)],
    };
    const make = () => new DataLoader(numbers(4), { batchSampler });
    const loader = make();
    expect(loader.length).toBe(2);
    expect(await collect(loader)).toEqual([[0, 1, 2], [3]]);
    expect(loader.state()).toMatchObject({ epoch: 1, batch: 0 });
    expect(await collect(loader)).toEqual([[3], [2], [1]]);
    const second = make();
    second.load({ ...loader.state(), epoch: 1, batch: 2 });
    expect(await collect(second)).toEqual([[1]]);
    expect([...second.order(0)]).toEqual([0, 1, 2, 3]);
  });

  it('refuses contradictions, and indices outside the dataset', async () => {
    const sampler = new SequentialSampler(3);
    const batchSampler: BatchSampler = { batches: () => [] };
    expect(() => new DataLoader(numbers(3), { sampler, shuffle: true })).toThrow(ArgumentError);
    expect(() => new DataLoader(numbers(3), { batchSampler, batchSize: 2 })).toThrow(ArgumentError);
    expect(() => new DataLoader(numbers(3), { batchSampler, sampler })).toThrow(ArgumentError);
    await expect(collect(new DataLoader(numbers(2), { sampler }))).rejects.toThrow(/index of the sampler is 2/);
  });

  it('gives an item that comes twice in an epoch different random numbers', async () => {
    const dataset: Dataset<number> = { length: 2, get: (_, context) => context?.rng.uniform() ?? -1 };
    const sampler: Sampler = { length: 4, order: () => Int32Array.of(1, 1, 0, 1) };
    const first = (await collect(new DataLoader(dataset, { sampler }))).flat();
    expect(new Set(first).size).toBe(4);
    // The first time is what it would be without the sampler.
    const [, plain] = (await collect(new DataLoader(dataset))).flat();
    expect(first[0]).toBe(plain);
  });
});

describe('randomSplit', () => {
  it('divides all items into parts of the given sizes or fractions', () => {
    expect(randomSplit(10, [7, 3], 1).map((part) => part.length)).toEqual([7, 3]);
    expect(randomSplit(11, [0.5, 0.3, 0.2], 1).map((part) => part.length)).toEqual([6, 3, 2]);
    const parts = randomSplit(100, [0.8, 0.2], 4);
    expect(sorted(parts.flatMap((part) => [...part]))).toEqual(range(100));
    expect(randomSplit(100, [0.8, 0.2], 4)).toEqual(parts);
    expect(randomSplit(100, [0.8, 0.2], 5)).not.toEqual(parts);
    expect(randomSplit(1, [1], 0)).toEqual([Int32Array.of(0)]);
    for (const bad of [
      [5, 4],
      [0.5, 0.4],
      [-1, 11],
      [2.5, 7.5],
    ])
      expect(() => randomSplit(10, bad, 0)).toThrow(ArgumentError);
  });
});
