// The networks of the examples and of the benchmarks, with initial weights.
import * as tr from 'trireme';
import { CellDetector } from '../../../examples/cell-detection/dist/model.js';
import { UNet } from '../../../examples/cell-segmentation/dist/model.js';
import { architectures, Classifier } from '../../../examples/digits/dist/model.js';
import { ResNet, architecture as resnetArchitecture } from '../../../examples/fashion-resnet/dist/model.js';
import { Gpt } from '../../../examples/moby-dick-gpt/dist/model.js';
import { makeReader } from '../../../examples/spam/dist/model.js';
import { KeywordNet, architecture as keywordArchitecture } from '../../../examples/spoken-digits/dist/model.js';

const { nn } = tr;

/** Running statistics other than those of the start, and a spread of scales and shifts. @template {tr.nn.Module<any, any>} M @param {M} module @returns {M} */
function settled(module) {
  for (const m of module.modules()) {
    if (!('runningMean' in m)) continue;
    const norm = /** @type {tr.nn.BatchNorm2d} */ (/** @type {unknown} */ (m));
    tr.noGrad(() => {
      norm.runningMean?.add_(tr.randn([norm.numFeatures]).mul(0.1));
      norm.runningVar?.mul_(tr.rand([norm.numFeatures]).add(0.5));
      norm.weight?.mul_(tr.rand([norm.numFeatures]).add(0.5));
      norm.bias?.add_(tr.randn([norm.numFeatures]).mul(0.1));
    });
  }
  return module.eval();
}

const conv = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ size, /** @type {any} */ options = {}) =>
  new nn.Sequential(new nn.Conv2d(from, to, size, { padding: (size - 1) / 2, bias: false, ...options }), new nn.BatchNorm2d(to));

class Residual extends nn.Module {
  /** @param {number} from @param {number} to @param {number} stride */
  constructor(from, to, stride) {
    super();
    this.conv1 = conv(from, to, 3, { stride });
    this.conv2 = conv(to, to, 3);
    this.shortcut = from === to && stride === 1 ? new nn.Identity() : conv(from, to, 1, { stride });
  }
  /** @override @param {tr.Tensor} x */
  forward(x) {
    return tr.relu(this.conv2.call(tr.relu(this.conv1.call(x))).add(this.shortcut.call(x)));
  }
}

function resnet18() {
  const blocks = [64, 128, 256, 512].flatMap((to, stage) =>
    [0, 1].map((k) => new Residual(k === 0 && stage > 0 ? to / 2 : to, to, k === 0 && stage > 0 ? 2 : 1)),
  );
  return new nn.Sequential(
    conv(3, 64, 7, { stride: 2 }),
    new nn.ReLU(),
    new nn.MaxPool2d(3, { stride: 2, padding: 1 }),
    ...blocks,
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Linear(512, 1000),
  );
}

class Inverted extends nn.Module {
  /** @param {number} from @param {number} to @param {number} stride @param {number} expand */
  constructor(from, to, stride, expand) {
    super();
    const hidden = from * expand;
    this.body = new nn.Sequential(
      ...(expand === 1 ? [] : [conv(from, hidden, 1), new nn.ReLU6()]),
      conv(hidden, hidden, 3, { stride, groups: hidden }),
      new nn.ReLU6(),
      conv(hidden, to, 1),
    );
    this.residual = stride === 1 && from === to;
  }
  /** @override @param {tr.Tensor} x */
  forward(x) {
    return this.residual ? x.add(this.body.call(x)) : this.body.call(x);
  }
}

function mobilenetV2() {
  const stages = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ];
  let from = 32;
  const blocks = stages.flatMap(([expand, to, count, stride]) =>
    Array.from({ length: count }, (_, k) => {
      const block = new Inverted(from, to, k === 0 ? stride : 1, expand);
      from = to;
      return block;
    }),
  );
  return new nn.Sequential(
    conv(3, 32, 3, { stride: 2 }),
    new nn.ReLU6(),
    ...blocks,
    conv(320, 1280, 1),
    new nn.ReLU6(),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Linear(1280, 1000),
  );
}

class BertLayer extends nn.Module {
  /** @param {number} dim @param {number} heads */
  constructor(dim, heads) {
    super();
    this.heads = heads;
    [this.q, this.k, this.v, this.out] = [0, 1, 2, 3].map(() => new nn.Linear(dim, dim));
    this.ln1 = new nn.LayerNorm(dim, { eps: 1e-12 });
    this.up = new nn.Linear(dim, 4 * dim);
    this.down = new nn.Linear(4 * dim, dim);
    this.ln2 = new nn.LayerNorm(dim, { eps: 1e-12 });
  }
  /** @override @param {tr.Tensor} x */
  forward(x) {
    const [batch, length, dim] = x.shape;
    const split = (/** @type {tr.Tensor} */ y) => y.reshape(batch, length, this.heads, dim / this.heads).permute(0, 2, 1, 3);
    const mixed = tr.scaledDotProductAttention(split(this.q.call(x)), split(this.k.call(x)), split(this.v.call(x)));
    const y = this.ln1.call(x.add(this.out.call(mixed.permute(0, 2, 1, 3).reshape(batch, length, dim))));
    return this.ln2.call(y.add(this.down.call(tr.gelu(this.up.call(y)))));
  }
}

class Bert extends nn.Module {
  constructor({ vocab = 100, dim = 64, heads = 4, layers = 3, length = 32 } = {}) {
    super();
    this.token = new nn.Embedding(vocab, dim);
    this.position = new nn.Embedding(length, dim);
    this.kind = new nn.Embedding(2, dim);
    this.ln = new nn.LayerNorm(dim, { eps: 1e-12 });
    this.layers = new nn.Sequential(...Array.from({ length: layers }, () => new BertLayer(dim, heads)));
  }
  /** @override @param {tr.Tensor} ids */
  forward(ids) {
    const positions = tr.arange(ids.shape[1]);
    return this.layers.call(
      this.ln.call(
        this.token
          .call(ids)
          .add(this.position.call(positions))
          .add(this.kind.call(tr.zerosLike(ids))),
      ),
    );
  }
}

const int = (/** @type {number} */ limit, /** @type {number[]} */ shape) => tr.randint(0, limit, shape, { dtype: 'int32' });
const photo = (/** @type {number} */ n) => [tr.randint(0, 256, [n, 240, 320, 3], { dtype: 'uint8' })];
const batch = { dynamicBatch: true };
const steps = { dynamicAxes: { input: { 0: 'batch', 1: 'steps' } } };
const reader = (/** @type {'lstm' | 'transformer'} */ architecture) => ({
  name: `example-spam-${architecture}`,
  target: () => makeReader({ architecture, vocabSize: 50, maxTokens: 32, dim: 16, layers: 2, dropout: 0.1, tokenDropout: 0.1 }),
  inputs: () => [int(50, [2, 16]), tr.tensor([16, 7], { dtype: 'int32' })],
  others: [() => [int(50, [3, 21]), tr.tensor([21, 7, 1], { dtype: 'int32' })]],
  options: { dynamicAxes: { input0: { 0: 'batch', 1: 'steps' }, input1: { 0: 'batch' } } },
});

/** @returns {import('./cases.mjs').Case[]} */
export function examples() {
  return [
    {
      name: 'example-digits',
      target: () => settled(new Classifier(architectures.digits)),
      inputs: () => [tr.randn([2, 1, 8, 8])],
      others: [() => [tr.randn([5, 1, 8, 8])]],
      options: batch,
    },
    {
      name: 'example-fashion-resnet',
      target: () => settled(new ResNet(resnetArchitecture)),
      inputs: () => [tr.randn([2, 1, 28, 28])],
      others: [() => [tr.randn([3, 1, 28, 28])]],
      options: batch,
    },
    {
      name: 'example-moby-dick-gpt',
      target: () => new Gpt({ vocabSize: 40, context: 32, dim: 32, heads: 4, layers: 2, dropout: 0.1 }),
      inputs: () => [int(40, [2, 16])],
      others: [() => [int(40, [3, 27])]],
      options: steps,
    },
    reader('lstm'),
    reader('transformer'),
    {
      name: 'example-spoken-digits',
      target: () => settled(new KeywordNet(keywordArchitecture)),
      inputs: () => [tr.randn([2, 1, 40, 64])],
      others: [() => [tr.randn([3, 1, 40, 64])]],
      options: batch,
    },
    {
      name: 'example-cell-detection',
      target: () => settled(new CellDetector()),
      inputs: () => photo(1),
      others: [() => photo(2)],
      options: batch,
    },
    {
      name: 'example-cell-segmentation',
      target: () => settled(new UNet()),
      inputs: () => photo(1),
      others: [() => photo(2)],
      options: batch,
    },
    {
      name: 'bench-resnet18',
      target: () => settled(resnet18()),
      inputs: () => [tr.randn([1, 3, 64, 64])],
      others: [() => [tr.randn([2, 3, 64, 64])]],
      options: batch,
    },
    {
      name: 'bench-mobilenetV2',
      target: () => settled(mobilenetV2()),
      inputs: () => [tr.randn([1, 3, 64, 64])],
      others: [() => [tr.randn([2, 3, 64, 64])]],
      options: batch,
    },
    {
      name: 'bench-bert',
      target: () => new Bert(),
      inputs: () => [int(100, [2, 16])],
      others: [() => [int(100, [3, 29])]],
      options: steps,
    },
  ];
}
