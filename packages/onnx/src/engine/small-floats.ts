/** Bits of the float types under 32 bits and their values. */

import { roundNumber } from './carrier.js';
import type { ElementType } from './element-type.js';

const word = new DataView(new ArrayBuffer(4));

export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** To the nearest, ties to even. */
export function numberToHalf(x: number): number {
  const value = roundNumber(x, 'float16', { saturate: false });
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (Number.isNaN(value)) return 0x7e00;
  const size = Math.abs(value);
  if (size === Infinity) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  // The exponent of the float32 is exact; Math.log2 is not next to powers of two.
  word.setFloat32(0, size);
  const exponent = (word.getUint32(0) >>> 23) - 127;
  return sign | ((exponent + 15) << 10) | (size * 2 ** (10 - exponent) - 1024);
}

export function bfloatToNumber(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}

/** To the nearest, ties to even. */
export function numberToBfloat(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  word.setFloat32(0, x);
  const bits = word.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

interface Layout {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** What the largest exponents stand for: infinities and NaN as in IEEE 754, one NaN with all bits set, one NaN in place of -0, nothing. */
  readonly special: 'ieee' | 'allOnes' | 'negativeZero' | 'none';
}

type SmallFloat = Extract<ElementType, 'float8e4m3fn' | 'float8e4m3fnuz' | 'float8e5m2' | 'float8e5m2fnuz' | 'float4e2m1' | 'float8e8m0'>;

const layouts: Record<Exclude<SmallFloat, 'float8e8m0'>, Layout> = {
  float8e4m3fn: { exponentBits: 4, mantissaBits: 3, bias: 7, special: 'allOnes' },
  float8e4m3fnuz: { exponentBits: 4, mantissaBits: 3, bias: 8, special: 'negativeZero' },
  float8e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, special: 'ieee' },
  float8e5m2fnuz: { exponentBits: 5, mantissaBits: 2, bias: 16, special: 'negativeZero' },
  float4e2m1: { exponentBits: 2, mantissaBits: 1, bias: 1, special: 'none' },
};

function decode(bits: number, { exponentBits, mantissaBits, bias, special }: Layout): number {
  const sign = bits >> (exponentBits + mantissaBits) ? -1 : 1;
  const largest = 2 ** exponentBits - 1;
  const exponent = (bits >> mantissaBits) & largest;
  const mantissa = bits & (2 ** mantissaBits - 1);
  if (special === 'negativeZero' && sign < 0 && exponent === 0 && mantissa === 0) return NaN;
  if (special === 'ieee' && exponent === largest) return mantissa === 0 ? sign * Infinity : NaN;
  if (special === 'allOnes' && exponent === largest && mantissa === 2 ** mantissaBits - 1) return NaN;
  const fraction = mantissa / 2 ** mantissaBits;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

export function isSmallFloat(type: ElementType): type is SmallFloat {
  return type in layouts || type === 'float8e8m0';
}

const tables = new Map<SmallFloat, Float32Array>();

/** The value of each bit pattern of an 8- or 4-bit float. */
export function valuesOf(type: SmallFloat): Float32Array {
  let table = tables.get(type);
  if (table === undefined) {
    table =
      type === 'float8e8m0'
        ? Float32Array.from({ length: 256 }, (_, bits) => (bits === 255 ? NaN : 2 ** (bits - 127)))
        : Float32Array.from({ length: type === 'float4e2m1' ? 16 : 256 }, (_, bits) => decode(bits, layouts[type]));
    tables.set(type, table);
  }
  return table;
}

const inverses = new Map<SmallFloat, ReadonlyMap<number, number>>();

/** The bits of a value, rounded to the nearest one of the type. */
export function bitsOf(x: number, type: SmallFloat): number {
  const table = valuesOf(type);
  let inverse = inverses.get(type);
  if (inverse === undefined) {
    // The first pattern counts: of +0 and -0 (equal as keys) +0, of the NaNs the one without sign.
    const found = new Map<number, number>();
    table.forEach((value, bits) => {
      if (!found.has(value)) found.set(value, bits);
    });
    inverse = found;
    inverses.set(type, inverse);
  }
  // Infinities are values of some types, and rounding saturates.
  const value = inverse.has(x) ? x : roundNumber(x, type);
  if (Object.is(value, -0)) return Object.is(table[table.length / 2], -0) ? table.length / 2 : 0;
  return inverse.get(Math.fround(value)) ?? 0;
}
