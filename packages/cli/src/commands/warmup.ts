/** `trireme warmup`: compiles the native code of a run into the cache, so that a later process starts with it. */
import { CpuDevice, defaultDevice, machineReport, type Tensor } from 'trireme';
import { formatDuration, Model } from 'trireme/train';
import { buildNet, disposeAll, firstBatch, guarded, mapTensors, modelForUse, openRunData } from '../build.js';
import { ConfigError, exitCodes } from '../errors.js';
import type { LoadedRun } from '../load.js';
import type { Output } from '../output.js';
import type { AnyData } from '../run.js';
import { onInterrupt } from '../session.js';

type Source = NonNullable<AnyData['train']>;
type Pair = readonly [inputs: unknown, targets: unknown];

/** A loader that can be moved to a batch. */
interface Movable {
  readonly length: number;
  state(): Readonly<Record<string, unknown>>;
  load(state: Readonly<Record<string, unknown>>): void;
}
function isMovable(source: object): source is Movable {
  return 'load' in source && 'state' in source && 'length' in source && Number.isFinite(source.length);
}

/** Batches of the shapes that a pass has: the first one, and the last one, which may be smaller. */
async function batchesOf(data: AnyData, source: Source | undefined): Promise<Pair[]> {
  if (source === undefined) return [];
  const taken = async (from: Source): Promise<Pair | null> => {
    const batch = await firstBatch(data, from);
    if (batch === null) return null;
    const copy = batch.pair.map((part) => mapTensors(part, (t) => t.clone())) as unknown as Pair;
    batch.dispose();
    return copy;
  };
  const first = await taken(source);
  if (first === null) return [];
  if ('x' in source && 'y' in source) {
    const { batchSize = 32, dropLast = false } = source;
    const items = (flat(source.x)[0]?.shape[0] ?? 0) as number;
    const rest = dropLast || items < batchSize ? 0 : items % batchSize;
    const cut = (t: Tensor): Tensor => t.slice([[0, rest]]).clone();
    return rest === 0 ? [first] : [first, [mapTensors(source.x, cut), mapTensors(source.y, cut)]];
  }
  if (isMovable(source) && source.length > 1) {
    source.load({ ...source.state(), epoch: 0, batch: source.length - 1 });
    const last = await taken(source);
    return last === null ? [first] : [first, last];
  }
  return [first];
}
function flat(value: unknown): Tensor[] {
  const found: Tensor[] = [];
  mapTensors(value, (t) => {
    found.push(t);
    return t;
  });
  return found;
}

export async function warmup(run: LoadedRun, output: Output): Promise<number> {
  const before = machineReport().native;
  if (!before.available) {
    output.say(`there is no native code to prepare: ${before.reason}`);
    output.result({ command: 'warmup', ok: false, name: run.name, reason: before.reason });
    return exitCodes.failed;
  }
  if (before.cache?.lasting !== true) output.say(`the cache ends with this process: ${before.cache?.reason ?? 'TRIREME_CACHE is off'}`);
  const interruption = onInterrupt('interrupted: what is compiled stays (again to end at once)');
  const { signal } = interruption;
  let data: AnyData | null = null;
  const held: Pair[] = [];
  const started = performance.now();
  try {
    const net = await buildNet(run);
    data = await openRunData(run, { parts: ['train', 'validation', 'test'], facts: null, signal });
    const train = await batchesOf(data, data.train);
    const others = [...(await batchesOf(data, data.validation)), ...(await batchesOf(data, data.test))];
    held.push(...train, ...others);
    if (held.length === 0) throw new ConfigError({ file: run.file, key: 'data', message: 'has no batch to compile for.' });
    if (train.length > 0) {
      const options = await guarded(run, () => run.definition.compile(run.options));
      const model = await guarded(run, () => new Model<readonly unknown[], unknown, unknown>(net).compile(options));
      const gathered = Array.from({ length: options.accumulate ?? 1 }, () => train[0]);
      // Weights and optimizer change here; nothing of it is kept.
      await model.fit([...gathered, ...train] as never, {
        epochs: 1,
        seed: run.seed,
        signal,
        ...(others.length > 0 ? { validation: others as never } : {}),
      });
      model.dispose();
    }
    const model = await modelForUse(run, net);
    for (const pair of held) {
      await model.evaluate([pair] as never, { signal });
      const inputs = mapTensors(pair[0], (t) => t.clone());
      disposeAll(await model.predict(inputs as never, { signal, batchSize: Number.MAX_SAFE_INTEGER }), inputs);
    }
    model.dispose();
    const device = defaultDevice();
    const status = device instanceof CpuDevice ? device.nativeStatus : null;
    const after = machineReport().native;
    const libraries = (after.cache?.libraries ?? 0) - (before.cache?.libraries ?? 0);
    const bytes = (after.cache?.bytes ?? 0) - (before.cache?.bytes ?? 0);
    const seconds = (performance.now() - started) / 1000;
    const ok = typeof status !== 'string';
    if (!ok) output.say(`native code failed: ${status}`);
    else {
      output.say(
        `${run.name}: ${libraries} libraries compiled (${(bytes / 2 ** 20).toFixed(1)} MiB) in ${formatDuration(seconds)}; the rest was there`,
      );
      output.say(`cache    ${after.cache?.path}, ${after.cache?.libraries} libraries`);
    }
    output.result({
      command: 'warmup',
      ok,
      name: run.name,
      reason: ok ? null : status,
      compiled: libraries,
      bytes,
      seconds: Number(seconds.toFixed(3)),
      cache: after.cache,
    });
    return ok ? exitCodes.done : exitCodes.failed;
  } finally {
    interruption.release();
    disposeAll(...held);
    await data?.close?.();
  }
}
