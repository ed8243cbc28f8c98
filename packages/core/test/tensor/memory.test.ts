import { expect, test } from 'vitest';
import { add, createCpuDevice, defaultDevice, OutOfMemoryError, setDefaultDevice, type Tensor, zeros } from '../../src/index.js';

test('when memory runs out, a typed error says who holds what, and what was made before lives on', () => {
  const before = defaultDevice();
  const small = createCpuDevice({ maxBytes: 48 * 2 ** 20, threads: 1 });
  setDefaultDevice(small);
  const held: Tensor[] = [];
  let error: unknown;
  try {
    for (let i = 0; i < 64; i++) held.push(zeros([2 ** 20]));
  } catch (e) {
    error = e;
  }
  try {
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect((error as Error).message).toMatch(/\d+ x float32 of 1048576 elements/);
    for (const t of held.splice(2)) t.dispose();
    expect(add(held[0], held[1]).sum().item()).toBe(0);
  } finally {
    for (const t of held) t.dispose();
    small.dispose();
    setDefaultDevice(before);
  }
});
