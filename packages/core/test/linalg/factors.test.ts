/** Factorisations: what they multiply back to, for shapes of every kind, and their gradients against differences. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { AutogradError, DTypeError, ShapeError } from '../../src/errors.js';
import { jit } from '../../src/jit.js';
import * as linalg from '../../src/linalg/index.js';
import { add, mul, sub } from '../../src/ops/binary.js';
import { eye, tensor, zeros } from '../../src/ops/create.js';
import { tril, triu } from '../../src/ops/join.js';
import { matmul } from '../../src/ops/matmul.js';
import { normal } from '../../src/ops/random.js';
import { sum } from '../../src/ops/reduce.js';
import { abs } from '../../src/ops/unary.js';
import { transpose, unsqueeze } from '../../src/ops/view.js';
import { narrow } from '../../src/ops/view-slice.js';
import { Generator } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

export const T = (x: Tensor): Tensor => transpose(x, -2, -1);
export type Real = 'float32' | 'float64';
export function random(shape: readonly number[], seed: number, dtype: Real = 'float64'): Tensor {
  return normal(shape, 0, 1, { dtype, generator: new Generator(seed) });
}
/** The largest difference of two tensors. */
export function gap(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  const [x, y] = [a.dataSync(), b.dataSync()];
  let worst = 0;
  for (let i = 0; i < x.length; i++) {
    const d = Math.abs(Number(x[i]) - Number(y[i]));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}
const eps: Record<Real, number> = { float32: 2 ** -23, float64: 2 ** -52 };
const orthonormal = (Q: Tensor): number =>
  gap(
    matmul(T(Q), Q),
    mul(eye(Q.shape.at(-1)!, { dtype: Q.dtype }), 1).expand([...Q.shape.slice(0, -2), Q.shape.at(-1)!, Q.shape.at(-1)!]),
  );

const batches = [[], [3], [2, 2], [0]];
const arbitrary = fc.record({
  batch: fc.constantFrom(...batches),
  m: fc.integer({ min: 0, max: 40 }),
  n: fc.integer({ min: 0, max: 40 }),
  dtype: fc.constantFrom<Real>('float32', 'float64'),
  seed: fc.integer({ min: 0, max: 1000 }),
});
const runs = { numRuns: 20 };

describe('what the factors multiply to', () => {
  test('qr', () => {
    fc.assert(
      fc.property(arbitrary, fc.boolean(), ({ batch, m, n, dtype, seed }, complete) =>
        scope(() => {
          const x = random([...batch, m, n], seed, dtype);
          const { Q, R } = linalg.qr(x, complete ? 'complete' : 'reduced');
          const k = complete ? m : Math.min(m, n);
          expect(Q.shape).toEqual([...batch, m, k]);
          expect(R.shape).toEqual([...batch, k, n]);
          const bound = eps[dtype] * 100 * (1 + Math.max(m, n));
          expect(gap(matmul(Q, R), x)).toBeLessThan(bound);
          expect(orthonormal(Q)).toBeLessThan(bound);
          expect(gap(R, triu(R))).toBe(0);
        }),
      ),
      runs,
    );
  });
  test('lu', () => {
    fc.assert(
      fc.property(arbitrary, ({ batch, m, n, dtype, seed }) =>
        scope(() => {
          const x = random([...batch, m, n], seed, dtype);
          const { P, L, U } = linalg.lu(x);
          expect(gap(matmul(P, matmul(L, U)), x)).toBeLessThan(eps[dtype] * 100 * (1 + Math.max(m, n)));
          expect(gap(matmul(P, T(P)), mul(eye(m, { dtype }), 1).expand(P.shape))).toBe(0);
          expect(gap(U, triu(U))).toBe(0);
          expect(gap(L, tril(L))).toBe(0);
          // Partial pivoting: no factor is above 1.
          for (const value of L.dataSync()) expect(Math.abs(Number(value))).toBeLessThanOrEqual(1);
        }),
      ),
      runs,
    );
  });
  test('cholesky', () => {
    fc.assert(
      fc.property(arbitrary, fc.boolean(), ({ batch, m, dtype, seed }, upper) =>
        scope(() => {
          const a = random([...batch, m, m], seed, dtype);
          const x = add(matmul(a, T(a)), eye(m, { dtype }));
          const F = linalg.cholesky(x, { upper });
          expect(gap(upper ? matmul(T(F), F) : matmul(F, T(F)), x)).toBeLessThan(eps[dtype] * 300 * (1 + m));
          expect(gap(F, upper ? triu(F) : tril(F))).toBe(0);
        }),
      ),
      runs,
    );
  });
  test('eigh', () => {
    fc.assert(
      fc.property(arbitrary, ({ batch, m, dtype, seed }) =>
        scope(() => {
          const a = random([...batch, m, m], seed, dtype);
          const x = add(a, T(a));
          const { eigenvalues: L, eigenvectors: V } = linalg.eigh(x);
          const bound = eps[dtype] * 200 * (1 + m);
          expect(gap(matmul(mul(V, unsqueeze(L, -2)), T(V)), x)).toBeLessThan(bound);
          expect(orthonormal(V)).toBeLessThan(bound);
          expect(gap(linalg.eigvalsh(x), L)).toBeLessThan(bound);
          if (m > 1)
            for (const step of sub(narrow(L, -1, 1, m - 1), narrow(L, -1, 0, m - 1)).dataSync())
              expect(Number(step)).toBeGreaterThanOrEqual(0);
        }),
      ),
      runs,
    );
  });
  test('svd, of deficient matrices too', () => {
    fc.assert(
      fc.property(arbitrary, fc.boolean(), fc.integer({ min: 0, max: 6 }), ({ batch, m, n, dtype, seed }, fullMatrices, rank) =>
        scope(() => {
          const x =
            rank < 3
              ? matmul(random([...batch, m, rank], seed, dtype), random([...batch, rank, n], seed + 1, dtype))
              : random([...batch, m, n], seed, dtype);
          const { U, S, Vh } = linalg.svd(x, { fullMatrices });
          const k = Math.min(m, n);
          expect(U.shape).toEqual([...batch, m, fullMatrices ? m : k]);
          expect(Vh.shape).toEqual([...batch, fullMatrices ? n : k, n]);
          const bound = eps[dtype] * 300 * (1 + Math.max(m, n));
          expect(gap(matmul(mul(narrow(U, -1, 0, k), unsqueeze(S, -2)), narrow(Vh, -2, 0, k)), x)).toBeLessThan(bound);
          expect(orthonormal(U)).toBeLessThan(bound);
          expect(orthonormal(T(Vh))).toBeLessThan(bound);
          for (const value of S.dataSync()) expect(Number(value)).toBeGreaterThanOrEqual(0);
        }),
      ),
      runs,
    );
  });
});

describe('awkward matrices', () => {
  test.each(['float32', 'float64'] as const)('eigh and svd of zeros, of multiples of the identity, of extreme sizes (%s)', (dtype) => {
    for (const x of [
      zeros([5, 5], { dtype }),
      mul(eye(6, { dtype }), -3),
      mul(eye(3, { dtype }), 1e-30),
      mul(add(eye(4, { dtype }), 1), 1e18),
    ]) {
      const n = x.shape[0];
      const { eigenvalues, eigenvectors } = linalg.eigh(x);
      const { U, S, Vh } = linalg.svd(x);
      const size = Math.max(1e-30, ...Array.from(S.dataSync(), Number));
      expect(gap(matmul(mul(eigenvectors, unsqueeze(eigenvalues, 0)), T(eigenvectors)), x) / size).toBeLessThan(1e3 * eps[dtype]);
      expect(gap(matmul(mul(U, unsqueeze(S, 0)), Vh), x) / size).toBeLessThan(1e3 * eps[dtype]);
      expect(orthonormal(U)).toBeLessThan(1e3 * eps[dtype]);
      expect(orthonormal(eigenvectors)).toBeLessThan(1e3 * eps[dtype]);
      expect(n).toBeGreaterThan(0);
    }
  });
  test('singular values of the Hilbert matrix are exact to rounding of the largest', () => {
    const n = 8;
    const x = tensor(
      Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => 1 / (i + j + 1))),
      { dtype: 'float64' },
    );
    // From 60-digit arithmetic.
    const expected = [
      1.69593899692, 0.298125211317, 0.0262128435781, 0.00146768811774, 5.43694336975e-5, 1.29433209187e-6, 1.79887374582e-8,
      1.11153896637e-10,
    ];
    linalg
      .svdvals(x)
      .dataSync()
      .forEach((s, i) => expect(Math.abs(Number(s) - expected[i])).toBeLessThan(1e-15 + 1e-10 * expected[i]));
  });
  test('what is not positive definite is refused, naming the minor and the matrix', () => {
    const good = mul(eye(3), 2);
    const bad = tensor(
      [
        [1, 0, 0],
        [0, -1, 0],
        [0, 0, 1],
      ],
      { dtype: 'float32' },
    );
    expect(() => linalg.cholesky(bad)).toThrow(linalg.LinalgError);
    expect(() => linalg.cholesky(bad)).toThrow(/minor of order 2/);
    const both = add(zeros([2, 3, 3]), 0);
    expect(() => linalg.cholesky(both)).toThrow(/matrix 0 of the batch/);
    expect(linalg.choleskyEx(bad).info.toArray()).toBe(2);
    expect(linalg.choleskyEx(good).info.toArray()).toBe(0);
    const f = jit((x: Tensor) => linalg.cholesky(x));
    expect(f(bad).dataSync().some(Number.isNaN)).toBe(true);
    f.dispose();
  });
  test('infinities and NaN are refused by the iterations', () => {
    const x = tensor(
      [
        [1, Infinity],
        [Infinity, 1],
      ],
      { dtype: 'float32' },
    );
    expect(() => linalg.eigh(x)).toThrow(/infinities or NaN/);
    expect(() => linalg.svd(x)).toThrow(linalg.LinalgError);
    const f = jit((t: Tensor) => linalg.svdvals(t));
    expect(f(x).toArray()).toEqual([NaN, NaN]);
    f.dispose();
  });
  test('shapes and dtypes are checked', () => {
    expect(() => linalg.cholesky(zeros([2, 3]))).toThrow(ShapeError);
    expect(() => linalg.qr(zeros([3]))).toThrow(ShapeError);
    expect(() => linalg.svd(zeros([2, 2], { dtype: 'int32' }))).toThrow(DTypeError);
    expect(() => linalg.eigh(zeros([2, 2], { dtype: 'float16' }))).toThrow(/float32 or float64/);
  });
});

describe('gradients', () => {
  const symmetric = (x: Tensor): Tensor => add(x, T(x));
  const positive = (x: Tensor): Tensor => add(matmul(x, T(x)), eye(x.shape.at(-1)!, { dtype: x.dtype }));
  const cases: [string, (x: Tensor) => Tensor | readonly Tensor[], readonly number[]][] = [
    ['cholesky', (x) => linalg.cholesky(positive(x)), [2, 3, 3]],
    ['cholesky upper', (x) => linalg.cholesky(positive(x), { upper: true }), [4, 4]],
    ['qr tall', (x) => Object.values(linalg.qr(x)), [4, 3]],
    ['qr square', (x) => Object.values(linalg.qr(x)), [2, 3, 3]],
    ['qr wide', (x) => Object.values(linalg.qr(x)), [2, 4]],
    ['qr wide, complete', (x) => Object.values(linalg.qr(x, 'complete')), [2, 4]],
    ['qr, R alone', (x) => linalg.qr(x, 'r').R, [4, 2]],
    ['lu square', (x) => [linalg.lu(x).L, linalg.lu(x).U], [2, 3, 3]],
    ['lu tall', (x) => [linalg.lu(x).L, linalg.lu(x).U], [4, 2]],
    ['lu wide', (x) => [linalg.lu(x).L, linalg.lu(x).U], [2, 4]],
    ['eigh', (x) => [linalg.eigh(symmetric(x)).eigenvalues, abs(linalg.eigh(symmetric(x)).eigenvectors)], [2, 3, 3]],
    ['eigvalsh', (x) => linalg.eigvalsh(symmetric(x)), [4, 4]],
    ['svdvals', (x) => linalg.svdvals(x), [3, 4]],
    ['svd', (x) => svdProducts(x, false), [3, 3]],
    ['svd tall', (x) => svdProducts(x, false), [4, 2]],
    ['svd wide', (x) => svdProducts(x, false), [2, 4]],
  ];
  /** Functions of U and V that do not depend on their signs. */
  function svdProducts(x: Tensor, fullMatrices: boolean): Tensor[] {
    const { U, S, Vh } = linalg.svd(x, { fullMatrices });
    const weight = tensor([1, 2, 3, 4].slice(0, S.shape.at(-1)), { dtype: 'float64' });
    return [S, matmul(mul(U, weight), Vh), abs(U)];
  }
  test.each(cases)('%s', (_, fn, shape) => {
    checkGrads(fn, random(shape, 5), { order: 2, atol: 1e-4 });
  });
  test('the vectors that complete U and V pass no gradient on, those in front do', () => {
    const x = random([4, 2], 3);
    checkGrads((t) => abs(narrow(linalg.svd(t).U, -1, 0, 2)), x);
  });
  test('the complete Q of a tall matrix is not differentiable, and says so', () => {
    const x = random([4, 2], 1).requiresGrad_();
    expect(() => sum(linalg.qr(x, 'complete').Q).backward()).toThrow(AutogradError);
  });
});

describe('inside jit()', () => {
  test('the same numbers, and gradients', () => {
    const x = random([2, 5, 3], 8);
    const run = (t: Tensor): Tensor[] => {
      const { Q, R } = linalg.qr(t);
      const { U, S, Vh } = linalg.svd(t, { fullMatrices: false });
      const gram = matmul(T(t), t);
      return [Q, R, U, S, Vh, linalg.cholesky(gram), linalg.eigh(gram).eigenvectors, linalg.lu(gram).U];
    };
    const f = jit(run);
    const [eager, traced] = [run(x), f(x)];
    eager.forEach((t, i) => expect(gap(t, traced[i])).toBeLessThan(1e-12));
    const g = jit((t: Tensor) => {
      const leaf = mul(t, 1).detach().requiresGrad_();
      sum(linalg.svdvals(leaf)).backward();
      return leaf.grad!;
    });
    const leaf = mul(x, 1).detach().requiresGrad_();
    sum(linalg.svdvals(leaf)).backward();
    expect(gap(g(x), leaf.grad!)).toBeLessThan(1e-12);
    f.dispose();
    g.dispose();
  });
});
