/** Replacing values throughout a program. */
import type { GraphNode, Operand, Program, Value } from '../program.js';

/** Rewrites node by node: `visit` sees each node with its inputs already replaced and returns what stands for its outputs. */
export class Rewriter {
  private readonly replaced = new Map<Value, Value>();
  readonly nodes: GraphNode[] = [];

  replace(old: Value, by: Value): void {
    this.replaced.set(old, by);
  }
  value(v: Value): Value {
    return this.replaced.get(v) ?? v;
  }
  operand(o: Operand): Operand {
    const value = this.value(o.value);
    return value === o.value ? o : { value, layout: o.layout };
  }
  /** The node with replaced inputs; the same object when nothing changed. */
  node(n: GraphNode): GraphNode {
    const inputs = n.inputs.map((o) => this.operand(o));
    return inputs.every((o, i) => o === n.inputs[i]) ? n : { ...n, inputs };
  }
  finish(program: Program): Program {
    return {
      ...program,
      nodes: this.nodes,
      outputs: program.outputs.map((o) => this.operand(o)),
      updates: program.updates.map((u) => ({ input: u.input, value: this.operand(u.value) })),
    };
  }
}
