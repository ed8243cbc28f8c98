/** Losses and their gradients agree with PyTorch, as written and as one compiled program. */
import { describe, expect, test } from 'vitest';
import { jit } from '../../src/jit.js';
import * as loss from '../../src/ops/loss.js';
import { Tensor } from '../../src/tensor/tensor.js';
import type { Arg } from './cases.js';
import { lossCases, lossOperations } from './loss-cases.js';
import { evaluateWith, replayAll } from './replay.js';

const evaluate = evaluateWith(lossOperations);
const tolerance = { rtol: 1e-5, atol: 3e-6 };
/** Sums over hundreds of steps in the log domain. */
const tolerances: Readonly<Record<string, typeof tolerance>> = { ctcLoss: { rtol: 1e-5, atol: 1e-5 } };

describe('losses agree with PyTorch', () => {
  for (const [op, cases] of lossCases()) test(`${op} (${cases.length})`, () => replayAll(op, cases, tolerances[op] ?? tolerance, evaluate));
  test('and every loss has cases', () => {
    // Those of the first list of references, and a function of two points that is no loss.
    const elsewhere = ['mseLoss', 'l1Loss', 'smoothL1Loss', 'huberLoss', 'bceWithLogits', 'pairwiseDistance', 'arcMarginLogits'];
    const named = new Set([...lossCases().keys(), ...elsewhere]);
    expect(Object.keys(loss).filter((name) => !named.has(name))).toEqual([]);
  });
});

describe('losses agree with PyTorch when compiled', () => {
  for (const [op, cases] of lossCases()) {
    test(`${op} (${cases.length})`, () =>
      replayAll(op, cases, tolerances[op] ?? tolerance, (c, { args, tensors }, wanted) => {
        const compiled = jit((...inputs: Tensor[]) => {
          const moved = args.map((a): Arg => (a instanceof Tensor ? inputs[tensors.indexOf(a)] : a));
          const { outputs, grads } = evaluate(c, { args: moved, tensors: inputs }, wanted);
          return { outputs: [...outputs], grads: [...grads] };
        });
        try {
          return compiled(...tensors);
        } finally {
          compiled.dispose();
        }
      }));
  }
});
