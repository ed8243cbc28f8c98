/** Selects with one arm that is much more work than the other: worth a branch around it. */
import type { Expr, SelectExpr } from '../../ir/expr.js';
import { isWide } from './types.js';

/** Instructions an arm must have of its own before skipping it pays for a branch that may be mispredicted. */
const heavy = 40;

export class HeavyArms {
  private readonly inputs: (e: Expr) => readonly Expr[];
  private readonly known = new Map<SelectExpr, 'a' | 'b' | null>();

  constructor(inputs: (e: Expr) => readonly Expr[]) {
    this.inputs = inputs;
  }
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
    const condition = this.reach(e.condition);
    const a = this.reach(e.a);
    const b = this.reach(e.b);
    const ofA = weigh(a, condition, b);
    const ofB = weigh(b, condition, a);
    if (ofA >= heavy && ofA >= 2 * ofB) return 'a';
    return ofB >= heavy && ofB >= 2 * ofA ? 'b' : null;
  }
  private reach(root: Expr): ReadonlySet<Expr> {
    const found = new Set<Expr>([root]);
    for (const e of found) for (const input of this.inputs(e)) found.add(input);
    return found;
  }
}

function weigh(arm: ReadonlySet<Expr>, ...others: readonly ReadonlySet<Expr>[]): number {
  let weight = 0;
  for (const e of arm) {
    if (e.kind === 'const' || e.kind === 'index' || e.kind === 'local' || others.some((o) => o.has(e))) continue;
    weight += isWide(e.type) ? 2 : 1;
  }
  return weight;
}
