/** Metrics of text: BLEU, edit distance and the error rates made of it, perplexity. */
import { ArgumentError, ShapeError } from '../errors.js';
import { ne } from '../ops/binary.js';
import { crossEntropy } from '../ops/loss.js';
import { countNonzero } from '../ops/reduce.js';
import { reshape } from '../ops/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { Gathering, type Metric, numbersOf, quietly, ratio, requireScores, shapeError } from './metric.js';

/* ---- edit distance ---- */

/** The fewest insertions, deletions and substitutions that make `a` into `b` (Levenshtein, 1966). */
export function editDistance<T>(a: ArrayLike<T>, b: ArrayLike<T>): number {
  let row = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  let next = new Uint32Array(b.length + 1);
  for (let i = 0; i < a.length; i++) {
    next[0] = i + 1;
    for (let j = 0; j < b.length; j++) {
      next[j + 1] = Math.min(row[j + 1] + 1, next[j] + 1, row[j] + (a[i] === b[j] ? 0 : 1));
    }
    [row, next] = [next, row];
  }
  return row[b.length];
}

/** Words, separated by white space. */
const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');
/** Characters as readers count them by code point: no half of a pair. */
const characters = (text: string): string[] => Array.from(text);

type OneOrMany<T> = T | readonly T[];
const listOf = <T extends string>(x: OneOrMany<T>): readonly T[] => (typeof x === 'string' ? [x] : x);

/** @throws ShapeError when there are not as many of one as of the other. */
function checkCounts(op: string, predictions: readonly unknown[], targets: readonly unknown[]): void {
  if (predictions.length === targets.length) return;
  throw new ShapeError(`there are ${predictions.length} predictions and ${targets.length} references`, {
    op,
    received: [predictions.length, targets.length],
    expected: 'as many of the one as of the other',
  });
}

/** Edits over the length of the references, both summed over all samples. Takes texts, one or a list. */
abstract class ErrorRate extends Gathering implements Metric<OneOrMany<string>, OneOrMany<string>> {
  abstract readonly name: string;
  private edits = 0;
  private length = 0;
  protected abstract units(text: string): readonly string[];
  update(prediction: OneOrMany<string>, target: OneOrMany<string>): void {
    const [predictions, targets] = [listOf(prediction), listOf(target)];
    checkCounts(this.name, predictions, targets);
    predictions.forEach((text, i) => {
      const reference = this.units(targets[i]);
      this.edits += editDistance(this.units(text), reference);
      this.length += reference.length;
    });
  }
  protected override gathered(): readonly string[] {
    return ['edits', 'length'];
  }
  compute(): number {
    return ratio(this.edits, this.length, this.edits === 0 ? Number.NaN : Infinity);
  }
  reset(): void {
    this.edits = 0;
    this.length = 0;
  }
}
/** Word error rate: wrong, missing and extra words over the words of the reference. Can be above 1. */
export class WordErrorRate extends ErrorRate {
  readonly name = 'wer';
  protected units(text: string): readonly string[] {
    return words(text);
  }
}
/** Character error rate; see {@link WordErrorRate}. */
export class CharErrorRate extends ErrorRate {
  readonly name = 'cer';
  protected units(text: string): readonly string[] {
    return characters(text);
  }
}
/** Word error rate of two texts or lists of texts. */
export function wordErrorRate(prediction: OneOrMany<string>, target: OneOrMany<string>): number {
  const metric = new WordErrorRate();
  metric.update(prediction, target);
  return metric.compute();
}
/** Character error rate of two texts or lists of texts. */
export function charErrorRate(prediction: OneOrMany<string>, target: OneOrMany<string>): number {
  const metric = new CharErrorRate();
  metric.update(prediction, target);
  return metric.compute();
}
/** The mean edit distance, in characters (of texts) or elements (of lists of tokens). */
export class EditDistance
  extends Gathering
  implements Metric<readonly (string | readonly unknown[])[], readonly (string | readonly unknown[])[]>
{
  readonly name = 'editDistance';
  private edits = 0;
  private samples = 0;
  update(predictions: readonly (string | readonly unknown[])[], targets: readonly (string | readonly unknown[])[]): void {
    checkCounts(this.name, predictions, targets);
    const units = (x: string | readonly unknown[]): readonly unknown[] => (typeof x === 'string' ? characters(x) : x);
    predictions.forEach((p, i) => {
      this.edits += editDistance(units(p), units(targets[i]));
    });
    this.samples += predictions.length;
  }
  protected override gathered(): readonly string[] {
    return ['edits', 'samples'];
  }
  compute(): number {
    return ratio(this.edits, this.samples, Number.NaN);
  }
  reset(): void {
    this.edits = 0;
    this.samples = 0;
  }
}

/* ---- BLEU ---- */

export interface BleuOptions {
  /** Longest n-grams. Default 4. */
  readonly maxN?: number;
  /**
   * What an order without a match counts: 'none' makes the score 0; 'exp' (default, that of sacreBLEU) halves from order to order; 'floor'
   * takes 0.1 matches; 'addK' adds 1 to matches and n-grams of the orders above 1.
   */
  readonly smoothing?: 'none' | 'exp' | 'floor' | 'addK';
  /** Leaves out orders for which a prediction is too short. For single sentences. */
  readonly effectiveOrder?: boolean;
  /** Default: separated by white space. */
  readonly tokenize?: (text: string) => readonly string[];
}

function ngrams(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const gram = JSON.stringify(tokens.slice(i, i + n));
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

/**
 * BLEU of a corpus (Papineni et al., 2002), 0 to 1: the geometric mean of the shares of n-grams that the references have, times a penalty for
 * being shorter than the closest reference. Takes texts, each with one or several references.
 */
export class BleuScore extends Gathering implements Metric<OneOrMany<string>, OneOrMany<OneOrMany<string>>> {
  readonly name = 'bleu';
  private readonly options: Required<BleuOptions>;
  private matches: number[];
  private totals: number[];
  private length = 0;
  private referenceLength = 0;

  constructor({ maxN = 4, smoothing = 'exp', effectiveOrder = false, tokenize = words }: BleuOptions = {}) {
    super();
    if (!(Number.isInteger(maxN) && maxN > 0)) {
      throw new ArgumentError(`maxN is ${maxN}`, { op: 'BleuScore', received: maxN, expected: 'a whole number above 0' });
    }
    this.options = { maxN, smoothing, effectiveOrder, tokenize };
    this.matches = new Array<number>(maxN).fill(0);
    this.totals = new Array<number>(maxN).fill(0);
  }
  /** A text and its reference or references; or lists of texts, and for each its reference or references. */
  update(prediction: OneOrMany<string>, target: OneOrMany<OneOrMany<string>>): void {
    const predictions = listOf(prediction);
    const given: readonly OneOrMany<string>[] =
      typeof prediction === 'string'
        ? [typeof target === 'string' ? target : target.flat()]
        : typeof target === 'string'
          ? [target]
          : target;
    checkCounts('BleuScore', predictions, given);
    predictions.forEach((text, i) => this.add(text, listOf(given[i])));
  }
  private add(text: string, references: readonly string[]): void {
    const { maxN, tokenize } = this.options;
    const tokens = tokenize(text);
    const others = references.map((r) => tokenize(r));
    if (others.length === 0) throw new ArgumentError('a prediction has no reference', { op: 'BleuScore', received: text });
    this.length += tokens.length;
    // Of two references equally close in length, the shorter.
    const distance = (n: number): number => Math.abs(n - tokens.length);
    this.referenceLength += others
      .map((o) => o.length)
      .reduce((best, n) => (distance(n) < distance(best) || (distance(n) === distance(best) && n < best) ? n : best));
    for (let n = 1; n <= maxN; n++) {
      const most = new Map<string, number>();
      for (const other of others) for (const [gram, count] of ngrams(other, n)) most.set(gram, Math.max(count, most.get(gram) ?? 0));
      for (const [gram, count] of ngrams(tokens, n)) {
        this.matches[n - 1] += Math.min(count, most.get(gram) ?? 0);
        this.totals[n - 1] += count;
      }
    }
  }
  protected override gathered(): readonly string[] {
    return ['matches', 'totals', 'length', 'referenceLength'];
  }
  compute(): number {
    const { smoothing, effectiveOrder, maxN } = this.options;
    const { matches, totals, length, referenceLength } = this;
    if (length === 0) return referenceLength === 0 ? Number.NaN : 0;
    if (matches.every((m) => m === 0)) return 0;
    let logs = 0;
    let orders = 0;
    let halved = 1;
    for (let n = 0; n < maxN; n++) {
      const extra = smoothing === 'addK' && n > 0 ? 1 : 0;
      const total = totals[n] + extra;
      if (total === 0) break;
      if (effectiveOrder) orders = n + 1;
      let share = (matches[n] + extra) / total;
      if (matches[n] + extra === 0) {
        if (smoothing === 'exp') {
          halved *= 2;
          share = 1 / (halved * total);
        } else if (smoothing === 'floor') share = 0.1 / total;
      }
      logs += Math.log(share);
    }
    if (!effectiveOrder) {
      // An order that no prediction reaches has no match.
      if (totals.some((total, n) => total + (smoothing === 'addK' && n > 0 ? 1 : 0) === 0)) return 0;
      orders = maxN;
    }
    const penalty = length < referenceLength ? Math.exp(1 - referenceLength / length) : 1;
    return penalty * Math.exp(logs / orders);
  }
  reset(): void {
    this.matches.fill(0);
    this.totals.fill(0);
    this.length = 0;
    this.referenceLength = 0;
  }
}
/** {@link BleuScore} of a corpus: predictions, and for each its reference or references. */
export function bleu(predictions: readonly string[], references: readonly OneOrMany<string>[], options: BleuOptions = {}): number {
  const metric = new BleuScore(options);
  metric.update(predictions, references);
  return metric.compute();
}

/* ---- perplexity ---- */

export interface PerplexityOptions {
  /** Targets of this class count nothing. Default -100. */
  readonly ignoreIndex?: number;
}
/** `exp` of the mean cross entropy of the targets int [N, T] (or [N]) under logits [N, T, C] (or [N, C]): the classes are the last axis. */
export class Perplexity extends Gathering implements Metric {
  readonly name = 'perplexity';
  private readonly ignoreIndex: number;
  private sum = 0;
  private count = 0;
  constructor({ ignoreIndex = -100 }: PerplexityOptions = {}) {
    super();
    this.ignoreIndex = ignoreIndex;
  }
  update(logits: Tensor, target: Tensor): void {
    requireScores('Perplexity', logits);
    const classes = logits.shape.at(-1) ?? 0;
    if (logits.shape.slice(0, -1).join() !== target.shape.join() || classes === 0) {
      throw shapeError('Perplexity', logits, target, 'logits [N, T, C] and targets [N, T]');
    }
    const { ignoreIndex } = this;
    quietly(() => {
      const values = crossEntropy(reshape(logits.detach(), [-1, classes]), reshape(target, [-1]), { reduction: 'none', ignoreIndex });
      // Thousands of float32 values added up here lose digits that a streaming mean shows.
      const list = numbersOf(values);
      for (let i = 0; i < list.length; i++) this.sum += list[i];
      this.count += numbersOf(countNonzero(ne(target, ignoreIndex)))[0];
    });
  }
  protected override gathered(): readonly string[] {
    return ['sum', 'count'];
  }
  compute(): number {
    return Math.exp(ratio(this.sum, this.count, Number.NaN));
  }
  reset(): void {
    this.sum = 0;
    this.count = 0;
  }
}
