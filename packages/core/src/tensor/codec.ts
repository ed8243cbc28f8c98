/** Host arrays to heap bytes and back. */
import type { DType } from '../dtype.js';
import { bfloatToNumber, halfToNumber, numberToBfloat, numberToHalf } from '../ir/scalar.js';
import type { TypedArray } from './data.js';

const f32 = new Float32Array(1);
const round32 = (x: number): number => {
  f32[0] = x;
  return f32[0];
};

/** Writes `data` to `bytes` (aligned to the element size) as `dtype`. Integers wrap, bool is `!= 0`. */
export function encode(data: ArrayLike<number | bigint | boolean>, dtype: DType, bytes: Uint8Array): void {
  const { buffer, byteOffset } = bytes;
  const n = data.length;
  switch (dtype) {
    case 'float32':
      return fill(new Float32Array(buffer, byteOffset, n), data);
    case 'float64':
      return fill(new Float64Array(buffer, byteOffset, n), data);
    case 'int8':
      return fill(new Int8Array(buffer, byteOffset, n), data);
    case 'uint8':
      return fill(new Uint8Array(buffer, byteOffset, n), data);
    case 'int16':
      return fill(new Int16Array(buffer, byteOffset, n), data);
    case 'int32':
      return fill(new Int32Array(buffer, byteOffset, n), data);
    case 'int64': {
      const out = new BigInt64Array(buffer, byteOffset, n);
      if (data instanceof BigInt64Array) out.set(data);
      else for (let i = 0; i < n; i++) out[i] = toBigInt(data[i]);
      return;
    }
    case 'bool':
      for (let i = 0; i < n; i++) bytes[i] = data[i] ? 1 : 0;
      return;
    case 'float16':
    case 'bfloat16': {
      const out = new Uint16Array(buffer, byteOffset, n);
      const convert = dtype === 'float16' ? numberToHalf : numberToBfloat;
      for (let i = 0; i < n; i++) out[i] = convert(round32(Number(data[i])));
      return;
    }
    default:
      dtype satisfies never;
  }
}

function toBigInt(x: number | bigint | boolean): bigint {
  if (typeof x === 'bigint') return x;
  const n = Number(x);
  return Number.isFinite(n) ? BigInt(Math.trunc(n)) : 0n;
}

type NumberArray = Exclude<TypedArray, BigInt64Array>;

function fill(out: NumberArray, data: ArrayLike<number | bigint | boolean>): void {
  if (data instanceof out.constructor) out.set(data as NumberArray);
  else for (let i = 0; i < data.length; i++) out[i] = Number(data[i]);
}

/** Copies `bytes` of `dtype` to an array; float16 and bfloat16 become Float32Array, bool Uint8Array of 0 and 1. */
export function decode(bytes: Uint8Array, dtype: DType): TypedArray {
  // A plain copy: heap memory may be shared, and views of it would change under the caller.
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  const { buffer } = copy;
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer);
    case 'float64':
      return new Float64Array(buffer);
    case 'int8':
      return new Int8Array(buffer);
    case 'uint8':
    case 'bool':
      return copy;
    case 'int16':
      return new Int16Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    case 'int64':
      return new BigInt64Array(buffer);
    case 'float16':
      return Float32Array.from(new Uint16Array(buffer), halfToNumber);
    case 'bfloat16':
      return Float32Array.from(new Uint16Array(buffer), bfloatToNumber);
    default:
      return dtype satisfies never;
  }
}
