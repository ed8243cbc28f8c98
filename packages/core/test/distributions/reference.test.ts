/** Closed forms of distributions against PyTorch: values, and gradients with respect to parameters and values. */
import { describe, expect, test } from 'vitest';
import * as D from '../../src/distributions/index.js';
import { add, mul } from '../../src/ops/binary.js';
import { eye, full } from '../../src/ops/create.js';
import { matmul } from '../../src/ops/matmul.js';
import { gammaSamples, gammaSlope, igamma } from '../../src/ops/random-samplers.js';
import { transpose } from '../../src/ops/view.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { casesByOperation, replay } from '../linalg/recorded.js';
import reference from '../reference/distributions.json' with { type: 'json' };

const gram = (a: Tensor): Tensor => add(matmul(a, transpose(a, -2, -1)), eye(2, { dtype: a.dtype }));
const makers: Record<string, (...p: Tensor[]) => D.Distribution> = {
  Normal: (loc, scale) => new D.Normal(loc, scale),
  Laplace: (loc, scale) => new D.Laplace(loc, scale),
  Cauchy: (loc, scale) => new D.Cauchy(loc, scale),
  Gumbel: (loc, scale) => new D.Gumbel(loc, scale),
  Uniform: (low, high) => new D.Uniform(low, high),
  HalfNormal: (scale) => new D.HalfNormal(scale),
  LogNormal: (loc, scale) => new D.LogNormal(loc, scale),
  Exponential: (rate) => new D.Exponential(rate),
  Gamma: (a, rate) => new D.Gamma(a, rate),
  Chi2: (df) => new D.Chi2(df),
  Beta: (a, b) => new D.Beta(a, b),
  Dirichlet: (a) => new D.Dirichlet(a),
  StudentT: (df, loc, scale) => new D.StudentT(df, loc, scale),
  Pareto: (scale, alpha) => new D.Pareto(scale, alpha),
  Weibull: (scale, k) => new D.Weibull(scale, k),
  Bernoulli: (probs) => new D.Bernoulli({ probs }),
  BernoulliLogits: (logits) => new D.Bernoulli({ logits }),
  Geometric: (probs) => new D.Geometric({ probs }),
  Binomial: (probs) => new D.Binomial(7, { probs }),
  BinomialLogits: (logits) => new D.Binomial(7, { logits }),
  Poisson: (rate) => new D.Poisson(rate),
  Categorical: (probs) => new D.Categorical({ probs }),
  CategoricalLogits: (logits) => new D.Categorical({ logits }),
  OneHotCategorical: (probs) => new D.OneHotCategorical({ probs }),
  Multinomial: (probs) => new D.Multinomial(5, { probs }),
  MultivariateNormal: (loc, scaleTril) => new D.MultivariateNormal(loc, { scaleTril }),
  MultivariateNormalCovariance: (loc, a) => new D.MultivariateNormal(loc, { covarianceMatrix: gram(a) }),
  MultivariateNormalPrecision: (loc, a) => new D.MultivariateNormal(loc, { precisionMatrix: gram(a) }),
  RelaxedBernoulli: (logits) => new D.RelaxedBernoulli(0.7, { logits }),
  RelaxedOneHotCategorical: (logits) => new D.RelaxedOneHotCategorical(0.7, { logits }),
  IndependentNormal: (loc, scale) => new D.Independent(new D.Normal(loc, scale), 1),
  MixtureOfNormals: (logits, loc, scale) => new D.MixtureSameFamily(new D.Categorical({ logits }), new D.Normal(loc, scale)),
  SigmoidOfNormal: (loc, scale) => new D.TransformedDistribution(new D.Normal(loc, scale), new D.SigmoidTransform()),
  TanhOfNormal: (loc, scale) =>
    new D.TransformedDistribution(new D.Normal(loc, scale), [new D.TanhTransform(), new D.AffineTransform(0.5, -2)]),
};
const readers: Record<string, (d: D.Distribution, value: Tensor) => Tensor> = {
  logProb: (d, v) => d.logProb(v),
  mean: (d) => mul(d.mean, 1),
  variance: (d) => mul(d.variance, 1),
  entropy: (d) => d.entropy(),
  cdf: (d, v) => d.cdf(v),
  icdf: (d, v) => d.icdf(d.cdf(v).detach()),
};

const groups = casesByOperation(reference);
test.each(groups.filter(([op]) => op in makers))('%s', (op, cases) => {
  for (const c of cases) {
    replay(c, ([value, ...parameters], { read }) => {
      const d = makers[op](...parameters);
      return (read as string[]).map((name) => readers[name](d, value));
    });
  }
});

describe('divergences', () => {
  const cases = groups.find(([op]) => op === 'kl')?.[1] ?? [];
  test.each(cases.map((c) => [`${c.attrs.p} and ${c.attrs.q}`, c] as const))('%s', (_, c) => {
    replay(c, (args, { p, q, split }) => {
      const n = Number(split);
      return D.klDivergence(makers[String(p)](...args.slice(0, n)), makers[String(q)](...args.slice(n)));
    });
  });
  test('every recorded pair is there', () => expect(cases.length).toBeGreaterThan(35));
});

describe('the incomplete gamma function', () => {
  test('its values', () => {
    for (const c of groups.find(([op]) => op === 'igamma')?.[1] ?? expect.fail('no cases')) replay(c, ([a, x]) => igamma(a, x), 1e-9);
  });
  test('how samples move with the concentration', () => {
    for (const c of groups.find(([op]) => op === 'gammaSlope')?.[1] ?? expect.fail('no cases')) {
      // PyTorch's own approximation is good to a few digits.
      replay(c, ([a, x]) => gammaSlope(a, x), 2e-3);
    }
  });
  test('the slope is the ratio of the derivatives of the cdf', () => {
    const h = 1e-5;
    for (const [a, x] of [
      [0.05, 0.001],
      [0.3, 0.4],
      [1, 2],
      [2.5, 9],
      [40, 31],
      [400, 420],
    ]) {
      const at = (value: number): Tensor => full([1], value, { dtype: 'float64' });
      const cdf = (p: number, q: number): number => Number(igamma(at(p), at(q)).item());
      const byShape = (cdf(a + h, x) - cdf(a - h, x)) / (2 * h);
      const density = (cdf(a, x + h * x) - cdf(a, x - h * x)) / (2 * h * x);
      const got = Number(gammaSlope(at(a), at(x)).item());
      expect(Math.abs(got / (-byShape / density) - 1)).toBeLessThan(1e-4);
    }
    expect(gammaSamples(full([3], 2)).shape).toEqual([3]);
  });
});
