/**
 * Layout: a use of a dense copy reads the copied view itself where strides can say so. Transposed and sliced tensors that
 * were made contiguous on the way then cost nothing.
 */
import { composeLayout, denseLayout, isDense, sizeOf } from '../layout.js';
import type { GraphNode, Operand, Program, Value } from '../program.js';
import { Rewriter } from './rewrite.js';

function isCopy(node: GraphNode): boolean {
  const { name } = node.primitive;
  return (name === 'copy' || name === 'cast') && node.inputs[0].value.dtype === node.outputs[0].dtype;
}

export function elideCopies(program: Program): Program {
  const rewriter = new Rewriter();
  const copies = new Map<Value, Operand>();
  const written = new Set(program.updates.map((u) => program.inputs[u.input]));
  const through = (o: Operand): Operand => {
    const source = copies.get(o.value);
    if (!source) return o;
    const layout = composeLayout(o.layout, o.value.shape, source.layout);
    return layout ? { value: source.value, layout } : o;
  };
  for (const original of program.nodes) {
    const replaced = rewriter.node(original);
    const { lowering } = replaced.primitive;
    // Contractions and loops of their own read through what is dense best; elementwise code does not care.
    const reads = lowering.kind === 'map' || lowering.kind === 'reduce' || lowering.kind === 'contract';
    const inputs = reads ? replaced.inputs.map(through) : replaced.inputs;
    const node = inputs.every((o, i) => o === replaced.inputs[i]) ? replaced : { ...replaced, inputs };
    // State may change before a later reader runs: its copies stay copies.
    if (isCopy(node) && !written.has(node.inputs[0].value)) copies.set(node.outputs[0], node.inputs[0]);
    rewriter.nodes.push(node);
  }
  const finished = rewriter.finish(program);
  const whole = (o: Operand): boolean => o.layout.offset === 0 && isDense(o.layout) && sizeOf(o.layout.shape) === sizeOf(o.value.shape);
  return {
    ...finished,
    outputs: finished.outputs.map((o) => {
      const source = through(o);
      return whole(source) ? { value: source.value, layout: denseLayout(o.layout.shape) } : o;
    }),
  };
}
