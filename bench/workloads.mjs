/**
 * The workloads, shared by every side: data, parameters, shapes and the losses that prove equal work.
 *
 * Nothing here computes a model. A side (bench/peers/*.mjs) receives the same float32 values in the same order and has to reach
 * the same losses; the layouts below are the field's (dense weights [in, out], convolution weights [out, in, kh, kw]).
 */

/**
 * Reproducible values in [lo, hi), the same on every side.
 * A mulberry32-style mix of the seed and the index, so that value i needs no value before it.
 * @param {number} seed
 * @param {number} count
 * @param {number} lo
 * @param {number} hi
 * @returns {Float32Array<ArrayBuffer>}
 */
export function rnd(seed, count, lo, hi) {
  const out = new Float32Array(count);
  const start = Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < count; i++) {
    const a = (start + Math.imul(i + 1, 0x6d2b79f5)) | 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    out[i] = lo + ((hi - lo) * ((t ^ (t >>> 14)) >>> 0)) / 4294967296;
  }
  return out;
}

/**
 * Reproducible integers in [0, k).
 * @param {number} seed
 * @param {number} count
 * @param {number} k
 * @returns {Int32Array<ArrayBuffer>}
 */
export function rint(seed, count, k) {
  const unit = rnd(seed, count, 0, 1);
  const out = new Int32Array(count);
  for (let i = 0; i < count; i++) out[i] = Math.min(k - 1, Math.floor(unit[i] * k));
  return out;
}

/**
 * @typedef {{ name: string, shape: number[], init: 'uniform' | 'zero' | 'one', fanIn: number }} ParamSpec
 * @typedef {{ name: string, shape: number[], data: Float32Array<ArrayBuffer> }} Param
 */

/** @returns {ParamSpec} */
const uniform = (/** @type {string} */ name, /** @type {number[]} */ shape, /** @type {number} */ fanIn) => ({
  name,
  shape,
  init: 'uniform',
  fanIn,
});
/** @returns {ParamSpec} */
const zero = (/** @type {string} */ name, /** @type {number[]} */ shape) => ({ name, shape, init: 'zero', fanIn: 1 });
/** @returns {ParamSpec} */
const one = (/** @type {string} */ name, /** @type {number[]} */ shape) => ({ name, shape, init: 'one', fanIn: 1 });

/** @returns {ParamSpec[]} */
const dense = (/** @type {string} */ name, /** @type {number} */ inputs, /** @type {number} */ outputs) => [
  uniform(`${name}.weight`, [inputs, outputs], inputs),
  zero(`${name}.bias`, [outputs]),
];

export const MLP = { batch: 128, sizes: [784, 512, 256, 10] };
export const CNN = { batch: 64, side: 28, channels: [1, 32, 64], flat: 9216, hidden: 128, classes: 10 };
export const GPT = { vocab: 65, layers: 4, dim: 128, heads: 4, length: 64, batch: 16, hidden: 512 };
export const LSTM = { batch: 32, length: 50, inputs: 32, hidden: 128, classes: 6 };
export const EMBEDDING = { rows: 1_000_000, dim: 16, batch: 1024, lookups: 26, hidden: 256 };
export const EAGER = { side: 64, ops: 1000 };

/**
 * One residual block of ResNet-18; `stride` is that of its first convolution and of its shortcut.
 * @typedef {{ inputs: number, outputs: number, stride: number, shortcut: boolean }} Block
 */
/** @type {Block[]} */
export const RESNET_BLOCKS = [64, 64, 128, 128, 256, 256, 512, 512].map((outputs, i, all) => {
  const inputs = i === 0 ? 64 : all[i - 1];
  const stride = inputs === outputs ? 1 : 2;
  return { inputs, outputs, stride, shortcut: inputs !== outputs };
});
export const BN_EPS = 1e-5;

/** @returns {ParamSpec[]} */
function convBn(/** @type {string} */ name, /** @type {number} */ inputs, /** @type {number} */ outputs, /** @type {number} */ k) {
  return [
    uniform(`${name}.weight`, [outputs, inputs, k, k], (inputs * k * k) / 2),
    one(`${name}.bn.scale`, [outputs]),
    zero(`${name}.bn.shift`, [outputs]),
    uniform(`${name}.bn.mean`, [outputs], 100),
    one(`${name}.bn.variance`, [outputs]),
  ];
}

/** @type {Record<string, () => ParamSpec[]>} */
const PARAMS = {
  mlp: () => MLP.sizes.slice(1).flatMap((outputs, i) => dense(`dense${i}`, MLP.sizes[i], outputs)),
  cnn: () => [
    uniform('conv1.weight', [32, 1, 3, 3], 9),
    zero('conv1.bias', [32]),
    uniform('conv2.weight', [64, 32, 3, 3], 288),
    zero('conv2.bias', [64]),
    ...dense('dense1', CNN.flat, CNN.hidden),
    ...dense('dense2', CNN.hidden, CNN.classes),
  ],
  gpt: () => {
    const { vocab, layers, dim, length, hidden } = GPT;
    const all = [uniform('token', [vocab, dim], 400), uniform('position', [length, dim], 400)];
    for (let i = 0; i < layers; i++) {
      all.push(
        one(`l${i}.ln1.scale`, [dim]),
        zero(`l${i}.ln1.shift`, [dim]),
        ...dense(`l${i}.qkv`, dim, 3 * dim),
        ...dense(`l${i}.out`, dim, dim),
      );
      all.push(
        one(`l${i}.ln2.scale`, [dim]),
        zero(`l${i}.ln2.shift`, [dim]),
        ...dense(`l${i}.up`, dim, hidden),
        ...dense(`l${i}.down`, hidden, dim),
      );
    }
    all.push(one('ln.scale', [dim]), zero('ln.shift', [dim]), uniform('head', [dim, vocab], dim));
    return all;
  },
  lstm: () => [
    uniform('wx', [LSTM.inputs, 4 * LSTM.hidden], 128),
    uniform('wh', [LSTM.hidden, 4 * LSTM.hidden], 128),
    zero('bias', [4 * LSTM.hidden]),
    ...dense('dense', LSTM.hidden, LSTM.classes),
  ],
  embedding: () => [
    uniform('table', [EMBEDDING.rows, EMBEDDING.dim], 16),
    ...dense('dense1', EMBEDDING.dim * EMBEDDING.lookups, EMBEDDING.hidden),
    ...dense('dense2', EMBEDDING.hidden, 1),
  ],
  resnet18: () => [
    ...convBn('stem', 3, 64, 7),
    ...RESNET_BLOCKS.flatMap((b, i) => [
      ...convBn(`b${i}.conv1`, b.inputs, b.outputs, 3),
      ...convBn(`b${i}.conv2`, b.outputs, b.outputs, 3),
      ...(b.shortcut ? convBn(`b${i}.shortcut`, b.inputs, b.outputs, 1) : []),
    ]),
    ...dense('fc', 512, 1000),
  ],
};

/**
 * The initial parameters of a model, the j-th (from 1) drawn from seed 1000 + j (constants use up a seed too).
 * @param {'mlp' | 'cnn' | 'gpt' | 'lstm' | 'embedding' | 'resnet18'} model
 * @returns {Param[]}
 */
export function initialParams(model) {
  return PARAMS[model]().map(({ name, shape, init, fanIn }, j) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const bound = 1 / Math.sqrt(fanIn);
    if (init === 'uniform') return { name, shape, data: rnd(1001 + j, count, -bound, bound) };
    return { name, shape, data: new Float32Array(count).fill(init === 'one' ? 1 : 0) };
  });
}

/** Inputs and labels of the training workloads. */
export const trainingData = {
  mlp: () => ({ x: rnd(1, MLP.batch * 784, -1, 1), labels: rint(2, MLP.batch, 10) }),
  cnn: () => ({ x: rnd(1, CNN.batch * CNN.side * CNN.side, -1, 1), labels: rint(2, CNN.batch, CNN.classes) }),
  gpt: () => ({ tokens: rint(1, GPT.batch * GPT.length, GPT.vocab), labels: rint(2, GPT.batch * GPT.length, GPT.vocab) }),
  lstm: () => ({ x: rnd(1, LSTM.batch * LSTM.length * LSTM.inputs, -1, 1), labels: rint(2, LSTM.batch, LSTM.classes) }),
  embedding: () => ({ ids: rint(1, EMBEDDING.batch * EMBEDDING.lookups, EMBEDDING.rows), labels: rint(2, EMBEDDING.batch, 2) }),
};

/** The two square factors of a gemm workload. */
export const gemmData = (/** @type {number} */ size) => ({ a: rnd(1, size * size, -1, 1), b: rnd(2, size * size, -1, 1) });

/** Images of the inference workload, [n, 3, 224, 224]. */
export const resnetInput = (/** @type {number} */ n) => rnd(7, n * 3 * 224 * 224, -1, 1);

/** Learning rate and constants of the optimisers. */
export const ADAM = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };
export const SGD_LR = 0.1;

/**
 * @typedef {object} Workload
 * @property {string} name
 * @property {'train' | 'infer' | 'gemm' | 'eager' | 'startup'} kind
 * @property {number} size batch or side, where there is a choice
 * @property {string} unit what one timed number is
 * @property {number} opsPerCall a call's time is divided by this
 * @property {Record<number, number>} losses the loss at a step, or for inference the value of an output
 * @property {number} tolerance absolute, on those values
 * @property {boolean} [recorded] eager with the gradient recorded
 */

/** @returns {Workload} */
const train = (/** @type {string} */ name, /** @type {[number, number, number]} */ [l1, l2, l10], tolerance = 5e-4) => ({
  name: `${name}-train`,
  kind: 'train',
  size: 0,
  unit: 'ms a step',
  opsPerCall: 1,
  losses: { 1: l1, 2: l2, 10: l10 },
  tolerance,
});

/** @type {Workload[]} */
export const WORKLOADS = [
  ...[256, 512, 1024].map((size) => ({
    name: `gemm-${size}`,
    kind: /** @type {const} */ ('gemm'),
    size,
    unit: 'ms',
    opsPerCall: 1,
    losses: {},
    tolerance: 1e-3,
  })),
  ...[false, true].map((recorded) => ({
    name: recorded ? 'eager-add-grad' : 'eager-add',
    kind: /** @type {const} */ ('eager'),
    size: EAGER.side,
    unit: 'ms an op',
    opsPerCall: EAGER.ops,
    losses: {},
    tolerance: 1e-2,
    recorded,
  })),
  train('mlp', [2.30265, 2.14613, 0.71611]),
  // Chaotic after a few steps of Adam: rounding in the first gradients shows in the third decimal by step 10.
  train('cnn', [2.29913, 2.3602, 1.42283], 5e-3),
  train('gpt', [4.31461, 4.18773, 3.25206]),
  train('lstm', [1.78412, 1.77338, 1.68125]),
  // The loss moves by a ten-thousandth a step, so the bound is tighter than the others'.
  train('embedding', [0.69409, 0.69395, 0.69304], 3e-5),
  ...[1, 8].map((size) => ({
    name: `resnet18-infer-${size}`,
    kind: /** @type {const} */ ('infer'),
    size,
    unit: 'ms a batch',
    opsPerCall: 1,
    losses: { 0: 0.1312, 1: 0.1252, 2: 0.0376 },
    tolerance: 2e-4,
  })),
  { name: 'start-up', kind: 'startup', size: 0, unit: 'ms', opsPerCall: 1, losses: { 1: 2.30265 }, tolerance: 5e-4 },
];

/**
 * The workload of that name.
 * @param {string} name
 * @returns {Workload}
 */
export function workloadNamed(name) {
  const found = WORKLOADS.find((w) => w.name === name);
  if (!found) throw new Error(`No workload is called "${name}". There are: ${WORKLOADS.map((w) => w.name).join(', ')}.`);
  return found;
}

/**
 * Flat indices of a product's entries that are compared with a dot product in double precision.
 * @param {number} size
 */
export const gemmProbes = (size) => [0, size - 1, (size >> 1) * size + 3, size * size - 1];

/**
 * A product's entry in double precision.
 * @param {number} size
 * @param {number} flat
 */
export function gemmEntry(size, flat) {
  const { a, b } = gemmData(size);
  const row = Math.floor(flat / size);
  const column = flat % size;
  let sum = 0;
  for (let k = 0; k < size; k++) sum += a[row * size + k] * b[k * size + column];
  return sum;
}
