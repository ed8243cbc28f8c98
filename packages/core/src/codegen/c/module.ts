/** From kernels to one C file. */
import type { ContractPart, Kernel, Part } from '../../ir/kernel.js';
import { splitDilation } from '../wasm/contract-dilation.js';
import { planWindow } from '../wasm/contract-window.js';
import { type PartMemory, renderContract } from './contract.js';
import type { CTarget } from './contract-plan.js';
import { renderLoops } from './loops.js';
import { withPrelude } from './prelude.js';
import { renderWindow } from './window.js';

/** A function of the file, `void symbol(begin, end, args, scratch)`: see {@link KernelEntry}. Addresses are relative to the heap. */
export interface CPhaseEntry {
  readonly symbol: string;
  readonly grid: number;
  readonly chunk: number;
}
export interface CKernel {
  readonly text: string;
  /** See {@link Preparation}. */
  readonly preparation: {
    readonly phases: readonly (readonly CPhaseEntry[])[];
    readonly params: readonly number[];
    readonly bytes: number;
  } | null;
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

/** A kernel whose parts C can do: they run side by side, phase by phase. */
function renderKernel(kernel: Kernel, name: string, target: CTarget): CKernel | null {
  const rendered: CKernel[] = [];
  let workspaceBytes = 0;
  let preparedBytes = 0;
  const parts = kernel.parts.flatMap((part): readonly Part[] => (part.kind === 'contract' ? splitDilation(part) : [part]));
  for (const [i, part] of parts.entries()) {
    if (part.kind === 'loops' && part.grid <= 0) continue;
    const one =
      part.kind === 'loops'
        ? renderLoops(part, `${name}_${i}`, target)
        : renderProduct(kernel, part, `${name}_${i}`, target, { workspace: workspaceBytes, prepared: preparedBytes });
    if (one === null) return null;
    workspaceBytes += one.workspaceBytes;
    preparedBytes += one.preparation?.bytes ?? 0;
    rendered.push(one);
  }
  if (rendered.length === 0) return null;
  const together = (phases: readonly CKernel['phases'][]): CKernel['phases'] =>
    Array.from({ length: Math.max(...phases.map((p) => p.length)) }, (_, i) => phases.flatMap((p) => p[i] ?? []));
  const preparations = rendered.flatMap((p) => p.preparation ?? []);
  return {
    text: rendered.map((p) => p.text).join('\n'),
    preparation:
      preparations.length === 0
        ? null
        : {
            phases: together(preparations.map((p) => p.phases)),
            params: [...new Set(preparations.flatMap((p) => p.params))],
            bytes: preparedBytes,
          },
    phases: together(rendered.map((p) => p.phases)),
    workspaceBytes,
    scratchBytes: Math.max(...rendered.map((p) => p.scratchBytes)),
  };
}

function renderProduct(kernel: Kernel, part: ContractPart, name: string, target: CTarget, memory: PartMemory): CKernel | null {
  const window = part.type === 'f32' ? planWindow(part, { relaxedSimd: false }, false) : null;
  return window ? renderWindow(part, window, name, target) : renderContract(kernel, part, name, target, memory);
}
