/** BERT (Devlin et al., arXiv:1810.04805) as Hugging Face's `bert` models have it. */
import { ArgumentError, arange, nn, scaledDotProductAttention, type Tensor, tanh, zerosLike } from 'trireme';
import {
  type Architecture,
  activationNamed,
  checkHeads,
  joinHeads,
  labelCount,
  type ModelConfig,
  paddingMask,
  renamed,
  size,
  splitHeads,
} from './common.js';

export interface BertInputs {
  /** [batch, steps]: 0 for tokens that are padding. */
  readonly attentionMask?: Tensor | null;
  /** [batch, steps]: which of two texts a token is of. */
  readonly tokenTypeIds?: Tensor | null;
}

class BertEmbeddings extends nn.Module<[ids: Tensor, inputs: BertInputs], Tensor> {
  readonly words: nn.Embedding;
  readonly positions: nn.Embedding;
  readonly tokenTypes: nn.Embedding;
  readonly norm: nn.LayerNorm;
  readonly #limit: number;
  constructor(config: ModelConfig, features: number, eps: number) {
    super();
    this.#limit = size(config, 'max_position_embeddings', 512);
    this.words = config.embedding(size(config, 'vocab_size'), features);
    this.positions = config.embedding(this.#limit, features);
    this.tokenTypes = config.embedding(size(config, 'type_vocab_size', 2), features);
    this.norm = config.layerNorm(features, eps);
  }
  override forward(ids: Tensor, { tokenTypeIds }: BertInputs): Tensor {
    const steps = ids.shape[1];
    if (ids.ndim !== 2 || steps > this.#limit) {
      throw new ArgumentError(`tokens [${ids.shape.join(', ')}]`, {
        op: 'Bert',
        received: ids.shape,
        expected: `[batch, steps], at most ${this.#limit} steps`,
      });
    }
    const places = this.positions.call(arange(steps, { dtype: 'int32' }));
    const types = this.tokenTypes.call(tokenTypeIds ?? zerosLike(ids));
    return this.norm.call(this.words.call(ids).add(types).add(places));
  }
}

class BertLayer extends nn.Module<[x: Tensor, mask: Tensor | null], Tensor> {
  readonly query: nn.Linear;
  readonly key: nn.Linear;
  readonly value: nn.Linear;
  readonly attentionOut: nn.Linear;
  readonly attentionNorm: nn.LayerNorm;
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  readonly outputNorm: nn.LayerNorm;
  readonly #heads: number;
  readonly #activation: (x: Tensor) => Tensor;
  constructor(config: ModelConfig, features: number, eps: number) {
    super();
    this.#heads = size(config, 'num_attention_heads');
    checkHeads('Bert', features, this.#heads);
    this.#activation = activationNamed(config, 'hidden_act', 'gelu');
    const inner = size(config, 'intermediate_size');
    this.query = config.linear(features, features);
    this.key = config.linear(features, features);
    this.value = config.linear(features, features);
    this.attentionOut = config.linear(features, features);
    this.attentionNorm = config.layerNorm(features, eps);
    this.up = config.linear(features, inner);
    this.down = config.linear(inner, features);
    this.outputNorm = config.layerNorm(features, eps);
  }
  override forward(x: Tensor, mask: Tensor | null): Tensor {
    const [q, k, v] = [this.query, this.key, this.value].map((part) => splitHeads(part.call(x), this.#heads));
    const attended = this.attentionNorm.call(this.attentionOut.call(joinHeads(scaledDotProductAttention(q, k, v, { mask }))).add(x));
    return this.outputNorm.call(this.down.call(this.#activation(this.up.call(attended))).add(attended));
  }
}

export interface BertOutput {
  /** [batch, steps, features]. */
  readonly lastHiddenState: Tensor;
  /** tanh of a projection of the first token, [batch, features]; null where the file has none. */
  readonly pooled: Tensor | null;
}

/** The encoder alone. Token ids are whole numbers, [batch, steps]. */
export class BertModel extends nn.Module<[ids: Tensor, inputs?: BertInputs], BertOutput> {
  readonly embeddings: BertEmbeddings;
  readonly layers: readonly BertLayer[];
  readonly pooler: nn.Linear | null;
  constructor(config: ModelConfig, pooler = true) {
    super();
    const features = size(config, 'hidden_size');
    const eps = config.number('layer_norm_eps', 1e-12);
    this.embeddings = new BertEmbeddings(config, features, eps);
    this.layers = Array.from({ length: config.integer('num_hidden_layers', 1, 1000) }, () => new BertLayer(config, features, eps));
    this.pooler = pooler ? config.linear(features, features) : null;
  }
  override forward(ids: Tensor, inputs: BertInputs = {}): BertOutput {
    const mask = paddingMask(inputs.attentionMask);
    let x = this.embeddings.call(ids, inputs);
    for (const layer of this.layers) x = layer.call(x, mask);
    return { lastHiddenState: x, pooled: this.pooler === null ? null : tanh(this.pooler.call(x.select(1, 0))) };
  }
}

/** A class for each text: logits [batch, classes]. */
export class BertForSequenceClassification extends nn.Module<[ids: Tensor, inputs?: BertInputs], Tensor> {
  readonly bert: BertModel;
  readonly classifier: nn.Linear;
  constructor(config: ModelConfig) {
    super();
    this.bert = new BertModel(config);
    this.classifier = config.linear(size(config, 'hidden_size'), labelCount(config));
  }
  override forward(ids: Tensor, inputs: BertInputs = {}): Tensor {
    const { pooled, lastHiddenState } = this.bert.call(ids, inputs);
    return this.classifier.call(pooled ?? lastHiddenState.select(1, 0));
  }
}

/** A class for each token: logits [batch, steps, classes]. */
export class BertForTokenClassification extends nn.Module<[ids: Tensor, inputs?: BertInputs], Tensor> {
  readonly bert: BertModel;
  readonly classifier: nn.Linear;
  constructor(config: ModelConfig) {
    super();
    this.bert = new BertModel(config, false);
    this.classifier = config.linear(size(config, 'hidden_size'), labelCount(config));
  }
  override forward(ids: Tensor, inputs: BertInputs = {}): Tensor {
    return this.classifier.call(this.bert.call(ids, inputs).lastHiddenState);
  }
}

/** The token behind each mask: logits [batch, steps, vocabulary]. The last projection is the table of the embeddings. */
export class BertForMaskedLM extends nn.Module<[ids: Tensor, inputs?: BertInputs], Tensor> {
  readonly bert: BertModel;
  readonly transform: nn.Linear;
  readonly norm: nn.LayerNorm;
  readonly decoder: nn.Linear;
  readonly #activation: (x: Tensor) => Tensor;
  constructor(config: ModelConfig) {
    super();
    const features = size(config, 'hidden_size');
    this.bert = new BertModel(config, false);
    this.transform = config.linear(features, features);
    this.norm = config.layerNorm(features, config.number('layer_norm_eps', 1e-12));
    this.decoder = config.linear(features, size(config, 'vocab_size'));
    if (config.boolean('tie_word_embeddings', true)) {
      this.decoder.weight.dispose();
      this.decoder.weight = this.bert.embeddings.words.weight;
    }
    this.#activation = activationNamed(config, 'hidden_act', 'gelu');
  }
  override forward(ids: Tensor, inputs: BertInputs = {}): Tensor {
    return this.decoder.call(this.norm.call(this.#activation(this.transform.call(this.bert.call(ids, inputs).lastHiddenState))));
  }
}

const rules: readonly (readonly [RegExp, string])[] = [
  [/\.(gamma)$/, '.weight'],
  [/\.(beta)$/, '.bias'],
  [/word_embeddings/, 'words'],
  [/position_embeddings/, 'positions'],
  [/token_type_embeddings/, 'token_types'],
  [/embeddings\.LayerNorm/, 'embeddings.norm'],
  [/encoder\.layer\.(\d+)\./, 'layers.$1.'],
  [/attention\.self\./, ''],
  [/attention\.output\.dense/, 'attention_out'],
  [/attention\.output\.LayerNorm/, 'attention_norm'],
  [/intermediate\.dense/, 'up'],
  [/output\.dense/, 'down'],
  [/output\.LayerNorm/, 'output_norm'],
  [/pooler\.dense/, 'pooler'],
  [/^cls\.predictions\.transform\.dense/, 'transform'],
  [/^cls\.predictions\.transform\.LayerNorm/, 'norm'],
  [/^cls\.predictions\.decoder/, 'decoder'],
  [/^cls\.predictions\.bias/, 'decoder.bias'],
];

export const bert: Architecture = {
  build: (config, heads) => {
    if (heads.includes('BertForSequenceClassification')) return new BertForSequenceClassification(config);
    if (heads.includes('BertForTokenClassification')) return new BertForTokenClassification(config);
    if (heads.includes('BertForMaskedLM') || heads.includes('BertForPreTraining')) return new BertForMaskedLM(config);
    return new BertModel(config);
  },
  names: { rename: (name) => (/position_ids$|^cls\.seq_relationship/.test(name) ? null : renamed(name, rules)) },
};
