/** Normalizations. Statistics are those of the biased variance, as in the papers and in PyTorch. */

import { isGradEnabled } from '../autograd/mode.js';
import { ArgumentError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape } from '../graph/layout.js';
import { autocastDType, raised } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, mul, sub } from './binary.js';
import { cast } from './cast.js';
import { isHalf, widen } from './common.js';
import { withGradient } from './custom-gradient.js';
import { countAlong, mean, sumTo } from './reduce.js';
import { lerp } from './ternary.js';
import { neg, rsqrt, square } from './unary.js';
import { reshape } from './view.js';
import { assign } from './write-view.js';

interface Moments {
  readonly center: Tensor;
  /** Biased. */
  readonly variance: Tensor;
}

/** Mean and biased variance over `axes`, which keep extent 1. */
function momentsOf(x: Tensor, axes: readonly number[]): Moments {
  const center = mean(x, axes, true);
  return { center, variance: mean(square(sub(x, center)), axes, true) };
}

/**
 * Standardizes over `axes`, then scales and shifts by tensors that broadcast. One node on the tape: with z = (x - mean) * rstd and
 * h = g * weight, dx = rstd * (h - mean(h) - z * mean(h * z)).
 */
function standardize(
  name: string,
  x: Tensor,
  axes: readonly number[],
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  observe?: (moments: Moments) => void,
): Tensor {
  if (isHalf(x.dtype)) {
    const float = (t: Tensor | null): Tensor | null => (t === null ? null : cast(t, 'float32'));
    return composite(name, () => {
      const wide = standardize(name, widen(x), axes, float(weight), float(bias), eps, observe);
      // Inside autocast layers stay in float32; batch normalization sits between convolutions and follows its input.
      return autocastDType() !== null && name !== 'batchNorm' ? wide : cast(wide, x.dtype);
    });
  }
  const inputs = [x, ...(weight === null ? [] : [weight]), ...(bias === null ? [] : [bias])];
  const biasShape = bias?.shape ?? [];
  const hasWeight = weight !== null;
  return withGradient({
    name,
    inputs,
    savesInputs: weight === null ? [0] : [0, 1],
    forward: () => {
      const moments = momentsOf(x, axes);
      observe?.(moments);
      const { center } = moments;
      const rstd = rsqrt(add(moments.variance, eps));
      const z = mul(sub(x, center), rstd);
      const scaled = weight === null ? z : mul(z, weight);
      return [bias === null ? scaled : add(scaled, bias), center, rstd];
    },
    vjp: (g, ctx) => {
      const input = ctx.input(0);
      // Second derivatives flow through the statistics too, so they are recomputed from the input when it is on the tape.
      const fresh = isGradEnabled() && input.requiresGrad ? momentsOf(input, axes) : null;
      const center = fresh === null ? ctx.extra(0) : fresh.center;
      const rstd = fresh === null ? ctx.extra(1) : rsqrt(add(fresh.variance, eps));
      const z = mul(sub(input, center), rstd);
      const scale = hasWeight ? ctx.input(1) : null;
      const h = scale === null ? g : mul(g, scale);
      const gradients: (Tensor | null)[] = [];
      gradients.push(ctx.needs(0) ? mul(rstd, sub(sub(h, mean(h, axes, true)), mul(z, mean(mul(h, z), axes, true)))) : null);
      if (scale !== null) gradients.push(ctx.needs(1) ? sumTo(mul(g, z), scale.shape) : null);
      if (inputs.length > gradients.length) gradients.push(ctx.needs(inputs.length - 1) ? sumTo(g, biasShape) : null);
      return gradients;
    },
  });
}

function trailingAxes(x: Tensor, normalizedShape: number | Shape, op: string): number[] {
  const wanted = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
  const lead = x.shape.length - wanted.length;
  if (lead < 0 || wanted.some((extent, i) => extent !== x.shape[lead + i])) {
    throw new ShapeError(`normalizedShape ${formatShape(wanted)} for an input of shape ${formatShape(x.shape)}`, {
      op,
      received: x.shape,
      expected: 'the last extents of the input',
    });
  }
  return wanted.map((_, i) => lead + i);
}

export interface EpsOptions {
  /** Added to the variance. */
  readonly eps?: number;
}

/** Normalizes each sample over its last axes (Ba et al., arXiv:1607.06450). `weight` and `bias` have `normalizedShape`. */
export function layerNorm(
  x: Tensor,
  normalizedShape: number | Shape,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  { eps = 1e-5 }: EpsOptions = {},
): Tensor {
  return standardize('layerNorm', x, trailingAxes(x, normalizedShape, 'layerNorm'), weight, bias, eps);
}

/** Divides each sample by the root of its mean square (Zhang and Sennrich, arXiv:1910.07467). */
export function rmsNorm(input: Tensor, normalizedShape: number | Shape, weight: Tensor | null = null, { eps }: EpsOptions = {}): Tensor {
  const axes = trailingAxes(input, normalizedShape, 'rmsNorm');
  return composite('rmsNorm', () => {
    const x = raised(input);
    // PyTorch's default is the rounding unit of the dtype.
    const epsilon =
      eps ?? ({ float16: 2 ** -10, bfloat16: 2 ** -7, float64: 2 ** -52 } as Partial<Record<string, number>>)[x.dtype] ?? 2 ** -23;
    const scaled = mul(x, rsqrt(add(mean(square(x), axes, true), epsilon)));
    return weight === null ? scaled : mul(scaled, weight);
  });
}

/** Shape in which a value a channel broadcasts over [N, C, ...]. */
function channelShape(x: Tensor): number[] {
  return x.shape.slice(1).map((extent, i) => (i === 0 ? extent : 1));
}
function perChannel(t: Tensor | null, x: Tensor, op: string): Tensor | null {
  if (t === null) return null;
  if (t.shape.length !== 1 || t.shape[0] !== x.shape[1]) {
    throw new ShapeError(`a parameter of shape ${formatShape(t.shape)}`, {
      op,
      received: t.shape,
      expected: `[${x.shape[1]}], one value a channel`,
    });
  }
  return reshape(t, channelShape(x));
}
function requireChannels(x: Tensor, op: string): void {
  if (x.shape.length < 2)
    throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, { op, received: x.shape, expected: '[batch, channels, ...]' });
}

/** Normalizes the channels of each sample in groups (Wu and He, arXiv:1803.08494). x is [N, C, ...]. */
export function groupNorm(
  x: Tensor,
  numGroups: number,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  { eps = 1e-5 }: EpsOptions = {},
): Tensor {
  requireChannels(x, 'groupNorm');
  const [batch, channels] = x.shape;
  if (channels % numGroups !== 0) {
    throw new ArgumentError(`${channels} channels in ${numGroups} groups`, {
      op: 'groupNorm',
      received: numGroups,
      expected: 'a divisor of the number of channels',
    });
  }
  return composite('groupNorm', () => {
    const grouped = reshape(x, [batch, numGroups, -1]);
    const z = reshape(standardize('groupNorm', grouped, [2], null, null, eps), x.shape);
    const scaled = weight === null ? z : mul(z, perChannel(weight, x, 'groupNorm') ?? weight);
    return bias === null ? scaled : add(scaled, perChannel(bias, x, 'groupNorm') ?? bias);
  });
}

/** Normalizes each channel of each sample (Ulyanov et al., arXiv:1607.08022). x is [N, C, ...]. */
export function instanceNorm(x: Tensor, weight: Tensor | null = null, bias: Tensor | null = null, options: EpsOptions = {}): Tensor {
  requireChannels(x, 'instanceNorm');
  return groupNorm(x, x.shape[1], weight, bias, options);
}

export interface BatchNormOptions extends EpsOptions {
  /** Normalize by the statistics of the batch and update the running ones, instead of using those. */
  readonly training?: boolean;
  /** Weight of the new statistics in the running ones: a number, or a 0-d tensor where it changes between steps. */
  readonly momentum?: number | Tensor;
}

/**
 * Normalizes each channel over the batch and space (Ioffe and Szegedy, arXiv:1502.03167). x is [N, C, ...]. In training the running
 * statistics (float [C], or null) are updated in place: `running = (1 - momentum) * running + momentum * batch`, with the unbiased
 * variance of the batch.
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  { training = false, momentum = 0.1, eps = 1e-5 }: BatchNormOptions = {},
): Tensor {
  requireChannels(x, 'batchNorm');
  return composite('batchNorm', () => {
    const scale = perChannel(weight, x, 'batchNorm');
    const shift = perChannel(bias, x, 'batchNorm');
    const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
    if (!training) {
      const center = perChannel(runningMean, x, 'batchNorm');
      const spread = perChannel(runningVar, x, 'batchNorm');
      if (center === null || spread === null) {
        throw new ArgumentError('no running statistics', { op: 'batchNorm', expected: 'runningMean and runningVar when not training' });
      }
      const rstd = rsqrt(add(spread, eps));
      const factor = scale === null ? rstd : mul(rstd, scale);
      // As a line, whose two coefficients depend on parameters alone.
      const moved = mul(center, factor);
      const shifted = add(mul(x, factor), shift === null ? neg(moved) : sub(shift, moved));
      return autocastDType() === null ? shifted : cast(shifted, x.dtype);
    }
    const count = countAlong(x.shape, axes);
    if (count < 2) {
      throw new ShapeError(`one value a channel in an input of shape ${formatShape(x.shape)}`, {
        op: 'batchNorm',
        received: x.shape,
        expected: 'more than one value a channel in training',
      });
    }
    const observe = ({ center, variance }: Moments): void => {
      if (runningMean !== null) updateRunning(runningMean, center, momentum);
      if (runningVar !== null) updateRunning(runningVar, mul(variance, count / (count - 1)), momentum);
    };
    return standardize('batchNorm', x, axes, scale, shift, eps, observe);
  });
}

function updateRunning(running: Tensor, batch: Tensor, momentum: number | Tensor): void {
  assign(running, cast(lerp(running, reshape(batch, running.shape), momentum), running.dtype));
}
