/** Philox4x32-10 as kernel expressions: the same numbers as data/philox.ts gives on the host. */
import { philoxDomain } from '../data/philox.js';
import { type DType, dtypeInfo } from '../dtype.js';
import type { ElementContext, Primitive } from '../graph/primitive.js';
import type { Expr, ExprBuilder } from '../ir/expr.js';
import { computeType, primitive } from './define.js';

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;
const rounds = 10;

/** The four words of the block with counter [i, round, stream, domain tensor], as i32. Input 0 is the generator's state. */
export function philoxWords({ b, load }: ElementContext, i: Expr, round = b.i32(0)): readonly [Expr, Expr, Expr, Expr] {
  let [key0, key1] = [load(0, [b.i32(0)]), load(0, [b.i32(1)])];
  let [x0, x1, x2, x3] = [i, round, load(0, [b.i32(2)]), b.i32(philoxDomain.tensor)];
  const xor3 = (a: Expr, c: Expr, d: Expr) => b.binary('xor', b.binary('xor', a, c), d);
  for (let mixing = 0; mixing < rounds; mixing++) {
    const high0 = b.binary('mulHiU', x0, b.i32(multiplier0));
    const low0 = b.mul(x0, b.i32(multiplier0));
    const high1 = b.binary('mulHiU', x2, b.i32(multiplier1));
    const low1 = b.mul(x2, b.i32(multiplier1));
    [x0, x1, x2, x3] = [xor3(high1, x1, key0), low1, xor3(high0, x3, key1), low0];
    key0 = b.add(key0, b.i32(weyl0));
    key1 = b.add(key1, b.i32(weyl1));
  }
  return [x0, x1, x2, x3];
}

/** The upper `bits` bits of a word as a number of `type`, times 2^-bits: in [0, 1). */
export function fraction(b: ExprBuilder, word: Expr, bits: number, type: 'f32' | 'f64', plus = 0): Expr {
  const whole = b.cast(b.binary('shrU', word, b.i32(32 - bits)), type);
  return b.mul(plus === 0 ? whole : b.add(whole, b.const(type, plus)), b.const(type, 2 ** -bits));
}

/** 53 random bits as a float64 in [0, 1). */
function fraction53(b: ExprBuilder, word0: Expr, word1: Expr): Expr {
  const high = b.cast(b.binary('shrU', word0, b.i32(5)), 'f64');
  const low = b.cast(b.binary('shrU', word1, b.i32(6)), 'f64');
  return b.mul(b.add(b.mul(high, b.const('f64', 2 ** 26)), low), b.const('f64', 2 ** -53));
}

function random(name: string, element: (ctx: ElementContext, words: readonly [Expr, Expr, Expr, Expr], dtype: DType) => Expr): Primitive {
  return primitive<{ readonly length: number; readonly dtype: DType }>({
    name,
    infer: (_, { length, dtype }) => [{ dtype, shape: [length] }],
    lowering: { kind: 'map', pointwise: false, element: (ctx, [i], { dtype }) => [element(ctx, philoxWords(ctx, i), dtype)] },
    vjp: null,
    cost: 80,
  });
}

/** Word 0 of each block, as int32. */
export const randomBitsPrimitive = random('randomBits', (_, [word]) => word);

/** As many bits as the significand holds, so that 1 cannot come out by rounding. */
const significandBits: Partial<Record<DType, number>> = { float32: 24, float16: 11, bfloat16: 8 };

/** Uniform over [0, 1): steps of 2^-24 (float32), 2^-53 (float64), 2^-11 (float16), 2^-8 (bfloat16). */
export const uniformPrimitive = random('randomUniform', ({ b }, [word0, word1], dtype) =>
  dtype === 'float64' ? fraction53(b, word0, word1) : fraction(b, word0, significandBits[dtype] ?? 24, 'f32'),
);

/** Standard normal by Box-Muller over words 0 and 1; the first uniform lies in (0, 1], so the logarithm is finite. */
export const normalPrimitive = random('randomNormal', ({ b }, [word0, word1], dtype) => {
  const type = dtypeInfo[dtype].compute === 'f64' ? 'f64' : 'f32';
  const log = b.unary('log', fraction(b, word0, 24, type, 1));
  const radius = b.unary('sqrt', b.mul(b.const(type, -2), log));
  return b.mul(radius, b.unary('cos', b.mul(b.const(type, 2 * Math.PI), fraction(b, word1, 24, type))));
});

/** Whole numbers from input 1 up to but without input 2 (0-d float64). */
export const integerPrimitive = random('randomInteger', ({ b, load }, [word0, word1], dtype) => {
  const low = load(1, []);
  const range = b.sub(load(2, []), low);
  const value = b.add(low, b.unary('floor', b.mul(fraction53(b, word0, word1), range)));
  return b.cast(value, computeType(dtype));
});

/** Advances a generator's state to its next stream. */
export const advancePrimitive = primitive<Record<string, never>>({
  name: 'advanceGenerator',
  infer: ([state]) => [state],
  lowering: {
    kind: 'loops',
    alias: true,
    stages({ b, store }) {
      return [{ grid: 1, cell: b.loopVar('state'), body: [store(0, [b.i32(2)], b.i32(1), 'add')] }];
    },
  },
  vjp: null,
});

export const randomPrimitives: readonly Primitive[] = [
  randomBitsPrimitive,
  uniformPrimitive,
  normalPrimitive,
  integerPrimitive,
  advancePrimitive,
];
