/** Samples: their moments and distances from the cdf, seeds, shapes, gradients of reparameterised ones, jit(). */
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import * as D from '../../src/distributions/index.js';
import { ArgumentError, DTypeError, ShapeError } from '../../src/errors.js';
import { jit } from '../../src/jit.js';
import { add, mul, sub } from '../../src/ops/binary.js';
import { eye, full, ones, tensor, zeros } from '../../src/ops/create.js';
import { mean, sum } from '../../src/ops/reduce.js';
import { variance } from '../../src/ops/statistics.js';
import { log, square } from '../../src/ops/unary.js';
import { Generator, manualSeed } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);
const draws = 20_000;

/** Kolmogorov's statistic of sorted samples against a cdf; below 1.95 / sqrt(n) with probability 0.999. */
function kolmogorov(d: D.Distribution): number {
  const sorted = d.sample([draws], { generator: new Generator(11) }).sort(0).values;
  return numbers(d.cdf(sorted)).reduce((worst, p, i) => Math.max(worst, Math.abs(p - i / draws), Math.abs(p - (i + 1) / draws)), 0);
}

const continuous: Record<string, () => D.Distribution> = {
  Normal: () => new D.Normal(0.5, 2),
  Laplace: () => new D.Laplace(0.5, 2),
  Cauchy: () => new D.Cauchy(0.5, 2),
  Gumbel: () => new D.Gumbel(0.5, 2),
  Uniform: () => new D.Uniform(-1, 3),
  HalfNormal: () => new D.HalfNormal(2),
  LogNormal: () => new D.LogNormal(0.2, 0.6),
  Exponential: () => new D.Exponential(1.5),
  'Gamma above 1': () => new D.Gamma(3.5, 2),
  'Gamma below 1': () => new D.Gamma(0.3, 2),
  'Gamma, large': () => new D.Gamma(150, 2),
  'Gamma in float64': () => new D.Gamma(full([], 0.7, { dtype: 'float64' }), 1),
  Chi2: () => new D.Chi2(5),
  Pareto: () => new D.Pareto(2, 4.5),
  Weibull: () => new D.Weibull(1.5, 2.2),
  'TransformedDistribution, falling': () =>
    new D.TransformedDistribution(new D.Normal(0, 1), [new D.SigmoidTransform(), new D.AffineTransform(1, -2)]),
  MixtureSameFamily: () =>
    new D.MixtureSameFamily(new D.Categorical({ probs: tensor([0.3, 0.7]) }), new D.Normal(tensor([-2, 1]), tensor([0.5, 1]))),
};

describe('continuous samples follow their cdf', () => {
  test.each(Object.entries(continuous))('%s', (_, make) => {
    expect(kolmogorov(make())).toBeLessThan(1.95 / Math.sqrt(draws));
  });
});

const withMoments: Record<string, () => D.Distribution> = {
  ...Object.fromEntries(Object.entries(continuous).filter(([name]) => !['Cauchy', 'TransformedDistribution, falling'].includes(name))),
  Beta: () => new D.Beta(tensor([0.4, 2, 30]), tensor([0.7, 5, 12])),
  Dirichlet: () => new D.Dirichlet(tensor([0.4, 3, 1.2])),
  StudentT: () => new D.StudentT(9, 1, 2),
  Bernoulli: () => new D.Bernoulli({ probs: tensor([0, 0.2, 0.9, 1]) }),
  Geometric: () => new D.Geometric({ probs: tensor([0.1, 0.7, 1]) }),
  'Binomial, few': () => new D.Binomial(12, { probs: tensor([0, 0.1, 0.6, 1]) }),
  'Binomial, many': () => new D.Binomial(tensor([100, 1000, 50]), { probs: tensor([0.3, 0.95, 0.5]) }),
  Poisson: () => new D.Poisson(tensor([0, 0.3, 4, 9.9, 10.1, 60, 3000])),
  OneHotCategorical: () =>
    new D.OneHotCategorical({
      probs: tensor(
        [
          [1, 2, 3],
          [5, 1, 0],
        ],
        { dtype: 'float32' },
      ),
    }),
  Multinomial: () =>
    new D.Multinomial(6, {
      probs: tensor(
        [
          [1, 2, 3],
          [5, 1, 0],
        ],
        { dtype: 'float32' },
      ),
    }),
  MultivariateNormal: () =>
    new D.MultivariateNormal(tensor([1, -1], { dtype: 'float32' }), {
      covarianceMatrix: tensor(
        [
          [2, 0.5],
          [0.5, 1],
        ],
        { dtype: 'float32' },
      ),
    }),
  Independent: () => new D.Independent(new D.Normal(tensor([0, 1], { dtype: 'float32' }), 1), 1),
};

describe('moments of samples', () => {
  test.each(Object.entries(withMoments))('%s', (_, make) => {
    const d = make();
    const x = d.sample([draws], { generator: new Generator(7) });
    expect(x.shape).toEqual([draws, ...d.batchShape, ...d.eventShape]);
    const [m, v] = [numbers(mean(x, 0)), numbers(variance(x, 0))];
    const [expectedMean, expectedVariance] = [numbers(d.mean), numbers(d.variance)];
    m.forEach((got, i) => {
      expect(Math.abs(got - expectedMean[i])).toBeLessThanOrEqual(
        4.5 * Math.sqrt(expectedVariance[i] / draws) + 1e-5 * Math.abs(expectedMean[i]),
      );
      expect(Math.abs(v[i] - expectedVariance[i])).toBeLessThanOrEqual(0.12 * expectedVariance[i] + 1e-12);
    });
    // Every sample lies in the support and has a finite log-density.
    expect(numbers(d.logProb(x)).every(Number.isFinite)).toBe(true);
  });
  test('classes come with their probabilities', () => {
    const d = new D.Categorical({
      probs: tensor(
        [
          [1, 2, 3],
          [0, 0, 4],
        ],
        { dtype: 'float32' },
      ),
    });
    const x = d.sample([draws], { generator: new Generator(3) });
    expect([x.dtype, x.shape]).toEqual(['int64', [draws, 2]]);
    const rows = numbers(x);
    for (let k = 0; k < 3; k++) {
      const share = rows.filter((c, i) => i % 2 === 0 && c === k).length / draws;
      expect(Math.abs(share - (k + 1) / 6)).toBeLessThan(0.015);
    }
    expect(rows.every((c, i) => i % 2 === 0 || c === 2)).toBe(true);
  });
  test('the frequencies of counts follow the probabilities', () => {
    for (const d of [
      new D.Poisson(3.5),
      new D.Poisson(14),
      new D.Binomial(40, { probs: 0.2 }),
      new D.Binomial(40, { probs: 0.6 }),
      new D.Geometric({ probs: 0.3 }),
    ]) {
      const counts = new Array<number>(60).fill(0);
      for (const x of numbers(d.sample([draws], { generator: new Generator(5) }))) counts[x]++;
      const top = d instanceof D.Binomial ? 40 : 59;
      const logs = numbers(
        d.logProb(
          tensor(
            Array.from({ length: top + 1 }, (_, k) => k),
            { dtype: 'float32' },
          ),
        ),
      );
      // Pearson's statistic over the counts that are expected at least 10 times.
      let [statistic, cells] = [0, 0];
      logs.forEach((l, k) => {
        const expected = draws * Math.exp(l);
        if (expected < 10) return;
        statistic += (counts[k] - expected) ** 2 / expected;
        cells++;
      });
      expect(statistic).toBeLessThan(cells + 4 * Math.sqrt(2 * cells));
    }
  });
});

describe('one seed, one sequence', () => {
  test('of every distribution, eager and in jit()', () => {
    for (const make of [
      ...Object.values(withMoments),
      () => new D.RelaxedBernoulli(0.5, { logits: 0.3 }),
      () => new D.Categorical({ logits: zeros([4]) }),
    ]) {
      const d = make();
      const run = (): Tensor => d.sample([3]);
      manualSeed(5);
      const [first, second] = [numbers(run()), numbers(run())];
      manualSeed(5);
      expect(numbers(run())).toEqual(first);
      manualSeed(5);
      const f = jit(run);
      expect(numbers(f())).toEqual(first);
      expect(numbers(f())).toEqual(second);
      f.dispose();
    }
    manualSeed(0);
  });
  test('element i does not depend on how many there are', () => {
    const few = numbers(new D.Gamma(0.5, 1).sample([5], { generator: new Generator(1) }));
    const many = numbers(new D.Gamma(0.5, 1).sample([500], { generator: new Generator(1) }));
    expect(many.slice(0, 5)).toEqual(few);
  });
});

describe('gradients of samples', () => {
  const f64 = (values: number[]): Tensor => tensor(values, { dtype: 'float64' });
  /** With the same seed a sample is a function of the parameters, and its gradient that of the function. */
  const pathwise: [string, (...p: Tensor[]) => D.Distribution, number[][]][] = [
    [
      'Normal',
      (a, b) => new D.Normal(a, b),
      [
        [0.3, -1],
        [0.5, 2],
      ],
    ],
    [
      'Laplace',
      (a, b) => new D.Laplace(a, b),
      [
        [0.3, -1],
        [0.5, 2],
      ],
    ],
    [
      'Uniform',
      (a, b) => new D.Uniform(a, b),
      [
        [0.3, -1],
        [0.5, 2],
      ],
    ],
    ['Exponential', (a) => new D.Exponential(a), [[0.3, 2]]],
    [
      'Weibull',
      (a, b) => new D.Weibull(a, b),
      [
        [0.3, 1],
        [0.5, 2],
      ],
    ],
    [
      'LogNormal',
      (a, b) => new D.LogNormal(a, b),
      [
        [0.3, -1],
        [0.5, 2],
      ],
    ],
    ['RelaxedBernoulli', (a) => new D.RelaxedBernoulli(0.8, { logits: a }), [[0.3, -1]]],
    ['RelaxedOneHotCategorical', (a) => new D.RelaxedOneHotCategorical(0.8, { logits: a }), [[0.3, -1, 2]]],
  ];
  test.each(pathwise)('%s', (_, make, parameters) => {
    checkGrads((...p) => make(...p).rsample([4], { generator: new Generator(2) }), parameters.map(f64));
  });
  test('gamma samples move along their cdf: the mean gradient is the gradient of the mean', () => {
    // d/da of E x = 1, of E log x = trigamma(a), of E x^2 = 2 a + 1.
    for (const [a, trigamma] of [
      [0.4, 7.2753575],
      [2.5, 0.4903578],
    ]) {
      const shape = full([], a, { dtype: 'float64', requiresGrad: true });
      const x = new D.Gamma(shape, 1).rsample([200_000], { generator: new Generator(4) });
      const slope = (y: Tensor): number => {
        shape.grad = null;
        mean(y).backward(null, { retainGraph: true });
        return Number(shape.grad!.item());
      };
      expect(Math.abs(slope(x) - 1)).toBeLessThan(0.02);
      expect(Math.abs(slope(log(x)) / trigamma - 1)).toBeLessThan(0.03);
      expect(Math.abs(slope(square(x)) / (2 * a + 1) - 1)).toBeLessThan(0.04);
    }
  });
  test('so do beta, Dirichlet and Student t samples', () => {
    const a = f64([0.8, 2]).requiresGrad_();
    const b = f64([1.5, 0.6]).requiresGrad_();
    sum(mean(new D.Beta(a, b).rsample([100_000], { generator: new Generator(6) }), 0)).backward();
    // d/da of a / (a + b) = b / (a + b)^2.
    numbers(a.grad!).forEach((g, i) => expect(Math.abs(g - [1.5, 0.6][i] / ([0.8, 2][i] + [1.5, 0.6][i]) ** 2)).toBeLessThan(4e-3));
    numbers(b.grad!).forEach((g, i) => expect(Math.abs(g + [0.8, 2][i] / ([0.8, 2][i] + [1.5, 0.6][i]) ** 2)).toBeLessThan(4e-3));
    const c = f64([0.8, 2, 1.1]).requiresGrad_();
    mean(new D.Dirichlet(c).rsample([100_000], { generator: new Generator(6) }).select(1, 1)).backward();
    const total = 3.9;
    [-2 / total ** 2, (total - 2) / total ** 2, -2 / total ** 2].forEach((g, i) =>
      expect(Math.abs(numbers(c.grad!)[i] - g)).toBeLessThan(4e-3),
    );
    const df = full([], 9, { dtype: 'float64', requiresGrad: true });
    mean(square(new D.StudentT(df).rsample([200_000], { generator: new Generator(8) }))).backward();
    // d/ddf of df / (df - 2) = -2 / (df - 2)^2.
    expect(Math.abs(Number(df.grad!.item()) + 2 / 49)).toBeLessThan(4e-3);
  });
  test('sample() has none, discrete ones say so', () => {
    const loc = zeros([2], { requiresGrad: true });
    expect(new D.Normal(loc, 1).sample([3]).requiresGrad).toBe(false);
    expect(() => new D.Bernoulli({ probs: 0.5 }).rsample()).toThrow(/Bernoulli has no rsample/);
    expect(() => new D.Beta(1, 1).cdf(full([], 0.5))).toThrow(ArgumentError);
  });
  test('gumbelSoftmax: hard values, soft gradients', () => {
    const logits = tensor(
      [
        [0.1, 2, -1],
        [1, 0, 0],
      ],
      { dtype: 'float32' },
    ).requiresGrad_();
    const y = D.gumbelSoftmax(logits, { tau: 0.5, hard: true, generator: new Generator(1) });
    expect(numbers(y).every((v) => Math.abs(v) < 1e-6 || Math.abs(v - 1) < 1e-6)).toBe(true);
    expect(numbers(sum(y, 1))).toEqual([1, 1]);
    sum(mul(y, tensor([1, 2, 3], { dtype: 'float32' }))).backward();
    expect(numbers(logits.grad!).some((g) => g !== 0)).toBe(true);
    const first = D.gumbelSoftmax(logits, { dim: 0, hard: true, generator: new Generator(2) });
    numbers(sum(first, 0)).forEach((v) => expect(v).toBeCloseTo(1, 6));
  });
});

describe('shapes and arguments', () => {
  test('parameters broadcast, samples have all shapes in a row', () => {
    const d = new D.Normal(zeros([3, 1]), ones([2]));
    expect([d.batchShape, d.eventShape]).toEqual([[3, 2], []]);
    expect(d.sample([5, 4]).shape).toEqual([5, 4, 3, 2]);
    expect(d.logProb(zeros([7, 1, 1])).shape).toEqual([7, 3, 2]);
    const v = new D.MultivariateNormal(zeros([4, 1, 3]), { scaleTril: eye(3).expand([2, 3, 3]) });
    expect([v.batchShape, v.eventShape]).toEqual([[4, 2], [3]]);
    expect(v.logProb(zeros([6, 1, 1, 3])).shape).toEqual([6, 4, 2]);
  });
  test('expand gives the same distribution for a larger batch', () => {
    for (const make of Object.values({ ...continuous, ...withMoments })) {
      scope(() => {
        const d = make();
        const e = d.expand([3, ...d.batchShape]);
        expect([e.batchShape, e.eventShape]).toEqual([[3, ...d.batchShape], d.eventShape]);
        const x = d.sample([], { generator: new Generator(1) });
        const [p, q] = [numbers(d.logProb(x)), numbers(e.logProb(x))];
        q.forEach((value, i) => expect(Math.abs(value - p[i % p.length])).toBeLessThan(1e-5 * (1 + Math.abs(value))));
      });
    }
  });
  test('what lies outside the domain is refused, unless it is not checked', () => {
    expect(() => new D.Normal(0, -1)).toThrow(ArgumentError);
    expect(() => new D.Normal(0, -1)).toThrow(/Normal: the parameter scale .*positive/);
    expect(() => new D.Bernoulli({ probs: 1.5 })).toThrow(/from 0 to 1/);
    expect(() => new D.Bernoulli({})).toThrow(/exactly one of probs, logits/);
    expect(() => new D.Bernoulli({ probs: 0.5, logits: 0 })).toThrow(/at once/);
    expect(() => new D.Uniform(2, 1)).toThrow(/low below high/);
    expect(() => new D.Exponential(1).logProb(full([], -1))).toThrow(/Exponential.logProb/);
    expect(() => new D.Categorical({ probs: tensor([1, 2], { dtype: 'float32' }) }).logProb(tensor([2]))).toThrow(ArgumentError);
    expect(
      () =>
        new D.MultivariateNormal(zeros([2]), {
          covarianceMatrix: tensor(
            [
              [1, 2],
              [2, 1],
            ],
            { dtype: 'float32' },
          ),
        }),
    ).toThrow(/positive definite/);
    expect(() => new D.Dirichlet(ones([3])).logProb(full([3], 0.5))).toThrow(/add up to 1/);
    expect(() => new D.Normal(tensor([1], { dtype: 'int32' }), 1)).toThrow(DTypeError);
    expect(() => new D.Dirichlet(ones([3])).logProb(ones([2]))).toThrow(ShapeError);
    expect(numbers(new D.Normal(0, -1, { validateArgs: false }).mean)).toEqual([0]);
  });
  test('a pair without a closed form is named', () => {
    expect(() => D.klDivergence(new D.Cauchy(0, 1), new D.Poisson(1))).toThrow(/Cauchy and Poisson/);
    expect(() => D.klDivergence(new D.Normal(0, 1), new D.Gamma(1, 1))).toThrow(ArgumentError);
  });
  test('a rule of the user is found, for subclasses too', () => {
    class Mine extends D.Cauchy {}
    D.registerKl(D.Cauchy, D.Uniform, () => full([], 42));
    expect(D.klDivergence(new Mine(0, 1), new D.Uniform(0, 1)).item()).toBe(42);
  });
  test('a divergence is the mean difference of log-densities', () => {
    const pairs: [D.Distribution, D.Distribution][] = [
      [new D.Weibull(1.5, 2), new D.Weibull(2, 1.3)],
      [new D.LogNormal(0.1, 0.5), new D.Normal(1, 2)],
      [new D.Weibull(1.5, 2), new D.Exponential(0.7)],
      [new D.HalfNormal(1.2), new D.Exponential(0.7)],
      [new D.Uniform(0.5, 2), new D.Exponential(0.7)],
    ];
    for (const [p, q] of pairs) {
      const x = p.sample([100_000], { generator: new Generator(9) });
      const differences = sub(p.logProb(x), q.logProb(x));
      const error = Math.sqrt(Number(variance(differences).item()) / 100_000);
      expect(Math.abs(Number(mean(differences).item()) - Number(D.klDivergence(p, q).item()))).toBeLessThan(5 * error + 1e-5);
    }
  });
  test('one training step through a distribution, in jit()', () => {
    const loc = zeros([3], { requiresGrad: true });
    const step = jit((data: Tensor) => {
      loc.grad = null;
      const d = new D.Normal(loc, 1);
      const loss = add(mul(mean(d.logProb(data)), -1), D.klDivergence(d, new D.Normal(0, 1)).mean());
      loss.backward();
      return loss;
    });
    const value = Number(step(ones([5, 3])).item());
    expect(value).toBeCloseTo(0.5 + 0.5 * Math.log(2 * Math.PI), 5);
    numbers(loc.grad!).forEach((g) => expect(g).toBeCloseTo(-1 / 3, 5));
    step.dispose();
  });
});
