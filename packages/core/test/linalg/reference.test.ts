/** Linear algebra against PyTorch: values and gradients. */
import { expect, test } from 'vitest';
import * as linalg from '../../src/linalg/index.js';
import { add, mul } from '../../src/ops/binary.js';
import { eye } from '../../src/ops/create.js';
import { matmul } from '../../src/ops/matmul.js';
import { transpose } from '../../src/ops/view.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import reference from '../reference/linalg.json' with { type: 'json' };
import { casesByOperation, type Run, replay } from './recorded.js';

const T = (x: Tensor): Tensor => transpose(x, -2, -1);
const symmetric = (x: Tensor): Tensor => add(x, T(x));
const positive = (x: Tensor): Tensor => add(matmul(x, T(x)), eye(x.shape[x.shape.length - 1], { dtype: x.dtype }));
const square = (x: Tensor): Tensor => mul(x, x);
const order = (value: unknown): linalg.MatrixNormOrder => (value === 'fro' || value === 'nuc' ? value : Number(value));

const runs: Record<string, Run> = {
  cholesky: ([x], attrs) => linalg.cholesky(positive(x), attrs),
  eigvalsh: ([x]) => linalg.eigvalsh(symmetric(x)),
  eighSquares: ([x]) => square(linalg.eigh(symmetric(x)).eigenvectors),
  inv: ([x]) => linalg.inv(x),
  det: ([x]) => linalg.det(x),
  slogdet: ([x]) => {
    const { sign, logabsdet } = linalg.slogdet(x);
    return [sign, logabsdet];
  },
  matrixExp: ([x]) => linalg.matrixExp(x),
  solve: ([a, b], attrs) => linalg.solve(a, b, attrs),
  solveTriangular: ([a, b], attrs) => linalg.solveTriangular(a, b, attrs as unknown as linalg.TriangularOptions),
  qr: ([x], { mode }) => {
    const { Q, R } = linalg.qr(x, mode as linalg.QrMode | undefined);
    return [Q, R];
  },
  svdvals: ([x]) => linalg.svdvals(x),
  svdSquares: ([x]) => {
    const { U, Vh } = linalg.svd(x, { fullMatrices: false });
    return [square(U), square(Vh)];
  },
  pinv: ([x]) => linalg.pinv(x),
  lu: ([x]) => {
    const { P, L, U } = linalg.lu(x);
    return [P, L, U];
  },
  lstsq: ([a, b]) => linalg.lstsq(a, b).solution,
  matrixRank: ([x]) => linalg.matrixRank(x),
  matrixNorm: ([x], { ord, dim, keepdim }) =>
    linalg.matrixNorm(x, order(ord), dim as [number, number] | undefined, keepdim as boolean | undefined),
  cond: ([x], { p }) => linalg.cond(x, order(p)),
  vectorNorm: ([x], { ord }) => linalg.vectorNorm(x, Number(ord), -1),
  matrixPower: ([x], { n }) => linalg.matrixPower(x, Number(n)),
  cross: ([a, b], { dim }) => linalg.cross(a, b, dim as number | undefined),
  kron: ([a, b]) => linalg.kron(a, b),
  multiDot: (list) => linalg.multiDot(list),
  vander: ([x], { count }) => linalg.vander(x, Number(count)),
  choleskySolve: ([b, l]) => linalg.choleskySolve(b, l),
  choleskyInverse: ([l]) => linalg.choleskyInverse(l),
  luSolve: ([a, b]) => linalg.luSolve(linalg.luFactor(a), b),
};

test.each(casesByOperation(reference))('%s', (op, cases) => {
  expect(Object.keys(runs)).toContain(op);
  for (const c of cases) replay(c, runs[op], 2e-9);
});
