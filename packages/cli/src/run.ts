/** What a script describes, and what a configuration file becomes: one training from its data to its predictions. */
import { Module } from 'trireme/nn';
import type {
  Callback,
  CompileOptions,
  ExampleInput,
  InputsOf,
  Json,
  JsonObject,
  Model,
  ModelCheckpointOptions,
  Pair,
  TrainData,
} from 'trireme/train';

/** What an option can hold; `--set name=value` keeps the type of the default. */
export type OptionValue = null | boolean | number | string | readonly OptionValue[] | { readonly [name: string]: OptionValue };
export type Options = { readonly [name: string]: OptionValue };

export type DataPart = 'train' | 'validation' | 'test';

export interface DataContext<O> {
  readonly options: O;
  readonly seed: number;
  /** What this command reads: the other parts need not be opened. */
  readonly parts: readonly DataPart[];
  /** What the training has learnt from its data ({@link RunData.facts}); null when the training itself asks. */
  readonly facts: JsonObject | null;
  readonly signal: AbortSignal;
}

/** Data of a run. A part that is not there is left out. */
export interface RunData<In, Target, B = Pair<In, Target>> {
  readonly train?: TrainData<In, Target, B>;
  /** Evaluated after each epoch. */
  readonly validation?: TrainData<In, Target, B>;
  /** Evaluated once after training, and by `trireme eval`. */
  readonly test?: TrainData<In, Target, B>;
  /** Makes inputs and targets of a batch, for data that does not give pairs of tensors. */
  readonly toTensors?: (batch: B) => Pair<In, Target>;
  /** What evaluation and prediction need to know of the training data (names of classes, means ...); kept as `data.json`. */
  readonly facts?: JsonObject;
  /** Called at the end: close files and loaders here. */
  close?(): void | Promise<void>;
}

export interface PredictContext<O, Args extends readonly unknown[], Out, Target> {
  readonly options: O;
  /** The arguments of `trireme predict` after the script: files, as a rule. */
  readonly inputs: readonly string[];
  /** With the weights of the checkpoint. */
  readonly model: Model<Args, Out, Target>;
  readonly facts: JsonObject | null;
  readonly signal: AbortSignal;
}

/** What is written beside the checkpoints. All are on unless told otherwise, `csv` excepted. */
export interface LogOptions {
  /** `logs.jsonl` */
  readonly jsonl?: boolean;
  /** `logs.csv` */
  readonly csv?: boolean;
  /** Event files in `tensorboard/`. */
  readonly tensorBoard?: boolean;
  /** `report.html` */
  readonly report?: boolean;
  /** Progress on standard error. */
  readonly progress?: boolean;
  /** Lines and scalars for every so many optimizer updates. Default 1. */
  readonly everySteps?: number;
}

export interface RunDefinition<O extends Options, Args extends readonly unknown[], Out, Target, B> {
  /** Of the output folder and the report; default: the file's name. */
  readonly name?: string;
  /** Options with their defaults; `--set lr=0.01 --set model.depth=3` changes them. */
  readonly options?: O;
  readonly epochs: number | ((options: O) => number);
  /** Of weights, dropout and the order of data in memory; `--seed` changes it. Default 0. */
  readonly seed?: number;
  /** Default: `runs/<name>` in the working folder. */
  readonly output?: string;
  net(options: O): Module<Args, Out> | Promise<Module<Args, Out>>;
  data(context: DataContext<O>): RunData<InputsOf<Args>, Target, B> | Promise<RunData<InputsOf<Args>, Target, B>>;
  /** The network alone decides about `Out`. */
  compile(options: O): CompileOptions<Args, NoInfer<Out>, Target>;
  /** Epochs from one validation to the next. */
  readonly validateEvery?: number;
  /** Beside those of the command (progress, checkpoints, logs, report, an end when the loss is NaN). */
  callbacks?(context: { readonly options: O; readonly output: string }): readonly Callback[];
  readonly checkpoint?: Omit<ModelCheckpointOptions, 'directory'>;
  readonly log?: LogOptions;
  /**
   * Waits for native code before training instead of swapping it in meanwhile, so that runs (and resumed runs) give the same
   * bits. Default true.
   */
  readonly deterministic?: boolean;
  /** Shapes of the inputs, the batch included, for `summary` and the graph in TensorBoard. Default: those of the first batch. */
  example?(options: O): ExampleInput | readonly ExampleInput[];
  /** One entry for each item. Without it `trireme predict` says that the run cannot. */
  predict?(context: PredictContext<O, Args, Out, Target>): readonly Json[] | Promise<readonly Json[]>;
}

/** Any run, after its types have done their work. */
export type AnyDefinition = RunDefinition<Options, readonly unknown[], unknown, unknown, unknown>;
export type AnyModel = Model<readonly unknown[], unknown, unknown>;
export type AnyData = RunData<InputsOf<readonly unknown[]>, unknown, unknown>;

const mark = Symbol.for('@trireme/cli.run');

/** What a script exports. Made by {@link defineRun}. */
export interface Run {
  readonly definition: AnyDefinition;
}

/**
 * Describes a training; the default export of a script for `trireme train`, `eval`, `predict`, `summary` and `warmup`.
 *
 *   export default defineRun({
 *     options: { lr: 1e-3, hidden: 64 },
 *     epochs: 10,
 *     net: ({ hidden }) => new nn.Sequential(new nn.Linear(4, hidden), new nn.ReLU(), new nn.Linear(hidden, 3)),
 *     data: async () => ({ train: { x, y }, test: { x: heldX, y: heldY } }),
 *     compile: ({ lr }) => ({ optimizer: (p) => new AdamW(p, { lr }), loss: crossEntropy, metrics: [new Accuracy()] }),
 *   });
 */
export function defineRun<O extends Options, Args extends readonly unknown[], Out, Target, B>(
  definition: RunDefinition<O, Args, Out, Target, B>,
): Run {
  return Object.assign({ definition: definition as unknown as AnyDefinition }, { [mark]: Module });
}

/** Whether a value was made by {@link defineRun}, of whichever copy. */
export function isRun(value: unknown): value is Run {
  return typeof value === 'object' && value !== null && mark in value;
}
/** Whether the run was made with the copy of the library that this command uses. */
export function isOwnRun(run: Run): boolean {
  return (run as unknown as Record<symbol, unknown>)[mark] === Module;
}
