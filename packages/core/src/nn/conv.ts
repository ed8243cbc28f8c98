/** Convolution layers. Shapes, defaults and initial values are PyTorch's. */
import { ArgumentError } from '../errors.js';
import { perDimension } from '../ops/common.js';
import {
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
} from '../ops/conv.js';
import { empty } from '../ops/create.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount, describe } from './check.js';
import * as init from './init.js';
import { type BiasOption, biasOf } from './layers.js';
import { Module, parameter } from './module.js';

export interface ConvLayerOptions extends ConvOptions, BiasOption {}
export interface ConvTransposeLayerOptions extends ConvTransposeOptions, BiasOption {}
/** One size for all spatial dimensions, or one for each. */
export type KernelSize = number | readonly number[];

const undefinedIf = <T>(value: T, fallback: T): T | undefined => (JSON.stringify(value) === JSON.stringify(fallback) ? undefined : value);

interface Channels {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly kernel: readonly number[];
}
function channelsOf(op: string, n: number, inChannels: number, outChannels: number, kernelSize: KernelSize, groups = 1): Channels {
  checkCount(op, 'inChannels', inChannels);
  checkCount(op, 'outChannels', outChannels);
  checkCount(op, 'groups', groups);
  const kernel = perDimension(kernelSize, n, 1, op, 'kernelSize');
  for (const k of kernel) checkCount(op, 'kernelSize', k);
  if (inChannels % groups !== 0 || outChannels % groups !== 0) {
    throw new ArgumentError(`${inChannels} and ${outChannels} channels in ${groups} groups`, {
      op,
      received: groups,
      expected: 'a divisor of both channel counts',
    });
  }
  return { inChannels, outChannels, groups, kernel };
}
function settingsOf(
  { inChannels, outChannels, groups, kernel }: Channels,
  options: ConvLayerOptions & ConvTransposeLayerOptions,
  biased: boolean,
): string {
  const { stride = 1, padding = 0, dilation = 1, outputPadding = 0, paddingMode = 'zeros' } = options;
  const all = (value: number | readonly number[]): readonly number[] => perDimension(value, kernel.length, 1, 'extraRepr', 'option');
  const many = (value: number): number[] => kernel.map(() => value);
  return describe([inChannels, outChannels], {
    kernelSize: kernel,
    stride: all(stride),
    padding: typeof padding === 'string' ? padding : undefinedIf(all(padding), many(0)),
    outputPadding: undefinedIf(all(outputPadding), many(0)),
    dilation: undefinedIf(all(dilation), many(1)),
    groups: undefinedIf(groups, 1),
    bias: undefinedIf(biased, true),
    paddingMode: undefinedIf(paddingMode, 'zeros'),
  });
}

abstract class ConvNd extends Module {
  weight: Tensor;
  bias: Tensor | null;
  private readonly options: ConvOptions;
  private readonly channels: Channels;

  constructor(n: number, inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvLayerOptions) {
    super();
    const op = `Conv${n}d`;
    const { bias = true, ...rest } = options;
    const channels = channelsOf(op, n, inChannels, outChannels, kernelSize, options.groups);
    const stride = perDimension(options.stride, n, 1, op, 'stride');
    perDimension(options.dilation, n, 1, op, 'dilation');
    if (typeof options.padding !== 'string') perDimension(options.padding, n, 0, op, 'padding');
    if (options.padding === 'same' && stride.some((s) => s !== 1))
      throw new ArgumentError("padding 'same' with a stride", { op, received: options.stride, expected: 'stride 1' });
    this.weight = parameter(
      init.kaimingUniform(empty([outChannels, inChannels / channels.groups, ...channels.kernel]), { a: Math.sqrt(5) }),
    );
    this.bias = bias ? biasOf(outChannels, init.fans(this.weight).fanIn) : null;
    this.channels = channels;
    this.options = rest;
  }
  protected convolve(op: typeof conv2d, x: Tensor): Tensor {
    return op(x, this.weight, this.bias, this.options);
  }
  override extraRepr(): string {
    return settingsOf(this.channels, this.options as ConvLayerOptions & ConvTransposeLayerOptions, this.bias !== null);
  }
}

/**
 * Convolution over [N, C, L]; weight [out, in / groups, k]. With as many groups as input channels it is depthwise. The batch
 * axis may be missing, here and in the other convolutions.
 */
export class Conv1d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvLayerOptions = {}) {
    super(1, inChannels, outChannels, kernelSize, options);
  }
  override forward(x: Tensor): Tensor {
    return this.convolve(conv1d, x);
  }
}
/** Convolution over [N, C, H, W]; weight [out, in / groups, kh, kw]. */
export class Conv2d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvLayerOptions = {}) {
    super(2, inChannels, outChannels, kernelSize, options);
  }
  override forward(x: Tensor): Tensor {
    return this.convolve(conv2d, x);
  }
}
/** Convolution over [N, C, D, H, W]; weight [out, in / groups, kd, kh, kw]. */
export class Conv3d extends ConvNd {
  constructor(inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvLayerOptions = {}) {
    super(3, inChannels, outChannels, kernelSize, options);
  }
  override forward(x: Tensor): Tensor {
    return this.convolve(conv3d, x);
  }
}

abstract class ConvTransposeNd extends Module<[x: Tensor, outputSize?: readonly number[]]> {
  weight: Tensor;
  bias: Tensor | null;
  private readonly options: ConvTransposeOptions;
  private readonly channels: Channels;

  constructor(n: number, inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvTransposeLayerOptions) {
    super();
    const op = `ConvTranspose${n}d`;
    const { bias = true, ...rest } = options;
    const channels = channelsOf(op, n, inChannels, outChannels, kernelSize, options.groups);
    for (const name of ['stride', 'padding', 'outputPadding', 'dilation'] as const) perDimension(options[name], n, 0, op, name);
    this.weight = parameter(
      init.kaimingUniform(empty([inChannels, outChannels / channels.groups, ...channels.kernel]), { a: Math.sqrt(5) }),
    );
    this.bias = bias ? biasOf(outChannels, init.fans(this.weight).fanIn) : null;
    this.channels = channels;
    this.options = rest;
  }
  protected convolve(op: typeof convTranspose2d, x: Tensor, outputSize?: readonly number[]): Tensor {
    const outputPadding = outputSize === undefined ? this.options.outputPadding : this.paddingFor(x, outputSize);
    return op(x, this.weight, this.bias, { ...this.options, outputPadding });
  }
  /** The output padding that leads to the wanted spatial extents. */
  private paddingFor(x: Tensor, outputSize: readonly number[]): number[] {
    const { kernel } = this.channels;
    const n = kernel.length;
    const op = this.constructor.name;
    const [stride, dilation] = [this.options.stride, this.options.dilation].map((value) => perDimension(value, n, 1, op, 'stride'));
    const padding = perDimension(this.options.padding, n, 0, op, 'padding');
    const spatial = x.shape.slice(-n);
    const wanted = outputSize.slice(-n);
    const least = spatial.map((size, d) => (size - 1) * stride[d] - 2 * padding[d] + dilation[d] * (kernel[d] - 1) + 1);
    if (wanted.length !== n || wanted.some((size, d) => size < least[d] || size >= least[d] + stride[d])) {
      throw new ArgumentError(`an output of [${outputSize.join(', ')}]`, {
        op,
        received: outputSize,
        expected: `extents from [${least.join(', ')}] to [${least.map((size, d) => size + stride[d] - 1).join(', ')}]`,
      });
    }
    return wanted.map((size, d) => size - least[d]);
  }
  override extraRepr(): string {
    return settingsOf(this.channels, this.options as ConvLayerOptions & ConvTransposeLayerOptions, this.bias !== null);
  }
}

/**
 * The gradient of a Conv1d towards its input, as a layer: [N, C, L]; weight [in, out / groups, k]. Several output sizes shrink
 * to one input size; `outputPadding` or the second argument of the call chooses.
 */
export class ConvTranspose1d extends ConvTransposeNd {
  constructor(inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvTransposeLayerOptions = {}) {
    super(1, inChannels, outChannels, kernelSize, options);
  }
  override forward(x: Tensor, outputSize?: readonly number[]): Tensor {
    return this.convolve(convTranspose1d, x, outputSize);
  }
}
/** The gradient of a Conv2d towards its input, as a layer: [N, C, H, W]; weight [in, out / groups, kh, kw]. */
export class ConvTranspose2d extends ConvTransposeNd {
  constructor(inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvTransposeLayerOptions = {}) {
    super(2, inChannels, outChannels, kernelSize, options);
  }
  override forward(x: Tensor, outputSize?: readonly number[]): Tensor {
    return this.convolve(convTranspose2d, x, outputSize);
  }
}
/** The gradient of a Conv3d towards its input, as a layer: [N, C, D, H, W]; weight [in, out / groups, kd, kh, kw]. */
export class ConvTranspose3d extends ConvTransposeNd {
  constructor(inChannels: number, outChannels: number, kernelSize: KernelSize, options: ConvTransposeLayerOptions = {}) {
    super(3, inChannels, outChannels, kernelSize, options);
  }
  override forward(x: Tensor, outputSize?: readonly number[]): Tensor {
    return this.convolve(convTranspose3d, x, outputSize);
  }
}
