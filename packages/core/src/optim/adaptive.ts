/** Step sizes by the size of past gradients: Adagrad, Adadelta, RMSProp. The formulas are PyTorch's. */
import { ArgumentError } from '../errors.js';
import { add, div, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { addRows, selectRows, setRows } from '../ops/rows.js';
import { sqrt } from '../ops/unary.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params, type SparseUpdate } from './optimizer.js';
import { inDType } from './scalars.js';

export interface AdagradOptions extends OptimizerOptions {
  readonly lrDecay?: number;
  readonly weightDecay?: number;
  /** What the sum of squares starts with. */
  readonly initialAccumulatorValue?: number;
  readonly eps?: number;
}

/** Duchi et al. (2011): each element's step shrinks with the root of the sum of its squared gradients. Takes sparse gradients. */
export class Adagrad extends Optimizer<AdagradOptions> {
  protected override readonly takesSparse = true;
  constructor(params: Params<AdagradOptions>, options: AdagradOptions = { lr: 1e-2 }) {
    super('Adagrad', params, options);
  }
  protected override update(
    group: Group<AdagradOptions>,
    params: readonly Tensor[],
    gradOf: (p: Tensor) => Tensor,
    sparse: readonly SparseUpdate[],
  ): void {
    const { lrDecay = 0, weightDecay = 0, initialAccumulatorValue = 0, eps = 1e-10 } = group.options;
    const step = this.groupState(group, 'step', 'float64');
    const before = sub(this.advance(step, add(step, 1)), 1);
    const rate = lrDecay === 0 ? group.lr : div(group.lr, add(mul(before, lrDecay), 1));
    const sumOf = (p: Tensor): Tensor => this.stateOf(p, 'sum', { init: () => full(p.shape, initialAccumulatorValue, { dtype: p.dtype }) });
    for (const p of params) {
      let g = gradOf(p);
      if (weightDecay !== 0) g = add(g, mul(p, weightDecay));
      const total = sumOf(p);
      const next = add(total, mul(g, g));
      this.write(total, next);
      this.write(p, sub(p, mul(div(g, add(sqrt(next), eps)), cast(rate, p.dtype))));
    }
    for (const { param, grad } of sparse) {
      if (weightDecay !== 0) {
        throw new ArgumentError('a sparse gradient with weight decay, which changes every row', {
          op: 'Adagrad',
          fix: 'Put the embedding into a group of its own with weightDecay 0.',
        });
      }
      const { indices, values } = grad.coalesce();
      const total = sumOf(param);
      const old = selectRows(total, indices);
      const next = add(old, mul(values, values));
      setRows(total, indices, this.unlessSkipped(next, old));
      const move = mul(div(values, add(sqrt(next), eps)), mul(cast(rate, param.dtype), -1));
      addRows(param, indices, this.unlessSkipped(move, 0));
    }
  }
}

export interface AdadeltaOptions extends OptimizerOptions {
  readonly rho?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

/** Zeiler, arXiv:1212.5701: steps in the units of the parameters. */
export class Adadelta extends Optimizer<AdadeltaOptions> {
  constructor(params: Params<AdadeltaOptions>, options: AdadeltaOptions = { lr: 1 }) {
    super('Adadelta', params, options);
  }
  protected override update(group: Group<AdadeltaOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { rho = 0.9, eps = 1e-6, weightDecay = 0 } = group.options;
    for (const p of params) {
      let g = gradOf(p);
      if (weightDecay !== 0) g = add(g, mul(p, weightDecay));
      const squares = this.stateOf(p, 'squareAvg');
      const changes = this.stateOf(p, 'accDelta');
      const next = add(mul(squares, rho), mul(mul(g, g), 1 - rho));
      const delta = mul(div(sqrt(add(changes, eps)), sqrt(add(next, eps))), g);
      this.write(squares, next);
      this.write(changes, add(mul(changes, rho), mul(mul(delta, delta), 1 - rho)));
      this.write(p, sub(p, mul(delta, this.lrFor(group, p))));
    }
  }
}

export interface RMSPropOptions extends OptimizerOptions {
  /** Weight of the past in the average of squares. */
  readonly alpha?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  readonly momentum?: number;
  /** Divides by the standard deviation instead of the root mean square. */
  readonly centered?: boolean;
}

/** Hinton's RMSProp (lecture 6e, 2012); `centered` is Graves' form, arXiv:1308.0850. */
export class RMSProp extends Optimizer<RMSPropOptions> {
  protected override readonly momentumOption = 'momentum';
  constructor(params: Params<RMSPropOptions>, options: RMSPropOptions = { lr: 1e-2 }) {
    super('RMSProp', params, options);
  }
  protected override update(group: Group<RMSPropOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { alpha = 0.99, eps = 1e-8, weightDecay = 0, centered = false } = group.options;
    const momentum = this.momentumNow(group, group.options.momentum ?? 0);
    for (const p of params) {
      let g = gradOf(p);
      if (weightDecay !== 0) g = add(g, mul(p, weightDecay));
      const squares = this.stateOf(p, 'squareAvg');
      const next = add(mul(squares, alpha), mul(mul(g, g), 1 - alpha));
      this.write(squares, next);
      let variance = next;
      if (centered) {
        const mean = this.stateOf(p, 'gradAvg');
        const center = add(mean, mul(sub(g, mean), 1 - alpha));
        this.write(mean, center);
        variance = sub(next, mul(center, center));
      }
      let move = div(g, add(sqrt(variance), eps));
      if (momentum !== 0) {
        const velocity = this.stateOf(p, 'momentumBuffer');
        move = add(mul(velocity, inDType(momentum, p.dtype)), move);
        this.write(velocity, move);
      }
      this.write(p, sub(p, mul(move, this.lrFor(group, p))));
    }
  }
}
