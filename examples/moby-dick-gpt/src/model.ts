/** A GPT: learned positions, pre-normalized transformer layers that see what came before, a linear head. */
import { add, arange, nn, noGrad, type Tensor, tensor } from 'trireme';
import { uniformArray } from 'trireme/data';

export interface GptOptions {
  readonly vocabSize: number;
  /** Most characters it sees at once. */
  readonly context: number;
  readonly dim: number;
  readonly heads: number;
  readonly layers: number;
  readonly dropout: number;
}

/** Characters int32 [batch, steps] to the scores of the next one [batch, steps, vocabSize]. */
export class Gpt extends nn.Module {
  readonly options: GptOptions;
  readonly characters: nn.Embedding;
  readonly positions: nn.Embedding;
  readonly dropout: nn.Dropout;
  readonly blocks: nn.TransformerEncoder;
  readonly head: nn.Linear;

  constructor(options: GptOptions) {
    super();
    const { vocabSize, context, dim, heads, layers, dropout } = options;
    this.options = options;
    this.characters = new nn.Embedding(vocabSize, dim);
    this.positions = new nn.Embedding(context, dim);
    this.dropout = new nn.Dropout(dropout);
    const layer = (): nn.TransformerEncoderLayer =>
      new nn.TransformerEncoderLayer(dim, heads, {
        dimFeedforward: 4 * dim,
        dropout,
        activation: 'gelu',
        batchFirst: true,
        normFirst: true,
      });
    this.blocks = new nn.TransformerEncoder(layer, layers, { norm: new nn.LayerNorm(dim) });
    this.head = new nn.Linear(dim, vocabSize, { bias: false });
  }

  override forward(tokens: Tensor): Tensor {
    const x = this.embed(tokens, arange(tokens.shape[1]));
    return this.head.call(this.blocks.call(x, { isCausal: true }));
  }

  /** The same for the characters after those that the caches (one for each layer) hold, which then hold these too. */
  decode(tokens: Tensor, caches: readonly nn.KVCache[]): Tensor {
    const x = this.embed(tokens, add(arange(tokens.shape[1]), caches[0].length));
    return this.head.call(this.blocks.call(x, { caches }));
  }

  private embed(tokens: Tensor, positions: Tensor): Tensor {
    return this.dropout.call(add(this.characters.call(tokens), this.positions.call(positions)));
  }

  /** Empty caches for decode() of one sequence. */
  makeCaches(): nn.KVCache[] {
    const { dim, heads, layers, context } = this.options;
    return Array.from({ length: layers }, () => new nn.KVCache({ batch: 1, heads, features: dim / heads, maxLength: context }));
  }
}

/** Standard deviation of the initial weights (GPT-2's). */
const spread = 0.02;

/**
 * Initial weights as a function of the seed and the names alone, the same bits in any language: the k-th matrix in the order of
 * the names is uniform with GPT-2's deviation, stream k of Philox; those at the end of a residual branch are narrower by the
 * square root of the number of branches. Norms are 1, biases 0.
 */
export function initialise(net: Gpt, seed: number): void {
  const state = net.stateDict();
  const matrices = [...state.keys()].filter((name) => state.get(name)?.ndim === 2).sort();
  noGrad(() => {
    for (const [name, target] of state) {
      const stream = matrices.indexOf(name);
      if (stream < 0) {
        target.fill_(/norm\d?\.weight$/.test(name) ? 1 : 0);
        continue;
      }
      const residual = /(out_proj|linear2)\.weight$/.test(name);
      const bound = (spread * Math.sqrt(3)) / (residual ? Math.sqrt(2 * net.options.layers) : 1);
      using values = tensor(uniformArray(target.numel, seed, -bound, bound, stream), { shape: target.shape });
      target.copy_(values);
    }
  });
}
