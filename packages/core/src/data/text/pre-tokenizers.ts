/** The pre-tokenizers of tokenizer.json: they cut a text into the pieces that a model sees one at a time. */
import { type AlignedText, coverText, type Match, prepend, replaceMatches, type SplitBehavior, splitMatches } from './aligned.js';
import { JsonObject, maxNesting, maxParts, refuse } from './json.js';
import { bytesAsCharacters, type PatternSpec, readPattern } from './normalizers.js';
import { fixedPattern, gpt2Pattern, partsOf, regexPattern } from './regex/pattern.js';
import { type CharClass, numeric, punctuation, units, whitespace, wordCharacter } from './unicode.js';

export type PreTokenizer = (pieces: readonly AlignedText[]) => AlignedText[];

export type PreTokenizerSpec =
  | { readonly type: 'ByteLevel'; readonly add_prefix_space?: boolean; readonly trim_offsets?: boolean; readonly use_regex?: boolean }
  | { readonly type: 'Whitespace' | 'WhitespaceSplit' | 'BertPreTokenizer' }
  | {
      readonly type: 'Metaspace';
      readonly replacement?: string;
      readonly prepend_scheme?: 'always' | 'first' | 'never';
      readonly split?: boolean;
    }
  | { readonly type: 'Split'; readonly pattern: PatternSpec; readonly behavior: SplitBehavior; readonly invert?: boolean }
  | { readonly type: 'Punctuation'; readonly behavior?: SplitBehavior }
  | { readonly type: 'Digits'; readonly individual_digits?: boolean }
  | { readonly type: 'CharDelimiterSplit'; readonly delimiter: string }
  | { readonly type: 'FixedLength'; readonly length: number }
  | { readonly type: 'Sequence'; readonly pretokenizers: readonly PreTokenizerSpec[] };

const behaviors = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;

/** Each character of the class is a match of its own. */
function charactersOf(set: CharClass, text: string): Match[] {
  const found: [number, number][] = [];
  for (let i = 0; i < text.length; ) {
    const c = text.codePointAt(i) ?? 0;
    const size = units(c);
    if (set.has(c)) found.push([i, i + size]);
    i += size;
  }
  return coverText(text.length, found);
}

function splitOn(set: CharClass, behavior: SplitBehavior): PreTokenizer {
  return (pieces) => pieces.flatMap((piece) => splitMatches(piece, charactersOf(set, piece.text), behavior));
}

/** Runs of word characters, and runs of what is neither word nor white space. */
const words: PreTokenizer = (pieces) =>
  pieces.flatMap((piece) => {
    const out: AlignedText[] = [];
    const kind = (c: number): number => (wordCharacter.has(c) ? 1 : whitespace.has(c) ? 0 : 2);
    const { text } = piece;
    let start = 0;
    let current = 0;
    for (let i = 0; i <= text.length; ) {
      const c = text.codePointAt(i);
      const next = c === undefined ? 0 : kind(c);
      if (next !== current) {
        if (current !== 0) out.push(piece.slice(start, i));
        start = i;
        current = next;
      }
      i += c === undefined ? 1 : units(c);
    }
    return out;
  });

const gpt2 = regexPattern(gpt2Pattern);

function byteLevel(spec: JsonObject): PreTokenizer {
  const addPrefixSpace = spec.boolean('add_prefix_space', true);
  const useRegex = spec.boolean('use_regex', true);
  return (pieces) =>
    pieces.flatMap((piece) => {
      const text = addPrefixSpace && !piece.text.startsWith(' ') ? prepend(piece, ' ') : piece;
      const parts = useRegex ? splitMatches(text, partsOf(gpt2, text.text), 'Isolated') : [text];
      return parts.map(bytesAsCharacters);
    });
}

/** Where the piece begins in the original text. */
const originOf = (piece: AlignedText): number => (piece.length > 0 ? piece.start(0) : 0);

export function readMetaspace(spec: JsonObject): { replacement: string; scheme: 'always' | 'first' | 'never'; split: boolean } {
  const replacement = spec.string('replacement', '▁');
  if ([...replacement].length !== 1) throw refuse(spec.at('replacement'), 'is not one character');
  // Files of before 2024 say add_prefix_space alone.
  const fallback = spec.has('add_prefix_space') && !spec.boolean('add_prefix_space') ? 'never' : 'always';
  const scheme = spec.oneOf('prepend_scheme', ['always', 'first', 'never'], fallback);
  return { replacement, scheme, split: spec.boolean('split', true) };
}

function metaspace(spec: JsonObject): PreTokenizer {
  const { replacement, scheme, split } = readMetaspace(spec);
  const space = fixedPattern(' ');
  const mark = fixedPattern(replacement);
  return (pieces) =>
    pieces.flatMap((piece) => {
      const first = originOf(piece) === 0;
      let text = replaceMatches(piece, partsOf(space, piece.text), replacement);
      if (!text.text.startsWith(replacement) && (scheme === 'always' || (scheme === 'first' && first))) text = prepend(text, replacement);
      return split ? splitMatches(text, partsOf(mark, text.text), 'MergedWithNext') : [text];
    });
}

function fixedLength(length: number): PreTokenizer {
  return (pieces) =>
    pieces.flatMap((piece) => {
      const out: AlignedText[] = [];
      let start = 0;
      let count = 0;
      let i = 0;
      for (const character of piece.text) {
        i += character.length;
        if (++count % length === 0) {
          out.push(piece.slice(start, i));
          start = i;
        }
      }
      if (start < piece.length) out.push(piece.slice(start, piece.length));
      return out;
    });
}

/** @throws FormatError for unknown types and values of the wrong kind. */
export function readPreTokenizer(value: unknown, path = 'pre_tokenizer', depth = 0): PreTokenizer {
  const spec = new JsonObject(value, path);
  if (depth > maxNesting) throw refuse(path, `nests deeper than ${maxNesting}`);
  const kind = spec.string('type') as PreTokenizerSpec['type'];
  switch (kind) {
    case 'ByteLevel':
      return byteLevel(spec);
    case 'Whitespace':
      return words;
    case 'WhitespaceSplit':
      return splitOn(whitespace, 'Removed');
    case 'BertPreTokenizer': {
      const spaces = splitOn(whitespace, 'Removed');
      const signs = splitOn(punctuation, 'Isolated');
      return (pieces) => signs(spaces(pieces));
    }
    case 'Metaspace':
      return metaspace(spec);
    case 'Split': {
      const pattern = readPattern(spec, 'pattern');
      const behavior = spec.oneOf('behavior', behaviors);
      const invert = spec.boolean('invert', false);
      return (pieces) => pieces.flatMap((piece) => splitMatches(piece, partsOf(pattern, piece.text, invert), behavior));
    }
    case 'Punctuation':
      return splitOn(punctuation, spec.oneOf('behavior', behaviors, 'Isolated'));
    case 'Digits':
      return splitOn(numeric, spec.boolean('individual_digits', false) ? 'Isolated' : 'Contiguous');
    case 'CharDelimiterSplit': {
      const pattern = fixedPattern(spec.string('delimiter'));
      return (pieces) => pieces.flatMap((piece) => splitMatches(piece, partsOf(pattern, piece.text), 'Removed'));
    }
    case 'FixedLength':
      return fixedLength(spec.integer('length', 1, 1 << 20));
    case 'Sequence': {
      const parts = spec.list('pretokenizers', maxParts).map((part, i) => readPreTokenizer(part, `${path}.pretokenizers[${i}]`, depth + 1));
      return (pieces) => parts.reduce<AlignedText[]>((current, part) => part(current), [...pieces]);
    }
    default: {
      kind satisfies never;
      throw refuse(path, `has the type ${JSON.stringify(kind)}`, 'a pre-tokenizer that this library knows');
    }
  }
}
