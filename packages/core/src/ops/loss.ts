/** Losses, by family. `reduction`: 'mean' (default), 'sum', or 'none' for a value an element or sample. */
export {
  type BceOptions,
  type BceWithLogitsOptions,
  bce,
  bceWithLogits,
  type KlDivOptions,
  klDiv,
  multilabelSoftMarginLoss,
  type SigmoidFocalOptions,
  sigmoidFocalLoss,
} from './loss-binary.js';
export {
  type BoxLossOptions,
  boxIouLoss,
  completeBoxIouLoss,
  distanceBoxIouLoss,
  generalizedBoxIouLoss,
} from './loss-boxes.js';
export {
  type ClassificationOptions,
  type CrossEntropyOptions,
  crossEntropy,
  type FocalOptions,
  focalLoss,
  nllLoss,
} from './loss-classification.js';
export type { LossOptions, Reduction } from './loss-common.js';
export { type CtcOptions, ctcLoss } from './loss-ctc.js';
export {
  cosineEmbeddingLoss,
  type HingeOptions,
  hingeEmbeddingLoss,
  hingeLoss,
  type MarginOptions,
  type MultiMarginOptions,
  marginRankingLoss,
  multilabelMarginLoss,
  multiMarginLoss,
  softMarginLoss,
} from './loss-margin.js';
export {
  type ArcMarginOptions,
  arcMarginLogits,
  arcMarginLoss,
  type ContrastiveOptions,
  contrastiveLoss,
  type InfoNceOptions,
  infoNceLoss,
  type NtXentOptions,
  ntXentLoss,
  type PairwiseDistanceOptions,
  pairwiseDistance,
  type SupervisedContrastiveOptions,
  supervisedContrastiveLoss,
  type TripletOptions,
  tripletMarginLoss,
} from './loss-metric.js';
export {
  type GaussianNllOptions,
  gaussianNllLoss,
  type HuberOptions,
  huberLoss,
  l1Loss,
  logCoshLoss,
  mseLoss,
  type PoissonNllOptions,
  poissonNllLoss,
  type QuantileLossOptions,
  quantileLoss,
  type SmoothL1Options,
  smoothL1Loss,
} from './loss-regression.js';
export {
  diceLoss,
  jaccardLoss,
  type OverlapOptions,
  type TverskyOptions,
  tverskyLoss,
} from './loss-segmentation.js';
