/** dtypes of results: PyTorch's tables. */
import { expect, test } from 'vitest';
import type { DType } from '../../src/dtype.js';
import { dtypeInfo, dtypes, promoteTypes } from '../../src/dtype.js';
import { add, div, mul } from '../../src/ops/binary.js';
import { resultType } from '../../src/ops/common.js';
import { mean, prod, sum } from '../../src/ops/reduce.js';
import { cumsum } from '../../src/ops/scan.js';
import { argmax } from '../../src/ops/statistics.js';
import { abs, exp, neg, sqrt } from '../../src/ops/unary.js';
import { createFromArray, readSync } from '../../src/tensor/dispatch.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { isTensorJson, loadCases, numbersOf, operations, tensorOf } from './cases.js';

const host = (t: Tensor): number[] => Array.from(readSync(t), Number);
const cases = loadCases('promotion');
const named = (op: string): { args: DType[]; attrs: Record<string, unknown>; result: string }[] =>
  cases
    .filter((c) => c.op === op)
    .map((c) => ({ args: c.args as unknown as DType[], attrs: { ...c.attrs }, result: String(c.outputs[0]) }));
const ones = (dtype: DType, shape: number[] = [2]): Tensor =>
  createFromArray(new Array<number>(shape.reduce((a, b) => a * b, 1)).fill(1), dtype, shape);

test('two dtypes meet as in promote_types', () => {
  const rows = named('promoteTypes');
  expect(rows.length).toBe(dtypes.length ** 2);
  for (const { args, result } of rows) expect([...args, promoteTypes(args[0], args[1])]).toEqual([...args, result]);
});

test('a 0-d tensor only raises the category', () => {
  for (const { args, result } of named('promoteZeroDim')) {
    expect([...args, resultType(ones(args[0]), ones(args[1], []))]).toEqual([...args, result]);
    expect([...args, resultType(ones(args[1], []), ones(args[0]))]).toEqual([...args, result]);
  }
});

test('a number only raises the category, and division is real', () => {
  const value = { bool: true, int: 2, float: 2.5 };
  const fn = { add, mul, div };
  for (const { args, attrs, result } of named('promoteNumber')) {
    const kind = args[1] as unknown as keyof typeof value;
    const op = attrs.with as keyof typeof fn;
    expect([args[0], kind, op, fn[op](ones(args[0]), value[kind]).dtype]).toEqual([args[0], kind, op, result]);
  }
});

test('functions give the dtypes of PyTorch, or refuse where it refuses', () => {
  const fn: Record<string, (x: Tensor) => Tensor> = { sum, prod, exp, argmax, neg, cumsum: (x) => cumsum(x, 0), mean, sqrt, abs };
  for (const { args, attrs, result } of named('resultOf')) {
    let got: string;
    try {
      got = fn[String(attrs.of)](ones(args[0])).dtype;
    } catch {
      got = 'error';
    }
    expect([args[0], attrs.of, got]).toEqual([args[0], attrs.of, result]);
  }
});

test('conversions truncate, wrap and round as PyTorch does', () => {
  const rows = cases.filter((c) => c.op === 'to');
  expect(rows.length).toBeGreaterThan(15);
  for (const c of rows) {
    const [arg] = c.args;
    if (!isTensorJson(arg)) throw new TypeError('a tensor was expected');
    const out = operations.to([tensorOf(arg)], c.attrs) as Tensor;
    expect(out.dtype).toBe(c.outputs[0].dtype);
    const round = out.dtype === 'float64' ? (v: number): number => v : Math.fround;
    expect([c.attrs, host(out).map(round)]).toEqual([c.attrs, numbersOf(c.outputs[0]).map(round)]);
  }
});

test('every dtype adds and multiplies within its own range', () => {
  for (const dtype of dtypes) {
    const x = createFromArray([1, 2, 3], dtype, [3]);
    const wanted = dtypeInfo[dtype].kind === 'bool' ? [1, 1, 1] : [2, 6, 12];
    expect([dtype, Array.from(readSync(add(mul(x, x), x)), Number)]).toEqual([dtype, wanted]);
  }
});
