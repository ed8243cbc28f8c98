/** Reductions, running sums and sorting. */
import type { DType } from 'trireme';
import type { GraphNode, Shape } from 'trireme/graph';
import type { Emitter, Mapper } from '../emitter.js';
import type { OutValue } from '../graph.js';

/** A reduction over axes: since 13 (sums) or 18 (the others) the axes are an input. */
export function reduceOver(em: Emitter, op: string, x: OutValue, axes: readonly number[], keep: boolean): OutValue {
  const shape = x.shape.flatMap((extent, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [extent]));
  const asInput = em.opset >= (op === 'ReduceSum' ? 13 : 18);
  const keepdims = keep ? 1 : 0;
  if (asInput) return em.op(op, [x.name, em.ints(...axes)], x.dtype, shape, { keepdims });
  return em.op(op, [x.name], x.dtype, shape, { axes, keepdims });
}

const axesOf = (node: GraphNode): readonly number[] => node.attrs.axes as readonly number[];

function reduction(op: string): Mapper {
  return (node, em) => {
    const [out] = node.outputs;
    const axes = axesOf(node);
    const x = em.cast(em.read(node.inputs[0]), out.dtype);
    em.define(out, axes.length === 0 ? x : reduceOver(em, op, x, axes, false));
  };
}
/** any and all: the largest and the smallest of 0 and 1. */
function ofTruth(op: string): Mapper {
  return (node, em) => {
    const [out] = node.outputs;
    const axes = axesOf(node);
    const x = em.read(node.inputs[0]);
    em.define(
      out,
      axes.length === 0 ? em.cast(x, 'bool') : em.cast(reduceOver(em, op, em.cast(em.cast(x, 'bool'), 'int32'), axes, false), 'bool'),
    );
  };
}

const attr = (node: GraphNode, name: string): number => node.attrs[name] as number;

/** The elements of the last axis in order, and where they were. */
function sort(node: GraphNode, em: Emitter): void {
  const [values, positions] = node.outputs;
  const x = em.read(node.inputs[0]);
  const axis = x.shape.length - 1;
  const wanted: readonly { readonly dtype: DType; readonly shape: Shape }[] = [
    { dtype: x.dtype, shape: x.shape },
    { dtype: 'int64', shape: x.shape },
  ];
  const made = em.ops('TopK', [x.name, em.ints(x.shape[axis])], wanted, {
    axis,
    largest: node.attrs.descending === true ? 1 : 0,
    sorted: 1,
  });
  em.define(values, made[0]);
  em.define(positions, made[1]);
}

export const reduceMappers: Readonly<Record<string, Mapper>> = {
  sum: reduction('ReduceSum'),
  prod: reduction('ReduceProd'),
  reduceMax: reduction('ReduceMax'),
  reduceMin: reduction('ReduceMin'),
  any: ofTruth('ReduceMax'),
  all: ofTruth('ReduceMin'),
  cumsum: (node, em) => {
    const [out] = node.outputs;
    const x = em.cast(em.read(node.inputs[0]), out.dtype);
    const axis = em.scalar(attr(node, 'axis'), 'int64');
    em.define(out, em.op('CumSum', [x.name, axis], out.dtype, x.shape, node.attrs.reverse === true ? { reverse: 1 } : {}));
  },
  sort,
  /** How many of the sorted values come before each: a comparison with all of them. */
  searchsorted: (node, em) => {
    const [out] = node.outputs;
    const [sorted, values] = node.inputs.map((o) => em.read(o));
    const column = em.reshape(values, [...values.shape, 1]);
    const last = sorted.shape[sorted.shape.length - 1];
    const rows = sorted.shape.length === 1 ? sorted : em.reshape(sorted, [...sorted.shape.slice(0, -1), 1, last]);
    const op = node.attrs.right === true ? 'LessOrEqual' : 'Less';
    const before = em.op(op, [rows.name, column.name], 'bool', [...values.shape, last]);
    em.define(out, reduceOver(em, 'ReduceSum', em.cast(before, 'int64'), [values.shape.length], false));
  },
};
