/** Triangular systems, Cholesky factors and LU factors: the kernels and their gradients. */
import { DTypeError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import type { LoopsContext } from '../graph/primitive.js';
import type { Expr } from '../ir/expr.js';
import { apply, apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, eq, mul, sub } from './binary.js';
import { primitive } from './define.js';
import { gather } from './gather.js';
import { iotaAlong } from './iota.js';
import { concat, tril, triu } from './join.js';
import { batchShape, MatrixWriter, matrixSize, perMatrix, squareSize, typeLike } from './linalg-common.js';
import { matmul } from './matmul.js';
import { argsort } from './sort.js';
import type { Stage } from './statements.js';
import { unravel } from './statements.js';
import { where } from './ternary.js';
import { neg } from './unary.js';
import { expand, transpose, unsqueeze } from './view.js';
import { narrow } from './view-slice.js';

/** The matrices with rows and columns exchanged (a view). */
export function transposed(x: Tensor): Tensor {
  return transpose(x, -2, -1);
}

/* ---- triangular systems ---- */

type TriangularAttrs = { readonly upper: boolean; readonly unit: boolean };

/** Right-hand sides a cell works on. */
const columnBlock = 64;
/** Below this many right-hand sides a sum runs along the rows instead of along the right-hand sides. */
const fewColumns = 4;

function triangularStages(ctx: LoopsContext, { upper, unit }: TriangularAttrs): readonly Stage[] {
  const { b } = ctx;
  const [n, columns] = ctx.outputs[0].shape.slice(-2);
  const lead = batchShape(ctx.inputs[0]);
  const blocks = Math.ceil(columns / columnBlock);
  const grid = sizeOf(lead) * blocks;
  if (grid === 0 || n === 0) return [];
  const cell = b.loopVar('block');
  const indices = unravel(b, b.index(cell), [...lead, blocks]);
  const w = new MatrixWriter(ctx, b.index(cell), indices.slice(0, -1));
  const first = b.mul(indices[lead.length], b.i32(columnBlock));
  const width =
    columns % columnBlock === 0
      ? b.i32(columnBlock)
      : blocks === 1
        ? b.i32(columns)
        : b.binary('min', b.i32(columnBlock), b.sub(b.i32(columns), first));
  const { a } = w;
  w.for('step', n, (step) => {
    const row = upper ? b.sub(b.i32(n - 1), step) : step;
    // The unknowns that are already known: those before the row, or behind it.
    const known = (k: Expr): Expr => (upper ? b.add(b.add(row, b.i32(1)), k) : k);
    const pivot = unit ? a.num(1) : w.let('pivot', w.input(0, row, row));
    if (columns < fewColumns) {
      w.for('column', columns, (column) => {
        const total = w.sum('total', step, a.type, (k) => a.mul(w.input(0, row, known(k)), w.get(0, known(k), column)));
        w.put(0, [row, column], a.div(a.sub(w.input(1, row, column), total), pivot));
      });
      return;
    }
    const at = (c: Expr): Expr => b.add(first, c);
    w.lanes('c', width, (c) => w.put(0, [row, at(c)], w.input(1, row, at(c))));
    w.for('k', step, (k) => {
      const factor = w.let('factor', w.input(0, row, known(k)));
      w.lanes('c', width, (c) => w.put(0, [row, at(c)], a.sub(w.get(0, row, at(c)), a.mul(factor, w.get(0, known(k), at(c))))));
    });
    if (!unit) w.lanes('c', width, (c) => w.put(0, [row, at(c)], a.div(w.get(0, row, at(c)), pivot)));
  });
  return [{ grid, cell, body: w.statements, work: grid * n * n * Math.min(columns, columnBlock) }];
}

const triangularSolvePrimitive = primitive<TriangularAttrs>({
  name: 'triangularSolve',
  infer([a, rhs]) {
    const n = squareSize(a, 'solveTriangular');
    const [rows] = matrixSize(rhs, 'solveTriangular');
    if (rows !== n || !shapesEqual(batchShape(a), batchShape(rhs))) {
      throw new ShapeError(`matrices ${formatShape(a.shape)} and right-hand sides ${formatShape(rhs.shape)}`, {
        op: 'solveTriangular',
        received: [a.shape, rhs.shape],
        expected: 'as many rows of the right-hand side as of the matrix, and one batch shape',
      });
    }
    if (a.dtype !== rhs.dtype) throw new DTypeError(`${a.dtype} and ${rhs.dtype}`, { op: 'solveTriangular', expected: 'one dtype' });
    return [rhs];
  },
  lowering: { kind: 'loops', alias: false, stages: triangularStages },
  saves: { inputs: [0], outputs: [0] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    const { upper, unit } = ctx.attrs;
    const back = triangular(transposed(ctx.input(0)), g, { upper: !upper, unit });
    if (!ctx.needs(0)) return [null, back];
    const outer = neg(matmul(back, transposed(ctx.output(0))));
    const skip = unit ? 1 : 0;
    return [upper ? triu(outer, skip) : tril(outer, -skip), back];
  },
});

/** `x` with `a x = rhs` for triangular `a`; equal batch shapes and dtypes. The other triangle (and the diagonal when `unit`) is not read. */
export function triangular(a: Tensor, rhs: Tensor, { upper, unit = false }: { readonly upper: boolean; readonly unit?: boolean }): Tensor {
  return apply1(triangularSolvePrimitive, [a, rhs], { upper, unit });
}
/** `x` with `x a = rhs`. */
export function triangularRight(a: Tensor, rhs: Tensor, upper: boolean, unit = false): Tensor {
  return transposed(triangular(transposed(a), transposed(rhs), { upper: !upper, unit }));
}

/* ---- Cholesky ---- */

const choleskyPrimitive = primitive<Record<string, never>>({
  name: 'cholesky',
  infer(inputs) {
    const [input] = inputs;
    squareSize(input, 'cholesky');
    return [input, typeLike(input, [], 'int32')];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx) {
      const n = squareSize(ctx.inputs[0], 'cholesky');
      return perMatrix(ctx, (n * n * n) / 3, (w) => {
        const { a, b } = w;
        const info = w.variable('info', w.i(0));
        w.for('row', n, (row) => {
          w.for('column', row, (column) => {
            const total = w.sum('total', column, a.type, (k) => a.mul(w.get(0, row, k), w.get(0, column, k)));
            w.put(0, [row, column], a.div(a.sub(w.input(0, row, column), total), w.get(0, column, column)));
          });
          const squares = w.sum('squares', row, a.type, (k) => a.mul(w.get(0, row, k), w.get(0, row, k)));
          const rest = w.let('rest', a.sub(w.input(0, row, row), squares));
          const positive = w.let('positive', a.lt(a.num(0), rest));
          w.if(b.and(a.not(positive), b.binary('eq', info.value, w.i(0))), () => info.set(b.add(row, w.i(1))));
          w.put(0, [row, row], a.select(positive, a.sqrt(a.select(positive, rest, a.num(1))), a.num(NaN)));
          w.for('zero', b.sub(w.i(n - 1), row), (k) => w.put(0, [row, b.add(b.add(row, w.i(1)), k)], a.num(0)));
        });
        w.put(1, [], info.value);
      });
    },
  },
  saves: { outputs: [0] },
  // Murray, "Differentiation of the Cholesky decomposition" (2016), section 3: symmetric form.
  vjp(ctx, [g]) {
    if (g === null) return [null];
    const factor = ctx.output(0);
    const product = matmul(transposed(factor), g);
    const inner = sub(tril(product), mul(diagonalPart(product), 0.5));
    const left = triangular(transposed(factor), inner, { upper: true });
    const both = triangularRight(factor, left, false);
    return [mul(add(both, transposed(both)), 0.5)];
  },
});

/** The matrices with everything but their diagonals set to 0. */
export function diagonalPart(x: Tensor): Tensor {
  const [rows, columns] = x.shape.slice(-2);
  return where(eq(iotaAlong(rows, 0, 2), iotaAlong(columns, 1, 2)), x, 0);
}

/**
 * The lower factor L with `L L^T = x` from the lower triangles, and int32 `info`: 0, or the order of the first leading minor that is
 * not positive (its column and those behind it are NaN).
 */
export function choleskyOf(x: Tensor): { readonly factor: Tensor; readonly info: Tensor } {
  const [factor, info] = apply(choleskyPrimitive, [x]);
  return { factor, info };
}

/* ---- LU ---- */

/** Outputs: the packed factors, pivots (1-based rows), the row order, the parity of the row exchanges and info. */
const luPrimitive = primitive<Record<string, never>>({
  name: 'lu',
  infer(inputs) {
    const [input] = inputs;
    const [m, n] = matrixSize(input, 'lu');
    const whole = (tail: readonly number[]) => typeLike(input, tail, 'int32');
    return [input, whole([Math.min(m, n)]), whole([m]), whole([]), whole([])];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx) {
      const [m, n] = matrixSize(ctx.inputs[0], 'lu');
      const steps = Math.min(m, n);
      return perMatrix(ctx, m * n * steps, (w) => {
        const { a, b } = w;
        const one = w.i(1);
        w.for('row', m, (row) => {
          w.lanes('column', n, (column) => w.put(0, [row, column], w.input(0, row, column)));
          w.put(2, [row], row);
        });
        const parity = w.variable('parity', w.i(0));
        const info = w.variable('info', w.i(0));
        w.for('k', steps, (k) => {
          const best = w.variable('best', a.abs(w.get(0, k, k)));
          const at = w.variable('at', k);
          w.range('row', b.add(k, one), w.i(m), (row) => {
            const size = w.let('size', a.abs(w.get(0, row, k)));
            w.if(a.lt(best.value, size), () => {
              best.set(size);
              at.set(row);
            });
          });
          w.put(1, [k], b.add(at.value, one));
          w.if(b.binary('ne', at.value, k), () => {
            w.lanes('column', n, (column) => {
              const upper = w.let('upper', w.get(0, k, column));
              const lower = w.let('lower', w.get(0, at.value, column));
              w.put(0, [k, column], lower);
              w.put(0, [at.value, column], upper);
            });
            const upper = w.let('upper', w.get(2, k));
            const lower = w.let('lower', w.get(2, at.value));
            w.put(2, [k], lower);
            w.put(2, [at.value], upper);
            parity.set(b.sub(one, parity.value));
          });
          const pivot = w.let('pivot', w.get(0, k, k));
          w.if(
            a.eq(pivot, a.num(0)),
            () => w.if(b.binary('eq', info.value, w.i(0)), () => info.set(b.add(k, one))),
            () =>
              w.range('row', b.add(k, one), w.i(m), (row) => {
                const factor = w.let('factor', a.div(w.get(0, row, k), pivot));
                w.put(0, [row, k], factor);
                w.lanesFrom('column', b.add(k, one), w.i(n), (column) =>
                  w.put(0, [row, column], a.sub(w.get(0, row, column), a.mul(factor, w.get(0, k, column)))),
                );
              }),
          );
        });
        w.put(3, [], parity.value);
        w.put(4, [], info.value);
      });
    },
  },
  saves: { outputs: [0, 2] },
  /**
   * With PA = LU and X = L^-1 dA U^-1: dL = L tril(X, -1), dU = triu(X) U. Rows below (columns beside) the square part follow from
   * L2 = A2 U^-1 (U2 = L^-1 A2).
   */
  vjp(ctx, [g]) {
    if (g === null) return [null];
    const packed = ctx.output(0);
    const [m, n] = packed.shape.slice(-2);
    const k = Math.min(m, n);
    const part = (t: Tensor, dim: number, from: number, count: number): Tensor => narrow(t, dim, from, count);
    const square = part(part(packed, -2, 0, k), -1, 0, k);
    const gSquare = part(part(g, -2, 0, k), -1, 0, k);
    let gLower = tril(gSquare, -1);
    let gUpper = triu(gSquare);
    let rest: Tensor | null = null;
    if (m > k) {
      rest = triangularRight(transposed(square), part(g, -2, k, m - k), false);
      gUpper = sub(gUpper, triu(matmul(transposed(part(packed, -2, k, m - k)), rest)));
    } else if (n > k) {
      rest = triangular(transposed(square), part(g, -1, k, n - k), { upper: true, unit: true });
      gLower = sub(gLower, tril(matmul(rest, transposed(part(packed, -1, k, n - k))), -1));
    }
    const lower = tril(square, -1);
    // L^T gL with the ones on L's diagonal added by hand.
    const inner = add(tril(add(matmul(transposed(lower), gLower), gLower), -1), triu(matmul(gUpper, transposed(triu(square)))));
    const left = triangular(transposed(square), inner, { upper: true, unit: true });
    const both = triangularRight(transposed(square), left, false);
    const whole = rest === null ? both : concat([both, rest], m > k ? -2 : -1);
    return [permuteRows(whole, argsort(ctx.output(2)))];
  },
});

/** The rows of each matrix in the order that the batch of index vectors says. */
export function permuteRows(x: Tensor, order: Tensor): Tensor {
  const shape = [...batchShape(x), order.shape[order.shape.length - 1], x.shape[x.shape.length - 1]];
  return gather(x, x.shape.length - 2, expand(unsqueeze(order, order.shape.length), shape));
}

export interface LuFactors {
  /** U on and above the diagonal, L (whose diagonal is 1) below. */
  readonly packed: Tensor;
  /** int32: row k was exchanged with row pivots[k] - 1 in step k, as LAPACK counts. */
  readonly pivots: Tensor;
  /** int32: row i of L U is row order[i] of the matrix. */
  readonly order: Tensor;
  /** int32: 1 when the number of exchanges is odd. */
  readonly parity: Tensor;
  /** int32: 0, or the number (from 1) of the first pivot that is 0. */
  readonly info: Tensor;
}
/** LU with partial pivoting. */
export function luOf(x: Tensor): LuFactors {
  const [packed, pivots, order, parity, info] = apply(luPrimitive, [x]);
  return { packed, pivots, order, parity, info };
}

/** `x` with `a x = rhs` from the factors of `a`. Equal batch shapes. */
export function solveWithLu({ packed, order }: Pick<LuFactors, 'packed' | 'order'>, rhs: Tensor): Tensor {
  const lower = triangular(packed, permuteRows(rhs, order), { upper: false, unit: true });
  return triangular(packed, lower, { upper: true });
}

export const linalgSolvePrimitives = [triangularSolvePrimitive, choleskyPrimitive, luPrimitive];
