/** From kernels to one C file. */
import type { Kernel } from '../../ir/kernel.js';
import { renderContract } from './contract.js';
import type { CTarget } from './contract-plan.js';
import { renderLoops } from './loops.js';
import { withPrelude } from './prelude.js';

/** A function of the file, `void symbol(begin, end, args, scratch)`: see {@link KernelEntry}. Addresses are relative to the heap. */
export interface CPhaseEntry {
  readonly symbol: string;
  readonly grid: number;
  readonly chunk: number;
}
export interface CKernel {
  readonly text: string;
  readonly phases: readonly (readonly CPhaseEntry[])[];
  readonly workspaceBytes: number;
  readonly scratchBytes: number;
}
export interface CModule {
  readonly text: string;
  /** In the order of the kernels; null for those that stay with WebAssembly. */
  readonly kernels: readonly (CKernel | null)[];
}

/** Renders the kernels that C can do. The file exports `trireme_heap`, to be told where the heap is. */
export function renderC(kernels: readonly Kernel[], target: CTarget): CModule {
  const rendered = kernels.map((kernel, i) => renderKernel(kernel, `k${i}`, target));
  const body = [
    'static char *heap;',
    'void trireme_heap(char *base) { heap = base; }',
    ...rendered.flatMap((k) => (k ? [k.text] : [])),
    '',
  ];
  return { text: withPrelude(body.join('\n'), target.lanes), kernels: rendered };
}

/** A kernel of one part; those of several parts whose parts have one phase each run side by side. */
function renderKernel(kernel: Kernel, name: string, target: CTarget): CKernel | null {
  const parts = kernel.parts.map((part, i) =>
    part.kind === 'contract'
      ? renderContract(kernel, part, `${name}_${i}`, target)
      : part.grid > 0
        ? renderLoops(part, `${name}_${i}`, target)
        : null,
  );
  const present = parts.filter((p) => p !== null);
  const empty = kernel.parts.filter((part) => part.kind === 'loops' && part.grid <= 0).length;
  if (present.length === 0 || present.length + empty !== parts.length) return null;
  // Several workspaces would need pointer tables of their own.
  if (present.length > 1 && present.some((p) => p.workspaceBytes > 0)) return null;
  const depth = Math.max(...present.map((p) => p.phases.length));
  return {
    text: present.map((p) => p.text).join('\n'),
    phases: Array.from({ length: depth }, (_, i) => present.flatMap((p) => p.phases[i] ?? [])),
    workspaceBytes: Math.max(...present.map((p) => p.workspaceBytes)),
    scratchBytes: Math.max(...present.map((p) => p.scratchBytes)),
  };
}
