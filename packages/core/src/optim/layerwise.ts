/** Learning rates by layer, for large batches: LARS, LAMB. */
import { add, div, gt, logicalAnd, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { where } from '../ops/ternary.js';
import { sqrt } from '../ops/unary.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params } from './optimizer.js';
import { complement, gathered, inDType, lengthOf } from './scalars.js';

export interface LARSOptions extends OptimizerOptions {
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly weightDecay?: number;
  /** The share of a layer's weights that one step changes. */
  readonly trustCoefficient?: number;
  readonly eps?: number;
}

/**
 * You et al., arXiv:1708.03888: SGD whose gradient (with weight decay) is scaled in each tensor by
 * `trust * |p| / (|g| + weightDecay * |p| + eps)`; by 1 where one of both lengths is 0.
 */
export class LARS extends Optimizer<LARSOptions> {
  protected override readonly momentumOption = 'momentum';
  constructor(params: Params<LARSOptions>, options: LARSOptions) {
    super('LARS', params, options);
  }
  protected override update(group: Group<LARSOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { weightDecay = 0, trustCoefficient = 1e-3, eps = 1e-8, dampening = 0, nesterov = false } = group.options;
    const momentum = this.momentumNow(group, group.options.momentum ?? 0);
    for (const p of params) {
      const g = gradOf(p);
      const [size, slope] = [lengthOf(p), lengthOf(g)];
      const ratio = div(mul(size, trustCoefficient), add(add(slope, mul(size, weightDecay)), eps));
      const trust = where(logicalAnd(gt(size, 0), gt(slope, 0)), ratio, 1);
      const full = weightDecay === 0 ? g : add(g, mul(p, weightDecay));
      let d = mul(full, cast(trust, p.dtype));
      if (momentum !== 0) {
        const velocity = this.stateOf(p, 'momentumBuffer');
        const factor = inDType(momentum, p.dtype);
        const next = add(mul(velocity, factor), dampening === 0 ? d : mul(d, 1 - dampening));
        this.write(velocity, next);
        d = nesterov ? add(d, mul(next, factor)) : next;
      }
      this.write(p, sub(p, mul(d, this.lrFor(group, p))));
    }
  }
}

export interface LAMBOptions extends OptimizerOptions {
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
}

/**
 * You et al., arXiv:1904.00962, algorithm 2: Adam's step plus weight decay, scaled in each tensor to the length of the
 * weights (`|p| / |step|`; by 1 where one of both is 0).
 */
export class LAMB extends Optimizer<LAMBOptions> {
  protected override readonly momentumOption = 'betas';
  constructor(params: Params<LAMBOptions>, options: LAMBOptions = { lr: 1e-3 }) {
    super('LAMB', params, options);
  }
  protected override update(group: Group<LAMBOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { betas = [0.9, 0.999], eps = 1e-6, weightDecay = 0.01 } = group.options;
    const beta1 = this.momentumNow(group, betas[0]);
    const beta2 = betas[1];
    const step = this.groupState(group, 'step', 'float64');
    const now = this.advance(step, add(step, 1));
    const [weight1, weight2] = [gathered(beta1, now), gathered(beta2, now)];
    for (const p of params) {
      const { dtype } = p;
      const g = gradOf(p);
      const [expAvg, expAvgSq] = [this.stateOf(p, 'expAvg'), this.stateOf(p, 'expAvgSq')];
      const first = add(mul(expAvg, inDType(beta1, dtype)), mul(g, inDType(complement(beta1), dtype)));
      const second = add(mul(expAvgSq, beta2), mul(mul(g, g), 1 - beta2));
      this.write(expAvg, first);
      this.write(expAvgSq, second);
      const adam = div(div(first, cast(weight1, dtype)), add(sqrt(div(second, cast(weight2, dtype))), eps));
      const move = weightDecay === 0 ? adam : add(adam, mul(p, weightDecay));
      const [size, length] = [lengthOf(p), lengthOf(move)];
      const trust = where(logicalAnd(gt(size, 0), gt(length, 0)), div(size, length), 1);
      this.write(p, sub(p, mul(move, mul(this.lrFor(group, p), cast(trust, dtype)))));
    }
  }
}
