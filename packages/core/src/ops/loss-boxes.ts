/** Losses of boxes by their overlap with the true ones. */
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, mul, sub } from './binary.js';
import { aspectDifference, aspectWeight, centreDistance, checkBoxes, hullOfBoxes, overlapOfBoxes } from './boxes.js';
import { checkSameShape, finish, type LossOptions } from './loss-common.js';

export interface BoxLossOptions extends LossOptions {
  /** Added to denominators. Default 1e-7. */
  readonly eps?: number;
}

function boxLoss(
  op: string,
  a: Tensor,
  b: Tensor,
  { reduction = 'mean', eps = 1e-7 }: BoxLossOptions,
  penalty: ((iou: Tensor, union: Tensor, eps: number) => Tensor) | null,
): Tensor {
  checkBoxes(a, op);
  checkSameShape(a, b, op);
  return composite(op, () => {
    const { inter, union } = overlapOfBoxes(a, b);
    const iou = div(inter, add(union, eps));
    const values = sub(1, iou);
    return finish(penalty === null ? values : add(values, penalty(iou, union, eps)), reduction);
  });
}

/** One minus the intersection over union of predicted and true boxes, both xyxy [..., 4], one to one. Boxes apart have no gradient. */
export function boxIouLoss(boxes: Tensor, target: Tensor, options: BoxLossOptions = {}): Tensor {
  return boxLoss('boxIouLoss', boxes, target, options, null);
}
/** {@link boxIouLoss} plus the share of the hull that neither covers (Rezatofighi et al., arXiv:1902.09630). */
export function generalizedBoxIouLoss(boxes: Tensor, target: Tensor, options: BoxLossOptions = {}): Tensor {
  return boxLoss('generalizedBoxIouLoss', boxes, target, options, (_, union, eps) => {
    const [width, height] = hullOfBoxes(boxes, target);
    const hull = mul(width, height);
    return div(sub(hull, union), add(hull, eps));
  });
}
/** {@link boxIouLoss} plus the squared distance of the centres, as a share of the hull's diagonal (Zheng et al., arXiv:1911.08287). */
export function distanceBoxIouLoss(boxes: Tensor, target: Tensor, options: BoxLossOptions = {}): Tensor {
  return boxLoss('distanceBoxIouLoss', boxes, target, options, (_iou, _union, eps) => centreDistance(boxes, target, eps));
}
/** {@link distanceBoxIouLoss} plus the difference of the aspect ratios. */
export function completeBoxIouLoss(boxes: Tensor, target: Tensor, options: BoxLossOptions = {}): Tensor {
  return boxLoss('completeBoxIouLoss', boxes, target, options, (iou, _, eps) => {
    const aspect = aspectDifference(boxes, target, eps);
    return add(centreDistance(boxes, target, eps), mul(aspectWeight(iou, aspect, eps), aspect));
  });
}
