/** Datasets that a worker thread can build for itself: a module, an export and plain options. */
import { ArgumentError, EnvironmentError, TriremeError } from '../errors.js';
import type { BatchedDataset, Dataset } from './dataset.js';
import { type IterableDataset, isIterable } from './iterable.js';

/** Where a dataset comes from: `(await import(module))[exportName](options)`. Plain data, so it goes to any thread. */
export interface DatasetSource {
  readonly module: string;
  readonly exportName: string;
  readonly options: unknown;
}

/** A dataset with the recipe for another one like it. */
export type WorkerDataset<D> = D & { readonly source: DatasetSource };

/** Any of the datasets a DataLoader takes. */
export type AnyDataset = Dataset<unknown> & Partial<Pick<BatchedDataset<unknown, unknown>, 'getBatch'>>;

/** Builds the dataset that a source describes. @throws EnvironmentError, ArgumentError */
export async function buildDataset(source: DatasetSource): Promise<AnyDataset | IterableDataset<unknown>> {
  const op = 'workerDataset';
  const { module, exportName, options } = source;
  let found: Record<string, unknown>;
  try {
    found = (await import(/* @vite-ignore */ /* webpackIgnore: true */ module)) as Record<string, unknown>;
  } catch (cause) {
    throw new EnvironmentError(`could not import ${module} (${cause instanceof Error ? cause.message : String(cause)})`, {
      op,
      received: module,
      fix: "Give the module's own address: new URL('./dataset.js', import.meta.url).",
      cause,
    });
  }
  const make = Object.hasOwn(found, exportName) ? found[exportName] : undefined;
  if (typeof make !== 'function') {
    throw new ArgumentError(`${module} exports no function ${exportName}`, {
      op,
      received: exportName,
      expected: `one of its exports: ${Object.keys(found).join(', ')}`,
    });
  }
  const dataset: unknown = await make(options);
  if (typeof dataset === 'object' && dataset !== null) {
    if (isIterable(dataset)) return dataset;
    if ('length' in dataset && 'get' in dataset && typeof dataset.get === 'function') return dataset as AnyDataset;
  }
  throw new ArgumentError(`${exportName} of ${module} returned no dataset`, {
    op,
    received: dataset,
    expected: 'an object with length and get(index), or an iterable dataset',
  });
}

/**
 * A dataset that the workers of a DataLoader can build too. It is built here once, for its length (and for a loader
 * without workers), and once in each worker, so the function should only open files and read indexes, not load all data.
 *
 * `await workerDataset<Item>(new URL('./dataset.js', import.meta.url), 'makeDataset', { folder: 'photos' })`
 *
 * @param module address of a JavaScript module; the worker imports it.
 * @param exportName name of the function that makes the dataset from `options` (or a promise of it).
 * @param options plain data (what structuredClone copies).
 * @throws EnvironmentError when the module cannot be imported, ArgumentError when it does not give a dataset.
 */
export async function workerDataset<D extends object = Dataset<unknown>>(
  module: URL | string,
  exportName: string,
  options?: unknown,
): Promise<WorkerDataset<D>> {
  let plain: unknown;
  try {
    plain = structuredClone(options);
  } catch (cause) {
    throw new ArgumentError('the options cannot be sent to a worker', {
      op: 'workerDataset',
      received: options,
      expected: 'plain data, without functions and class instances',
      cause,
    });
  }
  const source: DatasetSource = { module: String(module), exportName, options: plain };
  try {
    const dataset = await buildDataset(source);
    return Object.assign(dataset, { source }) as unknown as WorkerDataset<D>;
  } catch (cause) {
    if (cause instanceof TriremeError) throw cause;
    throw new ArgumentError(`${exportName} failed (${cause instanceof Error ? cause.message : String(cause)})`, {
      op: 'workerDataset',
      cause,
    });
  }
}

/** The source of a dataset made by {@link workerDataset}. */
export function sourceOf(dataset: object): DatasetSource | null {
  return 'source' in dataset && typeof dataset.source === 'object' ? (dataset.source as DatasetSource | null) : null;
}
