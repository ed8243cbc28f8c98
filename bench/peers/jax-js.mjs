/**
 * jax-js, backend wasm: one `jit` a step (loss, gradients and update), as its tutorial has it.
 * Arrays are owned: passing one gives it away, `.ref` keeps it.
 * Its optimiser package is not needed: Adam is written out inside the jitted step, where it can fuse.
 * Usage: node jax-js.mjs --threads n
 */
import { defaultDevice, init, jit, lax, nn, numpy as np, valueAndGrad, vjp } from '@jax-js/jax';
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
import { Refused, serve } from './serve.mjs';

/** @typedef {import('@jax-js/jax').Array} Arr */

async function start() {
  await init('wasm');
  defaultDevice('wasm');
}

const device = (/** @type {Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>} */ data, /** @type {number[]} */ shape) =>
  np.array(data).reshape(shape);
const parameters = (/** @type {Parameters<typeof initialParams>[0]} */ model) => initialParams(model).map((p) => device(p.data, p.shape));
const zerosLike = (/** @type {Arr[]} */ all) => all.map((p) => np.zeros(p.shape));

const affine = (/** @type {Arr} */ x, /** @type {Arr} */ w, /** @type {Arr} */ b) => np.matmul(x, w).add(b);

/** Mean softmax cross entropy; `hot` is the one-hot labels. */
const crossEntropy = (/** @type {Arr} */ logits, /** @type {Arr} */ hot) =>
  nn
    .logSoftmax(logits, -1)
    .mul(hot)
    .sum()
    .mul(-1 / logits.shape[0]);

/**
 * Rows of a table. `jit` refuses a gather whose gradient arrives through a view ("scatter input is not imm");
 * a product with an argument that happens to be 1 stands between them.
 */
const rowsOf = (/** @type {Arr} */ table, /** @type {Arr} */ ids, /** @type {Arr} */ unit) => np.take(table, ids, 0).mul(unit);
const GATHER_NOTE =
  'jit refuses the gradient of gather followed by a reshape ("scatter input is not imm"): worked around by a product with 1';

const oneHot = (/** @type {Int32Array<ArrayBuffer>} */ labels, /** @type {number} */ classes) => nn.oneHot(np.array(labels), classes);

/**
 * A training call.
 * @param {Arr[]} params
 * @param {(params: Arr[], data: Arr[]) => Arr} loss consumes its arguments
 * @param {Arr[]} data constant inputs
 * @param {'adam' | 'adamw' | 'sgd'} optimizer
 */
function trainer(params, loss, data, optimizer) {
  if (optimizer === 'sgd') {
    /** @type {(p: Arr[], d: Arr[]) => any} */
    const step = jit((/** @type {Arr[]} */ p, /** @type {Arr[]} */ d) => {
      const [value, grads] = valueAndGrad(loss)(
        p.map((v) => v.ref),
        d,
      );
      return [value, p.map((v, i) => v.sub(grads[i].mul(SGD_LR)))];
    });
    return () => {
      const [value, next] = step(
        params,
        data.map((d) => d.ref),
      );
      params = next;
      return value.js();
    };
  }
  const decay = optimizer === 'adamw' ? 1 - ADAM.lr * ADAM.weightDecay : 1;
  /** @type {(p: Arr[], m: Arr[], v: Arr[], stepSize: Arr, correction2: Arr, d: Arr[]) => any} */
  const step = jit(
    (
      /** @type {Arr[]} */ p,
      /** @type {Arr[]} */ m,
      /** @type {Arr[]} */ v,
      /** @type {Arr} */ stepSize,
      /** @type {Arr} */ correction2,
      /** @type {Arr[]} */ d,
    ) => {
      const [value, grads] = valueAndGrad(loss)(
        p.map((x) => x.ref),
        d,
      );
      const nextM = m.map((x, i) => x.mul(ADAM.beta1).add(grads[i].ref.mul(1 - ADAM.beta1)));
      const nextV = v.map((x, i) => x.mul(ADAM.beta2).add(np.square(grads[i]).mul(1 - ADAM.beta2)));
      const nextP = p.map((x, i) => {
        const denominator = np.sqrt(nextV[i].ref.div(correction2.ref)).add(ADAM.eps);
        const kept = decay === 1 ? x : x.mul(decay);
        return kept.sub(nextM[i].ref.mul(stepSize.ref).div(denominator));
      });
      stepSize.dispose();
      correction2.dispose();
      return [value, nextP, nextM, nextV];
    },
  );
  let m = zerosLike(params);
  let v = zerosLike(params);
  let t = 0;
  return () => {
    t++;
    const stepSize = np.array(ADAM.lr / (1 - ADAM.beta1 ** t));
    const correction2 = np.array(1 - ADAM.beta2 ** t);
    const [value, nextP, nextM, nextV] = step(
      params,
      m,
      v,
      stepSize,
      correction2,
      data.map((d) => d.ref),
    );
    [params, m, v] = [nextP, nextM, nextV];
    return value.js();
  };
}

function mlp() {
  const { x, labels } = trainingData.mlp();
  const data = [device(x, [MLP.batch, 784]), oneHot(labels, 10)];
  return {
    call: trainer(
      parameters('mlp'),
      ([w1, b1, w2, b2, w3, b3], [input, hot]) => {
        const h1 = nn.relu(affine(input, w1, b1));
        const h2 = nn.relu(affine(h1, w2, b2));
        return crossEntropy(affine(h2, w3, b3), hot);
      },
      data,
      'adam',
    ),
  };
}

function cnn() {
  const { x, labels } = trainingData.cnn();
  const data = [device(x, [CNN.batch, 1, CNN.side, CNN.side]), oneHot(labels, CNN.classes)];
  const conv = (/** @type {Arr} */ h, /** @type {Arr} */ w, /** @type {Arr} */ b) =>
    lax.conv(h, w, [1, 1], 'VALID').add(b.reshape([b.shape[0], 1, 1]));
  return {
    call: trainer(
      parameters('cnn'),
      ([w1, b1, w2, b2, w3, b3, w4, b4], [input, hot]) => {
        const h1 = nn.relu(conv(input, w1, b1));
        const h2 = nn.relu(conv(h1, w2, b2));
        const pooled = lax.reduceWindow(h2, (window) => np.max(window), [2, 2], [2, 2]);
        const flat = pooled.reshape([CNN.batch, CNN.flat]);
        return crossEntropy(affine(nn.relu(affine(flat, w3, b3)), w4, b4), hot);
      },
      data,
      'adam',
    ),
  };
}

function layerNorm(/** @type {Arr} */ x, /** @type {Arr} */ scale, /** @type {Arr} */ shift) {
  const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
  return centred
    .div(np.sqrt(variance.add(1e-5)))
    .mul(scale)
    .add(shift);
}

function gelu(/** @type {Arr} */ x) {
  const inner = x.ref.add(x.ref.mul(x.ref).mul(x.ref).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(np.tanh(inner).add(1));
}

function gpt() {
  const { vocab, layers, dim, heads, length, batch } = GPT;
  const { tokens, labels } = trainingData.gpt();
  const rows = batch * length;
  const data = [np.array(tokens), oneHot(labels, vocab)];
  const causal = Float32Array.from({ length: length * length }, (_, i) => (i % length > Math.floor(i / length) ? -1e9 : 0));
  data.push(device(causal, [length, length]), np.array(1));
  return {
    call: trainer(
      parameters('gpt'),
      (p, [ids, hot, mask, unit]) => {
        let at = 2;
        const next = () => p[at++];
        let h = rowsOf(p[0], ids, unit).reshape([batch, length, dim]).add(p[1]).reshape([rows, dim]);
        const headsOf = (/** @type {Arr} */ y) => y.reshape([batch, length, heads, dim / heads]).transpose([0, 2, 1, 3]);
        for (let i = 0; i < layers; i++) {
          const qkv = affine(layerNorm(h.ref, next(), next()), next(), next());
          const [q, k, v] = np.split(qkv, 3, 1).map(headsOf);
          const scores = np
            .matmul(q, k.transpose([0, 1, 3, 2]))
            .mul(1 / Math.sqrt(dim / heads))
            .add(mask.ref);
          const mixed = np.matmul(nn.softmax(scores, -1), v).transpose([0, 2, 1, 3]).reshape([rows, dim]);
          h = h.add(affine(mixed, next(), next()));
          const up = gelu(affine(layerNorm(h.ref, next(), next()), next(), next()));
          h = h.add(affine(up, next(), next()));
        }
        mask.dispose();
        return crossEntropy(np.matmul(layerNorm(h, next(), next()), next()), hot);
      },
      data,
      'adamw',
    ),
    note: GATHER_NOTE,
  };
}

function lstm() {
  const { batch, length, inputs, hidden, classes } = LSTM;
  const { x, labels } = trainingData.lstm();
  const data = [device(x, [batch * length, inputs]), oneHot(labels, classes)];
  return {
    call: trainer(
      parameters('lstm'),
      ([wx, wh, bias, w, b], [input, hot]) => {
        const gates = affine(input, wx, bias).reshape([batch, length, 4 * hidden]);
        let h = np.zeros([batch, hidden]);
        let c = np.zeros([batch, hidden]);
        for (const gate of np.split(gates, length, 1)) {
          const all = gate.reshape([batch, 4 * hidden]).add(np.matmul(h, wh.ref));
          const [i, f, g, o] = np.split(all, 4, 1);
          c = nn
            .sigmoid(f)
            .mul(c)
            .add(nn.sigmoid(i).mul(np.tanh(g)));
          h = nn.sigmoid(o).mul(np.tanh(c.ref));
        }
        wh.dispose();
        c.dispose();
        return crossEntropy(affine(h, w, b), hot);
      },
      data,
      'adam',
    ),
  };
}

function embedding() {
  const { batch, lookups, dim } = EMBEDDING;
  const { ids, labels } = trainingData.embedding();
  const data = [np.array(ids), device(Float32Array.from(labels), [batch, 1]), np.array(1)];
  return {
    call: trainer(
      parameters('embedding'),
      ([table, w1, b1, w2, b2], [indices, target, unit]) => {
        const x = rowsOf(table, indices, unit).reshape([batch, lookups * dim]);
        const z = affine(nn.relu(affine(x, w1, b1)), w2, b2);
        // max(z, 0) - z y + log(1 + exp(-|z|))
        const softplus = np.log(np.exp(np.absolute(z.ref).neg()).add(1));
        return np.mean(nn.relu(z.ref).sub(z.mul(target)).add(softplus));
      },
      data,
      'sgd',
    ),
    note: GATHER_NOTE,
  };
}

function resnet18(/** @type {number} */ n) {
  const input = device(images(n), [n, 3, 224, 224]);
  const params = parameters('resnet18');
  const forward = jit((/** @type {Arr[]} */ p, /** @type {Arr} */ image) => {
    let at = 0;
    const convBn = (/** @type {Arr} */ x, /** @type {number} */ stride, /** @type {number} */ pad) => {
      const [w, scale, shift, mean, variance] = p.slice(at, at + 5);
      at += 5;
      const channels = scale.shape[0];
      const y = lax.conv(
        x,
        w,
        [stride, stride],
        [
          [pad, pad],
          [pad, pad],
        ],
      );
      const wide = (/** @type {Arr} */ v) => v.reshape([channels, 1, 1]);
      return y
        .sub(wide(mean))
        .div(wide(np.sqrt(variance.add(BN_EPS))))
        .mul(wide(scale))
        .add(wide(shift));
    };
    let x = nn.relu(convBn(image, 2, 3));
    const padded = np.pad(x, [
      [0, 0],
      [0, 0],
      [1, 1],
      [1, 1],
    ]); // after ReLU zero is as good as minus infinity
    x = lax.reduceWindow(padded, (window) => np.max(window), [3, 3], [2, 2]);
    for (const block of RESNET_BLOCKS) {
      let y = nn.relu(convBn(x.ref, block.stride, 1));
      y = convBn(y, 1, 1);
      if (block.shortcut) x = convBn(x, block.stride, 0);
      x = nn.relu(x.add(y));
    }
    return affine(np.mean(x, [2, 3]), p[at], p[at + 1]);
  });
  /** @type {Float32Array} */
  let logits = new Float32Array(0);
  return {
    call: () => {
      logits = /** @type {Float32Array} */ (
        forward(
          params.map((p) => p.ref),
          input.ref,
        ).dataSync()
      );
      return undefined;
    },
    probe: () => Array.from(logits.slice(0, 3)),
  };
}

function gemm(/** @type {number} */ size) {
  const data = gemmData(size);
  const a = device(data.a, [size, size]);
  const b = device(data.b, [size, size]);
  /** @type {number[]} */
  let probed = [];
  return {
    call: () => {
      const host = np.matmul(a.ref, b.ref).dataSync();
      probed = gemmProbes(size).map((i) => host[i]);
      return undefined;
    },
    probe: () => probed,
  };
}

function eager(/** @type {boolean} */ recorded) {
  const { side, ops } = EAGER;
  const x = device(rnd(1, side * side, -1, 1), [side, side]);
  const b = device(rnd(2, side * side, -1, 1), [side, side]);
  let first = 0;
  const chain = (/** @type {Arr} */ y) => {
    for (let i = 0; i < ops; i++) y = y.add(b.ref);
    return y;
  };
  return {
    call: () => {
      if (!recorded) {
        first = chain(x.ref).dataSync()[0];
        return undefined;
      }
      const [y, pullback] = vjp(chain, [x.ref]);
      first = y.dataSync()[0];
      pullback.dispose();
      return undefined;
    },
    probe: () => [first],
  };
}

let started = false;
await serve(async (workload) => {
  if (!started) await start();
  started = true;
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
