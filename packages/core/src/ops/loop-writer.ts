/** Writes serial loops statement by statement: for factorisations and transforms, whose kernels are small algorithms. */
import type { ScalarType } from '../dtype.js';
import type { Expr, ExprBuilder } from '../ir/expr.js';
import type { Stmt } from '../ir/kernel.js';
import { accumulate, assign, declare, forLoop, ifThen, vectorLoop, whileLoop } from './statements.js';

/** A scalar that changes. */
export interface Variable {
  readonly value: Expr;
  set(value: Expr): void;
}

/** Elements of a dynamic range that are handled by one vector loop. */
const chunk = 32;

/** Statements are appended to the innermost open block. */
export class LoopWriter {
  readonly b: ExprBuilder;
  private body: Stmt[] = [];

  constructor(b: ExprBuilder) {
    this.b = b;
  }
  /** The statements written so far. */
  get statements(): readonly Stmt[] {
    return this.body;
  }
  private block(write: () => void): Stmt[] {
    const outer = this.body;
    const inner: Stmt[] = [];
    this.body = inner;
    write();
    this.body = outer;
    return inner;
  }

  push(...statements: readonly Stmt[]): void {
    this.body.push(...statements);
  }
  /** Evaluates `value` here, once. */
  let(name: string, value: Expr): Expr {
    if (value.kind === 'const') return value;
    return this.variable(name, value).value;
  }
  variable(name: string, value: Expr): Variable {
    const local = this.b.newLocal(name, value.type);
    this.push(declare(local, value));
    return { value: this.b.read(local), set: (next) => this.push(assign(local, next)) };
  }

  /** `write(i)` for i in [0, extent), one after the other. */
  for(name: string, extent: number | Expr, write: (i: Expr) => void): void {
    const variable = this.b.loopVar(name);
    const body = this.block(() => write(this.b.index(variable)));
    if (body.length > 0) this.push(forLoop(variable, constantOf(extent), body));
  }
  /** {@link for} from `first` up to but without `end`. */
  range(name: string, first: Expr, end: Expr, write: (i: Expr) => void): void {
    this.for(name, this.b.sub(end, first), (i) => write(this.b.add(first, i)));
  }
  /** From extent - 1 down to 0. */
  down(name: string, extent: number | Expr, write: (i: Expr) => void): void {
    const last = typeof extent === 'number' ? this.b.i32(extent - 1) : this.b.sub(extent, this.b.i32(1));
    this.for(name, extent, (i) => write(this.b.sub(last, i)));
  }
  if(condition: Expr, then: () => void, otherwise: () => void = () => {}): void {
    this.push(ifThen(condition, this.block(then), this.block(otherwise)));
  }
  while(condition: Expr, write: () => void): void {
    this.push(whileLoop(condition, this.block(write)));
  }

  /** `write(i)` for i in [0, extent) in vectors: no round reads what another writes. */
  lanes(name: string, extent: number | Expr, write: (i: Expr) => void): void {
    const { b } = this;
    const fixed = constantOf(extent);
    if (typeof fixed === 'number') {
      if (fixed <= 0) return;
      const variable = b.loopVar(name);
      this.push(
        vectorLoop(
          variable,
          fixed,
          this.block(() => write(b.index(variable))),
        ),
      );
      return;
    }
    const chunks = this.let(`${name}Chunks`, b.binary('div', fixed, b.i32(chunk)));
    this.for(`${name}Chunk`, chunks, (k) => {
      const variable = b.loopVar(name);
      this.push(
        vectorLoop(
          variable,
          chunk,
          this.block(() => write(b.add(b.mul(k, b.i32(chunk)), b.index(variable)))),
        ),
      );
    });
    const done = b.mul(chunks, b.i32(chunk));
    this.for(`${name}Rest`, b.sub(fixed, done), (i) => write(b.add(done, i)));
  }
  /** {@link lanes} from `first` up to but without `end`. */
  lanesFrom(name: string, first: Expr, end: Expr, write: (i: Expr) => void): void {
    this.lanes(name, this.b.sub(end, first), (i) => write(this.b.add(first, i)));
  }

  /** The sum of `term(i)` for i in [0, extent), in vectors. */
  sum(name: string, extent: number | Expr, type: ScalarType, term: (i: Expr) => Expr, start: Expr = this.b.const(type, 0)): Expr {
    const { b } = this;
    const local = b.newLocal(name, type);
    this.push(declare(local, start));
    const add = (i: Expr): void => this.push(accumulate(local, 'add', term(i)));
    this.lanes(`${name}At`, extent, add);
    return this.let(name, b.read(local));
  }
  /** {@link sum} from `first` up to but without `end`. */
  sumFrom(name: string, first: Expr, end: Expr, type: ScalarType, term: (i: Expr) => Expr): Expr {
    return this.sum(name, this.b.sub(end, first), type, (i) => term(this.b.add(first, i)));
  }
}

function constantOf(extent: number | Expr): number | Expr {
  return typeof extent !== 'number' && extent.kind === 'const' ? Math.max(0, Number(extent.value)) : extent;
}

/** Arithmetic on expressions of one floating type. */
export class Arithmetic {
  readonly type: ScalarType;
  private readonly b: ExprBuilder;
  constructor(b: ExprBuilder, type: ScalarType) {
    this.b = b;
    this.type = type;
  }
  num(value: number): Expr {
    return this.b.const(this.type, value);
  }
  /** Distance from 1 to the next larger number. */
  get epsilon(): number {
    return this.type === 'f64' ? 2 ** -52 : 2 ** -23;
  }
  add(x: Expr, y: Expr): Expr {
    return this.b.add(x, y);
  }
  sub(x: Expr, y: Expr): Expr {
    return this.b.sub(x, y);
  }
  mul(x: Expr, y: Expr): Expr {
    return this.b.mul(x, y);
  }
  div(x: Expr, y: Expr): Expr {
    return this.b.binary('div', x, y);
  }
  neg(x: Expr): Expr {
    return this.b.unary('neg', x);
  }
  abs(x: Expr): Expr {
    return this.b.unary('abs', x);
  }
  sqrt(x: Expr): Expr {
    return this.b.unary('sqrt', x);
  }
  max(x: Expr, y: Expr): Expr {
    return this.b.binary('max', x, y);
  }
  lt(x: Expr, y: Expr): Expr {
    return this.b.binary('lt', x, y);
  }
  eq(x: Expr, y: Expr): Expr {
    return this.b.binary('eq', x, y);
  }
  select(condition: Expr, x: Expr, y: Expr): Expr {
    return this.b.select(condition, x, y);
  }
  not(x: Expr): Expr {
    return this.b.unary('not', x);
  }
  /** `|x|` with the sign of `y` (plus for 0 and NaN). */
  withSign(x: Expr, y: Expr): Expr {
    return this.select(this.lt(y, this.num(0)), this.neg(this.abs(x)), this.abs(x));
  }
  /** `sqrt(x^2 + y^2)` without overflow on the way. */
  hypot(x: Expr, y: Expr): Expr {
    const [p, q] = [this.abs(x), this.abs(y)];
    const large = this.max(p, q);
    const small = this.b.binary('min', p, q);
    const ratio = this.div(small, this.select(this.eq(large, this.num(0)), this.num(1), large));
    return this.mul(large, this.sqrt(this.add(this.num(1), this.mul(ratio, ratio))));
  }
}
