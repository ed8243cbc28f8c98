/** Rows of a table by number, alone and in bags. */
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { recordRows } from '../autograd/sparse.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, gt, maximum, mul, ne, sub } from './binary.js';
import { cast } from './cast.js';
import { stopGradient } from './common.js';
import { full, ones, zeros } from './create.js';
import { indexSelect, requireIndex } from './gather.js';
import { iota } from './iota.js';
import { sum } from './reduce.js';
import { selectRows, setRows } from './rows.js';
import { indexAdd, scatterReduce } from './scatter.js';
import { searchsorted } from './search.js';
import { max, norm } from './statistics.js';
import { where } from './ternary.js';
import { expand, reshape } from './view.js';
import { narrow } from './view-slice.js';

export interface EmbeddingOptions {
  /** A row that no gradient reaches. */
  readonly paddingIdx?: number | null;
  /** Rows that are looked up and have a larger norm are scaled down to it first, in place. */
  readonly maxNorm?: number | null;
  /** Which norm that is. Default 2. */
  readonly normType?: number;
  /** Divides the gradient of a row by how often it is looked up. */
  readonly scaleGradByFreq?: boolean;
  /** Leaves the gradient of a leaf as rows, in `.sparseGrad`; see SparseGrad. */
  readonly sparse?: boolean;
}

function checkTable(weight: Tensor, index: Tensor, op: string): void {
  if (weight.shape.length !== 2) {
    throw new ShapeError(`a weight of shape ${formatShape(weight.shape)}`, {
      op,
      received: weight.shape,
      expected: 'two dimensions, [count, features]',
    });
  }
  requireIndex(index, op);
}

/** Scales the rows that `index` names down to a norm of at most `limit`, in place. */
function limitNorms(weight: Tensor, index: Tensor, limit: number, p: number): void {
  noGrad(() =>
    composite('maxNorm', () => {
      const table = stopGradient(weight);
      const rows = selectRows(table, index);
      const norms = norm(rows, p, 1, true);
      setRows(table, index, mul(rows, where(gt(norms, limit), div(limit, add(norms, 1e-7)), 1)));
    }),
  );
}

/** Rows of `weight` [count, features] by index [...]: [..., features]. */
export function embedding(index: Tensor, weight: Tensor, options: EmbeddingOptions = {}): Tensor {
  const { paddingIdx = null, maxNorm = null, normType = 2, scaleGradByFreq = false, sparse = false } = options;
  checkTable(weight, index, 'embedding');
  return composite('embedding', () => {
    const [count, features] = weight.shape;
    const flat = reshape(index, [-1]);
    const padding = paddingIdx === null ? null : paddingIdx < 0 ? paddingIdx + count : paddingIdx;
    if (padding !== null && !(padding >= 0 && padding < count)) {
      throw new ArgumentError(`paddingIdx ${paddingIdx}`, { op: 'embedding', received: paddingIdx, expected: `a row below ${count}` });
    }
    if (maxNorm !== null) limitNorms(weight, flat, maxNorm, normType);
    const shape = [...index.shape, features];
    if ((sparse || scaleGradByFreq) && weight.requiresGrad && isGradEnabled()) {
      const rows = noGrad(() => indexSelect(weight, 0, flat));
      recordRows(weight, flat, rows, { padding, byFrequency: scaleGradByFreq, sparse });
      return reshape(rows, shape);
    }
    const rows = reshape(indexSelect(weight, 0, flat), shape);
    if (padding === null || !rows.requiresGrad) return rows;
    const isPadding = reshape(eq(index, padding), [...index.shape, 1]);
    return where(expand(isPadding, rows.shape), stopGradient(rows), rows);
  });
}

export type EmbeddingBagMode = 'sum' | 'mean' | 'max';
export interface EmbeddingBagOptions extends EmbeddingOptions {
  /** Default 'mean'. */
  readonly mode?: EmbeddingBagMode;
  /** Where each bag starts in a 1-d index, ascending from 0; without it the rows of a 2-d index are the bags. */
  readonly offsets?: Tensor | null;
  /** The last offset is the end of the last bag, not the start of another one. */
  readonly includeLastOffset?: boolean;
  /** A factor for each row, in the shape of the index; with 'sum' only. */
  readonly perSampleWeights?: Tensor | null;
}

/**
 * Sums, means or maxima over bags of rows: index [bags, length], or index [n] with offsets [bags], to [bags, features].
 * Entries equal to `paddingIdx` take no part; an empty bag gives 0.
 */
export function embeddingBag(index: Tensor, weight: Tensor, options: EmbeddingBagOptions = {}): Tensor {
  const { mode = 'mean', offsets = null, perSampleWeights = null, includeLastOffset = false, paddingIdx = null, ...lookup } = options;
  checkTable(weight, index, 'embeddingBag');
  if (index.shape.length !== (offsets === null ? 2 : 1)) {
    throw new ShapeError(`an index of shape ${formatShape(index.shape)}${offsets === null ? ' without offsets' : ' with offsets'}`, {
      op: 'embeddingBag',
      received: index.shape,
      expected: offsets === null ? '[bags, length]' : '[n]',
    });
  }
  if (perSampleWeights !== null && (mode !== 'sum' || !shapesEqual(perSampleWeights.shape, index.shape))) {
    throw new ArgumentError(`perSampleWeights ${formatShape(perSampleWeights.shape)} with mode '${mode}'`, {
      op: 'embeddingBag',
      received: perSampleWeights.shape,
      expected: `mode 'sum' and the shape of the index, ${formatShape(index.shape)}`,
    });
  }
  return composite('embeddingBag', () => {
    const [count] = weight.shape;
    const padding = paddingIdx === null ? null : paddingIdx < 0 ? paddingIdx + count : paddingIdx;
    const found = embedding(index, weight, { ...lookup, paddingIdx });
    const rows = perSampleWeights === null ? found : mul(found, reshape(perSampleWeights, [...index.shape, 1]));
    const wide = (t: Tensor): Tensor => reshape(t, [...t.shape, 1]);
    const counted = padding === null ? null : ne(index, padding);
    const zero = counted === null ? rows : where(expand(wide(counted), rows.shape), rows, 0);
    const number = counted === null ? ones(index.shape, { dtype: rows.dtype }) : cast(counted, rows.dtype);
    const low = counted === null ? rows : where(expand(wide(counted), rows.shape), rows, -Infinity);
    if (offsets === null) {
      if (mode === 'sum') return sum(zero, 1);
      const sizes = wide(sum(number, 1));
      if (mode === 'mean') return div(sum(zero, 1), maximum(sizes, 1));
      return index.shape[1] === 0 ? sum(rows, 1) : where(gt(sizes, 0), max(low, 1).values, 0);
    }
    requireIndex(offsets, 'embeddingBag');
    const starts = includeLastOffset ? narrow(offsets, 0, 0, offsets.shape[0] - 1) : offsets;
    const bags = starts.shape[0];
    const features = weight.shape[1];
    const [n] = index.shape;
    const bag = sub(searchsorted(starts, iota(n, offsets.dtype), { right: true }), 1);
    const totals = (t: Tensor): Tensor => indexAdd(zeros([bags, ...t.shape.slice(1)], { dtype: t.dtype }), 0, bag, t);
    if (mode === 'sum') return totals(zero);
    const sizes = wide(totals(number));
    if (mode === 'mean') return div(totals(zero), maximum(sizes, 1));
    const start = full([bags, features], -Infinity, { dtype: rows.dtype });
    return where(gt(sizes, 0), scatterReduce(start, 0, expand(wide(bag), [n, features]), low, 'amax'), 0);
  });
}
