/** The character map of SentencePiece models: a double-array trie (Darts) from byte strings to their replacements. */
import { FormatError } from '../../errors.js';
import { AlignedBuilder, type AlignedText } from './aligned.js';
import { utf8 } from './unicode.js';

/** Bytes of a grapheme cluster from which on only its characters are looked up, as SentencePiece's users do. */
const clusterLimit = 6;

class CharacterMap {
  private readonly trie: Uint32Array;
  private readonly replacements: Uint8Array;

  constructor(bytes: Uint8Array, path: string) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = bytes.length >= 4 ? view.getUint32(0, true) : 0;
    if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length) {
      throw new FormatError(`${path}: the character map is damaged`, { op: 'tokenizer.json', expected: 'a trie and its replacements' });
    }
    this.trie = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.replacements = bytes.subarray(4 + size);
  }

  /** What the shortest known prefix of the text becomes; null when there is none. */
  find(text: string): string | null {
    const { trie } = this;
    const offset = (unit: number): number => (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
    let node = offset(trie[0]);
    for (const byte of utf8(text)) {
      if (byte === 0) return null;
      node ^= byte;
      // Offsets of a damaged file may lead out of the array; reading there gives undefined, which is no label.
      const unit = trie[node];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return null;
      node ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const value = trie[node];
        return value === undefined ? null : this.replacement(value & 0x7fffffff);
      }
    }
    return null;
  }

  private replacement(from: number): string {
    if (from >= this.replacements.length) return '';
    const end = this.replacements.indexOf(0, from);
    return new TextDecoder().decode(this.replacements.subarray(from, end < 0 ? undefined : end));
  }
}

function fromBase64(text: string, path: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new FormatError(`${path}: the character map is no base64 text`, { op: 'tokenizer.json', cause });
  }
}

/** @param charsmap base64. @throws FormatError */
export function precompiledNormalizer(charsmap: string, path: string): (text: AlignedText) => AlignedText {
  // Some files have an empty map: nothing changes.
  if (charsmap === '') return (text) => text;
  const map = new CharacterMap(fromBase64(charsmap, path), path);
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
  return (source) => {
    const builder = new AlignedBuilder(source.length + 16);
    let modified = false;
    const replace = (from: number, to: number, replacement: string): void => {
      modified = true;
      let at = from;
      for (const character of replacement) {
        // Character i takes the place of old character i; those left over count with the last one.
        const size = (source.text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
        builder.push(character, source.start(at), source.end(at + size - 1));
        if (at + size < to) at += size;
      }
    };
    for (const { segment, index } of segmenter.segment(source.text)) {
      const whole = segment.length < clusterLimit && utf8(segment).length < clusterLimit ? map.find(segment) : null;
      if (whole !== null) {
        replace(index, index + segment.length, whole);
        continue;
      }
      let at = index;
      for (const character of segment) {
        const found = map.find(character);
        if (found === null) builder.copy(source, at, at + character.length);
        else replace(at, at + character.length, found);
        at += character.length;
      }
    }
    return modified ? builder.build() : source;
  };
}
