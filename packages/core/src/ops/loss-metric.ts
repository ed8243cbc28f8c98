/** Losses that learn distances: triplets, contrasts, angular margins. */
import { ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, gt, logicalAnd, maximum, minimum, mul, ne, sub } from './binary.js';
import { cast } from './cast.js';
import { iota, iotaAlong } from './iota.js';
import { concat } from './join.js';
import { type CrossEntropyOptions, checkClasses, crossEntropy, targetsOf } from './loss-classification.js';
import { checkRank, checkSameShape, checkTarget, finish, type LossOptions } from './loss-common.js';
import { matmul } from './matmul.js';
import { sum } from './reduce.js';
import { cosineSimilarity, logSoftmax, norm, normalize } from './statistics.js';
import { maskedFill, where } from './ternary.js';
import { neg, sqrt, square } from './unary.js';
import { reshape, transpose } from './view.js';

export interface PairwiseDistanceOptions {
  /** Order of the norm. Default 2. */
  readonly p?: number;
  /** Added to the differences, which keeps gradients finite. Default 1e-6. */
  readonly eps?: number;
  readonly keepdim?: boolean;
}
/** The p-norm of `a - b + eps` along the last axis. */
export function pairwiseDistance(a: Tensor, b: Tensor, { p = 2, eps = 1e-6, keepdim = false }: PairwiseDistanceOptions = {}): Tensor {
  return composite('pairwiseDistance', () => norm(add(sub(a, b), eps), p, -1, keepdim));
}

export interface TripletOptions extends LossOptions {
  /** How much farther the negative has to be than the positive. Default 1. */
  readonly margin?: number;
  /** Also counts the distance of positive and negative, where it is smaller than that of anchor and negative. */
  readonly swap?: boolean;
  /** 'euclidean' (default; the norm of order p), 'cosine' for 1 - cosine, or a function of two tensors [N, D] to [N]. */
  readonly distance?: 'euclidean' | 'cosine' | ((a: Tensor, b: Tensor) => Tensor);
  readonly p?: number;
  readonly eps?: number;
}
/** `max(0, d(anchor, positive) - d(anchor, negative) + margin)`; all three [N, D] (or [D]) (Balntas et al., 2016, for the swap). */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  { margin = 1, swap = false, distance = 'euclidean', p = 2, eps = 1e-6, reduction = 'mean' }: TripletOptions = {},
): Tensor {
  checkSameShape(anchor, positive, 'tripletMarginLoss');
  checkSameShape(anchor, negative, 'tripletMarginLoss');
  return composite('tripletMarginLoss', () => {
    const between = (a: Tensor, b: Tensor): Tensor => {
      if (typeof distance === 'function') return distance(a, b);
      return distance === 'cosine' ? sub(1, cosineSimilarity(a, b, { dim: -1 })) : pairwiseDistance(a, b, { p, eps });
    };
    const near = between(anchor, positive);
    const toAnchor = between(anchor, negative);
    const far = swap ? minimum(toAnchor, between(positive, negative)) : toAnchor;
    const values = add(sub(near, far), margin);
    return finish(where(gt(values, 0), values, 0), reduction);
  });
}

export interface ContrastiveOptions extends LossOptions {
  /** Distance from which on unlike pairs cost nothing. Default 1. */
  readonly margin?: number;
  readonly eps?: number;
}
/**
 * `d ** 2` for pairs that are alike (y 1) and `max(0, margin - d) ** 2` for others (y 0), half of each, d the Euclidean distance; a and b
 * [N, D], y [N] (Hadsell, Chopra and LeCun, 2006).
 */
export function contrastiveLoss(
  a: Tensor,
  b: Tensor,
  y: Tensor,
  { margin = 1, eps = 1e-6, reduction = 'mean' }: ContrastiveOptions = {},
): Tensor {
  checkSameShape(a, b, 'contrastiveLoss');
  return composite('contrastiveLoss', () => {
    const d = pairwiseDistance(a, b, { eps });
    checkTarget(d, y, 'contrastiveLoss');
    const values = where(eq(y, 0), square(maximum(sub(margin, d), 0)), square(d));
    return finish(mul(values, 0.5), reduction);
  });
}

export interface InfoNceOptions extends LossOptions {
  /** Divides the cosines. Default 0.07. */
  readonly temperature?: number;
  /** Negatives of all queries, [M, D]. Without them the other keys of the batch are the negatives. */
  readonly negatives?: Tensor | null;
  /** Also asks every key for its query and takes the mean of both (as CLIP does); not with `negatives`. */
  readonly symmetric?: boolean;
}
/**
 * Cross entropy of finding for each query [N, D] its own key [N, D] by cosine (van den Oord et al., arXiv:1807.03748).
 */
export function infoNceLoss(
  query: Tensor,
  key: Tensor,
  { temperature = 0.07, negatives = null, symmetric = false, reduction = 'mean' }: InfoNceOptions = {},
): Tensor {
  const op = 'infoNceLoss';
  checkRank(query, 2, '[N, D]', op);
  checkSameShape(query, key, op);
  return composite(op, () => {
    const unit = (x: Tensor): Tensor => normalize(x, { dim: -1 });
    const [q, k] = [unit(query), unit(key)];
    const n = query.shape[0];
    if (negatives !== null) {
      const own = sum(mul(q, k), -1, true);
      const others = matmul(q, transpose(unit(negatives), 0, 1));
      const first = mul(iota(n, 'int32'), 0);
      return crossEntropy(div(concat([own, others], 1), temperature), first, { reduction });
    }
    const logits = div(matmul(q, transpose(k, 0, 1)), temperature);
    const own = iota(n, 'int32');
    const loss = crossEntropy(logits, own, { reduction });
    return symmetric ? mul(add(loss, crossEntropy(transpose(logits, 0, 1), own, { reduction })), 0.5) : loss;
  });
}

export interface NtXentOptions extends LossOptions {
  /** Divides the cosines. Default 0.5. */
  readonly temperature?: number;
}
/**
 * The loss of SimCLR: two views a and b [N, D] of the same samples; each of the 2N must find the other view of its sample among all others
 * (Chen et al., arXiv:2002.05709). Without reduction [2N].
 */
export function ntXentLoss(a: Tensor, b: Tensor, { temperature = 0.5, reduction = 'mean' }: NtXentOptions = {}): Tensor {
  const op = 'ntXentLoss';
  checkRank(a, 2, '[N, D]', op);
  checkSameShape(a, b, op);
  return composite(op, () => {
    const n = a.shape[0];
    const logits = similarities(concat([a, b], 0), temperature);
    const at = iota(2 * n, 'int32');
    const partner = where(gt(at, n - 1), sub(at, n), add(at, n));
    return crossEntropy(logits, partner, { reduction });
  });
}

/** Cosines of all pairs over the temperature, with those of each with itself out of the way. */
function similarities(x: Tensor, temperature: number): Tensor {
  const z = normalize(x, { dim: -1 });
  const n = x.shape[0];
  const self = eq(iotaAlong(n, 0, 2), iotaAlong(n, 1, 2));
  return maskedFill(div(matmul(z, transpose(z, 0, 1)), temperature), self, -1e30);
}

export interface SupervisedContrastiveOptions extends LossOptions {
  /** Divides the cosines. Default 0.07. */
  readonly temperature?: number;
}
/**
 * Contrastive loss with labels: embeddings [N, D] of one label (int [N]) attract each other. Samples that are alone with their label cost
 * nothing and do not enter the mean (Khosla et al., arXiv:2004.11362, L_out).
 */
export function supervisedContrastiveLoss(
  embeddings: Tensor,
  labels: Tensor,
  { temperature = 0.07, reduction = 'mean' }: SupervisedContrastiveOptions = {},
): Tensor {
  const op = 'supervisedContrastiveLoss';
  checkRank(embeddings, 2, '[N, D]', op);
  const n = embeddings.shape[0];
  checkLabels(labels, n, op);
  return composite(op, () => {
    const logs = logSoftmax(similarities(embeddings, temperature), 1);
    const differs = ne(iotaAlong(n, 0, 2), iotaAlong(n, 1, 2));
    const alike = logicalAnd(eq(reshape(labels, [n, 1]), reshape(labels, [1, n])), differs);
    const partners = sum(cast(alike, embeddings.dtype), 1);
    const values = neg(div(sum(where(alike, logs, 0), 1), maximum(partners, 1)));
    if (reduction !== 'mean') return finish(values, reduction);
    const taking = sum(cast(gt(partners, 0), embeddings.dtype));
    return div(sum(values), maximum(taking, 1));
  });
}
function checkLabels(labels: Tensor, n: number, op: string): void {
  if (labels.shape.length === 1 && labels.shape[0] === n) return;
  throw new ShapeError(`labels of shape ${formatShape(labels.shape)}`, { op, received: labels.shape, expected: `[${n}]` });
}

export interface ArcMarginOptions {
  /** Angle added between a sample and its class, in radians. Default 0.5. */
  readonly margin?: number;
  /** Factor of the cosines. Default 64. */
  readonly scale?: number;
  /** Leaves angles above 90 degrees as they are, which is gentler at the start of a training. */
  readonly easyMargin?: boolean;
}
/**
 * Logits of ArcFace: `scale * cos(angle + margin)` at the target, `scale * cos(angle)` elsewhere, for cosines [N, C] and targets int [N]
 * (Deng et al., arXiv:1801.07698). Beyond `pi - margin`, where the cosine would rise again, the penalty is `margin * sin(margin)`.
 */
export function arcMarginLogits(
  cosine: Tensor,
  target: Tensor,
  { margin = 0.5, scale = 64, easyMargin = false }: ArcMarginOptions = {},
): Tensor {
  checkRank(cosine, 2, '[N, C]', 'arcMarginLogits');
  checkClasses(cosine, target, 'arcMarginLogits');
  return composite('arcMarginLogits', () => {
    const { hit } = targetsOf(cosine, target, -1);
    // The root has no gradient at 0: angles closer than 1e-4 to 0 or 180 degrees count as that.
    const sine = sqrt(maximum(sub(1, square(cosine)), 1e-8));
    const turned = sub(mul(cosine, Math.cos(margin)), mul(sine, Math.sin(margin)));
    const within = gt(cosine, easyMargin ? 0 : Math.cos(Math.PI - margin));
    const beyond = easyMargin ? cosine : sub(cosine, margin * Math.sin(margin));
    return mul(where(hit, where(within, turned, beyond), cosine), scale);
  });
}

/** Cross entropy of {@link arcMarginLogits}: features [N, D], a direction for each class in weight [C, D], targets int [N]. */
export function arcMarginLoss(
  features: Tensor,
  weight: Tensor,
  target: Tensor,
  { margin, scale, easyMargin, ...options }: ArcMarginOptions & Omit<CrossEntropyOptions, 'weight'> = {},
): Tensor {
  return composite('arcMarginLoss', () => {
    const cosine = matmul(normalize(features, { dim: -1 }), transpose(normalize(weight, { dim: -1 }), 0, 1));
    return crossEntropy(arcMarginLogits(cosine, target, { margin, scale, easyMargin }), target, options);
  });
}
