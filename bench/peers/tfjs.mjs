/**
 * TensorFlow.js, backend wasm or cpu, as its documentation has it: variables, `variableGrads` inside the optimiser, `tidy`.
 * Usage: node tfjs.mjs --backend wasm|cpu --threads n
 */
import * as tf from '@tensorflow/tfjs';
import {
  ADAM,
  BN_EPS,
  CNN,
  EAGER,
  EMBEDDING,
  GPT,
  gemmData,
  gemmProbes,
  images,
  initialParams,
  LSTM,
  MLP,
  RESNET_BLOCKS,
  rnd,
  SGD_LR,
  trainingData,
} from '../workloads.mjs';
import { option, Refused, serve } from './serve.mjs';

const backend = option('backend', 'wasm');
const threads = Number(option('threads', '1'));

async function start() {
  if (backend === 'wasm') {
    const wasm = await import('@tensorflow/tfjs-backend-wasm');
    wasm.setThreadsCount(threads);
  } else {
    await import('@tensorflow/tfjs-backend-cpu');
  }
  if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js could not start its ${backend} backend`);
  await tf.ready();
}

/** Parameters as variables, each turned into the layout TensorFlow.js wants. */
function variables(/** @type {Parameters<typeof initialParams>[0]} */ model, trainable = true) {
  return initialParams(model).map(({ name, shape, data }) => {
    const value = tf.tensor(data, shape);
    if (shape.length !== 4) return tf.variable(value, trainable, name);
    const hwio = tf.transpose(value, [2, 3, 1, 0]);
    value.dispose();
    return tf.variable(hwio, trainable, name);
  });
}

const affine = (/** @type {tf.Tensor} */ x, /** @type {tf.Tensor} */ w, /** @type {tf.Tensor} */ b) => tf.add(tf.matMul(x, w), b);

/** Mean softmax cross entropy against constant one-hot labels. */
function crossEntropy(/** @type {Int32Array} */ labels, /** @type {number} */ classes) {
  const target = tf.keep(tf.oneHot(tf.tensor1d(labels, 'int32'), classes));
  return (/** @type {tf.Tensor} */ logits) => tf.losses.softmaxCrossEntropy(target, logits);
}

/** A training call: loss and gradients, update, loss on the host. */
function trainer(/** @type {tf.Variable[]} */ vars, /** @type {tf.Optimizer} */ optimizer, /** @type {() => any} */ loss, decay = 0) {
  return () => {
    const value = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(loss, vars);
      // Decoupled weight decay is not in TensorFlow.js; it is one product per variable before Adam's own step.
      if (decay > 0) for (const v of vars) v.assign(tf.mul(v, 1 - decay));
      optimizer.applyGradients(grads);
      return value;
    });
    const host = value.dataSync()[0];
    value.dispose();
    return host;
  };
}

const adam = () => tf.train.adam(ADAM.lr, ADAM.beta1, ADAM.beta2, ADAM.eps);

function mlp() {
  const { x, labels } = trainingData.mlp();
  const input = tf.tensor2d(x, [MLP.batch, 784]);
  const vars = variables('mlp');
  const loss = crossEntropy(labels, 10);
  return {
    call: trainer(vars, adam(), () => {
      let h = /** @type {tf.Tensor} */ (input);
      for (let i = 0; i < 3; i++) {
        h = affine(h, vars[2 * i], vars[2 * i + 1]);
        if (i < 2) h = tf.relu(h);
      }
      return loss(h);
    }),
  };
}

/**
 * A valid convolution out of slices and one product. Everything in it has a gradient on the wasm backend, where conv2d has none;
 * on cpu a step takes a fraction of the minutes that the gradient of conv2d needs.
 */
function convBySlices(/** @type {tf.Tensor4D} */ x, /** @type {tf.Tensor4D} */ w) {
  const [n, height, width, inputs] = x.shape;
  const [kh, kw, , outputs] = w.shape;
  const [h, v] = [height - kh + 1, width - kw + 1];
  const patches = [];
  for (let i = 0; i < kh; i++) for (let j = 0; j < kw; j++) patches.push(tf.slice(x, [0, i, j, 0], [n, h, v, inputs]));
  const columns = tf.reshape(tf.concat(patches, 3), [n * h * v, kh * kw * inputs]);
  return tf.reshape(tf.matMul(columns, tf.reshape(w, [kh * kw * inputs, outputs])), [n, h, v, outputs]);
}

function cnn() {
  const { x, labels } = trainingData.cnn();
  // One channel: NCHW and NHWC are the same bytes.
  const input = tf.tensor4d(x, [CNN.batch, CNN.side, CNN.side, 1]);
  const [w1, b1, w2, b2, w3, b3, w4, b4] = variables('cnn');
  const loss = crossEntropy(labels, CNN.classes);
  const conv = convBySlices;
  const forward = () => {
    let h = tf.relu(tf.add(conv(input, /** @type {tf.Tensor4D} */ (/** @type {unknown} */ (w1))), b1));
    h = tf.relu(tf.add(conv(/** @type {tf.Tensor4D} */ (h), /** @type {tf.Tensor4D} */ (/** @type {unknown} */ (w2))), b2));
    h = tf.maxPool(/** @type {tf.Tensor4D} */ (h), 2, 2, 'valid');
    h = tf.reshape(tf.transpose(h, [0, 3, 1, 2]), [CNN.batch, CNN.flat]);
    return loss(affine(tf.relu(affine(h, w3, b3)), w4, b4));
  };
  const why = lacks('Conv2DBackpropFilter')
    ? 'no gradient for conv2d (kernel Conv2DBackpropFilter is not registered)'
    : 'the gradient of conv2d takes minutes a step';
  return {
    call: trainer([w1, b1, w2, b2, w3, b3, w4, b4], adam(), forward),
    note: `${why}: worked around by nine slices and a matMul`,
  };
}

/** True if the backend has no such kernel; without it the gradient that needs it throws. */
const lacks = (/** @type {string} */ kernel) => tf.getKernel(kernel, backend) === undefined;

function gpt() {
  const { vocab, layers, dim, heads, length, batch } = GPT;
  const { tokens, labels } = trainingData.gpt();
  const vars = variables('gpt');
  const ids = tf.tensor1d(tokens, 'int32');
  const loss = crossEntropy(labels, vocab);
  const rows = batch * length;
  const mask = tf.keep(
    tf.tidy(() => {
      const lower = tf.linalg.bandPart(tf.ones([length, length]), -1, 0);
      return tf.mul(tf.sub(1, lower), -1e9);
    }),
  );
  const norm = (/** @type {tf.Tensor} */ x, /** @type {tf.Tensor} */ scale, /** @type {tf.Tensor} */ shift) => {
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const variance = tf.mean(tf.square(centred), -1, true);
    return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, 1e-5))), scale), shift);
  };
  const gelu = (/** @type {tf.Tensor} */ x) => {
    const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
  };
  const headsOf = (/** @type {tf.Tensor} */ x) => tf.transpose(tf.reshape(x, [batch, length, heads, dim / heads]), [0, 2, 1, 3]);
  const build = (/** @type {(table: tf.Tensor) => tf.Tensor} */ embed) => () => {
    let at = 2;
    const next = () => vars[at++];
    let x = tf.reshape(tf.add(tf.reshape(embed(vars[0]), [batch, length, dim]), vars[1]), [rows, dim]);
    for (let i = 0; i < layers; i++) {
      const [q, k, v] = tf.split(affine(norm(x, next(), next()), next(), next()), 3, 1).map(headsOf);
      const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(dim / heads)), mask);
      const mixed = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]), [rows, dim]);
      x = tf.add(x, affine(mixed, next(), next()));
      const up = gelu(affine(norm(x, next(), next()), next(), next()));
      x = tf.add(x, affine(up, next(), next()));
    }
    return loss(tf.matMul(norm(x, next(), next()), next()));
  };
  const plain = build((table) => tf.gather(table, ids));
  const decay = ADAM.lr * ADAM.weightDecay;
  if (!lacks('UnsortedSegmentSum')) return { call: trainer(vars, adam(), plain, decay) };
  // On the wasm backend oneHot asked for float32 writes wrong values; the int32 one is right.
  const hot = tf.keep(tf.cast(tf.oneHot(ids, vocab), 'float32'));
  return {
    call: trainer(
      vars,
      adam(),
      build((table) => tf.matMul(hot, table)),
      decay,
    ),
    note: `no gradient for gather (kernel UnsortedSegmentSum is not registered): worked around by a one-hot matMul`,
  };
}

function lstm() {
  const { batch, length, inputs, hidden, classes } = LSTM;
  const { x, labels } = trainingData.lstm();
  const input = tf.tensor3d(x, [batch, length, inputs]);
  const vars = variables('lstm');
  const [wx, wh, bias, w, b] = vars;
  const loss = crossEntropy(labels, classes);
  return {
    call: trainer(vars, adam(), () => {
      // The input half of all gates in one product, as an optimised cell does.
      const gates = tf.unstack(tf.reshape(affine(tf.reshape(input, [batch * length, inputs]), wx, bias), [batch, length, 4 * hidden]), 1);
      let h = /** @type {tf.Tensor} */ (tf.zeros([batch, hidden]));
      let c = h;
      for (const gate of gates) {
        const [i, f, g, o] = tf.split(tf.add(gate, tf.matMul(h, wh)), 4, 1);
        c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
        h = tf.mul(tf.sigmoid(o), tf.tanh(c));
      }
      return loss(affine(h, w, b));
    }),
  };
}

function embedding() {
  const { batch, lookups, dim } = EMBEDDING;
  const { ids, labels } = trainingData.embedding();
  const indices = tf.tensor1d(ids, 'int32');
  const target = tf.tensor2d(Float32Array.from(labels), [batch, 1]);
  const vars = variables('embedding');
  const [table, w1, b1, w2, b2] = vars;
  const forward = () => {
    const x = tf.reshape(lookup(table), [batch, lookups * dim]);
    return tf.losses.sigmoidCrossEntropy(target, affine(tf.relu(affine(x, w1, b1)), w2, b2));
  };
  // The gradient that comes with gather, unsortedSegmentSum, is missing on wasm; on cpu it holds a mask of ids for each of the
  // million rows (8 GB after four minutes, and no step done).
  const column = tf.keep(tf.expandDims(indices, 1));
  const lookup = tf.customGrad((/** @type {any} */ t) => ({
    value: tf.gather(t, indices),
    gradFunc: (/** @type {tf.Tensor} */ dy) => tf.scatterND(column, dy, t.shape),
  }));
  return {
    call: trainer(vars, tf.train.sgd(SGD_LR), forward),
    note: `${lacks('UnsortedSegmentSum') ? 'no gradient for gather (kernel UnsortedSegmentSum is not registered)' : 'the gradient of gather takes minutes a step with a million rows'}: worked around by a custom gradient with scatterND`,
  };
}

function resnet18(/** @type {number} */ n) {
  const input = tf.keep(tf.transpose(tf.tensor4d(images(n), [n, 3, 224, 224]), [0, 2, 3, 1]));
  const vars = variables('resnet18', false);
  /** @type {Float32Array} */
  let logits = new Float32Array(0);
  const forward = () => {
    let at = 0;
    const convBn = (/** @type {tf.Tensor} */ x, /** @type {number} */ stride, /** @type {number} */ pad) => {
      const [w, scale, shift, mean, variance] = vars.slice(at, at + 5);
      at += 5;
      const y = tf.conv2d(/** @type {tf.Tensor4D} */ (x), /** @type {tf.Tensor4D} */ (/** @type {unknown} */ (w)), stride, pad);
      return tf.batchNorm(
        y,
        /** @type {any} */ (mean),
        /** @type {any} */ (variance),
        /** @type {any} */ (shift),
        /** @type {any} */ (scale),
        BN_EPS,
      );
    };
    let x = tf.relu(convBn(input, 2, 3));
    x = tf.maxPool(/** @type {tf.Tensor4D} */ (x), 3, 2, 1);
    for (const block of RESNET_BLOCKS) {
      let y = tf.relu(convBn(x, block.stride, 1));
      y = convBn(y, 1, 1);
      if (block.shortcut) x = convBn(x, block.stride, 0);
      x = tf.relu(tf.add(x, y));
    }
    return affine(tf.mean(x, [1, 2]), vars[at], vars[at + 1]);
  };
  return {
    call: () => {
      const out = tf.tidy(forward);
      logits = /** @type {Float32Array} */ (out.dataSync());
      out.dispose();
      return undefined;
    },
    probe: () => Array.from(logits.slice(0, 3)),
  };
}

function gemm(/** @type {number} */ size) {
  const data = gemmData(size);
  const a = tf.tensor2d(data.a, [size, size]);
  const b = tf.tensor2d(data.b, [size, size]);
  // The product is in memory when the call returns.
  /** @type {tf.Tensor | undefined} */
  let last;
  return {
    call: () => {
      last?.dispose();
      last = tf.matMul(a, b);
      return undefined;
    },
    probe: () => {
      const host = last?.dataSync() ?? [];
      return gemmProbes(size).map((i) => host[i]);
    },
  };
}

function eager(/** @type {boolean} */ recorded) {
  const { side, ops } = EAGER;
  const x = tf.variable(tf.tensor2d(rnd(1, side * side, -1, 1), [side, side]));
  const b = tf.tensor2d(rnd(2, side * side, -1, 1), [side, side]);
  let first = 0;
  const chain = () => {
    let y = /** @type {tf.Tensor} */ (x);
    for (let i = 0; i < ops; i++) y = tf.add(y, b);
    return y;
  };
  return {
    call: () => {
      const engine = tf.engine();
      if (!recorded) {
        first = tf.tidy(chain).dataSync()[0];
        return undefined;
      }
      // The scope in which TensorFlow.js's own gradient functions record; ended without a backward pass.
      engine.startScope('recorded');
      /** @type {any} */ (engine).startTape();
      try {
        first = chain().dataSync()[0];
      } finally {
        /** @type {any} */ (engine).endTape();
        engine.endScope();
      }
      return undefined;
    },
    probe: () => [first],
  };
}

await serve(async (workload) => {
  if (workload.kind !== 'startup' || tf.engine().backendName !== backend) await start();
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
});
