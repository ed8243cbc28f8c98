/** The learning-rate schedules that a configuration can name. */
import * as optim from 'trireme/optim';
import { type Catalog, type Entry, named, type OptionSchemas, optionCall } from '../config/named.js';
import { choice, count, flag, list, notNegative, numberIn, positive, share, whole } from '../config/schema.js';

/** Makes a schedule; `plan` knows how long training will be. */
export type MakeSchedule = (optimizer: optim.AnyOptimizer, steps: () => number) => optim.LRScheduler;

function scheduleOf<O extends object>(
  type: new (optimizer: optim.AnyOptimizer, options: O) => optim.LRScheduler,
  options: OptionSchemas<O>,
  needed: readonly (keyof O & string)[],
  /** Options that follow from the length of training, unless they are given. */
  length?: keyof O & string,
): Entry<MakeSchedule> {
  const make =
    (given: O): MakeSchedule =>
    (target, steps) =>
      new type(target, length === undefined || Object.hasOwn(given, length) ? given : { ...given, [length]: steps() });
  return optionCall<[O], MakeSchedule>(make, 1, [] as never, options as never, needed as never);
}

const factor = { gamma: positive };
const cycled = { cycleMomentum: flag, baseMomentum: share, maxMomentum: share };

export const schedules: Catalog<MakeSchedule> = {
  StepLR: scheduleOf(optim.StepLR, { ...factor, stepSize: count }, ['stepSize']),
  MultiStepLR: scheduleOf(optim.MultiStepLR, { ...factor, milestones: list(count, { min: 1 }) }, ['milestones']),
  ExponentialLR: scheduleOf(optim.ExponentialLR, factor, ['gamma']),
  LinearLR: scheduleOf<NonNullable<ConstructorParameters<typeof optim.LinearLR>[1]>>(
    optim.LinearLR,
    { startFactor: positive, endFactor: notNegative, totalSteps: count },
    [],
    'totalSteps',
  ),
  ConstantLR: scheduleOf<NonNullable<ConstructorParameters<typeof optim.ConstantLR>[1]>>(
    optim.ConstantLR,
    { factor: notNegative, totalSteps: count },
    [],
  ),
  PolynomialLR: scheduleOf<NonNullable<ConstructorParameters<typeof optim.PolynomialLR>[1]>>(
    optim.PolynomialLR,
    { totalSteps: count, power: positive },
    [],
    'totalSteps',
  ),
  CosineAnnealingLR: scheduleOf(optim.CosineAnnealingLR, { tMax: count, etaMin: notNegative }, [], 'tMax'),
  CosineAnnealingWarmRestarts: scheduleOf(optim.CosineAnnealingWarmRestarts, { t0: count, tMult: count, etaMin: notNegative }, ['t0']),
  NoamLR: scheduleOf(optim.NoamLR, { dModel: count, warmupSteps: count }, ['dModel', 'warmupSteps']),
  CyclicLR: scheduleOf<optim.CyclicOptions>(
    optim.CyclicLR,
    {
      ...cycled,
      ...factor,
      baseLr: positive,
      maxLr: positive,
      stepSizeUp: count,
      stepSizeDown: count,
      mode: choice('triangular', 'triangular2', 'exp_range'),
      scale: null,
    },
    ['baseLr', 'maxLr'],
  ),
  OneCycleLR: scheduleOf<optim.OneCycleOptions>(
    optim.OneCycleLR,
    {
      ...cycled,
      maxLr: positive,
      totalSteps: count,
      epochs: null,
      stepsPerEpoch: null,
      pctStart: share,
      annealStrategy: choice('cos', 'linear'),
      divFactor: positive,
      finalDivFactor: positive,
      threePhase: flag,
    },
    ['maxLr'],
    'totalSteps',
  ),
  ReduceLROnPlateau: scheduleOf<optim.PlateauOptions>(
    optim.ReduceLROnPlateau,
    {
      mode: choice('min', 'max'),
      factor: numberIn({ above: 0, below: 1 }),
      patience: whole,
      threshold: notNegative,
      thresholdMode: choice('rel', 'abs'),
      cooldown: whole,
      minLr: notNegative,
      eps: notNegative,
    },
    [],
  ),
};

export const schedule = named('schedule', schedules);
