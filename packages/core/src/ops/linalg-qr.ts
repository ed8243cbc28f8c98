/** Householder QR: the kernel and its gradient. */
import { AutogradError } from '../errors.js';
import type { Expr } from '../ir/expr.js';
import { apply } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, sub } from './binary.js';
import { primitive } from './define.js';
import { tril } from './join.js';
import { type MatrixWriter, matrixSize, perMatrix, typeLike } from './linalg-common.js';
import { transposed, triangularRight } from './linalg-solve.js';
import { matmul } from './matmul.js';
import { pad } from './pad.js';
import { neg } from './unary.js';
import { narrow } from './view-slice.js';

type QrAttrs = { readonly complete: boolean };

/** Output 2 holds the reflectors below its diagonal, output 3 their factors, output 4 a row of products. */
const [q, r, work, factors, products] = [0, 1, 2, 3, 4];

/** Rows k.. of columns `from`.. of `target` -= tau v (v^T rows), with v = 1 at row k and the reflector of column k below. */
function reflect(w: MatrixWriter, target: number, k: Expr, rows: number, from: Expr, columns: number): void {
  const { a, b } = w;
  const tau = w.let('tau', w.get(factors, k));
  const below = b.add(k, w.i(1));
  w.if(b.binary('ne', tau, a.num(0)), () => {
    w.lanesFrom('column', from, w.i(columns), (c) => w.put(products, [c], w.get(target, k, c)));
    w.range('row', below, w.i(rows), (row) => {
      const v = w.let('v', w.get(work, row, k));
      w.lanesFrom('column', from, w.i(columns), (c) => w.put(products, [c], a.add(w.get(products, c), a.mul(v, w.get(target, row, c)))));
    });
    w.lanesFrom('column', from, w.i(columns), (c) => {
      const product = w.let('product', a.mul(tau, w.get(products, c)));
      w.put(products, [c], product);
      w.put(target, [k, c], a.sub(w.get(target, k, c), product));
    });
    w.range('row', below, w.i(rows), (row) => {
      const v = w.let('v', w.get(work, row, k));
      w.lanesFrom('column', from, w.i(columns), (c) => w.put(target, [row, c], a.sub(w.get(target, row, c), a.mul(v, w.get(products, c)))));
    });
  });
}

const qrPrimitive = primitive<QrAttrs>({
  name: 'qr',
  infer(inputs, { complete }) {
    const [input] = inputs;
    const [m, n] = matrixSize(input, 'qr');
    const inner = complete ? m : Math.min(m, n);
    return [
      typeLike(input, [m, inner]),
      typeLike(input, [inner, n]),
      input,
      typeLike(input, [Math.min(m, n)]),
      typeLike(input, [Math.max(m, n)]),
    ];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx) {
      const [m, n] = matrixSize(ctx.inputs[0], 'qr');
      const inner = ctx.outputs[q].shape[ctx.outputs[q].shape.length - 1];
      const steps = Math.min(m, n);
      return perMatrix(ctx, 2 * m * n * steps, (w) => {
        const { a, b } = w;
        const one = w.i(1);
        w.for('row', m, (row) => w.lanes('column', n, (c) => w.put(work, [row, c], w.input(0, row, c))));
        w.for('k', steps, (k) => {
          const below = b.add(k, one);
          const largest = w.variable('largest', a.num(0));
          w.range('row', below, w.i(m), (row) => largest.set(a.max(largest.value, a.abs(w.get(work, row, k)))));
          w.if(
            a.eq(largest.value, a.num(0)),
            () => w.put(factors, [k], a.num(0)),
            () => {
              const alpha = w.let('alpha', w.get(work, k, k));
              // Scaled, so that squares neither overflow nor vanish.
              const scale = w.let('scale', a.max(largest.value, a.abs(alpha)));
              const total = w.variable('total', a.num(0));
              w.range('row', k, w.i(m), (row) => {
                const x = a.div(w.get(work, row, k), scale);
                total.set(a.add(total.value, a.mul(x, x)));
              });
              const beta = w.let('beta', a.neg(a.withSign(a.mul(scale, a.sqrt(total.value)), alpha)));
              w.put(factors, [k], a.div(a.sub(beta, alpha), beta));
              const shift = w.let('shift', a.sub(alpha, beta));
              w.range('row', below, w.i(m), (row) => w.put(work, [row, k], a.div(w.get(work, row, k), shift)));
              w.put(work, [k, k], beta);
              reflect(w, work, k, m, below, n);
            },
          );
        });
        w.for('row', inner, (row) => {
          w.lanes('column', n, (c) => w.put(r, [row, c], a.select(b.binary('le', row, c), w.get(work, row, c), a.num(0))));
        });
        w.for('row', m, (row) => w.lanes('column', inner, (c) => w.put(q, [row, c], a.select(b.binary('eq', row, c), a.num(1), a.num(0)))));
        w.down('k', steps, (k) => reflect(w, q, k, m, k, inner));
      });
    },
  },
  saves: { outputs: [q, r] },
  /**
   * With Q^T dA = W R + dR, W = Q^T dQ antisymmetric: <gQ, dQ> + <gR, dR> in terms of dA gives
   * gA = Q gR + (Q tril(M - M^T, -1) + (I - Q Q^T) gQ) R1^-T, M = Q^T gQ - gR R^T, R1 the square part of R.
   */
  vjp(ctx, [gQ, gR]) {
    if (gQ === null && gR === null) return [null];
    const [m, n] = ctx.inputTypes[0].shape.slice(-2);
    if (ctx.attrs.complete && m > n) {
      throw new AutogradError('the complete Q of a tall matrix is not determined by it', {
        op: 'qr',
        received: [m, n],
        expected: "mode 'reduced', or at least as many columns as rows",
      });
    }
    const [Q, R] = [ctx.output(q), ctx.output(r)];
    const k = Math.min(m, n);
    const projected = gQ === null ? null : matmul(transposed(Q), gQ);
    const other = gR === null ? null : matmul(gR, transposed(R));
    const M = projected !== null && other !== null ? sub(projected, other) : (projected ?? neg(other as Tensor));
    let inner = matmul(Q, tril(sub(M, transposed(M)), -1));
    if (gQ !== null && projected !== null && m > n) inner = add(inner, sub(gQ, matmul(Q, projected)));
    const solved = triangularRight(transposed(narrow(R, -1, 0, k)), inner, false);
    const wide = n > k ? pad(solved, [0, n - k]) : solved;
    return [gR === null ? wide : add(matmul(Q, gR), wide)];
  },
});

/** Q [..., m, k] with orthonormal columns and upper triangular R [..., k, n]; k = min(m, n), or m when `complete`. */
export function qrOf(x: Tensor, complete: boolean): { readonly Q: Tensor; readonly R: Tensor } {
  const [Q, R] = apply(qrPrimitive, [x], { complete });
  return { Q, R };
}

export const linalgQrPrimitives = [qrPrimitive];
