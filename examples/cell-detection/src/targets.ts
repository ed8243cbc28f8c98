/** Which cells of the network's output should find which object, and the loss of what they say. */
import { bceWithLogits, boxIouLoss, generalizedBoxIouLoss, type Tensor, tensor } from 'trireme';
import type { LossParts } from 'trireme/train';
import type { Detections, gridOf } from './model.js';

/** Objects by the square root of their area, in pixels of the input: each level is for those within its range. */
const ranges = [
  [0, 84],
  [64, Number.POSITIVE_INFINITY],
] as const;
/** Cells count that lie within so many strides of the object's centre (Tian et al., FCOS, arXiv:1904.01355, "centre sampling"). */
const radius = 1.5;

/** For every cell: the class of its object, -1 for background; and the object's box (anything for background). */
export interface CellTargets {
  readonly classes: Int32Array;
  readonly boxes: Float32Array;
}

/**
 * Gives each object, boxes [n, 4] with labels [n], the cells around its centre on the level of its size. A cell that several
 * objects want goes to the one it is nearest to, as share of the object's size.
 */
export function assign(boxes: Float32Array, labels: Int32Array, grid: ReturnType<typeof gridOf>): CellTargets {
  const cells = grid.reduce((n, { columns, rows }) => n + columns * rows, 0);
  const classes = new Int32Array(cells).fill(-1);
  const wanted = new Float32Array(cells * 4);
  const distance = new Float32Array(cells).fill(Number.POSITIVE_INFINITY);
  let first = 0;
  grid.forEach(({ columns, rows, stride }, level) => {
    for (let i = 0; i < columns * rows; i++) {
      const [x, y] = [(i % columns) * stride, Math.floor(i / columns) * stride];
      wanted.set([x, y, x + stride, y + stride], 4 * (first + i));
    }
    labels.forEach((label, k) => {
      const [left, top, right, bottom] = boxes.subarray(4 * k, 4 * k + 4);
      const [width, height] = [right - left, bottom - top];
      const size = Math.sqrt(width * height);
      if (size < ranges[level][0] || size >= ranges[level][1]) return;
      const [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
      // At least half a stride, so that there is a cell for the smallest.
      const reach = (extent: number): number => Math.max(0.5, Math.min(radius, extent / 2 / stride));
      const range = (centre: number, extent: number, count: number): [number, number] => [
        Math.max(0, Math.ceil(centre / stride - reach(extent) - 0.5)),
        Math.min(count - 1, Math.ceil(centre / stride + reach(extent) - 0.5) - 1),
      ];
      const [x0, x1] = range(cx, width, columns);
      const [y0, y1] = range(cy, height, rows);
      for (let row = y0; row <= y1; row++) {
        for (let column = x0; column <= x1; column++) {
          const at = first + row * columns + column;
          const off = Math.max(Math.abs((column + 0.5) * stride - cx) / width, Math.abs((row + 0.5) * stride - cy) / height);
          if (off >= distance[at]) continue;
          distance[at] = off;
          classes[at] = label;
          wanted.set([left, top, right, bottom], 4 * at);
        }
      }
    });
    first += columns * rows;
  });
  return { classes, boxes: wanted };
}

/** Batches of {@link CellTargets}, and what is in each photo: see Item. */
export interface Targets {
  readonly [name: string]: Tensor;
  /** int32 [N, cells] */
  readonly classes: Tensor;
  /** [N, cells, 4] */
  readonly boxes: Tensor;
  /** [N, most, 5] */
  readonly truth: Tensor;
}

/**
 * The score of a cell should be the overlap of its box with the object, 0 for other classes and background, where easy cells count
 * little (Zhang et al., VarifocalNet, arXiv:2008.13367); the box should overlap the object (generalized IoU). Per cell with an object.
 */
export function detectionLoss({ logits, boxes }: Detections, { classes, boxes: wanted }: Targets): LossParts {
  const found = classes.ge(0).float();
  const count = found.sum().clamp({ min: 1 });
  const numbers = tensor(Int32Array.from({ length: logits.shape[2] }, (_, c) => c));
  const isClass = classes.unsqueeze(2).eq(numbers);
  const overlap = boxIouLoss(boxes.detach(), wanted, { reduction: 'none' }).rsub(1);
  const score = isClass.float().mul(overlap.unsqueeze(2));
  const easy = logits.detach().sigmoid().square().mul(0.75);
  const weight = isClass.float().mul(overlap.unsqueeze(2)).add(isClass.logicalNot().float().mul(easy));
  const classLoss = bceWithLogits(logits, score, { weight, reduction: 'sum' }).div(count);
  const boxLoss = generalizedBoxIouLoss(boxes, wanted, { reduction: 'none' }).mul(found).sum().div(count);
  return { loss: classLoss.add(boxLoss.mul(2)), classLoss, boxLoss };
}
