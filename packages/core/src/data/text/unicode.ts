/** Classes of characters, with answers kept in pages of 256 code points. */

const unknown = 0;
const no = 1;
const yes = 2;

/** A set of code points whose test is asked at most once a code point. */
export class CharClass {
  private readonly pages: (Uint8Array | undefined)[] = [];
  private readonly test: (codePoint: number) => boolean;

  constructor(test: (codePoint: number) => boolean) {
    this.test = test;
  }

  has(codePoint: number): boolean {
    const high = codePoint >>> 8;
    let page = this.pages[high];
    if (page === undefined) {
      page = new Uint8Array(256);
      this.pages[high] = page;
    }
    const low = codePoint & 255;
    if (page[low] === unknown) page[low] = this.test(codePoint) ? yes : no;
    return page[low] === yes;
  }
}

/** The class of a property expression: `\p{L}`. */
export function propertyClass(expression: string): CharClass {
  const pattern = new RegExp(`^${expression}$`, 'u');
  return new CharClass((codePoint) => pattern.test(String.fromCodePoint(codePoint)));
}

export const whitespace: CharClass = propertyClass('\\p{White_Space}');
export const numeric: CharClass = propertyClass('\\p{N}');
export const wordCharacter: CharClass = propertyClass('[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]');
/** Unicode punctuation, and every ASCII sign that is neither letter nor digit (so `$` and `+` too). */
export const punctuation: CharClass = propertyClass('[\\p{P}!-/:-@\\[-`\\{-~]');
export const nonspacingMark: CharClass = propertyClass('\\p{Mn}');
export const combiningMark: CharClass = propertyClass('\\p{M}');
/** Controls, formats, private and unassigned code points, without tab and line ends. */
export const control: CharClass = propertyClass('(?![\\t\\n\\r])\\p{C}');

const chineseRanges: readonly (readonly [number, number])[] = [
  [0x4e00, 0x9fff],
  [0x3400, 0x4dbf],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf],
  [0xf900, 0xfaff],
  [0x2f800, 0x2fa1f],
];

/** The CJK ideograph blocks that BERT sets apart. */
export const chinese: CharClass = new CharClass((c) => chineseRanges.some(([low, high]) => c >= low && c <= high));

/** UTF-16 units of a code point. */
export const units = (codePoint: number): number => (codePoint > 0xffff ? 2 : 1);

const encoder = new TextEncoder();

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The character that stands for each byte in byte-level vocabularies (GPT-2): printable Latin-1 for itself, the others from U+0100. */
export const byteCharacters: readonly string[] = (() => {
  const out: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    out.push(String.fromCharCode(printable ? byte : next++));
  }
  return out;
})();

/** Byte of each character of {@link byteCharacters}. */
export const characterBytes: ReadonlyMap<string, number> = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** Order by code points, as strings in UTF-8 have it. */
export function compareCodePoints(a: string, b: string): number {
  for (let i = 0; ; ) {
    const x = a.codePointAt(i);
    const y = b.codePointAt(i);
    if (x === undefined || y === undefined) return (x === undefined ? 0 : 1) - (y === undefined ? 0 : 1);
    if (x !== y) return x - y;
    i += x > 0xffff ? 2 : 1;
  }
}
