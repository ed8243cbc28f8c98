// Writes small TensorFlow.js graph models with inputs and what TensorFlow.js makes of them to packages/onnx/test/reference/tfjs-graphs.json.
//   node tools/reference/tfjs/graphs.mjs <folder with node_modules/@tensorflow/tfjs>
import { Buffer } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';

const require = createRequire(join(process.argv[2], 'x.cjs'));
const tf = require('@tensorflow/tfjs');
await tf.setBackend('cpu');

let state = 7;
const numbers = (n) =>
  Array.from({ length: n }, () => {
    state = (state * 48271) % 2147483647;
    return Math.round((state / 2147483647 - 0.5) * 2000) / 1000;
  });
const size = (shape) => shape.reduce((a, b) => a * b, 1);
const base64 = (text) => Buffer.from(text).toString('base64');
const int = (i) => ({ i: String(i) });
const ints = (...i) => ({ list: { i: i.map(String) } });
const text = (s) => ({ s: base64(s) });
const texts = (...s) => ({ list: { s: s.map(base64) } });
const type = (name) => ({ type: name });
const bool = (b) => ({ b });
const float = (f) => ({ f });
const T = { T: type('DT_FLOAT') };
const cases = [];

/**
 * A graph of nodes [name, op, inputs, attributes]. Inputs of the graph are in `inputs` by name: shape, or { shape, values, dtype }; constants in `constants`:
 * { shape, values (else made up), dtype }.
 */
async function add(name, { inputs, constants = {}, nodes, outputs }) {
  const dtypes = { float32: 'DT_FLOAT', int32: 'DT_INT32', bool: 'DT_BOOL' };
  const full = (entry) => {
    const { shape, values, dtype = 'float32' } = Array.isArray(entry) ? { shape: entry } : entry;
    return { shape, values: values ?? numbers(size(shape)), dtype };
  };
  const given = Object.fromEntries(Object.entries(inputs).map(([key, entry]) => [key, full(entry)]));
  const weights = Object.entries(constants).map(([key, entry]) => ({ name: key, ...full(entry) }));
  const topology = {
    node: [
      ...Object.entries(given).map(([key, { shape, dtype }]) => ({
        name: key,
        op: 'Placeholder',
        attr: { dtype: type(dtypes[dtype]), shape: { shape: { dim: shape.map((n, i) => ({ size: i === 0 ? '-1' : String(n) })) } } },
      })),
      ...weights.map(({ name: key, dtype, shape }) => ({
        name: key,
        op: 'Const',
        attr: { dtype: type(dtypes[dtype]), shape: { shape: { dim: shape.map((n) => ({ size: String(n) })) } } },
      })),
      ...nodes.map(([key, op, input, attr = {}]) => ({ name: key, op, input, attr: { ...T, ...attr } })),
    ],
    versions: { producer: 440 },
  };
  const bytes = Buffer.concat(
    weights.map(({ dtype, values }) =>
      Buffer.from((dtype === 'float32' ? Float32Array : dtype === 'int32' ? Int32Array : Uint8Array).from(values).buffer),
    ),
  );
  const specs = weights.map(({ name: key, shape, dtype }) => ({ name: key, shape, dtype }));
  const model = await tf.loadGraphModel({
    load: async () => ({
      modelTopology: topology,
      weightSpecs: specs,
      weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
      format: 'graph-model',
    }),
  });
  const tensors = Object.fromEntries(
    Object.entries(given).map(([key, { shape, values, dtype }]) => [key, tf.tensor(values, shape, dtype)]),
  );
  const wanted = outputs ?? [nodes.at(-1)[0]];
  const results = [await model.executeAsync(tensors, wanted)].flat();
  cases.push({
    name,
    model: {
      format: 'graph-model',
      modelTopology: topology,
      weightsManifest: [{ paths: ['weights.bin'], weights: specs }],
      signature: { outputs: Object.fromEntries(wanted.map((key) => [key, { name: `${key}:0` }])) },
    },
    weights: bytes.toString('base64'),
    inputs: given,
    outputs: Object.fromEntries(
      results.map((t, i) => [wanted[i], { shape: t.shape, data: Array.from(t.dataSync(), Number), dtype: t.dtype }]),
    ),
  });
}
const i32 = (...values) => ({ shape: [values.length], values, dtype: 'int32' });
const scalar = (value, dtype = 'int32') => ({ shape: [], values: [value], dtype });
const conv = (padding, strides = 1, dilation = 1) => ({
  strides: ints(1, strides, strides, 1),
  padding: text(padding),
  data_format: text('NHWC'),
  dilations: ints(1, dilation, dilation, 1),
});

await add('convolutions in a chain', {
  inputs: { x: [1, 7, 6, 3] },
  constants: {
    k1: [3, 3, 3, 4],
    b1: [4],
    k2: [3, 3, 4, 2],
    b2: [8],
    scale: [8],
    k3: [1, 1, 8, 3],
    b3: [3],
    alpha: [3],
    axes: i32(1, 2),
    k4: [2, 2, 3, 3],
  },
  nodes: [
    ['c1', '_FusedConv2D', ['x', 'k1', 'b1'], { ...conv('SAME', 2), fused_ops: texts('BiasAdd', 'Relu6'), num_args: int(1) }],
    ['c2', 'FusedDepthwiseConv2dNative', ['c1', 'k2', 'b2'], { ...conv('SAME'), fused_ops: texts('BiasAdd', 'Relu'), num_args: int(1) }],
    ['m', 'Mul', ['c2', 'scale']],
    ['c3', '_FusedConv2D', ['m', 'k3', 'b3', 'alpha'], { ...conv('VALID'), fused_ops: texts('BiasAdd', 'Prelu'), num_args: int(2) }],
    ['s', 'Sigmoid', ['c3']],
    ['a', 'AddV2', ['s', 'c3']],
    ['p', 'MaxPool', ['a'], { ksize: ints(1, 2, 2, 1), ...conv('SAME', 1) }],
    ['c4', 'Conv2D', ['p', 'k4'], conv('SAME', 1, 2)],
    ['g', 'Mean', ['c4', 'axes'], { keep_dims: bool(true) }],
    ['q', 'Squeeze', ['g'], { squeeze_dims: ints(1, 2) }],
    ['y', 'Softmax', ['q']],
  ],
  outputs: ['y', 'c4', 'p'],
});
await add('normalization and pooling', {
  inputs: { x: [2, 4, 5, 3] },
  constants: {
    scale: [3],
    offset: [3],
    mean: [3],
    variance: { shape: [3], values: [0.5, 1, 2] },
    pads: { shape: [4, 2], values: [0, 0, 1, 0, 0, 2, 0, 0], dtype: 'int32' },
  },
  nodes: [
    ['n', 'FusedBatchNormV3', ['x', 'scale', 'offset', 'mean', 'variance'], { epsilon: float(0.001), is_training: bool(false) }],
    ['d', 'Pad', ['n', 'pads']],
    ['y', 'AvgPool', ['d'], { ksize: ints(1, 3, 2, 1), strides: ints(1, 2, 2, 1), padding: text('SAME') }],
    ['l', 'LRN', ['n'], { depth_radius: int(1), bias: float(1), alpha: float(0.5), beta: float(0.75) }],
  ],
  outputs: ['y', 'l'],
});
for (const [padding, out] of [
  ['SAME', [1, 6, 8, 2]],
  ['VALID', [1, 7, 9, 2]],
  ['SAME', [1, 5, 7, 2]],
])
  await add(`transposed convolution ${padding} ${out}`, {
    inputs: { x: [1, 3, 4, 3] },
    constants: { size: i32(...out), k: [3, 3, 2, 3] },
    nodes: [['y', 'Conv2DBackpropInput', ['size', 'k', 'x'], conv(padding, 2)]],
  });
await add('resizing', {
  inputs: { x: [1, 2, 3, 2] },
  constants: { size: i32(5, 4) },
  nodes: [
    ['a', 'ResizeBilinear', ['x', 'size'], { align_corners: bool(true) }],
    ['b', 'ResizeBilinear', ['x', 'size'], { half_pixel_centers: bool(true) }],
    ['c', 'ResizeNearestNeighbor', ['x', 'size'], {}],
    ['d', 'ResizeBilinear', ['x', 'size'], {}],
    ['e', 'ResizeNearestNeighbor', ['x', 'size'], { half_pixel_centers: bool(true) }],
  ],
  outputs: ['a', 'b', 'c', 'd', 'e'],
});
await add('elements', {
  inputs: { x: [2, 3], y: { shape: [2, 3], values: [0.5, -0.25, 2, -1.5, 0.75, 1] } },
  constants: { low: scalar(-0.5, 'float32'), high: scalar(0.5, 'float32') },
  nodes: [
    ['sub', 'Sub', ['x', 'y']],
    ['div', 'RealDiv', ['sub', 'y']],
    ['mod', 'FloorMod', ['x', 'y']],
    ['sq', 'SquaredDifference', ['x', 'y']],
    ['max', 'Maximum', ['x', 'y']],
    ['clip', 'ClipByValue', ['x', 'low', 'high']],
    ['abs', 'Abs', ['x']],
    ['rsqrt', 'Rsqrt', ['abs']],
    ['pow', 'Pow', ['abs', 'y']],
    ['l1p', 'Log1p', ['abs']],
    ['em1', 'Expm1', ['x']],
    ['greater', 'Greater', ['x', 'y']],
    ['ne', 'NotEqual', ['x', 'y']],
    ['both', 'LogicalAnd', ['greater', 'ne']],
    ['sel', 'SelectV2', ['both', 'x', 'y']],
    ['cast', 'Cast', ['greater'], { SrcT: type('DT_BOOL'), DstT: type('DT_FLOAT') }],
    ['elu', 'Elu', ['x']],
    ['selu', 'Selu', ['x']],
    ['leaky', 'LeakyRelu', ['x'], { alpha: float(0.3) }],
    ['erf', 'Erf', ['x']],
    ['softplus', 'Softplus', ['x']],
    ['floor', 'Floor', ['div']],
    ['round', 'Round', ['div']],
    ['sum', 'AddN', ['x', 'y', 'sub'], { N: int(3) }],
  ],
  outputs: [
    'div',
    'mod',
    'sq',
    'max',
    'clip',
    'rsqrt',
    'pow',
    'l1p',
    'em1',
    'sel',
    'cast',
    'elu',
    'selu',
    'leaky',
    'erf',
    'softplus',
    'floor',
    'round',
    'sum',
  ],
});
await add('whole numbers', {
  inputs: { x: { shape: [5], values: [-7, -3, 0, 5, 8], dtype: 'int32' } },
  constants: { three: scalar(3) },
  nodes: [
    ['d', 'FloorDiv', ['x', 'three'], { T: type('DT_INT32') }],
    ['m', 'FloorMod', ['x', 'three'], { T: type('DT_INT32') }],
    ['f', 'Cast', ['d'], { SrcT: type('DT_INT32'), DstT: type('DT_FLOAT') }],
  ],
  outputs: ['d', 'm', 'f'],
});
await add('products', {
  inputs: { x: [2, 3], b: [2, 2, 3] },
  constants: { w: [4, 3], bias: [4], c: [2, 4, 3] },
  nodes: [
    [
      'm',
      '_FusedMatMul',
      ['x', 'w', 'bias'],
      { transpose_a: bool(false), transpose_b: bool(true), fused_ops: texts('BiasAdd', 'Relu'), num_args: int(1) },
    ],
    ['n', 'BatchMatMulV2', ['b', 'c'], { adj_x: bool(false), adj_y: bool(true) }],
    ['o', 'LogSoftmax', ['m']],
  ],
  outputs: ['m', 'n', 'o'],
});
await add('reductions', {
  inputs: { x: [2, 3, 4] },
  constants: { axes: i32(-1), two: i32(0, 2), axis: scalar(1) },
  nodes: [
    ['a', 'Sum', ['x', 'axes'], { keep_dims: bool(true) }],
    ['b', 'Max', ['x', 'two']],
    ['c', 'Min', ['x', 'axes']],
    ['d', 'Prod', ['x', 'axes']],
    ['e', 'ArgMax', ['x', 'axis']],
    ['g', 'Greater', ['x', 'a']],
    ['h', 'Any', ['g', 'axes']],
    ['i', 'All', ['g', 'axes']],
    ['k', 'Cumsum', ['x', 'axis'], { exclusive: bool(true), reverse: bool(true) }],
  ],
  outputs: ['a', 'b', 'c', 'd', 'e', 'h', 'i', 'k'],
});
const slice = (begin, end, ellipsis, fresh, shrink) => ({
  begin_mask: int(begin),
  end_mask: int(end),
  ellipsis_mask: int(ellipsis),
  new_axis_mask: int(fresh),
  shrink_axis_mask: int(shrink),
});
await add('parts', {
  inputs: { x: [4, 3, 2] },
  constants: {
    b: i32(1, 0, 0),
    s: i32(2, -1, 1),
    b2: i32(-1, 0),
    e2: i32(0, 2),
    s2: i32(1, 1),
    b3: i32(0, 1),
    e3: i32(0, 2),
    s3: i32(1, 1),
    b4: i32(3, 0),
    e4: i32(0, 3),
    s4: i32(-2, 2),
    index: i32(2, 0),
    zero: scalar(0),
    one: scalar(1),
    nd: { shape: [2, 2], values: [0, 1, 3, 2], dtype: 'int32' },
    sizes: i32(1, 2),
  },
  nodes: [
    ['a', 'Slice', ['x', 'b', 's']],
    ['c', 'StridedSlice', ['x', 'b2', 'e2', 's2'], slice(0, 0, 0, 0, 1)],
    ['d', 'StridedSlice', ['x', 'b3', 'e3', 's3'], slice(0, 0, 1, 0, 2)],
    ['e', 'StridedSlice', ['x', 'b3', 'e3', 's3'], slice(0, 0, 0, 1, 0)],
    ['f', 'StridedSlice', ['x', 'b4', 'e4', 's4'], slice(0, 0, 0, 0, 0)],
    ['h', 'GatherV2', ['x', 'index', 'one']],
    ['i', 'GatherNd', ['x', 'nd']],
    ['k', 'Split', ['zero', 'x'], { num_split: int(2) }],
    ['l', 'AddV2', ['k', 'k:1']],
    ['m', 'SplitV', ['x', 'sizes', 'one'], { num_split: int(2) }],
    ['n', 'Identity', ['m:1']],
    ['o', 'Unpack', ['x'], { axis: int(1), num: int(3) }],
    ['p', 'Sub', ['o:2', 'o']],
    ['q', 'ReverseV2', ['x', 'index']],
  ],
  outputs: ['a', 'c', 'd', 'e', 'f', 'h', 'i', 'l', 'n', 'p', 'q'],
});
await add('shapes', {
  inputs: { x: [2, 3, 4] },
  constants: {
    b: i32(0),
    e: i32(1),
    s: i32(1),
    minus: scalar(-1),
    perm: i32(2, 0, 1),
    one: scalar(1),
    times: i32(1, 2, 1),
    depth: scalar(4),
    on: scalar(1, 'float32'),
    off: scalar(0, 'float32'),
    ids: i32(1, 3),
    three: scalar(3),
    pads: { shape: [3, 2], values: [0, 1, 1, 0, 2, 0], dtype: 'int32' },
    fillTo: i32(2, 2),
    half: scalar(0.5, 'float32'),
  },
  nodes: [
    ['shape', 'Shape', ['x'], { out_type: type('DT_INT32') }],
    ['first', 'StridedSlice', ['shape', 'b', 'e', 's'], { ...slice(0, 0, 0, 0, 1), T: type('DT_INT32') }],
    ['target', 'Pack', ['first', 'minus'], { N: int(2), axis: int(0), T: type('DT_INT32') }],
    ['flat', 'Reshape', ['x', 'target']],
    ['turned', 'Transpose', ['x', 'perm']],
    ['wide', 'ExpandDims', ['x', 'one']],
    ['tiled', 'Tile', ['x', 'times']],
    ['joined', 'ConcatV2', ['x', 'tiled', 'one'], { N: int(2) }],
    ['hot', 'OneHot', ['ids', 'depth', 'on', 'off'], { axis: int(-1) }],
    ['padded', 'PadV2', ['x', 'pads', 'half']],
    ['mirrored', 'MirrorPad', ['x', 'pads'], { mode: text('REFLECT') }],
    ['filled', 'Fill', ['fillTo', 'half']],
    ['zeros', 'ZerosLike', ['x']],
    ['top', 'TopKV2', ['x', 'three'], { sorted: bool(true) }],
    ['indices', 'Identity', ['top:1'], { T: type('DT_INT32') }],
  ],
  outputs: ['shape', 'flat', 'turned', 'wide', 'joined', 'hot', 'padded', 'mirrored', 'filled', 'zeros', 'top', 'indices'],
});
await add('blocks of space', {
  inputs: { x: [1, 4, 4, 4] },
  constants: {
    block: i32(2, 2),
    pads: { shape: [2, 2], values: [1, 1, 2, 0], dtype: 'int32' },
    crops: { shape: [2, 2], values: [1, 1, 2, 0], dtype: 'int32' },
  },
  nodes: [
    ['d', 'DepthToSpace', ['x'], { block_size: int(2), data_format: text('NHWC') }],
    ['s', 'SpaceToBatchND', ['x', 'block', 'pads']],
    ['b', 'BatchToSpaceND', ['s', 'block', 'crops']],
  ],
  outputs: ['d', 's', 'b'],
});
await add('suppression', {
  inputs: {
    boxes: { shape: [4, 4], values: [0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 2, 1, 3, 0, 2.05, 1, 3.05] },
    scores: { shape: [4], values: [0.9, 0.8, 0.3, 0.7] },
  },
  constants: { limit: scalar(3), iou: scalar(0.5, 'float32'), least: scalar(0.1, 'float32') },
  nodes: [['y', 'NonMaxSuppressionV3', ['boxes', 'scores', 'limit', 'iou', 'least'], { T_threshold: type('DT_FLOAT') }]],
});
const out = JSON.stringify({ family: 'tfjs-graphs', reference: `TensorFlow.js ${tf.version.tfjs}`, cases }).replaceAll(
  '{"name":"',
  '\n{"name":"',
);
writeFileSync(new URL('../../../packages/onnx/test/reference/tfjs-graphs.json', import.meta.url), `${out}\n`);
console.log(`${cases.length} cases, ${(out.length / 1024).toFixed(0)} KiB`);
