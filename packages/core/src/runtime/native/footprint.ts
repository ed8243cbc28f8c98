/** Which elements of its parameters a kernel can touch, and about how much it computes: for running it on memory of one's own. */
import { loopChunk } from '../../codegen/wasm/loops.js';
import { dtypeInfo } from '../../dtype.js';
import type { BinaryExpr, Expr, Local, LoopVar } from '../../ir/expr.js';
import type { ContractOperand, ContractPart, Kernel, LoopPart, Stmt } from '../../ir/kernel.js';

/** Bounds of a value; infinite where nothing is known. */
interface Interval {
  readonly low: number;
  readonly high: number;
}
const unknown: Interval = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
const truth: Interval = { low: 0, high: 1 };

/** Elements [low, high] of a parameter. */
export type Region = Interval;

export interface Footprint {
  /** By parameter; null for those that the kernel does not use. */
  readonly regions: readonly (Region | null)[];
  /** Whether some are only what is likely: the kernel reads at places that it has computed into its own buffers. */
  readonly guessed: boolean;
  /** Scalar operations, roughly. */
  readonly work: number;
}

/** Where a kernel reads and writes when every integer in its read-only parameters is from 0 to `mostInteger`. */
export function footprintOf(kernel: Kernel, mostInteger: number): Footprint {
  const bounds = new Bounds(kernel, mostInteger);
  let work = 0;
  for (const part of kernel.parts) {
    if (part.kind === 'loops') {
      if (part.grid <= 0) continue;
      bounds.loops(part);
      work += workOf(part);
    } else {
      bounds.contract(part);
      work += part.dims.reduce((product, { extent }) => product * extent, 1);
    }
  }
  const { regions, lost } = bounds;
  const [low, high] = [Math.min(0, ...regions.map((r) => r?.low ?? 0)), Math.max(0, ...regions.map((r) => r?.high ?? 0))];
  return { regions: regions.map((r, i) => r ?? (lost.has(i) ? { low, high } : null)), guessed: lost.size > 0, work };
}

/** The code generator gives a thread cells of some 16384 operations at a time. */
function workOf(part: LoopPart): number {
  return part.grid * (16384 / loopChunk(part));
}

const hull = (a: Interval, b: Interval): Interval => ({ low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) });
const same = (a: Interval, b: Interval): boolean => a.low === b.low && a.high === b.high;
/** Products of bounds, of which one may be infinite. */
const times = (x: number, y: number): number => (x === 0 || y === 0 ? 0 : x * y);

class Bounds {
  readonly regions: (Region | null)[];
  /** Parameters that are touched who knows where. */
  readonly lost = new Set<number>();
  private readonly written: readonly boolean[];
  private readonly mostInteger: number;
  private readonly values = new Map<Local | LoopVar, Interval>();
  /** Of the expressions of one statement, as long as no local changes. */
  private known = new Map<Expr, Interval>();

  constructor(kernel: Kernel, mostInteger: number) {
    this.regions = kernel.params.map(() => null);
    this.written = kernel.params.map((p) => p.access !== 'read');
    this.mostInteger = mostInteger;
  }

  loops(part: LoopPart): void {
    this.values.set(part.cell, { low: 0, high: part.grid - 1 });
    this.block(part.body);
  }

  contract(part: ContractPart): void {
    if (part.dims.some((d) => d.extent <= 0 && d.role !== 'k')) return;
    if (part.dims.every((d) => d.extent > 0)) {
      this.operand(part, part.a);
      this.operand(part, part.b);
    }
    const outer = part.dims.filter((d) => d.role !== 'k');
    part.outputVars.forEach((variable, i) => this.values.set(variable, { low: 0, high: Math.max(0, (outer[i]?.extent ?? 1) - 1) }));
    this.values.set(part.result, unknown);
    this.known.clear();
    this.block(part.epilogue);
  }
  private operand(part: ContractPart, { buffer, coordinates }: ContractOperand): void {
    let low = 0;
    let high = 0;
    for (const c of coordinates) {
      let [first, last] = [c.offset, c.offset];
      for (const { dim, coefficient } of c.terms) {
        const reach = coefficient * Math.max(0, (part.dims[dim]?.extent ?? 1) - 1);
        if (reach < 0) first += reach;
        else last += reach;
      }
      first = Math.floor(first / c.dilation);
      last = Math.floor(last / c.dilation);
      if (c.checked) {
        first = Math.max(0, Math.min(first, c.extent - 1));
        last = Math.min(c.extent - 1, Math.max(last, 0));
      }
      low += Math.min(first * c.stride, last * c.stride);
      high += Math.max(first * c.stride, last * c.stride);
    }
    this.touch(buffer.param, { low, high });
  }

  private touch(param: number, region: Region): void {
    if (!Number.isFinite(region.low) || !Number.isFinite(region.high)) {
      this.lost.add(param);
      return;
    }
    const before = this.regions[param] ?? null;
    this.regions[param] = before === null ? region : hull(before, region);
  }

  private block(body: readonly Stmt[]): void {
    for (const stmt of body) this.statement(stmt);
  }
  private statement(stmt: Stmt): void {
    switch (stmt.kind) {
      case 'declare':
        this.set(stmt.local, this.of(stmt.value), true);
        return;
      case 'assign':
        this.set(stmt.local, this.of(stmt.value));
        return;
      case 'accumulate': {
        const value = this.of(stmt.value);
        this.set(stmt.local, stmt.op === 'min' || stmt.op === 'max' ? value : unknown);
        return;
      }
      case 'store': {
        this.of(stmt.value);
        this.touch(stmt.buffer.param, this.of(stmt.index));
        return;
      }
      case 'if':
        this.of(stmt.condition);
        this.block(stmt.then);
        this.block(stmt.otherwise);
        return;
      case 'while':
        this.rounds(() => {
          this.of(stmt.condition);
          this.block(stmt.body);
        });
        return;
      case 'for': {
        const extent = typeof stmt.extent === 'number' ? stmt.extent : this.of(stmt.extent).high;
        if (extent <= 0) return;
        this.values.set(stmt.variable, { low: 0, high: extent - 1 });
        this.known.clear();
        this.rounds(() => this.block(stmt.body));
        return;
      }
      default:
        stmt satisfies never;
    }
  }

  /** Locals keep all that they may hold: what they held before counts too, except where they are declared. */
  private set(local: Local, value: Interval, fresh = false): void {
    const before = fresh ? undefined : this.values.get(local);
    const after = before === undefined ? value : hull(before, value);
    if (before !== undefined && same(before, after)) return;
    this.values.set(local, after);
    this.known.clear();
  }
  /** A body that runs again and again: what its locals may hold grows until it stays, or is unknown. */
  private rounds(body: () => void): void {
    for (let round = 0; round < 3; round++) {
      const before = new Map(this.values);
      const regions = [...this.regions];
      const lost = [...this.lost];
      body();
      const grown = [...this.values].filter(([name, value]) => {
        const old = before.get(name);
        return old !== undefined && !same(old, value);
      });
      if (grown.length === 0) return;
      if (round === 0) continue;
      // What was touched with bounds that did not hold counts no more.
      this.regions.splice(0, regions.length, ...regions);
      this.lost.clear();
      for (const param of lost) this.lost.add(param);
      for (const [name, value] of grown) {
        const old = before.get(name) ?? value;
        const wider = { low: value.low < old.low ? unknown.low : value.low, high: value.high > old.high ? unknown.high : value.high };
        this.values.set(name, wider);
      }
      this.known.clear();
    }
    body();
  }

  private of(e: Expr): Interval {
    const found = this.known.get(e);
    if (found) return found;
    const computed = this.compute(e);
    // A 32-bit value that may have wrapped around is unknown.
    const value = e.type === 'i32' && (computed.low < -(2 ** 31) || computed.high >= 2 ** 31) ? unknown : computed;
    this.known.set(e, value);
    return value;
  }

  private compute(e: Expr): Interval {
    switch (e.kind) {
      case 'const': {
        const value = Number(e.value);
        return { low: value, high: value };
      }
      case 'index':
        return this.values.get(e.variable) ?? unknown;
      case 'local':
        return this.values.get(e.local) ?? unknown;
      case 'load': {
        if (e.guard) this.of(e.guard);
        this.touch(e.buffer.param, this.of(e.index));
        if (e.buffer.dtype === 'bool') return truth;
        if (dtypeInfo[e.buffer.dtype].kind !== 'int' || this.written[e.buffer.param]) return unknown;
        return { low: 0, high: this.mostInteger };
      }
      case 'unary': {
        const a = this.of(e.a);
        if (e.type === 'bool') return truth;
        if (e.op === 'neg') return { low: -a.high, high: -a.low };
        if (e.op === 'floor' || e.op === 'ceil' || e.op === 'trunc' || e.op === 'roundEven')
          return { low: Math.floor(a.low), high: Math.ceil(a.high) };
        return unknown;
      }
      case 'select': {
        this.of(e.condition);
        return hull(this.of(e.a), this.of(e.b));
      }
      case 'cast': {
        const a = this.of(e.a);
        if (e.a.type === 'bool' || e.type === 'bool') return truth;
        if (e.type === 'f32' || e.type === 'f64' || e.a.type === 'i32') return a;
        // From 64 bits, or from a float that may be NaN.
        const inner = { low: Math.trunc(a.low), high: Math.trunc(a.high) };
        return e.a.type === 'i64' ? inner : hull(inner, { low: 0, high: 0 });
      }
      case 'bitcast':
        this.of(e.a);
        return unknown;
      case 'binary':
        return this.binary(e);
      default:
        return e satisfies never;
    }
  }

  private binary(e: BinaryExpr): Interval {
    const a = this.of(e.a);
    const b = this.of(e.b);
    if (e.type === 'bool') return truth;
    switch (e.op) {
      case 'add':
        return { low: a.low + b.low, high: a.high + b.high };
      case 'sub':
        return { low: a.low - b.high, high: a.high - b.low };
      case 'mul': {
        const products = [times(a.low, b.low), times(a.low, b.high), times(a.high, b.low), times(a.high, b.high)];
        return { low: Math.min(...products), high: Math.max(...products) };
      }
      case 'min':
        return { low: Math.min(a.low, b.low), high: Math.min(a.high, b.high) };
      case 'max':
        return { low: Math.max(a.low, b.low), high: Math.max(a.high, b.high) };
      default:
        return e.type === 'i32' || e.type === 'i64' ? whole(e, a, b) : unknown;
    }
  }
}

/** Operations of whole numbers. */
function whole(e: BinaryExpr, a: Interval, b: Interval): Interval {
  switch (e.op) {
    case 'div': {
      if (b.low <= 0) return a.low >= 0 && b.low >= 0 ? { low: 0, high: a.high } : unknown;
      const quotients = [a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high].map((q) => (Number.isNaN(q) ? 0 : Math.trunc(q)));
      return { low: Math.min(...quotients), high: Math.max(...quotients) };
    }
    case 'rem': {
      if (b.low <= 0) return unknown;
      const most = Math.min(b.high - 1, Math.max(Math.abs(a.low), Math.abs(a.high)));
      return { low: a.low >= 0 ? 0 : -most, high: a.high <= 0 ? 0 : most };
    }
    case 'and':
      if (a.low >= 0 || b.low >= 0)
        return { low: 0, high: Math.min(a.low >= 0 ? a.high : unknown.high, b.low >= 0 ? b.high : unknown.high) };
      return unknown;
    case 'or':
    case 'xor': {
      if (a.low < 0 || b.low < 0 || a.high > 2 ** 30 || b.high > 2 ** 30) return unknown;
      return { low: 0, high: 2 ** Math.ceil(Math.log2(Math.max(a.high, b.high) + 1)) - 1 };
    }
    case 'shl': {
      if (e.b.kind !== 'const' || a.low < 0) return unknown;
      const factor = 2 ** (Number(e.b.value) & 31);
      return { low: a.low * factor, high: a.high * factor };
    }
    case 'shr':
    case 'shrU': {
      if (e.b.kind !== 'const' || a.low < 0)
        return e.b.kind === 'const' && e.type === 'i32'
          ? { low: e.op === 'shr' ? unknown.low : 0, high: 2 ** (32 - (Number(e.b.value) & 31)) }
          : unknown;
      const divisor = 2 ** (Number(e.b.value) & 31);
      return { low: Math.floor(a.low / divisor), high: Math.floor(a.high / divisor) };
    }
    default:
      return unknown;
  }
}
