/** From pictures to what the networks take. */
import { type Tensor, tensor } from 'trireme';
import { type ImageData8, imageData8, projectionOf, resizeImage, warpImage } from 'trireme/data/vision';
import { distance, type Quad } from './geometry.js';

export interface Normalization {
  /** Of values from 0 to 1, in the networks' order of channels: blue, green, red. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** A batch [n, 3, height, width] of RGB pictures no larger than that; what they leave free is 0. The networks were trained with blue first. */
export function batchOf(
  pictures: readonly ImageData8[],
  rows: number,
  height: number,
  width: number,
  { mean, std }: Normalization,
): Tensor {
  const plane = height * width;
  const data = new Float32Array(rows * 3 * plane);
  pictures.forEach((picture, n) => {
    for (let c = 0; c < 3; c++) {
      const [scale, shift] = [1 / (255 * std[c]), mean[c] / std[c]];
      for (let y = 0; y < picture.height; y++) {
        let from = y * picture.width * 3 + (2 - c);
        let to = (n * 3 + c) * plane + y * width;
        for (let x = 0; x < picture.width; x++, from += 3, to++) data[to] = picture.data[from] * scale - shift;
      }
    }
  });
  return tensor(data, { shape: [rows, 3, height, width] });
}

/** The picture at a height, its shape kept up to a greatest width. (Sharply: in softer pictures the network overlooks spaces between words.) */
export function atHeight(picture: ImageData8, height: number, maxWidth: number): ImageData8 {
  const width = Math.min(maxWidth, Math.max(1, Math.ceil((height * picture.width) / picture.height)));
  return resizeImage(picture, width, height, { interpolation: 'lanczos' });
}

/** Where lines are taller than this many widths, they are taken to be written downwards. */
const upright = 1.5;

/** What is in a quad, straightened; lines that run downwards are turned to the left. */
export function cropOf(picture: ImageData8, quad: Quad): ImageData8 {
  const [a, b, c, d] = quad;
  const width = Math.max(1, Math.round(Math.max(distance(a, b), distance(c, d))));
  const height = Math.max(1, Math.round(Math.max(distance(a, d), distance(b, c))));
  const target: readonly (readonly [number, number])[] = [
    [0, 0],
    [width, 0],
    [width, height],
    [0, height],
  ];
  // The corners are positions between pixels, the map is of pixel centres.
  const centres = (points: readonly (readonly [number, number])[]) => points.map(([x, y]) => [x - 0.5, y - 0.5] as const);
  const straight = warpImage(picture, projectionOf(centres(target), centres(quad)), width, height);
  return height >= upright * width ? turnedLeft(straight) : straight;
}

export function turnedLeft({ width, height, channels, data }: ImageData8): ImageData8 {
  const out = imageData8(height, width, channels);
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      const from = (x * width + (width - 1 - y)) * channels;
      for (let c = 0; c < channels; c++) out.data[(y * height + x) * channels + c] = data[from + c];
    }
  }
  return out;
}

export function upsideDown({ width, height, channels, data }: ImageData8): ImageData8 {
  const out = imageData8(width, height, channels);
  const pixels = width * height;
  for (let i = 0; i < pixels; i++) for (let c = 0; c < channels; c++) out.data[i * channels + c] = data[(pixels - 1 - i) * channels + c];
  return out;
}
