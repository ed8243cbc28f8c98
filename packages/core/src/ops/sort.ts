/** Sorting along an axis, and what follows from an order. */
import { isFloat } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { normalizeAxis, sizeOf } from '../graph/layout.js';
import type { LoopsContext } from '../graph/primitive.js';
import type { Expr, Local } from '../ir/expr.js';
import type { Stmt } from '../ir/kernel.js';
import { apply } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './binary.js';
import { primitive } from './define.js';
import { zerosOf } from './fill.js';
import { amax, any } from './reduce.js';
import { scatterAdd } from './scatter.js';
import { assign, declare, forLoop, ifThen, unravel, whileLoop } from './statements.js';
import type { ValuesAndIndices } from './statistics.js';
import { lerp, where } from './ternary.js';
import { isNaN } from './unary.js';
import { reshape, transpose } from './view.js';
import { narrow } from './view-slice.js';

/** Runs of this length are sorted by insertion before the merging starts. */
const runLength = 16;

type SortAttrs = { readonly descending: boolean };

/** Builds the loops that order one row: positions move, keys are read from the input. */
class RowSorter {
  private readonly ctx: LoopsContext;
  private readonly row: readonly Expr[];
  private readonly n: number;
  private readonly descending: boolean;

  constructor(ctx: LoopsContext, row: readonly Expr[], n: number, descending: boolean) {
    this.ctx = ctx;
    this.row = row;
    this.n = n;
    this.descending = descending;
  }
  private position(buffer: number, at: Expr): Expr {
    return this.ctx.loadOutput(buffer, [...this.row, at]);
  }
  private setPosition(buffer: number, at: Expr, value: Expr): Stmt {
    return this.ctx.store(buffer, [...this.row, at], value);
  }
  key(position: Expr): Expr {
    return this.ctx.load(0, [...this.row, position]);
  }
  /** Whether key x comes strictly before key y. NaN counts as larger than everything. */
  private before(x: Expr, y: Expr): Expr {
    const { b } = this.ctx;
    const [low, high] = this.descending ? [y, x] : [x, y];
    if (x.type === 'bool') return b.binary('lt', b.cast(low, 'i32'), b.cast(high, 'i32'));
    const less = b.binary('lt', low, high);
    if (x.type !== 'f32' && x.type !== 'f64') return less;
    return b.binary('or', less, b.and(b.binary('ne', high, high), b.binary('eq', low, low)));
  }
  private local(name: string, value: Expr, into: Stmt[]): Local {
    const local = this.ctx.b.newLocal(name, value.type);
    into.push(declare(local, value));
    return local;
  }

  /** Positions 0..n-1 into `buffer`, each run of {@link runLength} in order. */
  insertionRuns(buffer: number): Stmt[] {
    const { b } = this.ctx;
    const run = b.loopVar('run');
    const step = b.loopVar('i');
    const start = b.mul(b.index(run), b.i32(runLength));
    const body: Stmt[] = [];
    const last = b.binary('min', b.i32(runLength), b.sub(b.i32(this.n), start));
    const at = b.add(start, b.index(step));
    const insert: Stmt[] = [];
    const key = b.read(this.local('key', this.key(at), insert));
    const hole = this.local('hole', at, insert);
    const previous = b.sub(b.read(hole), b.i32(1));
    // The loop's condition is evaluated in full, so the position before the run is read as its first.
    const neighbour = this.position(buffer, b.binary('max', previous, start));
    insert.push(
      whileLoop(b.and(b.binary('lt', start, b.read(hole)), this.before(key, this.key(b.binary('max', b.i32(0), neighbour)))), [
        this.setPosition(buffer, b.read(hole), neighbour),
        assign(hole, previous),
      ]),
      this.setPosition(buffer, b.read(hole), at),
    );
    // Every position is written once before it is read.
    const fill = b.loopVar('i');
    body.push(
      forLoop(fill, last, [this.setPosition(buffer, b.add(start, b.index(fill)), b.add(start, b.index(fill)))]),
      forLoop(step, last, insert),
    );
    return [forLoop(run, Math.ceil(this.n / runLength), body)];
  }

  /** Merges neighbouring runs of `width` from one buffer into the other; of equal keys the left one goes first. */
  merge(from: number, to: number, width: number): Stmt[] {
    const { b } = this.ctx;
    const pair = b.loopVar('pair');
    const start = b.mul(b.index(pair), b.i32(2 * width));
    const body: Stmt[] = [];
    const limit = b.i32(this.n);
    const middle = b.read(this.local('middle', b.binary('min', b.add(start, b.i32(width)), limit), body));
    const end = b.read(this.local('end', b.binary('min', b.add(start, b.i32(2 * width)), limit), body));
    const left = this.local('left', start, body);
    const right = this.local('right', middle, body);
    const out = b.loopVar('k');
    const top = b.i32(this.n - 1);
    const leftAt = this.position(from, b.binary('min', b.read(left), top));
    const rightAt = this.position(from, b.binary('min', b.read(right), top));
    const leftEmpty = b.binary('le', middle, b.read(left));
    const rightLeft = b.binary('lt', b.read(right), end);
    const takeRight = b.and(rightLeft, b.binary('or', leftEmpty, this.before(this.key(rightAt), this.key(leftAt))));
    const k = b.add(start, b.index(out));
    body.push(
      forLoop(out, b.sub(end, start), [
        ifThen(
          takeRight,
          [this.setPosition(to, k, rightAt), assign(right, b.add(b.read(right), b.i32(1)))],
          [this.setPosition(to, k, leftAt), assign(left, b.add(b.read(left), b.i32(1)))],
        ),
      ]),
    );
    return [forLoop(pair, Math.ceil(this.n / (2 * width)), body)];
  }
}

/**
 * Sorts the rows along the last axis, stably. Outputs: values, positions (int64), and two int32 work areas. NaN counts as larger
 * than every number. Insertion sort of short runs, then merges from one work area to the other.
 */
const sortPrimitive = primitive<SortAttrs>({
  name: 'sort',
  infer: ([input]) => {
    const { shape } = input;
    return [input, { dtype: 'int64', shape }, { dtype: 'int32', shape }, { dtype: 'int32', shape }];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { descending }) {
      const { b } = ctx;
      const { shape } = ctx.inputs[0];
      if (sizeOf(shape) === 0) return [];
      const n = shape[shape.length - 1];
      const lead = shape.slice(0, -1);
      const cell = b.loopVar('row');
      const row = unravel(b, b.index(cell), lead);
      const sorter = new RowSorter(ctx, row, n, descending);
      let [from, to] = [2, 3];
      const body: Stmt[] = sorter.insertionRuns(from);
      for (let width = runLength; width < n; width *= 2) {
        body.push(...sorter.merge(from, to, width));
        [from, to] = [to, from];
      }
      const step = b.loopVar('i');
      const position = ctx.loadOutput(from, [...row, b.index(step)]);
      body.push(
        forLoop(step, n, [
          ctx.store(0, [...row, b.index(step)], sorter.key(position)),
          ctx.store(1, [...row, b.index(step)], b.cast(position, 'i64')),
        ]),
      );
      return [{ grid: sizeOf(lead), cell, body, work: sizeOf(shape) * 8 * Math.ceil(Math.log2(n + 1)) }];
    },
  },
  saves: { outputs: [1] },
  vjp: (ctx, [g]) => [g === null ? null : scatterAdd(zerosOf(g.dtype, g.shape), -1, ctx.output(1), g)],
});

export const sortPrimitives = [sortPrimitive];

/** Runs the sort along `axis`; both results have the shape of `x`. */
function sortAlong(x: Tensor, axis: number, descending: boolean): ValuesAndIndices {
  if (x.shape.length === 0) {
    const one = sortAlong(reshape(x, [1]), 0, descending);
    return { values: reshape(one.values, []), indices: reshape(one.indices, []) };
  }
  const last = x.shape.length - 1;
  const source = axis === last ? x : transpose(x, axis, last);
  const [values, indices] = apply(sortPrimitive, [source], { descending });
  return axis === last ? { values, indices } : { values: transpose(values, axis, last), indices: transpose(indices, axis, last) };
}

export interface SortOptions {
  readonly descending?: boolean;
}

/** Sorts along `dim`, stably; NaN last (first when descending). Indices say where each element was. */
export function sort(x: Tensor, dim = -1, { descending = false }: SortOptions = {}): ValuesAndIndices {
  return composite('sort', () => sortAlong(x, normalizeAxis(dim, x.shape.length, 'sort'), descending));
}
/** The indices that {@link sort} gives, int64. */
export function argsort(x: Tensor, dim = -1, options: SortOptions = {}): Tensor {
  return composite('argsort', () => sort(x, dim, options).indices);
}

export interface TopkOptions {
  /** The largest (default) or the smallest. */
  readonly largest?: boolean;
}
/** The k largest elements along `dim` in descending order (or the smallest in ascending order), and where they are. */
export function topk(x: Tensor, k: number, dim = -1, { largest = true }: TopkOptions = {}): ValuesAndIndices {
  const axis = normalizeAxis(dim, x.shape.length, 'topk');
  const size = x.shape[axis] ?? 1;
  if (!Number.isInteger(k) || k < 0 || k > size) {
    throw new ArgumentError(`k is ${k}, and there are ${size} elements along axis ${axis}`, {
      op: 'topk',
      received: k,
      expected: `a whole number from 0 to ${size}`,
    });
  }
  return composite('topk', () => {
    const sorted = sortAlong(x, axis, largest);
    if (x.shape.length === 0) return sorted;
    return { values: narrow(sorted.values, axis, 0, k), indices: narrow(sorted.indices, axis, 0, k) };
  });
}

/** The k-th smallest element (k from 1) along `dim`, and where it is. */
export function kthvalue(x: Tensor, k: number, dim = -1, keepdim = false): ValuesAndIndices {
  const axis = normalizeAxis(dim, x.shape.length, 'kthvalue');
  const size = x.shape[axis] ?? 1;
  if (!Number.isInteger(k) || k < 1 || k > size) {
    throw new ArgumentError(`k is ${k}, and there are ${size} elements along axis ${axis}`, {
      op: 'kthvalue',
      received: k,
      expected: `a whole number from 1 to ${size}`,
    });
  }
  return composite('kthvalue', () => {
    const sorted = sortAlong(x, axis, false);
    if (x.shape.length === 0) return sorted;
    const pick = (t: Tensor): Tensor => {
      const one = narrow(t, axis, k - 1, 1);
      return keepdim ? one : reshape(one, x.shape.toSpliced(axis, 1));
    };
    return { values: pick(sorted.values), indices: pick(sorted.indices) };
  });
}

/** The median of all elements (the lower of two middle ones; NaN if there is one), or along `dim` the medians and where they are. */
export function median(x: Tensor): Tensor;
export function median(x: Tensor, dim: number, keepdim?: boolean): ValuesAndIndices;
export function median(x: Tensor, dim?: number, keepdim = false): Tensor | ValuesAndIndices {
  return composite('median', () => {
    const source = dim === undefined ? reshape(x, [-1]) : x;
    const axis = normalizeAxis(dim ?? 0, source.shape.length, 'median');
    const size = source.shape[axis] ?? 1;
    const middle = kthvalue(source, Math.max(1, Math.ceil(size / 2)), axis, keepdim);
    if (!isFloat(x.dtype) || source.shape.length === 0) return dim === undefined ? middle.values : middle;
    // NaN sorts last: a row that has one is its own median.
    const hasNaN = any(isNaN(source), axis, keepdim);
    const last = kthvalue(source, size, axis, keepdim);
    const values = where(hasNaN, last.values, middle.values);
    return dim === undefined ? values : { values, indices: where(hasNaN, last.indices, middle.indices) };
  });
}

/** The q-quantile (0 to 1) along `dim`, or of all elements, by linear interpolation between neighbours. */
export function quantile(x: Tensor, q: number, dim?: number, keepdim = false): Tensor {
  if (!(q >= 0 && q <= 1))
    throw new ArgumentError(`the quantile ${q} does not exist`, { op: 'quantile', received: q, expected: 'a number from 0 to 1' });
  return composite('quantile', () => {
    const source = dim === undefined ? reshape(x, [-1]) : x;
    const axis = normalizeAxis(dim ?? 0, source.shape.length, 'quantile');
    const size = source.shape[axis] ?? 1;
    const sorted = sortAlong(source, axis, false).values;
    const at = q * (size - 1);
    const low = Math.floor(at);
    const part = (i: number): Tensor => (source.shape.length === 0 ? sorted : narrow(sorted, axis, Math.min(i, size - 1), 1));
    const value = lerp(part(low), part(low + 1), at - low);
    // NaN sorts last.
    const kept = isFloat(x.dtype) ? where(any(isNaN(source), axis, true), amax(source, axis, true), value) : value;
    return keepdim ? mul(kept, 1) : reshape(kept, source.shape.toSpliced(axis, 1));
  });
}
