/**
 * Matcher of untrusted regular expressions. A backtracking machine over code points whose work is bounded: an attempt
 * that takes many steps starts again with a memory of the (instruction, position) pairs that failed, so no pair is
 * tried twice (there are no back-references, so a pair always fails again); and a text has a total number of steps,
 * after which the match ends in a FormatError instead of a hang.
 */
import { FormatError } from '../../../errors.js';
import type { CharClass } from '../unicode.js';
import { parseRegex, type RegexNode, word } from './syntax.js';

type Instruction =
  | { readonly op: 'set'; readonly set: CharClass }
  /** Tries `first`, then `second`. */
  | { op: 'split'; first: number; second: number }
  | { op: 'jump'; to: number }
  /** Goes on unless the loop's body matched nothing since `mark`. */
  | { readonly op: 'mark'; readonly slot: number }
  | { readonly op: 'progress'; readonly slot: number }
  | {
      readonly op: 'sub';
      readonly program: readonly Instruction[];
      readonly how: 'ahead' | 'behind' | 'atomic';
      readonly negative: boolean;
    }
  | { readonly op: 'assert'; readonly what: Extract<RegexNode, { kind: 'assert' }>['what'] }
  | { readonly op: 'done' };

const maxInstructions = 20_000;
/** Steps of an attempt before failed states are remembered. */
const freeSteps = 2000;
/** Failed states that are remembered at most (about 40 bytes each). */
const maxRemembered = 2_000_000;
/** Steps for a text of n characters: this plus {@link stepsPerCharacter} * n. */
const baseSteps = 2_000_000;
const stepsPerCharacter = 500;

class Compiler {
  private total = 0;
  private slots = 0;

  compile(node: RegexNode): Instruction[] {
    const out: Instruction[] = [];
    this.emit(node, out);
    out.push({ op: 'done' });
    return out;
  }

  private push(out: Instruction[], instruction: Instruction): number {
    if (++this.total > maxInstructions) {
      throw new FormatError('the regular expression is too large', {
        op: 'regex',
        expected: `at most ${maxInstructions} instructions with its repetitions written out`,
      });
    }
    return out.push(instruction) - 1;
  }

  private emit(node: RegexNode, out: Instruction[]): void {
    switch (node.kind) {
      case 'set':
        this.push(out, { op: 'set', set: node.set });
        return;
      case 'sequence':
        for (const item of node.items) this.emit(item, out);
        return;
      case 'either': {
        const jumps: { op: 'jump'; to: number }[] = [];
        node.branches.forEach((branch, i) => {
          if (i === node.branches.length - 1) {
            this.emit(branch, out);
            return;
          }
          const split: Instruction = { op: 'split', first: out.length + 1, second: 0 };
          this.push(out, split);
          this.emit(branch, out);
          const jump = { op: 'jump' as const, to: 0 };
          jumps.push(jump);
          this.push(out, jump);
          split.second = out.length;
        });
        for (const jump of jumps) jump.to = out.length;
        return;
      }
      case 'repeat':
        if (node.greed === 'possessive') {
          const program = this.compile({ ...node, greed: 'greedy' });
          this.push(out, { op: 'sub', program, how: 'atomic', negative: false });
        } else this.repeat(node, out);
        return;
      case 'look':
        this.push(out, { op: 'sub', program: this.compile(node.body), how: node.behind ? 'behind' : 'ahead', negative: node.negative });
        return;
      case 'atomic':
        this.push(out, { op: 'sub', program: this.compile(node.body), how: 'atomic', negative: false });
        return;
      case 'assert':
        this.push(out, { op: 'assert', what: node.what });
        return;
      default:
        node satisfies never;
    }
  }

  private repeat(node: Extract<RegexNode, { kind: 'repeat' }>, out: Instruction[]): void {
    const { body, min, max } = node;
    const lazy = node.greed === 'lazy';
    for (let i = 0; i < min; i++) this.emit(body, out);
    const splits: { split: Extract<Instruction, { op: 'split' }>; inside: number }[] = [];
    const branch = (): void => {
      const split = { op: 'split' as const, first: 0, second: 0 };
      this.push(out, split);
      splits.push({ split, inside: out.length });
    };
    if (max === Number.POSITIVE_INFINITY) {
      const loop = out.length;
      branch();
      // A body that can match nothing must not go round for ever.
      const guarded = matchesNothing(body);
      const slot = guarded ? this.slots++ : 0;
      if (guarded) this.push(out, { op: 'mark', slot });
      this.emit(body, out);
      if (guarded) this.push(out, { op: 'progress', slot });
      this.push(out, { op: 'jump', to: loop });
    } else {
      for (let i = min; i < max; i++) {
        branch();
        this.emit(body, out);
      }
    }
    for (const { split, inside } of splits) {
      split.first = lazy ? out.length : inside;
      split.second = lazy ? inside : out.length;
    }
  }
}

/** Whether the node can match the empty text. */
function matchesNothing(node: RegexNode): boolean {
  switch (node.kind) {
    case 'set':
      return false;
    case 'sequence':
      return node.items.every(matchesNothing);
    case 'either':
      return node.branches.some(matchesNothing);
    case 'repeat':
      return node.min === 0 || matchesNothing(node.body);
    case 'atomic':
      return matchesNothing(node.body);
    case 'look':
    case 'assert':
      return true;
    default:
      return node satisfies never;
  }
}

/** Range of code points that a look-behind may cover; fixed lengths only, as in Oniguruma (a choice at the top may differ). */
function lengthsOf(node: RegexNode): readonly number[] {
  switch (node.kind) {
    case 'set':
      return [1];
    case 'sequence': {
      const total = node.items.reduce<number>((sum, item) => sum + fixedLength(item), 0);
      return [total];
    }
    case 'either':
      return [...new Set(node.branches.flatMap(lengthsOf))];
    case 'repeat':
      if (node.min === node.max) return [node.min * fixedLength(node.body)];
      break;
    case 'atomic':
      return lengthsOf(node.body);
    case 'look':
    case 'assert':
      return [0];
    default:
      return node satisfies never;
  }
  throw new FormatError('a look-behind of no fixed length', { op: 'regex', expected: 'a body that always matches as many characters' });
}

function fixedLength(node: RegexNode): number {
  const lengths = lengthsOf(node);
  if (lengths.length === 1) return lengths[0];
  throw new FormatError('a look-behind of no fixed length', { op: 'regex', expected: 'a body that always matches as many characters' });
}

function checkLookBehinds(node: RegexNode): void {
  switch (node.kind) {
    case 'sequence':
      node.items.forEach(checkLookBehinds);
      return;
    case 'either':
      node.branches.forEach(checkLookBehinds);
      return;
    case 'look':
      if (node.behind) lengthsOf(node.body);
      checkLookBehinds(node.body);
      return;
    case 'repeat':
    case 'atomic':
      checkLookBehinds(node.body);
      return;
    case 'set':
    case 'assert':
      return;
    default:
      node satisfies never;
  }
}

const lookBehindLimit = 255;

/** Thrown inside to begin an attempt again with a memory. */
const tooManySteps = new Error('too many steps');

class Run {
  readonly text: Int32Array;
  private budget: number;
  private limit = 0;
  private memory: Set<number> | null = null;
  private readonly bases = new Map<readonly Instruction[], number>();
  private nextBase = 0;

  constructor(text: Int32Array) {
    this.text = text;
    this.budget = baseSteps + stepsPerCharacter * text.length;
  }

  /** End of the match that starts at `from`, or -1. */
  attempt(program: readonly Instruction[], from: number): number {
    this.memory = null;
    this.limit = this.budget - freeSteps;
    try {
      return this.match(program, from, null);
    } catch (reason) {
      if (reason !== tooManySteps) throw reason;
    }
    this.memory = new Set();
    this.limit = 0;
    return this.match(program, from, null);
  }

  private spend(): void {
    if (--this.budget > this.limit) return;
    if (this.memory === null && this.limit > 0) throw tooManySteps;
    throw new FormatError(`a regular expression takes too long on a text of ${this.text.length} characters`, {
      op: 'regex',
      expected: `at most ${baseSteps} + ${stepsPerCharacter} steps a character`,
      fix: 'The pattern of the file is not fit for texts; do not use the file.',
    });
  }

  /** A number for the instruction among those of all programs. */
  private key(program: readonly Instruction[], pc: number, at: number): number {
    let base = this.bases.get(program);
    if (base === undefined) {
      base = this.nextBase;
      this.nextBase += program.length;
      this.bases.set(program, base);
    }
    return (base + pc) * (this.text.length + 1) + at;
  }

  /** @param exact the end that must be reached, for look-behinds. */
  private match(program: readonly Instruction[], from: number, exact: number | null): number {
    const { text } = this;
    const stack: number[] = [];
    const marks: number[] = [];
    let pc = 0;
    let at = from;
    for (;;) {
      this.spend();
      const instruction = program[pc];
      let alive = true;
      switch (instruction.op) {
        case 'set':
          if (at < text.length && instruction.set.has(text[at])) {
            at++;
            pc++;
          } else alive = false;
          break;
        case 'split': {
          if (this.memory !== null && exact === null) {
            const key = this.key(program, pc, at);
            if (this.memory.has(key)) {
              alive = false;
              break;
            }
            if (this.memory.size < maxRemembered) this.memory.add(key);
          }
          stack.push(instruction.second, at);
          pc = instruction.first;
          break;
        }
        case 'jump':
          pc = instruction.to;
          break;
        case 'mark':
          // Undone when the machine goes back behind this place.
          stack.push(-1 - instruction.slot, marks[instruction.slot] ?? -1);
          marks[instruction.slot] = at;
          pc++;
          break;
        case 'progress':
          if (marks[instruction.slot] === at) alive = false;
          else pc++;
          break;
        case 'assert':
          if (this.holds(instruction.what, at)) pc++;
          else alive = false;
          break;
        case 'sub': {
          const end = this.sub(instruction, at);
          if (end < 0 !== instruction.negative) {
            alive = false;
            break;
          }
          if (instruction.how === 'atomic') at = end;
          pc++;
          break;
        }
        case 'done':
          if (exact === null || at === exact) return at;
          alive = false;
          break;
        default:
          instruction satisfies never;
      }
      if (alive) continue;
      do {
        const value = stack.pop();
        const target = stack.pop();
        if (value === undefined || target === undefined) return -1;
        if (target < 0) marks[-1 - target] = value;
        else at = value;
        pc = target;
      } while (pc < 0);
    }
  }

  private sub(instruction: Extract<Instruction, { op: 'sub' }>, at: number): number {
    if (instruction.how !== 'behind') {
      // Its states fail or succeed by themselves; a memory of this run would take its own success for a failure.
      const outer = this.memory;
      if (outer !== null) this.memory = new Set();
      const end = this.match(instruction.program, at, null);
      this.memory = outer;
      return end;
    }
    for (let start = at; start >= Math.max(0, at - lookBehindLimit); start--) {
      if (this.match(instruction.program, start, at) >= 0) return at;
    }
    return -1;
  }

  private holds(what: Extract<Instruction, { op: 'assert' }>['what'], at: number): boolean {
    const { text } = this;
    const isWord = (i: number): boolean => i >= 0 && i < text.length && word.has(text[i]);
    switch (what) {
      case 'textStart':
        return at === 0;
      case 'textEnd':
        return at === text.length;
      case 'lastLineEnd':
        return at === text.length || (at === text.length - 1 && text[at] === 0x0a);
      case 'lineStart':
        return at === 0 || text[at - 1] === 0x0a;
      case 'lineEnd':
        return at === text.length || text[at] === 0x0a;
      case 'word':
        return isWord(at - 1) !== isWord(at);
      case 'notWord':
        return isWord(at - 1) === isWord(at);
      default:
        return what satisfies never;
    }
  }
}

/** A compiled pattern of a file. */
export class SafeRegex {
  private readonly program: readonly Instruction[];

  /** @throws FormatError when the pattern is not supported or too large. */
  constructor(source: string) {
    const node = parseRegex(source);
    checkLookBehinds(node);
    this.program = new Compiler().compile(node);
  }

  /** Ranges of UTF-16 units of the matches that do not overlap, from left to right. @throws FormatError when the work passes its bound. */
  matches(text: string): [number, number][] {
    const points = new Int32Array(text.length);
    const places = new Int32Array(text.length + 1);
    let length = 0;
    for (let i = 0; i < text.length; ) {
      const codePoint = text.codePointAt(i) ?? 0;
      points[length] = codePoint;
      places[length++] = i;
      i += codePoint > 0xffff ? 2 : 1;
    }
    places[length] = text.length;
    const run = new Run(points.subarray(0, length));
    const out: [number, number][] = [];
    for (let at = 0; at <= length; ) {
      const end = run.attempt(this.program, at);
      if (end > at) out.push([places[at], places[end]]);
      at = end > at ? end : at + 1;
    }
    return out;
  }
}
