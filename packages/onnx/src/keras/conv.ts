/** Convolutions of Keras. Weights are kept as PyTorch has them. */
import { conv1d, conv2d, conv3d, convTranspose1d, convTranspose2d, convTranspose3d, type Tensor } from 'trireme';
import type { Config } from '../formats/json.js';
import { type Activation, activationOf } from './activations.js';
import { channelsFirst, channelsLast, type Laid, placeOf } from './laid.js';
import { type BuildContext, type LayerTable, OneToOne } from './layer.js';
import { type arranged, weight } from './variables.js';
import { fitTransposed, paddingsOf } from './windows.js';

const forwards = [conv1d, conv2d, conv3d] as const;
const transposed = [convTranspose1d, convTranspose2d, convTranspose3d] as const;
type Dimensions = 1 | 2 | 3;

interface Geometry {
  readonly stride: number[];
  readonly dilation: number[];
  readonly padding: string;
  readonly channelsFirst: boolean;
}

function geometryOf(config: Config, n: Dimensions): Geometry {
  const padding = config.string('padding', 'valid');
  if (!['valid', 'same', 'causal'].includes(padding)) config.fail(`.padding is ${JSON.stringify(padding)}`, 'valid, same or causal');
  const geometry = {
    stride: config.integers('strides', n, 1),
    dilation: config.integers('dilation_rate', n, 1),
    padding,
    channelsFirst: config.string('data_format', 'channels_last') === 'channels_first',
  };
  if ([...geometry.stride, ...geometry.dilation].some((v) => v < 1)) config.fail('has strides or dilations below 1');
  return geometry;
}

/** The value with channels at axis 1, and the way back. */
function spatial(input: Laid, first: boolean, run: (x: Tensor) => Tensor): Laid {
  return first ? { x: run(channelsLast(input)), moved: false } : { x: run(channelsFirst(input)), moved: true };
}

/** Axis of the channels for an activation. */
const lastAxis = (value: Laid): number => placeOf(value, -1);

class Convolution extends OneToOne {
  weight: Tensor;
  /** [in * multiplier, out, 1 ...] of separable convolutions. */
  pointwise: Tensor | null;
  bias: Tensor | null;
  readonly #n: Dimensions;
  readonly #geometry: Geometry;
  readonly #groups: number;
  readonly #activation: Activation;

  constructor(
    n: Dimensions,
    geometry: Geometry,
    kernel: Tensor,
    pointwise: Tensor | null,
    bias: Tensor | null,
    groups: number,
    activation: Activation,
  ) {
    super();
    this.#n = n;
    this.#geometry = geometry;
    this.#groups = groups;
    this.#activation = activation;
    this.weight = kernel;
    this.pointwise = pointwise;
    this.bias = bias;
  }
  override run(input: Laid): Laid {
    const { stride, dilation, padding, channelsFirst: first } = this.#geometry;
    const convolve = forwards[this.#n - 1];
    const out = spatial(input, first, (x) => {
      const around = paddingsOf(x, padding, this.weight.shape.slice(2), stride, dilation);
      const y = convolve(x, this.weight, this.pointwise === null ? this.bias : null, { stride, dilation, groups: this.#groups, ...around });
      return this.pointwise === null ? y : convolve(y, this.pointwise, this.bias);
    });
    return { ...out, x: this.#activation(out.x, lastAxis(out)) };
  }
}

class TransposedConvolution extends OneToOne {
  weight: Tensor;
  bias: Tensor | null;
  readonly #n: Dimensions;
  readonly #geometry: Geometry;
  readonly #outputPadding: readonly number[] | null;
  readonly #activation: Activation;

  constructor(
    n: Dimensions,
    geometry: Geometry,
    outputPadding: readonly number[] | null,
    kernel: Tensor,
    bias: Tensor | null,
    activation: Activation,
  ) {
    super();
    this.#n = n;
    this.#geometry = geometry;
    this.#outputPadding = outputPadding;
    this.#activation = activation;
    this.weight = kernel;
    this.bias = bias;
  }
  override run(input: Laid): Laid {
    const { stride, dilation, padding, channelsFirst: first } = this.#geometry;
    const out = spatial(input, first, (x) => {
      const y = transposed[this.#n - 1](x, this.weight, null, { stride, dilation });
      const kernel = this.weight.shape.slice(2).map((k, d) => dilation[d] * (k - 1) + 1);
      const sizes = kernel.map((k, d) => {
        const size = x.shape[d + 2];
        if (this.#outputPadding !== null)
          return (size - 1) * stride[d] + k - 2 * (padding === 'same' ? Math.floor(k / 2) : 0) + this.#outputPadding[d];
        return padding === 'same' ? size * stride[d] : size * stride[d] + Math.max(k - stride[d], 0);
      });
      const fitted = fitTransposed(y, sizes);
      return this.bias === null ? fitted : fitted.add(this.bias.reshape([1, -1, ...sizes.map(() => 1)]));
    });
    return { ...out, x: this.#activation(out.x, lastAxis(out)) };
  }
}

/** Kernels [...k, in, out] to [out, in, ...k]. */
const outFirst = (n: number): number[] => [n + 1, n, ...Array.from({ length: n }, (_, i) => i)];

const withBias = (names: readonly string[], config: Config): string[] => [...names, ...(config.boolean('use_bias', true) ? ['bias'] : [])];

function conv(n: Dimensions): (context: BuildContext) => OneToOne {
  return ({ config, variables, modern }) => {
    const [kernel, bias] = variables.take(withBias(['kernel'], config));
    const groups = config.integer('groups', 1, 1_000_000, 1);
    const activation = activationOf(config.get('activation'), `${config.path}.activation`, modern);
    return new Convolution(
      n,
      geometryOf(config, n),
      weight(kernel, n + 2, outFirst(n)),
      null,
      bias ? weight(bias, 1) : null,
      groups,
      activation,
    );
  };
}

/** A depthwise kernel [...k, in, multiplier] as one of groups, [in * multiplier, 1, ...k]. */
function depthwiseKernel(
  variable: Parameters<typeof arranged>[0],
  n: number,
): { readonly kernel: Parameters<typeof arranged>[0]; readonly axes: number[]; readonly groups: number } {
  const { shape } = variable;
  const k = shape.slice(0, n);
  const [channels = 0, multiplier = 0] = shape.slice(n);
  return { kernel: { ...variable, shape: [...k, 1, channels * multiplier] }, axes: outFirst(n), groups: channels };
}

function depthwise(n: Dimensions): (context: BuildContext) => OneToOne {
  return ({ config, variables, modern }) => {
    const [variable, bias] = variables.take(withBias([modern ? 'kernel' : 'depthwise_kernel'], config));
    const { kernel, axes, groups } = depthwiseKernel(variable, n);
    const activation = activationOf(config.get('activation'), `${config.path}.activation`, modern);
    return new Convolution(n, geometryOf(config, n), weight(kernel, n + 2, axes), null, bias ? weight(bias, 1) : null, groups, activation);
  };
}

function separable(n: Dimensions): (context: BuildContext) => OneToOne {
  return ({ config, variables, modern }) => {
    const [variable, pointwise, bias] = variables.take(withBias(['depthwise_kernel', 'pointwise_kernel'], config));
    const { kernel, axes, groups } = depthwiseKernel(variable, n);
    const activation = activationOf(config.get('activation'), `${config.path}.activation`, modern);
    const points = weight(pointwise, n + 2, outFirst(n));
    return new Convolution(
      n,
      geometryOf(config, n),
      weight(kernel, n + 2, axes),
      points,
      bias ? weight(bias, 1) : null,
      groups,
      activation,
    );
  };
}

function transpose(n: Dimensions): (context: BuildContext) => OneToOne {
  return ({ config, variables, modern }) => {
    const [kernel, bias] = variables.take(withBias(['kernel'], config));
    const outputPadding = config.has('output_padding') ? config.integers('output_padding', n) : null;
    const activation = activationOf(config.get('activation'), `${config.path}.activation`, modern);
    // Kernels are [...k, out, in].
    const moved = weight(kernel, n + 2, outFirst(n));
    return new TransposedConvolution(n, geometryOf(config, n), outputPadding, moved, bias ? weight(bias, 1) : null, activation);
  };
}

export const convLayers = {
  Conv1D: conv(1),
  Convolution1D: conv(1),
  Conv2D: conv(2),
  Convolution2D: conv(2),
  Conv3D: conv(3),
  DepthwiseConv1D: depthwise(1),
  DepthwiseConv2D: depthwise(2),
  SeparableConv1D: separable(1),
  SeparableConv2D: separable(2),
  Conv1DTranspose: transpose(1),
  Conv2DTranspose: transpose(2),
  Conv3DTranspose: transpose(3),
} satisfies LayerTable;
