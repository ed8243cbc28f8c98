import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  concatDatasets,
  DataLoader,
  type Dataset,
  filterDataset,
  type IterableDataset,
  iterable,
  mapDataset,
  subset,
  takeDataset,
  withCollate,
  zipDatasets,
} from '../../src/data/index.js';
import { ArgumentError } from '../../src/errors.js';

const numbers = (length: number, from = 0): Dataset<number> => ({ length, get: (index) => from + index });
async function all<T>(dataset: Dataset<T>): Promise<T[]> {
  const items: T[] = [];
  for (let i = 0; i < dataset.length; i++) items.push(await dataset.get(i));
  return items;
}

describe('datasets made of others', () => {
  it('map, filter, concatenate, zip, take and pick', async () => {
    expect(await all(mapDataset(numbers(3), (item, _, index) => [item * 10, index]))).toEqual([
      [0, 0],
      [10, 1],
      [20, 2],
    ]);
    expect(await all(await filterDataset(numbers(6), async (item) => item % 2 === 1))).toEqual([1, 3, 5]);
    const joined = concatDatasets(numbers(2), numbers(0), numbers(2, 7));
    expect(await all(joined)).toEqual([0, 1, 7, 8]);
    expect(
      await all(
        zipDatasets(
          numbers(2),
          mapDataset(numbers(2, 5), async (x) => String(x)),
        ),
      ),
    ).toEqual([
      [0, '5'],
      [1, '6'],
    ]);
    expect(await all(takeDataset(numbers(9), 2))).toEqual([0, 1]);
    expect(await all(takeDataset(numbers(1), 2))).toEqual([0]);
    expect(await all(subset(numbers(5), [4, 0, 4]))).toEqual([4, 0, 4]);
    expect(() => subset(numbers(5), [5])).toThrow(ArgumentError);
    expect(() => joined.get(4)).toThrow(ArgumentError);
    expect(() => zipDatasets(numbers(2), numbers(3))).toThrow(/dataset 1 has 3 items/);
  });

  it('pass the random numbers of the item on', async () => {
    const random = mapDataset(concatDatasets(numbers(2), numbers(2)), (_, { rng, epoch }) => [epoch, rng.uniform()]);
    const run = async (batchSize: number) => {
      const seen: number[][] = [];
      const loader = new DataLoader(random, { batchSize, seed: 4 });
      for (let epoch = 0; epoch < 2; epoch++) for await (const batch of loader) seen.push(...batch);
      return seen;
    };
    const seen = await run(1);
    expect(await run(3)).toEqual(seen);
    expect(new Set(seen.map(([, value]) => value)).size).toBe(8);
    expect(seen.map(([epoch]) => epoch)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it('collate where the batches are made', async () => {
    const dataset = withCollate(numbers(4), (items, indices) => ({ sum: items.reduce((a, b) => a + b), count: indices.length }));
    const batches: unknown[] = [];
    for await (const batch of new DataLoader(dataset, { batchSize: 3 })) batches.push(batch);
    expect(batches).toEqual([
      { sum: 3, count: 3 },
      { sum: 3, count: 1 },
    ]);
  });
});

async function list<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
const stream = (length: number, from = 0): IterableDataset<number> =>
  iterable(function* () {
    for (let i = 0; i < length; i++) yield from + i;
  });

describe('iterable datasets', () => {
  it('map, filter, flatMap, take, skip, concat, zip and batch', async () => {
    expect(await list(stream(4).map((x) => x * 2))).toEqual([0, 2, 4, 6]);
    expect(await list(stream(5).filter((x) => x % 2 === 0))).toEqual([0, 2, 4]);
    expect(await list(stream(3).flatMap((x) => new Array<number>(x).fill(x)))).toEqual([1, 2, 2]);
    expect(await list(stream(5).take(2))).toEqual([0, 1]);
    expect(await list(stream(5).take(0))).toEqual([]);
    expect(await list(stream(5).take(9))).toEqual([0, 1, 2, 3, 4]);
    expect(await list(stream(5).skip(3))).toEqual([3, 4]);
    expect(await list(stream(2).concat(stream(2, 10), stream(1, 20)))).toEqual([0, 1, 10, 11, 20]);
    expect(await list(stream(3).zip(stream(2, 5)))).toEqual([
      [0, 5],
      [1, 6],
    ]);
    expect(await list(stream(5).batch(2))).toEqual([[0, 1], [2, 3], [4]]);
    expect(await list(stream(5).batch(2, { dropLast: true }))).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(() => stream(1).batch(0)).toThrow(ArgumentError);
  });

  it('take stops reading', async () => {
    let read = 0;
    const counted = iterable(function* () {
      for (;;) yield read++;
    });
    expect(await list(counted.map((x) => x + 1).take(3))).toEqual([1, 2, 3]);
    expect(read).toBe(3);
  });

  it('shuffle gives each item once, by (seed, epoch), within its window', async () => {
    const run = (epoch: number, seed = 1) =>
      list(
        stream(50)
          .shuffle(10)
          .iterate({ epoch, seed, wants: () => true }),
      );
    const order = await run(0);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(order).not.toEqual([...order].sort((a, b) => a - b));
    // Only what has been read can come: item k is among the first k + 10 read.
    order.forEach((item, place) => expect(item).toBeLessThan(place + 10 + 1));
    expect(await run(0)).toEqual(order);
    expect(await run(1)).not.toEqual(order);
    expect(await run(0, 2)).not.toEqual(order);
    expect(await list(stream(5).shuffle(1))).toEqual([0, 1, 2, 3, 4]);
  });

  /** A chain of random stages. */
  const stages = fc.array(
    fc.constantFrom<(s: IterableDataset<number>) => IterableDataset<number>>(
      (s) => s.map((x, { rng }) => x * 100 + rng.below(100)),
      (s) => s.filter((x) => x % 3 !== 0),
      (s) => s.flatMap((x) => (x % 2 ? [x] : [x, -x])),
      (s) => s.take(17),
      (s) => s.skip(2),
      (s) => s.concat(stream(4, 1000)),
      (s) => s.shuffle(5),
      (s) => s.batch(3).map((items) => items.reduce((a, b) => a + b, 0)),
      (s) => s.zip(stream(20, 50)).map(([a, b]) => a + b),
    ),
    { maxLength: 5 },
  );

  it('give exactly the wanted items, whatever the stages', async () => {
    await fc.assert(
      fc.asyncProperty(stages, fc.nat(30), fc.integer({ min: 1, max: 5 }), fc.nat(8), async (chain, length, parts, first) => {
        const dataset = chain.reduce((s, stage) => stage(s), stream(length));
        const whole = await list(dataset.iterate({ epoch: 2, seed: 3, wants: () => true }));
        const wants = (position: number): boolean => position >= first && (position - first) % parts === 0;
        expect(await list(dataset.iterate({ epoch: 2, seed: 3, wants }))).toEqual(whole.filter((_, position) => wants(position)));
      }),
      { numRuns: 300 },
    );
  });

  it('go through a DataLoader, which goes on from any position', async () => {
    const make = () => new DataLoader(stream(11).shuffle(4), { batchSize: 3, seed: 2 });
    const loader = make();
    expect(loader.length).toBe(Number.POSITIVE_INFINITY);
    const epochs = [await list(loader), await list(loader)];
    expect(epochs[0].map((batch) => batch.length)).toEqual([3, 3, 3, 2]);
    expect(epochs[0]).not.toEqual(epochs[1]);
    const first = make();
    for await (const _ of first) if (first.state().batch === 2) break;
    const second = make();
    second.load(JSON.parse(JSON.stringify(first.state())));
    expect(await list(second)).toEqual(epochs[0].slice(2));
    expect(await list(second)).toEqual(epochs[1]);
    expect(await list(new DataLoader(stream(5), { batchSize: 2, dropLast: true, collate: (items) => items.length }))).toEqual([2, 2]);
    expect(() => new DataLoader(stream(5), { shuffle: true })).toThrow(/shuffle\(\)/);
  });
});
