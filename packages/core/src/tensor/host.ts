/** Element values on the host side. */
import type { DType } from '../dtype.js';
import { ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { sizeOf } from '../graph/layout.js';
import type { TypedArray } from './data.js';

/** The arrays of all dtypes but int64. */
export type NumberArray = Exclude<TypedArray, BigInt64Array>;
export type HostValue = number | boolean | bigint;
export type NestedValues = HostValue | NestedValues[];

/** One element as JavaScript has it: booleans for bool, numbers for int64 as long as they are exact. */
export function hostValue(data: TypedArray, i: number, dtype: DType): HostValue {
  const value = data[i];
  if (dtype === 'bool') return value !== 0;
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  return value;
}

/** Row-major elements as nested arrays. */
export function nest(data: TypedArray, shape: Shape, dtype: DType): NestedValues {
  let position = 0;
  const build = (axis: number): NestedValues =>
    axis === shape.length ? hostValue(data, position++, dtype) : Array.from({ length: shape[axis] }, () => build(axis + 1));
  return build(0);
}

/** The only element, as a number; bool gives 0 or 1. @throws ShapeError */
export function itemOf(tensor: { readonly shape: Shape }, data: TypedArray): number {
  if (sizeOf(tensor.shape) !== 1) {
    throw new ShapeError(`a tensor of shape [${tensor.shape.join(', ')}] is no single number`, {
      op: 'item',
      received: tensor.shape,
      expected: 'one element',
      fix: 'Use data() or toArray(), or reduce it before.',
    });
  }
  return Number(data[0]);
}
