/** Where batches come from: loaders, iterables, or tensors in memory; and into tensors. */

import type { Field } from '../data/dataset.js';
import { permutation } from '../data/philox.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { tensor } from '../ops/create.js';
import { indexSelect } from '../ops/gather.js';
import { TensorBase } from '../tensor/base.js';
import type { Tensor } from '../tensor/tensor.js';
import { flattenTree, mapTree } from '../tensor/tree.js';
import type { TensorTree } from './types.js';

/** Inputs and targets of one step. */
export type Pair<In, Target> = readonly [inputs: In, targets: Target];

/** Tensors in memory, sliced into batches along their first axis. */
export interface MemoryData<In, Target> {
  readonly x: In;
  readonly y: Target;
  /** 32 unless told otherwise. */
  readonly batchSize?: number;
  /** A new order each epoch, by the seed given to fit(). Default: true for training; evaluation keeps the order. */
  readonly shuffle?: boolean;
  /** Leave out the last batch of an epoch when it is not full. */
  readonly dropLast?: boolean;
}

/** Anything that gives batches epoch by epoch: a DataLoader, an (async) iterable, an array of batches. */
export interface BatchIterable<B> {
  [Symbol.asyncIterator]?(): AsyncIterator<B>;
  [Symbol.iterator]?(): Iterator<B>;
  /** Batches in an epoch. */
  readonly length?: number;
  /** The next iteration is this epoch, counted from 0. */
  setEpoch?(epoch: number): void;
  /** The position after the current batch, plain data. */
  state?(): unknown;
  /** Continue from there. */
  load?(state: never): void;
}

/** What fit() and evaluate() read batches from. */
export type TrainData<In, Target, B> = BatchIterable<B> | MemoryData<In, Target>;

/** One source of batches, as training uses it. */
export interface BatchSource<B> {
  /** Batches in an epoch; null when unknown. */
  readonly length: number | null;
  /** The batches of an epoch (from 0), from batch `first` on. */
  open(epoch: number, first: number, position: unknown): AsyncIterator<B> | Iterator<B>;
  /** The position after the batch delivered last, for a checkpoint; null when the source keeps none. */
  position(): unknown;
  /** Tensors of a batch are made for it and may be freed after it. */
  readonly owned: boolean;
  /** Batches are pairs of tensors: a `toTensors` meant for other data does not apply. */
  readonly paired: boolean;
}

function isMemory<In, Target, B>(data: TrainData<In, Target, B>): data is MemoryData<In, Target> {
  return 'x' in data && 'y' in data;
}

/** Items in a batch: the first dimension of its first tensor, 1 for a 0-d one. */
export function batchSizeOf(inputs: unknown): number {
  const tensors: Tensor[] = [];
  flattenTree(inputs, tensors, []);
  return tensors[0]?.shape[0] ?? 1;
}

class MemorySource<In, Target> implements BatchSource<Pair<In, Target>> {
  readonly length: number;
  readonly owned = true;
  readonly paired = true;
  private readonly data: MemoryData<In, Target>;
  private readonly items: number;
  private readonly batchSize: number;
  private readonly shuffle: boolean;
  private readonly seed: number;

  constructor(data: MemoryData<In, Target>, seed: number, training: boolean) {
    const { batchSize = 32, shuffle = training, dropLast = false } = data;
    const tensors: Tensor[] = [];
    flattenTree(data.x, tensors, []);
    flattenTree(data.y, tensors, []);
    const items = tensors[0]?.shape[0] ?? 0;
    const odd = tensors.find((t) => t.shape[0] !== items);
    if (odd !== undefined || items === 0) {
      throw new ShapeError(`x and y have shapes ${tensors.map((t) => formatShape(t.shape)).join(', ')}`, {
        op: 'fit',
        received: tensors.map((t) => t.shape),
        expected: 'tensors with one, the same, first dimension of at least 1: the items',
      });
    }
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
      throw new ArgumentError(`batchSize is ${batchSize}`, { op: 'fit', received: batchSize, expected: 'a whole number, 1 or more' });
    }
    this.data = data;
    this.items = items;
    this.batchSize = batchSize;
    this.shuffle = shuffle;
    this.seed = seed;
    this.length = dropLast ? Math.floor(items / batchSize) : Math.ceil(items / batchSize);
  }

  *open(epoch: number, first: number): Iterator<Pair<In, Target>> {
    const order = this.shuffle ? permutation(this.items, this.seed, epoch) : null;
    for (let batch = first; batch < this.length; batch++) {
      const start = batch * this.batchSize;
      const end = Math.min(this.items, start + this.batchSize);
      const index = order === null ? null : tensor(order.slice(start, end));
      const pick = (t: Tensor): Tensor => (index === null ? t.slice([[start, end]]) : indexSelect(t, 0, index));
      const made = [select(this.data.x, pick), select(this.data.y, pick)] as unknown as Pair<In, Target>;
      index?.dispose();
      yield made;
    }
  }
  position(): null {
    return null;
  }
}

function select(value: unknown, pick: (t: Tensor) => Tensor): unknown {
  const tensors: Tensor[] = [];
  flattenTree(value, tensors, []);
  return mapTree(value, (k) => pick(tensors[k]));
}

class IterableSource<B> implements BatchSource<B> {
  readonly owned: boolean;
  readonly paired = false;
  private readonly data: BatchIterable<B>;

  constructor(data: BatchIterable<B>) {
    this.data = data;
    this.owned = !Array.isArray(data);
  }
  /** Asked anew each time: samplers may cut every epoch into another number of batches. */
  get length(): number | null {
    const { length } = this.data;
    return typeof length === 'number' && Number.isFinite(length) ? length : null;
  }

  open(epoch: number, first: number, position: unknown): AsyncIterator<B> | Iterator<B> {
    const { data } = this;
    // The last batch of the epoch was delivered before the checkpoint.
    const done = (this.length !== null && first > 0 && first >= this.length) || epochOf(position) > epoch;
    if (done) return [][Symbol.iterator]();
    if (first > 0 && data.load && position !== null && position !== undefined) {
      data.load(position as never);
      return iterate(data);
    }
    data.setEpoch?.(epoch);
    return first === 0 ? iterate(data) : skip(iterate(data), first);
  }
  position(): unknown {
    return this.data.state?.() ?? null;
  }
}

function epochOf(position: unknown): number {
  const known = typeof position === 'object' && position !== null && 'epoch' in position && typeof position.epoch === 'number';
  return known ? (position.epoch as number) : -1;
}

function iterate<B>(data: BatchIterable<B>): AsyncIterator<B> | Iterator<B> {
  const iterator = data[Symbol.asyncIterator]?.() ?? data[Symbol.iterator]?.();
  if (iterator === undefined) {
    throw new ArgumentError('the data gives no batches', {
      op: 'fit',
      received: typeof data,
      expected: 'a DataLoader, an iterable of batches, or { x, y } of tensors',
    });
  }
  return iterator;
}

/** A source that cannot jump is read to where it was. */
async function* skip<B>(iterator: AsyncIterator<B> | Iterator<B>, count: number): AsyncGenerator<B, void, void> {
  for (let i = 0; ; i++) {
    const next = await iterator.next();
    if (next.done) return;
    if (i >= count) yield next.value;
    else disposeTree(next.value);
  }
}

export function sourceOf<In, Target, B>(
  data: TrainData<In, Target, B>,
  seed: number,
  training: boolean,
): BatchSource<B | Pair<In, Target>> {
  return isMemory(data) ? new MemorySource(data, seed, training) : new IterableSource(data);
}

/** Frees the tensors of a batch, those given to keep() excepted. */
export function disposeTree(value: unknown): void {
  const tensors: Tensor[] = [];
  flattenTree(value, tensors, []);
  for (const t of tensors) if (!t.kept) t.dispose();
}

/** The batch as inputs and targets. @throws ArgumentError when it is neither a pair nor converted by toTensors */
export function pairOf<In, Target, B>(
  batch: B | Pair<In, Target>,
  toTensors: ((batch: B) => Pair<In, Target>) | undefined,
): Pair<In, Target> {
  if (toTensors !== undefined) return toTensors(batch as B);
  const pair = batch as Pair<In, Target>;
  if (Array.isArray(batch) && batch.length === 2 && isTensors(pair[0]) && isTensors(pair[1])) return pair;
  throw new ArgumentError('a batch is no pair [inputs, targets] of tensors', {
    op: 'fit',
    received: typeof batch === 'object' && batch !== null ? Object.keys(batch) : batch,
    expected: '[inputs, targets]',
    fix: "Pass toTensors, which makes one: toTensors: fieldsToTensors('image', 'label').",
  });
}

function isTensors(value: unknown): value is TensorTree {
  if (value instanceof TensorBase) return true;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false;
  const parts = Object.values(value);
  return parts.length > 0 && parts.every(isTensors);
}

/** A field of a batch as a tensor; 16-bit unsigned numbers, for which there is no dtype, become int32. */
export function fieldTensor({ data, shape }: Field): Tensor {
  return tensor(data instanceof Uint16Array ? Int32Array.from(data) : data, { shape: [...shape] });
}

/**
 * A `toTensors` for batches of named fields (those of ArrayDataset): `inputs` and `targets` name one field each, or several,
 * which become the arguments of forward() and a list of targets.
 */
export function fieldsToTensors<I extends string | readonly string[], T extends string | readonly string[]>(
  inputs: I,
  targets: T,
): (
  batch: Readonly<Record<string, Field>>,
) => Pair<I extends string ? Tensor : readonly Tensor[], T extends string ? Tensor : readonly Tensor[]> {
  return (batch) => {
    const one = (name: string): Tensor => {
      const field = Object.hasOwn(batch, name) ? batch[name] : undefined;
      if (field === undefined) {
        throw new ArgumentError(`the batch has no field ${name}`, { op: 'fieldsToTensors', received: Object.keys(batch), expected: name });
      }
      return fieldTensor(field);
    };
    const all = (names: string | readonly string[]): Tensor | readonly Tensor[] =>
      typeof names === 'string' ? one(names) : names.map(one);
    return [all(inputs), all(targets)] as unknown as ReturnType<ReturnType<typeof fieldsToTensors<I, T>>>;
  };
}
