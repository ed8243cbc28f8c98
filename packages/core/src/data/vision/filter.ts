/** Blur and sharpness. */
import { ArgumentError } from '../../errors.js';
import type { ImageData8 } from './image.js';
import { imageTransform, type Transform } from './sample.js';

/** Mirrored at the border pixel, which is not repeated. */
function reflect(i: number, size: number): number {
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const at = ((i % period) + period) % period;
  return at < size ? at : period - at;
}

/** Normalised samples of a Gaussian. */
function gaussian(size: number, sigma: number): Float64Array {
  const middle = (size - 1) / 2;
  const out = Float64Array.from({ length: size }, (_, i) => Math.exp(-0.5 * ((i - middle) / sigma) ** 2));
  const sum = out.reduce((a, b) => a + b, 0);
  return out.map((value) => value / sum);
}

/**
 * Blur by a Gaussian of `sigma` pixels over `kernelSize` (odd) pixels: the smallest odd number over 6 sigma unless given.
 * Borders are mirrored. @throws ArgumentError
 */
export function gaussianBlurImage(image: ImageData8, sigma: number, kernelSize = 2 * Math.ceil(3 * sigma) + 1): ImageData8 {
  if (!(sigma > 0) || !Number.isInteger(kernelSize) || kernelSize < 1 || kernelSize % 2 === 0) {
    throw new ArgumentError(`sigma ${sigma}, kernelSize ${kernelSize}`, { op: 'gaussianBlur', expected: 'sigma above 0 and an odd size' });
  }
  const { width, height, channels, data } = image;
  const kernel = gaussian(kernelSize, sigma);
  const half = (kernelSize - 1) / 2;
  const rows = new Float32Array(data.length);
  const stride = width * channels;
  const columns = Int32Array.from({ length: width + 2 * half }, (_, i) => reflect(i - half, width) * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < kernelSize; k++) sum += kernel[k] * data[y * stride + columns[x + k] + c];
        rows[y * stride + x * channels + c] = sum;
      }
    }
  }
  const out = new Uint8Array(data.length);
  const sums = new Float64Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let k = 0; k < kernelSize; k++) {
      const row = reflect(y + k - half, height) * stride;
      for (let i = 0; i < stride; i++) sums[i] += kernel[k] * rows[row + i];
    }
    for (let i = 0; i < stride; i++) out[y * stride + i] = Math.round(sums[i]);
  }
  return { width, height, channels, data: out };
}

/** Between a light blur (0) and the picture (1), and beyond. The outermost pixels stay. */
export function adjustSharpness(image: ImageData8, factor: number): ImageData8 {
  if (!(factor >= 0)) throw new ArgumentError(`factor ${factor}`, { op: 'adjustSharpness', received: factor, expected: '0 or more' });
  const { width, height, channels, data } = image;
  const out = data.slice();
  const stride = width * channels;
  for (let y = 1; y + 1 < height; y++) {
    for (let x = 1; x + 1 < width; x++) {
      for (let c = 0; c < Math.min(3, channels); c++) {
        const at = y * stride + x * channels + c;
        let sum = 4 * data[at];
        for (let dy = -stride; dy <= stride; dy += stride)
          for (let dx = -channels; dx <= channels; dx += channels) sum += data[at + dy + dx];
        const value = data[at] + (1 - factor) * (Math.round(sum / 13) - data[at]);
        out[at] = value < 0 ? 0 : value > 255 ? 255 : Math.floor(value);
      }
    }
  }
  return { ...image, data: out };
}

/** Blur with a sigma at random from a range, with probability p (1). */
export function gaussianBlur(
  options: { readonly sigma?: number | readonly [number, number]; readonly kernelSize?: number; readonly p?: number } = {},
): Transform {
  const { sigma = [0.1, 2], kernelSize, p = 1 } = options;
  const [low, high] = typeof sigma === 'number' ? [sigma, sigma] : sigma;
  return imageTransform((image, random) => {
    const apply = random.chance(p);
    const value = random.uniform(low, high);
    return apply ? gaussianBlurImage(image, value, kernelSize) : image;
  });
}
