import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DType, ScalarType } from '../../src/dtype.js';
import type { BinaryOp, CoreBinaryOp, Expr, UnaryOp } from '../../src/ir/expr.js';
import { ExprBuilder } from '../../src/ir/expr.js';
import { interpretKernel } from '../../src/ir/interpret.js';
import type { Kernel, KernelParam } from '../../src/ir/kernel.js';
import { lowerMath } from '../../src/ir/math.js';
import { printKernel } from '../../src/ir/print.js';
import type { Value } from '../../src/ir/scalar.js';
import { evalBinary, evalCast } from '../../src/ir/scalar.js';
import { verifyKernel } from '../../src/ir/verify.js';
import { compile } from './evaluate.js';

const int32 = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(-(2 ** 31), 2 ** 31 - 1),
);
const intOps: readonly CoreBinaryOp[] = [
  'add',
  'sub',
  'mul',
  'div',
  'rem',
  'min',
  'max',
  'and',
  'or',
  'xor',
  'shl',
  'shr',
  'shrU',
  'mulHiU',
  'lt',
  'le',
  'eq',
  'ne',
  'ltU',
];

describe('ExprBuilder folding', () => {
  it('gives the value the operation has when it runs, for constants and for mixtures with variables', () => {
    fc.assert(
      fc.property(fc.constantFrom(...intOps), int32, int32, (op, p, q) => {
        const b = new ExprBuilder();
        const x = b.newLocal('x', 'i32');
        const y = b.newLocal('y', 'i32');
        const want = evalBinary(op, 'i32', p, q);
        const forms = [
          b.binary(op, b.i32(p), b.i32(q)),
          b.binary(op, b.read(x), b.i32(q)),
          b.binary(op, b.i32(p), b.read(y)),
          b.binary(op, b.read(x), b.read(y)),
        ];
        for (const form of forms) expect(compile(form, [x, y])(p, q)).toBe(want);
        expect(compile(b.binary(op, b.read(x), b.read(x)), [x])(p)).toBe(evalBinary(op, 'i32', p, p));
      }),
      { numRuns: 500 },
    );
  });

  it('casts constants as it casts values', () => {
    const types: ScalarType[] = ['f32', 'f64', 'i32', 'i64', 'bool'];
    const number = fc.oneof(fc.double(), fc.constantFrom(NaN, -0, 2 ** 31, -(2 ** 31), 0.5, -0.9, 1e30));
    fc.assert(
      fc.property(number, fc.constantFrom<ScalarType>('f32', 'f64'), fc.constantFrom(...types), (v, from, to) => {
        const b = new ExprBuilder();
        const value: Value = from === 'f32' ? Math.fround(v) : v;
        expect(compile(b.cast(b.const(from, value), to), [])()).toBe(evalCast(from, to, value));
      }),
      { numRuns: 500 },
    );
  });

  it('is the same object for the same expression', () => {
    const b = new ExprBuilder();
    const x = b.read(b.newLocal('x', 'f32'));
    expect(b.add(b.mul(x, b.const('f32', 0.1)), x)).toBe(b.add(b.mul(x, b.const('f32', Math.fround(0.1))), x));
    expect(b.const('f32', -0)).not.toBe(b.const('f32', 0));
  });
});

const dtypeOf: Record<ScalarType, DType> = { f32: 'float32', f64: 'float64', i32: 'int32', i64: 'int64', bool: 'bool' };
const scalarTypes = Object.keys(dtypeOf) as ScalarType[];
const params: KernelParam[] = scalarTypes.map((type) => ({ dtype: dtypeOf[type], access: 'readwrite' }));

const arithmetic: readonly BinaryOp[] = ['add', 'sub', 'mul', 'div', 'rem', 'min', 'max'];
const bitwise: readonly BinaryOp[] = ['and', 'or', 'xor'];
const floatMath: readonly UnaryOp[] = [
  'neg',
  'abs',
  'floor',
  'ceil',
  'trunc',
  'roundEven',
  'sqrt',
  'exp',
  'log',
  'tanh',
  'sin',
  'erf',
  'rsqrt',
];

/** Grows a well-typed expression from a list of random numbers, reusing earlier ones so that the DAG is shared. */
function grow(b: ExprBuilder, index: Expr, choices: readonly number[]): Expr[] {
  const pool: Expr[] = scalarTypes.map((type, param) => b.load({ param, dtype: dtypeOf[type] }, type, index));
  for (const type of scalarTypes) pool.push(b.const(type, 3));
  const of = (type: ScalarType, n: number): Expr => {
    const fitting = pool.filter((e) => e.type === type);
    return fitting[fitting.length - 1 - (n % Math.min(fitting.length, 4))] as Expr;
  };
  for (const n of choices) {
    const type = scalarTypes[n % 5] as ScalarType;
    const p = of(type, n >> 3);
    const q = of(type, n >> 6);
    const shape = (n >> 9) % 5;
    const pick = <T>(list: readonly T[]): T => list[(n >> 12) % list.length] as T;
    if (shape === 0 && type !== 'bool') pool.push(b.binary(pick(['lt', 'le', 'eq', 'ne'] as const), p, q));
    else if (shape === 1) pool.push(b.select(of('bool', n >> 4), p, q));
    else if (shape === 2) pool.push(b.cast(p, pick(scalarTypes)));
    else if (type === 'bool') pool.push(shape === 3 ? b.unary('not', p) : b.binary(pick(bitwise), p, q));
    else if (shape === 3 && (type === 'f32' || type === 'f64')) pool.push(b.unary(pick(floatMath), p));
    else if (shape === 4 && (type === 'i32' || type === 'i64')) pool.push(b.binary(pick([...bitwise, 'shl', 'shr'] as const), p, q));
    else pool.push(b.binary(pick(arithmetic), p, q));
  }
  return pool;
}

function kernelOf(choices: readonly number[], lower: boolean): Kernel {
  const b = new ExprBuilder();
  const cell = b.loopVar('i');
  const index = b.index(cell);
  const pool = grow(b, index, choices);
  const body = scalarTypes.map((type, param) => {
    const value = pool.filter((e) => e.type === type).at(-1) as Expr;
    const result = lower ? lowerMath(b, value) : value;
    return { kind: 'store', buffer: { param, dtype: dtypeOf[type] }, index: b.add(index, b.i32(4)), value: result, mode: 'set' } as const;
  });
  return { name: 'random', params, parts: [{ kind: 'loops', grid: 4, cell, body }] };
}

describe('random kernels', () => {
  const choices = fc.array(fc.nat(2 ** 20), { minLength: 1, maxLength: 40 });

  it('verify, print and run, as built and with transcendentals expanded', () => {
    fc.assert(
      fc.property(choices, (list) => {
        for (const lower of [false, true]) {
          const kernel = kernelOf(list, lower);
          verifyKernel(kernel);
          expect(printKernel(kernel).split('\n').length).toBeGreaterThan(6);
          const heap = new ArrayBuffer(64 * 5);
          interpretKernel(kernel, heap, [0, 64, 128, 192, 256]);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('give the same integers whether or not transcendentals are expanded', () => {
    fc.assert(
      fc.property(choices, (list) => {
        // Without transcendental results cast to integers, both kernels are exact.
        const integerOnly = list.filter((n) => !['f32', 'f64'].includes(scalarTypes[n % 5] as string));
        const run = (lower: boolean): number[] => {
          const heap = new ArrayBuffer(64 * 5);
          new Int32Array(heap, 128, 4).set([1, -7, 2 ** 31 - 1, 40]);
          new BigInt64Array(heap, 192, 4).set([1n, -7n, 2n ** 62n, 40n]);
          interpretKernel(kernelOf(integerOnly, lower), heap, [0, 64, 128, 192, 256]);
          return [...new Uint8Array(heap)];
        };
        expect(run(true)).toEqual(run(false));
      }),
      { numRuns: 100 },
    );
  });
});
