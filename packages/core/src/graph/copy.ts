/** The primitive the compiler itself inserts: a dense copy of a view. */
import { type Attrs, definePrimitive, noAttrs, type Primitive } from './primitive.js';
import type { GraphNode, Operand } from './program.js';
import { makeNode } from './trace.js';

const copyPrimitive = definePrimitive<Attrs>({
  name: 'copy',
  infer: ([input]) => [input],
  lowering: { kind: 'map', pointwise: true, element: (ctx, indices) => [ctx.load(0, indices)] },
  vjp: (_, [grad]) => [grad],
}) as Primitive;

export function copyNode(operand: Operand): GraphNode {
  return makeNode(copyPrimitive, [operand], noAttrs);
}
