/** Between real numbers and integers with a scale and a zero point. */
import {
  add,
  amax,
  amin,
  cast,
  clamp,
  div,
  eq,
  maximum,
  minimum,
  mul,
  narrow as narrowAxis,
  neg,
  repeatInterleave,
  reshape,
  round,
  sub,
  type Tensor,
  where,
} from 'trireme';
import { castTensor, integerRange, isIntegerType, narrow } from '../engine/carrier.js';
import { type ElementType, elementInfo, elementTypeOf } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { axisOf, optionalTensorAt, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';
import { computed } from './tensors.js';

/** A scale or zero point so that it broadcasts to `shape`: one number, one a slice along the axis, or one a block of slices. */
export function spread(t: Tensor, shape: readonly number[], axis: number, block: number): Tensor {
  if (sizeOf(t.shape) === 1) return reshape(t, []);
  if (block > 0) return narrowAxis(repeatInterleave(t, block, axis), axis, 0, shape[axis]);
  if (t.shape.length !== 1) return t;
  return reshape(
    t,
    shape.map((extent, i) => (i === axis ? extent : 1)),
  );
}

/** Limits that hold in float32 and float64 arithmetic. */
function limitsOf(type: ElementType): { readonly min: number; readonly max: number } {
  const { min, max } = integerRange(type);
  return { min: Number(min), max: Number(max) };
}

/** Whole numbers in a float tensor limited to the range of an integer type, in its carrier. */
export function saturated(x: Tensor, type: ElementType): Tensor {
  const { carrier } = elementInfo[type];
  const wide = type === 'int32' || type === 'uint32' ? cast(x, 'float64') : x;
  return cast(clamp(wide, limitsOf(type)), carrier ?? 'int32');
}

/** `saturate(round(x / scale) + zero)`; the arguments broadcast. Floats of 8 and 4 bits round to their values instead. */
export function quantized(x: Tensor, scale: Tensor, zero: Tensor | null, type: ElementType, saturate = true): Tensor {
  const ratio = div(x, scale);
  if (!isIntegerType(type)) {
    const moved = zero === null ? ratio : add(ratio, cast(zero, ratio.dtype));
    return narrow(cast(moved, 'float32'), type, { saturate });
  }
  // Half precision does not hold all integers of 16 bits.
  const whole = round(ratio.dtype === 'float64' ? ratio : cast(ratio, 'float32'));
  return saturated(zero === null ? whole : add(whole, cast(zero, whole.dtype)), type);
}

/** `(x - zero) * scale` in float32 (float64 where the scale is). */
export function dequantized(x: Tensor, type: ElementType, scale: Tensor, zero: Tensor | null): Tensor {
  const wide = scale.dtype === 'float64' ? 'float64' : 'float32';
  return mul(cast(centred(x, type, zero), wide), cast(scale, wide));
}

/** `x - zero`, in int32 for integers. */
export function centred(x: Tensor, type: ElementType, zero: Tensor | null): Tensor {
  const dtype = isIntegerType(type) ? 'int32' : 'float32';
  return zero === null ? cast(x, dtype) : sub(cast(x, dtype), cast(zero, dtype));
}

function typeOrUndefined(name: string, ctx: OpContext): ElementType | undefined {
  const code = ctx.attrs.int(name, 0);
  return code === 0 ? undefined : (elementTypeOf(code) ?? ctx.fail(`${name} is ${code}`, 'the code of an element type'));
}

/** Axis and block size, and scale and zero point laid along them. */
function parameters(x: TensorValue, scale: TensorValue, zero: TensorValue | null, ctx: OpContext): [Tensor, Tensor | null] {
  const rank = x.shape.length;
  // Without an axis of its own: per tensor.
  const axis = scale.shape.length === 0 || rank === 0 ? 0 : axisOf(ctx.attrs.int('axis', 1), Math.max(rank, 2), ctx);
  const at = Math.min(axis, Math.max(rank - 1, 0));
  const block = ctx.attrs.int('block_size', 0);
  return [spread(scale.tensor, x.shape, at, block), zero === null ? null : spread(zero.tensor, x.shape, at, block)];
}

export const quantizeOps = {
  QuantizeLinear: (inputs, ctx) => {
    const [x, scale, zero] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), optionalTensorAt(inputs, 2, ctx)];
    const type = zero?.type ?? typeOrUndefined('output_dtype', ctx) ?? 'uint8';
    const precision = typeOrUndefined('precision', ctx) ?? scale.type;
    return computed(type, () => {
      const [s, z] = parameters(x, scale, zero, ctx);
      const wide = castTensor(x.tensor, x.type, precision);
      return quantized(wide, castTensor(s, scale.type, precision), z, type, ctx.attrs.int('saturate', 1) !== 0);
    });
  },
  DequantizeLinear: (inputs, ctx) => {
    const [x, scale, zero] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), optionalTensorAt(inputs, 2, ctx)];
    const type = typeOrUndefined('output_dtype', ctx) ?? scale.type;
    return computed(type, () => {
      const [s, z] = parameters(x, scale, zero, ctx);
      const real = dequantized(x.tensor, x.type, s, z);
      return castTensor(real, real.dtype === 'float64' ? 'float64' : 'float32', type);
    });
  },
  DynamicQuantizeLinear: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const { y, scale, zero } = dynamicallyQuantized(x.tensor);
    return [TensorValue.ofTensor(y, 'uint8'), TensorValue.ofTensor(scale, 'float32'), TensorValue.ofTensor(zero, 'uint8')];
  },
} satisfies OpTable;

interface DynamicallyQuantized {
  /** uint8, the shape of the input. */
  readonly y: Tensor;
  /** float32, no dimensions. */
  readonly scale: Tensor;
  /** uint8, no dimensions. */
  readonly zero: Tensor;
}

/** The range of x, widened to hold 0, over all 256 values of uint8. */
export function dynamicallyQuantized(x: Tensor): DynamicallyQuantized {
  const low = minimum(amin(x), 0);
  const range = div(sub(maximum(amax(x), 0), low), 255);
  // Nothing but zeros: any scale will do.
  const scale = where(eq(range, 0), 1, range);
  const zero = cast(round(clamp(div(neg(low), scale), { min: 0, max: 255 })), 'uint8');
  return { y: quantized(x, scale, zero, 'uint8'), scale, zero };
}
