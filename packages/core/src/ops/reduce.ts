/** Reductions over axes: the primitives, and what is composed of them. */

import type { DType } from '../dtype.js';
import { dtypeInfo, isFloat } from '../dtype.js';
import { DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, normalizeAxes, sizeOf } from '../graph/layout.js';
import type { Primitive, VjpContext } from '../graph/primitive.js';
import type { ReduceOp } from '../ir/kernel.js';
import { raised } from '../tensor/autocast.js';
import { apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { div, eq, mul } from './binary.js';
import { cast } from './cast.js';
import { broadcastTo, requireKind } from './common.js';
import { primitive } from './define.js';
import { where } from './ternary.js';
import { reshape } from './view.js';

/** Axes of a reduction: one, several, or all when absent. */
export type Axes = number | readonly number[] | null;

type ReduceAttrs = { readonly axes: readonly number[]; readonly dtype: DType };

export const reducePrimitives: Primitive[] = [];

function define(
  name: string,
  op: ReduceOp,
  saves: { inputs?: number[]; outputs?: number[] },
  vjp: ((ctx: VjpContext<ReduceAttrs>, g: Tensor) => Tensor) | null,
): Primitive {
  const p = primitive<ReduceAttrs>({
    name,
    infer([input], { axes, dtype }) {
      return [{ dtype, shape: input.shape.filter((_, axis) => !axes.includes(axis)) }];
    },
    lowering: { kind: 'reduce', op, axes: (_, { axes }) => axes },
    saves,
    vjp: vjp === null ? null : (ctx, [g]) => [g === null ? null : vjp(ctx, g)],
  });
  reducePrimitives.push(p);
  return p;
}

/** The shape with extent 1 along `axes`. */
export function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
}

/** What a reduction gave (axes dropped), read along the axes again with the shape of its input. */
function spread(reduced: Tensor, ctx: VjpContext<ReduceAttrs>): Tensor {
  const { shape } = ctx.inputTypes[0];
  return broadcastTo(reshape(reduced, keptShape(shape, ctx.attrs.axes)), shape);
}

const sumPrimitive = define('sum', 'add', {}, (ctx, g) => cast(spread(g, ctx), ctx.inputTypes[0].dtype));

/**
 * The derivative of a product is the product of the others. Without zeros that is result / x; beside one zero only the zero has
 * one, the product of the rest; beside several nobody has.
 */
const prodPrimitive = define('prod', 'mul', { inputs: [0], outputs: [0] }, (ctx, g) => {
  const x = ctx.input(0);
  const { axes } = ctx.attrs;
  const isZero = eq(x, 0);
  const zeros = sum(isZero, axes, true);
  const rest = prod(where(isZero, 1, x), axes, true);
  const atZero = where(eq(zeros, 1), rest, 0);
  const elsewhere = div(spread(ctx.output(0), ctx), where(isZero, 1, x));
  return mul(spread(g, ctx), where(isZero, atZero, elsewhere));
});

/** Equal extremes share the gradient. */
function extremeRule(ctx: VjpContext<ReduceAttrs>, g: Tensor): Tensor {
  const isExtreme = eq(ctx.input(0), spread(ctx.output(0), ctx));
  const count = sum(cast(isExtreme, g.dtype), ctx.attrs.axes, true);
  return where(isExtreme, div(spread(g, ctx), count), 0);
}
const maxPrimitive = define('reduceMax', 'max', { inputs: [0], outputs: [0] }, extremeRule);
const minPrimitive = define('reduceMin', 'min', { inputs: [0], outputs: [0] }, extremeRule);
const anyPrimitive = define('any', 'or', {}, null);
const allPrimitive = define('all', 'and', {}, null);

/** Runs a reduction whose axes are already normal and ascending. */
function reduce(p: Primitive, x: Tensor, axes: readonly number[], keepdim: boolean, dtype: DType): Tensor {
  const reduced = apply1(p, [x], { axes, dtype });
  return keepdim ? reshape(reduced, keptShape(x.shape, axes)) : reduced;
}

/** An empty list means all axes too, as in PyTorch. */
export function reductionAxes(x: Tensor, dim: Axes | undefined, op: string): number[] {
  return normalizeAxes(Array.isArray(dim) && dim.length === 0 ? null : dim, x.shape.length, op);
}

function requireElements(x: Tensor, axes: readonly number[], op: string): void {
  if (axes.some((axis) => x.shape[axis] === 0)) {
    throw new ShapeError(`no elements to choose from along the axes [${axes.join(', ')}] of a ${formatShape(x.shape)} tensor`, {
      op,
      received: x.shape,
      expected: 'at least one element along each reduced axis',
    });
  }
}

/** The dtype sums and products have: whole numbers and truth values give int64. */
function accumulateType(dtype: DType): DType {
  return isFloat(dtype) ? dtype : 'int64';
}

/** Sum over `dim` (all axes when absent). Whole numbers and truth values give int64. The sum of nothing is 0. */
export function sum(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  const source = raised(x);
  return reduce(sumPrimitive, source, reductionAxes(x, dim, 'sum'), keepdim, accumulateType(source.dtype));
}

/** Product over `dim`. The product of nothing is 1. */
export function prod(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  const source = raised(x);
  return reduce(prodPrimitive, source, reductionAxes(x, dim, 'prod'), keepdim, accumulateType(source.dtype));
}

/** Number of elements along `axes`. */
export function countAlong(shape: Shape, axes: readonly number[]): number {
  return sizeOf(axes.map((axis) => shape[axis]));
}

/** Arithmetic mean over `dim`. @throws DTypeError for whole numbers. */
export function mean(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  requireKind(x, ['float'], 'mean');
  const axes = reductionAxes(x, dim, 'mean');
  // Half precision would overflow or lose the small summands.
  const wide = dtypeInfo[x.dtype].bytes < 4 ? cast(x, 'float32') : x;
  return cast(div(sum(wide, axes, keepdim), countAlong(x.shape, axes)), x.dtype);
}

/** Largest element over `dim`; NaN if there is one. Equal ones share the gradient. @throws ShapeError when there is none. */
export function amax(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  const axes = reductionAxes(x, dim, 'amax');
  requireElements(x, axes, 'amax');
  return reduce(x.dtype === 'bool' ? anyPrimitive : maxPrimitive, x, axes, keepdim, x.dtype);
}

/** Smallest element over `dim`; NaN if there is one. Equal ones share the gradient. @throws ShapeError when there is none. */
export function amin(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  const axes = reductionAxes(x, dim, 'amin');
  requireElements(x, axes, 'amin');
  return reduce(x.dtype === 'bool' ? allPrimitive : minPrimitive, x, axes, keepdim, x.dtype);
}

/** True where some element over `dim` is not 0. Of nothing: false. */
export function any(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  return reduce(anyPrimitive, cast(x, 'bool'), reductionAxes(x, dim, 'any'), keepdim, 'bool');
}

/** True where every element over `dim` is not 0. Of nothing: true. */
export function all(x: Tensor, dim?: Axes, keepdim = false): Tensor {
  return reduce(allPrimitive, cast(x, 'bool'), reductionAxes(x, dim, 'all'), keepdim, 'bool');
}

/** Number of elements over `dim` that are not 0, int64. */
export function countNonzero(x: Tensor, dim?: Axes): Tensor {
  return sum(cast(x, 'bool'), dim);
}

/** Reduces a gradient of shape `g.shape` to `shape`, from which it was broadcast. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const lead = g.shape.length - shape.length;
  const axes: number[] = [];
  for (let axis = 0; axis < g.shape.length; axis++) {
    if (axis < lead || (shape[axis - lead] === 1 && g.shape[axis] !== 1)) axes.push(axis);
  }
  if (axes.length === 0) return g;
  if (lead < 0) throw new ShapeError(`${formatShape(g.shape)} does not reduce to ${formatShape(shape)}`, { op: 'sumTo' });
  return reshape(sum(g, axes), shape);
}

/** @throws DTypeError for bool, which has no order worth the name here. */
export function requireOrder(x: Tensor, op: string): void {
  if (x.dtype === 'bool')
    throw new DTypeError('truth values have no order', { op, received: 'bool', fix: 'Convert them to an int dtype.' });
}
