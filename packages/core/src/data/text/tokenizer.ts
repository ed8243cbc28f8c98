/** Tokenizers in the form of Hugging Face's tokenizer.json: read, run, write. */
import { ArgumentError, FormatError } from '../../errors.js';
import { readFileBounded, writeFileAtomic } from '../../io/files.js';
import { type AddedToken, type AddedTokenEntry, AddedVocabulary } from './added-tokens.js';
import { AlignedText } from './aligned.js';
import { DecodeStream } from './decode-stream.js';
import { type Decoder, type DecoderSpec, readDecoder } from './decoders.js';
import { type Encoding, type Padding, paddedLength, TokenList, type Truncation, truncateLists } from './encoding.js';
import { type Json, JsonObject, maxTokenId } from './json.js';
import { readBpe } from './models/bpe.js';
import type { TokenModel } from './models/model.js';
import { readUnigram } from './models/unigram.js';
import { readWordLevel, readWordPiece } from './models/words.js';
import { type Normalizer, type NormalizerSpec, readNormalizer } from './normalizers.js';
import { type PostProcessor, type PostProcessorSpec, readPostProcessor } from './post-processors.js';
import { type PreTokenizer, type PreTokenizerSpec, readPreTokenizer } from './pre-tokenizers.js';

/** The parts of a tokenizer; normalizer to decoder as they stand in tokenizer.json. */
export interface TokenizerParts {
  readonly model: TokenModel;
  readonly normalizer?: NormalizerSpec | null;
  readonly preTokenizer?: PreTokenizerSpec | null;
  readonly postProcessor?: PostProcessorSpec | null;
  readonly decoder?: DecoderSpec | null;
}

export interface EncodeOptions {
  /** A second text. */
  readonly pair?: string;
  /** Those of the post-processor; true unless told otherwise. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave out special tokens; true unless told otherwise. */
  readonly skipSpecialTokens?: boolean;
}

export interface TokenizerLimits {
  /** Largest file in bytes (or characters); 256 MiB unless told otherwise. */
  readonly maxBytes?: number;
}

const defaultMaxBytes = 2 ** 28;
/** Added tokens of a file. */
const maxAddedTokens = 1_000_000;

/**
 * A text goes through: added tokens are set apart, the rest is normalized, cut into pieces by the pre-tokenizer, each piece
 * becomes tokens of the model, and the post-processor adds special tokens.
 */
export class Tokenizer {
  readonly model: TokenModel;
  private readonly parts: TokenizerParts;
  private readonly normalize: Normalizer | null;
  private readonly preTokenize: PreTokenizer | null;
  private readonly post: PostProcessor;
  private readonly decoder: Decoder | null;
  private readonly added = new AddedVocabulary();
  /** Cut encodings to a length; null for none. */
  truncation: Truncation | null = null;
  /** Fill encodings up; null for none. */
  padding: Padding | null = null;
  /** True: special tokens in a text are read as plain text (for texts of strangers). */
  encodeSpecialTokens = false;

  /** @throws FormatError for parts that are unknown or of the wrong form. */
  constructor(parts: TokenizerParts) {
    this.parts = parts;
    this.model = parts.model;
    this.normalize = parts.normalizer ? readNormalizer(parts.normalizer) : null;
    this.preTokenize = parts.preTokenizer ? readPreTokenizer(parts.preTokenizer) : null;
    this.post = readPostProcessor(parts.postProcessor ?? null);
    this.decoder = parts.decoder ? readDecoder(parts.decoder) : null;
  }

  /**
   * Reads a tokenizer.json: its text, its bytes, or the parsed document. The file is not trusted: sizes are limited, every
   * value is checked, its regular expressions cannot hang, and names never become properties of objects.
   * @throws FormatError
   */
  static fromJson(source: string | Uint8Array | object, limits: TokenizerLimits = {}): Tokenizer {
    const op = 'Tokenizer.fromJson';
    const maxBytes = limits.maxBytes ?? defaultMaxBytes;
    let document: unknown = source;
    if (typeof source === 'string' || source instanceof Uint8Array) {
      if (source.length > maxBytes) throw new FormatError(`the file has ${source.length} bytes`, { op, expected: `at most ${maxBytes}` });
      try {
        document = JSON.parse(typeof source === 'string' ? source : new TextDecoder('utf-8', { fatal: true }).decode(source));
      } catch (cause) {
        throw new FormatError('the file is no JSON document', { op, cause, expected: 'a tokenizer.json' });
      }
    }
    const root = new JsonObject(document, 'tokenizer');
    // The parts are checked where they are compiled, so the specifications may be taken over as they are.
    const tokenizer = new Tokenizer({
      model: readModel(root.object('model')),
      normalizer: (root.get('normalizer') ?? null) as NormalizerSpec | null,
      preTokenizer: (root.get('pre_tokenizer') ?? null) as PreTokenizerSpec | null,
      postProcessor: (root.get('post_processor') ?? null) as PostProcessorSpec | null,
      decoder: (root.get('decoder') ?? null) as DecoderSpec | null,
    });
    if (root.has('truncation')) tokenizer.truncation = readTruncation(root.object('truncation'));
    if (root.has('padding')) tokenizer.padding = readPadding(root.object('padding'));
    if (root.has('added_tokens')) {
      root.list('added_tokens', maxAddedTokens).forEach((value, i) => {
        const token = new JsonObject(value, `added_tokens[${i}]`);
        const content = token.string('content');
        if (content === '') return;
        tokenizer.enter({
          // A token of the model keeps its id.
          id: tokenizer.model.tokenToId(content) ?? token.integer('id', 0, maxTokenId),
          content,
          singleWord: token.boolean('single_word', false),
          lstrip: token.boolean('lstrip', false),
          rstrip: token.boolean('rstrip', false),
          special: token.boolean('special', false),
          normalized: token.boolean('normalized', !token.boolean('special', false)),
        });
      });
    }
    return tokenizer;
  }

  /** Reads a file. Node only. @throws FormatError | EnvironmentError */
  static async load(path: string, limits: TokenizerLimits = {}): Promise<Tokenizer> {
    return Tokenizer.fromJson(await readFileBounded(path, limits.maxBytes ?? defaultMaxBytes), limits);
  }

  /** The document that {@link fromJson} reads. */
  toJson(): Json {
    const { parts } = this;
    return {
      version: '1.0',
      truncation: this.truncation === null ? null : { ...this.truncation },
      padding: this.padding === null ? null : ({ ...this.padding } as Json),
      added_tokens: this.added.entries.map((token) => ({
        id: token.id,
        content: token.content,
        single_word: token.singleWord,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
        normalized: token.normalized,
        special: token.special,
      })),
      normalizer: (parts.normalizer ?? null) as Json,
      pre_tokenizer: (parts.preTokenizer ?? null) as Json,
      post_processor: (parts.postProcessor ?? null) as Json,
      decoder: (parts.decoder ?? null) as Json,
      model: this.model.toJson(),
    };
  }

  /** Writes tokenizer.json atomically. Node only. @throws EnvironmentError */
  async save(path: string): Promise<void> {
    await writeFileAtomic(path, new TextEncoder().encode(JSON.stringify(this.toJson(), null, 2)));
  }

  /** Tokens in all: those of the model and those added. */
  get vocabSize(): number {
    let size = this.model.size;
    for (const { content } of this.added.entries) if (this.model.tokenToId(content) === undefined) size++;
    return size;
  }

  tokenToId(token: string): number | undefined {
    return this.added.byToken(token)?.id ?? this.model.tokenToId(token);
  }

  idToToken(id: number): string | undefined {
    return this.added.token(id)?.content ?? this.model.idToToken(id);
  }

  /** Adds tokens (those of the model keep their ids, others get the next ones). Returns how many are new. */
  addTokens(tokens: readonly (string | AddedToken)[]): number {
    let count = 0;
    for (const given of tokens) {
      const token: AddedToken = typeof given === 'string' ? { content: given } : given;
      const { content, singleWord = false, lstrip = false, rstrip = false, special = false, normalized = !special } = token;
      if (content === '') continue;
      const known = this.tokenToId(content);
      if (known === undefined) count++;
      this.enter({ id: known ?? this.nextId(), content, singleWord, lstrip, rstrip, special, normalized });
    }
    return count;
  }

  addSpecialTokens(tokens: readonly (string | AddedToken)[]): number {
    return this.addTokens(tokens.map((token) => ({ ...(typeof token === 'string' ? { content: token } : token), special: true })));
  }

  private nextId(): number {
    return this.added.entries.reduce((next, token) => Math.max(next, token.id + 1), this.model.size);
  }

  private enter(entry: AddedTokenEntry): void {
    const normal = entry.normalized && this.normalize !== null ? this.normalize(new AlignedText(entry.content)).text : entry.content;
    this.added.add(entry, normal);
  }

  /** The pieces that the pre-tokenizer cuts a text into, normalized, each with its place in the text: what training counts. */
  pieces(text: string): { readonly text: string; readonly start: number; readonly end: number }[] {
    const out: { text: string; start: number; end: number }[] = [];
    for (const { text: section, token } of this.added.split(new AlignedText(text), this.normalize, this.encodeSpecialTokens)) {
      if (token !== null) continue;
      for (const piece of this.cut(section)) {
        const [start, end] = piece.original(0, piece.length);
        out.push({ text: piece.text, start, end });
      }
    }
    return out;
  }

  private cut(section: AlignedText): AlignedText[] {
    return this.preTokenize === null ? [section] : this.preTokenize([section]);
  }

  private list(text: string, sequence: 0 | 1): TokenList {
    const out = new TokenList();
    let word = 0;
    for (const section of this.added.split(new AlignedText(text), this.normalize, this.encodeSpecialTokens)) {
      if (section.token !== null) {
        const [start, end] = section.text.original(0, section.text.length);
        out.push(section.token.id, section.text.text, start, end, word++, sequence);
        continue;
      }
      for (const piece of this.cut(section.text)) {
        if (piece.length === 0) continue;
        const { ids, from, to, texts } = this.model.tokenize(piece.text);
        for (let i = 0; i < ids.length; i++) {
          const [start, end] = piece.original(from[i], to[i]);
          out.push(ids[i], texts?.get(i) ?? this.model.idToToken(ids[i]) ?? '', start, end, word, sequence);
        }
        word++;
      }
    }
    return out;
  }

  private encodeList(text: string, options: EncodeOptions): TokenList {
    const { pair, addSpecialTokens = true } = options;
    const lists = [this.list(text, 0)];
    if (pair !== undefined) lists.push(this.list(pair, 1));
    if (this.truncation !== null) truncateLists(lists, this.truncation, addSpecialTokens ? this.post.added(lists.length > 1) : 0);
    return this.post.process(lists, addSpecialTokens);
  }

  /** @throws FormatError for a character that the model has no token for. @throws ArgumentError when truncation cannot do its work. */
  encode(text: string, options: EncodeOptions = {}): Encoding {
    return this.finish([this.encodeList(text, options)])[0];
  }

  /** Several texts; with padding all become as long as the longest. An element may be a pair. */
  encodeBatch(texts: readonly (string | readonly [string, string])[], options: Omit<EncodeOptions, 'pair'> = {}): Encoding[] {
    return this.finish(
      texts.map((text) =>
        typeof text === 'string' ? this.encodeList(text, options) : this.encodeList(text[0], { ...options, pair: text[1] }),
      ),
    );
  }

  private finish(lists: readonly TokenList[]): Encoding[] {
    if (this.padding !== null) {
      const length = paddedLength(
        lists.reduce((longest, list) => Math.max(longest, list.length), 0),
        this.padding,
      );
      for (const list of lists) list.pad(length, this.padding);
    }
    return lists.map((list) => list.finish());
  }

  /** The text of the tokens; ids without a token are left out. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens = true } = options;
    const tokens: string[] = [];
    for (let i = 0; i < ids.length; i++) {
      const token = this.added.decoded(ids[i]) ?? this.model.idToToken(ids[i]);
      if (token === undefined || (skipSpecialTokens && this.added.token(ids[i])?.special)) continue;
      tokens.push(token);
    }
    return this.decoder === null ? tokens.join(' ') : this.decoder(tokens).join('');
  }

  /** Decodes tokens as they come, in whole characters. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    return new DecodeStream((ids) => this.decode(ids, options));
  }
}

/** The `model` entry; old files have no type there. @throws FormatError */
function readModel(spec: JsonObject): TokenModel {
  const guessed = spec.has('merges')
    ? 'BPE'
    : Array.isArray(spec.get('vocab'))
      ? 'Unigram'
      : spec.has('continuing_subword_prefix')
        ? 'WordPiece'
        : 'WordLevel';
  const kind = spec.oneOf('type', ['BPE', 'WordPiece', 'WordLevel', 'Unigram'], guessed);
  switch (kind) {
    case 'BPE':
      return readBpe(spec);
    case 'WordPiece':
      return readWordPiece(spec);
    case 'WordLevel':
      return readWordLevel(spec);
    case 'Unigram':
      return readUnigram(spec);
    default:
      return kind satisfies never;
  }
}

const directions = ['Right', 'Left'] as const;
const maxLength = 2 ** 31 - 1;

function readTruncation(spec: JsonObject): Truncation {
  return {
    direction: spec.oneOf('direction', directions, 'Right'),
    max_length: spec.integer('max_length', 0, maxLength),
    strategy: spec.oneOf('strategy', ['LongestFirst', 'OnlyFirst', 'OnlySecond'], 'LongestFirst'),
    stride: spec.integer('stride', 0, maxLength, 0),
  };
}

/** Padding of a file may ask for at most so many tokens: it is memory for every text. */
const maxPadding = 2 ** 22;

function readPadding(spec: JsonObject): Padding {
  const strategy =
    spec.get('strategy') === 'BatchLongest' ? 'BatchLongest' : { Fixed: spec.object('strategy').integer('Fixed', 0, maxPadding) };
  return {
    strategy,
    direction: spec.oneOf('direction', directions, 'Right'),
    pad_to_multiple_of: spec.has('pad_to_multiple_of') ? spec.integer('pad_to_multiple_of', 0, maxPadding) : null,
    pad_id: spec.integer('pad_id', 0, maxTokenId, 0),
    pad_type_id: spec.integer('pad_type_id', 0, 255, 0),
    pad_token: spec.string('pad_token', '[PAD]'),
  };
}

export type PaddingOptions = Partial<Padding> & { readonly length?: number };

/**
 * Padding with the usual values: to the right, to the longest of the batch (or to `length`), with `pad_token` (`[PAD]`).
 * `tokenizer.padding = padWith(tokenizer, { pad_token: '<pad>' })`
 * @throws ArgumentError when the tokenizer does not know the token.
 */
export function padWith(tokenizer: Tokenizer, options: PaddingOptions = {}): Padding {
  const token = options.pad_token ?? '[PAD]';
  const id = options.pad_id ?? tokenizer.tokenToId(token);
  if (id === undefined) {
    throw new ArgumentError(`the tokenizer has no token ${token}`, { op: 'padWith', expected: 'a token of the vocabulary' });
  }
  return {
    strategy: options.length === undefined ? (options.strategy ?? 'BatchLongest') : { Fixed: options.length },
    direction: options.direction ?? 'Right',
    pad_to_multiple_of: options.pad_to_multiple_of ?? null,
    pad_id: id,
    pad_type_id: options.pad_type_id ?? 0,
    pad_token: token,
  };
}

/** Truncation to `maxTokens` tokens, special ones included. */
export function truncateTo(maxTokens: number, options: Partial<Truncation> = {}): Truncation {
  if (!Number.isInteger(maxTokens) || maxTokens < 0) {
    throw new ArgumentError(`${maxTokens} tokens`, { op: 'truncateTo', received: maxTokens, expected: 'a whole number, 0 or more' });
  }
  return { direction: 'Right', strategy: 'LongestFirst', stride: 0, ...options, max_length: maxTokens };
}
