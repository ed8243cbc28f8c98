/** PNG files to model inputs and back. */
import { decode, encode } from 'fast-png';
import { FormatError } from 'trireme';
import { readFileBounded, writeFileAtomic } from 'trireme/io';

const maximumFile = 2 ** 25;
const maximumPixels = 2 ** 26;

export interface Grey {
  readonly width: number;
  readonly height: number;
  /** 0 black to 1 white. */
  readonly data: Float32Array;
}

/** Dark ink on white paper, each pixel drawn as a block. */
export function encodePicture(ink: ArrayLike<number>, side: number, scale: number): Uint8Array {
  const width = side * scale;
  const data = new Uint8Array(width * width);
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < width; x++) data[y * width + x] = Math.round(255 * (1 - ink[Math.floor(y / scale) * side + Math.floor(x / scale)]));
  }
  return encode({ width, height: width, data, channels: 1, depth: 8 });
}

export async function writePicture(path: string, ink: ArrayLike<number>, side: number, scale = 8): Promise<void> {
  await writeFileAtomic(path, encodePicture(ink, side, scale));
}

/** Samples of 1, 2 or 4 bits, one a pixel: the decoder leaves them packed, the leftmost in the high bits, rows padded to whole bytes. */
function unpackSamples(packed: ArrayLike<number>, width: number, height: number, depth: number): Uint8Array {
  const perByte = 8 / depth;
  const rowBytes = Math.ceil(width / perByte);
  const out = new Uint8Array(width * height);
  for (let i = 0; i < out.length; i++) {
    const x = i % width;
    const byte = packed[Math.floor(i / width) * rowBytes + Math.floor(x / perByte)];
    out[i] = (byte >> (8 - depth * ((x % perByte) + 1))) & (2 ** depth - 1);
  }
  return out;
}

/** Reads a PNG as grey on white. @throws FormatError when it is no PNG or too large, EnvironmentError when it cannot be read. */
export async function readGrey(path: string): Promise<Grey> {
  const bytes = await readFileBounded(path, maximumFile);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The size is in the first chunk: checked before anything is unpacked.
  const pixels = bytes.length >= 24 ? view.getUint32(16) * view.getUint32(20) : 0;
  if (pixels === 0 || pixels > maximumPixels) {
    throw new FormatError(`${path} is no PNG picture, or one of more than ${maximumPixels} pixels`, {
      op: 'predict',
      received: path,
      expected: 'a PNG file',
    });
  }
  let png: ReturnType<typeof decode>;
  try {
    png = decode(bytes);
  } catch (cause) {
    throw new FormatError(`${path} is no readable PNG (${cause instanceof Error ? cause.message : cause})`, {
      op: 'predict',
      received: path,
      expected: 'a PNG file',
      cause,
    });
  }
  const { width, height, channels, depth, palette, transparency } = png;
  const data = depth < 8 ? unpackSamples(png.data, width, height, depth) : png.data;
  const full = 2 ** depth - 1;
  const out = new Float32Array(width * height);
  for (let i = 0; i < out.length; i++) {
    let rgb: ArrayLike<number>;
    let alpha = 1;
    if (palette) {
      const entry = palette[data[i]] ?? [255, 255, 255];
      rgb = [entry[0] / 255, entry[1] / 255, entry[2] / 255];
      alpha = (entry[3] ?? 255) / 255;
    } else {
      const at = i * channels;
      const value = (k: number): number => data[at + k] / full;
      rgb = channels >= 3 ? [value(0), value(1), value(2)] : [value(0), value(0), value(0)];
      if (channels === 2 || channels === 4) alpha = value(channels - 1);
      else if (transparency?.length === channels && transparency.every((v, k) => v === data[at + k])) alpha = 0;
    }
    const luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    out[i] = luminance * alpha + (1 - alpha);
  }
  return { width, height, data: out };
}

/**
 * Ink from 0 to 1 at the model's size. Pictures whose border is light are dark ink on paper and get inverted. A square picture
 * whose side is a multiple of the model's is averaged block by block; others are cut to their ink, centred and resampled.
 */
export function toInput({ width, height, data }: Grey, side: number): Float32Array {
  let border = 0;
  let count = 0;
  for (let x = 0; x < width; x++) for (const y of [0, height - 1]) [border, count] = [border + data[y * width + x], count + 1];
  for (let y = 0; y < height; y++) for (const x of [0, width - 1]) [border, count] = [border + data[y * width + x], count + 1];
  const inverted = border / count > 0.5;
  const ink = (x: number, y: number): number => {
    if (x < 0 || y < 0 || x >= width || y >= height) return 0;
    const v = data[y * width + x];
    return inverted ? 1 - v : v;
  };
  let [left, top, size] = [0, 0, width];
  if (width !== height || width % side !== 0) {
    let [right, bottom] = [-1, -1];
    [left, top] = [width, height];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (ink(x, y) < 0.25) continue;
        [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
      }
    }
    if (right < left) [left, top, right, bottom] = [0, 0, width - 1, height - 1];
    size = Math.max(right - left, bottom - top) + 1;
    left -= (size - (right - left + 1)) / 2;
    top -= (size - (bottom - top + 1)) / 2;
  }
  const step = size / side;
  const samples = Math.max(2, Math.min(16, Math.ceil(step)));
  const out = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let sum = 0;
      for (let j = 0; j < samples; j++) {
        for (let i = 0; i < samples; i++) {
          sum += ink(Math.floor(left + (x + (i + 0.5) / samples) * step), Math.floor(top + (y + (j + 0.5) / samples) * step));
        }
      }
      out[y * side + x] = sum / samples ** 2;
    }
  }
  return out;
}
