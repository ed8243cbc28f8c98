/** Every recorded PyTorch case: the same outputs and the same gradients. */
import { describe, test } from 'vitest';
import { casesByOp, families, replayAll } from './replay.js';

for (const [family, tolerance] of Object.entries(families)) {
  describe(`${family} agrees with PyTorch`, () => {
    for (const [op, cases] of casesByOp(family)) test(`${op} (${cases.length})`, () => replayAll(op, cases, tolerance));
  });
}
