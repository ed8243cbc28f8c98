/** Between values of a graph and tensors. */
import { cast, type DType, isFloat, scope, type Tensor, tensor } from 'trireme';
import { type ElementType, elementInfo } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import type { OpContext } from './definition.js';

/** What `compute` gives, as a value of `type`; the tensors on the way are freed. */
export function computed(type: ElementType, compute: () => Tensor): TensorValue {
  return TensorValue.ofTensor(scope(compute), type);
}

/** Numbers as a tensor. A recording that captures it holds on to its memory. */
export function constant(values: readonly number[], dtype: DType, shape: readonly number[] = [values.length]): Tensor {
  const typed = dtype === 'int64' ? BigInt64Array.from(values, BigInt) : dtype === 'float64' ? Float64Array.from(values) : values;
  return tensor(typed as readonly number[], { dtype, shape });
}

/** dtype of the tensors that hold values of `type`. @throws FormatError for types that only the host holds */
export function carrierOf(type: ElementType, ctx: OpContext): DType {
  return elementInfo[type].carrier ?? ctx.fail(`values of type ${type}`, 'numbers');
}

/** float32 where the dtype is too coarse for intermediate results. */
export function widened(x: Tensor): Tensor {
  return isFloat(x.dtype) && x.dtype !== 'float16' && x.dtype !== 'bfloat16' ? x : cast(x, 'float32');
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function filled(n: number, value: number): number[] {
  return new Array<number>(n).fill(value);
}
