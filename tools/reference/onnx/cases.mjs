// What is exported for checks: single layers, functions, and the networks of the examples.
import * as tr from 'trireme';
import { examples } from './example-networks.mjs';

const { nn } = tr;

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {() => any} target
 * @property {() => any[]} inputs
 * @property {(() => any[])[]} [others] inputs of other sizes
 * @property {any} [options]
 */

const batch = { dynamicBatch: true };
/** @param {readonly (readonly number[])[]} shapes */
const random =
  (...shapes) =>
  () =>
    shapes.map((shape) => tr.randn([...shape]));
/** @param {number} limit @param {readonly number[]} shape @param {'int64' | 'int32'} dtype */
const numbers = (limit, shape, dtype = 'int64') => tr.randint(0, limit, [...shape], { dtype });

/** A case of one float input, checked at another batch size too. @param {string} name @param {() => any} target @param {number[]} shape @returns {Case} */
function layer(name, target, shape, options = {}) {
  return {
    name,
    target,
    inputs: random(shape),
    others: [random([shape[0] + 3, ...shape.slice(1)])],
    options: { ...batch, ...options },
  };
}
/** The same without batch. @param {string} name @param {(...x: any[]) => any} fn @param {readonly (readonly number[])[]} shapes @returns {Case} */
function fixed(name, fn, ...shapes) {
  return { name, target: () => fn, inputs: random(...shapes) };
}

/** @returns {Case[]} */
function layers() {
  const net = (/** @type {any[]} */ ...list) => new nn.Sequential(...list);
  return [
    layer('Linear', () => new nn.Linear(5, 7), [2, 5]),
    layer('Linear-3d', () => new nn.Linear(5, 7), [2, 3, 5]),
    layer('Linear-no-bias', () => new nn.Linear(5, 7, { bias: false }), [2, 5]),
    layer('Bilinear', () => {
      const m = new nn.Bilinear(3, 3, 4);
      return (/** @type {tr.Tensor} */ x) => m.call(x, x);
    }, [2, 3]),
    layer('Conv1d', () => new nn.Conv1d(3, 4, 3, { padding: 1, stride: 2 }), [2, 3, 11]),
    layer('Conv2d', () => new nn.Conv2d(3, 4, 3, { padding: 1 }), [2, 3, 8, 9]),
    layer('Conv2d-stride-dilation', () => new nn.Conv2d(3, 4, 3, { padding: 2, stride: 2, dilation: 2 }), [2, 3, 10, 11]),
    layer('Conv2d-groups', () => new nn.Conv2d(4, 8, 3, { groups: 2 }), [2, 4, 8, 8]),
    layer('Conv2d-depthwise', () => new nn.Conv2d(4, 4, 3, { groups: 4, padding: 1, bias: false }), [2, 4, 8, 8]),
    layer('Conv2d-same', () => new nn.Conv2d(3, 4, 4, { padding: 'same' }), [2, 3, 8, 8]),
    layer('Conv2d-reflect', () => new nn.Conv2d(3, 4, 3, { padding: 1, paddingMode: 'reflect' }), [2, 3, 8, 8]),
    layer('Conv3d', () => new nn.Conv3d(2, 3, 2), [2, 2, 4, 5, 6]),
    layer('ConvTranspose1d', () => new nn.ConvTranspose1d(3, 4, 4, { stride: 2, padding: 1 }), [2, 3, 7]),
    layer('ConvTranspose2d', () => new nn.ConvTranspose2d(3, 4, 3, { stride: 2, padding: 1, outputPadding: 1 }), [2, 3, 6, 6]),
    layer('ConvTranspose2d-groups', () => new nn.ConvTranspose2d(4, 6, 3, { groups: 2, dilation: 2 }), [2, 4, 6, 6]),
    layer('ConvTranspose3d', () => new nn.ConvTranspose3d(2, 3, 2, { stride: 2 }), [2, 2, 3, 3, 3]),
    layer('BatchNorm1d', () => trained(new nn.BatchNorm1d(5), [4, 5]), [2, 5]),
    layer('BatchNorm2d', () => trained(new nn.BatchNorm2d(3), [4, 3, 5, 5]), [2, 3, 5, 5]),
    layer('BatchNorm2d-plain', () => trained(new nn.BatchNorm2d(3, { affine: false }), [4, 3, 5, 5]), [2, 3, 5, 5]),
    layer('BatchNorm3d', () => trained(new nn.BatchNorm3d(3), [4, 3, 2, 2, 2]), [2, 3, 2, 2, 2]),
    layer('LayerNorm', () => new nn.LayerNorm(6), [2, 4, 6]),
    layer('LayerNorm-two-axes', () => new nn.LayerNorm([4, 6]), [2, 4, 6]),
    layer('LayerNorm-no-bias', () => new nn.LayerNorm(6, { bias: false }), [2, 4, 6]),
    layer('LayerNorm-plain', () => new nn.LayerNorm(6, { elementwiseAffine: false }), [2, 4, 6]),
    layer('LayerNorm-opset13', () => new nn.LayerNorm(6), [2, 4, 6], { opset: 13 }),
    layer('RMSNorm', () => new nn.RMSNorm(6), [2, 4, 6]),
    layer('RMSNorm-opset23', () => new nn.RMSNorm(6), [2, 4, 6], { opset: 23 }),
    layer('GroupNorm', () => new nn.GroupNorm(2, 6), [2, 6, 4, 4]),
    layer('GroupNorm-opset17', () => new nn.GroupNorm(2, 6), [2, 6, 4, 4], { opset: 17 }),
    layer('InstanceNorm2d', () => new nn.InstanceNorm2d(3, { affine: true }), [2, 3, 5, 5]),
    layer('LocalResponseNorm', () => new nn.LocalResponseNorm(3), [2, 6, 4, 4]),
    layer('MaxPool1d', () => new nn.MaxPool1d(2), [2, 3, 9]),
    layer('MaxPool2d', () => new nn.MaxPool2d(3, { stride: 2, padding: 1 }), [2, 3, 9, 10]),
    layer('MaxPool2d-ceil', () => new nn.MaxPool2d(3, { stride: 2, ceilMode: true }), [2, 3, 8, 10]),
    layer('MaxPool2d-large', () => new nn.MaxPool2d(9, { stride: 1 }), [2, 3, 12, 12]),
    layer('MaxPool3d', () => new nn.MaxPool3d(2), [2, 3, 4, 4, 6]),
    layer('MaxPool2d-indices', () => (/** @type {tr.Tensor} */ x) => tr.maxPool2d(x, 2, { returnIndices: true }), [2, 3, 6, 8]),
    layer('AvgPool1d', () => new nn.AvgPool1d(3, { padding: 1 }), [2, 3, 9]),
    layer('AvgPool2d', () => new nn.AvgPool2d(2), [2, 3, 8, 8]),
    layer('AvgPool2d-padded', () => new nn.AvgPool2d(3, { stride: 2, padding: 1 }), [2, 3, 8, 8]),
    layer('AvgPool2d-exclude-pad', () => new nn.AvgPool2d(3, { stride: 2, padding: 1, countIncludePad: false }), [2, 3, 8, 8]),
    layer('AvgPool2d-ceil', () => new nn.AvgPool2d(3, { stride: 2, ceilMode: true }), [2, 3, 8, 8]),
    layer('AvgPool2d-large', () => new nn.AvgPool2d(10, { stride: 1 }), [2, 3, 12, 12]),
    layer('AvgPool2d-divisor', () => new nn.AvgPool2d(2, { divisorOverride: 3 }), [2, 3, 8, 8]),
    layer('LPPool2d', () => new nn.LPPool2d(2, 2), [2, 3, 8, 8]),
    layer('AdaptiveAvgPool2d-1', () => new nn.AdaptiveAvgPool2d(1), [2, 3, 7, 7]),
    layer('AdaptiveAvgPool2d-even', () => new nn.AdaptiveAvgPool2d(2), [2, 3, 8, 8]),
    layer('AdaptiveAvgPool2d-uneven', () => new nn.AdaptiveAvgPool2d(3), [2, 3, 7, 8]),
    layer('AdaptiveMaxPool2d', () => new nn.AdaptiveMaxPool2d(1), [2, 3, 7, 7]),
    layer('AdaptiveMaxPool2d-uneven', () => new nn.AdaptiveMaxPool2d(3), [2, 3, 7, 8]),
    layer(
      'MaxUnpool2d',
      () => (/** @type {tr.Tensor} */ x) => {
        const { values, indices } = tr.maxPool2d(x, 2, { returnIndices: true });
        return tr.maxUnpool2d(values, indices, 2);
      },
      [2, 3, 6, 6],
    ),
    layer('Unfold', () => new nn.Unfold(3, { padding: 1 }), [2, 3, 6, 6]),
    layer('PixelShuffle', () => new nn.PixelShuffle(2), [2, 8, 3, 4]),
    layer('PixelUnshuffle', () => new nn.PixelUnshuffle(2), [2, 2, 6, 4]),
    layer('ChannelShuffle', () => new nn.ChannelShuffle(2), [2, 6, 3, 4]),
    layer('Upsample-nearest', () => new nn.Upsample({ scaleFactor: 2 }), [2, 3, 4, 5]),
    layer('Upsample-nearest-size', () => new nn.Upsample({ size: [7, 9] }), [2, 3, 4, 5]),
    layer('Upsample-exact', () => new nn.Upsample({ size: [7, 9], mode: 'nearest-exact' }), [2, 3, 4, 5]),
    layer('Upsample-linear', () => new nn.Upsample({ scaleFactor: 2, mode: 'linear' }), [2, 3, 5]),
    layer('Upsample-bilinear', () => new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }), [2, 3, 4, 5]),
    layer('Upsample-bilinear-corners', () => new nn.Upsample({ scaleFactor: 2, mode: 'bilinear', alignCorners: true }), [2, 3, 4, 5]),
    layer('Upsample-bicubic', () => new nn.Upsample({ scaleFactor: 2, mode: 'bicubic' }), [2, 3, 4, 5]),
    layer('Upsample-trilinear', () => new nn.Upsample({ scaleFactor: 2, mode: 'trilinear' }), [2, 3, 4, 3, 2]),
    layer('ZeroPad2d', () => new nn.ZeroPad2d([1, 2, 3, 0]), [2, 3, 4, 4]),
    layer('ConstantPad1d', () => new nn.ConstantPad1d(2, 1.5), [2, 3, 4]),
    layer('ReflectionPad2d', () => new nn.ReflectionPad2d(2), [2, 3, 5, 6]),
    layer('ReplicationPad2d', () => new nn.ReplicationPad2d(2), [2, 3, 5, 6]),
    layer('CircularPad2d', () => new nn.CircularPad2d(2), [2, 3, 5, 6]),
    ...[
      'ReLU',
      'ReLU6',
      'LeakyReLU',
      'GELU',
      'SiLU',
      'Mish',
      'ELU',
      'CELU',
      'SELU',
      'GLU',
      'Softplus',
      'Softsign',
      'Softshrink',
      'Hardshrink',
      'Tanhshrink',
      'Sigmoid',
      'LogSigmoid',
      'Tanh',
      'Hardtanh',
      'Hardswish',
      'Hardsigmoid',
      'Softmax',
      'Softmin',
      'LogSoftmax',
    ].map((name) => layer(name, () => new /** @type {any} */ (nn)[name](), [2, 3, 6])),
    layer('GELU-tanh', () => new nn.GELU({ approximate: 'tanh' }), [2, 3, 6]),
    layer('GELU-opset17', () => new nn.GELU(), [2, 3, 6], { opset: 17 }),
    layer('Mish-opset13', () => new nn.Mish(), [2, 3, 6], { opset: 13 }),
    layer('Hardswish-opset13', () => new nn.Hardswish(), [2, 3, 6], { opset: 13 }),
    layer('CELU-2', () => new nn.CELU(2), [2, 3, 6]),
    layer('ELU-half', () => new nn.ELU(0.5), [2, 3, 6]),
    layer('Softplus-beta', () => new nn.Softplus({ beta: 2 }), [2, 3, 6]),
    layer('PReLU', () => new nn.PReLU(3), [2, 3, 6]),
    layer('PReLU-one', () => new nn.PReLU(), [2, 3, 6]),
    layer('Threshold', () => new nn.Threshold(0.1, -2), [2, 3, 6]),
    layer('Softmax2d', () => new nn.Softmax2d(), [2, 3, 4, 4]),
    layer('Flatten', () => net(new nn.Flatten(), new nn.Unflatten(1, [6, 2])), [2, 3, 4]),
    { name: 'CosineSimilarity', target: () => new nn.CosineSimilarity(), inputs: random([2, 5], [2, 5]), options: batch },
    { name: 'PairwiseDistance', target: () => new nn.PairwiseDistance(), inputs: random([2, 5], [2, 5]), options: batch },
    {
      name: 'Embedding',
      target: () => new nn.Embedding(11, 4),
      inputs: () => [numbers(11, [2, 3])],
      others: [() => [numbers(11, [5, 7])]],
      options: { dynamicAxes: { input: { 0: 'batch', 1: 'steps' } } },
    },
    { name: 'EmbeddingBag', target: () => new nn.EmbeddingBag(11, 4), inputs: () => [numbers(11, [2, 3])], options: batch },
    {
      name: 'EmbeddingBag-max',
      target: () => new nn.EmbeddingBag(11, 4, { mode: 'max' }),
      inputs: () => [numbers(11, [2, 3])],
      options: batch,
    },
    ...recurrent(),
    layer('TransformerEncoderLayer', () => new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, batchFirst: true }), [2, 5, 8]),
    {
      name: 'TransformerEncoder-dynamic',
      target: () =>
        new nn.TransformerEncoder(
          () => new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, batchFirst: true, activation: 'gelu' }),
          2,
        ),
      inputs: random([2, 7, 8]),
      others: [random([3, 11, 8])],
      options: { dynamicAxes: { input: { 0: 'batch', 1: 'steps' } } },
    },
    {
      name: 'MultiheadAttention',
      target: () => new nn.MultiheadAttention(8, 2, { batchFirst: true }),
      inputs: random([2, 5, 8], [2, 6, 8], [2, 6, 8]),
      others: [random([4, 5, 8], [4, 6, 8], [4, 6, 8])],
      options: batch,
    },
    {
      name: 'Transformer',
      target: () =>
        new nn.Transformer({
          dModel: 8,
          numHeads: 2,
          nhead: 2,
          numEncoderLayers: 1,
          numDecoderLayers: 1,
          dimFeedforward: 16,
          batchFirst: true,
        }),
      inputs: random([2, 5, 8], [2, 4, 8]),
      options: batch,
    },
  ];
}

/** Runs a batch through in training, so that running statistics are not those of the start. @param {any} module @param {number[]} shape */
function trained(module, shape) {
  module.train();
  for (let i = 0; i < 3; i++) module.call(tr.randn(shape).mul(2).add(0.5));
  return module.eval();
}

/** @returns {Case[]} */
function recurrent() {
  const dynamic = { dynamicAxes: { input: { 0: 'steps', 1: 'batch' } } };
  /** @param {string} name @param {() => any} target @returns {Case} */
  const steps = (name, target) => ({ name, target, inputs: random([5, 2, 3]), others: [random([8, 4, 3])], options: dynamic });
  return [
    steps('LSTM', () => new nn.LSTM(3, 4)),
    steps('LSTM-two-layers-both-ways', () => new nn.LSTM(3, 4, { numLayers: 2, bidirectional: true })),
    steps('LSTM-no-bias', () => new nn.LSTM(3, 4, { bias: false })),
    steps('LSTM-projection', () => new nn.LSTM(3, 4, { projSize: 2 })),
    layer('LSTM-batch-first', () => new nn.LSTM(3, 4, { batchFirst: true }), [2, 5, 3]),
    steps('GRU', () => new nn.GRU(3, 4)),
    steps('GRU-no-bias', () => new nn.GRU(3, 4, { bias: false, bidirectional: true })),
    steps('RNN', () => new nn.RNN(3, 4)),
    steps('RNN-relu', () => new nn.RNN(3, 4, { nonlinearity: 'relu' })),
    {
      name: 'LSTM-state',
      target: () => new nn.LSTM(3, 4),
      inputs: () => [tr.randn([5, 2, 3]), [tr.randn([1, 2, 4]), tr.randn([1, 2, 4])]],
    },
    {
      name: 'LSTM-lengths',
      target: () => {
        const lstm = new nn.LSTM(3, 4, { bidirectional: true });
        return (/** @type {tr.Tensor} */ x, /** @type {tr.Tensor} */ lengths) => {
          const [out, state] = lstm.call(nn.packPaddedSequence(x, lengths));
          return [nn.padPackedSequence(out)[0], state];
        };
      },
      inputs: () => [tr.randn([5, 3, 3]), tr.tensor([5, 2, 3], { dtype: 'int64' })],
    },
    layer('LSTMCell', () => new nn.LSTMCell(3, 4), [2, 3]),
    layer('GRUCell', () => new nn.GRUCell(3, 4), [2, 3]),
    layer('RNNCell', () => new nn.RNNCell(3, 4), [2, 3]),
  ];
}

/** @returns {Case[]} */
function functions() {
  /** @typedef {tr.Tensor} T */
  const positive = (/** @type {(x: T) => T} */ fn) => (/** @type {T} */ x) => fn(tr.add(tr.abs(x), 0.1));
  const bounded = (/** @type {(x: T) => T} */ fn) => (/** @type {T} */ x) => fn(tr.tanh(x));
  const plain = [
    'neg',
    'abs',
    'sign',
    'floor',
    'ceil',
    'round',
    'trunc',
    'frac',
    'reciprocal',
    'exp',
    'exp2',
    'expm1',
    'sin',
    'cos',
    'tan',
    'atan',
    'sinh',
    'cosh',
    'tanh',
    'asinh',
    'erf',
    'erfc',
    'sigmoid',
    'relu',
    'square',
    'isnan',
    'isinf',
    'isfinite',
  ];
  const ofPositive = ['sqrt', 'rsqrt', 'log', 'log2', 'log10', 'log1p'];
  const ofBounded = ['asin', 'acos', 'atanh'];
  const two = [
    'add',
    'sub',
    'mul',
    'div',
    'floorDivide',
    'remainder',
    'fmod',
    'maximum',
    'minimum',
    'atan2',
    'copysign',
    'hypot',
    'logaddexp',
    'eq',
    'ne',
    'lt',
    'le',
    'gt',
    'ge',
  ];
  const any = /** @type {Record<string, any>} */ (/** @type {unknown} */ (tr));
  const shape = [3, 4, 5];
  /** @type {[string, (...x: T[]) => unknown, ...number[][]][]} */
  const list = [
    ...plain.map((name) => /** @type {any} */ ([name, any[name], shape])),
    ...ofPositive.map((name) => /** @type {any} */ ([name, positive(any[name]), shape])),
    ...ofBounded.map((name) => /** @type {any} */ ([name, bounded(any[name]), shape])),
    ...two.map((name) => /** @type {any} */ ([name, any[name], shape, [4, 1]])),
    ['acosh', (x) => tr.acosh(tr.add(tr.abs(x), 1.1)), shape],
    ['pow', (x) => tr.pow(tr.add(tr.abs(x), 0.1), 1.7), shape],
    ['clamp', (x) => tr.clamp(x, { min: -0.5, max: 0.25 }), shape],
    ['clamp-max', (x) => tr.clamp(x, { max: 0.25 }), shape],
    ['where', (x, y) => tr.where(tr.gt(x, y), x, 2), shape, [5]],
    ['lerp', (x, y) => tr.lerp(x, y, 0.3), shape, shape],
    [
      'integers',
      (x) => {
        const n = tr.cast(tr.mul(x, 7), 'int64');
        return [tr.remainder(n, 3), tr.floorDivide(n, 3), tr.maximum(n, 1), tr.sum(n, 1), tr.cast(n, 'int32'), tr.bitwiseAnd(n, 3)];
      },
      shape,
    ],
    [
      'logical',
      (x, y) => {
        const [a, b] = [tr.gt(x, 0), tr.gt(y, 0)];
        return [
          tr.logicalAnd(a, b),
          tr.logicalOr(a, b),
          tr.logicalXor(a, b),
          tr.logicalNot(a),
          tr.any(a, 1),
          tr.all(a, 2),
          tr.sum(a),
          tr.add(a, b),
        ];
      },
      shape,
      shape,
    ],
    ['reductions', (x) => [tr.sum(x, [0, 2]), tr.mean(x), tr.amax(x, 1, true), tr.amin(x), tr.prod(x, 2), tr.mean(x, [1, 2], true)], shape],
    [
      'statistics',
      (x) => [tr.variance(x, 1), tr.std(x), tr.norm(x), tr.norm(x, 1, 2), tr.norm(x, 2, [1, 2], true), tr.logsumexp(x, 1), tr.normalize(x)],
      shape,
    ],
    [
      'positions',
      (x) => [tr.argmax(x, 1), tr.argmin(x, -1, true), tr.argmax(x), tr.max(x, 1).values, tr.max(x, 1).indices, tr.min(x, 2, true).indices],
      shape,
    ],
    [
      'sorting',
      (x) => [tr.sort(x, 1).values, tr.sort(x, -1, true).indices, tr.topk(x, 2).values, tr.topk(x, 2).indices, tr.argsort(x, 0)],
      shape,
    ],
    ['scans', (x) => [tr.cumsum(x, 1), tr.cumsum(x, 2)], shape],
    ['products', (x, y) => [tr.matmul(x, y), tr.matmul(x, y.select(0, 0)), tr.einsum('bij,bjk->bik', x, y)], [3, 4, 5], [3, 5, 2]],
    ['products-vectors', (x, y) => [tr.matmul(x, y), tr.matmul(x.select(0, 0), y), tr.outer(y, y), tr.dot(y, y)], [4, 5], [5]],
    [
      'einsum',
      (x, y) => [tr.einsum('bhqd,bkhd->bhqk', x, y), tr.einsum('bhqd->bhd', x), tr.einsum('bhqd,bkhd->', x, y)],
      [2, 3, 4, 5],
      [2, 6, 3, 5],
    ],
    [
      'products-broadcast',
      (x, y) => [tr.matmul(x, y), tr.addmm(x.select(0, 0).select(0, 0), x.select(0, 0).select(0, 0), y.slice ? y : y, { beta: 0 })],
      [2, 3, 4, 5],
      [5, 4],
    ],
    ['attention', (q, k, v) => tr.scaledDotProductAttention(q, k, v), [2, 3, 4, 5], [2, 3, 6, 5], [2, 3, 6, 5]],
    ['attention-causal', (q, k, v) => tr.scaledDotProductAttention(q, k, v, { isCausal: true }), [2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 5]],
    ['attention-gqa', (q, k, v) => tr.scaledDotProductAttention(q, k, v, { enableGqa: true }), [2, 4, 4, 5], [2, 2, 6, 5], [2, 2, 6, 5]],
    [
      'attention-blockwise',
      (q, k, v) => tr.scaledDotProductAttention(q, k, v, { algorithm: 'blockwise', blockSize: 3 }),
      [2, 3, 4, 5],
      [2, 3, 8, 5],
      [2, 3, 8, 5],
    ],
    [
      'views',
      (x) => [
        x.t ? x.permute([2, 0, 1]) : x,
        x.reshape(4, 15),
        tr.flip(x, [1]),
        x.select(1, 2),
        tr.narrow(x, 2, 1, 3),
        tr.takeSlice(x, 1, { start: 3, count: 2, step: -2 }),
        tr.diagonal(x),
        tr.expand(x.select(0, 1), [2, 4, 5]),
        tr.unfold(x, 2, 3, 1),
        tr.unfold(x, 1, 2, 2),
      ],
      shape,
    ],
    [
      'views-of-views',
      (x) => [
        x.permute([2, 0, 1]).reshape(15, 4),
        tr.flip(x.permute([1, 2, 0]), [0, 2]),
        x.reshape(3, 20).select(1, 7),
        tr.narrow(x.reshape(12, 5), 0, 2, 7),
        tr.asStrided(x, [3, 3], [2, 7], 4),
      ],
      shape,
    ],
    [
      'joins',
      (x, y) => [
        tr.concat([x, y], 1),
        tr.stack([x, x], 2),
        tr.tile(x, [2, 1, 1]),
        tr.repeatInterleave(x, 2, 1),
        tr.roll(x, 1, 1),
        ...tr.chunk(x, 2, 1),
        tr.tril(x),
        tr.triu(x),
      ],
      shape,
      [3, 2, 5],
    ],
    [
      'creation',
      (x) => [tr.add(x, tr.arange(5)), tr.mul(x, tr.linspace(0, 1, 5)), tr.eye(4), tr.zerosLike(x), tr.full([2, 2], 3), tr.arange(1, 7, 2)],
      shape,
    ],
    [
      'gathers',
      (x) => {
        const index = tr.tensor(
          [
            [2, 0],
            [1, 1],
          ],
          { dtype: 'int64' },
        );
        return [
          tr.indexSelect(x, 1, tr.tensor([3, 0, 3], { dtype: 'int64' })),
          tr.gather(x.select(0, 0), 1, index),
          tr.take(x, index),
          x.index(index),
        ];
      },
      shape,
    ],
    [
      'scatters',
      (x) => {
        const index = tr.tensor(
          [
            [2, 0],
            [1, 3],
          ],
          { dtype: 'int64' },
        );
        const source = tr.narrow(tr.narrow(x.select(0, 0), 0, 0, 2), 1, 0, 2);
        const rows = tr.tensor([2, 0], { dtype: 'int64' });
        return [
          tr.scatter(x.select(0, 1), 1, index, source),
          tr.scatterAdd(x.select(0, 1), 1, index, source),
          tr.scatterReduce(x.select(0, 1), 1, index, source, 'amax'),
          tr.indexAdd(x, 1, rows, tr.narrow(x, 1, 0, 2)),
          tr.indexCopy(x, 1, rows, tr.narrow(x, 1, 0, 2)),
        ];
      },
      shape,
    ],
    ['one-hot', (x) => tr.oneHot(tr.argmax(x, 1), 6), shape],
    ['diag', (x) => [tr.diag(x), tr.diagEmbed(x)], [4]],
    ['search', (x) => tr.searchsorted(tr.arange(0, 5, 1, { dtype: 'float32' }), x), shape],
    ['searchsorted-right', (x, y) => tr.bucketize(x, tr.sort(y).values, { right: true }), shape, [6]],
    [
      'losses',
      (x) => [
        tr.crossEntropy(x, tr.tensor([1, 2, 0], { dtype: 'int64' })),
        tr.mseLoss(x, tr.zerosLike(x)),
        tr.bceWithLogits(x, tr.zerosLike(x)),
        tr.l1Loss(x, tr.zerosLike(x)),
      ],
      [3, 4],
    ],
    [
      'gradients',
      (x) => {
        const w = tr.tensor(
          [
            [0.5, -1],
            [2, 0.25],
            [1, 1],
          ],
          { requiresGrad: true },
        );
        return tr.enableGrad(() => tr.grad(tr.tanh(tr.matmul(x, w)).sum(), [w])[0]);
      },
      [4, 3],
    ],
    [
      'gridSample',
      (x) =>
        tr.gridSample(
          x,
          tr.affineGrid(
            tr.tensor([
              [
                [0.8, 0.1, 0],
                [0, 0.9, 0.2],
              ],
            ]),
            [1, 2, 5, 5],
          ),
        ),
      [1, 2, 6, 6],
    ],
  ];
  return list.map(([name, fn, ...shapes]) => fixed(`fn-${name}`, fn, ...shapes));
}

/** @returns {Case[]} */
function control() {
  return [
    fixed(
      'control-cond',
      (/** @type {tr.Tensor} */ x) =>
        tr.cond(
          tr.gt(x.sum(), 0),
          (t) => [tr.mul(t, 2)],
          (t) => [tr.sub(t, 1)],
          [x],
        ),
      [3, 4],
    ),
    fixed(
      'control-while',
      (/** @type {tr.Tensor} */ x) =>
        tr.whileLoop(
          (t) => tr.lt(t.abs().sum(), 1000),
          (t) => [tr.mul(t, 1.7)],
          [x],
        ),
      [3, 4],
    ),
    fixed(
      'control-scan',
      (/** @type {tr.Tensor} */ x) => {
        const { carry, outputs } = tr.scan(([h], [t]) => [[tr.tanh(tr.add(h, t))], [tr.mul(h, 2)]], [x.select(0, 0)], [x]);
        return [carry, outputs];
      },
      [5, 4],
    ),
    fixed(
      'control-scan-reverse',
      (/** @type {tr.Tensor} */ x) => tr.scan(([h], [t]) => [[tr.add(h, t)], [h]], [tr.zeros([4])], [x], { reverse: true }).outputs,
      [5, 4],
    ),
  ];
}

/** The cases whose names contain the filter. @param {string} filter @returns {Case[]} */
export function cases(filter) {
  tr.manualSeed(7);
  return [...layers(), ...functions(), ...control(), ...examples()].filter(({ name }) => name.includes(filter));
}
