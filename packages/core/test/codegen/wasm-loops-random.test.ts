import { describe, expect, it } from 'vitest';
import { verifyKernel } from '../../src/ir/verify.js';
import { fillRandom, KernelGenerator, Random } from './wasm-loops-generator.js';
import { differences, runBoth } from './wasm-loops-harness.js';

function check(seed: number, sharedMemory: boolean): void {
  const { kernel, elements } = new KernelGenerator(seed).generate();
  verifyKernel(kernel);
  for (const splits of [[], [0.3, 0.7]]) {
    const outcome = runBoth(
      kernel,
      elements,
      (view, addresses) => fillRandom(new Random(seed), view, kernel, addresses, elements),
      splits,
      { sharedMemory, relaxedSimd: false },
    );
    expect(differences(kernel, elements, outcome).slice(0, 5), `seed ${seed}`).toEqual([]);
  }
}

describe('random loop kernels compute what the interpreter computes, bit for bit', () => {
  const environment = typeof process === 'object' ? process.env : {};
  const rounds = Number(environment.TRIREME_FUZZ ?? 300);
  const first = Number(environment.TRIREME_FUZZ_SEED ?? 0);
  it('in plain memory', () => {
    for (let seed = first; seed < first + rounds; seed++) check(seed, false);
  }, 600000);
  it('in shared memory', () => {
    for (let seed = 100000; seed < 100040; seed++) check(seed, true);
  });
});
