/**
 * Parser of the regular expressions in tokenizer files: the part of Oniguruma's syntax that such files use. Sizes are
 * bounded here; matching time is bounded by the matcher.
 */
import { FormatError } from '../../../errors.js';
import { CharClass, propertyClass, units } from '../unicode.js';

export type RegexNode =
  | { readonly kind: 'set'; readonly set: CharClass }
  | { readonly kind: 'sequence'; readonly items: readonly RegexNode[] }
  | { readonly kind: 'either'; readonly branches: readonly RegexNode[] }
  | {
      readonly kind: 'repeat';
      readonly body: RegexNode;
      readonly min: number;
      /** Infinity: no limit. */
      readonly max: number;
      readonly greed: 'greedy' | 'lazy' | 'possessive';
    }
  | { readonly kind: 'look'; readonly body: RegexNode; readonly behind: boolean; readonly negative: boolean }
  | { readonly kind: 'atomic'; readonly body: RegexNode }
  | { readonly kind: 'assert'; readonly what: 'textStart' | 'textEnd' | 'lineStart' | 'lineEnd' | 'lastLineEnd' | 'word' | 'notWord' };

const maxPattern = 16_384;
const maxDepth = 64;
const maxCount = 1000;

const any = new CharClass((c) => c !== 0x0a);
const everything = new CharClass(() => true);
const digit = propertyClass('\\p{Nd}');
const space = propertyClass('\\p{White_Space}');
/** Word characters, also of the assertions \b and \B. The superscripts and fractions of Latin-1 count, as in Oniguruma. */
const wordExpression = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u00b2\\u00b3\\u00b9\\u00bc-\\u00be]';
export const word: CharClass = propertyClass(wordExpression);
const hex = propertyClass('[0-9A-Fa-f]');

const negate = (set: CharClass): CharClass => new CharClass((c) => !set.has(c));

const posix: ReadonlyMap<string, string> = new Map([
  ['alpha', '\\p{Alphabetic}'],
  ['digit', '\\p{Nd}'],
  ['alnum', '[\\p{Alphabetic}\\p{Nd}]'],
  ['upper', '\\p{Uppercase}'],
  ['lower', '\\p{Lowercase}'],
  ['space', '\\p{White_Space}'],
  ['blank', '[\\p{Zs}\\t]'],
  ['punct', '[\\p{P}\\p{S}]'],
  ['cntrl', '\\p{Cc}'],
  ['xdigit', '[0-9A-Fa-f]'],
  ['print', '[^\\p{Cc}\\p{Cn}\\p{Cs}]'],
  ['graph', '[^\\p{White_Space}\\p{Cc}\\p{Cn}\\p{Cs}]'],
  ['word', wordExpression],
]);

const controls: ReadonlyMap<string, number> = new Map([
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
  ['f', 0x0c],
  ['v', 0x0b],
  ['a', 0x07],
  ['e', 0x1b],
  ['0', 0],
]);

function single(codePoint: number, ignoreCase: boolean): CharClass {
  if (!ignoreCase) return new CharClass((c) => c === codePoint);
  const fold = (c: number): string => String.fromCodePoint(c).toLowerCase();
  const wanted = fold(codePoint);
  return new CharClass((c) => c === codePoint || fold(c) === wanted);
}

class Parser {
  private at = 0;
  private depth = 0;
  private ignoreCase = false;
  private dotAll = false;
  private extended = false;
  private readonly source: string;

  constructor(source: string) {
    this.source = source;
  }

  parse(): RegexNode {
    if (this.source.length > maxPattern) throw this.error(`it has ${this.source.length} characters, more than ${maxPattern}`);
    const node = this.alternatives();
    if (this.at < this.source.length) throw this.error('a ")" has no "("');
    return node;
  }

  private error(what: string): FormatError {
    const shown = this.source.length > 80 ? `${this.source.slice(0, 80)}…` : this.source;
    return new FormatError(`the regular expression ${JSON.stringify(shown)} cannot be used: ${what} (at ${this.at})`, {
      op: 'regex',
      received: this.source,
      expected: 'Oniguruma syntax without back-references, conditionals or calls',
    });
  }

  private peek(text: string): boolean {
    return this.source.startsWith(text, this.at);
  }

  private eat(text: string): boolean {
    if (!this.peek(text)) return false;
    this.at += text.length;
    return true;
  }

  private next(): number {
    const codePoint = this.source.codePointAt(this.at);
    if (codePoint === undefined) throw this.error('it ends too early');
    this.at += units(codePoint);
    return codePoint;
  }

  private alternatives(): RegexNode {
    if (++this.depth > maxDepth) throw this.error(`groups nest deeper than ${maxDepth}`);
    const before = { ignoreCase: this.ignoreCase, dotAll: this.dotAll, extended: this.extended };
    const branches = [this.sequence()];
    while (this.eat('|')) branches.push(this.sequence());
    // Options set inside a group end with it.
    Object.assign(this, before);
    this.depth--;
    return branches.length === 1 ? branches[0] : { kind: 'either', branches };
  }

  private sequence(): RegexNode {
    const items: RegexNode[] = [];
    while (this.at < this.source.length && !this.peek('|') && !this.peek(')')) {
      if (this.extended && /\s/.test(this.source[this.at])) {
        this.at++;
        continue;
      }
      if (this.extended && this.peek('#')) {
        while (this.at < this.source.length && !this.peek('\n')) this.at++;
        continue;
      }
      const atom = this.atom();
      if (atom !== null) items.push(this.quantified(atom));
    }
    return items.length === 1 ? items[0] : { kind: 'sequence', items };
  }

  private quantified(atom: RegexNode): RegexNode {
    let node = atom;
    for (let count = 0; ; count++) {
      let min = 0;
      let max = Number.POSITIVE_INFINITY;
      let counted = false;
      if (this.eat('*')) min = 0;
      else if (this.eat('+')) min = 1;
      else if (this.eat('?')) max = 1;
      else {
        const found = /^\{(\d{0,4})(,?)(\d{0,4})\}/.exec(this.source.slice(this.at, this.at + 12));
        if (!found || (found[1] === '' && found[3] === '')) return node;
        counted = true;
        this.at += found[0].length;
        min = found[1] === '' ? 0 : Number(found[1]);
        max = found[3] !== '' ? Number(found[3]) : found[2] === ',' ? Number.POSITIVE_INFINITY : min;
        if (min > maxCount || (max !== Number.POSITIVE_INFINITY && max > maxCount) || max < min) {
          throw this.error(`the counts {${min},${max}} do not fit 0 to ${maxCount}`);
        }
      }
      if (count >= 4) throw this.error('too many quantifiers in a row');
      let greed: 'greedy' | 'lazy' | 'possessive' = 'greedy';
      if (this.eat('?')) greed = 'lazy';
      // After {m,n} a plus is a quantifier of its own, as in Ruby's syntax.
      else if (!counted && this.eat('+')) greed = 'possessive';
      node = { kind: 'repeat', body: node, min, max, greed };
    }
  }

  /** Null for what matches nothing by itself: comments and options. */
  private atom(): RegexNode | null {
    if (this.eat('(')) return this.group();
    if (this.eat('[')) return { kind: 'set', set: this.bracket() };
    if (this.eat('.')) return { kind: 'set', set: this.dotAll ? everything : any };
    if (this.eat('^')) return { kind: 'assert', what: 'lineStart' };
    if (this.eat('$')) return { kind: 'assert', what: 'lineEnd' };
    if (this.eat('\\')) return this.escape();
    if (this.peek('*') || this.peek('+') || this.peek('?')) throw this.error('a quantifier has nothing to repeat');
    return { kind: 'set', set: single(this.next(), this.ignoreCase) };
  }

  private group(): RegexNode | null {
    let wrap: (body: RegexNode) => RegexNode = (body) => body;
    if (this.eat('?#')) {
      while (!this.peek(')')) this.next();
      this.at++;
      return null;
    }
    if (this.eat('?')) {
      if (this.eat(':')) wrap = (body) => body;
      else if (this.eat('=')) wrap = (body) => ({ kind: 'look', body, behind: false, negative: false });
      else if (this.eat('!')) wrap = (body) => ({ kind: 'look', body, behind: false, negative: true });
      else if (this.eat('<=')) wrap = (body) => ({ kind: 'look', body, behind: true, negative: false });
      else if (this.eat('<!')) wrap = (body) => ({ kind: 'look', body, behind: true, negative: true });
      else if (this.eat('>')) wrap = (body) => ({ kind: 'atomic', body });
      else {
        const name = /^(?:P?<[A-Za-z_]\w*>|'[A-Za-z_]\w*')/.exec(this.source.slice(this.at, this.at + 80));
        if (name) this.at += name[0].length;
        else return this.options();
      }
    }
    const body = this.alternatives();
    if (!this.eat(')')) throw this.error('a group is not closed');
    return wrap(body);
  }

  /** `(?i)` for the rest of the enclosing group, `(?i:…)` for its own. */
  private options(): RegexNode | null {
    const found = /^([imsx]*)(?:-([imsx]*))?([:)])/.exec(this.source.slice(this.at, this.at + 16));
    if (!found) throw this.error('it has a kind of group that is not supported');
    this.at += found[0].length;
    const before = { ignoreCase: this.ignoreCase, dotAll: this.dotAll, extended: this.extended };
    for (const [letters, value] of [
      [found[1], true],
      [found[2] ?? '', false],
    ] as const) {
      if (letters.includes('i')) this.ignoreCase = value;
      if (letters.includes('m') || letters.includes('s')) this.dotAll = value;
      if (letters.includes('x')) this.extended = value;
    }
    if (found[3] === ')') return null;
    const body = this.alternatives();
    if (!this.eat(')')) throw this.error('a group is not closed');
    Object.assign(this, before);
    return body;
  }

  private escape(): RegexNode {
    const at = this.at;
    const letter = String.fromCodePoint(this.next());
    if (letter === 'A') return { kind: 'assert', what: 'textStart' };
    if (letter === 'z') return { kind: 'assert', what: 'textEnd' };
    if (letter === 'Z') return { kind: 'assert', what: 'lastLineEnd' };
    if (letter === 'b') return { kind: 'assert', what: 'word' };
    if (letter === 'B') return { kind: 'assert', what: 'notWord' };
    if (letter === 'R') {
      const set = new CharClass((c) => (c >= 0x0a && c <= 0x0d) || c === 0x85 || c === 0x2028 || c === 0x2029);
      const pair: RegexNode[] = [0x0d, 0x0a].map((c) => ({ kind: 'set', set: single(c, false) }));
      return {
        kind: 'atomic',
        body: {
          kind: 'either',
          branches: [
            { kind: 'sequence', items: pair },
            { kind: 'set', set },
          ],
        },
      };
    }
    if (/[1-9kgGKXQE]/.test(letter)) throw this.error(`\\${letter} is not supported`);
    this.at = at;
    const found = this.escapedClass();
    return { kind: 'set', set: typeof found === 'number' ? single(found, this.ignoreCase) : found };
  }

  /** What follows a backslash, in a bracket or outside: a class or a code point. */
  private escapedClass(): CharClass | number {
    const codePoint = this.next();
    const letter = String.fromCodePoint(codePoint);
    switch (letter) {
      case 'd':
        return digit;
      case 'D':
        return negate(digit);
      case 's':
        return space;
      case 'S':
        return negate(space);
      case 'w':
        return word;
      case 'W':
        return negate(word);
      case 'h':
        return hex;
      case 'H':
        return negate(hex);
      case 'N':
        return any;
      case 'p':
      case 'P':
        return this.property(letter === 'P');
      case 'x': {
        const found = /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{1,2}))/.exec(this.source.slice(this.at, this.at + 8));
        if (!found) throw this.error('\\x needs hexadecimal digits');
        this.at += found[0].length;
        return this.scalar(Number.parseInt(found[1] ?? found[2], 16));
      }
      case 'u': {
        const found = /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{4}))/.exec(this.source.slice(this.at, this.at + 8));
        if (!found) throw this.error('\\u needs hexadecimal digits');
        this.at += found[0].length;
        return this.scalar(Number.parseInt(found[1] ?? found[2], 16));
      }
      default: {
        const named = controls.get(letter);
        if (named !== undefined) return named;
        if (/[A-Za-z0-9]/.test(letter)) throw this.error(`\\${letter} is not supported`);
        return codePoint;
      }
    }
  }

  private scalar(codePoint: number): number {
    if (codePoint > 0x10ffff) throw this.error(`U+${codePoint.toString(16)} is no code point`);
    return codePoint;
  }

  private property(negated: boolean): CharClass {
    const found = /^(?:\{(\^?)([A-Za-z_][A-Za-z_ =-]{0,63})\}|([LMNPSZC]))/.exec(this.source.slice(this.at, this.at + 72));
    if (!found) throw this.error('\\p needs a property');
    this.at += found[0].length;
    const name = (found[2] ?? found[3]).replaceAll(' ', '_');
    const flipped = negated !== (found[1] === '^');
    const named = name.toLowerCase() === 'punct' ? '\\p{P}' : posix.get(name.toLowerCase());
    for (const expression of [`\\p{${name}}`, `\\p{Script=${name}}`, `\\p{Script_Extensions=${name}}`, ...(named ? [named] : [])]) {
      try {
        const set = propertyClass(expression);
        return flipped ? negate(set) : set;
      } catch {
        // Not a property of that kind; the next kind may know the name.
      }
    }
    throw this.error(`the property ${name} is not known`);
  }

  private bracket(): CharClass {
    if (++this.depth > maxDepth) throw this.error(`brackets nest deeper than ${maxDepth}`);
    const negated = this.eat('^');
    const parts: CharClass[] = [];
    const intersected: CharClass[] = [];
    const ignoreCase = this.ignoreCase;
    const close = (): CharClass => {
      const members = parts.splice(0);
      return new CharClass((c) => members.some((set) => set.has(c)));
    };
    let first = true;
    for (;;) {
      if (this.at >= this.source.length) throw this.error('a bracket is not closed');
      if (this.eat('&&')) {
        intersected.push(close());
        first = false;
        continue;
      }
      if (!first && this.eat(']')) break;
      first = false;
      const named = /^\[:(\^?)([a-z]{1,10}):\]/.exec(this.source.slice(this.at, this.at + 16));
      if (named) {
        const expression = posix.get(named[2]);
        if (expression === undefined) throw this.error(`[:${named[2]}:] is not known`);
        this.at += named[0].length;
        const set = propertyClass(expression);
        parts.push(named[1] === '^' ? negate(set) : set);
        continue;
      }
      if (this.eat('[')) {
        parts.push(this.bracket());
        continue;
      }
      const low = this.member();
      if (typeof low !== 'number') {
        parts.push(low);
        continue;
      }
      let high = low;
      if (this.peek('-') && !this.peek('-]') && !this.peek('-[')) {
        this.at++;
        const end = this.member();
        if (typeof end !== 'number') throw this.error('a range ends with a class');
        if (end < low) throw this.error('a range is backwards');
        high = end;
      }
      parts.push(range(low, high, ignoreCase));
    }
    this.depth--;
    const last = close();
    const all = intersected.length === 0 ? last : new CharClass((c) => last.has(c) && intersected.every((set) => set.has(c)));
    return negated ? negate(all) : all;
  }

  private member(): CharClass | number {
    if (!this.eat('\\')) return this.next();
    if (this.eat('b')) return 0x08;
    return this.escapedClass();
  }
}

function range(low: number, high: number, ignoreCase: boolean): CharClass {
  const inside = (c: number | undefined): boolean => c !== undefined && c >= low && c <= high;
  if (!ignoreCase) return new CharClass(inside);
  return new CharClass((c) => {
    const text = String.fromCodePoint(c);
    return inside(c) || inside(text.toLowerCase().codePointAt(0)) || inside(text.toUpperCase().codePointAt(0));
  });
}

/** @throws FormatError for what is not supported or too large. */
export function parseRegex(source: string): RegexNode {
  return new Parser(source).parse();
}
