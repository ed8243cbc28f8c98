/** A picture with what is known about its places, and transforms that keep both together. */
import { ArgumentError, ShapeError } from '../../errors.js';
import type { Dataset, ItemContext } from '../dataset.js';
import { ItemRandom } from '../item-random.js';
import type { ImageData8 } from './image.js';

/**
 * Coordinates are in pixels from the upper left corner of the picture; pixel (0, 0) covers [0, 1) x [0, 1), so a box around
 * the whole picture is [0, 0, width, height].
 */
export interface Sample {
  readonly image: ImageData8;
  /** float32 [n, 4]: left, top, right, bottom. */
  readonly boxes?: Float32Array;
  /** int32 [n]: the class of each box (or, without boxes, of the picture). */
  readonly labels?: Int32Array;
  /** uint8 [height, width]: the class of each pixel. */
  readonly mask?: Uint8Array;
  /** float32 [k, 3]: x, y and visibility (0: not in the picture). */
  readonly keypoints?: Float32Array;
}

/** A step of augmentation. What is random comes from `random` alone, so (seed, item, epoch) fix the result. */
export type Transform<S extends Sample = Sample> = (sample: S, random: ItemRandom) => S;

/** Which boxes stay after a part of them was cut off. */
export interface BoxLimits {
  /** Least share of a box's area that must be inside the picture; 0.1 unless told otherwise. */
  readonly minVisible?: number;
  /** Least width and height in pixels; 1 unless told otherwise. */
  readonly minSize?: number;
}

/** @throws ShapeError when boxes, labels, mask or keypoints do not fit the picture. */
export function checkSample(sample: Sample): Sample {
  const { image, boxes, labels, mask, keypoints } = sample;
  const op = 'checkSample';
  const pixels = image.width * image.height;
  if (image.data.length !== pixels * image.channels) {
    throw new ShapeError(`${image.data.length} bytes for ${image.width} x ${image.height} x ${image.channels}`, { op });
  }
  if (boxes && boxes.length % 4 !== 0) throw new ShapeError(`${boxes.length} numbers for boxes`, { op, expected: '4 a box' });
  if (boxes && labels && labels.length * 4 !== boxes.length) {
    throw new ShapeError(`${labels.length} labels for ${boxes.length / 4} boxes`, { op, expected: 'a label for each box' });
  }
  if (mask && mask.length !== pixels) throw new ShapeError(`a mask of ${mask.length} pixels`, { op, expected: `${pixels} pixels` });
  if (keypoints && keypoints.length % 3 !== 0) {
    throw new ShapeError(`${keypoints.length} numbers for keypoints`, { op, expected: '3 a point (x, y, visibility)' });
  }
  return sample;
}

/** One transform after the other. */
export function compose<S extends Sample>(...transforms: readonly Transform<S>[]): Transform<S> {
  return (sample, random) => transforms.reduce((current, transform) => transform(current, random), sample);
}

/** The transform with probability p. */
export function randomApply<S extends Sample>(transform: Transform<S>, p = 0.5): Transform<S> {
  return (sample, random) => (random.chance(p) ? transform(sample, random) : sample);
}

/** One of the transforms, each as likely as the others. */
export function oneOf<S extends Sample>(...transforms: readonly Transform<S>[]): Transform<S> {
  if (transforms.length === 0) throw new ArgumentError('there are no transforms', { op: 'oneOf', expected: 'at least one' });
  return (sample, random) => random.pick(transforms)(sample, random);
}

/** A transform that changes colours alone: everything else of the sample stays. */
export function imageTransform(change: (image: ImageData8, random: ItemRandom) => ImageData8): Transform {
  return (sample, random) => ({ ...sample, image: change(sample.image, random) });
}

/**
 * Moves boxes and points by `move` (x, y to x, y) into a picture of width x height. A box becomes the box around its four
 * moved corners, cut at the borders; those with too little left are dropped with their labels.
 */
export function moveAnnotations(
  sample: Sample,
  width: number,
  height: number,
  move: (x: number, y: number) => readonly [number, number],
  limits: BoxLimits = {},
): Pick<Sample, 'boxes' | 'labels' | 'keypoints'> {
  const { boxes, labels, keypoints } = sample;
  const out: { boxes?: Float32Array; labels?: Int32Array; keypoints?: Float32Array } = {};
  if (labels) out.labels = labels;
  if (boxes) {
    const moved = new Float32Array(boxes.length);
    for (let i = 0; i < boxes.length; i += 4) {
      const [left, top, right, bottom] = boxes.subarray(i, i + 4);
      const corners = [move(left, top), move(right, top), move(left, bottom), move(right, bottom)];
      const xs = corners.map(([x]) => x);
      const ys = corners.map(([, y]) => y);
      moved.set([Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], i);
    }
    Object.assign(out, clipBoxes(moved, labels, width, height, limits));
  }
  if (keypoints) {
    const moved = keypoints.slice();
    for (let i = 0; i < moved.length; i += 3) {
      const [x, y] = move(keypoints[i], keypoints[i + 1]);
      moved[i] = x;
      moved[i + 1] = y;
      if (!(x >= 0 && y >= 0 && x < width && y < height)) moved[i + 2] = 0;
    }
    out.keypoints = moved;
  }
  return out;
}

/** Boxes cut at the borders of the picture, without those of which too little is left. */
export function clipBoxes(
  boxes: Float32Array,
  labels: Int32Array | undefined,
  width: number,
  height: number,
  limits: BoxLimits = {},
): { boxes: Float32Array; labels?: Int32Array } {
  const { minVisible = 0.1, minSize = 1 } = limits;
  const kept: number[] = [];
  const keptLabels: number[] = [];
  for (let i = 0; i < boxes.length; i += 4) {
    const area = (boxes[i + 2] - boxes[i]) * (boxes[i + 3] - boxes[i + 1]);
    const left = Math.max(0, Math.min(width, boxes[i]));
    const top = Math.max(0, Math.min(height, boxes[i + 1]));
    const right = Math.max(0, Math.min(width, boxes[i + 2]));
    const bottom = Math.max(0, Math.min(height, boxes[i + 3]));
    const inside = (right - left) * (bottom - top);
    if (right - left < minSize || bottom - top < minSize || inside < minVisible * area) continue;
    kept.push(left, top, right, bottom);
    if (labels) keptLabels.push(labels[i / 4]);
  }
  return { boxes: Float32Array.from(kept), ...(labels ? { labels: Int32Array.from(keptLabels) } : {}) };
}

/** A transform that needs further samples of the dataset (mosaic, mix-up): `draw` gives one at random. */
export type MixTransform = (sample: Sample, draw: () => Promise<Sample>, random: ItemRandom) => Promise<Sample>;

export interface TransformedOptions {
  /** Without a DataLoader; 0 unless told otherwise. */
  readonly seed?: number;
  /** Before `transform`, e.g. `mosaic({ size: 640 })`. */
  readonly mix?: MixTransform;
}

/**
 * A dataset whose items are transformed samples. In a DataLoader the random numbers are those of (its seed, its epoch, the
 * item), in worker threads too; without one, those of (`seed`, `setEpoch`, the item).
 *
 * `const train = new TransformedDataset(photos, compose(horizontalFlip(), colorJitter({ brightness: 0.2 })), { seed: 1 });`
 */
export class TransformedDataset implements Dataset<Sample> {
  readonly length: number;
  private readonly source: Dataset<Sample>;
  private readonly transform: Transform;
  private readonly seed: number;
  private readonly mix: MixTransform | undefined;
  private epoch = 0;

  constructor(source: Dataset<Sample>, transform: Transform, options: TransformedOptions = {}) {
    this.source = source;
    this.transform = transform;
    this.length = source.length;
    this.seed = options.seed ?? 0;
    this.mix = options.mix;
  }

  /** Without a DataLoader: the epoch that the next items belong to. */
  setEpoch(epoch: number): void {
    this.epoch = epoch;
  }

  async get(index: number, context?: ItemContext): Promise<Sample> {
    const random = context?.rng ?? new ItemRandom(this.seed, index, this.epoch);
    let sample = await this.source.get(index, context);
    if (this.mix) sample = await this.mix(sample, async () => this.source.get(random.below(this.length), context), random);
    return this.transform(sample, random);
  }
}
