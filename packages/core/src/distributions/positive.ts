/** Distributions over positive numbers and over parts of a whole, and Student's t. */
import type { Shape } from '../graph/layout.js';
import { add, div, ge, gt, mul, pow, sub } from '../ops/binary.js';
import { broadcastTo } from '../ops/common.js';
import { randn } from '../ops/random.js';
import { gammaSamples } from '../ops/random-samplers.js';
import { sum } from '../ops/reduce.js';
import { clamp, where } from '../ops/ternary.js';
import { digamma, exp, expm1, lgamma, log, log1p, neg, rsqrt, square } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import { eulerGamma, openUniform, requireProbability } from './continuous.js';
import {
  alignParameters,
  asTensor,
  checkParameters,
  Distribution,
  type DistributionOptions,
  optionsOf,
  type Parameter,
  parameterType,
  type SampleOptions,
} from './distribution.js';
import { gammaCdf, logBeta, xlogy } from './special.js';

/** Samples of gamma variables can vanish in float32; their logarithm must not. */
function aboveZero(x: Tensor): Tensor {
  return clamp(x, { min: x.dtype === 'float64' ? 2 ** -1022 : 2 ** -126 });
}

/** Waiting times: density rate exp(-rate x). */
export class Exponential extends Distribution {
  override readonly hasRsample = true;
  readonly rate: Tensor;

  constructor(rate: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Exponential', { rate });
    super(aligned.rate.shape, [], options);
    this.rate = aligned.rate;
    checkParameters(this, { rate: [this.rate, constraints.positive] });
  }
  get support(): Constraint {
    return constraints.nonNegative;
  }
  override get mean(): Tensor {
    return composite('mean', () => div(1, this.rate));
  }
  override get variance(): Tensor {
    return composite('variance', () => div(1, square(this.rate)));
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () => div(neg(log(openUniform(this.extended(sampleShape), this.rate.dtype, options))), this.rate));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => sub(log(this.rate), mul(this.rate, value)));
  }
  override entropy(): Tensor {
    return composite('entropy', () => sub(1, log(this.rate)));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => neg(expm1(neg(mul(this.rate, value)))));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => neg(div(log1p(neg(value)), this.rate)));
  }
  expand(batchShape: Shape): Exponential {
    return new Exponential(broadcastTo(this.rate, batchShape), optionsOf(this));
  }
}

/** Density rate^a x^(a - 1) exp(-rate x) / Gamma(a) with a the concentration. Samples are differentiable in both (implicitly in a). */
export class Gamma extends Distribution {
  override readonly hasRsample = true;
  readonly concentration: Tensor;
  readonly rate: Tensor;

  constructor(concentration: Parameter, rate: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Gamma', { concentration, rate });
    super(aligned.rate.shape, [], options);
    this.concentration = aligned.concentration;
    this.rate = aligned.rate;
    checkParameters(this, {
      concentration: [this.concentration, constraints.positive],
      rate: [this.rate, constraints.positive],
    });
  }
  get support(): Constraint {
    return constraints.nonNegative;
  }
  override get mean(): Tensor {
    return composite('mean', () => div(this.concentration, this.rate));
  }
  override get variance(): Tensor {
    return composite('variance', () => div(this.concentration, square(this.rate)));
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('rsample', () =>
      aboveZero(div(gammaSamples(broadcastTo(this.concentration, this.extended(sampleShape)), generator), this.rate)),
    );
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { concentration: a, rate } = this;
    return composite('logProb', () => sub(add(mul(a, log(rate)), xlogy(sub(a, 1), value)), add(mul(rate, value), lgamma(a))));
  }
  override entropy(): Tensor {
    const { concentration: a, rate } = this;
    return composite('entropy', () => add(sub(a, log(rate)), add(lgamma(a), mul(sub(1, a), digamma(a)))));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => gammaCdf(this.concentration, mul(this.rate, value)));
  }
  expand(batchShape: Shape): Gamma {
    return new Gamma(broadcastTo(this.concentration, batchShape), broadcastTo(this.rate, batchShape), optionsOf(this));
  }
}

/** The sum of `df` squared standard normal variables: a Gamma of concentration df / 2 and rate 1 / 2. */
export class Chi2 extends Gamma {
  readonly df: Tensor;
  constructor(df: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Chi2', { df });
    super(mul(aligned.df, 0.5), 0.5, options);
    this.df = aligned.df;
  }
  override expand(batchShape: Shape): Chi2 {
    return new Chi2(broadcastTo(this.df, batchShape), optionsOf(this));
  }
}

/** Density proportional to x^(c1 - 1) (1 - x)^(c0 - 1) on (0, 1). */
export class Beta extends Distribution {
  override readonly hasRsample = true;
  readonly concentration1: Tensor;
  readonly concentration0: Tensor;

  constructor(concentration1: Parameter, concentration0: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Beta', { concentration1, concentration0 });
    super(aligned.concentration1.shape, [], options);
    this.concentration1 = aligned.concentration1;
    this.concentration0 = aligned.concentration0;
    checkParameters(this, {
      concentration1: [this.concentration1, constraints.positive],
      concentration0: [this.concentration0, constraints.positive],
    });
  }
  get support(): Constraint {
    return constraints.unitInterval;
  }
  override get mean(): Tensor {
    return composite('mean', () => div(this.concentration1, add(this.concentration1, this.concentration0)));
  }
  override get variance(): Tensor {
    const { concentration1: a, concentration0: b } = this;
    return composite('variance', () => {
      const total = add(a, b);
      return div(mul(a, b), mul(square(total), add(total, 1)));
    });
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    const shape = this.extended(sampleShape);
    return composite('rsample', () => {
      const x = aboveZero(gammaSamples(broadcastTo(this.concentration1, shape), generator));
      const y = aboveZero(gammaSamples(broadcastTo(this.concentration0, shape), generator));
      return div(x, add(x, y));
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { concentration1: a, concentration0: b } = this;
    return composite('logProb', () => sub(add(xlogy(sub(a, 1), value), xlogy(sub(b, 1), sub(1, value))), logBeta(a, b)));
  }
  override entropy(): Tensor {
    const { concentration1: a, concentration0: b } = this;
    return composite('entropy', () => {
      const total = add(a, b);
      const parts = add(mul(sub(a, 1), digamma(a)), mul(sub(b, 1), digamma(b)));
      return add(sub(logBeta(a, b), parts), mul(sub(total, 2), digamma(total)));
    });
  }
  expand(batchShape: Shape): Beta {
    return new Beta(broadcastTo(this.concentration1, batchShape), broadcastTo(this.concentration0, batchShape), optionsOf(this));
  }
}

/** Beta for several parts [..., k] that add up to 1: density proportional to the product of x_i^(c_i - 1). */
export class Dirichlet extends Distribution {
  override readonly hasRsample = true;
  readonly concentration: Tensor;

  constructor(concentration: Tensor, options: DistributionOptions = {}) {
    const value = asTensor(concentration, parameterType('Dirichlet', [concentration]));
    super(value.shape.slice(0, -1), value.shape.slice(-1), options);
    this.concentration = value;
    checkParameters(this, { concentration: [value, constraints.positive] });
  }
  get support(): Constraint {
    return constraints.simplex;
  }
  override get mean(): Tensor {
    return composite('mean', () => div(this.concentration, sum(this.concentration, -1, true)));
  }
  override get variance(): Tensor {
    return composite('variance', () => {
      const total = sum(this.concentration, -1, true);
      return div(mul(this.concentration, sub(total, this.concentration)), mul(square(total), add(total, 1)));
    });
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('rsample', () => {
      const parts = aboveZero(gammaSamples(broadcastTo(this.concentration, this.extended(sampleShape)), generator));
      return div(parts, sum(parts, -1, true));
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { concentration: c } = this;
    return composite('logProb', () => add(sum(xlogy(sub(c, 1), value), -1), sub(lgamma(sum(c, -1)), sum(lgamma(c), -1))));
  }
  override entropy(): Tensor {
    const { concentration: c } = this;
    return composite('entropy', () => {
      const total = sum(c, -1);
      const normaliser = sub(sum(lgamma(c), -1), lgamma(total));
      const rest = sub(mul(sub(total, this.eventShape[0]), digamma(total)), sum(mul(sub(c, 1), digamma(c)), -1));
      return add(normaliser, rest);
    });
  }
  expand(batchShape: Shape): Dirichlet {
    return new Dirichlet(broadcastTo(this.concentration, [...batchShape, ...this.eventShape]), optionsOf(this));
  }
}

/** A normal variable over the root of an independent Chi2 / df, stretched by `scale` and moved by `loc`. */
export class StudentT extends Distribution {
  override readonly hasRsample = true;
  readonly df: Tensor;
  readonly loc: Tensor;
  readonly scale: Tensor;

  constructor(df: Parameter, loc: Parameter = 0, scale: Parameter = 1, options: DistributionOptions = {}) {
    const aligned = alignParameters('StudentT', { df, loc, scale });
    super(aligned.df.shape, [], options);
    this.df = aligned.df;
    this.loc = aligned.loc;
    this.scale = aligned.scale;
    checkParameters(this, {
      df: [this.df, constraints.positive],
      loc: [this.loc, constraints.real],
      scale: [this.scale, constraints.positive],
    });
  }
  get support(): Constraint {
    return constraints.real;
  }
  /** NaN up to df 1. */
  override get mean(): Tensor {
    return composite('mean', () => where(gt(this.df, 1), this.loc, Number.NaN));
  }
  /** Infinity for df in (1, 2], NaN up to 1. */
  override get variance(): Tensor {
    return composite('variance', () => {
      const finite = gt(this.df, 2);
      const df = where(finite, this.df, 3);
      return where(finite, mul(square(this.scale), div(df, sub(df, 2))), where(gt(this.df, 1), Infinity, Number.NaN));
    });
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    const shape = this.extended(sampleShape);
    return composite('rsample', () => {
      const normal = randn(shape, { dtype: this.df.dtype, generator });
      const half = mul(this.df, 0.5);
      const chi = aboveZero(gammaSamples(broadcastTo(half, shape), generator));
      return add(this.loc, mul(this.scale, mul(normal, rsqrt(div(chi, half)))));
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { df, loc, scale } = this;
    return composite('logProb', () => {
      const z = div(sub(value, loc), scale);
      const half = mul(df, 0.5);
      const normaliser = add(add(log(scale), mul(log(df), 0.5)), add(sub(lgamma(half), lgamma(add(half, 0.5))), 0.5 * Math.log(Math.PI)));
      return neg(add(mul(add(half, 0.5), log1p(div(square(z), df))), normaliser));
    });
  }
  override entropy(): Tensor {
    const { df, scale } = this;
    return composite('entropy', () => {
      const half = mul(df, 0.5);
      const more = add(half, 0.5);
      const beta = add(sub(lgamma(half), lgamma(more)), 0.5 * Math.log(Math.PI));
      return add(add(log(scale), mul(more, sub(digamma(more), digamma(half)))), add(mul(log(df), 0.5), beta));
    });
  }
  expand(batchShape: Shape): StudentT {
    return new StudentT(
      broadcastTo(this.df, batchShape),
      broadcastTo(this.loc, batchShape),
      broadcastTo(this.scale, batchShape),
      optionsOf(this),
    );
  }
}

/** Power law above `scale`: density alpha scale^alpha / x^(alpha + 1). */
export class Pareto extends Distribution {
  override readonly hasRsample = true;
  readonly scale: Tensor;
  readonly alpha: Tensor;

  constructor(scale: Parameter, alpha: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Pareto', { scale, alpha });
    super(aligned.scale.shape, [], options);
    this.scale = aligned.scale;
    this.alpha = aligned.alpha;
    checkParameters(this, { scale: [this.scale, constraints.positive], alpha: [this.alpha, constraints.positive] });
  }
  get support(): Constraint {
    return constraints.greaterThanEqual(this.scale);
  }
  /** Infinity up to alpha 1. */
  override get mean(): Tensor {
    return composite('mean', () => {
      const a = clamp(this.alpha, { min: 1 });
      return div(mul(a, this.scale), sub(a, 1));
    });
  }
  /** Infinity up to alpha 2. */
  override get variance(): Tensor {
    return composite('variance', () => {
      const a = clamp(this.alpha, { min: 2 });
      return div(mul(square(this.scale), a), mul(square(sub(a, 1)), sub(a, 2)));
    });
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () =>
      mul(this.scale, exp(div(neg(log(openUniform(this.extended(sampleShape), this.scale.dtype, options))), this.alpha))),
    );
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { scale, alpha } = this;
    return composite('logProb', () => sub(add(log(alpha), mul(alpha, log(scale))), mul(add(alpha, 1), log(value))));
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(add(log(div(this.scale, this.alpha)), div(1, this.alpha)), 1));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => where(ge(value, this.scale), sub(1, pow(div(this.scale, value), this.alpha)), 0));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => mul(this.scale, exp(div(neg(log1p(neg(value))), this.alpha))));
  }
  expand(batchShape: Shape): Pareto {
    return new Pareto(broadcastTo(this.scale, batchShape), broadcastTo(this.alpha, batchShape), optionsOf(this));
  }
}

/** The cdf is 1 - exp(-(x / scale)^concentration). */
export class Weibull extends Distribution {
  override readonly hasRsample = true;
  readonly scale: Tensor;
  readonly concentration: Tensor;

  constructor(scale: Parameter, concentration: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Weibull', { scale, concentration });
    super(aligned.scale.shape, [], options);
    this.scale = aligned.scale;
    this.concentration = aligned.concentration;
    checkParameters(this, {
      scale: [this.scale, constraints.positive],
      concentration: [this.concentration, constraints.positive],
    });
  }
  get support(): Constraint {
    return constraints.positive;
  }
  private moment(order: number): Tensor {
    return exp(lgamma(add(div(order, this.concentration), 1)));
  }
  override get mean(): Tensor {
    return composite('mean', () => mul(this.scale, this.moment(1)));
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(square(this.scale), sub(this.moment(2), square(this.moment(1)))));
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () => {
      const waiting = neg(log(openUniform(this.extended(sampleShape), this.scale.dtype, options)));
      return mul(this.scale, exp(div(log(waiting), this.concentration)));
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { scale, concentration: k } = this;
    return composite('logProb', () => {
      const ratio = log(div(value, scale));
      return sub(add(log(div(k, scale)), mul(sub(k, 1), ratio)), exp(mul(k, ratio)));
    });
  }
  override entropy(): Tensor {
    const { scale, concentration: k } = this;
    return composite('entropy', () => add(add(mul(sub(1, div(1, k)), eulerGamma), log(div(scale, k))), 1));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => neg(expm1(neg(pow(div(value, this.scale), this.concentration)))));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => mul(this.scale, exp(div(log(neg(log1p(neg(value)))), this.concentration))));
  }
  expand(batchShape: Shape): Weibull {
    return new Weibull(broadcastTo(this.scale, batchShape), broadcastTo(this.concentration, batchShape), optionsOf(this));
  }
}
