import { describe, expect, it } from 'vitest';
import { ArgumentError, ShapeError } from '../../src/errors.js';
import { accuracy, classMetrics, confusionMatrix, macroAverage } from '../../src/metrics/index.js';

const labels = [0, 0, 0, 1, 1, 2];
const predictions = [0, 1, 0, 1, 1, 0];

describe('classification metrics', () => {
  it('count hits', () => {
    expect(accuracy(labels, predictions)).toBeCloseTo(4 / 6);
    expect(accuracy([], [])).toBeNaN();
    expect(() => accuracy([1], [])).toThrow(ShapeError);
  });

  it('fill a confusion matrix with labels as rows', () => {
    expect(confusionMatrix(labels, predictions, 3)).toEqual([
      [2, 1, 0],
      [0, 2, 0],
      [1, 0, 0],
    ]);
    expect(() => confusionMatrix([3], [0], 3)).toThrow(ArgumentError);
    expect(() => confusionMatrix([0], [-1], 3)).toThrow(ArgumentError);
    expect(() => confusionMatrix([0.5], [0], 3)).toThrow(ArgumentError);
  });

  it('give precision, recall and F1, 0 where nothing was predicted', () => {
    const classes = classMetrics(confusionMatrix(labels, predictions, 4));
    expect(classes[0]).toEqual({ precision: 2 / 3, recall: 2 / 3, f1: 2 / 3, support: 3 });
    expect(classes[1]).toEqual({ precision: 2 / 3, recall: 1, f1: 0.8, support: 2 });
    expect(classes[2]).toEqual({ precision: 0, recall: 0, f1: 0, support: 1 });
    expect(classes[3]).toEqual({ precision: 0, recall: 0, f1: 0, support: 0 });
    const mean = macroAverage(classes);
    expect(mean.recall).toBeCloseTo((2 / 3 + 1) / 4);
    expect(mean.support).toBe(6);
  });
});
