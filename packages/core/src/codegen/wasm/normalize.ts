/**
 * Rewrites a loop nest into the form the emitter wants: transcendentals expanded, half precision made integer
 * arithmetic, every store a plain `set`, and every memory access a byte address whose terms are ordered from the
 * outermost loop inwards, so that hoisting invariant subexpressions leaves one addition in the innermost loop.
 */
import { type DType, dtypeInfo } from '../../dtype.js';
import { CompilerError } from '../../errors.js';
import { type BufferRef, type Expr, ExprBuilder, type LoadExpr, type Local, type LoopVar, operands } from '../../ir/expr.js';
import type { ForStmt, Stmt, StoreStmt } from '../../ir/kernel.js';
import { lowerMath } from '../../ir/math.js';
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from './narrow.js';
import { type Linear, linearForm, Ranges } from './ranges.js';
import { forEachStatement } from './walk.js';

/** What a load or store touches: `address` (i32, bytes) + the constant `offset` >= 0. */
export interface Access {
  readonly address: Expr;
  readonly offset: number;
  /** Never float16 or bfloat16: those are accessed as int16. */
  readonly dtype: DType;
}

/** A rewritten loop nest (or epilogue). */
export interface NormalBody {
  readonly body: readonly Stmt[];
  readonly loads: ReadonlyMap<Expr, Access>;
  readonly stores: ReadonlyMap<Stmt, Access>;
  /** The i32 local that holds the address of a parameter, for each parameter used. */
  readonly pointers: ReadonlyMap<number, Local>;
  readonly ranges: Ranges;
  /** Where the caller's variables and locals went. */
  readonly variables: ReadonlyMap<LoopVar, LoopVar>;
  readonly locals: ReadonlyMap<Local, Local>;
  /** Bits of everything an expression depends on. */
  readonly dependencies: Dependencies;
  readonly mutableLocals: ReadonlySet<Local>;
}

/** Sets of loop variables, locals and written parameters, as bits. */
export class Dependencies {
  private readonly bits = new Map<object | number, bigint>();
  private readonly known = new Map<Expr, bigint>();
  private readonly written: ReadonlySet<number>;
  private readonly loads: ReadonlyMap<Expr, Access>;

  constructor(written: ReadonlySet<number>, loads: ReadonlyMap<Expr, Access>) {
    this.written = written;
    this.loads = loads;
  }
  bit(of: LoopVar | Local | number): bigint {
    let bit = this.bits.get(of);
    if (bit === undefined) {
      bit = 1n << BigInt(this.bits.size);
      this.bits.set(of, bit);
    }
    return bit;
  }
  of(e: Expr): bigint {
    const found = this.known.get(e);
    if (found !== undefined) return found;
    let bits = 0n;
    if (e.kind === 'index') bits = this.bit(e.variable);
    else if (e.kind === 'local') bits = this.bit(e.local);
    else if (e.kind === 'load') {
      if (this.written.has(e.buffer.param)) bits = this.bit(e.buffer.param);
      const access = this.loads.get(e);
      if (access) bits |= this.of(access.address);
      if (e.guard) bits |= this.of(e.guard);
    } else for (const operand of operands(e)) bits |= this.of(operand);
    this.known.set(e, bits);
    return bits;
  }
}

/** Depth given to values that may change at any time: their terms come last in an address. */
const volatileDepth = 1000;

export interface NormalizeOptions {
  readonly body: readonly Stmt[];
  /** Variables bound outside the body, with the extents they run over. */
  readonly outer: readonly { readonly variable: LoopVar; readonly extent: number }[];
  /** Locals that have a value before the body. */
  readonly given?: readonly Local[];
}

export function normalize(options: NormalizeOptions): NormalBody {
  return new Normalizer(options).run();
}

class Normalizer {
  private readonly options: NormalizeOptions;
  private readonly builder = new ExprBuilder();
  private readonly rewritten = new Map<Expr, Expr>();
  private readonly loads = new Map<Expr, Access>();
  private readonly stores = new Map<Stmt, Access>();
  private readonly pointers = new Map<number, Local>();
  private readonly ranges = new Ranges();
  private readonly linear = new Map<Expr, Linear>();
  private readonly variables = new Map<LoopVar, LoopVar>();
  private readonly locals = new Map<Local, Local>();
  private readonly substituted = new Map<Local, Expr>();
  private readonly depths = new Map<LoopVar | Local, number>();
  private readonly exprDepths = new Map<Expr, number>();
  private readonly written = new Set<number>();
  private readonly mutated = new Set<Local>();
  private readonly mutableLocals = new Set<Local>();
  private depth = 0;
  private insideVector = false;

  constructor(options: NormalizeOptions) {
    this.options = options;
  }
  run(): NormalBody {
    this.scanEffects(this.options.body);
    for (const { variable, extent } of this.options.outer) this.bindVariable(variable, extent);
    for (const local of this.options.given ?? []) this.bindLocal(local);
    const body = this.block(this.options.body);
    return {
      body,
      loads: this.loads,
      stores: this.stores,
      pointers: this.pointers,
      ranges: this.ranges,
      variables: this.variables,
      locals: this.locals,
      dependencies: new Dependencies(this.written, this.loads),
      mutableLocals: this.mutableLocals,
    };
  }

  private scanEffects(body: readonly Stmt[]): void {
    forEachStatement(body, (stmt) => {
      if (stmt.kind === 'store') this.written.add(stmt.buffer.param);
      else if (stmt.kind === 'assign' || stmt.kind === 'accumulate') this.mutated.add(stmt.local);
    });
  }
  private bindVariable(variable: LoopVar, extent: number): LoopVar {
    const made = this.builder.loopVar(variable.name);
    this.variables.set(variable, made);
    this.depths.set(made, this.depth);
    this.ranges.declare(made, extent);
    return made;
  }
  private bindLocal(local: Local): Local {
    const made = this.builder.newLocal(local.name, local.type);
    this.locals.set(local, made);
    this.depths.set(made, this.mutated.has(local) ? volatileDepth : this.depth);
    if (this.mutated.has(local)) this.mutableLocals.add(made);
    return made;
  }
  private localOf(local: Local): Local {
    const found = this.locals.get(local);
    if (!found) throw new CompilerError(`local ${local.name} is used before it is declared`);
    return found;
  }

  private block(body: readonly Stmt[]): Stmt[] {
    return body.flatMap((stmt) => this.statement(stmt));
  }
  private statement(stmt: Stmt): Stmt[] {
    switch (stmt.kind) {
      case 'declare': {
        const value = this.expr(stmt.value);
        if (!this.mutated.has(stmt.local) && this.isIndexArithmetic(value)) {
          this.substituted.set(stmt.local, value);
          return [];
        }
        return [{ kind: 'declare', local: this.bindLocal(stmt.local), value }];
      }
      case 'assign':
        return [{ kind: 'assign', local: this.localOf(stmt.local), value: this.expr(stmt.value) }];
      case 'accumulate':
        return [{ kind: 'accumulate', local: this.localOf(stmt.local), op: stmt.op, value: this.expr(stmt.value) }];
      case 'store':
        return [this.store(stmt)];
      case 'if': {
        const condition = this.expr(stmt.condition);
        if (condition.kind === 'const') return this.block(condition.value ? stmt.then : stmt.otherwise);
        return [{ kind: 'if', condition, then: this.block(stmt.then), otherwise: this.block(stmt.otherwise) }];
      }
      case 'while':
        if (this.insideVector) throw new CompilerError('a while loop inside a vector loop', { expected: 'scalar code around it' });
        return [this.nested(() => ({ kind: 'while', condition: this.expr(stmt.condition), body: this.block(stmt.body) }))];
      case 'for':
        return this.loop(stmt);
      default:
        return stmt satisfies never;
    }
  }
  private loop(stmt: ForStmt): Stmt[] {
    const extent = typeof stmt.extent === 'number' ? stmt.extent : this.expr(stmt.extent);
    const constant = typeof extent === 'number' ? extent : extent.kind === 'const' ? Number(extent.value) : null;
    if (constant !== null && constant <= 0) return [];
    const vector = stmt.mode === 'vector';
    if (this.insideVector && (vector || constant === null)) {
      throw new CompilerError(`loop ${stmt.variable.name} inside a vector loop`, { expected: 'a serial loop of constant extent' });
    }
    const bound = typeof extent === 'number' ? extent : this.ranges.of(extent).high;
    return this.nested(() => {
      this.insideVector ||= vector;
      const variable = this.bindVariable(stmt.variable, bound);
      const body = this.block(stmt.body);
      if (vector) this.insideVector = false;
      return body.length === 0 ? [] : [{ kind: 'for', variable, extent: constant ?? extent, mode: stmt.mode, body }];
    });
  }
  private nested<T>(action: () => T): T {
    this.depth++;
    const result = action();
    this.depth--;
    return result;
  }

  private store(stmt: StoreStmt): StoreStmt {
    const compute = dtypeInfo[stmt.buffer.dtype].compute;
    if (stmt.value.type !== compute) {
      throw new CompilerError(`store of ${stmt.value.type} to a ${stmt.buffer.dtype} buffer`, { expected: `a value of type ${compute}` });
    }
    const index = this.expr(stmt.index);
    let value = this.expr(stmt.value);
    if (stmt.mode !== 'set') {
      if (this.insideVector) throw new CompilerError(`store with mode ${stmt.mode} in a vector loop`, { expected: 'a serial loop' });
      value = this.builder.binary(stmt.mode, this.loadOf(stmt.buffer, index, null), value);
    }
    let dtype: DType = stmt.buffer.dtype;
    if (dtype === 'float16') value = floatToHalf(this.builder, value);
    else if (dtype === 'bfloat16') value = floatToBfloat(this.builder, value);
    if (dtype === 'float16' || dtype === 'bfloat16') dtype = 'int16';
    const made: StoreStmt = { kind: 'store', buffer: { param: stmt.buffer.param, dtype }, index, value, mode: 'set' };
    this.stores.set(made, this.access(stmt.buffer.param, dtype, index));
    return made;
  }

  /** True for i32 and bool expressions made of loop variables alone: they are the same wherever they are computed. */
  private isIndexArithmetic(e: Expr): boolean {
    if (e.type !== 'i32' && e.type !== 'bool') return false;
    if (e.kind === 'load' || e.kind === 'local') return false;
    return operands(e).every((o) => this.isIndexArithmetic(o));
  }

  private expr(e: Expr): Expr {
    const found = this.rewritten.get(e);
    if (found) return found;
    const made = this.rewrite(e);
    this.rewritten.set(e, made);
    return made;
  }
  private rewrite(e: Expr): Expr {
    const b = this.builder;
    switch (e.kind) {
      case 'const':
        return b.const(e.type, e.value);
      case 'index': {
        const variable = this.variables.get(e.variable);
        if (!variable) throw new CompilerError(`loop variable ${e.variable.name} is used outside its loop`);
        return b.index(variable);
      }
      case 'local':
        return this.substituted.get(e.local) ?? b.read(this.localOf(e.local));
      case 'load':
        return this.loadOf(e.buffer, this.expr(e.index), e.guard ? this.expr(e.guard) : null);
      case 'unary':
        return lowerMath(b, b.unary(e.op, this.expr(e.a)));
      case 'binary':
        return lowerMath(b, b.binary(e.op, this.expr(e.a), this.expr(e.b)));
      case 'select':
        return b.select(this.expr(e.condition), this.expr(e.a), this.expr(e.b));
      case 'cast':
        return b.cast(this.expr(e.a), e.type);
      case 'bitcast':
        return b.bitcast(this.expr(e.a), e.type);
      default:
        return e satisfies never;
    }
  }
  private loadOf(buffer: BufferRef, index: Expr, guard: Expr | null): Expr {
    const { param, dtype } = buffer;
    if (dtype === 'float16') return halfToFloat(this.builder, this.rawLoad({ param, dtype: 'int16' }, index, guard));
    if (dtype === 'bfloat16') return bfloatToFloat(this.builder, this.rawLoad({ param, dtype: 'int16' }, index, guard));
    return this.rawLoad(buffer, index, guard);
  }
  private rawLoad(buffer: BufferRef, index: Expr, guard: Expr | null): Expr {
    const load = this.builder.load(buffer, dtypeInfo[buffer.dtype].compute, index, guard);
    if (load.kind === 'load' && !this.loads.has(load)) this.loads.set(load, this.access(buffer.param, buffer.dtype, index));
    return load;
  }

  private access(param: number, dtype: DType, index: Expr): Access {
    const b = this.builder;
    const { bytes } = dtypeInfo[dtype];
    const form = linearForm(index, this.linear);
    const terms = [...form.terms].sort(([a], [c]) => this.depthOf(a) - this.depthOf(c) || a.id - c.id);
    // The constant may become the instruction's offset only if the rest cannot be negative: offsets do not wrap.
    let least = 0;
    for (const [atom, coefficient] of terms) {
      const range = this.ranges.of(atom);
      least += coefficient * (coefficient > 0 ? range.low : range.high);
    }
    const constant = form.constant * bytes;
    const asOffset = constant >= 0 && constant < 2 ** 31 && least >= 0;
    let address = b.read(this.pointer(param));
    if (!asOffset) address = b.add(address, b.i32(Math.imul(form.constant, bytes)));
    for (const [atom, coefficient] of terms) address = b.add(address, b.mul(atom, b.i32(Math.imul(coefficient, bytes))));
    return { address, offset: asOffset ? constant : 0, dtype };
  }
  private pointer(param: number): Local {
    let local = this.pointers.get(param);
    if (!local) {
      local = this.builder.newLocal(`p${param}`, 'i32');
      this.pointers.set(param, local);
      this.depths.set(local, -1);
    }
    return local;
  }
  private depthOf(e: Expr): number {
    const found = this.exprDepths.get(e);
    if (found !== undefined) return found;
    let depth = -1;
    if (e.kind === 'index') depth = this.depths.get(e.variable) ?? 0;
    else if (e.kind === 'local') depth = this.depths.get(e.local) ?? 0;
    else if (e.kind === 'load' && this.written.has(e.buffer.param)) depth = volatileDepth;
    else for (const operand of operands(e)) depth = Math.max(depth, this.depthOf(operand));
    this.exprDepths.set(e, depth);
    return depth;
  }
}

/** Narrows an expression to a load with its access. */
export function accessOf(body: NormalBody, load: LoadExpr): Access {
  const access = body.loads.get(load);
  if (!access) throw new CompilerError('a load without an address');
  return access;
}
