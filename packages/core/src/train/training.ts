/** The loop behind fit(). */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import type { AnyModule } from '../nn/module.js';
import { writeInto } from '../ops/write-view.js';
import type { EMA } from '../optim/averaging.js';
import type { AnyOptimizer } from '../optim/optimizer.js';
import { readSync } from '../tensor/data.js';
import { defaultGenerator } from '../tensor/generator.js';
import type { Tensor } from '../tensor/tensor.js';
import { type BatchSource, batchSizeOf, disposeTree, type Pair } from './batches.js';
import type { Callback, TrainRun, TrainState } from './callback.js';
import { CheckpointStore, type LoadedCheckpoint } from './checkpoint.js';
import { describeMachine, type Machine, warnOtherMachine } from './machine.js';
import { Means, type MeansState } from './means.js';
import type { Precision } from './precision.js';
import type { CompiledStep } from './step.js';
import {
  type BatchRecord,
  type EpochRecord,
  type History,
  type InputsOf,
  type Json,
  type JsonObject,
  type MetricLike,
  type Outcome,
  type SchedulePlan,
  type SchedulerLike,
  validationName,
} from './types.js';

/** What fit() hands to the loop. */
export interface TrainingSetup<Args extends readonly unknown[], Out, Target, B> {
  readonly net: AnyModule;
  readonly optimizer: AnyOptimizer;
  readonly step: CompiledStep<Args, Target>;
  readonly accumulate: number;
  readonly ema: EMA | null;
  readonly precision: Precision | null;
  readonly scheduler: { readonly scheduler: SchedulerLike; readonly interval: 'step' | 'epoch'; readonly monitor?: string } | null;
  /** Gathering measures of the training batches. */
  readonly metrics: readonly (readonly [string, MetricLike<Out, Target>])[];
  readonly source: BatchSource<B>;
  readonly toPair: (batch: B) => Pair<InputsOf<Args>, Target>;
  readonly validate: ((signal: AbortSignal | undefined) => Promise<Readonly<Record<string, number>>>) | null;
  readonly validateEvery: number;
  readonly callbacks: readonly Callback[];
  readonly signal: AbortSignal | undefined;
  readonly firstEpoch: number;
  /** Epochs of this training in all, those before a resumed checkpoint included. */
  readonly count: number;
  readonly config: JsonObject;
  readonly resumeFrom: string | null;
}

/** Rejects as soon as the signal aborts; the promise itself goes on, its result is dropped. */
async function abortable<T>(promise: T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined || !(promise instanceof Promise)) return promise;
  signal.throwIfAborted();
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export const number = (t: Tensor): number => Number(readSync(t)[0]);

/** Measures of gathering metrics as plain numbers; those that report several are flattened. */
export function computeMetrics<Out, Target>(metrics: readonly (readonly [string, MetricLike<Out, Target>])[]): Record<string, number> {
  const measures: Record<string, number> = {};
  for (const [name, metric] of metrics) {
    const value = metric.compute();
    if (typeof value === 'number') measures[name] = value;
    else for (const [part, v] of Object.entries(value)) measures[`${name}.${part}`] = v;
  }
  return measures;
}

/** Steps of a schedule, as far as the data tells its length. */
export function planOf(epochs: number, batches: number | null, accumulate: number): SchedulePlan {
  const known = (): number => {
    if (batches === null) {
      throw new ArgumentError('the data does not tell how many batches an epoch has', {
        op: 'schedule',
        expected: 'data with a length',
        fix: 'Give the schedule its number of steps yourself.',
      });
    }
    return Math.ceil(batches / accumulate);
  };
  return {
    epochs,
    get stepsPerEpoch() {
      return known();
    },
    get steps() {
      return epochs * known();
    },
  };
}

export class Training<Args extends readonly unknown[], Out, Target, B> implements TrainRun {
  readonly net: AnyModule;
  readonly optimizer: AnyOptimizer;
  readonly config: JsonObject;
  readonly machine: Machine;
  lastEpoch: number;
  readonly batchesPerEpoch: number | null;
  readonly scheduled: boolean;
  step = 0;
  epochs: EpochRecord[] = [];
  resumed: TrainRun['resumed'] = null;

  private readonly setup: TrainingSetup<Args, Out, Target, B>;
  private readonly names: readonly string[];
  private firstEpoch: number;
  private epoch: number;
  /** Batches of the epoch done. */
  private batch = 0;
  /** The epoch's hooks have run too. */
  private epochDone = false;
  private position: unknown = null;
  private readonly means = new Means();
  private items = 0;
  private reason: string | null = null;
  private saves: ((state: TrainState) => void | Promise<void>)[] = [];

  constructor(setup: TrainingSetup<Args, Out, Target, B>) {
    this.setup = setup;
    this.net = setup.net;
    this.optimizer = setup.optimizer;
    this.config = setup.config;
    this.firstEpoch = setup.firstEpoch;
    this.lastEpoch = setup.firstEpoch - 1 + setup.count;
    this.batchesPerEpoch = setup.source.length;
    this.scheduled = setup.scheduler !== null;
    this.machine = describeMachine();
    this.epoch = setup.firstEpoch;
    const taken = new Map<string, number>();
    this.names = setup.callbacks.map((c) => {
      const name = c.name ?? c.constructor.name;
      const count = (taken.get(name) ?? 0) + 1;
      taken.set(name, count);
      return count === 1 ? name : `${name}.${count}`;
    });
  }

  stop(reason: string): void {
    this.reason ??= reason;
  }
  get lrs(): readonly number[] {
    return this.optimizer.groups.map((group) => number(group.lr));
  }
  setLrs(lrs: readonly number[]): void {
    this.optimizer.groups.forEach((group, i) => {
      this.optimizer.setLr(group, lrs[i]);
    });
  }
  checkpoint(save: (state: TrainState) => void | Promise<void>): void {
    this.saves.push(save);
  }

  async run(): Promise<History> {
    const started = performance.now();
    const { resumeFrom, signal } = this.setup;
    if (resumeFrom !== null) await this.resume(resumeFrom);
    let outcome: Outcome = 'failed';
    const history = (): History => ({
      epochs: this.epochs,
      outcome,
      reason: this.reason,
      seconds: (performance.now() - started) / 1000,
    });
    try {
      signal?.throwIfAborted();
      await this.hooks((c) => c.onTrainBegin?.(this));
      while (this.epoch <= this.lastEpoch && this.reason === null) await this.runEpoch();
      outcome = this.reason === null ? 'finished' : 'stopped';
    } catch (error) {
      if (signal?.aborted && error === signal.reason) {
        outcome = 'aborted';
        await this.hooks((c) => c.onAbort?.(this));
      }
      throw error;
    } finally {
      const result = history();
      await this.hooks((c) => c.onTrainEnd?.(this, result));
    }
    return history();
  }

  private async hooks(call: (callback: Callback) => void | Promise<void>): Promise<void> {
    for (const callback of this.setup.callbacks) {
      const pending = call(callback);
      if (pending) await pending;
    }
    const { saves } = this;
    this.saves = [];
    for (const save of saves) await save(this.state());
  }

  private async runEpoch(): Promise<void> {
    const { source, metrics, validate, validateEvery, signal, scheduler } = this.setup;
    const started = performance.now();
    const { epoch } = this;
    this.epochDone = false;
    if (this.batch === 0) {
      this.means.clear();
      this.items = 0;
      for (const [, metric] of metrics) metric.reset();
    }
    await this.hooks((c) => c.onEpochBegin?.(this, epoch));
    const iterator = source.open(epoch - 1, this.batch, this.position);
    let whole = false;
    try {
      // A callback may have stopped training after the last batch that a resumed epoch had.
      while (this.reason === null) {
        const begun = performance.now();
        const next = await abortable(iterator.next(), signal);
        if (next.done) {
          whole = true;
          break;
        }
        await this.runBatch(next.value, begun);
        signal?.throwIfAborted();
      }
    } finally {
      // Not awaited: a loader may be in the middle of something slow. It must not fail training any more either.
      if (!whole) void Promise.resolve(iterator.return?.()).catch(() => undefined);
    }
    if (whole && this.batch === 0) {
      throw new ArgumentError('an epoch without batches', {
        op: 'fit',
        expected: 'at least one batch',
        fix: 'With dropLast the data must fill at least one batch; a generator can be read only once: give a function of it as [Symbol.iterator].',
      });
    }
    const measures: Record<string, number> = { ...this.means.values(), ...computeMetrics(metrics) };
    // A stop in the middle of an epoch leaves it there.
    if (!whole) return;
    if (validate !== null && (epoch % validateEvery === 0 || epoch === this.lastEpoch)) {
      for (const [name, value] of Object.entries(await validate(signal))) measures[validationName(name)] = value;
    }
    const record: EpochRecord = {
      epoch,
      step: this.step,
      metrics: measures,
      lr: this.lrs[0],
      items: this.items,
      seconds: (performance.now() - started) / 1000,
    };
    this.epochs = [...this.epochs, record];
    if (scheduler?.interval === 'epoch') {
      const { monitor } = scheduler;
      scheduler.scheduler.step(monitor === undefined ? undefined : this.monitored(monitor, measures));
    }
    this.epochDone = true;
    await this.hooks((c) => c.onEpochEnd?.(this, record));
    this.epoch++;
    this.batch = 0;
    this.position = null;
  }

  private monitored(monitor: string, measures: Readonly<Record<string, number>>): number {
    const value = measures[monitor];
    if (value !== undefined) return value;
    throw new ArgumentError(`there is no measure ${monitor}`, { op: 'fit', received: monitor, expected: Object.keys(measures).join(', ') });
  }

  private async runBatch(raw: B, begun: number): Promise<void> {
    const { source, accumulate, scheduler } = this.setup;
    const last = source.length !== null && this.batch + 1 >= source.length;
    const updated = (this.batch + 1) % accumulate === 0 || last;
    const lr = this.lrs[0];
    const { loss: lossValue, values, size } = await this.compute(raw, updated);
    this.batch++;
    this.items += size;
    if (updated) this.step++;
    this.position = source.position();
    if (updated && scheduler?.interval === 'step') scheduler.scheduler.step();
    this.means.add({ loss: lossValue, ...values }, size);
    const record: BatchRecord = {
      epoch: this.epoch,
      batch: this.batch,
      step: this.step,
      updated,
      size,
      loss: lossValue,
      measures: values,
      lr,
      means: this.means.values(),
      seconds: (performance.now() - begun) / 1000,
    };
    await this.hooks((c) => c.onBatchEnd?.(this, record));
  }

  /** Runs the step on a batch, and frees batch and results. */
  private async compute(raw: B, updated: boolean): Promise<{ loss: number; values: Record<string, number>; size: number }> {
    const { source, toPair, step, metrics } = this.setup;
    const made: unknown[] = [];
    try {
      // What toTensors makes of a batch is for this step alone; the batch itself is freed unless the source hands it out again.
      if (source.owned) made.push(raw);
      const pair = toPair(raw);
      if ((pair as unknown) !== raw) made.push(pair);
      const [inputs, targets] = pair;
      const { loss, measures, output } = await step.run(inputs, targets, updated);
      made.push(loss, Object.values(measures), output);
      for (const [, metric] of metrics) await metric.update(output as Out, targets);
      const values = Object.fromEntries(Object.entries(measures).map(([name, t]) => [name, number(t)]));
      return { loss: number(loss), values, size: batchSizeOf(inputs) };
    } finally {
      disposeTree(made);
    }
  }

  /* ---- checkpoints ---- */

  private tensorState(): Map<string, Tensor> {
    const { optimizer, ema, step, callbacks } = this.setup;
    const tensors = new Map<string, Tensor>([['generator', defaultGenerator.state]]);
    const add = (prefix: string, part: ReadonlyMap<string, Tensor>): void => {
      for (const [name, t] of part) tensors.set(`${prefix}/${name}`, t);
    };
    add('optimizer', optimizer.stateDict().tensors);
    add('gathered', step.gathered);
    if (ema !== null) add('ema', ema.stateDict());
    callbacks.forEach((c, i) => {
      if (c.tensors) add(`callback/${this.names[i]}`, c.tensors());
    });
    return tensors;
  }

  private state(): TrainState {
    const { scheduler, callbacks, metrics, optimizer, precision } = this.setup;
    const states = Object.fromEntries(callbacks.flatMap((c, i) => (c.stateDict ? [[this.names[i], c.stateDict()] as const] : [])));
    const last = this.epochs[this.epochs.length - 1];
    const json: SavedState = {
      version: 1,
      epoch: this.epoch,
      batch: this.batch,
      epochDone: this.epochDone,
      step: this.step,
      items: this.items,
      firstEpoch: this.firstEpoch,
      stopped: this.reason,
      lrs: [...optimizer.stateDict().lrs],
      schedule: scheduler ? (scheduler.scheduler.stateDict() as Json) : null,
      scaler: precision?.scaler?.stateDict() ?? null,
      data: this.position as Json,
      means: this.means.state(),
      metrics: Object.fromEntries(metrics.flatMap(([name, m]) => (m.stateDict ? [[name, m.stateDict()] as const] : []))),
      history: this.epochs,
      callbacks: states,
      machine: this.machine,
      config: this.config,
    };
    return {
      weights: this.net.stateDict(),
      tensors: this.tensorState(),
      json: json as unknown as JsonObject,
      epoch: this.epoch,
      step: this.step,
      epochEnd: this.epochDone,
      metrics: this.epochDone && last ? last.metrics : this.means.values(),
    };
  }

  /** Continues from the last whole checkpoint of a directory; without one training begins at its start. */
  private async resume(directory: string): Promise<void> {
    const store = await CheckpointStore.open(directory);
    const loaded = await store.loadLast();
    if (loaded === null) return;
    try {
      this.restore(loaded);
    } finally {
      disposeTree([...loaded.weights.values(), ...loaded.tensors.values()]);
    }
    const { name, epoch, step } = loaded.entry;
    this.resumed = { checkpoint: `${directory}/${name}`, epoch, step };
  }

  private restore({ weights, tensors, json, entry }: LoadedCheckpoint): void {
    const { optimizer, scheduler, ema, step, precision, callbacks, metrics, source } = this.setup;
    const saved = json as unknown as SavedState;
    if (saved.version !== 1) {
      throw new ArgumentError(`the checkpoint ${entry.name} is of version ${saved.version}`, { op: 'resume', expected: 'version 1' });
    }
    for (const key of ['optimizer', 'accumulate'] as const) {
      if (JSON.stringify(saved.config[key]) !== JSON.stringify(this.config[key])) {
        throw new ArgumentError(`the checkpoint ${entry.name} was written with ${key} ${JSON.stringify(saved.config[key])}`, {
          op: 'resume',
          received: this.config[key],
          expected: `the same ${key}`,
          fix: 'Compile the model as in the run that wrote it, or load the weights alone with model.load().',
        });
      }
    }
    warnOtherMachine(saved.machine, this.machine);
    const part = (prefix: string): Map<string, Tensor> =>
      new Map([...tensors].flatMap(([name, t]) => (name.startsWith(`${prefix}/`) ? [[name.slice(prefix.length + 1), t] as const] : [])));
    this.net.loadStateDict(weights);
    optimizer.loadStateDict({ tensors: part('optimizer'), lrs: saved.lrs });
    copyInto(step.gathered, part('gathered'), 'gathered gradients');
    if (precision?.scaler && saved.scaler !== null) precision.scaler.loadStateDict(saved.scaler);
    if (ema !== null) ema.loadStateDict(part('ema'));
    const generator = tensors.get('generator');
    if (generator) defaultGenerator.setState(readSync(generator) as Int32Array);
    if (scheduler && saved.schedule !== null) {
      scheduler.scheduler.loadStateDict(saved.schedule as never);
      this.setLrs(saved.lrs);
    }
    callbacks.forEach((c, i) => {
      const name = this.names[i];
      if (Object.hasOwn(saved.callbacks, name)) c.loadStateDict?.(saved.callbacks[name]);
      c.loadTensors?.(part(`callback/${name}`));
    });
    this.firstEpoch = saved.firstEpoch;
    this.lastEpoch = saved.firstEpoch - 1 + this.setup.count;
    this.step = saved.step;
    this.epochs = [...saved.history];
    this.reason = saved.stopped;
    this.epoch = saved.epochDone ? saved.epoch + 1 : saved.epoch;
    if (saved.epochDone) return;
    this.batch = saved.batch;
    this.items = saved.items;
    this.position = saved.data;
    this.means.load(saved.means);
    for (const [name, metric] of metrics) {
      metric.reset();
      if (Object.hasOwn(saved.metrics, name)) metric.loadStateDict?.(saved.metrics[name]);
    }
    if (source.length !== null && saved.batch > source.length) {
      throw new ArgumentError(`the checkpoint ${entry.name} is at batch ${saved.batch} of its epoch`, {
        op: 'resume',
        received: source.length,
        expected: 'the data it was written with',
      });
    }
  }
}

/** The JSON part of a checkpoint. */
interface SavedState {
  readonly version: number;
  readonly epoch: number;
  readonly batch: number;
  readonly epochDone: boolean;
  readonly step: number;
  readonly items: number;
  readonly firstEpoch: number;
  /** The reason a callback gave for ending training. */
  readonly stopped: string | null;
  readonly lrs: readonly number[];
  readonly schedule: Json;
  /** Loss scaling. */
  readonly scaler: { readonly scale: number; readonly growthTracker: number } | null;
  /** Of the data loader. */
  readonly data: Json;
  readonly means: MeansState;
  readonly metrics: JsonObject;
  readonly history: readonly EpochRecord[];
  readonly callbacks: JsonObject;
  readonly machine: Machine;
  readonly config: JsonObject;
}

function copyInto(targets: ReadonlyMap<string, Tensor>, sources: ReadonlyMap<string, Tensor>, what: string): void {
  const missing = [...targets.keys()].filter((name) => !sources.has(name));
  if (missing.length > 0 || sources.size !== targets.size) {
    throw new ArgumentError(`the checkpoint does not fit: ${what} of ${sources.size} tensors`, {
      op: 'resume',
      received: [...sources.keys()],
      expected: `${targets.size} tensors`,
      fix: 'Compile the model as in the run that wrote it.',
    });
  }
  noGrad(() => {
    for (const [name, target] of targets) writeInto(target, sources.get(name) as Tensor);
  });
}
