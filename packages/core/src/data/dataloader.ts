/** Batches of a dataset: shuffled by seed and epoch, resumable, and never holding the event loop for long. */
import { ArgumentError } from '../errors.js';
import type { BatchedDataset, Dataset } from './dataset.js';
import { permutation } from './philox.js';

export interface DataLoaderOptions {
  /** Items in a batch; the last one of an epoch may be smaller. */
  readonly batchSize?: number;
  /** A new order each epoch, a function of (seed, epoch) alone. */
  readonly shuffle?: boolean;
  /** A safe integer; 0 unless told otherwise. */
  readonly seed?: number;
  /** Leave out the last batch of an epoch when it is not full. */
  readonly dropLast?: boolean;
  /** Ends the iteration by throwing the signal's reason before the next batch. */
  readonly signal?: AbortSignal;
}

/** Makes a batch of items; `indices` are their places in the dataset. */
export type Collate<T, B> = (items: T[], indices: Int32Array) => B | Promise<B>;

/** A position in the stream of batches, plain data for a checkpoint. */
export interface DataLoaderState {
  readonly epoch: number;
  /** Batches of that epoch already delivered. */
  readonly batch: number;
  readonly seed: number;
  readonly batchSize: number;
  /** Items in the dataset, to notice a checkpoint of another one. */
  readonly datasetLength: number;
}

/** Longest time in ms between two visits to the event loop. */
const eventLoopInterval = 8;

/** Resolves in a new macrotask, so timers, I/O and finalizers get their turn (a microtask would keep them waiting). */
export function nextMacrotask(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    // Browsers: setTimeout waits 4 ms when nested; a message does not.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function check(condition: boolean, name: string, received: unknown, expected: string): void {
  if (!condition) throw new ArgumentError(`${name} is ${String(received)}`, { op: 'DataLoader', received, expected });
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/**
 * Iterates over a dataset in batches: `for await (const batch of loader) …` is one epoch, and each iteration started
 * is the next epoch, with the next order.
 *
 * A batch is what `collate` makes of the items; without it, what the dataset's `getBatch` returns; else an array of items.
 *
 * `state()` inside the loop names the position after the current batch; a loader given it by `load()` goes on from there
 * with the batches an uninterrupted run would have seen.
 *
 * @throws ArgumentError for options outside their domain.
 */
export class DataLoader<T, B = T[]> implements AsyncIterable<B> {
  readonly dataset: Dataset<T>;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
  private seed: number;
  private readonly signal: AbortSignal | undefined;
  private readonly makeBatch: (indices: Int32Array) => B | Promise<B>;
  private epoch = 0;
  private batch = 0;
  /** True when the position comes from `load` and the next iteration continues there. */
  private resume = true;

  constructor(dataset: Dataset<T>, options: DataLoaderOptions & { readonly collate: Collate<T, B> });
  constructor(dataset: BatchedDataset<T, B>, options?: DataLoaderOptions);
  constructor(dataset: Dataset<T> & (B extends T[] ? unknown : never), options?: DataLoaderOptions);
  constructor(
    dataset: Dataset<T> & Partial<Pick<BatchedDataset<T, B>, 'getBatch'>>,
    options: DataLoaderOptions & { readonly collate?: Collate<T, B> } = {},
  ) {
    const { batchSize = 1, shuffle = false, seed = 0, dropLast = false, collate, signal } = options;
    check(Number.isSafeInteger(batchSize) && batchSize >= 1, 'batchSize', batchSize, 'a whole number, 1 or more');
    check(Number.isSafeInteger(seed), 'seed', seed, 'a safe integer');
    check(isCount(dataset.length) && dataset.length < 2 ** 31, 'dataset.length', dataset.length, 'a whole number below 2^31');
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.shuffle = shuffle;
    this.seed = seed;
    this.dropLast = dropLast;
    this.signal = signal;
    const { getBatch } = dataset;
    if (!collate && getBatch) {
      this.makeBatch = (indices) => getBatch.call(dataset, indices);
    } else {
      // Without a collate function a batch is the array of items: the overloads fix B to T[] then.
      const finish = collate ?? ((items: T[]) => items as B);
      this.makeBatch = async (indices) => finish(await this.items(indices), indices);
    }
  }

  /** Batches in an epoch. */
  get length(): number {
    const full = this.dataset.length / this.batchSize;
    return this.dropLast ? Math.floor(full) : Math.ceil(full);
  }

  /** The order of an epoch: index of each item in the dataset. */
  order(epoch: number): Int32Array {
    if (this.shuffle) return permutation(this.dataset.length, this.seed, epoch);
    const order = new Int32Array(this.dataset.length);
    for (let i = 0; i < order.length; i++) order[i] = i;
    return order;
  }

  private async items(indices: Int32Array): Promise<T[]> {
    const items: T[] = [];
    for (const index of indices) {
      const item = this.dataset.get(index);
      items.push(item instanceof Promise ? await item : item);
    }
    return items;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<B, void, void> {
    if (!this.resume) {
      this.epoch++;
      this.batch = 0;
    }
    this.resume = false;
    // Held here, so that two iterations at a time do not disturb each other.
    const epoch = this.epoch;
    const order = this.order(epoch);
    const count = this.length;
    let visited = performance.now();
    for (let index = this.batch; index < count; index++) {
      if (performance.now() - visited >= eventLoopInterval) {
        await nextMacrotask();
        visited = performance.now();
      }
      this.signal?.throwIfAborted();
      const batch = await this.makeBatch(order.slice(index * this.batchSize, (index + 1) * this.batchSize));
      this.epoch = epoch;
      this.batch = index + 1;
      yield batch;
    }
  }

  /** Where the stream of batches is now. */
  state(): DataLoaderState {
    const done = this.batch >= this.length && !this.resume;
    return {
      epoch: done ? this.epoch + 1 : this.epoch,
      batch: done ? 0 : this.batch,
      seed: this.seed,
      batchSize: this.batchSize,
      datasetLength: this.dataset.length,
    };
  }

  /**
   * The next iteration goes on from this position.
   * @throws ArgumentError when the state is of another dataset or batch size.
   */
  load(state: DataLoaderState): void {
    check(state.datasetLength === this.dataset.length, 'state.datasetLength', state.datasetLength, `${this.dataset.length}`);
    check(state.batchSize === this.batchSize, 'state.batchSize', state.batchSize, `${this.batchSize}`);
    check(Number.isSafeInteger(state.seed), 'state.seed', state.seed, 'a safe integer');
    check(isCount(state.epoch), 'state.epoch', state.epoch, 'a whole number, 0 or more');
    check(isCount(state.batch) && state.batch <= this.length, 'state.batch', state.batch, `a number from 0 to ${this.length}`);
    this.seed = state.seed;
    this.epoch = state.epoch;
    this.batch = state.batch;
    this.resume = true;
  }

  /** The next iteration is this epoch, from its start. */
  setEpoch(epoch: number): void {
    check(isCount(epoch), 'epoch', epoch, 'a whole number, 0 or more');
    this.epoch = epoch;
    this.batch = 0;
    this.resume = true;
  }
}
