/** The normalizers of tokenizer.json: functions on {@link AlignedText}. */
import { AlignedBuilder, type AlignedText, mapCharacters, prepend, replaceMatches } from './aligned.js';
import { JsonObject, maxNesting, maxParts, refuse } from './json.js';
import { precompiledNormalizer } from './precompiled.js';
import { fixedPattern, type Pattern, partsOf, regexPattern } from './regex/pattern.js';
import { byteCharacters, chinese, combiningMark, control, nonspacingMark, utf8, whitespace } from './unicode.js';

export type Normalizer = (text: AlignedText) => AlignedText;

/** A pattern of a file: a fixed text, or a regular expression. */
export type PatternSpec = { readonly String: string } | { readonly Regex: string };

export type NormalizerSpec =
  | { readonly type: 'NFC' | 'NFD' | 'NFKC' | 'NFKD' | 'Lowercase' | 'StripAccents' | 'Nmt' | 'ByteLevel' }
  | {
      readonly type: 'BertNormalizer';
      readonly clean_text?: boolean;
      readonly handle_chinese_chars?: boolean;
      /** Null: as `lowercase`. */
      readonly strip_accents?: boolean | null;
      readonly lowercase?: boolean;
    }
  | { readonly type: 'Replace'; readonly pattern: PatternSpec; readonly content: string }
  | { readonly type: 'Prepend'; readonly prepend: string }
  | { readonly type: 'Strip'; readonly strip_left?: boolean; readonly strip_right?: boolean }
  | { readonly type: 'Precompiled'; readonly precompiled_charsmap: string }
  | { readonly type: 'Sequence'; readonly normalizers: readonly NormalizerSpec[] };

export function readPattern(object: JsonObject, name: string): Pattern {
  const value = object.get(name);
  // Old files have the text itself.
  if (typeof value === 'string') return fixedPattern(value);
  const pattern = object.object(name);
  if (pattern.has('String')) return fixedPattern(pattern.string('String'));
  return regexPattern(pattern.string('Regex'));
}

const lowercase: Normalizer = (text) =>
  mapCharacters(text, (c) => {
    if (c < 0x80) return c >= 0x41 && c <= 0x5a ? String.fromCharCode(c + 32) : null;
    // Character by character: the final sigma is no special case here.
    const before = String.fromCodePoint(c);
    const after = before.toLowerCase();
    return after === before ? null : after;
  });

const stripAccents: Normalizer = (text) => mapCharacters(text, (c) => (combiningMark.has(c) ? '' : null));

/**
 * Unicode normal forms. A character made from several counts as part of the first of them (its base), one that is a part
 * of a decomposition as the whole of what was decomposed.
 */
function normalForm(form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): Normalizer {
  const composed = form === 'NFC' || form === 'NFKC';
  const decomposition = form === 'NFC' ? 'NFD' : form === 'NFKC' ? 'NFKD' : form;
  return (source) => {
    const { text } = source;
    if (text.normalize(form) === text) return source;
    const builder = new AlignedBuilder(text.length + 16);
    let from = 0;
    while (from < text.length) {
      const to = clusterEnd(text, from);
      const cluster = text.slice(from, to);
      const normal = cluster.normalize(form);
      if (normal === cluster) builder.copy(source, from, to);
      else normalizeCluster(source, from, to, normal, decomposition, composed, builder);
      from = to;
    }
    return builder.build();
  };
}

/** End of the run that normalizes by itself: a character and what may combine with it (marks, Hangul vowels and finals). */
function clusterEnd(text: string, from: number): number {
  const size = (i: number): number => ((text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1);
  let to = from + size(from);
  while (to < text.length) {
    const c = text.codePointAt(to) ?? 0;
    if (!combiningMark.has(c) && !(c >= 0x1160 && c <= 0x11ff)) break;
    to += size(to);
  }
  return to;
}

function normalizeCluster(
  source: AlignedText,
  from: number,
  to: number,
  normal: string,
  decomposition: string,
  composed: boolean,
  builder: AlignedBuilder,
): void {
  // The decomposed characters in their original order, each with the character it is a part of.
  const parts: { text: string; start: number; end: number; used: boolean }[] = [];
  for (let i = from; i < to; ) {
    const character = String.fromCodePoint(source.text.codePointAt(i) ?? 0);
    const start = source.start(i);
    const end = source.end(i + character.length - 1);
    for (const text of character.normalize(decomposition)) parts.push({ text, start, end, used: false });
    i += character.length;
  }
  for (const character of normal) {
    let first: { start: number; end: number } | null = null;
    for (const piece of composed ? character.normalize(decomposition) : character) {
      const found = parts.find((part) => !part.used && part.text === piece);
      if (!found) continue;
      found.used = true;
      first ??= found;
    }
    const { start, end } = first ?? { start: source.start(from), end: source.end(to - 1) };
    builder.push(character, start, end);
  }
}

const bert = (spec: JsonObject): Normalizer => {
  const cleanText = spec.boolean('clean_text', true);
  const chineseCharacters = spec.boolean('handle_chinese_chars', true);
  const lower = spec.boolean('lowercase', true);
  const accents = spec.boolean('strip_accents', lower);
  const decompose = normalForm('NFD');
  return (source) => {
    let text = source;
    if (cleanText) {
      text = mapCharacters(text, (c) => {
        if (c === 0x20) return null;
        if (c === 0 || c === 0xfffd || control.has(c)) return '';
        return whitespace.has(c) ? ' ' : null;
      });
    }
    if (chineseCharacters) text = mapCharacters(text, (c) => (chinese.has(c) ? ` ${String.fromCodePoint(c)} ` : null));
    if (accents) text = mapCharacters(decompose(text), (c) => (nonspacingMark.has(c) ? '' : null));
    return lower ? lowercase(text) : text;
  };
};

const byteLevel: Normalizer = (text) => bytesAsCharacters(text);

/** Each byte of the UTF-8 text as a character of its own. */
export function bytesAsCharacters(text: AlignedText): AlignedText {
  return mapCharacters(text, (c) => {
    if (c > 0x20 && c < 0x7f) return null;
    if (c < 0x80) return byteCharacters[c];
    let out = '';
    for (const byte of utf8(String.fromCodePoint(c))) out += byteCharacters[byte];
    return out;
  });
}

function strip(left: boolean, right: boolean): Normalizer {
  return (text) => {
    let from = 0;
    let to = text.length;
    // All white space lies in the first plane.
    while (left && from < to && whitespace.has(text.text.charCodeAt(from))) from++;
    while (right && to > from && whitespace.has(text.text.charCodeAt(to - 1))) to--;
    return from === 0 && to === text.length ? text : text.slice(from, to);
  };
}

/** The preparation of the "nmt" rules of SentencePiece: controls vanish, odd spaces become spaces. */
const nmt: Normalizer = (text) =>
  mapCharacters(text, (c) => {
    if ((c >= 0x01 && c <= 0x08) || c === 0x0b || (c >= 0x0e && c <= 0x1f) || c === 0x7f || c === 0x8f || c === 0x9f) return '';
    const space =
      c === 0x09 || c === 0x0a || c === 0x0c || c === 0x0d || c === 0x1680 || (c >= 0x200b && c <= 0x200f) || c === 0x2028 || c === 0x2029;
    return space || c === 0x2581 || c === 0xfeff || c === 0xfffd ? ' ' : null;
  });

/** @throws FormatError for unknown types and values of the wrong kind. */
export function readNormalizer(value: unknown, path = 'normalizer', depth = 0): Normalizer {
  const spec = new JsonObject(value, path);
  if (depth > maxNesting) throw refuse(path, `nests deeper than ${maxNesting}`);
  const kind = spec.string('type') as NormalizerSpec['type'];
  switch (kind) {
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return normalForm(kind);
    case 'Lowercase':
      return lowercase;
    case 'StripAccents':
      return stripAccents;
    case 'Nmt':
      return nmt;
    case 'ByteLevel':
      return byteLevel;
    case 'BertNormalizer':
      return bert(spec);
    case 'Strip':
      return strip(spec.boolean('strip_left', true), spec.boolean('strip_right', true));
    case 'Replace': {
      const pattern = readPattern(spec, 'pattern');
      const content = spec.string('content');
      return (text) => replaceMatches(text, partsOf(pattern, text.text), content);
    }
    case 'Prepend': {
      const front = spec.string('prepend');
      return (text) => prepend(text, front);
    }
    case 'Precompiled':
      return precompiledNormalizer(spec.string('precompiled_charsmap'), path);
    case 'Sequence': {
      const parts = spec.list('normalizers', maxParts).map((part, i) => readNormalizer(part, `${path}.normalizers[${i}]`, depth + 1));
      return (text) => parts.reduce((current, part) => part(current), text);
    }
    default: {
      kind satisfies never;
      throw refuse(path, `has the type ${JSON.stringify(kind)}`, 'a normalizer that this library knows');
    }
  }
}
