/** How expressions vary from lane to lane of a vector loop. */
import type { BinaryExpr, Expr, Local, LoopVar } from '../../ir/expr.js';
import { operands } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { accessOf, type NormalBody } from './normalize.js';
import { forEachStatement } from './walk.js';

/** i32: the constant difference between neighbouring lanes. Any type: 0 when all lanes agree. Else `varying`. */
export type Shape = number | 'varying';

/** One vector loop (or vector epilogue) with a number of lanes. */
export class Lanes {
  readonly variable: LoopVar;
  /** Components of a 32-bit vector; there are `4 * units` lanes. */
  readonly units: number;
  private readonly normal: NormalBody;
  /** The first lane's index is a multiple of the number of lanes. */
  private readonly aligned: boolean;
  private readonly shapes = new Map<Expr, Shape>();
  private readonly varyingLocals = new Set<Local>();

  constructor(normal: NormalBody, variable: LoopVar, units: number, aligned: boolean) {
    this.normal = normal;
    this.variable = variable;
    this.units = units;
    this.aligned = aligned;
  }
  get count(): number {
    return 4 * this.units;
  }
  /** Notes which of the locals declared in a body differ between lanes. */
  declareLocals(body: readonly Stmt[]): void {
    forEachStatement(body, (stmt) => {
      if (stmt.kind !== 'declare') return;
      if (this.normal.mutableLocals.has(stmt.local) || this.shape(stmt.value) !== 0) this.varyingLocals.add(stmt.local);
    });
  }
  markVarying(local: Local): void {
    this.varyingLocals.add(local);
  }
  isVarying(local: Local): boolean {
    return this.varyingLocals.has(local);
  }

  shape(e: Expr): Shape {
    const found = this.shapes.get(e);
    if (found !== undefined) return found;
    const shape = this.compute(e);
    this.shapes.set(e, shape);
    return shape;
  }
  private compute(e: Expr): Shape {
    if (e.kind === 'const') return 0;
    if (e.kind === 'index') return e.variable === this.variable ? 1 : 0;
    if (e.kind === 'local') return this.varyingLocals.has(e.local) ? 'varying' : 0;
    if (e.kind === 'load') {
      const uniform = this.shape(accessOf(this.normal, e).address) === 0 && (!e.guard || this.shape(e.guard) === 0);
      return uniform ? 0 : 'varying';
    }
    if (operands(e).every((o) => this.shape(o) === 0)) return 0;
    if (e.type !== 'i32') return 'varying';
    if (e.kind === 'unary' && e.op === 'neg') return scaled(this.shape(e.a), -1);
    return e.kind === 'binary' ? this.binary(e) : 'varying';
  }
  private binary(e: BinaryExpr): Shape {
    const a = this.shape(e.a);
    const b = this.shape(e.b);
    if (a === 'varying' || b === 'varying') return 'varying';
    switch (e.op) {
      case 'add':
        return (a + b) | 0;
      case 'sub':
        return (a - b) | 0;
      case 'mul':
        if (e.b.kind === 'const') return scaled(a, Number(e.b.value));
        if (e.a.kind === 'const') return scaled(b, Number(e.a.value));
        return 'varying';
      case 'shl':
        return e.b.kind === 'const' ? scaled(a, 1 << (Number(e.b.value) & 31)) : 'varying';
      case 'div':
      case 'rem': {
        // Lanes of one aligned group never straddle a multiple of the divisor when the group's size divides it.
        const divisor = e.b.kind === 'const' ? Number(e.b.value) : 0;
        const steps = a === 1 && divisor > 0 && divisor % this.count === 0;
        if (!steps || !this.normal.ranges.nonNegative(e.a) || this.alignment(e.a) % this.count !== 0) return 'varying';
        return e.op === 'div' ? 0 : 1;
      }
      default:
        return 'varying';
    }
  }
  /** A power of two (at most 64) that divides the first lane's value. */
  private alignment(e: Expr): number {
    if (e.kind === 'const') return powerOfTwoIn(Number(e.value));
    if (e.kind === 'index') return e.variable === this.variable && this.aligned ? this.count : 1;
    if (e.kind !== 'binary') return 1;
    if (e.op === 'mul') return Math.min(64, this.alignment(e.a) * this.alignment(e.b));
    if (e.op === 'add' || e.op === 'sub') return Math.min(this.alignment(e.a), this.alignment(e.b));
    if (e.op === 'shl' && e.b.kind === 'const') return Math.min(64, this.alignment(e.a) * 2 ** Math.min(6, Number(e.b.value) & 31));
    if (e.op === 'rem' && e.b.kind === 'const') return Math.min(this.alignment(e.a), powerOfTwoIn(Number(e.b.value)));
    return 1;
  }
}

function scaled(shape: Shape, factor: number): Shape {
  return shape === 'varying' ? 'varying' : Math.imul(shape, factor);
}
function powerOfTwoIn(value: number): number {
  return value === 0 ? 64 : Math.min(64, value & -value & 127 || 64);
}
