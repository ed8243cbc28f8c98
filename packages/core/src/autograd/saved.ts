/** Tensors that the tape keeps for backward. */
import { AutogradError } from '../errors.js';
import { outsideScopes } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { edgeOf } from './node.js';

/** What a node holds in place of a tensor. */
export interface Saved {
  /** @throws AutogradError when the graph was freed, or the tensor changed since. */
  get(op: string, label: string): Tensor;
  release(): void;
}

/** A new handle of the same elements that carries the same gradient history and that no scope owns. */
export function aliasOf(tensor: Tensor): Tensor {
  const alias = outsideScopes(() => new Tensor(tensor.storage, tensor.shape, tensor.strides, tensor.offset));
  if (tensor.requiresGrad) {
    // A leaf and its aliases share the end of the tape, which must exist by then.
    edgeOf(tensor);
    linkLike(alias, tensor);
  }
  return alias;
}

/** Gives `target` the place of `source` in the graph. */
export function linkLike(target: Tensor, source: Pick<Tensor, 'requiresGrad' | 'gradFn' | 'outputIndex' | 'accumulator'>): void {
  target.requiresGrad = source.requiresGrad;
  target.gradFn = source.gradFn;
  target.outputIndex = source.outputIndex;
  target.accumulator = source.accumulator;
}

class SavedAlias implements Saved {
  private alias: Tensor | null;
  private readonly version: number;
  constructor(tensor: Tensor) {
    this.alias = aliasOf(tensor);
    this.version = tensor.storage.version;
  }
  get(op: string, label: string): Tensor {
    if (this.alias === null) throw freedGraphError(op);
    const { version } = this.alias.storage;
    if (version !== this.version) throw changedError(op, label, this.alias, version - this.version);
    return this.alias;
  }
  release(): void {
    this.alias?.dispose();
    this.alias = null;
  }
}

export function freedGraphError(op: string): AutogradError {
  return new AutogradError(`the graph was freed by an earlier backward pass (at ${op})`, {
    op: 'backward',
    expected: 'a graph that was not used yet',
    fix: 'Run the forward pass again, or give { retainGraph: true } to the first backward().',
  });
}

function changedError(op: string, label: string, tensor: Tensor, writes: number): AutogradError {
  return new AutogradError(
    `${label} of ${op} (${tensor.dtype} [${tensor.shape.join(', ')}]) was saved for its gradient and modified in place since (${writes} write${writes === 1 ? '' : 's'})`,
    {
      op: 'backward',
      received: { op, tensor: label, writes },
      expected: 'saved tensors unchanged',
      fix: 'Modify a clone(), use the operation that returns a new tensor, or write after backward().',
    },
  );
}

/** Replaces saving while a function is checkpointed; see checkpoint.ts. */
export type Packer = (tensor: Tensor) => Saved | null;
let packer: Packer | null = null;

export function setPacker(value: Packer | null): Packer | null {
  const former = packer;
  packer = value;
  return former;
}

export function saveTensor(tensor: Tensor): Saved {
  if (packer !== null) {
    const packed = packer(tensor);
    if (packed !== null) return packed;
  }
  return new SavedAlias(tensor);
}
