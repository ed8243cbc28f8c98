/** Evaluates core expressions quickly for dense sweeps, and measures errors in units in the last place. */
import type { Expr, Local } from '../../src/ir/expr.js';
import { operands } from '../../src/ir/expr.js';
import type { Value } from '../../src/ir/scalar.js';
import { evalBinary, evalBitcast, evalCast, evalUnary } from '../../src/ir/scalar.js';

const words = new Int32Array(1);
const singles = new Float32Array(words.buffer);

type Register = (values: Value[]) => Value;

/** A function of the values of `inputs`. */
export function compile(root: Expr, inputs: readonly Local[]): (...args: Value[]) => Value {
  const slots = new Map<Expr, number>();
  const program: Register[] = [];
  const place = (e: Expr): number => {
    const known = slots.get(e);
    if (known !== undefined) return known;
    const at = operands(e).map(place);
    program.push(register(e, at, inputs));
    const slot = inputs.length + program.length - 1;
    slots.set(e, slot);
    return slot;
  };
  place(root);
  const values: Value[] = [];
  return (...args) => {
    args.forEach((arg, i) => (values[i] = arg));
    let slot = inputs.length;
    for (const step of program) values[slot++] = step(values);
    return values[slot - 1] as Value;
  };
}

function register(e: Expr, at: readonly number[], inputs: readonly Local[]): Register {
  const [x = 0, y = 0, z = 0] = at;
  const num = (values: Value[], slot: number): number => values[slot] as number;
  switch (e.kind) {
    case 'const':
      return () => e.value;
    case 'local': {
      const slot = inputs.indexOf(e.local);
      return (values) => values[slot] as Value;
    }
    case 'unary':
      return (values) => evalUnary(e.op, e.type, values[x] as Value);
    case 'binary':
      if (e.type === 'f32') {
        if (e.op === 'add') return (values) => Math.fround(num(values, x) + num(values, y));
        if (e.op === 'sub') return (values) => Math.fround(num(values, x) - num(values, y));
        if (e.op === 'mul') return (values) => Math.fround(num(values, x) * num(values, y));
      }
      return (values) => evalBinary(e.op, e.a.type, values[x] as Value, values[y] as Value);
    case 'select':
      return (values) => (values[x] ? (values[y] as Value) : (values[z] as Value));
    case 'cast':
      return (values) => evalCast(e.a.type, e.type, values[x] as Value);
    case 'bitcast':
      if (e.type === 'f32') {
        return (values) => {
          words[0] = num(values, x);
          return singles[0] as number;
        };
      }
      if (e.type === 'i32') {
        return (values) => {
          singles[0] = num(values, x);
          return words[0] as number;
        };
      }
      return (values) => evalBitcast(e.type, e.a.type, values[x] as Value);
    default:
      throw new Error(`expressions under test hold no ${e.kind}`);
  }
}

export function fromBits(bits: number): number {
  words[0] = bits;
  return singles[0] as number;
}

/** Distance of `got` from the exact value in ulp of the exact value; NaN against NaN and equal infinities are 0. */
export function ulpError(got: number, exact: number, type: 'f32' | 'f64'): number {
  if (Number.isNaN(exact) || Number.isNaN(got)) return Number.isNaN(exact) && Number.isNaN(got) ? 0 : Infinity;
  const [digits, lowest, top] = type === 'f32' ? [23, -149, 128] : [52, -1074, 1024];
  const rounded = type === 'f32' ? Math.fround(exact) : exact;
  if (got === rounded) return 0;
  if (!Number.isFinite(got) || !Number.isFinite(exact)) {
    if (type === 'f64') return Infinity;
    const finite = (v: number): number => (Number.isFinite(v) ? v : Math.sign(v) * 2 ** top);
    return Math.abs(finite(got) - finite(exact)) / 2 ** (top - 1 - digits);
  }
  let exponent = Math.floor(Math.log2(Math.abs(exact)));
  if (2 ** exponent > Math.abs(exact)) exponent--;
  const ulp = Math.max(exponent - digits, lowest);
  return Math.abs(got - exact) / 2 ** ulp;
}

/** f32 bit patterns over all exponents and both signs: `count` of them, evenly spaced with an odd stride, plus special values. */
export function sweep32(count: number): number[] {
  const stride = Math.floor(2 ** 32 / count) | 1;
  const values = Array.from({ length: count }, (_, i) => fromBits((i * stride) | 0));
  const special = [
    0,
    -0,
    1,
    -1,
    0.5,
    -0.5,
    2,
    -2,
    Infinity,
    -Infinity,
    NaN,
    fromBits(1),
    fromBits(0x7fffff),
    fromBits(0x800000),
    fromBits(0x7f7fffff),
  ];
  return [...values, ...special, ...special.map((v) => -v)];
}
