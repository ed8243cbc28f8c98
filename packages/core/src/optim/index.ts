/** Optimizers, averages of weights and learning-rate schedules. */
export { type AccumulationOptions, GradientAccumulation } from './accumulate.js';
export { Adafactor, type AdafactorOptions } from './adafactor.js';
export { Adam, type AdamOptions, AdamW, LazyAdam, SparseAdam, type SparseAdamOptions } from './adam.js';
export { Adamax, type AdamaxOptions, type AdamVariantOptions, NAdam, type NAdamOptions, RAdam } from './adam-variants.js';
export { Adadelta, type AdadeltaOptions, Adagrad, type AdagradOptions, RMSProp, type RMSPropOptions } from './adaptive.js';
export { type Averaged, type AveragingOptions, EMA, type EMAOptions, SWA, updateBatchNorm } from './averaging.js';
export { type DecayGroup, type SplitDecayOptions, splitDecay } from './groups.js';
export { LAMB, type LAMBOptions, LARS, type LARSOptions } from './layerwise.js';
export { LBFGS, type LBFGSOptions } from './lbfgs.js';
export { Lookahead, type LookaheadOptions } from './lookahead.js';
export {
  type AnyOptimizer,
  type Closure,
  type Group,
  Optimizer,
  type OptimizerOptions,
  type OptimizerState,
  type ParamGroup,
  type Params,
  type StepOptions,
} from './optimizer.js';
export * from './schedule/index.js';
export { ASGD, type ASGDOptions, SGD, type SGDOptions } from './sgd.js';
export { Lion, type LionOptions, Rprop, type RpropOptions } from './sign.js';
