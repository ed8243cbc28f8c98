/** Training and evaluation of a classifier. */
import { crossEntropy, noGrad, optim, softmax, type Tensor, tensor } from 'trireme';
import { DataLoader } from 'trireme/data';
import { type EpochRecord, LambdaCallback, Model, ProgressBar } from 'trireme/train';
import { type Augmentation, augment } from './augment.js';
import type { Pictures, Split } from './datasets.js';
import type { Classifier } from './model.js';

export interface TrainingOptions {
  readonly epochs: number;
  readonly batchSize: number;
  /** The highest learning rate of the one-cycle schedule. */
  readonly maxLr: number;
  readonly seed: number;
  readonly augmentation: Augmentation;
  readonly signal?: AbortSignal;
}
export interface Predictions {
  readonly classes: Int32Array;
  /** Probability of the predicted class. */
  readonly confidence: Float32Array;
  readonly accuracy: number;
}

/** Smith's one cycle (arXiv:1708.07120): up over the first 30 %, down to nearly nothing, both along a cosine. */
export function oneCycle(step: number, steps: number, maxLr: number): number {
  const top = 0.3 * steps;
  const cosine = (from: number, to: number, share: number): number => to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  return step < top ? cosine(maxLr / 10, maxLr, step / top) : cosine(maxLr, maxLr / 1000, (step - top) / (steps - top));
}

/** A network with its training: cross entropy with smoothed labels, AdamW, one cycle of the learning rate. */
export function trainable(net: Classifier, maxLr: number): Model {
  const firstLr = maxLr / 10;
  return new Model(net).compile({
    optimizer: (parameters) => new optim.AdamW(parameters, { lr: firstLr, weightDecay: 0.01 }),
    loss: function crossEntropyWithSmoothing(logits, labels) {
      return crossEntropy(logits, labels, { labelSmoothing: 0.05 });
    },
    metrics: { accuracy: (logits, labels) => logits.argmax(1).eq(labels).float().mean() },
    schedule: (optimizer, { steps }) => new optim.LambdaLR(optimizer, (step) => oneCycle(step, steps, maxLr) / firstLr),
  });
}

/** Inputs [n, 1, side, side] and labels [n]. */
function batchOf(images: Float32Array, labels: Int32Array, side: number): readonly [Tensor, Tensor] {
  return [tensor(images, { shape: [labels.length, 1, side, side] }), tensor(labels)];
}

/** Pictures in their order, cut into batches. */
function* batches({ images, labels, side }: Pictures, batchSize: number): Generator<readonly [Tensor, Tensor], void, void> {
  const size = side * side;
  for (let start = 0; start < labels.length; start += batchSize) {
    const end = Math.min(labels.length, start + batchSize);
    yield batchOf(images.subarray(start * size, end * size), Int32Array.from(labels.subarray(start, end)), side);
  }
}

/** Classes, confidences and accuracy over a set of pictures. */
export async function classify(model: Model, pictures: Pictures, signal?: AbortSignal): Promise<Predictions> {
  const inputs = async function* (): AsyncGenerator<Tensor, void, void> {
    for (const [images, labels] of batches(pictures, 256)) {
      labels.dispose();
      yield images;
    }
  };
  using logits = await model.predict(inputs(), { signal });
  const best = noGrad(() => softmax(logits).max(1));
  const classes = Int32Array.from(best.indices.dataSync(), Number);
  const confidence = Float32Array.from(best.values.dataSync(), Number);
  best.indices.dispose();
  best.values.dispose();
  const right = classes.reduce((n, c, i) => n + (c === pictures.labels[i] ? 1 : 0), 0);
  return { classes, confidence, accuracy: right / classes.length };
}

/** Trains in place, with a bar on standard error; `line` gives the text of an epoch, null for none. Returns the epochs. */
export async function train(
  model: Model,
  { train: set, test }: Split,
  { epochs, batchSize, seed, augmentation, signal }: TrainingOptions,
  line: (record: EpochRecord) => string | null,
): Promise<readonly EpochRecord[]> {
  const { labels, side } = set;
  let epoch = 0;
  const loader = new DataLoader(
    { length: labels.length, get: (index: number) => labels[index] },
    {
      batchSize,
      shuffle: true,
      dropLast: true,
      seed,
      collate: (classes, indices) => batchOf(augment(set, indices, augmentation, seed, epoch), Int32Array.from(classes), side),
    },
  );
  const progress = new ProgressBar({ output: process.stderr, everyEpochs: 0 });
  const history = await model.fit(loader, {
    epochs,
    seed,
    signal,
    validation: { [Symbol.iterator]: () => batches(test, 256) },
    callbacks: [
      progress,
      new LambdaCallback({
        onEpochBegin: (_, now) => {
          epoch = now;
        },
        onEpochEnd: (_, record) => {
          const text = line(record);
          if (text !== null) progress.line(text);
        },
      }),
    ],
  });
  return history.epochs;
}
