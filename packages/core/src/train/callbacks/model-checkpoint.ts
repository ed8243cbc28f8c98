/** Writes checkpoints while training. */
import { ArgumentError } from '../../errors.js';
import type { Callback, TrainRun, TrainState } from '../callback.js';
import { type CheckpointEntry, CheckpointStore } from '../checkpoint.js';
import type { BatchRecord, EpochRecord, Json } from '../types.js';
import { Monitor, type MonitorOptions } from './monitor.js';

export interface ModelCheckpointOptions extends Omit<MonitorOptions, 'minDelta'> {
  /** Folder of the checkpoints and their manifest, made when needed. One training at a time may write there. */
  readonly directory: string;
  /** A checkpoint after every so many epochs; 0 for none. Default 1. */
  readonly everyEpochs?: number;
  /** A checkpoint after every so many optimizer updates. */
  readonly everySteps?: number;
  /** Checkpoints to keep for the best values of the measure. Default 1. */
  readonly keepBest?: number;
  /** Newest checkpoints to keep. Default 1. */
  readonly keepLast?: number;
}

/**
 * Saves the whole state of training, so that fit({ resume: true }) continues with the same bits: at the end of epochs, every n
 * steps, and when the AbortSignal ends training. Keeps the newest and the best; at any moment, also when the process is killed
 * while it writes, the manifest names whole checkpoints only. Without `resume` a new training removes the former checkpoints of
 * its directory.
 */
export class ModelCheckpoint implements Callback {
  readonly name = 'modelCheckpoint';
  readonly directory: string;
  private readonly options: Required<Pick<ModelCheckpointOptions, 'everyEpochs' | 'keepBest' | 'keepLast'>> & {
    readonly everySteps: number;
  };
  private readonly monitor: Monitor;
  private monitored: string | null = null;
  private store: CheckpointStore | null = null;

  constructor({ directory, everyEpochs = 1, everySteps = 0, keepBest = 1, keepLast = 1, ...monitor }: ModelCheckpointOptions) {
    for (const [name, value] of Object.entries({ everyEpochs, everySteps, keepBest, keepLast })) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new ArgumentError(`${name} is ${value}`, { op: 'ModelCheckpoint', received: value, expected: 'a whole number, 0 or more' });
      }
    }
    this.directory = directory;
    this.options = { everyEpochs, everySteps, keepBest, keepLast };
    this.monitor = new Monitor('ModelCheckpoint', monitor);
  }

  /** The checkpoints there are, from the oldest to the newest. */
  get checkpoints(): readonly CheckpointEntry[] {
    return this.store?.checkpoints ?? [];
  }
  /** The kept checkpoint with the best measure; null before the first epoch's. */
  get best(): CheckpointEntry | null {
    return this.ranked(this.checkpoints)[0] ?? null;
  }

  async onTrainBegin({ resumed }: TrainRun): Promise<void> {
    this.store = await CheckpointStore.open(this.directory);
    if (resumed === null) await this.store.clear();
    else await this.store.clean();
  }
  onBatchEnd(run: TrainRun, { step, updated }: BatchRecord): void {
    const { everySteps } = this.options;
    if (everySteps > 0 && updated && step % everySteps === 0) this.request(run);
  }
  onEpochEnd(run: TrainRun, { epoch, metrics }: EpochRecord): void {
    this.monitored = this.monitor.nameIn(metrics);
    // A misspelt name is told in the first epoch.
    if (this.options.keepBest > 0) this.monitor.valueIn(metrics);
    const { everyEpochs } = this.options;
    if (everyEpochs > 0 && (epoch % everyEpochs === 0 || epoch === run.lastEpoch)) this.request(run);
  }
  onAbort(run: TrainRun): void {
    this.request(run);
  }

  private request(run: TrainRun): void {
    run.checkpoint((state) => this.save(state));
  }
  private async save(state: TrainState): Promise<void> {
    const { store } = this;
    if (store === null) return;
    const { keepBest, keepLast } = this.options;
    await store.save(state, (all) => {
      const newest = all.slice(Math.max(0, all.length - Math.max(1, keepLast)));
      return [...newest, ...this.ranked(all).slice(0, keepBest)].map((entry) => entry.name);
    });
  }
  /** Those of whole epochs with the measure, the best first. */
  private ranked(all: readonly CheckpointEntry[]): CheckpointEntry[] {
    const { monitored } = this;
    if (monitored === null) return [];
    return all
      .filter((entry) => entry.epochEnd && Object.hasOwn(entry.metrics, monitored))
      .sort((a, b) => this.monitor.compare(monitored, a.metrics[monitored], b.metrics[monitored]));
  }

  stateDict(): Json {
    return { monitored: this.monitored };
  }
  loadStateDict(state: Json): void {
    this.monitored = (state as { readonly monitored: string | null }).monitored;
  }
}
