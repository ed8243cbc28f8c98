/** Operands that native code packs once: never longer than they stay as they are. */
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import {
  add,
  createCpuDevice,
  jit,
  linear,
  manualSeed,
  matmul,
  mul,
  noGrad,
  randn,
  scan,
  setDefaultDevice,
  type Tensor,
  tanh,
} from '../../src/index.js';
import type { CpuExecutable } from '../../src/runtime/cpu/executable.js';
import { folder, hasCompiler } from './native-harness.js';

type Results = readonly (readonly number[])[];
/** What some runs give, and how many bytes the program keeps packed. */
interface Outcome {
  readonly results: Results;
  readonly packed: number;
}

/** Calls `fn`, compiled on a tier, as often as `runs` says; `between` changes what it captures. Random numbers are the same on both tiers. */
function onTier(tier: 'wasm' | 'native', make: () => { fn: (x: Tensor) => Tensor; shape: number[]; between?: () => void }): Outcome {
  process.env.TRIREME_CACHE = join(folder, 'kept');
  const device = createCpuDevice({ tier, threads: 1 });
  setDefaultDevice(device);
  try {
    manualSeed(17);
    const { fn, shape, between } = make();
    const program = jit(fn);
    const results = Array.from({ length: 3 }, (_, i) => {
      if (i === 2) between?.();
      return Array.from(program(mul(randn(shape), 0.3)).dataSync() as Float32Array);
    });
    const { preparedBytes } = (program.programs[0].executable as CpuExecutable).program;
    program.dispose();
    return { results, packed: preparedBytes };
  } finally {
    device.dispose();
  }
}

function expectSame(make: Parameters<typeof onTier>[1], packs: boolean): void {
  const [wasm, native] = (['wasm', 'native'] as const).map((tier) => onTier(tier, make));
  native.results.forEach((run, r) =>
    run.forEach((v, i) => expect(Math.abs(v - wasm.results[r][i])).toBeLessThan(1e-4 * (1 + Math.abs(v)))),
  );
  if (packs) expect(native.packed).toBeGreaterThan(0);
}
const weight = (n: number, m = n): Tensor => mul(randn([n, m]), 0.2);

/** A recurrent layer: its weights are what all its rounds share. */
const layer = (xs: Tensor, weights: Tensor): ReturnType<typeof scan> =>
  scan(
    ([h], [x]) => {
      const next = tanh(add(linear(h, weights), x));
      return [[next], [next]];
    },
    [xs.select(0, 0)],
    [xs],
  );

describe.skipIf(!hasCompiler)('native code sees', () => {
  it('captured weights that change between runs', () => {
    expectSame(() => {
      const w = weight(40);
      return { fn: (x) => linear(x, w), shape: [20, 40], between: () => noGrad(() => w.mul_(-2)) };
    }, true);
  });
  it('a weight that changes in the middle of a run, after many products with it', () => {
    expectSame(() => {
      const w = weight(40);
      const fn = (x: Tensor): Tensor => {
        const before = [1, 2, 3, 4].reduce((y) => tanh(linear(y, w)), x);
        noGrad(() => w.mul_(-0.5));
        return [1, 2, 3, 4].reduce((y) => tanh(linear(y, w)), before);
      };
      return { fn, shape: [20, 40] };
    }, true);
  });
  it('the state of a loop that many products of a round read', () => {
    expectSame(() => {
      const [a, b, c] = [weight(32), weight(32), weight(32)];
      const fn = (xs: Tensor): Tensor =>
        scan(
          ([h], [x]) => {
            const next = tanh(add(x, add(matmul(h, a), mul(matmul(h, b), matmul(h, c)))));
            return [[next], [next]];
          },
          [mul(xs.select(0, 0), 2)],
          [xs],
        ).outputs[0];
      return { fn, shape: [6, 20, 32] };
    }, false);
  });
  it('the state of a loop that is a weight of the loop within it', () => {
    expectSame(() => {
      const w = weight(32);
      const fn = (xs: Tensor): Tensor =>
        scan(
          ([h], [x]) => {
            const [inner] = layer(x, h).carry;
            return [[add(mul(h, 0.5), mul(matmul(inner.t(), inner), 0.1))], [inner]];
          },
          [w],
          [xs],
        ).carry[0];
      return { fn, shape: [4, 3, 20, 32] };
    }, true);
  });
  it('a weight that changes between two loops that share it in their rounds', () => {
    expectSame(() => {
      const w = weight(32);
      const fn = (x: Tensor): Tensor => {
        const y = layer(x, w).outputs[0];
        noGrad(() => w.mul_(-0.5));
        return layer(y, w).outputs[0];
      };
      return { fn, shape: [5, 20, 32] };
    }, true);
  });
  it('weights of one loop after another that lie in the same memory', () => {
    expectSame(() => {
      const [v, w] = [weight(32), weight(32)];
      // Weights that depend on the input have no slot of their own.
      const scaled = (x: Tensor, u: Tensor): Tensor => mul(u, add(x.mean(), 1));
      const fn = (x: Tensor): Tensor => {
        const y = layer(x, scaled(x, v)).outputs[0];
        return layer(y, scaled(y, w)).outputs[0];
      };
      return { fn, shape: [5, 20, 32] };
    }, true);
  });
});
