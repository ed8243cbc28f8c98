/** Losses by the overlap of predicted and true regions: Dice, Tversky, Jaccard. */
import { isFloat } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, mul, ne, pow, sub } from './binary.js';
import { cast } from './cast.js';
import { iotaAlong } from './iota.js';
import { finish, type LossOptions } from './loss-common.js';
import { sum } from './reduce.js';
import { softmax } from './statistics.js';
import { where } from './ternary.js';
import { sigmoid } from './unary.js';
import { unsqueeze } from './view.js';
import { narrow } from './view-slice.js';

export interface OverlapOptions extends LossOptions {
  /** What turns the input into probabilities. Default 'softmax' over the classes, 'sigmoid' where there is one channel. */
  readonly activation?: 'softmax' | 'sigmoid' | 'none';
  /** Added to numerator and denominator: regions that are empty in both cost nothing. Default 1. */
  readonly smooth?: number;
  /** Adds up the samples of the batch before the quotient, instead of a quotient a sample. Default false. */
  readonly batch?: boolean;
  /** Whether class 0 counts. Default true. */
  readonly includeBackground?: boolean;
  /** Pixels of this class count nothing (targets of class indices). */
  readonly ignoreIndex?: number;
}
export interface TverskyOptions extends OverlapOptions {
  /** Weight of what is predicted and not there. Default 0.5. */
  readonly alpha?: number;
  /** Weight of what is there and not predicted. Default 0.5; more of it raises the recall. */
  readonly beta?: number;
  /** Power of the loss of each region (focal Tversky, Abraham and Khan, arXiv:1810.07842). Default 1. */
  readonly gamma?: number;
}

/** Sums over the places of a region, [N, C] or [C]. */
interface Overlap {
  readonly both: Tensor;
  readonly predicted: Tensor;
  readonly present: Tensor;
}

function probabilities(x: Tensor, activation: OverlapOptions['activation']): Tensor {
  switch (activation ?? (x.shape[1] === 1 ? 'sigmoid' : 'softmax')) {
    case 'softmax':
      return softmax(x, 1);
    case 'sigmoid':
      return sigmoid(x);
    default:
      return x;
  }
}

function overlapOf(op: string, x: Tensor, target: Tensor, options: OverlapOptions): Overlap {
  const { batch = false, includeBackground = true, ignoreIndex } = options;
  const rank = x.shape.length;
  const byIndex = !shapesEqual(x.shape, target.shape);
  if (rank < 2 || (byIndex && (isFloat(target.dtype) || !shapesEqual(x.shape.toSpliced(1, 1), target.shape)))) {
    throw new ShapeError(`an input of shape ${formatShape(x.shape)} and a target of shape ${formatShape(target.shape)}`, {
      op,
      received: [x.shape, target.shape],
      expected: 'inputs [N, C, ...] and targets of the same shape, or class indices [N, ...]',
    });
  }
  let p = probabilities(x, options.activation);
  let y: Tensor;
  if (byIndex) {
    const labels = unsqueeze(cast(target, 'int32'), 1);
    // With one channel the index says whether the pixel belongs to the region.
    y = cast(eq(labels, x.shape[1] === 1 ? 1 : iotaAlong(x.shape[1], 1, rank)), x.dtype);
    if (ignoreIndex !== undefined) {
      const counts = ne(labels, ignoreIndex);
      p = where(counts, p, 0);
      y = where(counts, y, 0);
    }
  } else y = cast(target, x.dtype);
  if (!includeBackground && x.shape[1] > 1) {
    p = narrow(p, 1, 1, x.shape[1] - 1);
    y = narrow(y, 1, 1, x.shape[1] - 1);
  }
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis > 1 || (axis === 0 && batch));
  const total = (t: Tensor): Tensor => (axes.length === 0 ? t : sum(t, axes));
  return { both: total(mul(p, y)), predicted: total(p), present: total(y) };
}

/**
 * One minus the Dice coefficient `(2 |A and B| + smooth) / (|A| + |B| + smooth)` of each class (Milletari et al., arXiv:1606.04797).
 * Inputs [N, C, ...]; targets of that shape (one-hot, several labels or soft) or class indices int [N, ...]. Without reduction [N, C],
 * or [C] with `batch`.
 */
export function diceLoss(x: Tensor, target: Tensor, options: OverlapOptions = {}): Tensor {
  const { smooth = 1, reduction = 'mean' } = options;
  return composite('diceLoss', () => {
    const { both, predicted, present } = overlapOf('diceLoss', x, target, options);
    const score = div(add(mul(both, 2), smooth), add(add(predicted, present), smooth));
    return finish(sub(1, score), reduction);
  });
}

/**
 * One minus the Tversky index `(TP + smooth) / (TP + alpha FP + beta FN + smooth)` (Salehi et al., arXiv:1706.05721); shapes as for
 * {@link diceLoss}.
 */
export function tverskyLoss(x: Tensor, target: Tensor, options: TverskyOptions = {}): Tensor {
  const { smooth = 1, alpha = 0.5, beta = 0.5, gamma = 1, reduction = 'mean' } = options;
  return composite('tverskyLoss', () => {
    const { both, predicted, present } = overlapOf('tverskyLoss', x, target, options);
    const wrong = add(mul(sub(predicted, both), alpha), mul(sub(present, both), beta));
    const values = sub(1, div(add(both, smooth), add(add(both, wrong), smooth)));
    return finish(gamma === 1 ? values : pow(values, gamma), reduction);
  });
}

/** One minus the soft Jaccard index `(|A and B| + smooth) / (|A or B| + smooth)`; shapes as for {@link diceLoss}. */
export function jaccardLoss(x: Tensor, target: Tensor, options: OverlapOptions = {}): Tensor {
  const { smooth = 1, reduction = 'mean' } = options;
  return composite('jaccardLoss', () => {
    const { both, predicted, present } = overlapOf('jaccardLoss', x, target, options);
    const union = sub(add(predicted, present), both);
    return finish(sub(1, div(add(both, smooth), add(union, smooth))), reduction);
  });
}
