/** Splits that keep the proportion of the classes. */
import { ArgumentError } from '../errors.js';
import { PhiloxStream, permutation, philoxDomain, shuffleInPlace } from './philox.js';

export interface Split {
  /** Indices in increasing order. */
  readonly train: Int32Array;
  readonly test: Int32Array;
}

/**
 * Splits items so that each class has the same share in both parts (rounded to whole items, the largest remainders
 * rounded up, so the test part has round(n * testFraction) items in all). Depends on the arguments alone.
 * @param labels class of each item: whole numbers, 0 or more.
 * @param testFraction between 0 and 1.
 */
export function stratifiedSplit(labels: ArrayLike<number>, testFraction: number, seed: number): Split {
  const op = 'stratifiedSplit';
  if (!(testFraction >= 0 && testFraction <= 1)) {
    throw new ArgumentError(`testFraction is ${testFraction}`, { op, received: testFraction, expected: 'a number from 0 to 1' });
  }
  const classes = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    if (!Number.isSafeInteger(label) || label < 0) {
      throw new ArgumentError(`label ${i} is ${label}`, { op, received: label, expected: 'a whole number, 0 or more' });
    }
    const members = classes.get(label);
    if (members) members.push(i);
    else classes.set(label, [i]);
  }
  const groups = [...classes].sort(([a], [b]) => a - b);
  const wanted = Math.round(labels.length * testFraction);
  const sizes = groups.map(([, members]) => Math.floor(members.length * testFraction));
  const remainder = groups.map(([, members], k) => members.length * testFraction - sizes[k]);
  const byRemainder = groups.map((_, k) => k).sort((a, b) => remainder[b] - remainder[a] || a - b);
  let missing = wanted - sizes.reduce((sum, size) => sum + size, 0);
  for (const k of byRemainder) {
    if (missing <= 0) break;
    if (sizes[k] < groups[k][1].length) {
      sizes[k]++;
      missing--;
    }
  }
  const train: number[] = [];
  const test: number[] = [];
  groups.forEach(([label, members], k) => {
    const order = shuffleInPlace(Int32Array.from(members), new PhiloxStream(seed, label, philoxDomain.split));
    test.push(...order.subarray(0, sizes[k]));
    train.push(...order.subarray(sizes[k]));
  });
  return { train: Int32Array.from(train).sort(), test: Int32Array.from(test).sort() };
}

/**
 * Splits 0 .. n-1 by chance into parts.
 * @param parts sizes that sum to n, or fractions that sum to 1 (rounded down, what is left goes to the first parts one by one).
 * @returns indices in increasing order, a function of the arguments alone.
 */
export function randomSplit(n: number, parts: readonly number[], seed: number): Int32Array[] {
  const op = 'randomSplit';
  const sum = parts.reduce((a, b) => a + b, 0);
  const fractions = Math.abs(sum - 1) < 1e-9 && !(n === 1 && parts.every(Number.isInteger));
  const sizes = fractions ? parts.map((part) => Math.floor(part * n)) : [...parts];
  if (parts.some((part) => !(part >= 0)) || sizes.some((size) => !Number.isInteger(size)) || (!fractions && sum !== n)) {
    throw new ArgumentError(`the parts are [${parts.join(', ')}]`, {
      op,
      received: parts,
      expected: `whole numbers that sum to ${n}, or fractions that sum to 1`,
    });
  }
  for (let left = n - sizes.reduce((a, b) => a + b, 0), i = 0; left > 0; left--, i++) sizes[i % sizes.length]++;
  const order = permutation(n, seed);
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return order.slice(start - size, start).sort();
  });
}
