/**
 * Kernels in two forms, IR for the interpreter and hand-assembled code for the device, so that the runtime is tested
 * against the interpreter without the code generator: with phases, entries, chunks and work as a test wants them.
 */
import type { CompiledKernel, CompiledModule, KernelEntry, WasmFeatures } from '../../src/codegen/compiled.js';
import { type FunctionBuilder, ModuleBuilder, type WasmLocal } from '../../src/codegen/wasm/asm.js';
import { ExprBuilder } from '../../src/ir/expr.js';
import type { Address, Kernel, KernelParam, Stmt } from '../../src/ir/kernel.js';
import { CpuDevice, type CpuDeviceOptions } from '../../src/runtime/cpu/device.js';

/** Emits the code for one cell. `args` is the address of the pointers. */
type EmitCell = (f: FunctionBuilder, cell: WasmLocal, args: WasmLocal, scratch: WasmLocal) => void;
interface Entry {
  readonly grid: number;
  readonly chunk: number;
  readonly cell: EmitCell;
}
interface Code {
  readonly phases: readonly (readonly Entry[])[];
  readonly workspaceBytes?: number;
  readonly scratchBytes?: number;
}
const codes = new WeakMap<Kernel, Code>();

/** A kernel that exists as code only. */
export function codeKernel(name: string, params: readonly KernelParam[], code: Code): Kernel {
  const kernel: Kernel = { name, params, parts: [] };
  codes.set(kernel, code);
  return kernel;
}

export function assemble(kernels: readonly Kernel[], features: WasmFeatures): CompiledModule {
  const module = new ModuleBuilder();
  module.importMemory(features.sharedMemory ? { min: 1, max: 65536, shared: true } : { min: 1 });
  const compiled = kernels.map((kernel, k): CompiledKernel => {
    const code = codes.get(kernel);
    if (!code) throw new Error(`no code for ${kernel.name}`);
    const phases = code.phases.map((phase, p) =>
      phase.map((entry, e): KernelEntry => {
        const exportName = `k${k}p${p}e${e}`;
        const f = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
        const [cell, end, args, scratch] = f.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
        const loop = f.loop();
        entry.cell(f, cell, args, scratch);
        f.get(cell).i32(1).op('i32.add').tee(cell).get(end).op('i32.lt_u').brIf(loop);
        f.end();
        return { exportName, grid: entry.grid, chunk: entry.chunk };
      }),
    );
    return { phases, workspaceBytes: code.workspaceBytes ?? 0, scratchBytes: code.scratchBytes ?? 0 };
  });
  return { bytes: module.finish(), kernels: compiled };
}

export const makeDevice = (options: CpuDeviceOptions): CpuDevice => new CpuDevice(options, assemble);

const int32 = (access: KernelParam['access']): KernelParam => ({ dtype: 'int32', access });

/** Pushes the address of element `index` (on the stack) of parameter `param`. */
function element(f: FunctionBuilder, args: WasmLocal, param: number): void {
  f.i32(2)
    .op('i32.shl')
    .get(args)
    .mem('i32.load', 4 * param)
    .op('i32.add');
}
/** Pushes (7 * cell + 5) mod n. */
const scattered = (f: FunctionBuilder, cell: WasmLocal, n: number): FunctionBuilder =>
  f.get(cell).i32(7).op('i32.mul').i32(5).op('i32.add').i32(n).op('i32.rem_u');

/**
 * out[i] = 3 * out[i] + in[(7 i + 5) mod n] + constant over int32: depends on the order of calls, and on all threads
 * having finished the call before. `phases` 2 does it by way of the workspace; `entries` 2 in two halves.
 */
export function mixKernel(n: number, constant: number, options: { chunk: number; phases?: 1 | 2; entries?: 1 | 2 }): Kernel {
  const b = new ExprBuilder();
  const cell = b.loopVar('i');
  const [out, input] = [
    { param: 0, dtype: 'int32' },
    { param: 1, dtype: 'int32' },
  ] as const;
  const i = b.index(cell);
  const from = b.binary('rem', b.add(b.mul(i, b.i32(7)), b.i32(5)), b.i32(n));
  const value = b.add(b.add(b.mul(b.load(out, 'i32', i), b.i32(3)), b.load(input, 'i32', from)), b.i32(constant));
  const body: Stmt[] = [{ kind: 'store', buffer: out, index: i, value, mode: 'set' }];
  const kernel: Kernel = {
    name: `mix${constant}`,
    params: [int32('readwrite'), int32('read')],
    parts: [{ kind: 'loops', grid: n, cell, body }],
  };
  const twoPhases = options.phases === 2;
  const half = Math.floor(n / 2);
  const split = (cellAt: (shift: number) => EmitCell): Entry[] =>
    options.entries === 2
      ? [
          { grid: half, chunk: options.chunk, cell: cellAt(0) },
          { grid: n - half, chunk: options.chunk + 1, cell: cellAt(half) },
        ]
      : [{ grid: n, chunk: options.chunk, cell: cellAt(0) }];
  const at = (f: FunctionBuilder, c: WasmLocal, shift: number): FunctionBuilder => f.get(c).i32(shift).op('i32.add');
  const gather =
    (shift: number): EmitCell =>
    (f, c, args) => {
      element(at(f, c, shift), args, 2);
      const moved = f.local('i32');
      at(f, c, shift).set(moved);
      element(scattered(f, moved, n), args, 1);
      f.mem('i32.load').mem('i32.store');
      f.free(moved);
    };
  const combine =
    (shift: number): EmitCell =>
    (f, c, args) => {
      const moved = f.local('i32');
      at(f, c, shift).set(moved);
      element(f.get(moved), args, 0);
      element(f.get(moved), args, 0);
      f.mem('i32.load').i32(3).op('i32.mul');
      if (twoPhases) element(f.get(moved), args, 2);
      else element(scattered(f, moved, n), args, 1);
      f.mem('i32.load').op('i32.add').i32(constant).op('i32.add').mem('i32.store');
      f.free(moved);
    };
  codes.set(kernel, {
    phases: twoPhases ? [split(gather), split(combine)] : [split(combine)],
    workspaceBytes: twoPhases ? Math.ceil(n / 4) * 16 : 0,
  });
  return kernel;
}

/** counter[0] = counter[0] * scale + shift, one cell. */
export function scalarKernel(scale: number, shift: number): Kernel {
  const b = new ExprBuilder();
  const counter = { param: 0, dtype: 'int32' } as const;
  const zero = b.i32(0);
  const value = b.add(b.mul(b.load(counter, 'i32', zero), b.i32(scale)), b.i32(shift));
  const kernel: Kernel = {
    name: 'scalar',
    params: [int32('readwrite')],
    parts: [{ kind: 'loops', grid: 1, cell: b.loopVar('i'), body: [{ kind: 'store', buffer: counter, index: zero, value, mode: 'set' }] }],
  };
  codes.set(kernel, {
    phases: [
      [
        {
          grid: 1,
          chunk: 1,
          cell: (f, c, args) => {
            element(f.get(c), args, 0);
            element(f.get(c), args, 0);
            f.mem('i32.load').i32(scale).op('i32.mul').i32(shift).op('i32.add').mem('i32.store');
          },
        },
      ],
    ],
  });
  return kernel;
}

/** condition[0] = (value[0] & mask) < limit, one cell. */
export function testKernel(mask: number, limit: number): Kernel {
  const b = new ExprBuilder();
  const zero = b.i32(0);
  const value = b.binary('lt', b.and(b.load({ param: 1, dtype: 'int32' }, 'i32', zero), b.i32(mask)), b.i32(limit));
  const store: Stmt = { kind: 'store', buffer: { param: 0, dtype: 'bool' }, index: zero, value, mode: 'set' };
  const kernel: Kernel = {
    name: 'test',
    params: [{ dtype: 'bool', access: 'write' }, int32('read')],
    parts: [{ kind: 'loops', grid: 1, cell: b.loopVar('i'), body: [store] }],
  };
  codes.set(kernel, {
    phases: [
      [
        {
          grid: 1,
          chunk: 1,
          cell: (f, c, args) => {
            f.get(args).mem('i32.load');
            element(f.get(c), args, 1);
            f.mem('i32.load').i32(mask).op('i32.and').i32(limit).op('i32.lt_s').mem('i32.store8');
          },
        },
      ],
    ],
  });
  return kernel;
}

/** Takes about `rounds` nanoseconds a cell and adds 1 to data[cell]; cells from `trapAt` on trap. */
export function slowKernel(grid: number, rounds: number, options: { chunk?: number; trapAt?: number } = {}): Kernel {
  return codeKernel('slow', [int32('readwrite')], {
    phases: [
      [
        {
          grid,
          chunk: options.chunk ?? 1,
          cell: (f, c, args) => {
            if (options.trapAt !== undefined) {
              f.get(c).i32(options.trapAt).op('i32.ge_u');
              f.if();
              f.op('unreachable');
              f.end();
            }
            const left = f.local('i32');
            const sum = f.local('i32');
            f.i32(rounds).set(left);
            const loop = f.loop();
            f.get(sum).i32(1664525).op('i32.mul').i32(1013904223).op('i32.add').set(sum);
            f.get(left).i32(1).op('i32.sub').tee(left).brIf(loop);
            f.end();
            element(f.get(c), args, 0);
            element(f.get(c), args, 0);
            f.mem('i32.load').get(sum).i32(0).op('i32.mul').op('i32.add').i32(1).op('i32.add').mem('i32.store');
            f.free(left, sum);
          },
        },
      ],
    ],
  });
}

export const at = (slot: number, offset = 0, loopStrides?: readonly number[]): Address =>
  loopStrides ? { slot, offset, loopStrides } : { slot, offset };
