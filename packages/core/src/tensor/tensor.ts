/**
 * The tensor handle. Its methods come through a chain of base classes (base ← math ← reduce ← linear ← shape ← Tensor), so
 * that they survive tree shaking; each link is imported by the next alone, which keeps the order of evaluation right
 * although the operations they call import this file.
 */
import type { TensorBase } from './base.js';
import { TensorShapeMethods } from './methods-shape.js';

/**
 * An n-dimensional array of one dtype: a view (shape, strides, offset) of a storage that other tensors may share.
 */
export class Tensor extends TensorShapeMethods {}

/** True for tensors. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

export type { TensorBase };
