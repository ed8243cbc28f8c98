/** Training: cross entropy of the next character, AdamW, warm-up and cosine. */
import { crossEntropy, optim, type Tensor } from 'trireme';
import { DataLoader, RandomSampler } from 'trireme/data';
import { type Callback, type History, LambdaCallback, Model } from 'trireme/train';
import { type Gpt, initialise } from './model.js';
import { type Corpus, WindowDataset } from './text.js';

/** What a training depends on beside text and architecture. */
export interface TrainingOptions {
  /** Stretches of `steps` updates; validation comes after each. */
  readonly epochs: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly lr: number;
  /** The last learning rate. */
  readonly minLr: number;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly seed: number;
}
export const defaults = {
  epochs: 10,
  steps: 100,
  batchSize: 32,
  lr: 2e-3,
  minLr: 2e-4,
  warmup: 100,
  weightDecay: 0.1,
  seed: 1,
} as const satisfies TrainingOptions;

const betas = [0.9, 0.99] as const;
const clipGradNorm = 1;

/** A network with its initial weights, optimizer, loss and schedule. */
export function compile(net: Gpt, { lr, minLr, warmup, weightDecay, seed }: TrainingOptions): Model {
  initialise(net, seed);
  return new Model(net).compile({
    optimizer: () => new optim.AdamW(optim.splitDecay(net, { weightDecay }), { lr, betas }),
    loss: function crossEntropyOfNext(scores: Tensor, targets: Tensor) {
      return crossEntropy(scores.reshape(-1, net.options.vocabSize), targets.reshape(-1));
    },
    metrics: { accuracy: (scores, targets) => scores.argmax(-1).eq(targets).float().mean() },
    schedule: (optimizer, { steps }) =>
      new optim.LinearWarmup(new optim.CosineAnnealingLR(optimizer, { tMax: Math.max(1, steps - warmup), etaMin: minLr }), {
        steps: warmup,
        startFactor: 1 / warmup,
      }),
    clipGradNorm,
  });
}

export interface Trained {
  readonly history: History;
  /** Loss of each batch. */
  readonly losses: readonly number[];
}

/** Windows at random places, a function of the seed alone; the held-out text in windows side by side after each epoch. */
export async function train(
  model: Model,
  corpus: Corpus,
  context: number,
  { epochs, steps, batchSize, seed }: TrainingOptions,
  { callbacks = [], signal, resume = false }: { callbacks?: readonly Callback[]; signal?: AbortSignal; resume?: boolean } = {},
): Promise<Trained> {
  const windows = new WindowDataset(corpus.train, context);
  const sampler = new RandomSampler(windows.length, { seed, replacement: true, numSamples: steps * batchSize });
  const losses: number[] = [];
  const history = await model.fit(new DataLoader(windows, { batchSize, sampler, seed }), {
    epochs,
    seed,
    signal,
    resume,
    validation: new DataLoader(new WindowDataset(corpus.validation, context, context), { batchSize: 2 * batchSize }),
    callbacks: [...callbacks, new LambdaCallback({ onBatchEnd: (_, { loss }) => void losses.push(loss) })],
  });
  return { history, losses };
}
