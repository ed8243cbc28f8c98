/** Measures of a classifier from plain arrays of class numbers. */
import { ArgumentError, ShapeError } from '../errors.js';

function checkLengths(op: string, labels: ArrayLike<number>, predictions: ArrayLike<number>): void {
  if (labels.length !== predictions.length) {
    throw new ShapeError(`there are ${labels.length} labels and ${predictions.length} predictions`, {
      op,
      received: [labels.length, predictions.length],
      expected: 'as many of the one as of the other',
    });
  }
}

/** Share of predictions equal to their label; NaN when there are none. */
export function accuracy(labels: ArrayLike<number>, predictions: ArrayLike<number>): number {
  checkLengths('accuracy', labels, predictions);
  let correct = 0;
  for (let i = 0; i < labels.length; i++) if (labels[i] === predictions[i]) correct++;
  return correct / labels.length;
}

/**
 * `matrix[label][prediction]` counts the items of that class predicted as that class.
 * @throws ArgumentError for a class outside 0 .. numClasses-1.
 */
export function confusionMatrix(labels: ArrayLike<number>, predictions: ArrayLike<number>, numClasses: number): number[][] {
  const op = 'confusionMatrix';
  checkLengths(op, labels, predictions);
  const matrix = Array.from({ length: numClasses }, () => new Array<number>(numClasses).fill(0));
  for (let i = 0; i < labels.length; i++) {
    const row = matrix[labels[i]];
    if (row?.[predictions[i]] === undefined) {
      throw new ArgumentError(`item ${i} has label ${labels[i]} and prediction ${predictions[i]}`, {
        op,
        received: [labels[i], predictions[i]],
        expected: `whole numbers from 0 to ${numClasses - 1}`,
      });
    }
    row[predictions[i]]++;
  }
  return matrix;
}

export interface ClassMetrics {
  /** Of the items predicted as this class, the share that is of it; 0 when none was predicted. */
  readonly precision: number;
  /** Of the items of this class, the share predicted as it; 0 when there is none. */
  readonly recall: number;
  /** Harmonic mean of precision and recall; 0 when both are. */
  readonly f1: number;
  /** Items of this class. */
  readonly support: number;
}

/** Per-class measures from a confusion matrix (rows are labels). */
export function classMetrics(matrix: readonly (readonly number[])[]): ClassMetrics[] {
  return matrix.map((row, k) => {
    const support = row.reduce((sum, count) => sum + count, 0);
    const predicted = matrix.reduce((sum, other) => sum + other[k], 0);
    const hits = row[k];
    return {
      precision: predicted ? hits / predicted : 0,
      recall: support ? hits / support : 0,
      f1: support + predicted ? (2 * hits) / (support + predicted) : 0,
      support,
    };
  });
}

/** Unweighted mean over the classes, with the sum of their supports. */
export function macroAverage(classes: readonly ClassMetrics[]): ClassMetrics {
  const mean = (pick: (c: ClassMetrics) => number): number => classes.reduce((sum, c) => sum + pick(c), 0) / classes.length;
  return {
    precision: mean((c) => c.precision),
    recall: mean((c) => c.recall),
    f1: mean((c) => c.f1),
    support: classes.reduce((sum, c) => sum + c.support, 0),
  };
}
