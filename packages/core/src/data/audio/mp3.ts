/** MP3 files, decoded with the optional package `mpg123-decoder`. */
import { TriremeError } from '../../errors.js';
import { optionalModule } from '../../io/optional.js';
import type { AudioClip } from './clip.js';
import { ClipBuilder } from './decoded.js';
import { type AudioLimits, defaultMaxAudioBytes } from './wav.js';

const op = 'mp3';

/** Bytes given to the decoder at once; they unpack to a hundred times as many at most. */
const pieceBytes = 1 << 16;

/** Whether it starts with an ID3 tag or the sync word of an MPEG audio frame of layer III. */
export function isMp3(bytes: Uint8Array): boolean {
  const id3 = bytes.length >= 3 && bytes[0] === 0x49 && bytes[1] === 0x44 && bytes[2] === 0x33;
  return id3 || (bytes.length >= 2 && bytes[0] === 0xff && (bytes[1] & 0xe6) === 0xe2);
}

/** Whether the first frame is of one channel (ISO 11172-3, 2.4.1.3: the last of four modes). */
function isMono(bytes: Uint8Array): boolean {
  let at = 0;
  // An ID3 tag says its own length, in four times seven bits.
  if (bytes[0] === 0x49 && bytes.length >= 10) at = 10 + ((bytes[6] << 21) | (bytes[7] << 14) | (bytes[8] << 7) | bytes[9]);
  while (at + 4 <= bytes.length && !(bytes[at] === 0xff && (bytes[at + 1] & 0xe6) === 0xe2)) at++;
  return at + 4 <= bytes.length && bytes[at + 3] >> 6 === 3;
}

/**
 * Decodes an MP3 file held in memory. The silence that the encoder added at both ends is cut off where the file tells
 * how much it is (a LAME or Xing header).
 * @throws FormatError when there is no sound in it or it is over the limit, EnvironmentError without the package.
 */
export async function decodeMp3(bytes: Uint8Array, { maxBytes = defaultMaxAudioBytes }: AudioLimits = {}): Promise<AudioClip> {
  const { MPEGDecoder } = await optionalModule('mpg123-decoder', op);
  const decoder = new MPEGDecoder({ enableGapless: true });
  const clip = new ClipBuilder(op, maxBytes);
  try {
    await decoder.ready;
    for (let at = 0; at < bytes.length; at += pieceBytes) clip.add(decoder.decode(bytes.subarray(at, at + pieceBytes)));
  } catch (cause) {
    if (cause instanceof TriremeError) throw cause;
    throw clip.damaged(cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    decoder.free();
  }
  const { sampleRate, channels } = clip.finish();
  // The decoder gives the one channel of a mono file twice.
  const [left, right] = channels;
  return { sampleRate, channels: isMono(bytes) && left.every((value, i) => value === right?.[i]) ? [left] : channels };
}
