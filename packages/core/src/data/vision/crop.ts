/** Cutting out, padding and mirroring. */
import { ArgumentError } from '../../errors.js';
import type { ImageData8 } from './image.js';
import { type ResizeOptions, resizeSample } from './resize.js';
import { type BoxLimits, moveAnnotations, type Sample, type Transform } from './sample.js';

export interface Sides {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export type PadMode = 'constant' | 'edge' | 'reflect';

export interface PadOptions {
  readonly mode?: PadMode;
  /** Value of all channels, or one of each; 0 unless told otherwise. */
  readonly fill?: number | readonly number[];
  readonly maskFill?: number;
}

export function fillOf(fill: number | readonly number[], channels: number): Uint8Array {
  return Uint8Array.from({ length: channels }, (_, c) => (typeof fill === 'number' ? (c === 3 ? 255 : fill) : (fill[c] ?? 255)));
}

function place(i: number, size: number, mode: PadMode): number {
  if (i >= 0 && i < size) return i;
  if (mode === 'constant') return -1;
  if (mode === 'edge') return i < 0 ? 0 : size - 1;
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const at = ((i % period) + period) % period;
  return at < size ? at : period - at;
}

/** The window of width x height at (left, top), which may reach over the borders. */
function window(
  data: Uint8Array,
  from: { readonly width: number; readonly height: number },
  channels: number,
  at: { readonly left: number; readonly top: number; readonly width: number; readonly height: number },
  mode: PadMode,
  fill: Uint8Array,
): Uint8Array {
  const out = new Uint8Array(at.width * at.height * channels);
  const columns = Int32Array.from({ length: at.width }, (_, x) => place(x + at.left, from.width, mode));
  const inside = at.left >= 0 && at.left + at.width <= from.width;
  for (let y = 0; y < at.height; y++) {
    const row = place(y + at.top, from.height, mode);
    const to = y * at.width * channels;
    if (row >= 0 && inside) {
      const start = (row * from.width + at.left) * channels;
      out.set(data.subarray(start, start + at.width * channels), to);
      continue;
    }
    for (let x = 0; x < at.width; x++) {
      const outside = row < 0 || columns[x] < 0;
      const start = outside ? 0 : (row * from.width + columns[x]) * channels;
      for (let c = 0; c < channels; c++) out[to + x * channels + c] = outside ? fill[c] : data[start + c];
    }
  }
  return out;
}

/** Adds pixels at the sides (negative numbers cut off). @throws ArgumentError when nothing is left. */
export function padImage(image: ImageData8, sides: Sides, options: PadOptions = {}): ImageData8 {
  const { mode = 'constant', fill = 0 } = options;
  const width = image.width + sides.left + sides.right;
  const height = image.height + sides.top + sides.bottom;
  if (width < 1 || height < 1) throw new ArgumentError(`nothing is left: ${width} x ${height}`, { op: 'pad', expected: '1 pixel or more' });
  const at = { left: -sides.left, top: -sides.top, width, height };
  return {
    width,
    height,
    channels: image.channels,
    data: window(image.data, image, image.channels, at, mode, fillOf(fill, image.channels)),
  };
}

export function padMask(mask: Uint8Array, width: number, height: number, sides: Sides, options: PadOptions = {}): Uint8Array {
  const at = { left: -sides.left, top: -sides.top, width: width + sides.left + sides.right, height: height + sides.top + sides.bottom };
  return window(mask, { width, height }, 1, at, options.mode ?? 'constant', Uint8Array.of(options.maskFill ?? 0));
}

/** The rectangle of a picture; it may reach over the borders, filled as in padding. */
export function cropImage(
  image: ImageData8,
  left: number,
  top: number,
  width: number,
  height: number,
  options: PadOptions = {},
): ImageData8 {
  const sides = { left: -left, top: -top, right: left + width - image.width, bottom: top + height - image.height };
  return padImage(image, sides, options);
}

/** The rectangle of a sample, with what lies in it. */
export function cropSample(
  sample: Sample,
  left: number,
  top: number,
  width: number,
  height: number,
  options: PadOptions & BoxLimits = {},
): Sample {
  const { image, mask } = sample;
  const sides = { left: -left, top: -top, right: left + width - image.width, bottom: top + height - image.height };
  return {
    ...sample,
    image: padImage(image, sides, options),
    ...moveAnnotations(sample, width, height, (x, y) => [x - left, y - top], options),
    ...(mask ? { mask: padMask(mask, image.width, image.height, sides, options) } : {}),
  };
}

/** Adds `padding` pixels on all sides, or { left, top, right, bottom }. */
export function pad(padding: number | Sides, options: PadOptions = {}): Transform {
  const sides = typeof padding === 'number' ? { left: padding, top: padding, right: padding, bottom: padding } : padding;
  return (sample) => {
    const { width, height } = sample.image;
    return cropSample(sample, -sides.left, -sides.top, width + sides.left + sides.right, height + sides.top + sides.bottom, options);
  };
}

const pairOf = (size: number | readonly [number, number]): readonly [number, number] => (typeof size === 'number' ? [size, size] : size);

/** The middle, [height, width]; smaller pictures are padded. */
export function centerCrop(size: number | readonly [number, number], options: PadOptions & BoxLimits = {}): Transform {
  const [height, width] = pairOf(size);
  return (sample) => {
    // Half a pixel goes to the even number, as in torchvision (Python's rounding).
    const half = (spare: number): number => {
      const value = spare / 2;
      return Number.isInteger(value) ? value : 2 * Math.round(value / 2);
    };
    return cropSample(sample, half(sample.image.width - width), half(sample.image.height - height), width, height, options);
  };
}

/** A place at random; smaller pictures are padded. */
export function randomCrop(
  size: number | readonly [number, number],
  options: PadOptions & BoxLimits & { readonly padding?: number } = {},
): Transform {
  const [height, width] = pairOf(size);
  const border = options.padding ?? 0;
  return (sample, random) => {
    const offset = (spare: number): number => {
      const room = spare + 2 * border;
      const at = random.below(Math.max(0, room) + 1);
      return room < 0 ? Math.floor(spare / 2) : at - border;
    };
    const left = offset(sample.image.width - width);
    const top = offset(sample.image.height - height);
    return cropSample(sample, left, top, width, height, options);
  };
}

export interface RandomResizedCropOptions extends ResizeOptions, BoxLimits {
  /** Range of the share of the area. */
  readonly scale?: readonly [number, number];
  /** Range of width / height. */
  readonly ratio?: readonly [number, number];
}

/** A part of random size and aspect, resized to [height, width] (Szegedy et al. 2015; ten tries, then the middle). */
export function randomResizedCrop(size: number | readonly [number, number], options: RandomResizedCropOptions = {}): Transform {
  const [height, width] = pairOf(size);
  const { scale = [0.08, 1], ratio = [3 / 4, 4 / 3] } = options;
  return (sample, random) => {
    const { image } = sample;
    const area = image.width * image.height;
    let rectangle: readonly [number, number, number, number] | null = null;
    for (let attempt = 0; attempt < 10 && rectangle === null; attempt++) {
      const target = area * random.uniform(scale[0], scale[1]);
      const aspect = Math.exp(random.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
      const w = Math.round(Math.sqrt(target * aspect));
      const h = Math.round(Math.sqrt(target / aspect));
      if (w < 1 || h < 1 || w > image.width || h > image.height) continue;
      rectangle = [random.below(image.width - w + 1), random.below(image.height - h + 1), w, h];
    }
    if (rectangle === null) {
      const own = image.width / image.height;
      const w = own > ratio[1] ? Math.max(1, Math.round(image.height * ratio[1])) : image.width;
      const h = own < ratio[0] ? Math.max(1, Math.round(image.width / ratio[0])) : image.height;
      rectangle = [Math.floor((image.width - w) / 2), Math.floor((image.height - h) / 2), w, h];
    }
    const [left, top, w, h] = rectangle;
    return resizeSample(cropSample(sample, left, top, w, h, options), width, height, { ...options, minVisible: 0, minSize: 0 });
  };
}

function mirror(data: Uint8Array, width: number, height: number, channels: number, horizontal: boolean): Uint8Array {
  const out = new Uint8Array(data.length);
  const stride = width * channels;
  for (let y = 0; y < height; y++) {
    if (!horizontal) {
      out.set(data.subarray((height - 1 - y) * stride, (height - y) * stride), y * stride);
      continue;
    }
    for (let x = 0; x < width; x++) {
      const from = y * stride + (width - 1 - x) * channels;
      for (let c = 0; c < channels; c++) out[y * stride + x * channels + c] = data[from + c];
    }
  }
  return out;
}

export interface FlipOptions {
  readonly p?: number;
  /** Points that change names in a mirror (left eye, right eye): pairs of indices. */
  readonly keypointPairs?: readonly (readonly [number, number])[];
}

function flip(horizontal: boolean, options: FlipOptions): Transform {
  const { p = 0.5, keypointPairs = [] } = options;
  return (sample, random) => {
    if (!random.chance(p)) return sample;
    const { image, mask } = sample;
    const { width, height, channels } = image;
    const move = (x: number, y: number): readonly [number, number] => (horizontal ? [width - x, y] : [x, height - y]);
    const moved = moveAnnotations(sample, width, height, move, { minVisible: 0, minSize: 0 });
    const points = moved.keypoints;
    if (points) {
      for (const [a, b] of keypointPairs) {
        const first = points.slice(3 * a, 3 * a + 3);
        points.copyWithin(3 * a, 3 * b, 3 * b + 3);
        points.set(first, 3 * b);
      }
    }
    return {
      ...sample,
      image: { width, height, channels, data: mirror(image.data, width, height, channels, horizontal) },
      ...moved,
      ...(mask ? { mask: mirror(mask, width, height, 1, horizontal) } : {}),
    };
  };
}

/** Left and right exchanged, with probability p (0.5). */
export function horizontalFlip(options: FlipOptions = {}): Transform {
  return flip(true, options);
}

/** Top and bottom exchanged, with probability p (0.5). */
export function verticalFlip(options: FlipOptions = {}): Transform {
  return flip(false, options);
}
