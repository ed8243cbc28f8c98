/** The same training in PyTorch: numbers that tools/reference/moby_gpt.py has written. */
import { readFile } from 'node:fs/promises';
import type { GptOptions } from './model.js';
import type { TrainingOptions } from './training.js';

export interface Reference {
  readonly reference: string;
  readonly options: TrainingOptions & GptOptions;
  readonly parameters: number;
  readonly characters: number;
  /** Loss of each batch. */
  readonly train: readonly number[];
  /** Loss of the held-out text after each epoch. */
  readonly validation: readonly number[];
  readonly seconds: number;
}

/** The committed numbers. */
export async function readReference(): Promise<Reference> {
  return JSON.parse(await readFile(new URL('../data/pytorch.json', import.meta.url), 'utf8')) as Reference;
}

/** Whether a run has the same options as the reference. */
export function isComparable({ options }: Reference, own: TrainingOptions & GptOptions): boolean {
  return Object.entries(options).every(([name, value]) => own[name as keyof typeof own] === value);
}

export interface Comparison {
  readonly validationLoss: number;
  readonly referenceLoss: number;
  /** |ours / theirs - 1| of the last validation loss. */
  readonly difference: number;
  /** The largest of these over the epochs. */
  readonly largestDifference: number;
  /** The largest over the first ten batches, before rounding has spread; null when the run was resumed after them. */
  readonly firstBatches: number | null;
}

export function compare({ train, validation }: Reference, losses: readonly number[], validationLosses: readonly number[]): Comparison {
  const differences = (ours: readonly number[], theirs: readonly number[]): number[] =>
    ours.slice(0, theirs.length).map((value, i) => Math.abs(value / theirs[i] - 1));
  const byEpoch = differences(validationLosses, validation);
  return {
    validationLoss: validationLosses[validationLosses.length - 1],
    referenceLoss: validation[validation.length - 1],
    difference: byEpoch[byEpoch.length - 1],
    largestDifference: Math.max(...byEpoch),
    firstBatches: losses.length < train.length ? null : Math.max(...differences(losses.slice(0, 10), train)),
  };
}
