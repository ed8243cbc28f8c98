/** Vision transformers (Dosovitskiy et al., arXiv:2010.11929) and residual networks (He et al., arXiv:1512.03385) as Hugging Face has them. */
import { ArgumentError, concat, nn, relu, scaledDotProductAttention, type Tensor } from 'trireme';
import {
  type Architecture,
  activationNamed,
  checkHeads,
  joinHeads,
  labelCount,
  type ModelConfig,
  renamed,
  size,
  splitHeads,
} from './common.js';

class VitLayer extends nn.Module<[x: Tensor], Tensor> {
  readonly norm1: nn.LayerNorm;
  readonly query: nn.Linear;
  readonly key: nn.Linear;
  readonly value: nn.Linear;
  readonly attentionOut: nn.Linear;
  readonly norm2: nn.LayerNorm;
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  readonly #heads: number;
  readonly #activation: (x: Tensor) => Tensor;
  constructor(config: ModelConfig, features: number, eps: number) {
    super();
    this.#heads = size(config, 'num_attention_heads');
    checkHeads('Vit', features, this.#heads);
    this.#activation = activationNamed(config, 'hidden_act', 'gelu');
    const bias = config.boolean('qkv_bias', true);
    const inner = size(config, 'intermediate_size');
    this.norm1 = config.layerNorm(features, eps);
    this.query = config.linear(features, features, { bias });
    this.key = config.linear(features, features, { bias });
    this.value = config.linear(features, features, { bias });
    this.attentionOut = config.linear(features, features);
    this.norm2 = config.layerNorm(features, eps);
    this.up = config.linear(features, inner);
    this.down = config.linear(inner, features);
  }
  override forward(x: Tensor): Tensor {
    const normed = this.norm1.call(x);
    const [q, k, v] = [this.query, this.key, this.value].map((part) => splitHeads(part.call(normed), this.#heads));
    const y = this.attentionOut.call(joinHeads(scaledDotProductAttention(q, k, v))).add(x);
    return this.down.call(this.#activation(this.up.call(this.norm2.call(y)))).add(y);
  }
}

/** Classes of pictures [batch, channels, height, width], normalized as its preprocessor says: logits [batch, classes]. */
export class VitForImageClassification extends nn.Module<[pictures: Tensor], Tensor> {
  readonly patches: nn.Conv2d;
  /** [1, 1, features]. */
  clsToken: Tensor;
  /** [1, 1 + patches, features]. */
  positions: Tensor;
  readonly layers: readonly VitLayer[];
  readonly norm: nn.LayerNorm;
  readonly classifier: nn.Linear;
  constructor(config: ModelConfig) {
    super();
    const features = size(config, 'hidden_size');
    const eps = config.number('layer_norm_eps', 1e-12);
    const [picture, patch] = [size(config, 'image_size', 224), size(config, 'patch_size', 16)];
    if (picture % patch !== 0) config.fail(`cuts pictures of ${picture} into patches of ${patch}`, 'a size that the patches fill');
    this.patches = config.conv2d(size(config, 'num_channels', 3), features, patch, { stride: patch });
    this.clsToken = config.parameter([1, 1, features]);
    this.positions = config.parameter([1, 1 + (picture / patch) ** 2, features]);
    this.layers = Array.from({ length: config.integer('num_hidden_layers', 1, 1000) }, () => new VitLayer(config, features, eps));
    this.norm = config.layerNorm(features, eps);
    this.classifier = config.linear(features, labelCount(config));
  }
  override forward(pictures: Tensor): Tensor {
    const grid = this.patches.call(pictures);
    const [batch, features] = grid.shape;
    const tokens = grid.reshape([batch, features, -1]).transpose(1, 2);
    if (tokens.shape[1] + 1 !== this.positions.shape[1]) {
      throw new ArgumentError(`pictures [${pictures.shape.join(', ')}]`, {
        op: 'Vit',
        received: pictures.shape,
        expected: `pictures of ${this.positions.shape[1] - 1} patches`,
      });
    }
    let x = concat([this.clsToken.expand([batch, 1, features]), tokens], 1).add(this.positions);
    for (const layer of this.layers) x = layer.call(x);
    return this.classifier.call(this.norm.call(x).select(1, 0));
  }
}

const vitRules: readonly (readonly [RegExp, string])[] = [
  [/^vit\./, ''],
  [/^embeddings\.cls_token/, 'cls_token'],
  [/^embeddings\.position_embeddings/, 'positions'],
  [/^embeddings\.patch_embeddings\.projection/, 'patches'],
  [/^encoder\.layer\.(\d+)\./, 'layers.$1.'],
  // Two generations of names.
  [/attention\.attention\./, ''],
  [/attention\.output\.dense/, 'attention_out'],
  [/attention\.q_proj/, 'query'],
  [/attention\.k_proj/, 'key'],
  [/attention\.v_proj/, 'value'],
  [/attention\.o_proj/, 'attention_out'],
  [/intermediate\.dense|mlp\.fc1/, 'up'],
  [/output\.dense|mlp\.fc2/, 'down'],
  [/layernorm_before/, 'norm1'],
  [/layernorm_after/, 'norm2'],
  [/^layernorm\./, 'norm.'],
];

export const vit: Architecture = {
  build: (config) => new VitForImageClassification(config),
  names: { rename: (name) => (/^(vit\.)?(pooler|embeddings\.mask_token)/.test(name) ? null : renamed(name, vitRules)) },
};

/** Convolution, normalization and, but in shortcuts and last layers, ReLU. */
class ResNetConv extends nn.Module<[x: Tensor], Tensor> {
  readonly convolution: nn.Conv2d;
  readonly normalization: nn.BatchNorm2d;
  readonly #active: boolean;
  constructor(config: ModelConfig, from: number, to: number, kernel: number, stride: number, active: boolean) {
    super();
    this.convolution = config.conv2d(from, to, kernel, { stride, padding: Math.floor(kernel / 2), bias: false });
    this.normalization = config.batchNorm2d(to);
    this.#active = active;
  }
  override forward(x: Tensor): Tensor {
    const y = this.normalization.call(this.convolution.call(x));
    return this.#active ? relu(y) : y;
  }
}

class ResNetLayer extends nn.Module<[x: Tensor], Tensor> {
  readonly shortcut: ResNetConv | null;
  readonly layer: readonly ResNetConv[];
  constructor(config: ModelConfig, from: number, to: number, stride: number, bottleneck: boolean, early: boolean) {
    super();
    this.shortcut = from !== to || stride !== 1 ? new ResNetConv(config, from, to, 1, stride, false) : null;
    const inner = Math.floor(to / 4);
    this.layer = bottleneck
      ? [
          new ResNetConv(config, from, inner, 1, early ? stride : 1, true),
          new ResNetConv(config, inner, inner, 3, early ? 1 : stride, true),
          new ResNetConv(config, inner, to, 1, 1, false),
        ]
      : [new ResNetConv(config, from, to, 3, stride, true), new ResNetConv(config, to, to, 3, 1, false)];
  }
  override forward(x: Tensor): Tensor {
    let y = x;
    for (const part of this.layer) y = part.call(y);
    return relu(y.add(this.shortcut === null ? x : this.shortcut.call(x)));
  }
}

class ResNetStage extends nn.Module<[x: Tensor], Tensor> {
  readonly layers: readonly ResNetLayer[];
  constructor(layers: readonly ResNetLayer[]) {
    super();
    this.layers = layers;
  }
  override forward(x: Tensor): Tensor {
    let y = x;
    for (const layer of this.layers) y = layer.call(y);
    return y;
  }
}

/** Classes of pictures [batch, channels, height, width]: logits [batch, classes]. */
export class ResNetForImageClassification extends nn.Module<[pictures: Tensor], Tensor> {
  readonly embedder: ResNetConv;
  readonly pool: nn.MaxPool2d;
  readonly stages: readonly ResNetStage[];
  readonly classifier: nn.Linear;
  constructor(config: ModelConfig) {
    super();
    const kind = config.string('layer_type', 'bottleneck');
    if (kind !== 'basic' && kind !== 'bottleneck') config.fail(`.layer_type is ${kind}`, 'basic or bottleneck');
    if (config.string('hidden_act', 'relu') !== 'relu') config.fail('.hidden_act is another than relu', 'relu');
    const stem = size(config, 'embedding_size', 64);
    const depths = config.integers('depths', config.list('depths', 16).length);
    const widths = config.integers('hidden_sizes', depths.length);
    if ([...depths, ...widths].some((n) => n < 1 || n > 65536)) config.fail('has stages without layers or features');
    const early = config.boolean('downsample_in_bottleneck', false);
    this.embedder = new ResNetConv(config, size(config, 'num_channels', 3), stem, 7, 2, true);
    this.pool = new nn.MaxPool2d(3, { stride: 2, padding: 1 });
    this.stages = depths.map((depth, i) => {
      const before = i === 0 ? stem : widths[i - 1];
      const stride = i === 0 && !config.boolean('downsample_in_first_stage', false) ? 1 : 2;
      const layers = Array.from(
        { length: depth },
        (_, k) => new ResNetLayer(config, k === 0 ? before : widths[i], widths[i], k === 0 ? stride : 1, kind === 'bottleneck', early),
      );
      return new ResNetStage(layers);
    });
    this.classifier = config.linear(widths[widths.length - 1] ?? stem, labelCount(config));
  }
  override forward(pictures: Tensor): Tensor {
    let x = this.pool.call(this.embedder.call(pictures));
    for (const stage of this.stages) x = stage.call(x);
    return this.classifier.call(x.mean([2, 3]));
  }
}

const resnetRules: readonly (readonly [RegExp, string])[] = [
  [/^resnet\./, ''],
  [/^embedder\.embedder/, 'embedder'],
  [/^encoder\.stages/, 'stages'],
  [/^classifier\.1/, 'classifier'],
];

export const resnet: Architecture = {
  build: (config) => new ResNetForImageClassification(config),
  names: { rename: (name) => renamed(name, resnetRules) },
};
