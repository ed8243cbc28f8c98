/** Batches of spectrograms. The datasets are made of plain options, so that threads can make their own copies. */
import { type Collated, DataLoader, type Dataset, type Field, fieldCollate, type ItemContext, workerDataset } from 'trireme/data';
import { bands, frames, inputOf, variedInput } from './features.js';
import { readRecordings, type Recording, type Source } from './recordings.js';

export interface Item {
  /** [1, bands, frames] */
  readonly input: Field<Float32Array>;
  readonly label: number;
}
