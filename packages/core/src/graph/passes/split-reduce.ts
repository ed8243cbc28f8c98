/**
 * Long reductions to few results become two: partial results of fixed stretches, which threads can share, then the rest.
 * The stretches depend on shapes alone, so results do not depend on the number of threads.
 */
import { denseLayout, sizeOf } from '../layout.js';
import type { GraphNode, Program } from '../program.js';
import { makeNode } from '../trace.js';
import { Rewriter } from './rewrite.js';

/** Elements from which a reduction is worth splitting. */
const longReduction = 65_536;
/** Results below which a reduction cannot keep several threads busy. */
const fewResults = 16;
const stretches = 32;

/** The largest divisor of n up to `most`. */
function divisor(n: number, most: number): number {
  for (let d = Math.min(n, most); d > 1; d--) if (n % d === 0) return d;
  return 1;
}

function split(node: GraphNode): readonly [GraphNode, GraphNode] | null {
  const { lowering } = node.primitive;
  if (lowering.kind !== 'reduce' || !Array.isArray(node.attrs.axes)) return null;
  const [input] = node.inputs;
  const { shape, strides, offset } = input.layout;
  if (sizeOf(node.outputs[0].shape) >= fewResults || sizeOf(shape) < longReduction) return null;
  const axes = lowering.axes([{ dtype: input.value.dtype, shape }], node.attrs);
  // The outermost long axis, so that each stretch is contiguous where the input is.
  const axis = axes.find((a) => divisor(shape[a], stretches) >= 8);
  if (axis === undefined) return null;
  const parts = divisor(shape[axis], stretches);
  const length = shape[axis] / parts;
  const viewed = {
    value: input.value,
    layout: {
      shape: shape.toSpliced(axis, 1, parts, length),
      strides: strides.toSpliced(axis, 1, strides[axis] * length, strides[axis]),
      offset,
    },
  };
  const firstAxes = axes.map((a) => (a >= axis ? a + 1 : a));
  const first = makeNode(node.primitive, [viewed], { ...node.attrs, axes: firstAxes }, node.scope);
  const position = axis - axes.filter((a) => a < axis).length;
  const [partial] = first.outputs;
  const second = makeNode(
    node.primitive,
    [{ value: partial, layout: denseLayout(partial.shape) }],
    { ...node.attrs, axes: [position] },
    node.scope,
  );
  return [first, second];
}

export function splitReductions(program: Program): Program {
  const rewriter = new Rewriter();
  for (const original of program.nodes) {
    const node = rewriter.node(original);
    const halves = split(node);
    if (!halves) {
      rewriter.nodes.push(node);
      continue;
    }
    rewriter.nodes.push(...halves);
    rewriter.replace(original.outputs[0], halves[1].outputs[0]);
  }
  return rewriter.finish(program);
}
