/**
 * Trireme, as a user writes it: plain tensor ops, the whole training step (forward, backward, update) in one `jit`.
 * Threads and tier come from TRIREME_THREADS and TRIREME_TIER, set by the parent.
 */
import * as tr from 'trireme';
import {
  ADAM,
  BN_EPS,
  CNN,
  EAGER,
  EMBEDDING,
  GPT,
  gemmData,
  gemmProbes,
  initialParams,
  LSTM,
  MLP,
  RESNET_BLOCKS,
  images,
  rnd,
  SGD_LR,
  trainingData,
} from '../workloads.mjs';
import { option, Refused, serve } from './serve.mjs';

/** @typedef {import('trireme').Tensor} Tensor */

const { jit, matmul, maxPool2d, relu, scope, sigmoid, softmax, sqrt, tanh, tensor, zeros } = tr;

const parameters = (/** @type {Parameters<typeof initialParams>[0]} */ model, requiresGrad = true) =>
  initialParams(model).map(({ data, shape }) => tensor(data, { shape, requiresGrad }));

const affine = (/** @type {Tensor} */ x, /** @type {Tensor} */ w, /** @type {Tensor} */ b) => matmul(x, w).add(b);

/**
 * A training call. Data are arguments, parameters and optimiser state are captured and change in place.
 * @param {{ zeroGrad(): void, step(): void }} optimizer
 * @param {(...data: Tensor[]) => Tensor} lossOf
 * @param {Tensor[]} data
 */
function trainer(optimizer, lossOf, data) {
  const step = jit((/** @type {Tensor[]} */ ...args) => {
    const loss = lossOf(...args);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  });
  return () => {
    const loss = step(...data);
    const value = loss.item();
    loss.dispose();
    return value;
  };
}

/** @type {[number, number]} */
const betas = [ADAM.beta1, ADAM.beta2];
const adamOptions = { lr: ADAM.lr, betas, eps: ADAM.eps };

function mlp() {
  const { x, labels } = trainingData.mlp();
  const params = parameters('mlp');
  const [w1, b1, w2, b2, w3, b3] = params;
  const lossOf = (/** @type {Tensor} */ input, /** @type {Tensor} */ target) => {
    const h = relu(affine(relu(affine(input, w1, b1)), w2, b2));
    return tr.crossEntropy(affine(h, w3, b3), target);
  };
  const data = [tensor(x, { shape: [MLP.batch, 784] }), tensor(labels)];
  return { call: trainer(new tr.optim.Adam(params, adamOptions), lossOf, data) };
}

function cnn() {
  const { x, labels } = trainingData.cnn();
  const params = parameters('cnn');
  const [w1, b1, w2, b2, w3, b3, w4, b4] = params;
  const lossOf = (/** @type {Tensor} */ input, /** @type {Tensor} */ target) => {
    const h = relu(tr.conv2d(relu(tr.conv2d(input, w1, b1)), w2, b2));
    const flat = maxPool2d(h, 2).reshape(CNN.batch, CNN.flat);
    return tr.crossEntropy(affine(relu(affine(flat, w3, b3)), w4, b4), target);
  };
  const data = [tensor(x, { shape: [CNN.batch, 1, CNN.side, CNN.side] }), tensor(labels)];
  return { call: trainer(new tr.optim.Adam(params, adamOptions), lossOf, data) };
}

function gpt() {
  const { vocab, layers, dim, heads, length, batch } = GPT;
  const { tokens, labels } = trainingData.gpt();
  const rows = batch * length;
  const params = parameters('gpt');
  const causal = Float32Array.from({ length: length * length }, (_, i) => (i % length > Math.floor(i / length) ? -1e9 : 0));
  const mask = tensor(causal, { shape: [length, length] });
  const headsOf = (/** @type {Tensor} */ y) => y.reshape(batch, length, heads, dim / heads).permute(0, 2, 1, 3);
  const lossOf = (/** @type {Tensor} */ ids, /** @type {Tensor} */ target) => {
    let at = 2;
    const next = () => params[at++];
    const norm = (/** @type {Tensor} */ x) => tr.layerNorm(x, [dim], next(), next());
    const dense = (/** @type {Tensor} */ x) => affine(x, next(), next());
    let h = tr.embedding(ids, params[0]).add(params[1]).reshape(rows, dim);
    for (let i = 0; i < layers; i++) {
      const [q, k, v] = dense(norm(h)).chunk(3, 1).map(headsOf);
      const scores = matmul(q, k.transpose(2, 3))
        .mul(1 / Math.sqrt(dim / heads))
        .add(mask);
      const mixed = matmul(softmax(scores, -1), v).permute(0, 2, 1, 3).reshape(rows, dim);
      h = h.add(dense(mixed));
      h = h.add(dense(tr.gelu(dense(norm(h)), { approximate: 'tanh' })));
    }
    return tr.crossEntropy(matmul(norm(h), next()), target);
  };
  const optimizer = new tr.optim.AdamW(params, { ...adamOptions, weightDecay: ADAM.weightDecay });
  if (params[params.length - 1].shape[1] !== vocab) throw new Error('the head comes last');
  return { call: trainer(optimizer, lossOf, [tensor(tokens, { shape: [batch, length] }), tensor(labels)]) };
}

function lstm() {
  const { batch, length, inputs, hidden } = LSTM;
  const { x, labels } = trainingData.lstm();
  const params = parameters('lstm');
  const [wx, wh, bias, w, b] = params;
  const lossOf = (/** @type {Tensor} */ input, /** @type {Tensor} */ target) => {
    const gates = affine(input, wx, bias).reshape(batch, length, 4 * hidden);
    let h = zeros([batch, hidden]);
    let c = zeros([batch, hidden]);
    for (let t = 0; t < length; t++) {
      const [i, f, g, o] = gates.select(1, t).add(matmul(h, wh)).chunk(4, 1);
      c = sigmoid(f)
        .mul(c)
        .add(sigmoid(i).mul(tanh(g)));
      h = sigmoid(o).mul(tanh(c));
    }
    return tr.crossEntropy(affine(h, w, b), target);
  };
  const data = [tensor(x, { shape: [batch * length, inputs] }), tensor(labels)];
  return { call: trainer(new tr.optim.Adam(params, adamOptions), lossOf, data) };
}

function embedding() {
  const { batch, lookups, dim } = EMBEDDING;
  const { ids, labels } = trainingData.embedding();
  const params = parameters('embedding');
  const [table, w1, b1, w2, b2] = params;
  const lossOf = (/** @type {Tensor} */ index, /** @type {Tensor} */ target) => {
    const x = tr.embedding(index, table).reshape(batch, lookups * dim);
    return tr.bceWithLogits(affine(relu(affine(x, w1, b1)), w2, b2), target);
  };
  const data = [tensor(ids, { shape: [batch, lookups] }), tensor(Float32Array.from(labels), { shape: [batch, 1] })];
  return { call: trainer(new tr.optim.SGD(params, { lr: SGD_LR }), lossOf, data) };
}

function resnet18(/** @type {number} */ n) {
  const input = tensor(images(n), { shape: [n, 3, 224, 224] });
  const params = parameters('resnet18', false);
  const forward = jit((/** @type {Tensor} */ image) => {
    let at = 0;
    const convBn = (/** @type {Tensor} */ x, /** @type {number} */ stride, /** @type {number} */ padding) => {
      const [w, scale, shift, mean, variance] = params.slice(at, at + 5);
      at += 5;
      const wide = (/** @type {Tensor} */ v) => v.reshape(-1, 1, 1);
      const y = tr.conv2d(x, w, null, { stride, padding });
      return y
        .sub(wide(mean))
        .div(wide(sqrt(variance.add(BN_EPS))))
        .mul(wide(scale))
        .add(wide(shift));
    };
    let x = maxPool2d(relu(convBn(image, 2, 3)), 3, { stride: 2, padding: 1 });
    for (const block of RESNET_BLOCKS) {
      const y = convBn(relu(convBn(x, block.stride, 1)), 1, 1);
      const skip = block.shortcut ? convBn(x, block.stride, 0) : x;
      x = relu(skip.add(y));
    }
    return affine(x.mean([2, 3]), params[at], params[at + 1]);
  });
  /** @type {ArrayLike<number>} */
  let logits = [];
  return {
    call: () => {
      const out = forward(input);
      logits = /** @type {Float32Array} */ (out.dataSync());
      out.dispose();
      return undefined;
    },
    probe: () => [logits[0], logits[1], logits[2]],
  };
}

function gemm(/** @type {number} */ size) {
  const data = gemmData(size);
  const a = tensor(data.a, { shape: [size, size] });
  const b = tensor(data.b, { shape: [size, size] });
  /** @type {number[]} */
  let probed = [];
  return {
    call: () => {
      const c = matmul(a, b);
      const host = /** @type {Float32Array} */ (c.dataSync());
      probed = gemmProbes(size).map((i) => host[i]);
      c.dispose();
      return undefined;
    },
    probe: () => probed,
  };
}

function eager(/** @type {boolean} */ recorded) {
  const { side, ops } = EAGER;
  const x = tensor(rnd(1, side * side, -1, 1), { shape: [side, side], requiresGrad: recorded });
  const b = tensor(rnd(2, side * side, -1, 1), { shape: [side, side] });
  let first = 0;
  return {
    call: () => {
      scope(() => {
        let y = x;
        for (let i = 0; i < ops; i++) y = y.add(b);
        if (y.requiresGrad !== recorded) throw new Error(`requiresGrad of the sum is ${y.requiresGrad}`);
        first = Number(y.dataSync()[0]);
      });
      return undefined;
    },
    probe: () => [first],
  };
}

/** The tier that really runs, so that a row never claims another one. */
function tierInUse() {
  const device = tr.defaultDevice();
  return 'tier' in device && typeof device.tier === 'string' ? device.tier : 'wasm';
}

function prepare(/** @type {import('../workloads.mjs').Workload} */ workload) {
  switch (workload.kind) {
    case 'gemm':
      return gemm(workload.size);
    case 'eager':
      return eager(workload.recorded === true);
    case 'infer':
      return resnet18(workload.size);
    case 'startup':
      return mlp();
    default:
  }
  switch (workload.name) {
    case 'mlp-train':
      return mlp();
    case 'cnn-train':
      return cnn();
    case 'gpt-train':
      return gpt();
    case 'lstm-train':
      return lstm();
    case 'embedding-train':
      return embedding();
    default:
      throw new Refused(`no runner for ${workload.name}`);
  }
}

await serve((workload) => {
  const prepared = prepare(workload);
  const asked = option('tier', 'auto');
  if (asked === 'native' && tierInUse() !== 'native') throw new Refused('the native tier is not to be had here');
  return { ...prepared, info: () => ({ tier: tierInUse(), threads: tr.defaultDevice().threads }) };
});
