/** Resizing by interpolation along each axis. */
import { add, cast, clamp, expand, indexSelect, isFloat, matmul, mul, reshape, round, type Tensor, transpose, where } from 'trireme';
import type { TensorValue, Value } from '../engine/value.js';
import { axesOf, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { computed, constant, filled, widened } from './tensors.js';

/** How positions are mapped and elements combined. */
interface Method {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly coordinates: string;
  readonly nearest: string;
  readonly cubicA: number;
  readonly antialias: boolean;
  readonly excludeOutside: boolean;
  readonly extrapolation: number;
}

/** One axis to resize. */
interface Axis {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
  /** The size as the scale has it, before it is cut to a whole number. */
  readonly wanted: number;
  /** Part of the input that is the output, for tf_crop_and_resize: 0 and 1 are the outermost elements. */
  readonly start: number;
  readonly end: number;
}

/** For each output position the input positions and their weights: `positions[tap][i]`. */
interface Taps {
  readonly positions: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
  /** Where the input does not reach; null: nowhere. */
  readonly outside: readonly boolean[] | null;
}

const clampTo = (i: number, size: number): number => Math.min(Math.max(i, 0), size - 1);

/** The position in the input, in elements, of output position i. */
function sourceOf(i: number, { from, to, scale, wanted, start, end }: Axis, { coordinates }: Method, ctx: OpContext): number {
  switch (coordinates) {
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5;
    case 'pytorch_half_pixel':
      return wanted === 1 ? -0.5 : (i + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric':
      // The middles of both grids fall on one another, also where the output is a fraction of an element smaller than wanted.
      return (from / 2) * (1 - to / wanted) + (i + 0.5) / scale - 0.5;
    case 'align_corners':
      return wanted === 1 ? 0 : (i * (from - 1)) / (wanted - 1);
    case 'asymmetric':
      return i / scale;
    case 'tf_half_pixel_for_nn':
      return (i + 0.5) / scale;
    case 'tf_crop_and_resize':
      if (wanted === 1) return ((start + end) * (from - 1)) / 2;
      return start * (from - 1) + (i * (end - start) * (from - 1)) / (wanted - 1);
    default:
      return ctx.fail(`coordinate_transformation_mode ${coordinates}`);
  }
}

function nearestOf(x: number, { nearest }: Method, ctx: OpContext): number {
  switch (nearest) {
    case 'round_prefer_floor':
      return Math.ceil(x - 0.5);
    case 'round_prefer_ceil':
      return Math.floor(x + 0.5);
    case 'floor':
      return Math.floor(x);
    case 'ceil':
      return Math.ceil(x);
    default:
      return ctx.fail(`nearest_mode ${nearest}`);
  }
}

const triangle = (x: number): number => Math.max(0, 1 - Math.abs(x));

/** Keys' cubic convolution kernel (1981). */
function keys(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
}

function tapsOf(axis: Axis, method: Method, ctx: OpContext): Taps {
  const sources = Array.from({ length: axis.to }, (_, i) => sourceOf(i, axis, method, ctx));
  const crop = method.coordinates === 'tf_crop_and_resize';
  const outside = crop ? sources.map((x) => x < 0 || x > axis.from - 1) : null;
  const strays = outside?.includes(true) ? outside : null;
  if (method.mode === 'nearest') {
    return {
      positions: [sources.map((x) => clampTo(nearestOf(x, method, ctx), axis.from))],
      weights: [filled(axis.to, 1)],
      outside: strays,
    };
  }
  // An antialiased kernel is as much wider as the output has fewer elements.
  const squeeze = method.antialias ? Math.min(axis.scale, 1) : 1;
  const radius = (method.mode === 'linear' ? 1 : 2) / squeeze;
  const first = Math.floor(-radius) + 1;
  const count = method.antialias ? 2 - 2 * first : method.mode === 'linear' ? 2 : 4;
  const positions = Array.from({ length: count }, () => new Array<number>(axis.to));
  const weights = Array.from({ length: count }, () => new Array<number>(axis.to));
  sources.forEach((x, i) => {
    const floor = Math.floor(x);
    const row = Array.from({ length: count }, (_, k) => {
      const at = floor + first + k;
      if (method.excludeOutside && (at < 0 || at >= axis.from)) return 0;
      const distance = (x - at) * squeeze;
      return method.mode === 'linear' ? triangle(distance) : keys(distance, method.cubicA);
    });
    const total = method.antialias || method.excludeOutside ? row.reduce((a, b) => a + b, 0) || 1 : 1;
    row.forEach((w, k) => {
      positions[k][i] = clampTo(floor + first + k, axis.from);
      weights[k][i] = w / total;
    });
  });
  return { positions, weights, outside: strays };
}

/** Kernels of more elements than this are a product with a matrix. */
const mostTaps = 8;

function resizeAxis(x: Tensor, d: number, axis: Axis, taps: Taps, extrapolation: number): Tensor {
  const lined = (n: number): number[] => x.shape.map((_, k) => (k === d ? n : 1));
  const inside = (t: Tensor): Tensor =>
    taps.outside === null ? t : where(constant(taps.outside.map(Number), 'bool', lined(axis.to)), extrapolation, t);
  const [only] = taps.positions;
  if (taps.positions.length === 1) return inside(pick(x, d, only));
  if (taps.positions.length > mostTaps) {
    const matrix = filled(axis.from * axis.to, 0);
    taps.positions.forEach((list, k) => {
      list.forEach((at, i) => {
        matrix[at * axis.to + i] += taps.weights[k][i];
      });
    });
    const last = x.ndim - 1;
    const product = matmul(transpose(x, d, last), constant(matrix, x.dtype, [axis.from, axis.to]));
    return inside(transpose(product, d, last));
  }
  let total: Tensor | null = null;
  taps.positions.forEach((list, k) => {
    if (taps.weights[k].every((w) => w === 0)) return;
    const part = mul(pick(x, d, list), constant(taps.weights[k], x.dtype, lined(axis.to)));
    total = total === null ? part : add(total, part);
  });
  return inside(total ?? x);
}

/** Elements at the positions along axis d. Whole multiples are repeated, which needs no table. */
function pick(x: Tensor, d: number, positions: readonly number[]): Tensor {
  const from = x.shape[d];
  const times = positions.length / from;
  if (Number.isInteger(times) && positions.every((p, i) => p === Math.floor(i / times))) {
    if (times === 1) return x;
    const [head, tail] = [x.shape.slice(0, d), x.shape.slice(d + 1)];
    return reshape(expand(reshape(x, [...head, from, 1, ...tail]), [...head, from, times, ...tail]), [...head, from * times, ...tail]);
  }
  return indexSelect(x, d, constant(positions, 'int32'));
}

const range: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
};

/** Resizes the axes of x that have an entry. */
function resized(x: TensorValue, axes: readonly (Axis | null)[], method: Method, ctx: OpContext): TensorValue {
  const taps = axes.map((axis) => (axis === null ? null : tapsOf(axis, method, ctx)));
  return computed(x.type, () => {
    const given = x.tensor;
    const exact = method.mode === 'nearest';
    const start = exact ? given : widened(given);
    // Axes that shrink first leave less to do for the others; the result is the same.
    const order = axes.flatMap((axis, d) => (axis === null ? [] : [{ axis, d }]));
    order.sort((a, b) => a.axis.to / a.axis.from - b.axis.to / b.axis.from);
    const made = order.reduce((t, { axis, d }) => {
      const along = taps[d];
      return along === null ? t : resizeAxis(t, d, axis, along, method.extrapolation);
    }, start);
    if (made.dtype === given.dtype) return made;
    if (isFloat(given.dtype)) return cast(made, given.dtype);
    const [min, max] = range[x.type] ?? [-Infinity, Infinity];
    return cast(clamp(round(made), { min, max }), given.dtype);
  });
}

/** Whether nothing changes along an axis. */
function idle({ from, to, scale, start, end }: Axis): boolean {
  return from === to && Math.abs(scale - 1) < 1e-9 && start === 0 && end === 1;
}

/** Values of an input that stands for "not given" when it has no elements. */
function numbersIn(inputs: readonly (Value | null)[], k: number, ctx: OpContext): number[] | null {
  const value = optionalTensorAt(inputs, k, ctx);
  if (value === null || value.shape[0] === 0) return null;
  return numbersOf(value);
}

const resize: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const { attrs } = ctx;
  // Opset 10 has the scales for its second input, and the mapping of Upsample.
  const old = ctx.opset < 11;
  const scales = numbersIn(inputs, old ? 1 : 2, ctx);
  const sizes = old ? null : numbersIn(inputs, 3, ctx);
  const coordinates = old ? 'asymmetric' : attrs.string('coordinate_transformation_mode', 'half_pixel');
  const mode = modeOf(attrs.string('mode', 'nearest'), ctx);
  const method: Method = {
    mode,
    coordinates,
    nearest: old ? 'floor' : attrs.string('nearest_mode', 'round_prefer_floor'),
    cubicA: attrs.float('cubic_coeff_a', -0.75),
    antialias: attrs.int('antialias', 0) !== 0,
    excludeOutside: attrs.int('exclude_outside', 0) !== 0,
    extrapolation: attrs.float('extrapolation_value', 0),
  };
  const rank = x.shape.length;
  const chosen = axesOf(attrs.optionalInts('axes') ?? x.shape.map((_, d) => d), rank, ctx);
  const roi = coordinates === 'tf_crop_and_resize' ? numbersIn(inputs, 1, ctx) : null;
  if (coordinates === 'tf_crop_and_resize' && roi === null) ctx.fail('tf_crop_and_resize without roi');
  const axes = axesFor(x, chosen, scales, sizes, roi, ctx);
  if (axes.every((axis) => axis === null)) return x;
  return resized(x, axes, method, ctx);
};

function modeOf(mode: string, ctx: OpContext): Method['mode'] {
  if (mode === 'bilinear') return 'linear';
  return mode === 'nearest' || mode === 'linear' || mode === 'cubic' ? mode : ctx.fail(`mode ${mode}`, 'nearest, linear or cubic');
}

function axesFor(
  x: TensorValue,
  chosen: readonly number[],
  scales: readonly number[] | null,
  sizes: readonly number[] | null,
  roi: readonly number[] | null,
  ctx: OpContext,
): (Axis | null)[] {
  const given = sizes ?? scales ?? ctx.fail('neither scales nor sizes');
  if (given.length !== chosen.length) ctx.fail(`${given.length} scales or sizes for ${chosen.length} axes`);
  const policy = ctx.attrs.string('keep_aspect_ratio_policy', 'stretch');
  const ratios = chosen.map((d, k) => (sizes === null ? given[k] : given[k] / x.shape[d]));
  const common = policy === 'not_larger' ? Math.min(...ratios) : policy === 'not_smaller' ? Math.max(...ratios) : null;
  const axes = new Array<Axis | null>(x.shape.length).fill(null);
  chosen.forEach((d, k) => {
    const from = x.shape[d];
    const scale = sizes === null ? ratios[k] : (common ?? ratios[k]);
    // Sizes from scales are products in single precision, cut off.
    const to = sizes === null ? Math.floor(Math.fround(from * scale)) : common === null ? sizes[k] : Math.floor(scale * from + 0.5);
    const wanted = sizes !== null && common === null ? to : scale * from;
    const axis = { from, to, scale, wanted, start: roi?.[k] ?? 0, end: roi?.[k + chosen.length] ?? 1 };
    if (!idle(axis)) axes[d] = axis;
  });
  return axes;
}

const upsample: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const { attrs } = ctx;
  const scales =
    ctx.opset >= 9
      ? numbersOf(tensorAt(inputs, 1, ctx))
      : attrs.has('scales')
        ? attrs.floats('scales')
        : [1, 1, attrs.float('height_scale'), attrs.float('width_scale')];
  const axes = axesFor(
    x,
    x.shape.map((_, d) => d),
    scales,
    null,
    null,
    ctx,
  );
  if (axes.every((axis) => axis === null)) return x;
  const method: Method = {
    mode: modeOf(attrs.string('mode', 'nearest'), ctx),
    coordinates: 'asymmetric',
    nearest: 'floor',
    cubicA: -0.75,
    antialias: false,
    excludeOutside: false,
    extrapolation: 0,
  };
  return resized(x, axes, method, ctx);
};

export const resizeOps = { Resize: resize, Upsample: upsample } satisfies OpTable;
