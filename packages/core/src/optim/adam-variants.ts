/** Relatives of Adam: Adamax, NAdam, RAdam. The formulas are PyTorch's. */
import { add, div, gt, maximum, mul, pow, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { where } from '../ops/ternary.js';
import { abs, sqrt } from '../ops/unary.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params } from './optimizer.js';
import { complement, gathered, inDType } from './scalars.js';

export interface AdamVariantOptions extends OptimizerOptions {
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Weight decay shrinks the parameters directly instead of joining the gradient. */
  readonly decoupledWeightDecay?: boolean;
}
export interface NAdamOptions extends AdamVariantOptions {
  readonly momentumDecay?: number;
}
export type AdamaxOptions = Omit<AdamVariantOptions, 'decoupledWeightDecay'>;

abstract class AdamVariant<O extends AdamVariantOptions> extends Optimizer<O> {
  protected override readonly momentumOption = 'betas';

  /** The gradient and the parameter after weight decay. */
  protected decayed(group: Group<O>, p: Tensor, g: Tensor): readonly [g: Tensor, base: Tensor] {
    const { weightDecay = 0, decoupledWeightDecay = false } = group.options;
    if (weightDecay === 0) return [g, p];
    if (decoupledWeightDecay) return [g, mul(p, cast(sub(1, mul(group.lr, weightDecay)), p.dtype))];
    return [add(g, mul(p, weightDecay)), p];
  }
  /** Moves the average `name` by a share of `1 - beta` towards `value`; returns the new one. */
  protected average(p: Tensor, name: string, beta: number | Tensor, value: Tensor): Tensor {
    const state = this.stateOf(p, name);
    const next = add(mul(state, inDType(beta, p.dtype)), mul(value, inDType(complement(beta), p.dtype)));
    this.write(state, next);
    return next;
  }
}

/** Adam with the largest gradient (decayed) in the place of the second moment (Kingma and Ba, section 7.1). */
export class Adamax extends AdamVariant<AdamaxOptions> {
  constructor(params: Params<AdamaxOptions>, options: AdamaxOptions = { lr: 2e-3 }) {
    super('Adamax', params, options);
  }
  protected override update(group: Group<AdamaxOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { betas = [0.9, 0.999], eps = 1e-8 } = group.options;
    const beta1 = this.momentumNow(group, betas[0]);
    const step = this.groupState(group, 'step', 'float64');
    const now = this.advance(step, add(step, 1));
    const rate = div(group.lr, gathered(beta1, now));
    for (const p of params) {
      const [g] = this.decayed(group, p, gradOf(p));
      const first = this.average(p, 'expAvg', beta1, g);
      const largest = this.stateOf(p, 'expInf');
      const infinity = maximum(mul(largest, betas[1]), add(abs(g), eps));
      this.write(largest, infinity);
      this.write(p, sub(p, mul(div(first, infinity), cast(rate, p.dtype))));
    }
  }
}

/** Adam with Nesterov momentum (Dozat, 2016). */
export class NAdam extends AdamVariant<NAdamOptions> {
  constructor(params: Params<NAdamOptions>, options: NAdamOptions = { lr: 2e-3 }) {
    super('NAdam', params, options);
  }
  protected override update(group: Group<NAdamOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { betas = [0.9, 0.999], eps = 1e-8, momentumDecay = 4e-3 } = group.options;
    const beta1 = this.momentumNow(group, betas[0]);
    const step = this.groupState(group, 'step', 'float64');
    const product = this.groupState(group, 'muProduct', 'float64', () => full([], 1, { dtype: 'float64' }));
    const now = this.advance(step, add(step, 1));
    const momentumAt = (t: Tensor): Tensor => mul(beta1, sub(1, mul(pow(0.96, mul(t, momentumDecay)), 0.5)));
    const mu = momentumAt(now);
    const next = momentumAt(add(now, 1));
    const soFar = this.advance(product, mul(product, mu));
    const gradientRate = div(mul(group.lr, sub(1, mu)), sub(1, soFar));
    const averageRate = div(mul(group.lr, next), sub(1, mul(soFar, next)));
    const spread = gathered(betas[1], now);
    for (const p of params) {
      const [g, base] = this.decayed(group, p, gradOf(p));
      const first = this.average(p, 'expAvg', beta1, g);
      const second = this.average(p, 'expAvgSq', betas[1], mul(g, g));
      const scale = add(sqrt(div(second, cast(spread, p.dtype))), eps);
      const direction = add(mul(g, cast(gradientRate, p.dtype)), mul(first, cast(averageRate, p.dtype)));
      this.write(p, sub(base, div(direction, scale)));
    }
  }
}

/** Rectified Adam (Liu et al., arXiv:1908.03265): plain momentum until the second moment can be trusted. */
export class RAdam extends AdamVariant<AdamVariantOptions> {
  constructor(params: Params<AdamVariantOptions>, options: AdamVariantOptions = { lr: 1e-3 }) {
    super('RAdam', params, options);
  }
  protected override update(group: Group<AdamVariantOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { betas = [0.9, 0.999], eps = 1e-8 } = group.options;
    const beta1 = this.momentumNow(group, betas[0]);
    const beta2 = betas[1];
    const step = this.groupState(group, 'step', 'float64');
    const now = this.advance(step, add(step, 1));
    const rate = div(group.lr, gathered(beta1, now));
    const left = gathered(beta2, now);
    // Length of the moving average's window, and its limit (equations 4 and 5).
    const limit = 2 / (1 - beta2) - 1;
    const length = sub(limit, div(mul(mul(now, 2), sub(1, left)), left));
    const trusted = gt(length, 5);
    const variance = div(mul(mul(sub(length, 4), sub(length, 2)), limit), mul(length, (limit - 4) * (limit - 2)));
    const rectified = sqrt(where(trusted, mul(variance, left), 0));
    for (const p of params) {
      const [g, base] = this.decayed(group, p, gradOf(p));
      const first = this.average(p, 'expAvg', beta1, g);
      const second = this.average(p, 'expAvgSq', beta2, mul(g, g));
      const adapted = div(cast(rectified, p.dtype), add(sqrt(second), eps));
      this.write(p, sub(base, mul(mul(first, cast(rate, p.dtype)), where(trusted, adapted, 1))));
    }
  }
}
