import { describe, expect, it } from 'vitest';
import { CompilerError } from '../../src/errors.js';
import type { Expr } from '../../src/ir/expr.js';
import { ExprBuilder } from '../../src/ir/expr.js';
import type { ContractPart, Coordinate, Kernel, KernelParam, Step, Stmt } from '../../src/ir/kernel.js';
import { verifyKernel, verifySteps } from '../../src/ir/verify.js';

const b = new ExprBuilder();
const cell = b.loopVar('i');
const v = b.loopVar('v');
const w = b.loopVar('w');
const i = b.index(cell);
const f32 = (x: number): Expr => b.const('f32', x);
const x = b.load({ param: 0, dtype: 'float32' }, 'f32', i);
const out = { param: 1, dtype: 'float32' } as const;
const params: KernelParam[] = [
  { dtype: 'float32', access: 'read' },
  { dtype: 'float32', access: 'readwrite' },
];
const sum = b.newLocal('sum', 'f32');
const lane = b.newLocal('lane', 'f32');
const declare: Stmt = { kind: 'declare', local: sum, value: f32(0) };
const store = (value: Expr, index: Expr = i): Stmt => ({ kind: 'store', buffer: out, index, value, mode: 'set' });
const vector = (...body: Stmt[]): Stmt => ({ kind: 'for', variable: v, extent: 8, mode: 'vector', body });
const kernel = (...body: Stmt[]): Kernel => ({ name: 'k', params, parts: [{ kind: 'loops', grid: 4, cell, body }] });

function rejects(k: Kernel, message: RegExp): void {
  expect(() => verifyKernel(k)).toThrow(CompilerError);
  expect(() => verifyKernel(k)).toThrow(message);
}

describe('verifyKernel', () => {
  it('accepts a row sum with a vector reduction and a store', () => {
    const element = b.load({ param: 0, dtype: 'float32' }, 'f32', b.add(b.mul(i, b.i32(8)), b.index(v)));
    verifyKernel(kernel(declare, vector({ kind: 'accumulate', local: sum, op: 'add', value: element }), store(b.read(sum))));
  });

  it('names the kernel and the statement that broke a rule', () => {
    rejects(
      kernel(declare, vector(store(b.read(lane)))),
      /kernel k at 1: vector for v > 0: store to buffer 1: lane is read where it is not in scope/,
    );
  });

  it('keeps locals to the block that declares them', () => {
    const inBranch: Stmt = { kind: 'if', condition: b.binary('lt', i, b.i32(2)), then: [declare], otherwise: [] };
    rejects(kernel(inBranch, store(b.read(sum))), /sum is read where it is not in scope/);
    rejects(kernel({ kind: 'assign', local: sum, value: f32(1) }), /sum is written where it is not in scope/);
    rejects(kernel(declare, declare), /sum is declared twice/);
    rejects(kernel(store(f32(1), b.index(v))), /v is read where it is not in scope/);
  });

  it('keeps vector loops to what lanes can do', () => {
    const loop = (body: Stmt, extent: number | Expr = 2, mode: 'serial' | 'vector' = 'serial'): Stmt => ({
      kind: 'for',
      variable: w,
      extent,
      mode,
      body: [body],
    });
    const one = store(f32(1), b.index(v));
    verifyKernel(kernel(vector(loop(one))));
    rejects(kernel(vector(loop(one, 2, 'vector'))), /a vector loop stands inside a vector loop/);
    rejects(kernel(vector(loop(one, i))), /dynamic extent/);
    rejects(kernel(vector({ kind: 'while', condition: b.const('bool', false), body: [] })), /while loop stands inside a vector loop/);
    rejects(kernel(declare, vector({ kind: 'assign', local: sum, value: f32(1) })), /assigned inside a vector loop/);
    rejects(kernel(vector({ kind: 'store', buffer: out, index: b.index(v), value: f32(1), mode: 'add' })), /store of mode add/);
    const accumulate: Stmt = { kind: 'accumulate', local: sum, op: 'add', value: f32(1) };
    rejects(kernel(declare, vector(accumulate, store(b.read(sum)))), /read inside the vector loop that accumulates it/);
    rejects(kernel(declare, vector(accumulate, { ...accumulate, op: 'max' })), /by add and by max/);
  });

  it('checks operand types', () => {
    rejects(kernel(store(b.cast(x, 'i32'))), /expression of i32 stands where f32 is needed/);
    rejects(kernel(store(x, b.const('i64', 0n))), /i64 stands where i32 is needed/);
    rejects(kernel(store(b.unary('not', x))), /operand of not is f32/);
    rejects(kernel(store(b.binary('shl', x, x))), /first operand of shl is f32/);
    rejects(kernel(store(b.select(b.binary('lt', x, f32(0)), x, b.i32(1)))), /second arm of a select is i32/);
    rejects(kernel(store(b.bitcast(b.const('f64', 1), 'f32'))), /bitcast of f64/);
    rejects(kernel(store(b.cast(b.load({ param: 0, dtype: 'float32' }, 'f64', i), 'f32'))), /load of float32 is f64/);
    rejects(kernel(store(f32(1), b.unary('exp', i))), /operand of exp is i32/);
  });

  it('checks buffers against the parameters', () => {
    rejects(kernel(store(b.load({ param: 2, dtype: 'float32' }, 'f32', i))), /buffer 2 is used/);
    rejects(kernel(store(b.load({ param: 0, dtype: 'bfloat16' }, 'f32', i))), /buffer 0 is used as bfloat16/);
    rejects(
      kernel({ kind: 'store', buffer: { param: 0, dtype: 'float32' }, index: i, value: x, mode: 'set' }),
      /declared read but there is a write/,
    );
    rejects({ ...kernel(store(x)), parts: [{ kind: 'loops', grid: -1, cell, body: [] }] }, /grid is -1/);
    rejects(kernel({ kind: 'for', variable: w, extent: 2.5, mode: 'serial', body: [] }), /extent is 2.5/);
  });

  it('notices expressions of two builders in one part', () => {
    const other = new ExprBuilder();
    rejects(kernel(store(b.add(x, other.const('f32', 3)))), /share the id/);
  });
});

describe('verifyKernel on contractions', () => {
  const m = b.loopVar('m');
  const n = b.loopVar('n');
  const result = b.newLocal('acc', 'f32');
  const coordinate = (dim: number, extent: number): Coordinate => ({
    terms: [{ dim, coefficient: 1 }],
    offset: 0,
    dilation: 1,
    extent,
    stride: 1,
    checked: false,
  });
  const matmul = (change: Partial<ContractPart> = {}): Kernel => ({
    name: 'matmul',
    params: [params[0] as KernelParam, params[0] as KernelParam, { dtype: 'float32', access: 'write' }],
    parts: [
      {
        kind: 'contract',
        type: 'f32',
        dims: [
          { extent: 4, role: 'm' },
          { extent: 5, role: 'n' },
          { extent: 3, role: 'k' },
        ],
        a: { buffer: { param: 0, dtype: 'float32' }, coordinates: [coordinate(0, 4), coordinate(2, 3)] },
        b: { buffer: { param: 1, dtype: 'float32' }, coordinates: [coordinate(1, 5), coordinate(2, 3)] },
        result,
        outputVars: [m, n],
        epilogue: [
          {
            kind: 'store',
            buffer: { param: 2, dtype: 'float32' },
            index: b.add(b.mul(b.index(m), b.i32(5)), b.index(n)),
            value: b.read(result),
            mode: 'set',
          },
        ],
        ...change,
      },
    ],
  });
  const operand = (c: Coordinate) => ({ buffer: { param: 0, dtype: 'float32' } as const, coordinates: [c] });

  it('accepts a matrix product', () => verifyKernel(matmul()));

  it('rejects impossible coordinates', () => {
    rejects(matmul({ a: operand(coordinate(1, 5)) }), /at a > coordinate 0: a term varies with n dimension 1/);
    rejects(matmul({ a: operand(coordinate(7, 5)) }), /names dimension 7/);
    rejects(matmul({ a: operand({ ...coordinate(0, 4), offset: -1 }) }), /unchecked coordinate reaches -1/);
    rejects(matmul({ a: operand({ ...coordinate(0, 4), dilation: 2 }) }), /unchecked coordinate has dilation 2/);
    verifyKernel(matmul({ a: operand({ ...coordinate(0, 4), offset: -1, dilation: 2, checked: true }) }));
  });

  it('rejects epilogues a tile cannot run', () => {
    const loop: Stmt = { kind: 'for', variable: v, extent: 2, mode: 'serial', body: [] };
    rejects(matmul({ epilogue: [loop] }), /for statement stands in an epilogue/);
    const squared: Stmt = {
      kind: 'store',
      buffer: { param: 2, dtype: 'float32' },
      index: b.mul(b.index(m), b.index(n)),
      value: b.read(result),
      mode: 'set',
    };
    rejects(matmul({ epilogue: [squared] }), /not affine/);
    rejects(matmul({ outputVars: [m] }), /1 output variables/);
  });
});

describe('verifySteps', () => {
  const k = kernel(store(x));
  const call = (...args: { slot: number; offset: number; loopStrides?: readonly number[] }[]): Step => ({
    kind: 'call',
    kernel: k,
    args,
    work: 1,
  });

  it('accepts a call inside a repeat with a stride for it', () => {
    verifySteps([{ kind: 'repeat', count: 2, body: [call({ slot: 0, offset: 0, loopStrides: [4] }, { slot: 1, offset: 8 })] }], 2);
  });
  it('checks argument counts, slots, alignment and loop strides', () => {
    expect(() => verifySteps([call({ slot: 0, offset: 0 })])).toThrow(/kernel k has 1 arguments/);
    expect(() => verifySteps([call({ slot: 0, offset: 0 }, { slot: 2, offset: 0 })], 2)).toThrow(/names slot 2/);
    expect(() => verifySteps([call({ slot: 0, offset: 0 }, { slot: 1, offset: 6 })])).toThrow(/multiple of the element size 4/);
    expect(() => verifySteps([call({ slot: 0, offset: 0, loopStrides: [4] }, { slot: 1, offset: 0 })])).toThrow(/1 loop strides/);
  });
});
