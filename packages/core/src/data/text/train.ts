/** Training tokenizers on texts: byte-pair encoding, WordPiece, whole words. Gives the event loop its turns. */
import { ArgumentError } from '../../errors.js';
import { nextMacrotask } from '../dataloader.js';
import type { AddedToken } from './added-tokens.js';
import { maxTokenId } from './json.js';
import { Bpe, type BpeOptions } from './models/bpe.js';
import { WordLevel, WordPiece } from './models/words.js';
import type { NormalizerSpec } from './normalizers.js';
import { Tokenizer, type TokenizerParts } from './tokenizer.js';
import { learnMerges, type MergeOptions } from './train-merges.js';
import { byteCharacters, compareCodePoints } from './unicode.js';

export type Texts = Iterable<string> | AsyncIterable<string>;

interface TrainOptions extends Partial<Omit<TokenizerParts, 'model'>> {
  /** Tokens in all, special ones and the alphabet included. */
  readonly vocabSize?: number;
  /** Pairs (words) that occur less often make no token. */
  readonly minFrequency?: number;
  /** The first ids, in this order. */
  readonly specialTokens?: readonly (string | AddedToken)[];
  /** Ends the training by throwing the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface TrainBpeOptions extends TrainOptions, BpeOptions {
  /** Characters that are tokens even if the texts lack them. */
  readonly initialAlphabet?: Iterable<string>;
  /** Keep only so many different characters, the most frequent ones. */
  readonly limitAlphabet?: number;
  /** Longest token in characters. */
  readonly maxTokenLength?: number;
}

const op = 'train';
const contentOf = (token: string | AddedToken): string => (typeof token === 'string' ? token : token.content);
/** Longest time in ms between two turns of the event loop. */
const turn = 30;

/** Lets other work run when the time is up. */
class Pacer {
  private last = performance.now();
  private readonly signal: AbortSignal | undefined;
  constructor(signal: AbortSignal | undefined) {
    this.signal = signal;
  }
  readonly step = async (): Promise<void> => {
    if (performance.now() - this.last < turn) return;
    await nextMacrotask();
    this.signal?.throwIfAborted();
    this.last = performance.now();
  };
}

/** How often each piece occurs. */
async function countPieces(texts: Texts, tokenizer: Tokenizer, pacer: Pacer): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for await (const text of texts) {
    for (const { text: piece } of tokenizer.pieces(text)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
    await pacer.step();
  }
  return counts;
}

function checkSize(vocabSize: number, minFrequency: number): void {
  if (!Number.isInteger(vocabSize) || vocabSize < 1 || vocabSize > maxTokenId) {
    throw new ArgumentError(`vocabSize is ${vocabSize}`, { op, received: vocabSize, expected: `a whole number from 1 to ${maxTokenId}` });
  }
  if (!(minFrequency >= 0)) throw new ArgumentError(`minFrequency is ${minFrequency}`, { op, expected: 'a number, 0 or more' });
}

/**
 * Learns byte-pair encoding: the most frequent pair of neighbours becomes a token, again and again (ties: the pair with the
 * lower ids). Without a preTokenizer it is the byte-level encoding of GPT-2: any text can be encoded, nothing is unknown.
 * The same texts give the same tokenizer, the one that Hugging Face's trainer gives.
 *
 * `const tokenizer = await trainBpe([text], { vocabSize: 2000 })`
 * @throws ArgumentError
 */
export async function trainBpe(texts: Texts, options: TrainBpeOptions = {}): Promise<Tokenizer> {
  const { vocabSize = 30_000, minFrequency = 0, specialTokens = [] } = options;
  checkSize(vocabSize, minFrequency);
  const byteLevel = options.preTokenizer === undefined;
  const suffix = options.endOfWordSuffix;
  const parts: Omit<TokenizerParts, 'model'> = {
    normalizer: options.normalizer ?? null,
    preTokenizer: byteLevel ? { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: true } : options.preTokenizer,
    postProcessor: options.postProcessor ?? (byteLevel ? { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false } : null),
    decoder: options.decoder ?? (byteLevel ? { type: 'ByteLevel' } : suffix ? { type: 'BPEDecoder', suffix } : null),
  };
  const pacer = new Pacer(options.signal);
  const counts = await countPieces(texts, new Tokenizer({ ...parts, model: new WordLevel(new Map()) }), pacer);
  const merges: MergeOptions = {
    vocabSize,
    minFrequency,
    specialTokens: specialTokens.map(contentOf),
    initialAlphabet: options.initialAlphabet ?? (byteLevel ? byteCharacters : []),
    limitAlphabet: options.limitAlphabet ?? null,
    maxTokenLength: options.maxTokenLength ?? null,
    prefix: options.continuingSubwordPrefix ?? '',
    suffix: options.endOfWordSuffix ?? '',
    step: pacer.step,
  };
  const learned = await learnMerges(counts, merges);
  const { dropout, unkToken, continuingSubwordPrefix, endOfWordSuffix, fuseUnk, byteFallback, ignoreMerges } = options;
  const model = new Bpe(learned.vocabulary, learned.merges, {
    dropout,
    unkToken,
    continuingSubwordPrefix,
    endOfWordSuffix,
    fuseUnk,
    byteFallback,
    ignoreMerges,
  });
  const tokenizer = new Tokenizer({ ...parts, model });
  tokenizer.addSpecialTokens(specialTokens);
  return tokenizer;
}

export interface TrainWordPieceOptions extends TrainOptions {
  /** BERT's uncased normalization (true) or its cased one; without a `normalizer`. */
  readonly lowercase?: boolean;
  readonly limitAlphabet?: number;
  readonly continuingSubwordPrefix?: string;
  readonly unkToken?: string;
}

const bertTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/**
 * Learns a WordPiece vocabulary as BERT has it, by merging pairs as {@link trainBpe} does. Texts become `[CLS] … [SEP]` when
 * both tokens are among the special ones (the defaults have them).
 * @throws ArgumentError
 */
export async function trainWordPiece(texts: Texts, options: TrainWordPieceOptions = {}): Promise<Tokenizer> {
  const { vocabSize = 30_000, minFrequency = 0, specialTokens = bertTokens, lowercase = true, unkToken = '[UNK]' } = options;
  checkSize(vocabSize, minFrequency);
  const special = specialTokens.map(contentOf);
  const cls = special.indexOf('[CLS]');
  const sep = special.indexOf('[SEP]');
  const bertNormalizer: NormalizerSpec = {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase,
  };
  const prefix = options.continuingSubwordPrefix ?? '##';
  const parts: Omit<TokenizerParts, 'model'> = {
    normalizer: options.normalizer === undefined ? bertNormalizer : options.normalizer,
    preTokenizer: options.preTokenizer === undefined ? { type: 'BertPreTokenizer' } : options.preTokenizer,
    postProcessor:
      options.postProcessor ?? (cls >= 0 && sep >= 0 ? { type: 'BertProcessing', sep: ['[SEP]', sep], cls: ['[CLS]', cls] } : null),
    decoder: options.decoder ?? { type: 'WordPiece', prefix, cleanup: true },
  };
  const pacer = new Pacer(options.signal);
  const counts = await countPieces(texts, new Tokenizer({ ...parts, model: new WordLevel(new Map()) }), pacer);
  const { vocabulary } = await learnMerges(counts, {
    vocabSize,
    minFrequency,
    specialTokens: special,
    initialAlphabet: [],
    limitAlphabet: options.limitAlphabet ?? 1000,
    maxTokenLength: null,
    prefix,
    suffix: '',
    step: pacer.step,
  });
  const tokenizer = new Tokenizer({ ...parts, model: new WordPiece(vocabulary, { unkToken, continuingSubwordPrefix: prefix }) });
  tokenizer.addSpecialTokens(specialTokens);
  return tokenizer;
}

export interface TrainWordLevelOptions extends TrainOptions {
  readonly unkToken?: string;
}

/**
 * The most frequent pieces as whole tokens (ties: in the order of their characters). Without a preTokenizer a piece is a run
 * of letters and digits, or of other signs. @throws ArgumentError
 */
export async function trainWordLevel(texts: Texts, options: TrainWordLevelOptions = {}): Promise<Tokenizer> {
  const { vocabSize = 30_000, minFrequency = 0, unkToken = '<unk>', specialTokens = [unkToken] } = options;
  checkSize(vocabSize, minFrequency);
  const parts: Omit<TokenizerParts, 'model'> = {
    normalizer: options.normalizer ?? null,
    preTokenizer: options.preTokenizer === undefined ? { type: 'Whitespace' } : options.preTokenizer,
    postProcessor: options.postProcessor ?? null,
    decoder: options.decoder ?? null,
  };
  const counts = await countPieces(texts, new Tokenizer({ ...parts, model: new WordLevel(new Map()) }), new Pacer(options.signal));
  const vocabulary = new Map<string, number>();
  for (const token of specialTokens) vocabulary.set(contentOf(token), vocabulary.size);
  for (const word of frequentWords(counts, minFrequency)) {
    if (vocabulary.size >= vocabSize) break;
    if (!vocabulary.has(word)) vocabulary.set(word, vocabulary.size);
  }
  const tokenizer = new Tokenizer({ ...parts, model: new WordLevel(vocabulary, unkToken) });
  tokenizer.addSpecialTokens(specialTokens);
  return tokenizer;
}

/** Words by falling frequency, ties by code points. */
export function frequentWords(counts: ReadonlyMap<string, number>, minFrequency: number): string[] {
  return [...counts]
    .filter(([, count]) => count >= minFrequency)
    .sort((a, b) => b[1] - a[1] || compareCodePoints(a[0], b[0]))
    .map(([word]) => word);
}
