/** Writing PNG (ISO/IEC 15948) with the platform's own deflate. */
import { FormatError } from '../../errors.js';
import type { ImageData8 } from './image.js';

let table: Uint32Array | null = null;

function crc32(parts: readonly Uint8Array[]): number {
  if (table === null) {
    table = new Uint32Array(256);
    for (let n = 0; n < 256; n++) {
      let c = n;
      for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
      table[n] = c >>> 0;
    }
  }
  let crc = 0xffffffff;
  for (const part of parts) for (const byte of part) crc = table[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) out[4 + i] = type.charCodeAt(i);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32([out.subarray(4, 8 + data.length)]));
  return out;
}

async function deflate(bytes: Uint8Array): Promise<Uint8Array> {
  // A copy into memory of its own: streams take no views of shared memory.
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function paeth(a: number, b: number, c: number): number {
  const p = a + b - c;
  const pa = Math.abs(p - a);
  const pb = Math.abs(p - b);
  const pc = Math.abs(p - c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/** Each row under the filter with the least sum of absolute differences, the heuristic of the specification (12.8). */
function filterRows(image: ImageData8): Uint8Array {
  const { data, channels, height } = image;
  const stride = image.width * channels;
  const out = new Uint8Array(height * (stride + 1));
  const trial = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const row = y * stride;
    const target = y * (stride + 1);
    let best = Number.POSITIVE_INFINITY;
    for (let filter = 0; filter < 5; filter++) {
      let sum = 0;
      for (let i = 0; i < stride; i++) {
        const left = i >= channels ? data[row + i - channels] : 0;
        const up = y > 0 ? data[row - stride + i] : 0;
        const corner = i >= channels && y > 0 ? data[row - stride + i - channels] : 0;
        let predicted = 0;
        if (filter === 1) predicted = left;
        else if (filter === 2) predicted = up;
        else if (filter === 3) predicted = (left + up) >> 1;
        else if (filter === 4) predicted = paeth(left, up, corner);
        const value = (data[row + i] - predicted) & 0xff;
        trial[i] = value;
        sum += value < 128 ? value : 256 - value;
      }
      if (sum < best) {
        best = sum;
        out[target] = filter;
        out.set(trial, target + 1);
      }
    }
  }
  return out;
}

/** The picture as a PNG file (8 bits a channel). Needs no library, in Node and in browsers. @throws FormatError above 2^31 bytes. */
export async function encodePng(image: ImageData8): Promise<Uint8Array> {
  const { width, height, channels } = image;
  if ((width * channels + 1) * height >= 2 ** 31) {
    throw new FormatError(`the picture has ${width} x ${height} pixels`, { op: 'encodePng', expected: 'less than 2^31 bytes' });
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = channels === 1 ? 0 : channels === 3 ? 2 : 6;
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk('IHDR', header),
    chunk('IDAT', await deflate(filterRows(image))),
    chunk('IEND', new Uint8Array(0)),
  ];
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
