/** lgamma and digamma, computed in f64 also for f32 (where the backend has f64). */
import type { Expr } from '../expr.js';
import type { Lane } from './lane.js';
import { log } from './logarithm.js';
import { sinCosPi } from './trigonometric.js';

/** log(gamma(2 + z)) / z on |z| <= 1/2 (minimax, Remez exchange): 2.7e-10 for f32 results, 1.5e-19 for f64. */
const logGammaAroundTwo = {
  f32: [
    0.4227843350064178, 0.3224670346878969, -0.06735228224034591, 0.02058073440607079, -0.007386158764557836, 0.002891732621247503,
    -0.0011859586236452047, 0.000501517026221837, -0.00025361980460307786, 0.00012236341702683554,
  ],
  f64: [
    0.42278433509846713, 0.3224670334241132, -0.06735230105319814, 0.020580808427784925, -0.007385551028668385, 0.002890510330713708,
    -0.0011927539119914678, 0.0005096695256866386, -0.00022315475094251193, 9.945749520421844e-5, -4.492634881745609e-5,
    2.0507408927040777e-5, -9.438474268949544e-6, 4.373503897968123e-6, -2.0448585160737228e-6, 9.61052312044991e-7, -4.3048753425203273e-7,
    1.9667521765548979e-7, -1.340110350656576e-7, 6.91577223417095e-8,
  ],
};
/** B(2k) / (2k (2k - 1)), k = 1..8: Stirling's series (DLMF 5.11.1). */
const stirling = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400];
/** B(2k) / (2k), k = 1..8: the asymptotic series of digamma (DLMF 5.11.2). */
const digammaSeries = [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160];
/** From here on the asymptotic series are used. */
const LARGE = 8;

/** Below this sin(pi x) is pi x, which must not be rounded as a denormal. */
const TINY = 2 ** -60;

/** x minus the nearest integer. */
function fractionOf(m: Lane, x: Expr): Expr {
  return m.sub(x, m.unary('roundEven', x));
}

/**
 * log |gamma(x)|. Relative accuracy holds for x > 0, its zeros at 1 and 2 included. Near the zeros at negative x, where
 * two large terms cancel (-log(|sin(pi x)| / pi) - lgamma(1 - x)), the error is a few ulp of those terms.
 */
export function lgamma(lane: Lane, argument: Expr): Expr {
  const m = lane.wide();
  const x = m.from(argument);
  const reflect = m.lt(x, 0.5);
  const y = m.select(reflect, m.sub(m.c(1), x), x);
  const large = m.gt(y, LARGE);
  // gamma(y) = gamma(2 + z) * product for y >= 2.5, gamma(2 + z) / y for y < 1.5, |z| <= 1/2.
  let base = y;
  let product = m.c(1);
  for (let step = 0; step < 6; step++) {
    const above = m.gt(base, 2.5);
    const lower = m.sub(base, 1);
    product = m.select(above, m.mul(product, lower), product);
    base = m.select(above, lower, base);
  }
  const below = m.lt(y, 1.5);
  const z = m.sub(base, m.select(below, 1, 2));
  const logarithm = log(m, m.select(large, y, m.select(below, y, product)));
  const centre = m.mul(z, m.poly(z, logGammaAroundTwo[lane.type]));
  const small = m.add(centre, m.select(below, m.neg(logarithm), logarithm));
  const inverse = m.div(m.c(1), y);
  const series = m.mul(inverse, m.poly(m.mul(inverse, inverse), stirling));
  const asymptotic = m.add(m.mul(m.sub(y, 0.5), m.sub(logarithm, 1)), m.add(series, 0.4189385332046727));
  const direct = m.select(large, asymptotic, small);
  const size = m.abs(x);
  const sine = m.mul(m.abs(sinCosPi(m, fractionOf(m, x)).sin), 1 / Math.PI);
  const reflected = m.sub(m.neg(log(m, m.select(m.lt(size, TINY), size, sine))), direct);
  const pole = m.and(m.binary('le', x, 0), m.eq(m.unary('floor', x), x));
  const infinite = m.or(pole, m.eq(size, Infinity));
  return lane.from(m.select(infinite, Infinity, m.select(reflect, reflected, direct)));
}

/**
 * Derivative of log gamma, as PyTorch: NaN at negative integers, -Infinity at 0 and Infinity at -0. Near its zeros
 * (1.4616 and one between each two negative integers) the error is a few ulp of the terms that cancel.
 */
export function digamma(lane: Lane, argument: Expr): Expr {
  const m = lane.wide();
  const x = m.from(argument);
  const reflect = m.lt(x, 0);
  let y = m.select(reflect, m.sub(m.c(1), x), x);
  // 1/y + 1/(y + 1) + ... as one fraction: numerator / denominator.
  let numerator = m.c(0);
  let denominator = m.c(1);
  for (let step = 0; step < LARGE; step++) {
    const small = m.lt(y, LARGE);
    numerator = m.select(small, m.add(m.mul(numerator, y), denominator), numerator);
    denominator = m.select(small, m.mul(denominator, y), denominator);
    y = m.select(small, m.add(y, 1), y);
  }
  const inverse = m.div(m.c(1), y);
  const square = m.mul(inverse, inverse);
  const series = m.add(m.mul(inverse, 0.5), m.mul(square, m.poly(square, digammaSeries)));
  const direct = m.sub(m.sub(log(m, y), series), m.div(numerator, denominator));
  const { sin, cos } = sinCosPi(m, fractionOf(m, x));
  const reflected = m.sub(direct, m.div(m.mul(cos, Math.PI), sin));
  const onPole = m.and(reflect, m.eq(m.unary('floor', x), x));
  const result = m.select(onPole, NaN, m.select(reflect, reflected, direct));
  return lane.from(m.select(m.eq(x, 0), m.withSign(m.c(-Infinity), m.sign(x)), result));
}
