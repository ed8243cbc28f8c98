/** Metrics do not depend on how samples were cut into batches. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, DTypeError, ShapeError } from '../../src/errors.js';
import * as m from '../../src/metrics/index.js';
import { tensor } from '../../src/ops/create.js';
import { randint, randn } from '../../src/ops/random.js';
import { softmax } from '../../src/ops/statistics.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { measure, measureInPieces } from './support.js';

type Kind = 'scores' | 'score' | 'labels' | 'values' | 'queries' | 'text';
const made: Readonly<Record<Exclude<Kind, 'text'>, (n: number) => [Tensor, Tensor]>> = {
  scores: (n) => [softmax(randn([n, 4]), 1), randint(0, 4, [n])],
  score: (n) => [softmax(randn([n, 2]), 1).select(1, 0), randint(0, 2, [n])],
  labels: (n) => [randint(0, 3, [n, 2]), randint(0, 3, [n, 2])],
  values: (n) => [randn([n, 2]), randn([n, 2])],
  queries: (n) => [randn([n, 5]), randint(0, 3, [n, 5])],
};
const metrics: readonly [Exclude<Kind, 'text'>, () => m.Metric][] = [
  ['scores', () => new m.Accuracy()],
  ['scores', () => new m.Accuracy({ topK: 2 })],
  ['scores', () => new m.F1Score({ average: 'weighted' })],
  ['labels', () => new m.Precision({ average: 'none', numClasses: 3 })],
  ['labels', () => new m.Recall()],
  ['score', () => new m.Specificity()],
  ['scores', () => new m.ConfusionMatrix()],
  ['labels', () => new m.CohenKappa()],
  ['labels', () => new m.MatthewsCorrCoef()],
  ['labels', () => new m.MeanIoU()],
  ['score', () => new m.RocAuc()],
  ['scores', () => new m.AveragePrecision({ average: 'weighted' })],
  ['scores', () => new m.CalibrationError()],
  ['values', () => new m.MeanAbsoluteError()],
  ['values', () => new m.RootMeanSquaredError()],
  ['values', () => new m.R2Score()],
  ['values', () => new m.ExplainedVariance()],
  ['values', () => new m.PearsonCorrelation()],
  ['values', () => new m.SpearmanCorrelation()],
  ['queries', () => new m.NDCG({ k: 3 })],
  ['queries', () => new m.MeanReciprocalRank()],
  ['scores', () => new m.Perplexity()],
];

describe('a metric over pieces', () => {
  for (const [kind, make] of metrics) {
    const { name } = make();
    test(`is that over the whole: ${name} of ${kind}`, () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 2, max: 24 }),
          fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 8 }),
          fc.nat(),
          (n, cuts, seed) =>
            scope(() => {
              manualSeed(seed);
              const [p, t] = made[kind](n);
              const metric = make();
              const whole = measure(metric, p, t);
              const pieces = measureInPieces(metric, p, t, cuts);
              expect(pieces.length).toBe(whole.length);
              // Of float32 losses, whose last bits depend on the shape.
              whole.forEach((v, i) =>
                Number.isNaN(v) ? expect(pieces[i]).toBeNaN() : expect(pieces[i]).toBeCloseTo(v, name === 'perplexity' ? 5 : 9),
              );
            }),
        ),
        { numRuns: 15 },
      );
    });
  }
});

describe('the state of a metric', () => {
  for (const [kind, make] of metrics) {
    const { name } = make();
    test(`is JSON, and another one goes on from it: ${name} of ${kind}`, () => {
      scope(() => {
        manualSeed(2);
        const [first, second] = [made[kind](7), made[kind](5)];
        const metric = make();
        void metric.update(...first);
        const saved: unknown = JSON.parse(JSON.stringify(metric.stateDict?.()));
        const other = make();
        other.loadStateDict?.(saved as m.MetricState);
        for (const one of [metric, other]) void one.update(...second);
        expect(other.compute()).toEqual(metric.compute());
        expect(() => other.loadStateDict?.({})).toThrow(ArgumentError);
      });
    });
  }
});

describe('metrics', () => {
  test('forget all on reset, and give NaN for nothing', () => {
    scope(() => {
      for (const [kind, make] of metrics) {
        const metric = make();
        void metric.update(...made[kind](6));
        metric.reset();
        const values = metric.compute();
        if (typeof values === 'number') {
          // The agreement of nothing with nothing has no value either; the correlation of nothing is 0 as that of constants.
          if (metric.name !== 'matthews') expect(values, metric.name).toBeNaN();
        } else for (const v of Object.values(values)) expect(v, metric.name).toBe(0);
      }
    });
  });
  test('take logits with a threshold of 0, and an axis of one score', () => {
    scope(() => {
      const logits = tensor([[2], [-1], [0.4], [-3]]);
      const target = tensor([1, 0, 0, 0], { dtype: 'int64' });
      expect(measure(new m.Accuracy({ threshold: 0 }), logits, target)).toEqual([0.75]);
      expect(measure(new m.Accuracy(), logits, target)).toEqual([1]);
    });
  });
  test('in a collection are updated together and named', async () => {
    const p = tensor([
      [0.9, 0.1],
      [0.2, 0.8],
      [0.6, 0.4],
    ]);
    const t = tensor([0, 1, 1], { dtype: 'int64' });
    const collection = new m.MetricCollection([new m.Accuracy(), new m.F1Score({ average: 'none' })]);
    await collection.update(p, t);
    const values = collection.compute();
    expect(Object.keys(values)).toEqual(['accuracy', 'f1.0', 'f1.1']);
    expect(values.accuracy).toBeCloseTo(2 / 3, 12);
    collection.reset();
    expect(collection.compute().accuracy).toBeNaN();
    await collection.update(p, t);
    const other = new m.MetricCollection([new m.Accuracy(), new m.F1Score({ average: 'none' })]);
    other.loadStateDict(JSON.parse(JSON.stringify(collection.stateDict())) as m.MetricState);
    expect(other.compute()).toEqual(values);
    const named = new m.MetricCollection({ top1: new m.Accuracy() });
    await named.update(p, t);
    expect(named.compute().top1).toBeCloseTo(2 / 3, 12);
    p.dispose();
    t.dispose();
  });
  test('a running mean weighs batches', () => {
    const loss = new m.RunningMean('loss');
    expect(loss.compute()).toBeNaN();
    loss.update(1, 30);
    scope(() => loss.update(tensor(3), 10));
    expect(loss.compute()).toBeCloseTo(1.5, 12);
    loss.reset();
    expect(loss.compute()).toBeNaN();
  });
  test('refuse what does not fit', () => {
    scope(() => {
      const scores = tensor([
        [0.1, 0.9],
        [0.5, 0.5],
      ]);
      const int = (values: number[]): Tensor => tensor(values, { dtype: 'int64' });
      expect(() => new m.Accuracy().update(scores, int([1, 0, 1]))).toThrow(ShapeError);
      expect(() => new m.Accuracy({ numClasses: 2 }).update(scores, int([1, 2]))).toThrow(ArgumentError);
      expect(() => new m.Accuracy().update(scores, int([1, -1]))).toThrow(ArgumentError);
      expect(() => new m.Accuracy({ topK: 0 })).toThrow(ArgumentError);
      expect(() => new m.RocAuc().update(int([1, 0]), int([1, 0]))).toThrow(DTypeError);
      expect(() => new m.CalibrationError().update(tensor([2, 3]), int([1, 0]))).toThrow(ArgumentError);
      expect(() => new m.MeanSquaredError().update(scores, tensor([1, 2]))).toThrow(ShapeError);
      expect(() => new m.NDCG({ k: 0 })).toThrow(ArgumentError);
      const labels = new m.ConfusionMatrix({ task: 'multilabel' });
      labels.update(
        scores,
        tensor(
          [
            [1, 0],
            [0, 1],
          ],
          { dtype: 'int64' },
        ),
      );
      expect(() => labels.matrix()).toThrow(ArgumentError);
    });
  });
});
