/** Writes the body of one WGSL function: scalar expressions, loads and stores of the heap. */
import { dtypeInfo, type ScalarType } from '../../dtype.js';
import { CompilerError, DTypeError } from '../../errors.js';
import { type BinaryOp, type BufferRef, type Expr, ExprBuilder, type Local, type LoopVar, operands, type UnaryOp } from '../../ir/expr.js';
import type { ReduceOp, StoreStmt } from '../../ir/kernel.js';
import { isMathBinary, isMathUnary, lowerMath } from '../../ir/math.js';
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from '../wasm/narrow.js';
import type { Helpers } from './helpers.js';

/**
 * WGSL's own transcendentals are too coarse (sin: 2^-11, atan: 4096 ulp) or lose NaN (exp), so all are expanded. Compilers of
 * WGSL may reassociate floats.
 */
const mathOptions = { f64: false, reassociates: true } as const;
/** Operators nested deeper than this get a name in between: compilers limit the depth of an expression. */
const deepest = 16;

/** An integer literal that is safe to divide by. */
const positive = /^[1-9]\d*$/;

const infix: Partial<Record<BinaryOp, string>> = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  and: '&',
  or: '|',
  lt: '<',
  le: '<=',
  eq: '==',
  ne: '!=',
};

/** The WGSL type of a scalar. Throws DTypeError for those WGSL lacks. */
export function wgslType(type: ScalarType): 'f32' | 'i32' | 'bool' {
  if (type !== 'f64' && type !== 'i64') return type;
  throw new DTypeError(`a kernel computes in ${type}, which WGSL does not have`, {
    op: 'renderWgsl',
    received: type,
    expected: 'float32, float16, bfloat16, integers of at most 32 bits, or bool',
    fix: 'Convert with .to("float32") or .to("int32"), or run this on the CPU.',
  });
}

/** One function body. Loop variables and locals keep their objects; expressions are built anew, with transcendentals expanded. */
export class Writer {
  readonly b = new ExprBuilder();
  readonly helpers: Helpers;
  /** Parameters used so far. */
  readonly params = new Set<number>();
  private readonly lines: string[] = [];
  private readonly lowered = new Map<Expr, Expr>();
  private readonly names = new Map<Local, string>();
  private indent = 1;
  private temporaries = 0;

  constructor(helpers: Helpers) {
    this.helpers = helpers;
  }
  line(text: string): void {
    this.lines.push('  '.repeat(this.indent) + text);
  }
  block(head: string, body: () => void): void {
    this.line(`${head} {`);
    this.indent++;
    body();
    this.indent--;
    this.line('}');
  }
  fresh(stem: string): string {
    return `${stem}${this.temporaries++}`;
  }
  /** The lines written, after the addresses of the parameters they use. */
  toString(): string {
    const bases = [...this.params].sort((x, y) => x - y).map((p) => `  let p${p} = bases[${p >> 2}].${'xyzw'[p & 3]};`);
    return [...bases, ...this.lines].join('\n');
  }

  nameOf(name: Local | LoopVar): string {
    const other = 'type' in name ? this.names.get(name) : undefined;
    return other ?? `${name.name.replace(/[^A-Za-z0-9]/g, '').replace(/^[^A-Za-z]*/, 'v')}_${String(name.id).replace('-', 'n')}`;
  }
  /** Another name for a local from here on; null takes it back. */
  rename(local: Local, name: string | null): void {
    if (name === null) this.names.delete(local);
    else this.names.set(local, name);
  }

  /** The text of an expression's value. Subexpressions used more than once are written as lines of their own first. */
  value(e: Expr): string {
    const root = this.lower(e);
    const uses = new Map<Expr, number>();
    const count = (node: Expr): void => {
      const before = uses.get(node) ?? 0;
      uses.set(node, before + 1);
      if (before === 0) operands(node).forEach(count);
    };
    count(root);
    const done = new Map<Expr, { text: string; depth: number }>();
    const write = (node: Expr): { text: string; depth: number } => {
      const known = done.get(node);
      if (known) return known;
      const inputs = operands(node).map(write);
      let text = this.operation(
        node,
        inputs.map((i) => i.text),
      );
      let depth = 1 + Math.max(0, ...inputs.map((i) => i.depth));
      const leaf = node.kind === 'const' || node.kind === 'index' || node.kind === 'local';
      if (!leaf && ((uses.get(node) ?? 0) > 1 || depth > deepest)) {
        const name = this.fresh('t');
        this.line(`let ${name} = ${text};`);
        text = name;
        depth = 0;
      }
      const made = { text, depth };
      done.set(node, made);
      return made;
    };
    return write(root).text;
  }

  /** Writes a store. Its operands are computed first; `wrap` may put the store itself under a condition. */
  store(stmt: StoreStmt, wrap: (write: () => void) => void = (write) => write()): void {
    const { b } = this;
    const { buffer } = stmt;
    let value = this.lower(stmt.value);
    const index = this.lower(stmt.index);
    if (stmt.mode !== 'set') value = b.binary(stmt.mode, this.lower(b.load(buffer, value.type, index)), value);
    const at = `${this.base(buffer)} + u32(${this.value(index)})`;
    const text = (e: Expr): string => this.value(e);
    let write: string;
    switch (buffer.dtype) {
      case 'float32':
      case 'int32':
        write = `setWord(${at}, bitcast<u32>(${text(value)}));`;
        break;
      case 'float16':
      case 'bfloat16':
        write = `${this.helpers.use('setHalf')}(${at}, bitcast<u32>(${text((buffer.dtype === 'float16' ? floatToHalf : floatToBfloat)(b, value))}));`;
        break;
      case 'int16':
        write = `${this.helpers.use('setHalf')}(${at}, bitcast<u32>(${text(value)}));`;
        break;
      case 'int8':
      case 'uint8':
        write = `${this.helpers.use('setByte')}(${at}, bitcast<u32>(${text(value)}));`;
        break;
      case 'bool':
        write = `${this.helpers.use('setByte')}(${at}, select(0u, 1u, ${text(value)}));`;
        break;
      default:
        throw new CompilerError(`a store of ${buffer.dtype}`, { op: 'renderWgsl', received: buffer.dtype });
    }
    wrap(() => this.line(write));
  }

  combine(op: ReduceOp, type: ScalarType, x: string, y: string): string {
    return this.binary(op, type, x, y);
  }

  private base(buffer: BufferRef): string {
    wgslType(dtypeInfo[buffer.dtype].compute);
    this.params.add(buffer.param);
    return `p${buffer.param}`;
  }

  private lower(e: Expr): Expr {
    const known = this.lowered.get(e);
    if (known) return known;
    wgslType(e.type);
    const made = this.rebuild(e);
    this.lowered.set(e, made);
    // Rewriting again what is already rewritten changes nothing.
    this.lowered.set(made, made);
    return made;
  }
  private rebuild(e: Expr): Expr {
    const { b } = this;
    switch (e.kind) {
      case 'const':
        return b.const(e.type, e.value);
      case 'index':
        return b.index(e.variable);
      case 'local':
        return b.read(e.local);
      case 'load': {
        const { buffer } = e;
        const index = this.lower(e.index);
        const guard = e.guard && this.lower(e.guard);
        if (buffer.dtype !== 'float16' && buffer.dtype !== 'bfloat16') return b.load(buffer, e.type, index, guard);
        const bits = b.load({ param: buffer.param, dtype: 'int16' }, 'i32', index, guard);
        return buffer.dtype === 'float16' ? halfToFloat(b, bits) : bfloatToFloat(b, bits);
      }
      case 'unary': {
        const plain = b.unary(e.op, this.lower(e.a));
        return isMathUnary(e.op) ? lowerMath(b, plain, mathOptions) : plain;
      }
      case 'binary': {
        const plain = b.binary(e.op, this.lower(e.a), this.lower(e.b));
        return isMathBinary(e.op) ? lowerMath(b, plain, mathOptions) : plain;
      }
      case 'select':
        return b.select(this.lower(e.condition), this.lower(e.a), this.lower(e.b));
      case 'cast':
        return b.cast(this.lower(e.a), e.type);
      case 'bitcast':
        return b.bitcast(this.lower(e.a), e.type);
      default:
        return e satisfies never;
    }
  }

  private operation(e: Expr, [x = '', y = '', z = '']: readonly string[]): string {
    switch (e.kind) {
      case 'const':
        return this.constant(e.type, Number(e.value));
      case 'index':
        return this.nameOf(e.variable);
      case 'local':
        return this.nameOf(e.local);
      case 'load': {
        const at = `${this.base(e.buffer)} + u32(${x})`;
        if (!e.guard) return this.load(e.buffer, at);
        return `select(${this.constant(e.type, 0)}, ${this.load(e.buffer, `select(0u, ${at}, ${y})`)}, ${y})`;
      }
      case 'unary':
        return this.unary(e.op, e.type, x);
      case 'binary':
        return this.binary(e.op, e.a.type, x, y);
      case 'select':
        return `select(${z}, ${y}, ${x})`;
      case 'cast':
        return this.cast(e.a.type, e.type, x);
      case 'bitcast':
        return `bitcast<${wgslType(e.type)}>(${x})`;
      default:
        return e satisfies never;
    }
  }

  constant(type: ScalarType, value: number): string {
    if (type === 'bool') return value ? 'true' : 'false';
    if (type === 'i32') return value < 0 ? `i32(${value})` : String(value);
    if (Number.isNaN(value)) return `${this.helpers.use('nan')}()`;
    if (!Number.isFinite(value)) return value < 0 ? `(-${this.helpers.use('infinity')}())` : `${this.helpers.use('infinity')}()`;
    const text = Object.is(value, -0) ? '-0' : String(value);
    const literal = /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
    return literal.startsWith('-') ? `(${literal})` : literal;
  }

  private load(buffer: BufferRef, at: string): string {
    switch (buffer.dtype) {
      case 'float32':
        return `bitcast<f32>(wordAt(${at}))`;
      case 'int32':
        return `bitcast<i32>(wordAt(${at}))`;
      case 'int16':
        return `extractBits(bitcast<i32>(${this.helpers.use('halfAt')}(${at})), 0u, 16u)`;
      case 'int8':
        return `extractBits(bitcast<i32>(${this.helpers.use('byteAt')}(${at})), 0u, 8u)`;
      case 'uint8':
        return `i32(${this.helpers.use('byteAt')}(${at}))`;
      case 'bool':
        return `(${this.helpers.use('byteAt')}(${at}) != 0u)`;
      default:
        throw new CompilerError(`a load of ${buffer.dtype}`, { op: 'renderWgsl', received: buffer.dtype });
    }
  }

  private unary(op: UnaryOp, type: ScalarType, x: string): string {
    switch (op) {
      case 'neg':
        return `(-${x})`;
      case 'not':
        return type === 'bool' ? `(!${x})` : `(~${x})`;
      case 'roundEven':
        return `round(${x})`;
      case 'abs':
      case 'floor':
      case 'ceil':
      case 'trunc':
      case 'sqrt':
        return `${op}(${x})`;
      default:
        throw new CompilerError(`${op} was not expanded`, { op: 'renderWgsl' });
    }
  }

  private binary(op: BinaryOp, type: ScalarType, x: string, y: string): string {
    switch (op) {
      case 'min':
      case 'max':
        return `${type === 'f32' ? this.helpers.use(`${op}Float`) : op}(${x}, ${y})`;
      case 'rem':
        if (type === 'f32') return `${this.helpers.use('remFloat')}(${x}, ${y})`;
        return positive.test(y) ? `(${x} % ${y})` : `${this.helpers.use('remInt')}(${x}, ${y})`;
      case 'div':
        return type === 'f32' || positive.test(y) ? `(${x} / ${y})` : `${this.helpers.use('divInt')}(${x}, ${y})`;
      case 'xor':
        return `(${x} ${type === 'bool' ? '!=' : '^'} ${y})`;
      case 'shl':
        return `(${x} << (u32(${y}) & 31u))`;
      case 'shr':
        return `(${x} >> (u32(${y}) & 31u))`;
      case 'shrU':
        return `bitcast<i32>(bitcast<u32>(${x}) >> (u32(${y}) & 31u))`;
      case 'ltU':
        return `(bitcast<u32>(${x}) < bitcast<u32>(${y}))`;
      case 'mulHiU':
        return `${this.helpers.use('mulHigh')}(${x}, ${y})`;
      default: {
        const symbol = infix[op];
        if (!symbol) throw new CompilerError(`${op} was not expanded`, { op: 'renderWgsl' });
        return `(${x} ${symbol} ${y})`;
      }
    }
  }

  private cast(from: ScalarType, to: ScalarType, x: string): string {
    if (from === to) return x;
    if (to === 'bool') return `(${x} != ${this.constant(from, 0)})`;
    if (from === 'bool') return `select(${this.constant(to, 0)}, ${this.constant(to, 1)}, ${x})`;
    return to === 'f32' ? `f32(${x})` : `${this.helpers.use('toInt')}(${x})`;
  }
}
