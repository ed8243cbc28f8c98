/** What a pattern is. */
import type { Tensor } from 'trireme';
import type { GraphNode, Operand } from 'trireme/graph';
import type { Emitter, Replacement } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';
import { type Match, type Matcher, templateOf } from '../match.js';

export interface Pattern {
  /** Primitives that can be the last one of what is looked for. */
  readonly roots: readonly string[];
  /** What to write in the place of a node, null where it is not what is looked for. */
  find(node: GraphNode, matcher: Matcher, em: Emitter): Replacement | null;
}

/** A replacement that makes output 0. */
export function standsFor(node: GraphNode, inputs: readonly (Operand | undefined)[], write: (em: Emitter) => OutValue): Replacement {
  return {
    inputs: inputs.filter((o) => o !== undefined),
    emit: (em) => em.define(node.outputs[0], write(em)),
  };
}

/** An operator of one input that works element by element, from the function of the library. */
export function elementFunction(
  name: string,
  root: string,
  opset: number,
  fn: (x: Tensor, free: readonly number[]) => Tensor,
  operator: string,
  attributes: (numbers: Match['numbers']) => OutAttributes = () => ({}),
): Pattern {
  return {
    roots: [root],
    find(node, matcher, em) {
      const [out] = node.outputs;
      if (em.opset < opset || !out.dtype.startsWith('float')) return null;
      const template = templateOf(name, [{ dtype: out.dtype, shape: out.shape }], ([x], free) => fn(x, free));
      const match = matcher.match(template, node);
      const [x] = match?.inputs ?? [];
      if (match === null || x === undefined) return null;
      return standsFor(node, [x], (to) => {
        const { inputs, shape } = to.elementwise([x]);
        return to.op(operator, [inputs[0].name], out.dtype, shape, attributes(match.numbers));
      });
    },
  };
}
