/** Short constructors of kernel statements and index arithmetic, for the primitives that write their own loops. */
import type { Shape } from '../graph/layout.js';
import type { Expr, ExprBuilder, Local, LoopVar } from '../ir/expr.js';
import type { ReduceOp, Stmt } from '../ir/kernel.js';

/** One parallel loop of a loops lowering. */
export interface Stage {
  readonly grid: number;
  readonly cell: LoopVar;
  readonly body: readonly Stmt[];
  /** Rough instructions in all. */
  readonly work?: number;
}

export function forLoop(variable: LoopVar, extent: number | Expr, body: readonly Stmt[]): Stmt {
  return { kind: 'for', variable, extent, mode: 'serial', body };
}
/** The rounds must not depend on one another; the innermost loop over contiguous elements. */
export function vectorLoop(variable: LoopVar, extent: number, body: readonly Stmt[]): Stmt {
  return { kind: 'for', variable, extent, mode: 'vector', body };
}
export function declare(local: Local, value: Expr): Stmt {
  return { kind: 'declare', local, value };
}
export function assign(local: Local, value: Expr): Stmt {
  return { kind: 'assign', local, value };
}
export function accumulate(local: Local, op: ReduceOp, value: Expr): Stmt {
  return { kind: 'accumulate', local, op, value };
}
export function ifThen(condition: Expr, then: readonly Stmt[], otherwise: readonly Stmt[] = []): Stmt {
  return { kind: 'if', condition, then, otherwise };
}
export function whileLoop(condition: Expr, body: readonly Stmt[]): Stmt {
  return { kind: 'while', condition, body };
}

/** The indices of the row-major element number `linear` of `shape`. */
export function unravel(b: ExprBuilder, linear: Expr, shape: Shape): Expr[] {
  const indices = new Array<Expr>(shape.length);
  let rest = linear;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const extent = shape[axis];
    indices[axis] = axis === 0 ? rest : b.binary('rem', rest, b.i32(Math.max(1, extent)));
    if (axis > 0) rest = b.binary('div', rest, b.i32(Math.max(1, extent)));
  }
  return indices;
}

/** A tensor index as a position along an axis of `extent` elements: i32, negative values counted from the end. */
export function wrapIndex(b: ExprBuilder, index: Expr, extent: number): Expr {
  // Comparing before the conversion keeps 64-bit values that do not fit 32 bits out of range.
  const zero = b.const(index.type, 0);
  const wrapped = b.select(b.binary('lt', index, zero), b.add(index, b.const(index.type, extent)), index);
  if (index.type !== 'i64') return wrapped;
  const clipped = b.binary('min', b.binary('max', wrapped, b.const('i64', -1)), b.const('i64', extent));
  return b.cast(clipped, 'i32');
}

/** `0 <= i < extent`. */
export function inRange(b: ExprBuilder, i: Expr, extent: number): Expr {
  return b.and(b.binary('le', b.i32(0), i), b.binary('lt', i, b.i32(extent)));
}

/** `i` moved into `[0, extent)`, so that a load at it is always legal. */
export function clampIndex(b: ExprBuilder, i: Expr, extent: number): Expr {
  return b.binary('max', b.binary('min', i, b.i32(extent - 1)), b.i32(0));
}

/** Conjunction; undefined stands for true. */
export function allOf(b: ExprBuilder, conditions: readonly (Expr | undefined)[]): Expr | undefined {
  let all: Expr | undefined;
  for (const condition of conditions) {
    if (condition === undefined) continue;
    all = all === undefined ? condition : b.and(all, condition);
  }
  return all;
}

/** The largest divisor of `n` that is at most `limit`; 1 for 0. */
export function divisorUpTo(n: number, limit: number): number {
  for (let d = Math.min(n, limit); d > 1; d--) if (n % d === 0) return d;
  return 1;
}
