/** What a workload costs at least: multiplications and additions of its products, and bytes that have to move. */
import { BERT, CNN, EMBEDDING, GPT, LSTM, MLP, MOBILENET, MOBILENET_BLOCKS, RESNET_BLOCKS, RESNET_TRAIN } from './models.mjs';
import { ONNX } from './onnx.mjs';
import { ATTENTION, CONVS, ROWS } from './ops.mjs';

const product = (/** @type {number} */ m, /** @type {number} */ k, /** @type {number} */ n) => 2 * m * k * n;

/** A training step has the gradient of the weight and that of the input besides; there is none of the data. */
const FORWARD_AND_WEIGHT = 2;
const ALL_THREE = 3;

function mlp() {
  return MLP.sizes
    .slice(1)
    .reduce((sum, n, i) => sum + (i === 0 ? FORWARD_AND_WEIGHT : ALL_THREE) * product(MLP.batch, MLP.sizes[i], n), 0);
}

function cnn() {
  const { batch, side, channels, flat, hidden, classes } = CNN;
  const [c0, c1, c2] = channels;
  const first = product(batch * (side - 2) ** 2, 9 * c0, c1);
  const second = product(batch * (side - 4) ** 2, 9 * c1, c2);
  return FORWARD_AND_WEIGHT * first + ALL_THREE * (second + product(batch, flat, hidden) + product(batch, hidden, classes));
}

function gpt() {
  const { vocab, layers, dim, length, batch, hidden } = GPT;
  const tokens = batch * length;
  const layer = product(tokens, dim, 4 * dim) + 2 * product(tokens, dim, hidden) + 2 * product(tokens, dim, length);
  return ALL_THREE * (layers * layer + product(tokens, dim, vocab));
}

function lstm() {
  const { batch, length, inputs, hidden, classes } = LSTM;
  const fromInput = product(batch * length, inputs, 4 * hidden);
  return FORWARD_AND_WEIGHT * fromInput + ALL_THREE * (length * product(batch, hidden, 4 * hidden) + product(batch, hidden, classes));
}

function embedding() {
  const { batch, dim, lookups, hidden } = EMBEDDING;
  return ALL_THREE * (product(batch, dim * lookups, hidden) + product(batch, hidden, 1));
}

/** Forward products of ResNet-18 for one image; the stem's alone too. */
function resnet18() {
  const stem = product(112 * 112, 3 * 49, 64);
  let side = 56;
  let all = stem + product(1, 512, 1000);
  for (const { inputs, outputs, stride, shortcut } of RESNET_BLOCKS) {
    side /= stride;
    all += product(side * side, 9 * inputs, outputs) + product(side * side, 9 * outputs, outputs);
    if (shortcut) all += product(side * side, inputs, outputs);
  }
  return { stem, all };
}

function mobilenet() {
  let side = MOBILENET.side / 2;
  let all = product(side * side, 27, MOBILENET.stem);
  for (const { inputs, hidden, outputs, stride } of MOBILENET_BLOCKS) {
    if (hidden !== inputs) all += product(side * side, inputs, hidden);
    side /= stride;
    all += product(side * side, 9, hidden) + product(side * side, hidden, outputs);
  }
  return all + product(side * side, 320, MOBILENET.last) + product(1, MOBILENET.last, MOBILENET.classes);
}

function bert() {
  const { batch, length, layers, dim, hidden } = BERT;
  const tokens = batch * length;
  return layers * (product(tokens, dim, 4 * dim) + 2 * product(tokens, dim, hidden) + 2 * product(tokens, dim, length));
}

/**
 * @param {string} name of the workload
 * @param {number} size
 * @returns {{ flops: number, bytes: number }} bytes only where they are the limit
 */
export function workOf(name, size) {
  const matrix = 4 * ROWS.rows * ROWS.columns;
  const [family] = name.split('-');
  switch (family) {
    case 'gemm':
      return { flops: product(size, size, size), bytes: 0 };
    case 'mlp':
      return { flops: mlp(), bytes: 0 };
    case 'cnn':
      return { flops: cnn(), bytes: 0 };
    case 'gpt':
      return { flops: gpt(), bytes: 0 };
    case 'lstm':
      return { flops: lstm(), bytes: 0 };
    case 'embedding':
      return { flops: embedding(), bytes: 0 };
    case 'resnet18': {
      const { stem, all } = resnet18();
      return { flops: name === 'resnet18-train' ? RESNET_TRAIN.batch * (ALL_THREE * all - stem) : size * all, bytes: 0 };
    }
    case 'mobilenetV2':
      return { flops: mobilenet(), bytes: 0 };
    case 'bert':
      return { flops: bert(), bytes: 0 };
    case 'ocr':
    case 'vad':
      return { flops: ONNX[name].flops, bytes: 0 };
    case 'conv':
    case 'depthwise': {
      const { batch, channels, side, groups } = CONVS[name.replace(/-d[xw]$/, '')];
      const image = batch * channels * side * side;
      return { flops: product(batch * side * side, 9 * (channels / groups), channels), bytes: groups === 1 ? 0 : 8 * image };
    }
    case 'attention': {
      const { batch, heads, length, features } = ATTENTION;
      const scores = product(batch * heads * length, features, length);
      // Without a place for all scores they are computed once more on the way back: seven products in all.
      return { flops: (name === 'attention-train' ? 7 : 2) * scores, bytes: 0 };
    }
    case 'softmax':
    case 'layernorm':
    case 'gelu':
      return { flops: 0, bytes: 2 * matrix };
    case 'add':
      return { flops: 0, bytes: 3 * matrix };
    case 'sum':
      return { flops: 0, bytes: matrix };
    default:
      return { flops: 0, bytes: 0 };
  }
}
