/** Hooks on the gradients of tensors. */
import { AutogradError } from '../errors.js';
import { add } from '../ops/binary.js';
import { keep } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { GradHook } from './node.js';
import { edgeOf } from './node.js';
import { aliasOf } from './saved.js';

export interface HookHandle {
  /** Takes the hook off. */
  remove(): void;
}

/**
 * Calls `hook` with the gradient of `tensor` when it is complete (all uses added up), in each backward pass. What the hook
 * returns, if anything, takes the place of the gradient: same shape and dtype. On leaves as well. The gradient the hook
 * sees is freed after the pass; keep a clone() of it.
 * @throws AutogradError when the tensor does not require gradients
 */
export function registerHook(tensor: Tensor, hook: GradHook): HookHandle {
  const edge = edgeOf(tensor);
  if (edge === null) {
    throw new AutogradError('the tensor does not require gradients', {
      op: 'registerHook',
      fix: 'Call requiresGrad_() on it or on what it is computed from.',
    });
  }
  const { node, outputIndex } = edge;
  node.hooks ??= new Map();
  const list = node.hooks.get(outputIndex) ?? new Set();
  node.hooks.set(outputIndex, list);
  // Its own object: the same function may be registered twice.
  const entry: GradHook = (grad) => hook(grad);
  list.add(entry);
  return { remove: () => void list.delete(entry) };
}

/** Has backward() add to `.grad` of a tensor that is no leaf. Returns its argument. */
export function retainGrad(tensor: Tensor): Tensor {
  if (tensor.gradFn === null && tensor.requiresGrad) return tensor;
  registerHook(tensor, (grad) => {
    tensor.grad = keep(tensor.grad === null ? aliasOf(grad) : add(tensor.grad, grad));
  });
  return tensor;
}
