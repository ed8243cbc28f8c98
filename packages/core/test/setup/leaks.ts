/**
 * After each test no tensor that the test made is alive: what was not disposed is garbage, and the collector finds it.
 * Tensors made outside tests (at the top of a file, in beforeAll) are not counted.
 */
import { afterEach, beforeEach } from 'vitest';
import { rand } from '../../src/ops/random.js';
import { clearScalarCache } from '../../src/tensor/data.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { collectGarbage, describeMemory, memoryInfo } from '../../src/tensor/memory.js';

const turn = (ms = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const canCollect = typeof process === 'object' && typeof process.getBuiltinModule === 'function';

let before = 0;

beforeEach(() => {
  clearScalarCache();
  before = memoryInfo().storages;
});

afterEach(async (context) => {
  clearScalarCache();
  if (!canCollect || memoryInfo().storages <= before || context.task.result?.state === 'fail') return;
  // Programs are freed by finalizers, and then what they had captured.
  for (let round = 0; round < 12 && memoryInfo().storages > before; round++) {
    await turn();
    collectGarbage();
    // Finalizers run when the engine finds time.
    await turn(2 * round);
  }
  const leaked = memoryInfo().storages - before;
  if (leaked > 0) throw new Error(`${leaked} tensors outlived the test. ${describeMemory()}`);
});

// The generator's state is made at its first use and lives as long as the process.
manualSeed(0);
rand([1]).dispose();
