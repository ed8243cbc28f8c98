/** The metrics that a configuration can name: those that compare an output with a target. */
import * as metrics from 'trireme/metrics';
import { type Catalog, named, optionClass, plainClass } from '../config/named.js';
import { choice, count, integer, number, positive } from '../config/schema.js';

const counts = {
  task: choice('multiclass', 'binary', 'multilabel'),
  numClasses: count,
  threshold: number,
  ignoreIndex: integer,
};
const classes = { ...counts, average: choice('binary', 'micro', 'macro', 'weighted', 'none'), zeroDivision: number };
const curve = { average: choice('macro', 'weighted', 'none') };

export const metricClasses: Catalog<metrics.Metric> = {
  Accuracy: optionClass(metrics.Accuracy, [], { ...counts, topK: count }),
  BalancedAccuracy: optionClass(metrics.BalancedAccuracy, [], counts),
  Precision: optionClass(metrics.Precision, [], classes),
  Recall: optionClass(metrics.Recall, [], classes),
  Specificity: optionClass(metrics.Specificity, [], classes),
  F1Score: optionClass(metrics.F1Score, [], classes),
  FBetaScore: optionClass(metrics.FBetaScore, [], { ...classes, beta: positive }),
  JaccardIndex: optionClass(metrics.JaccardIndex, [], classes),
  MeanIoU: optionClass(metrics.MeanIoU, [], classes),
  DiceScore: optionClass(metrics.DiceScore, [], classes),
  HammingLoss: optionClass(metrics.HammingLoss, [], counts),
  ConfusionMatrix: optionClass(metrics.ConfusionMatrix, [], { ...counts, normalize: choice('true', 'pred', 'all') }),
  CohenKappa: optionClass(metrics.CohenKappa, [], { ...counts, weights: choice('linear', 'quadratic') }),
  MatthewsCorrCoef: optionClass(metrics.MatthewsCorrCoef, [], counts),
  RocAuc: optionClass(metrics.RocAuc, [], curve),
  AveragePrecision: optionClass(metrics.AveragePrecision, [], curve),
  CalibrationError: optionClass(metrics.CalibrationError, [], { bins: count, norm: choice('l1', 'l2', 'max') }),
  Perplexity: optionClass(metrics.Perplexity, [], { ignoreIndex: integer }),
  MeanAbsoluteError: plainClass(metrics.MeanAbsoluteError, []),
  MeanSquaredError: plainClass(metrics.MeanSquaredError, []),
  RootMeanSquaredError: plainClass(metrics.RootMeanSquaredError, []),
  MeanAbsolutePercentageError: plainClass(metrics.MeanAbsolutePercentageError, []),
  MeanSquaredLogError: plainClass(metrics.MeanSquaredLogError, []),
  R2Score: plainClass(metrics.R2Score, []),
  ExplainedVariance: plainClass(metrics.ExplainedVariance, []),
  PearsonCorrelation: plainClass(metrics.PearsonCorrelation, []),
  SpearmanCorrelation: plainClass(metrics.SpearmanCorrelation, []),
};

export const metric = named('metric', metricClasses);
