/** log, log2, log1p. Polynomials are minimax fits made for this file (Remez exchange, 50 digits). */
import type { Expr } from '../expr.js';
import { ln2 } from './exponential.js';
import type { Lane } from './lane.js';

/** (log(1 + f) - f + f^2/2) / f^3 on [sqrt(1/2) - 1, sqrt(2) - 1], relative to log(1 + f): 6e-9. */
const logTail = [0.33333331, -0.2500082, 0.20001227, -0.16623358, 0.14201774, -0.13160189, 0.12761433, -0.076342754];
/** (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, |s| <= 0.1716: 1.2e-18. */
const atanhTail = [
  0.6666666666666734, 0.39999999999414726, 0.28571428742378974, 0.22222198574008603, 0.18183564283314227, 0.15314051685254704,
  0.14795937808054452,
];

/** x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); k as a float. Right for positive finite x, denormals included. */
export function split(m: Lane, x: Expr, denormals = true): { k: Expr; f: Expr } {
  const tiny = denormals ? m.lt(x, m.single ? 2 ** -126 : 2 ** -1022) : null;
  const up = m.single ? 2 ** 23 : 2 ** 54;
  const normal = tiny ? m.select(tiny, m.mul(x, up), x) : x;
  const sqrtHalf = m.single ? 0x3f3504f3 : 0x3fe6a09e667f3bcdn;
  const offset = m.intOp('sub', m.bits(normal), sqrtHalf);
  const exponent = m.intOp('shr', offset, m.fraction);
  // i64 to f64 has no SIMD instruction: there the exponent is added into the low bits of the magic number.
  const k = m.single ? m.from(exponent) : m.sub(m.float(m.intOp('add', exponent, 0x4338000000000000n)), m.magic);
  const fraction = m.intOp('and', offset, m.single ? 0x7fffff : 0xfffffffffffffn);
  const f = m.sub(m.float(m.intOp('add', fraction, sqrtHalf)), 1);
  return { k: tiny ? m.sub(k, m.select(tiny, Math.log2(up), 0)) : k, f };
}

/** log(1 + f) - f for f from {@link split}. */
export function logMinusArgument(m: Lane, f: Expr): Expr {
  const square = m.mul(f, f);
  if (m.single) return m.sub(m.mul(m.mul(f, square), m.poly(f, logTail)), m.mul(square, 0.5));
  const s = m.div(f, m.add(f, 2));
  const z = m.mul(s, s);
  const half = m.mul(square, 0.5);
  return m.sub(m.mul(s, m.add(half, m.mul(z, m.poly(z, atanhTail)))), half);
}

/** Puts -Infinity at 0, NaN below, Infinity at Infinity into a logarithm `result` of x. */
function edges(m: Lane, x: Expr, result: Expr, infinite = x): Expr {
  const positive = m.select(m.lt(x, Infinity), result, infinite);
  return m.select(m.gt(x, 0), positive, m.select(m.eq(x, 0), -Infinity, NaN));
}

export function log(m: Lane, x: Expr): Expr {
  const { k, f } = split(m, x);
  const { high, low } = ln2[m.type];
  const tail = m.add(logMinusArgument(m, f), m.mul(k, low));
  return edges(m, x, m.add(m.mul(k, high), m.add(f, tail)));
}

export function log2(m: Lane, x: Expr): Expr {
  const { k, f } = split(m, x);
  const rest = logMinusArgument(m, f);
  const extra = m.add(m.mul(rest, Math.LOG2E - 1), m.mul(f, Math.LOG2E - 1));
  return edges(m, x, m.add(k, m.add(f, m.add(rest, extra))));
}

/** log(u) with u = 1 + x rounded, corrected by the rounding error over u; where u needs no scaling f is x itself. */
export function log1p(m: Lane, x: Expr): Expr {
  const u = m.add(x, 1);
  const { k, f: rounded } = split(m, u, false);
  const error = m.select(m.gt(u, 2), m.sub(m.c(1), m.sub(u, x)), m.sub(x, m.sub(u, 1)));
  const unscaled = m.eq(k, 0);
  const f = m.select(unscaled, x, rounded);
  const correction = m.select(unscaled, 0, m.div(error, u));
  const { high, low } = ln2[m.type];
  const tail = m.add(logMinusArgument(m, f), m.add(m.mul(k, low), correction));
  const result = edges(m, u, m.add(m.mul(k, high), m.add(f, tail)), x);
  return m.select(m.lt(m.abs(x), m.single ? 2 ** -26 : 2 ** -55), x, result);
}
