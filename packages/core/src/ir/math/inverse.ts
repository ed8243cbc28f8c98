/** asin, acos, atan, atan2. Polynomials are minimax fits made for this file (Remez exchange, 50 digits). */
import type { Expr } from '../expr.js';
import type { Lane } from './lane.js';

/** (asin(x)/x - 1) / x^2 in x^2 on [0, 1/4]: 5e-9 and 2e-17. */
const asinTail = {
  f32: [0.16666754, 0.074952327, 0.045478333, 0.02414106, 0.042230405],
  f64: [
    0.16666666666665375, 0.07500000000344904, 0.04464285682187844, 0.03038195939953988, 0.02237175184373646, 0.017359796987282006,
    0.01388433791200201, 0.012175020168884325, 0.006503201140541429, 0.019595170020298206, -0.016327928757643134, 0.03198249568184868,
  ],
};
/** (atan(t)/t - 1) / t^2 in t^2 on [0, 1]: 3e-9 and 3e-17. */
const atanTail = {
  f32: [-0.333332986, 0.199985474, -0.142642409, 0.109521799, -0.084034346, 0.0579573587, -0.0311776362, 0.0109145045, -0.00179360143],
  f64: [
    -0.3333333333333186, 0.19999999999754942, -0.1428571427133235, 0.11111110678712689, -0.09090901235145805, 0.07692212930540338,
    -0.06665860378072669, 0.058773079147025675, -0.05239233777986481, 0.04673952456584999, -0.040926457587303365, 0.03406795876998523,
    -0.025827014116282764, 0.01697827475528749, -0.00918475278843479, 0.0038560871444604985, -0.0011641158162191167, 0.00022303288811618619,
    -2.025969642480388e-5,
  ],
};

/** What pi/2 rounded to the type leaves out. */
const halfPiRest = { f32: Math.PI / 2 - Math.fround(Math.PI / 2), f64: 6.123233995736766e-17 };

/** |x| above 1/2 goes through asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)); gives asin of the smaller argument. */
function asinParts(m: Lane, x: Expr): { far: Expr; small: Expr } {
  const a = m.abs(x);
  const far = m.gt(a, 0.5);
  const z = m.select(far, m.mul(m.sub(m.c(1), a), 0.5), m.mul(a, a));
  const s = m.select(far, m.sqrt(z), a);
  return { far, small: m.add(s, m.mul(m.mul(s, z), m.poly(z, asinTail[m.type]))) };
}

export function asin(m: Lane, x: Expr): Expr {
  const { far, small } = asinParts(m, x);
  const twice = m.add(small, small);
  const reflected = m.sub(m.c(Math.PI / 2), m.sub(twice, halfPiRest[m.type]));
  return m.withSign(m.select(far, reflected, small), m.sign(x));
}

export function acos(m: Lane, x: Expr): Expr {
  const { far, small } = asinParts(m, x);
  const twice = m.add(small, small);
  const rest = halfPiRest[m.type];
  const left = m.sub(m.c(Math.PI), m.sub(twice, 2 * rest));
  const signed = m.withSign(small, m.sign(x));
  const near = m.sub(m.c(Math.PI / 2), m.sub(signed, rest));
  return m.select(far, m.select(m.lt(x, 0), left, twice), near);
}

function atanOfRatio(m: Lane, t: Expr, swapped: Expr): Expr {
  const z = m.mul(t, t);
  const angle = m.add(t, m.mul(m.mul(t, z), m.poly(z, atanTail[m.type])));
  return m.select(swapped, m.sub(m.c(Math.PI / 2), m.sub(angle, halfPiRest[m.type])), angle);
}

export function atan(m: Lane, x: Expr): Expr {
  const a = m.abs(x);
  const swapped = m.gt(a, 1);
  const t = m.div(m.select(swapped, 1, a), m.select(swapped, a, 1));
  return m.withSign(atanOfRatio(m, t, swapped), m.sign(x));
}

/** C99 atan2, with all its cases of signed zeros and infinities. */
export function atan2(m: Lane, y: Expr, x: Expr): Expr {
  const ax = m.abs(x);
  const ay = m.abs(y);
  const swapped = m.lt(ax, ay);
  const small = m.select(swapped, ax, ay);
  const large = m.select(swapped, ay, ax);
  // Equal sizes stand for 0/0 and infinity/infinity too.
  const t = m.select(m.eq(small, large), m.select(m.eq(small, 0), 0, 1), m.div(small, large));
  const angle = atanOfRatio(m, t, swapped);
  const reflected = m.sub(m.c(Math.PI), m.sub(angle, 2 * halfPiRest[m.type]));
  const left = m.intOp('lt', m.bits(x), 0);
  const both = m.select(left, reflected, angle);
  // A NaN x has a sign bit too, but any arithmetic on it stays NaN.
  return m.withSign(both, m.sign(y));
}
