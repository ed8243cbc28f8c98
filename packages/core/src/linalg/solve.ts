/** Linear systems, inverses and determinants, batched over the leading dimensions, in float32 and float64. */
import { customFunction } from '../autograd/custom.js';
import { isGradEnabled } from '../autograd/mode.js';
import { ShapeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import { add, div, eq, gt, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { broadcastTo, stopGradient } from '../ops/common.js';
import { eye } from '../ops/create.js';
import { withGradient } from '../ops/custom-gradient.js';
import { iota, iotaAlong } from '../ops/iota.js';
import { batchShape, matrixSize, squareSize } from '../ops/linalg-common.js';
import { luOf, permuteRows, solveWithLu, transposed, triangular, triangularRight } from '../ops/linalg-solve.js';
import { matmul } from '../ops/matmul.js';
import { amax, prod, sum } from '../ops/reduce.js';
import { argsort } from '../ops/sort.js';
import { where } from '../ops/ternary.js';
import { abs as absolute, log, neg, sign } from '../ops/unary.js';
import { reshape, unsqueeze } from '../ops/view.js';
import { diagonal, narrow } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { broadcastBatches, requireReal, throwOnInfo } from './checks.js';
import { svd, svdvals } from './factors.js';

const singular = (k: number): string => `the matrix is singular: pivot ${k} is 0`;
const regular = 'a matrix with an inverse';
const useLeastSquares = 'Use lstsq() or pinv().';

/**
 * A right-hand side as matrices, and the way back. `b` counts as vectors where it has one dimension less than `a` and its rows fit.
 * @throws ShapeError when it has not as many rows as `a`
 */
function asColumns(a: Tensor, b: Tensor, op: string): { readonly rhs: Tensor; finish(x: Tensor): Tensor } {
  const vector = b.shape.length === 1 || (b.shape.length === a.shape.length - 1 && shapesEqual(b.shape, a.shape.slice(0, -1)));
  const rhs = vector ? unsqueeze(b, b.shape.length) : b;
  const [m] = matrixSize(a, op);
  if (matrixSize(rhs, op)[0] !== m) {
    throw new ShapeError(`right-hand sides ${formatShape(b.shape)} of matrices ${formatShape(a.shape)}`, {
      op,
      received: b.shape,
      expected: `${m} rows`,
    });
  }
  return { rhs, finish: (x) => (vector ? reshape(x, x.shape.slice(0, -1)) : x) };
}

export interface SolveOptions {
  /** `a x = b` (default), else `x a = b`. */
  readonly left?: boolean;
}
/**
 * The solution of `a x = b` for square a [..., n, n] and b [..., n, k], or vectors b [n] or [..., n]. Batches broadcast. LU with partial
 * pivoting.
 * @throws LinalgError outside jit() when a matrix is singular; inside, its solution holds infinities or NaN
 */
export function solve(a: Tensor, b: Tensor, { left = true }: SolveOptions = {}): Tensor {
  requireReal('solve', a, b);
  squareSize(a, 'solve');
  return composite('solve', () => {
    if (!left) return transposed(solve(transposed(a), transposed(b)));
    const { rhs, finish } = asColumns(a, b, 'solve');
    const [matrices, columns] = broadcastBatches(a, rhs, 'solve');
    return finish(solveChecked(matrices, columns, 'solve'));
  });
}

/** {@link solve} of one batch shape; with `op`, singular matrices are refused where values can be read. */
function solveChecked(a: Tensor, b: Tensor, op: string | null): Tensor {
  const fn = customFunction<[Tensor, Tensor], Tensor>({
    name: 'solve',
    forward(ctx, matrices, columns) {
      const factors = luOf(matrices);
      if (op !== null) throwOnInfo(op, factors.info, singular, regular, useLeastSquares);
      const x = solveWithLu(factors, columns);
      ctx.saveForBackward(matrices, x, factors.packed, factors.order);
      return x;
    },
    backward(ctx, g) {
      const [matrices, x, packed, order] = ctx.savedTensors;
      if (g === null) return [null, null];
      // Where it is differentiated again the solution has to depend on the matrix; else the factors are at hand.
      const back = isGradEnabled() ? solveChecked(transposed(matrices), g, null) : solveTransposed(packed, order, g);
      return [ctx.needsInputGrad[0] ? neg(matmul(back, transposed(x))) : null, back];
    },
  });
  return fn(a, b);
}

/** `a^T x = g` from the factors of a: U^T L^T P x = g. */
function solveTransposed(packed: Tensor, order: Tensor, g: Tensor): Tensor {
  const inner = triangular(transposed(packed), g, { upper: false });
  return permuteRows(triangular(transposed(packed), inner, { upper: true, unit: true }), argsort(order));
}

export interface TriangularOptions {
  readonly upper: boolean;
  readonly left?: boolean;
  /** The diagonal counts as ones and is not read. */
  readonly unitriangular?: boolean;
}
/** The solution of `a x = b` (or `x a = b`) for triangular a [..., n, n] and b [..., n, k]. Zeros on the diagonal give infinities or NaN. */
export function solveTriangular(a: Tensor, b: Tensor, { upper, left = true, unitriangular = false }: TriangularOptions): Tensor {
  requireReal('solveTriangular', a, b);
  squareSize(a, 'solveTriangular');
  return composite('solveTriangular', () => {
    const [matrices, rhs] = broadcastBatches(a, b, 'solveTriangular');
    return left ? triangular(matrices, rhs, { upper, unit: unitriangular }) : triangularRight(matrices, rhs, upper, unitriangular);
  });
}

/** The solution of `(L L^T) x = b` from a Cholesky factor (or of `(U^T U) x = b` when `upper`). */
export function choleskySolve(b: Tensor, factor: Tensor, { upper = false }: { readonly upper?: boolean } = {}): Tensor {
  requireReal('choleskySolve', b, factor);
  return composite('choleskySolve', () => {
    const lower = upper ? transposed(factor) : factor;
    const [matrices, rhs] = broadcastBatches(lower, b, 'choleskySolve');
    return triangular(transposed(matrices), triangular(matrices, rhs, { upper: false }), { upper: true });
  });
}
/** The inverse of `L L^T` (or `U^T U`) from a Cholesky factor. */
export function choleskyInverse(factor: Tensor, options: { readonly upper?: boolean } = {}): Tensor {
  return composite('choleskyInverse', () =>
    choleskySolve(eye(squareSize(factor, 'choleskyInverse'), { dtype: factor.dtype }), factor, options),
  );
}

/** The solution of `a x = b` from what luFactor(a) gave. */
export function luSolve({ LU, pivots }: { readonly LU: Tensor; readonly pivots: Tensor }, b: Tensor): Tensor {
  requireReal('luSolve', LU, b);
  const n = squareSize(LU, 'luSolve');
  return composite('luSolve', () => {
    const { rhs, finish } = asColumns(LU, b, 'luSolve');
    const [matrices, columns] = broadcastBatches(LU, rhs, 'luSolve');
    const order = broadcastTo(orderOf(pivots, n), [...batchShape(matrices), n]);
    return finish(solveWithLu({ packed: matrices, order }, columns));
  });
}
/** The row order that the exchanges in `pivots` lead to, int32. */
function orderOf(pivots: Tensor, n: number): Tensor {
  const steps = pivots.shape[pivots.shape.length - 1];
  let order = broadcastTo(iota(n), [...pivots.shape.slice(0, -1), n]);
  for (let k = 0; k < steps; k++) {
    const other = sub(narrow(pivots, -1, k, 1), 1);
    const here = narrow(order, -1, k, 1);
    const position = iotaAlong(n, 0, 1);
    const there = sum(where(eq(position, other), order, 0), -1, true);
    order = where(eq(position, k), cast(there, 'int32'), where(eq(position, other), here, order));
  }
  return order;
}

/**
 * The inverse of [..., n, n].
 * @throws LinalgError outside jit() when a matrix is singular; inside, its inverse holds infinities or NaN
 */
export function inv(x: Tensor): Tensor {
  requireReal('inv', x);
  return inverse(x, 'inv');
}
function inverse(x: Tensor, op: string | null): Tensor {
  const n = squareSize(x, 'inv');
  return withGradient({
    name: 'inv',
    inputs: [x],
    savesOutput: true,
    forward: () => {
      const factors = luOf(x);
      if (op !== null) throwOnInfo(op, factors.info, singular, regular, useLeastSquares);
      return [solveWithLu(factors, broadcastTo(eye(n, { dtype: x.dtype }), x.shape))];
    },
    vjp: (g, ctx) => {
      const back = transposed(ctx.output());
      return [neg(matmul(matmul(back, g), back))];
    },
  });
}
/** The inverse, and int32 `info` [...]: 0, or the number of the first pivot that is 0. Never throws for values. */
export function invEx(x: Tensor): { readonly inverse: Tensor; readonly info: Tensor } {
  requireReal('invEx', x);
  return composite('invEx', () => ({ inverse: inverse(x, null), info: luOf(stopGradient(x)).info }));
}

const diagonalOf = (x: Tensor): Tensor => diagonal(x, { dim1: -2, dim2: -1 });

/** The determinant of [..., n, n], [...]. At singular matrices the first derivative is exact to rounding, higher ones are not finite. */
export function det(x: Tensor): Tensor {
  requireReal('det', x);
  squareSize(x, 'det');
  return withGradient({
    name: 'det',
    inputs: [x],
    savesInputs: [0],
    savesOutput: true,
    forward: () => {
      const { packed, parity } = luOf(x);
      return [mul(prod(diagonalOf(packed), -1), signOf(parity, x.dtype))];
    },
    // d det = det tr(x^-1 dx).
    vjp: (g, ctx) => {
      const a = ctx.input(0);
      const wide = (t: Tensor): Tensor => unsqueeze(unsqueeze(t, t.shape.length), t.shape.length + 1);
      if (isGradEnabled()) return [mul(wide(mul(g, ctx.output())), transposed(inverse(a, null)))];
      const { value, inverted } = nearlyRegular(a);
      return [mul(wide(mul(g, value)), transposed(inverted))];
    },
  });
}
function signOf(parity: Tensor, dtype: Tensor['dtype']): Tensor {
  return cast(sub(1, mul(parity, 2)), dtype);
}
/**
 * Determinant and inverse of matrices whose zero pivots are replaced by very small ones: the product of the two is the adjugate, which
 * is a continuous function of the matrix.
 */
function nearlyRegular(a: Tensor): { readonly value: Tensor; readonly inverted: Tensor } {
  const n = squareSize(a, 'det');
  const factors = luOf(a);
  const pivots = diagonalOf(factors.packed);
  const size = n === 0 ? 1 : amax(absolute(a), [-2, -1], true);
  const tiny = mul(size, a.dtype === 'float64' ? 2 ** -52 : 2 ** -23);
  const onDiagonal = eq(iotaAlong(n, 0, 2), iotaAlong(n, 1, 2));
  const isZero = unsqueeze(eq(pivots, 0), pivots.shape.length);
  const packed = where(onDiagonal, where(isZero, where(gt(tiny, 0), tiny, 1e-30), factors.packed), factors.packed);
  const value = mul(prod(diagonalOf(packed), -1), signOf(factors.parity, a.dtype));
  return { value, inverted: solveWithLu({ packed, order: factors.order }, broadcastTo(eye(n, { dtype: a.dtype }), a.shape)) };
}

/** Sign and logarithm of the magnitude of the determinant: `det = sign * exp(logabsdet)`. Singular matrices give 0 and -Infinity. */
export function slogdet(x: Tensor): { readonly sign: Tensor; readonly logabsdet: Tensor } {
  requireReal('slogdet', x);
  squareSize(x, 'slogdet');
  const fn = customFunction<[Tensor], readonly Tensor[]>({
    name: 'slogdet',
    forward(ctx, a) {
      const { packed, parity } = luOf(a);
      const pivots = diagonalOf(packed);
      ctx.saveForBackward(a);
      return [mul(prod(sign(pivots), -1), signOf(parity, a.dtype)), sum(log(absolute(pivots)), -1)];
    },
    backward(ctx, _, g) {
      const [a] = ctx.savedTensors;
      if (g === null) return null;
      return mul(unsqueeze(unsqueeze(g, g.shape.length), g.shape.length + 1), transposed(inverse(a, null)));
    },
  });
  const [direction, logabsdet] = fn(x);
  return { sign: direction, logabsdet };
}

export interface RankOptions {
  /** Singular values up to atol count as 0. Default 0. */
  readonly atol?: number;
  /** Singular values up to rtol times the largest count as 0. Default max(m, n) * eps, or 0 when atol is given. */
  readonly rtol?: number;
}
/** The bound at or below which singular values S [..., k] of [..., m, n] count as 0, [..., 1]. */
function rankTolerance(S: Tensor, m: number, n: number, { atol, rtol }: RankOptions): Tensor {
  const eps = S.dtype === 'float64' ? 2 ** -52 : 2 ** -23;
  const relative = rtol ?? (atol !== undefined && atol > 0 ? 0 : Math.max(m, n) * eps);
  const bound = mul(narrow(S, -1, 0, 1), relative);
  return atol === undefined ? bound : where(gt(bound, atol), bound, atol);
}

/** The number of singular values above the bound, int64 [...]. */
export function matrixRank(x: Tensor, options: RankOptions = {}): Tensor {
  requireReal('matrixRank', x);
  const [m, n] = matrixSize(x, 'matrixRank');
  return composite('matrixRank', () => {
    const S = svdvals(stopGradient(x));
    if (m === 0 || n === 0) return sum(cast(S, 'int64'), -1);
    return sum(cast(gt(S, rankTolerance(S, m, n, options)), 'int64'), -1);
  });
}

/** The Moore-Penrose inverse [..., n, m] of [..., m, n] by singular values. Its gradient takes the rank for constant. */
export function pinv(x: Tensor, options: RankOptions = {}): Tensor {
  requireReal('pinv', x);
  const [m, n] = matrixSize(x, 'pinv');
  return withGradient({
    name: 'pinv',
    inputs: [x],
    savesInputs: [0],
    savesOutput: true,
    forward: () => {
      const { U, S, Vh } = svd(x, { fullMatrices: false });
      if (m === 0 || n === 0) return [matmul(transposed(Vh), transposed(U))];
      const used = gt(S, rankTolerance(S, m, n, options));
      const inverted = where(used, div(1, where(used, S, 1)), 0);
      return [matmul(mul(transposed(Vh), unsqueeze(inverted, S.shape.length - 1)), transposed(U))];
    },
    // dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P (Golub and Pereyra 1973).
    vjp: (g, ctx) => {
      const [A, P] = [ctx.input(0), ctx.output()];
      const [Pt, gT] = [transposed(P), transposed(g)];
      const main = matmul(matmul(Pt, g), Pt);
      // (I - A P) g^T P P^T and P^T P g^T (I - P A).
      const left = matmul(matmul(gT, P), Pt);
      const right = matmul(Pt, matmul(P, gT));
      const outer = sub(left, matmul(A, matmul(P, left)));
      const inner = sub(right, matmul(matmul(right, P), A));
      return [sub(add(outer, inner), main)];
    },
  });
}

export interface LeastSquares {
  /** [..., n, k] (or [..., n]): of all minimisers of |a x - b| the shortest. */
  readonly solution: Tensor;
  /** Sums of squares of b - a x for each right-hand side, [..., k]. */
  readonly residuals: Tensor;
  /** int64 [...]. */
  readonly rank: Tensor;
  readonly singularValues: Tensor;
}
/** Least squares by singular values, for matrices of any shape and rank. Batches broadcast. */
export function lstsq(a: Tensor, b: Tensor, options: RankOptions = {}): LeastSquares {
  requireReal('lstsq', a, b);
  const { rhs, finish } = asColumns(a, b, 'lstsq');
  return composite('lstsq', () => {
    const solution = matmul(pinv(a, options), rhs);
    const error = sub(rhs, matmul(a, solution));
    const residuals = sum(mul(error, error), -2);
    return {
      solution: finish(solution),
      residuals: rhs === b ? residuals : reshape(residuals, residuals.shape.slice(0, -1)),
      rank: matrixRank(a, options),
      singularValues: svdvals(stopGradient(a)),
    };
  });
}
