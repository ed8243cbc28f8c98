import { describe, expect, it } from 'vitest';
import {
  normalArray,
  type PhiloxBlock,
  PhiloxStream,
  permutation,
  philox4x32,
  philoxDomain,
  philoxKey,
  uniformArray,
} from '../../src/data/philox.js';

describe('philox4x32', () => {
  // The philox4x32 10 lines of Random123's kat_vectors.
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as [PhiloxBlock, [number, number], PhiloxBlock][])('gives the known answer for %j', (counter, key, expected) => {
    expect(philox4x32(counter, key)).toEqual(expected);
  });

  it('agrees with exact arithmetic on many inputs', () => {
    const mask = 0xffffffffn;
    const exact = (counter: readonly number[], key: readonly number[]): number[] => {
      let [a, b, c, d] = counter.map(BigInt);
      let [k0, k1] = key.map(BigInt);
      for (let round = 0; round < 10; round++) {
        const p0 = 0xd2511f53n * a;
        const p1 = 0xcd9e8d57n * c;
        [a, b, c, d] = [(p1 >> 32n) ^ b ^ k0, p1 & mask, (p0 >> 32n) ^ d ^ k1, p0 & mask];
        k0 = (k0 + 0x9e3779b9n) & mask;
        k1 = (k1 + 0xbb67ae85n) & mask;
      }
      return [a, b, c, d].map(Number);
    };
    for (let i = 0; i < 200; i++) {
      const words = philox4x32([i, 1, 2, 3], [4, 5]);
      const key = [words[0], words[1]] as const;
      expect(philox4x32(words, key)).toEqual(exact(words, key));
    }
  });
});

describe('streams', () => {
  it('split a seed into two words', () => {
    expect(philoxKey(0x1_0000_0005)).toEqual([5, 1]);
    expect(philoxKey(-1)).toEqual([0xffffffff, 0xffffffff]);
  });

  it('give element i from (seed, domain, stream, i) alone', () => {
    const stream = new PhiloxStream(7, 3, philoxDomain.split);
    const later = stream.bits(100);
    expect(stream.bits(5)).toBe(philox4x32([5, 0, 3, philoxDomain.split], [7, 0])[0]);
    expect(stream.bits(100)).toBe(later);
    expect(stream.bits(2 ** 32 + 1)).toBe(philox4x32([1, 1, 3, philoxDomain.split], [7, 0])[0]);
    expect(new PhiloxStream(7, 4, philoxDomain.split).bits(100)).not.toBe(later);
    expect(new PhiloxStream(7, 3).bits(100)).not.toBe(later);
  });

  it('are uniform over [low, high)', () => {
    const n = 40_000;
    const x = uniformArray(n, 1, -2, 6);
    const mean = x.reduce((a, b) => a + b, 0) / n;
    expect(Math.min(...x)).toBeGreaterThanOrEqual(-2);
    expect(Math.max(...x)).toBeLessThan(6);
    expect(Math.abs(mean - 2)).toBeLessThan((4 * 8) / Math.sqrt(12 * n));
    const bins = new Array<number>(16).fill(0);
    for (const value of x) bins[Math.floor((value + 2) * 2)]++;
    // Chi square, 15 degrees of freedom: 99.99 % lie below 44.3.
    expect(bins.reduce((sum, count) => sum + (count - n / 16) ** 2 / (n / 16), 0)).toBeLessThan(44.3);
  });

  it('are normal with the asked mean and deviation', () => {
    const n = 40_000;
    const x = normalArray(n, 2, 1, 3);
    const mean = x.reduce((a, b) => a + b, 0) / n;
    const moment = (k: number): number => x.reduce((sum, value) => sum + ((value - 1) / 3) ** k, 0) / n;
    expect(Math.abs(mean - 1)).toBeLessThan((4 * 3) / Math.sqrt(n));
    expect(moment(2)).toBeCloseTo(1, 1);
    expect(moment(3)).toBeCloseTo(0, 1);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
    expect(x.every(Number.isFinite)).toBe(true);
  });

  it('draw whole numbers without bias', () => {
    const stream = new PhiloxStream(3);
    const counts = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < 30_000; i++) counts[stream.below(i, 6)]++;
    // Chi square, 5 degrees of freedom: 99.99 % lie below 25.7.
    expect(counts.reduce((sum, count) => sum + (count - 5000) ** 2 / 5000, 0)).toBeLessThan(25.7);
  });
});

describe('permutation', () => {
  it('is a permutation that depends on seed and epoch', () => {
    const order = permutation(1000, 5, 2);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(permutation(1000, 5, 2)).toEqual(order);
    expect(permutation(1000, 5, 3)).not.toEqual(order);
    expect(permutation(1000, 6, 2)).not.toEqual(order);
    expect([...permutation(0, 1)]).toEqual([]);
    expect([...permutation(1, 1)]).toEqual([0]);
  });

  it('makes every order of three equally often', () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 6000; epoch++) {
      const key = permutation(3, 9, epoch).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    expect([...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(25.7);
  });
});
