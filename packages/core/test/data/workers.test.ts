import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type BatchedDataset,
  DataLoader,
  type DataLoaderOptions,
  type DataLoaderState,
  type Dataset,
  DataWorkerError,
  type IterableDataset,
  LengthBucketSampler,
  permutation,
  WeightedRandomSampler,
  workerDataset,
} from '../../src/data/index.js';
import { ArgumentError, EnvironmentError } from '../../src/errors.js';

const module = new URL('./fixtures/datasets.mjs', import.meta.url);

interface Item {
  readonly index: number;
  readonly epoch: number;
  readonly random: number;
}
interface Batch {
  readonly indices: Int32Array;
  readonly noise: Float32Array;
  readonly epoch: number;
  readonly thread: number;
}

const open: DataLoader<unknown, unknown>[] = [];
function loaderOf<T, B>(loader: DataLoader<T, B>): DataLoader<T, B> {
  open.push(loader as unknown as DataLoader<unknown, unknown>);
  return loader;
}
afterEach(async () => {
  for (const loader of open.splice(0)) await loader.close();
});

async function collect<B>(loader: AsyncIterable<B>, limit = Number.POSITIVE_INFINITY): Promise<B[]> {
  const batches: B[] = [];
  for await (const batch of loader) {
    batches.push(batch);
    if (batches.length >= limit) break;
  }
  return batches;
}

const items = (length: number) => workerDataset<Dataset<Item>>(module, 'makeItems', { length });
const batches = (length: number, slow = 0) => workerDataset<BatchedDataset<number, Batch>>(module, 'makeBatches', { length, slow });

describe('DataLoader with workers', () => {
  it('gives the same items, with the same random numbers, for any number of workers', async () => {
    const weights = Float64Array.from({ length: 40 }, (_, i) => 1 + (i % 3));
    const variants: DataLoaderOptions[] = [
      { batchSize: 7, shuffle: true, seed: 5 },
      { batchSize: 7, seed: 5, sampler: new WeightedRandomSampler(weights, 60, { seed: 2 }) },
      { seed: 5, batchSampler: new LengthBucketSampler(weights, { batchSize: 6, seed: 1 }) },
    ];
    for (const options of variants) {
      const runs: Item[][][] = [];
      for (const workers of [0, 1, 3]) {
        const loader = loaderOf(new DataLoader(await items(40), { ...options, workers }));
        runs.push([...(await collect(loader)), ...(await collect(loader))]);
      }
      expect(runs[1]).toEqual(runs[0]);
      expect(runs[2]).toEqual(runs[0]);
      const flat = runs[0].flat();
      // Each item's numbers are its own, in each epoch and each time that it comes.
      expect(new Set(flat.map(({ random }) => random)).size).toBe(flat.length);
    }
  });

  it('spreads the batches over its threads and moves their arrays', async () => {
    const loader = loaderOf(new DataLoader(await batches(64, 5), { batchSize: 4, shuffle: true, workers: 2 }));
    const got = await collect(loader);
    expect(got.flatMap(({ indices }) => [...indices])).toEqual([...permutation(64, 0, 0)]);
    expect(new Set(got.map(({ thread }) => thread)).size).toBe(2);
    expect(got.every(({ thread }) => thread !== 0)).toBe(true);
    const here = await collect(new DataLoader(await batches(64), { batchSize: 4, shuffle: true }));
    expect(got.map(({ noise }) => noise)).toEqual(here.map(({ noise }) => noise));
  });

  it('has at most `prefetch` batches begun ahead of the one in use', async () => {
    for (const [workers, prefetch] of [
      [2, 3],
      [2, 1],
      [1, 4],
    ]) {
      const counter = new SharedArrayBuffer(4);
      const begun = new Int32Array(counter);
      const dataset = await workerDataset<BatchedDataset<number, Int32Array>>(module, 'makeCounted', { length: 30, counter });
      const loader = loaderOf(new DataLoader(dataset, { workers, prefetch }));
      let used = 0;
      let most = 0;
      for await (const _ of loader) {
        used++;
        // Time for the workers to do what they may.
        await new Promise((resolve) => setTimeout(resolve, 10));
        most = Math.max(most, begun[0] - used);
      }
      expect(used).toBe(30);
      expect(most).toBe(prefetch);
    }
  });

  it('has at most `prefetch` batches begun ahead without workers too, and none by default', async () => {
    for (const prefetch of [undefined, 3]) {
      let begun = 0;
      const dataset: Dataset<number> = {
        length: 20,
        get: async (index) => {
          begun++;
          return index;
        },
      };
      let used = 0;
      let most = 0;
      for await (const _ of new DataLoader(dataset, { prefetch })) {
        used++;
        await new Promise((resolve) => setTimeout(resolve, 1));
        most = Math.max(most, begun - used);
      }
      expect([used, most]).toEqual([20, prefetch ?? 0]);
    }
  });

  it('goes on from any position, batches made ahead or not', async () => {
    const make = async () => loaderOf(new DataLoader(await items(11), { batchSize: 3, shuffle: true, seed: 8, workers: 2, prefetch: 4 }));
    const whole = await make();
    const expected = [...(await collect(whole)), ...(await collect(whole)), ...(await collect(whole))];
    for (const stop of [1, 3, 4, 6]) {
      const first = await make();
      const seen: Item[][] = [];
      while (seen.length < stop) seen.push(...(await collect(first, stop - seen.length)));
      const second = await make();
      second.load(JSON.parse(JSON.stringify(first.state())) as DataLoaderState);
      while (seen.length < 12) seen.push(...(await collect(second)));
      expect(seen).toEqual(expected);
    }
  });

  it('collates items here when a function is given', async () => {
    const loader = loaderOf(
      new DataLoader(await items(6), {
        batchSize: 2,
        workers: 2,
        collate: (got, indices) => [got.map(({ index }) => index), [...indices]],
      }),
    );
    expect(await collect(loader)).toEqual([
      [
        [0, 1],
        [0, 1],
      ],
      [
        [2, 3],
        [2, 3],
      ],
      [
        [4, 5],
        [4, 5],
      ],
    ]);
  });

  it('tells which item failed, why, and where in the worker', async () => {
    const dataset = await workerDataset<Dataset<number>>(module, 'makeFailing', { length: 12, bad: 7 });
    const loader = loaderOf(new DataLoader(dataset, { batchSize: 2, workers: 2 }));
    const seen: number[] = [];
    let error: unknown;
    try {
      for await (const batch of loader) seen.push(...batch);
    } catch (caught) {
      error = caught;
    }
    // What comes before the failure is delivered.
    expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
    expect(error).toBeInstanceOf(DataWorkerError);
    if (!(error instanceof DataWorkerError)) return;
    expect(error.index).toBe(7);
    expect(error.message).toMatch(/item 7 failed \(TypeError: picture 7 is not a picture\)/);
    expect(error.workerStack).toMatch(/decodeBadItem.*datasets\.mjs/s);
    // The workers go on: the next epoch fails at the same item, not before.
    loader.setEpoch(0);
    expect(await collect(loader, 2)).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  it('copies arrays that are part of a larger one, and notices one that was moved away', async () => {
    const parts = await workerDataset<Dataset<Float32Array>>(module, 'makeShared', { whole: false });
    const loader = loaderOf(new DataLoader(parts, { batchSize: 2, workers: 1 }));
    const want = [
      [Float32Array.of(0, 1), Float32Array.of(2, 3)],
      [Float32Array.of(4, 5), Float32Array.of(6, 7)],
    ];
    expect(await collect(loader)).toEqual(want);
    expect(await collect(loader)).toEqual(want);
    const whole = await workerDataset<Dataset<Float32Array>>(module, 'makeShared', { whole: true });
    await expect(collect(loaderOf(new DataLoader(whole, { workers: 1 })))).rejects.toThrow(/part of an earlier batch/);
  });

  it('ends with the signal, in the middle of a batch too, and starts again', async () => {
    const counter = new SharedArrayBuffer(4);
    const dataset = await workerDataset<BatchedDataset<number, Int32Array>>(module, 'makeCounted', { length: 9, counter, block: 2 });
    const controller = new AbortController();
    const loader = loaderOf(new DataLoader(dataset, { workers: 2, signal: controller.signal }));
    setTimeout(() => controller.abort(new Error('enough')), 200);
    await expect(collect(loader)).rejects.toThrow('enough');
    const begun = Atomics.load(new Int32Array(counter), 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(Atomics.load(new Int32Array(counter), 0)).toBe(begun);
    await expect(collect(loader)).rejects.toThrow('enough');
  });

  it('notices a worker that ends by itself, and starts new ones the next time', async () => {
    const dataset = await workerDataset<Dataset<number>>(module, 'makeExiting');
    const loader = loaderOf(new DataLoader(dataset, { workers: 1 }));
    await expect(collect(loader)).rejects.toThrow(/ended with exit code 3/);
    await expect(collect(loader)).rejects.toThrow(/ended with exit code 3/);
  });

  it('refuses what a worker cannot build', async () => {
    await expect(workerDataset(new URL('./fixtures/none.mjs', import.meta.url), 'x')).rejects.toThrow(EnvironmentError);
    await expect(workerDataset(module, 'notAFunction')).rejects.toThrow(/exports no function notAFunction/);
    await expect(workerDataset(module, 'makeNothing')).rejects.toThrow(/returned no dataset/);
    await expect(workerDataset(module, 'makeThrowing')).rejects.toThrow(/the folder is gone/);
    await expect(workerDataset(module, 'makeItems', { decode: () => 1 })).rejects.toThrow(/plain data/);
    const plain: Dataset<number> = { length: 3, get: (index) => index };
    expect(() => new DataLoader(plain, { workers: 1 })).toThrow(/workerDataset/);
    expect(() => new DataLoader(plain, { workers: -1 })).toThrow(ArgumentError);
    const mainOnly = await workerDataset<Dataset<number>>(module, 'makeMainOnly');
    await expect(collect(loaderOf(new DataLoader(mainOnly, { workers: 2 })))).rejects.toThrow(/could not be built.*not in a worker/s);
  });

  it('lets two iterations go on at a time', async () => {
    const loader = loaderOf(new DataLoader(await items(20), { batchSize: 2, workers: 2 }));
    const [first, second] = await Promise.all([collect(loader), collect(loader)]);
    expect(first.flat().map(({ index }) => index)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(second.flat().map(({ index }) => index)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('does not wait for batches that nobody wants after a loop was left', async () => {
    const counter = new SharedArrayBuffer(4);
    const dataset = await workerDataset<BatchedDataset<number, Int32Array>>(module, 'makeCounted', { length: 50, counter });
    const loader = loaderOf(new DataLoader(dataset, { workers: 2, prefetch: 4 }));
    await collect(loader, 3);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(Atomics.load(new Int32Array(counter), 0)).toBeLessThanOrEqual(3 + 4);
  });
});

describe('streams with workers', () => {
  interface Record_ {
    readonly position: number;
    readonly thread: number;
  }
  const stream = (length: number, bad = -1) => workerDataset<IterableDataset<Record_>>(module, 'makeStream', { length, bad });
  const positions = (got: Record_[][]): number[][] => got.map((batch) => batch.map(({ position }) => position));

  it('come in the order of one reader, with dropLast and resuming', async () => {
    for (const length of [0, 1, 4, 23, 24]) {
      const want = positions(await collect(new DataLoader(await stream(length), { batchSize: 4 })));
      expect(want.flat()).toEqual(Array.from({ length }, (_, i) => i));
      for (const workers of [1, 2, 3]) {
        const loader = loaderOf(new DataLoader(await stream(length), { batchSize: 4, workers }));
        expect(positions(await collect(loader))).toEqual(want);
        const dropping = loaderOf(new DataLoader(await stream(length), { batchSize: 4, workers, dropLast: true }));
        expect(positions(await collect(dropping))).toEqual(want.filter((batch) => batch.length === 4));
        if (length < 20) continue;
        const first = loaderOf(new DataLoader(await stream(length), { batchSize: 4, workers }));
        await collect(first, 2);
        loader.load(first.state());
        expect(positions(await collect(loader))).toEqual(want.slice(2));
      }
    }
  });

  it('are read by all workers', async () => {
    const got = await collect(loaderOf(new DataLoader(await stream(40), { batchSize: 2, workers: 3 })));
    expect(new Set(got.flat().map(({ thread }) => thread)).size).toBe(3);
  });

  it('tell of an error where it comes', async () => {
    const loader = loaderOf(new DataLoader(await stream(20, 9), { batchSize: 2, workers: 2 }));
    const seen: number[] = [];
    const run = async () => {
      for await (const batch of loader) seen.push(...batch.map(({ position }) => position));
    };
    await expect(run()).rejects.toThrow(/RangeError: record 9 is damaged/);
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('the process', () => {
  const entry = new URL('../../dist/data/index.js', import.meta.url);
  const run = (body: string) => {
    const source = `
      import { DataLoader, workerDataset } from ${JSON.stringify(entry.href)};
      const dataset = await workerDataset(${JSON.stringify(pathToFileURL(module.pathname).href)}, 'makeBatches', { length: 40, slow: 20 });
      const loader = new DataLoader(dataset, { batchSize: 4, workers: 2 });
      ${body}`;
    const started = performance.now();
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    return { status, stdout, stderr, seconds: (performance.now() - started) / 1000 };
  };

  it('waits for batches, and ends although workers are there', () => {
    const { status, stdout, stderr } = run(`let n = 0; for await (const batch of loader) n += batch.indices.length; console.log(n);`);
    expect([status, stdout.trim(), stderr]).toEqual([0, '40', '']);
  });

  it('ends after a loop that was left', () => {
    const { status, stdout } = run(`for await (const batch of loader) { console.log(batch.indices.length); break; }`);
    expect([status, stdout.trim()]).toEqual([0, '4']);
  });
});
