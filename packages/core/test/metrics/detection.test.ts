/** Detection measures agree with pycocotools. */
import { describe, expect, test } from 'vitest';
import { ArgumentError, ShapeError } from '../../src/errors.js';
import {
  type DetectionPrediction,
  type DetectionResult,
  type DetectionTarget,
  MeanAveragePrecision,
  type MetricState,
} from '../../src/metrics/index.js';
import { tensor } from '../../src/ops/create.js';
import { scope } from '../../src/tensor/scope.js';
import file from '../reference/detection.json' with { type: 'json' };
import { expectClose } from './support.js';

interface ImageJson {
  readonly boxes: readonly (readonly number[])[];
  readonly labels: readonly number[];
  readonly crowd: readonly number[];
  readonly area: readonly number[];
  readonly found: readonly (readonly number[])[];
  readonly scores: readonly number[];
  readonly foundLabels: readonly number[];
}
interface DetectionCase {
  readonly name: string;
  readonly images: readonly ImageJson[];
  readonly expected: {
    readonly all: readonly number[];
    readonly perClass: readonly (readonly number[])[];
    readonly classes: readonly number[];
  };
}
const cases = file.cases as unknown as readonly DetectionCase[];

const predictionOf = (image: ImageJson): DetectionPrediction => ({ boxes: image.found, scores: image.scores, labels: image.foundLabels });
const targetOf = ({ boxes, labels, crowd, area }: ImageJson): DetectionTarget => ({ boxes, labels, crowd, area });
/** The twelve numbers in COCO's order. */
const stats = (r: DetectionResult): number[] => [
  r.map,
  r.map50,
  r.map75,
  r.mapSmall,
  r.mapMedium,
  r.mapLarge,
  r.mar1,
  r.mar10,
  r.mar100,
  r.marSmall,
  r.marMedium,
  r.marLarge,
];

describe('mean average precision agrees with pycocotools', () => {
  for (const { name, images, expected } of cases) {
    test(`${name} (${images.length} images)`, () => {
      const metric = new MeanAveragePrecision({ boxFormat: 'xywh' });
      metric.update(images.map(predictionOf), images.map(targetOf));
      expectClose(stats(metric.compute()), expected.all, name);
      const perClass = metric.perClass();
      expect([...perClass.keys()]).toEqual(expected.classes);
      expected.classes.forEach((k, i) => {
        const result = perClass.get(k);
        expectClose(result === undefined ? [] : stats(result), expected.perClass[i], `${name}, class ${k}`);
      });
    });
  }
  test('image by image as all at once', () => {
    const { images, expected } = cases[0];
    let metric = new MeanAveragePrecision({ boxFormat: 'xywh' });
    for (const image of images) {
      // Through a checkpoint after each.
      const next = new MeanAveragePrecision({ boxFormat: 'xywh' });
      next.loadStateDict(JSON.parse(JSON.stringify(metric.stateDict())) as MetricState);
      next.update([predictionOf(image)], [targetOf(image)]);
      metric = next;
    }
    expectClose(stats(metric.compute()), expected.all, 'one by one');
    metric.reset();
    expect(metric.compute().map).toBe(-1);
  });
});

describe('detections', () => {
  test('may be tensors, in other box formats', () => {
    scope(() => {
      const found = { scores: tensor([0.9]), labels: tensor([0], { dtype: 'int64' }) };
      const wanted = { labels: tensor([0], { dtype: 'int64' }) };
      const values = (['xyxy', 'xywh', 'cxcywh'] as const).map((boxFormat) => {
        const box = { xyxy: [10, 20, 50, 80], xywh: [10, 20, 40, 60], cxcywh: [30, 50, 40, 60] }[boxFormat];
        const metric = new MeanAveragePrecision({ boxFormat });
        metric.update([{ ...found, boxes: tensor([box]) }], [{ ...wanted, boxes: tensor([box]) }]);
        return metric.compute().map;
      });
      values.forEach((v) => expect(v).toBeCloseTo(1, 9));
    });
  });
  test('other thresholds and numbers of detections have names of their own', () => {
    const metric = new MeanAveragePrecision({ iouThresholds: [0.3], maxDetections: [1, 2] });
    metric.update(
      [
        {
          boxes: [
            [0, 0, 10, 4],
            [0, 0, 10, 10],
          ],
          scores: [0.9, 0.8],
          labels: [1, 1],
        },
      ],
      [{ boxes: [[0, 0, 10, 10]], labels: [1] }],
    );
    const result = metric.compute();
    // At a threshold of 0.3 the first takes the object, and the better one after it is a false alarm.
    expect(result.map).toBeCloseTo(1, 9);
    expect([result.mar1, result.mar2, result.map50]).toEqual([1, 1, -1]);
  });
  test('that do not fit together are refused', () => {
    const metric = new MeanAveragePrecision();
    expect(() => metric.update([], [{ boxes: [], labels: [] }])).toThrow(ShapeError);
    expect(() => metric.update([{ boxes: [[0, 0, 1]], scores: [1], labels: [0] }], [{ boxes: [], labels: [] }])).toThrow(ShapeError);
    expect(() => metric.update([{ boxes: [[0, 0, 1, 1]], scores: [], labels: [0] }], [{ boxes: [], labels: [] }])).toThrow(ShapeError);
    expect(() => new MeanAveragePrecision({ iouThresholds: [] })).toThrow(ArgumentError);
  });
});
