/** Dead code elimination: drops nodes whose results reach neither an output nor a state update. */
import type { GraphNode, Program, Value } from '../program.js';

export function dce(program: Program): Program {
  const live = new Set<Value>();
  for (const o of program.outputs) live.add(o.value);
  for (const u of program.updates) live.add(u.value.value);
  const kept: GraphNode[] = [];
  for (let i = program.nodes.length - 1; i >= 0; i--) {
    const node = program.nodes[i];
    if (!node.outputs.some((v) => live.has(v))) continue;
    kept.push(node);
    for (const { value } of node.inputs) live.add(value);
  }
  if (kept.length === program.nodes.length) return program;
  return { ...program, nodes: kept.reverse() };
}
