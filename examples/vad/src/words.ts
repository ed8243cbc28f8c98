/** A long sound of spoken words with silence between them, made of recordings, to measure with. */

import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError } from 'trireme';
import { ItemRandom } from 'trireme/data';
import { readAudio, resample, toMono } from 'trireme/data/audio';
import type { Rate } from './detector.js';
import type { Segment } from './segments.js';

export interface Words {
  readonly samples: Float32Array;
  /** Where the recordings lie. */
  readonly spoken: readonly Segment[];
}

/** Hiss of recordings between the words: uniform noise of this amplitude, some -60 dB. */
const noise = 1e-3;

/** The first recordings of a folder's WAV files in an order drawn by `seed`, with 0.5 to 1.5 s of faint noise around each. @throws ArgumentError */
export async function wordsFrom(folder: string, count: number, rate: Rate, seed = 1): Promise<Words> {
  const inside = join(folder, 'recordings');
  const place = existsSync(inside) ? inside : folder;
  const names = (await readdir(place).catch(() => [])).filter((name) => name.endsWith('.wav')).sort();
  if (names.length === 0)
    throw new ArgumentError(`${folder} holds no WAV files`, { op: 'vad', received: folder, fix: 'Check --data-dir.' });
  const random = new ItemRandom(seed);
  const parts: Float32Array[] = [];
  const spoken: Segment[] = [];
  let length = 0;
  const put = (part: Float32Array): void => {
    parts.push(part);
    length += part.length;
  };
  const pause = (): void => put(new Float32Array(Math.round(rate * random.uniform(0.5, 1.5))));
  pause();
  for (let i = 0; i < Math.min(count, names.length); i++) {
    const at = random.integer(i, names.length);
    [names[i], names[at]] = [names[at], names[i]];
    const clip = await readAudio(join(place, names[i]));
    const start = length / rate;
    put(resample(toMono(clip), clip.sampleRate, rate));
    spoken.push({ start, end: length / rate });
    pause();
  }
  const samples = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    samples.set(part, at);
    at += part.length;
  }
  for (let i = 0; i < length; i++) samples[i] += random.uniform(-noise, noise);
  return { samples, spoken };
}

export interface Measures {
  readonly words: number;
  /** Words of which at least half lies in found speech. */
  readonly found: number;
  /** Found stretches that touch no word. */
  readonly false: number;
  /** Share of found seconds that are spoken, and of spoken ones that are found. */
  readonly precision: number;
  readonly recall: number;
}

export function measure(found: readonly Segment[], spoken: readonly Segment[]): Measures {
  const overlap = (a: Segment, b: Segment): number => Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
  const lengthOf = (list: readonly Segment[]): number => list.reduce((sum, { start, end }) => sum + end - start, 0);
  const shared = (word: Segment): number => found.reduce((sum, segment) => sum + overlap(word, segment), 0);
  const both = spoken.reduce((sum, word) => sum + shared(word), 0);
  return {
    words: spoken.length,
    found: spoken.filter((word) => shared(word) >= (word.end - word.start) / 2).length,
    false: found.filter((segment) => spoken.every((word) => overlap(segment, word) === 0)).length,
    precision: found.length === 0 ? 0 : both / lengthOf(found),
    recall: both / lengthOf(spoken),
  };
}
