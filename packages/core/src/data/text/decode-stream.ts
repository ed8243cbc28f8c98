/** Text from tokens that arrive one at a time. */

const replacement = '\ufffd';
/** A character of UTF-8 has at most 4 bytes; a text that still ends unfinished after so many tokens is broken, not late. */
const patience = 16;

/**
 * `push` gives the text that the new token completes: '' while the bytes of a character (as byte-level and byte-fallback
 * tokens have them) are not all there. Spaces between words come out as in the decoded whole. `end` gives what is left.
 */
export class DecodeStream {
  private readonly decode: (ids: readonly number[]) => string;
  /** Tokens kept for their context: the last ones whose text is out, then those that wait. */
  private ids: number[] = [];
  /** How many of them are out. */
  private out = 0;
  /** Text of these. */
  private prefix = '';

  constructor(decode: (ids: readonly number[]) => string) {
    this.decode = decode;
  }

  push(id: number): string {
    this.ids.push(id);
    const text = this.decode(this.ids);
    if (text.length <= this.prefix.length) return '';
    if (text.endsWith(replacement) && this.ids.length - this.out < patience) return '';
    return this.emit(text);
  }

  end(): string {
    const text = this.decode(this.ids);
    const rest = text.length > this.prefix.length ? this.emit(text) : '';
    this.ids = [];
    this.out = 0;
    this.prefix = '';
    return rest;
  }

  private emit(text: string): string {
    const fresh = text.slice(this.prefix.length);
    // The tokens of this text stay as context, what was before them goes.
    this.ids = this.ids.slice(this.out);
    this.out = this.ids.length;
    this.prefix = this.decode(this.ids);
    return fresh;
  }
}
