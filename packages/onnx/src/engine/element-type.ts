/** Element types of ONNX tensors, and what carries them on the device and on the host. */
import type { DType } from 'trireme';

interface ElementInfo {
  /** TensorProto.DataType. */
  readonly code: number;
  /** Bits an element takes in raw data; 0: not of a fixed size. */
  readonly bits: number;
  /** dtype of the device tensor that holds such elements (values of narrower types exactly, of uint64 modulo 2^64); null: host only. */
  readonly carrier: DType | null;
}

/**
 * `carrier` widens what the library has no dtype for: uint16 in int32, uint32 in int64, uint64 in int64 (the same bits), the 8- and
 * 4-bit floats in float32 (every value is one of the narrow type), int4/int2 in int8, uint4/uint2 in uint8. Operators that compute in a carrier bring results
 * back into range.
 */
export const elementInfo = {
  float32: { code: 1, bits: 32, carrier: 'float32' },
  uint8: { code: 2, bits: 8, carrier: 'uint8' },
  int8: { code: 3, bits: 8, carrier: 'int8' },
  uint16: { code: 4, bits: 16, carrier: 'int32' },
  int16: { code: 5, bits: 16, carrier: 'int16' },
  int32: { code: 6, bits: 32, carrier: 'int32' },
  int64: { code: 7, bits: 64, carrier: 'int64' },
  string: { code: 8, bits: 0, carrier: null },
  bool: { code: 9, bits: 8, carrier: 'bool' },
  float16: { code: 10, bits: 16, carrier: 'float16' },
  float64: { code: 11, bits: 64, carrier: 'float64' },
  uint32: { code: 12, bits: 32, carrier: 'int64' },
  uint64: { code: 13, bits: 64, carrier: 'int64' },
  complex64: { code: 14, bits: 64, carrier: null },
  complex128: { code: 15, bits: 128, carrier: null },
  bfloat16: { code: 16, bits: 16, carrier: 'bfloat16' },
  float8e4m3fn: { code: 17, bits: 8, carrier: 'float32' },
  float8e4m3fnuz: { code: 18, bits: 8, carrier: 'float32' },
  float8e5m2: { code: 19, bits: 8, carrier: 'float32' },
  float8e5m2fnuz: { code: 20, bits: 8, carrier: 'float32' },
  uint4: { code: 21, bits: 4, carrier: 'uint8' },
  int4: { code: 22, bits: 4, carrier: 'int8' },
  float4e2m1: { code: 23, bits: 4, carrier: 'float32' },
  float8e8m0: { code: 24, bits: 8, carrier: 'float32' },
  uint2: { code: 25, bits: 2, carrier: 'uint8' },
  int2: { code: 26, bits: 2, carrier: 'int8' },
} as const satisfies Record<string, ElementInfo>;

export type ElementType = keyof typeof elementInfo;

export const elementTypes = Object.keys(elementInfo) as readonly ElementType[];

const byCode = new Map(elementTypes.map((type) => [elementInfo[type].code as number, type]));

/** The type of a TensorProto.DataType code; undefined for codes not known. */
export function elementTypeOf(code: number): ElementType | undefined {
  return byCode.get(code);
}

/**
 * Dense row-major content on the host: the array type of the element type; Float32Array for all floats under 32 bits, Int8Array and
 * Uint8Array for 4- and 2-bit integers, 0 and 1 in a Uint8Array for bool, (re, im) pairs for complex numbers, an array for strings.
 */
export type HostArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | readonly string[];
