/** Eigenvalues of symmetric matrices and singular values: the kernels, and the gradient of the first. */
import type { Expr } from '../ir/expr.js';
import { apply } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, mul, sub } from './binary.js';
import { primitive } from './define.js';
import { iotaAlong } from './iota.js';
import { diagEmbed } from './join.js';
import { type MatrixWriter, matrixSize, perMatrix, squareSize, typeLike } from './linalg-common.js';
import { transposed } from './linalg-solve.js';
import { matmul } from './matmul.js';
import { where } from './ternary.js';
import { unsqueeze } from './view.js';

/* ---- symmetric eigenvalues ---- */

/** Outputs of eigh: values, vectors in columns, info; then work areas: the matrix, the vectors in rows, three vectors. */
const [values, vectors, info, matrix, rows, offDiagonal, householder, image] = [0, 1, 2, 3, 4, 5, 6, 7];

/**
 * Householder reduction to a tridiagonal matrix (Golub and Van Loan, "Matrix Computations", 8.3.1), row by row: row k of the work area
 * keeps the reflector of step k (1 at k + 1). `image` holds the reflectors' factors in the end.
 */
function tridiagonalize(w: MatrixWriter, n: number): void {
  const { a, b } = w;
  const one = w.i(1);
  const last = w.i(n);
  w.for('k', Math.max(0, n - 2), (k) => {
    const first = w.let('first', b.add(k, one));
    const rest = b.add(first, one);
    w.put(values, [k], w.get(matrix, k, k));
    const largest = w.variable('largest', a.num(0));
    w.range('j', rest, last, (j) => largest.set(a.max(largest.value, a.abs(w.get(matrix, k, j)))));
    const alpha = w.let('alpha', w.get(matrix, k, first));
    w.if(
      a.eq(largest.value, a.num(0)),
      () => {
        w.put(offDiagonal, [k], alpha);
        w.put(householder, [k], a.num(0));
      },
      () => {
        const scale = w.let('scale', a.max(largest.value, a.abs(alpha)));
        const squares = w.sumFrom('squares', first, last, a.type, (j) => {
          const x = a.div(w.get(matrix, k, j), scale);
          return a.mul(x, x);
        });
        const beta = w.let('beta', a.neg(a.withSign(a.mul(scale, a.sqrt(squares)), alpha)));
        const tau = w.let('tau', a.div(a.sub(beta, alpha), beta));
        const shift = w.let('shift', a.sub(alpha, beta));
        w.put(offDiagonal, [k], beta);
        w.put(householder, [k], tau);
        w.put(matrix, [k, first], a.num(1));
        w.lanesFrom('j', rest, last, (j) => w.put(matrix, [k, j], a.div(w.get(matrix, k, j), shift)));
        // p = tau A v, then w = p - (tau / 2) (p v) v and A -= v w^T + w v^T.
        w.range('i', first, last, (i) => {
          const product = w.sumFrom('product', first, last, a.type, (j) => a.mul(w.get(matrix, i, j), w.get(matrix, k, j)));
          w.put(image, [i], a.mul(tau, product));
        });
        const overlap = w.sumFrom('overlap', first, last, a.type, (j) => a.mul(w.get(image, j), w.get(matrix, k, j)));
        const half = w.let('half', a.mul(a.num(-0.5), a.mul(tau, overlap)));
        w.lanesFrom('j', first, last, (j) => w.put(image, [j], a.add(w.get(image, j), a.mul(half, w.get(matrix, k, j)))));
        w.range('i', first, last, (i) => {
          const v = w.let('v', w.get(matrix, k, i));
          const p = w.let('p', w.get(image, i));
          w.lanesFrom('j', first, last, (j) => {
            const change = a.add(a.mul(v, w.get(image, j)), a.mul(p, w.get(matrix, k, j)));
            w.put(matrix, [i, j], a.sub(w.get(matrix, i, j), change));
          });
        });
      },
    );
  });
  w.range('k', w.i(Math.max(0, n - 2)), last, (k) => {
    w.put(values, [k], w.get(matrix, k, k));
    w.if(b.binary('lt', k, w.i(n - 1)), () => w.put(offDiagonal, [k], w.get(matrix, k, b.binary('min', b.add(k, one), w.i(n - 1)))));
  });
  w.put(offDiagonal, [w.i(n - 1)], a.num(0));
}

/** Q^T of the reduction A = Q T Q^T into `rows`: the reflectors from the last to the first, each from the right. */
function accumulateRows(w: MatrixWriter, n: number): void {
  const { a, b } = w;
  w.for('i', n, (i) => w.lanes('j', n, (j) => w.put(rows, [i, j], a.select(b.binary('eq', i, j), a.num(1), a.num(0)))));
  w.down('k', Math.max(0, n - 2), (k) => {
    const first = w.let('first', b.add(k, w.i(1)));
    const tau = w.let('tau', w.get(householder, k));
    w.range('i', first, w.i(n), (i) => {
      const product = w.sumFrom('product', first, w.i(n), a.type, (j) => a.mul(w.get(rows, i, j), w.get(matrix, k, j)));
      const factor = w.let('factor', a.mul(tau, product));
      w.lanesFrom('j', first, w.i(n), (j) => w.put(rows, [i, j], a.sub(w.get(rows, i, j), a.mul(factor, w.get(matrix, k, j)))));
    });
  });
}

/** Most sweeps for each eigenvalue; two are usual. */
const sweepsPerValue = 40;

/**
 * Implicit QL with Wilkinson's shift (Golub and Van Loan 8.3.3; Dubrulle, Martin, Wilkinson 1968) on the tridiagonal matrix; the
 * rotations act on pairs of `rows`.
 */
function iterate(w: MatrixWriter, n: number, withVectors: boolean): void {
  const { a, b } = w;
  const one = w.i(1);
  const budget = w.variable('budget', w.i(sweepsPerValue * n));
  const diagonal = (i: Expr): Expr => w.get(values, i);
  const beside = (i: Expr): Expr => w.get(offDiagonal, i);
  w.for('l', n, (l) => {
    const going = w.variable('going', b.const('bool', true));
    w.while(going.value, () => {
      // The block that starts at l ends at m, where the element beside the diagonal is negligible.
      const m = w.variable('m', l);
      const open = w.variable('open', b.const('bool', true));
      w.while(b.and(open.value, b.binary('lt', m.value, w.i(n - 1))), () => {
        const next = b.binary('min', b.add(m.value, one), w.i(n - 1));
        const size = a.add(a.abs(diagonal(m.value)), a.abs(diagonal(next)));
        w.if(
          b.binary('le', a.abs(beside(m.value)), a.mul(a.num(a.epsilon), size)),
          () => open.set(b.const('bool', false)),
          () => m.set(b.add(m.value, one)),
        );
      });
      w.if(
        b.binary('or', b.binary('eq', m.value, l), b.binary('le', budget.value, w.i(0))),
        () => going.set(b.const('bool', false)),
        () => {
          budget.set(b.sub(budget.value, one));
          const ratio = w.let('ratio', a.div(a.sub(diagonal(b.add(l, one)), diagonal(l)), a.mul(a.num(2), beside(l))));
          const root = a.withSign(a.hypot(ratio, a.num(1)), ratio);
          const g = w.variable('g', a.add(a.sub(diagonal(m.value), diagonal(l)), a.div(beside(l), a.add(ratio, root))));
          const sine = w.variable('sine', a.num(1));
          const cosine = w.variable('cosine', a.num(1));
          const p = w.variable('p', a.num(0));
          w.down('step', b.sub(m.value, l), (step) => {
            const i = w.let('i', b.add(l, step));
            const above = b.add(i, one);
            const e = w.let('e', beside(i));
            const f = w.let('f', a.mul(sine.value, e));
            const h = w.let('h', a.mul(cosine.value, e));
            const r = w.let('r', a.hypot(f, g.value));
            const none = w.let('none', a.eq(r, a.num(0)));
            const safe = w.let('safe', a.select(none, a.num(1), r));
            w.put(offDiagonal, [above], r);
            sine.set(a.select(none, a.num(0), a.div(f, safe)));
            cosine.set(a.select(none, a.num(1), a.div(g.value, safe)));
            g.set(a.sub(diagonal(above), p.value));
            const change = w.let('change', a.add(a.mul(a.sub(diagonal(i), g.value), sine.value), a.mul(a.num(2), a.mul(cosine.value, h))));
            p.set(a.mul(sine.value, change));
            w.put(values, [above], a.add(g.value, p.value));
            g.set(a.sub(a.mul(cosine.value, change), h));
            if (!withVectors) return;
            const [s, c] = [w.let('s', sine.value), w.let('c', cosine.value)];
            w.lanes('j', n, (j) => {
              const x = w.let('x', w.get(rows, i, j));
              const y = w.let('y', w.get(rows, above, j));
              w.put(rows, [above, j], a.add(a.mul(s, x), a.mul(c, y)));
              w.put(rows, [i, j], a.sub(a.mul(c, x), a.mul(s, y)));
            });
          });
          w.put(values, [l], a.sub(diagonal(l), p.value));
          w.put(offDiagonal, [l], g.value);
          w.put(offDiagonal, [m.value], a.num(0));
        },
      );
    });
  });
  w.put(info, [], b.select(b.binary('le', budget.value, w.i(0)), one, w.i(0)));
}

/** Puts the values of output `k` in order (ascending, or descending) and calls `swap` for each exchange. */
function sortValues(w: MatrixWriter, k: number, n: number, descending: boolean, swap: (i: Expr, j: Expr) => void): void {
  const { a, b } = w;
  w.for('place', Math.max(0, n - 1), (place) => {
    const best = w.variable('best', w.get(k, place));
    const at = w.variable('at', place);
    w.range('i', b.add(place, w.i(1)), w.i(n), (i) => {
      const value = w.get(k, i);
      w.if(descending ? a.lt(best.value, value) : a.lt(value, best.value), () => {
        best.set(value);
        at.set(i);
      });
    });
    w.if(b.binary('ne', at.value, place), () => {
      w.put(k, [at.value], w.get(k, place));
      w.put(k, [place], best.value);
      swap(place, at.value);
    });
  });
}

function swapRows(w: MatrixWriter, k: number, columns: number, i: Expr, j: Expr): void {
  w.lanes('column', columns, (c) => {
    const x = w.let('x', w.get(k, i, c));
    const y = w.let('y', w.get(k, j, c));
    w.put(k, [i, c], y);
    w.put(k, [j, c], x);
  });
}

type EighAttrs = { readonly vectors: boolean };

const eighPrimitive = primitive<EighAttrs>({
  name: 'eigh',
  infer(inputs, attrs) {
    const [input] = inputs;
    const n = squareSize(input, 'eigh');
    const line = typeLike(input, [n]);
    const square = attrs.vectors ? input : typeLike(input, [0, 0]);
    return [line, square, typeLike(input, [], 'int32'), input, square, line, line, line];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, attrs) {
      const n = squareSize(ctx.inputs[0], 'eigh');
      if (n === 0) return perMatrix(ctx, 1, (w) => w.put(info, [], w.i(0)));
      return perMatrix(ctx, 6 * n * n * n, (w) => {
        const { a, b } = w;
        // Only the lower triangle is read.
        const odd = w.variable('odd', a.num(0));
        w.for('i', n, (i) =>
          w.for('j', n, (j) => {
            const x = w.let('x', w.input(0, b.binary('max', i, j), b.binary('min', i, j)));
            odd.set(a.add(odd.value, a.mul(x, a.num(0))));
            w.put(matrix, [i, j], x);
          }),
        );
        w.if(
          a.eq(odd.value, a.num(0)),
          () => {
            tridiagonalize(w, n);
            if (attrs.vectors) accumulateRows(w, n);
            iterate(w, n, attrs.vectors);
            sortValues(w, values, n, false, (i, j) => {
              if (attrs.vectors) swapRows(w, rows, n, i, j);
            });
          },
          () => {
            // Infinities and NaN have no eigenvalues.
            w.put(info, [], w.i(-1));
            w.for('i', n, (i) => {
              w.put(values, [i], a.num(NaN));
              if (attrs.vectors) w.lanes('j', n, (j) => w.put(rows, [i, j], a.num(NaN)));
            });
          },
        );
        if (attrs.vectors) w.for('i', n, (i) => w.for('j', n, (j) => w.put(vectors, [i, j], w.get(rows, j, i))));
      });
    },
  },
  saves: { outputs: [values, vectors] },
  // dL = diag(V^T dA V), V^T dV = (V^T dA V) / (L_j - L_i) off the diagonal (Giles 2008, section 3.1).
  vjp(ctx, [gValues, gVectors]) {
    if (!ctx.attrs.vectors || (gValues === null && gVectors === null)) return [null];
    const V = ctx.output(vectors);
    let inner: Tensor | null = gValues === null ? null : diagEmbed(gValues);
    if (gVectors !== null) {
      const L = ctx.output(values);
      const rank = V.shape.length;
      const gaps = sub(unsqueeze(L, rank - 2), unsqueeze(L, rank - 1));
      const part = overGaps(matmul(transposed(V), gVectors), gaps);
      inner = inner === null ? part : add(inner, part);
    }
    const g = matmul(matmul(V, inner as Tensor), transposed(V));
    return [mul(add(g, transposed(g)), 0.5)];
  },
});

/** `x / gaps` off the diagonal, 0 on it. */
export function overGaps(x: Tensor, gaps: Tensor): Tensor {
  const n = x.shape[x.shape.length - 1];
  const onDiagonal = eq(iotaAlong(n, 0, 2), iotaAlong(n, 1, 2));
  return where(onDiagonal, 0, div(x, where(onDiagonal, 1, gaps)));
}

export interface SymmetricEigen {
  /** Ascending, [..., n]. */
  readonly values: Tensor;
  /** In columns, [..., n, n]; empty when not asked for. */
  readonly vectors: Tensor;
  /** int32: 0; 1 where the iteration did not converge; -1 where the matrix holds infinities or NaN (the results are NaN). */
  readonly info: Tensor;
}
/** Eigenvalues and vectors of symmetric matrices, from their lower triangles. */
export function eighOf(x: Tensor, withVectors = true): SymmetricEigen {
  const [l, v, i] = apply(eighPrimitive, [x], { vectors: withVectors });
  return { values: l, vectors: v, info: i };
}

/* ---- singular values ---- */

/** Outputs of the one-sided Jacobi iteration: singular values, U^T and V^T in rows, info, squared lengths. */
const [singular, left, right, notConverged, lengths] = [0, 1, 2, 3, 4];
const maximumSweeps = 42;

/**
 * One-sided Jacobi (Hestenes 1958; Demmel and Veselic 1992) on [..., m, n] with m >= n: pairs of columns are rotated until all are
 * orthogonal. Outputs the lengths of the columns in descending order, the columns divided by them (0 where the length is 0) and the
 * product of the rotations, both in rows, and info (1 where it did not converge, -1 for infinities and NaN).
 */
const jacobiPrimitive = primitive<Record<string, never>>({
  name: 'jacobiSvd',
  infer(inputs) {
    const [input] = inputs;
    const [m, n] = matrixSize(input, 'svd');
    return [typeLike(input, [n]), typeLike(input, [n, m]), typeLike(input, [n, n]), typeLike(input, [], 'int32'), typeLike(input, [n])];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx) {
      const [m, n] = matrixSize(ctx.inputs[0], 'svd');
      return perMatrix(ctx, 40 * n * n * (m + n), (w) => writeJacobi(w, m, n));
    },
  },
  vjp: null,
});

function writeJacobi(w: MatrixWriter, m: number, n: number): void {
  const { a, b } = w;
  const largest = w.variable('largest', a.num(0));
  const odd = w.variable('odd', a.num(0));
  w.for('i', n, (i) => {
    w.for('j', m, (j) => {
      const x = w.let('x', w.input(0, j, i));
      largest.set(a.max(largest.value, a.abs(x)));
      odd.set(a.add(odd.value, a.mul(x, a.num(0))));
    });
    w.lanes('j', n, (j) => w.put(right, [i, j], a.select(b.binary('eq', i, j), a.num(1), a.num(0))));
  });
  const finite = w.let('finite', a.eq(odd.value, a.num(0)));
  const scale = w.let('scale', a.select(b.and(finite, a.lt(a.num(0), largest.value)), largest.value, a.num(1)));
  w.for('i', n, (i) => w.lanes('j', m, (j) => w.put(left, [i, j], a.div(w.input(0, j, i), scale))));
  const sweeps = w.variable('sweeps', b.select(finite, w.i(maximumSweeps), w.i(0)));
  const turned = w.variable('turned', w.i(1));
  const product = (name: string, i: Expr, j: Expr): Expr => w.sum(name, m, a.type, (c) => a.mul(w.get(left, i, c), w.get(left, j, c)));
  const tolerance = a.num(a.epsilon * Math.sqrt(Math.max(1, m)));
  w.while(b.and(b.binary('lt', w.i(0), sweeps.value), b.binary('lt', w.i(0), turned.value)), () => {
    sweeps.set(b.sub(sweeps.value, w.i(1)));
    turned.set(w.i(0));
    w.for('i', n, (i) => w.put(lengths, [i], product('length', i, i)));
    w.for('p', Math.max(0, n - 1), (p) => {
      w.range('q', b.add(p, w.i(1)), w.i(n), (q) => {
        const overlap = product('overlap', p, q);
        const [alpha, beta] = [w.let('alpha', w.get(lengths, p)), w.let('beta', w.get(lengths, q))];
        const bound = a.mul(tolerance, a.mul(a.sqrt(a.max(alpha, a.num(0))), a.sqrt(a.max(beta, a.num(0)))));
        w.if(a.lt(bound, a.abs(overlap)), () => {
          turned.set(w.i(1));
          const zeta = w.let('zeta', a.div(a.sub(beta, alpha), a.mul(a.num(2), overlap)));
          const tangent = w.let('tangent', a.div(a.withSign(a.num(1), zeta), a.add(a.abs(zeta), a.hypot(zeta, a.num(1)))));
          const cosine = w.let('cosine', a.div(a.num(1), a.sqrt(a.add(a.num(1), a.mul(tangent, tangent)))));
          const sine = w.let('sine', a.mul(cosine, tangent));
          const rotate = (k: number, columns: number): void =>
            w.lanes('c', columns, (c) => {
              const x = w.let('x', w.get(k, p, c));
              const y = w.let('y', w.get(k, q, c));
              w.put(k, [p, c], a.sub(a.mul(cosine, x), a.mul(sine, y)));
              w.put(k, [q, c], a.add(a.mul(sine, x), a.mul(cosine, y)));
            });
          rotate(left, m);
          rotate(right, n);
          w.put(lengths, [p], a.sub(alpha, a.mul(tangent, overlap)));
          w.put(lengths, [q], a.add(beta, a.mul(tangent, overlap)));
        });
      });
    });
  });
  w.put(notConverged, [], b.select(finite, b.select(b.binary('lt', w.i(0), turned.value), w.i(1), w.i(0)), w.i(-1)));
  w.for('i', n, (i) => {
    const length = w.let('length', a.sqrt(product('squares', i, i)));
    w.put(singular, [i], a.select(finite, a.mul(length, scale), a.num(NaN)));
    const divisor = w.let('divisor', a.select(a.eq(length, a.num(0)), a.num(1), length));
    w.lanes('j', m, (j) => w.put(left, [i, j], a.select(finite, a.div(w.get(left, i, j), divisor), a.num(NaN))));
  });
  sortValues(w, singular, n, true, (i, j) => {
    swapRows(w, left, m, i, j);
    swapRows(w, right, n, i, j);
  });
}

/** The singular values (descending), the left vectors (0 where the value is 0) and the right ones, in columns, of a matrix with m >= n. */
export function jacobiOf(x: Tensor): { readonly U: Tensor; readonly S: Tensor; readonly V: Tensor; readonly info: Tensor } {
  const [S, Ut, Vt, state] = apply(jacobiPrimitive, [x]);
  return { U: transposed(Ut), S, V: transposed(Vt), info: state };
}

export const linalgEigenPrimitives = [eighPrimitive, jacobiPrimitive];
