/** Plain vocabularies: words or characters as numbers, without files of tokenizer rules. */
import { ArgumentError, FormatError } from '../../errors.js';
import { checkList, checkString, type Json, JsonObject } from './json.js';
import { frequentWords } from './train.js';
import { compareCodePoints } from './unicode.js';

export interface VocabularyOptions {
  /** Words that occur less often are unknown; 1 unless told otherwise. */
  readonly minFrequency?: number;
  /** Tokens in all, special ones included. */
  readonly maxSize?: number;
  /** The first ids; `<pad>` and `<unk>` unless told otherwise. */
  readonly specialTokens?: readonly string[];
  /** One of the special tokens, or null: then unknown words are an error. */
  readonly unkToken?: string | null;
}

/** Letters with their marks and apostrophes, numbers, or single other signs; lowercase. */
export function splitWords(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu) ?? [];
}

/** Words and their numbers. */
export class Vocabulary {
  /** Word of each id. */
  readonly tokens: readonly string[];
  readonly unkToken: string | null;
  private readonly ids: ReadonlyMap<string, number>;

  /** @throws ArgumentError when a token occurs twice, or unkToken is none. */
  constructor(tokens: readonly string[], unkToken: string | null = null) {
    const ids = new Map(tokens.map((token, id) => [token, id]));
    if (ids.size !== tokens.length) throw new ArgumentError('a token occurs twice', { op: 'Vocabulary', expected: 'different tokens' });
    if (unkToken !== null && !ids.has(unkToken)) {
      throw new ArgumentError(`${unkToken} is not among the tokens`, { op: 'Vocabulary', expected: 'one of the tokens, or null' });
    }
    this.tokens = tokens;
    this.unkToken = unkToken;
    this.ids = ids;
  }

  /** Counts the words of all texts, given as lists of words; the most frequent ones get the lowest ids (ties: by code points). */
  static build(texts: Iterable<readonly string[]>, options: VocabularyOptions = {}): Vocabulary {
    const { minFrequency = 1, maxSize = Number.POSITIVE_INFINITY, specialTokens = ['<pad>', '<unk>'] } = options;
    const unkToken = options.unkToken === undefined ? (specialTokens.includes('<unk>') ? '<unk>' : null) : options.unkToken;
    const counts = new Map<string, number>();
    for (const words of texts) for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    for (const token of specialTokens) counts.delete(token);
    return new Vocabulary([...specialTokens, ...frequentWords(counts, minFrequency)].slice(0, maxSize), unkToken);
  }

  get size(): number {
    return this.tokens.length;
  }

  /** Undefined for unknown words. */
  id(token: string): number | undefined {
    return this.ids.get(token);
  }

  /** Numbers of the words. @throws ArgumentError for an unknown word without unkToken. */
  encode(words: readonly string[]): Int32Array {
    const unknown = this.unkToken === null ? undefined : this.ids.get(this.unkToken);
    return Int32Array.from(words, (word) => {
      const id = this.ids.get(word) ?? unknown;
      if (id === undefined) {
        throw new ArgumentError(`${JSON.stringify(word)} is not in the vocabulary`, { op: 'Vocabulary.encode', received: word });
      }
      return id;
    });
  }

  /** @throws ArgumentError for a number that is none of a token. */
  decode(ids: ArrayLike<number>): string[] {
    return Array.from(ids, (id) => {
      const token = this.tokens[id];
      if (token === undefined) throw new ArgumentError(`there is no token ${id}`, { op: 'Vocabulary.decode', received: id });
      return token;
    });
  }

  toJson(): Json {
    return { tokens: this.tokens, unkToken: this.unkToken };
  }

  /** @throws FormatError */
  static fromJson(value: unknown): Vocabulary {
    const object = new JsonObject(value, 'vocabulary');
    const tokens = checkList(object.get('tokens'), 'vocabulary.tokens', 2 ** 26).map((token) => checkString(token, 'vocabulary.tokens'));
    try {
      return new Vocabulary(tokens, object.optionalString('unkToken'));
    } catch (cause) {
      throw new FormatError('the vocabulary is damaged', { op: 'Vocabulary.fromJson', cause, expected: 'different tokens' });
    }
  }
}

/** Every character (code point) is a token, in the order of code points. */
export class CharTokenizer {
  readonly vocabulary: Vocabulary;

  /** @param unkToken for characters that are not there; null: they are an error. */
  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
  }

  /** The characters of the texts, after the special tokens. */
  static build(texts: Iterable<string>, options: Pick<VocabularyOptions, 'specialTokens' | 'unkToken'> = {}): CharTokenizer {
    const { specialTokens = [], unkToken = null } = options;
    const characters = new Set<string>();
    for (const text of texts) for (const character of text) characters.add(character);
    for (const token of specialTokens) characters.delete(token);
    const sorted = [...characters].sort(compareCodePoints);
    return new CharTokenizer(new Vocabulary([...specialTokens, ...sorted], unkToken));
  }

  get vocabSize(): number {
    return this.vocabulary.size;
  }

  /** @throws ArgumentError for an unknown character without unkToken. */
  encode(text: string): Int32Array {
    return this.vocabulary.encode([...text]);
  }

  /** @throws ArgumentError for a number that is none of a token. */
  decode(ids: ArrayLike<number>): string {
    return this.vocabulary.decode(ids).join('');
  }

  toJson(): Json {
    return this.vocabulary.toJson();
  }

  /** @throws FormatError */
  static fromJson(value: unknown): CharTokenizer {
    return new CharTokenizer(Vocabulary.fromJson(value));
  }
}

/** Sequences of different lengths as one array [n, length]: cut or filled up with `padding`, and the lengths that are real. */
export function padSequences(
  sequences: readonly ArrayLike<number>[],
  options: { readonly length?: number; readonly padding?: number; readonly side?: 'right' | 'left' } = {},
): { readonly data: Int32Array; readonly lengths: Int32Array; readonly length: number } {
  const longest = sequences.reduce((most, sequence) => Math.max(most, sequence.length), 0);
  const { length = longest, padding = 0, side = 'right' } = options;
  if (!Number.isInteger(length) || length < 0) {
    throw new ArgumentError(`length ${length}`, { op: 'padSequences', received: length, expected: 'a whole number, 0 or more' });
  }
  const data = new Int32Array(sequences.length * length).fill(padding);
  const lengths = new Int32Array(sequences.length);
  sequences.forEach((sequence, row) => {
    const kept = Math.min(length, sequence.length);
    lengths[row] = kept;
    const start = row * length + (side === 'left' ? length - kept : 0);
    for (let i = 0; i < kept; i++) data[start + i] = sequence[i];
  });
  return { data, lengths, length };
}
