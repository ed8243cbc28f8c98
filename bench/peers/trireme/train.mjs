/** Training steps, as a user writes them: plain tensor ops, the whole step (forward, backward, update) in one `jit`. */
import * as tr from 'trireme';
import { ADAM, CNN, EMBEDDING, GPT, initialParams, LSTM, MLP, RESNET_TRAIN, SGD_LR, trainingData } from '../../workloads.mjs';
import { resnet18 } from './vision.mjs';

/** @typedef {import('trireme').Tensor} Tensor */

const { jit, matmul, maxPool2d, relu, sigmoid, softmax, tanh, tensor, zeros } = tr;

const parameters = (/** @type {Parameters<typeof initialParams>[0]} */ model) =>
  initialParams(model).map(({ data, shape }) => tensor(data, { shape, requiresGrad: true }));

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

export function mlp() {
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

export function cnn() {
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

export function gpt() {
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

export function lstm() {
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

export function embedding() {
  const { batch, lookups, dim } = EMBEDDING;
  const { ids, labels } = trainingData.embedding();
  const params = parameters('embedding');
  const [table, w1, b1, w2, b2] = params;
  const lossOf = (/** @type {Tensor} */ index, /** @type {Tensor} */ target) => {
    const x = tr.embedding(index, table, { sparse: true }).reshape(batch, lookups * dim);
    return tr.bceWithLogits(affine(relu(affine(x, w1, b1)), w2, b2), target);
  };
  const data = [tensor(ids, { shape: [batch, lookups] }), tensor(Float32Array.from(labels), { shape: [batch, 1] })];
  return { call: trainer(new tr.optim.SGD(params, { lr: SGD_LR }), lossOf, data) };
}

export function resnet18Train() {
  const { batch } = RESNET_TRAIN;
  const { x, labels } = trainingData.resnet18();
  const net = resnet18();
  const lossOf = (/** @type {Tensor} */ input, /** @type {Tensor} */ target) => tr.crossEntropy(net.call(input), target);
  const data = [tensor(x, { shape: [batch, 3, 224, 224] }), tensor(labels)];
  return { call: trainer(new tr.optim.SGD(net.parameters(), { lr: SGD_LR }), lossOf, data) };
}
