/** Adam, AdamW and the lazy forms for embeddings. */
import { ArgumentError } from '../errors.js';
import { add, div, maximum, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { addRows, selectRows, setRows } from '../ops/rows.js';
import { sqrt } from '../ops/unary.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params, type SparseUpdate } from './optimizer.js';
import { complement, gathered, inDType } from './scalars.js';

export interface AdamOptions extends OptimizerOptions {
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Uses the largest second moment so far (Reddi et al., 2018). */
  readonly amsgrad?: boolean;
}

/** Parts of a step that all parameters of a group share. */
interface Corrections {
  readonly beta1: number | Tensor;
  readonly beta2: number;
  readonly eps: number;
  /** Learning rate / (1 - beta1 ** step), float64. */
  readonly rate: Tensor;
  /** sqrt(1 - beta2 ** step), float64. */
  readonly spread: Tensor;
}

abstract class AdamBase extends Optimizer<AdamOptions> {
  protected override readonly momentumOption = 'betas';
  private readonly decoupled: boolean;
  constructor(name: string, params: Params<AdamOptions>, options: AdamOptions, decoupled: boolean) {
    super(name, params, options);
    this.decoupled = decoupled;
  }
  protected override update(
    group: Group<AdamOptions>,
    params: readonly Tensor[],
    gradOf: (p: Tensor) => Tensor,
    sparse: readonly SparseUpdate[],
  ): void {
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = this.decoupled ? 0.01 : 0, amsgrad = false } = group.options;
    const beta1 = this.momentumNow(group, betas[0]);
    const [, beta2] = betas;
    // The step is counted in the state, so that a compiled update stays right; the corrections need float64.
    const step = this.groupState(group, 'step', 'float64');
    const now = this.advance(step, add(step, 1));
    const corrections = { beta1, beta2, eps, rate: div(group.lr, gathered(beta1, now)), spread: sqrt(gathered(beta2, now)) };
    for (const p of params) {
      let g = gradOf(p);
      let base = p;
      if (weightDecay !== 0) {
        if (this.decoupled) base = mul(p, cast(sub(1, mul(group.lr, weightDecay)), p.dtype));
        else g = add(g, mul(p, weightDecay));
      }
      const expAvg = this.stateOf(p, 'expAvg');
      const expAvgSq = this.stateOf(p, 'expAvgSq');
      const [first, second] = moments(expAvg, expAvgSq, g, corrections);
      this.write(expAvg, first);
      this.write(expAvgSq, second);
      let variance = second;
      if (amsgrad) {
        const largest = this.stateOf(p, 'maxExpAvgSq');
        variance = maximum(largest, second);
        this.write(largest, variance);
      }
      this.write(p, sub(base, change(first, variance, corrections)));
    }
    for (const item of sparse) this.updateRows(group, item, corrections);
  }

  /** Adam on the rows that the gradient names: the moments of the others stay as they are. */
  private updateRows(group: Group<AdamOptions>, { param, grad }: SparseUpdate, corrections: Corrections): void {
    if ((group.options.weightDecay ?? 0) !== 0 || group.options.amsgrad === true) {
      throw new ArgumentError('a sparse gradient with weight decay or amsgrad', {
        op: this.name,
        fix: 'Put the embedding into a group of its own with weightDecay 0.',
      });
    }
    const { indices, values } = grad.coalesce();
    const expAvg = this.stateOf(param, 'expAvg');
    const expAvgSq = this.stateOf(param, 'expAvgSq');
    const [oldFirst, oldSecond] = [selectRows(expAvg, indices), selectRows(expAvgSq, indices)];
    const [first, second] = moments(oldFirst, oldSecond, values, corrections);
    setRows(expAvg, indices, this.unlessSkipped(first, oldFirst));
    setRows(expAvgSq, indices, this.unlessSkipped(second, oldSecond));
    // PyTorch's SparseAdam corrects the rate alone, so that eps counts more in the first steps than in Adam.
    const rate = cast(mul(corrections.rate, corrections.spread), param.dtype);
    const move = mul(div(first, add(sqrt(second), corrections.eps)), mul(rate, -1));
    addRows(param, indices, this.unlessSkipped(move, 0));
  }
}

function moments(first: Tensor, second: Tensor, g: Tensor, { beta1, beta2 }: Corrections): [Tensor, Tensor] {
  const { dtype } = first;
  return [
    add(mul(first, inDType(beta1, dtype)), mul(g, inDType(complement(beta1), dtype))),
    add(mul(second, beta2), mul(mul(g, g), 1 - beta2)),
  ];
}

function change(first: Tensor, variance: Tensor, { spread, rate, eps }: Corrections): Tensor {
  const { dtype } = first;
  const scale = add(div(sqrt(variance), cast(spread, dtype)), eps);
  return mul(div(first, scale), cast(rate, dtype));
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
/**
 * Adam that takes sparse gradients beside dense ones: of an embedding only the rows that were looked up, and their moments,
 * change. For dense gradients it is {@link Adam}.
 */
export class LazyAdam extends AdamBase {
  protected override readonly takesSparse = true;
  constructor(params: Params<AdamOptions>, options: AdamOptions = { lr: 1e-3 }) {
    super('LazyAdam', params, options, false);
  }
}

export type SparseAdamOptions = Pick<AdamOptions, 'lr' | 'betas' | 'eps' | 'maximize' | 'masterWeights'>;

/** {@link LazyAdam} for sparse gradients alone: PyTorch's SparseAdam. @throws ArgumentError for a dense gradient */
export class SparseAdam extends AdamBase {
  protected override readonly takesSparse = true;
  constructor(params: Params<SparseAdamOptions>, options: SparseAdamOptions = { lr: 1e-3 }) {
    super('SparseAdam', params, options, false);
  }
  protected override update(
    group: Group<AdamOptions>,
    params: readonly Tensor[],
    gradOf: (p: Tensor) => Tensor,
    sparse: readonly SparseUpdate[],
  ): void {
    if (params.length > 0) {
      throw new ArgumentError(`a dense gradient of a parameter of shape [${params[0].shape.join(', ')}]`, {
        op: 'SparseAdam',
        expected: 'sparse gradients',
        fix: 'Make the embedding with { sparse: true }, or use LazyAdam or Adam.',
      });
    }
    super.update(group, params, gradOf, sparse);
  }
}
