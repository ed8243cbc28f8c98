/** Instructions of contraction kernels by computing type: loads that widen, multiply-add, transposition. */
import type { DType, ScalarType } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { FunctionBuilder, LaneMemoryOp, LaneOp, MemoryOp, PlainOp, WasmLocal } from './asm.js';

export type ArithmeticType = Exclude<ScalarType, 'bool'>;

/** Instruction names of one computing type. */
export interface VectorType {
  readonly type: ArithmeticType;
  readonly dtype: DType;
  readonly lanes: 2 | 4;
  readonly bytes: 4 | 8;
  readonly add: PlainOp;
  readonly mul: PlainOp;
  readonly loadSplat: MemoryOp;
  readonly loadFirst: MemoryOp;
  readonly loadLane: LaneMemoryOp;
  readonly replaceLane: LaneOp;
  readonly load: MemoryOp;
  readonly store: MemoryOp;
}

const narrow = {
  lanes: 4,
  bytes: 4,
  loadSplat: 'v128.load32_splat',
  loadFirst: 'v128.load32_zero',
  loadLane: 'v128.load32_lane',
} as const;
const wide = {
  lanes: 2,
  bytes: 8,
  loadSplat: 'v128.load64_splat',
  loadFirst: 'v128.load64_zero',
  loadLane: 'v128.load64_lane',
} as const;

export const vectorTypes: Readonly<Record<ArithmeticType, VectorType>> = {
  f32: {
    ...narrow,
    type: 'f32',
    dtype: 'float32',
    add: 'f32x4.add',
    mul: 'f32x4.mul',
    replaceLane: 'f32x4.replace_lane',
    load: 'f32.load',
    store: 'f32.store',
  },
  i32: {
    ...narrow,
    type: 'i32',
    dtype: 'int32',
    add: 'i32x4.add',
    mul: 'i32x4.mul',
    replaceLane: 'i32x4.replace_lane',
    load: 'i32.load',
    store: 'i32.store',
  },
  f64: {
    ...wide,
    type: 'f64',
    dtype: 'float64',
    add: 'f64x2.add',
    mul: 'f64x2.mul',
    replaceLane: 'f64x2.replace_lane',
    load: 'f64.load',
    store: 'f64.store',
  },
  i64: {
    ...wide,
    type: 'i64',
    dtype: 'int64',
    add: 'i64x2.add',
    mul: 'i64x2.mul',
    replaceLane: 'i64x2.replace_lane',
    load: 'i64.load',
    store: 'i64.store',
  },
};

export const zeroBytes: readonly number[] = new Array<number>(16).fill(0);

/** accumulator += x * y, with x and y v128 locals. */
export function multiplyAdd(
  fn: FunctionBuilder,
  v: VectorType,
  relaxed: boolean,
  accumulator: WasmLocal,
  x: WasmLocal,
  y: WasmLocal,
): void {
  if (relaxed && v.type === 'f32') fn.get(x).get(y).get(accumulator).op('f32x4.relaxed_madd').set(accumulator);
  else if (relaxed && v.type === 'f64') fn.get(x).get(y).get(accumulator).op('f64x2.relaxed_madd').set(accumulator);
  else fn.get(accumulator).get(x).get(y).op(v.mul).op(v.add).set(accumulator);
}

const i32Loads: Partial<Record<DType, MemoryOp>> = {
  int16: 'i32.load16_s',
  int8: 'i32.load8_s',
  uint8: 'i32.load8_u',
  float16: 'i32.load16_u',
  bfloat16: 'i32.load16_u',
};

/** Address on the stack -> element of `dtype`, which computes in this type. `half` is a scratch i32 local. */
export function loadScalar(fn: FunctionBuilder, dtype: DType, v: VectorType, half: WasmLocal): void {
  if (dtype === v.dtype) {
    fn.mem(v.load);
    return;
  }
  const op = i32Loads[dtype];
  if (op === undefined) throw new CompilerError(`contraction of ${dtype} in ${v.type}`);
  fn.mem(op);
  if (dtype === 'bfloat16') fn.i32(16).op('i32.shl').op('f32.reinterpret_i32');
  else if (dtype === 'float16') {
    halfToFloatBits(fn, half);
    fn.op('f32.reinterpret_i32');
  }
}

/** float16 bits on the stack -> float32 bits: exponents are rebased by a multiplication, which also normalises subnormals. */
function halfToFloatBits(fn: FunctionBuilder, h: WasmLocal): void {
  fn.set(h);
  fn.get(h).i32(0x7fff).op('i32.and').i32(13).op('i32.shl').op('f32.reinterpret_i32');
  fn.f32(2 ** 112)
    .op('f32.mul')
    .op('i32.reinterpret_f32');
  // Infinity and NaN: all exponent bits stay set.
  fn.i32(0x7f800000).i32(0).get(h).i32(0x7c00).op('i32.and').i32(0x7c00).op('i32.eq').op('select').op('i32.or');
  fn.get(h).i32(0x8000).op('i32.and').i32(16).op('i32.shl').op('i32.or');
}

/** Address on the stack -> consecutive elements widened into one vector. Reads exactly those elements. */
export function loadVector(fn: FunctionBuilder, dtype: DType, v: VectorType, temporary: WasmLocal): void {
  const fill = (value: number): Int32Array => new Int32Array(4).fill(value);
  switch (dtype) {
    case v.dtype:
      fn.mem('v128.load', 0, Math.log2(v.bytes));
      return;
    case 'bfloat16':
      fn.mem('v128.load16x4_u', 0, 1).i32(16).op('i32x4.shl');
      return;
    case 'float16':
      fn.mem('v128.load16x4_u', 0, 1).set(temporary);
      fn.get(temporary).v128Lanes(fill(0x7fff)).op('v128.and').i32(13).op('i32x4.shl');
      fn.v128Lanes(new Float32Array(4).fill(2 ** 112)).op('f32x4.mul');
      fn.get(temporary).v128Lanes(fill(0x7c00)).op('v128.and').v128Lanes(fill(0x7c00)).op('i32x4.eq');
      fn.v128Lanes(fill(0x7f800000)).op('v128.and').op('v128.or');
      fn.get(temporary).v128Lanes(fill(0x8000)).op('v128.and').i32(16).op('i32x4.shl').op('v128.or');
      return;
    case 'int8':
      fn.mem('v128.load32_zero', 0, 0).op('i16x8.extend_low_i8x16_s').op('i32x4.extend_low_i16x8_s');
      return;
    case 'uint8':
      fn.mem('v128.load32_zero', 0, 0).op('i16x8.extend_low_i8x16_u').op('i32x4.extend_low_i16x8_u');
      return;
    case 'int16':
      fn.mem('v128.load16x4_s', 0, 1);
      return;
    default:
      throw new CompilerError(`contraction of ${dtype} in ${v.type}`);
  }
}

/** Transposes a square of vectors (4x4 or 2x2) in place. */
export function transpose(fn: FunctionBuilder, rows: readonly WasmLocal[]): void {
  const [r0, r1, r2, r3] = rows;
  if (r0 === undefined || r1 === undefined) throw new CompilerError('transpose of fewer than two vectors');
  if (r2 === undefined || r3 === undefined) {
    const t = fn.local('v128');
    fn.get(r0).get(r1).shuffle64(0, 2).set(t);
    fn.get(r0).get(r1).shuffle64(1, 3).set(r1);
    fn.get(t).set(r0);
    fn.free(t);
    return;
  }
  const t = [0, 1, 2, 3].map(() => fn.local('v128'));
  const [t0, t1, t2, t3] = t as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  fn.get(r0).get(r1).shuffle32(0, 4, 1, 5).set(t0);
  fn.get(r0).get(r1).shuffle32(2, 6, 3, 7).set(t1);
  fn.get(r2).get(r3).shuffle32(0, 4, 1, 5).set(t2);
  fn.get(r2).get(r3).shuffle32(2, 6, 3, 7).set(t3);
  fn.get(t0).get(t2).shuffle64(0, 2).set(r0);
  fn.get(t0).get(t2).shuffle64(1, 3).set(r1);
  fn.get(t1).get(t3).shuffle64(0, 2).set(r2);
  fn.get(t1).get(t3).shuffle64(1, 3).set(r3);
  fn.free(...t);
}
