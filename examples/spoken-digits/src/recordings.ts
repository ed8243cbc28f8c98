/** The recordings: from a folder, or downloaded, checked and kept in the cache. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { ArgumentError, FormatError } from 'trireme';
import { type AudioClip, decodeWav, readAudio, resample, toMono, trimSilence } from 'trireme/data/audio';
import { cacheFolder, download, openZip } from 'trireme/io';

/** Hz: that of the data set, and of what the network hears. */
export const sampleRate = 8000;
export const classNames: readonly string[] = Array.from({ length: 10 }, (_, digit) => String(digit));

export interface Recording {
  readonly digit: number;
  readonly speaker: string;
  /** 0 to 49 of this digit and speaker. */
  readonly take: number;
  readonly samples: Float32Array;
}

/** The Free Spoken Digit Dataset (CC BY-SA 4.0) at one commit. */
const commit = '26eb9aaf76e81b692f806f9140c2d2777410d7a1';
/** `LC_ALL=C sha256sum *.wav | sha256sum` in its folder of recordings. */
const checksum = '1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959';
const archive = `https://github.com/Jakobovski/free-spoken-digit-dataset/archive/${commit}.zip`;

/** `7_jackson_32.wav`, in any folder. */
const pattern = /(?:^|\/)(\d)_([a-z]+)_(\d+)\.wav$/;

/** Samples at {@link sampleRate}, without the silence around the word: what is 50 dB below the loudest 16 ms. */
export function samplesOf(clip: AudioClip): Float32Array {
  return trimSilence(resample(toMono(clip), clip.sampleRate, sampleRate), 50, 128);
}

/** Of files in any order: what `sha256sum * | sha256sum` says. */
export function checksumOf(files: readonly (readonly [name: string, bytes: Uint8Array])[]): string {
  const sha256 = (content: Uint8Array | string): string => createHash('sha256').update(content).digest('hex');
  const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256(sorted.map(([name, bytes]) => `${sha256(bytes)}  ${name}\n`).join(''));
}

function recording(name: string, clip: AudioClip): Recording {
  const [, digit, speaker, take] = pattern.exec(name) ?? [];
  return { digit: Number(digit), speaker, take: Number(take), samples: samplesOf(clip) };
}

/** Where the recordings lie. Plain data, for the threads that make batches. */
export type Source = { readonly folder: string } | { readonly zip: string };

export interface SourceOptions {
  readonly folder?: string | undefined;
  /** In place of GitHub's archive; its content is checked all the same. */
  readonly url?: string | undefined;
  readonly cacheDir?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A folder that is given, else $FSDD_DIR, else the archive in the cache or from the network. */
export async function findRecordings({ folder, url, cacheDir, signal }: SourceOptions = {}): Promise<Source> {
  const given = folder ?? (url === undefined ? process.env.FSDD_DIR : undefined);
  if (given !== undefined) {
    // The data set's own folder, or the one inside it.
    const inside = join(given, 'recordings');
    return { folder: existsSync(inside) ? inside : given };
  }
  const zip = await download(url ?? archive, {
    cacheDir: cacheDir ?? (await cacheFolder('fsdd')),
    fileName: `fsdd-${commit.slice(0, 12)}.zip`,
    maxBytes: 2 ** 27,
    fix: 'Give the folder of the recordings with --data-dir or $FSDD_DIR: a clone of github.com/Jakobovski/free-spoken-digit-dataset.',
    signal,
  });
  return { zip };
}

/** All recordings, by digit, speaker and take. @throws FormatError, EnvironmentError, ArgumentError when there are none */
export async function readRecordings(source: Source): Promise<Recording[]> {
  const found = 'zip' in source ? await readArchive(source.zip) : await readFolder(source.folder);
  const order = (a: Recording, b: Recording): number =>
    a.digit - b.digit || (a.speaker < b.speaker ? -1 : a.speaker > b.speaker ? 1 : a.take - b.take);
  return found.sort(order);
}

async function readFolder(folder: string): Promise<Recording[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => pattern.test(name));
  if (names.length === 0) {
    throw new ArgumentError(`${folder} holds no recordings`, {
      op: 'recordings',
      received: folder,
      expected: 'files named as 7_jackson_32.wav: digit, speaker, number',
      fix: 'Check --data-dir.',
    });
  }
  return Promise.all(names.map(async (name) => recording(name, await readAudio(join(folder, name)))));
}

async function readArchive(path: string): Promise<Recording[]> {
  const { entries, close } = await openZip(path, { maxEntryBytes: 2 ** 20, maxTotalBytes: 2 ** 28 });
  try {
    const wanted = [...entries.values()].filter(({ name }) => name.includes('/recordings/') && pattern.test(name));
    const files = await Promise.all(wanted.map(async ({ name, read }) => [name.slice(name.lastIndexOf('/') + 1), await read()] as const));
    const found = checksumOf(files);
    if (found !== checksum) {
      throw new FormatError(`the recordings in ${path} are others`, {
        op: 'recordings',
        received: found,
        expected: `those of commit ${commit}, with the checksum ${checksum}`,
        fix: 'Remove the file and start again.',
      });
    }
    return files.map(([name, bytes]) => recording(name, decodeWav(bytes)));
  } finally {
    await close();
  }
}

export interface Split {
  /** Places in the list of recordings. */
  readonly train: Int32Array;
  readonly test: Int32Array;
}

/** The data set's own split tests with takes 0 to 4; with `heldOut` all recordings of that speaker are for testing. @throws ArgumentError */
export function splitOf(recordings: readonly Recording[], heldOut?: string): Split {
  const tested = ({ speaker, take }: Recording): boolean => (heldOut === undefined ? take < 5 : speaker === heldOut);
  const all = Array.from(recordings.keys());
  const test = Int32Array.from(all.filter((i) => tested(recordings[i])));
  const train = Int32Array.from(all.filter((i) => !tested(recordings[i])));
  if (test.length > 0 && train.length > 0) return { train, test };
  throw new ArgumentError(
    heldOut === undefined ? 'there are no takes 0 to 4, or no others' : `there is no speaker ${heldOut}, or no other`,
    {
      op: 'splitOf',
      received: heldOut,
      expected: heldOut === undefined ? 'takes for both parts' : `one of ${speakersOf(recordings).join(', ')}`,
    },
  );
}

export const speakersOf = (recordings: readonly Recording[]): string[] => [...new Set(recordings.map(({ speaker }) => speaker))].sort();
