/**
 * Decoding pictures inside of a graph. An operator gives its result at once, decoders do so later: `sharp` (an optional peer dependency)
 * runs in a thread that this one waits for. BMP and PNM, which it does not read, are decoded here.
 */
import { EnvironmentError } from 'trireme';
import { TensorValue } from '../engine/value.js';
import { tensorAt } from './arguments.js';
import type { OpFunction, OpTable } from './definition.js';

/** Rows of RGB pixels. */
interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

const imageDecoder: OpFunction = (inputs, ctx) => {
  const stream = tensorAt(inputs, 0, ctx);
  const format = ctx.attrs.string('pixel_format', 'RGB');
  if (format !== 'RGB' && format !== 'BGR' && format !== 'Grayscale') return ctx.fail(`pixel_format ${format}`, 'RGB, BGR or Grayscale');
  const bytes = stream.host instanceof Uint8Array ? stream.host : ctx.fail(`a stream of ${stream.type}`, 'uint8');
  const picture = decodeBitmap(bytes) ?? decodePixmap(bytes) ?? decodeInThread(bytes);
  // What cannot be decoded is a picture without pixels.
  if (picture === null) return TensorValue.ofHost(new Uint8Array(0), 'uint8', [0, 0, format === 'Grayscale' ? 1 : 3]);
  const { width, height, data } = picture;
  const channels = format === 'Grayscale' ? 1 : 3;
  const out = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    // ITU-R BT.601 luma, in 16-bit fixed point.
    if (channels === 1) out[i] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
    else out.set(format === 'RGB' ? [r, g, b] : [b, g, r], 3 * i);
  }
  return TensorValue.ofHost(out, 'uint8', [height, width, channels]);
};

/** Limits what a header can ask for. */
const mostPixels = 2 ** 28;

/** Uncompressed BMP of 8 (with palette), 24 or 32 bits a pixel; null for everything else. */
function decodeBitmap(bytes: Uint8Array): Picture | null {
  if (bytes.length < 54 || bytes[0] !== 0x42 || bytes[1] !== 0x4d) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = view.getUint32(10, true);
  const palette = 14 + view.getUint32(14, true);
  const width = view.getInt32(18, true);
  const rows = view.getInt32(22, true);
  const bits = view.getUint16(28, true);
  const compression = view.getUint32(30, true);
  const height = Math.abs(rows);
  const pitch = Math.ceil((width * bits) / 32) * 4;
  const known = (bits === 8 || bits === 24 || bits === 32) && (compression === 0 || (compression === 3 && bits === 32));
  if (!known || width < 1 || height < 1 || width * height > mostPixels || start + pitch * height > bytes.length) return null;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    // Rows go upwards unless the height is negative.
    const row = start + pitch * (rows > 0 ? height - 1 - y : y);
    for (let x = 0; x < width; x++) {
      const at = bits === 8 ? palette + 4 * bytes[row + x] : row + (x * bits) / 8;
      data.set([bytes[at + 2], bytes[at + 1], bytes[at]], 3 * (y * width + x));
    }
  }
  return { width, height, data };
}

/** Binary PGM and PPM (P5, P6) of 8 bits a sample; null for everything else. */
function decodePixmap(bytes: Uint8Array): Picture | null {
  if (bytes[0] !== 0x50 || (bytes[1] !== 0x35 && bytes[1] !== 0x36)) return null;
  let at = 2;
  const isSpace = (c: number): boolean => c === 32 || (c >= 9 && c <= 13);
  const number = (): number => {
    for (; at < bytes.length && (isSpace(bytes[at]) || bytes[at] === 0x23); at++) {
      if (bytes[at] === 0x23) while (at < bytes.length && bytes[at] !== 10) at++;
    }
    let value = 0;
    const first = at;
    for (; bytes[at] >= 48 && bytes[at] <= 57; at++) value = value * 10 + bytes[at] - 48;
    return at > first ? value : Number.NaN;
  };
  const [width, height, largest] = [number(), number(), number()];
  at++;
  const channels = bytes[1] === 0x36 ? 3 : 1;
  const count = width * height;
  if (!(largest >= 1 && largest <= 255 && count >= 1 && count <= mostPixels) || at + count * channels > bytes.length) return null;
  const data = new Uint8Array(count * 3);
  for (let i = 0; i < count * 3; i++) {
    const value = bytes[at + (channels === 3 ? i : Math.floor(i / 3))];
    data[i] = largest === 255 ? value : Math.round((value * 255) / largest);
  }
  return { width, height, data };
}

const worker = `
const { workerData } = require('node:worker_threads');
const { url, bytes, port, signal } = workerData;
(async () => {
  let reply = null;
  try {
    const { default: sharp } = await import(url);
    const pipeline = sharp(bytes, { failOn: 'error', limitInputPixels: ${mostPixels} }).toColourspace('srgb').removeAlpha();
    const { data, info } = await pipeline.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    reply = { data, ...info };
  } catch {}
  port.postMessage(reply);
  Atomics.store(signal, 0, 1);
  Atomics.notify(signal, 0);
})();
`;

interface Decoded {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

interface NodeProcess {
  getBuiltinModule?<T>(name: string): T;
}

/** @throws EnvironmentError outside of Node, and without sharp */
function decodeInThread(bytes: Uint8Array): Picture | null {
  const { getBuiltinModule } = (globalThis as { process?: NodeProcess }).process ?? {};
  if (getBuiltinModule === undefined)
    throw new EnvironmentError('pictures inside of a graph', {
      op: 'ImageDecoder',
      expected: 'Node',
      fix: 'Decode them before they enter the graph.',
    });
  const { Worker, MessageChannel, receiveMessageOnPort } = getBuiltinModule<typeof import('node:worker_threads')>('node:worker_threads');
  const { createRequire } = getBuiltinModule<typeof import('node:module')>('node:module');
  const { pathToFileURL } = getBuiltinModule<typeof import('node:url')>('node:url');
  let url: string;
  try {
    url = pathToFileURL(createRequire(import.meta.url).resolve('sharp')).href;
  } catch (cause) {
    throw new EnvironmentError('the package sharp is missing', { op: 'ImageDecoder', cause, fix: 'Install it: npm install sharp.' });
  }
  const signal = new Int32Array(new SharedArrayBuffer(4));
  const { port1, port2 } = new MessageChannel();
  const thread = new Worker(worker, { eval: true, workerData: { url, bytes, port: port2, signal }, transferList: [port2] });
  thread.unref();
  try {
    Atomics.wait(signal, 0, 0, 60_000);
    const reply = receiveMessageOnPort(port1)?.message as Decoded | null | undefined;
    return reply ? withThreeChannels(reply) : null;
  } finally {
    port1.close();
    void thread.terminate();
  }
}

function withThreeChannels({ data, width, height, channels }: Decoded): Picture {
  if (channels === 3) return { width, height, data };
  const spread = new Uint8Array(width * height * 3);
  for (let i = 0; i < spread.length; i++) spread[i] = data[Math.floor(i / 3) * channels];
  return { width, height, data: spread };
}

export const imageOps = { ImageDecoder: imageDecoder } satisfies OpTable;
