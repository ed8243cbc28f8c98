/** Selects with one arm that is much more work than the other: worth a branch around it. */
import { type Expr, operands, type SelectExpr } from '../../ir/expr.js';
import { isWide } from './types.js';

/** Instructions an arm must have of its own before skipping it pays for a branch that may be mispredicted. */
const heavy = 40;
/** Expressions to look at for one select. */
const visitLimit = 500;
const fromA = 1;
const fromB = 2;
const fromBoth = 3;

export class HeavyArms {
  private readonly known = new Map<SelectExpr, 'a' | 'b' | null>();

  /** The arm to skip where its lanes are not needed, if any. */
  of(e: SelectExpr): 'a' | 'b' | null {
    let arm = this.known.get(e);
    if (arm === undefined) {
      arm = this.find(e);
      this.known.set(e, arm);
    }
    return arm;
  }
  private find(e: SelectExpr): 'a' | 'b' | null {
    const { a, b } = this.exclusiveWeights(e);
    if (a >= heavy && a >= 2 * b) return 'a';
    return b >= heavy && b >= 2 * a ? 'b' : null;
  }
  /**
   * Weights of the expressions only one arm needs. Users have larger ids than their operands, so visiting in descending
   * order finds out everything about a node before the node itself; it stops where all that is left is shared.
   */
  private exclusiveWeights(e: SelectExpr): { readonly a: number; readonly b: number } {
    const frontier = new Map<Expr, number>();
    const reach = (node: Expr, from: number): void => {
      if (node.kind !== 'const' && node.kind !== 'index' && node.kind !== 'local') frontier.set(node, (frontier.get(node) ?? 0) | from);
    };
    reach(e.condition, fromBoth);
    reach(e.a, fromA);
    reach(e.b, fromB);
    const weights = { a: 0, b: 0 };
    for (let visited = 0; visited < visitLimit; visited++) {
      let next: Expr | null = null;
      let exclusive = false;
      for (const [node, from] of frontier) {
        if (!next || node.id > next.id) next = node;
        exclusive ||= from !== fromBoth;
      }
      if (!next || !exclusive) break;
      const from = frontier.get(next) ?? fromBoth;
      frontier.delete(next);
      const weight = isWide(next.type) ? 2 : 1;
      if (from === fromA) weights.a += weight;
      else if (from === fromB) weights.b += weight;
      if (next.kind !== 'load') for (const operand of operands(next)) reach(operand, from);
    }
    return weights;
  }
}
