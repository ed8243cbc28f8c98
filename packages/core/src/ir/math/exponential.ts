/** exp, exp2, expm1, sigmoid. Polynomials are minimax fits made for this file (Remez exchange, 50 digits). */
import type { Expr } from '../expr.js';
import type { Lane } from './lane.js';

/** (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, relative to e^r: 3e-9 and 4e-18. */
const expTail = {
  f32: [0.49999994, 0.16666521, 0.041668393, 0.0083687454, 0.0013814523],
  f64: [
    0.5000000000000011, 0.16666666666666413, 0.041666666666529725, 0.00833333333349454, 0.0013888888943761255, 0.00019841269507123716,
    2.4801492946446732e-5, 2.7557585324884507e-6, 2.763030813347748e-7, 2.500055326566475e-8,
  ],
};
/** The same relative to e^r - 1: 1.3e-8 and 3e-19. */
const expm1Tail = {
  f32: [0.49999997, 0.16666543, 0.0416672, 0.0083665466, 0.0013882526],
  f64: [
    0.5, 0.16666666666666677, 0.04166666666666651, 0.008333333333321657, 0.001388888888896252, 0.00019841269886068704,
    2.4801587172314116e-5, 2.7557244258716995e-6, 2.7557402759349245e-7, 2.5109022925443195e-8, 2.0875320810104134e-9,
  ],
};
/** (2^r - 1) / r on |r| <= 1/2, relative to 2^r: 2e-9 and 3e-18. */
const exp2Tail = {
  f32: [0.6931471824645996, 0.24022647738456726, 0.0555033237, 0.00961843692, 0.00133988739, 0.000153533649],
  f64: [
    Math.LN2,
    0.2402265069591013,
    0.055504108664820084,
    0.009618129107594103,
    0.0013333558146774566,
    0.0001540353045712908,
    1.5252733493160611e-5,
    1.3215435275259111e-6,
    1.0178199560401915e-7,
    7.0737842865327635e-9,
    4.43477302129726e-10,
  ],
};

/** ln 2 in two parts; the first times any exponent is exact. */
export const ln2 = {
  f32: { high: 0.693115234375, low: 3.1946184945309415e-5 },
  f64: { high: 0.6931471805592082, low: 7.371002565167799e-13 },
};

/** A result before its power of two: value * 2^n, with n in the low bits of `bits`. */
export interface Scaled {
  readonly value: Expr;
  readonly bits: Expr;
}

/** value * 2^(n + extra) in two exact steps, so that results may be infinite or denormal (with one rounding). */
export function scale(m: Lane, { value, bits }: Scaled, extra = 0): Expr {
  const half = m.shl(m.intOp('shr', bits, 1), m.fraction);
  const rest = m.intOp('sub', m.shl(bits, m.fraction), half);
  const exponent = (n: number): bigint => BigInt(m.bias + n) << BigInt(m.fraction);
  const first = m.float(m.intOp('add', half, exponent(0)));
  const second = m.float(m.intOp('add', rest, exponent(extra)));
  return m.mul(m.mul(value, first), second);
}

/** x = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite). */
function reduce(m: Lane, x: Expr): { r: Expr; bits: Expr } {
  const { integer, bits } = m.nearest(m.mul(x, Math.LOG2E));
  const { high, low } = ln2[m.type];
  return { r: m.sub(m.sub(x, m.mul(integer, high)), m.mul(integer, low)), bits };
}

/** e^x without the scaling; x must be within the range of {@link clampExponent}. */
export function expScaled(m: Lane, x: Expr): Scaled & { readonly minusOne: Expr } {
  const { r, bits } = reduce(m, x);
  const minusOne = m.add(r, m.mul(m.mul(r, r), m.poly(r, expTail[m.type])));
  return { value: m.add(minusOne, 1), minusOne, bits };
}

/** Limits x to where e^x is neither 0 nor infinite, plus a margin; NaN stays. */
export function clampExponent(m: Lane, x: Expr): Expr {
  return m.atLeast(m.atMost(x, m.single ? 91 : 712), m.single ? -104 : -746);
}

export function exp(m: Lane, x: Expr): Expr {
  return scale(m, expScaled(m, clampExponent(m, x)));
}

/** e^x for x that is known not to be positive. */
export function expOfNegative(m: Lane, x: Expr): Expr {
  return scale(m, expScaled(m, m.atLeast(x, m.single ? -104 : -746)));
}

/** e^x / 2, finite a little beyond the range of exp. */
export function halfExp(m: Lane, x: Expr): Expr {
  return scale(m, expScaled(m, clampExponent(m, x)), -1);
}

export function exp2(m: Lane, x: Expr): Expr {
  const limited = m.atLeast(m.atMost(x, m.single ? 130 : 1026), m.single ? -151 : -1076);
  const { integer, bits } = m.nearest(limited);
  const r = m.sub(limited, integer);
  return scale(m, { value: m.add(m.mul(r, m.poly(r, exp2Tail[m.type])), 1), bits });
}

/** e^r - 1 for the r of {@link reduce}. */
function expm1Reduced(m: Lane, r: Expr): Expr {
  return m.add(r, m.mul(m.mul(r, r), m.poly(r, expm1Tail[m.type])));
}

/** 2^(n + extra) where that is a normal number. */
function power(m: Lane, bits: Expr, extra: number): Expr {
  return m.float(m.intOp('add', m.shl(bits, m.fraction), BigInt(m.bias + extra) << BigInt(m.fraction)));
}

/** e^x - 1 = 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)). */
export function expm1(m: Lane, x: Expr): Expr {
  const limited = m.atLeast(m.atMost(x, m.single ? 89 : 710), m.single ? -20 : -40);
  const { r, bits } = reduce(m, limited);
  const half = power(m, bits, -1);
  const result = m.add(m.mul(expm1Reduced(m, r), half), m.sub(half, 0.5));
  return m.select(m.lt(m.abs(x), m.single ? 2 ** -30 : 2 ** -60), x, m.add(result, result));
}

/** e^x - 1 for 0 <= x < 60. */
export function expm1OfModerate(m: Lane, x: Expr): Expr {
  const { r, bits } = reduce(m, x);
  const scaleFactor = power(m, bits, 0);
  return m.add(m.mul(expm1Reduced(m, r), scaleFactor), m.sub(scaleFactor, 1));
}

/** 1 / (1 + e^-|x|), or e^-|x| times that for negative x: accurate down to the denormals. */
export function sigmoid(m: Lane, x: Expr): Expr {
  const e = expOfNegative(m, m.neg(m.abs(x)));
  return m.div(m.select(m.lt(x, 0), e, 1), m.add(e, 1));
}
