/** sin, cos, tan. Polynomials are minimax fits made for this file (Remez exchange, 50 digits). */
import type { Expr } from '../expr.js';
import type { Lane } from './lane.js';

/** (sin(r)/r - 1) / r^2 in r^2, |r| <= pi/4: 4e-9 and 4e-18. */
const sinTail = {
  f32: [-0.16666655, 0.0083321687, -0.00019516013],
  f64: [
    -0.16666666666666632, 0.008333333333322205, -0.00019841269829633257, 2.755731362886482e-6, -2.5050747880455513e-8,
    1.5896182769925826e-10,
  ],
};
/** (cos(r) - 1 + r^2/2) / r^4 in r^2, |r| <= pi/4: 1.2e-10 and 6e-20. */
const cosTail = {
  f32: [0.041666646, -0.0013887304, 2.4431691e-5],
  f64: [
    0.04166666666666659, -0.0013888888888872733, 2.4801587288644357e-5, -2.7557314117907567e-7, 2.087569230460484e-9,
    -1.1358084934633377e-11,
  ],
};

/** pi/2 in four parts. The first three have 11 (31) bits: times an integer below 2^13 (2^22) they are exact. */
const halfPi = {
  f32: [1.5703125, 0.0004837512969970703, 7.549533620476723e-8, 2.563344151594519e-12],
  f64: [1.5707963267341256, 6.07710050359346e-11, 2.9127320548227e-20, 1.2706558760139879e-29],
};

/** |x| up to which the four-part reduction holds. */
export const moderateAngle = { f32: 12288, f64: 6e6 };

/**
 * Bits of 2/pi for f32 angles, four pieces of 29 bits for each range [2^(32 s), 2^(32 s + 32)): higher bits would only
 * add multiples of 4 quarter turns, lower ones less than 2^-55 of one (Payne and Hanek, 1983).
 */
const twoOverPi: readonly (readonly number[])[] = [
  [0.625, 0.011619772296398878, 7.118246487039515e-11, 1.0760572788072771e-19],
  [0.003807272354606539, 1.2974804038242901e-11, 2.6290565146263268e-20, 2.4711388756602014e-29],
  [2.418782371388286e-13, 2.5736426420755207e-21, 5.778727031297731e-30, 2.518417366074184e-39],
  [3.2543805834646035e-23, 2.5670069622001645e-31, 1.0490494439677911e-39, 8.452990439979127e-49],
];

/** x = q pi/2 + r, |r| <= pi/4 and a little; the low bits of `quadrant` hold q mod 4. */
interface Angle {
  readonly r: Expr;
  readonly quadrant: Expr;
}

function reduceModerate(m: Lane, x: Expr): Angle {
  const { integer, bits } = m.nearest(m.mul(x, 2 / Math.PI));
  return { r: halfPi[m.type].reduce((r, part) => m.sub(r, m.mul(integer, part)), x), quadrant: bits };
}

/** Any f32 angle, in f64. Each product x * piece is exact, and so is the sum until its integer part is gone. */
function reduceAnySingle(m: Lane, x: Expr): Angle {
  const w = m.wide();
  const angle = w.from(x);
  const size = w.abs(angle);
  const ranges = [1, 2, 3].map((s) => w.binary('le', w.c(2 ** (32 * s)), size));
  const piece = (i: number): Expr =>
    ranges.reduce((chosen, above, s) => w.select(above, twoOverPi[s + 1]?.[i] ?? 0, chosen), w.c(twoOverPi[0]?.[i] ?? 0));
  const product = (i: number): Expr => w.mul(angle, piece(i));
  const moduloFour = (p: Expr): Expr => w.sub(p, w.mul(w.unary('roundEven', w.mul(p, 0.25)), 4));
  const top = w.add(moduloFour(product(0)), moduloFour(product(1)));
  const turns = w.nearest(top).integer;
  const middle = w.add(w.sub(top, turns), product(2));
  const moreTurns = w.nearest(middle).integer;
  const rest = w.add(w.sub(middle, moreTurns), product(3));
  return {
    r: m.from(w.mul(rest, Math.PI / 2)),
    quadrant: m.bits(m.add(m.from(w.add(turns, moreTurns)), m.magic)),
  };
}

/**
 * `anyAngle` false leaves out the reduction for angles beyond {@link moderateAngle}, which is most of the work.
 * f64 angles beyond it are reduced modulo the double nearest to 2 pi first: as if x had changed by less than half an ulp.
 */
function reduce(m: Lane, x: Expr, anyAngle: boolean): Angle {
  if (!anyAngle) return reduceModerate(m, x);
  const huge = m.gt(m.abs(x), moderateAngle[m.type]);
  if (m.single && m.wide() !== m) {
    const near = reduceModerate(m, x);
    const far = reduceAnySingle(m, x);
    return { r: m.select(huge, far.r, near.r), quadrant: m.b.select(huge, far.quadrant, near.quadrant) };
  }
  return reduceModerate(m, m.select(huge, m.binary('rem', x, 2 * Math.PI), x));
}

/** sin(r) and cos(r) for |r| <= pi/4. `brief` spends half an ulp to save the care for the sign of zero. */
export function sinCosKernel(m: Lane, r: Expr, brief = m.single): { sin: Expr; cos: Expr } {
  const z = m.mul(r, r);
  // r (1 + z S) keeps the sign of zero, which r + r z S would not.
  const sin = brief
    ? m.mul(r, m.add(m.mul(z, m.poly(z, sinTail[m.type])), 1))
    : m.select(m.eq(r, 0), r, m.add(r, m.mul(r, m.mul(z, m.poly(z, sinTail[m.type])))));
  const half = m.mul(z, 0.5);
  const head = m.sub(m.c(1), half);
  const quartic = m.mul(m.mul(z, z), m.poly(z, cosTail[m.type]));
  const cos = m.single ? m.add(head, quartic) : m.add(head, m.add(m.sub(m.sub(m.c(1), head), half), quartic));
  return { sin, cos };
}

function isOdd(m: Lane, quadrant: Expr): Expr {
  return m.intOp('ne', m.intOp('and', quadrant, 1), 0);
}

function quarterWave(m: Lane, angle: Angle, quadrant: Expr): Expr {
  const { sin, cos } = sinCosKernel(m, angle.r);
  const wave = m.select(isOdd(m, quadrant), cos, sin);
  return m.withSign(wave, m.shl(m.intOp('and', quadrant, 2), m.single ? 30 : 62));
}

export function sin(m: Lane, x: Expr, anyAngle: boolean): Expr {
  const angle = reduce(m, x, anyAngle);
  return quarterWave(m, angle, angle.quadrant);
}

export function cos(m: Lane, x: Expr, anyAngle: boolean): Expr {
  const angle = reduce(m, x, anyAngle);
  return quarterWave(m, angle, m.intOp('add', angle.quadrant, 1));
}

export function tan(m: Lane, x: Expr, anyAngle: boolean): Expr {
  const { r, quadrant } = reduce(m, x, anyAngle);
  const waves = sinCosKernel(m, r, false);
  const odd = isOdd(m, quadrant);
  const ratio = m.div(m.select(odd, waves.cos, waves.sin), m.select(odd, waves.sin, waves.cos));
  return m.withSign(ratio, m.shl(m.intOp('and', quadrant, 1), m.single ? 31 : 63));
}

/** sin(pi x) and cos(pi x) for |x| <= 1/2: the sine is signed, the cosine nonnegative. */
export function sinCosPi(m: Lane, x: Expr): { sin: Expr; cos: Expr } {
  const a = m.abs(x);
  const far = m.gt(a, 0.25);
  const waves = sinCosKernel(m, m.mul(m.select(far, m.sub(m.c(0.5), a), a), Math.PI));
  return { sin: m.withSign(m.select(far, waves.cos, waves.sin), m.sign(x)), cos: m.select(far, waves.sin, waves.cos) };
}
