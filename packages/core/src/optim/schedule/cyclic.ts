/** Schedules that go up before they go down, and take the momentum along. */
import { ArgumentError } from '../../errors.js';
import type { AnyOptimizer } from '../optimizer.js';
import { LRScheduler, perGroup, requireWhole } from './scheduler.js';

type PerGroup = number | readonly number[];

export interface CyclicOptions {
  readonly baseLr: PerGroup;
  readonly maxLr: PerGroup;
  /** Steps on the way up; default 2000. */
  readonly stepSizeUp?: number;
  /** Steps on the way down; default as many as up. */
  readonly stepSizeDown?: number;
  /** 'triangular2' halves the height each cycle, 'exp_range' scales it by `gamma ** step`. */
  readonly mode?: 'triangular' | 'triangular2' | 'exp_range';
  readonly gamma?: number;
  /** Factor of the height, by number of the cycle (from 1) or of the step; takes the place of `mode`. */
  readonly scale?: { readonly by: 'cycle' | 'iterations'; readonly fn: (n: number) => number };
  /** Moves momentum (or beta1) the other way; default true. */
  readonly cycleMomentum?: boolean;
  readonly baseMomentum?: PerGroup;
  readonly maxMomentum?: PerGroup;
}

/** Smith, arXiv:1506.01186: up and down between two rates. Its base rate is `baseLr`. */
export class CyclicLR extends LRScheduler {
  private readonly maxLrs: readonly number[];
  private readonly baseMomenta: readonly number[];
  private readonly maxMomenta: readonly number[];
  private readonly cycleMomentum: boolean;
  private readonly total: number;
  private readonly upShare: number;
  private readonly scale: NonNullable<CyclicOptions['scale']>;

  constructor(optimizer: AnyOptimizer, options: CyclicOptions) {
    const { stepSizeUp = 2000, stepSizeDown = stepSizeUp, mode = 'triangular', gamma = 1, cycleMomentum = true } = options;
    requireWhole(stepSizeUp, 'stepSizeUp', 'CyclicLR');
    requireWhole(stepSizeDown, 'stepSizeDown', 'CyclicLR');
    super(optimizer, 'CyclicLR');
    this.baseLrs = perGroup(optimizer, options.baseLr, 'CyclicLR');
    this.maxLrs = perGroup(optimizer, options.maxLr, 'CyclicLR');
    this.baseMomenta = perGroup(optimizer, options.baseMomentum ?? 0.8, 'CyclicLR');
    this.maxMomenta = perGroup(optimizer, options.maxMomentum ?? 0.9, 'CyclicLR');
    this.cycleMomentum = cycleMomentum;
    this.total = stepSizeUp + stepSizeDown;
    this.upShare = stepSizeUp / this.total;
    this.scale = options.scale ?? scaleOf(mode, gamma);
    this.applyRates();
  }
  /** Where between base (0) and maximum (1) the step is. */
  private height(step: number): number {
    const cycle = Math.floor(1 + step / this.total);
    const x = 1 + step / this.total - cycle;
    const rise = x <= this.upShare ? x / this.upShare : (x - 1) / (this.upShare - 1);
    return rise * this.scale.fn(this.scale.by === 'cycle' ? cycle : step);
  }
  override lrAt(step: number, base: number, group: number): number {
    return base + (this.maxLrs[group] - base) * this.height(step);
  }
  override momentumAt(step: number, group: number): number | null {
    if (!this.cycleMomentum) return null;
    const top = this.maxMomenta[group];
    return top - (top - this.baseMomenta[group]) * this.height(step);
  }
}

function scaleOf(mode: NonNullable<CyclicOptions['mode']>, gamma: number): NonNullable<CyclicOptions['scale']> {
  switch (mode) {
    case 'triangular':
      return { by: 'cycle', fn: () => 1 };
    case 'triangular2':
      return { by: 'cycle', fn: (cycle) => 2 ** (1 - cycle) };
    case 'exp_range':
      return { by: 'iterations', fn: (step) => gamma ** step };
    default:
      throw new ArgumentError(`the mode '${String(mode satisfies never)}' does not exist`, {
        op: 'CyclicLR',
        received: mode,
        expected: "'triangular', 'triangular2' or 'exp_range'",
      });
  }
}

export interface OneCycleOptions {
  readonly maxLr: PerGroup;
  /** Steps of the whole cycle: this, or epochs and stepsPerEpoch. */
  readonly totalSteps?: number;
  readonly epochs?: number;
  readonly stepsPerEpoch?: number;
  /** Share of the cycle that goes up; default 0.3. */
  readonly pctStart?: number;
  readonly annealStrategy?: 'cos' | 'linear';
  /** Moves momentum (or beta1) the other way; default true. */
  readonly cycleMomentum?: boolean;
  readonly baseMomentum?: PerGroup;
  readonly maxMomentum?: PerGroup;
  /** The first rate is maxLr / divFactor; default 25. */
  readonly divFactor?: number;
  /** The last one is the first / finalDivFactor; default 1e4. */
  readonly finalDivFactor?: number;
  /** Down to the first rate as it went up, then to the last, instead of straight to the last. */
  readonly threePhase?: boolean;
}

/** One stretch: until `end`, from one level to another. */
interface Phase {
  readonly end: number;
  readonly lr: readonly ['first' | 'max' | 'last', 'first' | 'max' | 'last'];
  readonly momentum: readonly ['base' | 'max', 'base' | 'max'];
}

/** Smith and Topin, arXiv:1708.07120: up to `maxLr`, then down to almost nothing. Its base rate is `maxLr / divFactor`. */
export class OneCycleLR extends LRScheduler {
  private readonly total: number;
  private readonly options: OneCycleOptions;
  private readonly phases: readonly Phase[];
  private readonly maxLrs: readonly number[];
  private readonly momenta: { readonly base: readonly number[]; readonly max: readonly number[] };

  constructor(optimizer: AnyOptimizer, options: OneCycleOptions) {
    const { epochs = Number.NaN, stepsPerEpoch = Number.NaN, pctStart = 0.3, threePhase = false, divFactor = 25 } = options;
    const total = options.totalSteps ?? epochs * stepsPerEpoch;
    requireWhole(total, 'totalSteps (or epochs * stepsPerEpoch)', 'OneCycleLR', 2);
    if (!(pctStart >= 0 && pctStart <= 1)) {
      throw new ArgumentError(`pctStart is ${pctStart}`, { op: 'OneCycleLR', received: pctStart, expected: 'a number from 0 to 1' });
    }
    super(optimizer, 'OneCycleLR');
    this.total = total;
    this.options = options;
    this.maxLrs = perGroup(optimizer, options.maxLr, 'OneCycleLR');
    this.baseLrs = this.maxLrs.map((lr) => lr / divFactor);
    this.momenta = {
      base: perGroup(optimizer, options.baseMomentum ?? 0.85, 'OneCycleLR'),
      max: perGroup(optimizer, options.maxMomentum ?? 0.95, 'OneCycleLR'),
    };
    const up: Phase = { end: pctStart * total - 1, lr: ['first', 'max'], momentum: ['max', 'base'] };
    this.phases = threePhase
      ? [
          up,
          { end: 2 * pctStart * total - 2, lr: ['max', 'first'], momentum: ['base', 'max'] },
          { end: total - 1, lr: ['first', 'last'], momentum: ['max', 'max'] },
        ]
      : [up, { end: total - 1, lr: ['max', 'last'], momentum: ['base', 'max'] }];
    this.applyRates();
  }

  /** @throws ArgumentError past the last step of the cycle */
  override step(): void {
    if (this.lastStep >= this.total) {
      throw new ArgumentError(`step ${this.lastStep + 1} of a cycle of ${this.total}`, {
        op: 'OneCycleLR',
        expected: `at most ${this.total} steps`,
        fix: 'Give the number of all optimizer steps as totalSteps.',
      });
    }
    super.step();
  }
  private at<T>(step: number, value: (phase: Phase, share: number) => T): T {
    let start = 0;
    for (const [i, phase] of this.phases.entries()) {
      if (step <= phase.end || i === this.phases.length - 1) return value(phase, (step - start) / (phase.end - start));
      start = phase.end;
    }
    throw new ArgumentError('a cycle without phases', { op: 'OneCycleLR' });
  }
  private between(from: number, to: number, share: number): number {
    if (this.options.annealStrategy === 'linear') return from + (to - from) * share;
    return to + ((from - to) / 2) * (Math.cos(Math.PI * share) + 1);
  }
  override lrAt(step: number, base: number, group: number): number {
    const { divFactor = 25, finalDivFactor = 1e4 } = this.options;
    const levels = { first: base, max: base * divFactor, last: base / finalDivFactor };
    // Unscaled, the top is maxLr to the last bit.
    if (base === this.baseLrs[group]) levels.max = this.maxLrs[group];
    return this.at(step, ({ lr: [from, to] }, share) => this.between(levels[from], levels[to], share));
  }
  override momentumAt(step: number, group: number): number | null {
    if (this.options.cycleMomentum === false) return null;
    return this.at(step, ({ momentum: [from, to] }, share) => this.between(this.momenta[from][group], this.momenta[to][group], share));
  }
}
