/** Schedules made of schedules. */
import { ArgumentError } from '../../errors.js';
import type { AnyOptimizer } from '../optimizer.js';
import { ReduceLROnPlateau } from './plateau.js';
import { LRScheduler, requireWhole, type SchedulerState } from './scheduler.js';

function requireParts(optimizer: AnyOptimizer, parts: readonly LRScheduler[], op: string): void {
  if (parts.length === 0) throw new ArgumentError('no schedules', { op, expected: 'at least one' });
  for (const part of parts) {
    if (part.optimizer !== optimizer)
      throw new ArgumentError('a schedule of another optimizer', { op, expected: 'schedules of one optimizer' });
    if (part instanceof ReduceLROnPlateau) {
      throw new ArgumentError('ReduceLROnPlateau is no function of the step', {
        op,
        expected: 'schedules that follow the step alone',
        fix: 'Wrap it in LinearWarmup, or step it on its own.',
      });
    }
  }
}

/** One schedule after the other; each starts its own count at its milestone. */
export class SequentialLR extends LRScheduler {
  private readonly parts: readonly LRScheduler[];
  private readonly milestones: readonly number[];
  constructor(optimizer: AnyOptimizer, parts: readonly LRScheduler[], { milestones }: { readonly milestones: readonly number[] }) {
    requireParts(optimizer, parts, 'SequentialLR');
    if (milestones.length !== parts.length - 1 || milestones.some((m, i) => i > 0 && m <= milestones[i - 1])) {
      throw new ArgumentError(`milestones ${milestones.join(', ')} for ${parts.length} schedules`, {
        op: 'SequentialLR',
        received: milestones,
        expected: 'one ascending number between each two schedules',
      });
    }
    super(optimizer, 'SequentialLR');
    this.parts = parts;
    this.milestones = milestones;
    this.applyRates();
  }
  private partAt(step: number): readonly [part: LRScheduler, index: number, step: number] {
    const index = this.milestones.filter((m) => m <= step).length;
    return [this.parts[index], index, index === 0 ? step : step - this.milestones[index - 1]];
  }
  override lrAt(step: number, base: number, group: number): number {
    const [part, , own] = this.partAt(step);
    return part.lrAt(own, baseOf(part, base, this.baseLrs[group], group), group);
  }
  override momentumAt(step: number, group: number): number | null {
    const [part, , own] = this.partAt(step);
    return part.momentumAt(own, group);
  }
  protected override ownState(): SchedulerState['own'] {
    return { parts: this.parts.map((p) => p.stateDict()) };
  }
  protected override loadOwn({ parts }: NonNullable<SchedulerState['own']>): void {
    takeStates(this.parts, parts);
  }
}

/** All schedules at once: each scales what the one before gives. Factors multiply. */
export class ChainedLR extends LRScheduler {
  private readonly parts: readonly LRScheduler[];
  constructor(parts: readonly LRScheduler[]) {
    if (parts.length === 0) throw new ArgumentError('no schedules', { op: 'ChainedLR', expected: 'at least one' });
    const { optimizer } = parts[0];
    requireParts(optimizer, parts, 'ChainedLR');
    super(optimizer, 'ChainedLR');
    this.parts = parts;
    this.applyRates();
  }
  override lrAt(step: number, base: number, group: number): number {
    return this.parts.reduce((lr, part) => part.lrAt(step, lr, group), base);
  }
  override momentumAt(step: number, group: number): number | null {
    return this.parts.reduce<number | null>((m, part) => part.momentumAt(step, group) ?? m, null);
  }
  protected override ownState(): SchedulerState['own'] {
    return { parts: this.parts.map((p) => p.stateDict()) };
  }
  protected override loadOwn({ parts }: NonNullable<SchedulerState['own']>): void {
    takeStates(this.parts, parts);
  }
}

export interface WarmupOptions {
  /** Steps until the schedule takes over. */
  readonly steps: number;
  /** Share of the schedule's first rate to start from; default 0. */
  readonly startFactor?: number;
}

/** A straight line up to the first rate of a schedule, which then runs from its start. Works with any, ReduceLROnPlateau too. */
export class LinearWarmup extends LRScheduler {
  private readonly after: LRScheduler;
  private readonly steps: number;
  private readonly startFactor: number;
  constructor(after: LRScheduler, { steps, startFactor = 0 }: WarmupOptions) {
    requireWhole(steps, 'steps', 'LinearWarmup');
    super(after.optimizer, 'LinearWarmup');
    this.after = after;
    this.steps = steps;
    this.startFactor = startFactor;
    // A schedule that starts from the present rates starts from those before the warm-up.
    if (after instanceof ReduceLROnPlateau) this.baseLrs = after.lastLr;
    this.applyRates();
  }
  override lrAt(step: number, base: number, group: number): number {
    const own = baseOf(this.after, base, this.baseLrs[group], group);
    if (step >= this.steps) return this.after.lrAt(step - this.steps, own, group);
    const first = this.after instanceof ReduceLROnPlateau ? base : this.after.lrAt(0, own, group);
    return first * (this.startFactor + ((1 - this.startFactor) * step) / this.steps);
  }
  override momentumAt(step: number, group: number): number | null {
    return this.after.momentumAt(Math.max(0, step - this.steps), group);
  }
  override step(metric?: number): void {
    if (!(this.after instanceof ReduceLROnPlateau) || this.lastStep < this.steps) {
      super.step();
      return;
    }
    this.lastStep++;
    this.after.step(metric);
    this.noteRates(this.after.lastLr);
  }
  protected override ownState(): SchedulerState['own'] {
    return { parts: [this.after.stateDict()] };
  }
  protected override loadOwn({ parts }: NonNullable<SchedulerState['own']>): void {
    takeStates([this.after], parts);
  }
}

/** The base that a part scales: its own where that differs from the optimizer's (CyclicLR, OneCycleLR), unless it is chained. */
function baseOf(part: LRScheduler, base: number, outer: number, group: number): number {
  return base === outer ? part.baseLrOf(group) : base;
}

function takeStates(parts: readonly LRScheduler[], states: unknown): void {
  if (!Array.isArray(states) || states.length !== parts.length) {
    throw new ArgumentError('a state of other schedules', { op: 'loadStateDict', expected: `the states of ${parts.length} schedules` });
  }
  parts.forEach((part, i) => part.takeState(states[i] as SchedulerState));
}
