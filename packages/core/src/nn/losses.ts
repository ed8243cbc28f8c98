/** Losses as modules: the functions of ops/loss.ts with their options. Weights are buffers, so to() and stateDict() know them. */
import { full } from '../ops/create.js';
import * as loss from '../ops/loss.js';
import { matmul } from '../ops/matmul.js';
import { randn } from '../ops/random.js';
import { normalize } from '../ops/statistics.js';
import { transpose } from '../ops/view.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { xavierUniform } from './init.js';
import { buffer, Module, parameter } from './module.js';

const weightOf = (weight: Tensor | null | undefined): Tensor | null => (weight ? buffer(weight) : null);

/** A loss of an input and a target by one function. */
abstract class PairLoss<O> extends Module<[Tensor, Tensor]> {
  protected readonly options: O;
  private readonly fn: (x: Tensor, target: Tensor, options: O) => Tensor;
  constructor(fn: (x: Tensor, target: Tensor, options: O) => Tensor, options: O) {
    super();
    this.fn = fn;
    this.options = options;
  }
  override forward(x: Tensor, target: Tensor): Tensor {
    return this.fn(x, target, this.options);
  }
}
/** As {@link PairLoss}, with a weight (null: none) that is part of the module's state. */
abstract class WeightedLoss<O extends { readonly weight?: Tensor | null }> extends Module<[Tensor, Tensor]> {
  readonly weight: Tensor | null;
  protected readonly options: O;
  private readonly fn: (x: Tensor, target: Tensor, options: O) => Tensor;
  constructor(fn: (x: Tensor, target: Tensor, options: O) => Tensor, { weight, ...options }: O) {
    super();
    this.fn = fn;
    this.weight = weightOf(weight);
    this.options = options as unknown as O;
  }
  override forward(x: Tensor, target: Tensor): Tensor {
    return this.fn(x, target, { ...this.options, weight: this.weight });
  }
}

/* ---- classes ---- */

export class CrossEntropyLoss extends WeightedLoss<loss.CrossEntropyOptions> {
  constructor(options: loss.CrossEntropyOptions = {}) {
    super(loss.crossEntropy, options);
  }
}
export class NLLLoss extends WeightedLoss<loss.ClassificationOptions> {
  constructor(options: loss.ClassificationOptions = {}) {
    super(loss.nllLoss, options);
  }
}
/** Focal loss of one class among many; `alpha` holds a factor for each class. */
export class FocalLoss extends Module<[Tensor, Tensor]> {
  readonly alpha: Tensor | null;
  private readonly options: loss.FocalOptions;
  constructor({ alpha, ...options }: loss.FocalOptions = {}) {
    super();
    this.alpha = weightOf(alpha);
    this.options = options;
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    return loss.focalLoss(logits, target, { ...this.options, alpha: this.alpha });
  }
}
export class SigmoidFocalLoss extends PairLoss<loss.SigmoidFocalOptions> {
  constructor(options: loss.SigmoidFocalOptions = {}) {
    super(loss.sigmoidFocalLoss, options);
  }
}
export class BCELoss extends WeightedLoss<loss.BceOptions> {
  constructor(options: loss.BceOptions = {}) {
    super(loss.bce, options);
  }
}
export class BCEWithLogitsLoss extends Module<[Tensor, Tensor]> {
  readonly weight: Tensor | null;
  readonly posWeight: Tensor | null;
  private readonly options: loss.LossOptions;
  constructor({ weight, posWeight, ...options }: loss.BceWithLogitsOptions = {}) {
    super();
    this.weight = weightOf(weight);
    this.posWeight = weightOf(typeof posWeight === 'number' ? full([], posWeight) : posWeight);
    this.options = options;
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    const { weight, posWeight } = this;
    return loss.bceWithLogits(logits, target, { ...this.options, weight, posWeight });
  }
}
export class MultiLabelSoftMarginLoss extends WeightedLoss<loss.BceOptions> {
  constructor(options: loss.BceOptions = {}) {
    super(loss.multilabelSoftMarginLoss, options);
  }
}
export class KLDivLoss extends PairLoss<loss.KlDivOptions> {
  constructor(options: loss.KlDivOptions = {}) {
    super(loss.klDiv, options);
  }
}

/* ---- real values ---- */

export class L1Loss extends PairLoss<loss.LossOptions> {
  constructor(options: loss.LossOptions = {}) {
    super(loss.l1Loss, options);
  }
}
export class MSELoss extends PairLoss<loss.LossOptions> {
  constructor(options: loss.LossOptions = {}) {
    super(loss.mseLoss, options);
  }
}
export class SmoothL1Loss extends PairLoss<loss.SmoothL1Options> {
  constructor(options: loss.SmoothL1Options = {}) {
    super(loss.smoothL1Loss, options);
  }
}
export class HuberLoss extends PairLoss<loss.HuberOptions> {
  constructor(options: loss.HuberOptions = {}) {
    super(loss.huberLoss, options);
  }
}
export class LogCoshLoss extends PairLoss<loss.LossOptions> {
  constructor(options: loss.LossOptions = {}) {
    super(loss.logCoshLoss, options);
  }
}
export class QuantileLoss extends PairLoss<loss.QuantileLossOptions> {
  constructor(options: loss.QuantileLossOptions = {}) {
    super(loss.quantileLoss, options);
  }
}
export class PoissonNLLLoss extends PairLoss<loss.PoissonNllOptions> {
  constructor(options: loss.PoissonNllOptions = {}) {
    super(loss.poissonNllLoss, options);
  }
}
/** Called with means, targets and variances. */
export class GaussianNLLLoss extends Module<[Tensor, Tensor, Tensor]> {
  private readonly options: loss.GaussianNllOptions;
  constructor(options: loss.GaussianNllOptions = {}) {
    super();
    this.options = options;
  }
  override forward(x: Tensor, target: Tensor, variance: Tensor): Tensor {
    return loss.gaussianNllLoss(x, target, variance, this.options);
  }
}

/* ---- regions and boxes ---- */

export class DiceLoss extends PairLoss<loss.OverlapOptions> {
  constructor(options: loss.OverlapOptions = {}) {
    super(loss.diceLoss, options);
  }
}
export class TverskyLoss extends PairLoss<loss.TverskyOptions> {
  constructor(options: loss.TverskyOptions = {}) {
    super(loss.tverskyLoss, options);
  }
}
export class JaccardLoss extends PairLoss<loss.OverlapOptions> {
  constructor(options: loss.OverlapOptions = {}) {
    super(loss.jaccardLoss, options);
  }
}
export class BoxIoULoss extends PairLoss<loss.BoxLossOptions> {
  constructor(options: loss.BoxLossOptions = {}) {
    super(loss.boxIouLoss, options);
  }
}
export class GeneralizedBoxIoULoss extends PairLoss<loss.BoxLossOptions> {
  constructor(options: loss.BoxLossOptions = {}) {
    super(loss.generalizedBoxIouLoss, options);
  }
}
export class DistanceBoxIoULoss extends PairLoss<loss.BoxLossOptions> {
  constructor(options: loss.BoxLossOptions = {}) {
    super(loss.distanceBoxIouLoss, options);
  }
}
export class CompleteBoxIoULoss extends PairLoss<loss.BoxLossOptions> {
  constructor(options: loss.BoxLossOptions = {}) {
    super(loss.completeBoxIouLoss, options);
  }
}

/* ---- margins ---- */

export class HingeLoss extends PairLoss<loss.HingeOptions> {
  constructor(options: loss.HingeOptions = {}) {
    super(loss.hingeLoss, options);
  }
}
export class HingeEmbeddingLoss extends PairLoss<loss.MarginOptions> {
  constructor(options: loss.MarginOptions = {}) {
    super(loss.hingeEmbeddingLoss, options);
  }
}
export class SoftMarginLoss extends PairLoss<loss.LossOptions> {
  constructor(options: loss.LossOptions = {}) {
    super(loss.softMarginLoss, options);
  }
}
export class MultiMarginLoss extends WeightedLoss<loss.MultiMarginOptions> {
  constructor(options: loss.MultiMarginOptions = {}) {
    super(loss.multiMarginLoss, options);
  }
}
export class MultiLabelMarginLoss extends PairLoss<loss.LossOptions> {
  constructor(options: loss.LossOptions = {}) {
    super(loss.multilabelMarginLoss, options);
  }
}

/** A loss of three tensors by one function. */
abstract class TripleLoss<O> extends Module<[Tensor, Tensor, Tensor]> {
  private readonly options: O;
  private readonly fn: (a: Tensor, b: Tensor, c: Tensor, options: O) => Tensor;
  constructor(fn: (a: Tensor, b: Tensor, c: Tensor, options: O) => Tensor, options: O) {
    super();
    this.fn = fn;
    this.options = options;
  }
  override forward(a: Tensor, b: Tensor, c: Tensor): Tensor {
    return this.fn(a, b, c, this.options);
  }
}
/** Called with two scores and whether the first should be higher (1) or lower (-1). */
export class MarginRankingLoss extends TripleLoss<loss.MarginOptions> {
  constructor(options: loss.MarginOptions = {}) {
    super(loss.marginRankingLoss, options);
  }
}
/** Called with two embeddings and 1 (alike) or -1. */
export class CosineEmbeddingLoss extends TripleLoss<loss.MarginOptions> {
  constructor(options: loss.MarginOptions = {}) {
    super(loss.cosineEmbeddingLoss, options);
  }
}
/** Called with anchor, positive and negative. */
export class TripletMarginLoss extends TripleLoss<loss.TripletOptions> {
  constructor(options: loss.TripletOptions = {}) {
    super(loss.tripletMarginLoss, options);
  }
}
/** Called with two embeddings and 1 (alike) or 0. */
export class ContrastiveLoss extends TripleLoss<loss.ContrastiveOptions> {
  constructor(options: loss.ContrastiveOptions = {}) {
    super(loss.contrastiveLoss, options);
  }
}
/** Called with queries and their keys. */
export class InfoNCELoss extends PairLoss<loss.InfoNceOptions> {
  constructor(options: loss.InfoNceOptions = {}) {
    super(loss.infoNceLoss, options);
  }
}
/** Called with two views of the same samples. */
export class NTXentLoss extends PairLoss<loss.NtXentOptions> {
  constructor(options: loss.NtXentOptions = {}) {
    super(loss.ntXentLoss, options);
  }
}
/** Called with embeddings and their labels. */
export class SupervisedContrastiveLoss extends PairLoss<loss.SupervisedContrastiveOptions> {
  constructor(options: loss.SupervisedContrastiveOptions = {}) {
    super(loss.supervisedContrastiveLoss, options);
  }
}

type ArcOptions = loss.ArcMarginOptions & Omit<loss.CrossEntropyOptions, 'weight'>;
/**
 * ArcFace: the classification head and its loss. Holds a direction for each class in `weight` [numClasses, inFeatures]; called with
 * features [N, inFeatures] and targets int [N].
 */
export class ArcMarginLoss extends Module<[Tensor, Tensor]> {
  readonly weight: Tensor;
  private readonly options: ArcOptions;
  constructor(inFeatures: number, numClasses: number, options: ArcOptions = {}) {
    super();
    this.weight = parameter(xavierUniform(randn([numClasses, inFeatures])));
    this.options = options;
  }
  override forward(features: Tensor, target: Tensor): Tensor {
    return loss.arcMarginLoss(features, this.weight, target, this.options);
  }
  /** The cosines to each class [N, numClasses]: what predictions are made from. */
  cosine(features: Tensor): Tensor {
    return composite('ArcMarginLoss', () => matmul(normalize(features, { dim: -1 }), transpose(normalize(this.weight, { dim: -1 }), 0, 1)));
  }
}

/* ---- sequences ---- */

type CtcArgs = [
  logProbs: Tensor,
  targets: Tensor,
  inputLengths: Parameters<typeof loss.ctcLoss>[2],
  targetLengths: Parameters<typeof loss.ctcLoss>[3],
];
/** Called with log-probabilities [T, N, C], targets, and the lengths of both. */
export class CTCLoss extends Module<CtcArgs> {
  private readonly options: loss.CtcOptions;
  constructor(options: loss.CtcOptions = {}) {
    super();
    this.options = options;
  }
  override forward(...[logProbs, targets, inputLengths, targetLengths]: CtcArgs): Tensor {
    return loss.ctcLoss(logProbs, targets, inputLengths, targetLengths, this.options);
  }
}
