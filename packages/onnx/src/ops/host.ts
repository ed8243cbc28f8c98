/** Arithmetic on the host: what a graph computes from shapes and small constants needs no device, and stays known while it is recorded. */
import { isFloatType, type RoundingOptions, roundNumber } from '../engine/carrier.js';
import { type ElementType, elementInfo, type HostArray } from '../engine/element-type.js';
import { TensorValue, type Value } from '../engine/value.js';

type Shape = readonly number[];

/** Elements up to which known values are computed on the host. */
export const hostLimit = 1024;

/** Whether all inputs are known, small, and numbers: then the operator works on the host. */
export function foldsOnHost(inputs: readonly (Value | null)[]): boolean {
  return inputs.every((value) => {
    if (value === null) return true;
    if (value.kind !== 'tensor' || !value.isKnown || elementInfo[value.type].carrier === null) return false;
    return count(value.shape) <= hostLimit;
  });
}

function count(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export type HostNumbers = Exclude<HostArray, readonly string[]>;

/** Zeros in the array kind of a type that is no string. */
export function hostArray(type: ElementType, length: number): HostNumbers {
  switch (type) {
    case 'float64':
    case 'complex128':
      return new Float64Array(type === 'complex128' ? 2 * length : length);
    case 'int8':
    case 'int4':
    case 'int2':
      return new Int8Array(length);
    case 'uint8':
    case 'uint4':
    case 'uint2':
    case 'bool':
      return new Uint8Array(length);
    case 'int16':
      return new Int16Array(length);
    case 'uint16':
      return new Uint16Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'uint32':
      return new Uint32Array(length);
    case 'int64':
      return new BigInt64Array(length);
    case 'uint64':
      return new BigUint64Array(length);
    default:
      return new Float32Array(type === 'complex64' ? 2 * length : length);
  }
}

/** Writes numbers the way the type takes them: integers wrap, narrow floats round, bool is 0 or 1. */
export function hostWriter(type: ElementType, length: number, options: RoundingOptions = {}): HostWriter {
  const data = hostArray(type, length);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return { data, set: (i, value) => (data[i] = typeof value === 'bigint' ? value : toBigInt(value)) };
  }
  const { bits } = elementInfo[type];
  const plain = (value: number | bigint): number => (typeof value === 'bigint' ? wrapped(value, bits) : value);
  if (type === 'bool') return { data, set: (i, value) => (data[i] = Number(value) === 0 ? 0 : 1) };
  if (isFloatType(type)) return { data, set: (i, value) => (data[i] = roundNumber(Number(value), type, options)) };
  if (bits < 8) {
    const sign = type.startsWith('int') ? 2 ** (bits - 1) : 0;
    const mask = 2 ** bits - 1;
    return { data, set: (i, value) => (data[i] = ((Math.trunc(plain(value)) & mask) ^ sign) - sign) };
  }
  return { data, set: (i, value) => (data[i] = plain(value)) };
}

interface HostWriter {
  readonly data: HostNumbers;
  set(i: number, value: number | bigint): void;
}

/** The low bits of a large integer, exact as a number. */
function wrapped(value: bigint, bits: number): number {
  return Number(BigInt.asIntN(bits < 32 ? 32 : bits, value));
}

function toBigInt(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}

/** The shape that all broadcast to; undefined where extents clash. */
function broadcastShape(shapes: readonly Shape[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const result = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const lead = rank - shape.length;
    for (let axis = 0; axis < shape.length; axis++) {
      const extent = shape[axis];
      const known = result[lead + axis];
      if (extent !== known && extent !== 1 && known !== 1) return undefined;
      if (known === 1) result[lead + axis] = extent;
    }
  }
  return result;
}

/** Position in a tensor of `shape` of each element of the shape it is broadcast to. */
function broadcastPositions(shape: Shape, to: Shape): Int32Array {
  const lead = to.length - shape.length;
  let positions = Int32Array.of(0);
  let stride = count(shape);
  for (let axis = 0; axis < to.length; axis++) {
    const extent = axis < lead ? 1 : shape[axis - lead];
    if (axis >= lead) stride = extent === 0 ? 0 : stride / extent;
    const step = extent === 1 ? 0 : stride;
    const next = new Int32Array(positions.length * to[axis]);
    let k = 0;
    for (const base of positions) for (let i = 0; i < to[axis]; i++) next[k++] = base + i * step;
    positions = next;
  }
  return positions;
}

/** A function of numbers, in both forms JavaScript has; without `bigint` 64-bit integers go through numbers. */
export interface HostRule {
  number(...values: number[]): number;
  bigint?(...values: bigint[]): bigint;
}

type Compare = (x: number | bigint, y: number | bigint) => boolean;
/** A comparison works on both kinds alike. */
export function comparison(compare: Compare): HostRule {
  return { number: (x, y) => Number(compare(x, y)), bigint: (x, y) => BigInt(compare(x, y)) };
}

/** Applies a rule to known values that broadcast, all of one type but for what the rule makes of it. */
export function hostMap(values: readonly TensorValue[], type: ElementType, rule: HostRule): TensorValue | undefined {
  const shape = broadcastShape(values.map((value) => value.shape));
  if (shape === undefined) return undefined;
  const positions = values.map((value) => broadcastPositions(value.shape, shape));
  const arrays = values.map((value) => value.host as HostNumbers);
  const writer = hostWriter(type, count(shape));
  const { bigint } = rule;
  if (bigint !== undefined && arrays.every((array) => array instanceof BigInt64Array || array instanceof BigUint64Array)) {
    for (let i = 0; i < writer.data.length; i++) writer.set(i, bigint(...arrays.map((array, k) => array[positions[k][i]] as bigint)));
  } else {
    for (let i = 0; i < writer.data.length; i++) writer.set(i, rule.number(...arrays.map((array, k) => Number(array[positions[k][i]]))));
  }
  return TensorValue.ofHost(writer.data, type, shape);
}

/** Elements of `a` where the condition holds, else of `b`; strings too. */
export function hostWhere(condition: TensorValue, a: TensorValue, b: TensorValue): TensorValue | undefined {
  const shape = broadcastShape([condition.shape, a.shape, b.shape]);
  if (shape === undefined) return undefined;
  const [mask, x, y] = [condition, a, b].map((value) => broadcastPositions(value.shape, shape));
  const holds = condition.host;
  if (a.type === 'string') {
    const [from, other] = [a.host as readonly string[], b.host as readonly string[]];
    const data = Array.from(mask, (at, i) => (holds[at] ? from[x[i]] : other[y[i]]));
    return TensorValue.ofHost(data, 'string', shape);
  }
  const writer = hostWriter(a.type, count(shape));
  const [from, other] = [a.host as HostNumbers, b.host as HostNumbers];
  for (let i = 0; i < mask.length; i++) writer.set(i, holds[mask[i]] ? from[x[i]] : other[y[i]]);
  return TensorValue.ofHost(writer.data, a.type, shape);
}

/** Compares strings that broadcast. */
export function hostStringsEqual(a: TensorValue, b: TensorValue): TensorValue | undefined {
  const shape = broadcastShape([a.shape, b.shape]);
  if (shape === undefined) return undefined;
  const [x, y] = [a, b].map((value) => broadcastPositions(value.shape, shape));
  const data = Uint8Array.from(x, (at, i) => Number(a.host[at] === b.host[y[i]]));
  return TensorValue.ofHost(data, 'bool', shape);
}

/** Joins strings that broadcast, pair by pair. */
export function hostStringsJoined(a: TensorValue, b: TensorValue): TensorValue | undefined {
  const shape = broadcastShape([a.shape, b.shape]);
  if (shape === undefined) return undefined;
  const [x, y] = [a, b].map((value) => broadcastPositions(value.shape, shape));
  return TensorValue.ofHost(
    Array.from(x, (at, i) => `${a.host[at]}${b.host[y[i]]}`),
    'string',
    shape,
  );
}

/** A fold over axes: what starts it, and the step. 64-bit integers stay exact. */
export interface HostFold {
  /** Result of nothing; undefined: the first element starts. */
  readonly start?: number;
  number(total: number, value: number): number;
  bigint(total: bigint, value: bigint): bigint;
}

/** Folds a known value over axes (from 0, each once); the shape drops them, or keeps extent 1. Undefined for an empty fold without start. */
export function hostReduce(x: TensorValue, axes: readonly number[], keepdims: boolean, fold: HostFold): TensorValue | undefined {
  const kept = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  const writer = hostWriter(x.type, count(kept));
  const totals = new Array<number | bigint | undefined>(writer.data.length).fill(undefined);
  const data = x.host as HostNumbers;
  const isBig = data instanceof BigInt64Array || data instanceof BigUint64Array;
  if (fold.start !== undefined) totals.fill(isBig ? BigInt(fold.start) : fold.start);
  const target = broadcastPositions(kept, x.shape);
  for (let i = 0; i < target.length; i++) {
    const total = totals[target[i]];
    const value = data[i];
    if (total === undefined) totals[target[i]] = value;
    else if (typeof total === 'bigint' && typeof value === 'bigint') totals[target[i]] = fold.bigint(total, value);
    else totals[target[i]] = fold.number(Number(total), Number(value));
  }
  for (const [i, total] of totals.entries()) {
    if (total === undefined) return undefined;
    writer.set(i, total);
  }
  return TensorValue.ofHost(writer.data, x.type, keepdims ? kept : kept.filter((_, axis) => !axes.includes(axis)));
}

/** A known value in another type; strings are read and written as the ONNX specification of Cast says. */
export function hostCast(x: TensorValue, to: ElementType, options: RoundingOptions = {}): TensorValue {
  if (x.type === to) return x;
  const length = count(x.shape);
  if (to === 'string') {
    const write = numberWriter(x.type);
    return TensorValue.ofHost(Array.from(x.host as ArrayLike<number | bigint>, write), 'string', x.shape);
  }
  const writer = hostWriter(to, length, options);
  if (x.type === 'string') {
    const isWhole = !isFloatType(to) && to !== 'bool';
    for (let i = 0; i < length; i++) writer.set(i, isWhole ? wholeNumber(String(x.host[i])) : parsedNumber(String(x.host[i])));
  } else {
    const data = x.host as HostNumbers;
    for (let i = 0; i < length; i++) writer.set(i, data[i]);
  }
  return TensorValue.ofHost(writer.data, to, x.shape);
}

/** Large integers keep all digits. */
function wholeNumber(text: string): number | bigint {
  return /^\s*[+-]?\d+\s*$/.test(text) ? BigInt(text.trim().replace(/^\+/, '')) : parsedNumber(text);
}

function parsedNumber(text: string): number {
  const word = text.trim().toLowerCase();
  const infinite = /^([+-]?)inf(inity)?$/.exec(word);
  if (infinite !== null) return infinite[1] === '-' ? -Infinity : Infinity;
  return word === '' ? NaN : Number(word);
}

/** How elements of a type are written: the fewest digits that read back as the same element. */
function numberWriter(type: ElementType): (value: number | bigint) => string {
  return (value) => {
    if (typeof value === 'bigint' || !isFloatType(type)) return value.toString();
    if (Number.isNaN(value)) return 'NaN';
    if (!Number.isFinite(value)) return value < 0 ? '-INF' : 'INF';
    if (type === 'float64') return String(value);
    for (let digits = 1; digits <= 9; digits++) {
      const text = value.toPrecision(digits);
      if (roundNumber(Number(text), type) === value) return String(Number(text));
    }
    return String(value);
  };
}
