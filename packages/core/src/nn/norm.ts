/** Normalization layers. Defaults are PyTorch's. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, type Shape } from '../graph/layout.js';
import { add, div } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { ones, zeros } from '../ops/create.js';
import { type LocalResponseNormOptions, localResponseNorm } from '../ops/local-response.js';
import { batchNorm, groupNorm, instanceNorm, layerNorm, rmsNorm } from '../ops/normalization.js';
import { mean } from '../ops/reduce.js';
import { variance } from '../ops/statistics.js';
import { lerp } from '../ops/ternary.js';
import { reshape } from '../ops/view.js';
import { writeInto } from '../ops/write-view.js';
import { composite, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount, describe } from './check.js';
import type { BiasOption } from './layers.js';
import { buffer, Module, parameter } from './module.js';

export interface RunningNormOptions {
  readonly eps?: number;
  /** Weight of the batch in the running statistics; null gives all batches so far the same weight. */
  readonly momentum?: number | null;
  /** Whether there are scale and shift. */
  readonly affine?: boolean;
  /** Without running statistics those of the batch serve in evaluation too. */
  readonly trackRunningStats?: boolean;
}
export type BatchNormLayerOptions = RunningNormOptions;

/** Scale, shift and running statistics of channels. */
abstract class RunningNorm extends Module {
  weight: Tensor | null;
  bias: Tensor | null;
  runningMean: Tensor | null;
  runningVar: Tensor | null;
  numBatchesTracked: Tensor | null;
  readonly numFeatures: number;
  readonly eps: number;
  readonly momentum: number | null;
  /** Ranks of inputs that are taken. */
  protected readonly ranks: readonly number[];

  constructor(ranks: readonly number[], numFeatures: number, options: Required<RunningNormOptions>) {
    super();
    checkCount(this.constructor.name, 'numFeatures', numFeatures);
    const { eps, momentum, affine, trackRunningStats } = options;
    this.ranks = ranks;
    this.numFeatures = numFeatures;
    this.eps = eps;
    this.momentum = momentum;
    this.weight = affine ? parameter(ones([numFeatures])) : null;
    this.bias = affine ? parameter(zeros([numFeatures])) : null;
    this.runningMean = trackRunningStats ? buffer(zeros([numFeatures])) : null;
    this.runningVar = trackRunningStats ? buffer(ones([numFeatures])) : null;
    this.numBatchesTracked = trackRunningStats ? buffer(zeros([], { dtype: 'int64' })) : null;
  }
  /** Sets the statistics back to those of no batch. */
  resetRunningStats(): void {
    const { runningMean, runningVar, numBatchesTracked } = this;
    noGrad(() =>
      scope(() => {
        if (runningMean !== null) writeInto(runningMean, zeros(runningMean.shape, { dtype: runningMean.dtype }));
        if (runningVar !== null) writeInto(runningVar, ones(runningVar.shape, { dtype: runningVar.dtype }));
        if (numBatchesTracked !== null) writeInto(numBatchesTracked, zeros([], { dtype: 'int64' }));
      }),
    );
  }
  protected checkRank(x: Tensor): void {
    if (this.ranks.includes(x.ndim)) return;
    throw new ArgumentError(`an input of ${x.ndim} dimensions`, {
      op: this.constructor.name,
      received: x.shape,
      expected: `${this.ranks.join(' or ')} dimensions`,
    });
  }
  /** Counts a batch and gives its weight in the running statistics. */
  protected countBatch(): number | Tensor {
    const counter = this.numBatchesTracked;
    if (counter === null) return this.momentum ?? 0;
    noGrad(() => scope(() => writeInto(counter, add(counter, 1))));
    return this.momentum ?? noGrad(() => div(1, cast(counter, 'float64')));
  }
  override extraRepr(): string {
    return describe([this.numFeatures], {
      eps: this.eps,
      momentum: this.momentum,
      affine: this.weight !== null,
      trackRunningStats: this.runningMean !== null,
    });
  }
}

export abstract class BatchNormNd extends RunningNorm {
  constructor(
    ranks: readonly number[],
    numFeatures: number,
    { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true }: BatchNormLayerOptions,
  ) {
    super(ranks, numFeatures, { eps, momentum, affine, trackRunningStats });
  }
  override forward(x: Tensor): Tensor {
    this.checkRank(x);
    return composite('batchNorm', () => {
      const momentum = this.training ? this.countBatch() : 0;
      const training = this.training || this.runningMean === null;
      const [mean, spread] = [this.runningMean, this.runningVar];
      return batchNorm(x, mean, spread, this.weight, this.bias, { training, momentum, eps: this.eps });
    });
  }
}
/** Batch normalization over [N, C] or [N, C, L]. */
export class BatchNorm1d extends BatchNormNd {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super([2, 3], numFeatures, options);
  }
}
/** Batch normalization over [N, C, H, W]. */
export class BatchNorm2d extends BatchNormNd {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super([4], numFeatures, options);
  }
}
/** Batch normalization over [N, C, D, H, W]. */
export class BatchNorm3d extends BatchNormNd {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super([5], numFeatures, options);
  }
}

/** Whether `module` is a BatchNorm1d, 2d or 3d. */
export function isBatchNorm(module: unknown): module is BatchNormNd {
  return module instanceof BatchNormNd;
}

abstract class InstanceNormNd extends RunningNorm {
  constructor(
    spatial: number,
    numFeatures: number,
    { eps = 1e-5, momentum = 0.1, affine = false, trackRunningStats = false }: RunningNormOptions,
  ) {
    super([spatial + 1, spatial + 2], numFeatures, { eps, momentum, affine, trackRunningStats });
  }
  override forward(x: Tensor): Tensor {
    this.checkRank(x);
    return composite('instanceNorm', () => {
      if (x.ndim === this.ranks[1]) return this.normalize(x);
      return reshape(this.normalize(reshape(x, [1, ...x.shape])), x.shape);
    });
  }
  private normalize(x: Tensor): Tensor {
    const { weight, bias, runningMean, runningVar, eps } = this;
    if (x.shape[1] !== this.numFeatures) {
      throw new ShapeError(`${x.shape[1]} channels`, { op: this.constructor.name, received: x.shape, expected: `${this.numFeatures}` });
    }
    if (runningMean !== null && runningVar !== null) {
      if (!this.training) return batchNorm(x, runningMean, runningVar, weight, bias, { eps });
      const momentum = this.countBatch();
      noGrad(() => {
        const still = x.detach();
        const axes = x.shape.slice(2).map((_, d) => d + 2);
        writeInto(runningMean, cast(lerp(runningMean, mean(still, [0, ...axes]), momentum), runningMean.dtype));
        writeInto(runningVar, cast(lerp(runningVar, mean(variance(still, axes), 0), momentum), runningVar.dtype));
      });
    }
    return instanceNorm(x, weight, bias, { eps });
  }
}
/** Normalizes each channel of each sample over [N, C, L]; the batch axis may be missing. By default without scale and shift. */
export class InstanceNorm1d extends InstanceNormNd {
  constructor(numFeatures: number, options: RunningNormOptions = {}) {
    super(1, numFeatures, options);
  }
}
/** As {@link InstanceNorm1d}, over [N, C, H, W]. */
export class InstanceNorm2d extends InstanceNormNd {
  constructor(numFeatures: number, options: RunningNormOptions = {}) {
    super(2, numFeatures, options);
  }
}
/** As {@link InstanceNorm1d}, over [N, C, D, H, W]. */
export class InstanceNorm3d extends InstanceNormNd {
  constructor(numFeatures: number, options: RunningNormOptions = {}) {
    super(3, numFeatures, options);
  }
}

export interface LayerNormOptions extends BiasOption {
  readonly eps?: number;
  readonly elementwiseAffine?: boolean;
}
/** Normalization over the last axes, with scale and shift. */
export class LayerNorm extends Module {
  weight: Tensor | null;
  bias: Tensor | null;
  private readonly normalizedShape: Shape;
  private readonly eps: number;
  constructor(normalizedShape: number | Shape, { eps = 1e-5, elementwiseAffine = true, bias = true }: LayerNormOptions = {}) {
    super();
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape];
    this.eps = eps;
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape)) : null;
    this.bias = elementwiseAffine && bias ? parameter(zeros(this.normalizedShape)) : null;
  }
  override forward(x: Tensor): Tensor {
    return layerNorm(x, this.normalizedShape, this.weight, this.bias, { eps: this.eps });
  }
  override extraRepr(): string {
    return describe([formatShape(this.normalizedShape)], { eps: this.eps, elementwiseAffine: this.weight !== null });
  }
}

/** Division by the root of the mean square over the last axes, with scale. */
export class RMSNorm extends Module {
  weight: Tensor | null;
  private readonly normalizedShape: Shape;
  private readonly eps: number | undefined;
  /** `eps`: by default the rounding unit of the input's dtype. */
  constructor(
    normalizedShape: number | Shape,
    { eps, elementwiseAffine = true }: { readonly eps?: number | null; readonly elementwiseAffine?: boolean } = {},
  ) {
    super();
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape];
    this.eps = eps ?? undefined;
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape)) : null;
  }
  override forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, this.weight, { eps: this.eps });
  }
  override extraRepr(): string {
    return describe([formatShape(this.normalizedShape)], { eps: this.eps ?? null, elementwiseAffine: this.weight !== null });
  }
}

/** Normalization of each sample's channels in groups, with scale and shift a channel, over [N, C, ...]. */
export class GroupNorm extends Module {
  weight: Tensor | null;
  bias: Tensor | null;
  private readonly numGroups: number;
  private readonly numChannels: number;
  private readonly eps: number;
  constructor(
    numGroups: number,
    numChannels: number,
    { eps = 1e-5, affine = true }: { readonly eps?: number; readonly affine?: boolean } = {},
  ) {
    super();
    checkCount('GroupNorm', 'numGroups', numGroups);
    checkCount('GroupNorm', 'numChannels', numChannels);
    if (numChannels % numGroups !== 0)
      throw new ArgumentError(`${numChannels} channels in ${numGroups} groups`, {
        op: 'GroupNorm',
        received: numGroups,
        expected: 'a divisor of the number of channels',
      });
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.eps = eps;
    this.weight = affine ? parameter(ones([numChannels])) : null;
    this.bias = affine ? parameter(zeros([numChannels])) : null;
  }
  override forward(x: Tensor): Tensor {
    return groupNorm(x, this.numGroups, this.weight, this.bias, { eps: this.eps });
  }
  override extraRepr(): string {
    return describe([this.numGroups, this.numChannels], { eps: this.eps, affine: this.weight !== null });
  }
}

/** Division by the neighbouring channels' mean square: `x / (k + alpha * mean of x² over size channels) ** beta`. */
export class LocalResponseNorm extends Module {
  private readonly size: number;
  private readonly options: LocalResponseNormOptions;
  constructor(size: number, { alpha = 1e-4, beta = 0.75, k = 1 }: LocalResponseNormOptions = {}) {
    super();
    checkCount('LocalResponseNorm', 'size', size);
    this.size = size;
    this.options = { alpha, beta, k };
  }
  override forward(x: Tensor): Tensor {
    return localResponseNorm(x, this.size, this.options);
  }
  override extraRepr(): string {
    return describe([this.size], { ...this.options });
  }
}
