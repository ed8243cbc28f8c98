/** Element types of weight files, some of which tensors do not have: what they become, and the conversion. */
import { type DType, dtypeInfo } from '../dtype.js';
import { FormatError } from '../errors.js';
import { sizeOf } from '../graph/layout.js';
import type { RawTensor } from './safetensors.js';

interface StoredInfo {
  readonly bytes: number;
  /** The dtype that holds every value (of uint64: below 2^63). */
  readonly dtype: DType;
}

/** Types of elements in files: all dtypes, and those that are read into a wider one. */
export const storedTypes = {
  float32: { bytes: 4, dtype: 'float32' },
  float64: { bytes: 8, dtype: 'float64' },
  float16: { bytes: 2, dtype: 'float16' },
  bfloat16: { bytes: 2, dtype: 'bfloat16' },
  int8: { bytes: 1, dtype: 'int8' },
  uint8: { bytes: 1, dtype: 'uint8' },
  int16: { bytes: 2, dtype: 'int16' },
  int32: { bytes: 4, dtype: 'int32' },
  int64: { bytes: 8, dtype: 'int64' },
  bool: { bytes: 1, dtype: 'bool' },
  uint16: { bytes: 2, dtype: 'int32' },
  uint32: { bytes: 4, dtype: 'int64' },
  uint64: { bytes: 8, dtype: 'int64' },
  float8e4m3: { bytes: 1, dtype: 'float32' },
  float8e5m2: { bytes: 1, dtype: 'float32' },
} as const satisfies Record<string, StoredInfo>;

export type StoredType = keyof typeof storedTypes;

/** Bytes of `shape` elements, or NaN where the count leaves the exact integers. */
export function storedBytes(type: StoredType, shape: readonly number[]): number {
  // A size of 0 makes it empty whatever the others are.
  if (shape.includes(0)) return 0;
  let bytes: number = storedTypes[type].bytes;
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return Number.NaN;
  }
  return bytes;
}

/** OCP 8-bit floats, E4M3 (without infinities: all ones is NaN) and E5M2 (as IEEE 754). */
function float8(exponentBits: 4 | 5, finite: boolean): Float32Array {
  const mantissaBits = 7 - exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  return Float32Array.from({ length: 256 }, (_, code) => {
    const sign = code & 0x80 ? -1 : 1;
    const exponent = (code & 0x7f) >> mantissaBits;
    const mantissa = code & (2 ** mantissaBits - 1);
    const top = 2 ** exponentBits - 1;
    if (finite ? (code & 0x7f) === 0x7f : exponent === top && mantissa !== 0) return Number.NaN;
    if (!finite && exponent === top) return sign * Infinity;
    const fraction = mantissa / 2 ** mantissaBits;
    return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
  });
}

let tables: { readonly float8e4m3: Float32Array; readonly float8e5m2: Float32Array } | null = null;

/** The bytes of an array as they lie in memory. */
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);

/**
 * Little-endian elements as they are in a file, as a tensor's bytes; nothing is copied where the type is a dtype.
 * @throws FormatError for a uint64 of 2^63 or more.
 */
export function fromStored(type: StoredType, shape: readonly number[], data: Uint8Array, op: string): RawTensor {
  const { dtype } = storedTypes[type];
  const size = sizeOf(shape);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (type) {
    case 'uint16':
      return { dtype, shape, data: bytesOf(Int32Array.from({ length: size }, (_, i) => view.getUint16(2 * i, true))) };
    case 'uint32':
      return { dtype, shape, data: bytesOf(BigInt64Array.from({ length: size }, (_, i) => BigInt(view.getUint32(4 * i, true)))) };
    case 'uint64':
      for (let i = 0; i < size; i++) {
        if (view.getUint8(8 * i + 7) >= 0x80) {
          throw new FormatError(`element ${i} is ${view.getBigUint64(8 * i, true)}`, {
            op,
            expected: 'a number below 2^63, as int64 holds',
          });
        }
      }
      return { dtype, shape, data };
    case 'float8e4m3':
    case 'float8e5m2': {
      tables ??= { float8e4m3: float8(4, true), float8e5m2: float8(5, false) };
      const table = tables[type];
      return { dtype, shape, data: bytesOf(Float32Array.from(data, (code) => table[code])) };
    }
    case 'bool':
      // What is not 0 is true, and tensors hold 0 and 1.
      return { dtype, shape, data: data.some((byte) => byte > 1) ? data.map((byte) => (byte === 0 ? 0 : 1)) : data };
    default:
      return { dtype: type, shape, data };
  }
}

/** Whether `type` needs no conversion. */
export function isDType(type: StoredType): type is DType {
  return Object.hasOwn(dtypeInfo, type);
}
