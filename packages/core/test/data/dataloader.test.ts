import { describe, expect, it } from 'vitest';
import { ArrayDataset, DataLoader, type DataLoaderState, type Dataset, nextMacrotask, permutation } from '../../src/data/index.js';
import { ArgumentError } from '../../src/errors.js';

const numbers = (length: number): Dataset<number> => ({ length, get: (index) => index });

async function collect<B>(loader: DataLoader<number, B>, limit = Number.POSITIVE_INFINITY): Promise<B[]> {
  const batches: B[] = [];
  if (limit === 0) return batches;
  for await (const batch of loader) {
    batches.push(batch);
    if (batches.length >= limit) break;
  }
  return batches;
}

describe('DataLoader', () => {
  it('makes batches in order, with a smaller last one or without it', async () => {
    const loader = new DataLoader(numbers(5), { batchSize: 2 });
    expect(loader.length).toBe(3);
    expect(await collect(loader)).toEqual([[0, 1], [2, 3], [4]]);
    const dropping = new DataLoader(numbers(5), { batchSize: 2, dropLast: true });
    expect(dropping.length).toBe(2);
    expect(await collect(dropping)).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(await collect(new DataLoader(numbers(0), { batchSize: 2 }))).toEqual([]);
  });

  it('shuffles by seed and epoch', async () => {
    const make = (seed: number) => new DataLoader(numbers(50), { batchSize: 7, shuffle: true, seed });
    const loader = make(3);
    const epochs = [await collect(loader), await collect(loader)];
    expect(epochs[0].flat()).toEqual([...permutation(50, 3, 0)]);
    expect(epochs[1].flat()).toEqual([...permutation(50, 3, 1)]);
    const again = make(3);
    expect([await collect(again), await collect(again)]).toEqual(epochs);
    expect(await collect(make(4))).not.toEqual(epochs[0]);
  });

  it('collates items or lets the dataset make the batch', async () => {
    const sums = new DataLoader(numbers(4), { batchSize: 2, collate: (items, indices) => [items[0] + items[1], indices.length] });
    expect(await collect(sums)).toEqual([
      [1, 2],
      [5, 2],
    ]);
    const slow: Dataset<number> = { length: 3, get: async (index) => index * 10 };
    expect(await collect(new DataLoader(slow, { batchSize: 3 }))).toEqual([[0, 10, 20]]);
    const arrays = new ArrayDataset({ x: { data: Float32Array.from([1, 2, 3]), shape: [] } });
    for await (const batch of new DataLoader(arrays, { batchSize: 3 })) {
      expect(batch.x).toEqual({ data: Float32Array.from([1, 2, 3]), shape: [3] });
    }
  });

  it('goes on from any position as if it had never stopped', async () => {
    const make = () => new DataLoader(numbers(11), { batchSize: 3, shuffle: true, seed: 8 });
    const whole = make();
    const expected = [...(await collect(whole)), ...(await collect(whole)), ...(await collect(whole))];
    for (let stop = 0; stop <= 8; stop++) {
      const first = make();
      const seen: number[][] = [];
      while (seen.length < stop) seen.push(...(await collect(first, stop - seen.length)));
      const state = JSON.parse(JSON.stringify(first.state())) as DataLoaderState;
      const second = make();
      second.load(state);
      while (seen.length < 12) seen.push(...(await collect(second)));
      expect(seen).toEqual(expected);
    }
  });

  it('names the position after the current batch inside the loop', async () => {
    const loader = new DataLoader(numbers(6), { batchSize: 2 });
    const positions: [number, number][] = [];
    for await (const _ of loader) positions.push([loader.state().epoch, loader.state().batch]);
    expect(positions).toEqual([
      [0, 1],
      [0, 2],
      [1, 0],
    ]);
  });

  it('starts the next epoch after a loop that was left', async () => {
    const loader = new DataLoader(numbers(20), { batchSize: 5, shuffle: true, seed: 1 });
    await collect(loader, 1);
    expect((await collect(loader)).flat()).toEqual([...permutation(20, 1, 1)]);
    loader.setEpoch(0);
    expect((await collect(loader)).flat()).toEqual([...permutation(20, 1, 0)]);
  });

  it('refuses a state of another dataset, and options outside their domain', () => {
    const loader = new DataLoader(numbers(6), { batchSize: 2 });
    const good = loader.state();
    for (const change of [{ datasetLength: 7 }, { batchSize: 3 }, { batch: 4 }, { batch: -1 }, { epoch: 0.5 }, { seed: Number.NaN }]) {
      expect(() => loader.load({ ...good, ...change })).toThrow(ArgumentError);
    }
    expect(() => new DataLoader(numbers(6), { batchSize: 0 })).toThrow(/batchSize is 0/);
    expect(() => new DataLoader(numbers(6), { seed: 1.5 })).toThrow(ArgumentError);
    expect(() => new DataLoader(numbers(-1))).toThrow(ArgumentError);
  });

  it('stops when the signal is aborted', async () => {
    const controller = new AbortController();
    const loader = new DataLoader(numbers(10), { signal: controller.signal });
    let batches = 0;
    const run = async () => {
      for await (const _ of loader) if (++batches === 3) controller.abort(new Error('enough'));
    };
    await expect(run()).rejects.toThrow('enough');
    expect(batches).toBe(3);
  });

  it('lets timers run while a loop without waiting goes on', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const loader = new DataLoader(numbers(1_000_000), { batchSize: 1 });
    let end = 0;
    for await (const _ of loader) {
      end ||= performance.now() + 500;
      if (performance.now() > end) break;
    }
    clearInterval(timer);
    expect(ticks).toBeGreaterThanOrEqual(3);
  });

  it('yields in a macrotask, with and without setImmediate', async () => {
    const order: string[] = [];
    const run = async () => {
      const first = nextMacrotask().then(() => order.push('macrotask'));
      await Promise.resolve().then(() => order.push('microtask'));
      await first;
    };
    await run();
    const kept = globalThis.setImmediate;
    try {
      Reflect.deleteProperty(globalThis, 'setImmediate');
      await run();
    } finally {
      globalThis.setImmediate = kept;
    }
    expect(order).toEqual(['microtask', 'macrotask', 'microtask', 'macrotask']);
  });
});
