/** Reading and writing by index, joining, and tensors made of nothing. */
import { type DType, isFloat } from 'trireme';
import type { GraphNode, Shape } from 'trireme/graph';
import { denseStrides, isDense, sizeOf } from 'trireme/graph';
import { decodeNumber, type Emitter, type Mapper } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';

const axisOf = (node: GraphNode): number => node.attrs.axis as number;

/** Rows by number. An index that is all of its value keeps that value's shape: Gather puts its axes in the place of the one it reads. */
function indexSelect(node: GraphNode, em: Emitter): void {
  const [x, index] = [em.read(node.inputs[0]), em.readFlexible(node.inputs[1])];
  const axis = axisOf(node);
  em.define(
    node.outputs[0],
    em.op('Gather', [x.name, wideIndex(em, index).name], x.dtype, x.shape.toSpliced(axis, 1, ...index.shape), { axis }),
  );
}

/** Gather and its kin take int32 and int64. */
function wideIndex(em: Emitter, index: OutValue): OutValue {
  return index.dtype === 'int32' ? index : em.cast(index, 'int64');
}

type Reduction = 'none' | 'add' | 'mul' | 'max' | 'min';

function reductionAttribute(em: Emitter, reduction: Reduction): OutAttributes {
  if (reduction === 'none') return {};
  em.require(reduction === 'add' || reduction === 'mul' ? 16 : 18, `ScatterElements that combines by ${reduction}`);
  return { reduction };
}

function scatter(reductionOf: (node: GraphNode) => Reduction): Mapper {
  return (node, em) => {
    const [target, index, source] = node.inputs;
    const to = em.read(target);
    // The index reaches a part of the source only, where it is smaller.
    const part = em.read({ value: source.value, layout: { ...source.layout, shape: index.layout.shape } });
    const inputs = [to.name, wideIndex(em, em.read(index)).name, part.name];
    const attributes = { axis: axisOf(node), ...reductionAttribute(em, reductionOf(node)) };
    em.define(node.outputs[0], em.op('ScatterElements', inputs, to.dtype, to.shape, attributes));
  };
}

/** Whole rows written (or added) at the numbers of a vector. */
function scatterRows(node: GraphNode, em: Emitter, reduction: Reduction): void {
  const [target, index, source] = node.inputs.map((o) => em.read(o));
  const axis = node.attrs.axis === undefined ? 0 : axisOf(node);
  const last = em.reshape(em.cast(index, 'int64'), [index.shape[0], 1]);
  const order = [axis, ...target.shape.map((_, i) => i).filter((i) => i !== axis)];
  const back = target.shape.map((_, i) => order.indexOf(i));
  const inputs = [em.transpose(target, order), last, em.transpose(source, order)];
  const made = em.op(
    'ScatterND',
    inputs.map((t) => t.name),
    target.dtype,
    inputs[0].shape,
    reductionAttribute(em, reduction),
  );
  em.define(node.outputs[0], em.transpose(made, back));
}

/** A part of a vector replaced: the positions are known. */
function writeView(node: GraphNode, em: Emitter): void {
  const [base, value] = node.inputs;
  const { shape, strides, offset } = node.attrs as unknown as { shape: Shape; strides: readonly number[]; offset: number };
  const length = base.layout.shape[0];
  const [to, what] = [em.reshape(em.read(base), [length]), em.reshape(em.read(value), [sizeOf(shape)])];
  const [out] = node.outputs;
  if (offset === 0 && sizeOf(shape) === length && isDense({ shape, strides })) return em.define(out, what);
  const positions = shape.reduce<number[]>(
    (all, extent, axis) => all.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * strides[axis])),
    [offset],
  );
  const index = em.graph.literal('int64', [positions.length], positions);
  em.define(out, em.op('ScatterElements', [to.name, index.name, what.name], to.dtype, to.shape, { axis: 0 }));
}

/** start, start + step … : the limit lies half a step behind the last, where rounding does not reach. */
function rangeOf(em: Emitter, start: number, step: number, length: number, dtype: DType): OutValue {
  const type =
    dtype === 'int16' || dtype === 'int32' || dtype === 'int64' || dtype === 'float64' ? dtype : isFloat(dtype) ? 'float32' : 'int32';
  const limit = start + step * (isFloat(type) ? length - 0.5 : length);
  return em.cast(em.op('Range', [em.scalar(start, type), em.scalar(limit, type), em.scalar(step, type)], type, [length]), dtype);
}

export const indexMappers: Readonly<Record<string, Mapper>> = {
  indexSelect,
  gather: (node, em) => {
    const [x, index] = node.inputs.map((o) => em.read(o));
    em.define(node.outputs[0], em.op('GatherElements', [x.name, wideIndex(em, index).name], x.dtype, index.shape, { axis: axisOf(node) }));
  },
  scatter: scatter(() => 'none'),
  scatterAdd: scatter(() => 'add'),
  scatterReduce: scatter((node) => node.attrs.reduce as Reduction),
  indexAdd: (node, em) => scatterRows(node, em, 'add'),
  setRows: (node, em) => scatterRows(node, em, 'none'),
  writeView,
  concat: (node, em) => {
    const parts = node.inputs.filter((o) => o.layout.shape[axisOf(node)] > 0).map((o) => em.read(o));
    const [out] = node.outputs;
    if (parts.length === 0) return em.define(out, em.read(node.inputs[0]));
    em.define(
      out,
      parts.length === 1
        ? parts[0]
        : em.op(
            'Concat',
            parts.map((p) => p.name),
            out.dtype,
            out.shape,
            { axis: axisOf(node) },
          ),
    );
  },
  full: (node, em) => {
    const [out] = node.outputs;
    const value = decodeNumber(node.attrs.value);
    em.define(out, em.expand(em.graph.literal(out.dtype, [], [value]), out.shape));
  },
  iota: (node, em) => em.define(node.outputs[0], rangeOf(em, 0, 1, node.outputs[0].shape[0], node.outputs[0].dtype)),
  arange: (node, em) => {
    const { start, step, length } = node.attrs as unknown as { start: number; step: number; length: number };
    em.define(node.outputs[0], rangeOf(em, start, step, length, node.outputs[0].dtype));
  },
  linspace: (node, em) => {
    const { start, end, length } = node.attrs as unknown as { start: number; end: number; length: number };
    const [out] = node.outputs;
    const step = (end - start) / Math.max(1, length - 1);
    const values = Array.from({ length }, (_, i) => (i < length >> 1 || length === 1 ? start + step * i : end - step * (length - 1 - i)));
    em.define(out, em.graph.literal(out.dtype, [length], values));
  },
  /** Zeros with the input at evenly spaced places of one axis. */
  embedSlice: (node, em) => {
    const { axis, start, step } = node.attrs as unknown as { axis: number; start: number; step: number };
    const [out] = node.outputs;
    const x = em.read(node.inputs[0]);
    const count = x.shape[axis];
    if (Math.abs(step) !== 1) {
      const zeros = em.expand(em.graph.literal(out.dtype, [], [0]), out.shape);
      const positions = Array.from({ length: count }, (_, i) => start + i * step);
      const along = em.graph.literal(
        'int64',
        x.shape.map((_, i) => (i === axis ? count : 1)),
        positions,
      );
      const index = em.expand(along, x.shape);
      return em.define(out, em.op('ScatterElements', [zeros.name, index.name, x.name], out.dtype, out.shape, { axis }));
    }
    const first = step > 0 ? start : start - count + 1;
    const forward = step > 0 ? x : em.slice(x, axis, count - 1, count, -1);
    const pads = [0, 1].flatMap((side) => out.shape.map((extent, i) => (i !== axis ? 0 : side === 0 ? first : extent - first - count)));
    em.define(out, em.op('Pad', [forward.name, em.ints(...pads), em.scalar(0, out.dtype)], out.dtype, out.shape));
  },
  /** Zeros with the input on a diagonal: the rows of an identity matrix times it. */
  embedDiagonal: (node, em) => {
    const { offset, dim1, dim2 } = node.attrs as unknown as { offset: number; dim1: number; dim2: number };
    const [out] = node.outputs;
    const x = em.read(node.inputs[0]);
    const zeros = em.reshape(em.expand(em.graph.literal(out.dtype, [], [0]), out.shape), [sizeOf(out.shape)]);
    const strides = denseStrides(out.shape);
    const rest = out.shape.flatMap((_, i) => (i === dim1 || i === dim2 ? [] : [i]));
    const n = x.shape[x.shape.length - 1];
    const lines = rest.reduce<number[]>(
      (all, axis) => all.flatMap((at) => Array.from({ length: out.shape[axis] }, (_, i) => at + i * strides[axis])),
      [0],
    );
    const positions = lines.flatMap((at) =>
      Array.from({ length: n }, (_, i) => at + (i + Math.max(0, -offset)) * strides[dim1] + (i + Math.max(0, offset)) * strides[dim2]),
    );
    const index = em.graph.literal('int64', [positions.length], positions);
    const flat = em.reshape(x, [positions.length]);
    em.define(out, em.op('ScatterElements', [zeros.name, index.name, flat.name], out.dtype, zeros.shape, { axis: 0 }));
  },
};
