/**
 * WAV files (RIFF WAVE): PCM of 8, 16, 24 and 32 bits, float of 32 and 64 bits, A-law and mu-law; plain and extensible.
 * Format: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" and WAVEFORMATEXTENSIBLE; the two
 * laws from ITU-T G.711.
 */
import { ArgumentError, FormatError } from '../../errors.js';
import { writeFileAtomic } from '../../io/files.js';
import { type AudioClip, checkClip, clipLength } from './clip.js';

const op = 'wav';

export interface AudioLimits {
  /** Most bytes of decoded sound (4 a sample and channel); 1 GB unless told otherwise. */
  readonly maxBytes?: number;
}

export const defaultMaxAudioBytes = 2 ** 30;
export const maxAudioChannels = 64;

/** @throws FormatError */
export function checkAudioSize(name: string, samples: number, channels: number, maxBytes: number): void {
  if (samples * channels * 4 <= maxBytes) return;
  throw new FormatError(`the sound has ${samples} samples in ${channels} channels`, {
    op: name,
    received: samples * channels * 4,
    expected: `at most ${maxBytes} bytes decoded`,
    fix: 'If the file is trusted, raise maxBytes.',
  });
}

function fail(what: string, offset: number, expected?: string): never {
  throw new FormatError(`${what} (byte ${offset})`, { op, received: offset, expected, fix: 'The file is damaged or not a WAV file.' });
}

/** The codes of the format chunk. */
const codes = { pcm: 1, float: 3, alaw: 6, mulaw: 7, extensible: 0xfffe } as const;

interface Format {
  readonly code: number;
  readonly channels: number;
  readonly sampleRate: number;
  /** Bytes of a sample. */
  readonly bytes: number;
}

function readFormat(view: DataView, at: number, size: number): Format {
  if (size < 16) fail(`the format chunk has ${size} bytes`, at, 'at least 16');
  const channels = view.getUint16(at + 2, true);
  const sampleRate = view.getUint32(at + 4, true);
  const block = view.getUint16(at + 12, true);
  const bits = view.getUint16(at + 14, true);
  let code = view.getUint16(at, true);
  if (code === codes.extensible) {
    if (size < 40) fail(`the extensible format chunk has ${size} bytes`, at, 'at least 40');
    // The first two bytes of the GUID are the code; the rest says that they are.
    code = view.getUint16(at + 24, true);
    const tail = [0x00100000, 0xaa000080, 0x719b3800].every((word, i) => view.getUint32(at + 28 + 4 * i, true) === word);
    if (!tail || view.getUint16(at + 26, true) !== 0) fail('the extensible format is an unknown one', at + 24);
  }
  const sizes: Readonly<Record<number, readonly number[]>> = {
    [codes.pcm]: [8, 16, 24, 32],
    [codes.float]: [32, 64],
    [codes.alaw]: [8],
    [codes.mulaw]: [8],
  };
  if (!sizes[code]?.includes(bits)) fail(`samples of format ${code} with ${bits} bits`, at, 'PCM, float, A-law or mu-law samples');
  if (channels < 1 || channels > maxAudioChannels) fail(`${channels} channels`, at + 2, `1 to ${maxAudioChannels}`);
  if (sampleRate < 1 || block !== (channels * bits) / 8) fail(`a rate of ${sampleRate} and blocks of ${block} bytes`, at + 4);
  return { code, channels, sampleRate, bytes: bits / 8 };
}

/** The value of a byte by ITU-T G.711 A-law, in 16 bits. */
function alaw(byte: number): number {
  const bits = byte ^ 0x55;
  const exponent = (bits >> 4) & 7;
  const mantissa = ((bits & 15) << 4) + 8;
  const magnitude = exponent === 0 ? mantissa : (mantissa + 0x100) << (exponent - 1);
  return bits & 0x80 ? magnitude : -magnitude;
}

/** The value of a byte by ITU-T G.711 mu-law, in 16 bits. */
function mulaw(byte: number): number {
  const bits = ~byte & 255;
  const magnitude = ((((bits & 15) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return bits & 0x80 ? -magnitude : magnitude;
}

function sampleReader({ code, bytes }: Format): (view: DataView, at: number) => number {
  if (code === codes.alaw) return (view, at) => alaw(view.getUint8(at)) / 32768;
  if (code === codes.mulaw) return (view, at) => mulaw(view.getUint8(at)) / 32768;
  if (code === codes.float) return bytes === 4 ? (view, at) => view.getFloat32(at, true) : (view, at) => view.getFloat64(at, true);
  if (bytes === 1) return (view, at) => (view.getUint8(at) - 128) / 128;
  if (bytes === 2) return (view, at) => view.getInt16(at, true) / 32768;
  if (bytes === 3) return (view, at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65536) / 8388608;
  return (view, at) => view.getInt32(at, true) / 2147483648;
}

const tag = (view: DataView, at: number): string => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));

export function isWav(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return bytes.length >= 12 && tag(view, 0) === 'RIFF' && tag(view, 8) === 'WAVE';
}

/**
 * Decodes a WAV file held in memory. Integers become value / 2^(bits-1), as in libsndfile.
 * A data chunk whose size the writer did not know (0xffffffff: recorded to a pipe) goes to the end of the file.
 * @throws FormatError when it is damaged, of another kind of samples, or over the limit.
 */
export function decodeWav(bytes: Uint8Array, { maxBytes = defaultMaxAudioBytes }: AudioLimits = {}): AudioClip {
  if (!isWav(bytes)) fail('the file does not start with RIFF and WAVE', 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format: Format | null = null;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = tag(view, at);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (name === 'data') {
      if (!format) fail('the data comes before the format', at);
      const { channels: count, bytes: width, sampleRate } = format;
      const length = size === 0xffffffff ? bytes.length - start : size;
      if (length > bytes.length - start) fail(`the data has ${bytes.length - start} bytes`, start, `${length}, as its header says`);
      const samples = Math.floor(length / (width * count));
      checkAudioSize(op, samples, count, maxBytes);
      const read = sampleReader(format);
      const channels = Array.from({ length: count }, (_, channel) => {
        const out = new Float32Array(samples);
        for (let i = 0, from = start + channel * width; i < samples; i++, from += width * count) out[i] = read(view, from);
        return out;
      });
      return { sampleRate, channels };
    }
    if (size > bytes.length - start) fail(`the chunk ${JSON.stringify(name)} of ${size} bytes passes the end of the file`, at);
    if (name === 'fmt ') format = readFormat(view, start, size);
    // Chunks start at even places.
    at = start + size + (size & 1);
  }
  return fail('there is no data chunk', bytes.length);
}

export type WavFormat = 'pcm8' | 'pcm16' | 'pcm24' | 'pcm32' | 'float32' | 'float64';

/** Rounds to the nearest step; what is beyond full scale is cut off, NaN becomes silence. */
function quantize(value: number, scale: number): number {
  return Math.max(-scale, Math.min(scale - 1, Math.round((value || 0) * scale)));
}

const writers: Readonly<Record<WavFormat, { bytes: number; code: number; put(view: DataView, at: number, value: number): void }>> = {
  pcm8: { bytes: 1, code: codes.pcm, put: (view, at, value) => view.setUint8(at, quantize(value, 128) + 128) },
  pcm16: { bytes: 2, code: codes.pcm, put: (view, at, value) => view.setInt16(at, quantize(value, 32768), true) },
  pcm24: {
    bytes: 3,
    code: codes.pcm,
    put: (view, at, value) => {
      const bits = quantize(value, 8388608);
      view.setUint16(at, bits & 0xffff, true);
      view.setInt8(at + 2, bits >> 16);
    },
  },
  pcm32: { bytes: 4, code: codes.pcm, put: (view, at, value) => view.setInt32(at, quantize(value, 2147483648), true) },
  float32: { bytes: 4, code: codes.float, put: (view, at, value) => view.setFloat32(at, value, true) },
  float64: { bytes: 8, code: codes.float, put: (view, at, value) => view.setFloat64(at, value, true) },
};

/**
 * A WAV file as bytes; 16-bit PCM unless told otherwise.
 * @throws ArgumentError for a clip that a WAV file cannot hold.
 */
export function encodeWav(clip: AudioClip, format: WavFormat = 'pcm16'): Uint8Array {
  checkClip(clip, op);
  const { sampleRate, channels } = clip;
  const { bytes, code, put } = writers[format];
  const samples = clipLength(clip);
  const block = bytes * channels.length;
  const dataBytes = samples * block;
  if (!Number.isInteger(sampleRate) || sampleRate * block >= 2 ** 32 || channels.length > maxAudioChannels || dataBytes > 2 ** 32 - 64) {
    throw new ArgumentError(`a rate of ${sampleRate}, ${channels.length} channels and ${dataBytes} bytes`, {
      op,
      expected: `a whole rate, at most ${maxAudioChannels} channels and below 4 GB`,
    });
  }
  const out = new Uint8Array(44 + dataBytes + (dataBytes & 1));
  const view = new DataView(out.buffer);
  const text = (at: number, value: string): void => out.set(new TextEncoder().encode(value), at);
  text(0, 'RIFF');
  view.setUint32(4, out.length - 8, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, code, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * block, true);
  view.setUint16(32, block, true);
  view.setUint16(34, bytes * 8, true);
  text(36, 'data');
  view.setUint32(40, dataBytes, true);
  for (const [c, channel] of channels.entries()) {
    for (let i = 0, at = 44 + c * bytes; i < samples; i++, at += block) put(view, at, channel[i]);
  }
  return out;
}

/** Writes a WAV file, whole or not at all. @throws ArgumentError, EnvironmentError */
export async function writeWav(path: string, clip: AudioClip, format: WavFormat = 'pcm16'): Promise<void> {
  await writeFileAtomic(path, encodeWav(clip, format));
}
