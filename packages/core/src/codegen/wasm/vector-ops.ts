/** Instructions for one component of a vector operation (see types.ts for the layout of vectors). */
import type { ScalarType } from '../../dtype.js';
import type { BinaryExpr, BitcastExpr, CastExpr, Expr, SelectExpr, UnaryExpr } from '../../ir/expr.js';
import type { HeavyArms } from './arms.js';
import type { FunctionBuilder, LaneOp, ModuleBuilder, PlainOp, WasmLocal } from './asm.js';
import type { Ranges } from './ranges.js';
import { scalarBinary, scalarCast, unsupported } from './scalar-ops.js';
import { isWide, lanePrefix, splatBytes } from './types.js';

/** What the operations need from the emitter. */
export interface VectorHost {
  readonly f: FunctionBuilder;
  readonly module: ModuleBuilder;
  readonly relaxedSimd: boolean;
  readonly ranges: Ranges;
  readonly heavyArms: HeavyArms;
  /** Emits code that may not run: the cache forgets what it computed. */
  inScope(emit: () => void): void;
  /** Pushes component `c` of an expression. */
  vector(e: Expr, c: number): void;
  /** A local with component `c` of an expression; not to be changed. */
  holdVector(e: Expr, c: number): WasmLocal;
  /** Pushes the scalar value of an expression that is the same in all lanes. */
  scalar(e: Expr): void;
  isUniform(e: Expr): boolean;
  /** Pushes a constant vector. */
  constant(bytes: Uint8Array): void;
}

const extractOps: Record<ScalarType, LaneOp> = {
  f32: 'f32x4.extract_lane',
  i32: 'i32x4.extract_lane',
  bool: 'i32x4.extract_lane',
  f64: 'f64x2.extract_lane',
  i64: 'i64x2.extract_lane',
};
const replaceOps: Record<ScalarType, LaneOp> = {
  f32: 'f32x4.replace_lane',
  i32: 'i32x4.replace_lane',
  bool: 'i32x4.replace_lane',
  f64: 'f64x2.replace_lane',
  i64: 'i64x2.replace_lane',
};
export function extractLane(f: FunctionBuilder, type: ScalarType, lane: number): void {
  f.lane(extractOps[type], lane);
}
/** `[scalar] -> [vector]`; a bool becomes a mask. */
export function splat(f: FunctionBuilder, type: ScalarType): void {
  if (type === 'bool') f.i32(-1).op('i32.mul');
  f.op(`${lanePrefix(type)}.splat`);
}

/** Builds component `c` of type `to` lane by lane: `lane(i)` pushes the scalar for lane i of the component. */
function perLane(h: VectorHost, to: ScalarType, lane: (i: number) => void): void {
  lane(0);
  h.f.op(`${lanePrefix(to)}.splat`);
  for (let i = 1; i < (isWide(to) ? 2 : 4); i++) {
    lane(i);
    h.f.lane(replaceOps[to], i);
  }
}

/** `[low, high]`, two components of 64-bit lanes `->` their low words as one component. */
function lowWords(f: FunctionBuilder): void {
  f.shuffle32(0, 2, 4, 6);
}
/** Half of a component of 32-bit lanes moved to lanes 0 and 1 when it is the upper one. */
function moveHalf(h: VectorHost, source: WasmLocal, half: number): void {
  h.f.get(source);
  if (half === 1) h.f.get(source).shuffle32(2, 3, 2, 3);
}
/** Pushes a mask widened to 64-bit lanes for component `c` of a 64-bit type. */
function wideMask(h: VectorHost, condition: Expr, c: number): void {
  const mask = h.holdVector(condition, c >> 1);
  h.f.get(mask).get(mask);
  if (c & 1) h.f.shuffle32(2, 2, 3, 3);
  else h.f.shuffle32(0, 0, 1, 1);
}

export function vectorUnary(h: VectorHost, e: UnaryExpr, c: number): void {
  const { f } = h;
  const type = e.type;
  h.vector(e.a, c);
  if (e.op === 'not') {
    if (type === 'f32' || type === 'f64') throw unsupported('not', type);
    f.op('v128.not');
    return;
  }
  if (type === 'bool') throw unsupported(e.op, type);
  const float = type === 'f32' || type === 'f64';
  switch (e.op) {
    case 'neg':
    case 'abs':
      f.op(`${lanePrefix(type)}.${e.op}`);
      return;
    case 'floor':
    case 'ceil':
    case 'trunc':
      if (float) f.op(`${lanePrefix(type)}.${e.op}`);
      return;
    case 'roundEven':
      if (float) f.op(`${lanePrefix(type)}.nearest`);
      return;
    case 'sqrt':
      if (!float) throw unsupported(e.op, type);
      f.op(`${lanePrefix(type)}.sqrt`);
      return;
    default:
      throw unsupported(e.op, type);
  }
}

const comparisons: ReadonlySet<string> = new Set(['lt', 'le', 'eq', 'ne', 'ltU']);

export function vectorBinary(h: VectorHost, e: BinaryExpr, c: number): void {
  if (comparisons.has(e.op)) {
    compare(h, e, c);
    return;
  }
  const { f } = h;
  const type = e.type;
  switch (e.op) {
    case 'and':
    case 'or':
    case 'xor':
      if (type === 'f32' || type === 'f64') throw unsupported(e.op, type);
      h.vector(e.a, c);
      h.vector(e.b, c);
      f.op(`v128.${e.op}`);
      return;
    case 'add':
    case 'sub':
    case 'mul':
      if (type === 'bool') throw unsupported(e.op, type);
      h.vector(e.a, c);
      h.vector(e.b, c);
      f.op(`${lanePrefix(type)}.${e.op}`);
      return;
    case 'min':
    case 'max':
      extremum(h, e, c);
      return;
    case 'div':
    case 'rem':
      if (type === 'f32' || type === 'f64') {
        if (e.op === 'rem') return lanewise(h, e, c);
        h.vector(e.a, c);
        h.vector(e.b, c);
        f.op(`${lanePrefix(type)}.div`);
        return;
      }
      if (type === 'i32') return divide(h, e, c);
      return lanewise(h, e, c);
    case 'shl':
    case 'shr':
    case 'shrU': {
      if (type !== 'i32' && type !== 'i64') throw unsupported(e.op, type);
      if (!h.isUniform(e.b)) return lanewise(h, e, c);
      h.vector(e.a, c);
      h.scalar(e.b);
      if (type === 'i64') f.op('i32.wrap_i64');
      f.op(`${lanePrefix(type)}.${e.op === 'shl' ? 'shl' : e.op === 'shr' ? 'shr_s' : 'shr_u'}`);
      return;
    }
    case 'mulHiU': {
      if (type !== 'i32') throw unsupported(e.op, type);
      const a = h.holdVector(e.a, c);
      const b = h.holdVector(e.b, c);
      f.get(a).get(b).op('i64x2.extmul_low_i32x4_u').get(a).get(b).op('i64x2.extmul_high_i32x4_u').shuffle32(1, 3, 5, 7);
      return;
    }
    default:
      throw unsupported(e.op, type);
  }
}

function lanewise(h: VectorHost, e: BinaryExpr, c: number): void {
  const a = h.holdVector(e.a, c);
  const b = h.holdVector(e.b, c);
  perLane(h, e.type, (i) => {
    h.f.get(a);
    extractLane(h.f, e.type, i);
    h.f.get(b);
    extractLane(h.f, e.type, i);
    scalarBinary(h.f, h.module, e.op, e.type);
  });
}

function compare(h: VectorHost, e: BinaryExpr, c: number): void {
  const { f } = h;
  const type = e.a.type;
  if (type === 'bool') {
    // Masks: a < b is (not a) and b, a <= b is (not a) or b.
    if (e.op === 'lt') {
      h.vector(e.b, c);
      h.vector(e.a, c);
      f.op('v128.andnot');
      return;
    }
    h.vector(e.a, c);
    if (e.op === 'le') f.op('v128.not');
    h.vector(e.b, c);
    f.op(e.op === 'le' ? 'v128.or' : 'v128.xor');
    if (e.op === 'eq') f.op('v128.not');
    else if (e.op === 'ltU') throw unsupported(e.op, type);
    return;
  }
  const name = compareOp(e);
  if (!isWide(type)) {
    h.vector(e.a, c);
    h.vector(e.b, c);
    f.op(name);
    return;
  }
  for (const part of [2 * c, 2 * c + 1]) {
    h.vector(e.a, part);
    h.vector(e.b, part);
    f.op(name);
  }
  lowWords(f);
}
function compareOp(e: BinaryExpr): PlainOp {
  const type = e.a.type;
  const { op } = e;
  if (op === 'ltU') {
    if (type !== 'i32') throw unsupported(op, type);
    return 'i32x4.lt_u';
  }
  if (op !== 'lt' && op !== 'le' && op !== 'eq' && op !== 'ne') throw unsupported(op, type);
  if (type === 'f32' || type === 'f64') return `${lanePrefix(type)}.${op}`;
  if (type === 'bool') throw unsupported(op, type);
  return op === 'eq' || op === 'ne' ? `${lanePrefix(type)}.${op}` : `${lanePrefix(type)}.${op}_s`;
}

function extremum(h: VectorHost, e: BinaryExpr, c: number): void {
  const { f } = h;
  const type = e.type;
  if (e.op !== 'min' && e.op !== 'max') throw unsupported(e.op, type);
  if (type === 'bool') throw unsupported(e.op, type);
  if (type === 'i64') {
    const a = h.holdVector(e.a, c);
    const b = h.holdVector(e.b, c);
    f.get(a)
      .get(b)
      .get(a)
      .get(b)
      .op(e.op === 'min' ? 'i64x2.lt_s' : 'i64x2.gt_s')
      .op('v128.bitselect');
    return;
  }
  if (type !== 'i32' && boundedByConstant(h, type, e, c)) return;
  h.vector(e.a, c);
  h.vector(e.b, c);
  f.op(type === 'i32' ? `i32x4.${e.op}_s` : `${lanePrefix(type)}.${e.op}`);
}
/**
 * max(x, constant) and min(x, constant) by the pseudo-operations, which are one instruction: they keep a NaN x, and a
 * zero constant loses to the other zero only where noted.
 */
function boundedByConstant(h: VectorHost, type: 'f32' | 'f64', e: BinaryExpr, c: number): boolean {
  const [x, bound] = e.b.kind === 'const' ? [e.a, e.b] : [e.b, e.a];
  if (bound.kind !== 'const' || Number.isNaN(bound.value)) return false;
  const positiveZero = Object.is(bound.value, 0);
  if (e.op === 'min' && Object.is(bound.value, -0)) return false;
  h.vector(x, c);
  h.vector(bound, c);
  h.f.op(`${lanePrefix(type)}.${e.op === 'min' ? 'pmin' : 'pmax'}`);
  if (e.op === 'max' && positiveZero) {
    // pmax(-0, +0) is -0; adding +0 changes nothing else.
    h.vector(bound, c);
    h.f.op(`${lanePrefix(type)}.add`);
  }
  return true;
}

/**
 * i32 division through f64: the quotient of two 32-bit integers, rounded to 53 bits, never crosses an integer, so
 * truncating it is exact.
 */
function divide(h: VectorHost, e: BinaryExpr, c: number): void {
  const { f } = h;
  const constant = e.b.kind === 'const' ? Number(e.b.value) : null;
  if (constant !== null && constant > 0 && (constant & (constant - 1)) === 0 && h.ranges.nonNegative(e.a)) {
    h.vector(e.a, c);
    if (e.op === 'div') f.i32(31 - Math.clz32(constant)).op('i32x4.shr_u');
    else {
      h.constant(splatBytes('i32', constant - 1));
      f.op('v128.and');
    }
    return;
  }
  const a = h.holdVector(e.a, c);
  const b = h.holdVector(e.b, c);
  const half = (i: number): void => {
    moveHalf(h, a, i);
    f.op('f64x2.convert_low_i32x4_s');
    moveHalf(h, b, i);
    f.op('f64x2.convert_low_i32x4_s').op('f64x2.div').op('i32x4.trunc_sat_f64x2_s_zero');
  };
  if (e.op === 'rem') f.get(a);
  half(0);
  half(1);
  f.shuffle32(0, 1, 4, 5);
  const divisor = h.ranges.of(e.b);
  if (divisor.low <= -1 && divisor.high >= -1) {
    // The least integer by -1 saturated: flip it to wrap around instead.
    h.constant(splatBytes('i32', -(2 ** 31)));
    f.get(a).op('i32x4.eq');
    h.constant(splatBytes('i32', -1));
    f.get(b).op('i32x4.eq').op('v128.and').op('v128.xor');
  }
  if (e.op === 'rem') f.get(b).op('i32x4.mul').op('i32x4.sub');
  if (divisor.low <= 0 && divisor.high >= 0) {
    f.get(b);
    h.constant(splatBytes('i32', 0));
    f.op('i32x4.ne').op('v128.and');
  }
}

export function vectorSelect(h: VectorHost, e: SelectExpr, c: number): void {
  if (comparedSelect(h, e, c)) return;
  const heavy = h.heavyArms.of(e);
  if (heavy) {
    branchingSelect(h, e, c, heavy);
    return;
  }
  h.vector(e.a, c);
  h.vector(e.b, c);
  if (isWide(e.type)) wideMask(h, e.condition, c);
  else h.vector(e.condition, c);
  laneSelect(h, e.type);
}
/** Computes the heavy arm only where some lane needs it. */
function branchingSelect(h: VectorHost, e: SelectExpr, c: number, heavy: 'a' | 'b'): void {
  const { f } = h;
  const light = h.holdVector(heavy === 'a' ? e.b : e.a, c);
  const mask = f.local('v128');
  if (isWide(e.type)) wideMask(h, e.condition, c);
  else h.vector(e.condition, c);
  f.tee(mask);
  if (heavy === 'b') f.op('v128.not');
  f.op('v128.any_true').if('v128');
  h.inScope(() => {
    if (heavy === 'b') f.get(light);
    h.vector(heavy === 'a' ? e.a : e.b, c);
    if (heavy === 'a') f.get(light);
    f.get(mask);
    laneSelect(h, e.type);
  });
  f.else().get(light).end();
  f.free(mask);
}
/** `[a, b, mask] -> [mask ? a : b]` for masks whose lanes are all ones or all zeros. */
function laneSelect(h: VectorHost, type: ScalarType): void {
  // The relaxed form is exact for such masks, and one instruction.
  if (!h.relaxedSimd) h.f.op('v128.bitselect');
  else h.f.op(isWide(type) ? 'i64x2.relaxed_laneselect' : 'i32x4.relaxed_laneselect');
}
/** `p < q ? p : q` and `p < q ? q : p` of floats are the pseudo-minimum and -maximum, NaN and signed zeros included. */
function comparedSelect(h: VectorHost, e: SelectExpr, c: number): boolean {
  const { condition, type } = e;
  if ((type !== 'f32' && type !== 'f64') || condition.kind !== 'binary' || condition.op !== 'lt') return false;
  const { a: p, b: q } = condition;
  const least = e.a === p && e.b === q;
  if (!least && !(e.a === q && e.b === p)) return false;
  h.vector(least ? q : p, c);
  h.vector(least ? p : q, c);
  h.f.op(`${lanePrefix(type)}.${least ? 'pmin' : 'pmax'}`);
  return true;
}

export function vectorBitcast(h: VectorHost, e: BitcastExpr, c: number): void {
  if (isWide(e.type) !== isWide(e.a.type) || e.type === 'bool' || e.a.type === 'bool') throw unsupported(`bitcast to ${e.type}`, e.a.type);
  h.vector(e.a, c);
}

/** Component `c` of a conversion. */
export function vectorCast(h: VectorHost, e: CastExpr, c: number): void {
  const { f } = h;
  const from = e.a.type;
  const to = e.type;
  if (from === to) {
    h.vector(e.a, c);
    return;
  }
  if (to === 'bool') return toBool(h, e, c);
  if (from === 'bool') return fromBool(h, e, c);
  if (isWide(from) === isWide(to)) {
    const direct: PlainOp | null =
      from === 'f32' && to === 'i32' ? 'i32x4.trunc_sat_f32x4_s' : from === 'i32' && to === 'f32' ? 'f32x4.convert_i32x4_s' : null;
    if (direct) {
      h.vector(e.a, c);
      f.op(direct);
      return;
    }
    const source = h.holdVector(e.a, c);
    perLane(h, to, (i) => castLane(h, source, from, to, i));
    return;
  }
  if (isWide(to)) {
    const source = h.holdVector(e.a, c >> 1);
    const half = c & 1;
    if (from === 'f32' && to === 'i64') {
      perLane(h, to, (i) => castLane(h, source, from, to, 2 * half + i));
    } else if (to === 'i64') {
      f.get(source).op(half ? 'i64x2.extend_high_i32x4_s' : 'i64x2.extend_low_i32x4_s');
    } else {
      moveHalf(h, source, half);
      f.op(from === 'f32' ? 'f64x2.promote_low_f32x4' : 'f64x2.convert_low_i32x4_s');
    }
    return;
  }
  if (from === 'i64' && to === 'f32') {
    const sources = [h.holdVector(e.a, 2 * c), h.holdVector(e.a, 2 * c + 1)];
    perLane(h, to, (i) => {
      const source = sources[i >> 1];
      if (source) castLane(h, source, from, to, i & 1);
    });
    return;
  }
  for (const part of [2 * c, 2 * c + 1]) {
    h.vector(e.a, part);
    if (from === 'f64') f.op(to === 'f32' ? 'f32x4.demote_f64x2_zero' : 'i32x4.trunc_sat_f64x2_s_zero');
  }
  if (from === 'f64') f.shuffle64(0, 2);
  else lowWords(f);
}
function castLane(h: VectorHost, source: WasmLocal, from: ScalarType, to: ScalarType, lane: number): void {
  h.f.get(source);
  extractLane(h.f, from, lane);
  scalarCast(h.f, from, to);
}
function toBool(h: VectorHost, e: CastExpr, c: number): void {
  const from = e.a.type;
  const { f } = h;
  if (from === 'bool') throw unsupported('cast to bool', from);
  const parts = isWide(from) ? [2 * c, 2 * c + 1] : [c];
  for (const part of parts) {
    h.vector(e.a, part);
    h.constant(splatBytes('i32', 0));
    f.op(`${lanePrefix(from)}.ne`);
  }
  if (isWide(from)) lowWords(f);
}
function fromBool(h: VectorHost, e: CastExpr, c: number): void {
  const { f } = h;
  const to = e.type;
  if (!isWide(to)) {
    h.vector(e.a, c);
    if (to === 'i32') f.op('i32x4.neg');
    else {
      h.constant(splatBytes('f32', 1));
      f.op('v128.and');
    }
    return;
  }
  wideMask(h, e.a, c);
  if (to === 'i64') f.op('i64x2.neg');
  else {
    h.constant(splatBytes('f64', 1));
    f.op('v128.and');
  }
}

/** `[a, b] -> [a op b]` of two vectors in locals, for combining accumulators. */
export function combineVectors(f: FunctionBuilder, op: BinaryExpr['op'], type: ScalarType, a: WasmLocal, b: WasmLocal): void {
  f.get(a).get(b);
  if (op === 'and' || op === 'or') {
    f.op(`v128.${op}`);
    return;
  }
  if (type === 'bool') throw unsupported(op, type);
  if (op === 'add' || op === 'mul') {
    f.op(`${lanePrefix(type)}.${op}`);
    return;
  }
  if (op !== 'min' && op !== 'max') throw unsupported(op, type);
  if (type === 'i64')
    f.get(a)
      .get(b)
      .op(op === 'min' ? 'i64x2.lt_s' : 'i64x2.gt_s')
      .op('v128.bitselect');
  else if (type === 'i32') f.op(`i32x4.${op}_s`);
  else f.op(`${lanePrefix(type)}.${op}`);
}
