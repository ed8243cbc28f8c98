/** Images in memory, and their way in and out of files. */
import { ArgumentError, EnvironmentError, FormatError, TriremeError } from '../../errors.js';
import { readFileBounded } from '../../io/files.js';
import { hasNodeModules } from '../../io/node.js';
import { optionalModule } from '../../io/optional.js';
import { type ImageSize, imageSize } from './image-size.js';

/** Eight bits a channel, rows from the top, channels interleaved: element (y, x, c) is `data[(y * width + x) * channels + c]`. */
export interface ImageData8 {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 RGB, 4 RGBA (alpha not multiplied in). */
  readonly channels: 1 | 3 | 4;
  readonly data: Uint8Array;
}

export interface DecodeOptions {
  /** Channels of the result; 3 (RGB) unless told otherwise. Alpha is dropped, not blended. */
  readonly channels?: 1 | 3 | 4;
  /** Largest width * height that is decoded. */
  readonly maxPixels?: number;
  /** Turn the picture as its EXIF orientation says (true unless told otherwise). */
  readonly orient?: boolean;
}

/** 64 megapixels: 192 MiB as RGB. */
const defaultMaxPixels = 2 ** 26;

/** Checks sizes and length. @throws ArgumentError */
export function imageData8(width: number, height: number, channels: 1 | 3 | 4, data?: Uint8Array): ImageData8 {
  const op = 'imageData8';
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new ArgumentError(`size ${width} x ${height}`, { op, expected: 'a width and a height of 1 or more pixels' });
  }
  const length = width * height * channels;
  const values = data ?? new Uint8Array(length);
  if (values.length !== length) {
    throw new ArgumentError(`${values.length} bytes for ${width} x ${height} x ${channels}`, {
      op,
      received: values.length,
      expected: `${length} bytes`,
    });
  }
  return { width, height, channels, data: values };
}

/** The part of sharp that is used. */
interface SharpPipeline {
  autoOrient(): SharpPipeline;
  removeAlpha(): SharpPipeline;
  ensureAlpha(): SharpPipeline;
  grayscale(): SharpPipeline;
  toColourspace(space: string): SharpPipeline;
  raw(options: { depth: 'uchar' }): SharpPipeline;
  toBuffer(options: { resolveWithObject: true }): Promise<{
    data: Uint8Array;
    info: { width: number; height: number; channels: number };
  }>;
}
type Sharp = (input: Uint8Array, options: { limitInputPixels: number; failOn: 'error' }) => SharpPipeline;

/**
 * Decodes a PNG, JPEG, WebP, GIF (first frame) or AVIF picture, in browsers also BMP, in Node what else the optional peer dependency
 * `sharp` reads. The size in the header is checked before anything is decoded, so a small file cannot fill the memory.
 * In browsers the platform decodes.
 * @throws FormatError for damaged files and those over the limit.
 * @throws EnvironmentError in Node without sharp, and where the platform has no OffscreenCanvas.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions = {}): Promise<ImageData8> {
  const op = 'decodeImage';
  const { channels = 3, maxPixels = defaultMaxPixels, orient = true } = options;
  const size = imageSize(bytes);
  if (size) checkSize(op, size, maxPixels);
  return hasNodeModules() ? decodeWithSharp(bytes, channels, maxPixels, orient) : decodeWithPlatform(bytes, size, channels, orient);
}

function checkSize(op: string, size: ImageSize, maxPixels: number): void {
  if (size.width < 1 || size.height < 1 || size.width * size.height > maxPixels) {
    throw new FormatError(`the ${size.format} picture has ${size.width} x ${size.height} pixels`, {
      op,
      received: size.width * size.height,
      expected: `1 to ${maxPixels} pixels`,
      fix: 'If the file is trusted, raise maxPixels.',
    });
  }
}

function damaged(op: string, cause: unknown): FormatError {
  return new FormatError(`the picture cannot be decoded (${cause instanceof Error ? cause.message.trim() : String(cause)})`, {
    op,
    cause,
    expected: 'a whole PNG, JPEG, WebP, GIF or BMP file',
  });
}

async function decodeWithSharp(bytes: Uint8Array, channels: 1 | 3 | 4, maxPixels: number, orient: boolean): Promise<ImageData8> {
  const op = 'decodeImage';
  const sharp = ((await optionalModule('sharp', op)) as unknown as { default: Sharp }).default;
  try {
    let pipeline = sharp(bytes, { limitInputPixels: maxPixels, failOn: 'error' });
    if (orient) pipeline = pipeline.autoOrient();
    if (channels === 1) pipeline = pipeline.removeAlpha().grayscale().toColourspace('b-w');
    else pipeline = pipeline.toColourspace('srgb');
    if (channels === 3) pipeline = pipeline.removeAlpha();
    if (channels === 4) pipeline = pipeline.ensureAlpha();
    const { data, info } = await pipeline.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return imageData8(info.width, info.height, channels, withChannels(pixels, info.channels, channels));
  } catch (cause) {
    if (cause instanceof TriremeError) throw cause;
    throw damaged(op, cause);
  }
}

async function decodeWithPlatform(bytes: Uint8Array, size: ImageSize | null, channels: 1 | 3 | 4, orient: boolean): Promise<ImageData8> {
  const op = 'decodeImage';
  if (typeof createImageBitmap !== 'function' || typeof OffscreenCanvas !== 'function') {
    throw new EnvironmentError('this platform cannot decode pictures', {
      op,
      expected: 'createImageBitmap and OffscreenCanvas',
      fix: 'Use a current browser, or decode the picture elsewhere and pass its pixels.',
    });
  }
  if (size === null) throw damaged(op, 'the header is that of no known format');
  let bitmap: ImageBitmap;
  try {
    // A copy: Blob takes no view of shared memory.
    bitmap = await createImageBitmap(new Blob([bytes.slice()]), {
      premultiplyAlpha: 'none',
      colorSpaceConversion: 'none',
      imageOrientation: orient ? 'from-image' : ('none' as ImageOrientation),
    });
  } catch (cause) {
    throw damaged(op, cause);
  }
  try {
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (context === null) throw new EnvironmentError('the canvas has no 2d context', { op, expected: 'a 2d canvas' });
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    const rgba = new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength);
    return imageData8(width, height, channels, withChannels(rgba, 4, channels));
  } finally {
    bitmap.close();
  }
}

/** ITU-R 601 luma in 16-bit fixed point, as Pillow's convert('L'). */
export const luma = (r: number, g: number, b: number): number => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;

function withChannels(data: Uint8Array, from: number, to: 1 | 3 | 4): Uint8Array {
  if (from === to) return data;
  const pixels = data.length / from;
  const out = new Uint8Array(pixels * to);
  for (let i = 0; i < pixels; i++) {
    const r = data[i * from];
    const g = from >= 3 ? data[i * from + 1] : r;
    const b = from >= 3 ? data[i * from + 2] : r;
    if (to === 1) {
      out[i] = from >= 3 ? luma(r, g, b) : r;
      continue;
    }
    out[i * to] = r;
    out[i * to + 1] = g;
    out[i * to + 2] = b;
    if (to === 4) out[i * 4 + 3] = from === 4 ? data[i * 4 + 3] : from === 2 ? data[i * 2 + 1] : 255;
  }
  return out;
}

/** The same picture with 1, 3 or 4 channels: grey by {@link luma}, alpha dropped or opaque. */
export function convertChannels(image: ImageData8, channels: 1 | 3 | 4): ImageData8 {
  return image.channels === channels
    ? image
    : { width: image.width, height: image.height, channels, data: withChannels(image.data, image.channels, channels) };
}

/**
 * Reads and decodes a file of at most `maxBytes` (256 MiB unless told otherwise). Node only.
 * @throws FormatError | EnvironmentError
 */
export async function readImage(path: string, options: DecodeOptions & { readonly maxBytes?: number } = {}): Promise<ImageData8> {
  return decodeImage(await readFileBounded(path, options.maxBytes ?? 2 ** 28), options);
}
