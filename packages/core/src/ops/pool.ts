/** Pooling over one, two and three spatial dimensions, channels first. */
import { isFloat } from '../dtype.js';
import { ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import type { ElementContext, Primitive } from '../graph/primitive.js';
import type { Expr } from '../ir/expr.js';
import type { Stmt } from '../ir/kernel.js';
import { apply, apply1 } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { div, mul, pow } from './binary.js';
import { cast } from './cast.js';
import { perDimension } from './common.js';
import { computeType, primitive } from './define.js';
import { hostConstant } from './fill.js';
import { gather } from './gather.js';
import type { Window, WindowOptions } from './pool-window.js';
import { adaptiveWindows, coveringWindows, firstElement, flatPosition, poolingWindows, tuples, windowTaps } from './pool-window.js';
import { mean } from './reduce.js';
import { assign, declare, ifThen, unravel } from './statements.js';
import { abs, relu, sign } from './unary.js';
import { reshape } from './view.js';

type PoolAttrs = { readonly windows: readonly Window[] };

/** Windows of more elements than this are walked statement by statement instead of in one expression. */
const unrolledTaps = 64;

const counts = (windows: readonly Window[]): number[] => windows.map((w) => w.count);
const sizes = (windows: readonly Window[]): number[] => windows.map((w) => w.size);
const leadOf = (shape: Shape, windows: readonly Window[]): number[] => shape.slice(0, shape.length - windows.length);
const lowest = (type: string): number => (type === 'i32' ? -(2 ** 31) : -Infinity);

/** Splits the indices of an output into those in front and the spatial ones. */
function split(indices: readonly Expr[], windows: readonly Window[]): [Expr[], Expr[]] {
  const lead = indices.length - windows.length;
  return [indices.slice(0, lead), indices.slice(lead)];
}

/** The largest element of a window and its position: the first of equal ones, NaN before all. */
function maxOfWindow(ctx: ElementContext, indices: readonly Expr[], windows: readonly Window[]): [Expr, Expr] {
  const { b } = ctx;
  const [lead, position] = split(indices, windows);
  const type = computeType(ctx.inputs[0].dtype);
  let best: Expr = b.const(type, lowest(type));
  let where: Expr = firstElement(b, windows, position);
  for (const [tap, { at, guard }] of windowTaps(b, windows, position).entries()) {
    const value = ctx.load(0, [...lead, ...at], guard);
    if (tap === 0 && guard === undefined) {
      best = value;
      continue;
    }
    const larger = b.binary('lt', best, value);
    const wins = type === 'i32' || type === 'i64' ? larger : b.binary('or', larger, b.binary('ne', value, value));
    const taken = guard === undefined ? wins : b.and(guard, wins);
    best = b.select(taken, value, best);
    where = b.select(taken, flatPosition(b, windows, at), where);
  }
  return [best, where];
}

const maxPoolPrimitive = primitive<PoolAttrs>({
  name: 'maxPool',
  infer([x], { windows }) {
    const shape = [...leadOf(x.shape, windows), ...counts(windows)];
    return [
      { dtype: x.dtype, shape },
      { dtype: 'int32', shape },
    ];
  },
  lowering: { kind: 'map', pointwise: false, element: (ctx, indices, { windows }) => maxOfWindow(ctx, indices, windows) },
  saves: { outputs: [1] },
  vjp: (ctx, [g]) => [g === null ? null : unpool(g, ctx.output(1), ctx.attrs.windows)],
  cost: 20,
});

/** maxPool for large windows. */
const maxPoolLargePrimitive = primitive<PoolAttrs>({
  name: 'maxPoolLarge',
  infer: maxPoolPrimitive.infer as (inputs: Parameters<Primitive['infer']>[0], attrs: PoolAttrs) => ReturnType<Primitive['infer']>,
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { windows }) {
      const { b } = ctx;
      const { shape, dtype } = ctx.outputs[0];
      const type = computeType(dtype);
      const cell = b.loopVar('window');
      const indices = unravel(b, b.index(cell), shape);
      const [lead, position] = split(indices, windows);
      const best = b.newLocal('best', type);
      const where = b.newLocal('where', 'i32');
      const body: Stmt[] = [declare(best, b.const(type, lowest(type))), declare(where, firstElement(b, windows, position))];
      for (const { at, guard } of windowTaps(b, windows, position)) {
        const value = ctx.load(0, [...lead, ...at], guard);
        const larger = b.binary('lt', b.read(best), value);
        const wins = type === 'i32' || type === 'i64' ? larger : b.binary('or', larger, b.binary('ne', value, value));
        body.push(
          ifThen(guard === undefined ? wins : b.and(guard, wins), [assign(best, value), assign(where, flatPosition(b, windows, at))]),
        );
      }
      body.push(ctx.store(0, indices, b.read(best)), ctx.store(1, indices, b.read(where)));
      return [{ grid: sizeOf(shape), cell, body, work: sizeOf(shape) * sizeOf(windows.map((w) => w.kernel)) * 4 }];
    },
  },
  saves: { outputs: [1] },
  vjp: (ctx, [g]) => [g === null ? null : unpool(g, ctx.output(1), ctx.attrs.windows)],
});

/** Gives each value of a pooled tensor back to the place its index names; every element looks at the windows that cover it. */
const maxUnpoolPrimitive = primitive<PoolAttrs>({
  name: 'maxPoolGrad',
  infer: ([g], { windows }) => [{ dtype: g.dtype, shape: [...leadOf(g.shape, windows), ...sizes(windows)] }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element(ctx, indices, { windows }) {
      const { b } = ctx;
      const [lead, position] = split(indices, windows);
      const here = flatPosition(b, windows, position);
      const zero = b.const(computeType(ctx.inputs[0].dtype), 0);
      let sum: Expr | null = null;
      for (const { at, guard } of coveringWindows(b, windows, position)) {
        const hit = b.binary('eq', ctx.load(1, [...lead, ...at], guard), here);
        const value = b.select(guard === undefined ? hit : b.and(guard, hit), ctx.load(0, [...lead, ...at], guard), zero);
        sum = sum === null ? value : b.add(sum, value);
      }
      return [sum ?? zero];
    },
  },
  saves: { inputs: [1] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    const { windows } = ctx.attrs;
    const { shape } = ctx.inputTypes[0];
    const lead = leadOf(shape, windows);
    const flat = gather(reshape(g, [...lead, -1]), lead.length, reshape(ctx.input(1), [...lead, -1]));
    return [reshape(flat, shape), null];
  },
  cost: 12,
});

function unpool(g: Tensor, indices: Tensor, windows: readonly Window[]): Tensor {
  return apply1(maxUnpoolPrimitive, [g, indices], { windows });
}

/** The sum over each window, missing elements counting as 0. */
const windowSumPrimitive: Primitive = primitive<PoolAttrs>({
  name: 'windowSum',
  infer: ([x], { windows }) => [{ dtype: x.dtype, shape: [...leadOf(x.shape, windows), ...counts(windows)] }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element(ctx, indices, { windows }) {
      const [lead, position] = split(indices, windows);
      const values = windowTaps(ctx.b, windows, position).map(({ at, guard }) => ctx.load(0, [...lead, ...at], guard));
      return [values.reduce((sum, value) => ctx.b.add(sum, value))];
    },
  },
  vjp: (ctx, [g]) => [g === null ? null : apply1(windowSumGradPrimitive, [g], ctx.attrs)],
  cost: 8,
});

/** The transpose of windowSum: the sum of the values of all windows that cover an element. */
const windowSumGradPrimitive: Primitive = primitive<PoolAttrs>({
  name: 'windowSumGrad',
  infer: ([g], { windows }) => [{ dtype: g.dtype, shape: [...leadOf(g.shape, windows), ...sizes(windows)] }],
  lowering: {
    kind: 'map',
    pointwise: false,
    element(ctx, indices, { windows }) {
      const { b } = ctx;
      const [lead, position] = split(indices, windows);
      let sum: Expr | null = null;
      for (const { at, guard, covers } of coveringWindows(b, windows, position)) {
        const condition = guard !== undefined && covers !== undefined ? b.and(guard, covers) : (guard ?? covers);
        const value = ctx.load(0, [...lead, ...at], condition);
        sum = sum === null ? value : b.add(sum, value);
      }
      return [sum ?? b.const(computeType(ctx.inputs[0].dtype), 0)];
    },
  },
  vjp: (ctx, [g]) => [g === null ? null : apply1(windowSumPrimitive, [g], ctx.attrs)],
  cost: 8,
});

export const poolPrimitives: readonly Primitive[] = [
  maxPoolPrimitive,
  maxPoolLargePrimitive,
  maxUnpoolPrimitive,
  windowSumPrimitive,
  windowSumGradPrimitive,
];

/** Sums over windows; large ones dimension by dimension. */
function windowSum(x: Tensor, windows: readonly Window[]): Tensor {
  if (windows.length === 1 || sizeOf(windows.map((w) => w.kernel)) <= unrolledTaps) return apply1(windowSumPrimitive, [x], { windows });
  const idle = (size: number): Window => ({ size, count: size, kernel: 1, stride: 1, padding: 0, dilation: 1, adaptive: false });
  return windows.reduce((current, w, d) => {
    const one = windows.map((other, i) => (i === d ? w : idle(i < d ? other.count : other.size)));
    return apply1(windowSumPrimitive, [current], { windows: one });
  }, x);
}

/** Checks an input and runs a pooling on it with a batch axis. */
function withBatch<T extends Tensor | readonly Tensor[]>(x: Tensor, n: number, op: string, run: (x: Tensor) => T): T {
  if (x.shape.length === n + 2) return run(x);
  if (x.shape.length !== n + 1) {
    throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, {
      op,
      received: x.shape,
      expected: `[batch, channels, ${n} spatial extents], or the same without batch`,
    });
  }
  const result = run(reshape(x, [1, ...x.shape]));
  const drop = (t: Tensor): Tensor => reshape(t, t.shape.slice(1));
  return (Array.isArray(result) ? result.map(drop) : drop(result as Tensor)) as T;
}

export interface MaxPoolOptions {
  /** Default: the window's size. */
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  /** Padding behind the input, when it differs; each may then reach as far as a window still meets the input. */
  readonly paddingEnd?: number | readonly number[];
  readonly dilation?: number | readonly number[];
  /** Whether windows may reach over the end. */
  readonly ceilMode?: boolean;
  readonly returnIndices?: boolean;
}
export interface PooledWithIndices {
  readonly values: Tensor;
  /** Row-major position among the spatial dimensions, int64. */
  readonly indices: Tensor;
}

function maxPoolOver(n: number, x: Tensor, windows: (spatial: Shape) => Window[], op: string): [Tensor, Tensor] {
  const [values, indices] = withBatch(x, n, op, (input) => {
    const attrs = { windows: windows(input.shape.slice(2)) };
    const large = sizeOf(attrs.windows.map((w) => w.kernel)) > unrolledTaps;
    return apply(large ? maxPoolLargePrimitive : maxPoolPrimitive, [input], attrs);
  });
  return [values, indices];
}

function finishMax([values, indices]: [Tensor, Tensor], returnIndices: boolean | undefined): Tensor | PooledWithIndices {
  return returnIndices ? { values, indices: cast(indices, 'int64') } : values;
}

function paddingOf(
  options: Pick<MaxPoolOptions, 'padding' | 'paddingEnd'>,
  n: number,
  op: string,
): Pick<WindowOptions, 'padding' | 'paddingEnd'> {
  const padding = perDimension(options.padding, n, 0, op, 'padding');
  return options.paddingEnd === undefined ? { padding } : { padding, paddingEnd: perDimension(options.paddingEnd, n, 0, op, 'paddingEnd') };
}

function maxPool(n: number, x: Tensor, kernelSize: number | readonly number[], options: MaxPoolOptions): Tensor | PooledWithIndices {
  const op = `maxPool${n}d`;
  return composite(op, () => {
    const kernel = perDimension(kernelSize, n, 1, op, 'kernelSize');
    const geometry = {
      kernel,
      stride: options.stride === undefined ? kernel : perDimension(options.stride, n, 1, op, 'stride'),
      ...paddingOf(options, n, op),
      dilation: perDimension(options.dilation, n, 1, op, 'dilation'),
      ceilMode: options.ceilMode ?? false,
    };
    return finishMax(
      maxPoolOver(n, x, (spatial) => poolingWindows(spatial, geometry, op), op),
      options.returnIndices,
    );
  });
}

type WithIndices<O> = O & { readonly returnIndices: true };

/** The largest element of each window: x [N, C, L] gives [N, C, L']. With `returnIndices` also where it was. */
export function maxPool1d(x: Tensor, kernelSize: number | readonly number[], options: WithIndices<MaxPoolOptions>): PooledWithIndices;
export function maxPool1d(
  x: Tensor,
  kernelSize: number | readonly number[],
  options?: MaxPoolOptions & { readonly returnIndices?: false },
): Tensor;
export function maxPool1d(x: Tensor, kernelSize: number | readonly number[], options: MaxPoolOptions = {}): Tensor | PooledWithIndices {
  return maxPool(1, x, kernelSize, options);
}
/** The largest element of each window: x [N, C, H, W] gives [N, C, H', W']. With `returnIndices` also where it was. */
export function maxPool2d(x: Tensor, kernelSize: number | readonly number[], options: WithIndices<MaxPoolOptions>): PooledWithIndices;
export function maxPool2d(
  x: Tensor,
  kernelSize: number | readonly number[],
  options?: MaxPoolOptions & { readonly returnIndices?: false },
): Tensor;
export function maxPool2d(x: Tensor, kernelSize: number | readonly number[], options: MaxPoolOptions = {}): Tensor | PooledWithIndices {
  return maxPool(2, x, kernelSize, options);
}
/** The largest element of each window: x [N, C, D, H, W] gives [N, C, D', H', W']. With `returnIndices` also where it was. */
export function maxPool3d(x: Tensor, kernelSize: number | readonly number[], options: WithIndices<MaxPoolOptions>): PooledWithIndices;
export function maxPool3d(
  x: Tensor,
  kernelSize: number | readonly number[],
  options?: MaxPoolOptions & { readonly returnIndices?: false },
): Tensor;
export function maxPool3d(x: Tensor, kernelSize: number | readonly number[], options: MaxPoolOptions = {}): Tensor | PooledWithIndices {
  return maxPool(3, x, kernelSize, options);
}

export interface AvgPoolOptions {
  /** Default: the window's size. */
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  /** Padding behind the input, when it differs; each may then reach as far as a window still meets the input. */
  readonly paddingEnd?: number | readonly number[];
  readonly dilation?: number | readonly number[];
  readonly ceilMode?: boolean;
  /** Whether padding counts in the divisor; default true. */
  readonly countIncludePad?: boolean;
  /** Divides by this instead of the number of elements. */
  readonly divisorOverride?: number | null;
}

/** How many elements each window counts: one number where all are alike, else one a window. */
function windowCounts(windows: readonly Window[], includePad: boolean, behind: readonly number[] | undefined): number | number[] {
  const along = windows.map((w, d) =>
    Array.from({ length: w.count }, (_, o) => {
      if (w.adaptive) return Math.ceil(((o + 1) * w.size) / w.count) - Math.floor((o * w.size) / w.count);
      const start = o * w.stride - w.padding;
      const end = includePad ? w.size + (behind?.[d] ?? w.padding) : w.size;
      const upTo = (limit: number): number => Math.min(Math.max(Math.ceil((limit - start) / w.dilation), 0), w.kernel);
      return upTo(end) - (includePad ? 0 : upTo(0));
    }),
  );
  const all = tuples(windows.map((w) => w.count)).map((position) => position.reduce((product, o, d) => product * along[d][o], 1));
  return all.every((c) => c === all[0]) ? all[0] : all;
}

function averageOver(
  x: Tensor,
  windows: readonly Window[],
  includePad: boolean,
  divisor: number | null,
  behind?: readonly number[],
): Tensor {
  const total = windowSum(x, windows);
  const by = divisor ?? windowCounts(windows, includePad, behind);
  return div(total, typeof by === 'number' ? by : hostConstant(by, x.dtype, counts(windows)));
}

function avgPool(n: number, x: Tensor, kernelSize: number | readonly number[], options: AvgPoolOptions): Tensor {
  const op = `avgPool${n}d`;
  return composite(op, () => {
    const kernel = perDimension(kernelSize, n, 1, op, 'kernelSize');
    const geometry = {
      kernel,
      stride: options.stride === undefined ? kernel : perDimension(options.stride, n, 1, op, 'stride'),
      ...paddingOf(options, n, op),
      dilation: perDimension(options.dilation, n, 1, op, 'dilation'),
      ceilMode: options.ceilMode ?? false,
    };
    return withBatch(x, n, op, (input) =>
      averageOver(
        input,
        poolingWindows(input.shape.slice(2), geometry, op),
        options.countIncludePad ?? true,
        options.divisorOverride ?? null,
        geometry.paddingEnd,
      ),
    );
  });
}

/** The mean of each window: x [N, C, L] gives [N, C, L']. */
export function avgPool1d(x: Tensor, kernelSize: number | readonly number[], options: AvgPoolOptions = {}): Tensor {
  return avgPool(1, x, kernelSize, options);
}
/** The mean of each window: x [N, C, H, W] gives [N, C, H', W']. */
export function avgPool2d(x: Tensor, kernelSize: number | readonly number[], options: AvgPoolOptions = {}): Tensor {
  return avgPool(2, x, kernelSize, options);
}
/** The mean of each window: x [N, C, D, H, W] gives [N, C, D', H', W']. */
export function avgPool3d(x: Tensor, kernelSize: number | readonly number[], options: AvgPoolOptions = {}): Tensor {
  return avgPool(3, x, kernelSize, options);
}

/** Output extents of an adaptive pooling; null keeps the input's. */
export type AdaptiveSize = number | readonly (number | null)[];

function adaptiveCounts(size: AdaptiveSize, spatial: Shape): number[] {
  return spatial.map((extent, d) => (typeof size === 'number' ? size : (size[size.length === 1 ? 0 : d] ?? extent)));
}

function adaptiveAvgPool(n: number, x: Tensor, outputSize: AdaptiveSize): Tensor {
  const op = `adaptiveAvgPool${n}d`;
  return composite(op, () =>
    withBatch(x, n, op, (input) => {
      const spatial = input.shape.slice(2);
      const wanted = adaptiveCounts(outputSize, spatial);
      if (isFloat(x.dtype) && wanted.every((c) => c === 1))
        return mean(
          input,
          spatial.map((_, d) => d + 2),
          true,
        );
      return averageOver(input, adaptiveWindows(spatial, wanted, op), true, null);
    }),
  );
}
function adaptiveMaxPool(n: number, x: Tensor, outputSize: AdaptiveSize, returnIndices?: boolean): Tensor | PooledWithIndices {
  const op = `adaptiveMaxPool${n}d`;
  return composite(op, () =>
    finishMax(
      maxPoolOver(n, x, (spatial) => adaptiveWindows(spatial, adaptiveCounts(outputSize, spatial), op), op),
      returnIndices,
    ),
  );
}

/** Means over `outputSize` even parts of each spatial dimension. */
export function adaptiveAvgPool1d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return adaptiveAvgPool(1, x, outputSize);
}
export function adaptiveAvgPool2d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return adaptiveAvgPool(2, x, outputSize);
}
export function adaptiveAvgPool3d(x: Tensor, outputSize: AdaptiveSize): Tensor {
  return adaptiveAvgPool(3, x, outputSize);
}

interface ReturnIndices {
  readonly returnIndices: true;
}
interface ValuesOnly {
  readonly returnIndices?: false;
}
/** The largest elements of `outputSize` even parts of each spatial dimension; with `returnIndices` also where they were. */
export function adaptiveMaxPool1d(x: Tensor, outputSize: AdaptiveSize, options: ReturnIndices): PooledWithIndices;
export function adaptiveMaxPool1d(x: Tensor, outputSize: AdaptiveSize, options?: ValuesOnly): Tensor;
export function adaptiveMaxPool1d(
  x: Tensor,
  outputSize: AdaptiveSize,
  options: ReturnIndices | ValuesOnly = {},
): Tensor | PooledWithIndices {
  return adaptiveMaxPool(1, x, outputSize, options.returnIndices);
}
export function adaptiveMaxPool2d(x: Tensor, outputSize: AdaptiveSize, options: ReturnIndices): PooledWithIndices;
export function adaptiveMaxPool2d(x: Tensor, outputSize: AdaptiveSize, options?: ValuesOnly): Tensor;
export function adaptiveMaxPool2d(
  x: Tensor,
  outputSize: AdaptiveSize,
  options: ReturnIndices | ValuesOnly = {},
): Tensor | PooledWithIndices {
  return adaptiveMaxPool(2, x, outputSize, options.returnIndices);
}
export function adaptiveMaxPool3d(x: Tensor, outputSize: AdaptiveSize, options: ReturnIndices): PooledWithIndices;
export function adaptiveMaxPool3d(x: Tensor, outputSize: AdaptiveSize, options?: ValuesOnly): Tensor;
export function adaptiveMaxPool3d(
  x: Tensor,
  outputSize: AdaptiveSize,
  options: ReturnIndices | ValuesOnly = {},
): Tensor | PooledWithIndices {
  return adaptiveMaxPool(3, x, outputSize, options.returnIndices);
}

export interface LPPoolOptions {
  /** Default: the window's size. */
  readonly stride?: number | readonly number[];
  readonly ceilMode?: boolean;
}

/** The p-norm of each window, `(sum of x ** p) ** (1 / p)`, over the last `n` dimensions. */
function lpPool(n: number, x: Tensor, p: number, kernelSize: number | readonly number[], options: LPPoolOptions): Tensor {
  return composite(`lpPool${n}d`, () => {
    const total = avgPool(n, pow(x, p), kernelSize, { ...options, divisorOverride: 1 });
    return pow(mul(sign(total), relu(abs(total))), 1 / p);
  });
}
export function lpPool1d(x: Tensor, p: number, kernelSize: number | readonly number[], options: LPPoolOptions = {}): Tensor {
  return lpPool(1, x, p, kernelSize, options);
}
export function lpPool2d(x: Tensor, p: number, kernelSize: number | readonly number[], options: LPPoolOptions = {}): Tensor {
  return lpPool(2, x, p, kernelSize, options);
}
export function lpPool3d(x: Tensor, p: number, kernelSize: number | readonly number[], options: LPPoolOptions = {}): Tensor {
  return lpPool(3, x, p, kernelSize, options);
}
