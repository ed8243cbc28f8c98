/** Text that remembers which part of the original each of its UTF-16 units came from. */

/**
 * A piece of (normalized) text. Unit i came from the units [start(i), end(i)) of the original text.
 * Slices share the tables.
 */
export class AlignedText {
  readonly text: string;
  /** Null: unit i is unit `at + i` of the original. */
  private readonly starts: Int32Array | null;
  private readonly ends: Int32Array | null;
  private readonly at: number;

  constructor(text: string, at = 0, starts: Int32Array | null = null, ends: Int32Array | null = null) {
    this.text = text;
    this.at = at;
    this.starts = starts;
    this.ends = ends;
  }

  get length(): number {
    return this.text.length;
  }

  start(i: number): number {
    return this.starts === null ? this.at + i : this.starts[this.at + i];
  }

  end(i: number): number {
    return this.ends === null ? this.at + i + 1 : this.ends[this.at + i];
  }

  /** Other text of the same length: unit i stays where it was. */
  relabel(text: string): AlignedText {
    return new AlignedText(text, this.at, this.starts, this.ends);
  }

  slice(from: number, to: number): AlignedText {
    return new AlignedText(this.text.slice(from, to), this.at + from, this.starts, this.ends);
  }

  /** Where the range [from, to) lies in the original. */
  original(from: number, to: number): readonly [number, number] {
    if (from < to) return [this.start(from), this.end(to - 1)];
    if (from > 0) return [this.end(from - 1), this.end(from - 1)];
    return this.length > 0 ? [this.start(0), this.start(0)] : [0, 0];
  }
}

/** Builds a changed text. */
export class AlignedBuilder {
  private parts: string[] = [];
  private length = 0;
  private starts: Int32Array;
  private ends: Int32Array;

  constructor(capacity: number) {
    this.starts = new Int32Array(Math.max(16, capacity));
    this.ends = new Int32Array(Math.max(16, capacity));
  }

  /** Adds text whose units all came from [start, end) of the original. */
  push(text: string, start: number, end: number): void {
    const length = this.length + text.length;
    if (length > this.starts.length) {
      const capacity = Math.max(length, 2 * this.starts.length);
      const starts = new Int32Array(capacity);
      const ends = new Int32Array(capacity);
      starts.set(this.starts);
      ends.set(this.ends);
      this.starts = starts;
      this.ends = ends;
    }
    for (let i = this.length; i < length; i++) {
      this.starts[i] = start;
      this.ends[i] = end;
    }
    this.length = length;
    this.parts.push(text);
  }

  /** Adds the range [from, to) of a text as it is. */
  copy(source: AlignedText, from: number, to: number): void {
    for (let i = from; i < to; i++) this.push(source.text[i], source.start(i), source.end(i));
  }

  build(): AlignedText {
    return new AlignedText(this.parts.join(''), 0, this.starts, this.ends);
  }
}

/** Each character replaced by what `change` makes of it ('' removes it); null leaves it. */
export function mapCharacters(source: AlignedText, change: (codePoint: number) => string | null): AlignedText {
  const { text } = source;
  const parts: string[] = [];
  let changes = false;
  let sameLength = true;
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i) ?? 0;
    const size = codePoint > 0xffff ? 2 : 1;
    const changed = change(codePoint);
    if (changed !== null) {
      changes = true;
      if (changed.length !== size) sameLength = false;
    }
    parts.push(changed ?? text.slice(i, i + size));
    i += size;
  }
  if (!changes) return source;
  // The common case needs no new tables.
  if (sameLength) return source.relabel(parts.join(''));
  const builder = new AlignedBuilder(text.length + 16);
  let i = 0;
  for (const part of parts) {
    const size = (text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1;
    if (part !== '') builder.push(part, source.start(i), source.end(i + size - 1));
    i += size;
  }
  return builder.build();
}

/** Text put in front; it counts as part of the first character. */
export function prepend(source: AlignedText, text: string): AlignedText {
  if (source.length === 0) return source;
  const builder = new AlignedBuilder(source.length + text.length);
  const size = (source.text.codePointAt(0) ?? 0) > 0xffff ? 2 : 1;
  builder.push(text, source.start(0), source.end(size - 1));
  builder.copy(source, 0, source.length);
  return builder.build();
}

/** A part of a text: [from, to), and whether a pattern matched there. */
export interface Match {
  readonly from: number;
  readonly to: number;
  readonly matched: boolean;
}

/** The found ranges and those between, in order, covering all of the text. */
export function coverText(length: number, found: Iterable<readonly [number, number]>): Match[] {
  const out: Match[] = [];
  let last = 0;
  for (const [from, to] of found) {
    if (from > last) out.push({ from: last, to: from, matched: false });
    if (to > from) out.push({ from, to, matched: true });
    last = to;
  }
  if (last < length) out.push({ from: last, to: length, matched: false });
  return out;
}

/** Every match becomes the content, which counts as part of the last character of the match. */
export function replaceMatches(source: AlignedText, matches: readonly Match[], content: string): AlignedText {
  if (!matches.some((match) => match.matched)) return source;
  if (content.length === 1 && matches.every(({ from, to, matched }) => !matched || to - from === 1)) {
    return source.relabel(matches.map(({ from, to, matched }) => (matched ? content : source.text.slice(from, to))).join(''));
  }
  const builder = new AlignedBuilder(source.length + content.length);
  for (const { from, to, matched } of matches) {
    if (!matched) builder.copy(source, from, to);
    else if (content !== '') {
      const low = source.text.charCodeAt(to - 1);
      const first = low >= 0xdc00 && low <= 0xdfff && to - 2 >= from ? to - 2 : to - 1;
      builder.push(content, source.start(first), source.end(to - 1));
    }
  }
  return builder.build();
}

export type SplitBehavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';

/** Cuts a text at the matches; parts without characters are left out. */
export function splitMatches(source: AlignedText, matches: readonly Match[], behavior: SplitBehavior): AlignedText[] {
  const parts: { from: number; to: number }[] = [];
  if (behavior === 'Removed') {
    for (const match of matches) if (!match.matched) parts.push(match);
  } else if (behavior === 'Isolated') {
    for (const { from, to } of matches) parts.push({ from, to });
  } else if (behavior === 'Contiguous') {
    let before: boolean | null = null;
    for (const { from, to, matched } of matches) {
      const last = parts.at(-1);
      if (last && matched === before) last.to = to;
      else parts.push({ from, to });
      before = matched;
    }
  } else if (behavior === 'MergedWithPrevious') {
    let before = false;
    for (const { from, to, matched } of matches) {
      const last = parts.at(-1);
      if (matched && !before && last) last.to = to;
      else parts.push({ from, to });
      before = matched;
    }
  } else {
    let before = false;
    for (let i = matches.length - 1; i >= 0; i--) {
      const { from, to, matched } = matches[i];
      const next = parts.at(-1);
      if (matched && !before && next) next.from = from;
      else parts.push({ from, to });
      before = matched;
    }
    parts.reverse();
  }
  return parts.filter(({ from, to }) => to > from).map(({ from, to }) => source.slice(from, to));
}
