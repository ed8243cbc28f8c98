/** How good the boxes are, class by class, and pictures of them. */

import { boxIou, scope, tensor } from 'trireme';
import { drawBoxes, type ImageData8, imageGrid } from 'trireme/data/vision';
import { MeanAveragePrecision } from 'trireme/metrics';
import type { ReportSection, SampleImage } from 'trireme/train';
import type { Found } from './detect.js';
import type { Photo } from './photos.js';

/** Boxes with at least this score are shown and counted: about the best F1 of all classes on the validation photos. */
export const shownFrom = 0.6;

export interface ClassResult {
  readonly name: string;
  readonly objects: number;
  /** Average precision at an overlap of 0.5, of 0.75, and over 0.5 to 0.95. */
  readonly ap50: number;
  readonly ap75: number;
  readonly ap: number;
  /** Of the boxes that are shown. */
  readonly precision: number;
  readonly recall: number;
}
export interface Results {
  readonly map50: number;
  readonly map75: number;
  readonly map: number;
  readonly classes: readonly ClassResult[];
}

/** Boxes in pixels of the original photo. */
export function truthOf({ boxes, labels, image, width, height }: Photo): { readonly boxes: Float32Array; readonly labels: Int32Array } {
  return { labels, boxes: boxes.map((v, k) => v * (k % 2 === 0 ? width / image.width : height / image.height)) };
}

/** How many of the boxes of a class that are shown lie on an object of their own, best first. */
function hits(found: Found, truth: ReturnType<typeof truthOf>, label: number): { readonly hit: number; readonly shown: number } {
  const rows = (labels: Int32Array): number[] => Array.from(labels.keys()).filter((i) => labels[i] === label);
  const own = rows(found.labels).filter((i) => found.scores[i] >= shownFrom);
  const objects = rows(truth.labels);
  if (own.length === 0 || objects.length === 0) return { hit: 0, shown: own.length };
  const pick = (boxes: Float32Array, at: readonly number[]): Float32Array =>
    Float32Array.from(at.flatMap((i) => [...boxes.subarray(4 * i, 4 * i + 4)]));
  const overlap = scope(() =>
    boxIou(
      tensor(pick(found.boxes, own), { shape: [own.length, 4] }),
      tensor(pick(truth.boxes, objects), { shape: [objects.length, 4] }),
    ).dataSync(),
  );
  const free = new Set(objects.keys());
  let hit = 0;
  for (let i = 0; i < own.length; i++) {
    let best = -1;
    for (const k of free)
      if (Number(overlap[i * objects.length + k]) >= (best < 0 ? 0.5 : Number(overlap[i * objects.length + best]))) best = k;
    if (best >= 0 && free.delete(best)) hit++;
  }
  return { hit, shown: own.length };
}

export function evaluate(found: readonly Found[], photos: readonly Photo[], classNames: readonly string[]): Results {
  const measure = new MeanAveragePrecision();
  const truths = photos.map(truthOf);
  measure.update(found, truths);
  const { map50, map75, map } = measure.compute();
  const perClass = measure.perClass();
  const classes = classNames.flatMap((name, label): ClassResult[] => {
    const result = perClass.get(label);
    if (result === undefined) return [];
    const objects = truths.reduce((n, { labels }) => n + labels.filter((l) => l === label).length, 0);
    const [hit, shown] = found.reduce(
      ([a, b], one, i) => {
        const counts = hits(one, truths[i], label);
        return [a + counts.hit, b + counts.shown];
      },
      [0, 0],
    );
    return [
      { name, objects, ap50: result.map50, ap75: result.map75, ap: result.map, precision: hit / Math.max(1, shown), recall: hit / objects },
    ];
  });
  return { map50, map75, map, classes };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const columns = ['class', 'objects', 'AP@0.5', 'AP@0.75', 'AP@[.5:.95]', `precision from ${shownFrom}`, `recall from ${shownFrom}`];

export function resultRows({ classes, map50, map75, map }: Results): (string | number)[][] {
  return [
    ...classes.map((c) => [c.name, c.objects, percent(c.ap50), percent(c.ap75), percent(c.ap), percent(c.precision), percent(c.recall)]),
    ['mean', classes.reduce((n, c) => n + c.objects, 0), percent(map50), percent(map75), percent(map), '', ''],
  ];
}

export function resultText(results: Results): string {
  const rows = [columns, ...resultRows(results).map((row) => row.map(String))];
  const widths = columns.map((_, k) => Math.max(...rows.map((row) => row[k].length)));
  return rows
    .map((row) =>
      row
        .map((text, k) => (k === 0 ? text.padEnd(widths[k]) : text.padStart(widths[k])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The photo with what was found. */
export function annotated(image: ImageData8, found: Found, classNames: readonly string[]): ImageData8 {
  const shown = Array.from(found.scores.keys()).filter((i) => found.scores[i] >= shownFrom);
  return drawBoxes(image, Float32Array.from(shown.flatMap((i) => [...found.boxes.subarray(4 * i, 4 * i + 4)])), {
    labels: shown.map((i) => found.labels[i]),
    names: shown.map((i) => `${classNames[found.labels[i]]} ${Math.round(100 * found.scores[i])}`),
  });
}

/** The truth on the left, what was found on the right. */
export function sideBySide(image: ImageData8, photo: Photo, found: Found, classNames: readonly string[]): ImageData8 {
  const truth = truthOf(photo);
  const left = drawBoxes(image, truth.boxes, { labels: truth.labels, names: Array.from(truth.labels, (label) => classNames[label]) });
  return imageGrid([left, annotated(image, found, classNames)], 2, 4);
}

export function sections(results: Results, pictures: readonly SampleImage[]): ReportSection[] {
  return [
    { kind: 'table', title: 'Held-out photos', table: { columns, rows: resultRows(results) } },
    {
      kind: 'images',
      title: 'Truth and detections',
      note: 'Left: the boxes of the data. Right: what was found, with the score in percent.',
      images: pictures,
      size: 960,
    },
  ];
}
