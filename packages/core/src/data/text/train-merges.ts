/** The merges of byte-pair encoding, learned from counted words (Sennrich et al. 2016, algorithm 1, with counts kept up to date). */
import { pairKey } from './models/bpe.js';
import { compareCodePoints } from './unicode.js';

export interface MergeOptions {
  readonly vocabSize: number;
  readonly minFrequency: number;
  readonly specialTokens: readonly string[];
  readonly initialAlphabet: Iterable<string>;
  readonly limitAlphabet: number | null;
  readonly maxTokenLength: number | null;
  /** Of symbols inside a word, and of a word's last symbol; '' for none. */
  readonly prefix: string;
  readonly suffix: string;
  /** Awaited now and then. */
  readonly step: () => Promise<void>;
}

export interface LearnedMerges {
  readonly vocabulary: Map<string, number>;
  readonly merges: [string, string][];
}

interface Candidate {
  readonly key: number;
  count: number;
}

/** Higher counts first, then lower ids. */
const better = (a: Candidate, b: Candidate): boolean => a.count > b.count || (a.count === b.count && a.key < b.key);

class CandidateHeap {
  private readonly items: Candidate[] = [];
  push(value: Candidate): void {
    const { items } = this;
    let i = items.push(value) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!better(value, items[parent])) break;
      items[i] = items[parent];
      i = parent;
    }
    items[i] = value;
  }
  pop(): Candidate | undefined {
    const { items } = this;
    const top = items[0];
    const value = items.pop();
    if (value === undefined || items.length === 0) return value;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && better(items[child + 1], items[child])) child++;
      if (!better(items[child], value)) break;
      items[i] = items[child];
      i = child;
    }
    items[i] = value;
    return top;
  }
}

function alphabetOf(counts: ReadonlyMap<string, number>, options: MergeOptions): string[] {
  const frequency = new Map<string, number>();
  for (const [word, count] of counts) {
    for (const character of word) frequency.set(character, (frequency.get(character) ?? 0) + count);
  }
  // What was asked for comes before anything found.
  for (const text of options.initialAlphabet) {
    const [first] = text;
    if (first !== undefined) frequency.set(first, Number.POSITIVE_INFINITY);
  }
  let kept = [...frequency];
  if (options.limitAlphabet !== null && kept.length > options.limitAlphabet) {
    kept = kept.sort((a, b) => b[1] - a[1] || compareCodePoints(a[0], b[0])).slice(0, options.limitAlphabet);
  }
  return kept.map(([character]) => character).sort(compareCodePoints);
}

export async function learnMerges(counts: ReadonlyMap<string, number>, options: MergeOptions): Promise<LearnedMerges> {
  const { prefix, suffix, step } = options;
  const vocabulary = new Map<string, number>();
  const names: string[] = [];
  const idOf = (token: string): number => {
    let id = vocabulary.get(token);
    if (id === undefined) {
      id = names.push(token) - 1;
      vocabulary.set(token, id);
    }
    return id;
  };
  for (const token of options.specialTokens) idOf(token);
  const alphabet = alphabetOf(counts, options);
  for (const character of alphabet) idOf(character);
  const known = new Set(alphabet);

  const words: number[][] = [];
  const frequencies: number[] = [];
  for (const [word, count] of counts) {
    const characters = [...word];
    const symbols: number[] = [];
    characters.forEach((character, i) => {
      if (!known.has(character)) return;
      symbols.push(idOf((i > 0 ? prefix : '') + character + (i === characters.length - 1 ? suffix : '')));
    });
    words.push(symbols);
    frequencies.push(count);
  }

  const pairCounts = new Map<number, number>();
  const places = new Map<number, number[]>();
  const count = (key: number, change: number, word: number): void => {
    pairCounts.set(key, (pairCounts.get(key) ?? 0) + change);
    if (change <= 0) return;
    const list = places.get(key);
    if (list === undefined) places.set(key, [word]);
    else if (list[list.length - 1] !== word) list.push(word);
  };
  words.forEach((symbols, w) => {
    for (let i = 0; i + 1 < symbols.length; i++) count(pairKey(symbols[i], symbols[i + 1]), frequencies[w], w);
  });
  const heap = new CandidateHeap();
  for (const [key, value] of pairCounts) heap.push({ key, count: value });

  const merges: [string, string][] = [];
  /** Characters of the text that a merged symbol stands for. */
  const lengths = new Map<number, number>();
  const lengthOf = (id: number): number => lengths.get(id) ?? 1;
  while (names.length < options.vocabSize) {
    await step();
    const top = heap.pop();
    if (top === undefined) break;
    const current = pairCounts.get(top.key) ?? 0;
    if (current !== top.count) {
      if (current > 0) heap.push({ key: top.key, count: current });
      continue;
    }
    if (top.count < 1 || top.count < options.minFrequency) break;
    const left = Math.floor(top.key / pairKey(1, 0));
    const right = top.key % pairKey(1, 0);
    const tail = names[right];
    const merged = idOf(names[left] + (prefix !== '' && tail.startsWith(prefix) ? tail.slice(prefix.length) : tail));
    lengths.set(merged, lengthOf(left) + lengthOf(right));
    merges.push([names[left], tail]);
    const fresh = new Set<number>();
    for (const w of places.get(top.key) ?? []) mergeWord(w, left, right, merged, fresh);
    places.delete(top.key);
    pairCounts.delete(top.key);
    for (const key of fresh) {
      const value = pairCounts.get(key) ?? 0;
      if (value > 0) heap.push({ key, count: value });
    }
  }
  return { vocabulary, merges };

  /** Joins the pair wherever it occurs in a word, from the left, and counts the pairs that come and go. */
  function mergeWord(w: number, left: number, right: number, merged: number, fresh: Set<number>): void {
    const symbols = words[w];
    const frequency = frequencies[w];
    const own = pairKey(left, right);
    const change = (key: number, sign: 1 | -1): void => {
      // The counts of the pair itself end with it.
      if (key === own) return;
      count(key, sign * frequency, w);
      if (sign > 0) fresh.add(key);
    };
    const fits = (neighbour: number): boolean =>
      options.maxTokenLength === null || lengthOf(neighbour) + lengthOf(merged) <= options.maxTokenLength;
    for (let i = 0; i + 1 < symbols.length; i++) {
      if (symbols[i] !== left || symbols[i + 1] !== right) continue;
      if (i > 0) {
        change(pairKey(symbols[i - 1], left), -1);
        if (fits(symbols[i - 1])) change(pairKey(symbols[i - 1], merged), 1);
      }
      if (i + 2 < symbols.length) {
        change(pairKey(right, symbols[i + 2]), -1);
        if (fits(symbols[i + 2])) change(pairKey(merged, symbols[i + 2]), 1);
      }
      symbols.splice(i, 2, merged);
    }
  }
}
