/** Splits that keep the proportion of the classes. */
import { ArgumentError } from '../errors.js';
import { PhiloxStream, philoxDomain, shuffleInPlace } from './philox.js';

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
