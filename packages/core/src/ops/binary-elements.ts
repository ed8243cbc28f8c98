/** Element formulas of binary functions that are more than one kernel instruction. */
import type { DType } from '../dtype.js';
import type { Expr, ExprBuilder } from '../ir/expr.js';

const isReal = (x: Expr): boolean => x.type === 'f32' || x.type === 'f64';
const c = (b: ExprBuilder, like: Expr, value: number): Expr => b.const(like.type, value);
const or = (b: ExprBuilder, x: Expr, y: Expr): Expr => b.binary('or', x, y);
const isNegative = (b: ExprBuilder, x: Expr): Expr => b.binary('lt', x, c(b, x, 0));

/** True where the truncated remainder has to be moved by one divisor to get the sign of the divisor. */
function needsShift(b: ExprBuilder, rest: Expr, y: Expr): Expr {
  return b.and(b.binary('ne', rest, c(b, rest, 0)), b.binary('xor', isNegative(b, rest), isNegative(b, y)));
}

/** floor(x / y). For floats as Python does: exact through fmod, a zero quotient with the sign of x / y. */
export function floorDivideElement(b: ExprBuilder, x: Expr, y: Expr): Expr {
  const quotient = b.binary('div', x, y);
  const rest = b.binary('rem', x, y);
  const shift = needsShift(b, rest, y);
  if (!isReal(x)) return b.select(shift, b.sub(quotient, c(b, x, 1)), quotient);
  const exact = b.binary('div', b.sub(x, rest), y);
  const shifted = b.select(shift, b.sub(exact, c(b, x, 1)), exact);
  const floor = b.unary('floor', shifted);
  const rounded = b.select(b.binary('lt', c(b, x, 0.5), b.sub(shifted, floor)), b.add(floor, c(b, x, 1)), floor);
  const zero = copysignElement(b, c(b, x, 0), quotient);
  const result = b.select(b.binary('ne', shifted, c(b, x, 0)), rounded, zero);
  return b.select(b.binary('eq', y, c(b, y, 0)), quotient, result);
}

/** x - y * floor(x / y): the sign of y. */
export function remainderElement(b: ExprBuilder, x: Expr, y: Expr): Expr {
  const rest = b.binary('rem', x, y);
  return b.select(needsShift(b, rest, y), b.add(rest, y), rest);
}

export function copysignElement(b: ExprBuilder, x: Expr, y: Expr): Expr {
  const bits = x.type === 'f64' ? 'i64' : 'i32';
  const magnitude = b.const(bits, bits === 'i64' ? 0x7fffffffffffffffn : 0x7fffffff);
  const sign = b.const(bits, bits === 'i64' ? -0x8000000000000000n : -0x80000000);
  return b.bitcast(or(b, b.and(b.bitcast(x, bits), magnitude), b.and(b.bitcast(y, bits), sign)), x.type);
}

/** larger * sqrt(1 + (smaller / larger)^2); infinite when either operand is, even beside NaN (C99). */
export function hypotElement(b: ExprBuilder, x: Expr, y: Expr): Expr {
  const [ax, ay] = [b.unary('abs', x), b.unary('abs', y)];
  const larger = b.binary('max', ax, ay);
  const smaller = b.binary('min', ax, ay);
  const zero = b.binary('eq', larger, c(b, x, 0));
  const ratio = b.binary('div', smaller, b.select(zero, c(b, x, 1), larger));
  const value = b.mul(larger, b.unary('sqrt', b.add(c(b, x, 1), b.mul(ratio, ratio))));
  const infinity = c(b, x, Infinity);
  return b.select(or(b, b.binary('eq', ax, infinity), b.binary('eq', ay, infinity)), infinity, value);
}

/** max + log1p(exp(-|x - y|)); equal infinities stay what they are. */
export function logaddexpElement(b: ExprBuilder, x: Expr, y: Expr): Expr {
  const larger = b.binary('max', x, y);
  const distance = b.unary('abs', b.sub(x, y));
  const value = b.add(larger, b.unary('log1p', b.unary('exp', b.unary('neg', distance))));
  const sameInfinity = b.and(b.binary('eq', x, y), b.binary('eq', b.unary('abs', x), c(b, x, Infinity)));
  return b.select(sameInfinity, x, value);
}

/** Whole-number power by repeated squaring; the exponent's low 31 bits count. Negative exponents: the truncated quotient. */
export function intPowElement(b: ExprBuilder, x: Expr, y: Expr, dtype?: DType): Expr {
  const one = c(b, x, 1);
  const bits = dtype === 'int8' || dtype === 'uint8' ? 8 : 31;
  let result: Expr = one;
  let base = x;
  for (let bit = 0; bit < bits; bit++) {
    const isSet = b.binary('ne', b.and(y, b.const(y.type, 2 ** bit)), c(b, y, 0));
    result = b.select(isSet, b.mul(result, base), result);
    base = b.mul(base, base);
  }
  const minusOne = c(b, x, -1);
  const odd = b.binary('ne', b.and(y, c(b, y, 1)), c(b, y, 0));
  const ofMinusOne = b.select(odd, minusOne, one);
  const truncated = b.select(b.binary('eq', x, one), one, b.select(b.binary('eq', x, minusOne), ofMinusOne, c(b, x, 0)));
  return b.select(isNegative(b, y), truncated, result);
}
