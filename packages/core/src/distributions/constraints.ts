/** Where parameters and values of distributions may lie. */
import { eq, ge, gt, le, logicalAnd, lt, mul, sub } from '../ops/binary.js';
import { fullLike } from '../ops/create.js';
import { tril } from '../ops/join.js';
import { choleskyOf, transposed } from '../ops/linalg-solve.js';
import { all, amax, sum } from '../ops/reduce.js';
import { abs, floor, isNaN, logicalNot } from '../ops/unary.js';
import { diagonal } from '../ops/view-slice.js';
import type { Tensor } from '../tensor/tensor.js';

/** A set of numbers, vectors or matrices. */
export interface Constraint {
  /** In words, for errors. */
  readonly description: string;
  /** Whether each element (vector, matrix) belongs to it: bool, without the dimensions of one element. */
  check(value: Tensor): Tensor;
}
const make = (description: string, check: (value: Tensor) => Tensor): Constraint => ({ description, check });
const whole = (x: Tensor): Tensor => eq(floor(x), x);

export const constraints = {
  real: make('numbers', (x) => logicalNot(isNaN(x))),
  positive: make('positive numbers', (x) => gt(x, 0)),
  nonNegative: make('numbers of at least 0', (x) => ge(x, 0)),
  unitInterval: make('numbers from 0 to 1', (x) => logicalAnd(ge(x, 0), le(x, 1))),
  boolean: make('0 or 1', (x) => logicalAnd(logicalAnd(ge(x, 0), le(x, 1)), whole(x))),
  nonNegativeInteger: make('whole numbers of at least 0', (x) => logicalAnd(ge(x, 0), whole(x))),
  simplex: make('vectors of numbers of at least 0 that add up to 1', (x) =>
    logicalAnd(all(ge(x, 0), -1), lt(abs(sub(sum(x, -1), 1)), 1e-5)),
  ),
  oneHot: make('vectors of one 1 and zeros', (x) => logicalAnd(all(logicalAnd(ge(x, 0), whole(x)), -1), eq(sum(x, -1), 1))),
  realVector: make('vectors of numbers', (x) => all(logicalNot(isNaN(x)), -1)),
  lowerCholesky: make('lower triangular matrices with a positive diagonal', (x) =>
    logicalAnd(all(eq(tril(x), x), [-2, -1]), all(gt(diagonal(x, { dim1: -2, dim2: -1 }), 0), -1)),
  ),
  positiveDefinite: make('symmetric positive definite matrices', (x) => {
    const size = amax(abs(x), [-2, -1], true);
    const symmetric = all(le(abs(sub(x, transposed(x))), mul(size, 1e-5)), [-2, -1]);
    return logicalAnd(symmetric, eq(choleskyOf(x).info, 0));
  }),
  interval(low: number | Tensor, high: number | Tensor): Constraint {
    return make('numbers between the bounds', (x) => logicalAnd(ge(x, low), le(x, high)));
  },
  integerInterval(low: number | Tensor, high: number | Tensor): Constraint {
    return make('whole numbers between the bounds', (x) => logicalAnd(whole(x), logicalAnd(ge(x, low), le(x, high))));
  },
  greaterThanEqual(low: number | Tensor): Constraint {
    return make('numbers of at least the lower bound', (x) => ge(x, low));
  },
  /** `base`, holding for all of the last `dimensions` dimensions at once. */
  independent(base: Constraint, dimensions: number): Constraint {
    return make(base.description, (x) => {
      const each = base.check(x);
      return dimensions === 0
        ? each
        : all(
            each,
            Array.from({ length: dimensions }, (_, i) => -1 - i),
          );
    });
  },
  /** Everything: for what cannot be checked. */
  any: make('anything', (x) => eq(fullLike(x, 0), 0)),
} as const;
