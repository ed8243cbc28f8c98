/** Which items are held out. */
import { randomSplit, stratifiedSplit } from 'trireme/data';
import type { SplitConfig } from '../config/read.js';
import { ConfigError } from '../errors.js';

export interface Parts<T> {
  readonly train: T;
  readonly validation: T | null;
  readonly test: T | null;
}

/** Items of each part. A part that has a file of its own takes none. `labels`: the class of each item, null without classes. */
export function splitItems(
  items: number,
  labels: ArrayLike<number> | null,
  split: SplitConfig | undefined,
  own: { readonly validation: boolean; readonly test: boolean },
): Parts<Int32Array> {
  const all = Int32Array.from({ length: items }, (_, i) => i);
  if (split === undefined) return { train: all, validation: null, test: null };
  const { stratify, seed } = split;
  for (const name of ['validation', 'test'] as const) {
    if (own[name] && split[name] > 0) {
      throw new ConfigError({
        key: `data.split.${name}`,
        message: `data.${name} names the ${name} data already.`,
        expected: 'one of the two',
      });
    }
  }
  const take = (from: Int32Array, fraction: number, salt: number): readonly [rest: Int32Array, taken: Int32Array] => {
    if (labels !== null && stratify) {
      const part = stratifiedSplit(
        from.map((i) => labels[i]),
        fraction,
        seed + salt,
      );
      return [part.train.map((i) => from[i]), part.test.map((i) => from[i])];
    }
    const held = Math.round(from.length * fraction);
    const [rest, taken] = randomSplit(from.length, [from.length - held, held], seed + salt);
    return [rest.map((i) => from[i]), taken.map((i) => from[i])];
  };
  const [rest, test] = split.test > 0 ? take(all, split.test, 0) : [all, null];
  // The fraction is of all items.
  const share = split.validation / (1 - split.test);
  if (share >= 1)
    throw new ConfigError({ key: 'data.split', message: 'nothing is left for training.', expected: 'fractions that sum to less than 1' });
  const [train, validation] = split.validation > 0 ? take(rest, share, 1) : [rest, null];
  const empty = Object.entries({ train, validation, test }).find(([, part]) => part !== null && part.length === 0);
  if (empty)
    throw new ConfigError({
      key: 'data.split',
      message: `the ${empty[0]} part of ${items} items is empty.`,
      expected: 'a larger fraction, or more data',
    });
  return { train, validation, test };
}
