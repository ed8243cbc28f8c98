/** Expansion of transcendentals into core operations. */
import type { BinaryExpr, BinaryOp, Expr, ExprBuilder, UnaryExpr, UnaryOp } from '../../ir/expr.js';
import { CompilerError } from '../../errors.js';

const coreOps: ReadonlySet<UnaryOp | BinaryOp> = new Set<UnaryOp | BinaryOp>([
  'neg',
  'abs',
  'floor',
  'ceil',
  'trunc',
  'roundEven',
  'sqrt',
  'not',
  'add',
  'sub',
  'mul',
  'div',
  'rem',
  'min',
  'max',
  'and',
  'or',
  'xor',
  'shl',
  'shr',
  'shrU',
  'mulHiU',
  'lt',
  'le',
  'eq',
  'ne',
  'ltU',
]);
/** True for operations WebAssembly has no instruction for. */
export function isMathOp(op: UnaryOp | BinaryOp): boolean {
  return !coreOps.has(op);
}
export function lowerMathExpr(_builder: ExprBuilder, e: UnaryExpr | BinaryExpr): Expr {
  throw new CompilerError(`no expansion of ${e.op}`);
}
