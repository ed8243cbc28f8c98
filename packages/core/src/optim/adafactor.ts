/** Adafactor: second moments kept as rows and columns. */
import type { DType } from '../dtype.js';
import { add, div, maximum, minimum, mul, pow, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { mean } from '../ops/reduce.js';
import { clamp } from '../ops/ternary.js';
import { rsqrt } from '../ops/unary.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, Optimizer, type OptimizerOptions, type Params } from './optimizer.js';
import { lengthOf } from './scalars.js';

export interface AdafactorOptions extends OptimizerOptions {
  /** Power of the step in the weight of a new square; default -0.8. */
  readonly beta2Decay?: number;
  /** The first bounds the squares from below (default: the dtype's rounding unit), the second the size of a tensor. */
  readonly eps?: readonly [number | null, number];
  /** Largest root mean square of an update before the learning rate. */
  readonly d?: number;
  readonly weightDecay?: number;
}

const roundingUnit: Partial<Record<DType, number>> = { float64: 2 ** -52, float16: 2 ** -10, bfloat16: 2 ** -7 };

/**
 * Shazeer and Stern, arXiv:1804.04235, in PyTorch's form: `lr` is the largest relative step size. A tensor of two or more
 * dimensions keeps one number a row and one a column instead of one an element.
 */
export class Adafactor extends Optimizer<AdafactorOptions> {
  constructor(params: Params<AdafactorOptions>, options: AdafactorOptions = { lr: 1e-2 }) {
    super('Adafactor', params, options);
  }
  protected override update(group: Group<AdafactorOptions>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void {
    const { beta2Decay = -0.8, eps = [null, 1e-3], d = 1, weightDecay = 0 } = group.options;
    const step = this.groupState(group, 'step', 'float64');
    const now = this.advance(step, add(step, 1));
    const share = pow(now, beta2Decay);
    const relative = minimum(group.lr, div(1, pow(now, 0.5)));
    for (const p of params) {
      const { dtype, numel } = p;
      const g = gradOf(p);
      const least = eps[0] ?? roundingUnit[dtype] ?? 2 ** -23;
      const root = Math.sqrt(numel);
      const size = mul(maximum(div(lengthOf(p), root), eps[1]), cast(relative, lengthDType(dtype)));
      const base = weightDecay === 0 ? p : mul(p, cast(sub(1, mul(group.lr, weightDecay)), dtype));
      const squares = this.secondMoment(p, mul(g, g), cast(share, dtype), least);
      const move = mul(rsqrt(clamp(squares, { min: least * least })), g);
      const excess = maximum(div(lengthOf(move), root * d), 1);
      this.write(p, sub(base, mul(move, cast(div(size, excess), dtype))));
    }
  }

  private secondMoment(p: Tensor, squares: Tensor, share: Tensor, least: number): Tensor {
    const towards = (state: Tensor, value: Tensor): Tensor => {
      const next = add(state, mul(sub(value, state), share));
      this.write(state, next);
      return next;
    };
    const rank = p.shape.length;
    if (rank < 2) return towards(this.stateOf(p, 'variance'), squares);
    const rows = towards(this.stateOf(p, 'rowVar', { shape: p.shape.with(-1, 1) }), mean(squares, rank - 1, true));
    const columns = towards(this.stateOf(p, 'colVar', { shape: p.shape.with(-2, 1) }), mean(squares, rank - 2, true));
    return div(mul(rows, columns), clamp(mean(rows, rank - 2, true), { min: least }));
  }
}

/** Lengths are float32 for half precision. */
function lengthDType(dtype: DType): DType {
  return dtype === 'float64' ? 'float64' : 'float32';
}
