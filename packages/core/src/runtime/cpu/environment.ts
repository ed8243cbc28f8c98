/** What the machine and the engine offer, found without asynchronous imports. */

import type { WasmFeatures } from '../../codegen/compiled.js';
import { ModuleBuilder } from '../../codegen/wasm/asm.js';
import { ArgumentError } from '../../errors.js';
import { hasNodeModules } from '../../io/node.js';
import { maxThreads } from './layout.js';

interface Builtins {
  'node:os': typeof import('node:os');
  'node:v8': typeof import('node:v8');
  'node:worker_threads': typeof import('node:worker_threads');
}

/** A Node built-in, synchronously; null in browsers and before Node 20.16. */
export function builtin<K extends keyof Builtins>(name: K): Builtins[K] | null {
  if (!hasNodeModules()) return null;
  const get = (process as { getBuiltinModule?: (id: string) => unknown }).getBuiltinModule;
  return (get?.(name) as Builtins[K] | undefined) ?? null;
}

const defaultThreadLimit = 16;

/** Threads of a device when the caller does not say: TRIREME_THREADS, else the cores the process may use, at most 16. */
export function defaultThreads(): number {
  const asked = hasNodeModules() ? process.env.TRIREME_THREADS : undefined;
  if (asked !== undefined && asked !== '') return checkThreads(Number(asked), 'TRIREME_THREADS');
  const hardware = typeof navigator === 'object' ? navigator.hardwareConcurrency : undefined;
  const cores = builtin('node:os')?.availableParallelism() ?? hardware ?? 1;
  return Math.max(1, Math.min(defaultThreadLimit, cores));
}

export type Tier = 'auto' | 'native' | 'wasm';

/** The tier of a device when the caller does not say: TRIREME_TIER, else `auto` in Node and WebAssembly elsewhere. */
export function defaultTier(): Tier {
  if (!hasNodeModules() || builtin('node:os') === null) return 'wasm';
  const asked = process.env.TRIREME_TIER;
  if (asked === undefined || asked === '') return 'auto';
  if (asked === 'auto' || asked === 'native' || asked === 'wasm') return asked;
  throw new ArgumentError(`TRIREME_TIER is ${asked}`, { op: 'createCpuDevice', received: asked, expected: 'auto, native or wasm' });
}

export function checkThreads(threads: number, name: string): number {
  if (Number.isInteger(threads) && threads >= 1 && threads <= maxThreads - 1) return threads;
  throw new ArgumentError(`${name} is ${threads}`, {
    op: 'createCpuDevice',
    received: threads,
    expected: `a whole number from 1 to ${maxThreads - 1}`,
  });
}

/** Whether threads can share memory here: everywhere in Node, in browsers on cross-origin isolated pages. */
export function canShareMemory(): boolean {
  if (typeof SharedArrayBuffer !== 'function') return false;
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated;
  return isolated !== false || hasNodeModules();
}

let warned = false;
/** Says once that the device has one thread, and how to get more. */
export function warnSingleThreaded(reason: string): void {
  if (warned) return;
  warned = true;
  console.warn(`Trireme runs on one thread: ${reason}`);
}

/** Whether this thread may sleep on an atomic; a browser's main thread may not. */
export function maySleep(words: Int32Array, index: number): boolean {
  try {
    Atomics.wait(words, index, (words[index] as number) + 1, 0);
    return true;
  } catch {
    return false;
  }
}

function validatesRelaxedSimd(): boolean {
  const module = new ModuleBuilder();
  const f = module.function(['v128', 'v128', 'v128'], ['v128']);
  for (const p of f.params) f.get(p);
  f.op('f32x4.relaxed_madd');
  return WebAssembly.validate(module.finish());
}

let relaxedSimd: boolean | null = null;
/** Whether the engine has relaxed SIMD. Node 20 has it behind a V8 flag, which this turns on. */
function hasRelaxedSimd(): boolean {
  if (relaxedSimd !== null) return relaxedSimd;
  relaxedSimd = validatesRelaxedSimd();
  if (!relaxedSimd) {
    builtin('node:v8')?.setFlagsFromString('--experimental-wasm-relaxed-simd');
    relaxedSimd = validatesRelaxedSimd();
  }
  return relaxedSimd;
}

export function probeFeatures(sharedMemory: boolean): WasmFeatures {
  return { sharedMemory, relaxedSimd: hasRelaxedSimd() };
}
