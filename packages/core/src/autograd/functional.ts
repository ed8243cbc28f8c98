/** Products of Jacobians with vectors, for functions of tensors. */
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import { stopGradient } from '../ops/common.js';
import { onesLike, zerosLike } from '../ops/create.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { grad } from './engine.js';
import { enableGrad, noGrad } from './mode.js';

export type TensorFunction<R extends Tensor | readonly Tensor[]> = (...inputs: Tensor[]) => R;

/** Fresh leaves with the values of the inputs; whole numbers stay as they are. */
function leavesOf(inputs: readonly Tensor[]): Tensor[] {
  return inputs.map((input) => {
    const leaf = new Tensor(input.storage, input.shape, input.strides, input.offset);
    leaf.requiresGrad = isFloat(input.dtype);
    return leaf;
  });
}

function listOf(value: Tensor | readonly Tensor[]): readonly Tensor[] {
  return value instanceof Tensor ? [value] : value;
}

function checkVectors(op: string, vectors: readonly Tensor[], like: readonly Tensor[], what: string): void {
  const fits = vectors.length === like.length && vectors.every((v, i) => shapesEqual(v.shape, like[i].shape) && v.dtype === like[i].dtype);
  if (fits) return;
  throw new ArgumentError(`vectors of ${vectors.map((v) => `${v.dtype} ${formatShape(v.shape)}`).join(', ')}`, {
    op,
    received: vectors.map((v) => v.shape),
    expected: `one for each ${what}: ${like.map((t) => `${t.dtype} ${formatShape(t.shape)}`).join(', ')}`,
  });
}

function requireFloat(op: string, inputs: readonly Tensor[]): void {
  const bad = inputs.findIndex((input) => !isFloat(input.dtype));
  if (bad >= 0)
    throw new DTypeError(`input ${bad} is ${inputs[bad].dtype}`, { op, received: inputs[bad].dtype, expected: 'floating inputs' });
}

/**
 * The value of `fn` at `inputs`, and the gradients of its results weighted by `v` (ones when absent) with respect to each
 * input: vᵀJ. What comes back carries no gradient history.
 */
export function vjp<R extends Tensor | readonly Tensor[]>(
  fn: TensorFunction<R>,
  inputs: Tensor | readonly Tensor[],
  v?: Tensor | readonly Tensor[],
): { readonly outputs: R; readonly grads: Tensor[] } {
  return scope(() => {
    const leaves = leavesOf(listOf(inputs));
    requireFloat('vjp', leaves);
    const outputs = enableGrad(() => fn(...leaves));
    const list = listOf(outputs);
    const vectors = v === undefined ? list.map((output) => noGrad(() => onesLike(output))) : listOf(v);
    checkVectors('vjp', vectors, list, 'output');
    const grads = gradOrZeros(list, leaves, vectors, false);
    return { outputs: detached(outputs), grads };
  });
}

/**
 * The value of `fn` at `inputs`, and how its results change along `v` (one vector per input): Jv. Computed with two reverse
 * passes: the gradient uᵀJ is linear in u, and its own gradient along v is Jv.
 */
export function jvp<R extends Tensor | readonly Tensor[]>(
  fn: TensorFunction<R>,
  inputs: Tensor | readonly Tensor[],
  v: Tensor | readonly Tensor[],
): { readonly outputs: R; readonly tangents: Tensor[] } {
  return scope(() => {
    const leaves = leavesOf(listOf(inputs));
    requireFloat('jvp', leaves);
    const vectors = listOf(v);
    checkVectors('jvp', vectors, leaves, 'input');
    const outputs = enableGrad(() => fn(...leaves));
    const list = listOf(outputs);
    const dummies = list.map((output) => noGrad(() => zerosLike(output, { requiresGrad: true })));
    const grads = gradOrZeros(list, leaves, dummies, true);
    const tangents = gradOrZeros(
      grads.filter((g) => g.requiresGrad),
      dummies,
      vectors.filter((_, i) => grads[i].requiresGrad),
      false,
    );
    return { outputs: detached(outputs), tangents };
  });
}

/** grad() with zeros where there is no dependence. */
function gradOrZeros(outputs: readonly Tensor[], inputs: readonly Tensor[], weights: readonly Tensor[], createGraph: boolean): Tensor[] {
  const roots = outputs.map((output, i) => ({ output, weight: weights[i] })).filter(({ output }) => output.requiresGrad);
  const grads =
    roots.length === 0
      ? inputs.map(() => null)
      : grad(
          roots.map((root) => root.output),
          inputs,
          { gradOutputs: roots.map((root) => root.weight), createGraph, allowUnused: true },
        );
  return grads.map((g, i) => g ?? noGrad(() => zerosLike(inputs[i])));
}

function detached<R extends Tensor | readonly Tensor[]>(outputs: R): R {
  const free = listOf(outputs).map((output) => (output.requiresGrad ? stopGradient(output) : aliasInScope(output)));
  return (outputs instanceof Tensor ? free[0] : free) as R;
}

/** A handle that the caller owns, also where `fn` returned one of its own captured tensors. */
function aliasInScope(tensor: Tensor): Tensor {
  return new Tensor(tensor.storage, tensor.shape, tensor.strides, tensor.offset);
}
