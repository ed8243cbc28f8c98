/** Byte-pair encoding (Sennrich et al. 2016), with the options of tokenizer.json. */
import { FormatError } from '../../../errors.js';
import { ItemRandom } from '../../item-random.js';
import { checkList, checkString, type Json, type JsonObject, maxTokenId, readVocabulary, refuse } from '../json.js';
import { units, utf8 } from '../unicode.js';
import { byteTokens, invert, noTokens, type PieceTokens, type TokenModel, vocabularyJson } from './model.js';

export interface BpeOptions {
  /** Each merge is left out with this probability (Provilkov et al., "BPE-dropout", 2020); null for none. */
  readonly dropout?: number | null;
  readonly unkToken?: string | null;
  /** In front of every symbol of a word but the first. */
  readonly continuingSubwordPrefix?: string | null;
  /** Behind the last symbol of a word. */
  readonly endOfWordSuffix?: string | null;
  /** A run of unknown characters is one token. */
  readonly fuseUnk?: boolean;
  /** An unknown character becomes the tokens `<0x..>` of its bytes. */
  readonly byteFallback?: boolean;
  /** A piece that is a token is that token, whatever the merges say. */
  readonly ignoreMerges?: boolean;
}

/** Pairs of ids and (rank, id) are kept in one number each: 26 bits and 26 bits. */
const shift = 2 ** 26;
export const pairKey = (left: number, right: number): number => left * shift + right;

/** Pieces whose tokens are kept. */
const cacheSize = 20_000;
/** Longer pieces seldom come again. */
const cachedLength = 256;
/** Symbols up to which the best merge is searched by looking at all of them. */
const shortPiece = 24;

/** A smallest-first heap of numbers. */
class NumberHeap {
  private readonly items: number[] = [];
  get size(): number {
    return this.items.length;
  }
  push(value: number): void {
    const { items } = this;
    let i = items.push(value) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (items[parent] <= value) break;
      items[i] = items[parent];
      i = parent;
    }
    items[i] = value;
  }
  pop(): number {
    const { items } = this;
    const top = items[0];
    const value = items.pop() as number;
    const n = items.length;
    if (n > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && items[child + 1] < items[child]) child++;
        if (items[child] >= value) break;
        items[i] = items[child];
        i = child;
      }
      items[i] = value;
    }
    return top;
  }
}

export class Bpe implements TokenModel {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly options: BpeOptions;
  private readonly names: ReadonlyMap<number, string>;
  /** Rank and resulting id of each pair. */
  private readonly ranks = new Map<number, number>();
  private readonly bytes: readonly (number | undefined)[];
  private readonly unk: number | null;
  private readonly cache = new Map<string, PieceTokens>();
  private random = new ItemRandom(0);

  /** @throws FormatError when a merge names a token that is not in the vocabulary. */
  constructor(vocabulary: ReadonlyMap<string, number>, merges: readonly (readonly [string, string])[], options: BpeOptions = {}) {
    this.vocabulary = vocabulary;
    this.merges = merges;
    this.options = options;
    this.names = invert(vocabulary);
    const { unkToken = null, dropout = null } = options;
    if (dropout !== null && !(dropout >= 0 && dropout <= 1)) throw refuse('model.dropout', `is ${dropout}`, 'a number from 0 to 1');
    if (unkToken !== null && !vocabulary.has(unkToken)) throw refuse('model.unk_token', 'is not in the vocabulary');
    this.unk = unkToken === null ? null : (vocabulary.get(unkToken) ?? null);
    this.bytes = options.byteFallback ? byteTokens(vocabulary) : [];
    const prefix = options.continuingSubwordPrefix?.length ?? 0;
    merges.forEach(([left, right], rank) => {
      const a = vocabulary.get(left);
      const b = vocabulary.get(right);
      const merged = vocabulary.get(left + right.slice(prefix));
      if (a === undefined || b === undefined || merged === undefined) {
        throw refuse(
          `model.merges[${rank}]`,
          `joins ${JSON.stringify(left)} and ${JSON.stringify(right)}`,
          'parts and a result in the vocabulary',
        );
      }
      this.ranks.set(pairKey(a, b), rank * shift + merged);
    });
  }

  get size(): number {
    return this.vocabulary.size;
  }
  tokenToId(token: string): number | undefined {
    return this.vocabulary.get(token);
  }
  idToToken(id: number): string | undefined {
    return this.names.get(id);
  }

  /** Where dropout takes its random numbers from. */
  seedDropout(random: ItemRandom): void {
    this.random = random;
  }

  tokenize(piece: string): PieceTokens {
    if (this.options.ignoreMerges) {
      const id = this.vocabulary.get(piece);
      if (id !== undefined) return { ids: [id], from: [0], to: [piece.length] };
    }
    if (this.options.dropout) return this.merge(this.symbols(piece), this.options.dropout);
    const found = this.cache.get(piece);
    if (found) return found;
    const tokens = this.merge(this.symbols(piece), 0);
    if (piece.length <= cachedLength) {
      if (this.cache.size >= cacheSize) this.cache.clear();
      this.cache.set(piece, tokens);
    }
    return tokens;
  }

  /** The characters of the piece as tokens. */
  private symbols(piece: string): PieceTokens {
    const { ids, from, to } = noTokens();
    const { continuingSubwordPrefix: prefix, endOfWordSuffix: suffix, fuseUnk = false } = this.options;
    let unknown = false;
    for (let i = 0; i < piece.length; ) {
      const codePoint = piece.codePointAt(i) ?? 0;
      const end = i + units(codePoint);
      const character = codePoint >= 0xd800 && codePoint <= 0xdfff ? '\ufffd' : piece.slice(i, end);
      let symbol = character;
      if (i > 0 && prefix) symbol = prefix + symbol;
      if (end === piece.length && suffix) symbol += suffix;
      const id = this.vocabulary.get(symbol);
      if (id !== undefined) {
        ids.push(id);
        from.push(i);
        to.push(end);
        unknown = false;
      } else if (!this.pushBytes(symbol, i, end, ids, from, to) && this.unk !== null) {
        if (unknown && fuseUnk) to[to.length - 1] = end;
        else {
          ids.push(this.unk);
          from.push(i);
          to.push(end);
        }
        unknown = true;
      }
      i = end;
    }
    return { ids, from, to };
  }

  private pushBytes(symbol: string, start: number, end: number, ids: number[], from: number[], to: number[]): boolean {
    if (this.bytes.length === 0) return false;
    const found: number[] = [];
    for (const byte of utf8(symbol)) {
      const id = this.bytes[byte];
      if (id === undefined) return false;
      found.push(id);
    }
    for (const id of found) {
      ids.push(id);
      from.push(start);
      to.push(end);
    }
    return true;
  }

  private merge(symbols: PieceTokens, dropout: number): PieceTokens {
    return symbols.ids.length <= shortPiece && dropout === 0 ? this.mergeShort(symbols) : this.mergeLong(symbols, dropout);
  }

  /** The merge of the lowest rank, leftmost first, until there is none. */
  private mergeShort({ ids, from, to }: PieceTokens): PieceTokens {
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      let place = -1;
      for (let i = 0; i + 1 < ids.length; i++) {
        const found = this.ranks.get(pairKey(ids[i], ids[i + 1]));
        if (found !== undefined && found < best) {
          best = found;
          place = i;
        }
      }
      if (place < 0) return { ids, from, to };
      ids[place] = best % shift;
      to[place] = to[place + 1];
      ids.splice(place + 1, 1);
      from.splice(place + 1, 1);
      to.splice(place + 1, 1);
    }
  }

  /** The same over a linked list with a heap: n log n for long pieces. */
  private mergeLong({ ids, from, to }: PieceTokens, dropout: number): PieceTokens {
    const n = ids.length;
    const next = Int32Array.from({ length: n }, (_, i) => (i + 1 < n ? i + 1 : -1));
    const before = Int32Array.from({ length: n }, (_, i) => i - 1);
    const gone = new Uint8Array(n);
    const heap = new NumberHeap();
    const enter = (i: number): void => {
      if (i < 0 || next[i] < 0) return;
      const found = this.ranks.get(pairKey(ids[i], ids[next[i]]));
      if (found !== undefined) heap.push(Math.floor(found / shift) * shift + i);
    };
    for (let i = 0; i + 1 < n; i++) enter(i);
    const skipped: number[] = [];
    while (heap.size > 0) {
      const top = heap.pop();
      const i = top % shift;
      const j = next[i];
      if (gone[i] || j < 0) continue;
      const found = this.ranks.get(pairKey(ids[i], ids[j]));
      if (found === undefined || Math.floor(found / shift) !== Math.floor(top / shift)) continue;
      if (dropout > 0 && this.random.chance(dropout)) {
        skipped.push(top);
        continue;
      }
      // What was left out comes up again beside the next merge.
      for (const value of skipped.splice(0)) heap.push(value);
      ids[i] = found % shift;
      to[i] = to[j];
      gone[j] = 1;
      next[i] = next[j];
      if (next[j] >= 0) before[next[j]] = i;
      enter(before[i]);
      enter(i);
    }
    const out = noTokens();
    for (let i = n > 0 ? 0 : -1; i >= 0; i = next[i]) {
      out.ids.push(ids[i]);
      out.from.push(from[i]);
      out.to.push(to[i]);
    }
    return out;
  }

  toJson(): Json {
    const { options } = this;
    return {
      type: 'BPE',
      dropout: options.dropout ?? null,
      unk_token: options.unkToken ?? null,
      continuing_subword_prefix: options.continuingSubwordPrefix ?? null,
      end_of_word_suffix: options.endOfWordSuffix ?? null,
      fuse_unk: options.fuseUnk ?? false,
      byte_fallback: options.byteFallback ?? false,
      ignore_merges: options.ignoreMerges ?? false,
      vocab: vocabularyJson(this.vocabulary),
      merges: this.merges.map(([left, right]) => [left, right]),
    };
  }
}

/** @throws FormatError */
export function readBpe(spec: JsonObject): Bpe {
  const vocabulary = readVocabulary(spec.get('vocab'), spec.at('vocab'));
  const merges = spec.list('merges', maxTokenId).map((value, i): readonly [string, string] => {
    const path = `${spec.at('merges')}[${i}]`;
    // Old files write a merge as one text with a space.
    if (typeof value === 'string') {
      const space = value.indexOf(' ');
      if (space < 1 || value.indexOf(' ', space + 1) >= 0)
        throw refuse(path, `is ${JSON.stringify(value)}`, 'two tokens with a space between');
      return [value.slice(0, space), value.slice(space + 1)];
    }
    const pair = checkList(value, path, 2);
    if (pair.length !== 2) throw refuse(path, `has ${pair.length} elements`, 'two tokens');
    return [checkString(pair[0], path), checkString(pair[1], path)];
  });
  const dropout = spec.get('dropout') ?? null;
  if (dropout !== null && typeof dropout !== 'number') throw new FormatError('model.dropout is no number', { op: 'tokenizer.json' });
  return new Bpe(vocabulary, merges, {
    dropout,
    unkToken: spec.optionalString('unk_token'),
    continuingSubwordPrefix: spec.optionalString('continuing_subword_prefix'),
    endOfWordSuffix: spec.optionalString('end_of_word_suffix'),
    fuseUnk: spec.boolean('fuse_unk', false),
    byteFallback: spec.boolean('byte_fallback', false),
    ignoreMerges: spec.boolean('ignore_merges', false),
  });
}
