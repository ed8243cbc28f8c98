/** Weights from what a training has left. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { TriremeError } from 'trireme';
import { loadSafetensors } from 'trireme/io';
import type { AnyModule, Module } from 'trireme/nn';
import { EMA } from 'trireme/optim';
import { type CheckpointEntry, CheckpointStore, type LoadedCheckpoint, lessIsBetter } from 'trireme/train';
import { disposeAll } from './build.js';
import { ConfigError } from './errors.js';
import type { LoadedRun } from './load.js';

export const checkpointFolder = (output: string): string => join(output, 'checkpoints');
export const weightsFile = (output: string): string => join(output, 'model.safetensors');

/** Where weights came from. */
export interface Restored {
  readonly path: string;
  readonly epoch: number | null;
  readonly step: number | null;
}

const kindOf = (path: string): Promise<'file' | 'folder' | null> =>
  stat(path).then(
    (s) => (s.isDirectory() ? 'folder' : 'file'),
    () => null,
  );

/** The checkpoint with the best measure of whole epochs. */
export function bestOf(
  entries: readonly CheckpointEntry[],
  { monitor, mode }: { readonly monitor?: string; readonly mode?: 'min' | 'max' } = {},
): CheckpointEntry | null {
  const whole = entries.filter((entry) => entry.epochEnd);
  const name = monitor ?? (whole.some((entry) => Object.hasOwn(entry.metrics, 'valLoss')) ? 'valLoss' : 'loss');
  const less = (mode ?? (lessIsBetter(name) ? 'min' : 'max')) === 'min';
  const ranked = whole
    .filter((entry) => Number.isFinite(entry.metrics[name]))
    .sort((a, b) => (less ? 1 : -1) * (a.metrics[name] - b.metrics[name]));
  return ranked[0] ?? null;
}

/** The checkpoint that `--checkpoint` names, or its weights alone. */
async function find(
  run: LoadedRun,
  wanted: string | undefined,
): Promise<{ readonly path: string; readonly loaded: LoadedCheckpoint | null }> {
  const own = checkpointFolder(run.output);
  const fromStore = async (
    folder: string,
    which: 'last' | 'best' | { readonly name: string },
  ): Promise<{ path: string; loaded: LoadedCheckpoint } | null> => {
    const store = await CheckpointStore.open(folder);
    if (which === 'last') {
      const loaded = await store.loadLast();
      return loaded && { path: join(folder, loaded.entry.name), loaded };
    }
    const entry =
      which === 'best'
        ? bestOf(store.checkpoints, run.definition.checkpoint)
        : (store.checkpoints.find((c) => c.name === which.name) ?? null);
    return entry && { path: join(folder, entry.name), loaded: await store.load(entry) };
  };
  if (wanted === undefined || wanted === 'last' || wanted === 'best') {
    const found = await fromStore(own, wanted ?? 'last');
    if (found) return found;
    const weights = weightsFile(run.output);
    if (wanted === undefined && (await kindOf(weights)) === 'file') return { path: weights, loaded: null };
    throw new ConfigError({
      file: own,
      message: 'there is no checkpoint.',
      fix: 'Train first, or name one with --checkpoint: a folder, a .safetensors file, best or last.',
    });
  }
  const path = resolve(wanted);
  const kind = await kindOf(path);
  if (kind === null)
    throw new ConfigError({
      file: wanted,
      message: 'there is no such file or folder.',
      expected: 'a checkpoint folder, a .safetensors file, best or last',
    });
  if (kind === 'file') return { path, loaded: null };
  for (const [folder, which] of [
    [path, 'last'],
    [checkpointFolder(path), 'last'],
    [dirname(path), { name: basename(path) }],
  ] as const) {
    const found = await fromStore(folder, which);
    if (found) return found;
  }
  throw new ConfigError({ file: wanted, message: 'holds no checkpoint.', expected: 'a folder that a training wrote' });
}

/** Loads the weights into the network; the averages of `ema`, where the training kept them. */
export async function restore(run: LoadedRun, net: Module<readonly unknown[], unknown>, wanted: string | undefined): Promise<Restored> {
  try {
    const { path, loaded } = await find(run, wanted);
    if (loaded === null) {
      const { tensors } = await loadSafetensors(path);
      try {
        net.loadStateDict(tensors);
      } finally {
        disposeAll([...tensors.values()]);
      }
      return { path, epoch: null, step: null };
    }
    const { weights, tensors, entry } = loaded;
    try {
      net.loadStateDict(weights);
      const { ema: given } = run.definition.compile(run.options);
      const averages = new Map([...tensors].flatMap(([name, t]) => (name.startsWith('ema/') ? [[name.slice(4), t] as const] : [])));
      if (averages.size > 0) {
        const ema = new EMA(net as unknown as AnyModule, typeof given === 'object' ? given : {});
        ema.loadStateDict(averages);
        ema.swap();
        ema.dispose();
      }
    } finally {
      disposeAll([...weights.values()], [...tensors.values()]);
    }
    return { path, epoch: entry.epoch, step: entry.step };
  } catch (error) {
    if (error instanceof TriremeError)
      throw new ConfigError({ file: wanted ?? run.output, message: `the checkpoint does not fit: ${error.message}` }, error);
    throw error;
  }
}
