/** Schedules that follow one formula. Their numbers are PyTorch's. */
import { ArgumentError } from '../../errors.js';
import type { AnyOptimizer } from '../optimizer.js';
import { LRScheduler, perGroup, requireWhole } from './scheduler.js';

/** Times `gamma` every `stepSize` steps. */
export class StepLR extends LRScheduler {
  private readonly stepSize: number;
  private readonly gamma: number;
  constructor(optimizer: AnyOptimizer, { stepSize, gamma = 0.1 }: { readonly stepSize: number; readonly gamma?: number }) {
    requireWhole(stepSize, 'stepSize', 'StepLR');
    super(optimizer, 'StepLR');
    this.stepSize = stepSize;
    this.gamma = gamma;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return base * this.gamma ** Math.floor(step / this.stepSize);
  }
}

/** Times `gamma` at each milestone. */
export class MultiStepLR extends LRScheduler {
  private readonly milestones: readonly number[];
  private readonly gamma: number;
  constructor(optimizer: AnyOptimizer, { milestones, gamma = 0.1 }: { readonly milestones: readonly number[]; readonly gamma?: number }) {
    for (const m of milestones) requireWhole(m, 'a milestone', 'MultiStepLR', 0);
    super(optimizer, 'MultiStepLR');
    this.milestones = milestones;
    this.gamma = gamma;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return base * this.gamma ** this.milestones.filter((m) => m <= step).length;
  }
}

/** Times `gamma` at each step. */
export class ExponentialLR extends LRScheduler {
  private readonly gamma: number;
  constructor(optimizer: AnyOptimizer, { gamma }: { readonly gamma: number }) {
    super(optimizer, 'ExponentialLR');
    this.gamma = gamma;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return base * this.gamma ** step;
  }
}

/** A straight line from `startFactor` to `endFactor` times the base rate over `totalSteps`, then level. */
export class LinearLR extends LRScheduler {
  private readonly start: number;
  private readonly end: number;
  private readonly total: number;
  constructor(
    optimizer: AnyOptimizer,
    {
      startFactor = 1 / 3,
      endFactor = 1,
      totalSteps = 5,
    }: { readonly startFactor?: number; readonly endFactor?: number; readonly totalSteps?: number } = {},
  ) {
    requireWhole(totalSteps, 'totalSteps', 'LinearLR');
    super(optimizer, 'LinearLR');
    this.start = startFactor;
    this.end = endFactor;
    this.total = totalSteps;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return base * (this.start + ((this.end - this.start) * Math.min(this.total, step)) / this.total);
  }
}

/** `factor` times the base rate for the first `totalSteps` steps. */
export class ConstantLR extends LRScheduler {
  private readonly factor: number;
  private readonly total: number;
  constructor(
    optimizer: AnyOptimizer,
    { factor = 1 / 3, totalSteps = 5 }: { readonly factor?: number; readonly totalSteps?: number } = {},
  ) {
    requireWhole(totalSteps, 'totalSteps', 'ConstantLR', 0);
    super(optimizer, 'ConstantLR');
    this.factor = factor;
    this.total = totalSteps;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return step < this.total ? base * this.factor : base;
  }
}

/** Down to 0 over `totalSteps` as `(1 - step / totalSteps) ** power`. */
export class PolynomialLR extends LRScheduler {
  private readonly total: number;
  private readonly power: number;
  constructor(optimizer: AnyOptimizer, { totalSteps = 5, power = 1 }: { readonly totalSteps?: number; readonly power?: number } = {}) {
    requireWhole(totalSteps, 'totalSteps', 'PolynomialLR');
    super(optimizer, 'PolynomialLR');
    this.total = totalSteps;
    this.power = power;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return base * (1 - Math.min(this.total, step) / this.total) ** this.power;
  }
}

/**
 * Half a cosine from the base rate to `etaMin` over `tMax` steps (Loshchilov and Hutter, arXiv:1608.03983, without
 * restarts). Further steps go up again, as in PyTorch.
 */
export class CosineAnnealingLR extends LRScheduler {
  private readonly tMax: number;
  private readonly etaMin: number;
  constructor(optimizer: AnyOptimizer, { tMax, etaMin = 0 }: { readonly tMax: number; readonly etaMin?: number }) {
    requireWhole(tMax, 'tMax', 'CosineAnnealingLR');
    super(optimizer, 'CosineAnnealingLR');
    this.tMax = tMax;
    this.etaMin = etaMin;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    return cosine(base, this.etaMin, step / this.tMax);
  }
}

function cosine(from: number, to: number, share: number): number {
  return to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
}

/** Cosines that start anew (arXiv:1608.03983): the first over `t0` steps, each further one `tMult` times as long. */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  private readonly t0: number;
  private readonly tMult: number;
  private readonly etaMin: number;
  constructor(
    optimizer: AnyOptimizer,
    { t0, tMult = 1, etaMin = 0 }: { readonly t0: number; readonly tMult?: number; readonly etaMin?: number },
  ) {
    requireWhole(t0, 't0', 'CosineAnnealingWarmRestarts');
    requireWhole(tMult, 'tMult', 'CosineAnnealingWarmRestarts');
    super(optimizer, 'CosineAnnealingWarmRestarts');
    this.t0 = t0;
    this.tMult = tMult;
    this.etaMin = etaMin;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    let length = this.t0;
    let at = step;
    if (this.tMult === 1) at %= length;
    else {
      while (at >= length) {
        at -= length;
        length *= this.tMult;
      }
    }
    return cosine(base, this.etaMin, at / length);
  }
}

/** The base rate times `factor(step)`; one function, or one a group. Functions are not part of the state. */
export class LambdaLR extends LRScheduler {
  private readonly factors: readonly ((step: number) => number)[];
  constructor(optimizer: AnyOptimizer, factor: ((step: number) => number) | readonly ((step: number) => number)[]) {
    super(optimizer, 'LambdaLR');
    this.factors = perGroup(optimizer, factor, 'LambdaLR');
    this.applyRates();
  }
  override lrAt(step: number, base: number, group: number): number {
    return base * this.factors[group](step);
  }
}

/** The base rate times `factor(1) * factor(2) * … * factor(step)`. */
export class MultiplicativeLR extends LRScheduler {
  private readonly factors: readonly ((step: number) => number)[];
  constructor(optimizer: AnyOptimizer, factor: ((step: number) => number) | readonly ((step: number) => number)[]) {
    super(optimizer, 'MultiplicativeLR');
    this.factors = perGroup(optimizer, factor, 'MultiplicativeLR');
    this.applyRates();
  }
  override lrAt(step: number, base: number, group: number): number {
    let lr = base;
    for (let i = 1; i <= step; i++) lr *= this.factors[group](i);
    return lr;
  }
}

/**
 * Vaswani et al., arXiv:1706.03762, equation 3: up in a line for `warmupSteps`, then down with the root of the step.
 * `base * dModel ** -0.5 * min(t ** -0.5, t * warmupSteps ** -1.5)` with t counted from 1.
 */
export class NoamLR extends LRScheduler {
  private readonly dModel: number;
  private readonly warmup: number;
  constructor(optimizer: AnyOptimizer, { dModel, warmupSteps }: { readonly dModel: number; readonly warmupSteps: number }) {
    if (!(dModel > 0)) throw new ArgumentError(`dModel is ${dModel}`, { op: 'NoamLR', expected: 'a number above 0' });
    requireWhole(warmupSteps, 'warmupSteps', 'NoamLR');
    super(optimizer, 'NoamLR');
    this.dModel = dModel;
    this.warmup = warmupSteps;
    this.applyRates();
  }
  override lrAt(step: number, base: number): number {
    const t = step + 1;
    return base * this.dModel ** -0.5 * Math.min(t ** -0.5, t * this.warmup ** -1.5);
  }
}

/** Towards `swaLr` over `annealSteps`, then level: the rate of {@link SWA}. */
export class SWALR extends LRScheduler {
  private readonly targets: readonly number[];
  private readonly annealSteps: number;
  private readonly linear: boolean;
  constructor(
    optimizer: AnyOptimizer,
    {
      swaLr,
      annealSteps = 10,
      annealStrategy = 'cos',
    }: { readonly swaLr: number | readonly number[]; readonly annealSteps?: number; readonly annealStrategy?: 'cos' | 'linear' },
  ) {
    requireWhole(annealSteps, 'annealSteps', 'SWALR', 0);
    super(optimizer, 'SWALR');
    // It takes over from whatever rate the training has reached.
    this.baseLrs = optimizer.groups.map((g) => optimizer.lrOf(g));
    this.targets = perGroup(optimizer, swaLr, 'SWALR');
    this.annealSteps = annealSteps;
    this.linear = annealStrategy === 'linear';
    this.applyRates();
  }
  override lrAt(step: number, base: number, group: number): number {
    const share = this.annealSteps === 0 ? 1 : Math.min(1, step / this.annealSteps);
    return this.linear ? base + (this.targets[group] - base) * share : cosine(base, this.targets[group], share);
  }
}
