/** Methods of tensors that reduce, sort, multiply matrices or gather. */

import type { Axes } from '../ops/reduce.js';
import * as reduce from '../ops/reduce.js';
import * as statistics from '../ops/statistics.js';
import { TensorMathMethods } from './methods-math.js';
import type { Tensor } from './tensor.js';

/** Only the next link of the chain imports this; see `tensor.ts`. */
export abstract class TensorReduceMethods extends TensorMathMethods {
  sum(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.sum(this, dim, keepdim);
  }
  mean(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.mean(this, dim, keepdim);
  }
  prod(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.prod(this, dim, keepdim);
  }
  amax(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.amax(this, dim, keepdim);
  }
  amin(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.amin(this, dim, keepdim);
  }
  any(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.any(this, dim, keepdim);
  }
  all(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return reduce.all(this, dim, keepdim);
  }
  countNonzero(this: Tensor, dim?: Axes): Tensor {
    return reduce.countNonzero(this, dim);
  }
  var(this: Tensor, dim?: Axes, keepdim?: boolean, options?: statistics.VarianceOptions): Tensor {
    return statistics.variance(this, dim, keepdim, options);
  }
  std(this: Tensor, dim?: Axes, keepdim?: boolean, options?: statistics.VarianceOptions): Tensor {
    return statistics.std(this, dim, keepdim, options);
  }
  norm(this: Tensor, p?: number, dim?: Axes, keepdim?: boolean): Tensor {
    return statistics.norm(this, p, dim, keepdim);
  }
  logsumexp(this: Tensor, dim?: Axes, keepdim?: boolean): Tensor {
    return statistics.logsumexp(this, dim, keepdim);
  }
  softmax(this: Tensor, dim?: number): Tensor {
    return statistics.softmax(this, dim);
  }
  logSoftmax(this: Tensor, dim?: number): Tensor {
    return statistics.logSoftmax(this, dim);
  }
  argmax(this: Tensor, dim?: number | null, keepdim?: boolean): Tensor {
    return statistics.argmax(this, dim, keepdim);
  }
  argmin(this: Tensor, dim?: number | null, keepdim?: boolean): Tensor {
    return statistics.argmin(this, dim, keepdim);
  }
  max(this: Tensor): Tensor;
  max(this: Tensor, dim: number, keepdim?: boolean): statistics.ValuesAndIndices;
  max(this: Tensor, dim?: number, keepdim?: boolean): Tensor | statistics.ValuesAndIndices {
    return dim === undefined ? statistics.max(this) : statistics.max(this, dim, keepdim);
  }
  min(this: Tensor): Tensor;
  min(this: Tensor, dim: number, keepdim?: boolean): statistics.ValuesAndIndices;
  min(this: Tensor, dim?: number, keepdim?: boolean): Tensor | statistics.ValuesAndIndices {
    return dim === undefined ? statistics.min(this) : statistics.min(this, dim, keepdim);
  }
}
