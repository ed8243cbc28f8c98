/** The data of a configuration file. */

import type { Tensor } from 'trireme';
import { tensor } from 'trireme';
import { type BatchedDataset, DataLoader, type Field } from 'trireme/data';
import { fieldsToTensors, type Json, type JsonObject, type Pair } from 'trireme/train';
import type { DataConfig } from '../config/read.js';
import { ConfigError } from '../errors.js';
import type { AnyModel, DataContext, Options, RunData } from '../run.js';
import { type ArrayFacts, arrayInputs, openArrays } from './arrays.js';
import { type ImageFacts, imageInputs, openImages } from './images.js';
import { openTable, type TableFacts, tableInputs } from './table.js';
import { describeOutputs, isBinaryLoss, linkOf } from './target.js';

type Facts = TableFacts | ArrayFacts | ImageFacts;
type Batch = Readonly<Record<string, Field>>;
type Data = RunData<Tensor | readonly [Tensor], Tensor, Batch>;

function isTable(config: DataConfig): config is Extract<DataConfig, { readonly type: 'csv' | 'jsonl' | 'parquet' }> {
  return config.type === 'csv' || config.type === 'jsonl' || config.type === 'parquet';
}

const kindOf = (config: DataConfig): Facts['kind'] => (isTable(config) ? 'table' : config.type === 'image-folder' ? 'images' : 'arrays');

/** The facts of the output folder, if they are those of such data. */
function knownFacts(config: DataConfig, facts: JsonObject | null): Facts | null {
  return facts !== null && facts.kind === kindOf(config) ? (facts as unknown as Facts) : null;
}

/** Opens the wanted parts. `loss`: the name of the loss, which decides how two classes are given. */
export async function openData(config: DataConfig, { parts, facts, seed, signal }: DataContext<Options>, loss: string): Promise<Data> {
  const known = knownFacts(config, facts);
  const binary = isBinaryLoss(loss);
  const opened = isTable(config)
    ? await openTable(config, parts, known as TableFacts | null, binary)
    : config.type === 'image-folder'
      ? await openImages(config, parts, known as ImageFacts | null)
      : await openArrays(config, parts, known as ArrayFacts | null, binary);
  signal.throwIfAborted();
  const { batchSize, evalBatchSize = batchSize, shuffle, dropLast } = config;
  const workers = config.type === 'image-folder' ? config.workers : 0;
  const prefetch = config.type === 'image-folder' ? config.prefetch : undefined;
  const made: DataLoader<unknown, Batch>[] = [];
  const loaderOf = (name: 'train' | 'validation' | 'test'): DataLoader<unknown, Batch> | undefined => {
    const dataset = opened.datasets[name] as BatchedDataset<unknown, Batch> | null;
    if (dataset === null) return undefined;
    const training = name === 'train';
    const options = training ? { batchSize, shuffle, dropLast, seed } : { batchSize: evalBatchSize };
    const loader = new DataLoader(dataset, { ...options, workers, ...(prefetch === undefined ? {} : { prefetch }) });
    made.push(loader);
    return loader;
  };
  return {
    train: loaderOf('train'),
    validation: loaderOf('validation'),
    test: loaderOf('test'),
    toTensors: fieldsToTensors('input', 'target') as (batch: Batch) => Pair<Tensor, Tensor>,
    facts: opened.facts as unknown as JsonObject,
    close: async () => void (await Promise.all(made.map((loader) => loader.close()))),
  };
}

/** Predictions for files. @throws ConfigError when the training left no facts about its data */
export async function predictFiles(
  config: DataConfig,
  loss: string,
  {
    inputs,
    model,
    facts,
    signal,
  }: { readonly inputs: readonly string[]; readonly model: AnyModel; readonly facts: JsonObject | null; readonly signal: AbortSignal },
): Promise<Json[]> {
  const known = knownFacts(config, facts);
  if (known === null) {
    throw new ConfigError({
      message: 'there is no data.json beside the checkpoint, which tells how inputs are prepared and what the classes are called.',
      fix: 'Keep it with the checkpoint: a training writes it into its output folder.',
    });
  }
  async function* pieces(): AsyncGenerator<{ readonly input: Field; readonly names: string[] }> {
    if (config.type === 'image-folder') yield* imageInputs(config, inputs);
    else
      for (const file of inputs)
        yield isTable(config) ? await tableInputs(config, known as TableFacts, file) : await arrayInputs(config, file);
  }
  const results: Json[] = [];
  for await (const { input, names } of pieces()) {
    signal.throwIfAborted();
    if (names.length === 0) continue;
    const x = tensor(input.data as Float32Array, { shape: [names.length, ...input.shape] });
    try {
      const batchSize = config.evalBatchSize ?? config.batchSize;
      const output = (await model.predict(x as never, { as: 'array', batchSize, signal })) as {
        data: Float32Array;
        shape: readonly number[];
      };
      results.push(...describeOutputs(output, names, known.target, linkOf(loss)));
    } finally {
      x.dispose();
    }
  }
  return results;
}
