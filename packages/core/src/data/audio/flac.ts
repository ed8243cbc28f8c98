/** FLAC files, decoded with the optional package `@wasm-audio-decoders/flac`. */
import { FormatError, TriremeError } from '../../errors.js';
import { optionalModule } from '../../io/optional.js';
import type { AudioClip } from './clip.js';
import { ClipBuilder } from './decoded.js';
import { type AudioLimits, checkAudioSize, defaultMaxAudioBytes } from './wav.js';

const op = 'flac';

interface StreamInfo {
  readonly channels: number;
  readonly sampleRate: number;
  /** Bits of a sample. */
  readonly bits: number;
  /** Samples in each channel; 0: the writer did not know. */
  readonly samples: number;
}

export function isFlac(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x66 && bytes[1] === 0x4c && bytes[2] === 0x61 && bytes[3] === 0x43;
}

/** The stream's own description, which comes first (RFC 9639, section 8.2). */
function streamInfo(bytes: Uint8Array): StreamInfo {
  if (!isFlac(bytes) || bytes.length < 42 || (bytes[4] & 127) !== 0) {
    throw new FormatError('the file does not start as a FLAC file does', { op, expected: 'fLaC and a STREAMINFO block' });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packed = view.getUint32(18);
  const sampleRate = packed >>> 12;
  const samples = (bytes[21] & 15) * 2 ** 32 + view.getUint32(22);
  return { sampleRate, channels: ((packed >>> 9) & 7) + 1, bits: ((packed >>> 4) & 31) + 1, samples };
}

/**
 * Bytes given to the decoder at once. A frame of 14 bytes can hold 65,535 silent samples in 8 channels, so what one call
 * may unpack to before the limit is checked is at most about 300 MB.
 */
const pieceBytes = 2048;

/**
 * Decodes a FLAC file held in memory. Samples become value / 2^(bits-1), as from a WAV file.
 * @throws FormatError when it is damaged or over the limit, EnvironmentError without the package.
 */
export async function decodeFlac(bytes: Uint8Array, { maxBytes = defaultMaxAudioBytes }: AudioLimits = {}): Promise<AudioClip> {
  const info = streamInfo(bytes);
  checkAudioSize(op, info.samples, info.channels, maxBytes);
  const { FLACDecoder } = await optionalModule('@wasm-audio-decoders/flac', op);
  const decoder = new FLACDecoder();
  const clip = new ClipBuilder(op, maxBytes);
  try {
    await decoder.ready;
    for (let at = 0; at < bytes.length; at += pieceBytes) clip.add(await decoder.decode(bytes.subarray(at, at + pieceBytes)));
    clip.add(await decoder.flush());
  } catch (cause) {
    if (cause instanceof TriremeError) throw cause;
    throw clip.damaged(cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    decoder.free();
  }
  // Frames whose checksum is wrong are left out by the decoder, so the count tells.
  if (info.samples > 0 && clip.samples !== info.samples) throw clip.damaged(`${clip.samples} of ${info.samples} samples are whole`);
  const sound = clip.finish();
  // The decoder divides by the largest positive number; WAV files, and libsndfile, by the power of 2 above it.
  const full = 2 ** (info.bits - 1);
  for (const channel of sound.channels) for (let i = 0; i < channel.length; i++) channel[i] = Math.round(channel[i] * (full - 1)) / full;
  return sound;
}
