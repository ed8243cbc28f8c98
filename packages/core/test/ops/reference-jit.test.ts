/** The recorded PyTorch cases inside jit(): operation and gradient as one fused program give the same numbers. */
import { describe, test } from 'vitest';
import { jit } from '../../src/jit.js';
import { Tensor } from '../../src/tensor/tensor.js';
import type { Arg } from './cases.js';
import { casesByOp, evaluate, families, replayAll } from './replay.js';

/** Shapes of their results depend on data. */
const untraceable = new Set(['unique', 'nonzero', 'bincount', 'maskedSelect']);

for (const [family, tolerance] of Object.entries(families)) {
  describe(`${family} agrees with PyTorch when compiled`, () => {
    for (const [op, cases] of casesByOp(family)) {
      if (untraceable.has(op)) continue;
      test(`${op} (${cases.length})`, () =>
        replayAll(op, cases, tolerance, (c, { args, tensors }, wanted) => {
          const compiled = jit((...inputs: Tensor[]) => {
            const place = (a: Tensor): Tensor => inputs[tensors.indexOf(a)];
            const moved = args.map((a): Arg => (a instanceof Tensor ? place(a) : Array.isArray(a) ? a.map(place) : a));
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
}
