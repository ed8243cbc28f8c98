/** From kernels to one WebAssembly module. */
import type { Kernel } from '../../ir/kernel.js';
import type { CompiledKernel, CompiledModule, KernelEntry, Phase, WasmFeatures } from '../compiled.js';
import { ModuleBuilder } from './asm.js';
import { compileContract } from './contract.js';
import { compileLoops } from './loops.js';

/** Pages a 32-bit memory can have: the bound a shared memory import must state. */
const maxPages = 65536;

/**
 * Compiles kernels into one module that imports `env.memory`. Export names are unique in the module; they say
 * nothing about the kernels, so equal kernels give equal bytes.
 */
export function compileKernels(kernels: readonly Kernel[], features: WasmFeatures): CompiledModule {
  const module = new ModuleBuilder();
  module.importMemory(features.sharedMemory ? { min: 0, max: maxPages, shared: true } : { min: 0 });
  const compiled = kernels.map((kernel, i) => compileKernel(module, kernel, `k${i}`, features));
  return { bytes: module.finish(), kernels: compiled };
}

/** Parts run side by side: their phases are zipped, their workspaces lie one after the other, their scratch is shared. */
function compileKernel(module: ModuleBuilder, kernel: Kernel, name: string, features: WasmFeatures): CompiledKernel {
  const parts = kernel.parts.map((part, i): CompiledKernel => {
    if (part.kind === 'contract') return compileContract(module, kernel, part, `${name}p${i}`, features);
    if (part.grid <= 0) return { phases: [], workspaceBytes: 0, scratchBytes: 0 };
    return { phases: [[compileLoops(module, part, `${name}p${i}`, features)]], workspaceBytes: 0, scratchBytes: 0 };
  });
  const phases: KernelEntry[][] = [];
  let workspaceBytes = 0;
  let scratchBytes = 0;
  for (const part of parts) {
    const offset = workspaceBytes;
    const moved = offset > 0 && part.workspaceBytes > 0;
    part.phases.forEach((phase: Phase, i) => {
      const entries = moved ? phase.map((entry) => offsetWorkspace(module, entry, kernel.params.length, offset)) : phase;
      phases[i] = [...(phases[i] ?? []), ...entries];
    });
    const tableBytes = moved ? pointerTableBytes(kernel.params.length) : 0;
    scratchBytes = Math.max(scratchBytes, part.scratchBytes + tableBytes);
    workspaceBytes += part.workspaceBytes;
  }
  return { phases, workspaceBytes, scratchBytes };
}

function pointerTableBytes(params: number): number {
  return Math.ceil(((params + 1) * 4) / 64) * 64;
}

/**
 * The same entry with its workspace pointer moved by `offset` bytes: calls it with a copy of the pointer table that
 * lies at the start of the thread's scratch memory.
 */
function offsetWorkspace(module: ModuleBuilder, entry: KernelEntry, params: number, offset: number): KernelEntry {
  const exportName = `${entry.exportName}w`;
  const target = module.exportedFunction(entry.exportName);
  const f = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
  const [begin, end, args, scratch] = f.params;
  if (begin && end && args && scratch) {
    f.get(scratch)
      .get(args)
      .i32(4 * params)
      .memoryCopy();
    f.get(scratch)
      .get(args)
      .mem('i32.load', 4 * params)
      .i32(offset)
      .op('i32.add')
      .mem('i32.store', 4 * params);
    f.get(begin).get(end).get(scratch).get(scratch).i32(pointerTableBytes(params)).op('i32.add').call(target);
  }
  return { ...entry, exportName };
}
