/** Pictures into batches: flipped and moved for training, as they are for testing. */
import { type Tensor, tensor } from 'trireme';
import { DataLoader, type Dataset, type GreyPictures } from 'trireme/data';
import {
  compose,
  horizontalFlip,
  imageData8,
  type NormalizeOptions,
  randomCrop,
  type Sample,
  stackImages,
  TransformedDataset,
} from 'trireme/data/vision';

export type Batch = readonly [images: Tensor, labels: Tensor];

/** Mean and standard deviation of the training pictures. */
const statistics: NormalizeOptions = { mean: [0.286], std: [0.353] };

/** Half of the pictures mirrored, each moved by up to two pixels. */
export const augmentation = compose(horizontalFlip(), randomCrop(28, { padding: 2 }));

/** Samples in memory. */
export interface Samples extends Dataset<Sample> {
  get(index: number): Sample;
}

/** The pictures as samples that transforms take. */
export function samplesOf({ fields: { image, label }, length }: GreyPictures, count = length): Samples {
  const [, height, width] = image.shape;
  const size = height * width;
  return {
    length: Math.min(count, length),
    get: (index) => ({
      image: imageData8(width, height, 1, image.data.subarray(index * size, (index + 1) * size)),
      labels: label.data.subarray(index, index + 1),
    }),
  };
}

/** Inputs [n, 1, 28, 28], normalised, and labels [n]. */
function collate(samples: readonly Sample[]): Batch {
  const { data, shape } = stackImages(
    samples.map((sample) => sample.image),
    statistics,
  );
  return [tensor(data, { shape: [...shape] }), tensor(Int32Array.from(samples, (sample) => sample.labels?.[0] ?? 0))];
}

/** Varied pictures in a new order each epoch. */
export function trainingBatches(
  pictures: GreyPictures,
  options: { batchSize: number; seed: number; count?: number },
): DataLoader<Sample, Batch> {
  const { batchSize, seed, count } = options;
  const varied = new TransformedDataset(samplesOf(pictures, count), augmentation);
  return new DataLoader(varied, { batchSize, seed, shuffle: true, dropLast: true, collate });
}

/** The pictures in their order. */
export function testBatches(pictures: GreyPictures, count?: number): DataLoader<Sample, Batch> {
  return new DataLoader(samplesOf(pictures, count), { batchSize: 250, collate });
}
