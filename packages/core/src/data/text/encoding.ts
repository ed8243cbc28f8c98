/** What encoding gives, and cutting, joining and filling it up. */
import { ArgumentError } from '../../errors.js';

/** The tokens of a text (or of a pair of texts). */
export interface Encoding {
  readonly length: number;
  readonly ids: Int32Array;
  readonly tokens: readonly string[];
  /** [start, end) of each token in the text it came from, in UTF-16 units (`text.slice(start, end)`): int32 [length, 2]. Special tokens have [0, 0). */
  readonly offsets: Int32Array;
  /** 0 for the first text, 1 for the second, or what the post-processor says. */
  readonly typeIds: Int32Array;
  /** 0 for padding, else 1. */
  readonly attentionMask: Int32Array;
  /** 1 for tokens that the post-processor or padding added. */
  readonly specialTokensMask: Int32Array;
  /** Index of the piece (word) of the text; -1 for special tokens. */
  readonly words: Int32Array;
  /** 0 or 1: the text it came from; -1 for special tokens. */
  readonly sequences: Int32Array;
  /** With truncation: what was cut off, in further encodings. */
  readonly overflowing: readonly Encoding[];
}

/** An encoding in the making. */
export class TokenList {
  ids: number[] = [];
  tokens: string[] = [];
  starts: number[] = [];
  ends: number[] = [];
  typeIds: number[] = [];
  attention: number[] = [];
  special: number[] = [];
  words: number[] = [];
  sequences: number[] = [];
  overflowing: TokenList[] = [];

  get length(): number {
    return this.ids.length;
  }

  push(id: number, token: string, start: number, end: number, word: number, sequence: number): void {
    this.ids.push(id);
    this.tokens.push(token);
    this.starts.push(start);
    this.ends.push(end);
    this.typeIds.push(sequence);
    this.attention.push(1);
    this.special.push(0);
    this.words.push(word);
    this.sequences.push(sequence);
  }

  pushSpecial(id: number, token: string, typeId: number): void {
    this.ids.push(id);
    this.tokens.push(token);
    this.starts.push(0);
    this.ends.push(0);
    this.typeIds.push(typeId);
    this.attention.push(1);
    this.special.push(1);
    this.words.push(-1);
    this.sequences.push(-1);
  }

  /** Tokens from .. to - 1. */
  part(from: number, to: number): TokenList {
    const out = new TokenList();
    for (const name of columns) out[name] = this[name].slice(from, to) as number[] & string[];
    return out;
  }

  append(other: TokenList, typeId: number): void {
    const before = this.length;
    for (const name of columns) this[name] = (this[name] as (number | string)[]).concat(other[name]) as number[] & string[];
    this.typeIds.fill(typeId, before);
  }

  /** Keeps the first (or last) `length` tokens; what is cut off goes into {@link overflowing}, `stride` tokens repeated. */
  truncate(length: number, stride: number, direction: Direction): void {
    const total = this.length;
    if (length >= total) return;
    if (length > 0 && stride >= length) {
      throw new ArgumentError(`a stride of ${stride} tokens for parts of ${length}`, { op: 'truncation', expected: 'stride < length' });
    }
    const parts: TokenList[] = [];
    const step = length - stride;
    if (length === 0) parts.push(new TokenList(), this.part(0, total));
    else if (direction === 'Right') {
      for (let start = 0; ; start += step) {
        parts.push(this.part(start, Math.min(total, start + length)));
        if (start + length >= total) break;
      }
    } else {
      for (let stop = total; ; stop -= step) {
        parts.push(this.part(Math.max(0, stop - length), stop));
        if (stop <= length) break;
      }
    }
    const [first, ...rest] = parts;
    for (const name of columns) this[name] = first[name] as number[] & string[];
    this.overflowing = rest;
  }

  pad(length: number, padding: Padding): void {
    const missing = length - this.length;
    const fill = new TokenList();
    for (let i = 0; i < missing; i++) fill.pushSpecial(padding.pad_id, padding.pad_token, padding.pad_type_id);
    fill.attention.fill(0);
    for (const name of columns) {
      const added = fill[name] as (number | string)[];
      const own = this[name] as (number | string)[];
      this[name] = (padding.direction === 'Right' ? own.concat(added) : added.concat(own)) as number[] & string[];
    }
    for (const part of this.overflowing) part.pad(length, padding);
  }

  finish(): Encoding {
    const offsets = new Int32Array(2 * this.length);
    for (let i = 0; i < this.length; i++) {
      offsets[2 * i] = this.starts[i];
      offsets[2 * i + 1] = this.ends[i];
    }
    return {
      length: this.length,
      ids: Int32Array.from(this.ids),
      tokens: this.tokens,
      offsets,
      typeIds: Int32Array.from(this.typeIds),
      attentionMask: Int32Array.from(this.attention),
      specialTokensMask: Int32Array.from(this.special),
      words: Int32Array.from(this.words),
      sequences: Int32Array.from(this.sequences),
      overflowing: this.overflowing.map((part) => part.finish()),
    };
  }
}

const columns = ['ids', 'tokens', 'starts', 'ends', 'typeIds', 'attention', 'special', 'words', 'sequences'] as const;

export type Direction = 'Right' | 'Left';

/** As in tokenizer.json. */
export interface Truncation {
  readonly direction: Direction;
  /** Tokens in all, special ones included. */
  readonly max_length: number;
  readonly strategy: 'LongestFirst' | 'OnlyFirst' | 'OnlySecond';
  readonly stride: number;
}

/** As in tokenizer.json. */
export interface Padding {
  readonly strategy: 'BatchLongest' | { readonly Fixed: number };
  readonly direction: Direction;
  readonly pad_to_multiple_of: number | null;
  readonly pad_id: number;
  readonly pad_type_id: number;
  readonly pad_token: string;
}

/** Cuts one or two lists so that together with `added` special tokens they have at most max_length. @throws ArgumentError */
export function truncateLists(lists: readonly TokenList[], truncation: Truncation, added: number): void {
  const { direction, strategy, stride } = truncation;
  const limit = Math.max(0, truncation.max_length - added);
  const total = lists.reduce((sum, list) => sum + list.length, 0);
  if (total <= limit) return;
  if (strategy === 'LongestFirst') {
    if (lists.length === 1) {
      lists[0].truncate(limit, stride, direction);
      return;
    }
    const swapped = lists[0].length > lists[1].length;
    let short = Math.min(lists[0].length, lists[1].length);
    let long = short > limit ? short : Math.max(short, limit - short);
    if (short + long > limit) {
      short = Math.floor(limit / 2);
      long = short + (limit % 2);
    }
    lists[0].truncate(swapped ? long : short, stride, direction);
    lists[1].truncate(swapped ? short : long, stride, direction);
    return;
  }
  const target = lists[strategy === 'OnlyFirst' ? 0 : 1];
  const excess = total - limit;
  if (!target || target.length <= excess) {
    throw new ArgumentError(`${excess} tokens are too many, and the text to be cut has ${target?.length ?? 0}`, {
      op: 'truncation',
      expected: 'a longer text, or the strategy LongestFirst',
    });
  }
  target.truncate(target.length - excess, stride, direction);
}

export function paddedLength(longest: number, padding: Padding): number {
  const length = padding.strategy === 'BatchLongest' ? longest : padding.strategy.Fixed;
  const multiple = padding.pad_to_multiple_of ?? 0;
  return multiple > 1 ? Math.ceil(length / multiple) * multiple : length;
}
