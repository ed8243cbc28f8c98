/** Where a kernel comes from: its operations, their modules, and what it has to do. */
import { dtypeInfo } from '../dtype.js';
import type { CallOrigin, Part } from '../ir/kernel.js';
import { sizeOf } from './layout.js';
import type { GraphNode, Value } from './program.js';

/** The nodes of a kernel and those computed in it on the spot, each once. */
function allNodes(nodes: readonly GraphNode[], inlined: ReadonlyMap<Value, GraphNode>): Set<GraphNode> {
  const found = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (found.has(node)) return;
    for (const { value } of node.inputs) {
      const producer = inlined.get(value);
      if (producer) visit(producer);
    }
    found.add(node);
  };
  for (const node of nodes) visit(node);
  return found;
}

/** Operations that move or make numbers and compute nothing. */
const moves: ReadonlySet<string> = new Set(['copy', 'fill', 'iota', 'cast', 'gather', 'indexSelect', 'concat', 'where']);

function flopsOf(node: GraphNode, parts: readonly Part[]): number {
  switch (node.primitive.lowering.kind) {
    case 'map':
      return moves.has(node.primitive.name) ? 0 : sizeOf(node.outputs[0].shape);
    case 'reduce':
      return sizeOf(node.inputs[0].layout.shape);
    case 'contract':
      return parts.reduce((sum, part) => (part.kind === 'contract' ? sum + 2 * part.dims.reduce((n, d) => n * d.extent, 1) : sum), 0);
    case 'loops':
      return Math.max(...node.inputs.map((o) => sizeOf(o.layout.shape)), ...node.outputs.map((v) => sizeOf(v.shape)));
    case 'control':
      return 0;
    default:
      return node.primitive.lowering satisfies never;
  }
}

/** What is read of an argument: a gather or a slice does not touch the whole of it. */
function bytesTouched(value: Value, nodes: ReadonlySet<GraphNode>): number {
  const { bytes } = dtypeInfo[value.dtype];
  let touched = 0;
  for (const node of nodes) {
    const random = node.primitive.name === 'gather' || node.primitive.name === 'indexSelect';
    node.inputs.forEach(({ value: read, layout }, k) => {
      if (read !== value) return;
      const elements = random && k === 0 ? sizeOf(node.outputs[0].shape) : distinctElements(layout.shape, layout.strides);
      touched = Math.max(touched, elements);
    });
    if (node.outputs.includes(value)) touched = sizeOf(value.shape);
  }
  return bytes * (touched === 0 ? sizeOf(value.shape) : Math.min(touched, sizeOf(value.shape)));
}

/** Elements a view reaches: an expanded axis adds none. */
function distinctElements(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((n, extent, i) => (strides[i] === 0 ? n : n * extent), 1);
}

export function originOf(
  nodes: readonly GraphNode[],
  inlined: ReadonlyMap<Value, GraphNode>,
  args: readonly Value[],
  parts: readonly Part[],
): CallOrigin {
  const all = allNodes(nodes, inlined);
  return {
    ops: Array.from(all, (node) => ({ name: node.primitive.name, scope: node.scope, flops: flopsOf(node, parts) })),
    bytes: args.reduce((sum, value) => sum + bytesTouched(value, all), 0),
  };
}
