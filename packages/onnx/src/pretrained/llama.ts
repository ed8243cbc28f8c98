/** Llama (Touvron et al., arXiv:2302.13971) and its like: RMSNorm, rotary positions, fewer heads of keys, gated layers. */
import { ArgumentError, arange, linear, mul, nn, type Tensor, tensor } from 'trireme';
import type { Config } from '../formats/json.js';
import { type Architecture, activationNamed, joinHeads, type ModelConfig, paddingMask, renamed, size, splitHeads } from './common.js';
import { attend, type DecoderInputs } from './gpt2.js';

/** Turns of each pair of features in a step, in the arrangement of a configuration. */
function rates(config: Config, features: number): number[] {
  const rope = config.optionalObject('rope_parameters') ?? config.optionalObject('rope_scaling');
  const base = rope?.has('rope_theta') ? rope.number('rope_theta') : config.number('rope_theta', 10_000);
  const plain = Array.from({ length: features / 2 }, (_, i) => base ** ((-2 * i) / features));
  const kind = rope === null ? 'default' : rope.string('rope_type', rope.string('type', 'default'));
  if (rope === null || kind === 'default') return plain;
  const factor = rope.number('factor', 1);
  if (kind === 'linear') return plain.map((rate) => rate / factor);
  if (kind !== 'llama3') return config.fail(`rotates positions by ${JSON.stringify(kind)}`, 'default, linear or llama3');
  // Slow turns are stretched, fast ones are not, with a smooth change between.
  const [low, high] = [rope.number('low_freq_factor', 1), rope.number('high_freq_factor', 4)];
  const original = rope.number('original_max_position_embeddings', 8192);
  return plain.map((rate) => {
    const wave = (2 * Math.PI) / rate;
    if (wave < original / high) return rate;
    if (wave > original / low) return rate / factor;
    const smooth = (original / wave - low) / (high - low);
    return ((1 - smooth) * rate) / factor + smooth * rate;
  });
}

class LlamaLayer extends nn.Module<[x: Tensor, angles: Tensor, mask: Tensor | null, cache: nn.KVCache | null], Tensor> {
  readonly query: nn.Linear;
  readonly key: nn.Linear;
  readonly value: nn.Linear;
  readonly attentionOut: nn.Linear;
  readonly gate: nn.Linear;
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  readonly attentionNorm: nn.RMSNorm;
  readonly mlpNorm: nn.RMSNorm;
  readonly #heads: number;
  readonly #keyHeads: number;
  readonly #activation: (x: Tensor) => Tensor;
  constructor(config: ModelConfig, shape: LlamaShape) {
    super();
    const { features, heads, keyHeads, headFeatures } = shape;
    this.#heads = heads;
    this.#keyHeads = keyHeads;
    this.#activation = activationNamed(config, 'hidden_act', 'silu');
    const eps = config.number('rms_norm_eps', 1e-6);
    const inner = size(config, 'intermediate_size');
    const bias = config.boolean('attention_bias', config.string('model_type', 'llama') === 'qwen2');
    const outBias = config.boolean('attention_bias', false);
    const mlpBias = config.boolean('mlp_bias', false);
    this.query = config.linear(features, heads * headFeatures, { bias });
    this.key = config.linear(features, keyHeads * headFeatures, { bias });
    this.value = config.linear(features, keyHeads * headFeatures, { bias });
    this.attentionOut = config.linear(heads * headFeatures, features, { bias: outBias });
    this.gate = config.linear(features, inner, { bias: mlpBias });
    this.up = config.linear(features, inner, { bias: mlpBias });
    this.down = config.linear(inner, features, { bias: mlpBias });
    this.attentionNorm = config.rmsNorm(features, eps);
    this.mlpNorm = config.rmsNorm(features, eps);
  }
  override forward(x: Tensor, angles: Tensor, mask: Tensor | null, cache: nn.KVCache | null): Tensor {
    const normed = this.attentionNorm.call(x);
    const q = nn.applyRotary(splitHeads(this.query.call(normed), this.#heads), angles);
    const k = nn.applyRotary(splitHeads(this.key.call(normed), this.#keyHeads), angles);
    const v = splitHeads(this.value.call(normed), this.#keyHeads);
    const y = this.attentionOut.call(joinHeads(attend(q, k, v, mask, cache))).add(x);
    const inner = this.mlpNorm.call(y);
    return this.down.call(mul(this.#activation(this.gate.call(inner)), this.up.call(inner))).add(y);
  }
}

interface LlamaShape {
  readonly features: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headFeatures: number;
}

function shapeOf(config: Config): LlamaShape {
  const [features, heads] = [size(config, 'hidden_size'), size(config, 'num_attention_heads')];
  const keyHeads = size(config, 'num_key_value_heads', heads);
  const headFeatures = size(config, 'head_dim', Math.max(1, Math.floor(features / heads)));
  if (heads % keyHeads !== 0 || headFeatures % 2 !== 0)
    config.fail(`has ${heads} heads, ${keyHeads} of keys, of ${headFeatures} features`, 'heads in groups, of an even size');
  return { features, heads, keyHeads, headFeatures };
}

/** Logits of the next token, [batch, steps, vocabulary], for token ids [batch, steps]. Llama, Mistral and Qwen 2. */
export class LlamaForCausalLM extends nn.Module<[ids: Tensor, inputs?: DecoderInputs], Tensor> {
  readonly tokens: nn.Embedding;
  readonly layers: readonly LlamaLayer[];
  readonly norm: nn.RMSNorm;
  /** null: the last projection is the table of the embeddings. */
  readonly head: nn.Linear | null;
  readonly maxLength: number;
  readonly #shape: LlamaShape;
  readonly #rates: readonly number[];
  readonly #window: number;
  constructor(config: ModelConfig) {
    super();
    this.#shape = shapeOf(config);
    const { features, headFeatures } = this.#shape;
    const vocabulary = size(config, 'vocab_size');
    this.maxLength = size(config, 'max_position_embeddings', 2048);
    this.#window =
      config.has('sliding_window') && config.boolean('use_sliding_window', true)
        ? size(config, 'sliding_window')
        : Number.POSITIVE_INFINITY;
    this.#rates = rates(config, headFeatures);
    this.tokens = config.embedding(vocabulary, features);
    this.layers = Array.from({ length: config.integer('num_hidden_layers', 1, 1000) }, () => new LlamaLayer(config, this.#shape));
    this.norm = config.rmsNorm(features, config.number('rms_norm_eps', 1e-6));
    this.head = config.boolean('tie_word_embeddings', false) ? null : config.linear(features, vocabulary, { bias: false });
  }
  /** Memory for decoding step by step: call with the prompt, then with one token after the other. */
  newCaches(batch: number, maxLength = Math.min(this.maxLength, this.#window, 4096)): nn.KVCache[] {
    this.#checkLength(maxLength);
    const { keyHeads, headFeatures } = this.#shape;
    return this.layers.map(() => new nn.KVCache({ batch, heads: keyHeads, features: headFeatures, maxLength }));
  }
  #checkLength(steps: number): void {
    if (steps <= this.#window) return;
    throw new ArgumentError(`${steps} steps`, {
      op: 'Llama',
      received: steps,
      expected: `at most ${this.#window}: beyond it the model would attend to the last ones alone`,
    });
  }
  override forward(ids: Tensor, { attentionMask, caches = null }: DecoderInputs = {}): Tensor {
    if (ids.ndim !== 2)
      throw new ArgumentError(`tokens [${ids.shape.join(', ')}]`, { op: 'Llama', received: ids.shape, expected: '[batch, steps]' });
    const steps = ids.shape[1];
    this.#checkLength(steps);
    const from = arange(steps, { dtype: 'float32' });
    const places = caches === null ? from : from.add(caches[0].length.to('float32'));
    const angles = places.reshape([steps, 1]).mul(tensor([...this.#rates]));
    const mask = paddingMask(attentionMask);
    let x = this.tokens.call(ids);
    this.layers.forEach((layer, i) => {
      x = layer.call(x, angles, mask, caches?.[i] ?? null);
    });
    const last = this.norm.call(x);
    return this.head === null ? linear(last, this.tokens.weight) : this.head.call(last);
  }
}

const rules: readonly (readonly [RegExp, string])[] = [
  [/^model\./, ''],
  [/^embed_tokens/, 'tokens'],
  [/self_attn\.q_proj/, 'query'],
  [/self_attn\.k_proj/, 'key'],
  [/self_attn\.v_proj/, 'value'],
  [/self_attn\.o_proj/, 'attention_out'],
  [/mlp\.gate_proj/, 'gate'],
  [/mlp\.up_proj/, 'up'],
  [/mlp\.down_proj/, 'down'],
  [/input_layernorm/, 'attention_norm'],
  [/post_attention_layernorm/, 'mlp_norm'],
  [/^lm_head/, 'head'],
];

export const llama: Architecture = {
  build: (config) => new LlamaForCausalLM(config),
  names: { rename: (name) => (/rotary_emb\.inv_freq$/.test(name) ? null : renamed(name, rules)) },
};
