/** Learning-rate schedules. */
export { ChainedLR, LinearWarmup, SequentialLR, type WarmupOptions } from './compose.js';
export { CyclicLR, type CyclicOptions, OneCycleLR, type OneCycleOptions } from './cyclic.js';
export {
  ConstantLR,
  CosineAnnealingLR,
  CosineAnnealingWarmRestarts,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  MultiplicativeLR,
  MultiStepLR,
  NoamLR,
  PolynomialLR,
  StepLR,
  SWALR,
} from './decay.js';
export { type PlateauOptions, ReduceLROnPlateau } from './plateau.js';
export { LRScheduler, type SchedulerState } from './scheduler.js';
