/** Network and data of a run. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { deterministic, isTensor, manualSeed, type Tensor, TriremeError } from 'trireme';
import type { Module } from 'trireme/nn';
import { type ExampleInput, type InputSpec, type JsonObject, Model, type Pair } from 'trireme/train';
import { ConfigError, reasonOf } from './errors.js';
import type { LoadedRun } from './load.js';
import type { AnyData, AnyModel, DataPart } from './run.js';

type AnyNet = Module<readonly unknown[], unknown>;

/** What goes wrong while a run is put together is the configuration's or the data's fault. */
export async function guarded<T>(run: LoadedRun, make: () => T | Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof TriremeError) throw new ConfigError({ file: run.file, message: error.message }, error);
    throw error;
  }
}

/** The network with its first weights, a function of the seed. */
export async function buildNet(run: LoadedRun): Promise<AnyNet> {
  if (run.definition.deterministic !== false) deterministic(true);
  manualSeed(run.seed);
  return guarded(run, () => run.definition.net(run.options));
}
export async function openRunData(
  run: LoadedRun,
  { parts, facts, signal }: { readonly parts: readonly DataPart[]; readonly facts: JsonObject | null; readonly signal: AbortSignal },
): Promise<AnyData> {
  const { definition, options, seed } = run;
  const data = await guarded(run, () => definition.data({ options, seed, parts, facts, signal }));
  if (typeof data !== 'object' || data === null) {
    throw new ConfigError({ file: run.file, key: 'data', message: `gave ${String(data)}.`, expected: '{ train, validation, test }' });
  }
  return data;
}

/** A model for evaluation and prediction: without what only training needs. */
export async function modelForUse(run: LoadedRun, net: AnyNet): Promise<AnyModel> {
  const { ema: _, schedule: __, ...options } = await guarded(run, () => run.definition.compile(run.options));
  return guarded(run, () => new Model<readonly unknown[], unknown, unknown>(net).compile(options));
}

/** What the training left about its data, from the folder of the checkpoint or above it. */
export async function readFacts(places: readonly string[]): Promise<JsonObject | null> {
  for (const place of places) {
    for (const folder of [place, dirname(place), dirname(dirname(place))]) {
      const file = join(folder, 'data.json');
      const text = await readFile(file, 'utf8').catch(() => null);
      if (text === null) continue;
      try {
        return JSON.parse(text) as JsonObject;
      } catch (error) {
        throw new ConfigError({ file, message: `is not JSON (${reasonOf(error)}).` }, error);
      }
    }
  }
  return null;
}

function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) ? Object.values(value).flatMap(tensorsIn) : [];
}
export function disposeAll(...values: readonly unknown[]): void {
  for (const t of new Set(values.flatMap(tensorsIn))) if (!t.kept) t.dispose();
}
export function mapTensors(value: unknown, change: (t: Tensor) => Tensor): unknown {
  if (isTensor(value)) return change(value);
  if (Array.isArray(value)) return value.map((item) => mapTensors(item, change));
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTensors(item, change)]));
}

type Source = NonNullable<AnyData['train']>;
interface Batches {
  [Symbol.asyncIterator]?(): AsyncIterator<unknown>;
  [Symbol.iterator]?(): Iterator<unknown>;
}

/** One batch of a part of the data as inputs and targets; `dispose` frees it. Null where it has none. */
export async function firstBatch(
  data: AnyData,
  source: Source,
): Promise<{ readonly pair: Pair<unknown, unknown>; dispose(): void } | null> {
  if ('x' in source && 'y' in source) {
    const size = source.batchSize ?? 32;
    const cut = (t: Tensor): Tensor => t.slice([[0, Math.min(size, t.shape[0] ?? 1)]]);
    const pair = [mapTensors(source.x, cut), mapTensors(source.y, cut)] as const;
    return { pair, dispose: () => disposeAll(pair) };
  }
  const batches = source as Batches;
  const iterator = batches[Symbol.asyncIterator]?.() ?? batches[Symbol.iterator]?.();
  const next = await iterator?.next();
  await iterator?.return?.();
  if (next === undefined || next.done) return null;
  const raw: unknown = next.value;
  const pair = data.toTensors ? data.toTensors(raw) : (raw as Pair<unknown, unknown>);
  const shared = Array.isArray(source);
  return { pair, dispose: () => disposeAll(...(shared ? [] : [raw]), ...(pair === raw ? [] : [pair])) };
}

const specOf = ({ shape, dtype }: Tensor): InputSpec => ({ shape: [...shape], dtype });

/** Shapes of the network's inputs: what the run says, else those of a batch. */
export async function exampleInputs(run: LoadedRun, open: () => Promise<AnyData>): Promise<readonly ExampleInput[]> {
  const { example } = run.definition;
  if (example) return listOf(example(run.options));
  const data = await open();
  const source = data.train ?? data.validation ?? data.test;
  const batch = source === undefined ? null : await firstBatch(data, source);
  if (batch === null)
    throw new ConfigError({
      file: run.file,
      message: 'the data has no batch to take the shapes from.',
      fix: 'Give example: () => [1, ...shape].',
    });
  const specs = tensorsIn(batch.pair[0]).map(specOf);
  batch.dispose();
  return specs;
}
function listOf(input: ExampleInput | readonly ExampleInput[]): readonly ExampleInput[] {
  const isShape = Array.isArray(input) && input.every((item) => typeof item === 'number');
  return isShape || !Array.isArray(input) ? [input as ExampleInput] : (input as readonly ExampleInput[]);
}
