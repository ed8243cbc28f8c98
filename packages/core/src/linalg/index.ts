/** Linear algebra: factorisations, systems, inverses, norms. Matrices lie in the last two dimensions, the others are batches. */
export { diagEmbed } from '../ops/join.js';
export { matmul } from '../ops/matmul.js';
export { diagonal } from '../ops/view-slice.js';
export { LinalgError } from './checks.js';
export {
  type CholeskyOptions,
  cholesky,
  choleskyEx,
  eigh,
  eigvalsh,
  type LuFactorResult,
  type LuResult,
  lu,
  luFactor,
  type QrMode,
  qr,
  type SvdOptions,
  type SvdResult,
  svd,
  svdvals,
} from './factors.js';
export { cross, kron, matrixExp, matrixPower, multiDot, trace, vander, vecdot } from './functions.js';
export { cond, type MatrixNormOrder, matrixNorm, norm, vectorNorm } from './norms.js';
export {
  choleskyInverse,
  choleskySolve,
  det,
  inv,
  invEx,
  type LeastSquares,
  lstsq,
  luSolve,
  matrixRank,
  pinv,
  type RankOptions,
  type SolveOptions,
  slogdet,
  solve,
  solveTriangular,
  type TriangularOptions,
} from './solve.js';
