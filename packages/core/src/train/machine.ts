/** What the numbers of a run depend on, and what ran it. */

import { CpuDevice } from '../runtime/cpu/device.js';
import { builtin } from '../runtime/cpu/environment.js';
import { findToolchainSync } from '../runtime/native/toolchain.js';
import { defaultDevice } from '../tensor/device.js';

/** What decides the last bits of results: the same on two runs, the same bits. */
export interface Machine {
  /** What executes kernels: `wasm`, `native`, `auto` (WebAssembly until native code is ready), or the device's name. */
  readonly tier: string;
  /** Width of the vectors that kernels use, in bits. */
  readonly vectorBits: number;
  readonly threads: number;
  /** Fused multiply-adds in WebAssembly. */
  readonly relaxedSimd: boolean;
  /** Of the JavaScript engine, for people. */
  readonly engine: string;
  readonly platform: string;
}

/** Bits of the native tier's vectors: what the machine's compiler was asked for. */
function nativeBits(): number {
  try {
    return 32 * findToolchainSync().target.lanes;
  } catch {
    // Then there is no native code, and all runs as WebAssembly.
    return wasmBits;
  }
}
const wasmBits = 128;

export function describeMachine(): Machine {
  const device = defaultDevice();
  const cpuDevice = device instanceof CpuDevice ? device : null;
  const node = typeof process === 'object' && typeof process.versions?.node === 'string';
  const os = builtin('node:os');
  const cpu = os?.cpus()[0]?.model.trim();
  return {
    tier: cpuDevice?.tier ?? device.name,
    vectorBits: cpuDevice?.tier === 'native' ? nativeBits() : wasmBits,
    threads: device.threads,
    relaxedSimd: cpuDevice?.features.relaxedSimd === true,
    engine: node ? `Node.js ${process.versions.node}` : typeof navigator === 'object' ? navigator.userAgent : 'unknown',
    platform: os ? `${os.platform()} ${os.arch()}${cpu ? `, ${cpu}` : ''}` : '',
  };
}

const compared = ['tier', 'vectorBits', 'threads', 'relaxedSimd'] as const;
let warned = false;

/** Says once that a resumed run computes on something else, so that its last bits may differ. */
export function warnOtherMachine(before: Partial<Machine>, now: Machine): void {
  const changes = compared.filter((key) => before[key] !== undefined && before[key] !== now[key]);
  if (changes.length === 0 || warned) return;
  warned = true;
  console.warn(
    `trireme: this run is resumed on another set-up (${changes.map((key) => `${key} ${before[key]} → ${now[key]}`).join(', ')}); ` +
      'it goes on, but its last bits will not be those of a run that never stopped.',
  );
}
