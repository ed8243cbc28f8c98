/** Convolutions, pooling, normalization and resizing. */
import { activate, binaryOf, keeping, type Rule, type RuleTable, single } from './elementwise.js';
import type { TfNode } from './node.js';
import type { Placed, Translator } from './translator.js';

/** Spatial entries of an attribute that has one for every dimension. */
function spatialOf(node: TfNode, name: string, dimensions: number, fallback = 1): number[] {
  const all = node.ints(name, new Array<number>(dimensions + 2).fill(fallback));
  if (all.length !== dimensions + 2 || all.some((v) => !Number.isInteger(v) || v < 1 || v > 65536))
    node.fail(`${name} is [${all.join(', ')}]`);
  return isFirst(node) ? all.slice(2) : all.slice(1, -1);
}
const isFirst = (node: TfNode): boolean => node.text('data_format', 'NHWC').startsWith('NC');

/** The input with its channels at axis 1. */
function input(node: TfNode, t: Translator, rank: number): string {
  const x = t.input(node, 0);
  return isFirst(node) ? t.plain(x) : t.first(x, rank);
}
const output = (node: TfNode, t: Translator, name: string, rank: number): Placed =>
  isFirst(node) ? { name, moved: false } : t.moved(name, rank);

/** Padding as ONNX's attributes have it. */
function paddingOf(node: TfNode, dimensions: number): { readonly auto_pad?: string; readonly pads?: readonly number[] } {
  const padding = node.text('padding', 'VALID');
  if (padding === 'SAME') return { auto_pad: 'SAME_UPPER' };
  if (padding === 'VALID') return {};
  const explicit = node.ints('explicit_paddings', []);
  if (padding !== 'EXPLICIT' || explicit.length !== 2 * (dimensions + 2)) node.fail(`padding ${padding}`, 'SAME, VALID or EXPLICIT');
  const start = isFirst(node) ? 2 : 1;
  const pairs = Array.from({ length: dimensions }, (_, d) => explicit.slice(2 * (start + d), 2 * (start + d) + 2));
  return { pads: [...pairs.map(([low]) => low), ...pairs.map(([, high]) => high)] };
}

function kernelAxes(dimensions: number): number[] {
  return [dimensions + 1, dimensions, ...Array.from({ length: dimensions }, (_, i) => i)];
}

/** What is fused into a convolution or a product: bias, then an activation. */
export function fused(node: TfNode, value: Placed, t: Translator): Placed {
  let next = 2;
  let result = value;
  for (const op of node.texts('fused_ops')) {
    if (op === 'BiasAdd') result = binaryOf('Add', result, t.input(node, next++), t);
    else if (op === 'Prelu') result = activate(result, op, node, t, t.input(node, next++));
    else result = activate(result, op, node, t);
  }
  return result;
}

const conv =
  (dimensions: number, depthwise: boolean): Rule =>
  (node, t) => {
    const rank = dimensions + 2;
    const x = input(node, t, rank);
    const kernel = t.input(node, 1);
    const shape = t.constantOf(kernel)?.shape;
    if (depthwise && shape?.length !== rank) node.fail('the kernel is computed or malformed', 'a constant');
    const channels = shape?.[dimensions] ?? 1;
    const weight = t.arranged(
      kernel,
      kernelAxes(dimensions),
      depthwise ? (s) => [...s.slice(0, dimensions), 1, s[dimensions] * s[dimensions + 1]] : undefined,
    );
    const attributes = {
      strides: spatialOf(node, 'strides', dimensions),
      dilations: spatialOf(node, 'dilations', dimensions),
      group: depthwise ? channels : 1,
      ...paddingOf(node, dimensions),
    };
    return [fused(node, output(node, t, t.emit('Conv', [x, weight], attributes, node.name), rank), t)];
  };

const convTransposed: Rule = (node, t) => {
  const sizes = t.knownInts(t.input(node, 0));
  const gradient = t.input(node, 2);
  const x = isFirst(node) ? t.plain(gradient) : t.first(gradient, 4);
  const kernel = t.input(node, 1);
  const shape = t.constantOf(kernel)?.shape ?? node.fail('the kernel is computed', 'a constant');
  const weight = t.arranged(kernel, kernelAxes(2));
  const strides = spatialOf(node, 'strides', 2);
  const same = node.text('padding', 'VALID') === 'SAME';
  const spatial = sizes === undefined || sizes.length !== 4 ? undefined : isFirst(node) ? sizes.slice(2) : sizes.slice(1, 3);
  const attributes = {
    strides,
    dilations: spatialOf(node, 'dilations', 2),
    ...(spatial?.every((n) => n > 0)
      ? { output_shape: spatial, ...(same ? { auto_pad: 'SAME_UPPER' } : {}) }
      : same
        ? { auto_pad: 'SAME_UPPER' }
        : // Without a size, what VALID makes of strides wider than the kernel.
          { output_padding: strides.map((s, d) => Math.max(s - shape[d], 0)) }),
  };
  return [output(node, t, t.emit('ConvTranspose', [x, weight], attributes, node.name), 4)];
};

const pool =
  (opType: string, dimensions: number): Rule =>
  (node, t) => {
    const rank = dimensions + 2;
    const attributes = {
      kernel_shape: spatialOf(node, 'ksize', dimensions),
      strides: spatialOf(node, 'strides', dimensions),
      ...paddingOf(node, dimensions),
    };
    return [output(node, t, t.emit(opType, [input(node, t, rank)], attributes, node.name), rank)];
  };

const batchNorm: Rule = (node, t) => {
  const names = [1, 2, 3, 4].map((k) => t.plain(t.input(node, k)));
  const y = t.emit('BatchNormalization', [input(node, t, 4), ...names], { epsilon: { float: node.float('epsilon', 1e-4) } }, node.name);
  return [output(node, t, y, 4)];
};

const lrn: Rule = (node, t) => {
  const radius = node.int('depth_radius', 5);
  const size = 2 * radius + 1;
  if (radius < 0 || radius > 10_000) node.fail(`depth_radius is ${radius}`);
  const attributes = {
    size,
    alpha: { float: node.float('alpha', 1) * size },
    beta: { float: node.float('beta', 0.5) },
    bias: { float: node.float('bias', 1) },
  };
  return [t.moved(t.emit('LRN', [t.first(t.input(node, 0), 4)], attributes, node.name), 4)];
};

const resize =
  (mode: 'nearest' | 'linear'): Rule =>
  (node, t) => {
    const x = t.first(t.input(node, 0), 4);
    const shape = t.emit('Shape', [x], { end: 2 });
    const sizes = t.emit('Concat', [shape, t.asInt64(t.input(node, 1))], { axis: 0 });
    const [corners, centers] = [node.bool('align_corners'), node.bool('half_pixel_centers')];
    const attributes = {
      mode,
      coordinate_transformation_mode: corners
        ? 'align_corners'
        : centers
          ? mode === 'nearest'
            ? 'tf_half_pixel_for_nn'
            : 'half_pixel'
          : 'asymmetric',
      ...(mode === 'nearest' ? { nearest_mode: corners ? 'round_prefer_ceil' : 'floor' } : {}),
    };
    if (mode === 'nearest' && centers)
      return [
        t.moved(
          t.emit('Resize', [x, '', '', sizes], {
            ...attributes,
            coordinate_transformation_mode: 'half_pixel',
            nearest_mode: 'round_prefer_ceil',
          }),
          4,
        ),
      ];
    return [t.moved(t.emit('Resize', [x, '', '', sizes], attributes, node.name), 4)];
  };

const blocks =
  (opType: string): Rule =>
  (node, t) => {
    if (isFirst(node)) node.fail('channels first', 'NHWC');
    const x = t.first(t.input(node, 0), 4);
    return [t.moved(t.emit(opType, [x], { blocksize: node.int('block_size', 1) }, node.name), 4)];
  };

/** Pads, moves blocks of space to the batch, as dilated convolutions of old are written. */
const spaceToBatch: Rule = (node, t) => {
  const [block, paddings] = [t.needInts(node, 1), t.needInts(node, 2)];
  if (block.length !== 2 || paddings.length !== 4) node.fail('blocks of other than two dimensions', 'two');
  const pads = t.ints([0, 0, paddings[0], paddings[2], 0, 0, paddings[1], paddings[3]]);
  const padded = t.emit('Pad', [t.first(t.input(node, 0), 4), pads]);
  const [h, w] = block;
  const shape = t.emit('Shape', [padded]);
  const dims = t.emitMany('Split', [shape], { axis: 0, num_outputs: 4 }, 4);
  const [height, width] = [t.emit('Div', [dims[2], t.ints([h])]), t.emit('Div', [dims[3], t.ints([w])])];
  const six = t.emit('Concat', [dims[0], dims[1], height, t.ints([h]), width, t.ints([w])], { axis: 0 });
  const turned = t.emit('Transpose', [t.emit('Reshape', [padded, six])], { perm: [3, 5, 0, 1, 2, 4] });
  const batch = t.emit('Mul', [dims[0], t.ints([h * w])]);
  return [t.moved(t.emit('Reshape', [turned, t.emit('Concat', [batch, dims[1], height, width], { axis: 0 })]), 4)];
};
const batchToSpace: Rule = (node, t) => {
  const [block, crops] = [t.needInts(node, 1), t.needInts(node, 2)];
  if (block.length !== 2 || crops.length !== 4) node.fail('blocks of other than two dimensions', 'two');
  const x = t.first(t.input(node, 0), 4);
  const [h, w] = block;
  const dims = t.emitMany('Split', [t.emit('Shape', [x])], { axis: 0, num_outputs: 4 }, 4);
  const batch = t.emit('Div', [dims[0], t.ints([h * w])]);
  const six = t.emit('Concat', [t.ints([h, w]), batch, dims[1], dims[2], dims[3]], { axis: 0 });
  const turned = t.emit('Transpose', [t.emit('Reshape', [x, six])], { perm: [2, 3, 4, 0, 5, 1] });
  const size = [t.emit('Mul', [dims[2], t.ints([h])]), t.emit('Mul', [dims[3], t.ints([w])])];
  const wide = t.emit('Reshape', [turned, t.emit('Concat', [batch, dims[1], ...size], { axis: 0 })]);
  const pads = t.ints([0, 0, -crops[0], -crops[2], 0, 0, -crops[1], -crops[3]]);
  return [t.moved(t.emit('Pad', [wide, pads]), 4)];
};

const matMul: Rule = (node, t) => {
  const turn = (k: number, names: readonly string[]): string => {
    const value = t.input(node, k);
    const turned = names.some((name) => node.bool(name));
    if (!turned) return t.plain(value);
    const rank = t.constantOf(value)?.shape.length ?? (node.op.startsWith('Batch') ? 3 : 2);
    const axes = [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];
    return value.moved ? t.emit('Transpose', [t.plain(value)], { perm: axes }) : t.arranged(value, axes);
  };
  const name = t.emit('MatMul', [turn(0, ['transpose_a', 'adj_x']), turn(1, ['transpose_b', 'adj_y'])], {}, node.name);
  return [fused(node, { name, moved: false }, t)];
};
const batchMatMul: Rule = (node, t) => {
  if (!node.bool('adj_x') && !node.bool('adj_y'))
    return single(t.emit('MatMul', [t.plain(t.input(node, 0)), t.plain(t.input(node, 1))], {}, node.name));
  // The rank may not be known: einsum counts dimensions from the end.
  const [a, b] = [node.bool('adj_x') ? '...ji' : '...ij', node.bool('adj_y') ? '...kj' : '...jk'];
  return single(t.emit('Einsum', [t.plain(t.input(node, 0)), t.plain(t.input(node, 1))], { equation: `${a},${b}->...ik` }, node.name));
};

const softmax =
  (opType: string): Rule =>
  (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit(opType, [x.name], { axis: x.moved ? 1 : -1 }, node.name), t);
  };

export const spatialRules = {
  Conv1D: conv(1, false),
  Conv2D: conv(2, false),
  _FusedConv2D: conv(2, false),
  FusedConv2D: conv(2, false),
  Conv3D: conv(3, false),
  DepthwiseConv2dNative: conv(2, true),
  DepthwiseConv2d: conv(2, true),
  FusedDepthwiseConv2dNative: conv(2, true),
  Conv2DBackpropInput: convTransposed,
  Conv2dTranspose: convTransposed,
  MaxPool: pool('MaxPool', 2),
  AvgPool: pool('AveragePool', 2),
  MaxPool3D: pool('MaxPool', 3),
  AvgPool3D: pool('AveragePool', 3),
  FusedBatchNorm: batchNorm,
  FusedBatchNormV2: batchNorm,
  FusedBatchNormV3: batchNorm,
  LRN: lrn,
  ResizeBilinear: resize('linear'),
  ResizeNearestNeighbor: resize('nearest'),
  DepthToSpace: blocks('DepthToSpace'),
  SpaceToDepth: blocks('SpaceToDepth'),
  SpaceToBatchND: spaceToBatch,
  BatchToSpaceND: batchToSpace,
  MatMul: matMul,
  _FusedMatMul: matMul,
  BatchMatMul: batchMatMul,
  BatchMatMulV2: batchMatMul,
  Einsum: (node, t) =>
    single(
      t.emit(
        'Einsum',
        node.inputs.map((_, k) => t.plain(t.input(node, k))),
        { equation: node.text('equation', '') },
        node.name,
      ),
    ),
  Softmax: softmax('Softmax'),
  LogSoftmax: softmax('LogSoftmax'),
} satisfies RuleTable;
