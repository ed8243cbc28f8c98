/** Optimizer, loss and schedule of the network, and its predictions. */
import { optim, type Tensor } from 'trireme';
import { Accuracy } from 'trireme/metrics';
import { CrossEntropyLoss } from 'trireme/nn';
import { Model } from 'trireme/train';
import type { KeywordNet } from './model.js';

/** AdamW with one cycle of the learning rate. The averages of weights and running statistics are what is evaluated. */
export function trainable(net: KeywordNet): Model {
  return new Model(net).compile({
    optimizer: (_, own) => new optim.AdamW(optim.splitDecay(own, { weightDecay: 0.02 }), { lr: 1e-3 }),
    loss: new CrossEntropyLoss({ labelSmoothing: 0.1 }),
    metrics: [new Accuracy()],
    schedule: (optimizer, { steps }) => new optim.OneCycleLR(optimizer, { maxLr: 5e-3, totalSteps: steps }),
    ema: { decay: 0.99, warmup: true, buffers: true },
  });
}

export interface Prediction {
  readonly digit: number;
  readonly probability: number;
}

/** The most probable digit of each input. */
export async function predictDigits(model: Model, x: Tensor, signal?: AbortSignal): Promise<Prediction[]> {
  const { data, shape } = await model.predict(x, { signal, as: 'array' });
  return Array.from({ length: shape[0] }, (_, i) => {
    const logits = Array.from(data.subarray(i * shape[1], (i + 1) * shape[1]), Number);
    const top = Math.max(...logits);
    return { digit: logits.indexOf(top), probability: 1 / logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0) };
  });
}
