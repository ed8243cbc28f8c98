/** Mean average precision of detections by the rules of the COCO evaluation (Lin et al., arXiv:1405.0312). */
import { ArgumentError, ShapeError } from '../errors.js';
import type { BoxFormat } from '../ops/boxes.js';
import { Tensor } from '../tensor/tensor.js';
import { type Metric, type MetricState, numbersOf } from './metric.js';

/** Numbers as a tensor or a plain array. */
type Numbers = Tensor | ArrayLike<number>;
/** Boxes [N, 4] as a tensor, rows, or one flat array. */
type Boxes = Tensor | readonly (readonly number[])[] | ArrayLike<number>;

/** What was found in one image. */
export interface DetectionPrediction {
  readonly boxes: Boxes;
  /** Confidence of each box. */
  readonly scores: Numbers;
  /** Class number of each box. */
  readonly labels: Numbers;
}
/** What is in one image. */
export interface DetectionTarget {
  readonly boxes: Boxes;
  readonly labels: Numbers;
  /** Boxes around many objects: matched by any number of predictions, which then count neither way. */
  readonly crowd?: Numbers | readonly boolean[];
  /** Area of each object (of its mask, for example), which decides on small, medium and large. Default: that of the box. */
  readonly area?: Numbers;
}

export interface DetectionOptions {
  /** Default 'xyxy'. */
  readonly boxFormat?: BoxFormat;
  /** Overlaps at which a box counts as found. Default 0.5, 0.55 ... 0.95. */
  readonly iouThresholds?: readonly number[];
  /** Boxes an image that count, best first; rising. Default 1, 10, 100. */
  readonly maxDetections?: readonly number[];
}

interface Found {
  /** x, y, width, height. */
  readonly box: readonly [number, number, number, number];
  readonly score: number;
}
interface Wanted {
  readonly box: Found['box'];
  readonly area: number;
  readonly crowd: boolean;
}
interface Image {
  readonly found: ReadonlyMap<number, readonly Found[]>;
  readonly wanted: ReadonlyMap<number, readonly Wanted[]>;
}

const areaRanges = { all: [0, 1e10], small: [0, 32 ** 2], medium: [32 ** 2, 96 ** 2], large: [96 ** 2, 1e10] } as const;
type AreaName = keyof typeof areaRanges;
const recallPoints = Array.from({ length: 101 }, (_, i) => (i === 100 ? 1 : i * 0.01));
const cocoThresholds = Array.from({ length: 10 }, (_, i) => (i === 9 ? 0.95 : 0.5 + i * ((0.95 - 0.5) / 9)));

function flat(values: Numbers | Boxes | readonly boolean[] | undefined): number[] {
  if (values === undefined) return [];
  if (values instanceof Tensor) return Array.from(numbersOf(values));
  return Array.from(values as ArrayLike<number | boolean | readonly number[]>).flatMap((v) => (typeof v === 'object' ? [...v] : Number(v)));
}

/** Row i of flat boxes as x, y, width, height. */
function boxAt(boxes: readonly number[], i: number, format: BoxFormat): Found['box'] {
  const [a, b, c, d] = boxes.slice(4 * i, 4 * i + 4);
  switch (format) {
    case 'xyxy':
      return [a, b, c - a, d - b];
    case 'xywh':
      return [a, b, c, d];
    case 'cxcywh':
      return [a - c / 2, b - d / 2, c, d];
    default:
      throw new ArgumentError(`the box format '${String(format satisfies never)}' does not exist`, { op: 'MeanAveragePrecision' });
  }
}

function grouped<T>(labels: readonly number[], make: (i: number) => T): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  labels.forEach((label, i) => {
    const group = groups.get(label);
    if (group) group.push(make(i));
    else groups.set(label, [make(i)]);
  });
  return groups;
}

/** Intersection over union; over the area of the found box where the wanted one is a crowd. */
function overlap(found: Found['box'], wanted: Found['box'], crowd: boolean): number {
  const [x, y, w, h] = found;
  const [u, v, width, height] = wanted;
  const across = Math.min(x + w, u + width) - Math.max(x, u);
  const down = Math.min(y + h, v + height) - Math.max(y, v);
  if (across <= 0 || down <= 0) return 0;
  const inter = across * down;
  return inter / (crowd ? w * h : w * h + width * height - inter);
}

/** How the detections of one class in one image fared, for one range of areas. */
interface Matched {
  readonly scores: readonly number[];
  /** For each threshold and detection. */
  readonly hit: readonly (readonly boolean[])[];
  readonly ignored: readonly (readonly boolean[])[];
  /** Objects that should be found. */
  readonly objects: number;
}

/** Detections in order of score, each with the free object it overlaps most; objects out of range come last and count neither way. */
function matchImage(
  found: readonly Found[],
  wanted: readonly Wanted[],
  ious: readonly Float64Array[],
  [low, high]: readonly [number, number],
  thresholds: readonly number[],
): Matched {
  const aside = wanted.map((w) => w.crowd || w.area < low || w.area > high);
  const order = wanted.map((_, i) => i).sort((i, j) => Number(aside[i]) - Number(aside[j]));
  const hit: boolean[][] = [];
  const ignored: boolean[][] = [];
  for (const threshold of thresholds) {
    const taken = new Uint8Array(wanted.length);
    const hits = new Array<boolean>(found.length).fill(false);
    const ignores = new Array<boolean>(found.length).fill(false);
    found.forEach(({ box }, d) => {
      let best = Math.min(threshold, 1 - 1e-10);
      let match = -1;
      for (const g of order) {
        if (taken[g] && !wanted[g].crowd) continue;
        // What counts is preferred to what does not.
        if (match >= 0 && !aside[match] && aside[g]) break;
        if (ious[d][g] < best) continue;
        best = ious[d][g];
        match = g;
      }
      if (match >= 0) {
        taken[match] = 1;
        hits[d] = true;
        ignores[d] = aside[match];
      } else {
        const area = box[2] * box[3];
        ignores[d] = area < low || area > high;
      }
    });
    hit.push(hits);
    ignored.push(ignores);
  }
  return { scores: found.map((f) => f.score), hit, ignored, objects: aside.filter((a) => !a).length };
}

/** Of one class, range of areas and number of detections: for each threshold. */
interface Accumulated {
  readonly precision: readonly number[];
  readonly recall: readonly number[];
}

/** Precision averaged over 101 recalls, and the recall reached; null without objects. */
function accumulate(images: readonly Matched[], maxDetections: number, thresholds: number): Accumulated | null {
  const objects = images.reduce((sum, m) => sum + m.objects, 0);
  if (objects === 0) return null;
  const all = images.flatMap((image) => image.scores.slice(0, maxDetections).map((score, d) => ({ score, image, d })));
  all.sort((a, b) => b.score - a.score);
  const precision: number[] = [];
  const recall: number[] = [];
  for (let t = 0; t < thresholds; t++) {
    const recalls: number[] = [];
    const precisions: number[] = [];
    let [tp, fp] = [0, 0];
    for (const { image, d } of all) {
      if (!image.ignored[t][d]) {
        if (image.hit[t][d]) tp++;
        else fp++;
      }
      recalls.push(tp / objects);
      precisions.push(tp / (tp + fp + Number.EPSILON));
    }
    for (let i = precisions.length - 1; i > 0; i--) precisions[i - 1] = Math.max(precisions[i - 1], precisions[i]);
    let sum = 0;
    let i = 0;
    for (const point of recallPoints) {
      while (i < recalls.length && recalls[i] < point) i++;
      if (i === recalls.length) break;
      sum += precisions[i];
    }
    precision.push(sum / recallPoints.length);
    recall.push(recalls.at(-1) ?? 0);
  }
  return { precision, recall };
}

const meanOf = (values: readonly number[]): number => (values.length === 0 ? -1 : values.reduce((a, b) => a + b, 0) / values.length);

/** All values are -1 where nothing of that kind was to be found, as in COCO. */
export interface DetectionResult extends Record<string, number> {
  /** Average precision over thresholds 0.5 to 0.95, classes and recalls. */
  readonly map: number;
  /** At threshold 0.5 and 0.75; -1 when they are not among the thresholds. */
  readonly map50: number;
  readonly map75: number;
  /** Of objects below 32 * 32 pixels, up to 96 * 96, and above. */
  readonly mapSmall: number;
  readonly mapMedium: number;
  readonly mapLarge: number;
  readonly marSmall: number;
  readonly marMedium: number;
  readonly marLarge: number;
}

/**
 * COCO's measures of detection: average precision (mAP@[.5:.95], @.5, @.75, by size) and average recall (`mar1`, `mar10`, `mar100`: with so
 * many detections an image; by size). update() takes the predictions and targets of several images, in the same order.
 */
export class MeanAveragePrecision implements Metric<readonly DetectionPrediction[], readonly DetectionTarget[]> {
  readonly name = 'map';
  private readonly format: BoxFormat;
  private readonly thresholds: readonly number[];
  private readonly maxDetections: readonly number[];
  private images: Image[] = [];

  constructor({ boxFormat = 'xyxy', iouThresholds = cocoThresholds, maxDetections = [1, 10, 100] }: DetectionOptions = {}) {
    this.format = boxFormat;
    this.thresholds = iouThresholds;
    this.maxDetections = [...maxDetections].sort((a, b) => a - b);
    if (iouThresholds.length === 0 || maxDetections.length === 0) {
      throw new ArgumentError('an empty list', {
        op: 'MeanAveragePrecision',
        expected: 'at least one threshold and one number of detections',
      });
    }
  }

  update(predictions: readonly DetectionPrediction[], targets: readonly DetectionTarget[]): void {
    const op = 'MeanAveragePrecision';
    if (predictions.length !== targets.length) {
      throw new ShapeError(`predictions of ${predictions.length} images and targets of ${targets.length}`, {
        op,
        received: [predictions.length, targets.length],
        expected: 'as many of the one as of the other',
      });
    }
    const check = (what: string, count: number, values: readonly number[], each: number): void => {
      if (values.length === count * each) return;
      throw new ShapeError(`${values.length} ${what} for ${count} labels`, { op, received: values.length, expected: `${count * each}` });
    };
    const made = predictions.map((prediction, k): Image => {
      const target = targets[k];
      const [boxes, scores, labels] = [flat(prediction.boxes), flat(prediction.scores), flat(prediction.labels)];
      check('numbers of predicted boxes', labels.length, boxes, 4);
      check('scores', labels.length, scores, 1);
      const [wantedBoxes, wantedLabels, crowd, area] = [flat(target.boxes), flat(target.labels), flat(target.crowd), flat(target.area)];
      check('numbers of target boxes', wantedLabels.length, wantedBoxes, 4);
      if (target.crowd !== undefined) check('crowd flags', wantedLabels.length, crowd, 1);
      if (target.area !== undefined) check('areas', wantedLabels.length, area, 1);
      const found = grouped(labels, (i): Found => ({ box: boxAt(boxes, i, this.format), score: scores[i] }));
      for (const group of found.values()) group.sort((a, b) => b.score - a.score);
      const wanted = grouped(wantedLabels, (i): Wanted => {
        const box = boxAt(wantedBoxes, i, this.format);
        return { box, area: area[i] ?? box[2] * box[3], crowd: Boolean(crowd[i]) };
      });
      return { found, wanted };
    });
    this.images.push(...made);
  }

  reset(): void {
    this.images = [];
  }

  /** Each image as lists of numbers: label, box and score of what was found; label, box, area and crowd of what is there. */
  stateDict(): MetricState {
    return this.images.map(({ found, wanted }) => [
      [...found].flatMap(([label, group]) => group.map(({ box, score }) => [label, ...box, score])),
      [...wanted].flatMap(([label, group]) => group.map(({ box, area, crowd }) => [label, ...box, area, Number(crowd)])),
    ]);
  }
  loadStateDict(state: MetricState): void {
    this.images = (state as readonly (readonly [readonly number[][], readonly number[][]])[]).map(([found, wanted]) => {
      const boxOf = (row: readonly number[]): Found['box'] => [row[1], row[2], row[3], row[4]];
      const labels = (rows: readonly (readonly number[])[]): number[] => rows.map(([label]) => label);
      return {
        found: grouped(labels(found), (i): Found => ({ box: boxOf(found[i]), score: found[i][5] })),
        wanted: grouped(labels(wanted), (i): Wanted => ({ box: boxOf(wanted[i]), area: wanted[i][5], crowd: wanted[i][6] === 1 })),
      };
    });
  }

  /** Class numbers of the targets. */
  private classes(): number[] {
    return [...new Set(this.images.flatMap((image) => [...image.wanted.keys()]))].sort((a, b) => a - b);
  }

  /** What each range of areas and number of detections gives, for one class. */
  private evaluate(label: number): { area: AreaName; maxDetections: number; result: Accumulated | null }[] {
    const most = this.maxDetections[this.maxDetections.length - 1];
    const images = this.images
      .map(({ found, wanted }) => ({ found: (found.get(label) ?? []).slice(0, most), wanted: wanted.get(label) ?? [] }))
      .filter(({ found, wanted }) => found.length + wanted.length > 0)
      .map((image) => ({
        ...image,
        ious: image.found.map((f) => Float64Array.from(image.wanted, (w) => overlap(f.box, w.box, w.crowd))),
      }));
    return (Object.keys(areaRanges) as AreaName[]).flatMap((area) => {
      const matched = images.map(({ found, wanted, ious }) => matchImage(found, wanted, ious, areaRanges[area], this.thresholds));
      return this.maxDetections.map((maxDetections) => ({
        area,
        maxDetections,
        result: accumulate(matched, maxDetections, this.thresholds.length),
      }));
    });
  }

  private summarize(labels: readonly number[]): DetectionResult {
    const most = this.maxDetections[this.maxDetections.length - 1];
    const cells = labels.flatMap((label) => this.evaluate(label));
    const mean = (kind: keyof Accumulated, area: AreaName, maxDetections: number, threshold?: number): number => {
      const at = threshold === undefined ? -1 : this.thresholds.findIndex((t) => Math.abs(t - threshold) < 1e-9);
      if (threshold !== undefined && at < 0) return -1;
      return meanOf(
        cells
          .filter((c) => c.area === area && c.maxDetections === maxDetections)
          .flatMap(({ result }) => (result === null ? [] : at < 0 ? result[kind] : [result[kind][at]])),
      );
    };
    return {
      map: mean('precision', 'all', most),
      map50: mean('precision', 'all', most, 0.5),
      map75: mean('precision', 'all', most, 0.75),
      mapSmall: mean('precision', 'small', most),
      mapMedium: mean('precision', 'medium', most),
      mapLarge: mean('precision', 'large', most),
      ...Object.fromEntries(this.maxDetections.map((n) => [`mar${n}`, mean('recall', 'all', n)])),
      marSmall: mean('recall', 'small', most),
      marMedium: mean('recall', 'medium', most),
      marLarge: mean('recall', 'large', most),
    };
  }

  compute(): DetectionResult {
    return this.summarize(this.classes());
  }
  /** The measures of each class by itself. */
  perClass(): Map<number, DetectionResult> {
    return new Map(this.classes().map((label) => [label, this.summarize([label])]));
  }
}
