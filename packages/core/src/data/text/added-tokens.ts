/** Tokens beside the model's: found in the text before the model sees it. */
import type { AlignedText } from './aligned.js';
import type { Normalizer } from './normalizers.js';
import { units, whitespace, wordCharacter } from './unicode.js';

export interface AddedToken {
  readonly content: string;
  /** Only where no letter or digit stands beside it. */
  readonly singleWord?: boolean;
  /** Takes the white space on its left (right) along. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  /** Searched in the normalized text (in its own normalized form), not in the original. Not special: true unless told otherwise. */
  readonly normalized?: boolean;
  /** Left out by decode() with skipSpecialTokens. */
  readonly special?: boolean;
}

export interface AddedTokenEntry extends Required<AddedToken> {
  readonly id: number;
}

/** A node of the search tree, by UTF-16 units. */
interface Node {
  readonly next: Map<number, Node>;
  token: AddedTokenEntry | null;
}

const newNode = (): Node => ({ next: new Map(), token: null });

/** Part of a text: a token, or text for the model. */
export interface Section {
  readonly text: AlignedText;
  readonly token: AddedTokenEntry | null;
}

class TokenSearch {
  private readonly root = newNode();
  readonly isEmpty: boolean;

  constructor(tokens: readonly (readonly [string, AddedTokenEntry])[]) {
    this.isEmpty = tokens.length === 0;
    for (const [text, token] of tokens) {
      if (text === '') continue;
      let node = this.root;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        let child = node.next.get(unit);
        if (child === undefined) {
          child = newNode();
          node.next.set(unit, child);
        }
        node = child;
      }
      node.token ??= token;
    }
  }

  /** The longest token that begins at `at`. */
  private longest(text: string, at: number): { token: AddedTokenEntry; end: number } | null {
    let node: Node | undefined = this.root;
    let found: { token: AddedTokenEntry; end: number } | null = null;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) break;
      if (node.token !== null) found = { token: node.token, end: i + 1 };
    }
    return found;
  }

  split(source: AlignedText, ignoreSpecial: boolean): Section[] {
    if (this.isEmpty || source.length === 0) return source.length === 0 ? [] : [{ text: source, token: null }];
    const { text } = source;
    const out: Section[] = [];
    let done = 0;
    for (let at = 0; at < text.length; ) {
      const match = this.longest(text, at);
      if (match === null) {
        at++;
        continue;
      }
      const { token } = match;
      let start = at;
      let { end } = match;
      at = end;
      if (start < done || (ignoreSpecial && token.special)) continue;
      if (token.singleWord && !standsAlone(text, start, end)) continue;
      if (token.lstrip) while (start > done && whitespace.has(text.charCodeAt(start - 1))) start--;
      if (token.rstrip) while (end < text.length && whitespace.has(text.charCodeAt(end))) end++;
      if (start > done) out.push({ text: source.slice(done, start), token: null });
      out.push({ text: source.slice(start, end), token });
      done = end;
    }
    if (done < text.length) out.push({ text: source.slice(done, text.length), token: null });
    return out;
  }
}

function standsAlone(text: string, start: number, end: number): boolean {
  let before: number | undefined;
  if (start > 0) {
    const low = text.charCodeAt(start - 1);
    before = low >= 0xdc00 && low <= 0xdfff && start > 1 ? text.codePointAt(start - 2) : low;
    if (before !== undefined && before <= 0xffff) before = low;
  }
  const after = text.codePointAt(end);
  return !(before !== undefined && wordCharacter.has(before)) && !(after !== undefined && units(after) > 0 && wordCharacter.has(after));
}

/** The added tokens of a tokenizer. */
export class AddedVocabulary {
  private readonly byContent = new Map<string, AddedTokenEntry>();
  private readonly byId = new Map<number, AddedTokenEntry>();
  /** What a normalized token looks like in normalized text, where that differs. */
  private readonly normalForms = new Map<number, string>();
  private original: TokenSearch | null = null;
  private normalized: TokenSearch | null = null;

  get size(): number {
    return this.byContent.size;
  }
  get entries(): readonly AddedTokenEntry[] {
    return [...this.byId.values()].sort((a, b) => a.id - b.id);
  }

  add(entry: AddedTokenEntry, normalForm: string): void {
    const before = this.byContent.get(entry.content);
    if (before !== undefined) this.byId.delete(before.id);
    this.byContent.set(entry.content, entry);
    this.byId.set(entry.id, entry);
    if (entry.normalized && normalForm !== entry.content) this.normalForms.set(entry.id, normalForm);
    this.original = null;
    this.normalized = null;
  }

  byToken(content: string): AddedTokenEntry | undefined {
    return this.byContent.get(content);
  }
  token(id: number): AddedTokenEntry | undefined {
    return this.byId.get(id);
  }
  /** The token as the decoder expects it. */
  decoded(id: number): string | undefined {
    return this.normalForms.get(id) ?? this.byId.get(id)?.content;
  }

  /** The sections of a text, normalized, in order. */
  split(text: AlignedText, normalize: Normalizer | null, ignoreSpecial: boolean): Section[] {
    const entries = this.original === null || this.normalized === null ? this.entries : [];
    this.original ??= new TokenSearch(entries.filter((e) => !e.normalized).map((e) => [e.content, e]));
    this.normalized ??= new TokenSearch(entries.filter((e) => e.normalized).map((e) => [this.normalForms.get(e.id) ?? e.content, e]));
    const { normalized } = this;
    return this.original
      .split(text, ignoreSpecial)
      .flatMap((section) =>
        section.token !== null ? [section] : normalized.split(normalize === null ? section.text : normalize(section.text), ignoreSpecial),
      );
  }
}
