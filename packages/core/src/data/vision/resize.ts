/** Change of size. Images by separable filters in 22-bit fixed point, bit for bit as Pillow's resize; masks by the nearest pixel. */
import { ArgumentError } from '../../errors.js';
import type { ImageData8 } from './image.js';
import { type BoxLimits, moveAnnotations, type Sample, type Transform } from './sample.js';

export type Interpolation = 'nearest' | 'box' | 'bilinear' | 'bicubic' | 'lanczos';

export interface ResizeOptions {
  readonly interpolation?: Interpolation;
  /** Widen the filter when shrinking, so that every pixel counts (true unless told otherwise). False: torch's interpolate without antialias. */
  readonly antialias?: boolean;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const filters: Readonly<Record<Exclude<Interpolation, 'nearest'>, { readonly support: number; readonly at: (x: number) => number }>> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys (1981) with a = -1/2.
  bicubic: {
    support: 2,
    at: (value) => {
      const x = Math.abs(value);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

const precision = 22;

interface Weights {
  readonly taps: number;
  /** First source pixel and number of source pixels of each target pixel. */
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** [target, taps] in fixed point. */
  readonly weights: Int32Array;
}

function weightsOf(from: number, to: number, interpolation: Exclude<Interpolation, 'nearest'>, antialias: boolean): Weights {
  const filter = filters[interpolation];
  const scale = from / to;
  const stretch = antialias ? Math.max(1, scale) : 1;
  const support = filter.support * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Int32Array(to * taps);
  const values = new Float64Array(taps);
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(from, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let x = low; x < high; x++) {
      values[x - low] = filter.at((x - center + 0.5) / stretch);
      sum += values[x - low];
    }
    first[i] = low;
    count[i] = high - low;
    for (let k = 0; k < high - low; k++) {
      const weight = (sum === 0 ? values[k] : values[k] / sum) * 2 ** precision;
      weights[i * taps + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return { taps, first, count, weights };
}

const clip8 = (sum: number): number => {
  const value = sum >> precision;
  return value < 0 ? 0 : value > 255 ? 255 : value;
};

function horizontal(data: Uint8Array, width: number, height: number, channels: number, to: number, table: Weights): Uint8Array {
  const out = new Uint8Array(to * height * channels);
  const { taps, first, count, weights } = table;
  for (let y = 0; y < height; y++) {
    const row = y * width * channels;
    for (let x = 0; x < to; x++) {
      const n = count[x];
      const start = row + first[x] * channels;
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (precision - 1);
        for (let k = 0, at = start + c; k < n; k++, at += channels) sum += data[at] * weights[x * taps + k];
        out[(y * to + x) * channels + c] = clip8(sum);
      }
    }
  }
  return out;
}

function vertical(data: Uint8Array, stride: number, to: number, table: Weights): Uint8Array {
  const out = new Uint8Array(stride * to);
  const sums = new Int32Array(stride);
  const { taps, first, count, weights } = table;
  for (let y = 0; y < to; y++) {
    sums.fill(1 << (precision - 1));
    for (let k = 0; k < count[y]; k++) {
      const weight = weights[y * taps + k];
      const row = (first[y] + k) * stride;
      for (let i = 0; i < stride; i++) sums[i] += data[row + i] * weight;
    }
    for (let i = 0; i < stride; i++) out[y * stride + i] = clip8(sums[i]);
  }
  return out;
}

function nearest(data: Uint8Array, width: number, height: number, channels: number, toWidth: number, toHeight: number): Uint8Array {
  const out = new Uint8Array(toWidth * toHeight * channels);
  const columns = Int32Array.from({ length: toWidth }, (_, x) => Math.min(width - 1, Math.floor(((x + 0.5) * width) / toWidth)));
  for (let y = 0; y < toHeight; y++) {
    const row = Math.min(height - 1, Math.floor(((y + 0.5) * height) / toHeight)) * width;
    for (let x = 0; x < toWidth; x++) {
      const from = (row + columns[x]) * channels;
      const to = (y * toWidth + x) * channels;
      for (let c = 0; c < channels; c++) out[to + c] = data[from + c];
    }
  }
  return out;
}

function checkSize(width: number, height: number): void {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new ArgumentError(`size ${width} x ${height}`, { op: 'resize', expected: 'whole numbers of pixels, 1 or more' });
  }
}

/** The picture at another size. @throws ArgumentError */
export function resizeImage(image: ImageData8, width: number, height: number, options: ResizeOptions = {}): ImageData8 {
  checkSize(width, height);
  const { interpolation = 'bilinear', antialias = true } = options;
  const { channels } = image;
  if (width === image.width && height === image.height) return image;
  if (interpolation === 'nearest') {
    return { width, height, channels, data: nearest(image.data, image.width, image.height, channels, width, height) };
  }
  let { data } = image;
  if (width !== image.width) {
    data = horizontal(data, image.width, image.height, channels, width, weightsOf(image.width, width, interpolation, antialias));
  }
  if (height !== image.height) data = vertical(data, width * channels, height, weightsOf(image.height, height, interpolation, antialias));
  return { width, height, channels, data };
}

/** Classes of pixels at another size: that of the nearest pixel. */
export function resizeMask(mask: Uint8Array, width: number, height: number, toWidth: number, toHeight: number): Uint8Array {
  checkSize(toWidth, toHeight);
  return nearest(mask, width, height, 1, toWidth, toHeight);
}

/** A sample at another size, its boxes, mask and points scaled. */
export function resizeSample(sample: Sample, width: number, height: number, options: ResizeOptions & BoxLimits = {}): Sample {
  const { image, mask } = sample;
  const sx = width / image.width;
  const sy = height / image.height;
  return {
    ...sample,
    image: resizeImage(image, width, height, options),
    ...moveAnnotations(sample, width, height, (x, y) => [x * sx, y * sy], options),
    ...(mask ? { mask: resizeMask(mask, image.width, image.height, width, height) } : {}),
  };
}

export interface ResizeTransformOptions extends ResizeOptions, BoxLimits {
  /** With one number: the longer side at most. */
  readonly maxSize?: number;
}

/** To [height, width], or with one number the shorter side to it, keeping the aspect (as torchvision's Resize). */
export function resize(size: number | readonly [number, number], options: ResizeTransformOptions = {}): Transform {
  return (sample) => {
    if (typeof size !== 'number') return resizeSample(sample, size[1], size[0], options);
    const { width, height } = sample.image;
    const short = Math.min(width, height);
    const long = Math.max(width, height);
    let toShort = size;
    let toLong = Math.floor((size * long) / short);
    if (options.maxSize !== undefined && toLong > options.maxSize) {
      toShort = Math.max(1, Math.floor((options.maxSize * toShort) / toLong));
      toLong = options.maxSize;
    }
    return width <= height ? resizeSample(sample, toShort, toLong, options) : resizeSample(sample, toLong, toShort, options);
  };
}
