/** Instructions for one scalar operation; operands are on the stack. */
import type { ScalarType } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { BinaryOp, UnaryOp } from '../../ir/expr.js';
import type { FunctionBuilder, ModuleBuilder, PlainOp, WasmLocal } from './asm.js';
import { SharedFunctions } from './functions.js';
import { valTypeOf } from './types.js';

export function unsupported(op: string, type: ScalarType): CompilerError {
  return new CompilerError(`kernel IR has no ${op} of ${type}`, { op: 'wasm' });
}

/** Runs `use` with a temporary that it may set. */
function withLocals(f: FunctionBuilder, types: readonly WasmLocal['type'][], use: (...locals: WasmLocal[]) => void): void {
  const locals = types.map((type) => f.local(type));
  use(...locals);
  f.free(...locals);
}

/** `[a] -> [op a]`. */
export function scalarUnary(f: FunctionBuilder, op: UnaryOp, type: ScalarType): void {
  if (type === 'f32' || type === 'f64') {
    switch (op) {
      case 'neg':
      case 'abs':
      case 'floor':
      case 'ceil':
      case 'trunc':
      case 'sqrt':
        f.op(`${type}.${op}`);
        return;
      case 'roundEven':
        f.op(`${type}.nearest`);
        return;
      default:
        throw unsupported(op, type);
    }
  }
  if (type === 'bool') {
    if (op !== 'not') throw unsupported(op, type);
    f.op('i32.eqz');
    return;
  }
  const minusOne = (): FunctionBuilder => (type === 'i32' ? f.i32(-1) : f.i64(-1n));
  switch (op) {
    case 'neg':
      minusOne().op(`${type}.mul`);
      return;
    case 'not':
      minusOne().op(`${type}.xor`);
      return;
    case 'abs':
      withLocals(f, [type, type], (value, sign) => {
        f.tee(value);
        if (type === 'i32') f.i32(31);
        else f.i64(63n);
        f.op(`${type}.shr_s`).tee(sign).get(value).op(`${type}.xor`).get(sign).op(`${type}.sub`);
      });
      return;
    case 'floor':
    case 'ceil':
    case 'trunc':
    case 'roundEven':
      return;
    default:
      throw unsupported(op, type);
  }
}

/** What is known about the operands of an integer division. */
export interface DivisionFacts {
  /** The divisor is never 0 and the quotient never overflows. */
  readonly safe: boolean;
  /** Both are never negative. */
  readonly unsigned: boolean;
}
export const noFacts: DivisionFacts = { safe: false, unsigned: false };

/** `[a, b] -> [a op b]`. */
export function scalarBinary(
  f: FunctionBuilder,
  module: ModuleBuilder,
  op: BinaryOp,
  type: ScalarType,
  facts: DivisionFacts = noFacts,
): void {
  if (type === 'bool') return boolBinary(f, op);
  if (type === 'f32' || type === 'f64') return floatBinary(f, module, op, type);
  switch (op) {
    case 'add':
    case 'sub':
    case 'mul':
    case 'and':
    case 'or':
    case 'xor':
    case 'shl':
    case 'eq':
    case 'ne':
      f.op(`${type}.${op}`);
      return;
    case 'shr':
      f.op(`${type}.shr_s`);
      return;
    case 'shrU':
      f.op(`${type}.shr_u`);
      return;
    case 'lt':
      f.op(`${type}.lt_s`);
      return;
    case 'le':
      f.op(`${type}.le_s`);
      return;
    case 'min':
    case 'max':
      withLocals(f, [type, type], (a, b) => {
        f.set(b).tee(a).get(b).get(a).get(b);
        f.op(op === 'min' ? `${type}.lt_s` : `${type}.gt_s`).op('select');
      });
      return;
    case 'div':
    case 'rem':
      return division(f, op, type, facts);
    case 'mulHiU':
      if (type !== 'i32') throw unsupported(op, type);
      withLocals(f, ['i32'], (b) => {
        f.set(b).op('i64.extend_i32_u').get(b).op('i64.extend_i32_u').op('i64.mul');
        f.i64(32n).op('i64.shr_u').op('i32.wrap_i64');
      });
      return;
    case 'ltU':
      f.op(`${type}.lt_u`);
      return;
    default:
      throw unsupported(op, type);
  }
}

function boolBinary(f: FunctionBuilder, op: BinaryOp): void {
  const table: Partial<Record<BinaryOp, PlainOp>> = {
    and: 'i32.and',
    or: 'i32.or',
    xor: 'i32.xor',
    eq: 'i32.eq',
    ne: 'i32.ne',
    lt: 'i32.lt_s',
    le: 'i32.le_s',
  };
  const name = table[op];
  if (!name) throw unsupported(op, 'bool');
  f.op(name);
}

function floatBinary(f: FunctionBuilder, module: ModuleBuilder, op: BinaryOp, type: 'f32' | 'f64'): void {
  switch (op) {
    case 'add':
    case 'sub':
    case 'mul':
    case 'div':
    case 'min':
    case 'max':
    case 'lt':
    case 'le':
    case 'eq':
    case 'ne':
      f.op(`${type}.${op}`);
      return;
    case 'rem': {
      const fmod = SharedFunctions.of(module).fmod();
      if (type === 'f64') {
        f.call(fmod);
        return;
      }
      // The remainder of two f32 is an f32: computing it in f64 is exact.
      withLocals(f, ['f32'], (b) => {
        f.set(b).op('f64.promote_f32').get(b).op('f64.promote_f32').call(fmod).op('f32.demote_f64');
      });
      return;
    }
    default:
      throw unsupported(op, type);
  }
}

/** Division that never traps: by zero it gives 0, and the quotient of the least integer by -1 wraps around. */
function division(f: FunctionBuilder, op: 'div' | 'rem', type: 'i32' | 'i64', facts: DivisionFacts): void {
  if (facts.safe) {
    f.op(`${type}.${op}_${facts.unsigned ? 'u' : 's'}`);
    return;
  }
  const constant = (value: number): FunctionBuilder => (type === 'i32' ? f.i32(value) : f.i64(BigInt(value)));
  withLocals(f, [type, type], (a, b) => {
    f.set(b).set(a);
    if (op === 'div') {
      // Divide by 1 where the divisor is 0, by -1 as a negation.
      constant(0).get(a).op(`${type}.sub`);
      f.get(a);
      safeDivisor(f, type, b);
      f.op(`${type}.div_s`);
      f.get(b);
      constant(-1).op(`${type}.eq`).op('select');
    } else {
      f.get(a);
      safeDivisor(f, type, b);
      f.op(`${type}.rem_s`);
    }
    constant(0).get(b);
    constant(0).op(`${type}.ne`).op('select');
  });
}
/** Pushes b, or 1 where b is 0 or -1. (x rem 1 and x rem -1 are both 0.) */
function safeDivisor(f: FunctionBuilder, type: 'i32' | 'i64', b: WasmLocal): void {
  const constant = (value: number): FunctionBuilder => (type === 'i32' ? f.i32(value) : f.i64(BigInt(value)));
  constant(1).get(b).get(b);
  constant(1).op(`${type}.add`);
  constant(2).op(`${type}.lt_u`);
  // b + 1 in {0, 1} unsigned means b in {-1, 0}.
  f.op('select');
}

/** `[a] -> [a as type]`. */
export function scalarCast(f: FunctionBuilder, from: ScalarType, to: ScalarType): void {
  if (from === to) return;
  if (to === 'bool') {
    if (from === 'i64') f.i64(0n).op('i64.ne');
    else if (from === 'f64') f.f64(0).op('f64.ne');
    else if (from === 'f32') f.f32(0).op('f32.ne');
    else f.i32(0).op('i32.ne');
    return;
  }
  const source = valTypeOf(from);
  if (source === to) return;
  f.op(castOp(source, to));
}
function castOp(from: 'i32' | 'i64' | 'f32' | 'f64', to: 'i32' | 'i64' | 'f32' | 'f64'): PlainOp {
  switch (to) {
    case 'i32':
      return from === 'i64' ? 'i32.wrap_i64' : from === 'f32' ? 'i32.trunc_sat_f32_s' : 'i32.trunc_sat_f64_s';
    case 'i64':
      return from === 'i32' ? 'i64.extend_i32_s' : from === 'f32' ? 'i64.trunc_sat_f32_s' : 'i64.trunc_sat_f64_s';
    case 'f32':
      return from === 'i32' ? 'f32.convert_i32_s' : from === 'i64' ? 'f32.convert_i64_s' : 'f32.demote_f64';
    case 'f64':
      return from === 'i32' ? 'f64.convert_i32_s' : from === 'i64' ? 'f64.convert_i64_s' : 'f64.promote_f32';
    default:
      return to satisfies never;
  }
}

/** `[a] -> [the same bits as type]`. */
export function scalarBitcast(f: FunctionBuilder, from: ScalarType, to: ScalarType): void {
  if (from === to) return;
  if (from === 'f32' && to === 'i32') f.op('i32.reinterpret_f32');
  else if (from === 'i32' && to === 'f32') f.op('f32.reinterpret_i32');
  else if (from === 'f64' && to === 'i64') f.op('i64.reinterpret_f64');
  else if (from === 'i64' && to === 'f64') f.op('f64.reinterpret_i64');
  else throw unsupported(`bitcast to ${to}`, from);
}
