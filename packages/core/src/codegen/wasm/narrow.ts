/**
 * float16 and bfloat16 as integer arithmetic on 16-bit patterns, written as kernel expressions so that scalar and
 * vector code are the same computation and constants are shared.
 */
import type { Expr, ExprBuilder } from '../../ir/expr.js';

const signBit = 0x80000000 | 0;

/** The f32 of a bfloat16 pattern (the upper 16 bits of `bits` are ignored). */
export function bfloatToFloat(b: ExprBuilder, bits: Expr): Expr {
  return b.bitcast(b.binary('shl', bits, b.i32(16)), 'f32');
}
/** Nearest bfloat16 pattern of an f32, ties to even; any NaN becomes a quiet NaN. */
export function floatToBfloat(b: ExprBuilder, value: Expr): Expr {
  const bits = b.bitcast(value, 'i32');
  const upper = b.binary('shrU', bits, b.i32(16));
  const rounded = b.binary('shrU', b.add(b.add(bits, b.i32(0x7fff)), b.and(upper, b.i32(1))), b.i32(16));
  return b.select(b.binary('ne', value, value), b.i32(0x7fc0), rounded);
}

/** The f32 of a float16 pattern (the upper 16 bits of `bits` are ignored): exact for every pattern. */
export function halfToFloat(b: ExprBuilder, bits: Expr): Expr {
  const magnitude = b.and(bits, b.i32(0x7fff));
  const moved = b.binary('shl', magnitude, b.i32(13));
  const normal = b.add(moved, b.i32((127 - 15) << 23));
  const nonFinite = b.binary('or', moved, b.i32(0x7f800000));
  // A subnormal half is an integer multiple of 2^-24: put its bits below the one of 2^-14, then take 2^-14 away.
  const subnormal = b.bitcast(b.sub(b.bitcast(b.add(moved, b.i32((127 - 14) << 23)), 'f32'), b.const('f32', 2 ** -14)), 'i32');
  const finite = b.select(b.binary('lt', magnitude, b.i32(0x400)), subnormal, normal);
  const unsigned = b.select(b.binary('lt', magnitude, b.i32(0x7c00)), finite, nonFinite);
  return b.bitcast(b.binary('or', unsigned, b.binary('shl', b.and(bits, b.i32(0x8000)), b.i32(16))), 'f32');
}

/** Nearest float16 pattern of an f32, ties to even; overflow gives infinity, any NaN a quiet NaN. */
export function floatToHalf(b: ExprBuilder, value: Expr): Expr {
  const bits = b.bitcast(value, 'i32');
  const magnitude = b.and(bits, b.i32(0x7fffffff));
  const odd = b.and(b.binary('shrU', magnitude, b.i32(13)), b.i32(1));
  const rebiased = b.add(magnitude, b.i32(((15 - 127) << 23) + 0xfff));
  const normal = b.binary('shrU', b.add(rebiased, odd), b.i32(13));
  // Adding 0.5 aligns the fraction of a subnormal result with the lowest bits and rounds it to even.
  const subnormal = b.sub(b.bitcast(b.add(b.bitcast(magnitude, 'f32'), b.const('f32', 0.5)), 'i32'), b.i32(0x3f000000));
  const finite = b.select(b.binary('lt', magnitude, b.i32((127 - 14) << 23)), subnormal, normal);
  const overflowed = b.select(b.binary('lt', b.i32(0x7f800000), magnitude), b.i32(0x7e00), b.i32(0x7c00));
  const unsigned = b.select(b.binary('lt', magnitude, b.i32((127 + 16) << 23)), finite, overflowed);
  return b.binary('or', unsigned, b.binary('shrU', b.and(bits, b.i32(signBit)), b.i32(16)));
}
