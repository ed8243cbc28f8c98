/** Methods of tensors that multiply matrices, scan, sort, gather and scatter: the functions of the same names in ops/. */
import type { TensorOrScalar } from '../ops/common.js';
import * as gathering from '../ops/gather.js';
import * as joining from '../ops/join.js';
import * as products from '../ops/matmul.js';
import * as padding from '../ops/pad.js';
import type { MultinomialOptions, RandomOptions } from '../ops/random.js';
import { bernoulli, multinomial, normal_, uniform_ } from '../ops/random.js';
import * as scans from '../ops/scan.js';
import * as scattering from '../ops/scatter.js';
import * as searching from '../ops/search.js';
import * as sorting from '../ops/sort.js';
import type { ValuesAndIndices } from '../ops/statistics.js';
import { updateInPlace } from '../ops/write-view.js';
import { TensorReduceMethods } from './methods-reduce.js';
import type { Tensor } from './tensor.js';

/** Only the next link of the chain imports this; see `tensor.ts`. */
export abstract class TensorLinearMethods extends TensorReduceMethods {
  matmul(this: Tensor, other: Tensor): Tensor {
    return products.matmul(this, other);
  }
  mm(this: Tensor, other: Tensor): Tensor {
    return products.mm(this, other);
  }
  bmm(this: Tensor, other: Tensor): Tensor {
    return products.bmm(this, other);
  }
  mv(this: Tensor, vector: Tensor): Tensor {
    return products.mv(this, vector);
  }
  dot(this: Tensor, other: Tensor): Tensor {
    return products.dot(this, other);
  }
  outer(this: Tensor, other: Tensor): Tensor {
    return products.outer(this, other);
  }

  cumsum(this: Tensor, dim: number): Tensor {
    return scans.cumsum(this, dim);
  }
  cumprod(this: Tensor, dim: number): Tensor {
    return scans.cumprod(this, dim);
  }
  logcumsumexp(this: Tensor, dim: number): Tensor {
    return scans.logcumsumexp(this, dim);
  }
  cummax(this: Tensor, dim: number): ValuesAndIndices {
    return scans.cummax(this, dim);
  }
  cummin(this: Tensor, dim: number): ValuesAndIndices {
    return scans.cummin(this, dim);
  }
  diff(this: Tensor, options?: { readonly n?: number; readonly dim?: number }): Tensor {
    return scans.diff(this, options);
  }

  sort(this: Tensor, dim?: number, options?: sorting.SortOptions): ValuesAndIndices {
    return sorting.sort(this, dim, options);
  }
  argsort(this: Tensor, dim?: number, options?: sorting.SortOptions): Tensor {
    return sorting.argsort(this, dim, options);
  }
  topk(this: Tensor, k: number, dim?: number, options?: sorting.TopkOptions): ValuesAndIndices {
    return sorting.topk(this, k, dim, options);
  }
  kthvalue(this: Tensor, k: number, dim?: number, keepdim?: boolean): ValuesAndIndices {
    return sorting.kthvalue(this, k, dim, keepdim);
  }
  median(this: Tensor): Tensor;
  median(this: Tensor, dim: number, keepdim?: boolean): ValuesAndIndices;
  median(this: Tensor, dim?: number, keepdim?: boolean): Tensor | ValuesAndIndices {
    return dim === undefined ? sorting.median(this) : sorting.median(this, dim, keepdim);
  }
  quantile(this: Tensor, q: number, dim?: number, keepdim?: boolean): Tensor {
    return sorting.quantile(this, q, dim, keepdim);
  }

  gather(this: Tensor, dim: number, index: Tensor): Tensor {
    return gathering.gather(this, dim, index);
  }
  takeAlongDim(this: Tensor, index: Tensor, dim?: number): Tensor {
    return gathering.takeAlongDim(this, index, dim);
  }
  indexSelect(this: Tensor, dim: number, index: Tensor): Tensor {
    return gathering.indexSelect(this, dim, index);
  }
  take(this: Tensor, index: Tensor): Tensor {
    return gathering.take(this, index);
  }
  scatter(this: Tensor, dim: number, index: Tensor, source: TensorOrScalar): Tensor {
    return scattering.scatter(this, dim, index, source);
  }
  scatterAdd(this: Tensor, dim: number, index: Tensor, source: TensorOrScalar): Tensor {
    return scattering.scatterAdd(this, dim, index, source);
  }
  scatterReduce(
    this: Tensor,
    dim: number,
    index: Tensor,
    source: Tensor,
    reduce: scattering.ScatterReduction,
    options?: scattering.ScatterReduceOptions,
  ): Tensor {
    return scattering.scatterReduce(this, dim, index, source, reduce, options);
  }
  indexAdd(this: Tensor, dim: number, index: Tensor, source: Tensor, options?: { readonly alpha?: number }): Tensor {
    return scattering.indexAdd(this, dim, index, source, options);
  }
  indexCopy(this: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
    return scattering.indexCopy(this, dim, index, source);
  }
  indexFill(this: Tensor, dim: number, index: Tensor, value: number): Tensor {
    return scattering.indexFill(this, dim, index, value);
  }
  scatter_(this: Tensor, dim: number, index: Tensor, source: TensorOrScalar): Tensor {
    return updateInPlace('scatter_', this, [source], () => scattering.scatter(this, dim, index, source));
  }
  scatterAdd_(this: Tensor, dim: number, index: Tensor, source: TensorOrScalar): Tensor {
    return updateInPlace('scatterAdd_', this, [source], () => scattering.scatterAdd(this, dim, index, source));
  }
  indexAdd_(this: Tensor, dim: number, index: Tensor, source: Tensor, options?: { readonly alpha?: number }): Tensor {
    return updateInPlace('indexAdd_', this, [source], () => scattering.indexAdd(this, dim, index, source, options));
  }

  /** Reads the mask: not inside jit(). */
  maskedSelect(this: Tensor, mask: Tensor): Tensor {
    return searching.maskedSelect(this, mask);
  }
  /** Reads the data: not inside jit(). */
  nonzero(this: Tensor): Tensor {
    return searching.nonzero(this);
  }
  /** Reads the data: not inside jit(). */
  unique(this: Tensor): searching.UniqueResult {
    return searching.unique(this);
  }
  /** True when shape and all elements are equal. Reads the data: not inside jit(). */
  equal(this: Tensor, other: Tensor): boolean {
    return searching.equal(this, other);
  }

  tile(this: Tensor, repeats: readonly number[]): Tensor {
    return joining.tile(this, repeats);
  }
  repeat(this: Tensor, repeats: readonly number[]): Tensor {
    return joining.repeat(this, repeats);
  }
  repeatInterleave(this: Tensor, repeats: number | readonly number[] | Tensor, dim?: number): Tensor {
    return joining.repeatInterleave(this, repeats, dim);
  }
  roll(this: Tensor, shifts: number | readonly number[], dims?: number | readonly number[]): Tensor {
    return joining.roll(this, shifts, dims);
  }
  tril(this: Tensor, diagonal?: number): Tensor {
    return joining.tril(this, diagonal);
  }
  triu(this: Tensor, diagonal?: number): Tensor {
    return joining.triu(this, diagonal);
  }
  diag(this: Tensor, offset?: number): Tensor {
    return joining.diag(this, offset);
  }
  trace(this: Tensor): Tensor {
    return joining.trace(this);
  }
  pad(this: Tensor, amounts: readonly number[], options?: padding.PadOptions): Tensor {
    return padding.pad(this, amounts, options);
  }

  /** 1 with the probability that each element says, else 0. */
  bernoulli(this: Tensor, options?: RandomOptions): Tensor {
    return bernoulli(this, options);
  }
  multinomial(this: Tensor, numSamples: number, options?: MultinomialOptions): Tensor {
    return multinomial(this, numSamples, options);
  }
  uniform_(this: Tensor, low?: number, high?: number, options?: Pick<RandomOptions, 'generator'>): Tensor {
    return uniform_(this, low, high, options);
  }
  normal_(this: Tensor, mean?: number, std?: number, options?: Pick<RandomOptions, 'generator'>): Tensor {
    return normal_(this, mean, std, options);
  }
}
