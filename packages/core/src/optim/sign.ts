/** Updates by the sign of the gradient: Lion, Rprop. */
import { add, gt, lt, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { clamp, where } from '../ops/ternary.js';
import { sign } from '../ops/unary.js';
import { expand } from '../ops/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params } from './optimizer.js';
import { complement, inDType } from './scalars.js';

export interface LionOptions extends OptimizerOptions {
  readonly betas?: readonly [number, number];
  /** Shrinks the parameters directly. */
  readonly weightDecay?: number;
}

/** Chen et al., arXiv:2302.06675: the sign of a momentum. Takes a third to a tenth of AdamW's learning rate. */
export class Lion extends Optimizer<LionOptions> {
  protected override readonly momentumOption = 'betas';
  constructor(params: Params<LionOptions>, options: LionOptions = { lr: 1e-4 }) {
    super('Lion', params, options);
  }
  protected override update(group: Group<LionOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { betas = [0.9, 0.99], weightDecay = 0 } = group.options;
    const beta1 = this.momentumNow(group, betas[0]);
    for (const p of params) {
      const g = gradOf(p);
      const average = this.stateOf(p, 'expAvg');
      const base = weightDecay === 0 ? p : mul(p, cast(sub(1, mul(group.lr, weightDecay)), p.dtype));
      const direction = sign(add(mul(average, inDType(beta1, p.dtype)), mul(g, inDType(complement(beta1), p.dtype))));
      this.write(average, add(mul(average, betas[1]), mul(g, 1 - betas[1])));
      this.write(p, sub(base, mul(direction, this.lrFor(group, p))));
    }
  }
}

export interface RpropOptions extends OptimizerOptions {
  /** Factors of a step after a change of sign, and after none. */
  readonly etas?: readonly [number, number];
  readonly stepSizes?: readonly [number, number];
}

/** Riedmiller and Braun (1993): a step size for each element, for whole-batch gradients. */
export class Rprop extends Optimizer<RpropOptions> {
  constructor(params: Params<RpropOptions>, options: RpropOptions = { lr: 1e-2 }) {
    super('Rprop', params, options);
  }
  protected override update(group: Group<RpropOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { etas = [0.5, 1.2], stepSizes = [1e-6, 50] } = group.options;
    for (const p of params) {
      const g = gradOf(p);
      const before = this.stateOf(p, 'prev');
      const size = this.stateOf(p, 'stepSize', { init: () => mul(expand(this.lrFor(group, p), p.shape), 1) });
      const agreement = mul(g, before);
      const turned = lt(agreement, 0);
      const same = full([], 1, { dtype: p.dtype });
      const factor = where(turned, etas[0], where(gt(agreement, 0), etas[1], same));
      const next = clamp(mul(size, factor), { min: stepSizes[0], max: stepSizes[1] });
      const used = where(turned, 0, g);
      this.write(size, next);
      this.write(before, used);
      this.write(p, sub(p, mul(sign(used), next)));
    }
  }
}
