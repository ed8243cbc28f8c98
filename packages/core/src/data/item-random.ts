/** Random numbers of one item in one epoch, for augmentations: the same whatever worker makes the item, and in whatever order. */
import { ArgumentError } from '../errors.js';
import { PhiloxStream, philoxDomain } from './philox.js';

/**
 * A stream that is a function of (seed, item, epoch) alone. Each call draws the next element.
 *
 * `const random = new ItemRandom(seed, index, epoch); transform(sample, random)`
 */
export class ItemRandom {
  private readonly stream: PhiloxStream;
  private next: number;

  /**
   * @param seed a safe integer.
   * @param item index of the item, 0 to 2^32 - 1.
   * @param epoch 0 to 2^20 - 1.
   * @throws ArgumentError outside these ranges.
   */
  constructor(seed: number, item = 0, epoch = 0) {
    const op = 'ItemRandom';
    if (!Number.isSafeInteger(seed)) throw new ArgumentError(`seed ${seed}`, { op, received: seed, expected: 'a safe integer' });
    if (!Number.isInteger(item) || item < 0 || item >= 2 ** 32) {
      throw new ArgumentError(`item ${item}`, { op, received: item, expected: 'a whole number from 0 to 2^32 - 1' });
    }
    if (!Number.isInteger(epoch) || epoch < 0 || epoch >= 2 ** 20) {
      throw new ArgumentError(`epoch ${epoch}`, { op, received: epoch, expected: 'a whole number from 0 to 2^20 - 1' });
    }
    this.stream = new PhiloxStream(seed, item, philoxDomain.augmentation);
    // The epoch takes the upper word of the counter, so epochs of one item never share an element.
    this.next = epoch * 2 ** 32;
  }

  /** Uniform in [low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * this.stream.uniform(this.next++);
  }

  /** A whole number in 0 .. n-1. */
  below(n: number): number {
    return this.stream.below(this.next++, n);
  }

  /** A whole number in low .. high, both included. */
  integer(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  normal(mean = 0, std = 1): number {
    return mean + std * this.stream.normal(this.next++);
  }

  /** True with probability p. Draws a number for every p, so what follows does not depend on p. */
  chance(p: number): boolean {
    return this.uniform() < p;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }

  /** Beta(alpha, beta), as ratio of two gamma variates. */
  beta(alpha: number, beta: number): number {
    const a = this.gamma(alpha);
    const b = this.gamma(beta);
    return a + b === 0 ? 0.5 : a / (a + b);
  }

  /** Gamma(shape, 1): Marsaglia and Tsang, "A simple method for generating gamma variables" (2000). */
  private gamma(shape: number): number {
    if (shape < 1) {
      // Gamma(a) = Gamma(a + 1) * U^(1/a).
      const power = (1 - this.uniform()) ** (1 / shape);
      return this.gamma(shape + 1) * power;
    }
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v <= 0) continue;
      const u = 1 - this.uniform();
      if (Math.log(u) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  }
}
