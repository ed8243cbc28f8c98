/** Callbacks: what runs beside training. */
import type { AnyModule } from '../nn/module.js';
import type { AnyOptimizer } from '../optim/optimizer.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Machine } from './machine.js';
import type { BatchRecord, EpochRecord, History, Json, JsonObject } from './types.js';

/** Training under way, as callbacks see it. */
export interface TrainRun {
  readonly net: AnyModule;
  readonly optimizer: AnyOptimizer;
  /** Options of this training as plain data, for logs and reports. */
  readonly config: JsonObject;
  readonly machine: Machine;
  /** The epoch that will be the last, unless something stops it before. */
  readonly lastEpoch: number;
  /** Batches in an epoch; null when the data does not tell. */
  readonly batchesPerEpoch: number | null;
  /** Optimizer updates so far. */
  readonly step: number;
  /** Epochs completed so far, those before a resumed checkpoint included. */
  readonly epochs: readonly EpochRecord[];
  /** Set when this training continues from a checkpoint. */
  readonly resumed: { readonly checkpoint: string; readonly epoch: number; readonly step: number } | null;
  /** A schedule changes the learning rate. */
  readonly scheduled: boolean;
  /** Ends training after the current hooks; `reason` is for people. */
  stop(reason: string): void;
  /** The learning rate of each parameter group. */
  readonly lrs: readonly number[];
  setLrs(lrs: readonly number[]): void;
  /**
   * Runs `save` with everything a later resume() needs, after the hooks of all callbacks of this moment have run: a
   * checkpoint then holds what they have just learnt.
   */
  checkpoint(save: (state: TrainState) => void | Promise<void>): void;
}

/** Everything that a training continues from. The tensors are the live ones. */
export interface TrainState {
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Optimizer, averages, gathered gradients, generator and what callbacks keep, by name. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly json: JsonObject;
  readonly epoch: number;
  readonly step: number;
  /** Taken after a whole epoch. */
  readonly epochEnd: boolean;
  /** Of that epoch, or of the present one so far. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * Hooks into training; all are optional and may be asynchronous: training waits for them. They run in the order of the list of
 * callbacks.
 */
export interface Callback {
  /** Names its part of a checkpoint; default: the class's name. The second one of a name has `.2` behind it. */
  readonly name?: string;
  onTrainBegin?(run: TrainRun): void | Promise<void>;
  /** `epoch` counts from 1. */
  onEpochBegin?(run: TrainRun, epoch: number): void | Promise<void>;
  onBatchEnd?(run: TrainRun, batch: BatchRecord): void | Promise<void>;
  onEpochEnd?(run: TrainRun, epoch: EpochRecord): void | Promise<void>;
  /** The AbortSignal ended training; the state is that after the last whole step. */
  onAbort?(run: TrainRun): void | Promise<void>;
  /** Always, also after an abort or an error: `history.outcome` tells. */
  onTrainEnd?(run: TrainRun, history: History): void | Promise<void>;
  /** What it must remember over a resume. */
  stateDict?(): Json;
  loadStateDict?(state: Json): void;
  /** Tensors it must remember over a resume, by name. They stay the callback's. */
  tensors?(): ReadonlyMap<string, Tensor>;
  loadTensors?(tensors: ReadonlyMap<string, Tensor>): void;
}

/** A callback from functions. */
export class LambdaCallback implements Callback {
  readonly onTrainBegin?: Callback['onTrainBegin'];
  readonly onEpochBegin?: Callback['onEpochBegin'];
  readonly onBatchEnd?: Callback['onBatchEnd'];
  readonly onEpochEnd?: Callback['onEpochEnd'];
  readonly onAbort?: Callback['onAbort'];
  readonly onTrainEnd?: Callback['onTrainEnd'];
  constructor(hooks: Pick<Callback, 'onTrainBegin' | 'onEpochBegin' | 'onBatchEnd' | 'onEpochEnd' | 'onAbort' | 'onTrainEnd'>) {
    Object.assign(this, hooks);
  }
}
