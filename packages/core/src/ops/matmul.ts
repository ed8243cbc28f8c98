/** Matrix products. */
import { promoteTypes } from '../dtype.js';
import { DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, reshapeLayout, sizeOf } from '../graph/layout.js';
import { loweredAll, loweredLike } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, mul } from './binary.js';
import { cast } from './cast.js';
import { contract } from './contract.js';
import { reshape } from './view.js';

function mismatch(a: Shape, b: Shape, op: string, expected: string): ShapeError {
  return new ShapeError(`shapes ${formatShape(a)} and ${formatShape(b)} do not multiply`, { op, received: [a, b], expected });
}

/** Both operands in their common dtype. */
function meet(first: Tensor, second: Tensor, op: string): readonly [Tensor, Tensor] {
  const [a, b] = loweredAll([first, second]);
  if (a.dtype === b.dtype && a.dtype !== 'bool') return [a, b];
  const dtype = promoteTypes(a.dtype, b.dtype);
  if (dtype === 'bool') throw new DTypeError('truth values have no products', { op, received: 'bool', expected: 'float or int tensors' });
  return [cast(a, dtype), cast(b, dtype)];
}

/** Merges all axes but the last where that needs no copy: one long matrix instead of a stack. */
function asMatrix(x: Tensor): Tensor | null {
  if (x.shape.length <= 2) return null;
  const columns = x.shape[x.shape.length - 1];
  const shape = [sizeOf(x.shape.slice(0, -1)), columns];
  return reshapeLayout(x, shape) === null ? null : reshape(x, shape);
}

/**
 * The matrix product of the last two axes, the ones before broadcast. Vectors count as a row on the left, as a column on the
 * right, and that axis is dropped from the result; two vectors give their dot product.
 * @throws ShapeError when the inner extents differ or the others do not broadcast
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const [x, y] = meet(a, b, 'matmul');
  const [p, q] = [x.shape.length, y.shape.length];
  if (p === 0 || q === 0) throw mismatch(a.shape, b.shape, 'matmul', 'at least one dimension each (use mul for numbers)');
  const inner = y.shape[Math.max(0, q - 2)];
  if (x.shape[p - 1] !== inner)
    throw mismatch(
      a.shape,
      b.shape,
      'matmul',
      `the last extent of the first (${x.shape[p - 1]}) equal to the extent of the second that is summed (${inner})`,
    );
  if (q === 2 && p > 2) {
    const rows = asMatrix(x);
    if (rows !== null)
      return composite('matmul', () => reshape(multiply(rows, y, a.shape, b.shape), [...x.shape.slice(0, -1), y.shape[1]]));
  }
  return multiply(x, y, a.shape, b.shape);
}

/** matmul by labels: 0 row, 1 column, 2 the summed axis, 3 and up the broadcast ones from the right. */
function multiply(x: Tensor, y: Tensor, aShape: Shape, bShape: Shape): Tensor {
  const [row, column, inner, firstBatch] = [0, 1, 2, 3];
  const xLabels = x.shape.length === 1 ? [inner] : [row, inner];
  const yLabels = y.shape.length === 1 ? [inner] : [inner, column];
  const xBatch = x.shape.slice(0, -xLabels.length);
  const yBatch = y.shape.slice(0, -yLabels.length);
  const rank = Math.max(xBatch.length, yBatch.length);
  const batch: number[] = [];
  const batchShape: number[] = [];
  const [xKeep, yKeep]: [number[], number[]] = [[], []];
  for (let i = 0; i < rank; i++) {
    const label = firstBatch + i;
    const ex = xBatch[xBatch.length - rank + i] ?? 1;
    const ey = yBatch[yBatch.length - rank + i] ?? 1;
    if (ex !== ey && ex !== 1 && ey !== 1) throw mismatch(aShape, bShape, 'matmul', 'leading extents that are equal, or 1');
    batchShape.push(ex === 1 ? ey : ex);
    if (ex === 1 && ey === 1) continue;
    // An axis that only one operand has is its own row or column: nothing is expanded.
    batch.push(label);
    if (ex !== 1) xKeep.push(label);
    if (ey !== 1) yKeep.push(label);
  }
  const squeeze = (t: Tensor, matrix: number, kept: readonly number[]): Tensor => {
    const lead = t.shape.length - matrix;
    const shape = [...kept.map((label) => batchShape[label - firstBatch]), ...t.shape.slice(lead)];
    return shape.length === t.shape.length ? t : reshape(t, shape);
  };
  const tail = [...(xLabels.length === 2 ? [row] : []), ...(yLabels.length === 2 ? [column] : [])];
  const needed = batchShape.length !== batch.length;
  const run = (): Tensor => {
    const left = squeeze(x, xLabels.length, xKeep);
    const right = squeeze(y, yLabels.length, yKeep);
    const result = contract(left, [...xKeep, ...xLabels], right, [...yKeep, ...yLabels], [...batch, ...tail]);
    return needed ? reshape(result, [...batchShape, ...result.shape.slice(batch.length)]) : result;
  };
  return needed || xKeep.length < xBatch.length || yKeep.length < yBatch.length ? composite('matmul', run) : run();
}

/** The product of two matrices [m, k] and [k, n]. */
export function mm(a: Tensor, b: Tensor): Tensor {
  if (a.shape.length !== 2 || b.shape.length !== 2) throw mismatch(a.shape, b.shape, 'mm', 'two matrices');
  return matmul(a, b);
}

/** The products of two stacks of matrices [b, m, k] and [b, k, n]. */
export function bmm(a: Tensor, b: Tensor): Tensor {
  if (a.shape.length !== 3 || b.shape.length !== 3 || a.shape[0] !== b.shape[0])
    throw mismatch(a.shape, b.shape, 'bmm', 'two stacks of as many matrices');
  return matmul(a, b);
}

/** A matrix [m, k] times a vector [k]. */
export function mv(a: Tensor, b: Tensor): Tensor {
  if (a.shape.length !== 2 || b.shape.length !== 1) throw mismatch(a.shape, b.shape, 'mv', 'a matrix and a vector');
  return matmul(a, b);
}

/** The sum of the products of two vectors. */
export function dot(a: Tensor, b: Tensor): Tensor {
  if (a.shape.length !== 1 || b.shape.length !== 1) throw mismatch(a.shape, b.shape, 'dot', 'two vectors');
  return matmul(a, b);
}

/** All products of two vectors: [m] and [n] give [m, n]. */
export function outer(a: Tensor, b: Tensor): Tensor {
  if (a.shape.length !== 1 || b.shape.length !== 1) throw mismatch(a.shape, b.shape, 'outer', 'two vectors');
  return composite('outer', () => mul(reshape(a, [a.shape[0], 1]), b));
}

/** `x @ weight.T + bias`: x [..., in], weight [out, in], bias [out]. The weight is read transposed where it lies. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const [input, w] = meet(x, weight, 'linear');
  const features = input.shape[input.shape.length - 1];
  if (w.shape.length !== 2 || input.shape.length === 0 || features !== w.shape[1]) {
    throw mismatch(x.shape, weight.shape, 'linear', `an input [..., in] and a weight [out, in]`);
  }
  return composite('linear', () => {
    const rows = asMatrix(input);
    const source = rows ?? input;
    const lead = source.shape.slice(0, -1).map((_, i) => 2 + i);
    const product = contract(source, [...lead, 0], w, [1, 0], [...lead, 1]);
    const biased = bias === null ? product : add(product, loweredLike(bias, product));
    return rows === null ? biased : reshape(biased, [...input.shape.slice(0, -1), w.shape[0]]);
  });
}

export interface AddmmOptions {
  /** Factor of the first argument. */
  readonly beta?: number;
  /** Factor of the product. */
  readonly alpha?: number;
}
/** `beta * c + alpha * (a @ b)`. */
export function addmm(c: Tensor, a: Tensor, b: Tensor, { beta = 1, alpha = 1 }: AddmmOptions = {}): Tensor {
  return composite('addmm', () => {
    const product = mm(a, b);
    const scaled = alpha === 1 ? product : mul(product, alpha);
    const added = loweredLike(c, product);
    return beta === 0 ? scaled : add(beta === 1 ? added : mul(added, beta), scaled);
  });
}
