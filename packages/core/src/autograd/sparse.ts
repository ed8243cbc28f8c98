/**
 * Gradients of tables of which a step uses few rows: the rows and their numbers instead of a tensor of the table's size.
 * They exist at leaves only. Where a gradient goes on (a table that is computed, grad(), a hook, a second derivative) it is
 * dense.
 */
import type { Shape } from '../graph/layout.js';
import { add, div, eq, lt, ne } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { fullLike, ones, zeros } from '../ops/create.js';
import { indexSelect } from '../ops/gather.js';
import { concat } from '../ops/join.js';
import { cumsum } from '../ops/scan.js';
import { indexAdd, scatter } from '../ops/scatter.js';
import { sort } from '../ops/sort.js';
import { where } from '../ops/ternary.js';
import { reshape } from '../ops/view.js';
import { narrow } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { noGrad } from './mode.js';
import { edgeOf, GradNode } from './node.js';
import { attachOutputs } from './record.js';
import { type Saved, saveTensor } from './saved.js';

/** Some rows of a gradient; the others are 0. */
export class SparseGrad {
  /** Row numbers, int32 or int64 [n]. The same row may come several times; numbers from `shape[0]` on stand for no row. */
  readonly indices: Tensor;
  /** [n, ...shape.slice(1)] in the dtype of the leaf. */
  readonly values: Tensor;
  /** That of the leaf. */
  readonly shape: Shape;
  /** No row comes twice. */
  readonly isCoalesced: boolean;

  constructor(indices: Tensor, values: Tensor, shape: Shape, isCoalesced = false) {
    this.indices = indices;
    this.values = values;
    this.shape = shape;
    this.isCoalesced = isCoalesced;
  }

  /**
   * The same gradient with each row once, in ascending order; values of equal rows are added in their order. As many entries
   * as before, so that shapes are known inside jit(): those left over are numbered `shape[0]`, with values 0.
   */
  coalesce(): SparseGrad {
    if (this.isCoalesced) return this;
    const { shape, indices, values } = this;
    const n = indices.shape[0];
    if (n <= 1) return new SparseGrad(indices, values, shape, true);
    const parts = noGrad(() =>
      composite('coalesce', () => {
        const { values: sorted, indices: order } = sort(indices);
        const isNew = ne(narrow(sorted, 0, 1, n - 1), narrow(sorted, 0, 0, n - 1));
        const position = cumsum(concat([zeros([1], { dtype: 'int32' }), cast(isNew, 'int32')], 0), 0);
        const rows = scatter(fullLike(sorted, shape[0]), 0, position, sorted);
        const sums = indexAdd(zeros(values.shape, { dtype: values.dtype }), 0, position, indexSelect(values, 0, order));
        return [rows, sums] as const;
      }),
    );
    return new SparseGrad(parts[0], parts[1], shape, true);
  }

  /** The gradient as an ordinary tensor. */
  toDense(): Tensor {
    const { shape, indices, values } = this;
    return noGrad(() => composite('toDense', () => indexAdd(zeros(shape, { dtype: values.dtype }), 0, indices, values)));
  }

  /** The same rows with other values, of the same shape and dtype. */
  mapValues(fn: (values: Tensor) => Tensor): SparseGrad {
    return new SparseGrad(this.indices, fn(this.values), this.shape, this.isCoalesced);
  }

  /** The sum of both. */
  plus(other: SparseGrad): SparseGrad {
    const indices = noGrad(() => concat([this.indices, cast(other.indices, this.indices.dtype)], 0));
    return new SparseGrad(
      indices,
      noGrad(() => concat([this.values, other.values], 0)),
      this.shape,
    );
  }

  get isDisposed(): boolean {
    return this.values.isDisposed;
  }
  dispose(): void {
    this.indices.dispose();
    this.values.dispose();
  }
}

interface RowsOptions {
  /** A row number that gets no gradient. */
  readonly padding: number | null;
  /** Divides the gradient of a row by how often it is looked up. */
  readonly byFrequency: boolean;
  /** Whether a leaf gets the rows; else their dense sum. */
  readonly sparse: boolean;
}

/** Looks rows of a table up; knows its gradient as rows. */
export class RowsNode extends GradNode {
  readonly sparse: boolean;
  private readonly index: Saved;
  private readonly shape: Shape;
  private readonly padding: number | null;
  private readonly byFrequency: boolean;

  constructor(table: Tensor, index: Tensor, { padding, byFrequency, sparse }: RowsOptions) {
    super('embedding', [edgeOf(table)], [{ dtype: table.dtype, shape: table.shape }]);
    this.sparse = sparse;
    this.index = saveTensor(index);
    this.shape = table.shape;
    this.padding = padding;
    this.byFrequency = byFrequency;
  }

  /** The gradient from that of the rows, [n, ...]. */
  rows(gradient: Tensor): SparseGrad {
    const [count] = this.shape;
    const given = this.index.get(this.name, 'the index');
    const [indices, values] = composite('embedding gradient', () => {
      const index = given.dtype === 'int64' ? given : cast(given, 'int32');
      const positive = where(lt(index, 0), add(index, count), index);
      const numbers = this.padding === null ? positive : where(eq(positive, this.padding), count, positive);
      return [numbers, this.byFrequency ? perOccurrence(gradient, numbers, count) : gradient] as const;
    });
    return new SparseGrad(indices, values, this.shape);
  }
  override backward([gradient]: readonly (Tensor | null)[]): readonly (Tensor | null)[] {
    if (gradient === null) return [null];
    const { indices, values } = this.rows(gradient);
    return [indexAdd(zeros(this.shape, { dtype: values.dtype }), 0, indices, values)];
  }
  override release(): void {
    this.index.release();
  }
}

/** Each row divided by how often its number occurs. */
function perOccurrence(values: Tensor, numbers: Tensor, count: number): Tensor {
  const zero = zeros([count + 1], { dtype: values.dtype });
  const often = indexSelect(indexAdd(zero, 0, numbers, ones(numbers.shape, { dtype: values.dtype })), 0, numbers);
  return div(values, reshape(often, [-1, ...values.shape.slice(1).map(() => 1)]));
}

/** Puts `rows` = table[index] on the tape. */
export function recordRows(table: Tensor, index: Tensor, rows: Tensor, options: RowsOptions): void {
  attachOutputs(new RowsNode(table, index, options), [rows]);
}
