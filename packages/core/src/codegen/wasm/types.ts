/**
 * How values of the kernel IR live in WebAssembly.
 *
 * Scalars use the obvious type; bool is an i32 that is 0 or 1. In a vector loop a value has `4 * units` lanes, held in
 * v128 components: `units` of them for f32, i32 and bool (a mask of 32-bit lanes, all ones or all zeros), twice as many
 * for f64 and i64 (two lanes each). Mixed types therefore always agree on the number of lanes.
 */
import type { ScalarType } from '../../dtype.js';
import type { ValType } from './asm.js';

/** WebAssembly type of a scalar. */
export function valTypeOf(type: ScalarType): Exclude<ValType, 'v128'> {
  return type === 'bool' ? 'i32' : type;
}
export function isWide(type: ScalarType): type is 'f64' | 'i64' {
  return type === 'f64' || type === 'i64';
}
/** Number of v128 components of a vector of `4 * units` lanes. */
export function componentCount(type: ScalarType, units: number): number {
  return isWide(type) ? 2 * units : units;
}

const prefixes = { f32: 'f32x4', i32: 'i32x4', bool: 'i32x4', f64: 'f64x2', i64: 'i64x2' } as const;
/** Prefix of the SIMD instructions for a type. */
export function lanePrefix<T extends ScalarType>(type: T): (typeof prefixes)[T] {
  return prefixes[type];
}

/** 16 bytes of a vector with this value in each lane (bool: a mask). */
export function splatBytes(type: ScalarType, value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 16; at += isWide(type) ? 8 : 4) {
    if (type === 'f32') view.setFloat32(at, Number(value), true);
    else if (type === 'f64') view.setFloat64(at, Number(value), true);
    else if (type === 'i64') view.setBigInt64(at, BigInt(value), true);
    else view.setInt32(at, type === 'bool' ? (value ? -1 : 0) : Number(value), true);
  }
  return bytes;
}
/** 16 bytes of an i32x4: first, first + step, ... */
export function rampBytes(first: number, step: number): Uint8Array {
  const lanes = Int32Array.of(first, first + step, first + 2 * step, first + 3 * step);
  return new Uint8Array(lanes.buffer);
}
export const zeroBytes: Uint8Array = new Uint8Array(16);
