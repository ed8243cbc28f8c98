/** Metrics of rankings: each row [L] of scores ranks the items of one query, with their relevance. */
import { ArgumentError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { Gathering, type Metric, numbersOf, requireSameShape, requireScores, shapeError } from './metric.js';

/** Positions by score, best first; of equal scores the first. */
function ranking(scores: ArrayLike<number>): number[] {
  return Array.from({ length: scores.length }, (_, i) => i).sort((i, j) => scores[j] - scores[i] || i - j);
}
/** The relevance of the k best items. */
function best(relevance: ArrayLike<number>, scores: ArrayLike<number>, k: number | undefined): number[] {
  return ranking(scores)
    .slice(0, k)
    .map((i) => relevance[i]);
}

const gain = (relevances: readonly number[]): number => relevances.reduce((sum, r, i) => sum + r / Math.log2(i + 2), 0);

/** The gains of equal scores are shared: each gets the mean of theirs, as scikit-learn has it. */
function sharedGain(relevance: ArrayLike<number>, scores: ArrayLike<number>, k: number | undefined): number {
  const order = ranking(scores);
  let sum = 0;
  for (let from = 0; from < order.length; ) {
    let to = from;
    let total = 0;
    while (to < order.length && scores[order[to]] === scores[order[from]]) total += relevance[order[to++]];
    for (let i = from; i < Math.min(to, k ?? to); i++) sum += total / (to - from) / Math.log2(i + 2);
    from = to;
  }
  return sum;
}

/**
 * Normalised discounted cumulative gain of one ranking: relevance over log2 of the rank, against the best order there is (Järvelin and
 * Kekäläinen, 2002). 0 where nothing is relevant.
 */
export function ndcg(relevance: ArrayLike<number>, scores: ArrayLike<number>, k?: number): number {
  const ideal = gain(best(relevance, relevance, k));
  return ideal === 0 ? 0 : sharedGain(relevance, scores, k) / ideal;
}
/** One over the rank of the first relevant item among the k best; 0 without one. */
export function reciprocalRank(relevance: ArrayLike<number>, scores: ArrayLike<number>, k?: number): number {
  const first = best(relevance, scores, k).findIndex((r) => r > 0);
  return first < 0 ? 0 : 1 / (first + 1);
}
/** 1 when a relevant item is among the k best, else 0. */
export function hitRate(relevance: ArrayLike<number>, scores: ArrayLike<number>, k?: number): number {
  return best(relevance, scores, k).some((r) => r > 0) ? 1 : 0;
}
/** Share of the k best that are relevant. */
export function precisionAt(relevance: ArrayLike<number>, scores: ArrayLike<number>, k = relevance.length): number {
  return best(relevance, scores, k).filter((r) => r > 0).length / k;
}
/** Share of the relevant items that are among the k best; 0 where nothing is relevant. */
export function recallAt(relevance: ArrayLike<number>, scores: ArrayLike<number>, k?: number): number {
  const relevant = Array.from(relevance).filter((r) => r > 0).length;
  return relevant === 0 ? 0 : best(relevance, scores, k).filter((r) => r > 0).length / relevant;
}
/** The mean of {@link precisionAt} at the ranks of the relevant items among the k best. */
export function rankedAveragePrecision(relevance: ArrayLike<number>, scores: ArrayLike<number>, k?: number): number {
  let hits = 0;
  let sum = 0;
  best(relevance, scores, k).forEach((r, i) => {
    if (r > 0) sum += ++hits / (i + 1);
  });
  return hits === 0 ? 0 : sum / hits;
}

export interface RetrievalOptions {
  /** Looks at the k best items. Default: all. */
  readonly k?: number;
  /** What a query without relevant items counts: 0 (default), 1, or nothing. */
  readonly emptyTarget?: 'zero' | 'one' | 'skip';
}
type RankingValue = (relevance: ArrayLike<number>, scores: ArrayLike<number>, k?: number) => number;

/** The mean over queries: scores and relevance [N, L] (or [L]), a row a query. */
abstract class RetrievalMetric extends Gathering implements Metric {
  readonly name: string;
  private readonly value: RankingValue;
  private readonly options: RetrievalOptions;
  private sum = 0;
  private count = 0;
  constructor(name: string, value: RankingValue, options: RetrievalOptions) {
    super();
    const { k } = options;
    if (k !== undefined && !(Number.isInteger(k) && k > 0)) {
      throw new ArgumentError(`k is ${k}`, { op: name, received: k, expected: 'a whole number above 0' });
    }
    this.name = k === undefined ? name : `${name}@${k}`;
    this.value = value;
    this.options = options;
  }
  update(scores: Tensor, relevance: Tensor): void {
    requireScores(this.name, scores);
    requireSameShape(this.name, scores, relevance);
    if (scores.shape.length < 1 || scores.shape.length > 2) throw shapeError(this.name, scores, relevance, '[N, L] or [L]');
    const length = scores.shape.at(-1) ?? 0;
    const [s, r] = [Array.from(numbersOf(scores)), Array.from(numbersOf(relevance))];
    for (let from = 0; from < s.length; from += length) this.add(r.slice(from, from + length), s.slice(from, from + length));
  }
  private add(relevance: readonly number[], scores: readonly number[]): void {
    const { k, emptyTarget = 'zero' } = this.options;
    const empty = relevance.every((r) => r <= 0);
    if (empty && emptyTarget === 'skip') return;
    this.count++;
    this.sum += empty ? Number(emptyTarget === 'one') : this.value(relevance, scores, k);
  }
  protected override gathered(): readonly string[] {
    return ['sum', 'count'];
  }
  compute(): number {
    return this.count === 0 ? Number.NaN : this.sum / this.count;
  }
  reset(): void {
    this.sum = 0;
    this.count = 0;
  }
}
/** Mean {@link ndcg}; relevance may be graded. */
export class NDCG extends RetrievalMetric {
  constructor(options: RetrievalOptions = {}) {
    super('ndcg', ndcg, options);
  }
}
/** Mean {@link reciprocalRank}. */
export class MeanReciprocalRank extends RetrievalMetric {
  constructor(options: RetrievalOptions = {}) {
    super('mrr', reciprocalRank, options);
  }
}
/** Mean {@link hitRate}. */
export class HitRate extends RetrievalMetric {
  constructor(options: RetrievalOptions = {}) {
    super('hitRate', hitRate, options);
  }
}
/** Mean {@link precisionAt}. */
export class RetrievalPrecision extends RetrievalMetric {
  constructor(options: RetrievalOptions = {}) {
    super('precision', precisionAt, options);
  }
}
/** Mean {@link recallAt}. */
export class RetrievalRecall extends RetrievalMetric {
  constructor(options: RetrievalOptions = {}) {
    super('recall', recallAt, options);
  }
}
/** Mean of {@link rankedAveragePrecision} over queries (MAP). */
export class RetrievalMAP extends RetrievalMetric {
  constructor(options: RetrievalOptions = {}) {
    super('map', rankedAveragePrecision, options);
  }
}
