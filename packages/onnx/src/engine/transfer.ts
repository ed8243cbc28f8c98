/** Between stored tensors, arrays on the host and tensors on the device. */
import { ArgumentError, DTypeError, FormatError, full, type Tensor, TraceError, tensor } from 'trireme';
import type { TensorContent, TensorModel } from '../model/model.js';
import { type ElementType, elementInfo, type HostArray } from './element-type.js';
import { DataDependentError } from './errors.js';
import { bfloatToNumber, bitsOf, halfToNumber, isSmallFloat, numberToBfloat, numberToHalf, valuesOf } from './small-floats.js';

type Shape = readonly number[];
type Numbers = Exclude<HostArray, readonly string[]>;

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/* ---- host and device ---- */

function carrierOf(type: ElementType, what: string): Tensor['dtype'] {
  const { carrier } = elementInfo[type];
  if (carrier === null) {
    throw new DTypeError(`${what} of ${type}`, {
      op: 'onnx',
      received: type,
      expected: 'numbers or booleans on the device',
      fix: 'Strings and complex numbers stay on the host.',
    });
  }
  return carrier;
}

/** Elements as the carrier of `type` takes them. */
function toCarrier(host: Numbers): Numbers {
  if (host instanceof Uint16Array) return Int32Array.from(host);
  if (host instanceof Uint32Array) return BigInt64Array.from(host, BigInt);
  if (host instanceof BigUint64Array) return new BigInt64Array(host.buffer, host.byteOffset, host.length);
  return host;
}

/**
 * A tensor of the carrier dtype.
 * @throws DTypeError for strings and complex numbers
 */
export function fromHost(host: HostArray, type: ElementType, shape: Shape): Tensor {
  const dtype = carrierOf(type, 'a tensor on the device');
  if (Array.isArray(host)) throw new ArgumentError(`strings for a tensor of ${type}`, { op: 'onnx' });
  const data = toCarrier(host as Numbers);
  if (data.length !== sizeOf(shape)) {
    throw new ArgumentError(`${data.length} elements for shape [${shape.join(', ')}]`, { op: 'onnx', received: data.length });
  }
  // While a program is recorded a single number is a constant of it, which the compiler can fold.
  if (data.length === 1) return full(shape, dtype === 'bool' ? data[0] !== 0 : data[0], { dtype });
  return tensor(data as Float32Array, { dtype, shape: [...shape] });
}

/**
 * The content of a tensor that carries `type`.
 * @throws DataDependentError while a program is recorded
 */
export function readHost(device: Tensor, type: ElementType): HostArray {
  let data: ReturnType<Tensor['dataSync']>;
  try {
    data = device.dataSync();
  } catch (cause) {
    if (!(cause instanceof TraceError)) throw cause;
    throw new DataDependentError('the content of a value was wanted while a program is being recorded', { op: 'onnx', cause });
  }
  if (type === 'uint16') return Uint16Array.from(data as Int32Array);
  if (type === 'uint32') return Uint32Array.from(data as BigInt64Array, (x) => Number(BigInt.asUintN(32, x)));
  if (type === 'uint64') {
    const { buffer, byteOffset, length } = data as BigInt64Array;
    return new BigUint64Array(buffer, byteOffset, length);
  }
  return data;
}

/* ---- stored tensors ---- */

function fail(tensor: TensorModel, what: string, expected: string): never {
  throw new FormatError(`tensor '${tensor.name}' of ${tensor.type} [${tensor.dims.join(', ')}] ${what}`, {
    op: 'onnx',
    expected,
    fix: 'The file is damaged; save or download it again.',
  });
}

/** Bytes that `n` elements take in raw data. */
export function rawBytes(type: ElementType, n: number): number {
  return Math.ceil((n * elementInfo[type].bits) / 8);
}

/** Unpacks 4- and 2-bit elements, the first in the lowest bits. */
function unpack(bytes: ArrayLike<number>, bits: number, n: number): Uint8Array {
  const out = new Uint8Array(n);
  const perByte = 8 / bits;
  const mask = 2 ** bits - 1;
  for (let i = 0; i < n; i++) out[i] = (bytes[Math.floor(i / perByte)] >> (bits * (i % perByte))) & mask;
  return out;
}

/** Elements from their bit patterns, for the types of at most 16 bits. */
function fromPatterns(patterns: ArrayLike<number>, type: ElementType): Numbers | null {
  const { bits } = elementInfo[type];
  switch (type) {
    case 'float16':
      return Float32Array.from(patterns, (b) => halfToNumber(b & 0xffff));
    case 'bfloat16':
      return Float32Array.from(patterns, (b) => bfloatToNumber(b & 0xffff));
    case 'int4':
    case 'int2':
      return Int8Array.from(patterns, (b) => (b << (32 - bits)) >> (32 - bits));
    case 'uint4':
    case 'uint2':
      return Uint8Array.from(patterns);
    case 'bool':
      return Uint8Array.from(patterns, (b) => (b === 0 ? 0 : 1));
    default: {
      if (!isSmallFloat(type)) return null;
      const values = valuesOf(type);
      return Float32Array.from(patterns, (b) => values[b & (values.length - 1)]);
    }
  }
}

/** A copy, aligned for typed arrays. Files are little-endian, and so is every machine this runs on. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy.buffer;
}

function fromRaw(bytes: Uint8Array, type: ElementType, n: number): Numbers {
  const { bits } = elementInfo[type];
  if (bits < 8) return fromPatterns(unpack(bytes, bits, n), type) ?? new Uint8Array(0);
  const buffer = aligned(bytes);
  switch (type) {
    case 'float32':
    case 'complex64':
      return new Float32Array(buffer);
    case 'float64':
    case 'complex128':
      return new Float64Array(buffer);
    case 'int8':
      return new Int8Array(buffer);
    case 'uint8':
      return new Uint8Array(buffer);
    case 'int16':
      return new Int16Array(buffer);
    case 'uint16':
      return new Uint16Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    case 'uint32':
      return new Uint32Array(buffer);
    case 'int64':
      return new BigInt64Array(buffer);
    case 'uint64':
      return new BigUint64Array(buffer);
    default:
      return fromPatterns(bits === 16 ? new Uint16Array(buffer) : bytes, type) ?? new Uint8Array(buffer);
  }
}

function fromValues(
  values: Exclude<TensorContent, { kind: 'raw' | 'strings' | 'external' }>['values'],
  type: ElementType,
  n: number,
): Numbers {
  const { bits } = elementInfo[type];
  if (!(values instanceof Int32Array))
    return type === 'uint32' ? Uint32Array.from(values as BigUint64Array, (x) => Number(BigInt.asUintN(32, x))) : values;
  if (bits < 8) return fromPatterns(unpack(values, bits, n), type) ?? new Uint8Array(0);
  switch (type) {
    case 'int8':
      return Int8Array.from(values);
    case 'uint8':
      return Uint8Array.from(values);
    case 'int16':
      return Int16Array.from(values);
    case 'uint16':
      return Uint16Array.from(values);
    default:
      return fromPatterns(values, type) ?? values;
  }
}

/**
 * The elements of a stored tensor. A dense one of external data must have been loaded.
 * @throws FormatError when there are more or fewer than its shape says
 */
export function decodeTensor(tensor: TensorModel): HostArray {
  const { type, content, dims } = tensor;
  const n = sizeOf(dims);
  const complex = type === 'complex64' || type === 'complex128' ? 2 : 1;
  const { bits } = elementInfo[type];
  switch (content.kind) {
    case 'external':
      return fail(tensor, 'lies in another file that was not loaded', 'a model loaded from its path');
    case 'strings':
      if (type !== 'string' || content.values.length !== n) fail(tensor, `has ${content.values.length} strings`, `${n}`);
      return content.values;
    case 'raw': {
      const wanted = rawBytes(type, n);
      if (type === 'string' || content.bytes.length !== wanted) fail(tensor, `has ${content.bytes.length} bytes`, `${wanted} bytes`);
      return fromRaw(content.bytes, type, n);
    }
    case 'values': {
      const perEntry = bits < 8 && bits > 0 ? 8 / bits : 1;
      const wanted = Math.ceil((n * complex) / perEntry);
      if (content.values.length !== wanted) fail(tensor, `has ${content.values.length} values`, `${wanted}`);
      return fromValues(content.values, type, n);
    }
    default:
      return content satisfies never;
  }
}

function toRaw(data: Numbers, type: ElementType): Uint8Array {
  const { bits } = elementInfo[type];
  if (type === 'float16') return new Uint8Array(Uint16Array.from(data as Float32Array, numberToHalf).buffer);
  if (type === 'bfloat16') return new Uint8Array(Uint16Array.from(data as Float32Array, numberToBfloat).buffer);
  if (bits >= 8 && !isSmallFloat(type)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const patterns = isSmallFloat(type) ? Uint8Array.from(data as Float32Array, (x) => bitsOf(x, type)) : Uint8Array.from(data as Int8Array);
  if (bits === 8) return patterns;
  const out = new Uint8Array(rawBytes(type, patterns.length));
  const perByte = 8 / bits;
  patterns.forEach((pattern, i) => {
    out[Math.floor(i / perByte)] |= (pattern & (2 ** bits - 1)) << (bits * (i % perByte));
  });
  return out;
}

/** A tensor to be stored, as raw data (strings as strings). `host` is in the array type of `type`. */
export function encodeTensor(host: HostArray, type: ElementType, dims: Shape, name = ''): TensorModel {
  const content: TensorContent = isStrings(host) ? { kind: 'strings', values: host } : { kind: 'raw', bytes: toRaw(host, type) };
  return { name, type, dims, content };
}

export function isStrings(host: HostArray): host is readonly string[] {
  return Array.isArray(host);
}

/** A dense copy of a sparse tensor: what has no index is 0. @throws FormatError for indices outside of it */
export function densify(sparse: { readonly values: TensorModel; readonly indices: TensorModel; readonly dims: Shape }): {
  readonly host: HostArray;
  readonly type: ElementType;
} {
  const { values, indices, dims } = sparse;
  const data = decodeTensor(values);
  const places = decodeTensor(indices);
  const n = sizeOf(dims);
  const rank = indices.dims.length === 2 ? dims.length : 1;
  if (isStrings(data) || !(places instanceof BigInt64Array) || places.length !== data.length * rank) {
    return fail(values, 'is a sparse tensor whose indices do not fit', 'int64 indices, [n] or [n, rank]');
  }
  if (values.type === 'complex64' || values.type === 'complex128') return fail(values, 'is sparse', 'real numbers');
  const out = new (data.constructor as new (length: number) => Numbers)(n);
  for (let k = 0; k < data.length; k++) {
    let at = 0;
    for (let axis = 0; axis < rank; axis++) {
      const index = Number(places[k * rank + axis]);
      const extent = rank === 1 ? n : dims[axis];
      if (index < 0 || index >= extent) fail(values, `has index ${index}`, `an index below ${extent}`);
      at = rank === 1 ? index : at * extent + index;
    }
    out[at] = data[k];
  }
  return { host: out, type: values.type };
}
