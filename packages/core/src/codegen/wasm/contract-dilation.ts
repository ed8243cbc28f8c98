/**
 * Takes dilated coordinates apart. In the gradient of a strided convolution (a transposed convolution) an output index
 * meets only the kernel taps of one residue class: c = y - k divides by the stride for every stride-th k alone. One
 * contraction for each class of output indices multiplies no zeros.
 */
import type { Expr, LoopVar } from '../../ir/expr.js';
import { ExprBuilder, operands } from '../../ir/expr.js';
import type { ContractDim, ContractOperand, ContractPart, Coordinate, Stmt } from '../../ir/kernel.js';

/** More classes than this are not worth their code. */
const maxParts = 16;

/** Contractions that together compute `part`, each for its own outputs; `[part]` when no coordinate comes apart. */
export function splitDilation(part: ContractPart): readonly ContractPart[] {
  let parts: readonly ContractPart[] = [part];
  for (;;) {
    const next: ContractPart[] = [];
    let changed = false;
    for (const p of parts) {
      const pieces = splitOnce(p);
      changed ||= pieces !== null;
      next.push(...(pieces ?? [p]));
    }
    if (!changed || next.length > maxParts) return parts.map(withoutIdleDilation);
    parts = next;
  }
}

/** Coordinates that divide at every index are written without dilation. */
function withoutIdleDilation(part: ContractPart): ContractPart {
  const simple = (c: Coordinate): Coordinate => {
    const d = c.dilation;
    if (d === 1 || isDilated(c, part.dims)) return c;
    const terms = c.terms.filter((t) => (part.dims[t.dim]?.extent ?? 0) > 1).map((t) => ({ ...t, coefficient: t.coefficient / d }));
    return { ...c, terms, offset: c.offset / d, dilation: 1 };
  };
  const move = (operand: ContractOperand): ContractOperand => ({ ...operand, coordinates: operand.coordinates.map(simple) });
  return { ...part, a: move(part.a), b: move(part.b) };
}

function remainder(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}

function isDilated(c: Coordinate, dims: readonly ContractDim[]): boolean {
  const d = c.dilation;
  return d > 1 && !(c.offset % d === 0 && c.terms.every((t) => t.coefficient % d === 0 || (dims[t.dim]?.extent ?? 0) <= 1));
}

function splitOnce(part: ContractPart): ContractPart[] | null {
  const { dims } = part;
  for (const c of [...part.a.coordinates, ...part.b.coordinates]) {
    if (!isDilated(c, dims)) continue;
    const d = c.dilation;
    const distinct = new Set(c.terms.map((t) => t.dim)).size === c.terms.length;
    const moving = c.terms.filter((t) => t.coefficient % d !== 0 && (dims[t.dim]?.extent ?? 0) > 1);
    const inner = moving.filter((t) => dims[t.dim]?.role === 'k');
    const outer = moving.filter((t) => dims[t.dim]?.role !== 'k');
    const tap = inner[0];
    if (!distinct || inner.length > 1 || d ** outer.length > maxParts) continue;
    if (tap && inverse(tap.coefficient, d) === null) continue;
    const pieces: ContractPart[] = [];
    for (let combination = 0; combination < d ** outer.length; combination++) {
      let residue = c.offset;
      const starts = new Map<number, number>();
      outer.forEach((t, i) => {
        const p = Math.floor(combination / d ** i) % d;
        starts.set(t.dim, p);
        residue += t.coefficient * p;
      });
      if (tap) starts.set(tap.dim, remainder(-residue * (inverse(tap.coefficient, d) ?? 0), d));
      const piece = restrict(part, starts, d, !tap && remainder(residue, d) !== 0);
      if (piece) pieces.push(piece);
    }
    return pieces;
  }
  return null;
}

/** x with coefficient * x = 1 modulo d, or null. */
function inverse(coefficient: number, d: number): number | null {
  for (let x = 0; x < d; x++) if (remainder(coefficient * x, d) === 1) return x;
  return null;
}

/** The part with index = start + d * index' for some dimensions; null when an output dimension becomes empty. */
function restrict(part: ContractPart, starts: ReadonlyMap<number, number>, d: number, empty: boolean): ContractPart | null {
  const dims: ContractDim[] = part.dims.map((dim, i) => {
    const start = starts.get(i);
    return start === undefined ? dim : { ...dim, extent: Math.max(0, Math.ceil((dim.extent - start) / d)) };
  });
  if (dims.some((dim, i) => dim.extent === 0 && dim.role !== 'k' && starts.has(i))) return null;
  if (empty) dims.push({ extent: 0, role: 'k' });
  const move = (operand: ContractOperand): ContractOperand => ({
    ...operand,
    // Nothing is read when there is nothing to add.
    coordinates: (empty ? [] : operand.coordinates).map((c) => {
      let { offset } = c;
      const terms = c.terms.map((t) => {
        const start = starts.get(t.dim);
        if (start === undefined) return t;
        offset += t.coefficient * start;
        return { dim: t.dim, coefficient: t.coefficient * d };
      });
      return { ...c, terms, offset };
    }),
  });
  const rewriter = new Rewriter(part);
  let next = 0;
  const outputVars: LoopVar[] = [];
  part.dims.forEach((dim, i) => {
    if (dim.role === 'k') return;
    const variable = part.outputVars[next++];
    if (!variable) return;
    const start = starts.get(i);
    outputVars.push(start === undefined ? variable : rewriter.replace(variable, start, d));
  });
  return { ...part, dims, a: move(part.a), b: move(part.b), outputVars, epilogue: part.epilogue.map((s) => rewriter.statement(s)) };
}

/** Rebuilds an epilogue with some variables replaced by start + d * variable. */
class Rewriter {
  private readonly builder = new ExprBuilder();
  private readonly values = new Map<LoopVar, Expr>();
  private readonly done = new Map<Expr, Expr>();
  private nextId: number;

  constructor(part: ContractPart) {
    let last = part.result.id;
    for (const v of part.outputVars) last = Math.max(last, v.id);
    const seen = new Set<Expr>();
    const visit = (e: Expr): void => {
      if (seen.has(e)) return;
      seen.add(e);
      if (e.kind === 'local') last = Math.max(last, e.local.id);
      if (e.kind === 'index') last = Math.max(last, e.variable.id);
      operands(e).forEach(visit);
    };
    for (const s of part.epilogue) {
      if (s.kind === 'declare') last = Math.max(last, s.local.id);
      if ('value' in s) visit(s.value);
      if (s.kind === 'store') visit(s.index);
    }
    this.nextId = last + 1;
  }
  replace(variable: LoopVar, start: number, d: number): LoopVar {
    const made: LoopVar = { id: this.nextId++, name: variable.name };
    const b = this.builder;
    this.values.set(variable, b.add(b.mul(b.index(made), b.i32(d)), b.i32(start)));
    return made;
  }
  statement(s: Stmt): Stmt {
    switch (s.kind) {
      case 'declare':
      case 'assign':
      case 'accumulate':
        return { ...s, value: this.expr(s.value) };
      case 'store':
        return { ...s, index: this.expr(s.index), value: this.expr(s.value) };
      case 'if':
        return {
          ...s,
          condition: this.expr(s.condition),
          then: s.then.map((x) => this.statement(x)),
          otherwise: s.otherwise.map((x) => this.statement(x)),
        };
      case 'for':
      case 'while':
        // Not part of an epilogue's language.
        return s;
      default:
        return s satisfies never;
    }
  }
  private expr(e: Expr): Expr {
    const found = this.done.get(e);
    if (found) return found;
    const made = this.rebuild(e);
    this.done.set(e, made);
    return made;
  }
  private rebuild(e: Expr): Expr {
    const b = this.builder;
    switch (e.kind) {
      case 'const':
        return b.const(e.type, e.value);
      case 'index':
        return this.values.get(e.variable) ?? b.index(e.variable);
      case 'local':
        return b.read(e.local);
      case 'load':
        return b.load(e.buffer, e.type, this.expr(e.index), e.guard && this.expr(e.guard));
      case 'unary':
        return b.unary(e.op, this.expr(e.a));
      case 'binary':
        return b.binary(e.op, this.expr(e.a), this.expr(e.b));
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
}
