/** Emission of statements: loops, conditions, locals and reductions. */
import type { ScalarType } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { Expr, Local, LoopVar } from '../../ir/expr.js';
import type { AccumulateStmt, ForStmt, IfStmt, Stmt, WhileStmt } from '../../ir/kernel.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';
import { Emitter } from './emitter.js';
import { Effects, Hoister, type Induction } from './hoist.js';
import { Lanes } from './lanes.js';
import { emitScalarStore, emitVectorStore } from './memory.js';
import { accessOf, type NormalBody } from './normalize.js';
import { Reductions } from './reductions.js';
import { scalarBinary } from './scalar-ops.js';
import { componentCount, isWide, valTypeOf } from './types.js';
import { combineVectors } from './vector-ops.js';
import { forEachStatement } from './walk.js';

export class StatementEmitter {
  readonly em: Emitter;
  private readonly f: FunctionBuilder;
  private readonly module: ModuleBuilder;
  private readonly normal: NormalBody;
  private readonly effects: Effects;
  private readonly hoister: Hoister;
  private readonly mainLanes = new Map<ForStmt, Lanes>();
  private readonly reductions: Reductions;

  constructor(f: FunctionBuilder, module: ModuleBuilder, normal: NormalBody, relaxedSimd: boolean) {
    this.f = f;
    this.module = module;
    this.normal = normal;
    this.em = new Emitter(f, module, normal, relaxedSimd);
    this.effects = new Effects(normal);
    this.reductions = new Reductions(this.em);
    this.hoister = new Hoister(this.em, (loop) => this.lanesOf(loop));
  }

  /** Loads the addresses of the parameters into locals; call first, inside a scope that stays open. */
  loadPointers(args: WasmLocal): void {
    for (const [param, local] of this.normal.pointers) {
      const pointer = this.em.temporary('i32');
      this.f
        .get(args)
        .mem('i32.load', 4 * param)
        .set(pointer);
      this.em.bindScalar(local, pointer);
    }
  }
  /** Computes what does not depend on anything in `changes` ahead of the body; `runs`: the body surely runs. */
  hoist(body: readonly Stmt[], changes: bigint, variable: LoopVar | null, runs: boolean): readonly Induction[] {
    return this.hoister.run(body, changes | this.effects.changes(body), variable, runs);
  }

  /** `for variable in [begin, end)` around a body. */
  range(variable: LoopVar, begin: WasmLocal, end: WasmLocal, body: readonly Stmt[]): void {
    const { f, em } = this;
    f.get(begin).get(end).op('i32.lt_s').if();
    em.enter();
    const counter = em.temporary('i32');
    f.get(begin).set(counter);
    em.bindVariable(variable, counter);
    this.loop(variable, counter, body, end);
    em.leave();
    f.end();
  }

  block(body: readonly Stmt[]): void {
    for (const stmt of body) this.statement(stmt);
  }
  private statement(stmt: Stmt): void {
    const { em, f } = this;
    switch (stmt.kind) {
      case 'declare':
        this.declare(stmt.local, stmt.value);
        return;
      case 'assign':
        this.assign(stmt.local, stmt.value);
        this.changed(stmt.local);
        return;
      case 'accumulate':
        this.accumulate(stmt);
        this.changed(stmt.local);
        return;
      case 'store':
        if (em.lanes) emitVectorStore(em, stmt);
        else emitScalarStore(em, stmt);
        em.invalidate(this.normal.dependencies.bit(stmt.buffer.param));
        return;
      case 'if':
        if (em.lanes && !em.isUniform(stmt.condition)) this.maskedIf(stmt);
        else {
          em.scalar(stmt.condition);
          f.if();
          this.scoped(stmt.then);
          if (stmt.otherwise.length > 0) {
            f.else();
            this.scoped(stmt.otherwise);
          }
          f.end();
        }
        return;
      case 'while':
        this.whileLoop(stmt);
        return;
      case 'for':
        if (stmt.mode === 'vector') this.vectorLoop(stmt);
        else this.serialLoop(stmt);
        return;
      default:
        stmt satisfies never;
    }
  }
  private scoped(body: readonly Stmt[]): void {
    this.em.enter();
    this.block(body);
    this.em.leave();
  }
  private changed(local: Local): void {
    this.em.invalidate(this.normal.dependencies.bit(local));
  }

  // Locals.
  private declare(local: Local, value: Expr): void {
    const { em, f } = this;
    if (em.lanes?.isVarying(local)) {
      const components = Array.from({ length: componentCount(local.type, em.lanes.units) }, () => em.temporary('v128'));
      components.forEach((component, c) => {
        em.vector(value, c);
        f.set(component);
      });
      em.bindVector(local, components);
      return;
    }
    const scalar = em.temporary(valTypeOf(local.type));
    em.scalar(value);
    f.set(scalar);
    em.bindScalar(local, scalar);
  }
  private assign(local: Local, value: Expr): void {
    const { em, f } = this;
    if (!em.lanes) {
      em.scalar(value);
      f.set(em.scalarOf(local));
      return;
    }
    const components = em.lanes.isVarying(local) ? em.vectorOf(local) : null;
    if (!components) throw new CompilerError(`assignment to ${local.name} in a vector loop it was declared outside of`);
    // Lanes may be exchanged between components by conversions: compute all before any is overwritten.
    const fresh = components.map((component, c) => {
      const next = em.temporary('v128');
      em.vector(value, c);
      f.set(next);
      this.selectActive(local.type, c, next, component);
      return next;
    });
    fresh.forEach((next, c) => {
      const component = components[c];
      if (component) f.get(next).set(component);
    });
  }
  /** Keeps the old value in lanes that are not active. */
  private selectActive(type: ScalarType, c: number, next: WasmLocal, old: WasmLocal): void {
    const { em, f } = this;
    const mask = em.mask?.[isWide(type) ? c >> 1 : c];
    if (!mask) return;
    f.get(next).get(old).get(mask);
    if (isWide(type)) {
      f.get(mask);
      if (c & 1) f.shuffle32(2, 2, 3, 3);
      else f.shuffle32(0, 0, 1, 1);
    }
    f.op('v128.bitselect').set(next);
  }
  private accumulate(stmt: AccumulateStmt): void {
    const { em, f } = this;
    const { local, op, value } = stmt;
    if (!em.lanes) {
      const scalar = em.scalarOf(local);
      f.get(scalar);
      em.scalar(value);
      scalarBinary(f, this.module, op, local.type);
      f.set(scalar);
      return;
    }
    const components = em.vectorOf(local);
    if (!components) throw new CompilerError(`${local.name} has no lanes to accumulate in`);
    const count = componentCount(local.type, em.lanes.units);
    // A value that reads the local may need several of its components: compute all before any changes.
    if ((this.normal.dependencies.of(value) & this.normal.dependencies.bit(local)) !== 0n) em.preloadVector(value, count);
    for (let c = 0; c < count; c++) {
      const component = components[c];
      if (!component) throw new CompilerError(`${local.name} has too few lanes`);
      combineVectors(f, op, local.type, component, em.holdVector(value, c));
      if (em.mask) {
        const next = em.temporary('v128');
        f.set(next);
        this.selectActive(local.type, c, next, component);
        f.get(next);
      }
      f.set(component);
    }
  }

  // Conditions.
  private maskedIf(stmt: IfStmt): void {
    const { em, f } = this;
    const units = em.lanes?.units ?? 1;
    em.enter();
    const condition = Array.from({ length: units }, (_, c) => {
      const mask = em.temporary('v128');
      em.vector(stmt.condition, c);
      f.set(mask);
      return mask;
    });
    const outer = em.mask;
    const branch = (body: readonly Stmt[], negate: boolean): void => {
      if (body.length === 0) return;
      em.enter();
      const masks = condition.map((mask, c) => {
        const active = em.temporary('v128');
        const around = outer?.[c];
        if (negate) {
          if (around) f.get(around).get(mask).op('v128.andnot');
          else f.get(mask).op('v128.not');
        } else {
          f.get(mask);
          if (around) f.get(around).op('v128.and');
        }
        f.set(active);
        return active;
      });
      masks.forEach((mask, c) => {
        f.get(mask);
        if (c > 0) f.op('v128.or');
      });
      f.op('v128.any_true').if();
      em.mask = masks;
      this.scoped(body);
      em.mask = outer;
      f.end();
      em.leave();
    };
    branch(stmt.then, false);
    branch(stmt.otherwise, true);
    em.leave();
  }

  // Loops.
  private whileLoop(stmt: WhileStmt): void {
    const { em, f } = this;
    em.enter();
    em.invalidate(this.effects.mutates(stmt.body));
    this.hoist([stmt], 0n, null, false);
    const done = f.block();
    const round = f.loop();
    em.enter();
    em.scalar(stmt.condition);
    f.op('i32.eqz').brIf(done);
    this.block(stmt.body);
    em.leave();
    f.br(round);
    f.end();
    f.end();
    em.leave();
  }
  private serialLoop(stmt: ForStmt): void {
    const { em, f } = this;
    em.enter();
    const extent = this.extentOf(stmt);
    const open = typeof extent !== 'number';
    if (open) f.get(extent).i32(0).op('i32.gt_s').if();
    em.enter();
    const deferred = em.lanes ? [] : this.reductions.defer(stmt, (loop) => this.lanesOf(loop).units);
    const counter = em.temporary('i32');
    f.i32(0).set(counter);
    em.bindVariable(stmt.variable, counter);
    this.loop(stmt.variable, counter, stmt.body, extent);
    for (const reduction of deferred) this.reductions.finish(reduction);
    em.leave();
    if (open) f.end();
    em.leave();
  }
  private extentOf(stmt: ForStmt): number | WasmLocal {
    if (typeof stmt.extent === 'number') return stmt.extent;
    const local = this.em.temporary('i32');
    this.em.scalar(stmt.extent);
    this.f.set(local);
    return local;
  }
  /** The counter has its first value and the loop runs at least once. */
  private loop(variable: LoopVar, counter: WasmLocal, body: readonly Stmt[], end: number | WasmLocal): void {
    const { em, f } = this;
    em.invalidate(this.effects.mutates(body));
    const inductions = this.startInductions(this.hoist(body, this.normal.dependencies.bit(variable), variable, true), counter);
    const round = f.loop();
    this.scoped(body);
    this.advance(counter, inductions, 1);
    f.get(counter);
    pushExtent(f, end);
    f.op('i32.lt_s').brIf(round);
    f.end();
  }
  private startInductions(found: readonly Induction[], counter: WasmLocal): readonly (Induction & { readonly local: WasmLocal })[] {
    return found.map((induction) => {
      const local = this.em.temporary('i32');
      this.f.get(counter).i32(induction.factor).op('i32.mul').set(local);
      this.em.holdScalarIn(induction.e, local);
      return { ...induction, local };
    });
  }
  private advance(counter: WasmLocal, inductions: readonly (Induction & { readonly local: WasmLocal })[], step: number): void {
    const { f } = this;
    for (const { local, factor } of inductions) f.get(local).i32(Math.imul(factor, step)).op('i32.add').set(local);
    f.get(counter).i32(step).op('i32.add').set(counter);
  }

  // Vector loops.
  private lanesOf(stmt: ForStmt): Lanes {
    let lanes = this.mainLanes.get(stmt);
    if (!lanes) {
      const extent = typeof stmt.extent === 'number' ? stmt.extent : this.normal.ranges.of(stmt.extent).high;
      let units = chooseUnits(this.em, this.makeLanes(stmt, 1), stmt.body);
      while (units > 1 && extent < 4 * units) units /= 2;
      lanes = this.makeLanes(stmt, units);
      this.mainLanes.set(stmt, lanes);
    }
    return lanes;
  }
  private makeLanes(stmt: ForStmt, units: number): Lanes {
    const lanes = new Lanes(this.normal, stmt.variable, units, true);
    lanes.declareLocals(stmt.body);
    return lanes;
  }

  private vectorLoop(stmt: ForStmt): void {
    const { em, f } = this;
    if (em.lanes) throw new CompilerError('a vector loop inside a vector loop');
    em.enter();
    const extent = this.extentOf(stmt);
    const open = typeof extent !== 'number';
    if (open) f.get(extent).i32(0).op('i32.gt_s').if();
    em.enter();
    const counter = em.temporary('i32');
    f.i32(0).set(counter);
    em.bindVariable(stmt.variable, counter);
    em.invalidate(this.effects.mutates(stmt.body));
    const main = this.lanesOf(stmt);
    const reductions = this.reductions.inBody(stmt.body);
    const inductions = this.startInductions(this.hoistVector(stmt, typeof extent === 'number' && extent < 4 ? null : main), counter);
    const started = reductions.filter((r) => !this.reductions.isDeferred(r.local)).map((r) => this.reductions.start(r, main.units));
    this.reductions.bind(reductions);
    this.phase(stmt, main, counter, extent, inductions);
    if (main.units > 1) this.phase(stmt, this.makeLanes(stmt, 1), counter, extent, inductions);
    for (const { local } of reductions) em.bindScalar(local, this.reductions.homeOf(local));
    for (const reduction of started) this.reductions.finish(reduction);
    this.tail(stmt, counter, extent, inductions);
    em.leave();
    if (open) f.end();
    em.leave();
  }
  private hoistVector(stmt: ForStmt, lanes: Lanes | null): readonly Induction[] {
    const { em } = this;
    em.lanes = lanes;
    const found = this.hoist(stmt.body, this.normal.dependencies.bit(stmt.variable), stmt.variable, true);
    em.lanes = null;
    return found;
  }
  /** Whole groups of lanes while there are enough. */
  private phase(
    stmt: ForStmt,
    lanes: Lanes,
    counter: WasmLocal,
    extent: number | WasmLocal,
    inductions: readonly (Induction & { readonly local: WasmLocal })[],
  ): void {
    const { em, f } = this;
    const count = lanes.count;
    const run = (): void => {
      em.lanes = lanes;
      this.scoped(stmt.body);
      em.lanes = null;
      this.advance(counter, inductions, count);
    };
    const main = this.lanesOf(stmt);
    if (typeof extent === 'number') {
      const first = lanes === main ? 0 : extent - (extent % main.count);
      const rounds = Math.floor((extent - first) / count);
      if (rounds === 0) return;
      if (rounds === 1) {
        run();
        return;
      }
      const round = f.loop();
      run();
      f.get(counter)
        .i32(first + rounds * count)
        .op('i32.lt_s')
        .brIf(round);
      f.end();
      return;
    }
    const end = em.temporary('i32');
    f.get(extent).i32(-count).op('i32.and').tee(end).get(counter).op('i32.gt_s').if();
    const round = f.loop();
    run();
    f.get(counter).get(end).op('i32.lt_s').brIf(round);
    f.end();
    f.end();
  }
  /** The last lanes one by one. */
  private tail(
    stmt: ForStmt,
    counter: WasmLocal,
    extent: number | WasmLocal,
    inductions: readonly (Induction & { readonly local: WasmLocal })[],
  ): void {
    const { f } = this;
    const run = (): void => {
      this.scoped(stmt.body);
      this.advance(counter, inductions, 1);
    };
    if (typeof extent === 'number') {
      if (extent % 4 === 0) return;
      if (extent % 4 === 1) {
        run();
        return;
      }
    } else f.get(counter).get(extent).op('i32.lt_s').if();
    const round = f.loop();
    run();
    f.get(counter);
    pushExtent(f, extent);
    f.op('i32.lt_s').brIf(round);
    f.end();
    if (typeof extent !== 'number') f.end();
  }
}

function pushExtent(f: FunctionBuilder, extent: number | WasmLocal): void {
  if (typeof extent === 'number') f.i32(extent);
  else f.get(extent);
}

/**
 * Vectors per 32-bit value in the main part of a vector loop: several when the body is small, so that the latencies
 * of independent lanes overlap; few when many values compete for registers.
 */
function chooseUnits(em: Emitter, lanes: Lanes, body: readonly Stmt[]): number {
  const seen = new Set<Expr>();
  let weight = 0;
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    const varying = lanes.shape(e) === 'varying';
    if (varying) weight += isWide(e.type) ? 2 : 1;
    // Lanes that are loaded one at a time gain nothing from more lanes.
    if (varying && e.kind === 'load' && (lanes.shape(accessOf(em.normal, e).address) === 'varying' || e.guard)) weight += 8;
    em.inputs(e).forEach(visit);
  };
  forEachStatement(body, (stmt) => {
    weight++;
    em.roots(stmt).forEach(visit);
  });
  return weight <= 32 ? 4 : weight <= 64 ? 2 : 1;
}
