/** Training of a detector and what it then finds. */
import { optim, type Tensor, tensor } from 'trireme';
import { type BatchedDataset, DataLoader, workerDataset } from 'trireme/data';
import { type ArraysOf, type Callback, fieldTensor, type History, Model } from 'trireme/train';
import { DetectionScore, type DetectOptions, type Found, findBoxes } from './detect.js';
import type { Architecture, CellDetector, Detections } from './model.js';
import { type Batch, batched, type Item, type Photo, plainItems, type VariedOptions } from './photos.js';
import { detectionLoss, type Targets } from './targets.js';

export interface TrainingOptions {
  readonly folder: string;
  /** Name of the set to learn from. */
  readonly set: string;
  readonly epochs: number;
  readonly batchSize: number;
  /** The highest learning rate of the one-cycle schedule. */
  readonly maxLr: number;
  readonly seed: number;
  /** Threads that vary photos. */
  readonly workers: number;
  /** Photos to measure after every few epochs. */
  readonly validation: readonly Photo[] | null;
  readonly callbacks: readonly Callback[];
  readonly resume: boolean;
  readonly signal?: AbortSignal;
}

export type CellModel = Model<[Tensor], Detections, Targets>;

/** AdamW without weight decay for shifts and scales; averaged weights. */
export function trainable(net: CellDetector, maxLr: number): CellModel {
  return new Model<[Tensor], Detections, Targets>(net).compile({
    optimizer: (parameters) =>
      new optim.AdamW(
        [
          { params: parameters.filter((p) => p.ndim > 1), weightDecay: 0.05 },
          { params: parameters.filter((p) => p.ndim <= 1), weightDecay: 0 },
        ],
        { lr: maxLr },
      ),
    loss: detectionLoss,
    metrics: [new DetectionScore()],
    ema: { decay: 0.998, warmup: true, buffers: true },
    clipGradNorm: 10,
    schedule: (optimizer, { steps }) => new optim.OneCycleLR(optimizer, { maxLr, totalSteps: steps, pctStart: 0.1, finalDivFactor: 100 }),
  });
}

function toTensors({ image, classes, boxes, truth }: Batch): readonly [Tensor, Targets] {
  return [fieldTensor(image), { classes: fieldTensor(classes), boxes: fieldTensor(boxes), truth: fieldTensor(truth) }];
}

export async function train(model: CellModel, architecture: Architecture, options: TrainingOptions): Promise<History> {
  const { folder, set, epochs, batchSize, seed, workers, validation, callbacks, resume, signal } = options;
  const { width, height, classNames } = architecture;
  const varied: VariedOptions = { folder, set, settings: { width, height, classNames }, plainFrom: Math.floor(0.85 * epochs) };
  const items = await workerDataset<BatchedDataset<Item, Batch>>(new URL('./photos.js', import.meta.url), 'makeVariedItems', varied);
  await using loader = new DataLoader(items, { batchSize, shuffle: true, dropLast: items.length > batchSize, seed, workers, signal });
  return model.fit(loader, {
    epochs,
    seed,
    toTensors,
    ...(validation === null ? {} : { validation: new DataLoader(batched(plainItems(validation)), { batchSize }) }),
    validateEvery: 5,
    trainMetrics: false,
    callbacks,
    resume,
    signal,
  });
}

/** What a model finds in photos, in pixels of the originals. */
export async function detect(
  model: CellModel,
  photos: readonly Photo[],
  options: DetectOptions = {},
  signal?: AbortSignal,
): Promise<Found[]> {
  const batchSize = 8;
  async function* inputs(): AsyncGenerator<Tensor, void, void> {
    for (let start = 0; start < photos.length; start += batchSize) {
      const part = photos.slice(start, start + batchSize);
      const [{ width, height }] = part.map((photo) => photo.image);
      const bytes = new Uint8Array(part.length * width * height * 3);
      part.forEach((photo, i) => {
        bytes.set(photo.image.data, i * width * height * 3);
      });
      yield tensor(bytes, { shape: [part.length, height, width, 3] });
    }
  }
  const { logits, boxes }: ArraysOf<Detections> = await model.predict(inputs(), { as: 'array', signal });
  return findBoxes(logits, boxes, options).map((found, i) => {
    const { image, width, height } = photos[i];
    return { ...found, boxes: found.boxes.map((v, k) => v * (k % 2 === 0 ? width / image.width : height / image.height)) };
  });
}
