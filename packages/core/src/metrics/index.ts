/** Measures of predictions: metrics that gather batch by batch, and functions of plain arrays. */
export { MetricCollection, RunningMean } from './aggregate.js';
export type { Average, ClassificationTask, CountOptions } from './class-counts.js';
export {
  Accuracy,
  type AccuracyOptions,
  BalancedAccuracy,
  type ClassMetricOptions,
  CohenKappa,
  ConfusionMatrix,
  type ConfusionOptions,
  DiceScore,
  F1Score,
  type FBetaOptions,
  FBetaScore,
  HammingLoss,
  JaccardIndex,
  type KappaOptions,
  MatthewsCorrCoef,
  MeanIoU,
  Precision,
  Recall,
  Specificity,
} from './classes.js';
export * from './classification.js';
export {
  AveragePrecision,
  averagePrecision,
  CalibrationError,
  type CalibrationOptions,
  type CurveOptions,
  type PrecisionRecallCurve,
  precisionRecallCurve,
  RocAuc,
  type RocCurve,
  rocAuc,
  rocCurve,
} from './curves.js';
export {
  type DetectionOptions,
  type DetectionPrediction,
  type DetectionResult,
  type DetectionTarget,
  MeanAveragePrecision,
} from './detection.js';
export type { Metric, MetricState } from './metric.js';
export {
  ExplainedVariance,
  MeanAbsoluteError,
  MeanAbsolutePercentageError,
  MeanSquaredError,
  MeanSquaredLogError,
  PearsonCorrelation,
  R2Score,
  RootMeanSquaredError,
  ranks,
  SpearmanCorrelation,
} from './regression.js';
export {
  HitRate,
  hitRate,
  MeanReciprocalRank,
  NDCG,
  ndcg,
  precisionAt,
  RetrievalMAP,
  type RetrievalOptions,
  RetrievalPrecision,
  RetrievalRecall,
  rankedAveragePrecision,
  recallAt,
  reciprocalRank,
} from './retrieval.js';
export {
  type BleuOptions,
  BleuScore,
  bleu,
  CharErrorRate,
  charErrorRate,
  EditDistance,
  editDistance,
  Perplexity,
  type PerplexityOptions,
  WordErrorRate,
  wordErrorRate,
} from './text.js';
