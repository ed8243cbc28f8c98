/** Searching and counting. Functions whose result's shape depends on the data read it, so they cannot be traced. */
import { isFloat } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import type { Expr } from '../ir/expr.js';
import { apply1, createFromArray, readSync } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { sub } from './binary.js';
import { cast } from './cast.js';
import { broadcastTo, resultType } from './common.js';
import { primitive } from './define.js';
import { constantOf, zerosOf } from './fill.js';
import { requireIndex, take } from './gather.js';
import { cumsum } from './scan.js';
import { scatterAdd } from './scatter.js';
import { clampIndex } from './statements.js';
import { where } from './ternary.js';
import { reshape } from './view.js';

type SearchAttrs = { readonly right: boolean };

/** Binary search by halving a fixed number of times; NaN counts as larger than everything. */
const searchPrimitive = primitive<SearchAttrs>({
  name: 'searchsorted',
  infer([sorted, values]) {
    const rows = sorted.shape.slice(0, -1);
    if (
      sorted.shape.length === 0 ||
      sorted.dtype !== values.dtype ||
      (rows.length > 0 && rows.some((extent, i) => extent !== values.shape[i]))
    ) {
      throw new ShapeError(
        `sorted ${sorted.dtype} ${formatShape(sorted.shape)} and values ${values.dtype} ${formatShape(values.shape)} do not fit`,
        {
          op: 'searchsorted',
          received: [sorted.shape, values.shape],
          expected: 'one dtype, and a vector, or rows with the leading extents of the values',
        },
      );
    }
    return [{ dtype: 'int64', shape: values.shape }];
  },
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b, inputs, load }, indices, { right }) {
      const { shape } = inputs[0];
      const n = shape[shape.length - 1];
      const row = indices.slice(0, shape.length - 1);
      const value = load(1, indices);
      // The answer lies in [low, low + count].
      let low: Expr = b.i32(0);
      for (let step = 2 ** Math.floor(Math.log2(Math.max(1, n))); step >= 1 && n > 0; step /= 2) {
        const probe = b.add(low, b.i32(step - 1));
        const inside = b.binary('lt', probe, b.i32(n));
        const there = load(0, [...row, clampIndex(b, probe, n)]);
        const passes = right ? notAfter(b, there, value) : comesBefore(b, there, value);
        low = b.select(b.and(inside, passes), b.add(low, b.i32(step)), low);
      }
      return [b.cast(low, 'i64')];
    },
  },
  vjp: null,
  cost: 60,
});

type Builder = Parameters<typeof clampIndex>[0];
const isReal = (x: Expr): boolean => x.type === 'f32' || x.type === 'f64';
function comesBefore(b: Builder, x: Expr, y: Expr): Expr {
  const less = b.binary('lt', x, y);
  return isReal(x) ? b.binary('or', less, b.and(b.binary('eq', x, x), b.binary('ne', y, y))) : less;
}
function notAfter(b: Builder, x: Expr, y: Expr): Expr {
  const ordered = b.binary('le', x, y);
  return isReal(x) ? b.binary('or', ordered, b.binary('ne', y, y)) : ordered;
}

export const searchPrimitives = [searchPrimitive];

export interface SearchOptions {
  /** Behind equal elements instead of in front of them. */
  readonly right?: boolean;
}
/** Where each value would go in an ascending vector (or in the row of its leading indices) to keep it sorted, int64. */
export function searchsorted(sorted: Tensor, values: Tensor, { right = false }: SearchOptions = {}): Tensor {
  const dtype = resultType(sorted, values);
  return composite('searchsorted', () => apply1(searchPrimitive, [cast(sorted, dtype), cast(values, dtype)], { right }));
}
/** The bin between ascending boundaries in which each element lies, int64. */
export function bucketize(x: Tensor, boundaries: Tensor, options: SearchOptions = {}): Tensor {
  return searchsorted(boundaries, x, options);
}

/** Positions of the elements that are not 0: int64 [count, dimensions], in row-major order. Reads the data. */
export function nonzero(x: Tensor): Tensor {
  const data = readSync(x);
  const rank = x.shape.length;
  const flat: number[] = [];
  for (let i = 0; i < data.length; i++) if (Number(data[i]) !== 0) flat.push(i);
  const out = new BigInt64Array(flat.length * rank);
  flat.forEach((position, row) => {
    let rest = position;
    for (let axis = rank - 1; axis >= 0; axis--) {
      out[row * rank + axis] = BigInt(rest % x.shape[axis]);
      rest = Math.floor(rest / x.shape[axis]);
    }
  });
  return createFromArray(out, 'int64', [flat.length, rank]);
}

/** Flat positions of the true elements of a mask, int32. Reads the data. */
function truePositions(mask: Tensor): Tensor {
  const data = readSync(mask);
  const positions: number[] = [];
  for (let i = 0; i < data.length; i++) if (Number(data[i]) !== 0) positions.push(i);
  return createFromArray(positions, 'int32', [positions.length]);
}

/** The elements where the mask (which broadcasts) is true, as a vector. Reads the mask. */
export function maskedSelect(x: Tensor, mask: Tensor): Tensor {
  return composite('maskedSelect', () => take(x, truePositions(broadcastTo(cast(mask, 'bool'), x.shape))));
}

/** A copy of `x` with the elements where the mask is true replaced by those of `source`, in order. */
export function maskedScatter(x: Tensor, mask: Tensor, source: Tensor): Tensor {
  return composite('maskedScatter', () => {
    const chosen = broadcastTo(cast(mask, 'bool'), x.shape);
    const order = sub(cumsum(reshape(cast(chosen, 'int32'), [-1]), 0), 1);
    const values = reshape(take(cast(source, x.dtype), where(reshape(chosen, [-1]), order, 0)), x.shape);
    return where(chosen, values, x);
  });
}

export interface UniqueResult {
  /** The different values in ascending order (every NaN for itself). */
  readonly values: Tensor;
  /** For each element the position of its value, int64, in the input's shape. */
  readonly inverse: Tensor;
  /** How often each value occurs, int64. */
  readonly counts: Tensor;
}
/** The different elements, sorted. Reads the data. */
export function unique(x: Tensor): UniqueResult {
  const data = readSync(x);
  const order = new Uint32Array(data.length).map((_, i) => i);
  const before = (a: number | bigint, b: number | bigint): number =>
    a < b ? -1 : a > b ? 1 : Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  order.sort((p, q) => before(data[p], data[q]) || p - q);
  const values: (number | bigint)[] = [];
  const counts: number[] = [];
  const inverse = new Array<number>(data.length);
  for (const position of order) {
    const value = data[position];
    if (values.length === 0 || values[values.length - 1] !== value) {
      values.push(value);
      counts.push(0);
    }
    counts[counts.length - 1]++;
    inverse[position] = values.length - 1;
  }
  return {
    values: createFromArray(values, x.dtype, [values.length]),
    inverse: createFromArray(inverse, 'int64', x.shape),
    counts: createFromArray(counts, 'int64', [counts.length]),
  };
}

export interface BincountOptions {
  /** A weight for each element instead of 1. */
  readonly weights?: Tensor | null;
  /** The result has at least as many bins. */
  readonly minlength?: number;
}
/** How often 0, 1, 2, ... occur in a vector of whole numbers: int64 (the dtype of the weights, if any). Reads the data. */
export function bincount(x: Tensor, { weights = null, minlength = 0 }: BincountOptions = {}): Tensor {
  requireIndex(x, 'bincount');
  if (x.shape.length !== 1)
    throw new ShapeError(`shape ${formatShape(x.shape)}`, { op: 'bincount', received: x.shape, expected: 'a vector' });
  const data = readSync(x);
  let bins = minlength;
  for (const value of data) {
    if (value < 0)
      throw new ArgumentError(`the element ${value} is negative`, { op: 'bincount', received: value, expected: 'whole numbers from 0 on' });
    bins = Math.max(bins, Number(value) + 1);
  }
  return composite('bincount', () => {
    const dtype = weights === null ? 'int64' : isFloat(weights.dtype) ? weights.dtype : 'float64';
    const source = weights === null ? constantOf(1, 'int64', x.shape) : cast(weights, dtype);
    return bins === 0 ? createFromArray([], dtype, [0]) : scatterAdd(zerosOf(dtype, [bins]), 0, x, source);
  });
}

export interface HistogramOptions {
  readonly bins?: number;
  readonly min: number;
  readonly max: number;
}
/** How many elements lie in each of `bins` equal parts of [min, max], the last part with its end; float32. */
export function histc(x: Tensor, { bins = 100, min, max }: HistogramOptions): Tensor {
  if (!(max > min) || !Number.isInteger(bins) || bins < 1)
    throw new ArgumentError(`${bins} bins from ${min} to ${max}`, { op: 'histc', expected: 'at least one bin, and min < max' });
  const data = readSync(x);
  const result = new Float32Array(bins);
  for (const raw of data) {
    const value = Number(raw);
    if (value < min || value > max || Number.isNaN(value)) continue;
    result[Math.min(bins - 1, Math.floor(((value - min) / (max - min)) * bins))]++;
  }
  return createFromArray(result, 'float32', [bins]);
}

/** Whether both tensors have one shape and equal elements. Reads the data. */
export function equal(a: Tensor, b: Tensor): boolean {
  if (sizeOf(a.shape) !== sizeOf(b.shape) || a.shape.some((extent, i) => extent !== b.shape[i]) || a.shape.length !== b.shape.length)
    return false;
  const [x, y] = [readSync(a), readSync(b)];
  for (let i = 0; i < x.length; i++) if (typeof x[i] === typeof y[i] ? x[i] !== y[i] : Number(x[i]) !== Number(y[i])) return false;
  return true;
}
