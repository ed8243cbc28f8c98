/** Convolutions over one, two and three spatial dimensions, channels first. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { loweredAll, loweredLike } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add } from './binary.js';
import { perDimension } from './common.js';
import { convForward, convInputGrad } from './conv-primitives.js';
import type { PadMode } from './pad.js';
import { pad } from './pad.js';
import { reshape } from './view.js';

export interface ConvOptions {
  /** Step of the window; default 1. One number, or one a dimension. */
  readonly stride?: number | readonly number[];
  /** Zeros around the input; default 0. 'same' keeps the size (stride 1), 'valid' is none. */
  readonly padding?: number | readonly number[] | 'same' | 'valid';
  /** Zeros behind the input; default: as many as `padding` says, which then counts those in front alone. */
  readonly paddingEnd?: number | readonly number[];
  /** Distance between the kernel's elements; default 1. */
  readonly dilation?: number | readonly number[];
  /** Into how many independent groups the channels are split; default 1. */
  readonly groups?: number;
  /** What stands around the input; default 'zeros'. */
  readonly paddingMode?: 'zeros' | Exclude<PadMode, 'constant'>;
}

export interface ConvTransposeOptions {
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  /** Added to one side of the output's size, which stride leaves open. */
  readonly outputPadding?: number | readonly number[];
  readonly dilation?: number | readonly number[];
  readonly groups?: number;
}

interface Geometry {
  readonly stride: number[];
  readonly dilation: number[];
  readonly groups: number;
}

function geometry(options: ConvOptions | ConvTransposeOptions, n: number, op: string): Geometry {
  const stride = perDimension(options.stride, n, 1, op, 'stride');
  const dilation = perDimension(options.dilation, n, 1, op, 'dilation');
  const groups = options.groups ?? 1;
  if ([...stride, ...dilation, groups].some((v) => v < 1)) {
    throw new ArgumentError('stride, dilation and groups start at 1', {
      op,
      received: { stride, dilation, groups },
      expected: 'numbers from 1 on',
    });
  }
  return { stride, dilation, groups };
}

/** The input with a batch axis, and whether that axis was added. */
function batched(x: Tensor, n: number, op: string): { readonly input: Tensor; readonly added: boolean } {
  if (x.shape.length === n + 2) return { input: x, added: false };
  if (x.shape.length === n + 1) return { input: reshape(x, [1, ...x.shape]), added: true };
  throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, {
    op,
    received: x.shape,
    expected: `[batch, channels, ${n} spatial extents], or the same without batch`,
  });
}

function checkWeight(x: Tensor, weight: Tensor, channelAxis: 0 | 1, groups: number, n: number, op: string): void {
  const channels = x.shape[1];
  const wanted = channelAxis === 1 ? channels / groups : channels;
  const outer = weight.shape[0];
  if (weight.shape.length !== n + 2 || weight.shape[channelAxis] !== wanted || outer % groups !== 0) {
    const layout = channelAxis === 1 ? '[out, in / groups, kernel]' : '[in, out / groups, kernel]';
    throw new ShapeError(
      `a weight of shape ${formatShape(weight.shape)} for an input of shape ${formatShape(x.shape)} in ${groups} group(s)`,
      {
        op,
        received: weight.shape,
        expected: `${layout} with ${wanted} at position ${channelAxis}, the first extent a multiple of groups`,
        fix: 'The input is [batch, channels, ...space]: permute it if its channels come last.',
      },
    );
  }
}

function withBias(y: Tensor, bias: Tensor | null, n: number, op: string): Tensor {
  if (bias === null) return y;
  if (bias.shape.length !== 1 || bias.shape[0] !== y.shape[1]) {
    throw new ShapeError(`a bias of shape ${formatShape(bias.shape)}`, {
      op,
      received: bias.shape,
      expected: `[${y.shape[1]}], one value an output channel`,
    });
  }
  return add(y, reshape(loweredLike(bias, y), [bias.shape[0], ...new Array<number>(n).fill(1)]));
}

/** Padding in front of and behind each dimension. */
function paddings(options: ConvOptions, kernel: readonly number[], { stride, dilation }: Geometry, op: string): [number, number][] {
  const { padding } = options;
  const n = kernel.length;
  if (padding === 'same') {
    if (stride.some((s) => s !== 1))
      throw new ArgumentError("padding 'same' with a stride", { op, received: stride, expected: 'stride 1' });
    return kernel.map((k, d) => {
      const total = dilation[d] * (k - 1);
      return [Math.floor(total / 2), total - Math.floor(total / 2)];
    });
  }
  const each = padding === 'valid' ? new Array<number>(n).fill(0) : perDimension(padding, n, 0, op, 'padding');
  const behind = options.paddingEnd === undefined ? each : perDimension(options.paddingEnd, n, 0, op, 'paddingEnd');
  if ([...each, ...behind].some((p) => p < 0))
    throw new ArgumentError('padding is negative', {
      op,
      received: [padding, options.paddingEnd],
      expected: 'numbers from 0 on',
      fix: 'Slice the input to crop it.',
    });
  return each.map((p, d) => [p, behind[d]]);
}

function convolve(n: number, signal: Tensor, kernel: Tensor, bias: Tensor | null, options: ConvOptions): Tensor {
  const op = `conv${n}d`;
  const g = geometry(options, n, op);
  return composite(op, () => {
    const [x, weight] = loweredAll([signal, kernel]);
    const { input, added } = batched(x, n, op);
    checkWeight(input, weight, 1, g.groups, n, op);
    const kernelSize = weight.shape.slice(2);
    let around = paddings(options, kernelSize, g, op);
    let source = input;
    const mode = options.paddingMode ?? 'zeros';
    if (mode !== 'zeros' && around.some(([low, high]) => low + high > 0)) {
      source = pad(input, around.toReversed().flat(), { mode });
      around = around.map(() => [0, 0]);
    }
    const inputSize = source.shape.slice(2);
    const outputSize = inputSize.map((size, d) => {
      const free = size + around[d][0] + around[d][1] - g.dilation[d] * (kernelSize[d] - 1) - 1;
      if (free < 0) {
        throw new ShapeError(
          `a kernel of ${formatShape(kernelSize)} with dilation ${formatShape(g.dilation)} is larger than the padded input ${formatShape(source.shape)}`,
          {
            op,
            received: source.shape,
            expected: 'an input at least as large as the kernel',
          },
        );
      }
      return Math.floor(free / g.stride[d]) + 1;
    });
    const attrs = { ...g, inputSize, kernelSize, outputSize, padding: around.map(([low]) => low) };
    const y = withBias(convForward(weight, source, attrs), bias, n, op);
    return added ? reshape(y, y.shape.slice(1)) : y;
  });
}

function convolveTransposed(n: number, signal: Tensor, kernel: Tensor, bias: Tensor | null, options: ConvTransposeOptions): Tensor {
  const op = `convTranspose${n}d`;
  const g = geometry(options, n, op);
  const padding = perDimension(options.padding, n, 0, op, 'padding');
  const outputPadding = perDimension(options.outputPadding, n, 0, op, 'outputPadding');
  outputPadding.forEach((p, d) => {
    if (p < 0 || p >= Math.max(g.stride[d], g.dilation[d])) {
      throw new ArgumentError(`outputPadding ${p}`, { op, received: outputPadding, expected: 'less than stride or dilation' });
    }
  });
  return composite(op, () => {
    const [x, weight] = loweredAll([signal, kernel]);
    const { input, added } = batched(x, n, op);
    checkWeight(input, weight, 0, g.groups, n, op);
    const kernelSize = weight.shape.slice(2);
    // What goes in is the output of the convolution that this one transposes.
    const outputSize = input.shape.slice(2);
    const inputSize = outputSize.map((size, d) => {
      const extent = (size - 1) * g.stride[d] - 2 * padding[d] + g.dilation[d] * (kernelSize[d] - 1) + outputPadding[d] + 1;
      if (extent < 1) throw new ShapeError(`the result would have extent ${extent}`, { op, received: x.shape, expected: 'less padding' });
      return extent;
    });
    const y = withBias(convInputGrad(weight, input, { ...g, inputSize, kernelSize, outputSize, padding }), bias, n, op);
    return added ? reshape(y, y.shape.slice(1)) : y;
  });
}

/** x [N, C, L], weight [O, C / groups, K], bias [O]: [N, O, L']. The batch axis may be missing. */
export function conv1d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvOptions = {}): Tensor {
  return convolve(1, x, weight, bias, options);
}
/** x [N, C, H, W], weight [O, C / groups, KH, KW], bias [O]: [N, O, H', W']. The batch axis may be missing. */
export function conv2d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvOptions = {}): Tensor {
  return convolve(2, x, weight, bias, options);
}
/** x [N, C, D, H, W], weight [O, C / groups, KD, KH, KW], bias [O]: [N, O, D', H', W']. The batch axis may be missing. */
export function conv3d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvOptions = {}): Tensor {
  return convolve(3, x, weight, bias, options);
}
/** The gradient of conv1d towards its input, as a layer: x [N, C, L], weight [C, O / groups, K], bias [O]. */
export function convTranspose1d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvTransposeOptions = {}): Tensor {
  return convolveTransposed(1, x, weight, bias, options);
}
/** The gradient of conv2d towards its input, as a layer: x [N, C, H, W], weight [C, O / groups, KH, KW], bias [O]. */
export function convTranspose2d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvTransposeOptions = {}): Tensor {
  return convolveTransposed(2, x, weight, bias, options);
}
/** The gradient of conv3d towards its input, as a layer: x [N, C, D, H, W], weight [C, O / groups, KD, KH, KW], bias [O]. */
export function convTranspose3d(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: ConvTransposeOptions = {}): Tensor {
  return convolveTransposed(3, x, weight, bias, options);
}
