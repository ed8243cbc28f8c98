import { describe, expect, test } from 'vitest';
import { ArgumentError, ShapeError } from '../../src/errors.js';
import { BleuScore, bleu, CharErrorRate, editDistance, WordErrorRate, wordErrorRate } from '../../src/metrics/index.js';
import file from '../reference/bleu.json' with { type: 'json' };
import { expectClose } from './support.js';

interface BleuCase {
  readonly predictions: readonly string[];
  readonly references: readonly (readonly string[])[];
  readonly expected: Readonly<Record<string, number>>;
}
const cases = file.cases as unknown as readonly BleuCase[];

describe('BLEU', () => {
  test('agrees with sacreBLEU for every smoothing, of corpora and of short sentences', () => {
    for (const [i, { predictions, references, expected }] of cases.entries()) {
      for (const smoothing of ['none', 'exp', 'floor', 'addK'] as const) {
        for (const effectiveOrder of [false, true]) {
          const key = effectiveOrder ? `${smoothing}.effective` : smoothing;
          expectClose([bleu(predictions, references, { smoothing, effectiveOrder })], expected[key], `corpus ${i} ${key}`);
        }
      }
    }
  });
  test('of a corpus is no mean over sentences: pieces give what the whole gives', () => {
    const metric = new BleuScore();
    const { predictions, references, expected } = cases[0];
    predictions.forEach((p, i) => metric.update(p, references[i]));
    expectClose([metric.compute()], expected.exp, 'in pieces');
    metric.reset();
    expect(metric.compute()).toBeNaN();
  });
  test('is 1 for what equals a reference, and takes other tokens', () => {
    expect(bleu(['a b c d e'], ['a b c d e'])).toBeCloseTo(1, 12);
    expect(bleu(['abcde'], [['xyz', 'abcde']], { tokenize: (t) => Array.from(t) })).toBeCloseTo(1, 12);
    expect(() => bleu(['a'], [])).toThrow(ShapeError);
    expect(() => bleu(['a'], [[]])).toThrow(ArgumentError);
  });
});

describe('edit distance', () => {
  test('of texts and of lists', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('abc', '')).toBe(3);
    expect(editDistance([1, 2, 3, 4], [1, 3, 4, 5])).toBe(2);
  });
  test('rates sum edits over all samples before they divide', () => {
    const metric = new WordErrorRate();
    metric.update('one two three', 'one two three four');
    metric.update(['a'], ['b']);
    expect(metric.compute()).toBeCloseTo(2 / 5, 12);
    metric.reset();
    expect(metric.compute()).toBeNaN();
    expect(wordErrorRate('x', '')).toBe(Infinity);
    const characters = new CharErrorRate();
    // One character, not two halves of a surrogate pair.
    characters.update('a😀', 'a😃');
    expect(characters.compute()).toBe(0.5);
  });
});
