/** Builds, runs and checks contractions for the tests of the WebAssembly generator. */

import type { CompiledKernel, WasmFeatures } from '../../src/codegen/compiled.js';
import { ModuleBuilder } from '../../src/codegen/wasm/asm.js';
import { compileContract } from '../../src/codegen/wasm/contract.js';
import { type DType, dtypeInfo } from '../../src/dtype.js';
import { type Expr, ExprBuilder, type LoopVar } from '../../src/ir/expr.js';
import { interpretKernel } from '../../src/ir/interpret.js';
import type { ContractDim, ContractOperand, ContractPart, Coordinate, Kernel, Stmt } from '../../src/ir/kernel.js';
import { readElement, writeElement } from '../../src/ir/scalar.js';

type Entry = (begin: number, end: number, args: number, scratch: number) => void;

/** A compiled contraction with its own memory. */
export interface Runner {
  readonly compiled: CompiledKernel;
  readonly byteLength: number;
  /** Address of parameter i. */
  readonly addresses: readonly number[];
  readonly memory: WebAssembly.Memory;
  /** End of the last parameter. */
  readonly paramEnd: number;
  /** Runs all phases; `pieces` splits every grid into that many ranges, last range first. */
  run(pieces?: number): void;
}

const plain: WasmFeatures = { sharedMemory: false, relaxedSimd: false };

export function linear(stride: number, ...terms: readonly (readonly [dim: number, coefficient: number])[]): Coordinate {
  return {
    terms: terms.map(([dim, coefficient]) => ({ dim, coefficient })),
    offset: 0,
    dilation: 1,
    extent: 2 ** 30,
    stride,
    checked: false,
  };
}

export function buildRunner(kernel: Kernel, sizes: readonly number[], features: WasmFeatures = plain): Runner {
  const part = kernel.parts[0];
  if (part?.kind !== 'contract') throw new Error('kernel without a contraction');
  const module = new ModuleBuilder();
  module.importMemory({ min: 1 });
  const compiled = compileContract(module, kernel, part, 'k', features);
  const bytes = module.finish();
  let top = 1024;
  const take = (size: number): number => {
    const start = top;
    top = Math.ceil((top + size) / 64) * 64;
    return start;
  };
  const args = take(4 * (kernel.params.length + 1));
  const addresses = kernel.params.map((param, i) => take((sizes[i] ?? 0) * dtypeInfo[param.dtype].bytes));
  const paramEnd = top;
  const workspace = take(compiled.workspaceBytes);
  const scratch = take(compiled.scratchBytes);
  const memory = new WebAssembly.Memory({ initial: Math.ceil(top / 65536) });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  new Int32Array(memory.buffer, args, kernel.params.length + 1).set([...addresses, workspace]);
  return {
    compiled,
    byteLength: bytes.length,
    addresses,
    memory,
    paramEnd,
    run(pieces = 1) {
      for (const phase of compiled.phases) {
        for (const entry of phase) {
          const call = instance.exports[entry.exportName] as unknown as Entry;
          for (let p = pieces - 1; p >= 0; p--) {
            const begin = Math.floor((p * entry.grid) / pieces);
            const end = Math.floor(((p + 1) * entry.grid) / pieces);
            if (end > begin) call(begin, end, args, scratch);
          }
        }
      }
    },
  };
}

export interface ContractSpec {
  readonly type?: 'f32' | 'f64' | 'i32' | 'i64';
  readonly dims: readonly ContractDim[];
  readonly a: readonly Coordinate[];
  readonly b: readonly Coordinate[];
  readonly aType?: DType;
  readonly bType?: DType;
  readonly outType?: DType;
  /** Element stride of the output for each output dimension. */
  readonly outStrides: readonly number[];
  /** More parameters and statements; parameters 0, 1, 2 are a, b and the output. */
  readonly epilogue?: (e: ExprBuilder, result: Expr, vars: readonly LoopVar[], outIndex: Expr) => Stmt[];
  readonly extra?: readonly DType[];
}

const natural = { f32: 'float32', f64: 'float64', i32: 'int32', i64: 'int64' } as const;

export function contractKernel(spec: ContractSpec): Kernel {
  const type = spec.type ?? 'f32';
  const e = new ExprBuilder();
  const outputVars = spec.dims.filter((d) => d.role !== 'k').map((d, i) => e.loopVar(`${d.role}${i}`));
  const result = e.newLocal('sum', type);
  let outIndex = e.i32(0);
  outputVars.forEach((v, i) => {
    outIndex = e.add(outIndex, e.mul(e.index(v), e.i32(spec.outStrides[i] ?? 0)));
  });
  const aType = spec.aType ?? natural[type];
  const bType = spec.bType ?? natural[type];
  const outType = spec.outType ?? natural[type];
  const operand = (param: number, dtype: DType, coordinates: readonly Coordinate[]): ContractOperand => ({
    buffer: { param, dtype },
    coordinates,
  });
  const part: ContractPart = {
    kind: 'contract',
    type,
    dims: spec.dims,
    a: operand(0, aType, spec.a),
    b: operand(1, bType, spec.b),
    result,
    outputVars,
    epilogue: spec.epilogue
      ? spec.epilogue(e, e.read(result), outputVars, outIndex)
      : [{ kind: 'store', buffer: { param: 2, dtype: outType }, index: outIndex, value: e.read(result), mode: 'set' }],
  };
  return {
    name: 'contract',
    params: [
      { dtype: aType, access: 'read' },
      { dtype: bType, access: 'read' },
      { dtype: outType, access: 'write' },
      ...(spec.extra ?? []).map((dtype) => ({ dtype, access: 'readwrite' as const })),
    ],
    parts: [part],
  };
}

/** Fills parameters with small integers: their sums are exact in every type, so results must match bit for bit. */
export function fillParams(
  kernel: Kernel,
  addresses: readonly number[],
  sizes: readonly number[],
  heap: ArrayBufferLike,
  seed: number,
): void {
  const view = new DataView(heap);
  let state = (seed ^ 0x9e3779b9) | 0;
  kernel.params.forEach((param, p) => {
    const { bytes, compute } = dtypeInfo[param.dtype];
    for (let i = 0; i < (sizes[p] ?? 0); i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const small = ((state >>> 16) % 7) - (param.dtype === 'uint8' ? 0 : 3);
      writeElement(view, param.dtype, (addresses[p] ?? 0) + i * bytes, compute === 'i64' ? BigInt(small) : small);
    }
  });
}

/**
 * Runs the generated code on one memory and the reference evaluator on a copy, and returns the first byte of a parameter
 * in which they differ (null when they agree everywhere, including the bytes around the parameters).
 */
export function firstDifference(
  kernel: Kernel,
  sizes: readonly number[],
  seed: number,
  pieces = 1,
  features: WasmFeatures = plain,
): string | null {
  const runner = buildRunner(kernel, sizes, features);
  fillParams(kernel, runner.addresses, sizes, runner.memory.buffer, seed);
  const expected = runner.memory.buffer.slice(0);
  interpretKernel(kernel, expected, runner.addresses);
  runner.run(pieces);
  const got = new Uint8Array(runner.memory.buffer, 0, runner.paramEnd);
  const want = new Uint8Array(expected, 0, runner.paramEnd);
  for (let i = 0; i < got.length; i++) {
    if (got[i] === want[i]) continue;
    const p = runner.addresses.findLastIndex((address) => address <= i);
    const dtype = kernel.params[p]?.dtype ?? 'uint8';
    const element = Math.floor((i - (runner.addresses[p] ?? 0)) / dtypeInfo[dtype].bytes);
    const address = (runner.addresses[p] ?? 0) + element * dtypeInfo[dtype].bytes;
    const read = (buffer: ArrayBufferLike): string => String(readElement(new DataView(buffer), dtype, address));
    return `parameter ${p} (${dtype}, ${sizes[p]} elements), element ${element}: got ${read(runner.memory.buffer)}, expected ${read(expected)}`;
  }
  return null;
}
