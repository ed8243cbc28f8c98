/** Picture files of other formats, as sharp writes them. Node only. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodeImage, encodePng, imageSize, readImage } from '../../../src/data/vision/index.js';
import { FormatError } from '../../../src/errors.js';

const width = 48;
const height = 32;
const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => 100 + 60 * Math.sin(i / 300) + 40 * (i % 3));
const source = (): Sharp => sharp(pixels, { raw: { width, height, channels: 3 } });

describe('picture files', () => {
  it.each([
    ['JPEG', () => source().jpeg({ quality: 95 })],
    ['JPEG', () => source().jpeg({ progressive: true, quality: 95 })],
    ['WebP', () => source().webp({ quality: 95 })],
    ['WebP', () => source().webp({ lossless: true })],
    ['WebP', () => source().ensureAlpha(0.5).webp({ lossless: true })],
    ['AVIF', () => source().avif({ quality: 90 })],
    ['GIF', () => source().gif()],
    ['PNG', () => source().png()],
  ] as const)('%s: the size comes from the header, the pixels are about those that were written', async (format, make) => {
    const bytes = new Uint8Array(await make().toBuffer());
    expect(imageSize(bytes)).toEqual({ format, width, height });
    const image = await decodeImage(bytes);
    expect([image.width, image.height, image.channels]).toEqual([width, height, 3]);
    const error = image.data.reduce((sum, value, i) => sum + Math.abs(value - pixels[i]), 0) / pixels.length;
    expect(error).toBeLessThan(format === 'GIF' ? 12 : 5);
    await expect(decodeImage(bytes, { maxPixels: width * height - 1 })).rejects.toThrow(FormatError);
  });

  it('alpha is kept with four channels and dropped with three', async () => {
    const rgba = new Uint8Array(await source().ensureAlpha(0.5).png().toBuffer());
    const image = await decodeImage(rgba, { channels: 4 });
    expect([...image.data.subarray(0, 4)]).toEqual([...pixels.subarray(0, 3), 127]);
    expect(await decodeImage(await encodePng(image), { channels: 4 })).toEqual(image);
    expect([...(await decodeImage(rgba)).data.subarray(0, 3)]).toEqual([...pixels.subarray(0, 3)]);
  });

  it('a photograph stands upright, unless told otherwise', async () => {
    const bytes = new Uint8Array(await source().withMetadata({ orientation: 6 }).jpeg().toBuffer());
    const image = await decodeImage(bytes);
    expect([image.width, image.height]).toEqual([height, width]);
    const raw = await decodeImage(bytes, { orient: false });
    expect([raw.width, raw.height]).toEqual([width, height]);
  });

  it('sixteen bits become eight', async () => {
    const bytes = new Uint8Array(await source().toColourspace('rgb16').png().toBuffer());
    const image = await decodeImage(bytes);
    expect(image.data.reduce((most, value, i) => Math.max(most, Math.abs(value - pixels[i])), 0)).toBeLessThanOrEqual(1);
  });

  it('files are read up to a size', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trireme-image-'));
    try {
      const path = join(folder, 'a.jpg');
      await writeFile(path, await source().jpeg().toBuffer());
      expect((await readImage(path)).width).toBe(width);
      await expect(readImage(path, { maxBytes: 100 })).rejects.toThrow(FormatError);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('a JPEG without its end is refused', async () => {
    const bytes = new Uint8Array(await source().jpeg().toBuffer());
    await expect(decodeImage(bytes.subarray(0, bytes.length >> 1))).rejects.toThrow(FormatError);
  });
});
