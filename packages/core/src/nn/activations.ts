/** Activation functions as modules. Defaults are PyTorch's. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import * as activation from '../ops/activation.js';
import { mul } from '../ops/binary.js';
import { full } from '../ops/create.js';
import { uniform } from '../ops/random.js';
import { where } from '../ops/ternary.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount, describe } from './check.js';
import { Module, parameter } from './module.js';
import { Pointwise } from './pointwise.js';

/** `max(x, 0)`. */
export class ReLU extends Pointwise {
  constructor() {
    super(activation.relu);
  }
}
/** x limited to [0, 6]. */
export class ReLU6 extends Pointwise {
  constructor() {
    super(activation.relu6);
  }
}
/** x where it is positive, `negativeSlope * x` elsewhere. */
export class LeakyReLU extends Pointwise {
  constructor(negativeSlope = 0.01) {
    super((x) => activation.leakyRelu(x, { negativeSlope }), describe([], { negativeSlope }));
  }
}
/** {@link LeakyReLU} with a learned slope: one, or one a channel (axis 1); weight [numParameters]. */
export class PReLU extends Module {
  weight: Tensor;
  constructor(numParameters = 1, initial = 0.25) {
    super();
    checkCount('PReLU', 'numParameters', numParameters);
    this.weight = parameter(full([numParameters], initial));
  }
  override forward(x: Tensor): Tensor {
    return activation.prelu(x, this.weight);
  }
  override extraRepr(): string {
    return describe([], { numParameters: this.weight.shape[0] });
  }
}
/** {@link LeakyReLU} whose slope is drawn for each element between `lower` and `upper` in training, and their mean in evaluation. */
export class RReLU extends Module {
  private readonly lower: number;
  private readonly upper: number;
  constructor(lower = 1 / 8, upper = 1 / 3) {
    super();
    if (!(lower <= upper)) throw new ArgumentError(`slopes from ${lower} to ${upper}`, { op: 'RReLU', expected: 'lower up to upper' });
    this.lower = lower;
    this.upper = upper;
  }
  override forward(x: Tensor): Tensor {
    const { lower, upper } = this;
    if (!this.training) return activation.leakyRelu(x, { negativeSlope: (lower + upper) / 2 });
    return composite('rrelu', () => where(x.gt(0), x, mul(x, uniform(x.shape, lower, upper, { dtype: x.dtype }))));
  }
  override extraRepr(): string {
    return describe([], { lower: this.lower, upper: this.upper });
  }
}
/** `x * P(X <= x)` for a standard normal X. */
export class GELU extends Pointwise {
  constructor(options: activation.GeluOptions = {}) {
    super((x) => activation.gelu(x, options), describe([], { approximate: `'${options.approximate ?? 'none'}'` }));
  }
}
/** `x * sigmoid(x)`. */
export class SiLU extends Pointwise {
  constructor() {
    super(activation.silu);
  }
}
/** `x * tanh(softplus(x))`. */
export class Mish extends Pointwise {
  constructor() {
    super(activation.mish);
  }
}
/** x where it is positive, `alpha * (exp(x) - 1)` elsewhere. */
export class ELU extends Pointwise {
  constructor(alpha = 1) {
    super((x) => activation.elu(x, { alpha }), describe([], { alpha }));
  }
}
/** `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`. */
export class CELU extends Pointwise {
  constructor(alpha = 1) {
    super((x) => activation.celu(x, { alpha }), describe([], { alpha }));
  }
}
/** The self-normalising {@link ELU}. */
export class SELU extends Pointwise {
  constructor() {
    super(activation.selu);
  }
}
/** The first half along `dim` times the sigmoid of the second. */
export class GLU extends Pointwise {
  constructor(dim = -1) {
    super((x) => activation.glu(x, { dim }), describe([], { dim }));
  }
}
/** `log(1 + exp(beta * x)) / beta`. */
export class Softplus extends Pointwise {
  constructor(options: activation.SoftplusOptions = {}) {
    super((x) => activation.softplus(x, options), describe([], { beta: options.beta ?? 1, threshold: options.threshold ?? 20 }));
  }
}
/** `x / (1 + |x|)`. */
export class Softsign extends Pointwise {
  constructor() {
    super(activation.softsign);
  }
}
/** x moved towards 0 by `lambda`, 0 within that distance. */
export class Softshrink extends Pointwise {
  constructor(lambda = 0.5) {
    super((x) => activation.softshrink(x, { lambda }), describe([lambda]));
  }
}
/** x, but 0 within `lambda` of 0. */
export class Hardshrink extends Pointwise {
  constructor(lambda = 0.5) {
    super((x) => activation.hardshrink(x, { lambda }), describe([lambda]));
  }
}
/** `x - tanh(x)`. */
export class Tanhshrink extends Pointwise {
  constructor() {
    super(activation.tanhshrink);
  }
}
export class Sigmoid extends Pointwise {
  constructor() {
    super(activation.sigmoid);
  }
}
/** `log(sigmoid(x))`. */
export class LogSigmoid extends Pointwise {
  constructor() {
    super(activation.logSigmoid);
  }
}
export class Tanh extends Pointwise {
  constructor() {
    super(activation.tanh);
  }
}
/** x limited to [minVal, maxVal]. */
export class Hardtanh extends Pointwise {
  constructor(minVal = -1, maxVal = 1) {
    super((x) => activation.hardtanh(x, { minVal, maxVal }), describe([], { minVal, maxVal }));
  }
}
/** `x * clamp(x + 3, 0, 6) / 6`. */
export class Hardswish extends Pointwise {
  constructor() {
    super(activation.hardswish);
  }
}
/** `clamp(x / 6 + 1 / 2, 0, 1)`. */
export class Hardsigmoid extends Pointwise {
  constructor() {
    super(activation.hardsigmoid);
  }
}
/** x where it is above `threshold`, `value` elsewhere. */
export class Threshold extends Pointwise {
  constructor(threshold: number, value: number) {
    super((x) => activation.threshold(x, { threshold, value }), describe([], { threshold, value }));
  }
}
/** Positive numbers along `dim` that sum to 1: `exp(x)` over their sum. */
export class Softmax extends Pointwise {
  constructor(dim = -1) {
    super((x) => activation.softmax(x, dim), describe([], { dim }));
  }
}
/** {@link Softmax} of `-x`. */
export class Softmin extends Pointwise {
  constructor(dim = -1) {
    super((x) => activation.softmin(x, dim), describe([], { dim }));
  }
}
/** The logarithm of {@link Softmax}. */
export class LogSoftmax extends Pointwise {
  constructor(dim = -1) {
    super((x) => activation.logSoftmax(x, dim), describe([], { dim }));
  }
}
/** {@link Softmax} over the channels of [N, C, H, W] or [C, H, W]. */
export class Softmax2d extends Pointwise {
  constructor() {
    super((x) => {
      if (x.ndim !== 3 && x.ndim !== 4)
        throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, {
          op: 'Softmax2d',
          received: x.shape,
          expected: '[N, C, H, W] or [C, H, W]',
        });
      return activation.softmax(x, -3);
    });
  }
}
