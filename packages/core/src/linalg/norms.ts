/** Norms of vectors and matrices, and condition numbers. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, normalizeAxes, normalizeAxis } from '../graph/layout.js';
import { div, eq, mul } from '../ops/binary.js';
import { squareSize } from '../ops/linalg-common.js';
import { type Axes, amax, amin, sum } from '../ops/reduce.js';
import { norm as elementNorm } from '../ops/statistics.js';
import { where } from '../ops/ternary.js';
import { abs } from '../ops/unary.js';
import { movedim, reshape } from '../ops/view.js';
import { select } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { requireReal } from './checks.js';
import { svdvals } from './factors.js';
import { invEx } from './solve.js';

/**
 * The norm of the elements over `dim` (all of them when absent): `sum(|x|^ord)^(1/ord)`; Infinity and -Infinity give the largest and
 * the smallest magnitude, 0 the count of elements that are not 0. The gradient at 0 is 0.
 */
export function vectorNorm(x: Tensor, ord = 2, dim?: Axes, keepdim = false): Tensor {
  return elementNorm(x, ord, dim, keepdim);
}

/**
 * `fro`: root of the sum of squares; `nuc`: sum of the singular values; 2 and -2: the largest and the smallest singular value; 1 and
 * -1: the largest and the smallest sum of magnitudes of a column; Infinity and -Infinity: of a row.
 */
export type MatrixNormOrder = 'fro' | 'nuc' | 1 | -1 | 2 | -2 | number;

/** The norm of the matrices in the two axes `dim`. @throws ArgumentError for an order that is no matrix norm */
export function matrixNorm(x: Tensor, ord: MatrixNormOrder = 'fro', dim: readonly [number, number] = [-2, -1], keepdim = false): Tensor {
  requireReal('matrixNorm', x);
  const rank = x.shape.length;
  const [rowAxis, columnAxis] = dim.map((axis) => normalizeAxis(axis, rank, 'matrixNorm'));
  if (rank < 2 || rowAxis === columnAxis) {
    throw new ShapeError(`axes ${formatShape(dim)} of a ${formatShape(x.shape)} tensor`, {
      op: 'matrixNorm',
      received: dim,
      expected: 'two axes',
    });
  }
  return composite('matrixNorm', () => {
    if (ord === 'fro') return elementNorm(x, 2, [rowAxis, columnAxis], keepdim);
    const matrices = movedim(x, [rowAxis, columnAxis], [rank - 2, rank - 1]);
    const value = orderedNorm(matrices, ord);
    return keepdim
      ? reshape(
          value,
          x.shape.map((extent, i) => (i === rowAxis || i === columnAxis ? 1 : extent)),
        )
      : value;
  });
}
function orderedNorm(x: Tensor, ord: MatrixNormOrder): Tensor {
  switch (ord) {
    case 'nuc':
      return sum(svdvals(x), -1);
    case 2:
      return amax(svdvals(x), -1);
    case -2:
      return amin(svdvals(x), -1);
    case 1:
      return amax(sum(abs(x), -2), -1);
    case -1:
      return amin(sum(abs(x), -2), -1);
    case Infinity:
      return amax(sum(abs(x), -1), -1);
    case -Infinity:
      return amin(sum(abs(x), -1), -1);
    default:
      throw new ArgumentError(`${ord} is not the order of a matrix norm`, {
        op: 'matrixNorm',
        received: ord,
        expected: "'fro', 'nuc', 1, -1, 2, -2, Infinity or -Infinity",
        fix: 'Use vectorNorm() for the norm of the elements.',
      });
  }
}

/** {@link matrixNorm} where two axes (or a matrix and an order) are given, else {@link vectorNorm} (of all elements without `ord`). */
export function norm(x: Tensor, ord?: MatrixNormOrder, dim?: Axes, keepdim = false): Tensor {
  if (ord === undefined) return vectorNorm(x, 2, dim, keepdim);
  const axes = dim === undefined || dim === null ? (x.shape.length === 2 ? [0, 1] : null) : normalizeOrder(dim);
  if (axes !== null && axes.length === 2) return matrixNorm(x, ord, [axes[0], axes[1]], keepdim);
  if (typeof ord === 'string') {
    throw new ArgumentError(`order ${ord} needs two axes`, { op: 'norm', received: dim, expected: 'a matrix, or two axes in dim' });
  }
  return vectorNorm(x, ord, axes === null ? null : normalizeAxes(axes, x.shape.length, 'norm'), keepdim);
}
function normalizeOrder(dim: number | readonly number[]): readonly number[] {
  return typeof dim === 'number' ? [dim] : dim;
}

/** The condition number `norm(x) norm(inv(x))`: of the singular values by default (any shape), Infinity for singular matrices. */
export function cond(x: Tensor, p: MatrixNormOrder = 2): Tensor {
  requireReal('cond', x);
  return composite('cond', () => {
    if (p === 2 || p === -2) {
      const S = svdvals(x);
      const [first, last] = [select(S, -1, 0), select(S, -1, -1)];
      return p === 2 ? div(first, last) : div(last, first);
    }
    squareSize(x, 'cond');
    const { inverse, info } = invEx(x);
    return where(eq(info, 0), mul(matrixNorm(x, p), matrixNorm(inverse, p)), Infinity);
  });
}
