/** Comparing tensors with numbers. */
import { expect } from 'vitest';
import { readSync } from '../../src/tensor/dispatch.js';
import type { Tensor } from '../../src/tensor/tensor.js';

/** Fails unless each element is within `atol + rtol * |wanted|`. */
export function expectClose(actual: Tensor, wanted: readonly number[], what: string, rtol: number, atol: number): void {
  const got = Array.from(readSync(actual), Number);
  expect(got.length, `${what}: number of elements`).toBe(wanted.length);
  wanted.forEach((w, i) => {
    const g = got[i];
    if (g === w || (Number.isNaN(g) && Number.isNaN(w))) return;
    if (!(Math.abs(g - w) <= atol + rtol * Math.abs(w)))
      expect.fail(
        `${what}: element ${i} is ${g}, expected ${w}\n got ${got.slice(0, 64).join(' ')}\n want ${wanted.slice(0, 64).join(' ')}`,
      );
  });
}
