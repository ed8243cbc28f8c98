/** Metrics agree with scikit-learn, SciPy and torchmetrics. */
import { describe, expect, test } from 'vitest';
import * as m from '../../src/metrics/index.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { numbersOf, tensorOf } from '../ops/cases.js';
import file from '../reference/metrics.json' with { type: 'json' };
import { caseOf, expectClose, inputOf, type MetricCase, measure } from './support.js';

type Entries = Readonly<Record<string, m.Metric>>;

/** Each metric gives the value that was recorded under its key. */
function checkAll(c: MetricCase, prediction: string, target: string, metrics: Entries, tolerance?: number): void {
  scope(() => {
    const [p, t] = [tensorOf(inputOf(c, prediction)), tensorOf(inputOf(c, target))];
    for (const [key, metric] of Object.entries(metrics)) expectClose(measure(metric, p, t), c.expected[key], key, tolerance);
  });
}
const averages = ['micro', 'macro', 'weighted', 'none'] as const;
type Made = new (options: m.ClassMetricOptions) => m.Metric;
const everyAverage = (name: string, metric: Made, of: readonly m.Average[] = averages, options: m.ClassMetricOptions = {}): Entries =>
  Object.fromEntries(of.map((average) => [`${name}.${average}`, new metric({ ...options, average })]));
class F2 extends m.FBetaScore {
  constructor(options: m.ClassMetricOptions) {
    super({ ...options, beta: 2 });
  }
}

describe('classification', () => {
  test('of several classes', () => {
    const c = caseOf(file, 'classes');
    const three = ['micro', 'macro', 'weighted'] as const;
    checkAll(c, 'scores', 'target', {
      ...everyAverage('precision', m.Precision),
      ...everyAverage('recall', m.Recall),
      ...everyAverage('f1', m.F1Score),
      ...everyAverage('jaccard', m.JaccardIndex),
      ...everyAverage('f2', F2, three),
      accuracy: new m.Accuracy(),
      top2: new m.Accuracy({ topK: 2 }),
      top3: new m.Accuracy({ topK: 3 }),
      balancedAccuracy: new m.BalancedAccuracy(),
      kappa: new m.CohenKappa(),
      'kappa.linear': new m.CohenKappa({ weights: 'linear' }),
      'kappa.quadratic': new m.CohenKappa({ weights: 'quadratic' }),
      matthews: new m.MatthewsCorrCoef(),
      hamming: new m.HammingLoss(),
      confusion: new m.ConfusionMatrix(),
      'confusion.true': new m.ConfusionMatrix({ normalize: 'true' }),
      'confusion.pred': new m.ConfusionMatrix({ normalize: 'pred' }),
      'confusion.all': new m.ConfusionMatrix({ normalize: 'all' }),
      'ignore2.accuracy': new m.Accuracy({ ignoreIndex: 2 }),
    });
    checkAll(
      c,
      'scores',
      'target',
      {
        'specificity.none': new m.Specificity({ average: 'none' }),
        'specificity.micro': new m.Specificity({ average: 'micro' }),
        'calibration.l1': new m.CalibrationError({ bins: 10 }),
        'calibration.l2': new m.CalibrationError({ bins: 10, norm: 'l2' }),
        'calibration.max': new m.CalibrationError({ bins: 10, norm: 'max' }),
      },
      1e-6,
    );
  });
  test('areas under curves of each class, NaN for one without targets', () => {
    const c = caseOf(file, 'classes');
    scope(() => {
      const [p, t] = [tensorOf(inputOf(c, 'scores')), tensorOf(inputOf(c, 'target'))];
      for (const [key, metric] of [
        ['rocAuc.none', new m.RocAuc({ average: 'none' })],
        ['averagePrecision.none', new m.AveragePrecision({ average: 'none' })],
      ] as const) {
        const values = measure(metric, p, t);
        expectClose(values.slice(0, 4), c.expected[key], key);
        expect(values[4]).toBeNaN();
      }
    });
    checkAll(caseOf(file, 'oneAgainstRest'), 'scores', 'target', {
      'rocAuc.macro': new m.RocAuc(),
      'rocAuc.weighted': new m.RocAuc({ average: 'weighted' }),
      'averagePrecision.macro': new m.AveragePrecision(),
      'averagePrecision.weighted': new m.AveragePrecision({ average: 'weighted' }),
    });
  });
  test('of two classes by one score', () => {
    const c = caseOf(file, 'binary');
    checkAll(c, 'scores', 'target', {
      accuracy: new m.Accuracy(),
      precision: new m.Precision(),
      recall: new m.Recall(),
      f1: new m.F1Score(),
      'f0.5': new m.FBetaScore({ beta: 0.5 }),
      specificity: new m.Specificity(),
      matthews: new m.MatthewsCorrCoef(),
      kappa: new m.CohenKappa(),
      jaccard: new m.JaccardIndex(),
      rocAuc: new m.RocAuc(),
      averagePrecision: new m.AveragePrecision(),
    });
    checkAll(c, 'scores', 'target', { 'calibration.l1': new m.CalibrationError({ bins: 10 }) }, 1e-6);
    const [labels, scores] = [numbersOf(inputOf(c, 'target')), numbersOf(inputOf(c, 'scores'))];
    const roc = m.rocCurve(labels, scores);
    expectClose(roc.fpr, c.expected.fpr, 'fpr');
    expectClose(roc.tpr, c.expected.tpr, 'tpr');
    expectClose(roc.thresholds.slice(1), c.expected.rocThresholds, 'thresholds');
    const pr = m.precisionRecallCurve(labels, scores);
    expectClose(pr.precision, c.expected.prPrecision, 'precision');
    expectClose(pr.recall, c.expected.prRecall, 'recall');
    expectClose(pr.thresholds, c.expected.prThresholds, 'thresholds');
  });
  test('of several labels a sample', () => {
    const three = ['micro', 'macro', 'weighted'] as const;
    const options = { task: 'multilabel' } as const;
    checkAll(
      caseOf(file, 'multilabel'),
      'scores',
      'target',
      {
        ...everyAverage('precision', m.Precision, three, options),
        ...everyAverage('recall', m.Recall, three, options),
        ...everyAverage('f1', m.F1Score, three, options),
        ...everyAverage('f2', F2, three, options),
        ...everyAverage('jaccard', m.JaccardIndex, three, options),
        accuracy: new m.Accuracy(options),
        hamming: new m.HammingLoss(options),
        'rocAuc.macro': new m.RocAuc(),
        'averagePrecision.macro': new m.AveragePrecision(),
      },
      1e-7,
    );
  });
  test('of pixels', () => {
    checkAll(caseOf(file, 'segmentation'), 'scores', 'target', {
      mIoU: new m.MeanIoU(),
      'mIoU.none': new m.MeanIoU({ average: 'none' }),
      dice: new m.DiceScore(),
      accuracy: new m.Accuracy(),
    });
  });
});

test('real values, also far from 0', () => {
  for (const name of ['regression', 'regressionFar']) {
    const c = caseOf(file, name);
    checkAll(c, 'predicted', 'target', {
      mae: new m.MeanAbsoluteError(),
      mse: new m.MeanSquaredError(),
      rmse: new m.RootMeanSquaredError(),
      mape: new m.MeanAbsolutePercentageError(),
      msle: new m.MeanSquaredLogError(),
      r2: new m.R2Score(),
      explainedVariance: new m.ExplainedVariance(),
      pearson: new m.PearsonCorrelation(),
    });
    scope(() => {
      const [a, b] = (c.ranked as Parameters<typeof tensorOf>[0][]).map((t) => tensorOf(t)) as [Tensor, Tensor];
      expectClose(measure(new m.SpearmanCorrelation(), a, b), c.expected.spearman, 'spearman');
    });
  }
});

test('rankings', () => {
  const c = caseOf(file, 'ranking');
  for (const k of [1, 3, 8]) {
    const binary = {
      [`mrr@${k}`]: new m.MeanReciprocalRank({ k }),
      [`hitRate@${k}`]: new m.HitRate({ k }),
      [`precision@${k}`]: new m.RetrievalPrecision({ k }),
      [`recall@${k}`]: new m.RetrievalRecall({ k }),
      [`map@${k}`]: new m.RetrievalMAP({ k }),
    };
    // torchmetrics computes these in float32.
    checkAll(c, 'scores', 'relevance', binary, 1e-6);
    checkAll(c, 'scores', 'graded', { [`ndcg@${k}`]: new m.NDCG({ k }) });
    scope(() => {
      const tied = tensorOf(inputOf(c, 'scores')).round();
      expectClose(measure(new m.NDCG({ k }), tied, tensorOf(inputOf(c, 'graded'))), c.expected[`ndcgTies@${k}`], `ndcg of ties @${k}`);
    });
    for (const [name, metric] of Object.entries(binary)) expect(metric.name).toBe(name);
  }
});

test('perplexity counts no ignored targets', () => {
  checkAll(caseOf(file, 'perplexity'), 'logits', 'target', { perplexity: new m.Perplexity() }, 1e-6);
});

test('error rates of words and characters', () => {
  const c = caseOf(file, 'errorRates');
  const [predictions, references] = [c.predictions as string[], c.references as string[]];
  expectClose([m.wordErrorRate(predictions, references)], c.expected.wer, 'wer', 1e-6);
  expectClose([m.charErrorRate(predictions, references)], c.expected.cer, 'cer', 1e-6);
  const distance = new m.EditDistance();
  distance.update(predictions, references);
  expectClose([distance.compute()], c.expected.editDistance, 'editDistance', 1e-6);
});
