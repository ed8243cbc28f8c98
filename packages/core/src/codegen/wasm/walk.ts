/** Traversal of statements. */
import type { Stmt } from '../../ir/kernel.js';

/** Statements directly inside a statement. */
export function nestedStatements(stmt: Stmt): readonly Stmt[] {
  if (stmt.kind === 'for' || stmt.kind === 'while') return stmt.body;
  return stmt.kind === 'if' ? [...stmt.then, ...stmt.otherwise] : [];
}
/** Calls `visit` for every statement of a body, outer before inner. */
export function forEachStatement(body: readonly Stmt[], visit: (stmt: Stmt) => void): void {
  for (const stmt of body) {
    visit(stmt);
    forEachStatement(nestedStatements(stmt), visit);
  }
}
