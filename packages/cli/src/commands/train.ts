/** `trireme train` */
import { mkdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import process from 'node:process';
import type { Tensor } from 'trireme';
import { writeFileAtomic } from 'trireme/io';
import type { Module } from 'trireme/nn';
import {
  type Callback,
  CheckpointStore,
  CsvLogger,
  describeMachine,
  type ExampleInput,
  formatDuration,
  formatNumber,
  type History,
  HtmlReport,
  JsonlLogger,
  Model,
  ModelCheckpoint,
  ProgressBar,
  TensorBoard,
  TerminateOnNaN,
} from 'trireme/train';
import { buildNet, exampleInputs, firstBatch, guarded, openRunData } from '../build.js';
import { bestOf, checkpointFolder, weightsFile } from '../checkpoints.js';
import { checkShapes } from '../config/definition.js';
import { ConfigError, exitCodes, Interrupted, UsageError } from '../errors.js';
import type { LoadedRun } from '../load.js';
import type { Output } from '../output.js';
import type { AnyData, AnyModel } from '../run.js';
import { onInterrupt } from '../session.js';

export interface TrainFlags {
  readonly resume: boolean;
  readonly overwrite: boolean;
  /** The command that goes on after an interruption. */
  readonly again: string;
}

const here = (path: string): string => relative(process.cwd(), path) || path;
const list = (metrics: Readonly<Record<string, number>>): string =>
  Object.entries(metrics)
    .map(([name, value]) => `${name} ${formatNumber(value)}`)
    .join('  ');

/** Keeps what is in the output folder safe. */
async function guardOutput(run: LoadedRun, { resume, overwrite }: TrainFlags, output: Output): Promise<void> {
  const { checkpoints } = await CheckpointStore.open(checkpointFolder(run.output));
  const last = checkpoints[checkpoints.length - 1];
  if (resume && last === undefined) output.say(`no checkpoint in ${here(run.output)} yet: training begins at its start`);
  if (last === undefined || resume || overwrite) return;
  throw new UsageError(
    `${here(run.output)} holds a training already (epoch ${last.epoch}, step ${last.step})`,
    'Go on with it: --resume. Start anew and lose it: --overwrite. Keep both: --output FOLDER.',
  );
}

/** Says which keys of the configuration have changed since the training began. */
async function tellChanges(run: LoadedRun, output: Output): Promise<void> {
  const before = await readFile(join(run.output, 'config.yaml'), 'utf8').catch(() => null);
  if (before === null || before === run.resolved) return;
  const lines = (text: string): Set<string> => new Set(text.split('\n').map((line) => line.trim()));
  const [old, now] = [lines(before), lines(run.resolved)];
  const changed = [...now].filter((line) => line !== '' && !old.has(line));
  if (changed.length > 0) output.say(`the configuration has changed since the training began: ${changed.slice(0, 5).join('; ')}`);
}

/** The callbacks of the command; one of the run's own of the same class takes its place. */
function callbacksOf(run: LoadedRun, own: readonly Callback[], graph: readonly ExampleInput[] | undefined): Callback[] {
  const { jsonl = true, csv = false, tensorBoard = true, report = true, progress = true, everySteps } = run.definition.log ?? {};
  const at = (name: string): string => join(run.output, name);
  const steps = everySteps === undefined ? {} : { everySteps };
  const others: Callback[] = [
    ...(progress ? [new ProgressBar()] : []),
    ...(jsonl ? [new JsonlLogger(at('logs.jsonl'), steps)] : []),
    ...(csv ? [new CsvLogger(at('logs.csv'))] : []),
    ...(tensorBoard ? [new TensorBoard({ directory: at('tensorboard'), ...steps, ...(graph === undefined ? {} : { graph }) })] : []),
    new TerminateOnNaN(),
    ...(report ? [new HtmlReport({ path: at('report.html'), title: run.name })] : []),
  ];
  return [...own, ...others.filter((callback) => !own.some((mine) => mine.constructor === callback.constructor))];
}

async function shapesOf(
  run: LoadedRun,
  net: Module<readonly unknown[], unknown>,
  data: AnyData,
): Promise<readonly ExampleInput[] | undefined> {
  const { source } = run;
  if (source === null) return run.definition.example === undefined ? undefined : exampleInputs(run, async () => data);
  const batch = data.train === undefined ? null : await firstBatch(data, data.train);
  if (batch === null)
    throw new ConfigError(source.document.find(['data']).problem('there is no batch to train on.', 'more items, or dropLast: false'));
  try {
    const [input, target] = batch.pair as readonly [Tensor, Tensor];
    checkShapes(source.document, source.config, net as unknown as Module, [input, target]);
    return [{ shape: [...input.shape], dtype: input.dtype }];
  } finally {
    batch.dispose();
  }
}

/** The weights at the end, the averaged ones where there are averages. */
async function saveWeights(run: LoadedRun, model: AnyModel): Promise<void> {
  const averaged = run.definition.compile(run.options).ema !== undefined;
  if (averaged) model.swapAverages();
  await model.save(weightsFile(run.output), new Map([['run', run.name]]));
  if (averaged) model.swapAverages();
}

export async function train(run: LoadedRun, flags: TrainFlags, output: Output): Promise<number> {
  await guardOutput(run, flags, output);
  const { definition, options, epochs, seed } = run;
  const interruption = onInterrupt('interrupted: saving a checkpoint (again to end at once)');
  const { signal } = interruption;
  let data: AnyData | null = null;
  let begun = false;
  try {
    const net = await buildNet(run);
    data = await openRunData(run, { parts: ['train', 'validation', 'test'], facts: null, signal });
    const { train: batches, validation, test, toTensors, facts } = data;
    if (batches === undefined)
      throw new ConfigError({ file: run.file, key: 'data', message: 'there is no training data.', expected: '{ train, ... }' });
    const model = await guarded(run, () => new Model<readonly unknown[], unknown, unknown>(net).compile(definition.compile(options)));
    const shapes = await guarded(run, () => shapesOf(run, net, data as AnyData));
    signal.throwIfAborted();

    await mkdir(run.output, { recursive: true });
    if (flags.resume) await tellChanges(run, output);
    const write = (name: string, text: string): Promise<void> => writeFileAtomic(join(run.output, name), new TextEncoder().encode(text));
    await write('config.yaml', run.resolved);
    if (facts !== undefined) await write('data.json', `${JSON.stringify(facts, null, 1)}\n`);

    const own = definition.callbacks?.({ options, output: run.output }) ?? [];
    const checkpoint =
      own.find((callback) => callback instanceof ModelCheckpoint) ??
      new ModelCheckpoint({ ...definition.checkpoint, directory: checkpointFolder(run.output) });
    let lossNow = 0;
    let resumed: { readonly epoch: number; readonly step: number } | null = null;
    const watch: Callback = {
      name: 'command',
      onTrainBegin: (state) => {
        resumed = state.resumed;
      },
      onBatchEnd: (_, { loss }) => {
        lossNow = loss;
      },
    };
    const callbacks = [...callbacksOf(run, own, shapes), ...(own.includes(checkpoint) ? [] : [checkpoint]), watch];
    const parameters = net.parameters().reduce((n, p) => n + p.numel, 0);
    const machine = describeMachine();
    output.say(
      `${run.name}: ${parameters.toLocaleString('en')} parameters, ${epochs} epochs, ${machine.tier}, ${machine.threads} threads, seed ${seed}`,
    );
    begun = true;
    const resume = flags.resume ? checkpoint.directory : false;
    const fitted: History = await model.fit(batches, {
      epochs,
      validation,
      validateEvery: definition.validateEvery,
      callbacks,
      signal,
      seed,
      resume,
      toTensors,
    });
    // Weights that have become NaN are not worth keeping: those of the run before stay, if there are any.
    const diverged = !Number.isFinite(lossNow);
    if (!diverged) await saveWeights(run, model);
    const held = test === undefined || diverged ? null : await model.evaluate(test, { toTensors, signal });

    const last = fitted.epochs[fitted.epochs.length - 1];
    const best = bestOf(checkpoint.checkpoints, definition.checkpoint);
    output.say(
      `${fitted.outcome}${fitted.reason === null ? '' : `: ${fitted.reason}`} after ${fitted.epochs.length} epochs, ${formatDuration(fitted.seconds)}`,
    );
    if (last) output.say(`last epoch   ${list(last.metrics)}`);
    if (best && last && best.epoch !== last.epoch) output.say(`best epoch   ${best.epoch}: ${list(best.metrics)}`);
    if (held) output.say(`test         ${list(held)}`);
    const report = join(run.output, 'report.html');
    if (!diverged) output.say(`weights      ${here(weightsFile(run.output))}`);
    if (definition.log?.report !== false) output.say(`report       ${here(report)}`);
    output.result({
      command: 'train',
      ok: !diverged,
      name: run.name,
      outcome: fitted.outcome,
      reason: fitted.reason,
      epochs: fitted.epochs.length,
      steps: last?.step ?? 0,
      resumed: resumed === null ? null : { epoch: (resumed as { epoch: number }).epoch, step: (resumed as { step: number }).step },
      metrics: last?.metrics ?? {},
      best: best && { epoch: best.epoch, metrics: best.metrics },
      test: held,
      parameters,
      seconds: Number(fitted.seconds.toFixed(3)),
      seed,
      machine,
      output: run.output,
      weights: diverged ? null : weightsFile(run.output),
      checkpoints: checkpoint.directory,
    });
    model.dispose();
    return diverged ? exitCodes.failed : exitCodes.done;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    const { checkpoints } = await CheckpointStore.open(checkpointFolder(run.output));
    const last = begun ? checkpoints[checkpoints.length - 1] : undefined;
    if (last === undefined) output.say('interrupted before training began: nothing to keep');
    else output.say(`interrupted in epoch ${last.epoch}, after step ${last.step}; the checkpoint is whole. Go on with:\n  ${flags.again}`);
    output.result({
      command: 'train',
      ok: false,
      interrupted: error.signal,
      name: run.name,
      checkpoint: last ? { epoch: last.epoch, step: last.step, path: join(checkpointFolder(run.output), last.name) } : null,
      resume: last ? flags.again : null,
      output: run.output,
    });
    return exitCodes.interrupted;
  } finally {
    interruption.release();
    await data?.close?.();
  }
}
