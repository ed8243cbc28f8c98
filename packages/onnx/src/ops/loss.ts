/** Losses of classification. */
import { logSoftmax, nllLoss, type Tensor } from 'trireme';
import type { Value } from '../engine/value.js';
import { optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { computed } from './tensors.js';

function reduced(scores: Tensor, inputs: readonly (Value | null)[], ctx: OpContext): Tensor {
  const target = tensorAt(inputs, 1, ctx);
  const weight = optionalTensorAt(inputs, 2, ctx);
  const reduction = ctx.attrs.string('reduction', 'mean');
  if (reduction !== 'mean' && reduction !== 'sum' && reduction !== 'none') return ctx.fail(`reduction ${reduction}`, 'mean, sum or none');
  const ignoreIndex = ctx.attrs.optionalInt('ignore_index');
  return nllLoss(scores, target.tensor, {
    weight: weight === null ? null : weight.tensor,
    reduction,
    // Without an index to ignore all targets are classes: one that is none counts for no sample.
    ...(ignoreIndex === undefined ? {} : { ignoreIndex }),
  });
}

const negativeLogLikelihoodLoss: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  return computed(x.type, () => reduced(x.tensor, inputs, ctx));
};

const softmaxCrossEntropyLoss: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const logProb = computed(x.type, () => logSoftmax(x.tensor, 1));
  const loss = computed(x.type, () => reduced(logProb.tensor, inputs, ctx));
  return ctx.wants(1) ? [loss, logProb] : loss;
};

export const lossOps = {
  NegativeLogLikelihoodLoss: negativeLogLikelihoodLoss,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropyLoss,
} satisfies OpTable;
