import { TensorShapeMethods } from './methods-shape.js';

/**
 * An n-dimensional array of one dtype: a view (shape, strides, offset) of a storage that other tensors may share.
 */
export class Tensor extends TensorShapeMethods {}

/** True for tensors. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}
