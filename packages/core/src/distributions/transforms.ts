/** Invertible functions of each element, with the logarithm of their derivative. */
import { add, div, mul, pow, sub } from '../ops/binary.js';
import { abs, exp, log, log1p, neg, sigmoid, sign, tanh } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import type { Parameter } from './distribution.js';
import { softplus } from './special.js';

/** y = f(x), monotonic, element by element. */
export abstract class Transform {
  abstract forward(x: Tensor): Tensor;
  abstract inverse(y: Tensor): Tensor;
  /** log |dy / dx| at x, where y = f(x). */
  abstract logAbsDetJacobian(x: Tensor, y: Tensor): Tensor;
  /** Where the results lie. */
  abstract get codomain(): Constraint;
  /** 1 where it rises, -1 where it falls. */
  get sign(): Tensor | number {
    return 1;
  }
  /** Whether `other` is the same function, as far as that can be told without reading tensors. */
  equals(other: Transform): boolean {
    return other.constructor === this.constructor;
  }
}

/** y = loc + scale x. */
export class AffineTransform extends Transform {
  readonly loc: Parameter;
  readonly scale: Parameter;
  constructor(loc: Parameter, scale: Parameter) {
    super();
    this.loc = loc;
    this.scale = scale;
  }
  forward(x: Tensor): Tensor {
    return composite('affine', () => add(mul(x, this.scale), this.loc));
  }
  inverse(y: Tensor): Tensor {
    return composite('affine', () => div(sub(y, this.loc), this.scale));
  }
  logAbsDetJacobian(x: Tensor): Tensor {
    const { scale } = this;
    return composite('affine', () => add(mul(x, 0), scale instanceof Tensor ? log(abs(scale)) : Math.log(Math.abs(scale))));
  }
  get codomain(): Constraint {
    return constraints.real;
  }
  override get sign(): Tensor | number {
    return this.scale instanceof Tensor ? sign(this.scale) : Math.sign(this.scale);
  }
  override equals(other: Transform): boolean {
    return other instanceof AffineTransform && other.loc === this.loc && other.scale === this.scale;
  }
}

/** y = e^x. */
export class ExpTransform extends Transform {
  forward(x: Tensor): Tensor {
    return exp(x);
  }
  inverse(y: Tensor): Tensor {
    return log(y);
  }
  logAbsDetJacobian(x: Tensor): Tensor {
    return mul(x, 1);
  }
  get codomain(): Constraint {
    return constraints.positive;
  }
}

/** y = 1 / (1 + e^-x). */
export class SigmoidTransform extends Transform {
  forward(x: Tensor): Tensor {
    return sigmoid(x);
  }
  inverse(y: Tensor): Tensor {
    return composite('logit', () => sub(log(y), log1p(neg(y))));
  }
  logAbsDetJacobian(x: Tensor): Tensor {
    return composite('sigmoidJacobian', () => neg(add(softplus(x), softplus(neg(x)))));
  }
  get codomain(): Constraint {
    return constraints.unitInterval;
  }
}

/** y = tanh x. */
export class TanhTransform extends Transform {
  forward(x: Tensor): Tensor {
    return tanh(x);
  }
  inverse(y: Tensor): Tensor {
    return composite('atanh', () => mul(sub(log1p(y), log1p(neg(y))), 0.5));
  }
  /** log(1 - tanh^2 x) = 2 (log 2 - x - softplus(-2 x)), which stays exact where tanh x rounds to 1. */
  logAbsDetJacobian(x: Tensor): Tensor {
    return composite('tanhJacobian', () => mul(sub(Math.LN2, add(x, softplus(mul(x, -2)))), 2));
  }
  get codomain(): Constraint {
    return constraints.interval(-1, 1);
  }
}

/** y = x^exponent for positive x. */
export class PowerTransform extends Transform {
  readonly exponent: Parameter;
  constructor(exponent: Parameter) {
    super();
    this.exponent = exponent;
  }
  forward(x: Tensor): Tensor {
    return pow(x, this.exponent);
  }
  inverse(y: Tensor): Tensor {
    const { exponent } = this;
    return composite('root', () => pow(y, exponent instanceof Tensor ? div(1, exponent) : 1 / exponent));
  }
  logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    const { exponent } = this;
    return composite('powerJacobian', () => {
      const ratio = div(y, x);
      return exponent instanceof Tensor ? log(abs(mul(ratio, exponent))) : add(log(abs(ratio)), Math.log(Math.abs(exponent)));
    });
  }
  get codomain(): Constraint {
    return constraints.positive;
  }
  override get sign(): Tensor | number {
    return this.exponent instanceof Tensor ? sign(this.exponent) : Math.sign(this.exponent);
  }
  override equals(other: Transform): boolean {
    return other instanceof PowerTransform && other.exponent === this.exponent;
  }
}
