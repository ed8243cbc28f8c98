/** Batches of a dataset: shuffled by seed and epoch, resumable, and never holding the event loop for long. */
import { ArgumentError } from '../errors.js';
import { getItems } from './combine.js';
import { DataPool } from './data-pool.js';
import { type BatchContext, type BatchedDataset, type Dataset, itemRandom } from './dataset.js';
import { groups, type IterableDataset, isIterable } from './iterable.js';
import { permutation } from './philox.js';
import type { BatchSampler, Sampler } from './samplers.js';
import { type DatasetSource, sourceOf } from './worker-dataset.js';

export interface DataLoaderOptions {
  /** Items in a batch; the last one of an epoch may be smaller. */
  readonly batchSize?: number;
  /** A new order each epoch, a function of (seed, epoch) alone. */
  readonly shuffle?: boolean;
  /** The order of the items, in place of `shuffle`. */
  readonly sampler?: Sampler;
  /** The batches, in place of `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  readonly batchSampler?: BatchSampler;
  /** A safe integer; 0 unless told otherwise. Orders the items and seeds their random numbers. */
  readonly seed?: number;
  /** Leave out the last batch of an epoch when it is not full. */
  readonly dropLast?: boolean;
  /**
   * Threads that make the batches; 0 (unless told otherwise) makes them in this one. Needs a dataset of
   * `workerDataset`. They start with the first iteration and end with {@link DataLoader.close}, an abort or the process.
   * With `collate` they make the items and it runs here; a dataset with `getBatch` (see `withCollate`) makes whole
   * batches in the thread.
   */
  readonly workers?: number;
  /**
   * Most batches that are made ahead of the one in use; bounds the memory. Twice the number of workers unless told
   * otherwise; without workers 0: each batch is made when it is asked for.
   */
  readonly prefetch?: number;
  /** Ends the iteration by throwing the signal's reason before the next batch, and ends the workers. */
  readonly signal?: AbortSignal;
}

/** Makes a batch of items; `indices` are their places in the dataset (-1 for the items of a stream). */
export type Collate<T, B> = (items: T[], indices: Int32Array) => B | Promise<B>;

/** A position in the stream of batches, plain data for a checkpoint. */
export interface DataLoaderState {
  readonly epoch: number;
  /** Batches of that epoch already delivered. */
  readonly batch: number;
  readonly seed: number;
  /** 0 with a batchSampler. */
  readonly batchSize: number;
  /** Items in the dataset, to notice a checkpoint of another one; -1 for a stream. */
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

/** Closes the threads of loaders that were dropped without `close()`. */
const dropped = new FinalizationRegistry<{ pool: DataPool | null }>((held) => void held.pool?.end(new Error('the loader is gone')));

/** For each place of an order how often its item came before; null where none comes twice. */
function countRepeats(order: Int32Array, datasetLength: number): Int32Array | null {
  const seen = new Int32Array(datasetLength);
  const repeats = Int32Array.from(order, (index) => seen[index]++);
  return repeats.some((count) => count > 0) ? repeats : null;
}

/** The plan of one epoch: the items of each batch. */
interface Plan {
  readonly count: number;
  indices(batch: number): Int32Array;
  repeats(batch: number): Int32Array | null;
}

/** Marks the end of a stream. */
const end = Symbol('end');

/** A batch that is being made, and how to give it up. */
interface Pending<B> {
  readonly batch: Promise<B | typeof end>;
  readonly id: number | null;
}

/**
 * Iterates over a dataset in batches: `for await (const batch of loader) …` is one epoch, and each iteration started
 * is the next epoch, with the next order.
 *
 * A batch is what `collate` makes of the items; without it, what the dataset's `getBatch` returns; else an array of items.
 *
 * The order, and the random numbers each item gets, depend on (seed, epoch) alone, not on the number of workers.
 *
 * `state()` inside the loop names the position after the current batch (batches made ahead do not count); a loader given
 * it by `load()` goes on from there with the batches an uninterrupted run would have seen.
 *
 * @throws ArgumentError for options outside their domain. The iteration throws what `get` throws, and a
 * {@link DataWorkerError} with the item's index when that happened in a worker.
 */
export class DataLoader<T, B = T[]> implements AsyncIterable<B>, AsyncDisposable {
  readonly dataset: Dataset<T> | IterableDataset<T>;
  /** Items in a batch; 0 with a batchSampler. */
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
  readonly workers: number;
  readonly prefetch: number;
  private seed: number;
  private readonly sampler: Sampler | undefined;
  private readonly batchSampler: BatchSampler | undefined;
  private readonly signal: AbortSignal | undefined;
  private readonly collate: Collate<T, B> | undefined;
  private readonly source: DatasetSource | null;
  private readonly threads: { pool: DataPool | null } = { pool: null };
  private streams = 0;
  private epoch = 0;
  private batch = 0;
  /** True when the position comes from `load` and the next iteration continues there. */
  private resume = true;
  /** The batches of the batch sampler's last epoch. */
  private planned: { readonly epoch: number; readonly batches: Int32Array[] } | null = null;

  constructor(dataset: Dataset<T>, options: DataLoaderOptions & { readonly collate: Collate<T, B> });
  constructor(dataset: BatchedDataset<T, B>, options?: DataLoaderOptions);
  constructor(dataset: Dataset<T> & (B extends T[] ? unknown : never), options?: DataLoaderOptions);
  constructor(dataset: IterableDataset<T>, options: DataLoaderOptions & { readonly collate: Collate<T, B> });
  constructor(dataset: IterableDataset<T> & (B extends T[] ? unknown : never), options?: DataLoaderOptions);
  constructor(
    dataset: (Dataset<T> & Partial<Pick<BatchedDataset<T, B>, 'getBatch'>>) | IterableDataset<T>,
    options: DataLoaderOptions & { readonly collate?: Collate<T, B> } = {},
  ) {
    const { batchSize = 1, shuffle = false, seed = 0, dropLast = false, sampler, batchSampler, collate, signal, workers = 0 } = options;
    const { prefetch = 2 * workers } = options;
    check(Number.isSafeInteger(batchSize) && batchSize >= 1, 'batchSize', batchSize, 'a whole number, 1 or more');
    check(Number.isSafeInteger(seed), 'seed', seed, 'a safe integer');
    check(isCount(workers) && workers <= 256, 'workers', workers, 'a whole number from 0 to 256');
    check(isCount(prefetch) && (workers === 0 || prefetch >= 1), 'prefetch', prefetch, `a whole number, ${workers ? 1 : 0} or more`);
    check(!sampler || !shuffle, 'shuffle', shuffle, 'no shuffle with a sampler: the sampler gives the order');
    const plain = options.batchSize === undefined && !shuffle && !sampler && !dropLast;
    check(!batchSampler || plain, 'batchSampler', 'given', 'no batchSize, shuffle, sampler or dropLast with it: it gives the batches');
    if (isIterable(dataset)) {
      check(
        !shuffle && !sampler && !batchSampler,
        'the order',
        'given',
        'a dataset with items by index; shuffle a stream with its shuffle()',
      );
    } else {
      check(isCount(dataset.length) && dataset.length < 2 ** 31, 'dataset.length', dataset.length, 'a whole number below 2^31');
    }
    this.source = workers > 0 ? sourceOf(dataset) : null;
    check(workers === 0 || this.source !== null, 'workers', workers, 'a dataset made by workerDataset(), which a worker can build');
    this.dataset = dataset;
    this.batchSize = batchSampler ? 0 : batchSize;
    this.shuffle = shuffle;
    this.seed = seed;
    this.dropLast = dropLast;
    this.sampler = sampler;
    this.batchSampler = batchSampler;
    this.signal = signal;
    this.collate = collate;
    this.workers = workers;
    this.prefetch = prefetch;
    dropped.register(this, this.threads);
  }

  /**
   * Batches in an epoch; Infinity for a stream, whose end shows only when it comes. With a batchSampler whose number
   * of batches changes, those of the epoch that is running, or comes next.
   */
  get length(): number {
    if (isIterable(this.dataset)) return Number.POSITIVE_INFINITY;
    if (this.batchSampler) return this.batchSampler.length ?? this.sampledBatches(this.epoch).length;
    const full = (this.sampler ?? this.dataset).length / this.batchSize;
    return this.dropLast ? Math.floor(full) : Math.ceil(full);
  }

  /** The order of an epoch: index of each item in the dataset. */
  order(epoch: number): Int32Array {
    if (isIterable(this.dataset)) throw new ArgumentError('a stream has no order of indices', { op: 'DataLoader' });
    if (this.batchSampler) {
      const batches = this.sampledBatches(epoch);
      const order = new Int32Array(batches.reduce((sum, batch) => sum + batch.length, 0));
      let at = 0;
      for (const batch of batches) {
        order.set(batch, at);
        at += batch.length;
      }
      return order;
    }
    if (this.sampler) return this.sampler.order(epoch);
    if (this.shuffle) return permutation(this.dataset.length, this.seed, epoch);
    const order = new Int32Array(this.dataset.length);
    for (let i = 0; i < order.length; i++) order[i] = i;
    return order;
  }

  private sampledBatches(epoch: number): Int32Array[] {
    if (this.planned?.epoch !== epoch) this.planned = { epoch, batches: this.batchSampler?.batches(epoch) ?? [] };
    return this.planned.batches;
  }

  private plan(dataset: Dataset<T>, epoch: number): Plan {
    const order = this.order(epoch);
    const custom = this.sampler ?? this.batchSampler;
    if (custom) {
      for (const index of order) {
        check(isCount(index) && index < dataset.length, 'an index of the sampler', index, `a whole number below ${dataset.length}`);
      }
    }
    const repeats = custom ? countRepeats(order, dataset.length) : null;
    if (!this.batchSampler) {
      const place = (batch: number): [number, number] => [batch * this.batchSize, (batch + 1) * this.batchSize];
      const count = this.dropLast ? Math.floor(order.length / this.batchSize) : Math.ceil(order.length / this.batchSize);
      return { count, indices: (k) => order.slice(...place(k)), repeats: (k) => repeats?.slice(...place(k)) ?? null };
    }
    const ends: number[] = [];
    let at = 0;
    for (const batch of this.sampledBatches(epoch)) {
      at += batch.length;
      ends.push(at);
    }
    const place = (batch: number): [number, number] => [batch === 0 ? 0 : ends[batch - 1], ends[batch]];
    return { count: ends.length, indices: (k) => order.slice(...place(k)), repeats: (k) => repeats?.slice(...place(k)) ?? null };
  }

  /** Batches made in this thread. */
  private makeHere(dataset: Dataset<T> & Partial<Pick<BatchedDataset<T, B>, 'getBatch'>>, epoch: number, plan: Plan) {
    const { seed } = this;
    return async (batch: number): Promise<B> => {
      const indices = plan.indices(batch);
      const repeats = plan.repeats(batch);
      const context: BatchContext = { epoch, rng: (i) => itemRandom(seed, epoch, indices[i], repeats?.[i] ?? 0) };
      if (!this.collate && dataset.getBatch) return dataset.getBatch(indices, context);
      return this.finish(await getItems(dataset, indices, context), indices);
    };
  }

  /** Without a collate function a batch is the array of items: the overloads fix B to T[] then. */
  private finish(items: T[], indices: Int32Array): B | Promise<B> {
    return this.collate ? this.collate(items, indices) : (items as B);
  }

  /** The batches of an epoch from `first` on, each begun when it is asked for. `null`: there is none. */
  private begin(epoch: number, first: number, pool: DataPool | null): { next(): Pending<B> | null; stop(): void } {
    const { dataset, seed } = this;
    const nothing = (): void => undefined;
    let batch = first;
    if (isIterable(dataset)) {
      const unknown = new Int32Array(this.batchSize).fill(-1);
      const finish = async (items: T[]): Promise<B | typeof end> =>
        this.dropLast && items.length < this.batchSize ? end : this.finish(items, unknown.subarray(0, items.length));
      if (!pool) {
        const wants = (position: number): boolean => position >= first * this.batchSize;
        const source = groups((dataset as IterableDataset<T>).iterate({ epoch, seed, wants }), this.batchSize);
        const next = async (): Promise<B | typeof end> => {
          const { done, value } = await source.next();
          return done ? end : finish(value);
        };
        return { next: () => ({ batch: next(), id: null }), stop: () => void source.return().catch(nothing) };
      }
      const stream = this.streams++;
      const parts = pool.size;
      for (let thread = 0; thread < parts; thread++) {
        const from = first + thread;
        void pool.tell({ kind: 'open', stream, seed, epoch, batchSize: this.batchSize, first: from, parts }, thread).catch(nothing);
      }
      const next = (): Pending<B> => {
        const { id, answer } = pool.request({ kind: 'next', stream }, (batch++ - first) % parts);
        return { id, batch: answer.then((reply) => (reply.done ? end : finish(reply.batch as T[]))) };
      };
      return { next, stop: () => void pool.tell({ kind: 'end', stream }).catch(nothing) };
    }
    const plan = this.plan(dataset, epoch);
    const here = this.makeHere(dataset, epoch, plan);
    const next = (): Pending<B> | null => {
      if (batch >= plan.count) return null;
      const at = batch++;
      if (!pool) return { id: null, batch: here(at) };
      const indices = plan.indices(at);
      const items = this.collate !== undefined;
      const { id, answer } = pool.request({ kind: 'batch', seed, epoch, indices, repeats: plan.repeats(at), items });
      return { id, batch: answer.then((reply) => (items ? this.finish(reply.batch as T[], indices) : (reply.batch as B))) };
    };
    return { next, stop: nothing };
  }

  private openPool(): DataPool | null {
    if (!this.source) return null;
    if (!this.threads.pool || this.threads.pool.isEnded) this.threads.pool = new DataPool(this.source, this.workers);
    return this.threads.pool;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<B, void, void> {
    if (!this.resume) {
      this.epoch++;
      this.batch = 0;
    }
    this.resume = false;
    this.signal?.throwIfAborted();
    // Held here, so that two iterations at a time do not disturb each other.
    const epoch = this.epoch;
    let delivered = this.batch;
    const pool = this.openPool();
    const making = this.begin(epoch, delivered, pool);
    const ahead: Pending<B>[] = [];
    const fill = (depth: number): void => {
      while (ahead.length < depth) {
        const pending = making.next();
        if (!pending) return;
        // It may fail before its turn has come.
        pending.batch.catch(() => undefined);
        ahead.push(pending);
      }
    };
    let visited = performance.now();
    const abort = pool ? abortPromise(this.signal, pool) : null;
    try {
      for (;;) {
        if (performance.now() - visited >= eventLoopInterval) {
          await nextMacrotask();
          visited = performance.now();
        }
        this.signal?.throwIfAborted();
        fill(Math.max(1, this.prefetch));
        const pending = ahead.shift();
        if (!pending) return;
        const ready = abort ? Promise.race([pending.batch, abort.promise]) : pending.batch;
        const batch = await (pool ? pool.whileHeld(ready) : ready);
        if (batch === end) return;
        // The next ones are made while this one is used.
        fill(this.prefetch);
        this.epoch = epoch;
        this.batch = ++delivered;
        yield batch;
      }
    } finally {
      abort?.stop();
      making.stop();
      void pool?.forget(ahead.flatMap(({ id }) => (id === null ? [] : [id]))).catch(() => undefined);
    }
  }

  /** Where the stream of batches is now. */
  state(): DataLoaderState {
    const done = !this.resume && this.batch >= this.length;
    return {
      epoch: done ? this.epoch + 1 : this.epoch,
      batch: done ? 0 : this.batch,
      seed: this.seed,
      batchSize: this.batchSize,
      datasetLength: this.datasetLength,
    };
  }

  private get datasetLength(): number {
    return isIterable(this.dataset) ? -1 : this.dataset.length;
  }

  /**
   * The next iteration goes on from this position.
   * @throws ArgumentError when the state is of another dataset or batch size.
   */
  load(state: DataLoaderState): void {
    const { datasetLength } = this;
    check(state.datasetLength === datasetLength, 'state.datasetLength', state.datasetLength, `${datasetLength}`);
    check(state.batchSize === this.batchSize, 'state.batchSize', state.batchSize, `${this.batchSize}`);
    check(Number.isSafeInteger(state.seed), 'state.seed', state.seed, 'a safe integer');
    check(isCount(state.epoch), 'state.epoch', state.epoch, 'a whole number, 0 or more');
    const length = this.batchSampler ? this.sampledBatches(state.epoch).length : this.length;
    check(isCount(state.batch) && state.batch <= length, 'state.batch', state.batch, `a number from 0 to ${length}`);
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

  /** Ends the workers. A later iteration starts new ones. */
  async close(): Promise<void> {
    const { pool } = this.threads;
    this.threads.pool = null;
    await pool?.end(new ArgumentError('the loader was closed', { op: 'DataLoader', expected: 'no iteration in progress' }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A promise that fails when the signal is aborted, which ends the workers at once, in the middle of a batch too. */
function abortPromise(signal: AbortSignal | undefined, pool: DataPool): { readonly promise: Promise<never>; stop(): void } | null {
  if (!signal) return null;
  let stop = (): void => undefined;
  const promise = new Promise<never>((_, reject) => {
    const aborted = (): void => {
      void pool.end(signal.reason);
      reject(signal.reason);
    };
    signal.addEventListener('abort', aborted, { once: true });
    stop = () => signal.removeEventListener('abort', aborted);
  });
  promise.catch(() => undefined);
  return { promise, stop: () => stop() };
}
