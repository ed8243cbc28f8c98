/**
 * Writes the statements of a normalized loop nest as C. Each expression is computed once in the block where it is needed
 * first, as a scalar or as a vector of `lanes` neighbouring iterations of the vector loop.
 */
import type { DType, ScalarType } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import type { Expr, LoadExpr, Local, LoopVar } from '../../ir/expr.js';
import { operands } from '../../ir/expr.js';
import type { ForStmt, ReduceOp, Stmt, StoreStmt } from '../../ir/kernel.js';
import { Effects } from '../wasm/hoist.js';
import { Lanes } from '../wasm/lanes.js';
import { type Access, accessOf, type NormalBody } from '../wasm/normalize.js';
import { forEachStatement } from '../wasm/walk.js';
import { cType } from './prelude.js';

interface Known {
  readonly text: string;
  readonly depends: bigint;
}
type Form = 's' | 'v';

/** Vector groups worked on at a time in a reduction: enough sums at once to hide an addition's latency. */
const reductionGroups = 4;

export class CWriter {
  readonly lines: string[] = [];
  private readonly normal: NormalBody;
  private readonly laneCount: number;
  private readonly effects: Effects;
  private readonly names = new Map<LoopVar | Local, string>();
  private scopes: Map<string, Known>[] = [new Map()];
  private lanes: Lanes | null = null;
  /** Names of the accumulators of the vector loop under way, by local. */
  private accumulators: Map<Local, string> | null = null;
  /** In the last round of a vector loop: how many lanes count, and the mask of them. */
  private rest: { readonly count: string; readonly mask: string } | null = null;
  private counter = 0;
  private indent = 1;

  constructor(normal: NormalBody, laneCount: number, prefix = '') {
    this.normal = normal;
    this.laneCount = laneCount;
    this.effects = new Effects(normal);
    this.prefix = prefix;
  }
  private readonly prefix: string;

  line(text: string): void {
    this.lines.push('  '.repeat(this.indent) + text);
  }
  block(head: string, body: () => void): void {
    this.line(`${head} {`);
    this.indent++;
    this.scopes.push(new Map());
    body();
    this.scopes.pop();
    this.indent--;
    this.line('}');
  }
  /** Gives a variable or local of the normalized body a name that exists already. */
  bind(name: LoopVar | Local, text: string): void {
    this.names.set(name, text);
  }
  /** Forgets what was computed from a variable or local that changed. */
  changed(of: LoopVar | Local): void {
    this.invalidate(this.normal.dependencies.bit(of));
  }
  /** Loads the parameters' addresses; `args` is the array of them. */
  pointers(args: string): void {
    for (const [param, local] of this.normal.pointers) {
      const name = this.fresh(`p${param}_`);
      this.bind(local, name);
      this.line(`const int32_t ${name} = (int32_t)${args}[${param}];`);
    }
  }

  /** A body outside vector loops. */
  body(statements: readonly Stmt[]): void {
    for (const stmt of statements) this.statement(stmt);
  }

  /** Statements for `laneCount` neighbouring values of `variable`, whose first is the value it is bound to; with `rest`, for fewer. */
  vectorBody(
    statements: readonly Stmt[],
    variable: LoopVar,
    varying: ReadonlyMap<Local, string>,
    rest: { readonly count: string; readonly mask: string } | null = null,
  ): void {
    const lanes = new Lanes(this.normal, variable, this.laneCount / 4, false);
    for (const [local, name] of varying) {
      lanes.markVarying(local);
      this.bind(local, name);
    }
    lanes.declareLocals(statements);
    this.rest = rest;
    this.inLanes(lanes, null, () => this.body(statements));
    this.rest = null;
  }

  /**
   * Asks early for the memory that {@link vectorBody} will touch in `vectors` vectors from the value on that `variable` is bound to.
   * Returns how many places that is.
   */
  prefetch(statements: readonly Stmt[], variable: LoopVar, varying: Local, vectors: number): number {
    const lanes = new Lanes(this.normal, variable, this.laneCount / 4, false);
    lanes.markVarying(varying);
    lanes.declareLocals(statements);
    const found = new Map<string, { readonly access: Access; readonly writes: boolean }>();
    const note = (access: Access, writes: boolean): void => {
      const { address, offset, dtype } = access;
      if (lanes.shape(address) !== bytesOf[dtype] || !isIndexArithmetic(address)) return;
      const key = `${address.id}+${offset}`;
      found.set(key, { access, writes: writes || (found.get(key)?.writes ?? false) });
    };
    const seen = new Set<Expr>();
    const visit = (e: Expr): void => {
      if (seen.has(e)) return;
      seen.add(e);
      if (e.kind === 'load') note(accessOf(this.normal, e), false);
      else for (const operand of operands(e)) visit(operand);
    };
    forEachStatement(statements, (stmt) => {
      if ('value' in stmt) visit(stmt.value);
      const access = stmt.kind === 'store' ? this.normal.stores.get(stmt) : undefined;
      if (access) note(access, true);
    });
    for (const { access, writes } of found.values()) {
      const bytes = vectors * this.laneCount * bytesOf[access.dtype];
      const at = this.at(access.address, access.offset);
      for (let line = 0; line < bytes; line += 64) this.line(`__builtin_prefetch(${at} + ${line}, ${writes ? 1 : 0});`);
    }
    return found.size;
  }

  private inLanes(lanes: Lanes, accumulators: Map<Local, string> | null, body: () => void): void {
    this.lanes = lanes;
    this.accumulators = accumulators;
    body();
    this.lanes = null;
    this.accumulators = null;
  }

  private fresh(stem: string): string {
    return `${this.prefix}${stem}${this.counter++}`;
  }
  private nameOf(of: LoopVar | Local): string {
    let name = this.names.get(of);
    if (name === undefined) {
      name = this.fresh(`${of.name.replace(/[^A-Za-z0-9]/g, '').slice(0, 12) || 'x'}_`);
      this.names.set(of, name);
    }
    return name;
  }
  private invalidate(bits: bigint): void {
    for (const scope of this.scopes) for (const [key, known] of scope) if ((known.depends & bits) !== 0n) scope.delete(key);
  }

  /* ---- statements ---- */

  private statement(stmt: Stmt): void {
    switch (stmt.kind) {
      case 'declare': {
        const vector = this.lanes?.isVarying(stmt.local) ?? false;
        const value = vector ? this.vector(stmt.value) : this.scalar(stmt.value);
        const name = this.fresh(`${stmt.local.name.replace(/[^A-Za-z0-9]/g, '').slice(0, 12) || 'x'}_`);
        this.names.set(stmt.local, name);
        this.line(`${cType(stmt.local.type, vector)} ${name} = ${value};`);
        return this.changed(stmt.local);
      }
      case 'assign': {
        const vector = this.lanes?.isVarying(stmt.local) ?? false;
        const value = vector ? this.vector(stmt.value) : this.scalar(stmt.value);
        this.line(`${this.nameOf(stmt.local)} = ${value};`);
        return this.changed(stmt.local);
      }
      case 'accumulate':
        return this.accumulate(stmt.local, stmt.op, stmt.value);
      case 'store':
        return this.store(stmt);
      case 'if':
        return this.branch(stmt);
      case 'while': {
        this.invalidate(this.effects.changes(stmt.body));
        this.block('for (;;)', () => {
          this.line(`if (!${this.scalar(stmt.condition)}) break;`);
          this.body(stmt.body);
        });
        return this.invalidate(this.effects.changes(stmt.body));
      }
      case 'for':
        return this.loop(stmt);
      default:
        return stmt satisfies never;
    }
  }

  private accumulate(local: Local, op: ReduceOp, e: Expr): void {
    const sum = this.accumulators?.get(local);
    const vector = sum !== undefined || (this.lanes?.isVarying(local) ?? false);
    const value = vector ? this.vector(e) : this.scalar(e);
    const name = sum ?? this.nameOf(local);
    const combined = `${vector ? 'v' : 's'}_${op}_${local.type}(${name}, ${value})`;
    // A lane beyond the end must not count in a sum over lanes.
    const counts = sum === undefined || this.rest === null;
    this.line(`${name} = ${counts ? combined : `v_select_${local.type}(${this.rest?.mask}, ${combined}, ${name})`};`);
    if (sum === undefined) this.changed(local);
  }

  private store(stmt: StoreStmt): void {
    const access = this.normal.stores.get(stmt);
    if (!access) throw new CompilerError('a store without an address');
    const { address, offset, dtype } = access;
    const shape = this.lanes?.shape(address) ?? 0;
    if (this.lanes === null || (shape === 0 && this.lanes.shape(stmt.value) === 0)) {
      this.line(`s_st_${dtype}(${this.at(address, offset)}, ${this.scalar(stmt.value)});`);
    } else {
      const value = this.vector(stmt.value);
      const { rest } = this;
      const contiguous = shape === bytesOf[dtype];
      const where = contiguous ? this.at(address, offset) : `heap, ${this.addresses(address, offset)}`;
      if (rest === null) this.line(`v_${contiguous ? 'st' : 'sc'}_${dtype}(${where}, ${value});`);
      else this.line(`v_${contiguous ? 'sp' : 'sn'}_${dtype}(${where}, ${value}, ${rest.count});`);
    }
    this.invalidate(this.normal.dependencies.bit(stmt.buffer.param));
  }

  private branch(stmt: Extract<Stmt, { kind: 'if' }>): void {
    if (this.lanes && this.lanes.shape(stmt.condition) !== 0) throw new CompilerError('a branch that differs between lanes');
    this.block(`if (${this.scalar(stmt.condition)})`, () => this.body(stmt.then));
    if (stmt.otherwise.length > 0) this.block('else', () => this.body(stmt.otherwise));
    this.invalidate(this.effects.changes([...stmt.then, ...stmt.otherwise]));
  }

  private loop(stmt: ForStmt): void {
    const changes = this.effects.changes([stmt]);
    this.invalidate(changes);
    const extent = typeof stmt.extent === 'number' ? String(stmt.extent) : this.scalar(stmt.extent);
    const runs = typeof stmt.extent === 'number' && stmt.extent > 0;
    if (stmt.mode === 'vector' && this.vectorizes(stmt)) this.vectorLoop(stmt, extent, runs, changes);
    else {
      if (runs) this.hoist(stmt.body, changes, this.lanes);
      const name = this.nameOf(stmt.variable);
      this.block(`for (int32_t ${name} = 0; ${name} < ${extent}; ${name}++)`, () => this.body(stmt.body));
    }
    this.invalidate(changes);
  }

  /** Branches that differ between lanes, and very short loops, run element by element. */
  private vectorizes(stmt: ForStmt): boolean {
    if (typeof stmt.extent === 'number' && stmt.extent < Math.min(this.laneCount, 5)) return false;
    const lanes = this.lanesOf(stmt);
    let possible = true;
    forEachStatement(stmt.body, (inner) => {
      if (inner.kind === 'while' || (inner.kind === 'if' && lanes.shape(inner.condition) !== 0)) possible = false;
    });
    return possible;
  }
  private lanesOf(stmt: ForStmt): Lanes {
    const lanes = new Lanes(this.normal, stmt.variable, this.laneCount / 4, true);
    lanes.declareLocals(stmt.body);
    return lanes;
  }

  private vectorLoop(stmt: ForStmt, extent: string, runs: boolean, changes: bigint): void {
    const { laneCount } = this;
    const lanes = this.lanesOf(stmt);
    const own = new Set<Local>();
    const reduced = new Map<Local, ReduceOp>();
    forEachStatement(stmt.body, (inner) => {
      if (inner.kind === 'declare') own.add(inner.local);
      else if (inner.kind === 'accumulate' && !own.has(inner.local)) reduced.set(inner.local, inner.op);
    });
    if (runs) this.hoist(stmt.body, changes, lanes);
    const name = this.nameOf(stmt.variable);
    this.line(`int32_t ${name} = 0;`);
    const groups =
      reduced.size > 0 && (typeof stmt.extent !== 'number' || stmt.extent >= reductionGroups * laneCount) ? reductionGroups : 1;
    const sums: Map<Local, string>[] = Array.from({ length: groups }, () => new Map());
    for (const [local, op] of reduced) {
      for (const group of sums) {
        const sum = this.fresh('sum');
        group.set(local, sum);
        this.line(`${cType(local.type, true)} ${sum} = ${neutral(op, local.type)};`);
      }
    }
    const wide = groups * laneCount;
    if (groups > 1) {
      this.block(`for (; ${name} + ${wide} <= ${extent}; ${name} += ${wide})`, () => {
        sums.forEach((group, g) => {
          this.block('', () => {
            const at = this.fresh('i');
            this.line(`const int32_t ${at} = ${name} + ${g * laneCount};`);
            this.rebound(stmt.variable, at, () => this.inLanes(lanes, group, () => this.body(stmt.body)));
          });
        });
      });
    }
    if (typeof stmt.extent !== 'number' || stmt.extent >= laneCount) {
      this.block(`for (; ${name} + ${laneCount} <= ${extent}; ${name} += ${laneCount})`, () =>
        this.inLanes(lanes, sums[0], () => this.body(stmt.body)),
      );
    }
    if (typeof stmt.extent !== 'number' || stmt.extent % laneCount !== 0) {
      // The last lanes, fewer than a vector has.
      this.block(`if (${name} < ${extent})`, () => {
        const count = this.fresh('n');
        const mask = this.fresh('m');
        this.line(`const int ${count} = ${extent} - ${name};`);
        this.line(`const vi ${mask} = RAMP < ${count};`);
        this.rest = { count, mask };
        this.inLanes(lanes, sums[0], () => this.body(stmt.body));
        this.rest = null;
      });
    }
    for (const [local, op] of reduced) {
      const f = `${op}_${local.type}`;
      for (const group of sums.slice(1)) this.line(`${sums[0].get(local)} = v_${f}(${sums[0].get(local)}, ${group.get(local)});`);
      const element = local.type === 'bool' ? `(${sums[0].get(local)}[l] != 0)` : `${sums[0].get(local)}[l]`;
      const into = this.nameOf(local);
      this.line(`for (int l = 0; l < LANES; l++) ${into} = s_${f}(${into}, ${element});`);
      this.changed(local);
    }
    this.invalidate(changes);
  }
  private rebound(variable: LoopVar, name: string, body: () => void): void {
    const before = this.nameOf(variable);
    this.names.set(variable, name);
    this.changed(variable);
    body();
    this.names.set(variable, before);
    this.changed(variable);
  }

  /** Loads that are the same in every round happen before the loop: the C compiler cannot know that no store touches them. */
  private hoist(body: readonly Stmt[], changes: bigint, lanes: Lanes | null): void {
    const { dependencies } = this.normal;
    const seen = new Set<Expr>();
    const visit = (e: Expr, at: Lanes | null): void => {
      if (seen.has(e)) return;
      seen.add(e);
      if (e.kind === 'load' && (dependencies.of(e) & changes) === 0n) {
        if (at === null || at.shape(e) === 0) this.scalar(e);
        else if (at === this.lanes) this.vector(e);
        return;
      }
      if (e.kind === 'load') {
        visit(accessOf(this.normal, e).address, at);
        if (e.guard) visit(e.guard, at);
        return;
      }
      for (const operand of operands(e)) visit(operand, at);
    };
    const walk = (list: readonly Stmt[], at: Lanes | null): void => {
      for (const stmt of list) {
        if (stmt.kind === 'declare' || stmt.kind === 'assign' || stmt.kind === 'accumulate') visit(stmt.value, at);
        else if (stmt.kind === 'store') {
          const access = this.normal.stores.get(stmt);
          if (access) visit(access.address, at);
          visit(stmt.value, at);
        } else if (stmt.kind === 'for' && typeof stmt.extent === 'number' && stmt.extent > 0) {
          walk(stmt.body, stmt.mode === 'vector' && this.vectorizes(stmt) ? this.lanesOf(stmt) : at);
        }
      }
    };
    walk(body, lanes);
  }

  /* ---- expressions ---- */

  /** The value, or in a vector loop the value in the first lane. */
  private scalar(e: Expr): string {
    switch (e.kind) {
      case 'const':
        return constant(e.type, e.value);
      case 'index':
        return this.nameOf(e.variable);
      case 'local':
        return this.nameOf(e.local);
      case 'load':
        return this.remember(e, 's', () => {
          const { address, offset, dtype } = accessOf(this.normal, e);
          const load = `s_ld_${dtype}(${this.at(address, offset)})`;
          return e.guard ? `GUARD(${this.scalar(e.guard)}, ${load}, 0)` : load;
        });
      default:
        return this.remember(e, 's', () => this.operation(e, 's', (o) => this.scalar(o)));
    }
  }

  private vector(e: Expr): string {
    const { lanes } = this;
    if (!lanes) throw new CompilerError('a vector outside a vector loop');
    const shape = lanes.shape(e);
    if (shape === 0) return this.remember(e, 'v', () => `v_splat_${e.type}(${this.scalar(e)})`);
    if (typeof shape === 'number')
      return this.remember(e, 'v', () => `v_splat_i32(${this.scalar(e)}) + ${shape === 1 ? 'RAMP' : `RAMP * ${shape}`}`);
    if (e.kind === 'local') return this.nameOf(e.local);
    if (e.kind === 'const' || e.kind === 'index') throw new CompilerError(`a ${e.kind} that differs between lanes`);
    if (e.kind === 'load') return this.remember(e, 'v', () => this.vectorLoad(e, lanes));
    return this.remember(e, 'v', () => this.operation(e, 'v', (o) => this.vector(o)));
  }

  private vectorLoad(e: LoadExpr, lanes: Lanes): string {
    const access = accessOf(this.normal, e);
    const { address, offset, dtype } = access;
    const { guard } = e;
    const shape = lanes.shape(address);
    // Consecutive elements may be read beyond the end; addresses of lanes that do not count may lead anywhere.
    const contiguous = shape === bytesOf[dtype] ? `v_ld_${dtype}(${this.at(address, offset)})` : null;
    const gather = (): string =>
      this.rest === null
        ? `v_ga_${dtype}(heap, ${this.addresses(address, offset)})`
        : `v_gm_${dtype}(heap, ${this.addresses(address, offset)}, ${this.rest.mask})`;
    if (guard === null) return contiguous ?? gather();
    const zero = `(${cType(e.type, true)}){0}`;
    if (lanes.shape(guard) === 0) {
      const load = contiguous ?? gather();
      return `GUARD(${this.scalar(guard)}, ${load}, ${zero})`;
    }
    const wanted = this.vector(guard);
    const mask = this.rest === null ? wanted : `(${wanted} & ${this.rest.mask})`;
    const masked = `v_gm_${dtype}(heap, ${this.addresses(address, offset)}, ${mask})`;
    return contiguous ? `GUARD(v_all(${mask}), ${contiguous}, ${masked})` : masked;
  }

  private operation(e: Exclude<Expr, { kind: 'const' | 'index' | 'local' | 'load' }>, form: Form, value: (o: Expr) => string): string {
    switch (e.kind) {
      case 'unary':
        return `${form}_${e.op}_${e.type}(${value(e.a)})`;
      case 'binary':
        return this.binary(e, form, value);
      case 'select':
        return `${form}_select_${e.type}(${value(e.condition)}, ${value(e.a)}, ${value(e.b)})`;
      case 'cast':
        return `${form}_cast_${e.a.type}_${e.type}(${value(e.a)})`;
      case 'bitcast':
        return `${form}_bitcast_${e.a.type}_${e.type}(${value(e.a)})`;
      default:
        return e satisfies never;
    }
  }
  private binary(e: Extract<Expr, { kind: 'binary' }>, form: Form, value: (o: Expr) => string): string {
    // A known divisor needs no care, and the C compiler turns it into multiplications.
    if ((e.op === 'div' || e.op === 'rem') && e.type === 'i32' && e.b.kind === 'const' && Number(e.b.value) > 0) {
      const divisor = Number(e.b.value);
      const a = value(e.a);
      if (!this.normal.ranges.nonNegative(e.a)) return `(${a} ${e.op === 'div' ? '/' : '%'} ${divisor})`;
      if ((divisor & (divisor - 1)) === 0) return e.op === 'div' ? `(${a} >> ${Math.log2(divisor)})` : `(${a} & ${divisor - 1})`;
      const [signed, unsigned] = form === 'v' ? ['vi', 'vu'] : ['int32_t', 'uint32_t'];
      return `((${signed})((${unsigned})${a} ${e.op === 'div' ? '/' : '%'} ${divisor}u))`;
    }
    return `${form}_${e.op}_${e.a.type}(${value(e.a)}, ${value(e.b)})`;
  }

  /** The name of a value; its text is asked for once only, since expressions share parts, and those share parts again. */
  private remember(e: Expr, form: Form, text: () => string): string {
    const key = `${form}${e.id}`;
    for (const scope of this.scopes) {
      const known = scope.get(key);
      if (known) return known.text;
    }
    const value = text();
    const name = this.fresh('t');
    this.line(`const ${cType(e.type, form === 'v')} ${name} = ${value};`);
    this.scopes[this.scopes.length - 1].set(key, { text: name, depends: this.normal.dependencies.of(e) });
    return name;
  }

  private at(address: Expr, offset: number): string {
    return `heap + (uint32_t)${this.scalar(address)}${offset === 0 ? '' : ` + ${offset}`}`;
  }
  private addresses(address: Access['address'], offset: number): string {
    return offset === 0 ? this.vector(address) : `${this.vector(address)} + ${offset | 0}`;
  }
}

/** Whether an address is computed from indices alone. */
function isIndexArithmetic(e: Expr): boolean {
  return e.kind !== 'load' && e.kind !== 'select' && operands(e).every(isIndexArithmetic);
}

const bytesOf: Readonly<Record<DType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  uint8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  bool: 1,
};

function constant(type: ScalarType, value: number | bigint): string {
  if (type === 'i64') return value === -(2n ** 63n) ? 'INT64_MIN' : `INT64_C(${value})`;
  if (type === 'i32') return Number(value) === -(2 ** 31) ? 'INT32_MIN' : `(${value})`;
  if (type === 'bool') return value ? '1' : '0';
  const v = Number(value);
  const suffix = type === 'f32' ? 'f' : '';
  if (Number.isNaN(v)) return `__builtin_nan${suffix}("")`;
  if (!Number.isFinite(v)) return `${v < 0 ? '(-' : '('}__builtin_inf${suffix}())`;
  const text = Object.is(v, -0) ? '-0.0' : String(v);
  return `(${/[.e]/.test(text) ? text : `${text}.0`}${suffix})`;
}

function neutral(op: ReduceOp, type: ScalarType): string {
  const splat = (value: number | bigint): string => `v_splat_${type}(${constant(type, value)})`;
  switch (op) {
    case 'add':
    case 'or':
      return splat(type === 'i64' ? 0n : 0);
    case 'mul':
      return splat(type === 'i64' ? 1n : 1);
    case 'and':
      return splat(type === 'i64' ? -1n : type === 'bool' ? 1 : -1);
    case 'max':
      return type === 'bool' ? splat(0) : splat(type === 'i64' ? -(2n ** 63n) : type === 'i32' ? -(2 ** 31) : Number.NEGATIVE_INFINITY);
    case 'min':
      return type === 'bool' ? splat(1) : splat(type === 'i64' ? 2n ** 63n - 1n : type === 'i32' ? 2 ** 31 - 1 : Number.POSITIVE_INFINITY);
    default:
      return op satisfies never;
  }
}
