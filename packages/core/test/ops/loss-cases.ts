/** How the recorded cases of the losses are called here. */
import * as loss from '../../src/ops/loss.js';
import { logSoftmax } from '../../src/ops/statistics.js';
import { Tensor } from '../../src/tensor/tensor.js';
import ctcFile from '../reference/ctc.json' with { type: 'json' };
import lossesFile from '../reference/losses.json' with { type: 'json' };
import type { Arg, CaseJson, operations } from './cases.js';

type Run = (typeof operations)[string];

const must = (a: Arg | undefined): Tensor => {
  if (a instanceof Tensor) return a;
  throw new TypeError('a tensor is missing');
};
const maybe = (a: Arg | undefined): Tensor | null => (a instanceof Tensor ? a : null);

type Pair = (x: Tensor, target: Tensor, options: object) => Tensor;
const pair =
  (fn: Pair): Run =>
  ([x, target], attrs) =>
    fn(must(x), must(target), attrs);
const weighted =
  (fn: Pair): Run =>
  ([x, target, weight], attrs) =>
    fn(must(x), must(target), { ...attrs, weight: maybe(weight) });
const triple =
  (fn: (a: Tensor, b: Tensor, c: Tensor, options: object) => Tensor): Run =>
  ([a, b, c], attrs) =>
    fn(must(a), must(b), must(c), attrs);

export const lossOperations: Readonly<Record<string, Run>> = {
  crossEntropy: weighted(loss.crossEntropy),
  nllLoss: weighted(loss.nllLoss),
  bce: weighted(loss.bce),
  multilabelSoftMarginLoss: weighted(loss.multilabelSoftMarginLoss),
  multiMarginLoss: weighted(loss.multiMarginLoss),
  klDiv: pair(loss.klDiv),
  poissonNllLoss: pair(loss.poissonNllLoss),
  gaussianNllLoss: triple(loss.gaussianNllLoss),
  sigmoidFocalLoss: pair(loss.sigmoidFocalLoss),
  focalLoss: ([x, target, alpha], attrs) => loss.focalLoss(must(x), must(target), { ...attrs, alpha: maybe(alpha) }),
  diceLoss: pair(loss.diceLoss),
  tverskyLoss: pair(loss.tverskyLoss),
  jaccardLoss: pair(loss.jaccardLoss),
  boxIouLoss: pair(loss.boxIouLoss),
  generalizedBoxIouLoss: pair(loss.generalizedBoxIouLoss),
  distanceBoxIouLoss: pair(loss.distanceBoxIouLoss),
  completeBoxIouLoss: pair(loss.completeBoxIouLoss),
  tripletMarginLoss: triple(loss.tripletMarginLoss),
  contrastiveLoss: triple(loss.contrastiveLoss),
  marginRankingLoss: triple(loss.marginRankingLoss),
  cosineEmbeddingLoss: triple(loss.cosineEmbeddingLoss),
  infoNceLoss: ([query, key, negatives], attrs) => loss.infoNceLoss(must(query), must(key), { ...attrs, negatives: maybe(negatives) }),
  ntXentLoss: pair(loss.ntXentLoss),
  supervisedContrastiveLoss: pair(loss.supervisedContrastiveLoss),
  arcMarginLoss: triple(loss.arcMarginLoss),
  hingeLoss: pair(loss.hingeLoss),
  hingeEmbeddingLoss: pair(loss.hingeEmbeddingLoss),
  softMarginLoss: pair(loss.softMarginLoss),
  multilabelMarginLoss: pair(loss.multilabelMarginLoss),
  quantileLoss: pair(loss.quantileLoss),
  logCoshLoss: pair(loss.logCoshLoss),
  ctcLoss: ([x, targets, inputs, lengths], attrs) =>
    loss.ctcLoss(logSoftmax(must(x), -1), must(targets), must(inputs), must(lengths), attrs),
};

/** The recorded cases by operation. */
export function lossCases(): Map<string, CaseJson[]> {
  const byOp = new Map<string, CaseJson[]>();
  for (const file of [lossesFile, ctcFile]) {
    for (const c of (file as unknown as { readonly cases: CaseJson[] }).cases) byOp.set(c.op, [...(byOp.get(c.op) ?? []), c]);
  }
  return byOp;
}
