/** An elementwise update of all parameters is at most one kernel for each dtype. */
import { expect, test } from 'vitest';
import { jit, manualSeed, nn, randn, type Tensor, tensor } from '../../src/index.js';
import { makeOptimizer, type Options } from './harness.js';

const elementwise: [op: string, attrs: Options][] = [
  ['SGD', { lr: 0.1 }],
  ['SGD', { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1 }],
  ['SGD', { lr: 0.1, momentum: 0.9, dampening: 0.1 }],
  ['ASGD', { lr: 0.1 }],
  ['Adagrad', { lr: 0.1, lrDecay: 0.1, weightDecay: 0.1 }],
  ['Adadelta', { lr: 1, weightDecay: 0.1 }],
  ['RMSProp', { lr: 0.1 }],
  ['RMSProp', { lr: 0.1, centered: true, momentum: 0.9 }],
  ['Adam', { lr: 0.1 }],
  ['Adam', { lr: 0.1, amsgrad: true, weightDecay: 0.1 }],
  ['AdamW', { lr: 0.1 }],
  ['Adamax', { lr: 0.1 }],
  ['NAdam', { lr: 0.1 }],
  ['RAdam', { lr: 0.1 }],
  ['Rprop', { lr: 0.1 }],
  ['Lion', { lr: 0.1, weightDecay: 0.1 }],
  ['Lookahead', { lr: 0.1, k: 3, alpha: 0.5 }],
];

test.each(elementwise.map(([op, attrs]) => [op, JSON.stringify(attrs), attrs] as const))('%s %s', (op, _, attrs) => {
  manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(7, 5), new nn.ReLU(), new nn.Linear(5, 3));
  const params = model.parameters();
  const optimizer = makeOptimizer(op, params, attrs);
  const update = (skip: Tensor | null): ((...gs: Tensor[]) => void) => {
    return (...gs) => {
      params.forEach((p, i) => {
        p.grad = gs[i];
      });
      optimizer.step({ skip });
      optimizer.zeroGrad();
    };
  };
  const grads = params.map((p) => randn(p.shape));
  // Also with the condition that a GradScaler adds.
  for (const skip of [null, tensor(false)]) {
    const jitted = jit(update(skip));
    const { kernels } = jitted.compile(...grads);
    const elements = kernels.filter((k) => k.parts.length >= params.length);
    expect(elements).toHaveLength(1);
    // What is left counts steps and the like: numbers, not parameters.
    expect(kernels.length).toBeLessThanOrEqual(4);
    jitted.dispose();
  }
  optimizer.dispose();
  model.dispose();
});
