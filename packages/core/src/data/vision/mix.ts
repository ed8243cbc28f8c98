/** Several samples in one. */
import { ArgumentError, ShapeError } from '../../errors.js';
import type { ItemRandom } from '../item-random.js';
import { cropSample, fillOf } from './crop.js';
import type { ImageData8 } from './image.js';
import { resizeSample } from './resize.js';
import { type BoxLimits, type MixTransform, moveAnnotations, type Sample } from './sample.js';

function joinInt(parts: readonly (Int32Array | undefined)[]): Int32Array | undefined {
  const present = parts.filter((part) => part !== undefined);
  return present.length === 0 ? undefined : Int32Array.from(present.flatMap((part) => [...part]));
}

function joinFloat(parts: readonly (Float32Array | undefined)[]): Float32Array | undefined {
  const present = parts.filter((part) => part !== undefined);
  return present.length === 0 ? undefined : Float32Array.from(present.flatMap((part) => [...part]));
}

function joined(samples: readonly Pick<Sample, 'boxes' | 'labels' | 'keypoints'>[]): Pick<Sample, 'boxes' | 'labels' | 'keypoints'> {
  const boxes = joinFloat(samples.map((s) => s.boxes));
  const labels = joinInt(samples.map((s) => s.labels));
  const keypoints = joinFloat(samples.map((s) => s.keypoints));
  return { ...(boxes ? { boxes } : {}), ...(labels ? { labels } : {}), ...(keypoints ? { keypoints } : {}) };
}

export interface MosaicOptions extends BoxLimits {
  /** Width and height of the result, or [height, width]. */
  readonly size: number | readonly [number, number];
  readonly p?: number;
  /** Range of the place where the four meet, as share of the size; 0.3 to 0.7 unless told otherwise. */
  readonly center?: readonly [number, number];
  /** Range of the scale of each picture in its quarter; 0.8 to 1.5 unless told otherwise. */
  readonly scale?: readonly [number, number];
  readonly fill?: number | readonly number[];
  readonly maskFill?: number;
}

/**
 * Four samples around a point: upper left, upper right, lower left, lower right (Bochkovskiy et al., YOLOv4, 2020). Each is scaled
 * (1: it fits half the size) and laid with a corner at the point; what reaches over its quarter is cut off with its boxes.
 */
export function mosaicSamples(samples: readonly Sample[], random: ItemRandom, options: MosaicOptions): Sample {
  const { size, center = [0.3, 0.7], scale = [0.8, 1.5], fill = 114, maskFill = 0 } = options;
  if (samples.length !== 4) throw new ArgumentError(`${samples.length} samples`, { op: 'mosaic', expected: 'four samples' });
  const { channels } = samples[0].image;
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  const data = new Uint8Array(width * height * channels);
  const color = fillOf(fill, channels);
  for (let i = 0; i < data.length; i++) data[i] = color[i % channels];
  const withMask = samples.every((sample) => sample.mask !== undefined);
  const mask = withMask ? new Uint8Array(width * height).fill(maskFill) : undefined;
  const cx = Math.round(width * random.uniform(center[0], center[1]));
  const cy = Math.round(height * random.uniform(center[0], center[1]));
  const parts = samples.map((sample, i) => {
    const factor = (random.uniform(scale[0], scale[1]) / 2) * Math.min(width / sample.image.width, height / sample.image.height);
    const w = Math.max(1, Math.round(sample.image.width * factor));
    const h = Math.max(1, Math.round(sample.image.height * factor));
    const right = i % 2 === 1;
    const lower = i >= 2;
    // The part of the picture that its quarter has room for, seen from the meeting point.
    const visibleWidth = Math.min(w, right ? width - cx : cx);
    const visibleHeight = Math.min(h, lower ? height - cy : cy);
    if (visibleWidth < 1 || visibleHeight < 1) return {};
    // Only what will be seen is scaled: the pixels at the corner that comes to lie at the point.
    const { image, mask: classes } = sample;
    const takeWidth = Math.min(image.width, Math.ceil((visibleWidth * image.width) / w) + 1);
    const takeHeight = Math.min(image.height, Math.ceil((visibleHeight * image.height) / h) + 1);
    const toWidth = Math.max(visibleWidth, Math.round((takeWidth * w) / image.width));
    const toHeight = Math.max(visibleHeight, Math.round((takeHeight * h) / image.height));
    const fromX = right ? 0 : image.width - takeWidth;
    const fromY = lower ? 0 : image.height - takeHeight;
    const cutX = right ? 0 : toWidth - visibleWidth;
    const cutY = lower ? 0 : toHeight - visibleHeight;
    const pixels = cropSample({ image, ...(classes ? { mask: classes } : {}) }, fromX, fromY, takeWidth, takeHeight);
    const seen = cropSample(resizeSample(pixels, toWidth, toHeight), cutX, cutY, visibleWidth, visibleHeight);
    const move = (x: number, y: number): readonly [number, number] => [
      ((x - fromX) * toWidth) / takeWidth - cutX,
      ((y - fromY) * toHeight) / takeHeight - cutY,
    ];
    const cut = { ...seen, ...moveAnnotations(sample, visibleWidth, visibleHeight, move, options) };
    const left = right ? cx : cx - visibleWidth;
    const top = lower ? cy : cy - visibleHeight;
    paste(data, width, cut.image.data, visibleWidth, visibleHeight, channels, left, top);
    if (mask && cut.mask) paste(mask, width, cut.mask, visibleWidth, visibleHeight, 1, left, top);
    return moveAnnotations(cut, width, height, (x, y) => [x + left, y + top], { minVisible: 0, minSize: 0 });
  });
  return { image: { width, height, channels, data }, ...joined(parts), ...(mask ? { mask } : {}) };
}

function paste(
  to: Uint8Array,
  toWidth: number,
  from: Uint8Array,
  width: number,
  height: number,
  channels: number,
  left: number,
  top: number,
): void {
  for (let y = 0; y < height; y++) {
    const row = from.subarray(y * width * channels, (y + 1) * width * channels);
    to.set(row, ((top + y) * toWidth + left) * channels);
  }
}

/** {@link mosaicSamples} of a sample and three others, with probability p (1), for a {@link MixTransform}. */
export function mosaic(options: MosaicOptions): MixTransform {
  return async (sample, draw, random) => {
    if (!random.chance(options.p ?? 1)) return sample;
    return mosaicSamples([sample, await draw(), await draw(), await draw()], random, options);
  };
}

function sameSize(op: string, a: ImageData8, b: ImageData8): void {
  if (a.width !== b.width || a.height !== b.height || a.channels !== b.channels) {
    throw new ShapeError(`pictures of ${a.width} x ${a.height} x ${a.channels} and ${b.width} x ${b.height} x ${b.channels}`, {
      op,
      expected: 'pictures of one size',
      fix: 'Resize them first.',
    });
  }
}

/** lambda * a + (1 - lambda) * b, with the boxes of both (Zhang et al. 2019, for detection). The mask is that of the stronger picture. */
export function mixUpSamples(a: Sample, b: Sample, lambda: number): Sample {
  sameSize('mixUp', a.image, b.image);
  const data = a.image.data.map((value, i) => Math.round(lambda * value + (1 - lambda) * b.image.data[i]));
  const { mask } = lambda >= 0.5 ? a : b;
  return { image: { ...a.image, data }, ...joined([a, b]), ...(mask ? { mask } : {}) };
}

/**
 * A rectangle of b over a (Yun et al., "CutMix", 2019), about 1 - lambda of the area around a random point; with mask and boxes:
 * those of b cut to the rectangle, those of a that are covered by it too far dropped.
 */
export function cutMixSamples(a: Sample, b: Sample, lambda: number, random: ItemRandom, limits: BoxLimits = {}): Sample {
  sameSize('cutMix', a.image, b.image);
  const { width, height, channels } = a.image;
  const { left, top, right, bottom } = cutMixRectangle(width, height, lambda, random);
  const w = right - left;
  const h = bottom - top;
  if (w < 1 || h < 1) return a;
  const piece = cropSample(b, left, top, w, h, limits);
  const data = a.image.data.slice();
  paste(data, width, piece.image.data, w, h, channels, left, top);
  const mask = a.mask?.slice();
  if (mask && piece.mask) paste(mask, width, piece.mask, w, h, 1, left, top);
  const fromB = moveAnnotations(piece, width, height, (x, y) => [x + left, y + top], { minVisible: 0, minSize: 0 });
  return {
    image: { width, height, channels, data },
    ...joined([uncovered(a, left, top, right, bottom, limits.minVisible ?? 0.1), fromB]),
    ...(mask ? { mask } : {}),
  };
}

/** The sample's boxes and points that the rectangle leaves in sight. */
function uncovered(sample: Sample, left: number, top: number, right: number, bottom: number, minVisible: number): Sample {
  const { boxes, labels, keypoints } = sample;
  const out: { boxes?: Float32Array; labels?: Int32Array; keypoints?: Float32Array } = labels ? { labels } : {};
  if (boxes) {
    const kept: number[] = [];
    for (let i = 0; i < boxes.length / 4; i++) {
      const [x0, y0, x1, y1] = boxes.subarray(4 * i, 4 * i + 4);
      const covered = Math.max(0, Math.min(right, x1) - Math.max(left, x0)) * Math.max(0, Math.min(bottom, y1) - Math.max(top, y0));
      if ((x1 - x0) * (y1 - y0) - covered >= minVisible * (x1 - x0) * (y1 - y0)) kept.push(i);
    }
    out.boxes = Float32Array.from(kept.flatMap((i) => [...boxes.subarray(4 * i, 4 * i + 4)]));
    if (labels) out.labels = Int32Array.from(kept, (i) => labels[i]);
  }
  if (keypoints) {
    out.keypoints = keypoints.slice();
    for (let i = 0; i < keypoints.length; i += 3) {
      const inside = keypoints[i] >= left && keypoints[i] < right && keypoints[i + 1] >= top && keypoints[i + 1] < bottom;
      if (inside) out.keypoints[i + 2] = 0;
    }
  }
  return { ...sample, ...out };
}

function cutMixRectangle(
  width: number,
  height: number,
  lambda: number,
  random: ItemRandom,
): { left: number; top: number; right: number; bottom: number } {
  const half = Math.sqrt(1 - lambda) / 2;
  const x = random.below(width);
  const y = random.below(height);
  const clamp = (value: number, high: number): number => Math.max(0, Math.min(high, Math.round(value)));
  return {
    left: clamp(x - half * width, width),
    top: clamp(y - half * height, height),
    right: clamp(x + half * width, width),
    bottom: clamp(y + half * height, height),
  };
}

/** As a {@link MixTransform}: with probability p (0.5) a mix-up with another sample, the weight from Beta(alpha, alpha), alpha 8. */
export function mixUp(options: { readonly alpha?: number; readonly p?: number } = {}): MixTransform {
  const { alpha = 8, p = 0.5 } = options;
  return async (sample, draw, random) => {
    if (!random.chance(p)) return sample;
    const other = await draw();
    const { width, height } = sample.image;
    return mixUpSamples(sample, resizeSample(other, width, height), random.beta(alpha, alpha));
  };
}

/** As a {@link MixTransform}: with probability p (0.5) a piece of another sample, its share from Beta(alpha, alpha), alpha 1. */
export function cutMix(options: BoxLimits & { readonly alpha?: number; readonly p?: number } = {}): MixTransform {
  const { alpha = 1, p = 0.5 } = options;
  return async (sample, draw, random) => {
    if (!random.chance(p)) return sample;
    const other = await draw();
    const { width, height } = sample.image;
    return cutMixSamples(sample, resizeSample(other, width, height), random.beta(alpha, alpha), random, options);
  };
}

/** A batch of pictures, float32 [n, channels, height, width], and of targets, float32 [n, classes] (one-hot or probabilities). */
export interface MixBatch {
  readonly images: Float32Array;
  readonly shape: readonly [number, number, number, number];
  readonly targets: Float32Array;
}

function checkBatch(op: string, { images, shape, targets }: MixBatch): number {
  const [n, c, h, w] = shape;
  if (images.length !== n * c * h * w || targets.length % n !== 0) {
    throw new ShapeError(`${images.length} values for [${shape.join(', ')}], ${targets.length} for targets`, { op });
  }
  return targets.length / n;
}

/** Each picture and target mixed with that of the sample before it in the batch (torchvision's MixUp), one weight for the batch. */
export function mixUpBatch(batch: MixBatch, random: ItemRandom, alpha = 0.2): MixBatch {
  const classes = checkBatch('mixUpBatch', batch);
  const n = batch.shape[0];
  const lambda = random.beta(alpha, alpha);
  const blend = (values: Float32Array, size: number): Float32Array => {
    const out = new Float32Array(values.length);
    for (let i = 0; i < n; i++) {
      const other = ((i + n - 1) % n) * size;
      for (let k = 0; k < size; k++) out[i * size + k] = lambda * values[i * size + k] + (1 - lambda) * values[other + k];
    }
    return out;
  };
  return { images: blend(batch.images, batch.images.length / n), shape: batch.shape, targets: blend(batch.targets, classes) };
}

/** In each picture a rectangle of the one before it in the batch; targets in proportion to the areas (torchvision's CutMix). */
export function cutMixBatch(batch: MixBatch, random: ItemRandom, alpha = 1): MixBatch {
  const classes = checkBatch('cutMixBatch', batch);
  const [n, channels, height, width] = batch.shape;
  const { left, top, right, bottom } = cutMixRectangle(width, height, random.beta(alpha, alpha), random);
  const lambda = 1 - ((right - left) * (bottom - top)) / (width * height);
  const images = batch.images.slice();
  const targets = new Float32Array(batch.targets.length);
  for (let i = 0; i < n; i++) {
    const other = (i + n - 1) % n;
    for (let c = 0; c < channels; c++) {
      for (let y = top; y < bottom; y++) {
        const row = (plane: number): number => ((plane * channels + c) * height + y) * width;
        images.set(batch.images.subarray(row(other) + left, row(other) + right), row(i) + left);
      }
    }
    for (let k = 0; k < classes; k++) {
      targets[i * classes + k] = lambda * batch.targets[i * classes + k] + (1 - lambda) * batch.targets[other * classes + k];
    }
  }
  return { images, shape: batch.shape, targets };
}
