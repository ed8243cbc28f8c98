/** Gradient clipping. Nothing is read on the host, so it works inside jit(). */
import { ArgumentError } from '../errors.js';
import { add, div, maximum, mul, pow } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { amax, sum } from '../ops/reduce.js';
import { clamp } from '../ops/ternary.js';
import { abs, sqrt, square } from '../ops/unary.js';
import { writeInto } from '../ops/write-view.js';
import { scalarTensor } from '../tensor/dispatch.js';
import { composite, outsideScopes } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { noGrad } from './mode.js';
import { SparseGrad } from './sparse.js';

function gradientsOf(parameters: Tensor | Iterable<Tensor>): Tensor[] {
  const list = parameters instanceof Tensor ? [parameters] : [...parameters];
  return list.flatMap((parameter) => {
    const { leafGradient } = parameter;
    if (!(leafGradient instanceof SparseGrad)) return leafGradient === null ? [] : [leafGradient];
    // Each element of the gradient must be there once.
    if (!leafGradient.isCoalesced) parameter.sparseGrad = outsideScopes(() => leafGradient.coalesce());
    return parameter.sparseGrad === null ? [] : [parameter.sparseGrad.values];
  });
}

export interface ClipNormOptions {
  /** 2 by default; Infinity for the largest absolute value. */
  readonly normType?: number;
}

/**
 * Scales the gradients of `parameters` in place so that their norm, taken as one vector, is at most `maxNorm`.
 * Returns the norm before, 0-d: float64 if a gradient is, else float32. The scale is min(1, maxNorm / (norm + 1e-6)), as in PyTorch.
 */
export function clipGradNorm(parameters: Tensor | Iterable<Tensor>, maxNorm: number, { normType = 2 }: ClipNormOptions = {}): Tensor {
  if (!(maxNorm >= 0) || !(normType > 0)) {
    throw new ArgumentError(`maxNorm ${maxNorm}, normType ${normType}`, {
      op: 'clipGradNorm',
      expected: 'a maxNorm of at least 0 and a normType above 0',
    });
  }
  return noGrad(() =>
    composite('clipGradNorm', () => {
      const grads = gradientsOf(parameters);
      if (grads.length === 0) return add(scalarTensor(0, 'float32'), 0);
      const total = totalNorm(grads, normType);
      const scale = clamp(div(maxNorm, add(total, 1e-6)), { max: 1 });
      for (const grad of grads) writeInto(grad, mul(grad, cast(scale, grad.dtype)));
      return total;
    }),
  );
}

function totalNorm(grads: readonly Tensor[], p: number): Tensor {
  const dtype = grads.some((grad) => grad.dtype === 'float64') ? 'float64' : 'float32';
  const wide = (grad: Tensor) => (grad.dtype === 'float64' ? grad : cast(grad, 'float32'));
  if (p === Number.POSITIVE_INFINITY) return grads.map((grad) => cast(amax(abs(wide(grad))), dtype)).reduce(maximum);
  const parts = grads.map((grad) => cast(p === 2 ? sum(square(wide(grad))) : sum(pow(abs(wide(grad)), p)), dtype));
  const total = parts.reduce((a, b) => add(a, b));
  return p === 2 ? sqrt(total) : pow(total, 1 / p);
}

/** Limits every element of the gradients of `parameters` to [-limit, limit], in place. */
export function clipGradValue(parameters: Tensor | Iterable<Tensor>, limit: number): void {
  if (!(limit >= 0))
    throw new ArgumentError(`limit ${limit}`, { op: 'clipGradValue', received: limit, expected: 'a number of at least 0' });
  noGrad(() =>
    composite('clipGradValue', () => {
      for (const grad of gradientsOf(parameters)) writeInto(grad, clamp(grad, { min: -limit, max: limit }));
    }),
  );
}
