export type { AddedToken } from './added-tokens.js';
export type { DecodeStream } from './decode-stream.js';
export type { DecoderSpec } from './decoders.js';
export type { Encoding, Padding, Truncation } from './encoding.js';
export { Bpe, type BpeOptions } from './models/bpe.js';
export type { PieceTokens, TokenModel } from './models/model.js';
export { Unigram, type UnigramOptions } from './models/unigram.js';
export { WordLevel, WordPiece, type WordPieceOptions } from './models/words.js';
export type { NormalizerSpec, PatternSpec } from './normalizers.js';
export type { PostProcessorSpec, TemplatePiece } from './post-processors.js';
export type { PreTokenizerSpec } from './pre-tokenizers.js';
export {
  type DecodeOptions,
  type EncodeOptions,
  type PaddingOptions,
  padWith,
  Tokenizer,
  type TokenizerLimits,
  type TokenizerParts,
  truncateTo,
} from './tokenizer.js';
export {
  type Texts,
  type TrainBpeOptions,
  type TrainWordLevelOptions,
  type TrainWordPieceOptions,
  trainBpe,
  trainWordLevel,
  trainWordPiece,
} from './train.js';
export { CharTokenizer, padSequences, splitWords, Vocabulary, type VocabularyOptions } from './vocabulary.js';
