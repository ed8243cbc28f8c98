/** Lowers the learning rate when a measure stops getting better. */
import { ArgumentError } from '../../errors.js';
import type { Callback, TrainRun } from '../callback.js';
import type { EpochRecord, Json } from '../types.js';
import { Monitor, type MonitorOptions } from './monitor.js';

export interface ReduceLROnPlateauOptions extends MonitorOptions {
  /** The learning rates are multiplied by this. Default 0.1. */
  readonly factor?: number;
  /** Epochs without improvement before a reduction. Default 5. */
  readonly patience?: number;
  /** Epochs after a reduction that are not counted. Default 0. */
  readonly cooldown?: number;
  readonly minLr?: number;
}

/** Multiplies the learning rates by `factor` when a measure has not become better for more than `patience` epochs. */
export class ReduceLROnPlateau implements Callback {
  readonly name = 'reduceLROnPlateau';
  private readonly monitor: Monitor;
  private readonly options: Required<Omit<ReduceLROnPlateauOptions, keyof MonitorOptions>>;
  private waited = 0;
  private cooling = 0;

  constructor({ factor = 0.1, patience = 5, cooldown = 0, minLr = 0, ...monitor }: ReduceLROnPlateauOptions = {}) {
    if (!(factor > 0 && factor < 1)) {
      throw new ArgumentError(`factor is ${factor}`, { op: 'ReduceLROnPlateau', received: factor, expected: 'a number between 0 and 1' });
    }
    this.monitor = new Monitor('ReduceLROnPlateau', monitor);
    this.options = { factor, patience, cooldown, minLr };
  }

  onTrainBegin({ scheduled, resumed }: TrainRun): void {
    if (scheduled) {
      throw new ArgumentError('a schedule sets the learning rate already', {
        op: 'ReduceLROnPlateau',
        expected: 'one of the two',
        fix: 'Remove this callback, or the schedule of compile().',
      });
    }
    if (resumed !== null) return;
    this.monitor.best = null;
    this.waited = 0;
    this.cooling = 0;
  }
  onEpochEnd(run: TrainRun, { metrics }: EpochRecord): void {
    const { factor, patience, cooldown, minLr } = this.options;
    if (this.monitor.improves(metrics)) this.waited = 0;
    else this.waited++;
    if (this.cooling > 0) {
      this.cooling--;
      this.waited = 0;
    }
    if (this.waited <= patience) return;
    run.setLrs(run.lrs.map((lr) => Math.min(lr, Math.max(minLr, lr * factor))));
    this.cooling = cooldown;
    this.waited = 0;
  }

  stateDict(): Json {
    return { best: this.monitor.best, waited: this.waited, cooling: this.cooling };
  }
  loadStateDict(state: Json): void {
    const { best, waited, cooling } = state as { readonly best: number | null; readonly waited: number; readonly cooling: number };
    this.monitor.best = best;
    this.waited = waited;
    this.cooling = cooling;
  }
}
