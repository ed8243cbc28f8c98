/** What all learning-rate schedules share. */
import { ArgumentError } from '../../errors.js';
import type { AnyOptimizer, Group, OptimizerOptions } from '../optimizer.js';

/** Plain JSON. */
export interface SchedulerState {
  readonly kind: string;
  /** Number of step() calls. */
  readonly lastStep: number;
  /** Learning rates that the schedule scales, by group. */
  readonly baseLrs: readonly number[];
  readonly lastLr: readonly number[];
  /** What the schedule has gathered beside these. */
  readonly own?: { readonly [name: string]: number | readonly number[] | readonly SchedulerState[] };
}

/** The learning rate each group had when its first schedule was made. */
const initialLrs = new WeakMap<Group<OptimizerOptions>, number>();

function initialLr(optimizer: AnyOptimizer, group: Group<OptimizerOptions>): number {
  const known = initialLrs.get(group);
  if (known !== undefined) return known;
  const lr = optimizer.lrOf(group);
  initialLrs.set(group, lr);
  return lr;
}

/**
 * Sets an optimizer's learning rates. The rate for step 0 is set when the schedule is made; `step()` comes after
 * `optimizer.step()` (or after an epoch, as the schedule counts). Compiled steps see the new rates.
 *
 * A schedule is a function of the base rate and the number of its step, so schedules compose: see {@link SequentialLR},
 * {@link ChainedLR} and {@link LinearWarmup}.
 */
export abstract class LRScheduler {
  readonly optimizer: AnyOptimizer;
  /** Rates before any schedule, by group. */
  protected baseLrs: readonly number[];
  protected lastStep = 0;
  private rates: readonly number[] = [];
  /** Names the schedule in its state. */
  private readonly kind: string;

  constructor(optimizer: AnyOptimizer, kind: string) {
    this.optimizer = optimizer;
    this.kind = kind;
    this.baseLrs = optimizer.groups.map((g) => initialLr(optimizer, g));
  }

  /** The learning rate of a group at a step, scaled from `base`. */
  abstract lrAt(step: number, base: number, group: number): number;

  /** Momentum at a step; null where the schedule leaves it alone. */
  momentumAt(_step: number, _group: number): number | null {
    return null;
  }

  /** Advances by one. `metric` is what schedules that watch the training go by. */
  step(_metric?: number): void {
    this.lastStep++;
    this.applyRates();
  }
  /** The rates that are set now, by group. */
  get lastLr(): readonly number[] {
    return this.rates;
  }
  /** The rate that a group's schedule scales when it stands alone. */
  baseLrOf(group: number): number {
    return this.baseLrs[group];
  }
  /** Sets the rates (and momenta) of the present step. Constructors end with it. */
  protected applyRates(): void {
    const { optimizer, lastStep } = this;
    this.rates = optimizer.groups.map((group, i) => {
      const lr = this.lrAt(lastStep, this.baseLrs[i], i);
      optimizer.setLr(group, lr);
      const momentum = this.momentumAt(lastStep, i);
      if (momentum !== null) optimizer.setMomentum(group, momentum);
      return lr;
    });
  }
  /** For schedules that change rates in their own way. */
  protected noteRates(rates: readonly number[]): void {
    this.rates = rates;
  }

  protected ownState(): SchedulerState['own'] {
    return undefined;
  }
  protected loadOwn(_own: NonNullable<SchedulerState['own']>): void {}

  stateDict(): SchedulerState {
    const own = this.ownState();
    const state = { kind: this.kind, lastStep: this.lastStep, baseLrs: this.baseLrs, lastLr: this.rates };
    return own === undefined ? state : { ...state, own };
  }
  /** Continues from a state and sets its rates. @throws ArgumentError when it is of another kind or number of groups */
  loadStateDict(state: SchedulerState): void {
    this.takeState(state);
    state.lastLr.forEach((lr, i) => {
      const group = this.optimizer.groups[i];
      this.optimizer.setLr(group, lr);
      const momentum = this.momentumAt(this.lastStep, i);
      if (momentum !== null) this.optimizer.setMomentum(group, momentum);
    });
  }
  /** {@link loadStateDict} without touching the optimizer. */
  takeState(state: SchedulerState): void {
    if (state.kind !== this.kind || state.baseLrs.length !== this.optimizer.groups.length) {
      throw new ArgumentError(`a state of ${state.kind} with ${state.baseLrs.length} groups`, {
        op: 'loadStateDict',
        received: state.kind,
        expected: `${this.kind} with ${this.optimizer.groups.length} groups`,
      });
    }
    this.lastStep = state.lastStep;
    this.baseLrs = state.baseLrs;
    this.rates = state.lastLr;
    if (state.own) this.loadOwn(state.own);
  }
}

/** A value for all groups, or a list with one for each. */
export function perGroup<T>(optimizer: AnyOptimizer, value: T | readonly T[], op: string): readonly T[] {
  const isList = (v: T | readonly T[]): v is readonly T[] => Array.isArray(v);
  if (!isList(value)) return optimizer.groups.map(() => value);
  if (value.length !== optimizer.groups.length) {
    throw new ArgumentError(`${value.length} values for ${optimizer.groups.length} parameter groups`, { op, expected: 'one a group' });
  }
  return value;
}

/** @throws ArgumentError unless `value` is a whole number from `least` on. */
export function requireWhole(value: number, name: string, op: string, least = 1): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new ArgumentError(`${name} is ${value}`, { op, received: value, expected: `a whole number from ${least} on` });
}
