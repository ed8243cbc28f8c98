/** Pictures for logs and reports. */
import type { ImageData8 } from '../data/vision/image.js';
import { ArgumentError } from '../errors.js';
import { TensorBase } from '../tensor/base.js';
import { readSync } from '../tensor/data.js';
import type { Tensor } from '../tensor/tensor.js';

function isList(value: unknown): value is readonly ImageData8[] {
  return Array.isArray(value);
}

/**
 * Pixels of pictures: tensors [C, H, W] or [N, C, H, W] with C = 1, 3 or 4 hold floats from 0 to 1 (cut off outside) or uint8.
 * @throws ArgumentError for other shapes, and for pictures of different sizes
 */
export function picturesOf(image: Tensor | ImageData8 | readonly ImageData8[]): readonly ImageData8[] {
  const pictures = image instanceof TensorBase ? tensorPictures(image) : isList(image) ? image : [image];
  const [first] = pictures;
  if (first === undefined || pictures.some((p) => p.width !== first.width || p.height !== first.height)) {
    throw new ArgumentError('there is no picture, or they differ in size', { op: 'image', expected: 'pictures of one size' });
  }
  return pictures;
}

function tensorPictures(t: Tensor): ImageData8[] {
  const [channels, height, width] = t.shape.slice(-3);
  if ((t.ndim !== 3 && t.ndim !== 4) || (channels !== 1 && channels !== 3 && channels !== 4)) {
    throw new ArgumentError(`a tensor of shape [${t.shape.join(', ')}]`, {
      op: 'image',
      received: t.shape,
      expected: '[C, H, W] or [N, C, H, W] with 1, 3 or 4 channels',
    });
  }
  const pixels = width * height;
  const values = readSync(t);
  const scale = t.dtype === 'uint8' ? 1 : 255;
  return Array.from({ length: t.ndim === 3 ? 1 : t.shape[0] }, (_, n) => {
    const data = new Uint8ClampedArray(pixels * channels);
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < pixels; i++) data[i * channels + c] = scale * Number(values[(n * channels + c) * pixels + i]);
    }
    return { width, height, channels, data: new Uint8Array(data.buffer) };
  });
}
