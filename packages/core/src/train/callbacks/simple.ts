/** Small callbacks. */
import type { Callback, TrainRun } from '../callback.js';
import type { BatchRecord } from '../types.js';

/** Ends training when the loss is NaN or infinite. */
export class TerminateOnNaN implements Callback {
  readonly name = 'terminateOnNaN';
  onBatchEnd(run: TrainRun, { loss, epoch, batch }: BatchRecord): void {
    if (!Number.isFinite(loss)) run.stop(`the loss is ${loss} in epoch ${epoch}, batch ${batch}`);
  }
}

export interface LearningRateLoggerOptions {
  /** Once a step (default) or once an epoch. */
  readonly interval?: 'step' | 'epoch';
}

/** Keeps the learning rate of each parameter group over the training, for plots. */
export class LearningRateLogger implements Callback {
  readonly name = 'learningRateLogger';
  /** One entry a step or an epoch. */
  readonly history: { readonly step: number; readonly lrs: readonly number[] }[] = [];
  private readonly interval: 'step' | 'epoch';
  constructor({ interval = 'step' }: LearningRateLoggerOptions = {}) {
    this.interval = interval;
  }
  onTrainBegin({ resumed }: TrainRun): void {
    if (resumed === null) this.history.length = 0;
  }
  onBatchEnd(run: TrainRun, { step, updated }: BatchRecord): void {
    if (this.interval === 'step' && updated) this.history.push({ step, lrs: run.lrs });
  }
  onEpochEnd(run: TrainRun): void {
    if (this.interval === 'epoch') this.history.push({ step: run.step, lrs: run.lrs });
  }
}
