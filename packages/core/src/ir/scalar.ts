/** What every operation of the kernel IR means for one scalar: the plain definition other tiers are compared with. */
import type { DType, ScalarType } from '../dtype.js';
import type { BinaryOp, UnaryOp } from './expr.js';
import type { ReduceOp } from './kernel.js';
import { digamma, erf, erfc, erfinv, lgamma } from './reference-math.js';

/** A value of the kernel IR: bigint for i64, 0 or 1 for bool, a number otherwise. */
export type Value = number | bigint;

const two31 = 2 ** 31;
const minI64 = -(2n ** 63n);
const maxI64 = 2n ** 63n - 1n;

/** Rounds half to even. */
export function roundEven(x: number): number {
  if (Math.abs(x) >= 2 ** 52 || !Number.isFinite(x)) return x;
  const floor = Math.floor(x);
  const rest = x - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
  return rounded === 0 && (x < 0 || Object.is(x, -0)) ? -0 : rounded;
}

const floatUnary: Record<Exclude<UnaryOp, 'not'>, (x: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  roundEven,
  sqrt: Math.sqrt,
  exp: Math.exp,
  exp2: (x) => 2 ** x,
  expm1: Math.expm1,
  log: Math.log,
  log2: Math.log2,
  log1p: Math.log1p,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  erf,
  erfc,
  erfinv,
  lgamma,
  digamma,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sigmoid: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
};

/** C99 pow: unlike JavaScript's, 1 ** NaN is 1 and (-1) ** Infinity is 1. */
export function pow(x: number, y: number): number {
  if (x === 1 || (x === -1 && Math.abs(y) === Infinity)) return 1;
  return x ** y;
}

/** One unary operation on a value of `type`. */
export function evalUnary(op: UnaryOp, type: ScalarType, a: Value): Value {
  if (typeof a === 'bigint') {
    if (op === 'neg') return BigInt.asIntN(64, -a);
    if (op === 'abs') return BigInt.asIntN(64, a < 0n ? -a : a);
    if (op === 'not') return ~a;
  } else if (type === 'bool') {
    if (op === 'not') return a ? 0 : 1;
  } else if (type === 'i32') {
    if (op === 'neg') return -a | 0;
    if (op === 'abs') return Math.abs(a) | 0;
    if (op === 'not') return ~a;
  } else if (op !== 'not') {
    const exact = floatUnary[op](a);
    return type === 'f32' ? Math.fround(exact) : exact;
  }
  throw new RangeError(`kernel IR has no ${op} of ${type}`);
}

/** One binary operation on operands of `type`; comparisons give 0 or 1. */
export function evalBinary(op: BinaryOp, type: ScalarType, a: Value, b: Value): Value {
  if (op === 'lt') return a < b ? 1 : 0;
  if (op === 'le') return a <= b ? 1 : 0;
  if (op === 'eq') return a === b ? 1 : 0;
  if (op === 'ne') return a !== b ? 1 : 0;
  if (typeof a === 'bigint' && typeof b === 'bigint') return BigInt.asIntN(64, binaryI64(op, a, b));
  if (typeof a === 'number' && typeof b === 'number') {
    if (type === 'bool') return binaryBool(op, a, b);
    if (type === 'i32') return binaryI32(op, a, b);
    const exact = binaryFloat(op, a, b);
    return type === 'f32' ? Math.fround(exact) : exact;
  }
  throw new RangeError(`kernel IR: operands of ${op} mix i64 with other types`);
}

function binaryBool(op: BinaryOp, a: number, b: number): number {
  if (op === 'and') return a & b;
  if (op === 'or') return a | b;
  if (op === 'xor') return a ^ b;
  throw new RangeError(`kernel IR has no ${op} of bool`);
}

function binaryFloat(op: BinaryOp, a: number, b: number): number {
  switch (op) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'div':
      return a / b;
    case 'rem':
      return a % b;
    case 'min':
      return Math.min(a, b);
    case 'max':
      return Math.max(a, b);
    case 'pow':
      return pow(a, b);
    case 'atan2':
      return Math.atan2(a, b);
    default:
      throw new RangeError(`kernel IR has no ${op} of floats`);
  }
}

function binaryI32(op: BinaryOp, a: number, b: number): number {
  switch (op) {
    case 'add':
      return (a + b) | 0;
    case 'sub':
      return (a - b) | 0;
    case 'mul':
      return Math.imul(a, b);
    case 'div':
      return b === 0 ? 0 : (a / b) | 0;
    case 'rem':
      return b === 0 ? 0 : (a % b) | 0;
    case 'min':
      return Math.min(a, b);
    case 'max':
      return Math.max(a, b);
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'shl':
      return a << (b & 31);
    case 'shr':
      return a >> (b & 31);
    case 'shrU':
      return (a >>> (b & 31)) | 0;
    case 'mulHiU':
      return Number((BigInt(a >>> 0) * BigInt(b >>> 0)) >> 32n) | 0;
    case 'ltU':
      return a >>> 0 < b >>> 0 ? 1 : 0;
    default:
      throw new RangeError(`kernel IR has no ${op} of i32`);
  }
}

function binaryI64(op: BinaryOp, a: bigint, b: bigint): bigint {
  switch (op) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'div':
      return b === 0n ? 0n : a / b;
    case 'rem':
      return b === 0n ? 0n : a % b;
    case 'min':
      return a < b ? a : b;
    case 'max':
      return a > b ? a : b;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'shl':
      return a << (b & 63n);
    case 'shr':
      return a >> (b & 63n);
    case 'shrU':
      return BigInt.asUintN(64, a) >> (b & 63n);
    default:
      throw new RangeError(`kernel IR has no ${op} of i64`);
  }
}

/** `op(a, b)` of an accumulator of `type`. */
export function evalReduce(op: ReduceOp, type: ScalarType, a: Value, b: Value): Value {
  return evalBinary(op, type, a, b);
}

/** A 64-bit integer to the nearest f32 in one rounding (through f64 it would be two). */
function i64ToF32(v: bigint): number {
  const magnitude = v < 0n ? -v : v;
  if (magnitude < 2n ** 53n) return Math.fround(Number(v));
  const sticky = (magnitude & 0x7ffn) === 0n ? 0n : 0x800n;
  const kept = Number(((magnitude >> 11n) << 11n) | sticky);
  return Math.fround(v < 0n ? -kept : kept);
}

/** Value conversion between scalar types. */
export function evalCast(from: ScalarType, to: ScalarType, a: Value): Value {
  if (from === to) return a;
  if (to === 'bool') return a === 0 || a === 0n ? 0 : 1;
  if (typeof a === 'bigint') {
    if (to === 'i32') return Number(BigInt.asIntN(32, a));
    return to === 'f32' ? i64ToF32(a) : Number(a);
  }
  if (to === 'f64') return a;
  if (to === 'f32') return Math.fround(a);
  if (Number.isNaN(a)) return to === 'i64' ? 0n : 0;
  if (to === 'i32') return Math.trunc(Math.max(-two31, Math.min(two31 - 1, a))) | 0;
  if (a >= 2 ** 63) return maxI64;
  if (a <= -(2 ** 63)) return minI64;
  return BigInt(Math.trunc(a));
}

const scratch = new DataView(new ArrayBuffer(8));

/** Same bits, other type. A NaN's payload may be lost. */
export function evalBitcast(to: ScalarType, from: ScalarType, a: Value): Value {
  if (from === 'f32' && to === 'i32') {
    scratch.setFloat32(0, Number(a));
    return scratch.getInt32(0);
  }
  if (from === 'i32' && to === 'f32') {
    scratch.setInt32(0, Number(a));
    return scratch.getFloat32(0);
  }
  if (from === 'f64' && to === 'i64') {
    scratch.setFloat64(0, Number(a));
    return scratch.getBigInt64(0);
  }
  if (from === 'i64' && to === 'f64' && typeof a === 'bigint') {
    scratch.setBigInt64(0, a);
    return scratch.getFloat64(0);
  }
  throw new RangeError(`kernel IR has no bitcast from ${from} to ${to}`);
}

/** IEEE half precision bits to a number. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Nearest half precision bits, ties to even; overflow gives infinity. `x` is an f32 value. */
export function numberToHalf(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundEven(magnitude * 2 ** 24);
  scratch.setFloat32(0, magnitude);
  const exponent = (scratch.getUint32(0) >>> 23) - 127;
  // A fraction that rounds up to 2048 carries into the exponent by itself.
  return sign | ((exponent + 14) * 1024 + roundEven(magnitude * 2 ** (10 - exponent)));
}

/** bfloat16 bits to a number. */
export function bfloatToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** Nearest bfloat16 bits, ties to even. `x` is an f32 value. */
export function numberToBfloat(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  scratch.setFloat32(0, x);
  const bits = scratch.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Reads one element at a byte address, widened to the compute type. */
export function readElement(heap: DataView, dtype: DType, address: number): Value {
  switch (dtype) {
    case 'float32':
      return heap.getFloat32(address, true);
    case 'float64':
      return heap.getFloat64(address, true);
    case 'float16':
      return halfToNumber(heap.getUint16(address, true));
    case 'bfloat16':
      return bfloatToNumber(heap.getUint16(address, true));
    case 'int8':
      return heap.getInt8(address);
    case 'uint8':
      return heap.getUint8(address);
    case 'int16':
      return heap.getInt16(address, true);
    case 'int32':
      return heap.getInt32(address, true);
    case 'int64':
      return heap.getBigInt64(address, true);
    case 'bool':
      return heap.getUint8(address) ? 1 : 0;
    default:
      return dtype satisfies never;
  }
}

/** Writes one element of the compute type at a byte address, narrowed to `dtype`. */
export function writeElement(heap: DataView, dtype: DType, address: number, value: Value): void {
  switch (dtype) {
    case 'float32':
      return heap.setFloat32(address, Number(value), true);
    case 'float64':
      return heap.setFloat64(address, Number(value), true);
    case 'float16':
      return heap.setUint16(address, numberToHalf(Number(value)), true);
    case 'bfloat16':
      return heap.setUint16(address, numberToBfloat(Number(value)), true);
    case 'int8':
    case 'uint8':
    case 'bool':
      return heap.setInt8(address, Number(value));
    case 'int16':
      return heap.setInt16(address, Number(value), true);
    case 'int32':
      return heap.setInt32(address, Number(value), true);
    case 'int64':
      return heap.setBigInt64(address, BigInt(value), true);
    default:
      return dtype satisfies never;
  }
}
