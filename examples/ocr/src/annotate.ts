/** A picture with its lines: outlines in it, the text beside it at the same places. */
import sharp from 'sharp';
import type { ImageData8 } from 'trireme/data/vision';
import { classColor, convertChannels } from 'trireme/data/vision';
import { distance } from './geometry.js';
import type { Line } from './reader.js';

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => entities[c]);

/** PNG of twice the width. */
export async function annotated(picture: ImageData8, lines: readonly Line[]): Promise<Uint8Array> {
  const { width, height, data } = convertChannels(picture, 3);
  const stroke = Math.max(1, Math.round(Math.max(width, height) / 500));
  const parts = lines.map(({ quad, text, upsideDown }, i) => {
    const color = `rgb(${classColor(i).join()})`;
    const outline = `<polygon points="${quad.map((p) => p.map((v) => v.toFixed(1)).join()).join(' ')}" fill="none" stroke="${color}" stroke-width="${stroke}"/>`;
    const [a, b, c, d] = upsideDown ? [quad[2], quad[3], quad[0], quad[1]] : quad;
    const downwards = distance(a, d) >= 1.5 * distance(a, b);
    // The line's beginning, its end, and the corner below its beginning.
    const [start, end, below] = downwards ? [b, c, a] : [a, b, d];
    const [length, size] = [distance(start, end), 0.72 * distance(start, below)];
    const angle = (Math.atan2(end[1] - start[1], end[0] - start[0]) * 180) / Math.PI;
    const label =
      `<text transform="translate(${width + start[0]} ${start[1]}) rotate(${angle.toFixed(2)})" x="0" y="${(1.05 * size).toFixed(1)}" ` +
      `font-size="${size.toFixed(1)}" font-family="sans-serif" textLength="${length.toFixed(1)}" lengthAdjust="spacingAndGlyphs" fill="${color}">${escaped(text)}</text>`;
    const number = `<text x="${a[0]}" y="${a[1] - stroke}" font-size="${Math.max(10, size / 2)}" font-family="sans-serif" fill="${color}">${i + 1}</text>`;
    return outline + number + label;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${2 * width}" height="${height}">${parts.join('')}</svg>`;
  return sharp({ create: { width: 2 * width, height, channels: 3, background: 'white' } })
    .composite([
      { input: Buffer.from(data.buffer, data.byteOffset, data.byteLength), raw: { width, height, channels: 3 }, left: 0, top: 0 },
      { input: Buffer.from(svg), left: 0, top: 0 },
    ])
    .png()
    .toBuffer();
}
