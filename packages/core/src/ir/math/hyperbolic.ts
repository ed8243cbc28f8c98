/** sinh, cosh, tanh and their inverses. Polynomials are minimax fits made for this file (Remez exchange, 50 digits). */
import type { Expr } from '../expr.js';
import { expm1OfModerate, halfExp } from './exponential.js';
import type { Lane } from './lane.js';
import { log1p } from './logarithm.js';

/** (sinh(x)/x - 1) / x^2 in x^2 on [0, 1]: 6e-11 and 9e-20. */
const sinhTail = {
  f32: [0.16666667, 0.0083333506, 0.00019836066, 2.8174388e-6],
  f64: [
    0.16666666666666669, 0.008333333333333139, 0.0001984126984143768, 2.7557319155336324e-6, 2.5052123398710877e-8, 1.6057240326389387e-10,
    7.759312692956751e-13,
  ],
};
export function sinh(m: Lane, x: Expr): Expr {
  const a = m.abs(x);
  const half = halfExp(m, a);
  const far = m.sub(half, m.div(m.c(0.25), half));
  const z = m.mul(a, a);
  const near = m.add(a, m.mul(m.mul(a, z), m.poly(z, sinhTail[m.type])));
  return m.withSign(m.select(m.lt(a, 1), near, far), m.sign(x));
}

export function cosh(m: Lane, x: Expr): Expr {
  const half = halfExp(m, m.abs(x));
  return m.add(half, m.div(m.c(0.25), half));
}

/** t / (t + 2) with t = e^(2|x|) - 1; beyond the limits the result is 1. */
export function tanh(m: Lane, x: Expr): Expr {
  const limited = m.atMost(m.abs(x), m.single ? 10 : 20);
  const t = expm1OfModerate(m, m.add(limited, limited));
  return m.withSign(m.div(t, m.add(t, 2)), m.sign(x));
}

/** Beyond this, 1 is nothing beside x, and x^2 is still finite below it. */
const large = { f32: 2 ** 30, f64: 2 ** 100 };

/** log1p(w) with w = |x| + x^2 / (1 + sqrt(x^2 + 1)), or log(x) + log(2) for large x. */
export function asinh(m: Lane, x: Expr): Expr {
  const a = m.abs(x);
  const beyond = m.gt(a, large[m.type]);
  const z = m.mul(a, a);
  const w = m.add(a, m.div(z, m.add(m.sqrt(m.add(z, 1)), 1)));
  const result = m.add(log1p(m, m.select(beyond, a, w)), m.select(beyond, Math.LN2, 0));
  return m.withSign(result, m.sign(x));
}

export function acosh(m: Lane, x: Expr): Expr {
  const t = m.sub(x, 1);
  const beyond = m.gt(x, large[m.type]);
  const w = m.add(t, m.sqrt(m.mul(t, m.add(t, 2))));
  const result = m.add(log1p(m, m.select(beyond, x, w)), m.select(beyond, Math.LN2, 0));
  return m.select(m.lt(x, 1), NaN, result);
}

export function atanh(m: Lane, x: Expr): Expr {
  const a = m.abs(x);
  const ratio = m.div(m.add(a, a), m.sub(m.c(1), a));
  return m.withSign(m.mul(log1p(m, ratio), 0.5), m.sign(x));
}
