/** Systems, inverses, determinants and functions of matrices: identities, gradients, singular matrices. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { ArgumentError, DTypeError, ShapeError } from '../../src/errors.js';
import { jit } from '../../src/jit.js';
import * as linalg from '../../src/linalg/index.js';
import { add, div, mul, sub } from '../../src/ops/binary.js';
import { eye, ones, tensor, zeros } from '../../src/ops/create.js';
import { matmul } from '../../src/ops/matmul.js';
import { normal } from '../../src/ops/random.js';
import { sum } from '../../src/ops/reduce.js';
import { exp, log } from '../../src/ops/unary.js';
import { transpose } from '../../src/ops/view.js';
import { Generator } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const random = (shape: readonly number[], seed: number, dtype: 'float32' | 'float64' = 'float64'): Tensor =>
  normal(shape, 0, 1, { dtype, generator: new Generator(seed) });
const T = (x: Tensor): Tensor => transpose(x, -2, -1);
const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);
function gap(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  return Math.max(0, ...numbers(sub(a, b)).map(Math.abs));
}
/** Well away from singular. */
const regular = (shape: readonly number[], seed: number, dtype: 'float32' | 'float64' = 'float64'): Tensor =>
  add(random(shape, seed, dtype), mul(eye(shape.at(-1)!, { dtype }), 8));

describe('identities', () => {
  const arbitrary = fc.record({
    batch: fc.constantFrom([], [3], [2, 2], [0]),
    n: fc.integer({ min: 0, max: 30 }),
    k: fc.integer({ min: 0, max: 70 }),
    seed: fc.integer({ min: 0, max: 1000 }),
  });
  test('solve, inv, det and slogdet', () => {
    fc.assert(
      fc.property(arbitrary, ({ batch, n, k, seed }) =>
        scope(() => {
          const [a, b] = [regular([...batch, n, n], seed), random([...batch, n, k], seed + 1)];
          expect(gap(matmul(a, linalg.solve(a, b)), b)).toBeLessThan(1e-11);
          expect(gap(matmul(linalg.solve(a, T(b), { left: false }), a), T(b))).toBeLessThan(1e-11);
          expect(gap(matmul(a, linalg.inv(a)), eye(n, { dtype: 'float64' }).expand(a.shape))).toBeLessThan(1e-12);
          const { sign, logabsdet } = linalg.slogdet(a);
          const det = linalg.det(a);
          expect(gap(div(mul(sign, exp(logabsdet)), det), mul(det, 0).add(1))).toBeLessThan(1e-11);
          expect(gap(linalg.slogdet(T(a)).logabsdet, logabsdet)).toBeLessThan(1e-11);
        }),
      ),
      { numRuns: 20 },
    );
  });
  test('triangular systems', () => {
    fc.assert(
      fc.property(arbitrary, fc.boolean(), fc.boolean(), ({ batch, n, k, seed }, upper, unitriangular) =>
        scope(() => {
          const full = mul(regular([...batch, n, n], seed), 0.1);
          const triangle = upper ? full.triu(unitriangular ? 1 : 0) : full.tril(unitriangular ? -1 : 0);
          const a = unitriangular ? add(triangle, eye(n, { dtype: 'float64' })) : triangle;
          const b = random([...batch, n, k], seed);
          // What lies in the other triangle is not read.
          const x = linalg.solveTriangular(full, b, { upper, unitriangular });
          expect(gap(matmul(a, x), b)).toBeLessThan(1e-9);
          expect(gap(matmul(linalg.solveTriangular(full, T(b), { upper, unitriangular, left: false }), a), T(b))).toBeLessThan(1e-9);
        }),
      ),
      { numRuns: 20 },
    );
  });
  test('pinv fulfils the conditions of Penrose, lstsq the normal equations', () => {
    for (const [m, n, rank] of [
      [6, 4, 4],
      [4, 6, 4],
      [7, 5, 2],
      [3, 3, 1],
    ]) {
      const a = matmul(random([2, m, rank], m), random([2, rank, n], n));
      const p = linalg.pinv(a);
      const [ap, pa] = [matmul(a, p), matmul(p, a)];
      for (const [x, y] of [
        [matmul(ap, a), a],
        [matmul(pa, p), p],
        [ap, T(ap)],
        [pa, T(pa)],
      ])
        expect(gap(x, y)).toBeLessThan(1e-10);
      expect(numbers(linalg.matrixRank(a))).toEqual([rank, rank]);
      const b = random([2, m, 2], 9);
      const { solution, residuals, rank: found } = linalg.lstsq(a, b);
      const error = sub(b, matmul(a, solution));
      expect(gap(matmul(T(a), error), zeros([2, n, 2], { dtype: 'float64' }))).toBeLessThan(1e-10);
      expect(gap(residuals, sum(mul(error, error), -2))).toBeLessThan(1e-10);
      expect(numbers(found)).toEqual([rank, rank]);
    }
  });
  test('the exponential of a matrix: of sums that commute, of inverses, its determinant', () => {
    const a = random([2, 5, 5], 1);
    const e = linalg.matrixExp(a);
    expect(gap(linalg.matrixExp(mul(a, 2)), matmul(e, e))).toBeLessThan(1e-9);
    expect(gap(matmul(e, linalg.matrixExp(mul(a, -1))), eye(5, { dtype: 'float64' }).expand([2, 5, 5]))).toBeLessThan(1e-10);
    expect(gap(log(linalg.det(e)), linalg.trace(a))).toBeLessThan(1e-10);
    expect(gap(linalg.matrixExp(zeros([3, 3])), mul(eye(3), 1))).toBe(0);
    const f = jit((t: Tensor) => linalg.matrixExp(t));
    expect(gap(f(mul(a, 9)), linalg.matrixExp(mul(a, 9)))).toBe(0);
    f.dispose();
  });
});

describe('gradients, first and second', () => {
  const cases: [string, (...t: Tensor[]) => Tensor | readonly Tensor[], (readonly number[])[]][] = [
    [
      'solve',
      (a, b) => linalg.solve(add(a, mul(eye(3, { dtype: 'float64' }), 3)), b),
      [
        [2, 3, 3],
        [3, 2],
      ],
    ],
    ['solve of a vector', (a, b) => linalg.solve(add(a, mul(eye(3, { dtype: 'float64' }), 3)), b), [[3, 3], [3]]],
    ['inv', (a) => linalg.inv(add(a, mul(eye(3, { dtype: 'float64' }), 3))), [[2, 3, 3]]],
    ['det', (a) => linalg.det(a), [[2, 3, 3]]],
    ['slogdet', (a) => linalg.slogdet(a).logabsdet, [[2, 3, 3]]],
    ['pinv', (a) => linalg.pinv(a), [[4, 2]]],
    [
      'lstsq',
      (a, b) => linalg.lstsq(a, b).solution,
      [
        [4, 2],
        [4, 1],
      ],
    ],
    ['matrixExp', (a) => linalg.matrixExp(a), [[2, 3, 3]]],
    ['matrixPower', (a) => linalg.matrixPower(a, 5), [[3, 3]]],
    [
      'choleskySolve',
      (b, l) => linalg.choleskySolve(b, add(l, mul(eye(3, { dtype: 'float64' }), 3))),
      [
        [3, 2],
        [3, 3],
      ],
    ],
    [
      'luSolve',
      (a, b) => linalg.luSolve(linalg.luFactor(a), b),
      [
        [3, 3],
        [3, 2],
      ],
    ],
    ['cross', (a, b) => linalg.cross(a, b), [[2, 3], [3]]],
    [
      'kron',
      (a, b) => linalg.kron(a, b),
      [
        [2, 2],
        [1, 3],
      ],
    ],
    ['nuclear norm', (a) => linalg.matrixNorm(a, 'nuc'), [[2, 3, 4]]],
  ];
  test.each(cases)('%s', (_, fn, shapes) => {
    checkGrads(
      fn,
      shapes.map((s, i) => random(s, 31 + i)),
      { order: 2, atol: 2e-4 },
    );
  });
  test('the determinant of a singular matrix has the adjugate for its gradient', () => {
    const x = tensor(
      [
        [1, 2],
        [2, 4],
      ],
      { dtype: 'float64' },
    ).requiresGrad_();
    linalg.det(x).backward();
    const expected = [4, -2, -2, 1];
    numbers(x.grad!).forEach((g, i) => expect(Math.abs(g - expected[i])).toBeLessThan(1e-9));
    const nothing = zeros([2, 2], { dtype: 'float64', requiresGrad: true });
    linalg.det(nothing).backward();
    numbers(nothing.grad!).forEach((g) => expect(Math.abs(g)).toBeLessThan(1e-9));
  });
  test('of solve inside jit()', () => {
    const [a, b] = [regular([4, 4], 1), random([4, 2], 2)];
    const gradient = (x: Tensor): Tensor => {
      const leaf = x.detach().mul(1).requiresGrad_();
      sum(mul(linalg.solve(leaf, b), linalg.solve(leaf, b))).backward();
      return leaf.grad!;
    };
    const f = jit(gradient);
    expect(gap(f(a), gradient(a))).toBeLessThan(1e-12);
    f.dispose();
  });
});

describe('singular matrices', () => {
  const singular = tensor(
    [
      [1, 2],
      [2, 4],
    ],
    { dtype: 'float32' },
  );
  test('are refused outside jit(), and give infinities or NaN inside', () => {
    for (const fn of [
      (): Tensor => linalg.inv(singular),
      (): Tensor => linalg.solve(singular, ones([2])),
      () => linalg.luFactor(singular),
    ]) {
      expect(fn).toThrow(linalg.LinalgError);
      expect(fn).toThrow(/pivot 2 is 0/);
    }
    const f = jit((x: Tensor) => linalg.inv(x));
    expect(numbers(f(singular)).some(Number.isFinite)).toBe(false);
    f.dispose();
    expect(linalg.invEx(singular).info.toArray()).toBe(2);
    expect(linalg.det(singular).item()).toBeCloseTo(0, 12);
    expect(linalg.slogdet(singular).sign.item()).toBeCloseTo(0, 12);
    expect(linalg.slogdet(singular).logabsdet.item()).toBe(-Infinity);
    expect(linalg.cond(singular, 1).item()).toBe(Infinity);
    expect(gap(matmul(linalg.lu(singular).P, matmul(linalg.lu(singular).L, linalg.lu(singular).U)), singular)).toBe(0);
  });
  test('the matrix of a batch is named', () => {
    const batch = add(zeros([3, 2, 2]), mul(eye(2), 1)).mul(tensor([1, 1, 0], { dtype: 'float32' }).reshape([3, 1, 1]));
    expect(() => linalg.inv(batch)).toThrow(/matrix 2 of the batch/);
  });
});

describe('arguments', () => {
  test('are checked', () => {
    expect(() => linalg.solve(zeros([2, 3]), zeros([2]))).toThrow(ShapeError);
    expect(() => linalg.solve(eye(2), zeros([3, 1]))).toThrow(ShapeError);
    expect(() => linalg.solve(eye(2), zeros([2], { dtype: 'float64' }))).toThrow(DTypeError);
    expect(() => linalg.matrixNorm(zeros([2, 2]), 3)).toThrow(ArgumentError);
    expect(() => linalg.matrixNorm(zeros([2, 2]), 2, [0, 0])).toThrow(ShapeError);
    expect(() => linalg.matrixPower(eye(2), 0.5)).toThrow(ArgumentError);
    expect(() => linalg.cross(zeros([2]), zeros([2]))).toThrow(ShapeError);
    expect(() => linalg.multiDot([eye(2)])).toThrow(ArgumentError);
    expect(() => linalg.lstsq(zeros([3, 2]), zeros([2, 1]))).toThrow(ShapeError);
  });
  test('norm chooses by what it is given', () => {
    const x = tensor(
      [
        [3, 4],
        [0, 0],
      ],
      { dtype: 'float64' },
    );
    expect(linalg.norm(x).item()).toBe(5);
    expect(linalg.norm(x, 1).item()).toBe(4);
    expect(linalg.norm(x, 1, 1).toArray()).toEqual([7, 0]);
    expect(linalg.norm(x, 'fro').item()).toBe(5);
    expect(() => linalg.norm(x, 'nuc', 0)).toThrow(ArgumentError);
    expect(linalg.vecdot(x, x).toArray()).toEqual([25, 0]);
  });
});
