/** Sound files of any of the formats that can be read. */
import { FormatError } from '../../errors.js';
import { type ByteSource, readAll } from '../../io/random-access.js';
import type { AudioClip } from './clip.js';
import { decodeFlac, isFlac } from './flac.js';
import { decodeMp3, isMp3 } from './mp3.js';
import { type AudioLimits, decodeWav, defaultMaxAudioBytes, isWav } from './wav.js';

/**
 * Decodes a WAV, FLAC or MP3 file, told apart by its first bytes.
 * @throws FormatError when it is none of them, damaged or over the limit; EnvironmentError without the package for it.
 */
export async function decodeAudio(bytes: Uint8Array, limits: AudioLimits = {}): Promise<AudioClip> {
  if (isWav(bytes)) return decodeWav(bytes, limits);
  if (isFlac(bytes)) return decodeFlac(bytes, limits);
  if (isMp3(bytes)) return decodeMp3(bytes, limits);
  throw new FormatError('the format of the sound is unknown', { op: 'decodeAudio', expected: 'WAV, FLAC or MP3' });
}

/** Reads a sound file (see {@link decodeAudio}) of at most `maxBytes` encoded and decoded. */
export async function readAudio(source: ByteSource, limits: AudioLimits = {}): Promise<AudioClip> {
  return decodeAudio(await readAll(source, limits.maxBytes ?? defaultMaxAudioBytes), limits);
}
