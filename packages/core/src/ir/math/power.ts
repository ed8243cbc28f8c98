/** pow with C99's special cases. */
import type { Expr } from '../expr.js';
import { clampExponent, exp2, expScaled, ln2, scale } from './exponential.js';
import type { Lane } from './lane.js';
import { log2, split } from './logarithm.js';

/** (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, |s| <= 0.1716: 8e-21. */
const atanhTail = [
  0.6666666666666666, 0.4000000000000624, 0.28571428569087565, 0.2222222264654224, 0.1818177568598115, 0.15387089857913383,
  0.13250138515393586, 0.13251142936184052,
];

/** |x|^y in double precision for f32 results: nothing more is needed. */
function powerBySquareRange(m: Lane, a: Expr, y: Expr): Expr {
  const w = m.wide();
  return m.from(exp2(w, w.mul(w.from(y), log2(w, w.from(a)))));
}

/** a^y = e^(y log a) for a > 0, with log a and its product as sums of two floats. */
function powerExtended(m: Lane, a: Expr, y: Expr): Expr {
  const { k, f } = split(m, a);
  // log(1 + f) = 2 s + s^3 (...), s = f / (2 + f); the remainder of the division gives the low part of s.
  const wide = m.add(f, 2);
  const wideRest = m.sub(f, m.sub(wide, 2));
  const s = m.div(f, wide);
  const back = m.product(s, wide);
  const sLow = m.div(m.sub(m.sub(m.sub(f, back.high), back.low), m.mul(s, wideRest)), wide);
  const z = m.mul(s, s);
  const cubic = m.mul(m.mul(s, z), m.poly(z, atanhTail));
  const { high, low } = ln2[m.type];
  const big = m.mul(k, high);
  const twice = m.add(s, s);
  const sum = m.add(big, twice);
  const sumRest = m.add(m.sub(big, sum), twice);
  const rest = m.add(sumRest, m.add(m.add(sLow, sLow), m.add(cubic, m.mul(k, low))));
  const logHigh = m.add(sum, rest);
  const logLow = m.add(m.sub(sum, logHigh), rest);
  // Beyond this the power is 0 or infinite anyway, unless a is 1.
  const exponent = m.atLeast(m.atMost(y, 2 ** 80), -(2 ** 80));
  const { high: top, low: bottom } = m.product(exponent, logHigh);
  const limited = clampExponent(m, top);
  const correction = m.select(m.eq(limited, top), m.add(bottom, m.mul(exponent, logLow)), 0);
  const power = expScaled(m, limited);
  const finite = scale(m, { value: m.add(power.value, m.mul(power.value, correction)), bits: power.bits });
  const atZero = m.select(m.lt(y, 0), Infinity, 0);
  const atInfinity = m.select(m.lt(y, 0), 0, Infinity);
  const result = m.select(m.eq(a, 0), atZero, m.select(m.eq(a, Infinity), atInfinity, finite));
  const undefinedInput = m.or(m.binary('ne', a, a), m.binary('ne', y, y));
  return m.select(undefinedInput, NaN, result);
}

export function pow(m: Lane, x: Expr, y: Expr): Expr {
  const a = m.abs(x);
  const size = m.single ? powerBySquareRange(m, a, y) : powerExtended(m, a, y);
  const integer = m.eq(m.unary('floor', y), y);
  const halfY = m.mul(y, 0.5);
  const odd = m.and(integer, m.unary('not', m.eq(m.unary('floor', halfY), halfY)));
  const signed = m.withSign(size, m.b.select(odd, m.sign(x), m.i(0)));
  const undefinedPower = m.and(m.and(m.lt(x, 0), m.gt(x, -Infinity)), m.unary('not', integer));
  const minusOne = m.and(m.eq(x, -1), m.eq(m.abs(y), Infinity));
  const one = m.or(m.or(m.eq(x, 1), m.eq(y, 0)), minusOne);
  return m.select(one, 1, m.select(undefinedPower, NaN, signed));
}
