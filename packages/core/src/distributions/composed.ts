/** Distributions made of others. */

import { noGrad } from '../autograd/mode.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, type Shape, shapesEqual } from '../graph/layout.js';
import { add, mul, sub } from '../ops/binary.js';
import { broadcastTo } from '../ops/common.js';
import { gather } from '../ops/gather.js';
import { sum } from '../ops/reduce.js';
import { logsumexp } from '../ops/statistics.js';
import { exp, expm1, square } from '../ops/unary.js';
import { reshape, unsqueeze } from '../ops/view.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import { Normal } from './continuous.js';
import type { Categorical } from './discrete.js';
import { Distribution, type DistributionOptions, optionsOf, type Parameter, type SampleOptions, sumRightmost } from './distribution.js';
import { ExpTransform, type Transform } from './transforms.js';

/** The last `reinterpreted` batch dimensions of a distribution become event dimensions: logProb sums over them. */
export class Independent extends Distribution {
  readonly base: Distribution;
  readonly reinterpreted: number;
  override readonly hasRsample: boolean;

  constructor(base: Distribution, reinterpreted: number, options: DistributionOptions = optionsOf(base)) {
    const { batchShape, eventShape } = base;
    if (!Number.isInteger(reinterpreted) || reinterpreted < 0 || reinterpreted > batchShape.length) {
      throw new ArgumentError(`${reinterpreted} of ${batchShape.length} batch dimensions`, {
        op: 'Independent',
        received: reinterpreted,
        expected: `a whole number from 0 to ${batchShape.length}`,
      });
    }
    const split = batchShape.length - reinterpreted;
    super(batchShape.slice(0, split), [...batchShape.slice(split), ...eventShape], options);
    this.base = base;
    this.reinterpreted = reinterpreted;
    this.hasRsample = base.hasRsample;
  }
  get support(): Constraint {
    return constraints.independent(this.base.support, this.reinterpreted);
  }
  override get mean(): Tensor {
    return this.base.mean;
  }
  override get variance(): Tensor {
    return this.base.variance;
  }
  override sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return this.base.sample(sampleShape, options);
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return this.base.rsample(sampleShape, options);
  }
  logProb(value: Tensor): Tensor {
    return composite('logProb', () => sumRightmost(this.base.logProb(value), this.reinterpreted));
  }
  override entropy(): Tensor {
    return composite('entropy', () => sumRightmost(this.base.entropy(), this.reinterpreted));
  }
  expand(batchShape: Shape): Independent {
    const rest = this.eventShape.slice(0, this.reinterpreted);
    return new Independent(this.base.expand([...batchShape, ...rest]), this.reinterpreted, optionsOf(this));
  }
}

/** The distribution of f_n(... f_1(x)) for x from `base`. */
export class TransformedDistribution extends Distribution {
  readonly base: Distribution;
  readonly transforms: readonly Transform[];
  override readonly hasRsample: boolean;

  constructor(base: Distribution, transforms: Transform | readonly Transform[], options: DistributionOptions = optionsOf(base)) {
    super(base.batchShape, base.eventShape, options);
    this.base = base;
    this.transforms = Array.isArray(transforms) ? transforms : [transforms as Transform];
    this.hasRsample = base.hasRsample;
  }
  get support(): Constraint {
    const last = this.transforms[this.transforms.length - 1];
    return last === undefined ? this.base.support : constraints.independent(last.codomain, this.eventShape.length);
  }
  private forward(x: Tensor): Tensor {
    return this.transforms.reduce((y, t) => t.forward(y), x);
  }
  override sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return noGrad(() => composite('sample', () => this.forward(this.base.sample(sampleShape, options))));
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () => this.forward(this.base.rsample(sampleShape, options)));
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const rank = this.eventShape.length;
    return composite('logProb', () => {
      let y = value;
      let correction: Tensor | null = null;
      for (const t of this.transforms.toReversed()) {
        const x = t.inverse(y);
        const part = sumRightmost(t.logAbsDetJacobian(x, y), rank);
        correction = correction === null ? part : add(correction, part);
        y = x;
      }
      const inner = this.base.logProb(y);
      return correction === null ? inner : sub(inner, correction);
    });
  }
  /** 1 if the composition rises, -1 where it falls. */
  private direction(): Tensor | number {
    return this.transforms.reduce((s: Tensor | number, t) => {
      const { sign } = t;
      if (s instanceof Tensor) return mul(s, sign);
      return sign instanceof Tensor ? mul(sign, s) : s * sign;
    }, 1);
  }
  /** p where the transform rises, 1 - p where it falls. */
  private mirrored(p: Tensor): Tensor {
    const direction = this.direction();
    return direction === 1 ? p : add(mul(sub(p, 0.5), direction), 0.5);
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue(value, 'cdf');
    return composite('cdf', () => mul(this.mirrored(this.base.cdf(this.transforms.reduceRight((y, t) => t.inverse(y), value))), 1));
  }
  override icdf(value: Tensor): Tensor {
    return composite('icdf', () => this.forward(this.base.icdf(this.mirrored(value))));
  }
  expand(batchShape: Shape): TransformedDistribution {
    return new TransformedDistribution(this.base.expand(batchShape), this.transforms, optionsOf(this));
  }
}

/** e^x for normal x of mean `loc` and standard deviation `scale`. */
export class LogNormal extends TransformedDistribution {
  readonly loc: Tensor;
  readonly scale: Tensor;

  constructor(loc: Parameter, scale: Parameter, options: DistributionOptions = {}) {
    const normal = new Normal(loc, scale, options);
    super(normal, new ExpTransform(), options);
    this.loc = normal.loc;
    this.scale = normal.scale;
  }
  override get mean(): Tensor {
    return composite('mean', () => exp(add(this.loc, mul(square(this.scale), 0.5))));
  }
  override get variance(): Tensor {
    return composite('variance', () => {
      const spread = square(this.scale);
      return mul(expm1(spread), exp(add(mul(this.loc, 2), spread)));
    });
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(this.base.entropy(), this.loc));
  }
  override expand(batchShape: Shape): LogNormal {
    return new LogNormal(broadcastTo(this.loc, batchShape), broadcastTo(this.scale, batchShape), optionsOf(this));
  }
}

/** One of several components of a kind, chosen by a Categorical: their last batch dimension runs over the components. */
export class MixtureSameFamily extends Distribution {
  readonly mixture: Categorical;
  readonly components: Distribution;

  constructor(mixture: Categorical, components: Distribution, options: DistributionOptions = {}) {
    const count = mixture.numEvents;
    const inner = components.batchShape;
    if (inner[inner.length - 1] !== count) {
      throw new ShapeError(`components of batch shape ${formatShape(inner)}`, {
        op: 'MixtureSameFamily',
        received: inner,
        expected: `[..., ${count}], as many as the mixture has classes`,
      });
    }
    const batch = inner.slice(0, -1);
    if (!shapesEqual(broadcastShapes(mixture.batchShape, batch, 'MixtureSameFamily'), batch)) {
      throw new ShapeError(`a mixture of batch shape ${formatShape(mixture.batchShape)}`, {
        op: 'MixtureSameFamily',
        received: mixture.batchShape,
        expected: `one that broadcasts to ${formatShape(batch)}`,
      });
    }
    super(batch, components.eventShape, options);
    this.mixture = mixture;
    this.components = components;
  }
  get support(): Constraint {
    return constraints.independent(constraints.real, this.eventShape.length);
  }
  /** A value with a dimension of 1 for the components in front of its event dimensions. */
  private spread(value: Tensor): Tensor {
    return unsqueeze(value, value.shape.length - this.eventShape.length);
  }
  /** Probabilities with a dimension for the components and ones for the event. */
  private weights(): Tensor {
    const { probs } = this.mixture;
    return reshape(probs, [...probs.shape, ...this.eventShape.map(() => 1)]);
  }
  private average(x: Tensor): Tensor {
    return sum(mul(this.weights(), x), -1 - this.eventShape.length);
  }
  override get mean(): Tensor {
    return composite('mean', () => this.average(this.components.mean));
  }
  override get variance(): Tensor {
    return composite('variance', () => {
      const { mean } = this.components;
      const centre = unsqueeze(this.average(mean), this.batchShape.length);
      return this.average(add(this.components.variance, square(sub(mean, centre))));
    });
  }
  override sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return noGrad(() =>
      composite('sample', () => {
        const lead = [...sampleShape, ...this.batchShape];
        const chosen = this.mixture.expand(this.batchShape).sample(sampleShape, options);
        const all = this.components.sample(sampleShape, options);
        const index = reshape(chosen, [...lead, 1, ...this.eventShape.map(() => 1)]);
        const picked = gather(all, lead.length, broadcastTo(index, [...lead, 1, ...this.eventShape]));
        return reshape(picked, [...lead, ...this.eventShape]);
      }),
    );
  }
  logProb(value: Tensor): Tensor {
    return composite('logProb', () => logsumexp(add(this.components.logProb(this.spread(value)), this.mixture.logits), -1));
  }
  override cdf(value: Tensor): Tensor {
    return composite('cdf', () => sum(mul(this.components.cdf(this.spread(value)), this.mixture.probs), -1));
  }
  expand(batchShape: Shape): MixtureSameFamily {
    const count = this.mixture.numEvents;
    return new MixtureSameFamily(this.mixture.expand(batchShape), this.components.expand([...batchShape, count]), optionsOf(this));
  }
}
