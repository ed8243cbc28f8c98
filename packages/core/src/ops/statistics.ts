/** What is composed of reductions: moments, norms, softmax, and the position of extremes. */
import { isFloat } from '../dtype.js';
import { normalizeAxis } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, le, logicalAnd, logicalOr, maximum, mul, ne, pow, sub } from './binary.js';
import { cast } from './cast.js';
import { broadcastTo, requireKind, stopGradient, toFloat, widened } from './common.js';
import { withGradient } from './custom-gradient.js';
import { zerosOf } from './fill.js';
import { iotaAlong } from './iota.js';
import type { Axes } from './reduce.js';
import { all, amax, amin, countAlong, keptShape, mean, reductionAxes, requireOrder, sum } from './reduce.js';
import { where } from './ternary.js';
import { abs, exp, isFinite, isInf, isNaN, log, neg, sqrt } from './unary.js';
import { reshape } from './view.js';

export interface VarianceOptions {
  /** Subtracted from the number of elements in the divisor: 1 (Bessel's correction, the default) or 0. */
  readonly correction?: number;
}

/** Variance over `dim`: the mean squared distance from the mean, divided by `count - correction`. */
export function variance(x: Tensor, dim?: Axes, keepdim = false, { correction = 1 }: VarianceOptions = {}): Tensor {
  requireKind(x, ['float'], 'var');
  return composite('var', () =>
    widened(x, (wide) => {
      const axes = reductionAxes(wide, dim, 'var');
      const centred = sub(wide, mean(wide, axes, true));
      return div(sum(mul(centred, centred), axes, keepdim), Math.max(0, countAlong(wide.shape, axes) - correction));
    }),
  );
}

/** Standard deviation over `dim`. Its gradient is 0 where all elements are equal. */
export function std(x: Tensor, dim?: Axes, keepdim = false, options: VarianceOptions = {}): Tensor {
  return composite('std', () => widened(x, (wide) => flatRoot(variance(wide, dim, keepdim, options))));
}

/** The square root, with gradient 0 instead of infinity at 0. */
function flatRoot(x: Tensor): Tensor {
  const isZero = eq(x, 0);
  return where(isZero, 0, sqrt(where(isZero, 1, x)));
}

/**
 * The p-norm of the elements over `dim`: `sum(|x| ** p) ** (1 / p)`; Infinity and -Infinity give the largest and the smallest
 * magnitude, 0 the number of elements that are not 0. Its gradient is 0 at 0.
 */
export function norm(x: Tensor, p = 2, dim?: Axes, keepdim = false): Tensor {
  requireKind(x, ['float'], 'norm');
  return composite('norm', () => widened(x, (wide) => normOf(wide, p, reductionAxes(wide, dim, 'norm'), keepdim)));
}

function normOf(x: Tensor, p: number, axes: readonly number[], keepdim: boolean): Tensor {
  if (p === Infinity) return amax(abs(x), axes, keepdim);
  if (p === -Infinity) return amin(abs(x), axes, keepdim);
  if (p === 0) return sum(cast(ne(x, 0), x.dtype), axes, keepdim);
  if (p === 1) return sum(abs(x), axes, keepdim);
  if (p === 2) return flatRoot(sum(mul(x, x), axes, keepdim));
  const isZero = eq(x, 0);
  const magnitude = where(isZero, 1, abs(x));
  const total = sum(where(isZero, 0, pow(magnitude, p)), axes, keepdim);
  const nothing = eq(total, 0);
  return where(nothing, 0, pow(where(nothing, 1, total), 1 / p));
}

/** The largest element along `axes`, which keep extent 1; 0 where there is none. */
function rowMax(x: Tensor, axes: readonly number[]): Tensor {
  return axes.some((axis) => x.shape[axis] === 0) ? zerosOf(x.dtype, keptShape(x.shape, axes)) : amax(x, axes, true);
}

/** The largest element along `axes` where it is finite, else 0: what exponents are measured from. No gradient. */
function pivot(x: Tensor, axes: readonly number[]): Tensor {
  const largest = rowMax(stopGradient(x), axes);
  return where(isInf(largest), 0, largest);
}

/** `log(sum(exp(x)))` over `dim` without overflow on the way. */
export function logsumexp(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  return composite('logsumexp', () =>
    widened(toFloat(x), (wide) => {
      const axes = reductionAxes(wide, dim, 'logsumexp');
      const from = pivot(wide, axes);
      const kept = add(log(sum(exp(sub(wide, from)), axes, true)), from);
      const dropped = wide.shape.filter((_, axis) => !axes.includes(axis));
      return keepdim ? kept : reshape(kept, dropped);
    }),
  );
}

/** `exp(x) / sum(exp(x))` along `dim`. */
export function softmax(x: Tensor, dim = -1): Tensor {
  return widened(toFloat(x), (wide) => softmaxOf(wide, reductionAxes(wide, dim, 'softmax')));
}

function softmaxOf(real: Tensor, axes: readonly number[]): Tensor {
  return withGradient({
    name: 'softmax',
    inputs: [real],
    savesOutput: true,
    forward: () => {
      const powers = exp(sub(real, rowMax(real, axes)));
      return [div(powers, sum(powers, axes, true))];
    },
    vjp: (g, ctx) => {
      const y = ctx.output();
      const weighted = mul(g, y);
      return [sub(weighted, mul(y, sum(weighted, axes, true)))];
    },
  });
}

/** `log(softmax(x))` along `dim`, without the loss of accuracy of the two in turn. */
export function logSoftmax(x: Tensor, dim = -1): Tensor {
  return widened(toFloat(x), (wide) => logSoftmaxOf(wide, reductionAxes(wide, dim, 'logSoftmax')));
}

function logSoftmaxOf(real: Tensor, axes: readonly number[]): Tensor {
  return withGradient({
    name: 'logSoftmax',
    inputs: [real],
    savesOutput: true,
    forward: () => {
      const shifted = sub(real, rowMax(real, axes));
      return [sub(shifted, log(sum(exp(shifted), axes, true)))];
    },
    vjp: (g, ctx) => [sub(g, mul(exp(ctx.output()), sum(g, axes, true)))],
  });
}

/** Softmax of `-x`. */
export function softmin(x: Tensor, dim = -1): Tensor {
  return composite('softmin', () => softmax(neg(x), dim));
}

/** Position of the first extreme along one axis, int32; NaN counts as the extreme. */
function firstExtreme(x: Tensor, axis: number, keepdim: boolean, extreme: Tensor): Tensor {
  const size = x.shape[axis] ?? 1;
  const here = isFloat(x.dtype) ? logicalOr(eq(x, extreme), isNaN(x)) : eq(x, extreme);
  return amin(where(here, iotaAlong(size, axis, x.shape.length), size), axis, keepdim);
}

function argExtreme(x: Tensor, dim: number | null | undefined, keepdim: boolean, op: 'argmax' | 'argmin'): Tensor {
  requireOrder(x, op);
  return composite(op, () => {
    const source = stopGradient(dim === undefined || dim === null ? reshape(x, [-1]) : x);
    const axis = normalizeAxis(dim ?? 0, source.shape.length, op);
    if (source.shape.length === 0) return cast(reshape(mul(cast(stopGradient(x), 'float32'), 0), []), 'int64');
    const extreme = op === 'argmax' ? amax(source, axis, true) : amin(source, axis, true);
    const position = cast(firstExtreme(source, axis, keepdim, extreme), 'int64');
    return keepdim && (dim === undefined || dim === null)
      ? reshape(
          position,
          keptShape(
            x.shape,
            x.shape.map((_, i) => i),
          ),
        )
      : position;
  });
}

/** Position of the largest element along `dim` (of the flat tensor when absent), int64; of equal ones the first, NaN before all. */
export function argmax(x: Tensor, dim?: number | null, keepdim = false): Tensor {
  return argExtreme(x, dim, keepdim, 'argmax');
}
/** Position of the smallest element along `dim` (of the flat tensor when absent), int64; of equal ones the first, NaN before all. */
export function argmin(x: Tensor, dim?: number | null, keepdim = false): Tensor {
  return argExtreme(x, dim, keepdim, 'argmin');
}

export interface ValuesAndIndices {
  readonly values: Tensor;
  /** int64. */
  readonly indices: Tensor;
}

function extremeAlong(x: Tensor, dim: number, keepdim: boolean, largest: boolean): ValuesAndIndices {
  const axis = normalizeAxis(dim, x.shape.length, largest ? 'max' : 'min');
  if (x.shape.length === 0) return { values: mul(x, 1), indices: argExtreme(x, 0, false, largest ? 'argmax' : 'argmin') };
  return composite(largest ? 'max' : 'min', () => {
    const source = stopGradient(x);
    const kept = largest ? amax(source, axis, true) : amin(source, axis, true);
    const position = firstExtreme(source, axis, true, kept);
    const { shape } = x;
    const dropped = shape.toSpliced(axis, 1);
    const finish = (t: Tensor): Tensor => (keepdim ? t : reshape(t, dropped));
    // The whole gradient goes to the element at the index.
    const values = withGradient({
      name: largest ? 'max' : 'min',
      inputs: [x],
      forward: () => [kept, position],
      vjp: (g, ctx) => [where(eq(iotaAlong(shape[axis], axis, shape.length), ctx.extra(0)), broadcastTo(g, shape), 0)],
    });
    return { values: finish(values), indices: finish(cast(position, 'int64')) };
  });
}

/** The largest of all elements (equal ones share the gradient), or along `dim` the largest and their positions. */
export function max(x: Tensor): Tensor;
export function max(x: Tensor, dim: number, keepdim?: boolean): ValuesAndIndices;
export function max(x: Tensor, dim?: number, keepdim = false): Tensor | ValuesAndIndices {
  return dim === undefined ? amax(x) : extremeAlong(x, dim, keepdim, true);
}

/** The smallest of all elements (equal ones share the gradient), or along `dim` the smallest and their positions. */
export function min(x: Tensor): Tensor;
export function min(x: Tensor, dim: number, keepdim?: boolean): ValuesAndIndices;
export function min(x: Tensor, dim?: number, keepdim = false): Tensor | ValuesAndIndices {
  return dim === undefined ? amin(x) : extremeAlong(x, dim, keepdim, false);
}

/** `x / max(norm(x), eps)` along `dim`. */
export function normalize(
  x: Tensor,
  { p = 2, dim = 1, eps = 1e-12 }: { readonly p?: number; readonly dim?: number; readonly eps?: number } = {},
): Tensor {
  return composite('normalize', () => div(x, maximum(norm(x, p, dim, true), eps)));
}

/** The cosine of the angle between `a` and `b` along `dim`, each norm at least `eps`. */
export function cosineSimilarity(
  a: Tensor,
  b: Tensor,
  { dim = 1, eps = 1e-8 }: { readonly dim?: number; readonly eps?: number } = {},
): Tensor {
  return composite('cosineSimilarity', () => {
    const unit = (x: Tensor): Tensor => div(x, maximum(norm(x, 2, dim, true), eps));
    return sum(mul(unit(a), unit(b)), dim);
  });
}

export interface CloseOptions {
  readonly rtol?: number;
  readonly atol?: number;
  /** Whether two NaN count as close. */
  readonly equalNaN?: boolean;
}

/** True where `|a - b| <= atol + rtol * |b|`, and for equal infinities. */
export function isClose(a: Tensor, b: Tensor, { rtol = 1e-5, atol = 1e-8, equalNaN = false }: CloseOptions = {}): Tensor {
  return composite('isClose', () => {
    const [x, y] = [toFloat(a), toFloat(b)];
    const near = logicalAnd(isFinite(y), le(abs(sub(x, y)), add(mul(abs(y), rtol), atol)));
    const close = logicalOr(eq(x, y), near);
    return equalNaN ? logicalOr(close, logicalAnd(isNaN(x), isNaN(y))) : close;
  });
}

/** Whether all elements are close in the sense of {@link isClose}: a bool tensor without dimensions. */
export function allClose(a: Tensor, b: Tensor, options: CloseOptions = {}): Tensor {
  return composite('allClose', () => all(isClose(a, b, options)));
}
