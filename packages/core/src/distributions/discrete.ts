/** Distributions over whole numbers and classes. */

import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import { broadcastShapes, type Shape, sizeOf } from '../graph/layout.js';
import { add, div, eq, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { broadcastTo } from '../ops/common.js';
import { gather } from '../ops/gather.js';
import { iota } from '../ops/iota.js';
import { oneHot } from '../ops/join.js';
import { bernoulli, multinomial } from '../ops/random.js';
import { binomialSamples, poissonSamples } from '../ops/random-samplers.js';
import { sum } from '../ops/reduce.js';
import { logsumexp } from '../ops/statistics.js';
import { clamp, where } from '../ops/ternary.js';
import { exp, floor, lgamma, log, log1p, neg, sigmoid } from '../ops/unary.js';
import { reshape, transpose, unsqueeze } from '../ops/view.js';
import { select } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import { openUniform } from './continuous.js';
import {
  alignParameters,
  asTensor,
  checkParameters,
  Distribution,
  type DistributionOptions,
  exactlyOne,
  optionsOf,
  type Parameter,
  parameterType,
  type SampleOptions,
} from './distribution.js';
import { gammaCdf, softplus, xlogy } from './special.js';

/** Probabilities, or their logarithms in a form that needs no normalisation: exactly one of the two. */
export interface ProbabilityParameters<T = Parameter> extends DistributionOptions {
  readonly probs?: T;
  readonly logits?: T;
}

function epsilonOf(x: Tensor): number {
  return x.dtype === 'float64' ? 2 ** -52 : 2 ** -23;
}
/** The log odds of probabilities, kept finite. */
function oddsOf(probs: Tensor): Tensor {
  const eps = epsilonOf(probs);
  const p = clamp(probs, { min: eps, max: 1 - eps });
  return sub(log(p), log1p(neg(p)));
}

/** What distributions with the probability of a success share. `logits` are log odds. */
abstract class SuccessDistribution extends Distribution {
  private readonly given: Tensor;
  private readonly isLogits: boolean;

  constructor(name: string, { probs, logits, ...options }: ProbabilityParameters, shape?: Shape) {
    exactlyOne(name, { probs, logits });
    const { value } = alignParameters(name, { value: (probs ?? logits) as Parameter });
    const batch = shape === undefined ? value.shape : broadcastShapes(shape, value.shape, name);
    super(batch, [], options);
    this.given = broadcastTo(value, batch);
    this.isLogits = logits !== undefined;
    if (this.isLogits) checkParameters(this, { logits: [this.given, constraints.real] });
    else checkParameters(this, { probs: [this.given, constraints.unitInterval] });
  }
  /** Probability of a success. */
  get probs(): Tensor {
    return this.isLogits ? sigmoid(this.given) : this.given;
  }
  /** Log odds of a success. */
  get logits(): Tensor {
    return this.isLogits ? this.given : composite('logits', () => oddsOf(this.given));
  }
  get dtype(): Tensor['dtype'] {
    return this.given.dtype;
  }
  /** The parameter as it was given, for a batch shape. */
  protected expanded(batchShape: Shape): ProbabilityParameters {
    const value = broadcastTo(this.given, batchShape);
    return { ...(this.isLogits ? { logits: value } : { probs: value }), ...optionsOf(this) };
  }
}

/** 1 with probability `probs`, else 0; values are in the dtype of the parameters. */
export class Bernoulli extends SuccessDistribution {
  constructor(parameters: ProbabilityParameters) {
    super('Bernoulli', parameters);
  }
  get support(): Constraint {
    return constraints.boolean;
  }
  override get mean(): Tensor {
    return this.probs;
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(this.probs, sub(1, this.probs)));
  }
  override sample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('sample', () => bernoulli(broadcastTo(this.probs, this.extended(sampleShape)), { generator }));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const { logits } = this;
      return sub(mul(cast(value, this.dtype), logits), softplus(logits));
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => {
      const { logits } = this;
      return sub(softplus(logits), mul(sigmoid(logits), logits));
    });
  }
  expand(batchShape: Shape): Bernoulli {
    return new Bernoulli(this.expanded(batchShape));
  }
}

/** The number of failures before the first success: 0, 1, 2, ... */
export class Geometric extends SuccessDistribution {
  constructor(parameters: ProbabilityParameters) {
    super('Geometric', parameters);
    checkParameters(this, { probs: [this.probs, constraints.positive] });
  }
  get support(): Constraint {
    return constraints.nonNegativeInteger;
  }
  override get mean(): Tensor {
    return composite('mean', () => sub(div(1, this.probs), 1));
  }
  override get variance(): Tensor {
    return composite('variance', () => div(sub(div(1, this.probs), 1), this.probs));
  }
  override sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return noGrad(() =>
      composite('sample', () => {
        const waiting = log(openUniform(this.extended(sampleShape), this.dtype, options));
        return floor(div(waiting, log1p(neg(this.probs))));
      }),
    );
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const { probs } = this;
      const x = cast(value, this.dtype);
      // 0 log 0 where success is certain.
      return add(xlogy(x, sub(1, probs)), log(probs));
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => {
      const { logits, probs } = this;
      return div(sub(softplus(logits), mul(probs, logits)), probs);
    });
  }
  expand(batchShape: Shape): Geometric {
    return new Geometric(this.expanded(batchShape));
  }
}

/** The number of successes in `totalCount` trials. */
export class Binomial extends SuccessDistribution {
  readonly totalCount: Tensor;
  private readonly fixedCount: number | null;

  constructor(totalCount: Parameter, parameters: ProbabilityParameters) {
    super('Binomial', parameters, totalCount instanceof Tensor ? totalCount.shape : []);
    this.fixedCount = typeof totalCount === 'number' ? totalCount : null;
    this.totalCount = broadcastTo(asTensor(totalCount, this.dtype), this.batchShape);
    checkParameters(this, { totalCount: [this.totalCount, constraints.nonNegativeInteger] });
  }
  get support(): Constraint {
    return constraints.integerInterval(0, this.totalCount);
  }
  override get mean(): Tensor {
    return composite('mean', () => mul(this.totalCount, this.probs));
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(mul(this.totalCount, this.probs), sub(1, this.probs)));
  }
  override sample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    const shape = this.extended(sampleShape);
    return noGrad(() =>
      composite('sample', () => binomialSamples(broadcastTo(this.totalCount, shape), broadcastTo(this.probs, shape), generator)),
    );
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => this.logMass(cast(value, this.dtype)));
  }
  private logMass(x: Tensor): Tensor {
    const { totalCount: n, logits } = this;
    const ways = sub(lgamma(add(n, 1)), add(lgamma(add(x, 1)), lgamma(add(sub(n, x), 1))));
    return add(ways, sub(mul(x, logits), mul(n, softplus(logits))));
  }
  /** By summing over all outcomes: for a totalCount that is a number. @throws ArgumentError for a tensor */
  override entropy(): Tensor {
    const n = this.fixedCount;
    if (n === null) return this.missing('entropy', 'Give totalCount as a number.');
    return composite('entropy', () => {
      const outcomes = reshape(iota(n + 1, this.dtype), [n + 1, ...this.batchShape.map(() => 1)]);
      const logs = this.logMass(outcomes);
      return neg(sum(mul(exp(logs), logs), 0));
    });
  }
  expand(batchShape: Shape): Binomial {
    return new Binomial(this.fixedCount ?? broadcastTo(this.totalCount, batchShape), this.expanded(batchShape));
  }
}

/** Counts of independent events at the mean rate `rate`. */
export class Poisson extends Distribution {
  readonly rate: Tensor;

  constructor(rate: Parameter, options: DistributionOptions = {}) {
    const aligned = alignParameters('Poisson', { rate });
    super(aligned.rate.shape, [], options);
    this.rate = aligned.rate;
    checkParameters(this, { rate: [this.rate, constraints.nonNegative] });
  }
  get support(): Constraint {
    return constraints.nonNegativeInteger;
  }
  override get mean(): Tensor {
    return this.rate;
  }
  override get variance(): Tensor {
    return this.rate;
  }
  override sample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('sample', () => poissonSamples(broadcastTo(this.rate, this.extended(sampleShape)), generator));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const x = cast(value, this.rate.dtype);
      return sub(xlogy(x, this.rate), add(this.rate, lgamma(add(x, 1))));
    });
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => sub(1, gammaCdf(add(floor(cast(value, this.rate.dtype)), 1), this.rate)));
  }
  expand(batchShape: Shape): Poisson {
    return new Poisson(broadcastTo(this.rate, batchShape), optionsOf(this));
  }
}

/** Normalised log-probabilities of classes along the last dimension. */
function normalised(name: string, { probs, logits }: ProbabilityParameters<Tensor>): Tensor {
  exactlyOne(name, { probs, logits });
  const given = (probs ?? logits) as Tensor;
  const value = asTensor(given, parameterType(name, [given]));
  if (value.shape.length < 1 || value.shape[value.shape.length - 1] < 1) {
    throw new ArgumentError('parameters without classes', { op: name, received: value.shape, expected: '[..., classes], at least one' });
  }
  if (logits !== undefined) return composite('normalised', () => sub(value, logsumexp(value, -1, true)));
  return composite('normalised', () => {
    const eps = epsilonOf(value);
    return log(clamp(div(value, sum(value, -1, true)), { min: eps, max: 1 - eps }));
  });
}
function checkClasses(d: Distribution, { probs, logits }: ProbabilityParameters<Tensor>): void {
  if (probs !== undefined) checkParameters(d, { probs: [probs, constraints.independent(constraints.nonNegative, 1)] });
  if (logits !== undefined) checkParameters(d, { logits: [logits, constraints.realVector] });
}

/** A class 0 .. k-1 (int64) with these probabilities [..., k] (which need not add up to 1) or logits. */
export class Categorical extends Distribution {
  /** Log-probabilities, [..., k]. */
  readonly logits: Tensor;
  private readonly given: Tensor | null;

  constructor({ probs, logits, ...options }: ProbabilityParameters<Tensor>) {
    const logs = normalised('Categorical', { probs, logits });
    super(logs.shape.slice(0, -1), [], options);
    this.logits = logs;
    this.given = probs ?? null;
    checkClasses(this, { probs, logits });
  }
  get numEvents(): number {
    return this.logits.shape[this.logits.shape.length - 1];
  }
  get probs(): Tensor {
    const { given } = this;
    return composite('probs', () => (given === null ? exp(this.logits) : div(given, sum(given, -1, true))));
  }
  get support(): Constraint {
    return constraints.integerInterval(0, this.numEvents - 1);
  }
  /** Classes have no mean: NaN. */
  override get mean(): Tensor {
    return composite('mean', () => mul(select(this.logits, -1, 0), Number.NaN));
  }
  override get variance(): Tensor {
    return this.mean;
  }
  override sample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return noGrad(() =>
      composite('sample', () => {
        const rows = reshape(this.probs, [-1, this.numEvents]);
        const count = sizeOf(sampleShape);
        const drawn = multinomial(rows, count, { replacement: true, generator });
        return reshape(transpose(drawn, 0, 1), this.extended(sampleShape));
      }),
    );
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const shape = broadcastShapes(value.shape, this.batchShape, 'Categorical.logProb');
      const index = unsqueeze(broadcastTo(cast(value, 'int64'), shape), shape.length);
      return reshape(gather(broadcastTo(this.logits, [...shape, this.numEvents]), shape.length, index), shape);
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => neg(sum(mul(exp(this.logits), this.logits), -1)));
  }
  expand(batchShape: Shape): Categorical {
    const shape = [...batchShape, this.numEvents];
    if (this.given !== null) return new Categorical({ probs: broadcastTo(this.given, shape), ...optionsOf(this) });
    return new Categorical({ logits: broadcastTo(this.logits, shape), ...optionsOf(this) });
  }
}

/** {@link Categorical} with values as vectors of one 1 and zeros, in the dtype of the parameters. */
export class OneHotCategorical extends Distribution {
  private readonly categorical: Categorical;

  constructor(parameters: ProbabilityParameters<Tensor>) {
    const categorical = new Categorical(parameters);
    super(categorical.batchShape, [categorical.numEvents], optionsOf(categorical));
    this.categorical = categorical;
  }
  get logits(): Tensor {
    return this.categorical.logits;
  }
  get probs(): Tensor {
    return this.categorical.probs;
  }
  get support(): Constraint {
    return constraints.oneHot;
  }
  override get mean(): Tensor {
    return this.probs;
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(this.probs, sub(1, this.probs)));
  }
  override sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('sample', () => cast(oneHot(this.categorical.sample(sampleShape, options), this.eventShape[0]), this.logits.dtype));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => sum(mul(cast(value, this.logits.dtype), this.logits), -1));
  }
  override entropy(): Tensor {
    return this.categorical.entropy();
  }
  expand(batchShape: Shape): OneHotCategorical {
    const shape = [...batchShape, ...this.eventShape];
    return new OneHotCategorical({ logits: broadcastTo(this.logits, shape), ...optionsOf(this) });
  }
}

/** How often each class occurs in `totalCount` independent draws: counts [..., k] in the dtype of the parameters. */
export class Multinomial extends Distribution {
  readonly totalCount: number;
  private readonly categorical: Categorical;

  constructor(totalCount: number, parameters: ProbabilityParameters<Tensor>) {
    const categorical = new Categorical(parameters);
    super(categorical.batchShape, [categorical.numEvents], optionsOf(categorical));
    if (!Number.isInteger(totalCount) || totalCount < 0) {
      throw new ArgumentError(`${totalCount} draws`, { op: 'Multinomial', received: totalCount, expected: 'a whole number of at least 0' });
    }
    this.totalCount = totalCount;
    this.categorical = categorical;
  }
  get logits(): Tensor {
    return this.categorical.logits;
  }
  get probs(): Tensor {
    return this.categorical.probs;
  }
  get support(): Constraint {
    const n = this.totalCount;
    return {
      description: `vectors of whole numbers of at least 0 that add up to ${n}`,
      check: (x) => constraints.independent(constraints.nonNegativeInteger, 1).check(where(eq(sum(x, -1, true), n), x, -1)),
    };
  }
  override get mean(): Tensor {
    return composite('mean', () => mul(this.probs, this.totalCount));
  }
  override get variance(): Tensor {
    return composite('variance', () => mul(mul(this.probs, sub(1, this.probs)), this.totalCount));
  }
  override sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    const { dtype } = this.logits;
    return composite('sample', () => {
      if (this.totalCount === 0) return mul(broadcastTo(this.probs, this.extended(sampleShape)), 0);
      const classes = unsqueeze(this.categorical.sample([this.totalCount, ...sampleShape], options), -1);
      return sum(cast(eq(classes, iota(this.eventShape[0], 'int64')), dtype), 0);
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const x = cast(value, this.logits.dtype);
      const ways = sub(lgamma(add(sum(x, -1), 1)), sum(lgamma(add(x, 1)), -1));
      return add(ways, sum(where(eq(x, 0), 0, mul(x, this.logits)), -1));
    });
  }
  expand(batchShape: Shape): Multinomial {
    const shape = [...batchShape, ...this.eventShape];
    return new Multinomial(this.totalCount, { logits: broadcastTo(this.logits, shape), ...optionsOf(this) });
  }
}
