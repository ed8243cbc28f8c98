/**
 * Scalar expressions of the kernel IR.
 *
 * Expressions form an immutable DAG. An {@link ExprBuilder} interns nodes, so structurally equal
 * expressions are the same object (common subexpressions exist once) and folds constants as it builds.
 */
import type { DType, ScalarType } from '../dtype.js';

/** Operations every backend has an instruction (or short sequence) for. */
export type CoreUnaryOp = 'neg' | 'abs' | 'floor' | 'ceil' | 'trunc' | 'roundEven' | 'sqrt' | 'not';
/** Transcendentals. `lowerMath` expands them into core operations for backends without them. */
export type MathUnaryOp =
  | 'exp'
  | 'exp2'
  | 'expm1'
  | 'log'
  | 'log2'
  | 'log1p'
  | 'sin'
  | 'cos'
  | 'tan'
  | 'asin'
  | 'acos'
  | 'atan'
  | 'sinh'
  | 'cosh'
  | 'tanh'
  | 'asinh'
  | 'acosh'
  | 'atanh'
  | 'erf'
  | 'erfc'
  | 'erfinv'
  | 'lgamma'
  | 'digamma'
  | 'rsqrt'
  | 'sigmoid';
export type UnaryOp = CoreUnaryOp | MathUnaryOp;

/**
 * `min`/`max` propagate NaN. `and`/`or`/`xor` work on bool, i32 and i64. `rem` has the sign of the dividend
 * (C's %; fmod for floats). Integer `div` truncates towards zero; by zero it gives 0, never a trap.
 * `shrU`, `mulHiU`, `ltU` read i32 as unsigned. Comparisons give `bool`.
 */
export type CoreBinaryOp =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'rem'
  | 'min'
  | 'max'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'shr'
  | 'shrU'
  | 'mulHiU'
  | 'lt'
  | 'le'
  | 'eq'
  | 'ne'
  | 'ltU';
export type MathBinaryOp = 'pow' | 'atan2';
export type BinaryOp = CoreBinaryOp | MathBinaryOp;

/** A loop index; always i32. Identity is the object. */
export interface LoopVar {
  readonly id: number;
  readonly name: string;
}

/** A mutable scalar inside a kernel: an accumulator or a named value. Inside a vector loop it has one value per lane. */
export interface Local {
  readonly id: number;
  readonly name: string;
  readonly type: ScalarType;
}

/** A buffer a kernel reads or writes; `param` is its position among the kernel's pointer parameters. */
export interface BufferRef {
  readonly param: number;
  readonly dtype: DType;
}

interface Node {
  readonly id: number;
  readonly type: ScalarType;
}
export interface ConstExpr extends Node {
  readonly kind: 'const';
  /** bigint for i64, 0/1 for bool, number otherwise (f32 constants are already rounded). */
  readonly value: number | bigint;
}
export interface IndexExpr extends Node {
  readonly kind: 'index';
  readonly variable: LoopVar;
}
export interface LoadExpr extends Node {
  readonly kind: 'load';
  readonly buffer: BufferRef;
  /** Element index (not bytes), i32. */
  readonly index: Expr;
  /** When present and false the load does not happen and the value is 0. */
  readonly guard: Expr | null;
}
export interface LocalExpr extends Node {
  readonly kind: 'local';
  readonly local: Local;
}
export interface UnaryExpr extends Node {
  readonly kind: 'unary';
  readonly op: UnaryOp;
  readonly a: Expr;
}
export interface BinaryExpr extends Node {
  readonly kind: 'binary';
  readonly op: BinaryOp;
  readonly a: Expr;
  readonly b: Expr;
}
export interface SelectExpr extends Node {
  readonly kind: 'select';
  readonly condition: Expr;
  readonly a: Expr;
  readonly b: Expr;
}
/** Value conversion. Float to int truncates towards zero and saturates (NaN gives 0); anything to bool is `!= 0`. */
export interface CastExpr extends Node {
  readonly kind: 'cast';
  readonly a: Expr;
}
/** Same bits, other type: f32 <-> i32, f64 <-> i64. */
export interface BitcastExpr extends Node {
  readonly kind: 'bitcast';
  readonly a: Expr;
}
export type Expr = ConstExpr | IndexExpr | LoadExpr | LocalExpr | UnaryExpr | BinaryExpr | SelectExpr | CastExpr | BitcastExpr;

const comparisons: ReadonlySet<BinaryOp> = new Set<BinaryOp>(['lt', 'le', 'eq', 'ne', 'ltU']);

/** Direct children of an expression. */
export function operands(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case 'const':
    case 'index':
    case 'local':
      return [];
    case 'load':
      return e.guard ? [e.index, e.guard] : [e.index];
    case 'unary':
    case 'cast':
    case 'bitcast':
      return [e.a];
    case 'binary':
      return [e.a, e.b];
    case 'select':
      return [e.condition, e.a, e.b];
    default:
      return e satisfies never;
  }
}

type Raw<T extends Expr> = T extends Expr ? Omit<T, 'id'> : never;

/** Builds interned expressions. One builder per kernel. */
export class ExprBuilder {
  private readonly table = new Map<string, Expr>();
  private nextExpr = 0;
  private nextVar = 0;

  loopVar(name: string): LoopVar {
    return { id: this.nextVar++, name };
  }
  newLocal(name: string, type: ScalarType): Local {
    return { id: this.nextVar++, name, type };
  }
  private intern(key: string, raw: Raw<Expr>): Expr {
    const found = this.table.get(key);
    if (found) return found;
    const made = { ...raw, id: this.nextExpr++ } as Expr;
    this.table.set(key, made);
    return made;
  }
  const(type: ScalarType, value: number | bigint | boolean): Expr {
    let v: number | bigint;
    if (type === 'i64') v = typeof value === 'bigint' ? BigInt.asIntN(64, value) : BigInt(Math.trunc(Number(value)));
    else if (type === 'bool') v = value ? 1 : 0;
    else if (type === 'i32') v = Number(value) | 0;
    else v = type === 'f32' ? Math.fround(Number(value)) : Number(value);
    const key = Object.is(v, -0) ? '-0' : String(v);
    return this.intern(`c${type}:${key}`, { kind: 'const', type, value: v });
  }
  i32(value: number): Expr {
    return this.const('i32', value);
  }
  index(variable: LoopVar): Expr {
    return this.intern(`v${variable.id}`, { kind: 'index', type: 'i32', variable });
  }
  read(local: Local): Expr {
    return this.intern(`l${local.id}`, { kind: 'local', type: local.type, local });
  }
  load(buffer: BufferRef, type: ScalarType, index: Expr, guard: Expr | null = null): Expr {
    if (guard?.kind === 'const') {
      if (!guard.value) return this.const(type, 0);
      guard = null;
    }
    const key = `L${buffer.param}:${buffer.dtype}:${type}:${index.id}:${guard ? guard.id : ''}`;
    return this.intern(key, { kind: 'load', type, buffer, index, guard });
  }
  unary(op: UnaryOp, a: Expr): Expr {
    if (op === 'not' && a.type === 'bool' && a.kind === 'const') return this.const('bool', !a.value);
    if (op === 'neg' && a.kind === 'const' && typeof a.value === 'number') return this.const(a.type, -a.value);
    return this.intern(`u${op}:${a.id}`, { kind: 'unary', type: a.type, op, a });
  }
  binary(op: BinaryOp, a: Expr, b: Expr): Expr {
    if (a.type !== b.type) throw new TypeError(`kernel IR: ${op} of ${a.type} and ${b.type}`);
    const type: ScalarType = comparisons.has(op) ? 'bool' : a.type;
    const folded = this.fold(op, a, b);
    if (folded) return folded;
    return this.intern(`b${op}:${a.id}:${b.id}`, { kind: 'binary', type, op, a, b });
  }
  add(a: Expr, b: Expr): Expr {
    return this.binary('add', a, b);
  }
  sub(a: Expr, b: Expr): Expr {
    return this.binary('sub', a, b);
  }
  mul(a: Expr, b: Expr): Expr {
    return this.binary('mul', a, b);
  }
  and(a: Expr, b: Expr): Expr {
    return this.binary('and', a, b);
  }
  select(condition: Expr, a: Expr, b: Expr): Expr {
    if (condition.kind === 'const') return condition.value ? a : b;
    if (a === b) return a;
    return this.intern(`s${condition.id}:${a.id}:${b.id}`, { kind: 'select', type: a.type, condition, a, b });
  }
  cast(a: Expr, type: ScalarType): Expr {
    if (a.type === type) return a;
    if (a.kind === 'const' && typeof a.value === 'number' && type !== 'i64') {
      if (type === 'bool') return this.const('bool', a.value !== 0);
      if (type !== 'i32' || Math.abs(a.value) < 2 ** 31) return this.const(type, type === 'i32' ? Math.trunc(a.value) : a.value);
    }
    return this.intern(`k${type}:${a.id}`, { kind: 'cast', type, a });
  }
  bitcast(a: Expr, type: ScalarType): Expr {
    if (a.type === type) return a;
    return this.intern(`B${type}:${a.id}`, { kind: 'bitcast', type, a });
  }

  /** Integer and boolean identities only: float arithmetic keeps its exact meaning (signed zeros, NaN). */
  private fold(op: BinaryOp, a: Expr, b: Expr): Expr | null {
    if (a.type === 'bool') {
      if (op === 'and') {
        if (a.kind === 'const') return a.value ? b : a;
        if (b.kind === 'const') return b.value ? a : b;
      }
      if (op === 'or') {
        if (a.kind === 'const') return a.value ? a : b;
        if (b.kind === 'const') return b.value ? b : a;
      }
      return null;
    }
    if (a.type !== 'i32') return null;
    const ca = a.kind === 'const' ? (a.value as number) : null;
    const cb = b.kind === 'const' ? (b.value as number) : null;
    if (ca !== null && cb !== null) return this.foldInt(op, ca, cb);
    if (op === 'add') {
      if (ca === 0) return b;
      if (cb === 0) return a;
    } else if (op === 'sub') {
      if (cb === 0) return a;
      if (a === b) return this.i32(0);
    } else if (op === 'mul') {
      if (ca === 0 || cb === 0) return this.i32(0);
      if (ca === 1) return b;
      if (cb === 1) return a;
    } else if (op === 'div' && cb === 1) return a;
    else if (op === 'rem' && cb === 1) return this.i32(0);
    return null;
  }
  private foldInt(op: BinaryOp, a: number, b: number): Expr | null {
    switch (op) {
      case 'add':
        return this.i32(a + b);
      case 'sub':
        return this.i32(a - b);
      case 'mul':
        return this.i32(Math.imul(a, b));
      case 'div':
        return this.i32(b === 0 ? 0 : Math.trunc(a / b));
      case 'rem':
        return this.i32(b === 0 ? 0 : a % b);
      case 'min':
        return this.i32(Math.min(a, b));
      case 'max':
        return this.i32(Math.max(a, b));
      case 'lt':
        return this.const('bool', a < b);
      case 'le':
        return this.const('bool', a <= b);
      case 'eq':
        return this.const('bool', a === b);
      case 'ne':
        return this.const('bool', a !== b);
      default:
        return null;
    }
  }
}
