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
  readonly splat: PlainOp;
  readonly loadSplat: MemoryOp;
  readonly loadFirst: MemoryOp;
  readonly loadLane: LaneMemoryOp;
  readonly replaceLane: LaneOp;
  readonly extractLane: LaneOp;
  readonly scalarAdd: PlainOp;
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
    splat: 'f32x4.splat',
    replaceLane: 'f32x4.replace_lane',
    extractLane: 'f32x4.extract_lane',
    scalarAdd: 'f32.add',
    load: 'f32.load',
    store: 'f32.store',
  },
  i32: {
    ...narrow,
    type: 'i32',
    dtype: 'int32',
    add: 'i32x4.add',
    mul: 'i32x4.mul',
    splat: 'i32x4.splat',
    replaceLane: 'i32x4.replace_lane',
    extractLane: 'i32x4.extract_lane',
    scalarAdd: 'i32.add',
    load: 'i32.load',
    store: 'i32.store',
  },
  f64: {
    ...wide,
    type: 'f64',
    dtype: 'float64',
    add: 'f64x2.add',
    mul: 'f64x2.mul',
    splat: 'f64x2.splat',
    replaceLane: 'f64x2.replace_lane',
    extractLane: 'f64x2.extract_lane',
    scalarAdd: 'f64.add',
    load: 'f64.load',
    store: 'f64.store',
  },
  i64: {
    ...wide,
    type: 'i64',
    dtype: 'int64',
    add: 'i64x2.add',
    mul: 'i64x2.mul',
    splat: 'i64x2.splat',
    replaceLane: 'i64x2.replace_lane',
    extractLane: 'i64x2.extract_lane',
    scalarAdd: 'i64.add',
    load: 'i64.load',
    store: 'i64.store',
  },
};

export const zeroBytes: readonly number[] = new Array<number>(16).fill(0);

/** accumulator += x * y, with x and y v128 locals. */
export function multiplyAdd(fn: FunctionBuilder, v: VectorType, relaxed: boolean, accumulator: WasmLocal, x: WasmLocal, y: WasmLocal): void {
  if (relaxed && v.type === 'f32') fn.get(x).get(y).get(accumulator).op('f32x4.relaxed_madd').set(accumulator);
  else if (relaxed && v.type === 'f64') fn.get(x).get(y).get(accumulator).op('f64x2.relaxed_madd').set(accumulator);
  else fn.get(accumulator).get(x).get(y).op(v.mul).op(v.add).set(accumulator);
}

const i32Loads: Partial<Record<DType, MemoryOp>> = {
  int32: 'i32.load',
  int16: 'i32.load16_s',
  int8: 'i32.load8_s',
  uint8: 'i32.load8_u',
  bool: 'i32.load8_u',
  float16: 'i32.load16_u',
  bfloat16: 'i32.load16_u',
};

/** Address on the stack -> element of `dtype` converted to the computing type. `half` is a scratch i32 local. */
export function loadScalar(fn: FunctionBuilder, dtype: DType, v: VectorType, half: WasmLocal): void {
  if (dtype === v.dtype) {
    fn.mem(v.load, 0);
    return;
  }
  const isInt = dtype === 'int64' || dtype === 'int32' || dtype === 'int16' || dtype === 'int8' || dtype === 'uint8' || dtype === 'bool';
  let from: ArithmeticType;
  if (dtype === 'float32') {
    fn.mem('f32.load');
    from = 'f32';
  } else if (dtype === 'float64') {
    fn.mem('f64.load');
    from = 'f64';
  } else if (dtype === 'int64') {
    fn.mem('i64.load');
    from = 'i64';
  } else {
    const op = i32Loads[dtype];
    if (op === undefined) throw new CompilerError(`contraction of ${dtype}`);
    fn.mem(op);
    if (dtype === 'bool') fn.i32(0).op('i32.ne');
    from = 'i32';
    if (!isInt) {
      if (dtype === 'bfloat16') fn.i32(16).op('i32.shl');
      else halfToFloatBits(fn, half);
      fn.op('f32.reinterpret_i32');
      from = 'f32';
    }
  }
  convert(fn, from, v.type);
}

/** float16 bits on the stack -> float32 bits: exponents are rebased by a multiplication, which also normalises subnormals. */
function halfToFloatBits(fn: FunctionBuilder, h: WasmLocal): void {
  fn.set(h);
  fn.get(h).i32(0x7fff).op('i32.and').i32(13).op('i32.shl').op('f32.reinterpret_i32');
  fn.f32(2 ** 112).op('f32.mul').op('i32.reinterpret_f32');
  // Infinity and NaN: all exponent bits stay set.
  fn.i32(0x7f800000).i32(0).get(h).i32(0x7c00).op('i32.and').i32(0x7c00).op('i32.eq').op('select').op('i32.or');
  fn.get(h).i32(0x8000).op('i32.and').i32(16).op('i32.shl').op('i32.or');
}

function convert(fn: FunctionBuilder, from: ArithmeticType, to: ArithmeticType): void {
  if (from === to) return;
  const ops: Partial<Record<string, PlainOp>> = {
    'f32>f64': 'f64.promote_f32',
    'f64>f32': 'f32.demote_f64',
    'i32>f32': 'f32.convert_i32_s',
    'i32>f64': 'f64.convert_i32_s',
    'i64>f32': 'f32.convert_i64_s',
    'i64>f64': 'f64.convert_i64_s',
    'i32>i64': 'i64.extend_i32_s',
    'i64>i32': 'i32.wrap_i64',
    'f32>i32': 'i32.trunc_sat_f32_s',
    'f64>i32': 'i32.trunc_sat_f64_s',
    'f32>i64': 'i64.trunc_sat_f32_s',
    'f64>i64': 'i64.trunc_sat_f64_s',
  };
  const op = ops[`${from}>${to}`];
  if (op === undefined) throw new CompilerError(`conversion of ${from} to ${to}`);
  fn.op(op);
}

/** Can {@link loadVector} read `lanes` consecutive elements of this dtype at once? */
export function hasVectorLoad(dtype: DType, v: VectorType): boolean {
  if (dtype === v.dtype) return true;
  if (v.type === 'f32') return ['bfloat16', 'float16', 'int8', 'uint8', 'int16', 'int32', 'bool'].includes(dtype);
  if (v.type === 'i32') return ['int8', 'uint8', 'int16', 'bool'].includes(dtype);
  if (v.type === 'f64') return dtype === 'float32' || dtype === 'int32';
  return dtype === 'int32';
}

/** Address on the stack -> consecutive elements widened into one vector. Reads exactly those elements. */
export function loadVector(fn: FunctionBuilder, dtype: DType, v: VectorType, temporary: WasmLocal): void {
  if (dtype === v.dtype) {
    fn.mem('v128.load', 0, Math.log2(v.bytes));
    return;
  }
  if (v.lanes === 2) {
    if (v.type === 'f64' && dtype === 'float32') fn.mem('v128.load64_zero', 0, 2).op('f64x2.promote_low_f32x4');
    else if (v.type === 'f64' && dtype === 'int32') fn.mem('v128.load64_zero', 0, 2).op('f64x2.convert_low_i32x4_s');
    else if (v.type === 'i64' && dtype === 'int32') fn.mem('v128.load32x2_s', 0, 2);
    else throw new CompilerError(`vector load of ${dtype} as ${v.type}`);
    return;
  }
  switch (dtype) {
    case 'bfloat16':
      fn.mem('v128.load16x4_u', 0, 1).i32(16).op('i32x4.shl');
      return;
    case 'float16': {
      fn.mem('v128.load16x4_u', 0, 1).set(temporary);
      fn.get(temporary).v128Lanes(new Int32Array(4).fill(0x7fff)).op('v128.and').i32(13).op('i32x4.shl');
      fn.v128Lanes(new Float32Array(4).fill(2 ** 112)).op('f32x4.mul');
      fn.get(temporary).v128Lanes(new Int32Array(4).fill(0x7c00)).op('v128.and').v128Lanes(new Int32Array(4).fill(0x7c00)).op('i32x4.eq');
      fn.v128Lanes(new Int32Array(4).fill(0x7f800000)).op('v128.and').op('v128.or');
      fn.get(temporary).v128Lanes(new Int32Array(4).fill(0x8000)).op('v128.and').i32(16).op('i32x4.shl').op('v128.or');
      return;
    }
    case 'int8':
      fn.mem('v128.load32_zero', 0, 0).op('i16x8.extend_low_i8x16_s').op('i32x4.extend_low_i16x8_s');
      break;
    case 'uint8':
      fn.mem('v128.load32_zero', 0, 0).op('i16x8.extend_low_i8x16_u').op('i32x4.extend_low_i16x8_u');
      break;
    case 'bool':
      fn.mem('v128.load32_zero', 0, 0).op('i16x8.extend_low_i8x16_u').op('i32x4.extend_low_i16x8_u');
      fn.v128(zeroBytes).op('i32x4.ne').v128Lanes(new Int32Array(4).fill(1)).op('v128.and');
      break;
    case 'int16':
      fn.mem('v128.load16x4_s', 0, 1);
      break;
    case 'int32':
      fn.mem('v128.load', 0, 2);
      break;
    default:
      throw new CompilerError(`vector load of ${dtype} as ${v.type}`);
  }
  if (v.type === 'f32') fn.op('f32x4.convert_i32x4_s');
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
