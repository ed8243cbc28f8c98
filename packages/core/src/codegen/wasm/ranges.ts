/** Facts about i32 expressions: the interval of their values and their linear form. */
import type { BinaryExpr, Expr, LoopVar } from '../../ir/expr.js';

interface Interval {
  readonly low: number;
  readonly high: number;
}
const minInt = -(2 ** 31);
const maxInt = 2 ** 31 - 1;
const anyInt: Interval = { low: minInt, high: maxInt };

/** Intervals of i32 expressions, given those of the loop variables. Anything that may wrap around is unknown. */
export class Ranges {
  private readonly variables = new Map<LoopVar, Interval>();
  private readonly known = new Map<Expr, Interval>();

  /** Says that a loop variable runs over [0, extent). */
  declare(variable: LoopVar, extent: number): void {
    this.variables.set(variable, { low: 0, high: Math.max(0, extent - 1) });
  }
  of(e: Expr): Interval {
    const found = this.known.get(e);
    if (found) return found;
    const computed = clamp(this.compute(e));
    this.known.set(e, computed);
    return computed;
  }
  nonNegative(e: Expr): boolean {
    return this.of(e).low >= 0;
  }

  private compute(e: Expr): Interval {
    if (e.type === 'bool') return { low: 0, high: 1 };
    if (e.type !== 'i32') return anyInt;
    switch (e.kind) {
      case 'const':
        return { low: Number(e.value), high: Number(e.value) };
      case 'index':
        return this.variables.get(e.variable) ?? anyInt;
      case 'load':
        return loadInterval(e.buffer.dtype);
      case 'select': {
        const a = this.of(e.a);
        const b = this.of(e.b);
        return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
      }
      case 'cast':
        return e.a.type === 'bool' ? { low: 0, high: 1 } : anyInt;
      case 'binary':
        return this.binary(e);
      default:
        return anyInt;
    }
  }
  private binary(e: BinaryExpr): Interval {
    const a = this.of(e.a);
    const b = this.of(e.b);
    switch (e.op) {
      case 'add':
        return { low: a.low + b.low, high: a.high + b.high };
      case 'sub':
        return { low: a.low - b.high, high: a.high - b.low };
      case 'mul': {
        const products = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
        return { low: Math.min(...products), high: Math.max(...products) };
      }
      case 'div':
        if (b.low <= 0 || a.low < 0) return anyInt;
        return { low: Math.trunc(a.low / b.high), high: Math.trunc(a.high / b.low) };
      case 'rem': {
        if (b.low <= 0) return anyInt;
        const most = b.high - 1;
        if (a.low >= 0) return { low: 0, high: Math.min(a.high, most) };
        return { low: -most, high: most };
      }
      case 'min':
        return { low: Math.min(a.low, b.low), high: Math.min(a.high, b.high) };
      case 'max':
        return { low: Math.max(a.low, b.low), high: Math.max(a.high, b.high) };
      case 'and':
        if (a.low >= 0 || b.low >= 0) {
          const most = Math.min(a.low >= 0 ? a.high : maxInt, b.low >= 0 ? b.high : maxInt);
          return { low: 0, high: most };
        }
        return anyInt;
      case 'shr':
        if (e.b.kind !== 'const' || a.low < 0) return anyInt;
        return { low: a.low >> (Number(e.b.value) & 31), high: a.high >> (Number(e.b.value) & 31) };
      case 'shrU':
        if (e.b.kind !== 'const' || a.low < 0) return anyInt;
        return { low: a.low >>> (Number(e.b.value) & 31), high: a.high >>> (Number(e.b.value) & 31) };
      default:
        return anyInt;
    }
  }
}

function clamp(interval: Interval): Interval {
  return interval.low < minInt || interval.high > maxInt ? anyInt : interval;
}
function loadInterval(dtype: string): Interval {
  if (dtype === 'uint8') return { low: 0, high: 255 };
  if (dtype === 'int8') return { low: -128, high: 127 };
  if (dtype === 'int16') return { low: -32768, high: 32767 };
  return anyInt;
}

/** `constant + sum of coefficient * atom`, modulo 2^32. Atoms are i32 expressions that are not sums or multiples. */
export interface Linear {
  readonly constant: number;
  readonly terms: ReadonlyMap<Expr, number>;
}

export function linearForm(e: Expr, known: Map<Expr, Linear>): Linear {
  const found = known.get(e);
  if (found) return found;
  const form = computeLinear(e, known);
  known.set(e, form);
  return form;
}
function computeLinear(e: Expr, known: Map<Expr, Linear>): Linear {
  if (e.kind === 'const') return { constant: Number(e.value), terms: new Map() };
  if (e.kind === 'binary') {
    if (e.op === 'add' || e.op === 'sub') {
      const sign = e.op === 'add' ? 1 : -1;
      return combine(linearForm(e.a, known), linearForm(e.b, known), sign);
    }
    if (e.op === 'mul') {
      const a = linearForm(e.a, known);
      const b = linearForm(e.b, known);
      if (b.terms.size === 0) return scale(a, b.constant);
      if (a.terms.size === 0) return scale(b, a.constant);
    }
    if (e.op === 'shl' && e.b.kind === 'const') return scale(linearForm(e.a, known), 1 << (Number(e.b.value) & 31));
  }
  if (e.kind === 'unary' && e.op === 'neg') return scale(linearForm(e.a, known), -1);
  return { constant: 0, terms: new Map([[e, 1]]) };
}
function scale(form: Linear, factor: number): Linear {
  const terms = new Map<Expr, number>();
  for (const [atom, coefficient] of form.terms) {
    const scaled = Math.imul(coefficient, factor);
    if (scaled !== 0) terms.set(atom, scaled);
  }
  return { constant: Math.imul(form.constant, factor), terms };
}
function combine(a: Linear, b: Linear, sign: 1 | -1): Linear {
  const terms = new Map(a.terms);
  for (const [atom, coefficient] of b.terms) {
    const sum = ((terms.get(atom) ?? 0) + sign * coefficient) | 0;
    if (sum === 0) terms.delete(atom);
    else terms.set(atom, sum);
  }
  return { constant: (a.constant + sign * b.constant) | 0, terms };
}
