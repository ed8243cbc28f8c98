/** What is the same, and how far, on both tiers. */
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it, vi } from 'vitest';
import {
  bernoulli,
  createCpuDevice,
  crossEntropy,
  deterministic,
  dropout,
  jit,
  manualSeed,
  nn,
  optim,
  rand,
  randint,
  randn,
  randperm,
  setDefaultDevice,
  type Tensor,
  tensor,
} from '../../src/index.js';
import type { CpuDevice } from '../../src/runtime/cpu/device.js';
import { TieredExecutable } from '../../src/runtime/cpu/tiered.js';
import { compiler, folder, hasCompiler, withNetwork } from './native-harness.js';

async function onTier<T>(tier: 'wasm' | 'native', use: (device: CpuDevice) => T | Promise<T>): Promise<T> {
  process.env.TRIREME_CACHE = join(folder, 'exact');
  const device = createCpuDevice({ tier, threads: 1 });
  setDefaultDevice(device);
  try {
    return await use(device);
  } finally {
    device.dispose();
  }
}

/** Losses and weights of some steps of a convolutional network with everything in it. */
function train(): { losses: number[]; weights: number[] } {
  manualSeed(11);
  const net = new nn.Sequential(
    new nn.Conv2d(3, 16, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(16),
    new nn.GELU(),
    new nn.Conv2d(16, 32, 3, { stride: 2, padding: 1 }),
    new nn.GroupNorm(4, 32),
    new nn.SiLU(),
    new nn.AdaptiveAvgPool2d(2),
    new nn.Flatten(),
    new nn.Dropout(0.2),
    new nn.Linear(128, 10),
  );
  const optimizer = new optim.AdamW(net.parameters(), { lr: 0.003 });
  const noise = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => ((i * 7919) % 257) / 128 - 1);
  const x = tensor(noise(8 * 3 * 16 * 16), { shape: [8, 3, 16, 16] });
  const y = tensor(
    Int32Array.from({ length: 8 }, (_, i) => i),
    { shape: [8] },
  );
  const step = jit((a: Tensor, b: Tensor) => {
    const loss = crossEntropy(net.call(a), b);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss.detach();
  });
  const losses: number[] = [];
  for (let i = 0; i < 12; i++) {
    const loss = step(x, y);
    losses.push(loss.item());
    loss.dispose();
  }
  const weights = Array.from(net.parameters()).flatMap((p) => Array.from(p.dataSync() as Float32Array));
  step.dispose();
  return { losses, weights };
}

describe.skipIf(!hasCompiler)('on both tiers', () => {
  it('the same seed gives the same random numbers, bit for bit', async () => {
    const draw = (): number[][] => {
      manualSeed(123);
      const p = rand([50]);
      const made = [rand([1000]), randn([1001]), randint(0, 1000, [500]), randperm(300), bernoulli(p), dropout(p, 0.4, true), rand([7, 3])];
      return [p, ...made].map((t) => Array.from(t.dataSync() as ArrayLike<number | bigint>, Number));
    };
    const wasm = await onTier('wasm', draw);
    const native = await onTier('native', (device) => {
      const drawn = draw();
      expect(device.nativeStatus).toBe(true);
      return drawn;
    });
    expect(native).toEqual(wasm);
    expect(new Set(wasm[1]).size).toBeGreaterThan(990);
  });

  it('a training gives the same to the stated tolerance, and on each the same bits every time', async () => {
    const wasm = await onTier('wasm', train);
    const native = await onTier('native', (device) => {
      const trained = train();
      expect(device.nativeStatus).toBe(true);
      return trained;
    });
    expect(await onTier('wasm', train)).toEqual(wasm);
    expect(await onTier('native', train)).toEqual(native);
    const [first] = wasm.losses;
    expect(wasm.losses.at(-1)).toBeLessThan(0.8 * first);
    // docs/architecture.md: 1e-5 of the largest value for the first step, and rounding grows as training goes on.
    expect(Math.abs(native.losses[0] - first)).toBeLessThan(1e-5 * first);
    wasm.losses.forEach((loss, i) => expect(Math.abs(native.losses[i] - loss)).toBeLessThan(1e-3 * first));
  });
});

describe.skipIf(!hasCompiler)('deterministic(true)', () => {
  it('pins the tier: a program has its native code from its next run on, and keeps it', async () => {
    process.env.TRIREME_CACHE = join(folder, 'deterministic');
    await withNetwork({ tier: 'auto' }, ({ device, run, executable }) => {
      run();
      const tiered = executable();
      expect(tiered).toBeInstanceOf(TieredExecutable);
      deterministic(true);
      expect(device.tier).toBe('native');
      const pinned = run();
      expect((tiered as TieredExecutable).isNative).toBe(true);
      for (let i = 0; i < 10; i++) expect(run()).toEqual(pinned);
      deterministic(false);
      expect(device.tier).toBe('auto');
      expect(run()).toEqual(pinned);
    });
  });

  it('stays with WebAssembly where there is no compiler, and nothing changes in the middle of a run', async () => {
    process.env.TRIREME_CACHE = join(folder, 'deterministic-none');
    process.env.TRIREME_CC = compiler('exit 1', { probe: 'exit 1' });
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await withNetwork({ tier: 'auto' }, ({ device, run, executable }) => {
      deterministic(true);
      expect(device.tier).toBe('wasm');
      const first = run();
      for (let i = 0; i < 10; i++) expect(run()).toEqual(first);
      expect(executable()).not.toBeInstanceOf(TieredExecutable);
    });
    warn.mockRestore();
  });
});
