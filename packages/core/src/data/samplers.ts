/** In which order an epoch visits the items. Every sampler is a function of its options and the epoch alone. */
import { ArgumentError } from '../errors.js';
import { PhiloxStream, permutation, philoxDomain, shuffleInPlace } from './philox.js';

/** An order of items: `order(epoch)` holds `length` indices into the dataset. */
export interface Sampler {
  readonly length: number;
  order(epoch: number): Int32Array;
}

/** The batches of an epoch, each the indices of its items. `length`, where it is the same in every epoch, counts them. */
export interface BatchSampler {
  readonly length?: number;
  batches(epoch: number): Int32Array[];
}

function range(length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => i);
}

function checkCount(op: string, name: string, value: number, least = 0): void {
  if (!Number.isSafeInteger(value) || value < least || value >= 2 ** 31) {
    throw new ArgumentError(`${name} is ${value}`, { op, received: value, expected: `a whole number from ${least} to 2^31 - 1` });
  }
}

/** 0, 1, 2, ... */
export class SequentialSampler implements Sampler {
  readonly length: number;
  constructor(length: number) {
    checkCount('SequentialSampler', 'length', length);
    this.length = length;
  }
  order(): Int32Array {
    return range(this.length);
  }
}

export interface RandomSamplerOptions {
  readonly seed?: number;
  /** Draw each index alone, so that some come more than once. */
  readonly replacement?: boolean;
  /** Indices in an epoch: the dataset's length unless told otherwise (without replacement at most that). */
  readonly numSamples?: number;
}

/** Each epoch a new order; without replacement the one of `shuffle: true`. */
export class RandomSampler implements Sampler {
  readonly length: number;
  private readonly items: number;
  private readonly seed: number;
  private readonly replacement: boolean;
  constructor(items: number, { seed = 0, replacement = false, numSamples = items }: RandomSamplerOptions = {}) {
    const op = 'RandomSampler';
    checkCount(op, 'items', items);
    checkCount(op, 'numSamples', numSamples);
    if (numSamples > items && (!replacement || items === 0)) {
      throw new ArgumentError(`numSamples is ${numSamples} of ${items} items`, {
        op,
        received: numSamples,
        expected: `at most ${items} without replacement`,
      });
    }
    this.items = items;
    this.length = numSamples;
    this.seed = seed;
    this.replacement = replacement;
  }
  order(epoch: number): Int32Array {
    if (!this.replacement) return permutation(this.items, this.seed, epoch).subarray(0, this.length);
    const stream = new PhiloxStream(this.seed, epoch, philoxDomain.sampling);
    return Int32Array.from({ length: this.length }, (_, i) => stream.below(i, this.items));
  }
}

/** The given indices, shuffled anew each epoch unless told otherwise. */
export class SubsetSampler implements Sampler {
  readonly length: number;
  private readonly indices: Int32Array;
  private readonly shuffle: boolean;
  private readonly seed: number;
  constructor(indices: ArrayLike<number>, { shuffle = true, seed = 0 }: { readonly shuffle?: boolean; readonly seed?: number } = {}) {
    this.indices = Int32Array.from(indices);
    this.length = this.indices.length;
    this.shuffle = shuffle;
    this.seed = seed;
  }
  order(epoch: number): Int32Array {
    const order = this.indices.slice();
    return this.shuffle ? shuffleInPlace(order, new PhiloxStream(this.seed, epoch, philoxDomain.permutation)) : order;
  }
}

/**
 * Draws items with probabilities proportional to weights (0 or more; they need not sum to 1).
 * With replacement by inversion of the cumulative weights; without it by the exponential races of Efraimidis and
 * Spirakis, "Weighted random sampling with a reservoir" (2006): the smallest -log(u) / w, in that order, which is the
 * law of drawing one after the other.
 */
export class WeightedRandomSampler implements Sampler {
  readonly length: number;
  private readonly weights: Float64Array;
  private readonly replacement: boolean;
  private readonly seed: number;
  constructor(
    weights: ArrayLike<number>,
    numSamples: number,
    { replacement = true, seed = 0 }: { readonly replacement?: boolean; readonly seed?: number } = {},
  ) {
    const op = 'WeightedRandomSampler';
    checkCount(op, 'numSamples', numSamples);
    this.weights = Float64Array.from(weights);
    let positive = 0;
    let sum = 0;
    for (const [i, weight] of this.weights.entries()) {
      if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
        throw new ArgumentError(`weight ${i} is ${weight}`, { op, received: weight, expected: 'a finite number, 0 or more' });
      }
      sum += weight;
      if (weight > 0) positive++;
    }
    if (numSamples > 0 && (!(sum > 0) || !Number.isFinite(sum) || (!replacement && positive < numSamples))) {
      throw new ArgumentError(`${positive} of ${this.weights.length} weights are above 0, ${numSamples} items are wanted`, {
        op,
        expected: replacement ? 'a weight above 0 and a finite sum' : 'as many weights above 0 as items',
      });
    }
    this.length = numSamples;
    this.replacement = replacement;
    this.seed = seed;
  }

  order(epoch: number): Int32Array {
    const stream = new PhiloxStream(this.seed, epoch, philoxDomain.sampling);
    const { weights } = this;
    const items = weights.length;
    // 53 random bits: among many items a uniform of 24 bits would never reach some.
    const uniform = (i: number): number => stream.below(i, 2 ** 53) * 2 ** -53;
    if (this.replacement) {
      const cumulative = new Float64Array(items);
      let sum = 0;
      for (let i = 0; i < items; i++) cumulative[i] = sum += weights[i];
      return Int32Array.from({ length: this.length }, (_, i) => firstAbove(cumulative, uniform(i) * sum));
    }
    const keys = new Float64Array(items);
    for (let i = 0; i < items; i++) keys[i] = weights[i] > 0 ? -Math.log(1 - uniform(i)) / weights[i] : Number.POSITIVE_INFINITY;
    return range(items)
      .sort((a, b) => keys[a] - keys[b] || a - b)
      .subarray(0, this.length);
  }
}

/** The first place whose cumulative weight is above the target: never an item of weight 0. */
function firstAbove(cumulative: Float64Array, target: number): number {
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cumulative[middle] > target) high = middle;
    else low = middle + 1;
  }
  // Rounding can put the target at the very sum.
  while (low > 0 && cumulative[low] === cumulative[low - 1]) low--;
  return low;
}

/**
 * Every item once, so that any stretch of the order holds the classes in about their share of the whole:
 * the k-th of n members of a class comes at (k + u) / n of the epoch, u the same for all of the class.
 * @param labels class of each item, whole numbers.
 */
export class StratifiedSampler implements Sampler {
  readonly length: number;
  private readonly labels: Int32Array;
  private readonly seed: number;
  constructor(labels: ArrayLike<number>, { seed = 0 }: { readonly seed?: number } = {}) {
    this.labels = Int32Array.from(labels);
    this.length = this.labels.length;
    this.seed = seed;
  }
  order(epoch: number): Int32Array {
    const members = new Map<number, number[]>();
    for (const index of permutation(this.length, this.seed, epoch)) {
      const label = this.labels[index];
      const group = members.get(label);
      if (group) group.push(index);
      else members.set(label, [index]);
    }
    const stream = new PhiloxStream(this.seed, epoch, philoxDomain.sampling);
    const place = new Float64Array(this.length);
    for (const [rank, [, group]] of [...members].sort(([a], [b]) => a - b).entries()) {
      const offset = stream.uniform(rank);
      for (const [k, index] of group.entries()) place[index] = (k + offset) / group.length;
    }
    return range(this.length).sort((a, b) => place[a] - place[b] || a - b);
  }
}

export interface DistributedSamplerOptions {
  /** Which process this is, 0 .. worldSize-1. */
  readonly rank: number;
  readonly worldSize: number;
  /** A new order each epoch, the same in all processes. True unless told otherwise. */
  readonly shuffle?: boolean;
  readonly seed?: number;
  /** Leave out the tail that does not divide evenly; else the first items are repeated to fill up. */
  readonly dropLast?: boolean;
}

/**
 * One process's share: items rank, rank + worldSize, ... of an order all processes agree on, equally many in each.
 * @param source the number of items, or the sampler whose order is shared out.
 */
export class DistributedSampler implements Sampler {
  readonly length: number;
  private readonly source: Sampler;
  private readonly rank: number;
  private readonly worldSize: number;
  constructor(source: number | Sampler, options: DistributedSamplerOptions) {
    const op = 'DistributedSampler';
    const { rank, worldSize, shuffle = true, seed = 0, dropLast = false } = options;
    checkCount(op, 'worldSize', worldSize, 1);
    if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize) {
      throw new ArgumentError(`rank is ${rank}`, { op, received: rank, expected: `a whole number from 0 to ${worldSize - 1}` });
    }
    if (typeof source === 'number') this.source = shuffle ? new RandomSampler(source, { seed }) : new SequentialSampler(source);
    else this.source = source;
    const share = this.source.length / worldSize;
    this.length = dropLast ? Math.floor(share) : Math.ceil(share);
    this.rank = rank;
    this.worldSize = worldSize;
  }
  order(epoch: number): Int32Array {
    const all = this.source.order(epoch);
    return Int32Array.from({ length: this.length }, (_, i) => all[(this.rank + i * this.worldSize) % all.length]);
  }
}

export interface LengthBucketOptions {
  /** Items in a batch. */
  readonly batchSize?: number;
  /** Most elements in a padded batch (items x longest), in place of `batchSize` or with it. */
  readonly maxTokens?: number;
  /** Items sorted together, in batches: more means less padding and less chance. 100 unless told otherwise. */
  readonly bucketBatches?: number;
  /** True unless told otherwise; else items are only sorted, shortest first. */
  readonly shuffle?: boolean;
  readonly seed?: number;
  /** Leave out batches with fewer than `batchSize` items. */
  readonly dropLast?: boolean;
}

/**
 * Batches of items of similar length, so that padding wastes little: the shuffled order is cut into buckets, each is
 * sorted by length and cut into batches, and the batches are shuffled.
 * @param lengths length of each item, 1 or more.
 */
export class LengthBucketSampler implements BatchSampler {
  private readonly lengths: Int32Array;
  private readonly options: Required<LengthBucketOptions>;
  constructor(lengths: ArrayLike<number>, options: LengthBucketOptions) {
    const op = 'LengthBucketSampler';
    const { batchSize, maxTokens, bucketBatches = 100, shuffle = true, seed = 0, dropLast = false } = options;
    if (batchSize === undefined && maxTokens === undefined) {
      throw new ArgumentError('neither batchSize nor maxTokens is given', { op, expected: 'at least one of them' });
    }
    this.lengths = Int32Array.from(lengths);
    const longest = this.lengths.reduce((a, b) => Math.max(a, b), 1);
    const limit = 2 ** 31 - 1;
    checkCount(op, 'batchSize', batchSize ?? limit, 1);
    checkCount(op, 'maxTokens', maxTokens ?? limit, longest);
    checkCount(op, 'bucketBatches', bucketBatches, 1);
    this.options = { batchSize: batchSize ?? limit, maxTokens: maxTokens ?? limit, bucketBatches, shuffle, seed, dropLast };
  }

  batches(epoch: number): Int32Array[] {
    const { batchSize, maxTokens, bucketBatches, shuffle, seed, dropLast } = this.options;
    const { lengths } = this;
    const order = shuffle ? permutation(lengths.length, seed, epoch) : range(lengths.length);
    const byLength = (a: number, b: number): number => lengths[a] - lengths[b];
    const mean = lengths.reduce((a, b) => a + b, 0) / Math.max(1, lengths.length);
    const perBatch = Math.max(1, Math.min(batchSize, Math.floor(maxTokens / Math.max(1, mean))));
    const bucket = shuffle ? Math.min(perBatch * bucketBatches, lengths.length) : lengths.length;
    const batches: Int32Array[] = [];
    for (let start = 0; start < order.length; start += bucket) {
      // Stable, so equal lengths keep their shuffled order.
      const sorted = order.slice(start, start + bucket).sort(byLength);
      for (let from = 0; from < sorted.length; ) {
        let to = from + 1;
        // Sorted, so the next item is the longest.
        while (to < sorted.length && to - from < batchSize && (to - from + 1) * lengths[sorted[to]] <= maxTokens) to++;
        const whole = to < sorted.length || to - from >= batchSize;
        if (whole || !dropLast) batches.push(sorted.slice(from, to));
        from = to;
      }
    }
    if (!shuffle) return batches;
    const places = shuffleInPlace(range(batches.length), new PhiloxStream(seed, epoch, philoxDomain.sampling));
    return Array.from(places, (place) => batches[place]);
  }
}
