/** The unigram language model of SentencePiece (Kudo 2018): the segmentation with the highest sum of log probabilities. */
import { checkList, checkString, type Json, type JsonObject, maxTokenId, refuse } from '../json.js';
import { units, utf8 } from '../unicode.js';
import { byteTokens, noTokens, type PieceTokens, type TokenModel } from './model.js';

export interface UnigramOptions {
  /** Index of the token for unknown characters. */
  readonly unkId?: number | null;
  readonly byteFallback?: boolean;
}

/** An unknown character costs this much more than the least likely token. */
const unknownPenalty = 10;

export class Unigram implements TokenModel {
  /** Token i and its log probability. */
  readonly tokens: readonly (readonly [string, number])[];
  readonly options: UnigramOptions;
  private readonly ids = new Map<string, number>();
  private readonly bytes: readonly (number | undefined)[];
  private readonly longest: number;
  private readonly unknownScore: number;

  /** @throws FormatError when unkId is no token. */
  constructor(tokens: readonly (readonly [string, number])[], options: UnigramOptions = {}) {
    this.tokens = tokens;
    this.options = options;
    const { unkId = null } = options;
    if (unkId !== null && (unkId < 0 || unkId >= tokens.length)) throw refuse('model.unk_id', `is ${unkId}`, 'the index of a token');
    let longest = 1;
    let least = Number.POSITIVE_INFINITY;
    tokens.forEach(([token, score], id) => {
      this.ids.set(token, id);
      longest = Math.max(longest, token.length);
      least = Math.min(least, score);
    });
    this.longest = longest;
    this.unknownScore = least - unknownPenalty;
    this.bytes = options.byteFallback ? byteTokens(this.ids) : [];
  }

  get size(): number {
    return this.tokens.length;
  }
  tokenToId(token: string): number | undefined {
    return this.ids.get(token);
  }
  idToToken(id: number): string | undefined {
    return this.tokens[id]?.[0];
  }

  /** Viterbi over the places between characters. */
  tokenize(piece: string): PieceTokens {
    const n = piece.length;
    const score = new Float64Array(n + 1).fill(Number.NEGATIVE_INFINITY);
    const origin = new Int32Array(n + 1).fill(-1);
    const token = new Int32Array(n + 1).fill(-1);
    score[0] = 0;
    const offer = (from: number, to: number, value: number, id: number): void => {
      if (origin[to] >= 0 && value <= score[to]) return;
      score[to] = value;
      origin[to] = from;
      token[to] = id;
    };
    for (let at = 0; at < n; ) {
      const step = units(piece.codePointAt(at) ?? 0);
      let single = false;
      for (let to = at + step; to <= Math.min(n, at + this.longest); ) {
        const id = this.ids.get(piece.slice(at, to));
        if (id !== undefined) {
          offer(at, to, score[at] + this.tokens[id][1], id);
          if (to === at + step) single = true;
        }
        to += to < n ? units(piece.codePointAt(to) ?? 0) : 1;
      }
      if (!single) offer(at, at + step, score[at] + this.unknownScore, -1);
      at += step;
    }
    const path: { from: number; to: number; id: number }[] = [];
    for (let to = n; to > 0; to = origin[to]) path.push({ from: origin[to], to, id: token[to] });
    return this.finish(path.reverse(), piece);
  }

  /** A run of unknown characters is one token: its bytes where the vocabulary has them, else the unknown token. */
  private finish(path: readonly { from: number; to: number; id: number }[], piece: string): PieceTokens {
    const { ids, from, to } = noTokens();
    const texts = new Map<number, string>();
    const { unkId = null } = this.options;
    const push = (id: number, start: number, end: number): void => {
      ids.push(id);
      from.push(start);
      to.push(end);
    };
    for (let i = 0; i < path.length; i++) {
      const { from: start, id } = path[i];
      if (id >= 0 && id !== unkId) {
        push(id, start, path[i].to);
        continue;
      }
      while (i + 1 < path.length && (path[i + 1].id < 0 || path[i + 1].id === unkId)) i++;
      const end = path[i].to;
      const text = piece.slice(start, end);
      const whole = this.ids.get(text);
      const bytes = this.bytes.length > 0 && whole === undefined ? [...utf8(text)].map((byte) => this.bytes[byte]) : [undefined];
      if (whole !== undefined) push(whole, start, end);
      else if (!bytes.includes(undefined)) for (const byte of bytes) push(byte as number, start, end);
      else if (unkId !== null) {
        texts.set(ids.length, text);
        push(unkId, start, end);
      } else throw refuse(JSON.stringify(text.slice(0, 40)), 'is not in the vocabulary, and the model has no unknown token');
    }
    return { ids, from, to, texts };
  }

  toJson(): Json {
    return {
      type: 'Unigram',
      unk_id: this.options.unkId ?? null,
      vocab: this.tokens.map(([token, score]) => [token, score]),
      byte_fallback: this.options.byteFallback ?? false,
    };
  }
}

/** @throws FormatError */
export function readUnigram(spec: JsonObject): Unigram {
  const tokens = spec.list('vocab', maxTokenId).map((value, i): readonly [string, number] => {
    const path = `${spec.at('vocab')}[${i}]`;
    const pair = checkList(value, path, 2);
    const score = pair[1];
    if (typeof score !== 'number') throw refuse(path, 'has no score', 'a token and its log probability');
    return [checkString(pair[0], path), score];
  });
  return new Unigram(tokens, {
    unkId: spec.has('unk_id') ? spec.integer('unk_id', 0, maxTokenId) : null,
    byteFallback: spec.boolean('byte_fallback', false),
  });
}
