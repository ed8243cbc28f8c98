/** GPT-2 (Radford et al., 2019) as Hugging Face's `gpt2` models have it. */
import { ArgumentError, arange, linear, nn, scaledDotProductAttention, type Tensor } from 'trireme';
import {
  type Architecture,
  activationNamed,
  checkHeads,
  joinHeads,
  type ModelConfig,
  paddingMask,
  renamed,
  size,
  splitHeads,
} from './common.js';

export interface DecoderInputs {
  /** [batch, steps]: 0 for tokens that are padding. Not together with caches. */
  readonly attentionMask?: Tensor | null;
  /** Keys and values of the steps so far, one for each layer: see the model's `newCaches`. */
  readonly caches?: readonly nn.KVCache[] | null;
}

/** Attention of a decoder: to what came before. */
export function attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null, cache: nn.KVCache | null, scale?: number): Tensor {
  const options = { enableGqa: q.shape[1] !== k.shape[1], ...(scale === undefined ? {} : { scale }) };
  if (cache === null) {
    if (mask === null) return scaledDotProductAttention(q, k, v, { isCausal: true, ...options });
    const steps = arange(q.shape[2], { dtype: 'int32' });
    return scaledDotProductAttention(q, k, v, { mask: mask.logicalAnd(steps.unsqueeze(1).ge(steps)), ...options });
  }
  const held = cache.append(k, v);
  return scaledDotProductAttention(q, held.keys, held.values, { mask: held.mask, ...options });
}

class Gpt2Block extends nn.Module<[x: Tensor, mask: Tensor | null, cache: nn.KVCache | null], Tensor> {
  readonly norm1: nn.LayerNorm;
  readonly qkv: nn.Linear;
  readonly attentionOut: nn.Linear;
  readonly norm2: nn.LayerNorm;
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  readonly #heads: number;
  readonly #scale: number | undefined;
  readonly #activation: (x: Tensor) => Tensor;
  constructor(config: ModelConfig, index: number) {
    super();
    const features = size(config, 'n_embd');
    const eps = config.number('layer_norm_epsilon', 1e-5);
    this.#heads = size(config, 'n_head');
    checkHeads('Gpt2', features, this.#heads);
    this.#activation = activationNamed(config, 'activation_function', 'gelu_new');
    const own = config.boolean('scale_attn_weights', true) ? 1 / Math.sqrt(features / this.#heads) : 1;
    this.#scale = config.boolean('scale_attn_by_inverse_layer_idx', false) ? own / (index + 1) : own;
    this.norm1 = config.layerNorm(features, eps);
    this.qkv = config.linear(features, 3 * features);
    this.attentionOut = config.linear(features, features);
    this.norm2 = config.layerNorm(features, eps);
    const inner = size(config, 'n_inner', 4 * features);
    this.up = config.linear(features, inner);
    this.down = config.linear(inner, features);
  }
  override forward(x: Tensor, mask: Tensor | null, cache: nn.KVCache | null): Tensor {
    const [q, k, v] = this.qkv
      .call(this.norm1.call(x))
      .chunk(3, -1)
      .map((part) => splitHeads(part, this.#heads));
    const y = this.attentionOut.call(joinHeads(attend(q, k, v, mask, cache, this.#scale))).add(x);
    return this.down.call(this.#activation(this.up.call(this.norm2.call(y)))).add(y);
  }
}

/** Logits of the next token, [batch, steps, vocabulary], for token ids [batch, steps]. */
export class Gpt2ForCausalLM extends nn.Module<[ids: Tensor, inputs?: DecoderInputs], Tensor> {
  readonly tokens: nn.Embedding;
  readonly positions: nn.Embedding;
  readonly blocks: readonly Gpt2Block[];
  readonly norm: nn.LayerNorm;
  readonly heads: number;
  readonly features: number;
  readonly maxLength: number;
  constructor(config: ModelConfig) {
    super();
    this.features = size(config, 'n_embd');
    this.heads = size(config, 'n_head');
    this.maxLength = size(config, 'n_positions', 1024);
    this.tokens = config.embedding(size(config, 'vocab_size'), this.features);
    this.positions = config.embedding(this.maxLength, this.features);
    this.blocks = Array.from({ length: config.integer('n_layer', 1, 1000) }, (_, i) => new Gpt2Block(config, i));
    this.norm = config.layerNorm(this.features, config.number('layer_norm_epsilon', 1e-5));
  }
  /** Memory for decoding step by step: call with the prompt, then with one token after the other. */
  newCaches(batch: number, maxLength = this.maxLength): nn.KVCache[] {
    return this.blocks.map(() => new nn.KVCache({ batch, heads: this.heads, features: this.features / this.heads, maxLength }));
  }
  override forward(ids: Tensor, { attentionMask, caches = null }: DecoderInputs = {}): Tensor {
    const steps = ids.shape[1];
    if (ids.ndim !== 2 || steps > this.maxLength) {
      throw new ArgumentError(`tokens [${ids.shape.join(', ')}]`, {
        op: 'Gpt2',
        received: ids.shape,
        expected: `[batch, steps], at most ${this.maxLength} steps`,
      });
    }
    const places = arange(steps, { dtype: 'int32' });
    let x = this.tokens.call(ids).add(this.positions.call(caches === null ? places : places.add(caches[0].length)));
    const mask = paddingMask(attentionMask);
    this.blocks.forEach((block, i) => {
      x = block.call(x, mask, caches?.[i] ?? null);
    });
    // The last projection is the table of the embeddings.
    return linear(this.norm.call(x), this.tokens.weight);
  }
}

const rules: readonly (readonly [RegExp, string])[] = [
  [/^transformer\./, ''],
  [/^wte\./, 'tokens.'],
  [/^wpe\./, 'positions.'],
  [/^h\.(\d+)\./, 'blocks.$1.'],
  [/ln_1/, 'norm1'],
  [/ln_2/, 'norm2'],
  [/^ln_f/, 'norm'],
  [/attn\.c_attn/, 'qkv'],
  [/attn\.c_proj/, 'attention_out'],
  [/mlp\.c_fc/, 'up'],
  [/mlp\.c_proj/, 'down'],
];

export const gpt2: Architecture = {
  build: (config) => new Gpt2ForCausalLM(config),
  names: {
    rename: (name) => (/\.attn\.(bias|masked_bias)$|^lm_head\./.test(name) ? null : renamed(name, rules)),
    isTransposed: (name) => /\.(c_attn|c_proj|c_fc)\.weight$/.test(name),
  },
};
