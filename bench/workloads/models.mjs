/** The models: sizes, parameters in the order of their seeds, inputs and labels. */
import { rint, rnd } from './values.mjs';

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
/** Training of ResNet-18, with the statistics of the batch in its normalizations. */
export const RESNET_TRAIN = { batch: 16, classes: 1000, momentum: 0.1 };

/**
 * One inverted residual of MobileNetV2 (arXiv:1801.04381, table 2): 1x1 to `hidden`, depthwise 3x3, 1x1 to `outputs`.
 * @typedef {{ inputs: number, hidden: number, outputs: number, stride: number }} Inverted
 */
/** @type {Inverted[]} */
export const MOBILENET_BLOCKS = [
  { expand: 1, outputs: 16, times: 1, stride: 1 },
  { expand: 6, outputs: 24, times: 2, stride: 2 },
  { expand: 6, outputs: 32, times: 3, stride: 2 },
  { expand: 6, outputs: 64, times: 4, stride: 2 },
  { expand: 6, outputs: 96, times: 3, stride: 1 },
  { expand: 6, outputs: 160, times: 3, stride: 2 },
  { expand: 6, outputs: 320, times: 1, stride: 1 },
].flatMap(({ expand, outputs, times, stride }, i, all) =>
  Array.from({ length: times }, (_, k) => {
    const inputs = k > 0 ? outputs : i > 0 ? all[i - 1].outputs : 32;
    return { inputs, hidden: inputs * expand, outputs, stride: k > 0 ? 1 : stride };
  }),
);
export const MOBILENET = { side: 224, stem: 32, last: 1280, classes: 1000 };

/** BERT-base (arXiv:1810.04805), without its pooler: post-norm, erf GELU, no mask. */
export const BERT = {
  batch: 1,
  length: 128,
  vocab: 30522,
  positions: 512,
  types: 2,
  layers: 12,
  dim: 768,
  heads: 12,
  hidden: 3072,
  eps: 1e-12,
};

/**
 * A convolution and its normalization, a seed for each of the five.
 * @returns {ParamSpec[]}
 */
function convBn(
  /** @type {string} */ name,
  /** @type {number} */ inputs,
  /** @type {number} */ outputs,
  /** @type {number} */ k,
  fanIn = (inputs * k * k) / 2,
) {
  return [
    uniform(`${name}.weight`, [outputs, inputs, k, k], fanIn),
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
  // Bounds that keep the variance through 53 layers: a third of the terms after a linear layer, a sixth after a ReLU6.
  mobilenet: () => [
    ...convBn('stem', 3, MOBILENET.stem, 3, 9),
    ...MOBILENET_BLOCKS.flatMap(({ inputs, hidden, outputs }, i) => [
      ...(hidden === inputs ? [] : convBn(`b${i}.expand`, inputs, hidden, 1, inputs / 3)),
      ...convBn(`b${i}.depthwise`, 1, hidden, 3, 1.5),
      ...convBn(`b${i}.project`, hidden, outputs, 1, hidden / 6),
    ]),
    ...convBn('last', 320, MOBILENET.last, 1, 320 / 3),
    ...dense('fc', MOBILENET.last, MOBILENET.classes),
  ],
  bert: () => {
    const { vocab, positions, types, layers, dim, hidden } = BERT;
    const norm = (/** @type {string} */ name) => [one(`${name}.scale`, [dim]), zero(`${name}.shift`, [dim])];
    const all = [uniform('token', [vocab, dim], 400), uniform('position', [positions, dim], 400), uniform('type', [types, dim], 400)];
    all.push(...norm('ln'));
    for (let i = 0; i < layers; i++) {
      for (const part of ['q', 'k', 'v', 'out']) all.push(...dense(`l${i}.${part}`, dim, dim));
      all.push(...norm(`l${i}.ln1`), ...dense(`l${i}.up`, dim, hidden), ...dense(`l${i}.down`, hidden, dim), ...norm(`l${i}.ln2`));
    }
    return all;
  },
};
/** @typedef {'mlp' | 'cnn' | 'gpt' | 'lstm' | 'embedding' | 'resnet18' | 'mobilenet' | 'bert'} ModelName */

/**
 * What a model's parameters are, in the order of their seeds.
 * @param {ModelName} model
 */
export const paramSpecs = (model) => PARAMS[model]();

/**
 * The initial parameters of a model, the j-th (from 1) drawn from seed 1000 + j (constants use up a seed too).
 * @param {ModelName} model
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

/** Images [n, 3, 224, 224] to classify. */
export const images = (/** @type {number} */ n) => rnd(7, n * 3 * 224 * 224, -1, 1);
/** Words of the sentence that BERT reads. */
export const sentence = () => rint(1, BERT.batch * BERT.length, BERT.vocab);

/** Learning rate and constants of the optimisers. */
export const ADAM = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };
export const SGD_LR = 0.1;

/** Inputs and labels of the training workloads. */
export const trainingData = {
  mlp: () => ({ x: rnd(1, MLP.batch * 784, -1, 1), labels: rint(2, MLP.batch, 10) }),
  cnn: () => ({ x: rnd(1, CNN.batch * CNN.side * CNN.side, -1, 1), labels: rint(2, CNN.batch, CNN.classes) }),
  gpt: () => ({ tokens: rint(1, GPT.batch * GPT.length, GPT.vocab), labels: rint(2, GPT.batch * GPT.length, GPT.vocab) }),
  lstm: () => ({ x: rnd(1, LSTM.batch * LSTM.length * LSTM.inputs, -1, 1), labels: rint(2, LSTM.batch, LSTM.classes) }),
  resnet18: () => ({
    x: rnd(1, RESNET_TRAIN.batch * 3 * 224 * 224, -1, 1),
    labels: rint(2, RESNET_TRAIN.batch, RESNET_TRAIN.classes),
  }),
  embedding: () => ({ ids: rint(1, EMBEDDING.batch * EMBEDDING.lookups, EMBEDDING.rows), labels: rint(2, EMBEDDING.batch, 2) }),
};
