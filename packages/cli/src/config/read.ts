/** The keys of a configuration file. */
import { dirname } from 'node:path';
import { callback, monitored } from '../catalog/callbacks.js';
import { layer, layerList } from '../catalog/layers.js';
import { loss } from '../catalog/losses.js';
import { metric } from '../catalog/metrics.js';
import { optimizer } from '../catalog/optimizers.js';
import { schedule } from '../catalog/schedules.js';
import { normalization, transform } from '../catalog/transforms.js';
import { ConfigError } from '../errors.js';
import type { ConfigDocument } from './document.js';
import {
  anything,
  choice,
  count,
  either,
  flag,
  type JsonSchema,
  list,
  type MapSchema,
  map,
  needed,
  number,
  numberIn,
  optional,
  path,
  positive,
  preset,
  Reading,
  record,
  share,
  sizeOrPair,
  tagged,
  text,
  type ValueOf,
  whole,
} from './schema.js';

const part = numberIn({ min: 0, below: 1 });
const split = map('a map of validation, test, stratify, seed', {
  validation: preset(part, 0),
  test: preset(part, 0),
  /** Each class in proportion; for data with classes. */
  stratify: preset(flag, true),
  /** Not the run's: another --seed leaves the held-out items where they are. */
  seed: preset(whole, 0),
});
const batches = {
  split: optional(split),
  batchSize: preset(count, 32),
  evalBatchSize: optional(count),
  shuffle: preset(flag, true),
  dropLast: preset(flag, false),
};
const parts = { path: needed(path), validation: optional(path), test: optional(path), ...batches };
const table = {
  ...parts,
  target: needed(either(text, list(text, { min: 1 }))),
  targetType: optional(choice('class', 'binary', 'number')),
  features: optional(list(text, { min: 1 })),
  exclude: preset(list(text), []),
  normalize: preset(flag, true),
  missing: preset(choice('error', 'mean'), 'error'),
  text: optional(text),
  tokenizer: optional(path),
  length: preset(count, 128),
};
const idxFiles = map('a map of images and labels', { images: needed(path), labels: needed(path) });

export const dataSchema = tagged('a map that describes the data', 'type', {
  csv: { ...table, delimiter: preset(text, ',') },
  jsonl: table,
  parquet: table,
  npz: {
    ...parts,
    inputs: preset(text, 'x'),
    target: preset(text, 'y'),
    targetType: optional(choice('class', 'binary', 'number')),
    scale: optional(number),
    classNames: optional(list(text, { min: 1 })),
  },
  idx: {
    images: needed(path),
    labels: needed(path),
    validation: optional(idxFiles),
    test: optional(idxFiles),
    ...batches,
    mean: optional(normalization.mean),
    std: optional(normalization.std),
    classNames: optional(list(text, { min: 1 })),
  },
  'image-folder': {
    ...parts,
    size: needed(sizeOrPair),
    channels: preset(channelCount(), 3),
    transforms: preset(list(transform), []),
    mean: optional(normalization.mean),
    std: optional(normalization.std),
    workers: preset(numberIn({ whole: true, min: 0, max: 256 }), 0),
    prefetch: optional(count),
  },
});
function channelCount() {
  return numberIn({ whole: true, min: 1, max: 4 });
}
export type DataConfig = ValueOf<typeof dataSchema>;
export type TableConfig = Extract<DataConfig, { readonly type: 'csv' | 'jsonl' | 'parquet' }>;
export type SplitConfig = ValueOf<typeof split>;

const checkpoint = map('a map of options of ModelCheckpoint', {
  ...optionals(monitored),
  everyEpochs: optional(whole),
  everySteps: optional(whole),
  keepBest: optional(whole),
  keepLast: optional(whole),
});
function optionals<M extends Readonly<Record<string, Parameters<typeof optional>[0]>>>(
  schemas: M,
): { readonly [K in keyof M]: ReturnType<typeof optional<ValueOf<M[K]>>> } {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, optional(schema)])) as never;
}
const log = map('a map of what to write', {
  jsonl: optional(flag),
  csv: optional(flag),
  tensorBoard: optional(flag),
  report: optional(flag),
  progress: optional(flag),
  everySteps: optional(whole),
});

const common = {
  name: optional(text),
  seed: optional(whole),
  output: optional(path),
};
const moduleOfNet = map('a map of script, export and options', {
  script: needed(path),
  export: preset(text, 'default'),
  options: preset(record(anything), {}),
});

export const configSchema = map('a map that describes a training', {
  ...common,
  epochs: needed(count),
  model: needed(either(layerList, moduleOfNet)),
  /** Shape of one item, for a summary without data. */
  input: optional(list(count)),
  data: needed(dataSchema),
  loss: needed(loss),
  optimizer: needed(optimizer),
  schedule: optional(schedule),
  scheduleEvery: optional(choice('step', 'epoch')),
  scheduleMonitor: optional(text),
  warmupSteps: optional(count),
  metrics: preset(list(metric), []),
  clipGradNorm: optional(positive),
  clipGradValue: optional(positive),
  accumulate: optional(count),
  autocast: optional(choice('bfloat16', 'float16')),
  ema: optional(share),
  jit: optional(flag),
  validateEvery: optional(count),
  callbacks: preset(list(callback), []),
  checkpoint: optional(checkpoint),
  log: optional(log),
  deterministic: optional(flag),
});
export type Config = ValueOf<typeof configSchema>;

/** A file that only names a script with its options: what the output folder of a script holds. */
export const scriptSchema = map('a map that names a script', {
  ...common,
  run: needed(path),
  epochs: optional(count),
  options: preset(record(anything), {}),
});

/** Reads and checks a document. @throws ConfigError with everything that is wrong */
export function readDocument<T>(document: ConfigDocument, schema: MapSchema<T>): T {
  const reading = new Reading(dirname(document.file));
  const result = schema.read(document.root, reading);
  if (reading.problems.length > 0 || result === undefined) throw new ConfigError(reading.problems);
  return result;
}

/** For editors: completion and checks while writing. */
export function jsonSchema(): JsonSchema {
  const clean = JSON.parse(JSON.stringify({ anyOf: [configSchema.json, scriptSchema.json] })) as JsonSchema;
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'A training for the trireme command',
    ...clean,
    $defs: { layers: { type: 'array', minItems: 1, items: layer.json } },
  };
}
