/** Kullback-Leibler divergences in closed form, by the kinds of both distributions. */
import { ArgumentError } from '../errors.js';
import { broadcastShapes } from '../graph/layout.js';
import { add, div, eq, ge, gt, le, logicalAnd, logicalOr, lt, mul, sub } from '../ops/binary.js';
import { broadcastTo } from '../ops/common.js';
import { triangular } from '../ops/linalg-solve.js';
import { sum } from '../ops/reduce.js';
import { where } from '../ops/ternary.js';
import { abs, digamma, erf, exp, lgamma, log, neg, sigmoid, square } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { Independent, LogNormal, TransformedDistribution } from './composed.js';
import { Cauchy, eulerGamma, Gumbel, HalfNormal, Laplace, Normal, Uniform } from './continuous.js';
import { Bernoulli, Binomial, Categorical, Geometric, OneHotCategorical, Poisson } from './discrete.js';
import { type Distribution, sumRightmost } from './distribution.js';
import { MultivariateNormal, mahalanobis } from './multivariate.js';
import { Beta, Dirichlet, Exponential, Gamma, Pareto, Weibull } from './positive.js';
import { logBeta, softplus } from './special.js';

type Kind<D extends Distribution> = abstract new (...args: never[]) => D;
type Rule = (p: Distribution, q: Distribution) => Tensor;
const rules: { readonly p: Kind<Distribution>; readonly q: Kind<Distribution>; readonly rule: Rule }[] = [];

/** Adds a rule for a pair of kinds; it also holds for subclasses that have none of their own. Later rules replace earlier ones. */
export function registerKl<P extends Distribution, Q extends Distribution>(p: Kind<P>, q: Kind<Q>, rule: (p: P, q: Q) => Tensor): void {
  rules.unshift({ p, q, rule: rule as unknown as Rule });
}

/** How many steps up the chain of classes `kind` is from the class of `d`; Infinity when it is not there. */
function distanceTo(d: Distribution, kind: Kind<Distribution>): number {
  let steps = 0;
  for (let p = Object.getPrototypeOf(d) as object | null; p !== null; p = Object.getPrototypeOf(p) as object | null) {
    if (p === kind.prototype) return steps;
    steps++;
  }
  return Infinity;
}

/**
 * The mean under p of log p(x) - log q(x), in the broadcast batch shape of both; Infinity where p has mass that q has not.
 * @throws ArgumentError naming the pair when there is no rule for it
 */
export function klDivergence(p: Distribution, q: Distribution): Tensor {
  let best: Rule | null = null;
  let nearest = Infinity;
  for (const { p: kindP, q: kindQ, rule } of rules) {
    const distance = distanceTo(p, kindP) + distanceTo(q, kindQ);
    if (distance < nearest) {
      best = rule;
      nearest = distance;
    }
  }
  const rule = best;
  if (rule === null) {
    throw new ArgumentError(`no closed form is known for ${p.name} and ${q.name}`, {
      op: 'klDivergence',
      received: [p.name, q.name],
      expected: 'a pair with a rule',
      fix: 'Add one with registerKl(), or average p.logProb(x) - q.logProb(x) over samples of p.',
    });
  }
  return composite('klDivergence', () => rule(p, q));
}

const infinite = (condition: Tensor, value: Tensor): Tensor => where(condition, Infinity, value);

/* ---- a kind with itself ---- */

registerKl(Normal, Normal, (p, q) => {
  const ratio = square(div(p.scale, q.scale));
  const shift = square(div(sub(p.loc, q.loc), q.scale));
  return mul(sub(sub(add(ratio, shift), log(ratio)), 1), 0.5);
});
registerKl(Laplace, Laplace, (p, q) => {
  const ratio = div(p.scale, q.scale);
  const apart = abs(sub(p.loc, q.loc));
  return sub(add(add(neg(log(ratio)), div(apart, q.scale)), mul(ratio, exp(neg(div(apart, p.scale))))), 1);
});
// Chyzak and Nielsen (2019).
registerKl(Cauchy, Cauchy, (p, q) => {
  const top = add(square(add(p.scale, q.scale)), square(sub(p.loc, q.loc)));
  return sub(log(top), log(mul(mul(p.scale, q.scale), 4)));
});
registerKl(Gumbel, Gumbel, (p, q) => {
  const ratio = div(p.scale, q.scale);
  const shift = div(sub(q.loc, p.loc), q.scale);
  const tail = exp(add(shift, lgamma(add(ratio, 1))));
  return add(sub(mul(ratio, eulerGamma), add(log(ratio), shift)), sub(tail, 1 + eulerGamma));
});
registerKl(Uniform, Uniform, (p, q) => {
  const value = log(div(sub(q.high, q.low), sub(p.high, p.low)));
  return infinite(logicalOr(lt(p.low, q.low), gt(p.high, q.high)), value);
});
registerKl(HalfNormal, HalfNormal, (p, q) => {
  const ratio = square(div(p.scale, q.scale));
  return mul(sub(sub(ratio, log(ratio)), 1), 0.5);
});
registerKl(Exponential, Exponential, (p, q) => {
  const ratio = div(q.rate, p.rate);
  return sub(sub(ratio, log(ratio)), 1);
});
registerKl(Gamma, Gamma, (p, q) => {
  const shapes = add(
    sub(lgamma(q.concentration), lgamma(p.concentration)),
    mul(sub(p.concentration, q.concentration), digamma(p.concentration)),
  );
  const rates = add(mul(q.concentration, log(div(p.rate, q.rate))), mul(sub(q.rate, p.rate), div(p.concentration, p.rate)));
  return add(shapes, rates);
});
registerKl(Beta, Beta, (p, q) => {
  const [a, b, c, d] = [p.concentration1, p.concentration0, q.concentration1, q.concentration0];
  const parts = add(mul(sub(a, c), digamma(a)), mul(sub(b, d), digamma(b)));
  const total = add(a, b);
  return add(sub(logBeta(c, d), logBeta(a, b)), add(parts, mul(sub(add(c, d), total), digamma(total))));
});
registerKl(Dirichlet, Dirichlet, (p, q) => {
  const [a, b] = [p.concentration, q.concentration];
  const total = sum(a, -1, true);
  const normalisers = add(sub(lgamma(sum(a, -1)), lgamma(sum(b, -1))), sum(sub(lgamma(b), lgamma(a)), -1));
  return add(normalisers, sum(mul(sub(a, b), sub(digamma(a), digamma(total))), -1));
});
registerKl(Pareto, Pareto, (p, q) => {
  const ratio = div(q.alpha, p.alpha);
  const value = add(sub(mul(q.alpha, log(div(p.scale, q.scale))), log(ratio)), sub(ratio, 1));
  return infinite(lt(p.scale, q.scale), value);
});
// Bauckhage (2013).
registerKl(Weibull, Weibull, (p, q) => {
  const [k, l] = [p.concentration, q.concentration];
  const ratio = log(div(p.scale, q.scale));
  const logs = sub(log(div(k, l)), mul(l, ratio));
  const tail = exp(add(mul(l, ratio), lgamma(add(div(l, k), 1))));
  return add(add(logs, mul(sub(div(l, k), 1), eulerGamma)), sub(tail, 1));
});
registerKl(Bernoulli, Bernoulli, (p, q) => {
  const [a, b] = [p.logits, q.logits];
  return add(sub(softplus(b), softplus(a)), mul(sigmoid(a), sub(a, b)));
});
registerKl(Binomial, Binomial, (p, q) => {
  const [a, b] = [p.logits, q.logits];
  const each = add(sub(softplus(b), softplus(a)), mul(sigmoid(a), sub(a, b)));
  const value = mul(p.totalCount, each);
  // Fewer trials: q may have as many successes, but its other probabilities have no closed form.
  return where(eq(p.totalCount, q.totalCount), value, where(gt(p.totalCount, q.totalCount), Infinity, Number.NaN));
});
registerKl(Geometric, Geometric, (p, q) => {
  const [a, b] = [p.logits, q.logits];
  const chance = sigmoid(a);
  const each = add(sub(softplus(b), softplus(a)), mul(chance, sub(a, b)));
  return div(each, chance);
});
registerKl(Poisson, Poisson, (p, q) => {
  const some = gt(p.rate, 0);
  const logs = where(some, mul(p.rate, log(div(where(some, p.rate, 1), q.rate))), 0);
  return sub(logs, sub(p.rate, q.rate));
});
registerKl(Categorical, Categorical, (p, q) => sum(mul(exp(p.logits), sub(p.logits, q.logits)), -1));
registerKl(OneHotCategorical, OneHotCategorical, (p, q) => sum(mul(exp(p.logits), sub(p.logits, q.logits)), -1));
registerKl(MultivariateNormal, MultivariateNormal, (p, q) => {
  if (p.eventShape[0] !== q.eventShape[0]) {
    throw new ArgumentError(`vectors of ${p.eventShape[0]} and of ${q.eventShape[0]}`, {
      op: 'klDivergence',
      expected: 'equal event shapes',
    });
  }
  const d = p.eventShape[0];
  const batch = broadcastShapes(p.batchShape, q.batchShape, 'klDivergence');
  const [mine, theirs] = [p.scaleTril, q.scaleTril].map((t) => broadcastTo(t, [...batch, d, d]));
  const spread = sum(square(triangular(theirs, mine, { upper: false })), [-2, -1]);
  const distance = mahalanobis(theirs, sub(q.loc, p.loc));
  return add(sub(q.halfLogDet(), p.halfLogDet()), mul(sub(add(spread, distance), d), 0.5));
});
registerKl(Independent, Independent, (p, q) => {
  if (p.reinterpreted !== q.reinterpreted) {
    throw new ArgumentError('different numbers of event dimensions', {
      op: 'klDivergence',
      received: [p.reinterpreted, q.reinterpreted],
      expected: 'equal ones',
    });
  }
  return sumRightmost(klDivergence(p.base, q.base), p.reinterpreted);
});
registerKl(LogNormal, LogNormal, (p, q) => klDivergence(p.base, q.base));
// An invertible function of both changes nothing.
registerKl(TransformedDistribution, TransformedDistribution, (p, q) => {
  if (p.transforms.length !== q.transforms.length || p.transforms.some((t, i) => !t.equals(q.transforms[i]))) {
    throw new ArgumentError(`no closed form is known for ${p.name} and ${q.name} with different transforms`, {
      op: 'klDivergence',
      expected: 'the same transforms on both sides',
    });
  }
  return klDivergence(p.base, q.base);
});

/* ---- different kinds: the cross entropy less the entropy ---- */

/** KL from p to a normal q, by the mean and variance of p. */
const toNormal = (p: Distribution, q: Normal): Tensor => {
  const moment = add(p.variance, square(sub(p.mean, q.loc)));
  const cross = add(div(moment, mul(square(q.scale), 2)), add(log(q.scale), 0.5 * Math.log(2 * Math.PI)));
  return sub(cross, p.entropy());
};
for (const kind of [Laplace, Gumbel, Uniform, HalfNormal, Exponential, Gamma, Beta, Pareto, LogNormal, Weibull] as const) {
  registerKl<Distribution, Normal>(kind, Normal, toNormal);
}
registerKl(Normal, Gumbel, (p, q) => {
  const z = div(sub(p.loc, q.loc), q.scale);
  const spread = mul(square(div(p.scale, q.scale)), 0.5);
  return sub(add(add(z, exp(sub(spread, z))), log(q.scale)), p.entropy());
});
registerKl(Normal, Laplace, (p, q) => {
  const z = div(sub(p.loc, q.loc), p.scale);
  // The mean distance of a normal variable from a point.
  const bell = mul(exp(mul(square(z), -0.5)), Math.sqrt(2 / Math.PI));
  const apart = mul(p.scale, add(bell, mul(z, erf(mul(z, Math.SQRT1_2)))));
  return sub(add(div(apart, q.scale), log(mul(q.scale, 2))), p.entropy());
});
/** KL from a non-negative p to a Gamma q needs the mean of log x. */
const toGamma = (entropy: Tensor, mean: Tensor, meanLog: Tensor, q: Gamma): Tensor => {
  const cross = add(
    sub(lgamma(q.concentration), mul(q.concentration, log(q.rate))),
    add(mul(sub(1, q.concentration), meanLog), mul(q.rate, mean)),
  );
  return sub(cross, entropy);
};
registerKl(Exponential, Gamma, (p, q) => toGamma(p.entropy(), p.mean, sub(-eulerGamma, log(p.rate)), q));
registerKl(Pareto, Exponential, (p, q) => {
  const value = sub(sub(mul(q.rate, p.mean), log(q.rate)), p.entropy());
  return infinite(le(p.alpha, 1), value);
});
registerKl(Pareto, Gamma, (p, q) => {
  const value = toGamma(p.entropy(), p.mean, add(log(p.scale), div(1, p.alpha)), q);
  return infinite(le(p.alpha, 1), value);
});
/** KL to an exponential q, by the mean of a non-negative p. */
const toExponential = (p: Distribution, q: Exponential): Tensor => sub(sub(mul(q.rate, p.mean), log(q.rate)), p.entropy());
for (const kind of [Gamma, Beta, HalfNormal, Weibull, LogNormal] as const)
  registerKl<Distribution, Exponential>(kind, Exponential, toExponential);
registerKl(Uniform, Exponential, (p, q) => infinite(lt(p.low, 0), toExponential(p, q)));
registerKl(Beta, Gamma, (p, q) =>
  toGamma(p.entropy(), p.mean, sub(digamma(p.concentration1), digamma(add(p.concentration1, p.concentration0))), q),
);
/** p on [low, high] to a uniform q. */
const toUniform = (p: Distribution, q: Uniform, low: Tensor | number, high: Tensor | number): Tensor => {
  const inside = logicalAnd(le(q.low, low), ge(q.high, high));
  return infinite(eq(inside, false), sub(log(sub(q.high, q.low)), p.entropy()));
};
registerKl(Beta, Uniform, (p, q) => toUniform(p, q, 0, 1));
registerKl(Bernoulli, Poisson, (p, q) => {
  // All outcomes are 0 or 1, whose factorials are 1.
  const cross = sub(q.rate, mul(p.probs, log(q.rate)));
  return sub(cross, p.entropy());
});
