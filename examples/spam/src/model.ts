/** Two readers of mails: an LSTM in both directions and a small transformer. */
import { add, amax, arange, concat, div, ge, lt, maximum, nn, type Tensor, where } from 'trireme';
import { padId } from './data.js';

export const architectures = ['lstm', 'transformer'] as const;
export type Architecture = (typeof architectures)[number];

export interface ReaderOptions {
  readonly architecture: Architecture;
  readonly vocabSize: number;
  readonly maxTokens: number;
  readonly dim: number;
  readonly layers: number;
  readonly dropout: number;
  /** Share of the tokens that are not seen in training. */
  readonly tokenDropout: number;
}

/** Tokens [batch, steps] and lengths [batch] to scores [batch]: above 0 is spam. */
export abstract class Reader extends nn.Module<[tokens: Tensor, lengths: Tensor], Tensor> {
  readonly embedding: nn.Embedding;
  readonly tokenDropout: nn.Dropout1d;
  readonly dropout: nn.Dropout;
  readonly head: nn.Linear;

  constructor({ vocabSize, dim, dropout, tokenDropout }: ReaderOptions, features: number) {
    super();
    this.embedding = new nn.Embedding(vocabSize, dim, { paddingIdx: padId });
    nn.init.normal(this.embedding.weight, 0, 0.1);
    // Takes the steps for channels, so whole tokens are dropped.
    this.tokenDropout = new nn.Dropout1d(tokenDropout);
    this.dropout = new nn.Dropout(dropout);
    this.head = new nn.Linear(2 * features, 1);
  }

  /** [batch, steps, dim] to [batch, steps, features]. */
  protected abstract read(x: Tensor, lengths: Tensor): Tensor;

  override forward(tokens: Tensor, lengths: Tensor): Tensor {
    const x = this.dropout.call(this.tokenDropout.call(this.embedding.call(tokens)));
    const read = this.read(x, lengths);
    return this.head.call(this.dropout.call(summarize(read, lengths))).reshape(-1);
  }
}

/** Mean and maximum over the steps a mail has: [batch, steps, features] to [batch, 2 * features]. */
export function summarize(x: Tensor, lengths: Tensor): Tensor {
  const [batch, steps] = x.shape;
  const count = lengths.reshape(batch, 1);
  const present = lt(arange(steps, { dtype: 'int32' }), count).reshape(batch, steps, 1);
  const mean = div(where(present, x, 0).sum(1), maximum(count, 1));
  return concat([mean, amax(where(present, x, -1e9), 1)], 1);
}

class LstmReader extends Reader {
  readonly lstm: nn.LSTM;
  constructor(options: ReaderOptions) {
    super(options, 2 * options.dim);
    const { dim, layers, dropout } = options;
    this.lstm = new nn.LSTM(dim, dim, { numLayers: layers, bidirectional: true, batchFirst: true, dropout: layers > 1 ? dropout : 0 });
  }
  protected override read(x: Tensor, lengths: Tensor): Tensor {
    const [out] = this.lstm.call(nn.packPaddedSequence(x, lengths, { batchFirst: true }));
    return nn.padPackedSequence(out, { batchFirst: true })[0];
  }
}

class TransformerReader extends Reader {
  readonly positions: nn.Embedding;
  readonly encoder: nn.TransformerEncoder;
  constructor(options: ReaderOptions) {
    super(options, options.dim);
    const { dim, layers, dropout, maxTokens } = options;
    this.positions = new nn.Embedding(maxTokens, dim);
    nn.init.normal(this.positions.weight, 0, 0.02);
    const layer = (): nn.TransformerEncoderLayer =>
      new nn.TransformerEncoderLayer(dim, 2, { dimFeedforward: 2 * dim, dropout, activation: 'gelu', batchFirst: true, normFirst: true });
    this.encoder = new nn.TransformerEncoder(layer, layers, { norm: new nn.LayerNorm(dim) });
  }
  protected override read(x: Tensor, lengths: Tensor): Tensor {
    const [batch, steps] = x.shape;
    const padding = ge(arange(steps, { dtype: 'int32' }), lengths.reshape(batch, 1));
    return this.encoder.call(add(x, this.positions.call(arange(steps))), { keyPaddingMask: padding });
  }
}

export function makeReader(options: ReaderOptions): Reader {
  return options.architecture === 'lstm' ? new LstmReader(options) : new TransformerReader(options);
}
