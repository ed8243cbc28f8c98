/** Softmax and its kin, extremes and their positions, means and norms. */
import { argmax, argmin, logSoftmax, logsumexp, norm, softmax, type Tensor } from 'trireme';
import type { GraphNode } from 'trireme/graph';
import { sizeOf } from 'trireme/graph';
import { isWhole, type Matcher, templateOf } from '../match.js';
import { reduceOver } from '../primitives/reduce.js';
import { type Pattern, standsFor } from './pattern.js';

const axesOf = (node: GraphNode | undefined): readonly number[] => (node?.attrs.axes as readonly number[] | undefined) ?? [];

/** An operator along one axis that keeps the shape; `sum` is the reduction that tells the axis. */
function alongAxis(name: string, root: string, fn: (x: Tensor, axis: number) => Tensor, operator: string, depth: number): Pattern {
  return {
    roots: [root],
    find(node, matcher) {
      const [{ dtype, shape }] = node.outputs;
      const axes = axesOf(matcher.behind(node, 'sum', depth));
      const [axis] = axes;
      if (axes.length !== 1 || axis >= shape.length) return null;
      const match = matcher.match(
        templateOf(`${name} ${axis}`, [{ dtype, shape }], ([x]) => fn(x, axis)),
        node,
      );
      const [x] = match?.inputs ?? [];
      if (x === undefined) return null;
      return standsFor(node, [x], (em) => em.op(operator, [em.read(x).name], dtype, shape, { axis }));
    },
  };
}

/** The input of the reduction found behind a root, and its axes. */
function reduced(
  matcher: Matcher,
  node: GraphNode,
  name: string,
  depth: number,
): { readonly shape: readonly number[]; readonly axes: readonly number[] } | null {
  const found = matcher.behind(node, name, depth);
  return found === undefined ? null : { shape: found.inputs[0].layout.shape, axes: axesOf(found) };
}

/** A reduction of ONNX from a composition that ends in `root`. */
function reduction(
  name: string,
  root: string,
  reduceName: string,
  depth: number,
  fn: (x: Tensor, axes: number[], keep: boolean) => Tensor,
  operator: string,
): Pattern {
  return {
    roots: [root],
    find(node, matcher) {
      const [{ dtype }] = node.outputs;
      const from = reduced(matcher, node, reduceName, depth);
      if (from === null || !dtype.startsWith('float')) return null;
      const { shape, axes } = from;
      for (const keep of [true, false]) {
        const match = matcher.match(
          templateOf(`${name} ${axes} ${keep}`, [{ dtype, shape }], ([x]) => fn(x, [...axes], keep)),
          node,
        );
        const [x] = match?.inputs ?? [];
        if (x === undefined) continue;
        return standsFor(node, [x], (em) => reduceOver(em, operator, em.read(x), axes, keep));
      }
      return null;
    },
  };
}

function extremePosition(largest: boolean): Pattern {
  const [name, fn, operator] = largest ? (['argmax', argmax, 'ArgMax'] as const) : (['argmin', argmin, 'ArgMin'] as const);
  return {
    roots: ['cast'],
    find(node, matcher) {
      if (node.outputs[0].dtype !== 'int64') return null;
      const place = matcher.producer(node.inputs[0]);
      const choice = place?.primitive.name === 'reduceMin' ? matcher.producer(place.inputs[0]) : undefined;
      const extreme = choice === undefined ? undefined : matcher.behind(choice, largest ? 'reduceMax' : 'reduceMin', 3);
      const [axis] = axesOf(place);
      if (extreme === undefined || axis === undefined) return null;
      const { value, layout } = extreme.inputs[0];
      for (const keep of [true, false]) {
        const types = [{ dtype: value.dtype, shape: layout.shape }];
        const match = matcher.match(
          templateOf(`${name} ${axis} ${keep}`, types, ([x]) => fn(x, axis, keep)),
          node,
        );
        const [x] = match?.inputs ?? [];
        if (x === undefined) continue;
        const shape = layout.shape.flatMap((extent, i) => (i === axis ? (keep ? [1] : []) : [extent]));
        return standsFor(node, [x], (em) => em.op(operator, [em.read(x).name], 'int64', shape, { axis, keepdims: keep ? 1 : 0 }));
      }
      return null;
    },
  };
}

/** A sum divided by the number of its summands. */
const mean: Pattern = {
  roots: ['div'],
  find(node, matcher, em) {
    const [total, count] = node.inputs;
    const sum = matcher.producer(total);
    if (sum?.primitive.name !== 'sum' || !isWhole(total) || sum.inputs[0].value.dtype !== node.outputs[0].dtype) return null;
    const axes = axesOf(sum);
    const [x] = sum.inputs;
    if (axes.length === 0 || em.numberOf(count) !== sizeOf(axes.map((axis) => x.layout.shape[axis]))) return null;
    const keep = total.layout.shape.length === x.layout.shape.length;
    const rank = x.layout.shape.length;
    const isGlobal = rank >= 3 && axes.length === rank - 2 && axes.every((axis, i) => axis === i + 2);
    return standsFor(node, [x], (to) => {
      const input = to.read(x);
      if (!isGlobal) return reduceOver(to, 'ReduceMean', input, axes, keep);
      return to.op('GlobalAveragePool', [input.name], input.dtype, [...input.shape.slice(0, 2), ...axes.map(() => 1)]);
    });
  },
};

export const reductionPatterns: readonly Pattern[] = [
  alongAxis('softmax', 'div', softmax, 'Softmax', 1),
  alongAxis('logSoftmax', 'sub', logSoftmax, 'LogSoftmax', 2),
  mean,
  reduction('logsumexp', 'add', 'sum', 2, logsumexp, 'ReduceLogSumExp'),
  reduction('norm', 'where', 'sum', 2, (x, axes, keep) => norm(x, 2, axes, keep), 'ReduceL2'),
  extremePosition(true),
  extremePosition(false),
];
