/** Photos with masks, made ready and varied: the datasets that loaders and their worker threads build. */
import {
  type BatchedDataset,
  bccdClassNames,
  type CollatedItem,
  type Dataset,
  defaultCollate,
  type Field,
  mapDataset,
  readVoc,
  withCollate,
} from 'trireme/data';
import {
  affine,
  colorJitter,
  compose,
  horizontalFlip,
  randomApply,
  readImage,
  resizeSample,
  type Sample,
  TransformedDataset,
  verticalFlip,
} from 'trireme/data/vision';
import { maskFromBoxes, unknown } from './masks.js';

/** A photo at the size of the network's input with the boxes of the data and the mask made of them. */
export type Photo = Required<Pick<Sample, 'image' | 'boxes' | 'labels' | 'mask'>> & { readonly id: string };

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Decodes the photos of a set, once, and makes their masks. Boxes without area are left out. */
export async function loadPhotos(folder: string, set: string, { width, height }: Size): Promise<Photo[]> {
  const names: readonly string[] = bccdClassNames;
  const photos: Photo[] = [];
  for (const { id, path, objects } of await readVoc(folder, set)) {
    const real = objects.filter(({ box: [left, top, right, bottom] }) => right > left && bottom > top);
    const { image, boxes, labels } = resizeSample(
      {
        image: await readImage(path),
        boxes: Float32Array.from(real.flatMap(({ box }) => box)),
        labels: Int32Array.from(real, ({ name }) => names.indexOf(name)),
      },
      width,
      height,
    ) as Photo;
    photos.push({ id, image, boxes, labels, mask: maskFromBoxes(image, boxes, labels) });
  }
  return photos;
}

export interface Item {
  /** [height, width, 3] */
  readonly image: Field<Uint8Array>;
  /** [height, width]: numbers of classes, or {@link unknown}. */
  readonly mask: Field<Int32Array>;
}
export type Batch = CollatedItem<Item>;

function toItem({ image: { width, height, data }, mask }: Sample): Item {
  return {
    image: { data, shape: [height, width, 3] },
    mask: { data: Int32Array.from(mask ?? []), shape: [height, width] },
  };
}

const batched = (samples: Dataset<Sample>): BatchedDataset<Item, Batch> => withCollate(mapDataset(samples, toItem), defaultCollate<Item>);
const inMemory = (photos: readonly Photo[]): Dataset<Sample> => ({ length: photos.length, get: (i) => photos[i] });

/** The photos as they are. */
export function plainItems(photos: readonly Photo[]): BatchedDataset<Item, Batch> {
  return batched(inMemory(photos));
}

/** Mirrored, scaled, turned, recoloured. */
export function variedItems(photos: readonly Photo[]): BatchedDataset<Item, Batch> {
  const vary = compose(
    // What lies outside of a photo has its mean colour, and counts nothing.
    randomApply(affine({ degrees: 20, scale: [0.8, 1.3], translate: [0.1, 0.1], fill: [198, 187, 182], maskFill: unknown }), 0.5),
    horizontalFlip(),
    verticalFlip(),
    colorJitter({ brightness: 0.2, contrast: 0.2, saturation: 0.3 }),
  );
  return batched(new TransformedDataset(inMemory(photos), vary));
}

export interface VariedOptions extends Size {
  readonly folder: string;
  readonly set: string;
}
/** For workerDataset(): batches of the varied photos of a set. */
export async function makeVariedItems({ folder, set, ...size }: VariedOptions): Promise<BatchedDataset<Item, Batch>> {
  return variedItems(await loadPhotos(folder, set, size));
}
