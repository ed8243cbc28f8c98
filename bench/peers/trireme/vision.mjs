/** Networks for images and text, of the library's layers, with the weights of the other sides. */
import * as tr from 'trireme';
import { BERT, BN_EPS, images, initialParams, MOBILENET_BLOCKS, RESNET_BLOCKS, sentence, summary } from '../../workloads.mjs';

/** @typedef {import('trireme').Tensor} Tensor */
/** @typedef {import('../serve.mjs').Prepared} Prepared */

const { jit, nn, tensor } = tr;

/** Hands out a model's parameters in the order of their seeds, in layers. */
class Weights {
  constructor(/** @type {Parameters<typeof initialParams>[0]} */ model) {
    this.left = initialParams(model);
  }

  next() {
    const param = this.left.shift();
    if (!param) throw new Error('more layers than parameters');
    return tensor(param.data, { shape: param.shape });
  }

  /** The next values as parameters of a layer, in place of those it was made with. */
  fill(/** @type {any} */ layer, /** @type {string[]} */ names) {
    for (const name of names) {
      const value = this.next();
      const old = layer[name];
      if (old.shape.join() !== value.shape.join()) throw new Error(`${name}: [${old.shape}] and [${value.shape}]`);
      layer[name] = old.requiresGrad ? nn.parameter(value) : nn.buffer(value);
      old.dispose();
    }
    return layer;
  }

  /** From weights [in, out]. */
  linear() {
    const [weight, bias] = [this.next(), this.next()];
    const layer = new nn.Linear(1, 1);
    layer.weight.dispose();
    layer.bias?.dispose();
    layer.weight = nn.parameter(weight.t().contiguous());
    layer.bias = nn.parameter(bias);
    weight.dispose();
    return Object.assign(layer, { inFeatures: layer.weight.shape[1], outFeatures: layer.weight.shape[0] });
  }

  convBn(/** @type {{ stride?: number, padding?: number, groups?: number }} */ options = {}) {
    const [outputs, inputs, kernel] = this.left[0].shape;
    const conv = this.fill(new nn.Conv2d(inputs * (options.groups ?? 1), outputs, kernel, { ...options, bias: false }), ['weight']);
    const norm = this.fill(new nn.BatchNorm2d(outputs, { eps: BN_EPS }), ['weight', 'bias', 'runningMean', 'runningVar']);
    return new nn.Sequential(conv, norm);
  }

  layerNorm(/** @type {number} */ eps) {
    return this.fill(new nn.LayerNorm(this.left[0].shape, { eps }), ['weight', 'bias']);
  }

  embedding() {
    return this.fill(new nn.Embedding(this.left[0].shape[0], this.left[0].shape[1]), ['weight']);
  }
}

class Residual extends nn.Module {
  constructor(/** @type {Weights} */ w, /** @type {import('../../workloads.mjs').Block} */ block) {
    super();
    this.conv1 = w.convBn({ stride: block.stride, padding: 1 });
    this.conv2 = w.convBn({ padding: 1 });
    this.shortcut = block.shortcut ? w.convBn({ stride: block.stride }) : new nn.Identity();
  }
  /** @override */
  forward(/** @type {Tensor} */ x) {
    return tr.relu(this.conv2.call(tr.relu(this.conv1.call(x))).add(this.shortcut.call(x)));
  }
}

export function resnet18() {
  const w = new Weights('resnet18');
  return new nn.Sequential(
    w.convBn({ stride: 2, padding: 3 }),
    new nn.ReLU(),
    new nn.MaxPool2d(3, { stride: 2, padding: 1 }),
    ...RESNET_BLOCKS.map((block) => new Residual(w, block)),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    w.linear(),
  );
}

class Inverted extends nn.Module {
  constructor(/** @type {Weights} */ w, /** @type {import('../../workloads.mjs').Inverted} */ { inputs, hidden, outputs, stride }) {
    super();
    this.body = new nn.Sequential(
      ...(hidden === inputs ? [] : [w.convBn(), new nn.ReLU6()]),
      w.convBn({ stride, padding: 1, groups: hidden }),
      new nn.ReLU6(),
      w.convBn(),
    );
    this.residual = stride === 1 && inputs === outputs;
  }
  /** @override */
  forward(/** @type {Tensor} */ x) {
    return this.residual ? x.add(this.body.call(x)) : this.body.call(x);
  }
}

function mobilenetV2() {
  const w = new Weights('mobilenet');
  return new nn.Sequential(
    w.convBn({ stride: 2, padding: 1 }),
    new nn.ReLU6(),
    ...MOBILENET_BLOCKS.map((block) => new Inverted(w, block)),
    w.convBn(),
    new nn.ReLU6(),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    w.linear(),
  );
}

class BertLayer extends nn.Module {
  constructor(/** @type {Weights} */ w) {
    super();
    this.q = w.linear();
    this.k = w.linear();
    this.v = w.linear();
    this.out = w.linear();
    this.ln1 = w.layerNorm(BERT.eps);
    this.up = w.linear();
    this.down = w.linear();
    this.ln2 = w.layerNorm(BERT.eps);
  }
  /** @override */
  forward(/** @type {Tensor} */ x) {
    const { batch, length, dim, heads } = BERT;
    const split = (/** @type {Tensor} */ y) => y.reshape(batch, length, heads, dim / heads).permute(0, 2, 1, 3);
    const mixed = tr.scaledDotProductAttention(split(this.q.call(x)), split(this.k.call(x)), split(this.v.call(x)));
    const y = this.ln1.call(x.add(this.out.call(mixed.permute(0, 2, 1, 3).reshape(batch, length, dim))));
    return this.ln2.call(y.add(this.down.call(tr.gelu(this.up.call(y)))));
  }
}

class Bert extends nn.Module {
  constructor() {
    super();
    const w = new Weights('bert');
    this.token = w.embedding();
    this.position = w.embedding();
    this.kind = w.embedding();
    this.ln = w.layerNorm(BERT.eps);
    this.layers = new nn.Sequential(...Array.from({ length: BERT.layers }, () => new BertLayer(w)));
    this.positions = nn.buffer(tensor(Int32Array.from({ length: BERT.length }, (_, i) => i)));
    this.kinds = nn.buffer(tensor(new Int32Array(BERT.length)));
  }
  /** @override */
  forward(/** @type {Tensor} */ ids) {
    const h = this.token.call(ids).add(this.position.call(this.positions)).add(this.kind.call(this.kinds));
    return this.layers.call(this.ln.call(h));
  }
}

/**
 * A call of the network in evaluation that reads its result.
 * @returns {Prepared}
 */
function inference(
  /** @type {import('trireme').nn.Module} */ net,
  /** @type {Tensor} */ input,
  /** @type {(values: Float32Array) => number[]} */ probe,
) {
  net.eval();
  const forward = jit((/** @type {Tensor} */ x) => tr.noGrad(() => net.call(x)));
  let values = new Float32Array();
  return {
    call: () => {
      const out = /** @type {Tensor} */ (forward(input));
      values = /** @type {Float32Array<ArrayBuffer>} */ (out.dataSync());
      out.dispose();
      return undefined;
    },
    probe: () => probe(values),
  };
}

const picture = (/** @type {number} */ n) => tensor(images(n), { shape: [n, 3, 224, 224] });

export const resnet18Infer = (/** @type {number} */ n) => inference(resnet18(), picture(n), (y) => [...y.subarray(0, 3)]);
export const mobilenetV2Infer = () => inference(mobilenetV2(), picture(1), summary);
export const bertInfer = () => inference(new Bert(), tensor(sentence(), { shape: [BERT.batch, BERT.length] }), summary);
