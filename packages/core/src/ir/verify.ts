/** Checks that kernels and step lists keep the rules of the IR. A failure is a bug in Trireme, never in user code. */
import type { ScalarType } from '../dtype.js';
import { dtypeInfo } from '../dtype.js';
import { CompilerError } from '../errors.js';
import type { BinaryOp, BufferRef, Expr, Local, LoopVar, UnaryOp } from './expr.js';
import { operands } from './expr.js';
import type { Address, ContractOperand, ContractPart, Kernel, Part, ReduceOp, Step, Stmt } from './kernel.js';

const numbers: readonly ScalarType[] = ['f32', 'f64', 'i32', 'i64'];
const floats: readonly ScalarType[] = ['f32', 'f64'];
const logical: readonly ScalarType[] = ['bool', 'i32', 'i64'];

/** Operand types an operation accepts. */
function unaryTypes(op: UnaryOp): readonly ScalarType[] {
  if (op === 'neg' || op === 'abs') return numbers;
  return op === 'not' ? logical : floats;
}
function binaryTypes(op: BinaryOp): readonly ScalarType[] {
  switch (op) {
    case 'add':
    case 'sub':
    case 'mul':
    case 'div':
    case 'rem':
    case 'min':
    case 'max':
    case 'lt':
    case 'le':
      return numbers;
    case 'eq':
    case 'ne':
      return [...numbers, 'bool'];
    case 'and':
    case 'or':
    case 'xor':
      return logical;
    case 'shl':
    case 'shr':
      return ['i32', 'i64'];
    case 'shrU':
    case 'mulHiU':
    case 'ltU':
      return ['i32'];
    case 'pow':
    case 'atan2':
      return floats;
    default:
      return op satisfies never;
  }
}
const comparisons: ReadonlySet<BinaryOp> = new Set<BinaryOp>(['lt', 'le', 'eq', 'ne', 'ltU']);
const bitcasts: Record<ScalarType, ScalarType | null> = { f32: 'i32', i32: 'f32', f64: 'i64', i64: 'f64', bool: null };

/** What is known where a statement stands. */
interface Scope {
  readonly names: Set<Local | LoopVar>;
  /** Locals declared outside the enclosing vector loop; null when there is no such loop. */
  readonly outsideVector: ReadonlySet<Local | LoopVar> | null;
  /** Outer locals the enclosing vector loop accumulates, with their operation. */
  readonly reductions: ReadonlyMap<Local, ReduceOp>;
}

class KernelVerifier {
  private readonly kernel: Kernel;
  private path: string[] = [];
  private readonly typed = new Set<Expr>();
  /** Interned nodes and names by id: a second object with the same id comes from another builder. */
  private readonly exprOf = new Map<number, Expr>();
  private readonly nameOf = new Map<number, Local | LoopVar>();

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  private fail(what: string, expected: string, received?: unknown): never {
    const where = this.path.length ? ` at ${this.path.join(' > ')}` : '';
    throw new CompilerError(`kernel ${this.kernel.name}${where}: ${what}`, { expected, received });
  }
  private inside(label: string, body: () => void): void {
    this.path.push(label);
    body();
    this.path.pop();
  }
  private count(value: number, what: string): void {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** 31) this.fail(`${what} is ${value}`, 'a nonnegative 32-bit integer', value);
  }
  private integer(value: number, what: string): void {
    if (!Number.isSafeInteger(value)) this.fail(`${what} is ${value}`, 'an integer', value);
  }

  part(part: Part): void {
    this.exprOf.clear();
    this.nameOf.clear();
    if (part.kind === 'contract') return this.contract(part);
    this.count(part.grid, 'the grid');
    const scope: Scope = { names: new Set(), outsideVector: null, reductions: new Map() };
    this.introduce(part.cell, scope);
    this.block(part.body, scope);
  }

  private introduce(name: Local | LoopVar, scope: Scope): void {
    if (scope.names.has(name)) this.fail(`${name.name} is declared twice`, 'one declaration on each path');
    this.sameBuilder(name);
    scope.names.add(name);
  }
  private sameBuilder(name: Local | LoopVar): void {
    const known = this.nameOf.get(name.id);
    if (known && known !== name) this.fail(`${name.name} and ${known.name} share the id ${name.id}`, 'names of one ExprBuilder');
    this.nameOf.set(name.id, name);
  }

  private block(body: readonly Stmt[], outer: Scope): void {
    const scope: Scope = { ...outer, names: new Set(outer.names) };
    body.forEach((stmt, i) => this.inside(describe(stmt, i), () => this.stmt(stmt, scope)));
  }

  private stmt(stmt: Stmt, scope: Scope): void {
    switch (stmt.kind) {
      case 'for':
        return this.loop(stmt, scope);
      case 'declare':
        this.value(stmt.value, stmt.local.type, scope);
        this.introduce(stmt.local, scope);
        return;
      case 'assign':
        this.target(stmt.local, scope);
        this.value(stmt.value, stmt.local.type, scope);
        if (scope.outsideVector?.has(stmt.local)) {
          this.fail(`${stmt.local.name} is assigned inside a vector loop but declared outside it`, 'an accumulate, or a local of the loop');
        }
        return;
      case 'accumulate':
        this.target(stmt.local, scope);
        this.value(stmt.value, stmt.local.type, scope);
        this.reduceType(stmt.op, stmt.local.type);
        return;
      case 'store':
        return this.store(stmt, scope);
      case 'if':
        this.value(stmt.condition, 'bool', scope);
        this.inside('then', () => this.block(stmt.then, scope));
        this.inside('otherwise', () => this.block(stmt.otherwise, scope));
        return;
      case 'while':
        if (scope.outsideVector) this.fail('a while loop stands inside a vector loop', 'scalar code');
        this.value(stmt.condition, 'bool', scope);
        return this.block(stmt.body, scope);
      default:
        return stmt satisfies never;
    }
  }

  private target(local: Local, scope: Scope): void {
    if (!scope.names.has(local))
      this.fail(`${local.name} is written where it is not in scope`, 'a declaration before it in the same or an outer block');
  }

  private loop(stmt: Extract<Stmt, { kind: 'for' }>, scope: Scope): void {
    if (typeof stmt.extent === 'number') this.count(stmt.extent, 'the extent');
    else {
      if (scope.outsideVector) this.fail('a loop inside a vector loop has a dynamic extent', 'a constant extent');
      this.value(stmt.extent, 'i32', scope);
    }
    let inner: Scope = { ...scope, names: new Set(scope.names) };
    if (stmt.mode === 'vector') {
      if (scope.outsideVector) this.fail('a vector loop stands inside a vector loop', 'one vector loop on each path');
      const reductions = new Map<Local, ReduceOp>();
      this.collectReductions(stmt.body, scope.names, reductions);
      inner = { names: inner.names, outsideVector: new Set(scope.names), reductions };
    }
    this.introduce(stmt.variable, inner);
    this.block(stmt.body, inner);
  }

  /** Finds the outer locals a vector loop accumulates and checks that each has one operation. */
  private collectReductions(body: readonly Stmt[], outer: ReadonlySet<Local | LoopVar>, found: Map<Local, ReduceOp>): void {
    for (const stmt of body) {
      if (stmt.kind === 'accumulate' && outer.has(stmt.local)) {
        const known = found.get(stmt.local) ?? stmt.op;
        if (known !== stmt.op)
          this.fail(`${stmt.local.name} is accumulated by ${known} and by ${stmt.op} in one vector loop`, 'one operation');
        found.set(stmt.local, stmt.op);
      } else if (stmt.kind === 'for' || stmt.kind === 'while') this.collectReductions(stmt.body, outer, found);
      else if (stmt.kind === 'if') {
        this.collectReductions(stmt.then, outer, found);
        this.collectReductions(stmt.otherwise, outer, found);
      }
    }
  }

  private store(stmt: Extract<Stmt, { kind: 'store' }>, scope: Scope): void {
    const type = dtypeInfo[stmt.buffer.dtype].compute;
    this.access(stmt.buffer, 'write');
    this.value(stmt.index, 'i32', scope);
    this.value(stmt.value, type, scope);
    if (stmt.mode === 'set') return;
    this.access(stmt.buffer, 'read');
    this.reduceType(stmt.mode, type);
    if (scope.outsideVector) this.fail(`a store of mode ${stmt.mode} stands inside a vector loop`, 'a serial loop');
  }

  private reduceType(op: ReduceOp, type: ScalarType): void {
    const accepted = binaryTypes(op);
    if (!accepted.includes(type)) this.fail(`${op} accumulates ${type}`, accepted.join(' or '), type);
  }

  private access(buffer: BufferRef, use: 'read' | 'write'): void {
    const param = this.kernel.params[buffer.param];
    if (!param) this.fail(`buffer ${buffer.param} is used`, `one of ${this.kernel.params.length} parameters`, buffer.param);
    if (param.dtype !== buffer.dtype) this.fail(`buffer ${buffer.param} is used as ${buffer.dtype}`, param.dtype, buffer.dtype);
    if (param.access !== 'readwrite' && param.access !== use) {
      this.fail(`parameter ${buffer.param} is declared ${param.access} but there is a ${use}`, `access ${use} or readwrite`, param.access);
    }
  }

  /** Checks an expression used by a statement: its type, the types inside it, and its names against the scope. */
  private value(root: Expr, type: ScalarType, scope: Scope): void {
    if (root.type !== type) this.fail(`an expression of ${root.type} stands where ${type} is needed`, type, root.type);
    const seen = new Set<Expr>();
    const visit = (e: Expr): void => {
      if (seen.has(e)) return;
      seen.add(e);
      this.types(e);
      if (e.kind === 'index' || e.kind === 'local') {
        const name = e.kind === 'index' ? e.variable : e.local;
        if (!scope.names.has(name))
          this.fail(`${name.name} is read where it is not in scope`, 'a declaration before it in the same or an outer block');
        if (e.kind === 'local' && scope.reductions.has(e.local)) {
          this.fail(`${e.local.name} is read inside the vector loop that accumulates it`, 'no read: each lane holds a partial value');
        }
      } else if (e.kind === 'load') this.access(e.buffer, 'read');
      operands(e).forEach(visit);
    };
    visit(root);
  }

  private types(e: Expr): void {
    if (this.typed.has(e)) return;
    const known = this.exprOf.get(e.id);
    if (known && known !== e) this.fail(`two expressions share the id ${e.id}`, 'expressions of one ExprBuilder');
    this.exprOf.set(e.id, e);
    this.typed.add(e);
    const expect = (got: ScalarType, accepted: readonly ScalarType[], what: string): void => {
      if (!accepted.includes(got)) this.fail(`${what} is ${got}`, accepted.join(' or '), got);
    };
    switch (e.kind) {
      case 'const': {
        const kind = e.type === 'i64' ? 'bigint' : 'number';
        if (typeof e.value !== kind) this.fail(`a constant of ${e.type} holds a ${typeof e.value}`, `a ${kind}`, e.value);
        return;
      }
      case 'index':
        this.sameBuilder(e.variable);
        return expect(e.type, ['i32'], `the loop index ${e.variable.name}`);
      case 'local':
        this.sameBuilder(e.local);
        return expect(e.type, [e.local.type], `the read of ${e.local.name}`);
      case 'load':
        expect(e.type, [dtypeInfo[e.buffer.dtype].compute], `a load of ${e.buffer.dtype}`);
        expect(e.index.type, ['i32'], 'a load index');
        if (e.guard) expect(e.guard.type, ['bool'], 'a load guard');
        return;
      case 'unary':
        expect(e.a.type, unaryTypes(e.op), `the operand of ${e.op}`);
        return expect(e.type, [e.a.type], `the result of ${e.op}`);
      case 'binary':
        expect(e.a.type, binaryTypes(e.op), `the first operand of ${e.op}`);
        expect(e.b.type, [e.a.type], `the second operand of ${e.op}`);
        return expect(e.type, [comparisons.has(e.op) ? 'bool' : e.a.type], `the result of ${e.op}`);
      case 'select':
        expect(e.condition.type, ['bool'], 'the condition of a select');
        expect(e.a.type, [e.type], 'the first arm of a select');
        return expect(e.b.type, [e.type], 'the second arm of a select');
      case 'cast':
        return;
      case 'bitcast': {
        const target = bitcasts[e.a.type];
        return expect(e.type, target ? [target] : [], `a bitcast of ${e.a.type}`);
      }
      default:
        return e satisfies never;
    }
  }

  private contract(part: ContractPart): void {
    if (part.type === 'bool') this.fail('a contraction computes in bool', 'a number type', part.type);
    if (part.result.type !== part.type) this.fail(`the result is ${part.result.type}`, part.type, part.result.type);
    part.dims.forEach((d, i) => this.count(d.extent, `the extent of dimension ${i}`));
    this.inside('a', () => this.operand(part, part.a, 'n'));
    this.inside('b', () => this.operand(part, part.b, 'm'));
    const outputs = part.dims.filter((d) => d.role !== 'k').length;
    if (part.outputVars.length !== outputs) {
      this.fail(
        `there are ${part.outputVars.length} output variables`,
        `${outputs}, one for each batch, m and n dimension`,
        part.outputVars.length,
      );
    }
    const scope: Scope = { names: new Set(), outsideVector: null, reductions: new Map() };
    for (const variable of part.outputVars) this.introduce(variable, scope);
    this.introduce(part.result, scope);
    part.epilogue.forEach((stmt, i) =>
      this.inside(`epilogue ${describe(stmt, i)}`, () => {
        if (stmt.kind !== 'declare' && stmt.kind !== 'assign' && stmt.kind !== 'store') {
          this.fail(`a ${stmt.kind} statement stands in an epilogue`, 'declare, assign or store', stmt.kind);
        }
        if (stmt.kind === 'store' && !isAffine(stmt.index, new Set(part.outputVars))) {
          this.fail('a store index is not affine', 'constants times output variables, added up');
        }
        this.stmt(stmt, scope);
      }),
    );
  }

  private operand(part: ContractPart, operand: ContractOperand, foreign: 'm' | 'n'): void {
    this.access(operand.buffer, 'read');
    const type = dtypeInfo[operand.buffer.dtype].compute;
    if (type !== part.type)
      this.fail(`the operand is ${operand.buffer.dtype}`, `a dtype that computes in ${part.type}`, operand.buffer.dtype);
    operand.coordinates.forEach((c, i) =>
      this.inside(`coordinate ${i}`, () => {
        this.integer(c.offset, 'the offset');
        this.integer(c.stride, 'the stride');
        this.count(c.extent, 'the extent');
        if (!Number.isInteger(c.dilation) || c.dilation < 1) this.fail(`the dilation is ${c.dilation}`, 'a positive integer', c.dilation);
        if (!c.checked && c.dilation !== 1) this.fail(`an unchecked coordinate has dilation ${c.dilation}`, '1', c.dilation);
        let lowest = c.offset;
        let empty = false;
        for (const term of c.terms) {
          const dim = part.dims[term.dim];
          if (!dim) this.fail(`a term names dimension ${term.dim}`, `one of ${part.dims.length} dimensions`, term.dim);
          if (dim.role === foreign)
            this.fail(`a term varies with ${foreign} dimension ${term.dim}`, 'batch, k and its own dimensions', term.dim);
          this.integer(term.coefficient, 'a coefficient');
          lowest += Math.min(0, term.coefficient * (dim.extent - 1));
          empty ||= dim.extent === 0;
        }
        if (!c.checked && !empty && lowest < 0) this.fail(`an unchecked coordinate reaches ${lowest}`, 'no negative value', lowest);
      }),
    );
  }
}

/** True for constants, output variables, and their sums and products by constants. */
function isAffine(e: Expr, variables: ReadonlySet<LoopVar>): boolean {
  if (e.kind === 'const') return true;
  if (e.kind === 'index') return variables.has(e.variable);
  if (e.kind === 'unary' && e.op === 'neg') return isAffine(e.a, variables);
  if (e.kind !== 'binary') return false;
  if (e.op === 'add' || e.op === 'sub') return isAffine(e.a, variables) && isAffine(e.b, variables);
  if (e.op === 'mul') return (e.a.kind === 'const' && isAffine(e.b, variables)) || (e.b.kind === 'const' && isAffine(e.a, variables));
  return e.op === 'shl' && e.b.kind === 'const' && isAffine(e.a, variables);
}

function describe(stmt: Stmt, position: number): string {
  switch (stmt.kind) {
    case 'for':
      return `${position}: ${stmt.mode === 'vector' ? 'vector ' : ''}for ${stmt.variable.name}`;
    case 'declare':
    case 'assign':
    case 'accumulate':
      return `${position}: ${stmt.kind} ${stmt.local.name}`;
    case 'store':
      return `${position}: store to buffer ${stmt.buffer.param}`;
    default:
      return `${position}: ${stmt.kind}`;
  }
}

/** Throws CompilerError, naming the kernel and the statement, when a kernel breaks a rule of the IR. */
export function verifyKernel(kernel: Kernel): void {
  const verifier = new KernelVerifier(kernel);
  kernel.parts.forEach((part) => verifier.part(part));
}

/** Throws CompilerError when a step list or one of its kernels breaks a rule. `slots`, when given, bounds the pointer table. */
export function verifySteps(steps: readonly Step[], slots = Infinity): void {
  const kernels = new Set<Kernel>();
  const fail = (what: string, expected: string, received: unknown): never => {
    throw new CompilerError(what, { expected, received });
  };
  const address = (a: Address, bytes: number, depth: number, where: string): void => {
    if (!Number.isInteger(a.slot) || a.slot < 0 || a.slot >= slots) fail(`${where} names slot ${a.slot}`, `a slot below ${slots}`, a.slot);
    if (!Number.isSafeInteger(a.offset) || a.offset < 0) fail(`${where} has offset ${a.offset}`, 'a nonnegative integer', a.offset);
    const strides = a.loopStrides ?? [];
    if (strides.length > depth)
      fail(`${where} has ${strides.length} loop strides`, `at most ${depth}, one for each enclosing repeat`, strides);
    for (const n of [a.offset, ...strides]) {
      if (!Number.isSafeInteger(n) || n % bytes !== 0) fail(`${where} is at ${n} bytes`, `a multiple of the element size ${bytes}`, n);
    }
  };
  const walk = (list: readonly Step[], depth: number): void => {
    for (const step of list) {
      switch (step.kind) {
        case 'call': {
          const { kernel, args } = step;
          if (!kernels.has(kernel)) verifyKernel(kernel);
          kernels.add(kernel);
          if (args.length !== kernel.params.length) {
            fail(`a call of kernel ${kernel.name} has ${args.length} arguments`, `${kernel.params.length}`, args.length);
          }
          kernel.params.forEach((param, i) => {
            const arg = args[i];
            if (arg) address(arg, dtypeInfo[param.dtype].bytes, depth, `argument ${i} of a call of kernel ${kernel.name}`);
          });
          if (!(step.work >= 0 && step.work < Infinity))
            fail(`a call of kernel ${kernel.name} has work ${step.work}`, 'a nonnegative number', step.work);
          break;
        }
        case 'repeat':
          if (!Number.isInteger(step.count) || step.count < 0)
            fail(`a repeat step has count ${step.count}`, 'a nonnegative integer', step.count);
          walk(step.body, depth + 1);
          break;
        case 'prepare':
          if (depth > 0) fail('a prepare step is inside a loop', 'prepare steps at the head of a program', depth);
          walk(step.body, depth);
          break;
        case 'while':
          address(step.condition, 1, depth, 'the condition of a while step');
          walk(step.before, depth);
          walk(step.body, depth);
          break;
        case 'branch':
          address(step.condition, 1, depth, 'the condition of a branch step');
          walk(step.then, depth);
          walk(step.otherwise, depth);
          break;
        default:
          step satisfies never;
      }
    }
  };
  walk(steps, 0);
}
