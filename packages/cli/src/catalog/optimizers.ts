/** The optimizers that a configuration can name. */
import type { Tensor } from 'trireme';
import * as optim from 'trireme/optim';
import { type Catalog, type Entry, named, type OptionSchemas, optionCall } from '../config/named.js';
import { flag, notNegative, number, numberIn, pair, positive, share } from '../config/schema.js';

/** Makes an optimizer for parameters. */
export type MakeOptimizer = (parameters: Iterable<Tensor>) => optim.AnyOptimizer;

const base = { lr: positive, maximize: flag, masterWeights: flag };
const decay = { weightDecay: notNegative };
const momentum = { momentum: numberIn({ min: 0, below: 1 }) };
const betas = { betas: pair(numberIn({ min: 0, below: 1 })) };
const eps = { eps: notNegative };
const variant = { ...base, ...betas, ...eps, ...decay, decoupledWeightDecay: flag };
const adam = { ...base, ...betas, ...eps, ...decay, amsgrad: flag };

function optimizerOf<O extends optim.OptimizerOptions>(
  type: new (parameters: Iterable<Tensor>, options: O) => unknown,
  options: OptionSchemas<O>,
): Entry<MakeOptimizer> {
  const make =
    (given: O): MakeOptimizer =>
    (parameters) =>
      new type(parameters, given) as optim.AnyOptimizer;
  return optionCall<[O], MakeOptimizer>(make, 1, [] as never, options as never, ['lr'] as never);
}

export const optimizers: Catalog<MakeOptimizer> = {
  SGD: optimizerOf<optim.SGDOptions>(optim.SGD, { ...base, ...momentum, ...decay, dampening: share, nesterov: flag }),
  Adam: optimizerOf<optim.AdamOptions>(optim.Adam, adam),
  AdamW: optimizerOf<optim.AdamOptions>(optim.AdamW, adam),
  LazyAdam: optimizerOf<optim.AdamOptions>(optim.LazyAdam, adam),
  SparseAdam: optimizerOf<optim.SparseAdamOptions>(optim.SparseAdam, { ...base, ...betas, ...eps }),
  Adamax: optimizerOf<optim.AdamaxOptions>(optim.Adamax, variant),
  NAdam: optimizerOf<optim.NAdamOptions>(optim.NAdam, { ...variant, momentumDecay: notNegative }),
  RAdam: optimizerOf<optim.AdamVariantOptions>(optim.RAdam, variant),
  Adagrad: optimizerOf<optim.AdagradOptions>(optim.Adagrad, {
    ...base,
    ...eps,
    ...decay,
    lrDecay: notNegative,
    initialAccumulatorValue: notNegative,
  }),
  Adadelta: optimizerOf<optim.AdadeltaOptions>(optim.Adadelta, { ...base, ...eps, ...decay, rho: share }),
  RMSProp: optimizerOf<optim.RMSPropOptions>(optim.RMSProp, { ...base, ...eps, ...decay, ...momentum, alpha: share, centered: flag }),
  ASGD: optimizerOf<optim.ASGDOptions>(optim.ASGD, { ...base, ...decay, lambd: notNegative, alpha: number, t0: notNegative }),
  Rprop: optimizerOf<optim.RpropOptions>(optim.Rprop, { ...base, etas: pair(positive), stepSizes: pair(positive) }),
  Lion: optimizerOf<optim.LionOptions>(optim.Lion, { ...base, ...betas, ...decay }),
  LAMB: optimizerOf<optim.LAMBOptions>(optim.LAMB, { ...base, ...betas, ...eps, ...decay }),
  LARS: optimizerOf<optim.LARSOptions>(optim.LARS, {
    ...base,
    ...momentum,
    ...eps,
    ...decay,
    dampening: share,
    nesterov: flag,
    trustCoefficient: positive,
  }),
  Adafactor: optimizerOf<optim.AdafactorOptions>(optim.Adafactor, { ...base, ...decay, beta2Decay: number, d: positive, eps: null }),
};

export const optimizer = named('optimizer', optimizers);
