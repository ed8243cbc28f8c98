/**
 * How patterns of files are searched: fixed texts by indexOf; the regular expressions of well-known tokenizers, recognised by
 * their exact text, by the engine's own RegExp (translated by hand, and linear on any text); every other one by {@link SafeRegex}.
 */
import { coverText, type Match } from '../aligned.js';
import { SafeRegex } from './regex.js';

/** Finds all matches in a text: ranges of UTF-16 units. */
export interface Pattern {
  find(text: string): Iterable<readonly [number, number]>;
}

export const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const contractionsTranslated = "(?:'(?:[sS\\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))";
const ending = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const lead = '[^\\r\\n\\p{L}\\p{N}]?';

const known: ReadonlySet<string> = new Set([
  gpt2Pattern,
  // Of the vocabularies cl100k, Llama 3 and Qwen 2.
  `${contractions}|${lead}\\p{L}+|\\p{N}{1,3}|${ending}`,
  `${contractions}|${lead}\\p{L}+|\\p{N}|${ending}`,
  // o200k.
  `${lead}${upper}*${lower}+${contractions}?|${lead}${upper}+${lower}*${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  '\\s+',
  ' ',
  ' +',
  ' {2,}',
  '\\p{N}{1,3}',
  '\\d',
  '\\p{N}',
]);

/** JavaScript's \s counts U+FEFF in and U+0085 out; its \d is ASCII. */
function translate(source: string): string {
  return source
    .replaceAll(contractions, contractionsTranslated)
    .replaceAll('\\s', '\\p{White_Space}')
    .replaceAll('\\S', '\\P{White_Space}')
    .replaceAll('\\d', '\\p{Nd}');
}

class NativePattern implements Pattern {
  private readonly regex: RegExp;
  private readonly source: string;
  constructor(source: string) {
    this.source = source;
    this.regex = new RegExp(translate(source), 'gu');
  }
  find(text: string): [number, number][] {
    const out: [number, number][] = [];
    const { regex } = this;
    regex.lastIndex = 0;
    try {
      for (let found = regex.exec(text); found !== null; found = regex.exec(text)) out.push([found.index, regex.lastIndex]);
    } catch (cause) {
      // A run of millions of characters overflows the engine's own stack.
      if (cause instanceof RangeError) return new SafeRegex(this.source).matches(text);
      throw cause;
    }
    return out;
  }
}

class FixedPattern implements Pattern {
  private readonly needle: string;
  constructor(needle: string) {
    this.needle = needle;
  }
  find(text: string): [number, number][] {
    const out: [number, number][] = [];
    const { needle } = this;
    if (needle === '') return out;
    for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + needle.length)) out.push([at, at + needle.length]);
    return out;
  }
}

/** @throws FormatError for expressions that are not supported. */
export function regexPattern(source: string): Pattern {
  if (known.has(source)) return new NativePattern(source);
  const regex = new SafeRegex(source);
  return { find: (text) => regex.matches(text) };
}

export function fixedPattern(needle: string): Pattern {
  return new FixedPattern(needle);
}

/** Parts of the text, matched or not; `invert` exchanges the two. */
export function partsOf(pattern: Pattern, text: string, invert = false): Match[] {
  const parts = coverText(text.length, pattern.find(text));
  return invert ? parts.map(({ from, to, matched }) => ({ from, to, matched: !matched })) : parts;
}
