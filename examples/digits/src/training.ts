/** Training and evaluation of a classifier. */
import { crossEntropy, jit, manualSeed, noGrad, optim, scope, softmax, type Tensor, tensor } from 'trireme';
import { DataLoader } from 'trireme/data';
import { type Augmentation, augment } from './augment.js';
import type { Pictures, Split } from './datasets.js';
import type { Classifier } from './model.js';
import type { Progress } from './progress.js';

export interface TrainingOptions {
  readonly epochs: number;
  readonly batchSize: number;
  /** The highest learning rate of the one-cycle schedule. */
  readonly maxLr: number;
  readonly seed: number;
  readonly augmentation: Augmentation;
  readonly signal?: AbortSignal;
}
export interface EpochResult {
  readonly epoch: number;
  readonly trainLoss: number;
  readonly trainAccuracy: number;
  readonly testLoss: number;
  readonly testAccuracy: number;
}
export interface Predictions {
  readonly classes: Int32Array;
  /** Probability of the predicted class. */
  readonly confidence: Float32Array;
  readonly loss: number;
  readonly accuracy: number;
}

/** Smith's one cycle (arXiv:1708.07120): up over the first 30 %, down to nearly nothing, both along a cosine. */
export function oneCycle(step: number, steps: number, maxLr: number): number {
  const top = 0.3 * steps;
  const cosine = (from: number, to: number, share: number): number => to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  return step < top ? cosine(maxLr / 10, maxLr, step / top) : cosine(maxLr, maxLr / 1000, (step - top) / (steps - top));
}

/** Classes, confidences, mean loss and accuracy over a set of pictures. */
export async function evaluate(
  model: Classifier,
  { images, labels, side }: Pictures,
  { batchSize = 256, signal }: { readonly batchSize?: number; readonly signal?: AbortSignal } = {},
): Promise<Predictions> {
  model.eval();
  const size = side * side;
  const count = labels.length;
  const classes = new Int32Array(count);
  const confidence = new Float32Array(count);
  let loss = 0;
  const forward = jit(
    // noGrad is inside: around the call it would end before the trace begins.
    (x: Tensor, y: Tensor) =>
      noGrad(() => {
        const logits = model.call(x);
        const best = softmax(logits).max(1);
        return { classes: best.indices, confidence: best.values, loss: crossEntropy(logits, y, { reduction: 'sum' }) };
      }),
    { name: 'evaluate' },
  );
  for (let start = 0; start < count; start += batchSize) {
    signal?.throwIfAborted();
    const end = Math.min(count, start + batchSize);
    const x = tensor(images.subarray(start * size, end * size), { shape: [end - start, 1, side, side] });
    const y = tensor(labels.subarray(start, end), { shape: [end - start] });
    const result = await forward.run(x, y);
    classes.set(Array.from(result.classes.dataSync(), Number), start);
    confidence.set(result.confidence.dataSync() as Float32Array, start);
    loss += Number(result.loss.item());
    for (const t of [x, y, result.classes, result.confidence, result.loss]) t.dispose();
  }
  forward.dispose();
  const right = classes.reduce((n, c, i) => n + (c === labels[i] ? 1 : 0), 0);
  return { classes, confidence, loss: loss / count, accuracy: right / count };
}

/** Trains in place. The whole step (forward, backward, update) is one Program. Calls `onEpoch` after each epoch. */
export async function train(
  model: Classifier,
  { train: set, test }: Split,
  options: TrainingOptions,
  progress: Progress,
  onEpoch: (result: EpochResult) => void,
): Promise<void> {
  const { epochs, batchSize, maxLr, seed, augmentation, signal } = options;
  manualSeed(seed);
  const { side, labels } = set;
  const optimizer = new optim.AdamW(model.parameters(), { lr: maxLr / 10, weightDecay: 0.01 });
  const step = jit(
    (x: Tensor, y: Tensor) => {
      const logits = model.call(x);
      const loss = crossEntropy(logits, y, { labelSmoothing: 0.05 });
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return { loss: loss.detach(), right: logits.detach().argmax(1).eq(y).sum() };
    },
    { name: 'trainStep' },
  );
  const loader = new DataLoader(
    { length: labels.length, get: (index: number) => index },
    { batchSize, shuffle: true, dropLast: true, seed, signal },
  );
  const steps = epochs * loader.length;
  progress.start(steps);
  for (let epoch = 1; epoch <= epochs; epoch++) {
    model.train();
    let lossSum = 0;
    let right = 0;
    let done = (epoch - 1) * loader.length;
    for await (const batch of loader) {
      const indices = Int32Array.from(batch);
      optimizer.lr = oneCycle(done, steps, maxLr);
      const x = tensor(augment(set, indices, augmentation, seed, epoch), { shape: [indices.length, 1, side, side] });
      const y = tensor(
        Int32Array.from(indices, (i) => labels[i]),
        { shape: [indices.length] },
      );
      const result = await step.run(x, y);
      scope(() => {
        lossSum += Number(result.loss.item());
        right += Number(result.right.item());
      });
      for (const t of [x, y, result.loss, result.right]) t.dispose();
      progress.advance(++done, `epoch ${epoch}/${epochs}  loss ${(lossSum / (done - (epoch - 1) * loader.length)).toFixed(4)}`);
    }
    const after = await evaluate(model, test, { signal });
    onEpoch({
      epoch,
      trainLoss: lossSum / loader.length,
      trainAccuracy: right / (loader.length * batchSize),
      testLoss: after.loss,
      testAccuracy: after.accuracy,
    });
  }
  progress.end();
  step.dispose();
  optimizer.dispose();
}
