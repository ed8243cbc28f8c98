/** Equal kernels of a program become one: the layers of a network are compiled once. */
import type { Expr, Local, LoopVar } from '../ir/expr.js';
import type { ContractOperand, Kernel, Part, Step, Stmt } from '../ir/kernel.js';

/**
 * Writes a kernel as a text that says all of it, with expressions and variables numbered in the order they are met:
 * kernels have the same text if and only if they are the same but for the identities of these objects.
 */
class KernelKey {
  private readonly words: (string | number)[] = [];
  private readonly expressions = new Map<Expr, number>();
  private readonly variables = new Map<Local | LoopVar, number>();

  constructor(kernel: Kernel) {
    this.words.push(JSON.stringify(kernel.name));
    for (const p of kernel.params) this.words.push(p.access, p.dtype);
    for (const part of kernel.parts) this.part(part);
  }
  toString(): string {
    return this.words.join(' ');
  }

  private variable(v: Local | LoopVar): string {
    let number = this.variables.get(v);
    if (number === undefined) {
      number = this.variables.size;
      this.variables.set(v, number);
      this.words.push('var', number, 'type' in v ? v.type : 'loop');
    }
    return `v${number}`;
  }

  private expr(e: Expr): number {
    const known = this.expressions.get(e);
    if (known !== undefined) return known;
    const text = this.describe(e);
    const number = this.expressions.size;
    this.expressions.set(e, number);
    this.words.push(`#${number}`, e.type, text);
    return number;
  }
  private describe(e: Expr): string {
    switch (e.kind) {
      case 'const':
        return `const ${Object.is(e.value, -0) ? '-0' : e.value}`;
      case 'index':
        return this.variable(e.variable);
      case 'local':
        return this.variable(e.local);
      case 'load':
        return `load ${e.buffer.param} ${e.buffer.dtype} ${this.expr(e.index)} ${e.guard ? this.expr(e.guard) : '-'}`;
      case 'unary':
        return `${e.op} ${this.expr(e.a)}`;
      case 'binary':
        return `${e.op} ${this.expr(e.a)} ${this.expr(e.b)}`;
      case 'select':
        return `select ${this.expr(e.condition)} ${this.expr(e.a)} ${this.expr(e.b)}`;
      case 'cast':
      case 'bitcast':
        return `${e.kind} ${this.expr(e.a)}`;
      default:
        return e satisfies never;
    }
  }

  private block(body: readonly Stmt[]): void {
    this.words.push('{');
    for (const stmt of body) this.stmt(stmt);
    this.words.push('}');
  }
  private stmt(stmt: Stmt): void {
    const { words } = this;
    switch (stmt.kind) {
      case 'for': {
        const extent = typeof stmt.extent === 'number' ? stmt.extent : `#${this.expr(stmt.extent)}`;
        words.push('for', stmt.mode, this.variable(stmt.variable), extent);
        return this.block(stmt.body);
      }
      case 'declare':
      case 'assign': {
        const value = this.expr(stmt.value);
        words.push(stmt.kind, this.variable(stmt.local), value);
        return;
      }
      case 'accumulate': {
        const value = this.expr(stmt.value);
        words.push(stmt.kind, stmt.op, this.variable(stmt.local), value);
        return;
      }
      case 'store': {
        const index = this.expr(stmt.index);
        const value = this.expr(stmt.value);
        words.push('store', stmt.buffer.param, stmt.buffer.dtype, stmt.mode, index, value);
        return;
      }
      case 'if':
        words.push('if', this.expr(stmt.condition));
        this.block(stmt.then);
        return this.block(stmt.otherwise);
      case 'while':
        words.push('while', this.expr(stmt.condition));
        return this.block(stmt.body);
      default:
        return stmt satisfies never;
    }
  }

  private operand({ buffer, coordinates, kept }: ContractOperand): void {
    this.words.push(kept ? 'kept' : 'operand', buffer.param, buffer.dtype);
    for (const c of coordinates) {
      this.words.push('(', c.offset, c.dilation, c.extent, c.stride, c.checked ? 1 : 0);
      for (const t of c.terms) this.words.push(t.dim, t.coefficient);
      this.words.push(')');
    }
  }
  private part(part: Part): void {
    this.words.push(part.kind);
    if (part.kind === 'loops') {
      this.words.push(part.grid, this.variable(part.cell));
      this.block(part.body);
      return;
    }
    this.words.push(part.type);
    for (const d of part.dims) this.words.push(d.role, d.extent);
    this.operand(part.a);
    this.operand(part.b);
    this.words.push(this.variable(part.result), ...part.outputVars.map((v) => this.variable(v)));
    this.block(part.epilogue);
  }
}

/** The steps with one kernel in the place of all that equal it, the first one. */
export function shareKernels(steps: readonly Step[]): Step[] {
  const byKey = new Map<string, Kernel>();
  const shared = new Map<Kernel, Kernel>();
  const share = (kernel: Kernel): Kernel => {
    let found = shared.get(kernel);
    if (found) return found;
    const key = new KernelKey(kernel).toString();
    found = byKey.get(key) ?? kernel;
    byKey.set(key, found);
    shared.set(kernel, found);
    return found;
  };
  const walk = (list: readonly Step[]): Step[] =>
    list.map((step): Step => {
      switch (step.kind) {
        case 'call':
          return { ...step, kernel: share(step.kernel) };
        case 'repeat':
        case 'prepare':
          return { ...step, body: walk(step.body) };
        case 'while':
          return { ...step, before: walk(step.before), body: walk(step.body) };
        case 'branch':
          return { ...step, then: walk(step.then), otherwise: walk(step.otherwise) };
        default:
          return step satisfies never;
      }
    });
  return walk(steps);
}
