/** Spectrograms in batches, varied anew in each epoch for training. */
import { type Tensor, tensor } from 'trireme';
import {
  type BatchedDataset,
  type CollatedItem,
  DataLoader,
  type Field,
  fieldCollate,
  type ItemContext,
  withCollate,
  workerDataset,
} from 'trireme/data';
import type { Spectrum } from 'trireme/data/audio';
import { bands, frames, inputOf, variedInput } from './features.js';
import { type Recording, readRecordings, type Source } from './recordings.js';

interface Item {
  /** [1, bands, frames] */
  readonly input: Field<Float32Array>;
  readonly label: number;
}
type Batch = CollatedItem<Item>;

const fieldOf = ({ data, rows, frames }: Spectrum): Field<Float32Array> => ({ data, shape: [1, rows, frames] });

/** What the threads that make batches are told. */
export interface VariedOptions {
  readonly source: Source;
  /** Places of the recordings to train with. */
  readonly indices: Int32Array;
}

/** The training set; each thread makes one, and reads the recordings when the first item is asked for. */
export function makeVaried({ source, indices }: VariedOptions): BatchedDataset<Item, Batch> {
  let reading: Promise<Recording[]> | undefined;
  const items = {
    length: indices.length,
    async get(index: number, context?: ItemContext): Promise<Item> {
      reading ??= readRecordings(source);
      const { samples, digit } = (await reading)[indices[index]];
      return { input: fieldOf(context ? variedInput(samples, context.rng) : inputOf(samples)), label: digit };
    },
  };
  return withCollate(items, fieldCollate<Item>({ dtypes: { label: 'int32' } }));
}

/** Batches of varied recordings, made in a thread beside the training. */
export async function trainingBatches(options: VariedOptions, batchSize: number, seed: number): Promise<DataLoader<Item, Batch>> {
  const dataset = await workerDataset<BatchedDataset<Item, Batch>>(new URL('./batches.js', import.meta.url), 'makeVaried', options);
  return new DataLoader<Item, Batch>(dataset, { batchSize, seed, shuffle: true, dropLast: true, workers: 1, prefetch: 4 });
}

/** Inputs [n, 1, bands, frames] and digits [n] of recordings as they are. */
export function testTensors(recordings: readonly Recording[]): { readonly x: Tensor; readonly y: Tensor } {
  const size = bands * frames;
  const inputs = new Float32Array(recordings.length * size);
  recordings.forEach(({ samples }, i) => inputs.set(inputOf(samples).data, i * size));
  return {
    x: tensor(inputs, { shape: [recordings.length, 1, bands, frames] }),
    y: tensor(Int32Array.from(recordings, ({ digit }) => digit)),
  };
}
