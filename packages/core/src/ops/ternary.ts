/** Elementwise functions of three operands, and selections by a mask. */
import { promoteWithNumber } from '../dtype.js';
import { DTypeError } from '../errors.js';
import { broadcastShapes, shapesEqual } from '../graph/layout.js';
import { apply1 } from '../tensor/dispatch.js';
import { Tensor } from '../tensor/tensor.js';
import { add, div, maximum, minimum, mul, sub } from './binary.js';
import { cast } from './cast.js';
import type { Scalar, TensorOrScalar } from './common.js';
import { broadcastTo, operand, resultType, scalarDType, shapeOf } from './common.js';
import { pointwise } from './define.js';
import { clampToNumbers, isNaN } from './unary.js';

const wherePrimitive = pointwise({
  name: 'where',
  arity: 3,
  dtype(inputs) {
    const [condition, a, b] = inputs;
    if (condition.dtype !== 'bool' || a.dtype !== b.dtype) {
      throw new DTypeError(`inputs of ${condition.dtype}, ${a.dtype} and ${b.dtype}`, {
        op: 'where',
        expected: 'bool and twice one dtype',
      });
    }
    return a.dtype;
  },
  element: (b, [condition, x, y]) => b.select(condition, x, y),
  saves: { inputs: [0] },
  vjp: (ctx, g) => [null, ctx.needs(1) ? where(ctx.input(0), g, 0) : null, ctx.needs(2) ? where(ctx.input(0), 0, g) : null],
});

export const ternaryPrimitives = [wherePrimitive];

/** `a` where the condition holds, `b` elsewhere; all three broadcast, `a` and `b` promote. */
export function where(condition: Tensor, a: TensorOrScalar, b: TensorOrScalar): Tensor {
  const mask = cast(condition, 'bool');
  const dtype = a instanceof Tensor || b instanceof Tensor ? resultType(a, b) : promoteWithNumber(scalarDType(a), b);
  if (
    a instanceof Tensor &&
    b instanceof Tensor &&
    a.dtype === b.dtype &&
    shapesEqual(a.shape, b.shape) &&
    shapesEqual(mask.shape, a.shape)
  ) {
    return apply1(wherePrimitive, [mask, a, b]);
  }
  const shape = broadcastShapes(mask.shape, broadcastShapes(shapeOf(a), shapeOf(b), 'where'), 'where');
  return apply1(wherePrimitive, [broadcastTo(mask, shape), broadcastTo(operand(a, dtype), shape), broadcastTo(operand(b, dtype), shape)]);
}

/** `value` where the mask is true, the tensor's elements elsewhere, in the tensor's dtype. The mask broadcasts to it. */
export function maskedFill(x: Tensor, mask: Tensor, value: TensorOrScalar): Tensor {
  return where(mask, value instanceof Tensor ? cast(value, x.dtype) : operand(value, x.dtype), x);
}

export interface ClampOptions {
  readonly min?: number | Tensor | null;
  readonly max?: number | Tensor | null;
}
/** Elements below `min` become `min`, above `max` become `max`; NaN stays. Limits are numbers or tensors. */
export function clamp(x: Tensor, { min = null, max = null }: ClampOptions): Tensor {
  if (min instanceof Tensor || max instanceof Tensor) {
    const raised = min === null ? x : maximum(x, min);
    return max === null ? raised : minimum(raised, max);
  }
  // Attributes are compared as JSON, which has no infinities: an infinite limit of the other side replaces every number.
  if (min === Infinity) return where(isNaN(x), x, Infinity);
  if (max === -Infinity) return where(isNaN(x), x, -Infinity);
  return clampToNumbers(x, min === -Infinity ? null : min, max === Infinity ? null : max);
}

/** `a + weight * (b - a)`. */
export function lerp(a: Tensor, b: Tensor, weight: number | Tensor): Tensor {
  return add(a, mul(weight, sub(b, a)));
}
/** `a + value * b * c`. */
export function addcmul(a: Tensor, b: Tensor, c: Tensor, { value = 1 }: { readonly value?: Scalar } = {}): Tensor {
  const product = mul(b, c);
  return add(a, value === 1 ? product : mul(product, value));
}
/** `a + value * b / c`. */
export function addcdiv(a: Tensor, b: Tensor, c: Tensor, { value = 1 }: { readonly value?: Scalar } = {}): Tensor {
  const quotient = div(b, c);
  return add(a, value === 1 ? quotient : mul(quotient, value));
}
