/** Ends training when a measure stops getting better. */
import { noGrad } from '../../autograd/mode.js';
import { ArgumentError } from '../../errors.js';
import { copy } from '../../ops/cast.js';
import { writeInto } from '../../ops/write-view.js';
import { makeState } from '../../optim/optimizer.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Callback, TrainRun } from '../callback.js';
import type { EpochRecord, Json } from '../types.js';
import { Monitor, type MonitorOptions } from './monitor.js';

export interface EarlyStoppingOptions extends MonitorOptions {
  /** Epochs without improvement after which training ends. Default 5. */
  readonly patience?: number;
  /** Puts the weights of the best epoch back at the end of training. Default false. */
  readonly restoreBest?: boolean;
}

/** Stops training when a measure has not become better for `patience` epochs. */
export class EarlyStopping implements Callback {
  readonly name = 'earlyStopping';
  /** Epoch with the best measure, 0 before the first. */
  bestEpoch = 0;
  private readonly monitor: Monitor;
  private readonly patience: number;
  private readonly restoreBest: boolean;
  private waited = 0;
  private readonly weights = new Map<string, Tensor>();

  constructor({ patience = 5, restoreBest = false, ...monitor }: EarlyStoppingOptions = {}) {
    if (!Number.isSafeInteger(patience) || patience < 1) {
      throw new ArgumentError(`patience is ${patience}`, {
        op: 'EarlyStopping',
        received: patience,
        expected: 'a whole number, 1 or more',
      });
    }
    this.monitor = new Monitor('EarlyStopping', monitor);
    this.patience = patience;
    this.restoreBest = restoreBest;
  }
  /** The best value so far; null before the first epoch. */
  get best(): number | null {
    return this.monitor.best;
  }

  onTrainBegin({ resumed }: TrainRun): void {
    if (resumed !== null) return;
    this.monitor.best = null;
    this.bestEpoch = 0;
    this.waited = 0;
    this.forget();
  }
  onEpochEnd(run: TrainRun, { epoch, metrics }: EpochRecord): void {
    if (this.monitor.improves(metrics)) {
      this.bestEpoch = epoch;
      this.waited = 0;
      if (this.restoreBest) this.remember(run.net.stateDict());
    } else if (++this.waited >= this.patience) {
      const name = this.monitor.nameIn(metrics);
      run.stop(`${name} has not improved for ${this.waited} epochs; best ${this.monitor.best} in epoch ${this.bestEpoch}`);
    }
  }
  onTrainEnd(run: TrainRun): void {
    if (this.weights.size > 0) run.net.loadStateDict(this.weights);
    this.forget();
  }

  private remember(state: ReadonlyMap<string, Tensor>): void {
    for (const [name, t] of state) {
      const held = this.weights.get(name);
      if (held) noGrad(() => writeInto(held, t.detach()));
      else
        this.weights.set(
          name,
          makeState(() => copy(t.detach())),
        );
    }
  }
  private forget(): void {
    for (const t of this.weights.values()) t.dispose();
    this.weights.clear();
  }

  stateDict(): Json {
    return { best: this.monitor.best, bestEpoch: this.bestEpoch, waited: this.waited };
  }
  loadStateDict(state: Json): void {
    const { best, bestEpoch, waited } = state as { readonly best: number | null; readonly bestEpoch: number; readonly waited: number };
    this.monitor.best = best;
    this.bestEpoch = bestEpoch;
    this.waited = waited;
  }
  tensors(): ReadonlyMap<string, Tensor> {
    return this.weights;
  }
  loadTensors(tensors: ReadonlyMap<string, Tensor>): void {
    this.forget();
    if (this.restoreBest) this.remember(tensors);
  }
}
