/** What the families of losses share: reductions, and checks of input against target. */
import { ArgumentError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, shapesEqual } from '../graph/layout.js';
import type { Tensor } from '../tensor/tensor.js';
import { mean, sum } from './reduce.js';

/** 'mean' (default), 'sum', or 'none' for a value an element or sample. */
export type Reduction = 'mean' | 'sum' | 'none';
export interface LossOptions {
  readonly reduction?: Reduction;
}

/** The values of a loss, reduced. */
export function finish(values: Tensor, reduction: Reduction): Tensor {
  switch (reduction) {
    case 'none':
      return values;
    case 'sum':
      return sum(values);
    case 'mean':
      return mean(values);
    default:
      throw new ArgumentError(`the reduction '${String(reduction satisfies never)}' does not exist`, {
        op: 'loss',
        received: reduction,
        expected: "'mean', 'sum' or 'none'",
      });
  }
}

/** Input and target meet by broadcasting, but a target that is larger than the input is nearly always a mistake. */
export function checkTarget(x: Tensor, target: Tensor, op: string): void {
  if (!shapesEqual(broadcastShapes(x.shape, target.shape, op), x.shape)) {
    throw new ShapeError(`an input of shape ${formatShape(x.shape)} and a target of shape ${formatShape(target.shape)}`, {
      op,
      received: [x.shape, target.shape],
      expected: 'equal shapes',
      fix: 'Reshape the target, for example with unsqueeze(-1).',
    });
  }
}

/** @throws ShapeError when the two differ in shape. */
export function checkSameShape(a: Tensor, b: Tensor, op: string): void {
  if (shapesEqual(a.shape, b.shape)) return;
  throw new ShapeError(`inputs of shapes ${formatShape(a.shape)} and ${formatShape(b.shape)}`, {
    op,
    received: [a.shape, b.shape],
    expected: 'equal shapes',
  });
}

/** @throws ShapeError when a tensor has not this many dimensions. */
export function checkRank(x: Tensor, rank: number, what: string, op: string): void {
  if (x.shape.length === rank) return;
  throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, { op, received: x.shape, expected: what });
}
