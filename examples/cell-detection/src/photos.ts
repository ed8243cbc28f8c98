/** Photos with boxes, made ready and varied: the datasets that loaders and their worker threads build. */
import {
  type BatchedDataset,
  type CollatedItem,
  type Dataset,
  defaultCollate,
  type Field,
  type ItemContext,
  mapDataset,
  readVoc,
  withCollate,
} from 'trireme/data';
import {
  affine,
  colorJitter,
  compose,
  horizontalFlip,
  mosaic,
  randomApply,
  readImage,
  resizeSample,
  type Sample,
  TransformedDataset,
  verticalFlip,
} from 'trireme/data/vision';
import { type Architecture, gridOf } from './model.js';
import { assign } from './targets.js';

export type Settings = Pick<Architecture, 'width' | 'height' | 'classNames'>;

/** A photo at the size of the network's input, with all that is known about it. */
export interface Photo extends Required<Pick<Sample, 'image' | 'boxes' | 'labels'>> {
  readonly id: string;
  /** Of the original. */
  readonly path: string;
  /** Size of the original. */
  readonly width: number;
  readonly height: number;
}

/** Decodes the photos of a set, once, to the input's size. Boxes without area are left out. */
export async function loadPhotos(folder: string, set: string, { width, height, classNames }: Settings): Promise<Photo[]> {
  const photos: Photo[] = [];
  for (const { id, path, objects } of await readVoc(folder, set)) {
    const image = await readImage(path);
    const real = objects.filter(({ box: [left, top, right, bottom] }) => right > left && bottom > top);
    const sample = resizeSample(
      {
        image,
        boxes: Float32Array.from(real.flatMap(({ box }) => box)),
        labels: Int32Array.from(real, ({ name }) => classNames.indexOf(name)),
      },
      width,
      height,
    );
    photos.push({ ...(sample as Required<typeof sample>), id, path, width: image.width, height: image.height });
  }
  return photos;
}

/** What the network sees and what it should say, see {@link assign}; and the boxes themselves for the measure of the whole. */
export interface Item {
  /** [height, width, 3] */
  readonly image: Field<Uint8Array>;
  readonly classes: Field<Int32Array>;
  readonly boxes: Field<Float32Array>;
  /** [most, 5]: class, left, top, right, bottom; rows of -1 after the last. */
  readonly truth: Field<Float32Array>;
}

const mostObjects = 100;

export function toItem({ image, boxes, labels }: Sample): Item {
  const targets = assign(boxes ?? new Float32Array(), labels ?? new Int32Array(), gridOf(image));
  const truth = new Float32Array(mostObjects * 5).fill(-1);
  labels?.subarray(0, mostObjects).forEach((label, i) => {
    truth.set([label, ...(boxes?.subarray(4 * i, 4 * i + 4) ?? [])], 5 * i);
  });
  return {
    image: { data: image.data, shape: [image.height, image.width, 3] },
    classes: { data: targets.classes, shape: [targets.classes.length] },
    boxes: { data: targets.boxes, shape: [targets.classes.length, 4] },
    truth: { data: truth, shape: [mostObjects, 5] },
  };
}

/** The photos as they are. */
export function plainItems(photos: readonly Photo[]): Dataset<Item> {
  return mapDataset({ length: photos.length, get: (i: number) => photos[i] }, toItem);
}

export interface AugmentOptions {
  /** From this epoch on photos are no longer cut together. */
  readonly plainFrom: number;
}

/** Mean colour of the photos, for what lies outside of them. */
const ground = [198, 187, 182];

/** The photos varied: four in one, mirrored, scaled, moved, recoloured. */
export function variedItems(photos: readonly Photo[], { width, height }: Settings, { plainFrom }: AugmentOptions): Dataset<Item> {
  const source = { length: photos.length, get: (i: number) => photos[i] as Sample };
  const limits = { minVisible: 0.25, minSize: 4 };
  const join = mosaic({ size: [height, width], p: 0.6, scale: [1.3, 2.5], center: [0.25, 0.75], fill: ground, ...limits });
  const vary = compose(
    randomApply(affine({ scale: [0.75, 1.35], translate: [0.15, 0.15], fill: ground, ...limits }), 0.5),
    horizontalFlip(),
    verticalFlip(),
    colorJitter({ brightness: 0.2, contrast: 0.2, saturation: 0.3 }),
    randomApply(colorJitter({ hue: 0.04 }), 0.3),
  );
  const joined = new TransformedDataset(source, vary, { mix: join });
  const alone = new TransformedDataset(source, vary);
  const dataset = {
    length: photos.length,
    get: (i: number, context?: ItemContext) => ((context?.epoch ?? 0) < plainFrom ? joined : alone).get(i, context),
  };
  return mapDataset(dataset, toItem);
}

/** A batch: the fields of {@link Item} with the photos in front. */
export type Batch = CollatedItem<Item>;

/** Whole batches, made where the items are made. */
export function batched(items: Dataset<Item>): BatchedDataset<Item, Batch> {
  return withCollate(items, defaultCollate<Item>);
}

export interface VariedOptions extends AugmentOptions {
  readonly folder: string;
  readonly set: string;
  readonly settings: Settings;
}

/** For workerDataset(): batches of the varied photos of a set. */
export async function makeVariedItems({ folder, set, settings, plainFrom }: VariedOptions): Promise<BatchedDataset<Item, Batch>> {
  return batched(variedItems(await loadPhotos(folder, set, settings), settings, { plainFrom }));
}
