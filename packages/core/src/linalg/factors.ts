/** Factorisations of matrices, batched over the leading dimensions, in float32 and float64. */
import { customFunction } from '../autograd/custom.js';
import { isGradEnabled } from '../autograd/mode.js';
import { add, div, eq, lt, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { eye, zeros } from '../ops/create.js';
import { iota } from '../ops/iota.js';
import { concat, diagEmbed, tril, triu } from '../ops/join.js';
import { batchShape, matrixSize } from '../ops/linalg-common.js';
import { eighOf, jacobiOf, overGaps } from '../ops/linalg-eigen.js';
import { qrOf } from '../ops/linalg-qr.js';
import { choleskyOf, luOf, transposed } from '../ops/linalg-solve.js';
import { matmul } from '../ops/matmul.js';
import { argsort } from '../ops/sort.js';
import { where } from '../ops/ternary.js';
import { unsqueeze } from '../ops/view.js';
import { diagonal, narrow } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { requireReal, throwOnInfo } from './checks.js';

export interface CholeskyOptions {
  /** Give the upper factor U with `U^T U = x` instead of the lower one. */
  readonly upper?: boolean;
}
/**
 * The Cholesky factor L of symmetric positive definite matrices [..., n, n], `L L^T = x`. Only the lower triangle is read.
 * @throws LinalgError outside jit() when a matrix is not positive definite; inside, its factor holds NaN from the failing column on
 */
export function cholesky(x: Tensor, { upper = false }: CholeskyOptions = {}): Tensor {
  return composite('cholesky', () => {
    const { factor, info } = choleskyEx(x);
    throwOnInfo(
      'cholesky',
      info,
      (order) => `the leading minor of order ${order} is not positive`,
      'a symmetric positive definite matrix',
      'Add a small multiple of the identity, or use eigh().',
    );
    return upper ? transposed(factor) : factor;
  });
}
/** The lower factor and int32 `info` [...]: 0, or the order of the first leading minor that is not positive. Never throws for values. */
export function choleskyEx(x: Tensor): { readonly factor: Tensor; readonly info: Tensor } {
  requireReal('cholesky', x);
  return choleskyOf(x);
}

export type QrMode = 'reduced' | 'complete' | 'r';
/**
 * `x = Q R` for [..., m, n]: Q [..., m, k] has orthonormal columns, R [..., k, n] is upper triangular; k = min(m, n), or m when
 * complete. Householder reflections with LAPACK's signs. Mode 'r' gives an empty Q. Complete Q of tall matrices has no gradient.
 */
export function qr(x: Tensor, mode: QrMode = 'reduced'): { readonly Q: Tensor; readonly R: Tensor } {
  requireReal('qr', x);
  if (mode !== 'r') return qrOf(x, mode === 'complete');
  return composite('qr', () => ({ Q: zeros([...batchShape(x), 0, 0], { dtype: x.dtype }), R: qrOf(x, false).R }));
}

export interface LuResult {
  readonly P: Tensor;
  readonly L: Tensor;
  readonly U: Tensor;
}
/** `x = P L U` with a permutation, a unit lower and an upper triangular factor: [..., m, m], [..., m, k], [..., k, n], k = min(m, n). */
export function lu(x: Tensor): LuResult {
  requireReal('lu', x);
  return composite('lu', () => {
    const factors = luOf(x);
    const [m] = matrixSize(x, 'lu');
    return { P: permutationOf(factors.order, m, x.dtype === 'float64' ? 'float64' : 'float32'), ...unpack(factors.packed) };
  });
}
function unpack(packed: Tensor): { readonly L: Tensor; readonly U: Tensor } {
  const [m, n] = matrixSize(packed, 'lu');
  const k = Math.min(m, n);
  const left = tril(narrow(packed, -1, 0, k), -1);
  return { L: add(left, eye(m, k, { dtype: packed.dtype })), U: triu(narrow(packed, -2, 0, k)) };
}
/** Row order[i] of P has its 1 in column i, since row i of L U is row order[i] of the matrix. */
function permutationOf(order: Tensor, m: number, dtype: 'float32' | 'float64'): Tensor {
  const position = argsort(order);
  return cast(eq(unsqueeze(position, position.shape.length), iota(m, 'int64')), dtype);
}

export interface LuFactorResult {
  /** U on and above the diagonal, L without its diagonal of ones below. */
  readonly LU: Tensor;
  /** int32 [..., min(m, n)]: row k was exchanged with row pivots[k] - 1, as LAPACK counts. */
  readonly pivots: Tensor;
}
/**
 * The packed LU factors with partial pivoting.
 * @throws LinalgError outside jit() when a pivot is 0
 */
export function luFactor(x: Tensor): LuFactorResult {
  requireReal('luFactor', x);
  return composite('luFactor', () => {
    const { packed, pivots, info } = luOf(x);
    throwOnInfo('luFactor', info, (k) => `pivot ${k} is 0`, 'a matrix of full rank', 'Use lu(), which accepts it.');
    return { LU: packed, pivots };
  });
}

/** Eigenvalues of symmetric matrices [..., n, n], ascending, and orthonormal eigenvectors in columns, from the lower triangles. */
export function eigh(x: Tensor): { readonly eigenvalues: Tensor; readonly eigenvectors: Tensor } {
  requireReal('eigh', x);
  return composite('eigh', () => {
    const { values, vectors, info } = eighOf(x);
    throwOnInfo('eigh', info, eigenFailure, 'finite numbers');
    return { eigenvalues: values, eigenvectors: vectors };
  });
}
function eigenFailure(code: number): string {
  return code < 0 ? 'it holds infinities or NaN' : 'the iteration did not converge';
}
/** The eigenvalues alone, ascending. */
export function eigvalsh(x: Tensor): Tensor {
  requireReal('eigvalsh', x);
  return composite('eigvalsh', () => {
    // The gradient needs the vectors.
    const { values, info } = eighOf(x, isGradEnabled() && x.requiresGrad);
    throwOnInfo('eigvalsh', info, eigenFailure, 'finite numbers');
    return values;
  });
}

export interface SvdResult {
  /** [..., m, k], or [..., m, m] when full. */
  readonly U: Tensor;
  /** Descending, [..., k]. */
  readonly S: Tensor;
  /** V^T: [..., k, n], or [..., n, n] when full. */
  readonly Vh: Tensor;
}
export interface SvdOptions {
  /** Complete U and Vh to square matrices (default true, as in PyTorch). The completed part has no gradient. */
  readonly fullMatrices?: boolean;
}
/**
 * Singular values and vectors: `x = U diag(S) Vh` for [..., m, n], k = min(m, n). QR followed by one-sided Jacobi rotations. The gradient
 * through the vectors is infinite where singular values coincide (or vanish, for matrices that are not square).
 */
export function svd(x: Tensor, { fullMatrices = true }: SvdOptions = {}): SvdResult {
  requireReal('svd', x);
  const [U, S, Vh] = differentiableSvd(x, fullMatrices);
  return { U, S, Vh };
}
/** The singular values alone, descending [..., min(m, n)]. */
export function svdvals(x: Tensor): Tensor {
  requireReal('svdvals', x);
  return composite('svdvals', () => differentiableSvd(x, false)[1]);
}

function differentiableSvd(x: Tensor, full: boolean): readonly Tensor[] {
  const [m, n] = matrixSize(x, 'svd');
  const k = Math.min(m, n);
  return customFunction<[Tensor], readonly Tensor[]>({
    name: 'svd',
    forward(ctx, input) {
      const { U, S, V, info } = m >= n ? tallSvd(input, full) : flipped(tallSvd(transposed(input), full));
      throwOnInfo('svd', info, eigenFailure, 'finite numbers');
      const result = [U, S, transposed(V)];
      ctx.saveForBackward(...result);
      return result;
    },
    backward(ctx, gU, gS, gVh) {
      const [fullU, S, fullVh] = ctx.savedTensors;
      const U = narrow(fullU, -1, 0, k);
      const V = transposed(narrow(fullVh, -2, 0, k));
      const cut = (g: Tensor | null, flip: boolean): Tensor | null => (g === null ? null : narrow(flip ? transposed(g) : g, -1, 0, k));
      return svdGradient(U, S, V, cut(gU, false), gS, cut(gVh, true));
    },
  })(x);
}

interface Decomposition {
  readonly U: Tensor;
  readonly S: Tensor;
  readonly V: Tensor;
  readonly info: Tensor;
}
function flipped({ U, S, V, info }: Decomposition): Decomposition {
  return { U: V, S, V: U, info };
}

/** For m >= n: x = Q R, R^T = U' S V'^T by Jacobi rotations (which need fewer sweeps on R^T), so U = Q V' and V = U'. */
function tallSvd(x: Tensor, full: boolean): Decomposition {
  const [m, n] = matrixSize(x, 'svd');
  const { Q, R } = qrOf(x, full && m > n);
  const { U, S, V, info } = jacobiOf(transposed(narrow(R, -2, 0, n)));
  const leading = matmul(narrow(Q, -1, 0, n), V);
  return { U: full && m > n ? concat([leading, narrow(Q, -1, n, m - n)], -1) : leading, S, V: completed(U), info };
}

/** Columns of length 0 replaced so that all are orthonormal: those of Q in a QR, with the signs of the given ones. */
function completed(U: Tensor): Tensor {
  const { Q, R } = qrOf(U, false);
  return mul(Q, unsqueeze(where(lt(diagonal(R, { dim1: -2, dim2: -1 }), 0), -1, 1), R.shape.length - 2));
}

/**
 * Townsend, "Differentiating the singular value decomposition" (2016): with E_ij = S_j^2 - S_i^2,
 * g = U (skew(U^T gU) / E S + S skew(V^T gV) / E + diag(gS)) V^T + (I - U U^T) gU S^-1 V^T + U S^-1 gV^T (I - V V^T).
 */
function svdGradient(U: Tensor, S: Tensor, V: Tensor, gU: Tensor | null, gS: Tensor | null, gV: Tensor | null): Tensor | null {
  const rank = U.shape.length;
  const row = unsqueeze(S, rank - 2);
  const column = unsqueeze(S, rank - 1);
  let inner: Tensor | null = gS === null ? null : diagEmbed(gS);
  let total: Tensor | null = null;
  const join = (a: Tensor | null, b: Tensor): Tensor => (a === null ? b : add(a, b));
  if (gU !== null || gV !== null) {
    const gaps = sub(mul(row, row), mul(column, column));
    const skewed = (basis: Tensor, g: Tensor): Tensor => {
      const product = matmul(transposed(basis), g);
      return overGaps(sub(product, transposed(product)), gaps);
    };
    if (gU !== null) inner = join(inner, mul(skewed(U, gU), row));
    if (gV !== null) inner = join(inner, mul(column, skewed(V, gV)));
  }
  if (inner !== null) total = matmul(matmul(U, inner), transposed(V));
  const outside = (basis: Tensor, g: Tensor): Tensor => div(sub(g, matmul(basis, matmul(transposed(basis), g))), row);
  const [m, k, n] = [U.shape[rank - 2], U.shape[rank - 1], V.shape[rank - 2]];
  if (gU !== null && m > k) total = join(total, matmul(outside(U, gU), transposed(V)));
  if (gV !== null && n > k) total = join(total, matmul(U, transposed(outside(V, gV))));
  return total;
}
