/** From 8-bit pictures to the arrays that networks take, and back. */
import { ArgumentError, ShapeError } from '../../errors.js';
import type { Field } from '../dataset.js';
import type { ImageData8 } from './image.js';

export interface NormalizeOptions {
  /** Of each channel, of values from 0 to 1. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** Mean and standard deviation of ImageNet, what most pretrained networks expect. */
export const imageNetStatistics: Required<NormalizeOptions> = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

function write(image: ImageData8, out: Float32Array, at: number, options: NormalizeOptions): void {
  const { width, height, channels, data } = image;
  const plane = width * height;
  for (let c = 0; c < channels; c++) {
    const mean = options.mean ? options.mean[c % options.mean.length] : 0;
    const std = options.std ? options.std[c % options.std.length] : 1;
    // One table of 256 values in place of a division for each pixel.
    const table = Float32Array.from({ length: 256 }, (_, v) => (Math.fround(v / 255) - mean) / std);
    const base = at + c * plane;
    for (let i = 0, from = c; i < plane; i++, from += channels) out[base + i] = table[data[from]];
  }
}

function check(options: NormalizeOptions): void {
  if (options.std?.some((value) => !(value > 0))) {
    throw new ArgumentError(`std is ${options.std.join(', ')}`, { op: 'normalize', received: options.std, expected: 'numbers above 0' });
  }
}

/** (value / 255 - mean) / std: float32 [channels, height, width]. @throws ArgumentError */
export function toTensor(image: ImageData8, options: NormalizeOptions = {}): Field<Float32Array> {
  check(options);
  const out = new Float32Array(image.data.length);
  write(image, out, 0, options);
  return { data: out, shape: [image.channels, image.height, image.width] };
}

/** Pictures of one size as float32 [n, channels, height, width]. @throws ShapeError when sizes differ. */
export function stackImages(images: readonly ImageData8[], options: NormalizeOptions = {}): Field<Float32Array> {
  check(options);
  const [first] = images;
  if (first === undefined) throw new ShapeError('there are no pictures', { op: 'stackImages', expected: 'at least one' });
  const size = first.data.length;
  const out = new Float32Array(images.length * size);
  images.forEach((image, i) => {
    if (image.width !== first.width || image.height !== first.height || image.channels !== first.channels) {
      throw new ShapeError(`picture ${i} is ${image.width} x ${image.height} x ${image.channels}`, {
        op: 'stackImages',
        expected: `${first.width} x ${first.height} x ${first.channels}, as the first one`,
        fix: 'Resize or crop all to one size (resize, letterbox, centerCrop).',
      });
    }
    write(image, out, i * size, options);
  });
  return { data: out, shape: [images.length, first.channels, first.height, first.width] };
}

/** The picture of [channels, height, width] values; the inverse of {@link toTensor}, cut to 0 .. 255. @throws ShapeError */
export function fromTensor(data: ArrayLike<number>, shape: readonly number[], options: NormalizeOptions = {}): ImageData8 {
  const [channels, height, width] = shape;
  if (shape.length !== 3 || (channels !== 1 && channels !== 3 && channels !== 4) || data.length !== channels * height * width) {
    throw new ShapeError(`${data.length} values of shape [${shape.join(', ')}]`, {
      op: 'fromTensor',
      expected: '[1, 3 or 4, height, width]',
    });
  }
  const plane = width * height;
  const out = new Uint8Array(data.length);
  for (let c = 0; c < channels; c++) {
    const mean = options.mean ? options.mean[c % options.mean.length] : 0;
    const std = options.std ? options.std[c % options.std.length] : 1;
    for (let i = 0; i < plane; i++)
      out[i * channels + c] = Math.max(0, Math.min(255, Math.round((data[c * plane + i] * std + mean) * 255)));
  }
  return { width, height, channels, data: out };
}

/** Masks of one size as int32 [n, height, width]. @throws ShapeError when lengths differ. */
export function stackMasks(masks: readonly Uint8Array[], width: number, height: number): Field<Int32Array> {
  const size = width * height;
  const out = new Int32Array(masks.length * size);
  masks.forEach((mask, i) => {
    if (mask.length !== size) throw new ShapeError(`mask ${i} has ${mask.length} pixels`, { op: 'stackMasks', expected: `${size} pixels` });
    out.set(mask, i * size);
  });
  return { data: out, shape: [masks.length, height, width] };
}
