/** Optimizer, loss and schedule of the network, and its predictions. */
import { optim, type Tensor } from 'trireme';
import type { GreyPictures } from 'trireme/data';
import { Accuracy, accuracy } from 'trireme/metrics';
import { CrossEntropyLoss } from 'trireme/nn';
import { Model } from 'trireme/train';
import { testBatches } from './data.js';
import type { ResNet } from './model.js';

/**
 * Stochastic gradient descent with Nesterov's momentum and one cycle of the learning rate. The averages of weights and running
 * statistics are what is evaluated.
 */
export function trainable(net: ResNet, maxLr: number): Model {
  return new Model(net).compile({
    // Weights decay, biases and the scales of normalisations do not.
    optimizer: (_, own) => new optim.SGD(optim.splitDecay(own, { weightDecay: 5e-4 }), { lr: 0.01, momentum: 0.9, nesterov: true }),
    loss: new CrossEntropyLoss({ labelSmoothing: 0.1 }),
    metrics: [new Accuracy()],
    schedule: (optimizer, { steps }) => new optim.OneCycleLR(optimizer, { maxLr, totalSteps: steps, cycleMomentum: false }),
    ema: { decay: 0.998, warmup: true, buffers: true },
  });
}

export interface Predictions {
  readonly classes: Int32Array;
  /** Probability of the predicted class. */
  readonly confidence: Float32Array;
  readonly accuracy: number;
}

/** What the model takes the pictures for: the mean of what it says of each and of its mirror image. */
export async function classify(model: Model, pictures: GreyPictures, count: number, signal?: AbortSignal): Promise<Predictions> {
  const inputs = async function* (mirrored: boolean): AsyncGenerator<Tensor, void, void> {
    for await (const [images, labels] of testBatches(pictures, count)) {
      labels.dispose();
      if (!mirrored) {
        yield images;
        continue;
      }
      const mirror = images.flip([3]);
      images.dispose();
      yield mirror;
    }
  };
  const { data: plain, shape } = await model.predict(inputs(false), { signal, as: 'array' });
  const { data: mirrored } = await model.predict(inputs(true), { signal, as: 'array' });
  const [n, width] = shape;
  const data = Float32Array.from({ length: n * width }, (_, i) => (Number(plain[i]) + Number(mirrored[i])) / 2);
  const classes = new Int32Array(n);
  const confidence = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const row = data.subarray(i * width, (i + 1) * width);
    const top = Math.max(...row);
    classes[i] = row.indexOf(top);
    confidence[i] = 1 / row.reduce((sum, logit) => sum + Math.exp(logit - top), 0);
  }
  return { classes, confidence, accuracy: accuracy(pictures.fields.label.data.subarray(0, n), classes) };
}
