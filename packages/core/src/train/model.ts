/** A network with what it takes to train, evaluate and use it. */
import { ArgumentError, FormatError } from '../errors.js';
import { nodeModule } from '../io/node.js';
import { loadSafetensors, saveSafetensors } from '../io/weights.js';
import type { AnyModule, Module } from '../nn/module.js';
import { concat } from '../ops/join.js';
import { EMA, type EMAOptions } from '../optim/averaging.js';
import type { AnyOptimizer } from '../optim/optimizer.js';
import { readSync, type TypedArray } from '../tensor/data.js';
import { manualSeed } from '../tensor/generator.js';
import type { Tensor } from '../tensor/tensor.js';
import { flattenTree, mapTree } from '../tensor/tree.js';
import { batchSizeOf, disposeTree, type Pair, pairOf, sourceOf, type TrainData } from './batches.js';
import type { Callback } from './callback.js';
import { ModelCheckpoint } from './callbacks/model-checkpoint.js';
import { CheckpointStore } from './checkpoint.js';
import { Means } from './means.js';
import { type AutocastOption, type Precision, precisionOf } from './precision.js';
import { type CompiledStep, compileEvaluation, compilePrediction, compileStep, inMode, type Runner, type StepResult } from './step.js';
import { computeMetrics, number, planOf, Training } from './training.js';
import type { History, InputsOf, Json, JsonObject, Loss, MetricFunction, MetricLike, Metrics, Schedule, ScheduleOptions } from './types.js';

export interface CompileOptions<Args extends readonly unknown[], Out, Target, O extends AnyOptimizer = AnyOptimizer> {
  /** Or a function that makes it from the network's parameters. */
  readonly optimizer: O | ((parameters: Tensor[], net: Module<Args, Out>) => O);
  readonly loss: Loss<Out, Target>;
  readonly metrics?: Metrics<Out, Target>;
  readonly schedule?: Schedule<O>;
  /** Runs network and loss in a narrow floating type where that is safe; float16 scales the loss. */
  readonly autocast?: AutocastOption;
  /** Scales the gradients so that their norm, all taken as one vector, is at most this. */
  readonly clipGradNorm?: number;
  /** Limits each element of the gradients to [-limit, limit]. */
  readonly clipGradValue?: number;
  /** Batches whose gradients are averaged for one update. The last batches of an epoch make an update of their own. */
  readonly accumulate?: number;
  /** Averages of the parameters; evaluation and prediction then use them. A number is the decay, with a quicker start. */
  readonly ema?: number | EMAOptions;
  /** False: operation by operation instead of as one Program, for networks whose control flow depends on values. */
  readonly jit?: boolean;
}

export interface DataOptions<In, Target, B> {
  /**
   * Makes inputs and targets of a batch, for data that does not give pairs of tensors; tensors in memory (`{ x, y }`) need none and
   * do not pass through it. Its tensors are freed after the step.
   */
  readonly toTensors?: (batch: B) => Pair<In, Target>;
  /** Ends the work within a batch; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface FitOptions<In, Target, B> extends DataOptions<In, Target, B> {
  /** Passes over the data; a resumed training counts those before its checkpoint. */
  readonly epochs: number;
  /** Evaluated after each epoch; its measures are named valLoss, valAccuracy ... */
  readonly validation?: TrainData<In, Target, B>;
  /** Epochs from one validation to the next; there is always one after the last. Default 1. */
  readonly validateEvery?: number;
  readonly callbacks?: readonly Callback[];
  /** Seeds the default generator (dropout) and the order of data in memory. Loaders have a seed of their own. */
  readonly seed?: number;
  /**
   * Continues from the last whole checkpoint of a directory; `true`: of that of the ModelCheckpoint callback. Where there is none
   * yet training begins at its start, so the same program can be started again and again.
   */
  readonly resume?: boolean | string;
  /** False: metrics are computed for the validation data alone. */
  readonly trainMetrics?: boolean;
}

/** A result on the host. */
export interface ArrayResult {
  readonly data: TypedArray;
  readonly shape: readonly number[];
}
export interface PredictOptions {
  /** Items at a time for tensors in memory. Default 256. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

interface Compiled<Args extends readonly unknown[], Out, Target> {
  readonly options: CompileOptions<Args, Out, Target>;
  readonly optimizer: AnyOptimizer;
  readonly ownsOptimizer: boolean;
  readonly gathering: readonly (readonly [string, MetricLike<Out, Target>])[];
  readonly perBatch: Readonly<Record<string, MetricFunction<Out, Target>>>;
  readonly precision: Precision | undefined;
  readonly ema: EMA | null;
  /** By whether the network's output is wanted. */
  readonly steps: Map<boolean, CompiledStep<Args, Target>>;
  readonly evaluation: Runner<[InputsOf<Args>, Target], StepResult>;
}

/** Gathering metrics and functions of one batch, each by name. */
function sortMetrics<Out, Target>(metrics: Metrics<Out, Target> = []): Pick<Compiled<never, Out, Target>, 'gathering' | 'perBatch'> {
  const gathering: (readonly [string, MetricLike<Out, Target>])[] = [];
  const perBatch: Record<string, MetricFunction<Out, Target>> = {};
  const entries = Array.isArray(metrics)
    ? (metrics as readonly MetricLike<Out, Target>[]).map((m) => [m.name, m] as const)
    : Object.entries(metrics as Readonly<Record<string, MetricLike<Out, Target> | MetricFunction<Out, Target>>>);
  const names = new Set(['loss', 'gradNorm']);
  for (const [name, metric] of entries) {
    if (names.has(name)) {
      throw new ArgumentError(`there are two measures named ${name}`, {
        op: 'compile',
        received: entries.map(([n]) => n),
        expected: 'a name for each',
        fix: 'Pass metrics as an object: { top1: new Accuracy(), top5: new Accuracy({ topK: 5 }) }.',
      });
    }
    names.add(name);
    if (typeof metric === 'function') perBatch[name] = metric;
    else gathering.push([name, metric]);
  }
  return { gathering, perBatch };
}

function nameOf(value: unknown): string {
  if (typeof value === 'function') return value.name || 'function';
  return typeof value === 'object' && value !== null ? value.constructor.name : String(value);
}

/** Plain data of an object's own simple properties. */
function plain(value: object): JsonObject {
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, Json] => {
      const v: unknown = entry[1];
      return (
        v === null || ['number', 'string', 'boolean'].includes(typeof v) || (Array.isArray(v) && v.every((x) => typeof x === 'number'))
      );
    }),
  );
}

/**
 * A network with optimizer, loss and measures: fit(), evaluate(), predict(). `net` is any module; with several arguments of
 * forward() batches carry them as a list.
 *
 *   const model = new Model(net).compile({ optimizer: (p) => new AdamW(p, { lr: 1e-3 }), loss: crossEntropy });
 *   const history = await model.fit(loader, { epochs: 10, validation: held, callbacks: [new ProgressBar()] });
 *
 * Steps are compiled Programs that run off the event loop, and free what they make: no disposal code is needed. Batches of a
 * loader are freed after their step; tensors that must outlive it are marked with keep(). The batches of an array are the
 * caller's.
 */
export class Model<Args extends readonly unknown[] = [Tensor], Out = Tensor, Target = Tensor> {
  readonly net: Module<Args, Out>;
  private compiled: Compiled<Args, Out, Target> | null = null;
  private prediction: Runner<[InputsOf<Args>], Out> | null = null;
  private epochsDone = 0;

  constructor(net: Module<Args, Out>) {
    this.net = net;
  }

  /** Sets how it is trained; again to change it. Starts counting epochs anew. */
  compile<O extends AnyOptimizer>(options: CompileOptions<Args, Out, Target, O>): this {
    this.release();
    const { optimizer, loss, ema, autocast, jit } = options;
    const made = typeof optimizer === 'function';
    const averaging: EMAOptions = typeof ema === 'number' ? { decay: ema, warmup: true } : (ema ?? {});
    const precision = autocast === undefined ? undefined : precisionOf(autocast);
    const { gathering, perBatch } = sortMetrics(options.metrics);
    this.compiled = {
      options: options as unknown as CompileOptions<Args, Out, Target>,
      optimizer: made ? optimizer(this.net.parameters(), this.net) : optimizer,
      ownsOptimizer: made,
      gathering,
      perBatch,
      precision,
      ema: ema === undefined ? null : new EMA(this.net as unknown as AnyModule, averaging),
      steps: new Map(),
      evaluation: compileEvaluation({ net: this.net, loss, precision, jit }, perBatch, gathering.length > 0),
    };
    this.epochsDone = 0;
    return this;
  }

  private ready(op: string): Compiled<Args, Out, Target> {
    if (this.compiled !== null) return this.compiled;
    throw new ArgumentError('the model has no loss yet', { op, fix: 'Call compile({ optimizer, loss }) first.' });
  }

  /** The optimizer in use. @throws ArgumentError before compile() */
  get optimizer(): AnyOptimizer {
    return this.ready('optimizer').optimizer;
  }

  private stepOf(compiled: Compiled<Args, Out, Target>, wantOutput: boolean): CompiledStep<Args, Target> {
    const known = compiled.steps.get(wantOutput);
    if (known) return known;
    const { options, optimizer, ema, perBatch, precision } = compiled;
    const { loss, clipGradNorm, clipGradValue, accumulate, jit } = options;
    const step = compileStep(
      { net: this.net, optimizer, loss, clipGradNorm, clipGradValue, accumulate, jit, ema: ema ?? undefined, precision },
      perBatch,
      wantOutput,
    );
    compiled.steps.set(wantOutput, step);
    return step;
  }

  /**
   * Trains. A second call goes on where the first one ended.
   * @throws the reason of the signal when it aborts, after the callbacks (ModelCheckpoint saves the state) have run
   */
  async fit<B = Pair<InputsOf<Args>, Target>>(
    data: TrainData<InputsOf<Args>, Target, B>,
    options: FitOptions<InputsOf<Args>, Target, B>,
  ): Promise<History> {
    const compiled = this.ready('fit');
    const { epochs, validation, validateEvery = 1, callbacks = [], signal, seed, resume = false, toTensors, trainMetrics = true } = options;
    for (const [name, value] of Object.entries({ epochs, validateEvery })) {
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new ArgumentError(`${name} is ${value}`, { op: 'fit', received: value, expected: 'a whole number, 1 or more' });
      }
    }
    if (seed !== undefined) manualSeed(seed);
    const { accumulate = 1 } = compiled.options;
    const source = sourceOf(data, seed ?? 0, true);
    const metrics = trainMetrics ? compiled.gathering : [];
    const training = new Training<Args, Out, Target, B | Pair<InputsOf<Args>, Target>>({
      net: this.net,
      optimizer: compiled.optimizer,
      step: this.stepOf(compiled, metrics.length > 0),
      accumulate,
      ema: compiled.ema,
      precision: compiled.precision ?? null,
      scheduler: makeSchedule(compiled, epochs, source.length, accumulate),
      metrics,
      source,
      toPair: (batch) => pairOf(batch, source.paired ? undefined : toTensors),
      validate: validation === undefined ? null : (stop) => this.evaluate(validation, { toTensors, signal: stop }),
      validateEvery,
      callbacks,
      signal,
      firstEpoch: this.epochsDone + 1,
      count: epochs,
      config: this.describe(compiled, options, source.length),
      resumeFrom: resume === true ? directoryOf(callbacks) : resume === false ? null : resume,
    });
    return inMode(this.net, true, async () => {
      try {
        return await training.run();
      } finally {
        this.epochsDone = training.epochs.at(-1)?.epoch ?? this.epochsDone;
      }
    });
  }

  /** What a log should say about a training. */
  private describe<B>(
    compiled: Compiled<Args, Out, Target>,
    { epochs, seed }: FitOptions<InputsOf<Args>, Target, B>,
    batches: number | null,
  ): JsonObject {
    const { optimizer, options } = compiled;
    const { loss, ema, accumulate = 1, clipGradNorm, clipGradValue, autocast, schedule } = options;
    const given: Record<string, Json | undefined> = {
      clipGradNorm,
      clipGradValue,
      autocast: typeof autocast === 'object' ? plain(autocast) : autocast,
      schedule:
        schedule === undefined
          ? undefined
          : nameOf(typeof schedule === 'object' && 'scheduler' in schedule ? schedule.scheduler : schedule),
      seed,
      ema: typeof ema === 'object' ? plain(ema) : ema,
    };
    return {
      network: nameOf(this.net),
      parameters: this.net.parameters().reduce((n, p) => n + p.numel, 0),
      optimizer: nameOf(optimizer),
      groups: optimizer.groups.map((group) => plain(group.options)),
      loss: nameOf(loss),
      epochs,
      batches,
      accumulate,
      ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as JsonObject),
    };
  }

  /** Mean loss and measures over data: `{ loss, accuracy, ... }`. With `ema` of the averaged weights. */
  async evaluate<B = Pair<InputsOf<Args>, Target>>(
    data: TrainData<InputsOf<Args>, Target, B>,
    { toTensors, signal }: DataOptions<InputsOf<Args>, Target, B> = {},
  ): Promise<Record<string, number>> {
    const { gathering, evaluation, ema } = this.ready('evaluate');
    const source = sourceOf(data, 0, false);
    const means = new Means();
    for (const [, metric] of gathering) metric.reset();
    const pass = async (): Promise<void> => {
      const iterator = source.open(0, 0, null);
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
        signal?.throwIfAborted();
        const raw = next.value;
        const made: unknown[] = source.owned ? [raw] : [];
        try {
          const pair = pairOf(raw, source.paired ? undefined : toTensors);
          if ((pair as unknown) !== raw) made.push(pair);
          const [inputs, targets] = pair;
          const { loss, measures, output } = await evaluation.run(inputs, targets);
          made.push(loss, Object.values(measures), output);
          for (const [, metric] of gathering) await metric.update(output as Out, targets);
          const values = Object.fromEntries(Object.entries(measures).map(([name, t]) => [name, number(t)]));
          means.add({ loss: number(loss), ...values }, batchSizeOf(inputs));
        } finally {
          disposeTree(made);
        }
      }
    };
    await inMode(this.net, false, () => (ema === null ? pass() : ema.withAverages(pass)));
    return { ...means.values(), ...computeMetrics(gathering) };
  }

  /**
   * The network's outputs, in the order of the inputs and joined along the first axis. `inputs`: one tensor (or one for each
   * argument of forward()) cut into batches, or batches of inputs one after the other, for example those of a loader. The result
   * is the caller's. Outputs of several tensors keep their structure.
   */
  async predict(inputs: InputsOf<Args> | AsyncIterable<InputsOf<Args>>, options?: PredictOptions): Promise<Out>;
  /** The same as typed arrays with their shapes. */
  async predict(
    inputs: InputsOf<Args> | AsyncIterable<InputsOf<Args>>,
    options: PredictOptions & { readonly as: 'array' },
  ): Promise<ArraysOf<Out>>;
  async predict(
    inputs: InputsOf<Args> | AsyncIterable<InputsOf<Args>>,
    { batchSize = 256, signal, as = 'tensor' }: PredictOptions & { readonly as?: 'tensor' | 'array' } = {},
  ): Promise<unknown> {
    const { precision, ema = null, options } = this.compiled ?? {};
    this.prediction ??= compilePrediction(this.net, precision, options?.jit !== false);
    const { prediction } = this;
    const batches = isAsync<InputsOf<Args>>(inputs) ? inputs : slices(inputs, batchSize);
    const outputs: unknown[] = [];
    const arrays: ArrayResult[][] = [];
    const pass = async (): Promise<void> => {
      for await (const batch of batches) {
        signal?.throwIfAborted();
        const output = await prediction.run(batch);
        disposeTree(batch);
        if (as === 'tensor') {
          outputs.push(output);
          continue;
        }
        outputs[0] ??= output;
        const tensors = tensorsIn(output);
        arrays.push(tensors.map((t) => ({ data: readSync(t), shape: t.shape })));
        if (outputs[0] !== output) disposeTree(output);
      }
    };
    try {
      await inMode(this.net, false, () => (ema === null ? pass() : ema.withAverages(pass)));
      if (outputs.length === 0) throw new ArgumentError('there is nothing to predict', { op: 'predict', expected: 'at least one item' });
      if (as === 'array') {
        const joined = arrays[0].map((_, k) => joinArrays(arrays.map((list) => list[k])));
        return mapTree(outputs[0], (k) => joined[k] as unknown as Tensor);
      }
      const lists = outputs.map(tensorsIn);
      return mapTree(outputs[0], (k) => (lists.length === 1 ? lists[0][k].clone() : concat(lists.map((list) => list[k]))));
    } finally {
      disposeTree(outputs);
    }
  }

  /**
   * Writes the weights (parameters and buffers) to a safetensors file, whole or not at all.
   * @param metadata text by name, kept in the file.
   */
  async save(path: string, metadata: ReadonlyMap<string, string> = new Map()): Promise<void> {
    await saveSafetensors(path, this.net.stateDict(), metadata);
  }

  /**
   * Loads weights from a safetensors file, or those of the last whole checkpoint from a directory of ModelCheckpoint.
   * @throws FormatError for a damaged file, ArgumentError when the weights are of another network
   */
  async load(path: string): Promise<void> {
    const fs = await nodeModule('node:fs/promises', 'load');
    const folder = await fs.stat(path).then(
      (status) => status.isDirectory(),
      () => false,
    );
    let tensors: ReadonlyMap<string, Tensor>;
    if (folder) {
      const loaded = await (await CheckpointStore.open(path)).loadLast();
      if (loaded === null)
        throw new FormatError(`there is no checkpoint in ${path}`, { op: 'load', expected: 'a folder that ModelCheckpoint wrote' });
      disposeTree([...loaded.tensors.values()]);
      tensors = loaded.weights;
    } else ({ tensors } = await loadSafetensors(path));
    try {
      this.net.loadStateDict(tensors);
    } finally {
      disposeTree([...tensors.values()]);
    }
  }

  /**
   * Exchanges the network's parameters and their averages (`ema`): for saving or exporting the averages. Call it again before
   * training goes on. @throws ArgumentError without averages
   */
  swapAverages(): void {
    const { ema } = this.ready('swapAverages');
    if (ema === null) throw new ArgumentError('there are no averages', { op: 'swapAverages', fix: 'Pass ema to compile().' });
    ema.swap();
  }

  private release(): void {
    const { compiled } = this;
    this.prediction?.dispose();
    this.prediction = null;
    if (compiled === null) return;
    for (const step of compiled.steps.values()) step.dispose();
    compiled.evaluation.dispose();
    compiled.ema?.dispose();
    compiled.precision?.scaler?.dispose();
    if (compiled.ownsOptimizer) compiled.optimizer.dispose();
    this.compiled = null;
  }

  /** Frees its programs and the state it made. The network, and an optimizer that was passed in, stay. */
  dispose(): void {
    this.release();
  }
}

/** Tensors of a structure become arrays. */
export type ArraysOf<T> = T extends Tensor ? ArrayResult : { readonly [K in keyof T]: ArraysOf<T[K]> };

function makeSchedule<Args extends readonly unknown[], Out, Target>(
  { options, optimizer }: Compiled<Args, Out, Target>,
  epochs: number,
  batches: number | null,
  accumulate: number,
): {
  scheduler: ReturnType<Extract<ScheduleOptions['scheduler'], (...args: never) => unknown>>;
  interval: 'step' | 'epoch';
  monitor?: string;
} | null {
  const { schedule } = options;
  if (schedule === undefined) return null;
  const {
    scheduler,
    interval = 'step',
    monitor,
  } = typeof schedule === 'object' && 'scheduler' in schedule ? schedule : { scheduler: schedule };
  const made = typeof scheduler === 'function' ? scheduler(optimizer, planOf(epochs, batches, accumulate)) : scheduler;
  return { scheduler: made, interval, monitor };
}

function directoryOf(callbacks: readonly Callback[]): string {
  const checkpoint = callbacks.find((c) => c instanceof ModelCheckpoint);
  if (checkpoint) return checkpoint.directory;
  throw new ArgumentError('resume is true, and no callback writes checkpoints', {
    op: 'fit',
    expected: 'a ModelCheckpoint among the callbacks',
    fix: 'Add one, or name the directory: resume: "runs/1".',
  });
}

function isAsync<T>(value: unknown): value is AsyncIterable<T> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function tensorsIn(value: unknown): Tensor[] {
  const tensors: Tensor[] = [];
  flattenTree(value, tensors, []);
  return tensors;
}

/** Cuts along the first axis. The pieces are views. */
async function* slices<In>(inputs: In, batchSize: number): AsyncGenerator<In, void, void> {
  const tensors = tensorsIn(inputs);
  const items = tensors[0]?.shape[0] ?? 0;
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw new ArgumentError(`batchSize is ${batchSize}`, { op: 'predict', received: batchSize, expected: 'a whole number, 1 or more' });
  }
  for (let start = 0; start < items; start += batchSize) {
    yield mapTree(inputs, (k) => tensors[k].slice([[start, Math.min(items, start + batchSize)]])) as In;
  }
}

function joinArrays(parts: readonly ArrayResult[]): ArrayResult {
  const [first] = parts;
  const length = parts.reduce((n, part) => n + part.data.length, 0);
  const data = new (first.data.constructor as new (length: number) => Float32Array)(length);
  let position = 0;
  for (const part of parts) {
    data.set(part.data as Float32Array, position);
    position += part.data.length;
  }
  return { data, shape: [parts.reduce((n, part) => n + (part.shape[0] ?? 1), 0), ...first.shape.slice(1)] };
}
