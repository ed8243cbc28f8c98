/** Reductions, positions of extremes, and running sums. */
import {
  abs,
  all,
  amax,
  amin,
  any,
  argmax,
  argmin,
  cast,
  concat,
  cumprod,
  cumsum,
  flip,
  floorDivide,
  fmod,
  full,
  log,
  logsumexp,
  mean,
  mul,
  narrow as narrowAxis,
  norm,
  prod,
  reshape,
  rsub,
  sub,
  sum,
  type Tensor,
} from 'trireme';
import { inOrder, integerRange, isFloatType, isUnsignedType, narrow } from '../engine/carrier.js';
import { type ElementType, elementInfo } from '../engine/element-type.js';
import type { TensorValue, Value } from '../engine/value.js';
import { axesOf, axisOf, numbersAt, numbersOf, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { isFloatCarrier } from './elementwise.js';
import { foldsOnHost, type HostFold, hostReduce } from './host.js';
import { computed } from './tensors.js';

type Reduction = (x: Tensor, axes: readonly number[], keepdims: boolean, type: ElementType) => Tensor;

/** The axes that a node reduces; an empty list means none. */
function reducedAxes(x: TensorValue, inputs: readonly (Value | null)[], ctx: OpContext): readonly number[] {
  const rank = x.shape.length;
  const axes = numbersAt(inputs, 1, 'axes', ctx) ?? [];
  if (axes.length > 0) return [...new Set(axesOf(axes, rank, ctx))].sort((a, b) => a - b);
  return ctx.attrs.int('noop_with_empty_axes', 0) === 0 ? x.shape.map((_, axis) => axis) : [];
}

function reduction(device: Reduction, host?: HostFold): OpFunction {
  return (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axes = reducedAxes(x, inputs, ctx);
    const keepdims = ctx.attrs.int('keepdims', 1) !== 0;
    if (host !== undefined && x.type !== 'bool' && foldsOnHost([x])) {
      const result = hostReduce(x, axes, keepdims, host);
      if (result !== undefined) return result;
    }
    return computed(x.type, () => reduceAlong(x, axes, keepdims, device));
  };
}

/** The device reduces at least one axis: over none, the elements are sets of one along an axis made for that. */
function reduceAlong(x: TensorValue, axes: readonly number[], keepdims: boolean, device: Reduction): Tensor {
  const { type } = x;
  const carrier = x.tensor.dtype;
  if (axes.length === 0) return narrow(cast(device(reshape(x.tensor, [...x.shape, 1]), [x.shape.length], false, type), carrier), type);
  return narrow(cast(device(x.tensor, axes, keepdims, type), carrier), type);
}

function keptShape(shape: readonly number[], axes: readonly number[], keepdims: boolean): number[] {
  return keepdims ? shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent)) : shape.filter((_, axis) => !axes.includes(axis));
}

/** Extremes of nothing are the limits of the type. */
function extreme(largest: boolean): Reduction {
  return (x, axes, keepdims, type) => {
    if (axes.some((axis) => x.shape[axis] === 0)) {
      return full(keptShape(x.shape, axes, keepdims), emptyExtreme(type, largest), { dtype: x.dtype });
    }
    if (type === 'bool') return largest ? any(x, axes, keepdims) : all(x, axes, keepdims);
    return inOrder((largest ? amax : amin)(inOrder(x, type), axes, keepdims), type);
  };
}
function emptyExtreme(type: ElementType, largest: boolean): number | bigint | boolean {
  if (type === 'bool') return !largest;
  if (isFloatType(type)) return largest ? -Infinity : Infinity;
  const { min, max } = integerRange(type);
  const limit = largest ? min : max;
  return elementInfo[type].bits === 64 ? BigInt.asIntN(64, limit) : Number(limit);
}

/** Integers: the quotient towards zero. */
const average: Reduction = (x, axes, keepdims, type) => {
  if (isFloatCarrier(type)) return mean(x, axes, keepdims);
  const total = sum(x, axes, keepdims);
  const count = sizeOf(axes.map((axis) => x.shape[axis]));
  return isUnsignedType(type) ? floorDivide(total, count) : floorDivide(sub(total, fmod(total, count)), count);
};

/** A function of real numbers: integers go through float64 and are truncated. */
const real =
  (device: (x: Tensor, axes: readonly number[], keepdims: boolean) => Tensor): Reduction =>
  (x, axes, keepdims, type) =>
    device(isFloatCarrier(type) ? x : cast(x, 'float64'), axes, keepdims);

/** Adds in float32 what is stored in half precision. */
function wideSum(x: Tensor, axes: readonly number[], keepdims: boolean): Tensor {
  return sum(x.dtype === 'float16' || x.dtype === 'bfloat16' ? cast(x, 'float32') : x, axes, keepdims);
}

function extremePosition(largest: boolean): OpFunction {
  const position = largest ? argmax : argmin;
  return (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const rank = x.shape.length;
    const axis = axisOf(ctx.attrs.int('axis', 0), rank, ctx);
    const keepdims = ctx.attrs.int('keepdims', 1) !== 0;
    const last = ctx.attrs.int('select_last_index', 0) !== 0;
    return computed('int64', () => {
      const ordered = inOrder(x.tensor, x.type);
      if (rank === 0) return position(ordered);
      return last ? rsub(position(flip(ordered, [axis]), axis, keepdims), x.shape[axis] - 1) : position(ordered, axis, keepdims);
    });
  };
}

/** Running sums and products; exclusive ones leave out the element itself and start with that of nothing. */
function running(scan: (x: Tensor, axis: number) => Tensor, start: number): OpFunction {
  return (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(numbersOf(tensorAt(inputs, 1, ctx))[0], x.shape.length, ctx);
    const reverse = ctx.attrs.int('reverse', 0) !== 0;
    const exclusive = ctx.attrs.int('exclusive', 0) !== 0;
    return computed(x.type, () => {
      const source = reverse ? flip(x.tensor, [axis]) : x.tensor;
      const totals = narrow(cast(scan(source, axis), source.dtype), x.type);
      const shifted = exclusive ? shiftedBack(totals, axis, start) : totals;
      return reverse ? flip(shifted, [axis]) : shifted;
    });
  };
}
function shiftedBack(x: Tensor, axis: number, start: number): Tensor {
  if (x.shape[axis] === 0) return x;
  const first = full(x.shape.with(axis, 1), start, { dtype: x.dtype });
  return concat([first, narrowAxis(x, axis, 0, x.shape[axis] - 1)], axis);
}

export const reduceOps = {
  ReduceSum: reduction(wideSum, { start: 0, number: (a, b) => a + b, bigint: (a, b) => a + b }),
  ReduceProd: reduction(prod, { start: 1, number: (a, b) => a * b, bigint: (a, b) => a * b }),
  ReduceMax: reduction(extreme(true), { number: Math.max, bigint: (a, b) => (a > b ? a : b) }),
  ReduceMin: reduction(extreme(false), { number: Math.min, bigint: (a, b) => (a < b ? a : b) }),
  ReduceMean: reduction(average),
  ReduceL1: reduction((x, axes, keepdims, type) => wideSum(isUnsignedType(type) ? x : abs(x), axes, keepdims)),
  ReduceL2: reduction(real((x, axes, keepdims) => norm(x, 2, axes, keepdims))),
  ReduceSumSquare: reduction((x, axes, keepdims) => {
    const wide = x.dtype === 'float16' || x.dtype === 'bfloat16' ? cast(x, 'float32') : x;
    const exact = /^u?int(8|16|32)$/.test(wide.dtype) ? cast(wide, 'int64') : wide;
    return sum(mul(exact, exact), axes, keepdims);
  }),
  ReduceLogSum: reduction(real((x, axes, keepdims) => log(wideSum(x, axes, keepdims)))),
  ReduceLogSumExp: reduction(real((x, axes, keepdims) => logsumexp(x, axes, keepdims))),
  ArgMax: extremePosition(true),
  ArgMin: extremePosition(false),
  CumSum: running(cumsum, 0),
  CumProd: running(cumprod, 1),
} satisfies OpTable;
