/** The normal distribution of vectors. */
import { ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, type Shape } from '../graph/layout.js';
import { inv } from '../linalg/solve.js';
import { add, mul, sub } from '../ops/binary.js';
import { broadcastTo } from '../ops/common.js';
import { eye } from '../ops/create.js';
import { squareSize } from '../ops/linalg-common.js';
import { choleskyOf, transposed, triangular } from '../ops/linalg-solve.js';
import { matmul } from '../ops/matmul.js';
import { randn } from '../ops/random.js';
import { sum } from '../ops/reduce.js';
import { log, square } from '../ops/unary.js';
import { reshape, unsqueeze } from '../ops/view.js';
import { diagonal, flip } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Constraint, constraints } from './constraints.js';
import {
  asTensor,
  checkParameters,
  Distribution,
  type DistributionOptions,
  exactlyOne,
  optionsOf,
  parameterType,
  type SampleOptions,
} from './distribution.js';

/** Exactly one of the three matrices [..., d, d]. */
export interface MultivariateNormalParameters extends DistributionOptions {
  readonly covarianceMatrix?: Tensor;
  /** Inverse of the covariance. */
  readonly precisionMatrix?: Tensor;
  /** Lower triangular L with a positive diagonal, covariance L L^T: the form that costs nothing. */
  readonly scaleTril?: Tensor;
}

/** Normal vectors with mean `loc` [..., d]. */
export class MultivariateNormal extends Distribution {
  override readonly hasRsample = true;
  readonly loc: Tensor;
  /** Lower triangular L, covariance L L^T: [..., d, d]. */
  readonly scaleTril: Tensor;

  constructor(loc: Tensor, { covarianceMatrix, precisionMatrix, scaleTril, ...options }: MultivariateNormalParameters) {
    const name = 'MultivariateNormal';
    exactlyOne(name, { covarianceMatrix, precisionMatrix, scaleTril });
    const given = (covarianceMatrix ?? precisionMatrix ?? scaleTril) as Tensor;
    const d = squareSize(given, name);
    if (loc.shape.length < 1 || (loc.shape[loc.shape.length - 1] !== d && loc.shape[loc.shape.length - 1] !== 1)) {
      throw new ShapeError(`a mean ${formatShape(loc.shape)} and matrices ${formatShape(given.shape)}`, {
        op: name,
        received: [loc.shape, given.shape],
        expected: '[..., d] and [..., d, d]',
      });
    }
    const dtype = parameterType(name, [loc, given]);
    const batch = broadcastShapes(loc.shape.slice(0, -1), given.shape.slice(0, -2), name);
    super(batch, [d], options);
    const matrix = broadcastTo(asTensor(given, dtype), [...batch, d, d]);
    this.loc = broadcastTo(asTensor(loc, dtype), [...batch, d]);
    if (scaleTril !== undefined) checkParameters(this, { scaleTril: [matrix, constraints.lowerCholesky] });
    else if (covarianceMatrix !== undefined) checkParameters(this, { covarianceMatrix: [matrix, constraints.positiveDefinite] });
    else checkParameters(this, { precisionMatrix: [matrix, constraints.positiveDefinite] });
    if (scaleTril !== undefined) this.scaleTril = matrix;
    else this.scaleTril = covarianceMatrix !== undefined ? choleskyOf(matrix).factor : factorOfInverse(matrix);
  }
  get support(): Constraint {
    return constraints.realVector;
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get variance(): Tensor {
    return composite('variance', () => sum(square(this.scaleTril), -1));
  }
  get covarianceMatrix(): Tensor {
    return composite('covarianceMatrix', () => matmul(this.scaleTril, transposed(this.scaleTril)));
  }
  get precisionMatrix(): Tensor {
    return composite('precisionMatrix', () => inv(this.covarianceMatrix));
  }
  override rsample(sampleShape: Shape = [], { generator }: SampleOptions = {}): Tensor {
    return composite('rsample', () => {
      const noise = randn(this.extended(sampleShape), { dtype: this.loc.dtype, generator });
      const turned = matmul(this.scaleTril, unsqueeze(noise, noise.shape.length));
      return add(this.loc, reshape(turned, noise.shape));
    });
  }
  logProb(value: Tensor): Tensor {
    this.checkValue(value, 'logProb');
    return composite('logProb', () => {
      const distance = mahalanobis(this.scaleTril, sub(value, this.loc));
      return sub(mul(add(distance, this.eventShape[0] * Math.log(2 * Math.PI)), -0.5), this.halfLogDet());
    });
  }
  /** Half the logarithm of the determinant of the covariance. */
  halfLogDet(): Tensor {
    return composite('halfLogDet', () => sum(log(diagonal(this.scaleTril, { dim1: -2, dim2: -1 })), -1));
  }
  override entropy(): Tensor {
    return composite('entropy', () => add(this.halfLogDet(), 0.5 * this.eventShape[0] * (1 + Math.log(2 * Math.PI))));
  }
  expand(batchShape: Shape): MultivariateNormal {
    const d = this.eventShape[0];
    return new MultivariateNormal(broadcastTo(this.loc, [...batchShape, d]), {
      scaleTril: broadcastTo(this.scaleTril, [...batchShape, d, d]),
      ...optionsOf(this),
    });
  }
}

/** Lower factor of the inverse: with the rows and columns of P in reverse order F F^T, P^-1 has the factor (F reversed)^-T. */
function factorOfInverse(precision: Tensor): Tensor {
  const n = squareSize(precision, 'MultivariateNormal');
  return composite('factorOfInverse', () => {
    const reversed = flip(choleskyOf(flip(precision, [-2, -1])).factor, [-2, -1]);
    return triangular(transposed(reversed), broadcastTo(eye(n, { dtype: precision.dtype }), precision.shape), { upper: false });
  });
}

/** `|L^-1 x|^2` for vectors x [..., d] of any broadcasting batch. */
export function mahalanobis(factor: Tensor, x: Tensor): Tensor {
  const batch = broadcastShapes(factor.shape.slice(0, -2), x.shape.slice(0, -1), 'MultivariateNormal');
  const d = x.shape[x.shape.length - 1];
  const columns = unsqueeze(broadcastTo(x, [...batch, d]), batch.length + 1);
  return sum(square(triangular(broadcastTo(factor, [...batch, d, d]), columns, { upper: false })), [-2, -1]);
}
