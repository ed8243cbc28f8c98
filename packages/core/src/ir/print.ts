/** Kernels and step lists as readable text. */
import type { BinaryOp, Expr, Local, LoopVar } from './expr.js';
import { operands } from './expr.js';
import type { Address, ContractOperand, ContractPart, Kernel, ReduceOp, Step, Stmt } from './kernel.js';

/** Infix operators and how tightly they bind; operations that are not here print as calls. */
const infix: Partial<Record<BinaryOp, readonly [symbol: string, precedence: number]>> = {
  mul: ['*', 9],
  div: ['/', 9],
  rem: ['%', 9],
  add: ['+', 8],
  sub: ['-', 8],
  shl: ['<<', 7],
  shr: ['>>', 7],
  shrU: ['>>>', 7],
  lt: ['<', 6],
  le: ['<=', 6],
  ltU: ['<u', 6],
  eq: ['==', 5],
  ne: ['!=', 5],
  and: ['&', 4],
  xor: ['^', 3],
  or: ['|', 2],
};
const SELECT = 1;
const PREFIX = 10;
const ATOM = 11;

const accumulators: Record<ReduceOp, string> = { add: '+=', mul: '*=', max: 'max=', min: 'min=', and: '&=', or: '|=' };

/** The fewest digits that give the same f32 back. */
function shortest(value: number, type: 'f32' | 'f64'): string {
  if (type === 'f32') {
    for (let digits = 1; digits < 10; digits++) {
      const text = value.toPrecision(digits);
      if (Math.fround(Number(text)) === value) return String(Number(text));
    }
  }
  return Object.is(value, -0) ? '-0' : String(value);
}

interface Text {
  readonly text: string;
  readonly precedence: number;
}

class Printer {
  private readonly lines: string[] = [];
  private depth = 0;
  private readonly names = new Map<Local | LoopVar, string>();
  private readonly taken = new Set<string>();
  private temporaries = 0;

  toString(): string {
    return this.lines.join('\n');
  }
  line(text: string): void {
    this.lines.push('  '.repeat(this.depth) + text);
  }
  indent(body: () => void): void {
    this.depth++;
    body();
    this.depth--;
  }

  /** The name as given, with the id behind it when another object has it already. */
  name(named: Local | LoopVar): string {
    let text = this.names.get(named);
    if (text === undefined) {
      text = this.taken.has(named.name) ? `${named.name}_${named.id}` : named.name;
      this.taken.add(text);
      this.names.set(named, text);
    }
    return text;
  }

  /** Texts of several expressions of one statement, and the definitions of what they share. */
  private expressions(...roots: readonly Expr[]): { texts: string[]; definitions: string[] } {
    const uses = new Map<Expr, number>();
    const count = (e: Expr): void => {
      const n = uses.get(e) ?? 0;
      uses.set(e, n + 1);
      if (n === 0) operands(e).forEach(count);
    };
    roots.forEach(count);
    const definitions: string[] = [];
    const shared = new Map<Expr, string>();
    const render = (e: Expr): Text => {
      const known = shared.get(e);
      if (known !== undefined) return { text: known, precedence: ATOM };
      const made = this.node(e, render);
      const leaf = e.kind === 'const' || e.kind === 'index' || e.kind === 'local';
      if (leaf || (uses.get(e) ?? 0) < 2) return made;
      const name = `$${this.temporaries++}`;
      definitions.push(`${name}: ${e.type} = ${made.text}`);
      shared.set(e, name);
      return { text: name, precedence: ATOM };
    };
    return { texts: roots.map((root) => render(root).text), definitions };
  }

  private node(e: Expr, render: (e: Expr) => Text): Text {
    const atom = (text: string): Text => ({ text, precedence: ATOM });
    const within = (child: Expr, precedence: number): string => {
      const made = render(child);
      return made.precedence < precedence ? `(${made.text})` : made.text;
    };
    switch (e.kind) {
      case 'const': {
        if (e.type === 'bool') return atom(e.value ? 'true' : 'false');
        if (typeof e.value === 'bigint') return { text: `${e.value}n`, precedence: e.value < 0n ? PREFIX : ATOM };
        const text = e.type === 'i32' ? String(e.value) : shortest(e.value, e.type === 'f32' ? 'f32' : 'f64');
        return { text, precedence: text.startsWith('-') ? PREFIX : ATOM };
      }
      case 'index':
        return atom(this.name(e.variable));
      case 'local':
        return atom(this.name(e.local));
      case 'load': {
        const guard = e.guard ? ` if ${render(e.guard).text}` : '';
        return atom(`p${e.buffer.param}[${render(e.index).text}${guard}]`);
      }
      case 'unary':
        if (e.op === 'neg') return { text: `-${within(e.a, ATOM)}`, precedence: PREFIX };
        if (e.op === 'not') return { text: `${e.type === 'bool' ? '!' : '~'}${within(e.a, PREFIX)}`, precedence: PREFIX };
        return atom(`${e.op}(${render(e.a).text})`);
      case 'binary': {
        const operator = infix[e.op];
        if (!operator) return atom(`${e.op}(${render(e.a).text}, ${render(e.b).text})`);
        const [symbol, precedence] = operator;
        return { text: `${within(e.a, precedence)} ${symbol} ${within(e.b, precedence + 1)}`, precedence };
      }
      case 'select':
        return {
          text: `${within(e.condition, SELECT + 1)} ? ${within(e.a, SELECT + 1)} : ${within(e.b, SELECT)}`,
          precedence: SELECT,
        };
      case 'cast':
        return atom(`${e.type}(${render(e.a).text})`);
      case 'bitcast':
        return atom(`bits_${e.type}(${render(e.a).text})`);
      default:
        return e satisfies never;
    }
  }

  /** Prints the definitions a statement needs and gives the texts of its expressions. */
  private evaluate(...roots: readonly Expr[]): string[] {
    const { texts, definitions } = this.expressions(...roots);
    definitions.forEach((d) => this.line(d));
    return texts;
  }

  block(body: readonly Stmt[]): void {
    this.indent(() => body.forEach((stmt) => this.stmt(stmt)));
  }

  stmt(stmt: Stmt): void {
    switch (stmt.kind) {
      case 'for': {
        const extent = typeof stmt.extent === 'number' ? [String(stmt.extent)] : this.evaluate(stmt.extent);
        this.line(`${stmt.mode === 'vector' ? 'vector ' : ''}for ${this.name(stmt.variable)} in 0..${extent.join('')}`);
        return this.block(stmt.body);
      }
      case 'declare': {
        const [value] = this.evaluate(stmt.value);
        return this.line(`let ${this.name(stmt.local)}: ${stmt.local.type} = ${value}`);
      }
      case 'assign': {
        const [value] = this.evaluate(stmt.value);
        return this.line(`${this.name(stmt.local)} = ${value}`);
      }
      case 'accumulate': {
        const [value] = this.evaluate(stmt.value);
        return this.line(`${this.name(stmt.local)} ${accumulators[stmt.op]} ${value}`);
      }
      case 'store': {
        const [index, value] = this.evaluate(stmt.index, stmt.value);
        return this.line(`p${stmt.buffer.param}[${index}] ${stmt.mode === 'set' ? '=' : accumulators[stmt.mode]} ${value}`);
      }
      case 'if': {
        const [condition] = this.evaluate(stmt.condition);
        this.line(`if ${condition}`);
        this.block(stmt.then);
        if (!stmt.otherwise.length) return;
        this.line('else');
        return this.block(stmt.otherwise);
      }
      case 'while': {
        // The condition is evaluated anew in every round, so what it shares is defined on the same line.
        const { texts, definitions } = this.expressions(stmt.condition);
        this.line(`while ${texts.join('')}${definitions.length ? ` where ${definitions.join(', ')}` : ''}`);
        return this.block(stmt.body);
      }
      default:
        return stmt satisfies never;
    }
  }

  contract(part: ContractPart): void {
    const counts = { batch: 0, m: 0, n: 0, k: 0 };
    const letters = part.dims.map((d) => `${d.role}${counts[d.role]++}`);
    const operand = (o: ContractOperand): string =>
      `${o.kept ? 'kept ' : ''}p${o.buffer.param}[${o.coordinates.map((c) => coordinateText(c, letters)).join(' + ') || '0'}]`;
    const dims = part.dims.map((d, i) => `${letters[i]} in 0..${d.extent}`);
    this.line(`contract ${dims.join(', ')}`);
    this.indent(() => {
      this.line(`${this.name(part.result)}: ${part.type} = sum over k of ${operand(part.a)} * ${operand(part.b)}`);
      this.line(`for each (${part.outputVars.map((v) => this.name(v)).join(', ')})`);
      this.block(part.epilogue);
    });
  }
}

function coordinateText(c: ContractOperand['coordinates'][number], letters: readonly string[]): string {
  const terms = c.terms.map((t) => (t.coefficient === 1 ? `${letters[t.dim]}` : `${t.coefficient}*${letters[t.dim]}`));
  if (c.offset !== 0 || !terms.length) terms.push(String(c.offset));
  let text = terms.join(' + ').replaceAll('+ -', '- ');
  const single = terms.length === 1;
  if (c.checked) text = `(${text}${c.dilation === 1 ? '' : ` by ${c.dilation}`} within ${c.extent})`;
  else if (!single) text = `(${text})`;
  return c.stride === 1 ? text : `${text}*${c.stride}`;
}

/**
 * A kernel as indented text. Subexpressions that a statement uses more than once are defined as `$n` before it;
 * `$n` of different statements are different.
 */
export function printKernel(kernel: Kernel): string {
  const printer = new Printer();
  const params = kernel.params.map((p, i) => `p${i}: ${p.access} ${p.dtype}`);
  printer.line(`kernel ${kernel.name}(${params.join(', ')})`);
  printer.indent(() => {
    for (const part of kernel.parts) {
      if (part.kind === 'contract') printer.contract(part);
      else {
        printer.line(`cells ${printer.name(part.cell)} in 0..${part.grid}`);
        printer.block(part.body);
      }
    }
  });
  return printer.toString();
}

/** A step list as indented text: kernels by name, arguments as slot + bytes (+ bytes times the index r0, r1... of a repeat). */
export function printSteps(steps: readonly Step[]): string {
  const printer = new Printer();
  const address = (a: Address): string => {
    const strides = (a.loopStrides ?? []).flatMap((s, i) => (s === 0 ? [] : [` + ${s}*r${i}`]));
    return `s${a.slot} + ${a.offset}${strides.join('')}`;
  };
  const walk = (list: readonly Step[], depth: number): void => {
    for (const step of list) {
      switch (step.kind) {
        case 'call':
          printer.line(`${step.kernel.name}(${step.args.map(address).join(', ')})  work ${step.work}`);
          break;
        case 'repeat':
          printer.line(`repeat r${depth} in 0..${step.count}`);
          printer.indent(() => walk(step.body, depth + 1));
          break;
        case 'prepare':
          printer.line('prepare, when kept inputs have changed');
          printer.indent(() => walk(step.body, depth));
          break;
        case 'while':
          printer.line('before each round');
          printer.indent(() => walk(step.before, depth));
          printer.line(`while [${address(step.condition)}]`);
          printer.indent(() => walk(step.body, depth));
          break;
        case 'branch':
          printer.line(`if [${address(step.condition)}]`);
          printer.indent(() => walk(step.then, depth));
          if (step.otherwise.length) {
            printer.line('else');
            printer.indent(() => walk(step.otherwise, depth));
          }
          break;
        default:
          step satisfies never;
      }
    }
  };
  walk(steps, 0);
  return printer.toString();
}
