/** Stochastic gradient descent. */

import { ArgumentError } from '../errors.js';
import { add, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { writeInto } from '../ops/write-view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type Params } from './optimizer.js';

export interface SGDOptions {
  readonly lr: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly weightDecay?: number;
  readonly nesterov?: boolean;
}

/** SGD with momentum as in Sutskever et al. (2013), in PyTorch's form: v = momentum * v + (1 - dampening) * g; p = p - lr * v. */
export class SGD extends Optimizer<SGDOptions> {
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
  protected override update(group: Group<SGDOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = group.options;
    // The first velocity is the plain gradient: dampening counts from the second step on.
    const started = dampening === 0 ? null : this.groupState(group, 'started', 'float32');
    const share = started === null ? null : sub(1, mul(started, dampening));
    for (const p of params) {
      let d = gradOf(p);
      if (weightDecay !== 0) d = add(d, mul(p, weightDecay));
      if (momentum !== 0) {
        const velocity = this.stateOf(p, 'momentumBuffer');
        writeInto(velocity, add(mul(velocity, momentum), share === null ? d : mul(d, cast(share, p.dtype))));
        d = nesterov ? add(d, mul(velocity, momentum)) : velocity;
      }
      writeInto(p, sub(p, mul(d, this.lrFor(group, p))));
    }
    if (started !== null) writeInto(started, full([], 1));
  }
}
