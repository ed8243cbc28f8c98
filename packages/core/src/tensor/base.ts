/** The fields and the lifetime of a tensor handle; `tensor.ts` adds the operations. */
import type { GradNode, LeafNode } from '../autograd/node.js';
import type { SparseGrad } from '../autograd/sparse.js';
import type { DType } from '../dtype.js';
import { LifetimeError } from '../errors.js';
import type { Layout, Shape } from '../graph/layout.js';
import { sizeOf } from '../graph/layout.js';
import { currentTrace } from '../graph/trace.js';
import { registerInScope } from './scope.js';
import type { Storage } from './storage.js';
import type { Tensor } from './tensor.js';

/** The gradient at a leaf: a tensor of its shape, or the rows that are not 0. */
export type LeafGradient = Tensor | SparseGrad | null;

export abstract class TensorBase implements Layout {
  readonly dtype: DType;
  readonly shape: Shape;
  /** In elements. */
  readonly strides: readonly number[];
  /** In elements from the start of the storage. */
  readonly offset: number;
  readonly storage: Storage;
  /** True when gradients flow to or through this tensor. Set it with requiresGrad_(). */
  requiresGrad = false;
  /** What made this tensor, when gradients flow through it; null on leaves. */
  gradFn: GradNode | null = null;
  /** Which output of gradFn this is. */
  outputIndex = 0;
  /** Where gradients of this leaf arrive; null until an operation uses it. */
  accumulator: LeafNode | null = null;
  /** Number of the (dtype, shape, strides) triple, 0 until asked for; see signatureOf. */
  signature = 0;
  /** True when no scope may free this handle; see keep(). */
  kept = false;
  private released = false;
  private gradient: LeafGradient = null;

  constructor(storage: Storage, shape: Shape, strides: readonly number[], offset: number) {
    this.dtype = storage.dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.storage = storage;
    storage.retain();
    // The only concrete class is Tensor.
    registerInScope(this as unknown as Tensor);
  }

  /** What backward() left at this leaf, in either form. While tracing, the trace learns of every access. */
  get leafGradient(): LeafGradient {
    if (this.requiresGrad && this.storage.trace === null) currentTrace()?.readLeafGrad(this as unknown as Tensor, this.gradient);
    return this.gradient;
  }
  set leafGradient(value: LeafGradient) {
    if (this.storage.trace === null) currentTrace()?.writeLeafGrad(this as unknown as Tensor, this.gradient);
    this.gradient = value;
  }
  /** Accumulated by backward() on leaves; null while the gradient is sparse. Setting null forgets either form. */
  get grad(): Tensor | null {
    const gradient = this.leafGradient;
    return gradient instanceof TensorBase ? gradient : null;
  }
  set grad(value: Tensor | null) {
    this.leafGradient = value;
  }
  /** The gradient of a table that is only read by embeddings with `sparse: true`; else null. */
  get sparseGrad(): SparseGrad | null {
    const gradient = this.leafGradient;
    return gradient === null || gradient instanceof TensorBase ? null : gradient;
  }
  set sparseGrad(value: SparseGrad | null) {
    this.leafGradient = value;
  }

  /** Number of dimensions. */
  get ndim(): number {
    return this.shape.length;
  }
  /** Number of elements. */
  get numel(): number {
    return sizeOf(this.shape);
  }
  /** True for tensors that no recorded operation made: gradients end here. */
  get isLeaf(): boolean {
    return this.gradFn === null;
  }

  get isDisposed(): boolean {
    return this.released || this.storage.disposed;
  }
  /** Gives this handle's reference up now; the memory is freed with the last one. Safe to call twice. */
  dispose(): void {
    if (this.released) return;
    this.released = true;
    this.storage.release();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** @throws LifetimeError when this handle was disposed. */
  assertLive(op: string): void {
    if (this.released) {
      throw new LifetimeError('a disposed tensor was used', {
        op,
        received: this.shape,
        fix: 'It was disposed by hand, or made inside scope() and not returned from it: return it, or call keep().',
      });
    }
  }
}
