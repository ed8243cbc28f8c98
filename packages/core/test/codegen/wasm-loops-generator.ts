/** Random kernels: every type, operation, kind of index and statement, with memory that fits them. */
import { type DType, dtypeInfo, dtypes, type ScalarType } from '../../src/dtype.js';
import { type BinaryOp, type BufferRef, type Expr, ExprBuilder, type Local, type LoopVar, type UnaryOp } from '../../src/ir/expr.js';
import type { Kernel, KernelParam, ReduceOp, Stmt } from '../../src/ir/kernel.js';
import { lowerMath } from '../../src/ir/math.js';

export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995;
  }
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  pick<T>(items: readonly T[]): T {
    const item = items[this.int(0, items.length - 1)];
    if (item === undefined) throw new RangeError('pick from nothing');
    return item;
  }
}

interface Ranged {
  readonly variable: LoopVar;
  readonly extent: number;
}
interface Scope {
  readonly vars: readonly Ranged[];
  /** Locals that may be read. */
  readonly readable: Local[];
  /** Locals that may be assigned. */
  readonly assignable: Local[];
  /** Accumulators of the enclosing vector loop and the operation each is used with. */
  readonly reductions: Map<Local, ReduceOp>;
  readonly vector: boolean;
  /** Written elements that belong to this iteration alone. */
  readonly own: { readonly buffer: BufferRef; readonly index: Expr }[];
}

const extents = [0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 19, 31, 33, 48] as const;
const numbers: readonly ScalarType[] = ['f32', 'f64', 'i32', 'i64'];
const types: readonly ScalarType[] = ['f32', 'f32', 'f64', 'i32', 'i32', 'i64', 'bool'];
const mathOps: readonly UnaryOp[] = ['exp', 'log', 'tanh', 'sin', 'erf', 'sigmoid'];

export interface Generated {
  readonly kernel: Kernel;
  /** Elements each parameter needs. */
  readonly elements: readonly number[];
}

export class KernelGenerator {
  readonly r: Random;
  readonly b = new ExprBuilder();
  private readonly params: KernelParam[] = [];
  private readonly elements: number[] = [];
  private names = 0;
  private budget = 14;

  constructor(seed: number) {
    this.r = new Random(seed);
  }
  generate(): Generated {
    const { r, b } = this;
    const cell = b.loopVar('cell');
    const grid = r.int(1, 4);
    const scope: Scope = {
      vars: [{ variable: cell, extent: grid }],
      readable: [],
      assignable: [],
      reductions: new Map(),
      vector: false,
      own: [],
    };
    const body = this.block(scope, 0, r.int(2, 4));
    const kernel: Kernel = { name: 'random', params: this.params, parts: [{ kind: 'loops', grid, cell, body }] };
    return { kernel, elements: this.elements };
  }

  private param(dtype: DType, access: KernelParam['access']): number {
    this.params.push({ dtype, access });
    this.elements.push(1);
    return this.params.length - 1;
  }
  private needs(param: number, elements: number): void {
    this.elements[param] = Math.max(this.elements[param] ?? 1, elements);
  }

  // Statements.
  private block(scope: Scope, depth: number, count: number): Stmt[] {
    const inner: Scope = { ...scope, readable: [...scope.readable], assignable: [...scope.assignable], own: [...scope.own] };
    const body: Stmt[] = [];
    for (let i = 0; i < count; i++) body.push(...this.statement(inner, depth));
    body.push(this.store(inner));
    return body;
  }
  private statement(scope: Scope, depth: number): Stmt[] {
    const { r } = this;
    this.budget--;
    const roll = r.int(0, 11);
    if (roll <= 1) return [this.declare(scope)];
    if (roll === 2 && scope.assignable.length > 0) {
      const local = r.pick(scope.assignable);
      return [{ kind: 'assign', local, value: this.expr(local.type, scope, 3) }];
    }
    if (roll === 3) return this.accumulate(scope);
    if (roll === 4 || depth >= 4 || this.budget < 0) return [this.store(scope)];
    if (roll === 5) {
      const condition = this.expr('bool', scope, 2);
      const otherwise = r.chance(0.5) ? this.block(scope, depth + 1, 1) : [];
      return [{ kind: 'if', condition, then: this.block(scope, depth + 1, r.int(1, 2)), otherwise }];
    }
    if (roll === 6 && !scope.vector) return this.whileLoop(scope, depth);
    return this.forLoop(scope, depth);
  }
  private declare(scope: Scope): Stmt {
    const type = this.r.pick(types);
    const local = this.b.newLocal(`l${this.names++}`, type);
    const value = this.expr(type, scope, 3);
    scope.readable.push(local);
    scope.assignable.push(local);
    return { kind: 'declare', local, value };
  }
  private accumulate(scope: Scope): Stmt[] {
    const outer = [...scope.reductions.keys()];
    const local = this.r.chance(0.7) && outer.length > 0 ? this.r.pick(outer) : null;
    if (local) return [this.accumulateInto(local, scope.reductions.get(local) ?? 'add', scope)];
    if (scope.assignable.length === 0) return [this.declare(scope)];
    const own = this.r.pick(scope.assignable);
    return [this.accumulateInto(own, this.reduceOp(own.type), scope)];
  }
  private reduceOp(type: ScalarType): ReduceOp {
    if (type === 'bool') return this.r.pick(['and', 'or']);
    if (type === 'f32' || type === 'f64') return this.r.pick(['add', 'mul', 'max', 'min']);
    return this.r.pick(['add', 'mul', 'max', 'min', 'and', 'or']);
  }
  /** Float sums are of small integers and products of signs: exact in any order. */
  private accumulateInto(local: Local, op: ReduceOp, scope: Scope): Stmt {
    const { b } = this;
    let value = this.expr(local.type, scope, 3);
    const float = local.type === 'f32' || local.type === 'f64';
    if (float && op === 'add') value = b.cast(b.and(this.expr('i32', scope, 3), b.i32(15)), local.type);
    else if (float && op === 'mul') {
      value = b.select(this.expr('bool', scope, 2), b.const(local.type, -1), b.const(local.type, 1));
    }
    return { kind: 'accumulate', local, op, value };
  }
  private store(scope: Scope): Stmt {
    const { r, b } = this;
    const dtype = r.pick(dtypes);
    const type = dtypeInfo[dtype].compute;
    const param = this.param(dtype, 'readwrite');
    // Each iteration of all the loops around owns one element, in any order of the loops and in both directions.
    let size = 1;
    let index: Expr = b.i32(0);
    const gap = r.int(1, 2);
    for (const { variable, extent } of [...scope.vars].sort(() => r.next() - 0.5)) {
      const v = r.chance(0.2) ? b.sub(b.i32(Math.max(0, extent - 1)), b.index(variable)) : b.index(variable);
      index = b.add(index, b.mul(v, b.i32(size * gap)));
      size *= Math.max(1, extent);
    }
    const offset = r.int(0, 3);
    index = b.add(index, b.i32(offset));
    this.needs(param, size * gap + offset);
    const buffer = { param, dtype };
    const modes: StoreMode[] =
      type === 'bool' ? ['and', 'or'] : type === 'f32' || type === 'f64' ? ['add', 'max'] : ['add', 'mul', 'min', 'or'];
    const mode = !scope.vector && r.chance(0.3) ? r.pick(modes) : 'set';
    const value = this.expr(type, scope, 4);
    scope.own.push({ buffer, index });
    return { kind: 'store', buffer, index, value, mode };
  }
  private whileLoop(scope: Scope, depth: number): Stmt[] {
    const { b } = this;
    const local = b.newLocal(`n${this.names++}`, 'i32');
    const inner = { ...scope, readable: [...scope.readable, local] };
    const body = this.block(inner, depth + 1, 1);
    const step: Stmt = { kind: 'accumulate', local, op: 'add', value: b.i32(1) };
    return [
      { kind: 'declare', local, value: b.i32(0) },
      { kind: 'while', condition: b.binary('lt', b.read(local), b.i32(this.r.int(0, 3))), body: [...body, step] },
    ];
  }
  private forLoop(scope: Scope, depth: number): Stmt[] {
    const { r, b } = this;
    const vector = !scope.vector && r.chance(0.65);
    const extent = vector ? r.pick(extents) : r.int(0, 5);
    const variable = b.loopVar(`v${this.names++}`);
    const before: Stmt[] = [];
    const after: Stmt[] = [];
    const inner: Scope = {
      vars: [...scope.vars, { variable, extent }],
      readable: [...scope.readable],
      assignable: vector ? [] : [...scope.assignable],
      reductions: new Map(vector ? [] : scope.reductions),
      vector: vector || scope.vector,
      own: [],
    };
    if (vector) {
      for (let i = r.int(0, 2); i > 0; i--) {
        const type = r.pick(types);
        const local = b.newLocal(`a${this.names++}`, type);
        const op = this.reduceOp(type);
        before.push({ kind: 'declare', local, value: type === 'bool' || op === 'max' ? this.expr(type, scope, 1) : b.const(type, 1) });
        inner.reductions.set(local, op);
        after.push(this.storeLocal(local, scope));
      }
    } else if (!scope.vector && r.chance(0.4)) {
      // An accumulator of vector loops nested in this serial loop.
      const type = r.pick(numbers);
      const local = b.newLocal(`d${this.names++}`, type);
      const op = this.reduceOp(type);
      before.push({ kind: 'declare', local, value: b.const(type, 1) });
      after.push(this.storeLocal(local, scope));
      return [...before, this.nestedReduction(inner, variable, extent, local, op), ...after];
    }
    const dynamic = !scope.vector && r.chance(0.4);
    const body = this.block(inner, depth + 1, r.int(1, 3));
    const bound: number | Expr = dynamic ? this.dynamicExtent(scope, extent) : extent;
    return [...before, { kind: 'for', variable, extent: bound, mode: vector ? 'vector' : 'serial', body }, ...after];
  }
  private nestedReduction(inner: Scope, variable: LoopVar, extent: number, local: Local, op: ReduceOp): Stmt {
    const { r, b } = this;
    const lane = b.loopVar(`v${this.names++}`);
    const lanes = r.pick(extents);
    const deeper: Scope = {
      ...inner,
      vars: [...inner.vars, { variable: lane, extent: lanes }],
      assignable: [],
      reductions: new Map(),
      vector: true,
    };
    const loop: Stmt = { kind: 'for', variable: lane, extent: lanes, mode: 'vector', body: [this.accumulateInto(local, op, deeper)] };
    return { kind: 'for', variable, extent, mode: 'serial', body: [loop] };
  }
  private storeLocal(local: Local, scope: Scope): Stmt {
    const { b } = this;
    const dtype = dtypes.find((d) => dtypeInfo[d].compute === local.type) ?? 'float32';
    const param = this.param(dtype, 'write');
    let index: Expr = b.i32(0);
    let size = 1;
    for (const { variable, extent } of scope.vars) {
      index = b.add(index, b.mul(b.index(variable), b.i32(size)));
      size *= Math.max(1, extent);
    }
    this.needs(param, size);
    return { kind: 'store', buffer: { param, dtype }, index, value: b.read(local), mode: 'set' };
  }
  /** An expression that is at most `most` and is not known when the code is made. */
  private dynamicExtent(scope: Scope, most: number): Expr {
    const { b } = this;
    const loaded = b.and(this.expr('i32', scope, 2), b.i32(63));
    return b.binary('min', loaded, b.i32(most));
  }

  // Expressions.
  expr(type: ScalarType, scope: Scope, depth: number): Expr {
    const { r } = this;
    const locals = scope.readable.filter((l) => l.type === type);
    if (depth <= 0 || r.chance(0.12)) {
      const roll = r.int(0, 5);
      if (roll === 0) return this.constant(type);
      if (roll === 1 && locals.length > 0) return this.b.read(r.pick(locals));
      if (roll === 2 && type === 'i32') return this.index(scope).e;
      return this.load(type, scope, depth);
    }
    if (r.chance(0.15)) {
      return this.b.select(this.expr('bool', scope, depth - 1), this.expr(type, scope, depth - 1), this.expr(type, scope, depth - 1));
    }
    if (r.chance(0.2)) return this.convert(type, scope, depth);
    switch (type) {
      case 'bool':
        return this.boolExpr(scope, depth);
      case 'f32':
      case 'f64':
        return this.floatExpr(type, scope, depth);
      default:
        return this.intExpr(type, scope, depth);
    }
  }
  private constant(type: ScalarType): Expr {
    const { r, b } = this;
    if (type === 'bool') return b.const(type, r.int(0, 1));
    if (type === 'i64') return b.const(type, BigInt(r.pick([0, 1, -1, 7, -12345678901, 2 ** 40])));
    if (type === 'i32') return b.const(type, r.pick([0, 1, -1, 3, 8, 255, -(2 ** 31), 2 ** 31 - 1]));
    return b.const(type, r.pick([0, -0, 1, -1.5, 0.1, 1e10, Infinity, NaN, 3e-42]));
  }
  private boolExpr(scope: Scope, depth: number): Expr {
    const { r, b } = this;
    if (r.chance(0.5)) {
      const type = r.pick(numbers);
      const op = r.pick<BinaryOp>(type === 'i32' ? ['lt', 'le', 'eq', 'ne', 'ltU'] : ['lt', 'le', 'eq', 'ne']);
      return b.binary(op, this.expr(type, scope, depth - 1), this.expr(type, scope, depth - 1));
    }
    if (r.chance(0.2)) return b.unary('not', this.expr('bool', scope, depth - 1));
    return b.binary(
      r.pick<BinaryOp>(['and', 'or', 'xor', 'eq', 'ne']),
      this.expr('bool', scope, depth - 1),
      this.expr('bool', scope, depth - 1),
    );
  }
  private floatExpr(type: 'f32' | 'f64', scope: Scope, depth: number): Expr {
    const { r, b } = this;
    if (r.chance(0.05)) return lowerMath(b, b.unary(r.pick(mathOps), this.expr(type, scope, depth - 1)));
    if (r.chance(0.3)) {
      return b.unary(r.pick<UnaryOp>(['neg', 'abs', 'floor', 'ceil', 'trunc', 'roundEven', 'sqrt']), this.expr(type, scope, depth - 1));
    }
    const op = r.pick<BinaryOp>(['add', 'sub', 'mul', 'div', 'rem', 'min', 'max']);
    return b.binary(op, this.expr(type, scope, depth - 1), this.expr(type, scope, depth - 1));
  }
  private intExpr(type: 'i32' | 'i64', scope: Scope, depth: number): Expr {
    const { r, b } = this;
    if (r.chance(0.2)) return b.unary(r.pick<UnaryOp>(['neg', 'abs', 'not']), this.expr(type, scope, depth - 1));
    const ops: BinaryOp[] = ['add', 'sub', 'mul', 'div', 'rem', 'min', 'max', 'and', 'or', 'xor', 'shl', 'shr'];
    if (type === 'i32') ops.push('shrU', 'mulHiU');
    const op = r.pick(ops);
    const a = this.expr(type, scope, depth - 1);
    const constantSide = r.chance(0.4);
    const divisors = type === 'i64' ? [1n, -1n, 3n, 8n] : [1, -1, 3, 4, 8, 12, 16, -7];
    return b.binary(op, a, constantSide ? b.const(type, r.pick<number | bigint>(divisors)) : this.expr(type, scope, depth - 1));
  }
  private convert(type: ScalarType, scope: Scope, depth: number): Expr {
    const { r, b } = this;
    if (r.chance(0.25) && type !== 'bool') {
      if (type === 'f32') return b.bitcast(this.expr('i32', scope, depth - 1), 'f32');
      if (type === 'f64') return b.bitcast(this.expr('i64', scope, depth - 1), 'f64');
      // The bits of a NaN are not the same everywhere.
      const from = type === 'i32' ? 'f32' : 'f64';
      const value = this.expr(from, scope, depth - 1);
      return b.bitcast(b.select(b.binary('eq', value, value), value, b.const(from, 1)), type);
    }
    return b.cast(this.expr(r.pick(types), scope, depth - 1), type);
  }

  /** An affine index over the loops around, with its bounds. */
  private index(scope: Scope): { e: Expr; low: number; high: number } {
    const { r, b } = this;
    let e: Expr = b.i32(0);
    let low = 0;
    let high = 0;
    scope.vars.forEach(({ variable, extent }, i) => {
      const innermost = i === scope.vars.length - 1;
      if (!innermost && r.chance(0.4)) return;
      const coefficient = innermost ? r.pick([1, 1, 1, 1, 0, -1, 2, 3, -2]) : r.int(-2, 5);
      const span = coefficient * Math.max(0, extent - 1);
      e = b.add(e, b.mul(b.index(variable), b.i32(coefficient)));
      low += Math.min(0, span);
      high += Math.max(0, span);
    });
    return { e, low, high };
  }
  private load(type: ScalarType, scope: Scope, depth: number): Expr {
    const { r, b } = this;
    const candidates = dtypes.filter((d) => dtypeInfo[d].compute === type);
    const own = scope.own.filter((o) => dtypeInfo[o.buffer.dtype].compute === type);
    if (own.length > 0 && r.chance(0.2)) {
      const { buffer, index } = r.pick(own);
      return b.load(buffer, type, index);
    }
    const reusable = this.params.flatMap((p, i) => (p.access === 'read' && dtypeInfo[p.dtype].compute === type ? [i] : []));
    const param = reusable.length > 0 && r.chance(0.6) ? r.pick(reusable) : this.param(r.pick(candidates), 'read');
    const dtype = this.params[param]?.dtype ?? 'float32';
    const buffer = { param, dtype };
    const affine = this.index(scope);
    const shift = -affine.low + r.int(0, 2);
    const inside = b.add(affine.e, b.i32(shift));
    const roll = r.int(0, 9);
    if (roll === 0 && depth > 0) {
      // Gather.
      const limit = r.pick([1, 8, 64]);
      this.needs(param, limit);
      return b.load(buffer, type, b.and(this.expr('i32', scope, depth - 1), b.i32(limit - 1)));
    }
    if (roll === 1) {
      // Flattened and taken apart again.
      const divisor = r.pick([1, 2, 3, 4, 8, 16, 32]);
      this.needs(param, affine.high + shift + divisor);
      const op = r.pick<BinaryOp>(['div', 'rem']);
      return b.load(buffer, type, b.binary(op, inside, b.i32(divisor)));
    }
    if (roll === 2) {
      // Padding: part of the indices lie outside, before and after.
      const size = Math.max(1, affine.high + shift - 2);
      this.needs(param, size);
      const at = b.sub(inside, b.i32(r.int(0, 2)));
      const guard = b.and(b.binary('le', b.i32(0), at), b.binary('lt', at, b.i32(size)));
      return b.load(buffer, type, at, guard);
    }
    if (roll === 3 && depth > 0) {
      this.needs(param, affine.high + shift + 1);
      return b.load(buffer, type, inside, this.expr('bool', scope, depth - 1));
    }
    this.needs(param, affine.high + shift + 1);
    return b.load(buffer, type, inside);
  }
}
type StoreMode = 'set' | ReduceOp;

/** Fills memory with values of every kind, special ones included. */
export function fillRandom(r: Random, view: DataView, kernel: Kernel, addresses: readonly number[], elements: readonly number[]): void {
  kernel.params.forEach(({ dtype }, p) => {
    const { bytes } = dtypeInfo[dtype];
    for (let i = 0; i < (elements[p] ?? 0); i++) {
      const at = (addresses[p] ?? 0) + i * bytes;
      const wild = r.chance(0.1);
      switch (dtype) {
        case 'float32':
          view.setFloat32(at, wild ? r.pick([0, -0, Infinity, -Infinity, NaN, 1e-42, 3e38]) : (r.next() - 0.5) * 20, true);
          break;
        case 'float64':
          view.setFloat64(at, wild ? r.pick([0, -0, Infinity, NaN, 5e-324, 1e300, 2 ** 53]) : (r.next() - 0.5) * 20, true);
          break;
        case 'float16':
        case 'bfloat16':
        case 'int16':
          view.setUint16(at, r.int(0, 65535), true);
          break;
        case 'int8':
        case 'uint8':
          view.setUint8(at, r.int(0, 255));
          break;
        case 'bool':
          view.setUint8(at, r.int(0, 1));
          break;
        case 'int32':
          view.setInt32(at, wild ? r.pick([0, -1, -(2 ** 31), 2 ** 31 - 1]) : r.int(-100, 100), true);
          break;
        case 'int64':
          view.setBigInt64(at, wild ? r.pick([0n, -1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 32n]) : BigInt(r.int(-100, 100)), true);
          break;
        default:
          dtype satisfies never;
      }
    }
  });
}
