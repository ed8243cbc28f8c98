/** Pictures in files, on every platform. */
import { describe, expect, it } from 'vitest';
import { convertChannels, decodeImage, encodePng, type ImageData8, imageData8, imageSize } from '../../../src/data/vision/index.js';
import { ArgumentError, FormatError } from '../../../src/errors.js';

function gradient(width: number, height: number, channels: 1 | 3): ImageData8 {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 37 + (i >> 3) * 11) & 255);
  return { width, height, channels, data };
}

describe('PNG', () => {
  it('gives the same pixels back', async () => {
    for (const [width, height] of [
      [1, 1],
      [7, 5],
      [64, 33],
    ]) {
      const rgb = gradient(width, height, 3);
      const bytes = await encodePng(rgb);
      expect(imageSize(bytes)).toEqual({ format: 'PNG', width, height });
      expect(await decodeImage(bytes)).toEqual(rgb);
      const gray = gradient(width, height, 1);
      expect(await decodeImage(await encodePng(gray), { channels: 1 })).toEqual(gray);
      expect(await decodeImage(await encodePng(gray))).toEqual(convertChannels(gray, 3));
    }
  });

  it('with more pixels than allowed is refused before it is decoded', async () => {
    const bytes = await encodePng(gradient(20, 10, 3));
    await expect(decodeImage(bytes, { maxPixels: 199 })).rejects.toThrow(/PNG picture has 20 x 10 pixels/);
    // A header that claims 60,000 x 60,000 pixels.
    new DataView(bytes.buffer).setUint32(16, 60_000);
    new DataView(bytes.buffer).setUint32(20, 60_000);
    await expect(decodeImage(bytes)).rejects.toThrow(FormatError);
  });

  it('that is damaged, cut off or no picture is refused', async () => {
    const bytes = await encodePng(gradient(40, 40, 3));
    await expect(decodeImage(bytes.subarray(0, 60))).rejects.toThrow(FormatError);
    await expect(decodeImage(new Uint8Array(0))).rejects.toThrow(FormatError);
    await expect(decodeImage(new TextEncoder().encode('not a picture at all, only text'))).rejects.toThrow(FormatError);
  });
});

describe('ImageData8', () => {
  it('has as many bytes as its size says', () => {
    expect(imageData8(2, 3, 3).data.length).toBe(18);
    expect(() => imageData8(2, 3, 3, new Uint8Array(17))).toThrow(/17 bytes/);
    expect(() => imageData8(0, 3, 3)).toThrow(ArgumentError);
  });

  it('converts between grey, RGB and RGBA', () => {
    const rgb = imageData8(2, 1, 3, Uint8Array.of(255, 0, 0, 10, 20, 30));
    expect([...convertChannels(rgb, 1).data]).toEqual([76, 18]);
    expect([...convertChannels(rgb, 4).data]).toEqual([255, 0, 0, 255, 10, 20, 30, 255]);
    expect(convertChannels(convertChannels(rgb, 4), 3)).toEqual(rgb);
  });
});
