/** Models that look whole words up: WordLevel, and WordPiece with its parts of words. */
import { FormatError } from '../../../errors.js';
import { type Json, type JsonObject, readVocabulary } from '../json.js';
import { invert, noTokens, type PieceTokens, type TokenModel, vocabularyJson } from './model.js';

abstract class VocabularyModel implements TokenModel {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly unkToken: string;
  private readonly names: ReadonlyMap<number, string>;

  constructor(vocabulary: ReadonlyMap<string, number>, unkToken: string) {
    this.vocabulary = vocabulary;
    this.unkToken = unkToken;
    this.names = invert(vocabulary);
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
  protected unknown(piece: string): PieceTokens {
    const id = this.vocabulary.get(this.unkToken);
    if (id === undefined) {
      throw new FormatError(`${JSON.stringify(piece.slice(0, 40))} is not in the vocabulary, and neither is ${this.unkToken}`, {
        op: 'tokenize',
        expected: 'a vocabulary with the token for unknown words',
      });
    }
    return { ids: [id], from: [0], to: [piece.length] };
  }
  abstract tokenize(piece: string): PieceTokens;
  abstract toJson(): Json;
}

/** Every piece is one token. */
export class WordLevel extends VocabularyModel {
  constructor(vocabulary: ReadonlyMap<string, number>, unkToken = '<unk>') {
    super(vocabulary, unkToken);
  }
  override tokenize(piece: string): PieceTokens {
    const id = this.vocabulary.get(piece);
    return id === undefined ? this.unknown(piece) : { ids: [id], from: [0], to: [piece.length] };
  }
  override toJson(): Json {
    return { type: 'WordLevel', vocab: vocabularyJson(this.vocabulary), unk_token: this.unkToken };
  }
}

export interface WordPieceOptions {
  readonly unkToken?: string;
  /** In front of parts that do not begin a word; `##` unless told otherwise. */
  readonly continuingSubwordPrefix?: string;
  /** Longer words are unknown. */
  readonly maxInputCharsPerWord?: number;
}

/** Each word is cut into the longest parts that the vocabulary has, from the left (Schuster and Nakajima 2012). */
export class WordPiece extends VocabularyModel {
  readonly prefix: string;
  readonly maxInputCharsPerWord: number;
  private readonly longest: number;

  constructor(vocabulary: ReadonlyMap<string, number>, options: WordPieceOptions = {}) {
    super(vocabulary, options.unkToken ?? '[UNK]');
    this.prefix = options.continuingSubwordPrefix ?? '##';
    this.maxInputCharsPerWord = options.maxInputCharsPerWord ?? 100;
    let longest = 1;
    for (const token of vocabulary.keys()) longest = Math.max(longest, token.length);
    this.longest = longest;
  }

  override tokenize(piece: string): PieceTokens {
    if (piece.length > this.maxInputCharsPerWord && [...piece].length > this.maxInputCharsPerWord) return this.unknown(piece);
    const { ids, from, to } = noTokens();
    let start = 0;
    while (start < piece.length) {
      let end = Math.min(piece.length, start + this.longest);
      let id: number | undefined;
      for (; end > start; end--) {
        const low = piece.charCodeAt(end);
        // Never between the two units of a character.
        if (end < piece.length && low >= 0xdc00 && low <= 0xdfff) continue;
        const part = piece.slice(start, end);
        id = this.vocabulary.get(start > 0 ? this.prefix + part : part);
        if (id !== undefined) break;
      }
      if (id === undefined) return this.unknown(piece);
      ids.push(id);
      from.push(start);
      to.push(end);
      start = end;
    }
    return { ids, from, to };
  }

  override toJson(): Json {
    return {
      type: 'WordPiece',
      unk_token: this.unkToken,
      continuing_subword_prefix: this.prefix,
      max_input_chars_per_word: this.maxInputCharsPerWord,
      vocab: vocabularyJson(this.vocabulary),
    };
  }
}

/** @throws FormatError */
export function readWordLevel(spec: JsonObject): WordLevel {
  return new WordLevel(readVocabulary(spec.get('vocab'), spec.at('vocab')), spec.string('unk_token', '<unk>'));
}

/** @throws FormatError */
export function readWordPiece(spec: JsonObject): WordPiece {
  return new WordPiece(readVocabulary(spec.get('vocab'), spec.at('vocab')), {
    unkToken: spec.string('unk_token', '[UNK]'),
    continuingSubwordPrefix: spec.string('continuing_subword_prefix', '##'),
    maxInputCharsPerWord: spec.integer('max_input_chars_per_word', 1, 10_000, 100),
  });
}
