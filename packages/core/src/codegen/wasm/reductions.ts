/** Reductions over the lanes of vector loops: accumulators of several vectors, combined in a fixed order. */
import type { ScalarType } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { Expr, Local } from '../../ir/expr.js';
import type { ForStmt, ReduceOp, Stmt } from '../../ir/kernel.js';
import type { FunctionBuilder, WasmLocal } from './asm.js';
import type { Emitter } from './emitter.js';
import { scalarBinary } from './scalar-ops.js';
import { componentCount, isWide, splatBytes } from './types.js';
import { combineVectors, extractLane } from './vector-ops.js';
import { forEachStatement, nestedStatements } from './walk.js';

/** The value that changes nothing under an operation. */
function identity(op: ReduceOp, type: ScalarType): number | bigint {
  const wide = type === 'i64';
  const float = type === 'f32' || type === 'f64';
  switch (op) {
    case 'add':
      return wide ? 0n : float ? -0 : 0;
    case 'mul':
      return wide ? 1n : 1;
    case 'or':
      return wide ? 0n : 0;
    case 'and':
      return wide ? -1n : type === 'bool' ? 1 : -1;
    case 'max':
      return float ? -Infinity : wide ? -(2n ** 63n) : -(2 ** 31);
    case 'min':
      return float ? Infinity : wide ? 2n ** 63n - 1n : 2 ** 31 - 1;
    default:
      return op satisfies never;
  }
}

/** A local declared outside a vector loop that the loop accumulates into. */
export interface Reduction {
  readonly local: Local;
  readonly op: ReduceOp;
}

export class Reductions {
  private readonly em: Emitter;
  private readonly f: FunctionBuilder;
  /** Started by a serial loop around the vector loop, which finishes them. */
  private readonly deferred = new Set<Local>();
  private readonly homes = new Map<Local, WasmLocal>();
  private readonly accumulators = new Map<Local, readonly WasmLocal[]>();

  constructor(em: Emitter) {
    this.em = em;
    this.f = em.f;
  }
  /** The scalar a reduction ends in. */
  homeOf(local: Local): WasmLocal {
    const home = this.homes.get(local);
    if (!home) throw new CompilerError(`${local.name} was not prepared for a reduction`);
    return home;
  }
  /** Locals declared outside a body that it accumulates into. */
  inBody(body: readonly Stmt[]): readonly Reduction[] {
    const declared = new Set<Local>();
    const found = new Map<Local, ReduceOp>();
    forEachStatement(body, (stmt) => {
      if (stmt.kind === 'declare') declared.add(stmt.local);
      else if (stmt.kind === 'accumulate' && !declared.has(stmt.local)) {
        const op = found.get(stmt.local);
        if (op !== undefined && op !== stmt.op) throw new CompilerError(`${stmt.local.name} is accumulated with ${op} and ${stmt.op}`);
        found.set(stmt.local, stmt.op);
      }
    });
    return [...found].map(([local, op]) => ({ local, op }));
  }
  isDeferred(local: Local): boolean {
    return this.deferred.has(local);
  }
  /** Sets the accumulators of a reduction to the identity. */
  start(reduction: Reduction, units: number): Reduction {
    const { em, f } = this;
    const { local, op } = reduction;
    this.homes.set(local, em.scalarOf(local));
    const components = Array.from({ length: componentCount(local.type, units) }, () => em.temporary('v128'));
    for (const component of components) f.v128(splatBytes(local.type, identity(op, local.type))).set(component);
    this.accumulators.set(local, components);
    return reduction;
  }
  /** Lets the statements of a vector loop accumulate into vectors. */
  bind(reductions: readonly Reduction[]): void {
    for (const { local } of reductions) {
      const components = this.accumulators.get(local);
      if (components) this.em.bindVector(local, components);
    }
  }
  /** Combines the lanes, in a fixed order, into the scalar. */
  finish({ local, op }: Reduction): void {
    const { f, em } = this;
    const { type } = local;
    const home = this.homeOf(local);
    const components = [...(this.accumulators.get(local) ?? [])];
    for (let width = components.length / 2; width >= 1; width /= 2) {
      for (let i = 0; i < width; i++) {
        const a = components[i];
        const b = components[i + width];
        if (!a || !b) continue;
        combineVectors(f, op, type, a, b);
        f.set(a);
      }
    }
    const total = components[0];
    if (!total) return;
    const other = em.temporary('v128');
    for (let width = isWide(type) ? 1 : 2; width >= 1; width /= 2) {
      f.get(total).get(total);
      if (isWide(type)) f.shuffle64(1, 0);
      else if (width === 2) f.shuffle32(2, 3, 0, 1);
      else f.shuffle32(1, 0, 3, 2);
      f.set(other);
      combineVectors(f, op, type, total, other);
      f.set(total);
    }
    f.get(home).get(total);
    extractLane(f, type, 0);
    if (type === 'bool') f.i32(1).op('i32.and');
    scalarBinary(f, em.module, op, type);
    f.set(home);
    this.accumulators.delete(local);
    this.deferred.delete(local);
    em.bindScalar(local, home);
    em.invalidate(em.normal.dependencies.bit(local));
  }
  /** Starts the accumulators of vector loops inside a serial loop that nothing reads before the loop ends. */
  defer(stmt: ForStmt, unitsOf: (loop: ForStmt) => number): readonly Reduction[] {
    const candidates = new Map<Local, { op: ReduceOp; units: number }>();
    const refused = new Set<Local>();
    const walk = (stmts: readonly Stmt[], units: number): void => {
      for (const s of stmts) {
        if (s.kind === 'declare' || s.kind === 'assign') refused.add(s.local);
        else if (s.kind === 'accumulate') {
          const known = candidates.get(s.local);
          if (units === 0 || (known && known.op !== s.op)) refused.add(s.local);
          candidates.set(s.local, { op: s.op, units: Math.max(units, known?.units ?? 0) });
        }
        walk(nestedStatements(s), s.kind === 'for' && s.mode === 'vector' ? unitsOf(s) : units);
      }
    };
    walk(stmt.body, 0);
    const reads = new Set<Expr>();
    const visit = (e: Expr): void => {
      if (reads.has(e)) return;
      reads.add(e);
      if (e.kind === 'local') refused.add(e.local);
      this.em.inputs(e).forEach(visit);
    };
    forEachStatement(stmt.body, (s) => this.em.roots(s).forEach(visit));
    const started: Reduction[] = [];
    for (const [local, { op, units }] of candidates) {
      if (refused.has(local) || this.deferred.has(local)) continue;
      started.push(this.start({ local, op }, units));
      this.deferred.add(local);
    }
    return started;
  }
}
