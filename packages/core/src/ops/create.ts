/** Making tensors. Eagerly the memory is filled at once; in a trace constants are nodes, so that the compiler can fold them. */
import { type DType, dtypeInfo, isFloat } from '../dtype.js';
import { ArgumentError, AutogradError, DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { denseStrides, formatShape, sizeOf } from '../graph/layout.js';
import type { Primitive } from '../graph/primitive.js';
import { encode } from '../tensor/codec.js';
import { defaultDevice } from '../tensor/device.js';
import { apply1, createFromArray, currentTrace } from '../tensor/dispatch.js';
import { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';
import { cast, copy } from './cast.js';
import type { Scalar } from './common.js';
import { stopGradient } from './common.js';
import { computeType, primitive } from './define.js';

export interface TensorOptions {
  readonly dtype?: DType;
  /** Only for floating dtypes. */
  readonly requiresGrad?: boolean;
}

/** Attributes are compared as JSON, which knows neither NaN, infinities, -0 nor bigint: those are written as text. */
function encodeScalar(value: Scalar): number | string | boolean {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) return Object.is(value, -0) ? '-0' : String(value);
  return value;
}

function decodeScalar(value: number | string | boolean): Scalar {
  if (typeof value !== 'string') return value;
  return value.endsWith('n') ? BigInt(value.slice(0, -1)) : Number(value);
}

const fullPrimitive = primitive<{ readonly shape: Shape; readonly value: number | string | boolean; readonly dtype: DType }>({
  name: 'full',
  infer: (_, { shape, dtype }) => [{ dtype, shape }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element: ({ b }, _, { value, dtype }) => [b.const(computeType(dtype), decodeScalar(value))],
  },
  vjp: null,
});

const arangePrimitive = primitive<{ readonly start: number; readonly step: number; readonly length: number; readonly dtype: DType }>({
  name: 'arange',
  infer: (_, { length, dtype }) => [{ dtype, shape: [length] }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b }, [i], { start, step, dtype }) {
      // Floats step in float64, so that the last elements are right.
      const type = isFloat(dtype) ? 'f64' : computeType(dtype) === 'i64' ? 'i64' : 'i32';
      const value = b.add(b.const(type, start), b.mul(b.cast(i, type), b.const(type, step)));
      return [b.cast(value, computeType(dtype))];
    },
  },
  vjp: null,
});

/** PyTorch's rule: a step rounded to the dtype, taken from the nearer end with one rounding. */
function linspaceSteps(
  start: number,
  end: number,
  length: number,
  dtype: DType,
): { readonly first: number; readonly last: number; readonly step: number } {
  const round = dtype === 'float64' ? (x: number) => x : Math.fround;
  const [first, last] = [round(start), round(end)];
  return { first, last, step: round(round(last - first) / Math.max(1, length - 1)) };
}

const linspacePrimitive = primitive<{ readonly start: number; readonly end: number; readonly length: number; readonly dtype: DType }>({
  name: 'linspace',
  infer: (_, { length, dtype }) => [{ dtype, shape: [length] }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b }, [i], { start, end, length, dtype }) {
      const { first, last, step } = linspaceSteps(start, end, length, dtype);
      const up = b.add(b.const('f64', first), b.mul(b.const('f64', step), b.cast(i, 'f64')));
      const down = b.sub(b.const('f64', last), b.mul(b.const('f64', step), b.cast(b.sub(b.i32(length - 1), i), 'f64')));
      const value = b.select(b.binary('lt', i, b.i32(length >> 1)), up, down);
      return [b.cast(length === 1 ? b.const('f64', first) : value, computeType(dtype))];
    },
  },
  vjp: null,
});

export const createPrimitives: readonly Primitive[] = [fullPrimitive, arangePrimitive, linspacePrimitive];

function checkShape(shape: Shape, op: string): Shape {
  if (!Array.isArray(shape) || shape.some((extent) => !Number.isInteger(extent) || extent < 0)) {
    throw new ShapeError(`shape ${JSON.stringify(shape)}`, { op, received: shape, expected: 'an array of whole numbers of at least 0' });
  }
  // A copy: the caller may change its array later.
  return shape.slice();
}

/** Marks a leaf as wanting gradients. @throws DTypeError, AutogradError */
export function setRequiresGrad(t: Tensor, value: boolean): Tensor {
  if (value && !isFloat(t.dtype)) {
    throw new DTypeError(`gradients of ${t.dtype}`, {
      op: 'requiresGrad_',
      received: t.dtype,
      expected: 'a floating dtype',
      fix: "Convert it with to('float32').",
    });
  }
  if (!value && t.gradFn !== null) {
    throw new AutogradError('only leaves can stop requiring gradients', { op: 'requiresGrad_', fix: 'Use detach().' });
  }
  t.requiresGrad = value;
  return t;
}

function finish(t: Tensor, options: TensorOptions): Tensor {
  return options.requiresGrad ? setRequiresGrad(t, true) : t;
}

/** New memory, content undefined. */
function allocate(shape: Shape, dtype: DType): Tensor {
  return new Tensor(Storage.allocate(defaultDevice(), dtype, sizeOf(shape)), shape, denseStrides(shape), 0);
}

/** Bytes of a dense tensor from the start of its storage. */
function bytesOf(t: Tensor): Uint8Array {
  return defaultDevice().bytes(t.storage.address, t.storage.length * dtypeInfo[t.dtype].bytes);
}

/** A tensor of one value. float32 for numbers, int64 for bigints, bool for booleans, unless `dtype` is given. */
export function full(shape: Shape, value: Scalar, options: TensorOptions = {}): Tensor {
  const dtype = options.dtype ?? (typeof value === 'bigint' ? 'int64' : typeof value === 'boolean' ? 'bool' : 'float32');
  const target = checkShape(shape, 'full');
  if (currentTrace() !== null) return finish(apply1(fullPrimitive, [], { shape: target, value: encodeScalar(value), dtype }), options);
  const t = allocate(target, dtype);
  if (t.storage.length > 0) {
    const bytes = bytesOf(t);
    let filled = dtypeInfo[dtype].bytes;
    encode([value], dtype, bytes.subarray(0, filled));
    for (; filled < bytes.length; filled *= 2) bytes.copyWithin(filled, 0, Math.min(filled, bytes.length - filled));
  }
  return finish(t, options);
}

export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, { ...options, dtype: options.dtype ?? 'float32' });
}
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, { ...options, dtype: options.dtype ?? 'float32' });
}
/** Memory that is not cleared: fill it before reading. In a trace the same as zeros. */
export function empty(shape: Shape, options: TensorOptions = {}): Tensor {
  if (currentTrace() !== null) return zeros(shape, options);
  return finish(allocate(checkShape(shape, 'empty'), options.dtype ?? 'float32'), options);
}
/** A tensor of one value with the shape and, unless given, the dtype of another. */
export function fullLike(like: Tensor, value: Scalar, options: TensorOptions = {}): Tensor {
  return full(like.shape, value, { ...options, dtype: options.dtype ?? like.dtype });
}
export function zerosLike(like: Tensor, options: TensorOptions = {}): Tensor {
  return fullLike(like, 0, options);
}
export function onesLike(like: Tensor, options: TensorOptions = {}): Tensor {
  return fullLike(like, 1, options);
}
export function emptyLike(like: Tensor, options: TensorOptions = {}): Tensor {
  return empty(like.shape, { ...options, dtype: options.dtype ?? like.dtype });
}

/** From 0, or from `start`, up to but without `end`. int64 when all arguments are whole numbers, else float32. */
export function arange(end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, step: number, options?: TensorOptions): Tensor;
export function arange(...args: readonly (number | TensorOptions | undefined)[]): Tensor {
  const numbers = args.filter((arg) => typeof arg === 'number');
  const options = args.find((arg) => typeof arg === 'object') ?? {};
  const [start, end, step] = numbers.length === 1 ? [0, numbers[0], 1] : [numbers[0], numbers[1], numbers[2] ?? 1];
  const length = Math.max(0, Math.ceil((end - start) / step));
  if (step === 0 || !Number.isSafeInteger(length) || (end - start) * step < 0) {
    throw new ArgumentError(`from ${start} to ${end} in steps of ${step}`, {
      op: 'arange',
      received: numbers,
      expected: 'a step other than 0 that leads from start to end',
    });
  }
  const dtype = options.dtype ?? (numbers.every(Number.isInteger) ? 'int64' : 'float32');
  if (currentTrace() !== null) return finish(apply1(arangePrimitive, [], { start, step, length, dtype }), options);
  // Whole dtypes step in whole numbers, as PyTorch does.
  const [first, stride] = isFloat(dtype) ? [start, step] : [Math.trunc(start), Math.trunc(step)];
  return finish(
    createFromArray(
      Float64Array.from({ length }, (_, i) => first + i * stride),
      dtype,
      [length],
    ),
    options,
  );
}

/** `steps` numbers from `start` to `end`, both included. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  if (!Number.isInteger(steps) || steps < 0)
    throw new ArgumentError(`${steps} steps`, { op: 'linspace', received: steps, expected: 'a whole number of at least 0' });
  const dtype = options.dtype ?? 'float32';
  if (currentTrace() !== null) return finish(apply1(linspacePrimitive, [], { start, end, length: steps, dtype }), options);
  const { first, last, step } = linspaceSteps(start, end, steps, dtype);
  const value = (i: number) => (i < steps >> 1 || steps === 1 ? first + step * i : last - step * (steps - 1 - i));
  return finish(
    createFromArray(
      Float64Array.from({ length: steps }, (_, i) => value(i)),
      dtype,
      [steps],
    ),
    options,
  );
}

/** Ones on the diagonal of an n x m matrix of zeros. */
export function eye(n: number, m: number | TensorOptions = n, options: TensorOptions = {}): Tensor {
  const [columns, chosen] = typeof m === 'number' ? [m, options] : [n, m];
  const dtype = chosen.dtype ?? 'float32';
  const shape = checkShape([n, columns], 'eye');
  const data = new Float64Array(n * columns);
  for (let i = 0; i < Math.min(n, columns); i++) data[i * columns + i] = 1;
  return finish(createFromArray(data, dtype, shape), chosen);
}

export type NestedArray = Scalar | readonly NestedArray[];
export type HostArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array;
export type TensorData = NestedArray | HostArray | Tensor;

export interface FromDataOptions extends TensorOptions {
  /** For flat data: the shape to read it in. */
  readonly shape?: Shape;
}

/** The dtype that holds every value of a host array; unsigned 16 and 32 bits have no dtype of their own and widen. */
function hostDType(data: HostArray): DType {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof Int8Array) return 'int8';
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return 'uint8';
  if (data instanceof Int16Array) return 'int16';
  if (data instanceof Uint16Array || data instanceof Int32Array) return 'int32';
  return 'int64';
}

interface Flat {
  readonly values: Scalar[];
  readonly shape: number[];
}

/** Nested arrays as a flat list. @throws ShapeError where they are ragged */
function flattenNested(data: NestedArray): Flat {
  const shape: number[] = [];
  for (let level: NestedArray = data; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const values: Scalar[] = [];
  const visit = (part: NestedArray, depth: number, path: string): void => {
    if (depth === shape.length) {
      if (typeof part === 'object') throw raggedError(path, part, 'a number');
      values.push(part);
      return;
    }
    if (!Array.isArray(part) || part.length !== shape[depth]) throw raggedError(path, part, `an array of ${shape[depth]} elements`);
    for (let i = 0; i < part.length; i++) visit(part[i], depth + 1, `${path}[${i}]`);
  };
  visit(data, 0, '');
  return { values, shape };
}

function raggedError(path: string, received: NestedArray, expected: string): ShapeError {
  const what = Array.isArray(received) ? `an array of ${received.length} elements` : String(received);
  return new ShapeError(`nested arrays are ragged: at ${path} lies ${what}`, { op: 'tensor', received, expected });
}

/**
 * A tensor from nested arrays, a typed array, a number, or another tensor (copied).
 * dtype: that of the typed array; for JavaScript values float32, int64 for bigints, bool for booleans.
 * @throws ShapeError for ragged arrays, or when `shape` does not fit
 */
export function tensor(data: TensorData, options: FromDataOptions = {}): Tensor {
  if (data instanceof Tensor) {
    const source = stopGradient(data);
    const made = options.dtype === undefined || options.dtype === data.dtype ? copy(source) : cast(source, options.dtype);
    return finish(stopGradient(made), options);
  }
  let values: ArrayLike<Scalar>;
  let shape: Shape;
  let dtype: DType;
  if (ArrayBuffer.isView(data)) {
    values = data;
    shape = [data.length];
    dtype = options.dtype ?? hostDType(data);
  } else {
    const flat = flattenNested(data);
    ({ values, shape } = flat);
    const first = flat.values[0];
    dtype = options.dtype ?? (flat.values.length === 0 ? 'float32' : commonDType(flat.values, typeof first));
  }
  const target = options.shape === undefined ? shape : checkShape(options.shape, 'tensor');
  if (sizeOf(target) !== values.length) {
    throw new ShapeError(`${values.length} values for shape ${formatShape(target)}`, {
      op: 'tensor',
      received: values.length,
      expected: `${sizeOf(target)} values`,
    });
  }
  return finish(createFromArray(values, dtype, target), options);
}

function commonDType(values: readonly Scalar[], kind: string): DType {
  if (values.some((value) => typeof value !== 'number' && typeof value !== 'bigint' && typeof value !== 'boolean')) {
    throw new ArgumentError('the data hold something that is no number', { op: 'tensor', expected: 'numbers, bigints or booleans' });
  }
  if (kind === 'number' || values.some((value) => typeof value !== kind)) return 'float32';
  return kind === 'boolean' ? 'bool' : 'int64';
}
