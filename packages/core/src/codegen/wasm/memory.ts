/** Emission of loads and stores. */
import { type DType, dtypeInfo } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { Expr, LoadExpr } from '../../ir/expr.js';
import type { StoreStmt } from '../../ir/kernel.js';
import type { FunctionBuilder, MemoryOp, WasmLocal } from './asm.js';
import type { Emitter } from './emitter.js';
import { type ElementFormat, laneStoreOf, SharedFunctions, scalarLoadOf } from './functions.js';
import { type Access, accessOf } from './normalize.js';
import { componentCount, isWide, rampBytes, splatBytes, valTypeOf, zeroBytes } from './types.js';

const loadOps: Record<DType, MemoryOp> = {
  float32: 'f32.load',
  float64: 'f64.load',
  float16: 'i32.load16_u',
  bfloat16: 'i32.load16_u',
  int8: 'i32.load8_s',
  uint8: 'i32.load8_u',
  int16: 'i32.load16_s',
  int32: 'i32.load',
  int64: 'i64.load',
  bool: 'i32.load8_u',
};
const storeOps: Record<DType, MemoryOp> = {
  float32: 'f32.store',
  float64: 'f64.store',
  float16: 'i32.store16',
  bfloat16: 'i32.store16',
  int8: 'i32.store8',
  uint8: 'i32.store8',
  int16: 'i32.store16',
  int32: 'i32.store',
  int64: 'i64.store',
  bool: 'i32.store8',
};
const formats: Record<DType, ElementFormat> = {
  float32: 'b32',
  float64: 'b64',
  float16: 'i16',
  bfloat16: 'i16',
  int8: 'i8',
  uint8: 'u8',
  int16: 'i16',
  int32: 'b32',
  int64: 'b64',
  bool: 'u8',
};

/** Pushes the element a load reads: once per cell, or the same one for all lanes. */
export function emitScalarLoad(em: Emitter, e: LoadExpr): void {
  const { f } = em;
  const access = accessOf(em.normal, e);
  const read = (): void => {
    f.mem(loadOps[access.dtype], access.offset);
    if (access.dtype === 'bool') f.i32(0).op('i32.ne');
  };
  if (!e.guard) {
    em.scalar(access.address);
    read();
    return;
  }
  const address = em.holdScalar(access.address);
  em.scalar(e.guard);
  const type = valTypeOf(e.type);
  f.if(type);
  f.get(address);
  read();
  f.else();
  if (type === 'f32') f.f32(0);
  else if (type === 'f64') f.f64(0);
  else if (type === 'i64') f.i64(0n);
  else f.i32(0);
  f.end();
}

/** Stores one element. */
export function emitScalarStore(em: Emitter, stmt: StoreStmt): void {
  const access = storeAccess(em, stmt);
  em.scalar(access.address);
  em.scalar(stmt.value);
  em.f.mem(storeOps[access.dtype], access.offset);
}
function storeAccess(em: Emitter, stmt: StoreStmt): Access {
  const access = em.normal.stores.get(stmt);
  if (!access) throw new CompilerError('a store without an address');
  return access;
}

/** Pushes a v128 whose 32-bit lanes are the byte addresses of the lanes of component `c` (lanes 0 and 1 for 64-bit elements). */
function pushLaneAddresses(em: Emitter, access: Access, c: number): void {
  const { f } = em;
  const { address, offset, dtype } = access;
  const shape = em.shape(address);
  const wide = dtypeInfo[dtype].bytes === 8;
  if (shape !== 'varying') {
    em.splat(address);
    em.constant(rampBytes((Math.imul(c * (wide ? 2 : 4), shape) + offset) | 0, shape));
    f.op('i32x4.add');
    return;
  }
  const group = em.holdVector(address, wide ? c >> 1 : c);
  f.get(group);
  if (wide && (c & 1) === 1) f.get(group).shuffle32(2, 3, 2, 3);
  if (offset !== 0) {
    em.constant(splatBytes('i32', offset));
    f.op('i32x4.add');
  }
}

/** `[v128 of raw elements] -> [v128 in the compute type's layout]`, for bool and narrow integers read lane by lane. */
function finishBool(f: FunctionBuilder, dtype: DType): void {
  if (dtype === 'bool') f.v128(zeroBytes).op('i32x4.ne');
}

/** `[address] -> [component]` of consecutive elements. */
function loadConsecutive(f: FunctionBuilder, dtype: DType, offset: number): void {
  switch (formats[dtype]) {
    case 'b32':
    case 'b64':
      f.mem('v128.load', offset, formats[dtype] === 'b32' ? 2 : 3);
      return;
    case 'i16':
      f.mem('v128.load16x4_s', offset, 1);
      return;
    case 'i8':
      f.mem('v128.load32_zero', offset, 0).op('i16x8.extend_low_i8x16_s').op('i32x4.extend_low_i16x8_s');
      return;
    default:
      f.mem('v128.load32_zero', offset, 0).op('i16x8.extend_low_i8x16_u').op('i32x4.extend_low_i16x8_u');
      finishBool(f, dtype);
  }
}

/** Pushes component `c` of a load whose lanes are all active. */
function loadPlain(em: Emitter, access: Access, c: number): void {
  const { f } = em;
  const { address, offset, dtype } = access;
  const { bytes } = dtypeInfo[dtype];
  const wide = bytes === 8;
  const perComponent = wide ? 2 : 4;
  const shape = em.shape(address);
  if (shape === bytes) {
    em.scalar(address);
    loadConsecutive(f, dtype, offset + c * perComponent * bytes);
    return;
  }
  if (shape === -bytes) {
    em.scalar(address);
    f.i32(offset - ((c + 1) * perComponent - 1) * bytes).op('i32.add');
    loadConsecutive(f, dtype, 0);
    const loaded = f.local('v128');
    f.set(loaded).get(loaded).get(loaded);
    if (wide) f.shuffle64(1, 0);
    else f.shuffle32(3, 2, 1, 0);
    f.free(loaded);
    return;
  }
  // Each lane by itself: push the addresses last lane first, then load from lane 0 on.
  const lanes = Array.from({ length: perComponent }, (_, i) => perComponent - 1 - i);
  let offsets = lanes.map(() => offset);
  let pushAddress: (lane: number) => void;
  if (shape === 'varying') {
    const group = em.holdVector(address, wide ? c >> 1 : c);
    const first = wide ? 2 * (c & 1) : 0;
    pushAddress = (lane) => f.get(group).lane('i32x4.extract_lane', first + lane);
  } else {
    const step = shape;
    const last = step * (componentCount(wide ? 'f64' : 'f32', em.lanes?.units ?? 1) * perComponent - 1);
    const base = em.holdScalar(address);
    if (step >= 0 && offset + last < 2 ** 32) {
      offsets = lanes.map((_, lane) => offset + (c * perComponent + lane) * step);
      pushAddress = () => f.get(base);
    } else {
      offsets = lanes.map(() => 0);
      pushAddress = (lane) =>
        f
          .get(base)
          .i32(Math.imul(c * perComponent + lane, step) + offset)
          .op('i32.add');
    }
  }
  const format = formats[dtype];
  if (format === 'b32' || format === 'b64') {
    for (const lane of lanes) pushAddress(lane);
    f.mem(wide ? 'v128.load64_zero' : 'v128.load32_zero', offsets[0] ?? 0, wide ? 3 : 2);
    for (let lane = 1; lane < perComponent; lane++) f.laneMem(wide ? 'v128.load64_lane' : 'v128.load32_lane', lane, offsets[lane] ?? 0);
    return;
  }
  pushAddress(0);
  f.mem(scalarLoadOf(format), offsets[0] ?? 0).op('i32x4.splat');
  for (let lane = 1; lane < 4; lane++) {
    pushAddress(lane);
    f.mem(scalarLoadOf(format), offsets[lane] ?? 0).lane('i32x4.replace_lane', lane);
  }
  finishBool(f, dtype);
}

/** Pushes the mask of component `c` of a type as 32-bit lanes: for 64-bit types lanes 0 and 1 are the component's. */
function pushLaneMask(f: FunctionBuilder, mask: WasmLocal, wide: boolean, c: number): void {
  f.get(mask);
  if (!wide) return;
  f.get(mask);
  if (c & 1) f.shuffle32(2, 3, 2, 3);
  else f.shuffle32(0, 1, 0, 1);
}

/** Pushes component `c` of a load in a vector loop whose lanes differ. */
export function loadComponent(em: Emitter, e: LoadExpr, c: number, shared: boolean): void {
  const { f, lanes } = em;
  if (!lanes) throw new CompilerError('a vector load outside a vector loop');
  const access = accessOf(em.normal, e);
  const guard = e.guard;
  const uniformGuard = guard !== null && em.isUniform(guard);
  if (em.mask || (guard && !uniformGuard)) {
    loadMasked(em, e, access, c, uniformGuard);
  } else if (guard) {
    loadUniformlyGuarded(em, e, access, guard);
    f.get(em.holdVector(e, c));
  } else {
    loadPlain(em, access, c);
    if (shared) f.tee(em.rememberVector(e, c));
  }
}

/** All components under one branch. */
function loadUniformlyGuarded(em: Emitter, e: LoadExpr, access: Access, guard: Expr): void {
  const { f, lanes } = em;
  if (!lanes) return;
  const components = componentCount(e.type, lanes.units);
  prepareAddress(em, access);
  const held = Array.from({ length: components }, () => em.temporary('v128'));
  for (const local of held) f.v128(zeroBytes).set(local);
  em.scalar(guard);
  f.if();
  held.forEach((local, c) => {
    loadPlain(em, access, c);
    f.set(local);
  });
  f.end();
  held.forEach((local, c) => em.holdVectorIn(e, c, local));
}

/** Computes what addressing needs before code that runs conditionally: the cache must not learn anything inside it. */
function prepareAddress(em: Emitter, access: Access): void {
  if (em.shape(access.address) === 'varying') {
    for (let c = 0; c < (em.lanes?.units ?? 1); c++) em.holdVector(access.address, c);
  } else em.holdScalar(access.address);
}

function loadMasked(em: Emitter, e: LoadExpr, access: Access, c: number, uniformGuard: boolean): void {
  const { f } = em;
  const wide = isWide(e.type);
  const { bytes } = dtypeInfo[access.dtype];
  const shape = em.shape(access.address);
  prepareAddress(em, access);
  const maskIndex = wide ? c >> 1 : c;
  const outer = em.mask?.[maskIndex];
  const mask = f.local('v128');
  if (e.guard) {
    if (uniformGuard) em.splat(e.guard);
    else em.vector(e.guard, maskIndex);
    if (outer) f.get(outer).op('v128.and');
  } else if (outer) f.get(outer);
  f.set(mask);
  pushLaneMask(f, mask, wide, c);
  f.set(mask);
  if (shape === bytes) {
    f.get(mask).op('i32x4.all_true').if('v128');
    loadPlain(em, access, c);
    f.else();
  }
  em.inScope(() => {
    pushLaneAddresses(em, access, c);
    f.get(mask).call(SharedFunctions.of(em.module).gather(formats[access.dtype]));
    finishBool(f, access.dtype);
  });
  if (shape === bytes) f.end();
  f.free(mask);
  f.tee(em.rememberVector(e, c));
}

/** `[component] -> [component with its elements packed at the front]` for narrow integers. */
function packNarrow(em: Emitter, dtype: DType): void {
  const { f } = em;
  if (dtype === 'bool') {
    em.constant(splatBytes('i32', 1));
    f.op('v128.and');
  }
  const packed = f.local('v128');
  f.set(packed).get(packed).get(packed);
  if (dtypeInfo[dtype].bytes === 1) f.shuffle([0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12]);
  else f.shuffle([0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13]);
  f.free(packed);
}
/** `[address, component] -> []`: stores consecutive elements. */
function storeConsecutive(em: Emitter, dtype: DType, offset: number): void {
  const { f } = em;
  const { bytes } = dtypeInfo[dtype];
  if (bytes >= 4) {
    f.mem('v128.store', offset, bytes === 4 ? 2 : 3);
    return;
  }
  packNarrow(em, dtype);
  f.laneMem(bytes === 1 ? 'v128.store32_lane' : 'v128.store64_lane', 0, offset);
}

/** Stores all active lanes, in lane order. */
export function emitVectorStore(em: Emitter, stmt: StoreStmt): void {
  const { f, lanes } = em;
  if (!lanes) throw new CompilerError('a vector store outside a vector loop');
  const access = storeAccess(em, stmt);
  const { dtype, address, offset } = access;
  const { bytes } = dtypeInfo[dtype];
  const wide = bytes === 8;
  const perComponent = wide ? 2 : 4;
  const components = componentCount(stmt.value.type, lanes.units);
  const shape = em.shape(address);
  if (shape === bytes && !em.mask) {
    for (let c = 0; c < components; c++) {
      em.scalar(address);
      em.vector(stmt.value, c);
      storeConsecutive(em, dtype, offset + c * perComponent * bytes);
    }
    return;
  }
  if (shape === 0 && !em.mask && em.isUniform(stmt.value)) {
    emitScalarStore(em, stmt);
    return;
  }
  prepareAddress(em, access);
  const format = formats[dtype];
  for (let c = 0; c < components; c++) {
    let value = em.holdVector(stmt.value, c);
    if (dtype === 'bool') {
      const bits = em.temporary('v128');
      f.get(value);
      em.constant(splatBytes('i32', 1));
      f.op('v128.and').set(bits);
      value = bits;
    }
    const mask = em.mask?.[wide ? c >> 1 : c];
    if (!mask) {
      const where = em.temporary('v128');
      pushLaneAddresses(em, access, c);
      f.set(where);
      const { op, step } = laneStoreOf(format);
      for (let lane = 0; lane < perComponent; lane++) {
        f.get(where)
          .lane('i32x4.extract_lane', lane)
          .get(value)
          .laneMem(op, lane * step);
      }
      continue;
    }
    const laneMask = em.temporary('v128');
    pushLaneMask(f, mask, wide, c);
    f.set(laneMask);
    const scatter = SharedFunctions.of(em.module).scatter(format);
    if (shape === bytes) {
      const base = em.holdScalar(address);
      f.get(laneMask).op('i32x4.all_true').if();
      f.get(base).get(value);
      storeConsecutive(em, dtype, offset + c * perComponent * bytes);
      f.else();
    }
    em.inScope(() => {
      pushLaneAddresses(em, access, c);
      f.get(laneMask).get(value).call(scatter);
    });
    if (shape === bytes) f.end();
  }
}
