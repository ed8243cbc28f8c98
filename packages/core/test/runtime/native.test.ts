/** The native tier as a user meets it. Parts that need a C compiler are skipped, with a word, where there is none. */
import { chmodSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createCpuDevice, jit, manualSeed, matmul, randn, relu, setDefaultDevice, softmax, type Tensor } from '../../src/index.js';
import { TieredExecutable } from '../../src/runtime/cpu/tiered.js';
import { folder, hasCompiler } from './native-harness.js';

beforeEach(() => {
  process.env.TRIREME_CACHE = folder;
});

/** Makes a small network's forward pass on a device of its own, and calls back with it and its input. */
async function withDevice<T>(
  options: Parameters<typeof createCpuDevice>[0],
  use: (run: () => number[], executable: () => unknown, device: ReturnType<typeof createCpuDevice>) => T | Promise<T>,
): Promise<T> {
  const device = createCpuDevice(options);
  setDefaultDevice(device);
  manualSeed(7);
  const [x, w1, w2] = [randn([64, 100]), randn([100, 96]), randn([96, 40])];
  const forward = jit((a: Tensor) => softmax(matmul(relu(matmul(a, w1)), w2), -1));
  const run = (): number[] => {
    const y = forward(x);
    const values = Array.from(y.dataSync() as Float32Array);
    y.dispose();
    return values;
  };
  try {
    return await use(run, () => forward.programs[0].executable, device);
  } finally {
    forward.dispose();
    for (const t of [x, w1, w2]) t.dispose();
    device.dispose();
  }
}
const close = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i])));

describe.skipIf(!hasCompiler)('the native tier', () => {
  it('computes what WebAssembly computes, to rounding; the same bits on one thread and on two', async () => {
    const wasm = await withDevice({ tier: 'wasm', threads: 1 }, (run) => run());
    const native = await withDevice({ tier: 'native', threads: 1 }, (run) => run());
    expect(close(native, wasm)).toBeLessThan(2e-6);
    const shared = await withDevice({ tier: 'native', threads: 2 }, async (run, _, device) => {
      await device.ready();
      return [run(), run(), run()];
    });
    for (const values of shared) expect(values).toEqual(native);
  });

  it('takes over in the background while the program goes on running', async () => {
    process.env.TRIREME_CACHE = join(folder, 'background');
    await withDevice({ tier: 'auto', threads: 1 }, async (run, executable) => {
      const first = run();
      const tiered = executable();
      if (!(tiered instanceof TieredExecutable)) throw new Error('the program does not tier up');
      expect(tiered.isNative).toBe(false);
      for (let i = 0; i < 600 && !tiered.isNative; i++) {
        expect(close(run(), first)).toBeLessThan(2e-6);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect(tiered.isNative).toBe(true);
      expect(close(run(), first)).toBeLessThan(2e-6);
    });
  });

  it('pinned, waits for native code at the next run, and then stays', async () => {
    process.env.TRIREME_CACHE = join(folder, 'pinned');
    await withDevice({ tier: 'auto', threads: 1 }, (run, executable, device) => {
      run();
      device.pinTier(true);
      expect(device.tier).toBe('native');
      const native = run();
      expect((executable() as TieredExecutable).isNative).toBe(true);
      expect(run()).toEqual(native);
    });
  });

  it('runs off the event loop when asked to', async () => {
    await withDevice({ tier: 'native', threads: 1 }, async () => {
      const x = randn([512, 512]);
      const many = jit((a: Tensor) => {
        let y = a;
        for (let i = 0; i < 40; i++) y = matmul(y, a).mul(0.04);
        return y;
      });
      await (await many.run(x)).data();
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      const running = many.run(x);
      const y = await running;
      clearInterval(timer);
      expect(turns).toBeGreaterThan(3);
      many.dispose();
      for (const t of [x, y]) t.dispose();
    });
  });

  it('keeps compiled code in a private folder, finds it again, and compiles anew what is damaged or differs', async () => {
    process.env.TRIREME_CACHE = join(folder, 'kept');
    const expected = await withDevice({ tier: 'native', threads: 1 }, (run) => run());
    const native = join(folder, 'kept', 'native');
    expect(statSync(native).mode & 0o077).toBe(0);
    const libraries = (): string[] =>
      readdirSync(native)
        .filter((name) => name.endsWith('.so'))
        .sort();
    const before = libraries();
    const times = before.map((name) => readFileSync(join(native, name)).length);
    expect(before.length).toBeGreaterThan(0);
    expect(await withDevice({ tier: 'native', threads: 1 }, (run) => run())).toEqual(expected);
    expect(libraries()).toEqual(before);
    // Every object damaged, and every second source changed: nothing of them may be used.
    before.forEach((name, i) => {
      // In the place of the file, not into it: this process still runs what it loaded.
      writeFileSync(join(native, 'damaged'), 'not a library');
      renameSync(join(native, 'damaged'), join(native, name));
      if (i % 2 === 0) writeFileSync(join(native, name.replace('.so', '.c')), 'int other;');
    });
    expect(await withDevice({ tier: 'native', threads: 1 }, (run) => run())).toEqual(expected);
    expect(before.map((name) => readFileSync(join(native, name)).length)).toEqual(times);
    expect(readdirSync(native).filter((name) => name.includes('.tmp.'))).toEqual([]);
  });

  it('closes a folder that others could write to before it is used', async () => {
    process.env.TRIREME_CACHE = join(folder, 'open');
    await withDevice({ tier: 'native', threads: 1 }, (run) => run());
    chmodSync(join(folder, 'open', 'native'), 0o777);
    process.env.TRIREME_CACHE = `${join(folder, 'open')}/`;
    await withDevice({ tier: 'native', threads: 1 }, (run) => run());
    expect(statSync(join(folder, 'open', 'native')).mode & 0o077).toBe(0);
  });
});

describe('without native code', () => {
  /** A compiler of our own making. */
  function compiler(script: string): string {
    const path = join(folder, `cc-${Math.random().toString(36).slice(2)}`);
    writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return path;
  }
  const cases: readonly [string, () => string, RegExp][] = [
    ['a compiler that is missing', () => join(folder, 'nothing-here'), /not found/],
    ['a compiler that does not work at all', () => compiler('echo broken >&2; exit 1'), /no C compiler/],
    [
      'a compiler that fails on the code',
      () => compiler('case "$*" in *-dM*) echo "#define __VERSION__ \\"1\\"";; *) echo "x.c:1: error: no" >&2; exit 1;; esac'),
      /compiler failed on/,
    ],
  ];
  it.skipIf(process.platform === 'win32').each(cases)('%s never breaks a run: one line says what happened', async (_, command, line) => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    process.env.TRIREME_CC = command();
    const wasm = await withDevice({ tier: 'wasm', threads: 1 }, (run) => run());
    const values = await withDevice({ tier: 'native', threads: 1 }, (run) => [run(), run()]);
    for (const v of values) expect(v).toEqual(wasm);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(String(warn.mock.calls[0][0])).toMatch(line);
    warn.mockRestore();
  });
});
