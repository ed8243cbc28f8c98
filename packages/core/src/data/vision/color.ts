/** Colours, by the definitions of torchvision's functions on 8-bit images: blends are computed in float and cut to whole values. */
import { ArgumentError } from '../../errors.js';
import type { ItemRandom } from '../item-random.js';
import { convertChannels, type ImageData8 } from './image.js';
import { imageTransform, type Transform } from './sample.js';

/** Channels of colour: alpha is never changed. */
const colors = (image: ImageData8): number => Math.min(3, image.channels);

const clamp8 = (value: number): number => (value < 0 ? 0 : value > 255 ? 255 : Math.floor(value));

function checkFactor(op: string, factor: number): void {
  if (!(factor >= 0)) throw new ArgumentError(`factor ${factor}`, { op, received: factor, expected: 'a number, 0 or more' });
}

/** The picture with each value replaced: one table of 256 for all channels, or one a channel. */
export function mapValues(image: ImageData8, table: Uint8Array | readonly Uint8Array[]): ImageData8 {
  const data = image.data.slice();
  const { channels } = image;
  for (let c = 0; c < colors(image); c++) {
    const own = table instanceof Uint8Array ? table : table[c];
    for (let i = c; i < data.length; i += channels) data[i] = own[data[i]];
  }
  return { ...image, data };
}

/** Rec. 601 grey as whole numbers, [height * width]. */
function grays(image: ImageData8): Uint8Array {
  const { channels, data } = image;
  const out = new Uint8Array(image.width * image.height);
  for (let i = 0; i < out.length; i++) {
    const at = i * channels;
    out[i] = channels === 1 ? data[i] : Math.fround(0.2989 * data[at]) + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  }
  return out;
}

/** factor * image: 0 is black, 1 the picture. */
export function adjustBrightness(image: ImageData8, factor: number): ImageData8 {
  checkFactor('adjustBrightness', factor);
  return mapValues(
    image,
    Uint8Array.from({ length: 256 }, (_, value) => clamp8(value * factor)),
  );
}

/** Between the mean grey (0) and the picture (1), and beyond. */
export function adjustContrast(image: ImageData8, factor: number): ImageData8 {
  checkFactor('adjustContrast', factor);
  const gray = grays(image);
  let mean = 0;
  for (const value of gray) mean += value;
  mean /= gray.length;
  return mapValues(
    image,
    Uint8Array.from({ length: 256 }, (_, value) => clamp8(factor * value + (1 - factor) * mean)),
  );
}

/** Between grey (0) and the picture (1), and beyond. */
export function adjustSaturation(image: ImageData8, factor: number): ImageData8 {
  checkFactor('adjustSaturation', factor);
  if (image.channels === 1) return image;
  const gray = grays(image);
  const data = image.data.slice();
  for (let i = 0; i < gray.length; i++) {
    for (let c = 0; c < 3; c++) {
      const at = i * image.channels + c;
      data[at] = clamp8(factor * data[at] + (1 - factor) * gray[i]);
    }
  }
  return { ...image, data };
}

/** Turns the hue by `shift` of the circle, -0.5 to 0.5. */
export function adjustHue(image: ImageData8, shift: number): ImageData8 {
  if (!(shift >= -0.5 && shift <= 0.5)) {
    throw new ArgumentError(`shift ${shift}`, { op: 'adjustHue', received: shift, expected: 'a number from -0.5 to 0.5' });
  }
  if (image.channels === 1) return image;
  const data = image.data.slice();
  for (let at = 0; at < data.length; at += image.channels) {
    const r = data[at] / 255;
    const g = data[at + 1] / 255;
    const b = data[at + 2] / 255;
    const high = Math.max(r, g, b);
    const range = high - Math.min(r, g, b);
    if (range === 0) continue;
    let hue = high === r ? (g - b) / range : high === g ? 2 + (b - r) / range : 4 + (r - g) / range;
    hue = hue / 6 + shift;
    hue -= Math.floor(hue);
    const saturation = range / high;
    const sector = Math.floor(hue * 6);
    const fraction = hue * 6 - sector;
    const p = high * (1 - saturation);
    const q = high * (1 - saturation * fraction);
    const t = high * (1 - saturation * (1 - fraction));
    const [nr, ng, nb] = [
      [high, t, p],
      [q, high, p],
      [p, high, t],
      [p, q, high],
      [t, p, high],
      [high, p, q],
    ][sector % 6];
    // 255.999: 1 becomes 255, and every other value is cut down.
    data[at] = nr * 255.999;
    data[at + 1] = ng * 255.999;
    data[at + 2] = nb * 255.999;
  }
  return { ...image, data };
}

/** 255 - value. */
export function invertColors(image: ImageData8): ImageData8 {
  return mapValues(
    image,
    Uint8Array.from({ length: 256 }, (_, value) => 255 - value),
  );
}

/** Inverts the values from `threshold` on. */
export function solarizeImage(image: ImageData8, threshold: number): ImageData8 {
  return mapValues(
    image,
    Uint8Array.from({ length: 256 }, (_, value) => (value >= threshold ? 255 - value : value)),
  );
}

/** Keeps the upper `bits` bits. */
export function posterizeImage(image: ImageData8, bits: number): ImageData8 {
  const mask = bits <= 0 ? 0 : (0xff << (8 - Math.min(8, bits))) & 0xff;
  return mapValues(
    image,
    Uint8Array.from({ length: 256 }, (_, value) => value & mask),
  );
}

function histogram(image: ImageData8, channel: number): Int32Array {
  const out = new Int32Array(256);
  for (let i = channel; i < image.data.length; i += image.channels) out[image.data[i]]++;
  return out;
}

/** Each channel stretched so that its darkest value is 0 and its brightest 255. */
export function autoContrastImage(image: ImageData8): ImageData8 {
  const tables = Array.from({ length: colors(image) }, (_, c) => {
    const counts = histogram(image, c);
    const low = counts.findIndex((count) => count > 0);
    const high = counts.findLastIndex((count) => count > 0);
    return Uint8Array.from({ length: 256 }, (_, v) => (low === high ? v : clamp8(((v - low) * 255) / (high - low))));
  });
  return mapValues(image, tables);
}

/** Each channel mapped so that its values are spread evenly (Pillow's ImageOps.equalize). */
export function equalizeImage(image: ImageData8): ImageData8 {
  const tables = Array.from({ length: colors(image) }, (_, c) => {
    const counts = histogram(image, c);
    const last = counts.findLastIndex((count) => count > 0);
    const total = image.width * image.height;
    const step = Math.floor((total - counts[last]) / 255);
    const table = new Uint8Array(256);
    let before = Math.floor(step / 2);
    for (let v = 0; v < 256; v++) {
      table[v] = step === 0 ? v : Math.min(255, Math.floor(before / step));
      before += counts[v];
    }
    return table;
  });
  return mapValues(image, tables);
}

/** Grey in as many channels as before. */
export function grayscaleImage(image: ImageData8): ImageData8 {
  if (image.channels === 1) return image;
  const gray = grays(image);
  const data = image.data.slice();
  for (let i = 0; i < gray.length; i++) data.fill(gray[i], i * image.channels, i * image.channels + 3);
  return { ...image, data };
}

export interface ColorJitterOptions {
  /** Factor in 1 - value .. 1 + value, or a range. */
  readonly brightness?: number | readonly [number, number];
  readonly contrast?: number | readonly [number, number];
  readonly saturation?: number | readonly [number, number];
  /** Shift of the circle in -value .. value (at most 0.5), or a range. */
  readonly hue?: number | readonly [number, number];
}

/** Random brightness, contrast, saturation and hue, in random order. */
export function colorJitter(options: ColorJitterOptions): Transform {
  const around = (value: number | readonly [number, number] | undefined, center: number): readonly [number, number] | null => {
    if (value === undefined) return null;
    return typeof value === 'number' ? [center === 1 ? Math.max(0, 1 - value) : -value, center + value] : value;
  };
  const steps = [
    { range: around(options.brightness, 1), adjust: adjustBrightness },
    { range: around(options.contrast, 1), adjust: adjustContrast },
    { range: around(options.saturation, 1), adjust: adjustSaturation },
    { range: around(options.hue, 0), adjust: adjustHue },
  ];
  return imageTransform((image, random) => {
    const order = [0, 1, 2, 3];
    for (let i = 3; i > 0; i--) {
      const j = random.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    let current = image;
    for (const k of order) {
      const { range, adjust } = steps[k];
      if (range) current = adjust(current, random.uniform(range[0], range[1]));
    }
    return current;
  });
}

const sometimes = (p: number, change: (image: ImageData8, random: ItemRandom) => ImageData8): Transform =>
  imageTransform((image, random) => (random.chance(p) ? change(image, random) : image));

/** To one channel (`channels: 1`), or grey in as many channels as before. */
export function grayscale(options: { readonly channels?: 1 | 3; readonly p?: number } = {}): Transform {
  const { channels, p = 1 } = options;
  return sometimes(p, (image) => {
    const gray = grayscaleImage(image);
    return channels === undefined ? gray : convertChannels(gray, channels);
  });
}
export function autoContrast(options: { readonly p?: number } = {}): Transform {
  return sometimes(options.p ?? 0.5, autoContrastImage);
}
export function equalize(options: { readonly p?: number } = {}): Transform {
  return sometimes(options.p ?? 0.5, equalizeImage);
}
export function posterize(bits: number, options: { readonly p?: number } = {}): Transform {
  return sometimes(options.p ?? 0.5, (image) => posterizeImage(image, bits));
}
export function solarize(threshold: number, options: { readonly p?: number } = {}): Transform {
  return sometimes(options.p ?? 0.5, (image) => solarizeImage(image, threshold));
}
export function invert(options: { readonly p?: number } = {}): Transform {
  return sometimes(options.p ?? 0.5, invertColors);
}
