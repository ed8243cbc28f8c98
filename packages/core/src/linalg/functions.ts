/** Powers and exponentials of matrices, and products of several kinds. */
import { customFunction } from '../autograd/custom.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, normalizeAxis } from '../graph/layout.js';
import { add, div, gt, mul, sub } from '../ops/binary.js';

import { broadcastTo } from '../ops/common.js';
import { whileLoop } from '../ops/control.js';
import { eye, zeros } from '../ops/create.js';
import { concat, stack } from '../ops/join.js';
import { squareSize } from '../ops/linalg-common.js';
import { luOf, solveWithLu, transposed } from '../ops/linalg-solve.js';
import { matmul } from '../ops/matmul.js';
import { amax, any, sum } from '../ops/reduce.js';
import { clamp, where } from '../ops/ternary.js';
import { abs, ceil, exp2, log2 } from '../ops/unary.js';
import { reshape } from '../ops/view.js';
import { diagonal, narrow, select } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { requireReal } from './checks.js';
import { inv } from './solve.js';

/** The n-th power of square matrices by repeated squaring; a negative n takes powers of the inverse. */
export function matrixPower(x: Tensor, n: number): Tensor {
  requireReal('matrixPower', x);
  const size = squareSize(x, 'matrixPower');
  if (!Number.isSafeInteger(n)) throw new ArgumentError(`power ${n}`, { op: 'matrixPower', received: n, expected: 'a whole number' });
  return composite('matrixPower', () => {
    if (n === 0) return mul(broadcastTo(eye(size, { dtype: x.dtype }), x.shape), 1);
    let square = n < 0 ? inv(x) : x;
    let result: Tensor | null = null;
    for (let rest = Math.abs(n); ; square = matmul(square, square)) {
      if (rest % 2 === 1) result = result === null ? square : matmul(result, square);
      rest = Math.floor(rest / 2);
      if (rest === 0) return mul(result ?? square, 1);
    }
  });
}

/** Numerators of Padé approximants of exp, and the largest 1-norm for which they are exact to rounding (Higham 2005, table 2.3). */
const pade = {
  float32: { bound: 3.92572478313866, coefficients: coefficientsOf(7) },
  float64: { bound: 5.371920351148152, coefficients: coefficientsOf(13) },
} as const;
/** b_k = (2m - k)! m! / ((2m)! (m - k)! k!), scaled to b_m = 1. */
function coefficientsOf(m: number): readonly number[] {
  const list = [1];
  for (let k = 1; k <= m; k++) list.push((list[k - 1] * (m - k + 1)) / (k * (2 * m - k + 1)));
  return list;
}

/**
 * The exponential `I + x + x^2 / 2! + ...` of square matrices [..., n, n], by scaling, a Padé approximant and squaring (Higham 2005). Its
 * gradient is the corner of the exponential of a matrix twice the size, and so differentiable again.
 */
export function matrixExp(x: Tensor): Tensor {
  requireReal('matrixExp', x);
  const n = squareSize(x, 'matrixExp');
  const fn = customFunction<[Tensor], Tensor>({
    name: 'matrixExp',
    forward(ctx, a) {
      ctx.saveForBackward(a);
      return exponential(a);
    },
    // The adjoint of the Fréchet derivative: exp([[A^T, G], [0, A^T]]) has it in its upper right corner (Najfeld and Havel 1995).
    backward(ctx, g) {
      if (g === null) return null;
      const a = transposed(ctx.savedTensors[0]);
      const top = concat([a, g], -1);
      const bottom = concat([zeros(a.shape, { dtype: a.dtype }), a], -1);
      return narrow(narrow(matrixExp(concat([top, bottom], -2)), -2, 0, n), -1, n, n);
    },
  });
  return fn(x);
}
function exponential(a: Tensor): Tensor {
  const n = squareSize(a, 'matrixExp');
  if (n === 0) return mul(a, 1);
  const { bound, coefficients } = pade[a.dtype === 'float64' ? 'float64' : 'float32'];
  const size = amax(sum(abs(a), -2, true), -1, true);
  // At most 1024 halvings: larger norms overflow anyhow.
  const halvings = clamp(ceil(log2(div(size, bound))), { min: 0, max: 1024 });
  const scaled = mul(mul(a, exp2(mul(halvings, -0.5))), exp2(mul(halvings, -0.5)));
  const square = matmul(scaled, scaled);
  const identity = broadcastTo(eye(n, { dtype: a.dtype }), a.shape);
  let power = identity;
  let even = mul(identity, coefficients[0]);
  let odd = mul(identity, coefficients[1]);
  for (let k = 2; k < coefficients.length; k += 2) {
    power = k === 2 ? square : matmul(power, square);
    even = add(even, mul(power, coefficients[k]));
    if (k + 1 < coefficients.length) odd = add(odd, mul(power, coefficients[k + 1]));
  }
  const uneven = matmul(scaled, odd);
  const start = solveWithLu(luOf(sub(even, uneven)), add(even, uneven));
  const [result] = whileLoop(
    (_, left) => any(gt(left, 0)),
    (value, left) => [where(gt(left, 0), matmul(value, value), value), sub(left, 1)],
    [start, halvings],
  );
  return result;
}

/** The vector product of vectors of 3 along `dim`. Shapes broadcast. */
export function cross(a: Tensor, b: Tensor, dim = -1): Tensor {
  const shape = broadcastShapes(a.shape, b.shape, 'cross');
  const axis = normalizeAxis(dim, shape.length, 'cross');
  if (shape[axis] !== 3) {
    throw new ShapeError(`axis ${axis} has ${shape[axis]} elements`, { op: 'cross', received: shape, expected: 'vectors of 3 elements' });
  }
  return composite('cross', () => {
    const [x, y] = [broadcastTo(a, shape), broadcastTo(b, shape)].map((t) => [0, 1, 2].map((i) => select(t, axis, i)));
    const part = (i: number, j: number): Tensor => sub(mul(x[i], y[j]), mul(x[j], y[i]));
    return stack([part(1, 2), part(2, 0), part(0, 1)], axis);
  });
}

/** The Kronecker product of tensors: each element of `a` times all of `b`; axes are matched from the right. */
export function kron(a: Tensor, b: Tensor): Tensor {
  return composite('kron', () => {
    const rank = Math.max(a.shape.length, b.shape.length);
    const shapeOf = (t: Tensor): number[] => [...new Array<number>(rank - t.shape.length).fill(1), ...t.shape];
    const [p, q] = [shapeOf(a), shapeOf(b)];
    const left = reshape(
      a,
      p.flatMap((extent) => [extent, 1]),
    );
    const right = reshape(
      b,
      q.flatMap((extent) => [1, extent]),
    );
    return reshape(
      mul(left, right),
      p.map((extent, i) => extent * q[i]),
    );
  });
}

/** The sums of the diagonals of [..., m, n], [...]. */
export function trace(x: Tensor): Tensor {
  if (x.shape.length < 2) throw new ShapeError(`shape ${formatShape(x.shape)}`, { op: 'trace', received: x.shape, expected: 'matrices' });
  return composite('trace', () => sum(diagonal(x, { dim1: -2, dim2: -1 }), -1));
}

/** The sum of products along `dim`. Shapes broadcast. */
export function vecdot(a: Tensor, b: Tensor, dim = -1): Tensor {
  return composite('vecdot', () => sum(mul(a, b), dim));
}

/**
 * The product of several matrices in the order of multiplications that needs the fewest (dynamic programming, Cormen et al.). The first
 * and the last may be vectors.
 */
export function multiDot(tensors: readonly Tensor[]): Tensor {
  const count = tensors.length;
  if (count < 2) throw new ArgumentError(`${count} tensors`, { op: 'multiDot', received: count, expected: 'at least two' });
  tensors.forEach((t, i) => {
    const edge = i === 0 || i === count - 1;
    if (t.shape.length !== 2 && !(edge && t.shape.length === 1)) {
      throw new ShapeError(`tensor ${i} has shape ${formatShape(t.shape)}`, {
        op: 'multiDot',
        received: t.shape,
        expected: 'matrices, with vectors at most at both ends',
      });
    }
  });
  return composite('multiDot', () => {
    const [first, last] = [tensors[0], tensors[count - 1]];
    const list = tensors.map((t, i) => (t.shape.length === 2 ? t : reshape(t, i === 0 ? [1, t.shape[0]] : [t.shape[0], 1])));
    const product = bestProduct(list);
    const shape = [...(first.shape.length === 2 ? [product.shape[0]] : []), ...(last.shape.length === 2 ? [product.shape[1]] : [])];
    return reshape(product, shape);
  });
}
function bestProduct(list: readonly Tensor[]): Tensor {
  const n = list.length;
  const sizes = [list[0].shape[0], ...list.map((t) => t.shape[1])];
  const cost = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  const split = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  for (let length = 1; length < n; length++) {
    for (let i = 0; i + length < n; i++) {
      const j = i + length;
      cost[i][j] = Infinity;
      for (let k = i; k < j; k++) {
        const total = cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1];
        if (total >= cost[i][j]) continue;
        cost[i][j] = total;
        split[i][j] = k;
      }
    }
  }
  const multiply = (i: number, j: number): Tensor => (i === j ? list[i] : matmul(multiply(i, split[i][j]), multiply(split[i][j] + 1, j)));
  return multiply(0, n - 1);
}

/** Matrices [..., n, k] whose columns are the powers 0 .. k-1 of the elements of [..., n]. */
export function vander(x: Tensor, count = x.shape[x.shape.length - 1]): Tensor {
  return composite('vander', () => {
    const columns: Tensor[] = [];
    for (let k = 0; k < count; k++) columns.push(k === 0 ? add(mul(x, 0), 1) : mul(columns[k - 1], x));
    return stack(columns, x.shape.length);
  });
}
