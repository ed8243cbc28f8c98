/** What the parts of the train API pass to each other. */
import type { Module } from '../nn/module.js';
import type { AnyOptimizer } from '../optim/optimizer.js';
import type { Tensor } from '../tensor/tensor.js';

/** Plain data: survives JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** Tensors of one side of a batch: one, a list, or by name, nested as needed. */
export type TensorTree = Tensor | readonly TensorTree[] | { readonly [name: string]: TensorTree };

/** What a network takes: its one argument, or a list with all of them. */
export type InputsOf<Args extends readonly unknown[]> = Args extends readonly [infer Only] ? Only | readonly [Only] : Readonly<Args>;

/** Scalars that a loss reports beside itself; each is averaged over the epoch like the loss. */
export type LossParts = { readonly loss: Tensor } & { readonly [part: string]: Tensor };
/** A 0-d tensor to minimise, alone or with the parts it is made of. */
export type LossResult = Tensor | LossParts;
/** A loss: a function of the network's output and the targets, or a module that is one. */
export type Loss<Out, Target> = ((output: Out, target: Target) => LossResult) | Module<[Out, Target], LossResult>;

/** A measure that gathers batches; the classes of `trireme/metrics` are such. */
export interface MetricLike<Out = Tensor, Target = Tensor> {
  readonly name: string;
  update(prediction: Out, target: Target): void | Promise<void>;
  compute(): number | Readonly<Record<string, number>>;
  reset(): void;
  /**
   * What it has gathered so far, for checkpoints in the middle of an epoch. Without it the measure of an epoch that is resumed in
   * its middle is that of the batches after the checkpoint.
   */
  stateDict?(): Json;
  loadStateDict?(state: Json): void;
}
/** A measure of one batch as a 0-d tensor, computed inside the compiled step; its mean over the items is reported. */
export type MetricFunction<Out, Target> = (output: Out, target: Target) => Tensor;
/** Gathering measures, and measures of a batch by name. */
export type Metrics<Out, Target> =
  | readonly MetricLike<Out, Target>[]
  | Readonly<Record<string, MetricLike<Out, Target> | MetricFunction<Out, Target>>>;

/** The part of a learning-rate schedule that training needs; those of `trireme/optim` have it. */
export interface SchedulerLike {
  step(metric?: number): void;
  stateDict(): unknown;
  loadStateDict(state: never): void;
}

/** How long training will be. @throws ArgumentError when asked for what the length of the data would tell and it is unknown. */
export interface SchedulePlan {
  readonly epochs: number;
  /** Optimizer updates in an epoch. */
  readonly stepsPerEpoch: number;
  /** Optimizer updates in all. */
  readonly steps: number;
}
export type ScheduleFactory<O extends AnyOptimizer = AnyOptimizer> = (optimizer: O, plan: SchedulePlan) => SchedulerLike;
export interface ScheduleOptions<O extends AnyOptimizer = AnyOptimizer> {
  readonly scheduler: SchedulerLike | ScheduleFactory<O>;
  /** When it takes a step: after each optimizer update (default) or at the end of each epoch. */
  readonly interval?: 'step' | 'epoch';
  /** Name of the epoch's measure given to `step()`, for schedules that follow one; only with interval 'epoch'. */
  readonly monitor?: string;
}
export type Schedule<O extends AnyOptimizer = AnyOptimizer> = SchedulerLike | ScheduleFactory<O> | ScheduleOptions<O>;

/** After one batch. */
export interface BatchRecord {
  /** From 1. */
  readonly epoch: number;
  /** Within the epoch, from 1. */
  readonly batch: number;
  /** Optimizer updates so far. */
  readonly step: number;
  /** False for a batch whose gradients were only gathered (`accumulate`). */
  readonly updated: boolean;
  /** Items in the batch. */
  readonly size: number;
  readonly loss: number;
  /** Parts of the loss, measures of the batch, and `gradNorm` (before clipping). */
  readonly measures: Readonly<Record<string, number>>;
  /** Of the update just made, of the first parameter group. */
  readonly lr: number;
  /** Means over the epoch so far, `loss` among them. */
  readonly means: Readonly<Record<string, number>>;
  /** Seconds for the batch, loading included. */
  readonly seconds: number;
}

/** After one epoch. */
export interface EpochRecord {
  /** From 1. */
  readonly epoch: number;
  /** Optimizer updates so far. */
  readonly step: number;
  /** Means over the epoch: `loss`, measures, and for the validation data `valLoss` and so on. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Of the last update, of the first parameter group. */
  readonly lr: number;
  readonly items: number;
  /** Seconds for training and validation. */
  readonly seconds: number;
}

/** How training ended: after the last epoch, by stop(), by its AbortSignal, or by an error. */
export type Outcome = 'finished' | 'stopped' | 'aborted' | 'failed';

/** What fit() returns. */
export interface History {
  readonly epochs: readonly EpochRecord[];
  readonly outcome: Outcome;
  /** Why a callback stopped it; null otherwise. */
  readonly reason: string | null;
  readonly seconds: number;
}

/** `valAccuracy` for `accuracy`. */
export function validationName(name: string): string {
  return `val${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

/** Whether less of a measure is better, by its name. */
export function lessIsBetter(monitor: string): boolean {
  return /loss|error|perplexity|mae|mse|rmse|cer|wer|distance/i.test(monitor);
}
