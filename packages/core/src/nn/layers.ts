/** Layers with parameters. Shapes, defaults and initial values are PyTorch's. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { add } from '../ops/binary.js';
import { type ConvOptions, conv1d, conv2d } from '../ops/conv.js';
import { empty, full, ones, zeros } from '../ops/create.js';
import { embedding } from '../ops/gather.js';
import { linear } from '../ops/matmul.js';
import { batchNorm, layerNorm } from '../ops/normalization.js';
import { type PadMode, pad } from '../ops/pad.js';
import { randn } from '../ops/random.js';
import { writeInto } from '../ops/write-view.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount, kaimingUniform, uniformInit } from './init.js';
import { buffer, Module, parameter } from './module.js';

export interface BiasOption {
  /** Whether there is a bias. Default true. */
  readonly bias?: boolean;
}

/** A bias uniform in ±1/sqrt(fanIn). */
function biasOf(size: number, fanIn: number): Tensor {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  return parameter(uniformInit(empty([size]), -bound, bound));
}

/** `y = x Wᵀ + b` over the last axis: [..., in] to [..., out]; weight [out, in]. */
export class Linear extends Module {
  weight: Tensor;
  bias: Tensor | null;
  constructor(inFeatures: number, outFeatures: number, { bias = true }: BiasOption = {}) {
    super();
    checkCount('Linear', 'inFeatures', inFeatures);
    checkCount('Linear', 'outFeatures', outFeatures);
    this.weight = parameter(kaimingUniform(empty([outFeatures, inFeatures]), { a: Math.sqrt(5) }));
    this.bias = bias ? biasOf(outFeatures, inFeatures) : null;
  }
  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

export interface ConvLayerOptions extends ConvOptions, BiasOption {
  readonly paddingMode?: 'zeros' | Exclude<PadMode, 'constant'>;
}

abstract class ConvNd extends Module {
  weight: Tensor;
  bias: Tensor | null;
  private readonly options: ConvOptions;
  private readonly mode: Exclude<PadMode, 'constant'> | null;
  private readonly around: readonly number[];

  constructor(op: string, inChannels: number, outChannels: number, kernel: readonly number[], options: ConvLayerOptions) {
    super();
    const { bias = true, paddingMode = 'zeros', groups = 1, ...rest } = options;
    checkCount(op, 'inChannels', inChannels);
    checkCount(op, 'outChannels', outChannels);
    checkCount(op, 'groups', groups);
    for (const k of kernel) checkCount(op, 'kernelSize', k);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new ArgumentError(`${inChannels} and ${outChannels} channels in ${groups} groups`, {
        op,
        received: groups,
        expected: 'a divisor of both channel counts',
      });
    }
    this.weight = parameter(kaimingUniform(empty([outChannels, inChannels / groups, ...kernel]), { a: Math.sqrt(5) }));
    this.bias = bias ? biasOf(outChannels, (inChannels / groups) * kernel.reduce((n, k) => n * k, 1)) : null;
    if (paddingMode === 'zeros') {
      this.mode = null;
      this.around = [];
      this.options = { ...rest, groups };
      return;
    }
    const { padding = 0 } = rest;
    if (typeof padding === 'string')
      throw new ArgumentError(`padding '${padding}' with paddingMode '${paddingMode}'`, { op, expected: 'padding in numbers' });
    const sizes = kernel.map((_, i) => (typeof padding === 'number' ? padding : (padding[i] ?? 0)));
    this.mode = paddingMode;
    this.around = [...sizes].reverse().flatMap((p) => [p, p]);
    this.options = { ...rest, padding: 0, groups };
  }
  protected convolve(op: typeof conv2d, x: Tensor): Tensor {
    const padded = this.mode === null ? x : pad(x, this.around, { mode: this.mode });
    return op(padded, this.weight, this.bias, this.options);
  }
}

/** Convolution over [N, C, L]; weight [out, in / groups, k]. */
export class Conv1d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: number, options: ConvLayerOptions = {}) {
    super('Conv1d', inChannels, outChannels, [kernelSize], options);
  }
  override forward(x: Tensor): Tensor {
    return this.convolve(conv1d, x);
  }
}

/** Convolution over [N, C, H, W]; weight [out, in / groups, kh, kw]. */
export class Conv2d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: number | readonly [number, number], options: ConvLayerOptions = {}) {
    super('Conv2d', inChannels, outChannels, typeof kernelSize === 'number' ? [kernelSize, kernelSize] : kernelSize, options);
  }
  override forward(x: Tensor): Tensor {
    return this.convolve(conv2d, x);
  }
}

export interface BatchNormLayerOptions {
  readonly eps?: number;
  /** Weight of the batch in the running statistics. */
  readonly momentum?: number;
  /** Whether there are scale and shift. */
  readonly affine?: boolean;
  /** Without running statistics those of the batch serve in evaluation too. */
  readonly trackRunningStats?: boolean;
}

abstract class BatchNormNd extends Module {
  weight: Tensor | null;
  bias: Tensor | null;
  runningMean: Tensor | null;
  runningVar: Tensor | null;
  numBatchesTracked: Tensor | null;
  private readonly eps: number;
  private readonly momentum: number;
  private readonly ranks: readonly number[];

  constructor(
    ranks: readonly number[],
    numFeatures: number,
    { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true }: BatchNormLayerOptions,
  ) {
    super();
    checkCount('BatchNorm', 'numFeatures', numFeatures);
    this.ranks = ranks;
    this.eps = eps;
    this.momentum = momentum;
    this.weight = affine ? parameter(ones([numFeatures])) : null;
    this.bias = affine ? parameter(zeros([numFeatures])) : null;
    this.runningMean = trackRunningStats ? buffer(zeros([numFeatures])) : null;
    this.runningVar = trackRunningStats ? buffer(ones([numFeatures])) : null;
    this.numBatchesTracked = trackRunningStats ? buffer(zeros([], { dtype: 'int64' })) : null;
  }
  override forward(x: Tensor): Tensor {
    if (!this.ranks.includes(x.ndim)) {
      throw new ArgumentError(`an input of ${x.ndim} dimensions`, {
        op: this.constructor.name,
        received: x.shape,
        expected: `${this.ranks.join(' or ')} dimensions`,
      });
    }
    const counter = this.numBatchesTracked;
    if (this.training && counter !== null) noGrad(() => writeInto(counter, add(counter, 1)));
    const training = this.training || this.runningMean === null;
    return batchNorm(x, this.runningMean, this.runningVar, this.weight, this.bias, { training, momentum: this.momentum, eps: this.eps });
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

/** Normalization over the last axes, with scale and shift. */
export class LayerNorm extends Module {
  weight: Tensor | null;
  bias: Tensor | null;
  private readonly normalizedShape: Shape;
  private readonly eps: number;
  constructor(
    normalizedShape: number | Shape,
    {
      eps = 1e-5,
      elementwiseAffine = true,
      bias = true,
    }: BiasOption & { readonly eps?: number; readonly elementwiseAffine?: boolean } = {},
  ) {
    super();
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : [...normalizedShape];
    this.eps = eps;
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape)) : null;
    this.bias = elementwiseAffine && bias ? parameter(zeros(this.normalizedShape)) : null;
  }
  override forward(x: Tensor): Tensor {
    return layerNorm(x, this.normalizedShape, this.weight, this.bias, { eps: this.eps });
  }
}

/** Rows of a table by index: [...] of ints to [..., embeddingDim]; weight [numEmbeddings, embeddingDim], normal. */
export class Embedding extends Module {
  weight: Tensor;
  private readonly paddingIdx: number | null;
  constructor(numEmbeddings: number, embeddingDim: number, { paddingIdx = null }: { readonly paddingIdx?: number | null } = {}) {
    super();
    checkCount('Embedding', 'numEmbeddings', numEmbeddings);
    checkCount('Embedding', 'embeddingDim', embeddingDim);
    this.paddingIdx = paddingIdx;
    this.weight = parameter(randn([numEmbeddings, embeddingDim]));
    if (paddingIdx !== null) {
      const row = paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
      noGrad(() => writeInto(this.weight.detach().select(0, row), full([embeddingDim], 0)));
    }
  }
  override forward(index: Tensor): Tensor {
    return embedding(index, this.weight, { paddingIdx: this.paddingIdx });
  }
}
