/** Training a reader and asking it. */

import type { Tensor } from 'trireme';
import { bceWithLogits, manualSeed, optim } from 'trireme';
import { F1Score, Precision, Recall } from 'trireme/metrics';
import { type Callback, type History, Model } from 'trireme/train';
import { type Item, mailLoader } from './data.js';
import { type Architecture, makeReader, type ReaderOptions } from './model.js';

export interface TrainingOptions {
  readonly epochs: number;
  readonly batchSize: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly seed: number;
}

/** Sizes and rates of each architecture. */
export const settings = {
  lstm: {
    reader: { dim: 64, layers: 1, dropout: 0.3, tokenDropout: 0.3 },
    training: { epochs: 5, batchSize: 32, lr: 3e-3, weightDecay: 0.05 },
  },
  transformer: {
    reader: { dim: 64, layers: 2, dropout: 0.3, tokenDropout: 0.3 },
    training: { epochs: 6, batchSize: 32, lr: 2e-3, weightDecay: 0.05 },
  },
} as const satisfies Record<
  Architecture,
  {
    readonly reader: Pick<ReaderOptions, 'dim' | 'layers' | 'dropout' | 'tokenDropout'>;
    readonly training: Omit<TrainingOptions, 'seed'>;
  }
>;

export type MailModel = Model<[tokens: Tensor, lengths: Tensor], Tensor, Tensor>;

/** A reader with binary cross entropy, AdamW, one cycle of the learning rate, and averaged weights. */
export function compile(options: ReaderOptions, { lr, weightDecay, seed }: TrainingOptions): MailModel {
  manualSeed(seed);
  const net = makeReader(options);
  return new Model(net).compile({
    optimizer: () => new optim.AdamW(optim.splitDecay(net, { weightDecay }), { lr }),
    // There is about half as much spam as other mail: it counts double.
    loss: (scores: Tensor, spam: Tensor) => bceWithLogits(scores, spam, { posWeight: 2 }),
    // Scores are logits: above 0 a mail is more likely spam than not.
    metrics: [
      new F1Score({ task: 'binary', threshold: 0 }),
      new Precision({ task: 'binary', threshold: 0 }),
      new Recall({ task: 'binary', threshold: 0 }),
    ],
    schedule: (optimizer, { steps }) => new optim.OneCycleLR(optimizer, { maxLr: lr, totalSteps: steps, pctStart: 0.2 }),
    clipGradNorm: 1,
    ema: 0.99,
  });
}

export function train(
  model: MailModel,
  train: readonly Item[],
  validation: readonly Item[],
  { maxTokens }: ReaderOptions,
  { epochs, batchSize, seed }: TrainingOptions,
  { callbacks = [], signal }: { readonly callbacks?: readonly Callback[]; readonly signal?: AbortSignal } = {},
): Promise<History> {
  return model.fit(mailLoader(train, { batchSize, maxTokens, shuffle: true, seed }), {
    epochs,
    seed,
    signal,
    validation: mailLoader(validation, { batchSize: 64, maxTokens, shuffle: false, seed }),
    callbacks,
  });
}

/** The probability that each mail is spam, in the order of the mails. */
export async function spamProbabilities(
  model: MailModel,
  items: readonly Item[],
  maxTokens: number,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const loader = mailLoader(items, { batchSize: 64, maxTokens, shuffle: false, seed: 0 });
  const order = loader.order(0);
  const inputs = async function* (): AsyncGenerator<readonly [Tensor, Tensor], void, void> {
    for await (const [tokens, spam] of loader) {
      spam.dispose();
      yield tokens;
    }
  };
  const { data } = await model.predict(inputs(), { as: 'array', signal });
  const out = new Float64Array(items.length);
  order.forEach((index, k) => {
    out[index] = 1 / (1 + Math.exp(-Number(data[k])));
  });
  return out;
}
