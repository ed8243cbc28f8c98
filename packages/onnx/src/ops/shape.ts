/** Shapes: reading them and giving tensors others. */
import { expand, permute, reshape, tile } from 'trireme';
import type { TensorValue } from '../engine/value.js';
import { axesOf, axisOf, int64Value, numbersAt, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import { moved, reshaped, type Shape, sizeOf, stridedPositions, stridesOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';

/** The value with another shape of as many elements. */
function withShape(x: TensorValue, shape: Shape): TensorValue {
  return reshaped(x, shape, (t) => reshape(t, shape));
}

/** Fills in -1, and 0 as the extent that `from` has there. */
function targetShape(from: Shape, wanted: readonly number[], allowZero: boolean, ctx: OpContext): number[] {
  const shape = wanted.map((extent, i) => {
    if (extent !== 0 || allowZero) return extent;
    return from[i] ?? ctx.fail(`extent ${i} is to be copied from a tensor of ${from.length} dimensions`);
  });
  const hole = shape.indexOf(-1);
  if (hole >= 0) {
    const rest = shape.reduce((product, extent, i) => (i === hole ? product : product * extent), 1);
    shape[hole] = rest === 0 ? 0 : sizeOf(from) / rest;
  }
  if (sizeOf(shape) !== sizeOf(from) || shape.some((extent) => !Number.isInteger(extent) || extent < 0)) {
    ctx.fail(`[${from.join(', ')}] does not fit shape [${wanted.join(', ')}]`, 'as many elements');
  }
  return shape;
}

/** The shape that two broadcast to. */
function broadcast(a: Shape, b: Shape, ctx: OpContext): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [m, n] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (m === n || n === 1) return m;
    return m === 1 ? n : ctx.fail(`[${a.join(', ')}] does not broadcast with [${b.join(', ')}]`);
  });
}

/** {@link permute} for values. */
export function permuted(x: TensorValue, order: readonly number[]): TensorValue {
  const shape = order.map((axis) => x.shape[axis]);
  const strides = stridesOf(x.shape);
  return moved(
    x,
    shape,
    () =>
      stridedPositions(
        shape,
        order.map((axis) => strides[axis]),
      ),
    (t) => permute(t, order),
  );
}

/** Repeats of each axis, from the input or, up to opset 5, from a number and an axis. */
function repeatsOf(x: TensorValue, counts: readonly number[], axis: TensorValue | null, ctx: OpContext): number[] {
  const rank = x.shape.length;
  if (ctx.opset < 6 && axis !== null) {
    return new Array<number>(rank).fill(1).with(axisOf(numbersOf(axis)[0], rank, ctx), counts[0]);
  }
  return counts.length === rank ? [...counts] : ctx.fail(`${counts.length} repeats for ${rank} dimensions`, 'one a dimension');
}

export const shapeOps = {
  Shape: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return int64Value(x.shape.slice(ctx.attrs.int('start', 0), ctx.attrs.optionalInt('end')));
  },
  Size: (inputs, ctx) => int64Value([sizeOf(tensorAt(inputs, 0, ctx).shape)], []),
  Reshape: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const wanted = numbersAt(inputs, 1, 'shape', ctx) ?? ctx.fail('there is no shape');
    return withShape(x, targetShape(x.shape, wanted, ctx.attrs.int('allowzero', 0) !== 0, ctx));
  },
  Flatten: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const rank = x.shape.length;
    const axis = ctx.attrs.int('axis', 1);
    if (axis < -rank || axis > rank) ctx.fail(`axis ${axis} of ${rank} dimensions`);
    const at = axis < 0 ? axis + rank : axis;
    return withShape(x, [sizeOf(x.shape.slice(0, at)), sizeOf(x.shape.slice(at))]);
  },
  Squeeze: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const wanted = numbersAt(inputs, 1, 'axes', ctx);
    const axes = wanted === undefined ? x.shape.flatMap((extent, i) => (extent === 1 ? [i] : [])) : axesOf(wanted, x.shape.length, ctx);
    const odd = axes.find((axis) => x.shape[axis] !== 1);
    if (odd !== undefined) ctx.fail(`axis ${odd} of [${x.shape.join(', ')}] cannot go`, 'an extent of 1');
    return withShape(
      x,
      x.shape.filter((_, i) => !axes.includes(i)),
    );
  },
  Unsqueeze: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const wanted = numbersAt(inputs, 1, 'axes', ctx) ?? ctx.fail('there are no axes');
    const rank = x.shape.length + wanted.length;
    const axes = new Set(axesOf(wanted, rank, ctx));
    if (axes.size !== wanted.length) ctx.fail(`axes [${wanted.join(', ')}]`, 'each axis once');
    const rest = x.shape.values();
    return withShape(
      x,
      Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : (rest.next().value ?? 1))),
    );
  },
  Transpose: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const rank = x.shape.length;
    const order = axesOf(ctx.attrs.optionalInts('perm') ?? x.shape.map((_, i) => rank - 1 - i), rank, ctx);
    if (order.length !== rank || new Set(order).size !== rank) {
      ctx.fail(`perm [${order.join(', ')}] for ${rank} dimensions`, 'each axis once');
    }
    return permuted(x, order);
  },
  Expand: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const shape = broadcast(x.shape, numbersOf(tensorAt(inputs, 1, ctx)), ctx);
    const strides = stridesOf(x.shape);
    const lead = shape.length - x.shape.length;
    return moved(
      x,
      shape,
      () =>
        stridedPositions(
          shape,
          shape.map((_, i) => (i < lead || x.shape[i - lead] === 1 ? 0 : strides[i - lead])),
        ),
      (t) => expand(t, shape),
    );
  },
  Tile: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const repeats = repeatsOf(x, numbersOf(tensorAt(inputs, 1, ctx)), optionalTensorAt(inputs, 2, ctx), ctx);
    if (repeats.every((count) => count === 1)) return x;
    const strides = stridesOf(x.shape);
    const spread = x.shape.flatMap((extent, i) => [repeats[i], extent]);
    return moved(
      x,
      x.shape.map((extent, i) => extent * repeats[i]),
      () =>
        stridedPositions(
          spread,
          strides.flatMap((stride) => [0, stride]),
        ),
      (t) => tile(t, repeats),
    );
  },
} satisfies OpTable;
