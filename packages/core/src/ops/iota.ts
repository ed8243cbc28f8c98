/** Positions along an axis, computed where they are used. */
import type { DType } from '../dtype.js';
import { apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { computeType, primitive } from './define.js';
import { reshape } from './view.js';

const iotaPrimitive = primitive<{ readonly size: number; readonly dtype: DType }>({
  name: 'iota',
  infer: (_, { size, dtype }) => [{ dtype, shape: [size] }],
  lowering: { kind: 'map', pointwise: false, element: ({ b }, [i], { dtype }) => [b.cast(i, computeType(dtype))] },
  vjp: null,
});

export const iotaPrimitives = [iotaPrimitive];

/** 0, 1, ... size - 1. */
export function iota(size: number, dtype: DType = 'int32'): Tensor {
  return apply1(iotaPrimitive, [], { size, dtype });
}

/** {@link iota} along `axis` of a tensor of `rank` dimensions; the others have extent 1. */
export function iotaAlong(size: number, axis: number, rank: number, dtype: DType = 'int32'): Tensor {
  const shape = new Array<number>(rank).fill(1);
  if (rank > 0) shape[axis] = size;
  return reshape(iota(size, dtype), shape);
}
