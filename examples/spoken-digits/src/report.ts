/** What the report shows beside the curves: confusions, measures by digit, spectrograms, and what was misheard. */
import { ItemRandom } from 'trireme/data';
import type { Spectrum } from 'trireme/data/audio';
import type { ImageData8 } from 'trireme/data/vision';
import { classMetrics, confusionMatrix } from 'trireme/metrics';
import type { ReportSection, SampleImage } from 'trireme/train';
import { inputOf, variedInput } from './features.js';
import { classNames, type Recording } from './recordings.js';
import type { Prediction } from './training.js';

/** Most misheard recordings that are shown. */
const mostMistakes = 24;
const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;

/** From silence to the loudest: black, violet, red, yellow, white. */
const ramp: readonly (readonly [number, number, number])[] = [
  [0, 0, 8],
  [74, 12, 107],
  [190, 55, 82],
  [249, 142, 9],
  [252, 255, 200],
];

/** A spectrogram of values from -1 to 1 as a picture: time to the right, low frequencies at the bottom. */
export function pictureOf({ data, rows, frames }: Spectrum): ImageData8 {
  const pixels = new Uint8Array(3 * rows * frames);
  for (let row = 0; row < rows; row++) {
    for (let frame = 0; frame < frames; frame++) {
      const value = (Math.max(-1, Math.min(1, data[row * frames + frame])) + 1) / 2;
      const place = value * (ramp.length - 1);
      const from = Math.min(ramp.length - 2, Math.floor(place));
      const at = 3 * ((rows - 1 - row) * frames + frame);
      for (let c = 0; c < 3; c++) pixels[at + c] = ramp[from][c] + (place - from) * (ramp[from + 1][c] - ramp[from][c]);
    }
  }
  return { width: frames, height: rows, channels: 3, data: pixels };
}

const nameOf = ({ digit, speaker, take }: Recording): string => `${digit}, ${speaker} ${take}`;

function images(title: string, note: string, list: readonly SampleImage[]): ReportSection {
  return { kind: 'images', title, note, images: list, size: 140 };
}

export interface Results {
  readonly train: readonly Recording[];
  readonly test: readonly Recording[];
  /** Of the test set. */
  readonly predictions: readonly Prediction[];
}

export function sections({ train, test, predictions }: Results): ReportSection[] {
  const labels = test.map(({ digit }) => digit);
  const found = predictions.map(({ digit }) => digit);
  const counts = confusionMatrix(labels, found, classNames.length);
  const rows = classMetrics(counts).map((c, digit) => [String(digit), percent(c.precision), percent(c.recall), percent(c.f1), c.support]);
  const wrong = Array.from(test.keys()).filter((i) => found[i] !== labels[i]);
  wrong.sort((a, b) => predictions[b].probability - predictions[a].probability);
  const shown = wrong.slice(0, mostMistakes);
  const first = classNames.flatMap((_, digit) => test.filter((r) => r.digit === digit).slice(0, 1));
  const varied = classNames.flatMap((_, digit) => train.filter((r) => r.digit === digit).slice(0, 1));
  return [
    { kind: 'confusion', title: 'Confusion matrix', matrix: { classNames, counts } },
    { kind: 'table', title: 'By digit', table: { columns: ['Digit', 'Precision', 'Recall', 'F1', 'Recordings'], rows } },
    images(
      `Misheard: ${wrong.length} of ${test.length}`,
      `Digit, speaker and number → prediction, with its probability.${wrong.length > shown.length ? ` The ${shown.length} the network was surest of:` : ''}`,
      shown.map((i) => ({
        image: pictureOf(inputOf(test[i].samples)),
        caption: `${nameOf(test[i])} → ${found[i]}, ${percent(predictions[i].probability)}`,
      })),
    ),
    images(
      'Spectrograms',
      'A test recording of each digit as the network sees it: one second from left to right, 60 Hz to 4 kHz in 40 mel bands from the bottom up.',
      first.map((r) => ({ image: pictureOf(inputOf(r.samples)), caption: nameOf(r) })),
    ),
    images(
      'Training recordings, varied',
      'Other speed, brightness, noise and place in time, bands and frames masked: three epochs of one recording of each digit.',
      varied.flatMap((r, i) =>
        [1, 2, 3].map((epoch) => ({ image: pictureOf(variedInput(r.samples, new ItemRandom(0, i, epoch))), caption: nameOf(r) })),
      ),
    ),
  ];
}
