/** Joining, cutting and surrounding tensors. */
import { concat, indexSelect, pad, resolveSlice, type Tensor, takeSlice, tensor, tril, triu, where } from 'trireme';
import type { HostArray } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { axesOf, axisOf, numbersAt, numbersOf, optionalTensorAt, tensorAt, tensorsOf } from './arguments.js';
import { arranged, copyElements, countTo, emptyLike, gridPositions, moved, onHost, positionTensor, type Shape, sizeOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';

/** One behind the other along the axis. */
export function concatenated(values: readonly TensorValue[], axis: number, ctx: OpContext): TensorValue {
  const [first] = values;
  if (first === undefined) return ctx.fail('there are no inputs', 'at least one');
  const odd = values.find(
    ({ type, shape }) =>
      type !== first.type || shape.length !== first.shape.length || shape.some((n, i) => i !== axis && n !== first.shape[i]),
  );
  if (odd !== undefined) {
    ctx.fail(
      `${first.type} [${first.shape.join(', ')}] and ${odd.type} [${odd.shape.join(', ')}] do not line up`,
      `one type, and equal extents except along axis ${axis}`,
    );
  }
  if (values.length === 1) return first;
  if (!onHost(...values)) {
    return TensorValue.ofTensor(
      concat(
        values.map((value) => value.tensor),
        axis,
      ),
      first.type,
    );
  }
  const shape = first.shape.with(
    axis,
    values.reduce((total, value) => total + value.shape[axis], 0),
  );
  const result = emptyLike(first.host, first.type, sizeOf(shape));
  let start = 0;
  for (const value of values) {
    const from = start;
    start += value.shape[axis];
    const target = gridPositions(
      shape,
      value.shape.map((extent, i) => (i === axis ? countTo(extent).map((k) => k + from) : countTo(extent))),
    );
    copyElements(value.host, countTo(target.length), result, target, first.type);
  }
  return TensorValue.ofHost(result, first.type, shape);
}

/** `count` elements of an axis from `start` on, `step` apart. */
export function sliced(x: TensorValue, axis: number, start: number, count: number, step = 1): TensorValue {
  if (start === 0 && step === 1 && count === x.shape[axis]) return x;
  return moved(
    x,
    x.shape.with(axis, count),
    () =>
      gridPositions(
        x.shape,
        x.shape.map((extent, i) => (i === axis ? countTo(count).map((k) => start + k * step) : countTo(extent))),
      ),
    (t) => takeSlice(t, axis, { start, count, step }),
  );
}

/** Lengths of the parts: given, or as even as they can be. */
function partLengths(size: number, given: readonly number[] | undefined, ctx: OpContext): readonly number[] {
  if (given !== undefined) {
    if (given.reduce((a, b) => a + b, 0) !== size || given.some((n) => n < 0)) {
      ctx.fail(`parts of ${given.join(', ')} of an axis of ${size} elements`, 'lengths that add up to it');
    }
    return given;
  }
  const count = ctx.attrs.int('num_outputs', ctx.outputCount);
  const length = Math.ceil(size / count);
  return Array.from({ length: count }, (_, k) => Math.max(0, Math.min(length, size - k * length)));
}

interface Amounts {
  readonly low: readonly number[];
  readonly high: readonly number[];
}

/** Source position of each element of a padded axis. What is cut off is cut off first. */
function paddedPositions(size: number, low: number, high: number, mode: string, ctx: OpContext): Int32Array {
  if (low === 0 && high === 0) return countTo(size);
  const start = Math.max(0, -low);
  const rest = size - start - Math.max(0, -high);
  const length = Math.max(0, size + low + high);
  if (mode === 'constant') return countTo(length).map((i) => (i - low >= 0 && i - low < size ? i - low : -1));
  if (rest <= 0 && length > 0) ctx.fail(`${mode} padding of an axis without elements`);
  const period = mode === 'reflect' ? Math.max(1, 2 * (rest - 1)) : rest;
  return countTo(length).map((i) => {
    const k = i - Math.max(0, low);
    const wrapped = ((k % period) + period) % period;
    switch (mode) {
      case 'reflect':
        return start + Math.min(wrapped, period - wrapped) * Number(rest > 1);
      case 'edge':
        return start + Math.min(Math.max(k, 0), rest - 1);
      case 'wrap':
        return start + wrapped;
      default:
        return ctx.fail(`mode "${mode}"`, 'constant, reflect, edge or wrap');
    }
  });
}

/** A number for a host value as `pad` takes it: uint64 keeps its bits. */
function scalarOf(host: HostArray): number | bigint {
  const [value] = host;
  if (typeof value === 'bigint') return BigInt.asIntN(64, value);
  return Number(value);
}

function padConstant(x: TensorValue, { low, high }: Amounts, value: TensorValue | null, ctx: OpContext): TensorValue {
  const shape = x.shape.map((extent, i) => extent + low[i] + high[i]);
  if (shape.some((extent) => extent < 0)) ctx.fail(`[${x.shape.join(', ')}] cannot lose so much`, 'to cut off at most what is there');
  if (onHost(x) && (value === null || value.isKnown || onHost(value))) {
    const along = x.shape.map((extent, i) => paddedPositions(extent, low[i], high[i], 'constant', ctx));
    return arranged(x, shape, gridPositions(x.shape, along), value?.host ?? null);
  }
  const amounts = low.flatMap((n, i) => [n, high[i]]);
  // The last axis goes first, each with what is in front of it before what is behind.
  const order = low.flatMap((_, i) => [amounts[2 * (low.length - 1 - i)], amounts[2 * (low.length - 1 - i) + 1]]);
  const t = x.tensor;
  if (value === null || value.isKnown) {
    const fill = value === null ? 0 : scalarOf(value.host);
    return TensorValue.ofTensor(pad(t, order, { value: t.dtype === 'bool' ? Number(fill) !== 0 : fill }), x.type);
  }
  const inside = TensorValue.ofHost(new Uint8Array(sizeOf(x.shape)).fill(1), 'bool', x.shape).tensor;
  return TensorValue.ofTensor(where(pad(inside, order, { value: false }), pad(t, order), value.tensor.reshape([])), x.type);
}

/** Pads every axis. @throws FormatError for an unknown mode, or an axis that has nothing to repeat */
export function padded(x: TensorValue, amounts: Amounts, mode: string, value: TensorValue | null, ctx: OpContext): TensorValue {
  const { low, high } = amounts;
  if (low.every((n, i) => n === 0 && high[i] === 0)) return x;
  if (mode === 'constant') return padConstant(x, amounts, value, ctx);
  const along = x.shape.map((extent, i) => paddedPositions(extent, low[i], high[i], mode, ctx));
  return moved(
    x,
    along.map((list) => list.length),
    () => gridPositions(x.shape, along),
    (t) =>
      along.reduce(
        (current: Tensor, list, axis) => (low[axis] === 0 && high[axis] === 0 ? current : indexSelect(current, axis, positionTensor(list))),
        t,
      ),
  );
}

/** The value around the tensor: an input, or a float attribute up to opset 10. */
function padValue(x: TensorValue, given: TensorValue | null, ctx: OpContext): TensorValue | null {
  if (given !== null) return given;
  const value = ctx.attrs.float('value', 0);
  if (value === 0) return null;
  return TensorValue.ofTensor(tensor(value, { dtype: x.tensor.dtype }), x.type);
}

/** Amounts for each axis from begin values followed by end values for the chosen axes. */
function amountsFor(rank: number, pads: readonly number[], axes: readonly number[], ctx: OpContext): Amounts {
  if (pads.length !== 2 * axes.length) ctx.fail(`${pads.length} pads for ${axes.length} axes`, 'two for each axis');
  const low = new Array<number>(rank).fill(0);
  const high = new Array<number>(rank).fill(0);
  axes.forEach((axis, i) => {
    low[axis] = pads[i];
    high[axis] = pads[axes.length + i];
  });
  return { low, high };
}

function trianglePositions(shape: Shape, k: number, upper: boolean): Int32Array {
  const [rows, columns] = shape.slice(-2);
  return countTo(sizeOf(shape)).map((i) => {
    const distance = (i % columns) - (Math.floor(i / columns) % rows);
    return (upper ? distance >= k : distance <= k) ? i : -1;
  });
}

export const partOps = {
  Concat: (inputs, ctx) => {
    const values = tensorsOf(inputs, ctx);
    const axis = ctx.opset < 4 ? ctx.attrs.int('axis', 1) : ctx.attrs.int('axis');
    return concatenated(values, axisOf(axis, values[0]?.shape.length ?? 1, ctx), ctx);
  },
  Split: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(ctx.attrs.int('axis', 0), x.shape.length, ctx);
    let start = 0;
    return partLengths(x.shape[axis], numbersAt(inputs, 1, 'split', ctx), ctx).map((length) => {
      const part = sliced(x, axis, start, length);
      start += length;
      return part;
    });
  },
  Slice: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const starts = numbersAt(inputs, 1, 'starts', ctx) ?? ctx.fail('there are no starts');
    const ends = numbersAt(inputs, 2, 'ends', ctx) ?? ctx.fail('there are no ends');
    const axes = axesOf(numbersAt(inputs, 3, 'axes', ctx) ?? starts.map((_, i) => i), x.shape.length, ctx);
    const steps = numbersAt(inputs, 4, 'steps', ctx) ?? starts.map(() => 1);
    if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
      ctx.fail(`${starts.length} starts, ${ends.length} ends, ${axes.length} axes and ${steps.length} steps`, 'as many of each');
    }
    return axes.reduce((rest, axis, i) => {
      const { start, count, step } = resolveSlice([starts[i], ends[i], steps[i]], x.shape[axis], 'Slice');
      return sliced(rest, axis, start, count, step);
    }, x);
  },
  Pad: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const rank = x.shape.length;
    const pads = numbersAt(inputs, 1, ctx.opset < 2 ? 'paddings' : 'pads', ctx) ?? ctx.fail('there are no pads');
    const axes = optionalTensorAt(inputs, 3, ctx);
    const chosen = axes === null ? x.shape.map((_, i) => i) : axesOf(numbersOf(axes), rank, ctx);
    const mode = ctx.attrs.string('mode', 'constant');
    const value = mode === 'constant' ? padValue(x, optionalTensorAt(inputs, 2, ctx), ctx) : null;
    return padded(x, amountsFor(rank, pads, chosen, ctx), mode, value, ctx);
  },
  CenterCropPad: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const rank = x.shape.length;
    const wanted = numbersOf(tensorAt(inputs, 1, ctx));
    const axes = axesOf(ctx.attrs.optionalInts('axes') ?? x.shape.map((_, i) => i), rank, ctx);
    if (wanted.length !== axes.length) ctx.fail(`${wanted.length} extents for ${axes.length} axes`, 'one for each axis');
    const growth = axes.map((axis, i) => wanted[i] - x.shape[axis]);
    // The odd element is added, or cut off, behind.
    const front = growth.map((n) => Math.trunc(n / 2));
    const amounts = amountsFor(rank, [...front, ...growth.map((n, i) => n - front[i])], axes, ctx);
    return padded(x, amounts, 'constant', null, ctx);
  },
  Trilu: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    if (x.shape.length < 2) ctx.fail(`shape [${x.shape.join(', ')}]`, 'at least two dimensions');
    const given = optionalTensorAt(inputs, 1, ctx);
    const k = given === null ? 0 : numbersOf(given)[0];
    const upper = ctx.attrs.int('upper', 1) !== 0;
    if (sizeOf(x.shape) === 0) return x;
    return moved(
      x,
      x.shape,
      () => trianglePositions(x.shape, k, upper),
      (t) => (upper ? triu(t, k) : tril(t, k)),
    );
  },
} satisfies OpTable;
