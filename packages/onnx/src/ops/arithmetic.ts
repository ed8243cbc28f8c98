/** Arithmetic of two and more operands, and of bits. */
import {
  add,
  bitwiseAnd,
  bitwiseLeftShift,
  bitwiseNot,
  bitwiseOr,
  bitwiseRightShift,
  bitwiseXor,
  cast,
  clamp,
  copysign,
  div,
  eq,
  floorDivide,
  fmod,
  ge,
  logicalOr,
  lt,
  maximum,
  minimum,
  mul,
  pow,
  remainder,
  sub,
  type Tensor,
  where,
} from 'trireme';
import { castTensor, inOrder, isFloatType, isUnsignedType, narrow } from '../engine/carrier.js';
import { type ElementType, elementInfo } from '../engine/element-type.js';
import type { TensorValue } from '../engine/value.js';
import { tensorAt } from './arguments.js';
import type { OpContext, OpTable } from './definition.js';
import { aligned, type BinaryRule, binary, combine, fold, isFloatCarrier, type Operand, operandOf, unary } from './elementwise.js';
import { foldsOnHost, hostMap } from './host.js';
import { computed } from './tensors.js';

const addRule: BinaryRule = {
  device: (a, b) => add(a, b),
  host: { number: (x, y) => x + y, bigint: (x, y) => x + y },
  overflows: true,
};
const subRule: BinaryRule = {
  device: (a, b) => sub(a, b),
  host: { number: (x, y) => x - y, bigint: (x, y) => x - y },
  overflows: true,
};
const mulRule: BinaryRule = {
  device: (a, b) => mul(a, b),
  host: { number: multiplied, bigint: (x, y) => x * y },
  overflows: true,
};

/** Products of 32-bit integers can pass 2^53, where the low bits that wrapping keeps would be lost. */
function multiplied(x: number, y: number): number {
  const product = x * y;
  if (Number.isSafeInteger(product) || !Number.isInteger(x) || !Number.isInteger(y)) return product;
  return Math.abs(x) < 2 ** 32 && Math.abs(y) < 2 ** 32 ? Number(BigInt.asIntN(32, BigInt(x) * BigInt(y))) : product;
}

/** The quotient of uint64 numbers by signed operations (Warren, "Hacker's Delight", 9-3). */
function unsignedQuotient(a: Tensor, b: Tensor): Tensor {
  const half = floorDivide(bitwiseAnd(bitwiseRightShift(a, 1), 2n ** 63n - 1n), maximum(b, 1));
  const estimate = mul(half, 2);
  const rest = sub(a, mul(estimate, b));
  const refined = where(ge(inOrder(rest, 'uint64'), inOrder(b, 'uint64')), add(estimate, 1), estimate);
  const large = cast(ge(inOrder(a, 'uint64'), inOrder(b, 'uint64')), 'int64');
  return where(lt(b, 0), large, where(eq(b, 0), 0, refined));
}

/** Integers divide towards zero. */
function quotient(a: Operand, b: Operand, type: ElementType): Tensor {
  if (isFloatCarrier(type)) return div(a, b);
  if (type === 'uint64') return unsignedQuotient(a as Tensor, b as Tensor);
  return floorDivide(isUnsignedType(type) ? a : sub(a, fmod(a, b)), b);
}

const divRule: BinaryRule = {
  device: quotient,
  host: { number: (x, y) => x / y, bigint: (x, y) => (y === 0n ? 0n : x / y) },
};
const integerDivRule: BinaryRule = {
  ...divRule,
  host: { number: (x, y) => (y === 0 ? 0 : Math.trunc(x / y)), bigint: (x, y) => (y === 0n ? 0n : x / y) },
};

function floorMod(x: number, y: number): number {
  const rest = x % y;
  if (rest === 0) return y < 0 ? -0 : 0;
  return rest < 0 !== y < 0 ? rest + y : rest;
}
function floorModBig(x: bigint, y: bigint): bigint {
  if (y === 0n) return 0n;
  const rest = x % y;
  return rest !== 0n && rest < 0n !== y < 0n ? rest + y : rest;
}
/** The rest has the sign of the divisor, a rest of 0 too. */
function floorRest(a: Operand, b: Operand, type: ElementType): Tensor {
  if (type === 'uint64') return unsignedRest(a as Tensor, b as Tensor);
  return isFloatCarrier(type) ? copysign(remainder(a, b), b) : remainder(a, b);
}
const floorModRule: BinaryRule = {
  device: floorRest,
  host: { number: floorMod, bigint: floorModBig },
};
const truncModRule: BinaryRule = {
  device: (a, b, type) => (type === 'uint64' ? unsignedRest(a as Tensor, b as Tensor) : fmod(a, b)),
  host: { number: (x, y) => x % y, bigint: (x, y) => (y === 0n ? 0n : x % y) },
};
function unsignedRest(a: Tensor, b: Tensor): Tensor {
  return sub(a, mul(unsignedQuotient(a, b), b));
}

function extreme(choose: (a: Operand, b: Operand) => Tensor, host: BinaryRule['host']): BinaryRule {
  return {
    device: (a, b, type) =>
      type === 'uint64' ? inOrder(choose(inOrder(a as Tensor, type), inOrder(b as Tensor, type)), type) : choose(a, b),
    host,
  };
}
const maxRule = extreme(maximum, { number: Math.max, bigint: (x, y) => (x > y ? x : y) });
const minRule = extreme(minimum, { number: Math.min, bigint: (x, y) => (x < y ? x : y) });

/** Base and exponent may be of different types; the result has that of the base. */
function power(base: TensorValue, exponent: TensorValue, ctx: OpContext): TensorValue {
  const { type } = base;
  if (base.type === exponent.type && foldsOnHost([base, exponent])) {
    const host = hostMap([base, exponent], type, { number: (x, y) => x ** y, bigint: (x, y) => (y < 0n ? 0n : x ** y) });
    return host ?? ctx.fail('the shapes do not broadcast');
  }
  const known = operandOf(exponent, base);
  if (isFloatType(type)) {
    return computed(type, () => pow(base.tensor, typeof known === 'object' ? castTensor(known, exponent.type, type) : Number(known)));
  }
  // Whole numbers to a fraction: in float64, then truncated.
  const wide = isFloatType(exponent.type) ? 'float64' : 'int64';
  return computed(type, () =>
    castTensor(pow(castTensor(base.tensor, type, wide), castTensor(exponent.tensor, exponent.type, wide)), wide, type),
  );
}

/** All bits of a type. */
function bitsOf(type: ElementType): number {
  return elementInfo[type].bits;
}

/** Amounts from the width of the type on, and negative ones, leave only the sign. */
function shifted(a: Operand, b: Operand, type: ElementType, ctx: OpContext): Tensor {
  const bits = bitsOf(type);
  const x = typeof a === 'object' ? a : asTensor(a, b as Tensor);
  const amount = typeof b === 'object' ? b : asTensor(b, x);
  // Amounts of uint64 from 2^63 on are negative in their carrier.
  const outside = logicalOr(lt(amount, 0), ge(amount, bits));
  const within = clamp(amount, { min: 0, max: bits - 1 });
  if (ctx.attrs.string('direction') === 'LEFT') return where(outside, 0, narrow(bitwiseLeftShift(x, within), type));
  const right = bitwiseRightShift(x, within);
  if (type !== 'uint64') return where(outside, isUnsignedType(type) ? 0 : bitwiseRightShift(x, bits - 1), right);
  const low = bitwiseNot(bitwiseLeftShift(asTensor(-1n, x), sub(64, within)));
  return where(outside, 0, where(eq(within, 0), x, bitwiseAnd(right, low)));
}
function asTensor(value: number | bigint, like: Tensor): Tensor {
  return add(mul(like, 0), value);
}

function shiftedNumber(x: bigint, by: bigint, type: ElementType, left: boolean): bigint {
  const outside = by < 0n || by >= BigInt(bitsOf(type));
  if (outside) return !left && x < 0n ? -1n : 0n;
  return left ? x << by : x >> by;
}

function bits(device: (a: Operand, b: Operand) => Tensor, host: (x: bigint, y: bigint) => bigint): BinaryRule {
  return { device, host: { number: (x, y) => Number(host(BigInt(x), BigInt(y))), bigint: host } };
}

export const arithmeticOps = {
  Add: binary(addRule),
  Sub: binary(subRule),
  Mul: binary(mulRule),
  Div: (inputs, ctx) => {
    const a = tensorAt(inputs, 0, ctx);
    return combine(a, aligned(a, tensorAt(inputs, 1, ctx), ctx), isFloatType(a.type) ? divRule : integerDivRule, ctx);
  },
  Mod: (inputs, ctx) => {
    const rule = ctx.attrs.int('fmod', 0) === 0 ? floorModRule : truncModRule;
    return combine(tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), rule, ctx);
  },
  Pow: (inputs, ctx) => {
    const base = tensorAt(inputs, 0, ctx);
    return power(base, aligned(base, tensorAt(inputs, 1, ctx), ctx), ctx);
  },
  Max: (inputs, ctx) => fold(inputs, maxRule, ctx),
  Min: (inputs, ctx) => fold(inputs, minRule, ctx),
  Sum: (inputs, ctx) => fold(inputs, addRule, ctx),
  Mean: (inputs, ctx) => {
    const total = fold(inputs, addRule, ctx);
    return inputs.length === 1 ? total : computed(total.type, () => div(total.tensor, inputs.length));
  },
  BitShift: (inputs, ctx) => {
    const [a, b] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    const left = ctx.attrs.string('direction') === 'LEFT';
    const shift = (x: bigint, by: bigint): bigint => shiftedNumber(x, by, a.type, left);
    return combine(a, b, { device: shifted, host: bits(bitwiseAnd, shift).host }, ctx);
  },
  BitwiseAnd: binary(bits(bitwiseAnd, (x, y) => x & y)),
  BitwiseOr: binary(bits(bitwiseOr, (x, y) => x | y)),
  BitwiseXor: binary(bits(bitwiseXor, (x, y) => x ^ y)),
  BitwiseNot: unary((x, type) => narrow(bitwiseNot(x), type), { number: (x) => ~x, bigint: (x) => ~x }),
} satisfies OpTable;
