/** Resizing: gathers and weighted sums along each dimension, whose positions and weights are constants. */
import { interpolate } from 'trireme';
import type { GraphNode } from 'trireme/graph';
import type { Emitter } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';
import { type Matcher, templateOf } from '../match.js';
import { type Pattern, standsFor } from './pattern.js';

type Mode = NonNullable<NonNullable<Parameters<typeof interpolate>[1]>['mode']>;

interface Way {
  readonly mode: Mode;
  readonly alignCorners: boolean | null;
  readonly attributes: OutAttributes;
}

const corners = (alignCorners: boolean): OutAttributes => ({
  coordinate_transformation_mode: alignCorners ? 'align_corners' : 'half_pixel',
});
const both = (mode: Mode, attributes: OutAttributes): Way[] =>
  [false, true].map((alignCorners) => ({ mode, alignCorners, attributes: { ...attributes, ...corners(alignCorners) } }));

const nearestWays: readonly Way[] = [
  {
    mode: 'nearest',
    alignCorners: null,
    attributes: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
  },
  {
    mode: 'nearest-exact',
    alignCorners: null,
    attributes: { mode: 'nearest', coordinate_transformation_mode: 'half_pixel', nearest_mode: 'round_prefer_ceil' },
  },
];
/** By the number of spatial dimensions. */
const smoothWays: Readonly<Record<number, readonly Way[]>> = {
  1: both('linear', { mode: 'linear' }),
  2: [...both('bilinear', { mode: 'linear' }), ...both('bicubic', { mode: 'cubic', cubic_coeff_a: { float: -0.75 } })],
  3: both('trilinear', { mode: 'linear' }),
};

/** The shape before all dimensions were resized, the last of them by `node`. */
function sourceShape(node: GraphNode, matcher: Matcher): number[] | null {
  const shape = [...node.outputs[0].shape];
  let current: GraphNode | undefined = node;
  for (let axis = shape.length - 1; axis >= 2; axis--) {
    if (current === undefined) return null;
    const select: GraphNode | undefined = current.primitive.name === 'indexSelect' ? current : matcher.behind(current, 'indexSelect', 4);
    if (select?.attrs.axis !== axis) return null;
    shape[axis] = select.inputs[0].layout.shape[axis];
    current = matcher.producer(select.inputs[0]);
  }
  return shape;
}

function resize(em: Emitter, x: OutValue, to: readonly number[], attributes: OutAttributes): OutValue {
  const scales = to.map((extent, axis) => (axis < 2 ? 1 : extent / x.shape[axis]));
  // A rounded factor that gives another size than the wanted one is no use.
  const exact = scales.every((scale, axis) => Math.floor(x.shape[axis] * Math.fround(scale)) === to[axis]);
  const inputs = exact ? [x.name, '', em.graph.literal('float32', [scales.length], scales).name] : [x.name, '', '', em.ints(...to)];
  return em.op('Resize', inputs, x.dtype, to, attributes);
}

function pattern(root: 'indexSelect' | 'add'): Pattern {
  return {
    roots: [root],
    find(node, matcher) {
      const [{ dtype, shape }] = node.outputs;
      if (shape.length < 3 || shape.length > 5) return null;
      const from = sourceShape(node, matcher);
      if (from === null) return null;
      for (const { mode, alignCorners, attributes } of root === 'indexSelect' ? nearestWays : (smoothWays[shape.length - 2] ?? [])) {
        const size = shape.slice(2);
        const template = templateOf(`${mode} ${alignCorners} ${size}`, [{ dtype, shape: from }], ([x]) =>
          interpolate(x, { mode, size, alignCorners }),
        );
        const match = matcher.match(template, node);
        const [x] = match?.inputs ?? [];
        if (x !== undefined) return standsFor(node, [x], (em) => resize(em, em.read(x), shape, attributes));
      }
      return null;
    },
  };
}

export const resizePatterns: readonly Pattern[] = [pattern('indexSelect'), pattern('add')];
