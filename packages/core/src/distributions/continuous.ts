/** Distributions over all real numbers, or an interval of them. */
import type { Shape } from '../graph/layout.js';
import { add, div, ge, le, logicalAnd, lt, mul, sub } from '../ops/binary.js';
import { broadcastTo } from '../ops/common.js';
import { rand, randn } from '../ops/random.js';
import { clamp, where } from '../ops/ternary.js';
import { abs, atan, erf, erfinv, exp, expm1, log, log1p, neg, sign, square, tan } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import {
  alignParameters,
  checkParameters,
  Distribution,
  type DistributionOptions,
  optionsOf,
  type Parameter,
  requireWithin,
  type SampleOptions,
} from './distribution.js';

const halfLogTwoPi = 0.5 * Math.log(2 * Math.PI);
/** Euler's constant. */
export const eulerGamma = 0.5772156649015329;

/** Uniform numbers that are neither 0 nor 1. */
function openUniform(shape: Shape, dtype: Tensor['dtype'], { generator }: SampleOptions): Tensor {
  const tiny = dtype === 'float64' ? 2 ** -54 : 2 ** -25;
  return add(mul(rand(shape, { dtype, generator }), 1 - 2 * tiny), tiny);
}
function requireProbability(d: Distribution, p: Tensor): void {
  if (d.validateArgs) requireWithin(constraints.unitInterval, p, `${d.name}.icdf`, 'the probability');
}

/** The density is that of a fixed one moved by `loc` and stretched by `scale`. */
abstract class LocationScale extends Distribution {
  override readonly hasRsample = true;
  readonly loc: Tensor;
  readonly scale: Tensor;

  constructor(name: string, loc: Parameter, scale: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters(name, { loc, scale });
    super(aligned.loc.shape, [], options);
    this.loc = aligned.loc;
    this.scale = aligned.scale;
    checkParameters(this, { loc: [this.loc, constraints.real], scale: [this.scale, constraints.positive] });
  }
  get support(): Constraint {
    return constraints.real;
  }
  /** A sample at loc 0 and scale 1. */
  protected abstract noise(shape: Shape, dtype: Tensor['dtype'], options: SampleOptions): Tensor;
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () => add(this.loc, mul(this.noise(this.extended(sampleShape), this.loc.dtype, options), this.scale)));
  }
  protected standardised(value: Tensor): Tensor {
    return div(sub(value, this.loc), this.scale);
  }
}

/** Normal with mean `loc` and standard deviation `scale`. */
export class Normal extends LocationScale {
  constructor(loc: Parameter, scale: Parameter, options?: DistributionOptions) {
    super('Normal', loc, scale, options);
  }
  protected override noise(shape: Shape, dtype: Tensor['dtype'], { generator }: SampleOptions): Tensor {
    return randn(shape, { dtype, generator });
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get variance(): Tensor {
    return square(this.scale);
  }
  override get stddev(): Tensor {
    return this.scale;
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => sub(mul(square(this.standardised(value)), -0.5), add(log(this.scale), halfLogTwoPi)));
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(log(this.scale), 0.5 + halfLogTwoPi));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => mul(add(erf(mul(this.standardised(value), Math.SQRT1_2)), 1), 0.5));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => add(this.loc, mul(this.scale, mul(erfinv(sub(mul(value, 2), 1)), Math.SQRT2))));
  }
  expand(batchShape: Shape): Normal {
    return new Normal(broadcastTo(this.loc, batchShape), broadcastTo(this.scale, batchShape), optionsOf(this));
  }
}

/** Double exponential: density exp(-|x - loc| / scale) / (2 scale). */
export class Laplace extends LocationScale {
  constructor(loc: Parameter, scale: Parameter, options?: DistributionOptions) {
    super('Laplace', loc, scale, options);
  }
  protected override noise(shape: Shape, dtype: Tensor['dtype'], options: SampleOptions): Tensor {
    const u = sub(mul(openUniform(shape, dtype, options), 2), 1);
    return mul(neg(sign(u)), log1p(neg(abs(u))));
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(square(this.scale), 2));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => neg(add(abs(this.standardised(value)), log(mul(this.scale, 2)))));
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(log(mul(this.scale, 2)), 1));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => {
      const z = this.standardised(value);
      return sub(0.5, mul(mul(sign(z), expm1(neg(abs(z)))), 0.5));
    });
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => {
      const u = sub(value, 0.5);
      return sub(this.loc, mul(this.scale, mul(sign(u), log1p(mul(abs(u), -2)))));
    });
  }
  expand(batchShape: Shape): Laplace {
    return new Laplace(broadcastTo(this.loc, batchShape), broadcastTo(this.scale, batchShape), optionsOf(this));
  }
}

/** Ratio of two normals; has neither mean nor variance (NaN). */
export class Cauchy extends LocationScale {
  constructor(loc: Parameter, scale: Parameter, options?: DistributionOptions) {
    super('Cauchy', loc, scale, options);
  }
  protected override noise(shape: Shape, dtype: Tensor['dtype'], options: SampleOptions): Tensor {
    return tan(mul(sub(openUniform(shape, dtype, options), 0.5), Math.PI));
  }
  override get mean(): Tensor {
    return composite('mean', () => mul(this.loc, Number.NaN));
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(this.loc, Number.NaN));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => neg(add(add(log(this.scale), Math.log(Math.PI)), log1p(square(this.standardised(value))))));
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(log(this.scale), Math.log(4 * Math.PI)));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => add(div(atan(this.standardised(value)), Math.PI), 0.5));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => add(this.loc, mul(this.scale, tan(mul(sub(value, 0.5), Math.PI)))));
  }
  expand(batchShape: Shape): Cauchy {
    return new Cauchy(broadcastTo(this.loc, batchShape), broadcastTo(this.scale, batchShape), optionsOf(this));
  }
}

/** Extreme values: the cdf is exp(-exp(-(x - loc) / scale)). */
export class Gumbel extends LocationScale {
  constructor(loc: Parameter, scale: Parameter, options?: DistributionOptions) {
    super('Gumbel', loc, scale, options);
  }
  protected override noise(shape: Shape, dtype: Tensor['dtype'], options: SampleOptions): Tensor {
    return neg(log(neg(log(openUniform(shape, dtype, options)))));
  }
  override get mean(): Tensor {
    return composite('mean', () => add(this.loc, mul(this.scale, eulerGamma)));
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(square(this.scale), Math.PI ** 2 / 6));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const z = this.standardised(value);
      return neg(add(add(z, exp(neg(z))), log(this.scale)));
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(log(this.scale), 1 + eulerGamma));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => exp(neg(exp(neg(this.standardised(value))))));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => sub(this.loc, mul(this.scale, log(neg(log(value))))));
  }
  expand(batchShape: Shape): Gumbel {
    return new Gumbel(broadcastTo(this.loc, batchShape), broadcastTo(this.scale, batchShape), optionsOf(this));
  }
}

/** Uniform over [low, high). */
export class Uniform extends Distribution {
  override readonly hasRsample = true;
  readonly low: Tensor;
  readonly high: Tensor;

  constructor(low: Parameter, high: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Uniform', { low, high });
    super(aligned.low.shape, [], options);
    this.low = aligned.low;
    this.high = aligned.high;
    if (this.validateArgs) {
      const positive: Constraint = { description: 'low below high', check: constraints.positive.check };
      composite('Uniform', () => requireWithin(positive, sub(this.high, this.low), 'Uniform', 'the interval'));
    }
  }
  get support(): Constraint {
    return constraints.interval(this.low, this.high);
  }
  override get mean(): Tensor {
    return composite('mean', () => mul(add(this.low, this.high), 0.5));
  }
  override get variance(): Tensor {
    return composite('variance', () => div(square(sub(this.high, this.low)), 12));
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('rsample', () =>
      add(this.low, mul(rand(this.extended(sampleShape), { dtype: this.low.dtype, generator }), sub(this.high, this.low))),
    );
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const inside = logicalAnd(le(this.low, value), lt(value, this.high));
      return where(inside, neg(log(sub(this.high, this.low))), -Infinity);
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => log(sub(this.high, this.low)));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => clamp(div(sub(value, this.low), sub(this.high, this.low)), { min: 0, max: 1 }));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => add(this.low, mul(value, sub(this.high, this.low))));
  }
  expand(batchShape: Shape): Uniform {
    return new Uniform(broadcastTo(this.low, batchShape), broadcastTo(this.high, batchShape), optionsOf(this));
  }
}

/** The magnitude of a normal variable with mean 0 and standard deviation `scale`. */
export class HalfNormal extends Distribution {
  override readonly hasRsample = true;
  readonly scale: Tensor;

  constructor(scale: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('HalfNormal', { scale });
    super(aligned.scale.shape, [], options);
    this.scale = aligned.scale;
    checkParameters(this, { scale: [this.scale, constraints.positive] });
  }
  get support(): Constraint {
    return constraints.nonNegative;
  }
  override get mean(): Tensor {
    return composite('mean', () => mul(this.scale, Math.sqrt(2 / Math.PI)));
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(square(this.scale), 1 - 2 / Math.PI));
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('rsample', () => mul(abs(randn(this.extended(sampleShape), { dtype: this.scale.dtype, generator })), this.scale));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const density = sub(mul(square(div(value, this.scale)), -0.5), add(log(this.scale), halfLogTwoPi - Math.LN2));
      return where(ge(value, 0), density, -Infinity);
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(log(this.scale), 0.5 + halfLogTwoPi - Math.LN2));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => erf(mul(div(value, this.scale), Math.SQRT1_2)));
  }
  override icdf(value: Tensor): Tensor {
    requireProbability(this, value);
    return composite('icdf', () => mul(mul(erfinv(value), this.scale), Math.SQRT2));
  }
  expand(batchShape: Shape): HalfNormal {
    return new HalfNormal(broadcastTo(this.scale, batchShape), optionsOf(this));
  }
}

export { openUniform, requireProbability };
