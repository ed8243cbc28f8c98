/** Single operations. A result is in memory when the call returns; it is read once, at the end. */
import * as tr from 'trireme';
import { ATTENTION, attentionData, CONVS, convData, EAGER, gemmData, gemmProbes, ROWS, rnd, rowsData, summary } from '../../workloads.mjs';

/** @typedef {import('trireme').Tensor} Tensor */

const { jit, matmul, scope, tensor } = tr;

/**
 * Keeps the results of the last call for the probe.
 * @param {() => Tensor[]} run
 * @param {(values: Float32Array[]) => number[]} probe
 * @returns {import('../serve.mjs').Prepared}
 */
function kept(run, probe = (values) => values.flatMap(summary)) {
  /** @type {Tensor[]} */
  let last = [];
  return {
    call: () => {
      for (const t of last) t.dispose();
      last = run();
      return undefined;
    },
    probe: () => probe(last.map((t) => /** @type {Float32Array} */ (t.dataSync()))),
  };
}

export function gemm(/** @type {number} */ size) {
  const data = gemmData(size);
  const a = tensor(data.a, { shape: [size, size] });
  const b = tensor(data.b, { shape: [size, size] });
  return kept(
    () => [matmul(a, b)],
    ([values]) => gemmProbes(size).map((i) => values[i]),
  );
}

export function eager(/** @type {boolean} */ recorded) {
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

function convolution(/** @type {string} */ name) {
  const gradient = /-d([xw])$/.exec(name)?.[1];
  const size = CONVS[name.replace(/-d[xw]$/, '')];
  const { batch, channels, side, groups } = size;
  const data = convData(size);
  const image = [batch, channels, side, side];
  const x = tensor(data.x, { shape: image, requiresGrad: gradient === 'x' });
  const w = tensor(data.w, { shape: [channels, channels / groups, 3, 3], requiresGrad: gradient === 'w' });
  const g = tensor(data.g, { shape: image });
  const forward = (/** @type {Tensor} */ a, /** @type {Tensor} */ b) => tr.conv2d(a, b, null, { padding: 1, groups });
  const run = jit((/** @type {Tensor} */ a, /** @type {Tensor} */ b, /** @type {Tensor} */ c) => {
    if (gradient === undefined) return forward(a, b);
    return /** @type {Tensor} */ (tr.grad(forward(a, b), [gradient === 'x' ? a : b], { gradOutputs: c })[0]);
  });
  return kept(() => [run(x, w, g)]);
}

function attention(/** @type {boolean} */ training) {
  const { batch, heads, length, features } = ATTENTION;
  const shape = [batch, heads, length, features];
  const [q, k, v, g] = attentionData().map((data, i) => tensor(data, { shape, requiresGrad: training && i < 3 }));
  const run = jit((/** @type {Tensor[]} */ ...all) => {
    const [a, b, c, d] = all;
    const y = tr.scaledDotProductAttention(a, b, c);
    return training ? [y.detach(), .../** @type {Tensor[]} */ (tr.grad(y, [a, b, c], { gradOutputs: d }))] : [y];
  });
  return kept(() => run(q, k, v, g));
}

function rows(/** @type {string} */ name) {
  const { rows: count, columns, eps } = ROWS;
  const [x, y] = rowsData().map((data) => tensor(data, { shape: [count, columns] }));
  const [scale, shift] = [tr.ones([columns]), tr.zeros([columns])];
  /** @type {Record<string, (a: Tensor, b: Tensor) => Tensor>} */
  const functions = {
    softmax: (a) => tr.softmax(a, -1),
    layernorm: (a) => tr.layerNorm(a, [columns], scale, shift, { eps }),
    gelu: (a) => tr.gelu(a),
    add: (a, b) => a.add(b),
    sum: (a) => a.sum(1),
  };
  const run = jit(functions[name]);
  return kept(() => [run(x, y)]);
}

/** The operation of that name. */
export function operation(/** @type {string} */ name) {
  if (/^(conv|depthwise)-/.test(name)) return convolution(name);
  if (name.startsWith('attention')) return attention(name === 'attention-train');
  return rows(name);
}
