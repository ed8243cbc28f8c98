/** Boxes: areas, overlaps, formats, and the suppression of those that overlap a better one. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, type Shape } from '../graph/layout.js';
import { createFromArray, readSync } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, atan2, div, maximum, minimum, mul, sub } from './binary.js';
import { stopGradient } from './common.js';
import { stack } from './join.js';
import { clamp } from './ternary.js';
import { square } from './unary.js';
import { unsqueeze } from './view.js';
import { select } from './view-slice.js';

/** `xyxy`: two corners; `xywh`: the upper left corner and the size; `cxcywh`: the centre and the size. */
export type BoxFormat = 'xyxy' | 'xywh' | 'cxcywh';

export function checkBoxes(boxes: Tensor, op: string): void {
  if (boxes.shape.at(-1) !== 4) {
    throw new ShapeError(`boxes of shape ${formatShape(boxes.shape)}`, { op, received: boxes.shape, expected: '[..., 4]' });
  }
}

/** The four numbers of boxes [..., 4], each [...]. */
export function boxParts(boxes: Tensor): [Tensor, Tensor, Tensor, Tensor] {
  const part = (k: number): Tensor => select(boxes, -1, k);
  return [part(0), part(1), part(2), part(3)];
}

/** Boxes [..., 4] in another format. */
export function boxConvert(boxes: Tensor, from: BoxFormat, to: BoxFormat): Tensor {
  checkBoxes(boxes, 'boxConvert');
  return composite('boxConvert', () => {
    const [a, b, c, d] = boxParts(boxes);
    const half = (t: Tensor): Tensor => mul(t, 0.5);
    let corners: readonly [Tensor, Tensor, Tensor, Tensor];
    switch (from) {
      case 'xyxy':
        corners = [a, b, c, d];
        break;
      case 'xywh':
        corners = [a, b, add(a, c), add(b, d)];
        break;
      case 'cxcywh':
        corners = [sub(a, half(c)), sub(b, half(d)), add(a, half(c)), add(b, half(d))];
        break;
      default:
        throw formatError(from satisfies never);
    }
    const [x1, y1, x2, y2] = corners;
    switch (to) {
      case 'xyxy':
        return stack([x1, y1, x2, y2], -1);
      case 'xywh':
        return stack([x1, y1, sub(x2, x1), sub(y2, y1)], -1);
      case 'cxcywh':
        return stack([half(add(x1, x2)), half(add(y1, y2)), sub(x2, x1), sub(y2, y1)], -1);
      default:
        throw formatError(to satisfies never);
    }
  });
}
function formatError(format: unknown): ArgumentError {
  return new ArgumentError(`the box format '${String(format)}' does not exist`, {
    op: 'boxConvert',
    received: format,
    expected: "'xyxy', 'xywh' or 'cxcywh'",
  });
}

/** The areas of boxes xyxy [..., 4]. */
export function boxArea(boxes: Tensor): Tensor {
  checkBoxes(boxes, 'boxArea');
  return composite('boxArea', () => {
    const [x1, y1, x2, y2] = boxParts(boxes);
    return mul(sub(x2, x1), sub(y2, y1));
  });
}

/** Boxes xyxy [..., 4] cut to an image of [height, width]. */
export function clipBoxes(boxes: Tensor, [height, width]: readonly [number, number]): Tensor {
  checkBoxes(boxes, 'clipBoxes');
  return composite('clipBoxes', () => {
    const [x1, y1, x2, y2] = boxParts(boxes);
    const within = (t: Tensor, max: number): Tensor => clamp(t, { min: 0, max });
    return stack([within(x1, width), within(y1, height), within(x2, width), within(y2, height)], -1);
  });
}

/** Intersection and union of boxes that broadcast against each other. */
export interface BoxOverlap {
  readonly inter: Tensor;
  readonly union: Tensor;
}
export function overlapOfBoxes(a: Tensor, b: Tensor): BoxOverlap {
  const [ax1, ay1, ax2, ay2] = boxParts(a);
  const [bx1, by1, bx2, by2] = boxParts(b);
  const width = maximum(sub(minimum(ax2, bx2), maximum(ax1, bx1)), 0);
  const height = maximum(sub(minimum(ay2, by2), maximum(ay1, by1)), 0);
  const inter = mul(width, height);
  return { inter, union: sub(add(boxArea(a), boxArea(b)), inter) };
}

/** Width and height of the smallest boxes around both. */
export function hullOfBoxes(a: Tensor, b: Tensor): [width: Tensor, height: Tensor] {
  const [ax1, ay1, ax2, ay2] = boxParts(a);
  const [bx1, by1, bx2, by2] = boxParts(b);
  return [sub(maximum(ax2, bx2), minimum(ax1, bx1)), sub(maximum(ay2, by2), minimum(ay1, by1))];
}

/** Squared distance of the centres over the squared diagonal of the hull. */
export function centreDistance(a: Tensor, b: Tensor, eps: number): Tensor {
  const [ax1, ay1, ax2, ay2] = boxParts(a);
  const [bx1, by1, bx2, by2] = boxParts(b);
  const [width, height] = hullOfBoxes(a, b);
  const apart = add(square(sub(add(ax1, ax2), add(bx1, bx2))), square(sub(add(ay1, ay2), add(by1, by2))));
  return div(mul(apart, 0.25), add(add(square(width), square(height)), eps));
}

/** `4 / pi ** 2` times the squared difference of the angles of the diagonals. */
export function aspectDifference(a: Tensor, b: Tensor, eps: number): Tensor {
  const angle = (boxes: Tensor): Tensor => {
    const [x1, y1, x2, y2] = boxParts(boxes);
    // A box without height has the angle of one of height eps.
    return atan2(sub(x2, x1), maximum(sub(y2, y1), eps));
  };
  return mul(square(sub(angle(b), angle(a))), 4 / Math.PI ** 2);
}

/** How much of the aspect term counts: more the better the boxes overlap. No gradient flows through it. */
export function aspectWeight(iou: Tensor, aspect: Tensor, eps: number): Tensor {
  const v = stopGradient(aspect);
  return div(v, add(add(sub(1, stopGradient(iou)), v), eps));
}

type PairRule = (a: Tensor, b: Tensor) => Tensor;

/** A rule for every box of a against every box of b. */
function pairwise(op: string, a: Tensor, b: Tensor, rule: PairRule): Tensor {
  checkBoxes(a, op);
  checkBoxes(b, op);
  if (a.shape.length < 2 || b.shape.length < 2) {
    throw new ShapeError(`boxes of shapes ${formatShape(a.shape)} and ${formatShape(b.shape)}`, {
      op,
      received: [a.shape, b.shape],
      expected: '[..., N, 4] and [..., M, 4]',
    });
  }
  return composite(op, () => rule(unsqueeze(a, -2), unsqueeze(b, -3)));
}

const eps = 1e-7;

/** Intersection over union of boxes xyxy [..., N, 4] and [..., M, 4]: [..., N, M]. Boxes without area give 0. */
export function boxIou(a: Tensor, b: Tensor): Tensor {
  return pairwise('boxIou', a, b, (x, y) => {
    const { inter, union } = overlapOfBoxes(x, y);
    return div(inter, maximum(union, 1e-30));
  });
}
/** {@link boxIou} less the share of the hull that neither covers (Rezatofighi et al., arXiv:1902.09630), -1 to 1. */
export function generalizedBoxIou(a: Tensor, b: Tensor): Tensor {
  return pairwise('generalizedBoxIou', a, b, (x, y) => {
    const { inter, union } = overlapOfBoxes(x, y);
    const [width, height] = hullOfBoxes(x, y);
    const hull = maximum(mul(width, height), 1e-30);
    return sub(div(inter, maximum(union, 1e-30)), div(sub(hull, union), hull));
  });
}
/** {@link boxIou} less the distance of the centres (Zheng et al., arXiv:1911.08287). */
export function distanceBoxIou(a: Tensor, b: Tensor): Tensor {
  return pairwise('distanceBoxIou', a, b, (x, y) => {
    const { inter, union } = overlapOfBoxes(x, y);
    return sub(div(inter, maximum(union, 1e-30)), centreDistance(x, y, eps));
  });
}
/** {@link distanceBoxIou} less the difference of the aspect ratios. */
export function completeBoxIou(a: Tensor, b: Tensor): Tensor {
  return pairwise('completeBoxIou', a, b, (x, y) => {
    const { inter, union } = overlapOfBoxes(x, y);
    const iou = div(inter, maximum(union, 1e-30));
    const aspect = aspectDifference(x, y, eps);
    return sub(sub(iou, centreDistance(x, y, eps)), mul(aspectWeight(iou, aspect, eps), aspect));
  });
}

function checkScores(op: string, boxes: Tensor, scores: Tensor, shape: Shape): void {
  if (boxes.shape.length === 2 && boxes.shape[1] === 4 && scores.shape.length === 1 && shape[0] === scores.shape[0]) return;
  throw new ShapeError(`boxes of shape ${formatShape(boxes.shape)} and scores of shape ${formatShape(scores.shape)}`, {
    op,
    received: [boxes.shape, scores.shape],
    expected: 'boxes [N, 4] and scores [N]',
  });
}

export interface NmsOptions {
  /** Overlap above which the box with the lower score goes. Default 0.5. */
  readonly iouThreshold?: number;
  /** Boxes with lower scores are left out from the start. */
  readonly scoreThreshold?: number;
  /** At most so many boxes stay: those with the best scores. */
  readonly maxDetections?: number;
}

/** Positions of the boxes that stay, best score first. */
function suppress(
  boxes: ArrayLike<number>,
  scores: ArrayLike<number>,
  groups: ArrayLike<number> | null,
  { iouThreshold = 0.5, scoreThreshold = -Infinity, maxDetections = Infinity }: NmsOptions,
): number[] {
  const order = Array.from({ length: scores.length }, (_, i) => i).filter((i) => scores[i] >= scoreThreshold);
  order.sort((i, j) => scores[j] - scores[i] || i - j);
  const areas = order.map((i) => (boxes[4 * i + 2] - boxes[4 * i]) * (boxes[4 * i + 3] - boxes[4 * i + 1]));
  const gone = new Uint8Array(order.length);
  const kept: number[] = [];
  for (let p = 0; p < order.length && kept.length < maxDetections; p++) {
    if (gone[p]) continue;
    const i = order[p];
    kept.push(i);
    for (let q = p + 1; q < order.length; q++) {
      const j = order[q];
      if (gone[q] || (groups !== null && groups[i] !== groups[j])) continue;
      const width = Math.min(boxes[4 * i + 2], boxes[4 * j + 2]) - Math.max(boxes[4 * i], boxes[4 * j]);
      const height = Math.min(boxes[4 * i + 3], boxes[4 * j + 3]) - Math.max(boxes[4 * i + 1], boxes[4 * j + 1]);
      if (width <= 0 || height <= 0) continue;
      const inter = width * height;
      if (inter > iouThreshold * (areas[p] + areas[q] - inter)) gone[q] = 1;
    }
  }
  return kept;
}

/**
 * Non-maximum suppression: the positions, best score first, of the boxes xyxy [N, 4] that no better one (score [N]) overlaps by more
 * than the threshold. int64 [K]. It reads its inputs, so it does not run inside jit().
 */
export function nms(boxes: Tensor, scores: Tensor, options: NmsOptions = {}): Tensor {
  checkScores('nms', boxes, scores, boxes.shape);
  return indices(suppress(numbers(boxes), numbers(scores), null, options));
}
/** {@link nms} where only boxes of one class (or one image), `groups` int [N], suppress each other. */
export function batchedNms(boxes: Tensor, scores: Tensor, groups: Tensor, options: NmsOptions = {}): Tensor {
  checkScores('batchedNms', boxes, scores, groups.shape);
  return indices(suppress(numbers(boxes), numbers(scores), numbers(groups), options));
}
function numbers(t: Tensor): Float64Array {
  return Float64Array.from(readSync(t) as ArrayLike<number | bigint>, Number);
}
function indices(kept: readonly number[]): Tensor {
  return createFromArray(kept, 'int64', [kept.length]);
}
