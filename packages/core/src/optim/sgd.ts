/** Stochastic gradient descent, plain and averaged. */
import { ArgumentError } from '../errors.js';
import { add, div, gt, maximum, mul, pow, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { addRows } from '../ops/rows.js';
import { where } from '../ops/ternary.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params, type SparseUpdate } from './optimizer.js';
import { inDType } from './scalars.js';

export interface SGDOptions extends OptimizerOptions {
  readonly momentum?: number;
  readonly dampening?: number;
  readonly weightDecay?: number;
  readonly nesterov?: boolean;
}

/**
 * SGD with momentum as in Sutskever et al. (2013), in PyTorch's form: v = momentum * v + (1 - dampening) * g; p = p - lr * v.
 * Sparse gradients change their rows alone; they take no momentum and no weight decay.
 */
export class SGD extends Optimizer<SGDOptions> {
  protected override readonly momentumOption = 'momentum';
  protected override readonly takesSparse = true;
  constructor(params: Params<SGDOptions>, options: SGDOptions) {
    const { momentum = 0, dampening = 0, nesterov = false } = options;
    if (nesterov && (momentum <= 0 || dampening !== 0)) {
      throw new ArgumentError(`nesterov with momentum ${momentum} and dampening ${dampening}`, {
        op: 'SGD',
        expected: 'a momentum above 0 and no dampening',
      });
    }
    super('SGD', params, options);
  }
  protected override update(
    group: Group<SGDOptions>,
    params: readonly Tensor[],
    gradOf: (p: Tensor) => Tensor,
    sparse: readonly SparseUpdate[],
  ): void {
    const { dampening = 0, weightDecay = 0, nesterov = false } = group.options;
    const momentum = this.momentumNow(group, group.options.momentum ?? 0);
    // The first velocity is the plain gradient: dampening counts from the second step on.
    const step = dampening === 0 ? null : this.groupState(group, 'step', 'float64');
    const share = step === null ? null : where(gt(this.advance(step, add(step, 1)), 1), 1 - dampening, full([], 1, { dtype: 'float64' }));
    for (const p of params) {
      let d = gradOf(p);
      if (weightDecay !== 0) d = add(d, mul(p, weightDecay));
      if (momentum !== 0) {
        const velocity = this.stateOf(p, 'momentumBuffer');
        const factor = inDType(momentum, p.dtype);
        const next = add(mul(velocity, factor), share === null ? d : mul(d, cast(share, p.dtype)));
        this.write(velocity, next);
        d = nesterov ? add(d, mul(next, factor)) : next;
      }
      this.write(p, sub(p, mul(d, this.lrFor(group, p))));
    }
    for (const { param, grad } of sparse) {
      if (momentum !== 0 || weightDecay !== 0) {
        throw new ArgumentError('a sparse gradient with momentum or weight decay, which change every row', {
          op: 'SGD',
          fix: 'Put the embedding into a group of its own with momentum and weightDecay 0.',
        });
      }
      addRows(param, grad.indices, this.unlessSkipped(mul(grad.values, mul(this.lrFor(group, param), -1)), 0));
    }
  }
}

export interface ASGDOptions extends OptimizerOptions {
  /** Decay term. */
  readonly lambd?: number;
  /** Power of the learning rate's decay. */
  readonly alpha?: number;
  /** Step from which on the average is kept. */
  readonly t0?: number;
  readonly weightDecay?: number;
}

/** Averaged SGD (Polyak and Juditsky, 1992), as in PyTorch; the averages are the state `ax`. */
export class ASGD extends Optimizer<ASGDOptions> {
  constructor(params: Params<ASGDOptions>, options: ASGDOptions = { lr: 1e-2 }) {
    super('ASGD', params, options);
  }
  protected override update(group: Group<ASGDOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { lambd = 1e-4, alpha = 0.75, t0 = 1e6, weightDecay = 0 } = group.options;
    const step = this.groupState(group, 'step', 'float64');
    const before = sub(this.advance(step, add(step, 1)), 1);
    const eta = div(group.lr, pow(add(mul(mul(group.lr, lambd), before), 1), alpha));
    const mu = div(1, maximum(sub(before, t0), 1));
    for (const p of params) {
      let g = gradOf(p);
      if (weightDecay !== 0) g = add(g, mul(p, weightDecay));
      const decayed = mul(p, cast(sub(1, mul(eta, lambd)), p.dtype));
      const next = sub(decayed, mul(g, cast(eta, p.dtype)));
      const average = this.stateOf(p, 'ax');
      this.write(average, add(average, mul(sub(next, average), cast(mu, p.dtype))));
      this.write(p, next);
    }
  }
}
