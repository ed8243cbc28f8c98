/** Common subexpression elimination: equal primitives with equal attributes on equal operands run once. */
import type { GraphNode, Program } from '../program.js';
import { Rewriter } from './rewrite.js';

function keyOf(node: GraphNode): string {
  const inputs = node.inputs.map((o) => `${o.value.id}:${o.layout.shape.join()};${o.layout.strides.join()};${o.layout.offset}`);
  return `${node.primitive.name}|${JSON.stringify(node.attrs)}|${inputs.join('|')}`;
}

export function cse(program: Program): Program {
  const rewriter = new Rewriter();
  const seen = new Map<string, GraphNode[]>();
  for (const original of program.nodes) {
    const node = rewriter.node(original);
    if (node.subprograms.length > 0) {
      rewriter.nodes.push(node);
      continue;
    }
    const key = keyOf(node);
    const candidates = seen.get(key) ?? [];
    const twin = candidates.find((c) => c.primitive === node.primitive);
    if (twin) {
      original.outputs.forEach((v, i) => rewriter.replace(v, twin.outputs[i]));
      continue;
    }
    candidates.push(node);
    seen.set(key, candidates);
    rewriter.nodes.push(node);
  }
  return rewriter.finish(program);
}
