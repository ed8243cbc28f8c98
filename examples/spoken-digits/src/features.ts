/** From samples to what the network sees: mel spectrograms in decibels, varied for training. */
import type { ItemRandom } from 'trireme/data';
import {
  amplitudeToDb,
  MelSpectrogram,
  mixNoise,
  padOrTrim,
  preEmphasis,
  Resampler,
  type Spectrum,
  specAugment,
  whiteNoise,
} from 'trireme/data/audio';
import { sampleRate } from './recordings.js';

/** Rows (mel bands) and columns (frames of 16 ms) of a spectrogram. */
export const bands = 40;
export const frames = 64;

const hopLength = 128;
/** A second: all but 1 in 100 recordings are shorter; of longer ones the middle is kept. */
const length = (frames - 1) * hopLength;
/** What lies further below the loudest place is silence. */
const range = 60;

const mel = new MelSpectrogram({ sampleRate, nFft: 256, hopLength, nMels: bands, fMin: 60, padMode: 'constant' });

/** Decibels below the loudest place, -60 to 0, as -1 to 1: how loud the speaker is, and how close, plays no part. */
function spectrogram(samples: Float32Array): Spectrum {
  const { data, ...size } = amplitudeToDb(mel.apply(samples), { ref: 'max', topDb: range });
  return { ...size, data: data.map((db) => (2 * db) / range + 1) };
}

/** The spectrogram of a recording, in the middle of the picture. */
export function inputOf(samples: Float32Array): Spectrum {
  return spectrogram(padOrTrim(samples, length, { at: 'center' }));
}

/** Speeds 0.8 to 1.25, in even steps of pitch. Voices become higher or lower with it, as of shorter or longer vocal tracts. */
const speeds: readonly Resampler[] = Array.from({ length: 13 }, (_, i) => {
  const rate = Math.round(sampleRate / 1.25 ** ((i - 6) / 6) / 100) * 100;
  return new Resampler(sampleRate, rate);
});

/**
 * A recording as another speaker in another room might have made it: faster or slower, brighter, with noise, earlier or later;
 * bands and frames are masked in the end.
 */
export function variedInput(recorded: Float32Array, random: ItemRandom): Spectrum {
  let samples = random.pick(speeds).apply(recorded);
  if (random.chance(0.5)) samples = preEmphasis(samples, random.uniform(0, 0.9));
  samples = padOrTrim(samples, length, { at: random });
  // Half a second of noise, twice.
  if (random.chance(0.5)) samples = mixNoise(samples, whiteNoise(length / 2, random), random.uniform(5, 40));
  return specAugment(spectrogram(samples), random, {
    frequencyMasks: 2,
    frequencyWidth: 5,
    timeMasks: 1,
    timeWidth: 8,
    value: -1,
  });
}
