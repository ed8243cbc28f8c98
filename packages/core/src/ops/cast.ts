/** Conversion between dtypes, and the dense copy. */
import type { DType } from '../dtype.js';
import { isFloat } from '../dtype.js';
import { apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { computeType, pointwise } from './define.js';

/** For records of casts that were computed before. */
export const castPrimitive = pointwise<{ readonly dtype: DType }>({
  name: 'cast',
  arity: 1,
  dtype: (_, { dtype }) => dtype,
  element: (b, [x], { dtype }, from) => {
    // An integer that narrows below the type it is computed in wraps when it is stored; bool is exact either way.
    if (from === dtype) return x;
    return b.cast(x, computeType(dtype));
  },
  vjp: (ctx, g) => [isFloat(ctx.inputTypes[0].dtype) ? cast(g, ctx.inputTypes[0].dtype) : null],
});

/**
 * The elements converted to `dtype`; the tensor itself when it has that dtype. Floats truncate towards zero on their way to
 * integers, integers wrap, anything to bool is `!= 0`.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : apply1(castPrimitive, [x], { dtype });
}

/** A dense row-major copy in new memory. */
export function copy(x: Tensor): Tensor {
  return apply1(castPrimitive, [x], { dtype: x.dtype });
}

/** A copy that common subexpression elimination never merges with anything: `id` is new each time. */
const barrierPrimitive = pointwise<{ readonly id: number }>({
  name: 'barrier',
  arity: 1,
  element: (_, [x]) => x,
  vjp: (_, g) => [g],
});
let barriers = 0;

/** In a program: the same elements, but what is computed from them is not merged with what is computed from `x`. */
export function barrier(x: Tensor): Tensor {
  return apply1(barrierPrimitive, [x], { id: barriers++ });
}

export const castPrimitives = [castPrimitive, barrierPrimitive];
