/**
 * A thread that makes batches, in Node and in browsers: it builds its own copy of the dataset, then answers one task
 * after the other. Arrays that fill their whole buffer are moved to the loader, not copied.
 */
import { getItems } from './combine.js';
import { type BatchContext, itemRandom } from './dataset.js';
import { groups, type IterableDataset, isIterable } from './iterable.js';
import { type AnyDataset, buildDataset, type DatasetSource } from './worker-dataset.js';

export interface InitTask {
  readonly kind: 'init';
  readonly source: DatasetSource;
}
/** A batch of the items at these indices. */
export interface BatchTask {
  readonly kind: 'batch';
  readonly id: number;
  readonly seed: number;
  readonly epoch: number;
  readonly indices: Int32Array;
  /** How often each item came before in the epoch; null: each is the first of its kind. */
  readonly repeats: Int32Array | null;
  /** Answer with the items, also where the dataset makes batches. */
  readonly items: boolean;
}
/** Starts reading a stream, every `parts`-th batch from `first` on. */
export interface OpenTask {
  readonly kind: 'open';
  readonly stream: number;
  readonly seed: number;
  readonly epoch: number;
  readonly batchSize: number;
  readonly first: number;
  readonly parts: number;
}
/** The next batch of a stream. */
export interface NextTask {
  readonly kind: 'next';
  readonly id: number;
  readonly stream: number;
}
/** Ends a stream. */
export interface EndTask {
  readonly kind: 'end';
  readonly stream: number;
}
/** Forgets tasks that have not begun. */
export interface CancelTask {
  readonly kind: 'cancel';
  readonly ids: readonly number[];
}
export type DataTask = InitTask | BatchTask | OpenTask | NextTask | EndTask | CancelTask;

export type DataReply =
  | { readonly kind: 'ready' }
  /** `done`: the stream has no more batches. */
  | { readonly kind: 'batch'; readonly id: number; readonly batch: unknown; readonly done: boolean }
  | {
      readonly kind: 'error';
      /** -1: the dataset could not be built. */
      readonly id: number;
      /** The item that failed, -1 when it was none. */
      readonly index: number;
      readonly name: string;
      readonly message: string;
      readonly stack: string;
    };

interface Port {
  post(reply: DataReply, transfer: ArrayBuffer[]): void;
  listen(handler: (task: DataTask) => void): void;
}

async function openPort(): Promise<Port> {
  if (typeof process === 'object' && typeof process.versions?.node === 'string') {
    // A variable keeps bundlers from following the import into browser builds.
    const specifier: string = 'node:worker_threads';
    const { parentPort } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier)) as typeof import('node:worker_threads');
    if (!parentPort) throw new Error('this file runs as a worker only');
    return {
      post: (reply, transfer) => parentPort.postMessage(reply, transfer),
      listen: (handler) => void parentPort.on('message', handler),
    };
  }
  const scope = self as unknown as {
    postMessage(message: unknown, transfer: Transferable[]): void;
    onmessage: ((event: MessageEvent<DataTask>) => void) | null;
  };
  return {
    post: (reply, transfer) => scope.postMessage(reply, transfer),
    listen: (handler) => {
      scope.onmessage = (event) => handler(event.data);
    },
  };
}

/** Buffers that have been moved away, to notice a dataset that gives the same array twice. */
const moved = new WeakSet<ArrayBuffer>();

/**
 * The value with every array that is a part of a larger buffer copied (its buffer is the dataset's own), and the
 * buffers to move. Anything but plain objects, arrays and maps is left to the structured clone.
 */
function pack(value: unknown, buffers: Set<ArrayBuffer>, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > 32) return value;
  if (ArrayBuffer.isView(value)) {
    const { buffer } = value;
    if (!(buffer instanceof ArrayBuffer)) return value; // shared memory stays where it is
    if (moved.has(buffer)) {
      throw new Error('the dataset gave an array that is part of an earlier batch: arrays are moved to the loader, give a copy (slice())');
    }
    if (value.byteLength === buffer.byteLength && value.byteLength > 0) {
      buffers.add(buffer);
      return value;
    }
    if (value instanceof DataView) return value;
    return (value as unknown as Uint8Array).slice();
  }
  if (Array.isArray(value)) return value.map((element) => pack(element, buffers, depth + 1));
  if (value instanceof Map) return new Map([...value].map(([key, element]) => [key, pack(element, buffers, depth + 1)]));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, pack(element, buffers, depth + 1)]));
}

interface Stream {
  readonly iterator: AsyncIterator<unknown[]>;
}

async function main(): Promise<void> {
  const port = await openPort();
  const queue: DataTask[] = [];
  const streams = new Map<number, Stream>();
  let dataset: AnyDataset | IterableDataset<unknown> | null = null;
  let current = -1;
  let busy = false;

  const fail = (id: number, index: number, error: unknown): void => {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    port.post({ kind: 'error', id, index, name, message, stack: stack ?? `${name}: ${message}` }, []);
  };

  const answer = (id: number, batch: unknown, done: boolean): void => {
    const buffers = new Set<ArrayBuffer>();
    const packed = pack(batch, buffers);
    port.post({ kind: 'batch', id, batch: packed, done }, [...buffers]);
    for (const buffer of buffers) moved.add(buffer);
  };

  async function serve(task: DataTask): Promise<void> {
    switch (task.kind) {
      case 'init':
        dataset = await buildDataset(task.source);
        port.post({ kind: 'ready' }, []);
        return;
      case 'batch': {
        if (!dataset || isIterable(dataset)) throw new Error('the dataset has no items by index');
        const { indices, repeats, seed, epoch } = task;
        const context: BatchContext = { epoch, rng: (i) => itemRandom(seed, epoch, indices[i], repeats?.[i] ?? 0) };
        if (dataset.getBatch && !task.items) {
          answer(task.id, await dataset.getBatch(indices, context), false);
          return;
        }
        const items = await getItems(dataset, indices, context, (index) => {
          current = index;
        });
        current = -1;
        answer(task.id, items, false);
        return;
      }
      case 'open': {
        if (!dataset || !isIterable(dataset)) throw new Error('the dataset is no stream');
        const { seed, epoch, batchSize, first, parts } = task;
        const wants = (position: number): boolean => {
          const batch = Math.floor(position / batchSize) - first;
          return batch >= 0 && batch % parts === 0;
        };
        const batches = groups(dataset.iterate({ seed, epoch, wants }), batchSize);
        streams.set(task.stream, { iterator: batches[Symbol.asyncIterator]() });
        return;
      }
      case 'next': {
        const stream = streams.get(task.stream);
        if (!stream) throw new Error(`stream ${task.stream} is not open`);
        const { done, value } = await stream.iterator.next();
        answer(task.id, done ? null : value, done === true);
        return;
      }
      case 'end': {
        const stream = streams.get(task.stream);
        streams.delete(task.stream);
        await stream?.iterator.return?.();
        return;
      }
      case 'cancel':
        return;
      default:
        task satisfies never;
    }
  }

  async function work(): Promise<void> {
    if (busy) return;
    busy = true;
    for (let task = queue.shift(); task; task = queue.shift()) {
      current = -1;
      try {
        await serve(task);
      } catch (error) {
        fail('id' in task ? task.id : -1, current, error);
      }
    }
    busy = false;
  }

  port.listen((task) => {
    if (task.kind === 'cancel') {
      const ids = new Set(task.ids);
      for (let i = queue.length - 1; i >= 0; i--) {
        const waiting = queue[i];
        if ('id' in waiting && ids.has(waiting.id)) queue.splice(i, 1);
      }
      return;
    }
    queue.push(task);
    void work();
  });
}

void main();
