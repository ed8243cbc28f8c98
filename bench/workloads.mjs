/**
 * The workloads, shared by every side: data, parameters, shapes and the losses that prove equal work.
 *
 * Nothing here computes a model. A side (bench/peers) receives the same float32 values in the same order and has to reach
 * the same losses; the layouts below are the field's (dense weights [in, out], convolution weights [out, in, kh, kw]).
 */
import { EXPECTED } from './workloads/expected.mjs';
import * as models from './workloads/models.mjs';
import { ONNX } from './workloads/onnx.mjs';
import * as ops from './workloads/ops.mjs';
import { rnd } from './workloads/values.mjs';

export * from './workloads/models.mjs';
export * from './workloads/onnx.mjs';
export * from './workloads/ops.mjs';
export { rint, rnd } from './workloads/values.mjs';
export { workOf } from './workloads/work.mjs';

export const EAGER = { side: 64, ops: 1000 };

/** The two square factors of a gemm workload. */
export const gemmData = (/** @type {number} */ size) => ({ a: rnd(1, size * size, -1, 1), b: rnd(2, size * size, -1, 1) });

/**
 * @typedef {object} Workload
 * @property {string} name
 * @property {'train' | 'infer' | 'onnx' | 'op' | 'gemm' | 'eager' | 'startup'} kind
 * @property {number} size batch or side, where there is a choice
 * @property {string} unit what one timed number is
 * @property {number} opsPerCall a call's time is divided by this
 * @property {Record<number, number>} losses the loss at a step, or else values of the outputs
 * @property {number} tolerance on those values: absolute up to 1, above it a share
 * @property {import('./workloads/models.mjs').ModelName} [model] whose parameters it needs
 * @property {boolean} [recorded] eager with the gradient recorded
 * @property {boolean} [emptyCaches] a first start: nothing compiled is there yet
 */

/** @returns {Workload} */
const train = (/** @type {models.ModelName} */ model, /** @type {[number, number, number]} */ [l1, l2, l10], tolerance = 5e-4) => ({
  name: `${model}-train`,
  kind: 'train',
  model,
  size: 0,
  unit: 'ms a step',
  opsPerCall: 1,
  losses: { 1: l1, 2: l2, 10: l10 },
  tolerance,
});

/** @returns {Workload} */
const infer = (/** @type {string} */ name, /** @type {models.ModelName} */ model, /** @type {number} */ tolerance) => ({
  ...op(name, tolerance),
  kind: 'infer',
  model,
  size: 1,
  unit: 'ms a batch',
});

/** @returns {Workload} */
function op(/** @type {string} */ name, /** @type {number} */ tolerance) {
  return { name, kind: 'op', size: 0, unit: 'ms', opsPerCall: 1, losses: { ...(EXPECTED[name] ?? []) }, tolerance };
}

/** @returns {Workload} */
const onnx = (/** @type {string} */ name) => ({
  name,
  kind: 'onnx',
  size: 0,
  unit: 'ms a batch',
  opsPerCall: 1,
  losses: { ...ONNX[name].expected },
  tolerance: 1e-4,
});

/** @returns {Workload} */
const startUp = (/** @type {string} */ name, /** @type {boolean} */ emptyCaches) => ({
  name,
  kind: 'startup',
  model: 'mlp',
  size: 0,
  unit: 'ms',
  opsPerCall: 1,
  losses: { 1: 2.30265 },
  tolerance: 5e-4,
  emptyCaches,
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
  train('resnet18', [7.13585, 3.0229, 0.024], 1e-3),
  ...[1, 8].map((size) => ({
    name: `resnet18-infer-${size}`,
    kind: /** @type {const} */ ('infer'),
    model: /** @type {const} */ ('resnet18'),
    size,
    unit: 'ms a batch',
    opsPerCall: 1,
    losses: { 0: 0.1312, 1: 0.1252, 2: 0.0376 },
    tolerance: 2e-4,
  })),
  infer('mobilenetV2-infer', 'mobilenet', 1e-3),
  infer('bert-base-infer', 'bert', 1e-3),
  ...Object.keys(ONNX).map(onnx),
  ...Object.keys(ops.CONVS).flatMap((name) => [op(name, 1e-4), op(`${name}-dx`, 1e-4), op(`${name}-dw`, 1e-3)]),
  op('softmax', 1e-7),
  op('layernorm', 1e-5),
  op('gelu', 1e-5),
  op('add', 1e-6),
  // Along the rows, [4096] numbers.
  op('sum', 2e-4),
  op('attention', 1e-5),
  op('attention-train', 1e-5),
  startUp('start-up', false),
  startUp('start-up-empty', true),
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

/**
 * All that a side in another language needs: the workload, its parameters and the sizes.
 * @param {Workload} workload
 */
export function specOf(workload) {
  const { MLP, CNN, GPT, LSTM, EMBEDDING, RESNET_BLOCKS, RESNET_TRAIN, MOBILENET, MOBILENET_BLOCKS, BERT, BN_EPS, ADAM, SGD_LR } = models;
  const { CONVS, ROWS, ATTENTION } = ops;
  return {
    workload,
    params: workload.model === undefined ? [] : models.paramSpecs(workload.model),
    mlp: MLP,
    cnn: CNN,
    gpt: GPT,
    lstm: LSTM,
    embedding: EMBEDDING,
    resnet: { blocks: RESNET_BLOCKS, eps: BN_EPS, ...RESNET_TRAIN },
    mobilenet: { blocks: MOBILENET_BLOCKS, eps: BN_EPS, ...MOBILENET },
    bert: BERT,
    adam: ADAM,
    sgd: { lr: SGD_LR },
    convs: CONVS,
    rows: ROWS,
    attention: ATTENTION,
    eager: EAGER,
    onnx: ONNX[workload.name],
    gemmProbes: workload.kind === 'gemm' ? gemmProbes(workload.size) : [],
  };
}
