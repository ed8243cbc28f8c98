/** Methods of tensors that change shape or dtype, read values, or deal with gradients. */

import type { BackwardOptions } from '../autograd/engine.js';
import { backward } from '../autograd/engine.js';
import type { HookHandle } from '../autograd/hooks.js';
import { registerHook, retainGrad } from '../autograd/hooks.js';
import type { GradHook } from '../autograd/node.js';
import type { DType } from '../dtype.js';
import type { Shape } from '../graph/layout.js';
import { isDense } from '../graph/layout.js';
import { cast } from '../ops/cast.js';
import type { TensorOrScalar } from '../ops/common.js';
import { stopGradient } from '../ops/common.js';
import { setRequiresGrad } from '../ops/create.js';
import type { IndexItem } from '../ops/indexing.js';
import { index, indexPut, setIndex } from '../ops/indexing.js';
import * as views from '../ops/view.js';
import * as parts from '../ops/view-slice.js';
import type { TypedArray } from './dispatch.js';
import { read, readSync } from './dispatch.js';
import type { NestedValues, NumberArray } from './host.js';
import { itemOf, nest } from './host.js';
import { TensorLinearMethods } from './methods-linear.js';
import { formatTensor } from './print.js';
import { keep } from './scope.js';
import { Tensor } from './tensor.js';

/** `f([2, 3])` and `f(2, 3)` mean the same. */
function listOf(args: readonly (number | readonly number[])[]): readonly number[] {
  const [first] = args;
  return typeof first === 'object' ? first : (args as readonly number[]);
}

/** Only `tensor.ts` imports this; see there. */
export abstract class TensorShapeMethods extends TensorLinearMethods {
  /** `reshape([2, -1])` or `reshape(2, -1)`. */
  reshape(this: Tensor, ...shape: readonly number[] | readonly [Shape]): Tensor {
    return views.reshape(this, listOf(shape));
  }
  view(this: Tensor, ...shape: readonly number[] | readonly [Shape]): Tensor {
    return views.view(this, listOf(shape));
  }
  permute(this: Tensor, ...dims: readonly number[] | readonly [readonly number[]]): Tensor {
    return views.permute(this, listOf(dims));
  }
  expand(this: Tensor, ...shape: readonly number[] | readonly [Shape]): Tensor {
    return views.expand(this, listOf(shape));
  }
  broadcastTo(this: Tensor, shape: Shape): Tensor {
    return views.expand(this, shape);
  }
  expandAs(this: Tensor, other: Tensor): Tensor {
    return views.expand(this, other.shape);
  }
  transpose(this: Tensor, dim0: number, dim1: number): Tensor {
    return views.transpose(this, dim0, dim1);
  }
  t(this: Tensor): Tensor {
    return views.t(this);
  }
  movedim(this: Tensor, source: number | readonly number[], destination: number | readonly number[]): Tensor {
    return views.movedim(this, source, destination);
  }
  squeeze(this: Tensor, dim?: number | readonly number[]): Tensor {
    return views.squeeze(this, dim);
  }
  unsqueeze(this: Tensor, dim: number): Tensor {
    return views.unsqueeze(this, dim);
  }
  flatten(this: Tensor, startDim?: number, endDim?: number): Tensor {
    return views.flatten(this, startDim, endDim);
  }
  unflatten(this: Tensor, dim: number, sizes: Shape): Tensor {
    return views.unflatten(this, dim, sizes);
  }
  slice(this: Tensor, slices: readonly (parts.SliceBounds | null)[]): Tensor {
    return parts.slice(this, slices);
  }
  narrow(this: Tensor, dim: number, start: number, length: number): Tensor {
    return parts.narrow(this, dim, start, length);
  }
  select(this: Tensor, dim: number, position: number): Tensor {
    return parts.select(this, dim, position);
  }
  split(this: Tensor, size: number | readonly number[], dim?: number): Tensor[] {
    return parts.split(this, size, dim);
  }
  chunk(this: Tensor, chunks: number, dim?: number): Tensor[] {
    return parts.chunk(this, chunks, dim);
  }
  unbind(this: Tensor, dim?: number): Tensor[] {
    return parts.unbind(this, dim);
  }
  flip(this: Tensor, dims: number | readonly number[]): Tensor {
    return parts.flip(this, dims);
  }
  diagonal(this: Tensor, options?: parts.DiagonalOptions): Tensor {
    return parts.diagonal(this, options);
  }
  unfold(this: Tensor, dim: number, size: number, step: number): Tensor {
    return parts.unfold(this, dim, size, step);
  }
  asStrided(this: Tensor, shape: Shape, strides: readonly number[], offset?: number): Tensor {
    return parts.asStrided(this, shape, strides, offset);
  }

  /** Part of the tensor: `x.index(0, '1:3', null, '...', rows)`; see {@link index}. */
  index(this: Tensor, ...items: readonly IndexItem[]): Tensor {
    return index(this, ...items);
  }
  /** Overwrites a part in place: `x.set([0, '1:3'], value)`; see {@link setIndex}. */
  set(this: Tensor, items: IndexItem | readonly IndexItem[], value: TensorOrScalar): Tensor {
    return setIndex(this, items, value);
  }
  /** A new tensor with a part replaced, or added to; see {@link indexPut}. */
  indexPut(this: Tensor, items: readonly IndexItem[], value: TensorOrScalar, options?: { readonly accumulate?: boolean }): Tensor {
    return indexPut(this, items, value, options);
  }

  /** The elements converted to `dtype`; the tensor itself when it has it. */
  to(this: Tensor, dtype: DType): Tensor {
    return cast(this, dtype);
  }
  float(this: Tensor): Tensor {
    return cast(this, 'float32');
  }
  double(this: Tensor): Tensor {
    return cast(this, 'float64');
  }
  half(this: Tensor): Tensor {
    return cast(this, 'float16');
  }
  bfloat16(this: Tensor): Tensor {
    return cast(this, 'bfloat16');
  }
  int(this: Tensor): Tensor {
    return cast(this, 'int32');
  }
  long(this: Tensor): Tensor {
    return cast(this, 'int64');
  }
  bool(this: Tensor): Tensor {
    return cast(this, 'bool');
  }
  contiguous(this: Tensor): Tensor {
    return views.contiguous(this);
  }
  get isContiguous(): boolean {
    return isDense(this);
  }
  /** A copy in new memory, through which gradients flow. */
  clone(this: Tensor): Tensor {
    return views.clone(this);
  }
  /** Another handle on the same elements, without gradient history. */
  detach(this: Tensor): Tensor {
    return this.requiresGrad ? stopGradient(this) : new Tensor(this.storage, this.shape, this.strides, this.offset);
  }

  /**
   * The elements in row-major order, copied: Float32Array for float32, float16 and bfloat16, BigInt64Array for int64
   * (typed as `data<BigInt64Array>()`), Uint8Array of 0 and 1 for bool, else the array of the dtype.
   * @throws TraceError inside jit()
   */
  data<T extends TypedArray = NumberArray>(this: Tensor): Promise<T> {
    return read(this) as Promise<T>;
  }
  /** {@link data} without waiting. */
  dataSync<T extends TypedArray = NumberArray>(this: Tensor): T {
    return readSync(this) as T;
  }
  /** The value of a tensor of one element, as a number (bool gives 0 or 1). @throws ShapeError, TraceError */
  item(this: Tensor): number {
    return itemOf(this, readSync(this));
  }
  /** The elements as nested arrays (a number for 0-d); bool gives booleans, int64 numbers where they are exact. */
  toArray(this: Tensor): NestedValues {
    return nest(readSync(this), this.shape, this.dtype);
  }
  /** As PyTorch prints tensors. */
  override toString(this: Tensor): string {
    return formatTensor(this);
  }
  /** What console.log shows in Node. */
  [Symbol.for('nodejs.util.inspect.custom')](this: Tensor): string {
    return formatTensor(this);
  }

  /** Marks a leaf as wanting gradients. @throws DTypeError for whole numbers, AutogradError for results */
  requiresGrad_(this: Tensor, value = true): Tensor {
    return setRequiresGrad(this, value);
  }
  /**
   * Gradients of this tensor with respect to every leaf, added to their `.grad`. `gradient` (this shape) weights the
   * elements; without it the tensor must have one element. @throws AutogradError
   */
  backward(this: Tensor, gradient?: Tensor | null, options?: BackwardOptions): void {
    backward(this, gradient, options);
  }
  /** Calls `hook` with the gradient of this tensor in each backward pass; what it returns takes its place. */
  registerHook(this: Tensor, hook: GradHook): HookHandle {
    return registerHook(this, hook);
  }
  /** Has backward() set `.grad` here although this is no leaf. */
  retainGrad(this: Tensor): Tensor {
    return retainGrad(this);
  }
  /** Takes the handle out of all scopes; see {@link keep}. */
  keep(this: Tensor): Tensor {
    return keep(this);
  }
}
