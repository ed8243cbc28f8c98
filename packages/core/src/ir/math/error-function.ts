/** erf, erfc, erfinv. Polynomials are minimax fits made for this file (Remez exchange, 50 digits). */
import type { Expr } from '../expr.js';
import { expOfNegative, expScaled, scale } from './exponential.js';
import type { FloatType, Lane } from './lane.js';
import { log } from './logarithm.js';

/** erf(x)/x - 1 in x^2 on [0, 0.9] and [0, 1]: 1.2e-8 and 1.3e-19. */
const erfNear = {
  f32: [0.128379151, -0.376125246, 0.112821408, -0.0267789103, 0.00501196599, -0.000609037],
  f64: [
    0.1283791670955126, -0.3761263890318375, 0.11283791670954857, -0.026866170645072886, 0.005223977624780783, -0.0008548326978737623,
    0.0001205533103673954, -1.4925593503189049e-5, 1.6460972759696551e-6, -1.6350024633978445e-7, 1.4657875996512927e-8,
    -1.1365651489875562e-9, 5.94523786839512e-11,
  ],
};
/** erfc(x)^(-1/8) on [0.9, 4], good to 1.7e-8 in erf (the form of Abramowitz and Stegun, 7.1.28). */
const erfFar = [0.997984648, 0.152198985, 0.063233614, 0.0588920005, -0.0236459374, 0.0142609766, -0.00329584442, 0.000483663956];
/** erfc(x) e^(x^2) (1 + 2 x) in (x - 3) / (x + 3), x >= 0: 2e-9 and 1.3e-18. */
const erfcScaled = {
  f32: [
    1.253008, -0.135621145, -0.047562398, 0.12964642, -0.119270973, 0.0682957619, -0.0237975325, 0.00256738067, 0.00200181594,
    -0.000777585083, -0.00026812969,
  ],
  f64: [
    1.2530080582697296, -0.13562110612458114, -0.04756229435345096, 0.12964515870275703, -0.11927366341528951, 0.06830802734413804,
    -0.023770514919235423, 0.0025293918129086256, 0.0018886903673979896, -0.0007798322382431382, -0.00010515986001175234,
    0.00012509913427801657, 4.949736614843229e-6, -2.009967686780305e-5, -7.321202257920979e-7, 3.470047572360372e-6, 3.576112878855381e-7,
    -6.125723528671328e-7, -1.4180655175409303e-7, 9.747537479244435e-8, 4.1082346201364806e-8, -1.063185451853866e-8,
    -7.596763680072178e-9, 2.709925223966518e-10, 5.482742120192862e-10,
  ],
};
/** erfinv(x)/x in w = -log(1 - x^2) on [0, 6.25]: 5e-10. */
const erfinvCentre = [
  0.8862269259244084, 0.23201364113779646, 0.011549563714848627, -0.002335838655076751, -0.00012682878840661845, 4.551356759751279e-5,
  2.555479726974771e-6, -1.1065591329926624e-6, -7.830618681673233e-8, 5.313738629066834e-8, -7.568719629828543e-9, 4.962507283904069e-10,
  -1.3092025643318e-11,
];
/** erfinv(x)/x in sqrt(w) on [2.49, 4.12], as far as f32 goes: 3e-9. */
const erfinvTailSingle = [
  0.0934660566641607, 3.5010906497865206, -5.723699140431442, 5.353887602012457, -2.8353631404886817, 0.9387473024406287,
  -0.199390854734903, 0.026542571051371585, -0.002024396131283399, 6.771218444780587e-5,
];
/** erfinv(x)/x in sqrt(w) on [2.5, 6.1]: 4e-8. */
const erfinvTail = [
  2.4978947258900663, -2.8065587670426178, 1.469999831989889, 0.7289346868129679, -1.0365980139626838, 0.5310625511646108,
  -0.16141918558339244, 0.032015855938582714, -0.0042083391842373365, 0.0003552261672448721, -1.749795334084818e-5, 3.8332674948030155e-7,
];

export function erf(m: Lane, x: Expr): Expr {
  const a = m.abs(x);
  const far = m.sub(m.c(1), m.single ? erfcBelowOne(m, a) : erfcOfPositive(m, a, 'f64'));
  return m.withSign(m.select(m.lt(a, m.single ? 0.9 : 1), erfNearZero(m, a, m.type), far), m.sign(x));
}

/** erf on [0, 0.9] (f64: 1), with the accuracy of `quality`. */
function erfNearZero(m: Lane, a: Expr, quality: FloatType): Expr {
  return m.add(a, m.mul(a, m.poly(m.mul(a, a), erfNear[quality])));
}

/** f32 erfc for a >= 0.9 with the absolute accuracy that erf needs. */
function erfcBelowOne(m: Lane, a: Expr): Expr {
  const root = m.poly(m.atMost(a, 4), erfFar);
  const square = m.mul(root, root);
  const fourth = m.mul(square, square);
  return m.div(m.c(1), m.mul(fourth, fourth));
}

/** Keeps its relative accuracy because the rounding error of x^2 goes back into e^(-x^2) as a factor. */
function erfcOfPositive(m: Lane, a: Expr, quality: FloatType): Expr {
  const limited = m.atMost(a, quality === 'f32' ? 10.15 : 27.3);
  const exactSquare = quality !== m.type;
  const { high, low } = exactSquare ? { high: m.mul(limited, limited), low: null } : m.product(limited, limited);
  const power = expScaled(m, m.neg(high));
  const q = m.div(m.sub(limited, 3), m.add(limited, 3));
  const slow = m.div(m.poly(q, erfcScaled[quality]), m.add(m.add(limited, limited), 1));
  // slow * (1 + (e^r - 1) - low e^r), the small terms first.
  const small = low ? m.sub(power.minusOne, m.mul(power.value, low)) : power.minusOne;
  return scale(m, { value: m.add(slow, m.mul(slow, small)), bits: power.bits });
}

/** f32 goes through f64, where x^2 is exact. */
export function erfc(lane: Lane, x: Expr): Expr {
  const m = lane.wide();
  const v = m.from(x);
  const a = m.abs(v);
  const near = m.sub(m.c(1), erfNearZero(m, a, lane.type));
  const positive = m.select(m.lt(a, 0.5), near, erfcOfPositive(m, a, lane.type));
  return lane.from(m.select(m.lt(v, 0), m.sub(m.c(2), positive), positive));
}

/** Fits in w = -log(1 - x^2) (Giles, 2010); f64 results get one step of Halley's method. */
export function erfinv(m: Lane, x: Expr): Expr {
  const w = m.wide();
  const a = w.abs(w.from(x));
  const size = w.neg(log(w, w.mul(w.sub(w.c(1), a), w.add(a, 1))));
  const tail = w.poly(w.sqrt(size), m.single ? erfinvTailSingle : erfinvTail);
  const start = w.mul(a, w.select(w.lt(size, 6.25), w.poly(size, erfinvCentre), tail));
  const result = m.single ? start : refine(m, a, start);
  const inside = w.select(w.lt(a, 1), result, w.select(w.eq(a, 1), Infinity, NaN));
  return m.withSign(m.from(inside), m.sign(x));
}

function refine(m: Lane, a: Expr, y: Expr): Expr {
  const near = m.sub(erfNearZero(m, y, 'f64'), a);
  const far = m.sub(m.sub(m.c(1), a), erfcOfPositive(m, y, 'f64'));
  const residual = m.select(m.lt(a, 0.5), near, far);
  const step = m.mul(m.mul(residual, Math.sqrt(Math.PI) / 2), expInverseGauss(m, y));
  return m.sub(y, m.div(step, m.add(m.mul(y, step), 1)));
}

/** e^(y^2) for |y| < 6. */
function expInverseGauss(m: Lane, y: Expr): Expr {
  return m.div(m.c(1), expOfNegative(m, m.neg(m.mul(y, y))));
}
