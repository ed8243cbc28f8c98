/** Loop-invariant code: what can be computed before a loop, in the forms its body will ask for. */
import type { BinaryExpr, Expr, LoopVar } from '../../ir/expr.js';
import type { ForStmt, Stmt } from '../../ir/kernel.js';
import type { Emitter } from './emitter.js';
import type { Lanes } from './lanes.js';
import type { NormalBody } from './normalize.js';
import { componentCount, rampBytes } from './types.js';

/** What running a body changes, as dependency bits. */
export class Effects {
  private readonly normal: NormalBody;
  private readonly known = new Map<Stmt, { readonly defines: bigint; readonly mutates: bigint }>();

  constructor(normal: NormalBody) {
    this.normal = normal;
  }
  /** Locals assigned or accumulated and parameters stored. */
  mutates(body: readonly Stmt[]): bigint {
    return body.reduce((bits, stmt) => bits | this.of(stmt).mutates, 0n);
  }
  /** {@link mutates}, and the variables and locals that only exist inside. */
  changes(body: readonly Stmt[]): bigint {
    return body.reduce((bits, stmt) => bits | this.of(stmt).mutates | this.of(stmt).defines, 0n);
  }
  private of(stmt: Stmt): { readonly defines: bigint; readonly mutates: bigint } {
    const found = this.known.get(stmt);
    if (found) return found;
    const bit = (x: Parameters<NormalBody['dependencies']['bit']>[0]): bigint => this.normal.dependencies.bit(x);
    let defines = 0n;
    let mutates = 0n;
    const include = (body: readonly Stmt[]): void => {
      for (const inner of body) {
        defines |= this.of(inner).defines;
        mutates |= this.of(inner).mutates;
      }
    };
    if (stmt.kind === 'declare') defines = bit(stmt.local);
    else if (stmt.kind === 'store') mutates = bit(stmt.buffer.param);
    else if (stmt.kind === 'if') {
      include(stmt.then);
      include(stmt.otherwise);
    } else if (stmt.kind === 'for' || stmt.kind === 'while') {
      include(stmt.body);
      if (stmt.kind === 'for') defines |= bit(stmt.variable);
    } else mutates = bit(stmt.local);
    const result = { defines, mutates };
    this.known.set(stmt, result);
    return result;
  }
}

/** A multiple of a loop's variable that the body needs: the loop counts it along instead of multiplying. */
export interface Induction {
  readonly e: BinaryExpr;
  readonly factor: number;
}

/** What a body asks for: a scalar, or a vector. */
type Form = 'scalar' | 'vector';

export class Hoister {
  private readonly em: Emitter;
  private readonly lanesOf: (loop: ForStmt) => Lanes;
  private readonly seen = new Map<Expr, Set<Form>>();
  private readonly containsLoad = new Map<Expr, boolean>();
  private changes = 0n;
  private variable: LoopVar | null = null;
  private readonly inductions: Induction[] = [];

  constructor(em: Emitter, lanesOf: (loop: ForStmt) => Lanes) {
    this.em = em;
    this.lanesOf = lanesOf;
  }

  /**
   * Emits the invariant parts of a loop's body. `changes` are the bits that vary inside. The body is known to run at
   * least once (else its loads must not be hoisted: pass `runs` false). Returns the multiples of `variable` found.
   */
  run(body: readonly Stmt[], changes: bigint, variable: LoopVar | null, runs: boolean): readonly Induction[] {
    this.changes = changes;
    this.variable = variable;
    this.seen.clear();
    this.inductions.length = 0;
    this.block(body, runs, this.em.lanes);
    return [...this.inductions];
  }

  private block(body: readonly Stmt[], certain: boolean, lanes: Lanes | null): void {
    for (const stmt of body) {
      switch (stmt.kind) {
        case 'declare':
        case 'assign':
          this.root(stmt.value, lanes?.isVarying(stmt.local) ? 'vector' : 'scalar', certain, lanes);
          break;
        case 'accumulate':
          this.root(stmt.value, lanes ? 'vector' : 'scalar', certain, lanes);
          break;
        case 'store': {
          const [address, value] = this.em.roots(stmt);
          if (!address || !value) break;
          const uniform = lanes === null || (lanes.shape(address) === 0 && lanes.shape(value) === 0);
          this.root(address, this.addressForm(address, lanes), certain, lanes);
          this.root(value, uniform ? 'scalar' : 'vector', certain, lanes);
          break;
        }
        case 'if': {
          const uniform = lanes === null || lanes.shape(stmt.condition) === 0;
          this.root(stmt.condition, uniform ? 'scalar' : 'vector', certain, lanes);
          this.block(stmt.then, false, lanes);
          this.block(stmt.otherwise, false, lanes);
          break;
        }
        case 'while':
          this.root(stmt.condition, 'scalar', certain, lanes);
          this.block(stmt.body, false, lanes);
          break;
        case 'for': {
          if (typeof stmt.extent !== 'number') this.root(stmt.extent, 'scalar', certain, lanes);
          const inner = stmt.mode === 'vector' ? this.lanesOf(stmt) : lanes;
          // A vector loop too short for a group of lanes runs as scalars only.
          this.block(stmt.body, certain && typeof stmt.extent === 'number', inner);
          break;
        }
        default:
          stmt satisfies never;
      }
    }
  }
  private addressForm(address: Expr, lanes: Lanes | null): Form {
    return lanes && lanes.shape(address) === 'varying' ? 'vector' : 'scalar';
  }
  private root(e: Expr, form: Form, certain: boolean, lanes: Lanes | null): void {
    const outer = this.em.lanes;
    this.em.lanes = lanes;
    this.visit(e, form, certain);
    this.em.lanes = outer;
  }

  /** Emits the largest invariant parts of `e`. */
  private visit(e: Expr, form: Form, certain: boolean): void {
    const forms = this.seen.get(e) ?? new Set<Form>();
    if (forms.has(form)) return;
    forms.add(form);
    this.seen.set(e, forms);
    const { em } = this;
    const shape = em.shape(e);
    const invariant = (em.normal.dependencies.of(e) & this.changes) === 0n;
    if (invariant && this.mayHoist(e, certain)) {
      if (form === 'scalar') em.preloadScalar(e);
      else if (shape === 0) em.preloadSplat(e);
      else em.preloadVector(e, componentCount(e.type, em.lanes?.units ?? 1));
      return;
    }
    if (form === 'vector' && shape !== 'varying') {
      if (shape !== 0) this.ramps(shape);
      this.visit(e, 'scalar', certain);
      return;
    }
    if (e.kind === 'binary' && e.op === 'mul' && form === 'scalar') this.noteInduction(e);
    for (const input of em.inputs(e)) this.visit(input, this.inputForm(e, input, form), certain);
  }
  private inputForm(e: Expr, input: Expr, form: Form): Form {
    if (form === 'scalar') return 'scalar';
    const shape = this.em.shape(input);
    if (e.kind === 'load') {
      if (input === e.guard) return shape === 0 ? 'scalar' : 'vector';
      return shape === 'varying' ? 'vector' : 'scalar';
    }
    const isShift = e.kind === 'binary' && (e.op === 'shl' || e.op === 'shr' || e.op === 'shrU');
    return isShift && input === e.b && shape === 0 ? 'scalar' : 'vector';
  }
  private ramps(step: number): void {
    for (let c = 0; c < (this.em.lanes?.units ?? 1); c++) this.em.preloadConstant(rampBytes(Math.imul(4 * c, step), step));
  }
  private noteInduction(e: BinaryExpr): void {
    if (e.a.kind !== 'index' || e.a.variable !== this.variable || e.b.kind !== 'const') return;
    if (!this.inductions.some((known) => known.e === e)) this.inductions.push({ e, factor: Number(e.b.value) });
  }

  /**
   * Loads may only move where they would have run anyway. Code that may not run at all is not worth computing
   * early either, but for addresses and constants.
   */
  private mayHoist(e: Expr, certain: boolean): boolean {
    if (certain && this.em.mask === null) return true;
    return !this.hasLoad(e) && (e.type === 'i32' || e.kind === 'const' || e.kind === 'local');
  }
  private hasLoad(e: Expr): boolean {
    const found = this.containsLoad.get(e);
    if (found !== undefined) return found;
    const result = e.kind === 'load' || this.em.inputs(e).some((o) => this.hasLoad(o));
    this.containsLoad.set(e, result);
    return result;
  }
}
