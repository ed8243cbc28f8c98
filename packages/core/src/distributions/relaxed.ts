/** Continuous stand-ins for discrete distributions (Jang, Gu, Poole 2017; Maddison, Mnih, Teh 2017): their samples have gradients. */
import { ArgumentError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { add, div, eq, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { broadcastTo, stopGradient } from '../ops/common.js';
import { iota } from '../ops/iota.js';
import { sum } from '../ops/reduce.js';
import { argmax, logsumexp, softmax } from '../ops/statistics.js';
import { log, log1p, neg, sigmoid } from '../ops/unary.js';
import { movedim, unsqueeze } from '../ops/view.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import { openUniform } from './continuous.js';
import { Bernoulli, Categorical, type ProbabilityParameters } from './discrete.js';
import { Distribution, optionsOf, type SampleOptions } from './distribution.js';
import { softplus } from './special.js';

function requireTemperature(temperature: number, op: string): void {
  if (temperature > 0) return;
  throw new ArgumentError(`temperature ${temperature}`, { op, received: temperature, expected: 'a positive number' });
}
/** Logarithm of the gamma function at a positive whole number. */
function logFactorial(n: number): number {
  let total = 0;
  for (let k = 2; k < n; k++) total += Math.log(k);
  return total;
}

/** A number in (0, 1) that is close to a Bernoulli sample when `temperature` is low. */
export class RelaxedBernoulli extends Distribution {
  override readonly hasRsample = true;
  readonly temperature: number;
  private readonly discrete: Bernoulli;

  constructor(temperature: number, parameters: ProbabilityParameters) {
    requireTemperature(temperature, 'RelaxedBernoulli');
    const discrete = new Bernoulli(parameters);
    super(discrete.batchShape, [], optionsOf(discrete));
    this.temperature = temperature;
    this.discrete = discrete;
  }
  get logits(): Tensor {
    return this.discrete.logits;
  }
  get probs(): Tensor {
    return this.discrete.probs;
  }
  get support(): Constraint {
    return constraints.unitInterval;
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () => {
      const { logits } = this;
      const u = openUniform(this.extended(sampleShape), logits.dtype, options);
      return sigmoid(div(add(sub(log(u), log1p(neg(u))), logits), this.temperature));
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { temperature } = this;
    return composite('logProb', () => {
      const odds = sub(log(value), log1p(neg(value)));
      const difference = sub(this.logits, mul(odds, temperature));
      const density = sub(add(difference, Math.log(temperature)), mul(softplus(difference), 2));
      // From the density of the log odds to that of the value.
      return add(density, add(softplus(odds), softplus(neg(odds))));
    });
  }
  expand(batchShape: Shape): RelaxedBernoulli {
    return new RelaxedBernoulli(this.temperature, { logits: broadcastTo(this.logits, batchShape), ...optionsOf(this) });
  }
}

/** Parts [..., k] that add up to 1 and are close to a one-hot sample when `temperature` is low (Gumbel-softmax). */
export class RelaxedOneHotCategorical extends Distribution {
  override readonly hasRsample = true;
  readonly temperature: number;
  private readonly discrete: Categorical;

  constructor(temperature: number, parameters: ProbabilityParameters<Tensor>) {
    requireTemperature(temperature, 'RelaxedOneHotCategorical');
    const discrete = new Categorical(parameters);
    super(discrete.batchShape, [discrete.numEvents], optionsOf(discrete));
    this.temperature = temperature;
    this.discrete = discrete;
  }
  get logits(): Tensor {
    return this.discrete.logits;
  }
  get probs(): Tensor {
    return this.discrete.probs;
  }
  get support(): Constraint {
    return constraints.simplex;
  }
  override rsample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return composite('rsample', () => {
      const gumbel = neg(log(neg(log(openUniform(this.extended(sampleShape), this.logits.dtype, options)))));
      return softmax(div(add(this.logits, gumbel), this.temperature), -1);
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    const { temperature } = this;
    const k = this.eventShape[0];
    return composite('logProb', () => {
      const logs = log(value);
      const score = sub(this.logits, mul(logs, temperature));
      const total = sum(sub(sub(score, logsumexp(score, -1, true)), logs), -1);
      return add(total, logFactorial(k) + (k - 1) * Math.log(temperature));
    });
  }
  expand(batchShape: Shape): RelaxedOneHotCategorical {
    const logits = broadcastTo(this.logits, [...batchShape, ...this.eventShape]);
    return new RelaxedOneHotCategorical(this.temperature, { logits, ...optionsOf(this) });
  }
}

export interface GumbelSoftmaxOptions extends SampleOptions {
  /** Temperature; default 1. */
  readonly tau?: number;
  /** One-hot values, with the gradient of the soft ones (straight-through). */
  readonly hard?: boolean;
  /** Axis of the classes; default -1. */
  readonly dim?: number;
}
/** A sample of {@link RelaxedOneHotCategorical} with these logits. */
export function gumbelSoftmax(logits: Tensor, { tau = 1, hard = false, dim = -1, generator }: GumbelSoftmaxOptions = {}): Tensor {
  requireTemperature(tau, 'gumbelSoftmax');
  return composite('gumbelSoftmax', () => {
    const gumbel = neg(log(neg(log(openUniform(logits.shape, logits.dtype, { generator })))));
    const soft = softmax(div(add(logits, gumbel), tau), dim);
    if (!hard) return soft;
    const axis = dim < 0 ? dim + logits.shape.length : dim;
    const best = unsqueeze(argmax(soft, axis), logits.shape.length - 1);
    const choice = movedim(cast(eq(best, iota(logits.shape[axis], 'int64')), logits.dtype), -1, axis);
    return add(sub(choice, stopGradient(soft)), soft);
  });
}
