/** A small network on a device of its own, compilers of our own making, and caches in a folder of the test's. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, afterEach, type MockInstance, vi } from 'vitest';
import {
  type CpuDeviceOptions,
  createCpuDevice,
  type JitFunction,
  jit,
  manualSeed,
  matmul,
  randn,
  relu,
  setDefaultDevice,
  softmax,
  type Tensor,
  tensor,
} from '../../src/index.js';
import type { CpuDevice } from '../../src/runtime/cpu/device.js';
import { NativeTier } from '../../src/runtime/native/tier.js';
import { defaultDevice } from '../../src/tensor/device.js';

// Compilers take their time on a machine that does much else at once.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

/** Whether native code can be had here; says so once where not. */
export const hasCompiler = ((): boolean => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const available = new NativeTier().isAvailable();
  warn.mockRestore();
  if (!available) console.warn('No C compiler: the native tier was not tested.');
  return available;
})();

const usual = defaultDevice();
const environment = { TRIREME_CACHE: process.env.TRIREME_CACHE, TRIREME_CC: process.env.TRIREME_CC };
export const folder = mkdtempSync(join(tmpdir(), 'trireme-native-test-'));

afterEach(() => {
  setDefaultDevice(usual);
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let compilers = 0;
/** A shell script in the place of the compiler. It says what compiler it is, and then does what `script` says. */
export function compiler(script: string, { probe = 'exec cc "$@"' } = {}): string {
  const path = join(folder, `cc-${compilers++}`);
  writeFileSync(path, `#!/bin/bash\ncase "$*" in *-dM*) ${probe};; esac\n${script}\n`, { mode: 0o755 });
  return path;
}

export interface Network {
  readonly device: CpuDevice;
  readonly program: JitFunction<readonly Tensor[], unknown>;
  /** Its outputs for the same inputs every time. */
  run(): number[];
  executable(): unknown;
  /** Lines on the console. */
  readonly warnings: MockInstance<typeof console.warn>;
}

/** Inputs and weights are drawn as WebAssembly everywhere, so that they are the same. */
const drawn = createCpuDevice({ tier: 'wasm', threads: 1 });
afterAll(() => drawn.dispose());
function numbers(): readonly { readonly data: Float32Array; readonly shape: number[] }[] {
  setDefaultDevice(drawn);
  manualSeed(7);
  return [
    [64, 100],
    [100, 96],
    [96, 40],
  ].map((shape) => {
    const t = randn(shape);
    const data = Float32Array.from(t.dataSync() as Float32Array);
    t.dispose();
    return { data, shape };
  });
}

/** A network's forward pass on a device of its own. */
export async function withNetwork<T>(options: CpuDeviceOptions, use: (network: Network) => T | Promise<T>): Promise<T> {
  const values = numbers();
  const device = createCpuDevice({ threads: 1, ...options });
  setDefaultDevice(device);
  const warnings = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const tensors = values.map(({ data, shape }) => tensor(data, { shape }));
  const [x, w1, w2] = tensors;
  const program = jit((a: Tensor) => softmax(matmul(relu(matmul(a, w1)), w2), -1));
  const run = (): number[] => {
    const y = program(x);
    const got = Array.from(y.dataSync() as Float32Array);
    y.dispose();
    return got;
  };
  try {
    return await use({ device, program: program as never, run, executable: () => program.programs[0].executable, warnings });
  } finally {
    program.dispose();
    for (const t of tensors) t.dispose();
    device.dispose();
    warnings.mockRestore();
  }
}

/** Largest difference of two results. */
export const apart = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i])));
