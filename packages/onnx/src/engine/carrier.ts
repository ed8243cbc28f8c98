/** Values of types without a dtype: into their range, and between types. */
import {
  abs,
  add,
  bitwiseAnd,
  bitwiseOr,
  bitwiseRightShift,
  bitwiseXor,
  cast,
  copysign,
  customFunction,
  ge,
  gt,
  isNaN,
  logicalOr,
  lt,
  maximum,
  minimum,
  mul,
  sub,
  type Tensor,
  where,
} from 'trireme';
import { type ElementType, elementInfo } from './element-type.js';

/** A binary float: significand bits after the point, smallest normal exponent, largest finite value. */
interface FloatFormat {
  readonly mantissa: number;
  readonly minExponent: number;
  readonly max: number;
  /** What is beyond the largest value when it does not saturate. */
  readonly overflow: number;
  /** What stands for NaN in a format that has none. */
  readonly nan?: number;
  readonly negativeZero: boolean;
}

/** "FP8 Formats for Deep Learning" (arXiv:2209.05433), "8-bit Numerical Formats for Deep Neural Networks" (arXiv:2206.02915), OCP MX. */
const formats: Partial<Record<ElementType, FloatFormat>> = {
  float16: { mantissa: 10, minExponent: -14, max: 65504, overflow: Infinity, negativeZero: true },
  bfloat16: { mantissa: 7, minExponent: -126, max: (2 - 2 ** -7) * 2 ** 127, overflow: Infinity, negativeZero: true },
  float8e4m3fn: { mantissa: 3, minExponent: -6, max: 448, overflow: NaN, negativeZero: true },
  float8e4m3fnuz: { mantissa: 3, minExponent: -7, max: 240, overflow: NaN, negativeZero: false },
  float8e5m2: { mantissa: 2, minExponent: -14, max: 57344, overflow: Infinity, negativeZero: true },
  float8e5m2fnuz: { mantissa: 2, minExponent: -15, max: 57344, overflow: NaN, negativeZero: false },
  float4e2m1: { mantissa: 1, minExponent: 0, max: 6, overflow: 6, nan: 0, negativeZero: true },
};

export interface RoundingOptions {
  /** Whether what is beyond the largest value of an 8-bit float becomes that value. Default true. */
  readonly saturate?: boolean;
  /** Of float8e8m0, which holds powers of two. Default 'up'. */
  readonly mode?: 'up' | 'down' | 'nearest';
}

export function isFloatType(type: ElementType): boolean {
  return type.startsWith('float') || type === 'bfloat16';
}
export function isUnsignedType(type: ElementType): boolean {
  return type.startsWith('uint');
}
export function isIntegerType(type: ElementType): boolean {
  return type.startsWith('int') || type.startsWith('uint');
}

/** Smallest and largest value of an integer type. */
export function integerRange(type: ElementType): { readonly min: bigint; readonly max: bigint } {
  const bits = BigInt(elementInfo[type].bits);
  return isUnsignedType(type) ? { min: 0n, max: (1n << bits) - 1n } : { min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n };
}

const signBit = -(2n ** 63n);

/** uint64 lies in int64 with the same bits: moved so that signed comparisons order it. Other types as they are. */
export function inOrder(x: Tensor, type: ElementType): Tensor {
  return type === 'uint64' ? bitwiseXor(x, signBit) : x;
}

/**
 * Brings what an operator computed in the carrier of `type` back to the values of `type`: integers wrap, narrow floats round to the nearest
 * (ties to even). The gradient of rounding passes as if there were none.
 */
export function narrow(x: Tensor, type: ElementType, options: RoundingOptions = {}): Tensor {
  switch (type) {
    case 'uint16':
      return bitwiseAnd(x, 0xffff);
    case 'uint32':
      return bitwiseAnd(x, 0xffffffff);
    case 'uint4':
      return bitwiseAnd(x, 15);
    case 'uint2':
      return bitwiseAnd(x, 3);
    case 'int4':
      return signExtended(x, 15, 8);
    case 'int2':
      return signExtended(x, 3, 2);
    case 'float8e8m0':
      return straightThrough(x, (t) => toPowerOfTwo(t, options));
    default: {
      const format = elementInfo[type].carrier === 'float32' ? formats[type] : undefined;
      return format === undefined ? x : straightThrough(x, (t) => rounded(t, format, options));
    }
  }
}

function signExtended(x: Tensor, mask: number, sign: number): Tensor {
  return sub(bitwiseXor(bitwiseAnd(x, mask), sign), sign);
}

function straightThrough(x: Tensor, forward: (x: Tensor) => Tensor): Tensor {
  return customFunction({ name: 'narrow', forward: (_, t: Tensor) => forward(t), backward: (_, g) => g })(x);
}

/**
 * Magnitudes in float64 (at most 4 times the largest value of the format) rounded to `mantissa` bits after the point, and below `minExponent`
 * to that exponent's step: the sum with a number whose last bit has the weight of the step is rounded by the arithmetic itself.
 */
function roundedMagnitude(x: Tensor, mantissa: number, minExponent: number): Tensor {
  const anchor = maximum(mul(x, 2 ** (52 - mantissa)), 2 ** (52 + minExponent - mantissa));
  return sub(add(x, anchor), anchor);
}

function rounded(x: Tensor, format: FloatFormat, { saturate = true }: RoundingOptions): Tensor {
  const { mantissa, minExponent, max, overflow, nan, negativeZero } = format;
  const wide = cast(x, 'float64');
  // Far beyond the limit all is the same, and infinities have no last bit.
  const nearest = roundedMagnitude(minimum(abs(wide), 4 * max), mantissa, minExponent);
  const limited = where(gt(nearest, max), saturate ? max : overflow, nearest);
  const signed = negativeZero ? copysign(limited, wide) : where(lt(wide, 0), sub(0, limited), limited);
  return cast(nan === undefined ? signed : where(isNaN(wide), nan, signed), 'float32');
}

const [smallestPower, largestPower] = [2 ** -127, 2 ** 127];

function toPowerOfTwo(x: Tensor, { saturate = true, mode = 'up' }: RoundingOptions): Tensor {
  const wide = cast(x, 'float64');
  // Ties, 1.5 times a power, go up: 2 is even and 1 is not.
  const near = roundedMagnitude(minimum(wide, 4 * largestPower), 0, -150);
  const power =
    mode === 'nearest' ? near : mode === 'up' ? where(lt(near, wide), mul(near, 2), near) : where(gt(near, wide), mul(near, 0.5), near);
  const limited = saturate
    ? minimum(maximum(power, smallestPower), largestPower)
    : where(logicalOr(lt(power, smallestPower), gt(power, largestPower)), NaN, power);
  return cast(limited, 'float32');
}

/** One number rounded to a float type. */
export function roundNumber(x: number, type: ElementType, { saturate = true, mode = 'up' }: RoundingOptions = {}): number {
  if (type === 'float32') return Math.fround(x);
  if (type === 'float8e8m0') return roundToPower(x, saturate, mode);
  const format = formats[type];
  if (format === undefined) return x;
  if (Number.isNaN(x)) return format.nan ?? x;
  const { mantissa, minExponent, max, overflow, negativeZero } = format;
  const magnitude = Math.min(Math.abs(x), 4 * max);
  const nearest = roundedNumber(magnitude, mantissa, minExponent);
  const limited = nearest > max ? (saturate && elementInfo[type].bits <= 8 ? max : overflow) : nearest;
  const signed = x < 0 || Object.is(x, -0) ? -limited : limited;
  return signed === 0 && !negativeZero ? 0 : signed;
}

/** {@link roundedMagnitude} of one number. */
function roundedNumber(x: number, mantissa: number, minExponent: number): number {
  const anchor = Math.max(x * 2 ** (52 - mantissa), 2 ** (52 + minExponent - mantissa));
  return x + anchor - anchor;
}

function roundToPower(x: number, saturate: boolean, mode: 'up' | 'down' | 'nearest'): number {
  if (Number.isNaN(x)) return x;
  const wide = Math.min(x, 4 * largestPower);
  const near = roundedNumber(wide, 0, -150);
  let power = near;
  if (mode === 'up' && near < wide) power = near * 2;
  if (mode === 'down' && near > wide) power = near / 2;
  if (saturate) return Math.min(Math.max(power, smallestPower), largestPower);
  return power < smallestPower || power > largestPower ? NaN : power;
}

/** Nearest whole number, halves to even. */
export function halfToEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** The elements of a tensor that carries `from`, as a tensor that carries `to`. Neither is a string or complex. */
export function castTensor(x: Tensor, from: ElementType, to: ElementType, options: RoundingOptions = {}): Tensor {
  const { carrier } = elementInfo[to];
  if (carrier === null || from === to) return x;
  if (isFloatType(to)) return narrow(from === 'uint64' ? unsignedToFloat(x, carrier) : cast(x, carrier), to, options);
  if (to === 'uint64' && isFloatType(from)) return floatToUnsigned(x);
  return narrow(cast(x, carrier), to);
}

/** Halves what does not fit int64, with the lost bit kept for the rounding. */
function unsignedToFloat(x: Tensor, dtype: Tensor['dtype']): Tensor {
  const half = bitwiseAnd(bitwiseOr(bitwiseRightShift(x, 1), bitwiseAnd(x, 1)), 2n ** 63n - 1n);
  return where(lt(x, 0), mul(cast(half, dtype), 2), cast(x, dtype));
}

function floatToUnsigned(x: Tensor): Tensor {
  const wide = cast(x, 'float64');
  const high = ge(wide, 2 ** 63);
  const low = cast(where(high, sub(wide, 2 ** 63), wide), 'int64');
  return where(high, add(low, signBit), low);
}
