import { describe, expect, it } from 'vitest';
import { DataLoader, type Dataset, DataWorkerError, type IterableDataset, workerDataset } from '../../src/data/index.js';

// Node's worker threads or Web Workers, whichever there are. (What only Node shows is in workers.test.ts.)
const module = new URL('./fixtures/plain.mjs', import.meta.url);

interface Item {
  readonly index: number;
  readonly epoch: number;
  readonly noise: Float32Array;
}

async function collect<B>(loader: AsyncIterable<B>): Promise<B[]> {
  const batches: B[] = [];
  for await (const batch of loader) batches.push(batch);
  return batches;
}

describe('workers of any engine', () => {
  it('make the batches that are made without them', async () => {
    const dataset = await workerDataset<Dataset<Item>>(module, 'makeItems', { length: 11 });
    const options = { batchSize: 4, shuffle: true, seed: 3 };
    const loader = new DataLoader(dataset, { ...options, workers: 2 });
    const here = new DataLoader(dataset, options);
    for (let epoch = 0; epoch < 2; epoch++) expect(await collect(loader)).toEqual(await collect(here));
    await loader.close();
    const stream = await workerDataset<IterableDataset<number>>(module, 'makeStream', { length: 7 });
    const streaming = new DataLoader(stream, { batchSize: 2, workers: 2 });
    expect(await collect(streaming)).toEqual([[0, 1], [2, 3], [4, 5], [6]]);
    await streaming.close();
  });

  it('tell of the item that failed', async () => {
    const dataset = await workerDataset<Dataset<Item>>(module, 'makeItems', { length: 6, bad: 4 });
    const loader = new DataLoader(dataset, { batchSize: 2, workers: 1 });
    const error = await collect(loader).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DataWorkerError);
    expect(error).toMatchObject({ index: 4, message: expect.stringMatching(/RangeError: item 4 is damaged/) });
    await loader.close();
  });

  it('end with the signal', async () => {
    const controller = new AbortController();
    const dataset = await workerDataset<Dataset<Item>>(module, 'makeItems', { length: 100 });
    const loader = new DataLoader(dataset, { workers: 2, signal: controller.signal });
    const run = async () => {
      for await (const [{ index }] of loader) if (index === 5) controller.abort(new Error('enough'));
    };
    await expect(run()).rejects.toThrow('enough');
  });
});
