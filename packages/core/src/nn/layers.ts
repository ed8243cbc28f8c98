/** Linear layers, and layers that only change shapes. Shapes, defaults and initial values are PyTorch's. */
import { ShapeError } from '../errors.js';
import { formatShape, normalizeAxis } from '../graph/layout.js';
import { add } from '../ops/binary.js';
import { empty } from '../ops/create.js';
import { type PairwiseDistanceOptions, pairwiseDistance } from '../ops/loss-metric.js';
import { linear, matmul } from '../ops/matmul.js';
import { cosineSimilarity } from '../ops/statistics.js';
import { flatten, permute, reshape } from '../ops/view.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount, describe } from './check.js';
import * as init from './init.js';
import { Module, parameter } from './module.js';

export interface BiasOption {
  /** Whether there is a bias. Default true. */
  readonly bias?: boolean;
}

/** A bias uniform in ±1/sqrt(fanIn). */
export function biasOf(size: number, fanIn: number): Tensor {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  return parameter(init.uniform(empty([size]), -bound, bound));
}

/** `y = x Wᵀ + b` over the last axis: [..., in] to [..., out]; weight [out, in]. */
export class Linear extends Module {
  weight: Tensor;
  bias: Tensor | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
  constructor(inFeatures: number, outFeatures: number, { bias = true }: BiasOption = {}) {
    super();
    checkCount('Linear', 'inFeatures', inFeatures);
    checkCount('Linear', 'outFeatures', outFeatures);
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.weight = parameter(init.kaimingUniform(empty([outFeatures, inFeatures]), { a: Math.sqrt(5) }));
    this.bias = bias ? biasOf(outFeatures, inFeatures) : null;
  }
  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
  override extraRepr(): string {
    return describe([], { inFeatures: this.inFeatures, outFeatures: this.outFeatures, bias: this.bias !== null });
  }
}

/** `y[o] = aᵀ W[o] b + bias[o]`: [..., in1] and [..., in2] to [..., out]; weight [out, in1, in2]. */
export class Bilinear extends Module<[a: Tensor, b: Tensor]> {
  weight: Tensor;
  bias: Tensor | null;
  constructor(in1Features: number, in2Features: number, outFeatures: number, { bias = true }: BiasOption = {}) {
    super();
    checkCount('Bilinear', 'in1Features', in1Features);
    checkCount('Bilinear', 'in2Features', in2Features);
    checkCount('Bilinear', 'outFeatures', outFeatures);
    const bound = 1 / Math.sqrt(in1Features);
    this.weight = parameter(init.uniform(empty([outFeatures, in1Features, in2Features]), -bound, bound));
    this.bias = bias ? biasOf(outFeatures, in1Features) : null;
  }
  override forward(a: Tensor, b: Tensor): Tensor {
    const [out, in1, in2] = this.weight.shape;
    const lead = a.shape.slice(0, -1);
    if (a.shape[a.ndim - 1] !== in1 || b.shape[b.ndim - 1] !== in2 || formatShape(lead) !== formatShape(b.shape.slice(0, -1))) {
      throw new ShapeError(`inputs of shapes ${formatShape(a.shape)} and ${formatShape(b.shape)}`, {
        op: 'Bilinear',
        received: [a.shape, b.shape],
        expected: `[..., ${in1}] and [..., ${in2}]`,
      });
    }
    const { weight, bias } = this;
    return composite('bilinear', () => {
      const left = matmul(reshape(a, [-1, in1]), reshape(permute(weight, [1, 0, 2]), [in1, out * in2]));
      const y = matmul(reshape(left, [-1, out, in2]), reshape(b, [-1, in2, 1]));
      const shaped = reshape(y, [...lead, out]);
      return bias === null ? shaped : add(shaped, bias);
    });
  }
  override extraRepr(): string {
    const [outFeatures, in1Features, in2Features] = this.weight.shape;
    return describe([], { in1Features, in2Features, outFeatures, bias: this.bias !== null });
  }
}

/** Passes its input on. */
export class Identity extends Module {
  override forward(x: Tensor): Tensor {
    return x;
  }
}

/** Joins the axes from startDim to endDim; by default all but the batch. */
export class Flatten extends Module {
  private readonly startDim: number;
  private readonly endDim: number;
  constructor(startDim = 1, endDim = -1) {
    super();
    this.startDim = startDim;
    this.endDim = endDim;
  }
  override forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim);
  }
  override extraRepr(): string {
    return describe([], { startDim: this.startDim, endDim: this.endDim });
  }
}
/** Splits axis `dim` into the given shape. */
export class Unflatten extends Module {
  private readonly dim: number;
  private readonly shape: readonly number[];
  constructor(dim: number, shape: readonly number[]) {
    super();
    this.dim = dim;
    this.shape = [...shape];
  }
  override forward(x: Tensor): Tensor {
    return reshape(x, x.shape.toSpliced(normalizeAxis(this.dim, x.ndim, 'Unflatten'), 1, ...this.shape));
  }
  override extraRepr(): string {
    return describe([], { dim: this.dim, unflattenedSize: this.shape });
  }
}

/** The cosine of the angle between vectors along `dim`. */
export class CosineSimilarity extends Module<[a: Tensor, b: Tensor]> {
  private readonly options: { readonly dim?: number; readonly eps?: number };
  constructor(options: { readonly dim?: number; readonly eps?: number } = {}) {
    super();
    this.options = options;
  }
  override forward(a: Tensor, b: Tensor): Tensor {
    return cosineSimilarity(a, b, this.options);
  }
}
/** The p-norm of the difference of vectors along the last axis. */
export class PairwiseDistance extends Module<[a: Tensor, b: Tensor]> {
  private readonly options: PairwiseDistanceOptions;
  constructor(options: PairwiseDistanceOptions = {}) {
    super();
    this.options = options;
  }
  override forward(a: Tensor, b: Tensor): Tensor {
    return pairwiseDistance(a, b, this.options);
  }
}
