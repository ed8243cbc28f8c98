/** Training of a U-Net and what it then makes of photos. */
import { crossEntropy, diceLoss, optim, type Tensor, tensor } from 'trireme';
import { type BatchedDataset, DataLoader, workerDataset } from 'trireme/data';
import { DiceScore, MeanIoU } from 'trireme/metrics';
import { type Callback, fieldsToTensors, type History, type LossParts, Model } from 'trireme/train';
import { unknown } from './masks.js';
import type { Architecture, UNet } from './model.js';
import { type Batch, type Item, type Photo, plainItems, type VariedOptions } from './photos.js';

/** Cross entropy of the pixels, and overlap of the regions: the second counts platelets, few pixels, as much as red cells. */
export function segmentationLoss(logits: Tensor, mask: Tensor): LossParts {
  const pixelLoss = crossEntropy(logits, mask, { ignoreIndex: unknown });
  const regionLoss = diceLoss(logits, mask, { ignoreIndex: unknown, batch: true, includeBackground: false });
  return { loss: pixelLoss.add(regionLoss), pixelLoss, regionLoss };
}

export function trainable(net: UNet, maxLr: number): Model {
  return new Model(net).compile({
    optimizer: (parameters) => new optim.AdamW(parameters, { lr: maxLr, weightDecay: 1e-4 }),
    loss: segmentationLoss,
    metrics: [new MeanIoU({ ignoreIndex: unknown }), new DiceScore({ ignoreIndex: unknown })],
    ema: { decay: 0.99, warmup: true, buffers: true },
    schedule: (optimizer, { steps }) => new optim.OneCycleLR(optimizer, { maxLr, totalSteps: steps, pctStart: 0.2 }),
  });
}

export interface TrainingOptions {
  readonly folder: string;
  /** Name of the set to learn from. */
  readonly set: string;
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  /** Threads that vary photos. */
  readonly workers: number;
  readonly validation: readonly Photo[];
  readonly callbacks: readonly Callback[];
  readonly resume: boolean;
  readonly signal?: AbortSignal;
}

export async function train(model: Model, { width, height }: Architecture, options: TrainingOptions): Promise<History> {
  const { folder, set, epochs, batchSize, seed, workers, validation, callbacks, resume, signal } = options;
  const varied: VariedOptions = { folder, set, width, height };
  const items = await workerDataset<BatchedDataset<Item, Batch>>(new URL('./photos.js', import.meta.url), 'makeVariedItems', varied);
  await using loader = new DataLoader(items, { batchSize, shuffle: true, dropLast: items.length > batchSize, seed, workers, signal });
  return model.fit(loader, {
    epochs,
    seed,
    toTensors: fieldsToTensors('image', 'mask'),
    validation: new DataLoader(plainItems(validation), { batchSize }),
    trainMetrics: false,
    callbacks,
    resume,
    signal,
  });
}

/** The class of each pixel of each photo. */
export async function segment(model: Model, photos: readonly Pick<Photo, 'image'>[], signal?: AbortSignal): Promise<Uint8Array[]> {
  async function* inputs(): AsyncGenerator<Tensor, void, void> {
    for (const { image } of photos) yield tensor(image.data, { shape: [1, image.height, image.width, 3] });
  }
  const { data, shape } = await model.predict(inputs(), { as: 'array', signal });
  const [count, classes, height, width] = shape;
  const plane = width * height;
  return Array.from({ length: count }, (_, n) =>
    Uint8Array.from({ length: plane }, (_v, i) => {
      let best = 0;
      for (let c = 1; c < classes; c++) if (data[(n * classes + c) * plane + i] > data[(n * classes + best) * plane + i]) best = c;
      return best;
    }),
  );
}
