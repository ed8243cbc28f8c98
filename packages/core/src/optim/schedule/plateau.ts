/** A schedule that watches the training. */
import { ArgumentError } from '../../errors.js';
import type { AnyOptimizer } from '../optimizer.js';
import { LRScheduler, perGroup, requireWhole, type SchedulerState } from './scheduler.js';

export interface PlateauOptions {
  /** Whether less or more is better. */
  readonly mode?: 'min' | 'max';
  readonly factor?: number;
  /** Steps without improvement that are let pass; default 10. */
  readonly patience?: number;
  /** What counts as an improvement; default 1e-4. */
  readonly threshold?: number;
  /** Of the best value so far (`rel`), or in its units (`abs`). */
  readonly thresholdMode?: 'rel' | 'abs';
  /** Steps after a reduction in which nothing is counted. */
  readonly cooldown?: number;
  readonly minLr?: number | readonly number[];
  /** Smaller reductions are not made; default 1e-8. */
  readonly eps?: number;
}

/** Times `factor` when the measure given to step() has stopped improving. It starts from the rates as they are. */
export class ReduceLROnPlateau extends LRScheduler {
  private readonly options: Required<Omit<PlateauOptions, 'minLr'>>;
  private readonly minLrs: readonly number[];
  private best: number;
  private bad = 0;
  private cooling = 0;

  constructor(optimizer: AnyOptimizer, options: PlateauOptions = {}) {
    const {
      mode = 'min',
      factor = 0.1,
      patience = 10,
      threshold = 1e-4,
      thresholdMode = 'rel',
      cooldown = 0,
      minLr = 0,
      eps = 1e-8,
    } = options;
    if (!(factor > 0 && factor < 1)) {
      throw new ArgumentError(`factor is ${factor}`, { op: 'ReduceLROnPlateau', received: factor, expected: 'a number between 0 and 1' });
    }
    requireWhole(patience, 'patience', 'ReduceLROnPlateau', 0);
    super(optimizer, 'ReduceLROnPlateau');
    this.options = { mode, factor, patience, threshold, thresholdMode, cooldown, eps };
    this.minLrs = perGroup(optimizer, minLr, 'ReduceLROnPlateau');
    this.best = mode === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    this.noteRates(optimizer.groups.map((g) => optimizer.lrOf(g)));
  }
  override lrAt(_step: number, _base: number, group: number): number {
    return this.lastLr[group];
  }
  /** @throws ArgumentError without a metric */
  override step(metric?: number): void {
    if (metric === undefined) {
      throw new ArgumentError('step() without the measure to go by', {
        op: 'ReduceLROnPlateau',
        expected: 'a number',
        fix: 'Pass the validation loss: schedule.step(loss).',
      });
    }
    const { factor, patience, cooldown, eps } = this.options;
    this.lastStep++;
    if (this.isBetter(metric)) {
      this.best = metric;
      this.bad = 0;
    } else this.bad++;
    if (this.cooling > 0) {
      this.cooling--;
      this.bad = 0;
    }
    const reduce = this.bad > patience;
    if (reduce) {
      this.cooling = cooldown;
      this.bad = 0;
    }
    this.noteRates(
      this.optimizer.groups.map((group, i) => {
        const lr = this.optimizer.lrOf(group);
        const next = Math.max(lr * factor, this.minLrs[i]);
        if (!reduce || lr - next <= eps) return lr;
        this.optimizer.setLr(group, next);
        return next;
      }),
    );
  }
  private isBetter(value: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    if (thresholdMode === 'abs') return mode === 'min' ? value < this.best - threshold : value > this.best + threshold;
    return mode === 'min' ? value < this.best * (1 - threshold) : value > this.best * (1 + threshold);
  }
  protected override ownState(): SchedulerState['own'] {
    // JSON has no infinities.
    return { bad: this.bad, cooling: this.cooling, ...(Number.isFinite(this.best) ? { best: this.best } : {}) };
  }
  protected override loadOwn({ bad, cooling, best }: NonNullable<SchedulerState['own']>): void {
    this.bad = Number(bad);
    this.cooling = Number(cooling);
    this.best = best === undefined ? (this.options.mode === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY) : Number(best);
  }
}
