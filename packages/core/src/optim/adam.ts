/** Adam and AdamW. */
import { add, div, maximum, mul, pow, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { sqrt } from '../ops/unary.js';
import { writeInto } from '../ops/write-view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type Params } from './optimizer.js';

export interface AdamOptions {
  readonly lr: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Uses the largest second moment so far (Reddi et al., 2018). */
  readonly amsgrad?: boolean;
}

abstract class AdamBase extends Optimizer<AdamOptions> {
  private readonly decoupled: boolean;
  constructor(name: string, params: Params<AdamOptions>, options: AdamOptions, decoupled: boolean) {
    super(name, params, options);
    this.decoupled = decoupled;
  }
  protected override update(group: Group<AdamOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = this.decoupled ? 0.01 : 0, amsgrad = false } = group.options;
    const [beta1, beta2] = betas;
    // The step is counted in the state, so that a compiled update stays right; the corrections need float64.
    const step = this.groupState(group, 'step', 'float64');
    writeInto(step, add(step, 1));
    const rate = div(group.lr, sub(1, pow(beta1, step)));
    const spread = sqrt(sub(1, pow(beta2, step)));
    for (const p of params) {
      let g = gradOf(p);
      let base = p;
      if (weightDecay !== 0) {
        if (this.decoupled) base = mul(p, cast(sub(1, mul(group.lr, weightDecay)), p.dtype));
        else g = add(g, mul(p, weightDecay));
      }
      const first = this.stateOf(p, 'expAvg');
      const second = this.stateOf(p, 'expAvgSq');
      writeInto(first, add(mul(first, beta1), mul(g, 1 - beta1)));
      writeInto(second, add(mul(second, beta2), mul(mul(g, g), 1 - beta2)));
      let variance = second;
      if (amsgrad) {
        variance = this.stateOf(p, 'maxExpAvgSq');
        writeInto(variance, maximum(variance, second));
      }
      const scale = add(div(sqrt(variance), cast(spread, p.dtype)), eps);
      writeInto(p, sub(base, mul(div(first, scale), cast(rate, p.dtype))));
    }
  }
}

/** Kingma and Ba, arXiv:1412.6980; weight decay is added to the gradient. */
export class Adam extends AdamBase {
  constructor(params: Params<AdamOptions>, options: AdamOptions = { lr: 1e-3 }) {
    super('Adam', params, options, false);
  }
}
/** Loshchilov and Hutter, arXiv:1711.05101: weight decay (default 0.01) shrinks the parameters directly. */
export class AdamW extends AdamBase {
  constructor(params: Params<AdamOptions>, options: AdamOptions = { lr: 1e-3 }) {
    super('AdamW', params, options, true);
  }
}
