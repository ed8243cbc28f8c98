/** Runs one kernel on WebAssembly and on the reference interpreter, from the same memory. */

import type { CompiledModule, WasmFeatures } from '../../src/codegen/compiled.js';
import { compileKernels } from '../../src/codegen/wasm/module.js';
import { dtypeInfo } from '../../src/dtype.js';
import { interpretKernel } from '../../src/ir/interpret.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { readElement } from '../../src/ir/scalar.js';

type Entry = (begin: number, end: number, args: number, scratch: number) => void;

export const unshared: WasmFeatures = { sharedMemory: false, relaxedSimd: false };

export interface Running {
  readonly memory: WebAssembly.Memory;
  readonly compiled: CompiledModule;
  /** Runs kernel `index` with the pointer table at `args`, each entry split at the given fractions of its grid. */
  run(index: number, args: number, scratch: number, splits?: readonly number[]): void;
}

export function instantiate(kernels: readonly Kernel[], memory: WebAssembly.Memory, features: WasmFeatures): Running {
  const compiled = compileKernels(kernels, features);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(compiled.bytes), { env: { memory } });
  return {
    memory,
    compiled,
    run(index, args, scratch, splits = []) {
      for (const phase of compiled.kernels[index]?.phases ?? []) {
        for (const entry of phase) {
          const call = instance.exports[entry.exportName] as Entry;
          const bounds = [0, ...splits.map((s) => Math.floor(s * entry.grid)).sort((a, b) => a - b), entry.grid];
          for (let i = bounds.length - 2; i >= 0; i--) call(bounds[i] ?? 0, bounds[i + 1] ?? 0, args, scratch);
        }
      }
    },
  };
}

/** Buffers one after the other, with a gap between them; the last one ends where the memory ends. */
export interface Layout {
  readonly addresses: readonly number[];
  readonly tableAt: number;
  readonly scratchAt: number;
  readonly pages: number;
}
export function layout(kernel: Kernel, elements: readonly number[]): Layout {
  const sizes = kernel.params.map((p, i) => Math.max(1, elements[i] ?? 0) * dtypeInfo[p.dtype].bytes);
  const tableBytes = Math.ceil((kernel.params.length + 1) / 16) * 64;
  const scratchAt = 64 + tableBytes;
  const data = sizes.reduce((sum, size) => sum + Math.ceil(size / 8) * 8 + 16, 0);
  const pages = Math.ceil((scratchAt + 4096 + data) / 65536);
  // From the end of memory down, each buffer aligned to its elements but no more.
  let at = pages * 65536;
  const addresses = kernel.params.map((p, i) => {
    const { bytes } = dtypeInfo[p.dtype];
    at = Math.floor((at - (sizes[i] ?? 0)) / bytes) * bytes;
    const address = at;
    at -= 16;
    return address;
  });
  return { addresses, tableAt: 64, scratchAt, pages };
}

export interface Outcome {
  readonly expected: DataView;
  readonly actual: DataView;
  readonly layout: Layout;
}
/** The memory after the interpreter and after WebAssembly, from equal starts. */
export function runBoth(
  kernel: Kernel,
  elements: readonly number[],
  fill: (view: DataView, addresses: readonly number[]) => void,
  splits: readonly number[] = [],
  features: WasmFeatures = unshared,
): Outcome {
  const where = layout(kernel, elements);
  const { pages } = where;
  const memory = new WebAssembly.Memory(features.sharedMemory ? { initial: pages, maximum: pages, shared: true } : { initial: pages });
  fill(new DataView(memory.buffer), where.addresses);
  const witness = new ArrayBuffer(memory.buffer.byteLength);
  new Uint8Array(witness).set(new Uint8Array(memory.buffer));
  interpretKernel(kernel, witness, where.addresses);
  new Int32Array(memory.buffer, where.tableAt, where.addresses.length).set(where.addresses);
  instantiate([kernel], memory, features).run(0, where.tableAt, where.scratchAt, splits);
  return { expected: new DataView(witness), actual: new DataView(memory.buffer), layout: where };
}

/** Elements that differ, as text; a NaN equals any other NaN. Empty: the memories are equal, gaps between buffers included. */
export function differences(kernel: Kernel, elements: readonly number[], outcome: Outcome): string[] {
  const found: string[] = [];
  const covered = new Uint8Array(outcome.expected.byteLength);
  covered.fill(1, outcome.layout.tableAt, outcome.layout.tableAt + 4 * kernel.params.length + 4);
  kernel.params.forEach(({ dtype }, p) => {
    const { bytes } = dtypeInfo[dtype];
    for (let i = 0; i < (elements[p] ?? 0); i++) {
      const at = (outcome.layout.addresses[p] ?? 0) + i * bytes;
      covered.fill(1, at, at + bytes);
      const expected = readElement(outcome.expected, dtype, at);
      const actual = readElement(outcome.actual, dtype, at);
      if (!Object.is(expected, actual)) found.push(`param ${p} (${dtype}) element ${i}: expected ${expected}, got ${actual}`);
    }
  });
  for (let at = 0; at < covered.length; at++) {
    if (!covered[at] && outcome.expected.getUint8(at) !== outcome.actual.getUint8(at))
      found.push(`byte ${at} outside every buffer changed`);
  }
  return found;
}
