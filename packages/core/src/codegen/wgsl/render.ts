/**
 * Kernels as WGSL, the language of WebGPU.
 *
 * A kernel becomes one module with an entry point for each part. All memory is one storage buffer of words, the heap
 * (binding 0), and a uniform buffer (binding 1) says at which element of it each parameter begins. Separate bindings would
 * not do: WebGPU promises only 8 storage buffers to a shader (an optimizer's update has dozens of parameters), refuses
 * two bindings that overlap when one is written (operations in place), and wants offsets that are multiples of 256 bytes.
 *
 * Limits, of WGSL rather than of this renderer:
 * - No f64 and i64: DTypeError. Elements of 8 and 16 bits are stored with two atomic operations on their word.
 * - Implementations may assume that no NaN and no infinity occurs. Here NaN in max and min, float to integer and infinite
 *   constants are made of bits, so they hold wherever the hardware itself carries them through arithmetic.
 * - Subnormal numbers may become 0, division errs by 2.5 ulp, sqrt about as much. Multiplication and addition may be
 *   fused, sums reassociated: transcendentals are expanded by `lowerMath` in a way that bears it.
 * - Functions that gain from f64 on the CPU (pow, erfc, lgamma, digamma, erfinv, huge angles) lose accuracy as `lowerMath` says.
 * - The remainder of floats is x - y * trunc(x / y): it loses as many bits as the quotient has.
 */
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { renderContract } from './contract.js';
import { Helpers } from './helpers.js';
import { renderLoops } from './loops.js';

/** One dispatch; those of a kernel do not depend on each other. */
export interface Dispatch {
  readonly entryPoint: string;
  readonly workgroups: readonly [number, number, number];
}
export interface WgslKernel {
  readonly code: string;
  readonly dispatches: readonly Dispatch[];
}

/** Vectors of four bases in the uniform buffer of a kernel: base i, in elements of parameter i's dtype, is u32 number i. */
export function baseVectors(kernel: Kernel): number {
  return Math.max(1, Math.ceil(kernel.params.length / 4));
}

/**
 * Renders a kernel.
 * @throws DTypeError when it computes in f64 or i64.
 */
export function renderWgsl(kernel: Kernel): WgslKernel {
  const helpers = new Helpers();
  const rendered = kernel.parts.flatMap((part, i) => {
    const made = part.kind === 'loops' ? renderLoops(part, `part${i}`, helpers) : renderContract(part, `part${i}`, helpers);
    return made ? [made] : [];
  });
  const atomic = kernel.parts.some((part) => storesNarrow(part.kind === 'loops' ? part.body : part.epilogue));
  const code = [
    `// ${kernel.name}`,
    `@group(0) @binding(0) var<storage, read_write> heap: array<${atomic ? 'atomic<u32>' : 'u32'}>;`,
    `@group(0) @binding(1) var<uniform> bases: array<vec4<u32>, ${baseVectors(kernel)}>;`,
    `fn wordAt(i: u32) -> u32 { return ${atomic ? 'atomicLoad(&heap[i])' : 'heap[i]'}; }`,
    `fn setWord(i: u32, value: u32) { ${atomic ? 'atomicStore(&heap[i], value)' : 'heap[i] = value'}; }`,
    String(helpers),
    ...rendered.map((r) => r.code),
  ];
  return { code: `${code.filter((text) => text !== '').join('\n')}\n`, dispatches: rendered.map((r) => r.dispatch) };
}

/** Whether there are stores of less than a word. */
function storesNarrow(body: readonly Stmt[]): boolean {
  return body.some((stmt) => {
    if (stmt.kind === 'store') return stmt.buffer.dtype !== 'float32' && stmt.buffer.dtype !== 'int32';
    if (stmt.kind === 'for' || stmt.kind === 'while') return storesNarrow(stmt.body);
    return stmt.kind === 'if' && (storesNarrow(stmt.then) || storesNarrow(stmt.otherwise));
  });
}
