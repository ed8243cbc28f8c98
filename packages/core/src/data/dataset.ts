/** Map-style datasets: a length and a way to get item i. */
import { ArgumentError, ShapeError } from '../errors.js';
import { ItemRandom } from './item-random.js';
import { PhiloxStream, philoxDomain } from './philox.js';

/** What a DataLoader tells with each index. */
export interface ItemContext {
  readonly epoch: number;
  /**
   * Random numbers of this item in this epoch: a function of (seed, epoch, index) alone, so an augmentation is the same
   * with any number of workers and after resuming. An item that a sampler draws again in the same epoch gets others.
   */
  readonly rng: ItemRandom;
}

/** What a DataLoader tells with the indices of a batch. */
export interface BatchContext {
  readonly epoch: number;
  /** The random numbers of the item at this place of the batch, see {@link ItemContext}. */
  rng(position: number): ItemRandom;
}

/**
 * Anything with a length and items by index. `get` may be asynchronous (files, a database). A DataLoader always gives
 * the second argument, so an augmenting dataset may declare it: `get(index: number, { rng }: ItemContext)`.
 */
export interface Dataset<T> {
  readonly length: number;
  get(index: number, context?: ItemContext): T | Promise<T>;
}

/** A dataset that can make a whole batch at once, faster than item by item. */
export interface BatchedDataset<T, B> extends Dataset<T> {
  getBatch(indices: Int32Array, context?: BatchContext): B | Promise<B>;
}

/** The random numbers of an item, see {@link ItemContext}. `repeat`: how often it came before in this epoch. */
export function itemRandom(seed: number, epoch: number, index: number, repeat = 0): ItemRandom {
  const own = repeat === 0 ? seed : new PhiloxStream(seed, repeat, philoxDomain.item).below(0, 2 ** 53);
  return new ItemRandom(own, index, epoch);
}

/** The context of an item; its random numbers are made when they are asked for. */
export function itemContext(seed: number, epoch: number, index: number, repeat = 0): ItemContext {
  let made: ItemRandom | undefined;
  return {
    epoch,
    get rng(): ItemRandom {
      made ??= itemRandom(seed, epoch, index, repeat);
      return made;
    },
  };
}

export type FieldArray = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array | BigInt64Array | Uint16Array;

/** One named array of a dataset: `length * product(shape)` elements; `shape` is that of one item ([] for a scalar). */
export interface Field<A extends FieldArray = FieldArray> {
  readonly data: A;
  readonly shape: readonly number[];
}

export type Fields = Readonly<Record<string, Field>>;

/** An item: for each field a view of its elements. */
export type FieldItem<F extends Fields> = { readonly [K in keyof F]: F[K]['data'] };
/** A batch: for each field the stacked elements and the shape with the batch size in front. */
export type FieldBatch<F extends Fields> = { readonly [K in keyof F]: Field<F[K]['data']> };

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

function subarray<A extends FieldArray>(data: A, begin: number, end: number): A {
  return data.subarray(begin, end) as A;
}

function emptyLike<A extends FieldArray>(data: A, length: number): A {
  const constructor = data.constructor as new (length: number) => A;
  return new constructor(length);
}

/**
 * Typed arrays in memory, one per field, sharing the first axis.
 *
 * `new ArrayDataset({ image: { data: pixels, shape: [1, 28, 28] }, label: { data: labels, shape: [] } })`
 *
 * @throws ShapeError when the fields disagree about the number of items.
 */
export class ArrayDataset<F extends Fields> implements BatchedDataset<FieldItem<F>, FieldBatch<F>> {
  readonly length: number;
  readonly fields: F;
  private readonly names: readonly (keyof F & string)[];

  constructor(fields: F) {
    this.fields = fields;
    this.names = Object.keys(fields);
    let length: number | null = null;
    for (const name of this.names) {
      const { data, shape } = fields[name];
      const size = elements(shape);
      if (!Number.isSafeInteger(size) || size < 1 || data.length % size !== 0) {
        throw new ShapeError(`field ${name} has ${data.length} elements and items of shape [${shape.join(', ')}]`, {
          op: 'ArrayDataset',
          received: data.length,
          expected: `a multiple of ${size} elements`,
        });
      }
      const items = data.length / size;
      if (length !== null && items !== length) {
        throw new ShapeError(`field ${name} has ${items} items, ${this.names[0]} has ${length}`, {
          op: 'ArrayDataset',
          received: items,
          expected: 'the same number of items in every field',
        });
      }
      length = items;
    }
    if (length === null) throw new ArgumentError('there are no fields', { op: 'ArrayDataset', expected: 'at least one field' });
    this.length = length;
  }

  get(index: number): FieldItem<F> {
    this.check(index);
    const item: Partial<Record<keyof F, FieldArray>> = {};
    for (const name of this.names) {
      const { data, shape } = this.fields[name];
      const size = elements(shape);
      item[name] = subarray(data, index * size, (index + 1) * size);
    }
    return item as FieldItem<F>;
  }

  /** Copies the items into new arrays of shape [indices.length, ...shape]. */
  getBatch(indices: Int32Array): FieldBatch<F> {
    for (const index of indices) this.check(index);
    const batch: Partial<Record<keyof F, Field>> = {};
    for (const name of this.names) {
      const { data, shape } = this.fields[name];
      batch[name] = { data: gather(data, elements(shape), indices), shape: [indices.length, ...shape] };
    }
    return batch as FieldBatch<F>;
  }

  /** The dataset of the given items, copied, in the given order. */
  subset(indices: Int32Array): ArrayDataset<F> {
    for (const index of indices) this.check(index);
    const fields: Partial<Record<keyof F, Field>> = {};
    for (const name of this.names) {
      const { data, shape } = this.fields[name];
      fields[name] = { data: gather(data, elements(shape), indices), shape };
    }
    return new ArrayDataset(fields as F);
  }

  private check(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new ArgumentError(`there is no item ${index}`, {
        op: 'ArrayDataset',
        received: index,
        expected: `a whole number from 0 to ${this.length - 1}`,
      });
    }
  }
}

function gather<A extends FieldArray>(data: A, size: number, indices: Int32Array): A {
  const out = emptyLike(data, indices.length * size);
  if (size === 1) {
    for (let i = 0; i < indices.length; i++) out[i] = data[indices[i]];
    return out;
  }
  for (let i = 0; i < indices.length; i++) {
    // `set` of a matching view: both arrays were made by the same constructor.
    (out as Float32Array).set(subarray(data, indices[i] * size, (indices[i] + 1) * size) as Float32Array, i * size);
  }
  return out;
}
