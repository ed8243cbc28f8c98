import { describe, expect, it } from 'vitest';
import { verifyKernel } from '../../src/ir/verify.js';
import { fillRandom, KernelGenerator, Random } from './wasm-loops-generator.js';
import { differences, runBoth } from './wasm-loops-harness.js';

/** Every cell in one call, or the grid cut into ranges that run last to first. */
const cuts = [[], [0.3, 0.7], [0.1, 0.5, 0.5, 0.9]];

function check(seed: number, sharedMemory: boolean): void {
  const { kernel, elements } = new KernelGenerator(seed).generate();
  verifyKernel(kernel);
  const outcome = runBoth(
    kernel,
    elements,
    (view, addresses) => fillRandom(new Random(seed), view, kernel, addresses, elements),
    cuts[seed % cuts.length],
    { sharedMemory, relaxedSimd: false },
  );
  expect(differences(kernel, elements, outcome).slice(0, 5), `seed ${seed}`).toEqual([]);
}

describe('random loop kernels compute what the interpreter computes, bit for bit', () => {
  for (let first = 0; first < 120; first += 30) {
    it(`seeds ${first} to ${first + 29}`, () => {
      for (let seed = first; seed < first + 30; seed++) check(seed, false);
    });
  }
  it('in shared memory', () => {
    for (let seed = 1000; seed < 1020; seed++) check(seed, true);
  });
});
