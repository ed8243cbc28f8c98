/**
 * Emission of expressions. Every shared node is computed once per scope and kept in a local; the cache is scoped like
 * the code, and entries vanish when something they depend on changes.
 */
import type { ScalarType } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { BinaryExpr, Expr, Local, LoopVar, SelectExpr } from '../../ir/expr.js';
import { operands } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { HeavyArms } from './arms.js';
import type { FunctionBuilder, ModuleBuilder, ValType, WasmLocal } from './asm.js';
import type { Lanes, Shape } from './lanes.js';
import { emitScalarLoad, loadComponent } from './memory.js';
import { accessOf, type NormalBody } from './normalize.js';
import type { Ranges } from './ranges.js';
import { type DivisionFacts, noFacts, scalarBinary, scalarBitcast, scalarCast, scalarUnary } from './scalar-ops.js';
import { rampBytes, splatBytes, valTypeOf } from './types.js';
import { splat, type VectorHost, vectorBinary, vectorBitcast, vectorCast, vectorSelect, vectorUnary } from './vector-ops.js';
import { forEachStatement } from './walk.js';

interface Held {
  readonly local: WasmLocal;
  /** What the value depends on. */
  readonly bits: bigint;
}
interface Scope {
  readonly keys: number[];
  readonly constants: string[];
  readonly locals: WasmLocal[];
}
/** Slots of the cache for one expression: its scalar, its splat, then its vector components. */
const slots = 64;
const scalarSlot = 0;
const splatSlot = 1;
const componentSlot = 2;

export class Emitter implements VectorHost {
  readonly f: FunctionBuilder;
  readonly module: ModuleBuilder;
  readonly normal: NormalBody;
  readonly relaxedSimd: boolean;
  /** The vector loop being emitted, if any. */
  lanes: Lanes | null = null;
  /** Lanes that are active in the current masked region; null: all. */
  mask: readonly WasmLocal[] | null = null;
  readonly heavyArms = new HeavyArms();
  private readonly uses = new Map<Expr, number>();
  private readonly values = new Map<number, Held>();
  private readonly constants = new Map<string, WasmLocal>();
  private readonly scopes: Scope[] = [];
  private readonly variables = new Map<LoopVar, WasmLocal>();
  private readonly scalars = new Map<Local, WasmLocal>();
  private readonly vectors = new Map<Local, readonly WasmLocal[]>();

  constructor(f: FunctionBuilder, module: ModuleBuilder, normal: NormalBody, relaxedSimd: boolean) {
    this.f = f;
    this.module = module;
    this.normal = normal;
    this.relaxedSimd = relaxedSimd;
    this.countUses(normal.body);
  }
  get ranges(): Ranges {
    return this.normal.ranges;
  }

  // Names.
  bindVariable(variable: LoopVar, local: WasmLocal): void {
    this.variables.set(variable, local);
  }
  bindScalar(local: Local, to: WasmLocal): void {
    this.scalars.set(local, to);
    this.vectors.delete(local);
  }
  bindVector(local: Local, to: readonly WasmLocal[]): void {
    this.vectors.set(local, to);
    this.scalars.delete(local);
  }
  scalarOf(local: Local): WasmLocal {
    const found = this.scalars.get(local);
    if (!found) throw new CompilerError(`local ${local.name} has no scalar value here`);
    return found;
  }
  vectorOf(local: Local): readonly WasmLocal[] | null {
    return this.vectors.get(local) ?? null;
  }

  // Scopes.
  enter(): void {
    this.scopes.push({ keys: [], constants: [], locals: [] });
  }
  leave(): void {
    const scope = this.scopes.pop();
    if (!scope) throw new CompilerError('scope left twice');
    for (const key of scope.keys) this.values.delete(key);
    for (const key of scope.constants) this.constants.delete(key);
    this.f.free(...scope.locals);
  }
  /** A local that lives until the current scope ends. */
  temporary(type: ValType): WasmLocal {
    const local = this.f.local(type);
    this.scope().locals.push(local);
    return local;
  }
  /** Forgets every value that depends on something in `bits`. */
  invalidate(bits: bigint): void {
    for (const [key, held] of this.values) if ((held.bits & bits) !== 0n) this.values.delete(key);
  }
  private scope(): Scope {
    const scope = this.scopes[this.scopes.length - 1];
    if (!scope) throw new CompilerError('emission outside a scope');
    return scope;
  }
  private remember(e: Expr, slot: number, type: ValType): WasmLocal {
    const local = this.temporary(type);
    this.hold(e, slot, local);
    return local;
  }
  private hold(e: Expr, slot: number, local: WasmLocal): void {
    const key = e.id * slots + slot;
    this.values.set(key, { local, bits: this.normal.dependencies.of(e) });
    this.scope().keys.push(key);
  }
  private held(e: Expr, slot: number): WasmLocal | null {
    return this.values.get(e.id * slots + slot)?.local ?? null;
  }
  /** Says that `local` holds the scalar value of `e` from here to the end of the scope. */
  holdScalarIn(e: Expr, local: WasmLocal): void {
    this.hold(e, scalarSlot, local);
  }

  private countUses(body: readonly Stmt[]): void {
    const visit = (e: Expr): void => {
      const seen = this.uses.get(e) ?? 0;
      this.uses.set(e, seen + 1);
      if (seen > 0) return;
      for (const o of this.inputs(e)) visit(o);
    };
    forEachStatement(body, (stmt) => this.roots(stmt).forEach(visit));
  }
  /** Operands as they are emitted: a load's is its address. */
  inputs(e: Expr): readonly Expr[] {
    if (e.kind !== 'load') return operands(e);
    const { address } = accessOf(this.normal, e);
    return e.guard ? [address, e.guard] : [address];
  }
  /** Expressions a statement evaluates itself. */
  roots(stmt: Stmt): readonly Expr[] {
    switch (stmt.kind) {
      case 'declare':
      case 'assign':
      case 'accumulate':
        return [stmt.value];
      case 'store': {
        const access = this.normal.stores.get(stmt);
        return access ? [access.address, stmt.value] : [];
      }
      case 'if':
      case 'while':
        return [stmt.condition];
      case 'for':
        return typeof stmt.extent === 'number' ? [] : [stmt.extent];
      default:
        return stmt satisfies never;
    }
  }
  private isShared(e: Expr): boolean {
    return (this.uses.get(e) ?? 2) > 1;
  }

  shape(e: Expr): Shape {
    return this.lanes ? this.lanes.shape(e) : 0;
  }
  isUniform(e: Expr): boolean {
    return this.shape(e) === 0;
  }

  // Scalars. In a vector loop: of an expression that is uniform, or i32 and linear (then: of the first lane).
  scalar(e: Expr): void {
    const held = this.held(e, scalarSlot);
    if (held) {
      this.f.get(held);
      return;
    }
    if (this.pushLeaf(e)) return;
    this.compute(e);
    if (this.isShared(e)) this.f.tee(this.remember(e, scalarSlot, valTypeOf(e.type)));
  }
  holdScalar(e: Expr): WasmLocal {
    const held = this.held(e, scalarSlot);
    if (held) return held;
    if (e.kind === 'local') return this.scalarOf(e.local);
    if (e.kind === 'index') return this.variable(e.variable);
    if (!this.pushLeaf(e)) this.compute(e);
    const local = this.remember(e, scalarSlot, valTypeOf(e.type));
    this.f.set(local);
    return local;
  }
  private variable(variable: LoopVar): WasmLocal {
    const local = this.variables.get(variable);
    if (!local) throw new CompilerError(`loop variable ${variable.name} has no value here`);
    return local;
  }
  private pushLeaf(e: Expr): boolean {
    if (e.kind === 'const') pushConstant(this.f, e.type, e.value);
    else if (e.kind === 'index') this.f.get(this.variable(e.variable));
    else if (e.kind === 'local') this.f.get(this.scalarOf(e.local));
    else return false;
    return true;
  }
  private compute(e: Expr): void {
    const { f } = this;
    switch (e.kind) {
      case 'load':
        emitScalarLoad(this, e);
        return;
      case 'unary':
        this.scalar(e.a);
        scalarUnary(f, e.op, e.type);
        return;
      case 'binary':
        this.scalar(e.a);
        this.scalar(e.b);
        scalarBinary(f, this.module, e.op, e.a.type, this.divisionFacts(e));
        return;
      case 'select':
        this.computeSelect(e);
        return;
      case 'cast':
        this.scalar(e.a);
        scalarCast(f, e.a.type, e.type);
        return;
      case 'bitcast':
        this.scalar(e.a);
        scalarBitcast(f, e.a.type, e.type);
        return;
      default:
        this.pushLeaf(e);
    }
  }
  private computeSelect(e: SelectExpr): void {
    const { f } = this;
    const heavy = this.heavyArms.of(e);
    if (!heavy) {
      this.scalar(e.a);
      this.scalar(e.b);
      this.scalar(e.condition);
      f.op('select');
      return;
    }
    this.scalar(e.condition);
    f.if(valTypeOf(e.type));
    this.inScope(() => this.scalar(e.a));
    f.else();
    this.inScope(() => this.scalar(e.b));
    f.end();
  }
  /** What `emit` computes is forgotten afterwards: for code that may not run. */
  inScope(emit: () => void): void {
    this.enter();
    emit();
    this.leave();
  }
  private divisionFacts(e: BinaryExpr): DivisionFacts {
    if (e.op !== 'div' && e.op !== 'rem') return noFacts;
    if (e.type === 'i64') {
      const safe = e.b.kind === 'const' && e.b.value !== 0n && e.b.value !== -1n;
      return { safe, unsigned: false };
    }
    const a = this.ranges.of(e.a);
    const b = this.ranges.of(e.b);
    return { safe: b.low > 0 || b.high < -1, unsigned: a.low >= 0 && b.low > 0 };
  }

  // Vectors.
  vector(e: Expr, c: number): void {
    const held = this.held(e, componentSlot + c);
    if (held) {
      this.f.get(held);
      return;
    }
    const shape = this.shape(e);
    if (shape === 0) {
      this.splat(e);
      return;
    }
    if (e.kind === 'local') {
      this.f.get(this.component(e.local, c));
      return;
    }
    if (e.kind === 'load') {
      loadComponent(this, e, c, this.isShared(e));
      return;
    }
    this.computeVector(e, c, shape);
    if (this.isShared(e)) this.f.tee(this.remember(e, componentSlot + c, 'v128'));
  }
  holdVector(e: Expr, c: number): WasmLocal {
    const held = this.held(e, componentSlot + c) ?? (this.isUniform(e) ? this.held(e, splatSlot) : null);
    if (held) return held;
    if (e.kind === 'local' && !this.isUniform(e)) return this.component(e.local, c);
    this.vector(e, c);
    const kept = this.held(e, this.isUniform(e) ? splatSlot : componentSlot + c);
    const local = kept ?? this.remember(e, componentSlot + c, 'v128');
    this.f.set(local);
    return local;
  }
  /** A new local for component `c` of `e`; the caller sets it. */
  rememberVector(e: Expr, c: number): WasmLocal {
    return this.remember(e, componentSlot + c, 'v128');
  }
  /** Says that `local` holds component `c` of `e` from here to the end of the scope. */
  holdVectorIn(e: Expr, c: number, local: WasmLocal): void {
    this.hold(e, componentSlot + c, local);
  }
  private component(local: Local, c: number): WasmLocal {
    const component = this.vectors.get(local)?.[c];
    if (!component) throw new CompilerError(`local ${local.name} has no vector value here`);
    return component;
  }
  private computeVector(e: Expr, c: number, shape: Shape): void {
    if (shape !== 'varying') {
      this.splat(e);
      this.constant(rampBytes(Math.imul(4 * c, shape), shape));
      this.f.op('i32x4.add');
      return;
    }
    switch (e.kind) {
      case 'unary':
        vectorUnary(this, e, c);
        return;
      case 'binary':
        vectorBinary(this, e, c);
        return;
      case 'select':
        vectorSelect(this, e, c);
        return;
      case 'cast':
        vectorCast(this, e, c);
        return;
      case 'bitcast':
        vectorBitcast(this, e, c);
        return;
      default:
        throw new CompilerError(`no vector form of ${e.kind}`);
    }
  }
  /** Pushes a vector with the scalar value of `e` (the first lane's, if lanes differ) in every lane. */
  splat(e: Expr): void {
    const held = this.held(e, splatSlot);
    if (held) {
      this.f.get(held);
      return;
    }
    if (e.kind === 'const') {
      const bytes = splatBytes(e.type, e.value);
      this.f.v128(bytes);
      if (isCheap(bytes)) return;
    } else {
      this.scalar(e);
      splat(this.f, e.type);
    }
    this.f.tee(this.remember(e, splatSlot, 'v128'));
  }
  constant(bytes: Uint8Array): void {
    const held = this.constants.get(bytes.join());
    if (held) this.f.get(held);
    else this.f.v128(bytes);
  }

  // Hoisting.
  /** Computes the scalar value of `e` now, so that code in inner scopes finds it. */
  preloadScalar(e: Expr): void {
    if (e.kind !== 'const' && e.kind !== 'index' && e.kind !== 'local') this.holdScalar(e);
  }
  preloadSplat(e: Expr): void {
    if (this.held(e, splatSlot)) return;
    this.splat(e);
    this.f.op('drop');
  }
  preloadVector(e: Expr, components: number): void {
    for (let c = 0; c < components; c++) this.holdVector(e, c);
  }
  preloadConstant(bytes: Uint8Array): void {
    const key = bytes.join();
    if (this.constants.has(key)) return;
    const local = this.temporary('v128');
    this.f.v128(bytes).set(local);
    this.constants.set(key, local);
    this.scope().constants.push(key);
  }
}

/** Vectors of zeros and of ones are made faster than they are read from memory. */
function isCheap(bytes: Uint8Array): boolean {
  return bytes.every((b) => b === 0) || bytes.every((b) => b === 255);
}

export function pushConstant(f: FunctionBuilder, type: ScalarType, value: number | bigint): void {
  if (type === 'f32') f.f32(Number(value));
  else if (type === 'f64') f.f64(Number(value));
  else if (type === 'i64') f.i64(BigInt(value));
  else f.i32(Number(value));
}
