/** Running sums, products and extremes along an axis. */

import type { DType } from '../dtype.js';
import { isFloat } from '../dtype.js';
import type { Shape } from '../graph/layout.js';
import { normalizeAxis, sizeOf } from '../graph/layout.js';
import type { LoopsContext, Primitive, VjpContext } from '../graph/primitive.js';
import type { Expr, LoopVar } from '../ir/expr.js';
import type { Stmt } from '../ir/kernel.js';
import { raised } from '../tensor/autocast.js';
import { apply, apply1 } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, gt, logicalAnd, lt, mul, sub } from './binary.js';
import { logaddexpElement } from './binary-elements.js';
import { cast } from './cast.js';
import { requireKind, toFloat } from './common.js';
import { computeType, primitive } from './define.js';
import { zerosOf } from './fill.js';
import { requireOrder } from './reduce.js';
import { scatterAdd } from './scatter.js';
import type { Stage } from './statements.js';
import { assign, declare, divisorUpTo, forLoop, ifThen, unravel, vectorLoop } from './statements.js';
import type { ValuesAndIndices } from './statistics.js';
import { where } from './ternary.js';
import { exp, log, neg } from './unary.js';
import { reshape } from './view.js';
import { narrow } from './view-slice.js';

type ScanAttrs = { readonly axis: number; readonly reverse: boolean; readonly dtype: DType };

interface Split {
  readonly outer: Shape;
  readonly length: number;
  readonly inner: Shape;
}
function splitAt(shape: Shape, axis: number): Split {
  return { outer: shape.slice(0, axis), length: shape[axis], inner: shape.slice(axis + 1) };
}

/** The element at step `i` of a scan: from the front, or from the back when reversed. */
function positionAt({ b }: LoopsContext, i: Expr, length: number, reverse: boolean): Expr {
  return reverse ? b.sub(b.i32(length - 1), i) : i;
}

type Combine = (ctx: LoopsContext, running: Expr, element: Expr) => Expr;

/** Along the last axis each row is one cell with its running value in a local. */
function rowStages(ctx: LoopsContext, { axis, reverse }: ScanAttrs, initial: number, combine: Combine): readonly Stage[] {
  const { b } = ctx;
  const { shape, dtype } = ctx.outputs[0];
  const { outer, length } = splitAt(shape, axis);
  const type = computeType(dtype);
  const cell = b.loopVar('row');
  const step = b.loopVar('i');
  const running = b.newLocal('running', type);
  const at = [...unravel(b, b.index(cell), outer), positionAt(ctx, b.index(step), length, reverse)];
  const body: Stmt[] = [
    declare(running, b.const(type, initial)),
    forLoop(step, length, [
      assign(running, combine(ctx, b.read(running), b.cast(ctx.load(0, at), type))),
      ctx.store(0, at, b.read(running)),
    ]),
  ];
  return [{ grid: sizeOf(outer), cell, body, work: sizeOf(shape) * 4 }];
}

/** Along another axis, a cell walks it for a block of neighbouring columns at once, reading its last results back. */
function columnStages(ctx: LoopsContext, { axis, reverse }: ScanAttrs, combine: Combine): readonly Stage[] {
  const { b } = ctx;
  const { shape, dtype } = ctx.outputs[0];
  const { outer, length, inner } = splitAt(shape, axis);
  const type = computeType(dtype);
  const columns = inner[inner.length - 1];
  const block = divisorUpTo(columns, 256);
  const lead = [...outer, ...inner.slice(0, -1), columns / block];
  const cell = b.loopVar('block');
  const indices = unravel(b, b.index(cell), lead);
  const before = indices.slice(0, outer.length);
  const between = indices.slice(outer.length, -1);
  const first = b.mul(indices[indices.length - 1], b.i32(block));
  const step = b.loopVar('i');
  const [column, firstColumn] = [b.loopVar('j'), b.loopVar('j')];
  const at = (i: Expr, j: LoopVar): Expr[] => [...before, i, ...between, b.add(first, b.index(j))];
  const load = (i: Expr, j: LoopVar): Expr => b.cast(ctx.load(0, at(i, j)), type);
  const start = positionAt(ctx, b.i32(0), length, reverse);
  const next = positionAt(ctx, b.add(b.index(step), b.i32(1)), length, reverse);
  const last = positionAt(ctx, b.index(step), length, reverse);
  const body: Stmt[] = [
    vectorLoop(firstColumn, block, [ctx.store(0, at(start, firstColumn), load(start, firstColumn))]),
    forLoop(step, length - 1, [
      vectorLoop(column, block, [ctx.store(0, at(next, column), combine(ctx, ctx.loadOutput(0, at(last, column)), load(next, column)))]),
    ]),
  ];
  return [{ grid: sizeOf(lead), cell, body, work: sizeOf(shape) * 2 }];
}

function scan(
  name: string,
  initial: number,
  combine: Combine,
  saves: { inputs?: number[]; outputs?: number[] },
  vjp: (ctx: VjpContext<ScanAttrs>, g: Tensor) => Tensor,
): Primitive {
  return primitive<ScanAttrs>({
    name,
    infer: ([input], { dtype }) => [{ dtype, shape: input.shape }],
    lowering: {
      kind: 'loops',
      alias: false,
      stages(ctx, attrs) {
        const { shape } = ctx.outputs[0];
        if (sizeOf(shape) === 0) return [];
        return attrs.axis === shape.length - 1 ? rowStages(ctx, attrs, initial, combine) : columnStages(ctx, attrs, combine);
      },
    },
    saves,
    vjp: (ctx, [g]) => [g === null ? null : vjp(ctx, g)],
  });
}

const cumsumPrimitive = scan(
  'cumsum',
  0,
  ({ b }, running, x) => b.add(running, x),
  {},
  (ctx, g) => apply1(cumsumPrimitive, [g], { ...ctx.attrs, reverse: !ctx.attrs.reverse, dtype: g.dtype }),
);

/**
 * d(prod of x[0..k]) / dx[i] summed over k >= i. Before the first zero of a row that is the reversed running sum of g * y over x;
 * at the first zero it is the same with that zero taken for 1; behind it nothing.
 */
const cumprodPrimitive = scan(
  'cumprod',
  1,
  ({ b }, running, x) => b.mul(running, x),
  { inputs: [0], outputs: [0] },
  (ctx, g) => {
    const { axis, reverse } = ctx.attrs;
    const x = ctx.input(0);
    const walk = (p: Primitive, t: Tensor, back: boolean): Tensor => apply1(p, [t], { axis, reverse: back, dtype: t.dtype });
    const isZero = eq(x, 0);
    const zeros = walk(cumsumPrimitive, cast(isZero, 'int32'), reverse);
    const isFirst = logicalAnd(isZero, eq(zeros, 1));
    const withoutFirst = walk(cumprodPrimitive, where(isFirst, 1, x), reverse);
    const before = div(walk(cumsumPrimitive, mul(g, ctx.output(0)), !reverse), where(isZero, 1, x));
    const at = walk(cumsumPrimitive, mul(g, withoutFirst), !reverse);
    return where(eq(zeros, 0), before, where(isFirst, at, 0));
  },
);

/** out[k] = log(sum of exp(x[0..k])), so dx[i] = exp(x[i]) * sum over k >= i of g[k] * exp(-out[k]): both signs of g in logarithms. */
const logcumsumexpPrimitive = scan(
  'logcumsumexp',
  -Infinity,
  ({ b }, running, x) => logaddexpElement(b, running, x),
  { inputs: [0], outputs: [0] },
  (ctx, g) => {
    const part = (positive: Tensor): Tensor => {
      // Nothing is taken from what has no logarithm: -Infinity - -Infinity would be NaN.
      const some = gt(positive, 0);
      const logs = where(some, sub(log(where(some, positive, 1)), where(some, ctx.output(0), 0)), -Infinity);
      const summed = apply1(logcumsumexpPrimitive, [logs], { ...ctx.attrs, reverse: !ctx.attrs.reverse });
      return exp(add(summed, ctx.input(0)));
    };
    return sub(part(where(gt(g, 0), g, 0)), part(where(lt(g, 0), neg(g), 0)));
  },
);

type ExtremeAttrs = { readonly axis: number; readonly largest: boolean };

/** The running extreme and the position of its last occurrence. NaN stays once met. */
const cumExtremePrimitive = primitive<ExtremeAttrs>({
  name: 'cumExtreme',
  infer: ([input]) => [input, { dtype: 'int64', shape: input.shape }],
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { axis, largest }) {
      const { b } = ctx;
      const { shape, dtype } = ctx.outputs[0];
      if (sizeOf(shape) === 0) return [];
      const { outer, length, inner } = splitAt(shape, axis);
      const type = computeType(dtype);
      const cell = b.loopVar('row');
      const step = b.loopVar('i');
      const best = b.newLocal('best', type);
      const position = b.newLocal('position', 'i32');
      const lead = unravel(b, b.index(cell), [...outer, ...inner]);
      const at = (i: Expr): Expr[] => [...lead.slice(0, outer.length), i, ...lead.slice(outer.length)];
      const x = ctx.load(0, at(b.index(step)));
      const running = b.read(best);
      const ordered = largest ? b.binary('le', running, x) : b.binary('le', x, running);
      const isReal = isFloat(dtype);
      // An element that is not a number always wins; against a running NaN no comparison holds.
      const wins = isReal ? b.binary('or', ordered, b.binary('ne', x, x)) : ordered;
      const body: Stmt[] = [
        declare(best, ctx.load(0, at(b.i32(0)))),
        declare(position, b.i32(0)),
        forLoop(step, length, [
          ifThen(wins, [assign(best, x), assign(position, b.index(step))]),
          ctx.store(0, at(b.index(step)), running),
          ctx.store(1, at(b.index(step)), b.cast(b.read(position), 'i64')),
        ]),
      ];
      return [{ grid: sizeOf(outer) * sizeOf(inner), cell, body, work: sizeOf(shape) * 6 }];
    },
  },
  saves: { outputs: [1] },
  vjp: (ctx, [g]) => [g === null ? null : scatterAdd(zerosOf(g.dtype, g.shape), ctx.attrs.axis, ctx.output(1), g)],
});

export const scanPrimitives = [cumsumPrimitive, cumprodPrimitive, logcumsumexpPrimitive, cumExtremePrimitive];

function run(p: Primitive, x: Tensor, dim: number): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, p.name);
  const dtype = isFloat(x.dtype) ? x.dtype : 'int64';
  if (x.shape.length === 0) return reshape(run(p, reshape(x, [1]), 0), []);
  return apply1(p, [x], { axis, reverse: false, dtype });
}

/** Running sum along `dim`. Whole numbers and truth values give int64. */
export function cumsum(x: Tensor, dim: number): Tensor {
  return run(cumsumPrimitive, raised(x), dim);
}
/** Running product along `dim`. Whole numbers and truth values give int64. */
export function cumprod(x: Tensor, dim: number): Tensor {
  return run(cumprodPrimitive, raised(x), dim);
}
/** Running `log(sum(exp(x)))` along `dim`. */
export function logcumsumexp(x: Tensor, dim: number): Tensor {
  return run(logcumsumexpPrimitive, toFloat(x), dim);
}

function cumExtreme(x: Tensor, dim: number, largest: boolean): ValuesAndIndices {
  const op = largest ? 'cummax' : 'cummin';
  requireOrder(x, op);
  const axis = normalizeAxis(dim, x.shape.length, op);
  const source = x.shape.length === 0 ? reshape(x, [1]) : x;
  const [values, indices] = apply(cumExtremePrimitive, [source], { axis, largest });
  return x.shape.length === 0 ? { values: reshape(values, []), indices: reshape(indices, []) } : { values, indices };
}
/** Running maximum along `dim` and where it was met last. */
export function cummax(x: Tensor, dim: number): ValuesAndIndices {
  return cumExtreme(x, dim, true);
}
/** Running minimum along `dim` and where it was met last. */
export function cummin(x: Tensor, dim: number): ValuesAndIndices {
  return cumExtreme(x, dim, false);
}

/** Differences of neighbours along `dim`, `n` times over. */
export function diff(x: Tensor, { n = 1, dim = -1 }: { readonly n?: number; readonly dim?: number } = {}): Tensor {
  requireKind(x, ['float', 'int'], 'diff');
  const axis = normalizeAxis(dim, x.shape.length, 'diff');
  return composite('diff', () => {
    let current = mul(x, 1);
    for (let round = 0; round < n; round++) {
      const rest = Math.max(0, current.shape[axis] - 1);
      current = sub(narrow(current, axis, Math.min(1, current.shape[axis]), rest), narrow(current, axis, 0, rest));
    }
    return current;
  });
}
