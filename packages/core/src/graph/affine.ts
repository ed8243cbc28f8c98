/**
 * Index arithmetic that understands itself: an i32 expression as a sum of coefficient * base with known ranges, so that
 * `(i * 64 + j) / 64` becomes `i` and reshapes between kernels leave no division behind where none is needed.
 */
import type { Expr, ExprBuilder } from '../ir/expr.js';
import { denseStrides, type Shape } from './layout.js';

export interface Term {
  /** An expression with values in [0, extent). */
  readonly base: Expr;
  readonly extent: number;
  readonly coefficient: number;
}
export interface Affine {
  readonly terms: readonly Term[];
  readonly offset: number;
}

/** Largest value, or Infinity. */
function maximum(a: Affine): number {
  let max = a.offset;
  for (const t of a.terms) if (t.coefficient > 0) max += t.coefficient * (t.extent - 1);
  return max;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * Writes a sum of non-negative terms as `factor * high + low` with 0 <= low < factor and a factor of d above 1:
 * then a / d is high / (d / factor).
 */
function factor(a: Affine, d: number): { readonly factor: number; readonly high: Affine; readonly low: Affine } | null {
  const candidates = [...new Set(a.terms.map((t) => gcd(d, t.coefficient)))].filter((g) => g > 1).sort((x, y) => y - x);
  for (const g of candidates) {
    const low: Affine = { terms: a.terms.filter((t) => t.coefficient % g !== 0), offset: a.offset % g };
    if (maximum(low) >= g) continue;
    const high = a.terms.filter((t) => t.coefficient % g === 0).map((t) => ({ ...t, coefficient: t.coefficient / g }));
    return { factor: g, high: { terms: high, offset: Math.floor(a.offset / g) }, low };
  }
  return null;
}

/** An expression as a quotient: of what, and by what (by 1 when it is none). */
function quotient(e: Expr): { readonly of: Expr; readonly by: number } {
  const is = e.kind === 'binary' && e.op === 'div' && e.b.kind === 'const' && Number(e.b.value) > 0;
  return is ? { of: e.a, by: Number((e.b as { value: number | bigint }).value) } : { of: e, by: 1 };
}

/** Analyses and rebuilds index expressions of one kernel. */
export class IndexAlgebra {
  readonly b: ExprBuilder;
  private readonly declared = new Map<Expr, number>();
  private readonly cache = new Map<Expr, Affine>();

  constructor(b: ExprBuilder) {
    this.b = b;
  }

  /** States that `index` only takes values in [0, extent); it is then treated as one unit. */
  declare(index: Expr, extent: number): void {
    if (index.kind !== 'const') this.declared.set(index, extent);
  }

  analyze(e: Expr): Affine {
    const known = this.cache.get(e);
    if (known) return known;
    const result = this.compute(e);
    this.cache.set(e, result);
    return result;
  }

  private compute(e: Expr): Affine {
    if (e.kind === 'const') return { terms: [], offset: Number(e.value) };
    const extent = this.declared.get(e);
    if (extent !== undefined) return { terms: extent <= 1 ? [] : [{ base: e, extent, coefficient: 1 }], offset: 0 };
    if (e.kind === 'binary') {
      if (e.op === 'add') return this.add(this.analyze(e.a), this.analyze(e.b));
      if (e.op === 'sub') return this.add(this.analyze(e.a), scale(this.analyze(e.b), -1));
      if (e.op === 'mul' && e.b.kind === 'const') return scale(this.analyze(e.a), Number(e.b.value));
      if (e.op === 'mul' && e.a.kind === 'const') return scale(this.analyze(e.b), Number(e.a.value));
      if (e.op === 'div' && e.b.kind === 'const' && Number(e.b.value) > 0) return this.divide(this.analyze(e.a), Number(e.b.value));
      if (e.op === 'rem' && e.b.kind === 'const' && Number(e.b.value) > 0) return this.modulo(this.analyze(e.a), Number(e.b.value));
    }
    return this.opaque(e, Number.POSITIVE_INFINITY);
  }

  private opaque(base: Expr, extent: number): Affine {
    return { terms: [{ base, extent, coefficient: 1 }], offset: 0 };
  }

  add(a: Affine, b: Affine): Affine {
    if (b.terms.length === 0) return b.offset === 0 ? a : { terms: a.terms, offset: a.offset + b.offset };
    if (a.terms.length === 0) return a.offset === 0 ? b : { terms: b.terms, offset: a.offset + b.offset };
    const terms = a.terms.slice();
    for (const t of b.terms) {
      const i = terms.findIndex((s) => s.base === t.base);
      if (i < 0) terms.push(t);
      else if (terms[i].coefficient + t.coefficient === 0) terms.splice(i, 1);
      else terms[i] = { ...t, coefficient: terms[i].coefficient + t.coefficient };
    }
    return this.recombine({ terms, offset: a.offset + b.offset });
  }

  /** `c * d * (x / d) + c * (x % d)` is `c * x`, also where x is a quotient itself: (y / k) / d is y / (k * d). */
  private recombine(a: Affine): Affine {
    for (const low of a.terms) {
      const { base } = low;
      if (base.kind !== 'binary' || base.op !== 'rem' || base.b.kind !== 'const') continue;
      const d = Number(base.b.value);
      const whole = quotient(base.a);
      const high = a.terms.find((t) => {
        if (t.coefficient !== low.coefficient * d) return false;
        const { of, by } = quotient(t.base);
        return (of === base.a && by === d) || (of === whole.of && by === whole.by * d);
      });
      if (!high) continue;
      const rest: Affine = { terms: a.terms.filter((t) => t !== low && t !== high), offset: a.offset };
      return this.add(rest, scale(this.analyze(base.a), low.coefficient));
    }
    return a;
  }

  private split(a: Affine, d: number): { high: Affine; low: Affine } | null {
    if (a.offset < 0 || a.terms.some((t) => t.coefficient < 0)) return null;
    const high = a.terms.filter((t) => t.coefficient % d === 0);
    const low = a.terms.filter((t) => t.coefficient % d !== 0);
    return {
      high: { terms: high.map((t) => ({ ...t, coefficient: t.coefficient / d })), offset: Math.floor(a.offset / d) },
      low: { terms: low, offset: a.offset % d },
    };
  }

  /** floor(a / d) for non-negative a (C's division otherwise). */
  divide(a: Affine, d: number): Affine {
    if (d === 1) return a;
    const parts = this.split(a, d);
    if (!parts) return this.opaque(this.b.binary('div', this.toExpr(a), this.b.i32(d)), Number.POSITIVE_INFINITY);
    const max = maximum(parts.low);
    if (max < d) return parts.high;
    const common = factor(parts.low, d);
    if (common) return this.add(parts.high, this.divide(common.high, d / common.factor));
    const base = this.b.binary('div', this.toExpr(parts.low), this.b.i32(d));
    return this.add(parts.high, this.opaque(base, Math.floor(max / d) + 1));
  }

  /** a % d for non-negative a (C's remainder otherwise). */
  modulo(a: Affine, d: number): Affine {
    if (d === 1) return { terms: [], offset: 0 };
    const parts = this.split(a, d);
    if (!parts) return this.opaque(this.b.binary('rem', this.toExpr(a), this.b.i32(d)), Number.POSITIVE_INFINITY);
    if (maximum(parts.low) < d) return parts.low;
    const common = factor(parts.low, d);
    if (common) return this.add(scale(this.modulo(common.high, d / common.factor), common.factor), common.low);
    return this.opaque(this.b.binary('rem', this.toExpr(parts.low), this.b.i32(d)), d);
  }

  /** `offset + sum(index * stride)`; axes of extent 1 contribute nothing. */
  flatten(indices: readonly Expr[], shape: Shape, strides: readonly number[], offset: number): Affine {
    let sum: Affine = { terms: [], offset };
    for (let i = 0; i < indices.length; i++) {
      if (shape[i] !== 1 && strides[i] !== 0) sum = this.add(sum, scale(this.analyze(indices[i]), strides[i]));
    }
    return sum;
  }

  /** The indices of element `flat` of a row-major array. `flat` is in range unless a guard protects its use. */
  unflatten(flat: Affine, shape: Shape): Affine[] {
    const strides = denseStrides(shape);
    return shape.map((extent, i) => {
      if (extent === 1) return { terms: [], offset: 0 };
      const quotient = this.divide(flat, strides[i]);
      // The outermost axis needs no remainder; a value known to be in range neither.
      const outer = shape.slice(0, i).every((s) => s === 1);
      return outer || maximum(quotient) < extent ? quotient : this.modulo(quotient, extent);
    });
  }

  toExpr(a: Affine): Expr {
    let sum: Expr | null = null;
    for (const t of a.terms) {
      const part = this.b.mul(t.base, this.b.i32(t.coefficient));
      sum = sum === null ? part : this.b.add(sum, part);
    }
    if (sum === null) return this.b.i32(a.offset);
    if (a.offset === 0) return sum;
    const result = this.b.add(sum, this.b.i32(a.offset));
    return result;
  }
}

export function scale(a: Affine, factor: number): Affine {
  if (factor === 1) return a;
  if (factor === 0) return { terms: [], offset: 0 };
  return { terms: a.terms.map((t) => ({ ...t, coefficient: t.coefficient * factor })), offset: a.offset * factor };
}

/** Same value for all indices, as far as the analysis sees. */
export function affineEqual(a: Affine, b: Affine): boolean {
  if (a.offset !== b.offset || a.terms.length !== b.terms.length) return false;
  return a.terms.every((t) => b.terms.some((s) => s.base === t.base && s.coefficient === t.coefficient));
}
