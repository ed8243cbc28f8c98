/** How good masks are: against those made from boxes, and against the boxes themselves. */
import { tensor } from 'trireme';
import { drawBoxes, drawMask, type ImageData8, imageGrid, resizeImage } from 'trireme/data/vision';
import { ConfusionMatrix } from 'trireme/metrics';
import { classNames, regions, unknown } from './masks.js';
import type { Photo } from './photos.js';

export interface ClassResult {
  readonly name: string;
  readonly iou: number;
  readonly dice: number;
}
/** Regions of a class against the boxes that the data has for it: a region finds the box that it overlaps by at least a half. */
export interface BoxResult {
  readonly name: string;
  readonly boxes: number;
  readonly regions: number;
  readonly found: number;
}
export interface Results {
  readonly meanIou: number;
  readonly meanDice: number;
  /** Share of the known pixels that are right. */
  readonly accuracy: number;
  readonly classes: readonly ClassResult[];
  readonly boxes: readonly BoxResult[];
  /** Rows: the class by the box mask. */
  readonly counts: readonly (readonly number[])[];
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

export function evaluate(masks: readonly Uint8Array[], photos: readonly Photo[]): Results {
  const size = classNames.length;
  const matrix = new ConfusionMatrix({ numClasses: size, ignoreIndex: unknown });
  masks.forEach((mask, i) => {
    using predicted = tensor(Int32Array.from(mask));
    using wanted = tensor(Int32Array.from(photos[i].mask));
    matrix.update(predicted, wanted);
  });
  const counts = matrix.matrix();
  const classes = classNames.map((name, c): ClassResult => {
    const hit = counts[c][c];
    const wanted = counts[c].reduce((a, b) => a + b, 0);
    const predicted = counts.reduce((sum, row) => sum + row[c], 0);
    return { name, iou: hit / (wanted + predicted - hit), dice: (2 * hit) / (wanted + predicted) };
  });
  const known = counts.flat().reduce((a, b) => a + b, 0);
  return {
    meanIou: mean(classes.map((c) => c.iou)),
    meanDice: mean(classes.map((c) => c.dice)),
    accuracy: classes.reduce((sum, _, c) => sum + counts[c][c], 0) / known,
    classes,
    // Red cells touch and make one region, so only these two can be told apart.
    boxes: [2, 3].map((c) => againstBoxes(masks, photos, c)),
    counts,
  };
}

/** Regions of fewer pixels are specks. */
const leastPixels = 30;

function againstBoxes(masks: readonly Uint8Array[], photos: readonly Photo[], value: number): BoxResult {
  let [boxes, count, found] = [0, 0, 0];
  masks.forEach((mask, n) => {
    const { image, labels, boxes: all } = photos[n];
    const wanted = Array.from(labels.keys()).flatMap((k) => (labels[k] === value - 1 ? [all.subarray(4 * k, 4 * k + 4)] : []));
    const own = regions(image.width, image.height, (i) => mask[i] === value).filter(({ pixels }) => pixels.length >= leastPixels);
    boxes += wanted.length;
    count += own.length;
    found += wanted.filter((box) => own.some((region) => overlap(box, region.box) >= 0.5)).length;
  });
  return { name: classNames[value], boxes, regions: count, found };
}

function overlap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (box: ArrayLike<number>): number => (box[2] - box[0]) * (box[3] - box[1]);
  return (width * height) / (area(a) + area(b) - width * height);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
export const classColumns = ['class', 'IoU', 'Dice'];
export function classRows({ classes, meanIou, meanDice }: Results): string[][] {
  return [...classes.map(({ name, iou, dice }) => [name, percent(iou), percent(dice)]), ['mean', percent(meanIou), percent(meanDice)]];
}
export const boxColumns = ['class', 'boxes', 'regions', 'boxes found', 'share'];
export function boxRows({ boxes }: Results): (string | number)[][] {
  return boxes.map((b) => [b.name, b.boxes, b.regions, b.found, percent(b.found / b.boxes)]);
}
export function tableText(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const all = [columns, ...rows.map((row) => row.map(String))];
  const widths = columns.map((_, k) => Math.max(...all.map((row) => row[k].length)));
  return all.map((row) => row.map((text, k) => (k === 0 ? text.padEnd(widths[k]) : text.padStart(widths[k]))).join('  ')).join('\n');
}

/** Photo with boxes, the mask made of them (unknown pixels in a colour of their own), and the network's. */
export function sideBySide({ image, boxes, labels, mask }: Photo, predicted: Uint8Array): ImageData8 {
  const shown = mask.map((v) => (v === unknown ? classNames.length : v));
  const parts = [drawBoxes(image, boxes, { labels }), drawMask(image, shown, 0.6), drawMask(image, predicted, 0.6)];
  return imageGrid(
    parts.map((part) => resizeImage(part, 2 * image.width, 2 * image.height, { interpolation: 'nearest' })),
    3,
    4,
  );
}
