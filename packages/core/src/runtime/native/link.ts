/** Functions of shared libraries as WebAssembly functions, so that the driver calls them through its table like all kernels. */
import { ModuleBuilder } from '../../codegen/wasm/asm.js';
import { node } from './node.js';

export type KernelFunction = (begin: number, end: number, args: number, scratch: number) => void;

/** The part of koffi that is used. */
interface Koffi {
  load(path: string): { func(definition: string): (...args: unknown[]) => unknown; unload?(): void };
}

export interface Library {
  /** By name. */
  readonly functions: ReadonlyMap<string, KernelFunction>;
  /** The functions must not be called afterwards. */
  unload(): void;
}

let koffi: Koffi | null = null;

/** Loads koffi, an optional dependency. Throws when it is not there. */
export function requireKoffi(): Koffi {
  if (koffi) return koffi;
  try {
    koffi = node().module.createRequire(import.meta.url)('koffi') as Koffi;
  } catch (error) {
    const missing = (error as { code?: unknown }).code === 'MODULE_NOT_FOUND';
    throw missing ? new Error('the optional package koffi is not installed (npm install koffi)') : error;
  }
  return koffi;
}

let wrapper: WebAssembly.Module | null = null;
/** A JavaScript function as one that a WebAssembly table takes: a module that exports what it imports. */
function wrap(f: (...args: number[]) => void): KernelFunction {
  if (wrapper === null) {
    const module = new ModuleBuilder();
    module.exportFunction('f', module.importFunction('env', 'f', ['i32', 'i32', 'i32', 'i32'], []));
    wrapper = new WebAssembly.Module(module.finish());
  }
  return new WebAssembly.Instance(wrapper, { env: { f } }).exports.f as KernelFunction;
}

/** The name of a library's function among those of several libraries. */
export function functionName(library: number, symbol: string): string {
  return `${library}:${symbol}`;
}

/**
 * Loads libraries for this thread and tells them where the heap is. A library knows one heap in the whole process: where two
 * devices have the same code, each loads a copy of its own.
 */
export function linkLibraries(paths: readonly string[], names: readonly string[], memory: WebAssembly.Memory): Library {
  const heap = new Uint8Array(memory.buffer);
  // Where a path is empty there is no library, and no name of its.
  const libraries = paths.map((path) => (path === '' ? null : requireKoffi().load(path)));
  for (const library of libraries) library?.func('void trireme_heap(void *)')(heap);
  const functions = new Map<string, KernelFunction>();
  for (const name of names) {
    const [, number, symbol] = /^(\d+):(.*)$/.exec(name) ?? [];
    const library = libraries[Number(number)];
    if (!library) throw new Error(`no library has ${name}`);
    functions.set(name, wrap(library.func(`void ${symbol}(int32_t, int32_t, int32_t, int32_t)`) as (...args: number[]) => void));
  }
  return {
    functions,
    unload: () => {
      for (const library of libraries) library?.unload?.();
    },
  };
}
