/**
 * Writing by index. Each cell of a kernel owns part of the result and walks the index in order, so results do not depend on
 * threads, and of several values for one place the last wins or all combine in order. Indices outside are skipped.
 */
import { dtypeInfo, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { formatShape, normalizeAxis, sizeOf } from '../graph/layout.js';
import type { LoopsContext, Primitive, TensorType, VjpContext } from '../graph/primitive.js';
import type { Expr } from '../ir/expr.js';
import { apply1 } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { div, eq, floorDivide, maximum, mul } from './binary.js';
import { cast } from './cast.js';
import type { Scalar } from './common.js';
import { broadcastTo, operand } from './common.js';
import { primitive } from './define.js';
import { constantOf } from './fill.js';
import { gather, indexSelect, requireIndex } from './gather.js';
import { pad } from './pad.js';
import type { Stage } from './statements.js';
import { divisorUpTo, forLoop, ifThen, inRange, unravel, vectorLoop, wrapIndex } from './statements.js';
import { where } from './ternary.js';
import { expand, reshape } from './view.js';
import { narrow } from './view-slice.js';

type AxisAttrs = { readonly axis: number };
type Mode = 'set' | 'add' | 'mul' | 'max' | 'min';

/** Below this many elements one cell does all. */
const ownershipThreshold = 16384;
/** Cells that share the places of one column by index modulo their number. */
const owners = 8;

function checkScatter(inputs: readonly TensorType[], axis: number, op: string): readonly TensorType[] {
  const [target, index, source] = inputs;
  requireIndex(index, op);
  if (target.dtype !== source.dtype) {
    throw new DTypeError(`a ${target.dtype} tensor and a ${source.dtype} source`, {
      op,
      received: [target.dtype, source.dtype],
      expected: 'one dtype',
    });
  }
  const fits = (shape: Shape, along: boolean): boolean =>
    shape.length === index.shape.length && index.shape.every((extent, i) => (i === axis && !along) || extent <= shape[i]);
  if (!fits(target.shape, false) || !fits(source.shape, true)) {
    throw new ShapeError(
      `shapes ${formatShape(target.shape)}, index ${formatShape(index.shape)} and source ${formatShape(source.shape)} do not fit`,
      {
        op,
        received: inputs.map((i) => i.shape),
        expected: `as many axes; the index no larger than the source, nor than the tensor except along axis ${axis}`,
      },
    );
  }
  return [target];
}

/** One cell for each line of the index along the axis; long lines are shared by the owners of their places. */
function scatterStages(ctx: LoopsContext, axis: number, mode: Mode): readonly Stage[] {
  const { b } = ctx;
  const target = ctx.outputs[0].shape;
  const index = ctx.inputs[1].shape;
  if (sizeOf(index) === 0 || sizeOf(target) === 0) return [];
  const lines = index.with(axis, 1);
  const count = sizeOf(lines);
  const share = count < owners && index[axis] >= ownershipThreshold ? owners : 1;
  const cell = b.loopVar('line');
  const step = b.loopVar('i');
  const owner = b.binary('rem', b.index(cell), b.i32(share));
  const line = unravel(b, b.binary('div', b.index(cell), b.i32(share)), lines);
  const from = line.with(axis, b.index(step));
  const extent = target[axis];
  const place = wrapIndex(b, ctx.load(1, from), extent);
  const inside = inRange(b, place, extent);
  const mine = share === 1 ? inside : b.and(inside, b.binary('eq', b.and(place, b.i32(share - 1)), owner));
  const body = [forLoop(step, index[axis], [ifThen(mine, [ctx.store(0, line.with(axis, place), ctx.load(2, from), mode)])])];
  return [{ grid: count * share, cell, body, work: sizeOf(index) * 6 * share }];
}

const scatterPrimitive = primitive<AxisAttrs>({
  name: 'scatter',
  infer: (inputs, { axis }) => checkScatter(inputs, axis, 'scatter'),
  lowering: { kind: 'loops', alias: true, stages: (ctx, { axis }) => scatterStages(ctx, axis, 'set') },
  saves: { inputs: [1] },
  vjp: (ctx, [g]) => scatterRule(ctx, g, true),
});
const scatterAddPrimitive = primitive<AxisAttrs>({
  name: 'scatterAdd',
  infer: (inputs, { axis }) => checkScatter(inputs, axis, 'scatterAdd'),
  lowering: { kind: 'loops', alias: true, stages: (ctx, { axis }) => scatterStages(ctx, axis, 'add') },
  saves: { inputs: [1] },
  vjp: (ctx, [g]) => scatterRule(ctx, g, false),
});

/** The source's gradient is read back where it went; what was overwritten has none. */
function scatterRule(ctx: VjpContext<AxisAttrs>, g: Tensor | null, overwrites: boolean): (Tensor | null)[] {
  if (g === null) return [null, null, null];
  const { axis } = ctx.attrs;
  const index = ctx.input(1);
  const toTarget = !ctx.needs(0) ? null : overwrites ? scatter(g, axis, index, 0) : g;
  if (!ctx.needs(2)) return [toTarget, null, null];
  return [toTarget, null, padTo(gather(g, axis, index), ctx.inputTypes[2].shape)];
}

/** Zeros around a gradient whose source was larger than the index. */
function padTo(g: Tensor, shape: Shape): Tensor {
  if (g.shape.every((extent, i) => extent === shape[i])) return g;
  return pad(
    g,
    shape.flatMap((_, i) => [0, shape[shape.length - 1 - i] - g.shape[shape.length - 1 - i]]),
  );
}

type ReduceAttrs = { readonly axis: number; readonly reduce: 'mul' | 'max' | 'min' };

const scatterReducePrimitive = primitive<ReduceAttrs>({
  name: 'scatterReduce',
  infer: (inputs, { axis }) => checkScatter(inputs, axis, 'scatterReduce'),
  lowering: { kind: 'loops', alias: true, stages: (ctx, { axis, reduce }) => scatterStages(ctx, axis, reduce) },
  saves: { inputs: [0, 1, 2], outputs: [0] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null, null];
    const { axis, reduce } = ctx.attrs;
    const [target, index] = [ctx.input(0), ctx.input(1)];
    const source = indexedPart(ctx.input(2), index.shape);
    const result = ctx.output(0);
    const back = (t: Tensor): Tensor => gather(t, axis, index);
    if (reduce === 'mul') {
      // As for prod: the product of the others is result / x, or the product without the only zero.
      const targetZero = eq(target, 0);
      const sourceZero = eq(source, 0);
      const zeros = scatterAdd(cast(targetZero, 'int32'), axis, index, cast(sourceZero, 'int32'));
      const rest = apply1(scatterReducePrimitive, [where(targetZero, 1, target), index, where(sourceZero, 1, source)], ctx.attrs);
      const alone = where(eq(zeros, 1), rest, 0);
      const toTarget = mul(g, where(targetZero, alone, div(result, where(targetZero, 1, target))));
      const toSource = mul(back(g), where(sourceZero, back(alone), div(back(result), where(sourceZero, 1, source))));
      return [toTarget, null, padTo(toSource, ctx.inputTypes[2].shape)];
    }
    const targetWins = eq(target, result);
    const sourceWins = eq(source, back(result));
    const winners = scatterAdd(cast(targetWins, g.dtype), axis, index, cast(sourceWins, g.dtype));
    const share = div(g, winners);
    return [where(targetWins, share, 0), null, padTo(where(sourceWins, back(share), 0), ctx.inputTypes[2].shape)];
  },
});

/** The part of a source that the index reaches. */
function indexedPart(source: Tensor, shape: Shape): Tensor {
  let part = source;
  shape.forEach((extent, axis) => {
    if (part.shape[axis] !== extent) part = narrow(part, axis, 0, extent);
  });
  return part;
}

/** Adds slices: out[index[i]] += source[i] along the axis. Columns next to one another move together. */
export const indexAddPrimitive = primitive<AxisAttrs>({
  name: 'indexAdd',
  infer(inputs, { axis }) {
    const [target, index, source] = inputs;
    requireIndex(index, 'indexAdd');
    const expected = index.shape.length === 1 ? target.shape.with(axis, index.shape[0]) : null;
    if (
      expected === null ||
      target.dtype !== source.dtype ||
      expected.length !== source.shape.length ||
      expected.some((e, i) => e !== source.shape[i])
    ) {
      throw new ShapeError(
        `tensor ${target.dtype} ${formatShape(target.shape)}, index ${formatShape(index.shape)} and source ${source.dtype} ${formatShape(source.shape)} do not fit`,
        {
          op: 'indexAdd',
          received: inputs.map((i) => i.shape),
          expected: `a 1-d index and a source of the tensor's dtype and shape, with the length of the index along axis ${axis}`,
        },
      );
    }
    return [target];
  },
  lowering: {
    kind: 'loops',
    alias: true,
    stages(ctx, { axis }) {
      const { b } = ctx;
      const target = ctx.outputs[0].shape;
      const source = ctx.inputs[2].shape;
      const last = target.length - 1;
      if (axis === last) return indexAddLines(ctx, axis);
      if (sizeOf(source) === 0 || sizeOf(target) === 0) return [];
      const block = divisorUpTo(target[last], 128);
      const lead = source.with(axis, 1).with(last, target[last] / block);
      const blocks = sizeOf(lead);
      const share = blocks < owners && sizeOf(source) >= ownershipThreshold ? owners : 1;
      const cell = b.loopVar('block');
      const owner = b.binary('rem', b.index(cell), b.i32(share));
      const at = unravel(b, b.binary('div', b.index(cell), b.i32(share)), lead);
      const step = b.loopVar('i');
      const column = b.loopVar('j');
      const inner = b.add(b.mul(at[last], b.i32(block)), b.index(column));
      const place = wrapIndex(b, ctx.load(1, [b.index(step)]), target[axis]);
      const inside = inRange(b, place, target[axis]);
      const mine = share === 1 ? inside : b.and(inside, b.binary('eq', b.and(place, b.i32(share - 1)), owner));
      const to = at.with(axis, place).with(last, inner);
      const from = at.with(axis, b.index(step)).with(last, inner);
      const sum = combineAdd(ctx, ctx.loadOutput(0, to), ctx.load(2, from));
      const body = [forLoop(step, source[axis], [ifThen(mine, [vectorLoop(column, block, [ctx.store(0, to, sum)])])])];
      return [{ grid: blocks * share, cell, body, work: sizeOf(source) * 3 + source[axis] * blocks * share * 4 }];
    },
  },
  saves: { inputs: [1] },
  vjp: (ctx, [g]) => (g === null ? [null, null, null] : [g, null, ctx.needs(2) ? indexSelect(g, ctx.attrs.axis, ctx.input(1)) : null]),
});

function combineAdd({ b }: LoopsContext, x: Expr, y: Expr): Expr {
  return b.binary(x.type === 'bool' ? 'or' : 'add', x, y);
}

/** indexAdd along the last axis: lines of single elements. */
function indexAddLines(ctx: LoopsContext, axis: number): readonly Stage[] {
  const { b } = ctx;
  const target = ctx.outputs[0].shape;
  const source = ctx.inputs[2].shape;
  if (sizeOf(source) === 0 || sizeOf(target) === 0) return [];
  const lines = source.with(axis, 1);
  const cell = b.loopVar('line');
  const step = b.loopVar('i');
  const line = unravel(b, b.index(cell), lines);
  const place = wrapIndex(b, ctx.load(1, [b.index(step)]), target[axis]);
  const value = ctx.load(2, line.with(axis, b.index(step)));
  const body = [
    forLoop(step, source[axis], [ifThen(inRange(b, place, target[axis]), [ctx.store(0, line.with(axis, place), value, 'add')])]),
  ];
  return [{ grid: sizeOf(lines), cell, body, work: sizeOf(source) * 6 }];
}

export const scatterPrimitives: readonly Primitive[] = [scatterPrimitive, scatterAddPrimitive, scatterReducePrimitive, indexAddPrimitive];

/** Lets 0-d tensors pass for 1-d ones. */
function withDims(x: Tensor, fn: (x: Tensor) => Tensor): Tensor {
  return x.shape.length > 0 ? fn(x) : reshape(fn(reshape(x, [1])), []);
}
function atLeast1d(x: Tensor): Tensor {
  return x.shape.length > 0 ? x : reshape(x, [1]);
}
/** The source as a tensor of the target's dtype; a number fills the index's shape. */
function sourceOf(x: Tensor, index: Tensor, source: Tensor | Scalar): Tensor {
  return atLeast1d(source instanceof Tensor ? cast(source, x.dtype) : broadcastTo(operand(source, x.dtype), index.shape));
}

/** A copy of `x` with `out[index[i][j]][j] = source[i][j]` for dim 0, and so on. Of several values for one place the last stays. */
export function scatter(x: Tensor, dim: number, index: Tensor, source: Tensor | Scalar): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'scatter');
  return withDims(x, (t) => apply1(scatterPrimitive, [t, atLeast1d(index), sourceOf(x, index, source)], { axis }));
}

/** A copy of `x` with `out[index[i][j]][j] += source[i][j]` for dim 0, and so on. */
export function scatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor | Scalar): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'scatterAdd');
  return withDims(x, (t) => apply1(scatterAddPrimitive, [t, atLeast1d(index), sourceOf(x, index, source)], { axis }));
}

export type ScatterReduction = 'sum' | 'prod' | 'mean' | 'amax' | 'amin';
export interface ScatterReduceOptions {
  /** Whether what `x` held takes part where values arrive (default), or is replaced by them. */
  readonly includeSelf?: boolean;
}

/** The value that changes nothing in a reduction. */
function identityOf(reduce: 'sum' | 'prod' | 'amax' | 'amin', x: Tensor): number | bigint {
  if (reduce === 'sum') return 0;
  if (reduce === 'prod') return 1;
  const { bytes } = dtypeInfo[x.dtype];
  if (isFloat(x.dtype)) return reduce === 'amax' ? -Infinity : Infinity;
  if (x.dtype === 'int64') return reduce === 'amax' ? -(2n ** 63n) : 2n ** 63n - 1n;
  const signed = x.dtype !== 'uint8';
  const top = 2 ** (8 * bytes - (signed ? 1 : 0)) - 1;
  return reduce === 'amin' ? top : signed ? -top - 1 : 0;
}

/** A copy of `x` with the values of `source` combined into the places that `index` names along `dim`. */
export function scatterReduce(
  x: Tensor,
  dim: number,
  index: Tensor,
  source: Tensor,
  reduce: ScatterReduction,
  { includeSelf = true }: ScatterReduceOptions = {},
): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'scatterReduce');
  if (x.shape.length === 0) {
    return reshape(scatterReduce(reshape(x, [1]), 0, atLeast1d(index), atLeast1d(source), reduce, { includeSelf }), []);
  }
  return composite('scatterReduce', () => {
    const kind = reduce === 'mean' ? 'sum' : reduce;
    const start = includeSelf ? x : scatter(x, axis, index, identityOf(kind, x));
    switch (reduce) {
      case 'sum':
        return scatterAdd(start, axis, index, source);
      case 'mean': {
        const total = scatterAdd(start, axis, index, source);
        const one = constantOf(1, 'int32', x.shape);
        const self = includeSelf ? one : scatter(one, axis, index, 0);
        const count = maximum(scatterAdd(self, axis, index, constantOf(1, 'int32', index.shape)), 1);
        return isFloat(x.dtype) ? div(total, cast(count, x.dtype)) : floorDivide(total, cast(count, x.dtype));
      }
      case 'prod':
      case 'amax':
      case 'amin': {
        const op = ({ prod: 'mul', amax: 'max', amin: 'min' } as const)[reduce];
        return apply1(scatterReducePrimitive, [start, index, cast(source, x.dtype)], { axis, reduce: op });
      }
      default:
        throw new ArgumentError(`the reduction '${String(reduce satisfies never)}' does not exist`, {
          op: 'scatterReduce',
          received: reduce,
          expected: "'sum', 'prod', 'mean', 'amax' or 'amin'",
        });
    }
  });
}

/** A copy of `x` with slice `index[i]` along `dim` raised by `alpha` times slice i of the source. */
export function indexAdd(x: Tensor, dim: number, index: Tensor, source: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'indexAdd');
  const scaled = cast(alpha === 1 ? source : mul(source, alpha), x.dtype);
  return withDims(x, (t) => apply1(indexAddPrimitive, [t, atLeast1d(index), atLeast1d(scaled)], { axis }));
}

/** A 1-d index as the index that scatter takes for slices of `shape` along `axis`. */
function sliceIndex(index: Tensor, shape: Shape, axis: number): Tensor {
  const lined = shape.map((_, i) => (i === axis ? index.shape[0] : 1));
  return expand(reshape(index, lined), shape.with(axis, index.shape[0]));
}

/** A copy of `x` with slice `index[i]` along `dim` replaced by slice i of the source. */
export function indexCopy(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'indexCopy');
  return composite('indexCopy', () => withDims(x, (t) => scatter(t, axis, sliceIndex(atLeast1d(index), t.shape, axis), atLeast1d(source))));
}

/** A copy of `x` with the slices that `index` names along `dim` filled with one value. */
export function indexFill(x: Tensor, dim: number, index: Tensor, value: Scalar): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'indexFill');
  return composite('indexFill', () => withDims(x, (t) => scatter(t, axis, sliceIndex(atLeast1d(index), t.shape, axis), value)));
}

export interface PutOptions {
  /** Add to what is there instead of replacing it. */
  readonly accumulate?: boolean;
}
/** A copy of `x` with the elements of the flat tensor at `index` replaced by, or raised by, `values`. Support for indexPut. */
export function put(x: Tensor, index: Tensor, values: Tensor | Scalar, { accumulate = false }: PutOptions = {}): Tensor {
  return composite('put', () => {
    const flat = reshape(x, [-1]);
    const at = reshape(index, [-1]);
    const source = values instanceof Tensor ? reshape(broadcastTo(cast(values, x.dtype), index.shape), [-1]) : values;
    return reshape(accumulate ? scatterAdd(flat, 0, at, source) : scatter(flat, 0, at, source), x.shape);
  });
}
