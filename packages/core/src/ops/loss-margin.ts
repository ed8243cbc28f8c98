/** Losses that ask for a margin between scores. */
import { ArgumentError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { softplus } from './activation.js';
import { add, div, eq, ge, logicalAnd, lt, maximum, mul, sub } from './binary.js';
import { cast } from './cast.js';
import { gather } from './gather.js';
import { iotaAlong } from './iota.js';
import { checkClasses, targetsOf } from './loss-classification.js';
import { checkRank, checkSameShape, checkTarget, finish, type LossOptions } from './loss-common.js';
import { any, sum } from './reduce.js';
import { cumsum } from './scan.js';
import { where } from './ternary.js';
import { logicalNot, neg, sqrt, square } from './unary.js';
import { reshape, unsqueeze } from './view.js';

export interface MarginOptions extends LossOptions {
  readonly margin?: number;
}

/** `max(0, x)` whose gradient at 0 is 0. */
function positive(x: Tensor): Tensor {
  return where(lt(x, 0), 0, x);
}

export interface HingeOptions extends MarginOptions {
  /** Squares the values. Default false. */
  readonly squared?: boolean;
}
/** `max(0, margin - y * x)` for scores x and targets y of 1 and -1; the margin is 1 by default. */
export function hingeLoss(x: Tensor, y: Tensor, { margin = 1, squared = false, reduction = 'mean' }: HingeOptions = {}): Tensor {
  checkTarget(x, y, 'hingeLoss');
  return composite('hingeLoss', () => {
    const values = positive(sub(margin, mul(x, y)));
    return finish(squared ? square(values) : values, reduction);
  });
}

/** x where y is 1 and `max(0, margin - x)` where y is -1: x is a distance, y says whether the two are alike. The margin is 1 by default. */
export function hingeEmbeddingLoss(x: Tensor, y: Tensor, { margin = 1, reduction = 'mean' }: MarginOptions = {}): Tensor {
  checkTarget(x, y, 'hingeEmbeddingLoss');
  return composite('hingeEmbeddingLoss', () => finish(where(eq(y, 1), x, positive(sub(margin, x))), reduction));
}

/** `log(1 + exp(-y * x))` for targets y of 1 and -1. */
export function softMarginLoss(x: Tensor, y: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  checkTarget(x, y, 'softMarginLoss');
  return composite('softMarginLoss', () => finish(softplus(neg(mul(x, y))), reduction));
}

/** `max(0, -y * (a - b) + margin)` for targets y of 1 (a should rank higher) and -1. The margin is 0 by default. */
export function marginRankingLoss(a: Tensor, b: Tensor, y: Tensor, { margin = 0, reduction = 'mean' }: MarginOptions = {}): Tensor {
  checkSameShape(a, b, 'marginRankingLoss');
  checkTarget(a, y, 'marginRankingLoss');
  return composite('marginRankingLoss', () => finish(positive(add(neg(mul(y, sub(a, b))), margin)), reduction));
}

/**
 * `1 - cos(a, b)` where y is 1, `max(0, cos(a, b) - margin)` where it is -1: a and b [N, D] (or [D]), y [N] (or a number). The margin is 0
 * by default.
 */
export function cosineEmbeddingLoss(a: Tensor, b: Tensor, y: Tensor, { margin = 0, reduction = 'mean' }: MarginOptions = {}): Tensor {
  const op = 'cosineEmbeddingLoss';
  checkSameShape(a, b, op);
  if (a.shape.length === 1) checkRank(y, 0, 'a target without dimensions for one pair', op);
  else checkRank(a, 2, '[N, D]', op);
  return composite(op, () => {
    // PyTorch's guard against vectors of length 0.
    const squares = (x: Tensor): Tensor => add(sum(square(x), -1), 1e-12);
    const cosine = div(sum(mul(a, b), -1), sqrt(mul(squares(a), squares(b))));
    checkTarget(cosine, y, op);
    return finish(where(eq(y, 1), sub(1, cosine), positive(sub(cosine, margin))), reduction);
  });
}

export interface MultiMarginOptions extends MarginOptions {
  /** Power of the values, 1 (default) or 2. */
  readonly p?: 1 | 2;
  /** Factor of each class, [C]. */
  readonly weight?: Tensor | null;
}
/**
 * Multi-class hinge loss: `sum of max(0, margin - x[y] + x[i]) ** p over i != y, divided by C`, for scores x [N, C] (or [C]) and targets y
 * int [N] (or a number). The margin is 1 by default (Crammer and Singer, 2001).
 */
export function multiMarginLoss(
  x: Tensor,
  target: Tensor,
  { p = 1, margin = 1, weight = null, reduction = 'mean' }: MultiMarginOptions = {},
): Tensor {
  const op = 'multiMarginLoss';
  checkClasses(x, target, op);
  if (x.shape.length > 2) checkRank(x, 2, '[N, C]', op);
  if (p !== 1 && p !== 2) throw new ArgumentError(`p is ${String(p)}`, { op, received: p, expected: '1 or 2' });
  return composite(op, () => {
    const classes = x.shape.at(-1) ?? 1;
    const { hit } = targetsOf(x, target, -1);
    const right = sum(where(hit, x, 0), -1, true);
    const plain = positive(add(sub(x, right), margin));
    let values = where(hit, 0, p === 1 ? plain : square(plain));
    if (weight !== null) values = mul(values, sum(where(hit, reshape(weight, [classes]), 0), -1, true));
    return finish(div(sum(values, -1), classes), reduction);
  });
}

/**
 * Hinge loss of several labels a sample: `sum over labels j and classes i that are none of max(0, 1 - (x[j] - x[i])), divided by C`.
 * x [N, C] (or [C]); target int of that shape: the labels of a sample, then -1 to the end.
 */
export function multilabelMarginLoss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  const op = 'multilabelMarginLoss';
  checkSameShape(x, target, op);
  if (x.shape.length !== 1 && x.shape.length !== 2) {
    throw new ArgumentError(`scores of shape ${formatShape(x.shape)}`, { op, received: x.shape, expected: '[N, C] or [C]' });
  }
  return composite(op, () => {
    const rank = x.shape.length;
    const classes = x.shape[rank - 1];
    const labels = cast(target, 'int64');
    // The first negative number ends the list.
    const valid = eq(cumsum(cast(lt(labels, 0), 'int32'), -1), 0);
    const asked = where(valid, labels, 0);
    const here = logicalAnd(eq(unsqueeze(asked, -1), iotaAlong(classes, rank, rank + 1, 'int64')), unsqueeze(valid, -1));
    const isLabel = any(here, -2);
    const margins = add(sub(unsqueeze(x, -2), unsqueeze(gather(x, rank - 1, asked), -1)), 1);
    const counts = logicalAnd(unsqueeze(valid, -1), logicalNot(unsqueeze(isLabel, -2)));
    const values = where(logicalAnd(counts, ge(margins, 0)), maximum(margins, 0), 0);
    return finish(div(sum(values, [-2, -1]), classes), reduction);
  });
}
