/** What every token model offers. */
import type { Json } from '../json.js';

/** Tokens of one piece of text: id, and the range of UTF-16 units of the piece. */
export interface PieceTokens {
  readonly ids: number[];
  readonly from: number[];
  readonly to: number[];
  /** What to call token i, where that is not the name of its id (an unknown piece, by some models). */
  readonly texts?: ReadonlyMap<number, string>;
}

export interface TokenModel {
  /** Tokens in the vocabulary. */
  readonly size: number;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** @throws FormatError when a character is unknown and the model has no token for that. */
  tokenize(piece: string): PieceTokens;
  /** The `model` entry of tokenizer.json. */
  toJson(): Json;
}

export function noTokens(): PieceTokens {
  return { ids: [], from: [], to: [] };
}

/** Token of each id. */
export function invert(vocabulary: ReadonlyMap<string, number>): Map<number, string> {
  const out = new Map<number, string>();
  for (const [token, id] of vocabulary) out.set(id, token);
  return out;
}

/** The vocabulary as an object in the order of the ids. Made of entries: a token named `__proto__` is a token. */
export function vocabularyJson(vocabulary: ReadonlyMap<string, number>): Json {
  return Object.fromEntries([...vocabulary].sort((a, b) => a[1] - b[1]));
}

/** The ids of the tokens `<0x00>` to `<0xFF>`, undefined where one is missing. */
export function byteTokens(vocabulary: ReadonlyMap<string, number>): (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) => vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`));
}
