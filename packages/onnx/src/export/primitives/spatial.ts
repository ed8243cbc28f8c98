/** Convolutions, pooling and padding. */
import type { GraphNode, Operand } from 'trireme/graph';
import { sizeOf } from 'trireme/graph';
import type { Emitter, Mapper } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';
import { reduceOver } from './reduce.js';

/** Geometry of a convolution, one value a spatial dimension; sizes are the forward convolution's. */
interface ConvGeometry {
  readonly inputSize: readonly number[];
  readonly kernelSize: readonly number[];
  readonly outputSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}
const geometryOf = (node: GraphNode): ConvGeometry => node.attrs as unknown as ConvGeometry;

/** Padding behind each dimension: as much as in front where that gives the same size, so that it does not depend on the input's. */
function padsBehind(
  size: readonly number[],
  count: readonly number[],
  reach: readonly number[],
  stride: readonly number[],
  front: readonly number[],
): number[] {
  return size.map((extent, d) => {
    const windows = (behind: number): number => Math.floor((extent + front[d] + behind - reach[d]) / stride[d]) + 1;
    if (windows(front[d]) === count[d]) return front[d];
    return Math.max(0, (count[d] - 1) * stride[d] + reach[d] - extent - front[d]);
  });
}

function convAttributes(g: ConvGeometry, behind: readonly number[]): OutAttributes {
  return { kernel_shape: g.kernelSize, strides: g.stride, dilations: g.dilation, pads: [...g.padding, ...behind], group: g.groups };
}
const reachOf = (g: ConvGeometry): number[] => g.kernelSize.map((k, d) => (k - 1) * g.dilation[d] + 1);

/** An operand [.., groups, channels / groups, ..] as one of merged channels. */
function merged(em: Emitter, operand: Operand, rank: number, axis: number): OutValue {
  const x = em.read(operand);
  return x.shape.length === rank ? x : em.reshape(x, x.shape.toSpliced(axis, 2, x.shape[axis] * x.shape[axis + 1]));
}

/** The convolution with an optional bias of one value a channel. */
export function convolution(node: GraphNode, em: Emitter, bias: Operand | null): OutValue {
  const g = geometryOf(node);
  const rank = g.kernelSize.length + 2;
  const [w, x] = [merged(em, node.inputs[0], rank, 0), merged(em, node.inputs[1], rank, 1)];
  const behind = padsBehind(g.inputSize, g.outputSize, reachOf(g), g.stride, g.padding);
  const inputs = [x.name, w.name, ...(bias === null ? [] : [em.read(bias).name])];
  return em.op('Conv', inputs, x.dtype, [x.shape[0], w.shape[0], ...g.outputSize], convAttributes(g, behind));
}

export function transposedConvolution(node: GraphNode, em: Emitter, bias: Operand | null): OutValue {
  const g = geometryOf(node);
  const rank = g.kernelSize.length + 2;
  const [w, y] = [merged(em, node.inputs[0], rank, 0), merged(em, node.inputs[1], rank, 1)];
  const reach = reachOf(g);
  // What the stride leaves open is added behind; where it is negative, more is cut off there.
  const open = g.inputSize.map((size, d) => size - ((g.outputSize[d] - 1) * g.stride[d] - 2 * g.padding[d] + reach[d]));
  const behind = g.padding.map((p, d) => p + Math.max(0, -open[d]));
  const extra = open.map((n) => Math.max(0, n));
  const attributes = { ...convAttributes(g, behind), ...(extra.some((n) => n > 0) ? { output_padding: extra } : {}) };
  const inputs = [y.name, w.name, ...(bias === null ? [] : [em.read(bias).name])];
  return em.op('ConvTranspose', inputs, y.dtype, [y.shape[0], w.shape[1] * g.groups, ...g.inputSize], attributes);
}

/** The gradient of the weights as a convolution: batch and channels change places, stride and dilation too. */
function weightGradient(node: GraphNode, em: Emitter): OutValue {
  const g = geometryOf(node);
  if (g.groups !== 1) em.fail('gradient of grouped weights');
  const swap = [1, 0, ...g.kernelSize.map((_, d) => d + 2)];
  const [y, x] = node.inputs.map((o) => em.transpose(em.read(o), swap));
  const reach = g.outputSize.map((n, d) => (n - 1) * g.stride[d] + 1);
  const behind = g.kernelSize.map((k, d) => (k - 1) * g.dilation[d] + reach[d] - g.inputSize[d] - g.padding[d]);
  // Behind a stride that does not divide the input, some of it is never read.
  const cut = behind.reduce((t, n, d) => (n < 0 ? em.slice(t, d + 2, 0, g.inputSize[d] + n) : t), x);
  const attributes = {
    kernel_shape: g.outputSize,
    strides: g.dilation,
    dilations: g.stride,
    pads: [...g.padding, ...behind.map((n) => Math.max(0, n))],
    group: 1,
  };
  const made = em.op('Conv', [cut.name, y.name], x.dtype, [x.shape[0], y.shape[0], ...g.kernelSize], attributes);
  return em.transpose(made, swap);
}

/** One spatial dimension of a pooling; adaptive ones split the input evenly. */
export interface PoolWindow {
  readonly size: number;
  readonly count: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly adaptive: boolean;
}
export const windowsOf = (node: GraphNode): readonly PoolWindow[] => node.attrs.windows as unknown as readonly PoolWindow[];

export function poolAttributes(windows: readonly PoolWindow[], dilated: boolean): OutAttributes {
  const of = (name: 'size' | 'count' | 'kernel' | 'stride' | 'padding' | 'dilation'): number[] => windows.map((w) => w[name]);
  const reach = windows.map((w) => (w.kernel - 1) * w.dilation + 1);
  const behind = padsBehind(of('size'), of('count'), reach, of('stride'), of('padding'));
  const dilations: OutAttributes = dilated && windows.some((w) => w.dilation !== 1) ? { dilations: of('dilation') } : {};
  return { kernel_shape: of('kernel'), strides: of('stride'), pads: [...of('padding'), ...behind], ...dilations };
}

const poolShape = (x: OutValue, windows: readonly PoolWindow[]): number[] => [
  ...x.shape.slice(0, x.shape.length - windows.length),
  ...windows.map((w) => w.count),
];

/** Uneven parts, dimension by dimension: each part is cut out and reduced. */
function adaptive(em: Emitter, x: OutValue, windows: readonly PoolWindow[], op: 'ReduceMax' | 'ReduceSum'): OutValue {
  return windows.reduce((current, w, d) => {
    const axis = current.shape.length - windows.length + d;
    if (w.count === w.size) return current;
    const parts = Array.from({ length: w.count }, (_, o) => {
      const start = Math.floor((o * w.size) / w.count);
      const count = Math.ceil(((o + 1) * w.size) / w.count) - start;
      return reduceOver(em, op, em.slice(current, axis, start, count), [axis], true);
    });
    return em.op(
      'Concat',
      parts.map((p) => p.name),
      x.dtype,
      current.shape.with(axis, w.count),
      { axis },
    );
  }, x);
}

function maxPool(node: GraphNode, em: Emitter): void {
  const windows = windowsOf(node);
  const x = em.read(node.inputs[0]);
  const [values, positions] = node.outputs;
  if (windows.some((w) => w.adaptive)) {
    em.define(values, adaptive(em, x, windows, 'ReduceMax'));
    return;
  }
  const shape = poolShape(x, windows);
  if (!em.isWanted(positions)) {
    em.define(values, em.op('MaxPool', [x.name], x.dtype, shape, poolAttributes(windows, true)));
    return;
  }
  const [y, flat] = em.ops(
    'MaxPool',
    [x.name],
    [
      { dtype: x.dtype, shape },
      { dtype: 'int64', shape },
    ],
    poolAttributes(windows, true),
  );
  em.define(values, y);
  // ONNX counts positions through the whole tensor, batch and channels included.
  const within = em.op('Mod', [flat.name, em.scalar(sizeOf(windows.map((w) => w.size)), 'int64')], 'int64', shape);
  em.define(positions, em.cast(within, 'int32'));
}

/** The mean over each window, missing elements counting as 0. */
export function windowMean(em: Emitter, x: OutValue, windows: readonly PoolWindow[], includePad: boolean): OutValue {
  const attributes = { ...poolAttributes(windows, false), ...(includePad ? { count_include_pad: 1 } : {}) };
  return em.op('AveragePool', [x.name], x.dtype, poolShape(x, windows), attributes);
}

function windowSum(node: GraphNode, em: Emitter): void {
  const windows = windowsOf(node);
  const x = em.read(node.inputs[0]);
  const [out] = node.outputs;
  if (windows.some((w) => w.adaptive)) em.define(out, adaptive(em, x, windows, 'ReduceSum'));
  else {
    if (windows.some((w) => w.dilation !== 1)) em.require(19, 'AveragePool with dilations');
    const mean = windowMean(em, x, windows, true);
    em.define(out, em.op('Mul', [mean.name, em.scalar(sizeOf(windows.map((w) => w.kernel)), x.dtype)], x.dtype, mean.shape));
  }
}

export const spatialMappers: Readonly<Record<string, Mapper>> = {
  conv: (node, em) => em.define(node.outputs[0], convolution(node, em, null)),
  convInputGrad: (node, em) => em.define(node.outputs[0], transposedConvolution(node, em, null)),
  convWeightGrad: (node, em) => em.define(node.outputs[0], weightGradient(node, em)),
  maxPool,
  maxPoolLarge: maxPool,
  windowSum,
  pad: (node, em) => {
    const [x, value] = node.inputs.map((o) => em.read(o));
    const [low, high] = [node.attrs.low as readonly number[], node.attrs.high as readonly number[]];
    const [out] = node.outputs;
    em.define(out, em.op('Pad', [x.name, em.ints(...low, ...high), value.name], x.dtype, out.shape));
  },
};
