/** Choosing and marking elements by their values. */
import { add, cast, eq, lt, reshape, select, topk, unsqueeze, where } from 'trireme';
import { inOrder } from '../engine/carrier.js';
import type { HostArray } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { axisOf, int64Value, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import { copyElements, countTo, emptyLike, isHostType, onHost, pickAlong, reshaped, sizeOf, steps, stridesOf, widthOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';
import { computed } from './tensors.js';

/** Whether each element is other than 0 (an empty string, false). */
function truths(x: TensorValue): boolean[] {
  const width = widthOf(x.type);
  const host: ArrayLike<number | bigint | string> = x.host;
  const isTrue = (value: number | bigint | string): boolean => (typeof value === 'string' ? value !== '' : Number(value) !== 0);
  return Array.from({ length: sizeOf(x.shape) }, (_, i) => isTrue(host[i * width]) || (width === 2 && isTrue(host[2 * i + 1])));
}

/** Flat numbers of the true ones. */
function whereTrue(list: readonly boolean[]): number[] {
  return list.flatMap((value, i) => (value ? [i] : []));
}

function flat(x: TensorValue): TensorValue {
  const shape = [sizeOf(x.shape)];
  return reshaped(x, shape, (t) => reshape(t, shape));
}

type Entry = number | bigint | string;

/** NaN counts as larger than everything, and as equal to itself. */
function compare(a: Entry, b: Entry): number {
  if (a < b) return -1;
  if (a > b) return 1;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}

interface Groups {
  /** Positions of the first occurrence of each, in the order of the result. */
  readonly first: readonly number[];
  /** For each item the group it is in. */
  readonly group: readonly number[];
  readonly counts: readonly number[];
}

/** Groups `count` items of equal content: in ascending order, or in that of their first occurrence. */
function groupsOf(count: number, order: (a: number, b: number) => number, sorted: boolean): Groups {
  const items = Array.from(countTo(count)).sort((a, b) => order(a, b) || a - b);
  const runs: number[][] = [];
  items.forEach((item, i) => {
    if (i > 0 && order(items[i - 1], item) === 0) runs[runs.length - 1].push(item);
    else runs.push([item]);
  });
  // Equal items stand in the order of their positions, so the first of a run is its first occurrence.
  if (!sorted) runs.sort((a, b) => a[0] - b[0]);
  const group = new Array<number>(count);
  runs.forEach((run, k) => {
    for (const item of run) group[item] = k;
  });
  return { first: runs.map((run) => run[0]), group, counts: runs.map((run) => run.length) };
}

function uniqueSlices(x: TensorValue, axis: number, sorted: boolean): Groups {
  const host: ArrayLike<Entry> = x.host;
  const stride = stridesOf(x.shape)[axis];
  const extent = x.shape[axis];
  const lead = sizeOf(x.shape.slice(0, axis));
  const order = (a: number, b: number): number => {
    for (let outer = 0; outer < lead; outer++) {
      const base = outer * extent * stride;
      for (let inner = 0; inner < stride; inner++) {
        const difference = compare(host[base + a * stride + inner], host[base + b * stride + inner]);
        if (difference !== 0) return difference;
      }
    }
    return 0;
  };
  return groupsOf(extent, order, sorted);
}

/** A result of two values, one of which `isOn` chooses for each place, on the host. */
function marked(values: TensorValue, shape: readonly number[], isOn: (place: number) => boolean): TensorValue {
  const picks = countTo(sizeOf(shape)).map((place) => Number(isOn(place)));
  const result: HostArray = emptyLike(values.host, values.type, picks.length);
  copyElements(values.host, picks, result, null, values.type);
  return TensorValue.ofHost(result, values.type, shape);
}

function topkSize(inputs: Parameters<OpTable[string]>[0], ctx: OpContext): number {
  const given = optionalTensorAt(inputs, 1, ctx);
  return given === null ? ctx.attrs.int('k') : numbersOf(given)[0];
}

export const selectOps = {
  OneHot: (inputs, ctx) => {
    const index = tensorAt(inputs, 0, ctx);
    const [depth] = numbersOf(tensorAt(inputs, 1, ctx)).map(Math.trunc);
    const values = tensorAt(inputs, 2, ctx);
    const axis = axisOf(ctx.attrs.int('axis', -1), index.shape.length + 1, ctx);
    if (sizeOf(values.shape) !== 2) ctx.fail(`values of shape [${values.shape.join(', ')}]`, 'two values: off and on');
    const shape = index.shape.toSpliced(axis, 0, depth);
    if (onHost(index, values)) {
      const positions = numbersOf(index).map((value) => (value < 0 ? Math.trunc(value) + depth : Math.trunc(value)));
      const stride = stridesOf(shape)[axis];
      return marked(values, shape, (place) => {
        const outer = Math.floor(place / (stride * depth));
        return positions[outer * stride + (place % stride)] === Math.floor(place / stride) % depth;
      });
    }
    return computed(values.type, () => {
      const position = cast(index.tensor, 'int64');
      const place = unsqueeze(where(lt(position, 0), add(position, depth), position), axis);
      const pair = values.tensor;
      return where(eq(place, steps(depth, axis, shape.length)), select(pair, 0, 1), select(pair, 0, 0));
    });
  },
  NonZero: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const found = whereTrue(truths(x));
    const strides = stridesOf(x.shape);
    const rows = x.shape.flatMap((extent, axis) => found.map((position) => Math.floor(position / strides[axis]) % extent));
    return int64Value(rows, [x.shape.length, found.length]);
  },
  Compress: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const condition = truths(tensorAt(inputs, 1, ctx));
    const given = ctx.attrs.optionalInt('axis');
    const source = given === undefined ? flat(x) : x;
    const axis = axisOf(given ?? 0, source.shape.length, ctx);
    if (condition.length > source.shape[axis]) {
      ctx.fail(`a condition of ${condition.length} elements for an axis of ${source.shape[axis]}`, 'at most as many');
    }
    return pickAlong(source, axis, whereTrue(condition));
  },
  Unique: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    if (widthOf(x.type) > 1) ctx.fail(`elements of ${x.type}`, 'elements that have an order');
    const given = ctx.attrs.optionalInt('axis');
    const source = given === undefined ? flat(x) : x;
    const axis = axisOf(given ?? 0, source.shape.length, ctx);
    const { first, group, counts } = uniqueSlices(source, axis, ctx.attrs.int('sorted', 1) !== 0);
    return [pickAlong(source, axis, first), int64Value(first), int64Value(group), int64Value(counts)];
  },
  TopK: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(ctx.attrs.int('axis', -1), x.shape.length, ctx);
    const size = x.shape[axis] ?? 1;
    const k = topkSize(inputs, ctx);
    if (k < 0 || k > size) ctx.fail(`k is ${k}, and there are ${size} elements along axis ${axis}`, `0 to ${size}`);
    const options = { largest: ctx.attrs.int('largest', 1) !== 0 };
    if (isHostType(x.type)) ctx.fail(`elements of ${x.type}`, 'numbers');
    // Unsorted results may come in any order, so they are sorted too.
    const { values, indices } = topk(inOrder(x.tensor, x.type), k, axis, options);
    return [TensorValue.ofTensor(inOrder(values, x.type), x.type), TensorValue.ofTensor(indices, 'int64')];
  },
} satisfies OpTable;
