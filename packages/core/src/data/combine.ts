/** Datasets made of other map-style datasets. */
import { ArgumentError } from '../errors.js';
import { type BatchContext, type BatchedDataset, type Dataset, type ItemContext, itemContext } from './dataset.js';

function checkIndex(op: string, index: number, length: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new ArgumentError(`there is no item ${index}`, { op, received: index, expected: `a whole number from 0 to ${length - 1}` });
  }
}

/** Calls `next` with the value, at once when it is there already: most datasets are in memory, and a promise an item costs. */
function then<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/**
 * Every item passed through a function, when it is asked for: decoding, augmentation.
 * `mapDataset(files, (file, { rng }) => augment(decode(file), rng))`
 */
export function mapDataset<T, U>(
  dataset: Dataset<T>,
  transform: (item: T, context: ItemContext, index: number) => U | Promise<U>,
): Dataset<U> {
  return {
    get length() {
      return dataset.length;
    },
    get(index, context = itemContext(0, 0, index)) {
      return then(dataset.get(index, context), (item) => transform(item, context, index));
    },
  };
}

/** The dataset's items at the given indices, in that order; an index may occur more than once. */
export function subset<T>(dataset: Dataset<T>, indices: ArrayLike<number>): Dataset<T> {
  const op = 'subset';
  const own = Int32Array.from(indices);
  for (const index of own) checkIndex(op, index, dataset.length);
  return {
    length: own.length,
    get(index, context) {
      checkIndex(op, index, own.length);
      return dataset.get(own[index], context);
    },
  };
}

/** The first `count` items; all when there are fewer. */
export function takeDataset<T>(dataset: Dataset<T>, count: number): Dataset<T> {
  return subset(
    dataset,
    Int32Array.from({ length: Math.min(count, dataset.length) }, (_, i) => i),
  );
}

/** The items that a function accepts. It sees every item once, here, so that the length is known. */
export async function filterDataset<T>(
  dataset: Dataset<T>,
  accept: (item: T, index: number) => boolean | Promise<boolean>,
): Promise<Dataset<T>> {
  const kept: number[] = [];
  for (let index = 0; index < dataset.length; index++) if (await accept(await dataset.get(index), index)) kept.push(index);
  return subset(dataset, kept);
}

/** One dataset after the other. */
export function concatDatasets<T>(...datasets: readonly Dataset<T>[]): Dataset<T> {
  const ends: number[] = [];
  let length = 0;
  for (const dataset of datasets) {
    length += dataset.length;
    ends.push(length);
  }
  return {
    length,
    get(index, context) {
      checkIndex('concatDatasets', index, length);
      const part = ends.findIndex((end) => index < end);
      return datasets[part].get(index - (part === 0 ? 0 : ends[part - 1]), context);
    },
  };
}

/**
 * Item i of every dataset, together.
 * @throws ArgumentError when the lengths differ.
 */
export function zipDatasets<const D extends readonly Dataset<unknown>[]>(
  ...datasets: D
): Dataset<{ -readonly [K in keyof D]: D[K] extends Dataset<infer T> ? T : never }> {
  type Item = { -readonly [K in keyof D]: D[K] extends Dataset<infer T> ? T : never };
  const length = datasets[0]?.length ?? 0;
  for (const [i, dataset] of datasets.entries()) {
    if (dataset.length !== length) {
      throw new ArgumentError(`dataset ${i} has ${dataset.length} items, dataset 0 has ${length}`, {
        op: 'zipDatasets',
        received: dataset.length,
        expected: 'datasets of one length',
        fix: 'Cut the longer ones with takeDataset.',
      });
    }
  }
  return {
    length,
    get(index, context) {
      const items = datasets.map((dataset) => dataset.get(index, context));
      return (items.some((item) => item instanceof Promise) ? Promise.all(items) : items) as Item | Promise<Item>;
    },
  };
}

/** The dataset with a way to make batches of its items; in a worker thread batches are made there, not by the loader. */
export function withCollate<T, B>(dataset: Dataset<T>, collate: (items: T[], indices: Int32Array) => B | Promise<B>): BatchedDataset<T, B> {
  return {
    get length() {
      return dataset.length;
    },
    get: (index, context) => dataset.get(index, context),
    async getBatch(indices, context) {
      return collate(await getItems(dataset, indices, context), indices);
    },
  };
}

/** The items at some indices, one after the other. `onItem` hears which one is being made. */
export async function getItems<T>(
  dataset: Dataset<T>,
  indices: Int32Array,
  context?: BatchContext,
  onItem?: (index: number) => void,
): Promise<T[]> {
  const items: T[] = [];
  for (let i = 0; i < indices.length; i++) {
    onItem?.(indices[i]);
    const own: ItemContext | undefined = context && {
      epoch: context.epoch,
      get rng() {
        return context.rng(i);
      },
    };
    const item = dataset.get(indices[i], own);
    items.push(item instanceof Promise ? await item : item);
  }
  return items;
}
