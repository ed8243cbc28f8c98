/** Compilers that do not do what they should, and what a run makes of it. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { beforeEach, describe, expect, it } from 'vitest';
import { compileKernels } from '../../src/codegen/wasm/module.js';
import type { CompiledProgram } from '../../src/graph/compile.js';
import { jit, matmul, relu, sum, type Tensor, zeros } from '../../src/index.js';
import { probeFeatures } from '../../src/runtime/cpu/environment.js';
import { TieredExecutable } from '../../src/runtime/cpu/tiered.js';
import { type NativeModule, NativeTier, type NativeTierOptions } from '../../src/runtime/native/tier.js';
import { apart, compiler, folder, hasCompiler, type Network, withNetwork } from './native-harness.js';

let caches = 0;
let cache = '';
beforeEach(() => {
  cache = join(folder, `cache-${caches++}`);
  process.env.TRIREME_CACHE = cache;
});

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Files in the cache, without the ends of their names. */
const entries = (): string[] =>
  (existsSync(join(cache, 'native')) ? readdirSync(join(cache, 'native')) : []).filter((name) => name.endsWith('.so'));
const says = ({ warnings }: Network): string[] => warnings.mock.calls.map(([line]) => String(line));

/** Compiles the network's kernels with limits of our own, and waits. */
async function request({ program }: Network, options: NativeTierOptions): Promise<{ native: boolean; seconds: number }> {
  const { kernels } = program.programs[0] as CompiledProgram;
  const tier = new NativeTier(null, options);
  const start = performance.now();
  const job = tier.job('network', kernels, () => compileKernels(kernels, probeFeatures(true)));
  const module = await new Promise((resolve) => {
    // Nothing of the tier keeps a process alive.
    const alive = setInterval(() => {}, 1000);
    tier.request(job, (found) => {
      clearInterval(alive);
      resolve(found);
    });
  });
  return { native: module !== null, seconds: (performance.now() - start) / 1000 };
}

/** Whether a process is still there. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie has ended.
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

describe.skipIf(!hasCompiler || process.platform !== 'linux')('a compiler that', () => {
  it('hangs is ended with its children, and the run goes on', async () => {
    const pids = join(folder, 'pids');
    process.env.TRIREME_CC = compiler(`echo $$ >> ${pids}; sleep 300 & echo $! >> ${pids}; wait`);
    await withNetwork({ tier: 'wasm' }, async (network) => {
      const wasm = network.run();
      const { native, seconds } = await request(network, { compilerTimeout: 700 });
      expect(native).toBe(false);
      expect(seconds).toBeLessThan(30);
      expect(says(network)).toEqual([expect.stringMatching(/running as WebAssembly, .*it took more than 0\.7 s/)]);
      expect(network.run()).toEqual(wasm);
      const started = readFileSync(pids, 'utf8').trim().split('\n').map(Number);
      expect(started.length).toBeGreaterThanOrEqual(2);
      for (let i = 0; i < 100 && started.some(lives); i++) await pause(20);
      expect(started.filter(lives)).toEqual([]);
      expect(readdirSync(join(cache, 'native'))).toEqual([]);
    });
  });

  it('prints megabytes is heard to its end when it does its work, and told with one short line when not', async () => {
    const flood = 'head -c 30000000 /dev/zero | tr "\\\\0" x >&2';
    process.env.TRIREME_CC = compiler(`${flood}; exec cc "$@"`);
    await withNetwork({ tier: 'wasm' }, async (network) => {
      network.run();
      expect((await request(network, {})).native).toBe(true);
      expect(says(network)).toEqual([]);
      process.env.TRIREME_CC = compiler(`echo "x.c:1: error: no" >&2; ${flood}; exit 1`);
      process.env.TRIREME_CACHE = join(cache, 'other');
      expect((await request(network, {})).native).toBe(false);
      expect(says(network)).toEqual([expect.stringMatching(/the compiler failed on network: x\.c:1: error: no/)]);
      expect(says(network)[0].length).toBeLessThan(700);
    });
  });

  /** Changes the source before it compiles it. */
  const edit = (script: string): string =>
    compiler(
      `args=("$@"); for i in "\${!args[@]}"; do case "\${args[$i]}" in *.c) ${script} "\${args[$i]}";; esac; done; exec cc "\${args[@]}"`,
    );
  const wrongs: readonly [string, () => string, RegExp][] = [
    [
      'subtracts where it should add',
      () => edit(`sed -i -E 's/return a \\+ b;/return a - b;/'`),
      /computes something else than WebAssembly \(parameter/,
    ],
    [
      'makes the largest the smallest',
      () => edit(`sed -i -E 's/first = \\(a > b\\)/first = (a < b)/; s/return a != a \\? a : a > b/return a != a ? a : a < b/'`),
      /computes something else/,
    ],
    ['multiplies a number by itself', () => edit(`sed -i -E 's/return a \\* b;/return a * a;/'`), /computes something else/],
    [
      'makes code that crashes',
      () => edit(`sed -i -E 's/^void (k[0-9a-zA-Z_]+)\\((.*)\\) \\{/void \\1(\\2) { *(volatile int *)8 = 1;/'`),
      /ends the process \(SIGSEGV\)/,
    ],
    [
      'makes code that never ends',
      () => edit(`sed -i -E 's/^void (k[0-9a-zA-Z_]+)\\((.*)\\) \\{/void \\1(\\2) { for (volatile int i = 0;; i++);/'`),
      /does not end within 1\.5 s/,
    ],
  ];
  it.each(wrongs)('%s is found out before its code is used', async (what, make, line) => {
    process.env.TRIREME_CC = make();
    await withNetwork({ tier: 'wasm' }, async (network) => {
      const wasm = network.run();
      const { native } = await request(network, /never ends/.test(what) ? { testTimeout: 1500 } : {});
      expect(native).toBe(false);
      expect(says(network)).toEqual([expect.stringMatching(line)]);
      expect(entries()).toEqual([]);
      expect(network.run()).toEqual(wasm);
    });
  });

  it('is wrong costs a device that waits for native code one line as well', async () => {
    process.env.TRIREME_CC = edit(`sed -i -E 's/return a \\+ b;/return a - b;/'`);
    const wasm = await withNetwork({ tier: 'wasm' }, ({ run }) => run());
    await withNetwork({ tier: 'native' }, (network) => {
      expect(network.run()).toEqual(wasm);
      expect(network.run()).toEqual(wasm);
      expect(says(network)).toEqual([expect.stringMatching(/computes something else than WebAssembly/)]);
    });
  });

  it('is slow does not hold the program up, and leaves the cores to it', async () => {
    const log = join(folder, 'nice');
    process.env.TRIREME_CC = compiler(`nice >> ${log}; sleep 0.5; exec cc "$@"`);
    await withNetwork({ tier: 'auto' }, async ({ run, executable }) => {
      const first = run();
      const tiered = executable() as TieredExecutable;
      expect(tiered).toBeInstanceOf(TieredExecutable);
      for (let i = 0; i < 5; i++) expect(run()).toEqual(first);
      expect(tiered.isNative).toBe(false);
      for (let i = 0; i < 1200 && !tiered.isNative; i++) {
        await pause(25);
        expect(apart(run(), first)).toBeLessThan(2e-6);
      }
      expect(tiered.isNative).toBe(true);
      expect(
        readFileSync(log, 'utf8')
          .trim()
          .split('\n')
          .map(Number)
          .every((n) => n >= 10),
      ).toBe(true);
    });
  });
});

describe.skipIf(!hasCompiler || process.platform !== 'linux')('many kernels', () => {
  /** Most compilers that were at work at once, and how many there were. */
  function atWork(log: string): { most: number; all: number } {
    let [now, most, all] = [0, 0, 0];
    for (const line of readFileSync(log, 'utf8').trim().split('\n')) {
      now += line === 'begin' ? 1 : -1;
      if (line === 'begin') all++;
      most = Math.max(most, now);
    }
    return { most, all };
  }

  it('are several translation units: half the cores compile in the background, all of them when somebody waits', async () => {
    const log = join(folder, 'units');
    process.env.TRIREME_CC = compiler(`echo begin >> ${log}; sleep 0.3; cc "$@"; code=$?; echo end >> ${log}; exit $code`);
    await withNetwork({ tier: 'wasm' }, async () => {
      const inputs = [zeros([20, 30]), zeros([30, 20])];
      // Twenty products of different sizes.
      const many = jit((a: Tensor, b: Tensor) => {
        let total = sum(a);
        for (let i = 1; i <= 20; i++) total = total.add(relu(matmul(a.slice([[0, i]]), b)).sum());
        return total;
      });
      const { kernels } = many.compile(inputs[0], inputs[1]);
      const job = (tier: NativeTier) => tier.job('many', kernels, () => compileKernels(kernels, probeFeatures(true)));
      const background = new NativeTier();
      const module = await new Promise<NativeModule | null>((resolve) => {
        const alive = setInterval(() => {}, 1000);
        background.request(job(background), (found) => {
          clearInterval(alive);
          resolve(found);
        });
      });
      expect(module?.kernels.every((k) => k !== null)).toBe(true);
      expect(module?.libraries.length).toBeGreaterThan(2);
      const cores = availableParallelism();
      expect(atWork(log)).toEqual({
        most: Math.min(module?.libraries.length ?? 0, Math.max(1, cores >> 1)),
        all: module?.libraries.length,
      });
      process.env.TRIREME_CACHE = join(cache, 'waited-for');
      rmSync(log);
      const waiting = new NativeTier();
      expect(waiting.compileNow(job(waiting))?.libraries.length).toBe(module?.libraries.length);
      expect(atWork(log)).toEqual({ most: Math.min(cores, module?.libraries.length ?? 0), all: module?.libraries.length });
      many.dispose();
      for (const t of inputs) t.dispose();
    });
  });
});

describe.skipIf(!hasCompiler || process.platform !== 'linux')('code from the cache', () => {
  it('that gives something else than it did is thrown away with one line, and compiled again', async () => {
    const wanted = await withNetwork({ tier: 'native' }, ({ run }) => run());
    const records = readdirSync(join(cache, 'native')).filter((name) => name.endsWith('.json'));
    // As after another version of the system's mathematical library, or on hardware that fails: all is whole, but the results differ.
    const changed = records.filter((name) => {
      const path = join(cache, 'native', name);
      const record = JSON.parse(readFileSync(path, 'utf8')) as { probes: { checksum: number }[] };
      for (const probe of record.probes) probe.checksum ^= 1;
      writeFileSync(path, JSON.stringify(record));
      return record.probes.length > 0;
    });
    expect(changed.length).toBeGreaterThan(0);
    // In a process that has not tested it yet.
    const { forget } = await import('../../src/runtime/native/tier.js');
    forget();
    await withNetwork({ tier: 'native' }, (network) => {
      expect(network.run()).toEqual(wanted);
      expect(says(network)).toEqual([
        expect.stringMatching(/of the cached library \d+ computes something else than it did: it is compiled again/),
      ]);
    });
    forget();
    await withNetwork({ tier: 'native' }, (network) => {
      expect(network.run()).toEqual(wanted);
      expect(says(network)).toEqual([]);
    });
  });

  it('serves two devices at once, each in its own memory', async () => {
    await withNetwork({ tier: 'native' }, async (one) => {
      const wanted = one.run();
      await withNetwork({ tier: 'native' }, (two) => {
        expect(two.run()).toEqual(wanted);
        expect(one.executable()).not.toBe(two.executable());
      });
      // The first device's code still knows its own heap.
      expect(one.run()).toEqual(wanted);
    });
  });
});
