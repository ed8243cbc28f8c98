/**
 * The backward pass: walks the tape from results to leaves, latest operation first.
 *
 * The engine owns every gradient on its way and frees it with its last use. Each rule runs in a list of its own, and what it
 * made and did not return is freed right after. So after a pass only the leaves' gradients (or the results of grad()) live.
 */
import { isFloat } from '../dtype.js';
import { AutogradError, ShapeError } from '../errors.js';
import { formatShape, isDense, shapesEqual, sizeOf } from '../graph/layout.js';
import { add } from '../ops/binary.js';
import { copy } from '../ops/cast.js';
import { onesLike } from '../ops/create.js';
import { indexAdd } from '../ops/scatter.js';
import { writeInto } from '../ops/write-view.js';
import { withAutocast } from '../tensor/autocast.js';
import { atModulePath, backwardPath } from '../tensor/module-path.js';
import { observer } from '../tensor/observe.js';
import { collectMade, registerInScope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { isGradEnabled, setGradEnabled } from './mode.js';
import type { Edge, GradNode } from './node.js';
import { edgeOf, LeafNode } from './node.js';
import { aliasOf } from './saved.js';
import { RowsNode, SparseGrad } from './sparse.js';

export interface BackwardOptions {
  /** Keeps what was saved, so that the same graph can be walked again. Default: createGraph. */
  readonly retainGraph?: boolean;
  /** Records the backward pass too, for higher derivatives. */
  readonly createGraph?: boolean;
}

export interface GradOptions extends BackwardOptions {
  /** Weights of the outputs' elements, one per output; an output of one element needs none. */
  readonly gradOutputs?: Tensor | readonly (Tensor | null)[] | null;
  /** Gives null for inputs that the outputs do not depend on, instead of throwing. */
  readonly allowUnused?: boolean;
  /** Gradients end at the inputs: what an input depends on gets none through it. */
  readonly stopAtInputs?: boolean;
}

interface Root {
  readonly edge: Edge;
  /** Null: ones. */
  readonly gradient: Tensor | null;
  readonly like: Tensor;
}

/** Gradients on their way, with how many places hold each of them. */
class Ownership {
  private readonly counts = new Map<Tensor, number>();

  hold(tensor: Tensor): void {
    this.counts.set(tensor, (this.counts.get(tensor) ?? 0) + 1);
  }
  owns(tensor: Tensor): boolean {
    return this.counts.has(tensor);
  }
  drop(tensor: Tensor): void {
    const count = this.counts.get(tensor) ?? 0;
    if (count > 1) this.counts.set(tensor, count - 1);
    else {
      this.counts.delete(tensor);
      tensor.dispose();
    }
  }
  /** Gives the only hold up without freeing. False when there are others. */
  release(tensor: Tensor): boolean {
    if (this.counts.get(tensor) !== 1) return false;
    this.counts.delete(tensor);
    return true;
  }
  freeAll(): void {
    for (const tensor of this.counts.keys()) tensor.dispose();
    this.counts.clear();
  }
}

class BackwardPass {
  private readonly owned = new Ownership();
  private readonly pending = new Map<GradNode, (Tensor | null)[]>();
  private readonly order: GradNode[];
  /** Nodes on a path to a target of grad(), targets excluded; null when every leaf is wanted. */
  private readonly leading: ReadonlySet<GradNode> | null;
  private readonly ends: ReadonlySet<GradNode>;
  private readonly targets: readonly Edge[] | null;
  private readonly results: (Tensor | null)[];
  private readonly retainGraph: boolean;

  constructor(roots: readonly Root[], targets: readonly Edge[] | null, retainGraph: boolean, stopAtTargets = false) {
    this.targets = targets;
    this.retainGraph = retainGraph;
    this.results = targets === null ? [] : targets.map(() => null);
    this.order = reachable(roots.map((root) => root.edge.node));
    this.ends = new Set(targets?.map((target) => target.node));
    this.leading = targets === null ? null : leadingTo(this.order, this.ends, stopAtTargets);
    this.start(roots);
  }

  private start(roots: readonly Root[]): void {
    for (const { edge, gradient, like } of roots) {
      const made: Tensor[] = [];
      // The caller's tensor stays the caller's: the pass works on a handle of its own.
      const grad = gradient === null ? collectMade(made, () => onesLike(like)) : aliasOf(gradient);
      this.deposit(edge, grad);
    }
  }

  run(): (Tensor | null)[] {
    try {
      for (const node of this.order) {
        const grads = this.pending.get(node);
        if (grads === undefined) continue;
        this.pending.delete(node);
        this.visit(node, grads);
      }
      return this.results;
    } catch (error) {
      this.owned.freeAll();
      for (const result of this.results) result?.dispose();
      throw error;
    }
  }

  private visit(node: GradNode, grads: (Tensor | null)[]): void {
    if (node.hooks !== null) this.runHooks(node, grads);
    this.targets?.forEach((target, i) => {
      const grad = target.node === node ? grads[target.outputIndex] : undefined;
      if (grad) this.results[i] = aliasOf(grad);
    });
    if (node instanceof LeafNode) {
      if (this.targets === null && grads[0]) this.accumulate(node.leaf, grads[0]);
    } else if (this.leading === null || this.leading.has(node)) this.runRule(node, grads);
    for (const grad of grads) if (grad && this.owned.owns(grad)) this.owned.drop(grad);
  }

  private runRule(node: GradNode, grads: readonly (Tensor | null)[]): void {
    if (node instanceof RowsNode && node.sparse && grads[0] && this.leaveRows(node, grads[0])) return;
    const { edges } = node;
    const needs = edges.map((edge) => edge !== null && this.isWanted(edge));
    const complete = Array.from({ length: node.outputCount }, (_, k) => grads[k] ?? null);
    const made: Tensor[] = [];
    const outputs = collectMade(made, () =>
      atModulePath(backwardPath(node.scope), () =>
        observer === null ? node.backward(complete, needs) : observer.rule(node, () => node.backward(complete, needs)),
      ),
    );
    const fresh = new Set(made);
    for (let k = 0; k < edges.length; k++) {
      const edge = edges[k];
      const grad = outputs[k] ?? null;
      if (edge === null || grad === null || !needs[k]) continue;
      checkGradient(node, k, grad);
      // What neither the pass nor this rule made belongs to somebody else.
      this.deposit(edge, fresh.has(grad) || this.owned.owns(grad) ? grad : aliasOf(grad));
    }
    for (const tensor of made) if (!this.owned.owns(tensor) && !tensor.kept) tensor.dispose();
    if (!this.retainGraph) node.release();
  }

  /** Gives a leaf its gradient as rows, if nobody on the way wants it dense. */
  private leaveRows(node: RowsNode, grad: Tensor): boolean {
    const end = node.edges[0]?.node;
    if (this.targets !== null || isGradEnabled() || !(end instanceof LeafNode) || end.hooks !== null) return false;
    const { leaf } = end;
    if (!leaf.isDisposed) {
      const made: Tensor[] = [];
      collectMade(made, () => atModulePath(backwardPath(node.scope), () => this.accumulateRows(leaf, node.rows(grad), grad)));
      const left = leaf.sparseGrad;
      for (const t of made) if (t !== left?.indices && t !== left?.values && t !== leaf.grad && !t.kept) t.dispose();
    }
    if (!this.retainGraph) node.release();
    return true;
  }
  private accumulateRows(leaf: Tensor, rows: SparseGrad, grad: Tensor): void {
    const former = leaf.leafGradient;
    if (former === null || former.isDisposed) leaf.sparseGrad = rows.values === grad ? rows.mapValues((g) => this.exclusive(g)) : rows;
    else if (former instanceof SparseGrad) leaf.sparseGrad = former.plus(rows);
    else writeInto(former, indexAdd(former, 0, rows.indices, rows.values));
  }

  private isWanted(edge: Edge): boolean {
    return this.leading === null || this.leading.has(edge.node) || this.ends.has(edge.node);
  }

  /** Adds a gradient to what already waits at a node. */
  private deposit({ node, outputIndex }: Edge, grad: Tensor): void {
    let slots = this.pending.get(node);
    if (slots === undefined) {
      slots = [];
      this.pending.set(node, slots);
    }
    const waiting = slots[outputIndex] ?? null;
    this.owned.hold(grad);
    if (waiting === null) {
      slots[outputIndex] = grad;
      return;
    }
    const made: Tensor[] = [];
    const sum = collectMade(made, () => add(waiting, grad));
    this.owned.hold(sum);
    slots[outputIndex] = sum;
    this.owned.drop(waiting);
    this.owned.drop(grad);
  }

  private runHooks(node: GradNode, grads: (Tensor | null)[]): void {
    for (const [k, hooks] of node.hooks ?? []) {
      for (const hook of [...hooks]) {
        const grad = grads[k];
        if (!grad) break;
        const made: Tensor[] = [];
        const replaced = collectMade(made, () => hook(grad)) ?? null;
        if (replaced !== null && replaced !== grad) {
          if (!shapesEqual(replaced.shape, grad.shape) || replaced.dtype !== grad.dtype) {
            throw new ShapeError(
              `a hook returned ${replaced.dtype} ${formatShape(replaced.shape)} for a gradient of ${grad.dtype} ${formatShape(grad.shape)}`,
              {
                op: 'registerHook',
                received: replaced.shape,
                expected: 'the shape and dtype of the gradient',
              },
            );
          }
          const own = made.includes(replaced) ? replaced : aliasOf(replaced);
          this.owned.hold(own);
          grads[k] = own;
          this.owned.drop(grad);
        }
        for (const tensor of made) if (!this.owned.owns(tensor) && !tensor.kept) tensor.dispose();
      }
    }
  }

  /** Adds to `.grad` of a leaf. */
  private accumulate(leaf: Tensor, grad: Tensor): void {
    if (leaf.isDisposed) return;
    const recording = isGradEnabled();
    const made: Tensor[] = [];
    collectMade(made, () => {
      const former = leaf.leafGradient;
      if (former === null || former.isDisposed) leaf.grad = this.exclusive(grad);
      else if (former instanceof SparseGrad) leaf.grad = add(former.toDense(), grad);
      else if (recording || former.requiresGrad) leaf.grad = add(former, grad);
      else writeInto(former, add(former, grad));
    });
    for (const tensor of made) if (tensor !== leaf.grad) tensor.dispose();
  }

  /** The gradient itself when nothing else refers to its memory, else a copy: in-place changes of `.grad` must not spread. */
  private exclusive(grad: Tensor): Tensor {
    if (isDense(grad) && !grad.storage.shared && this.owned.release(grad)) return grad;
    return copy(grad);
  }
}

/** All nodes that gradients can reach, latest first. */
function reachable(roots: readonly GradNode[]): GradNode[] {
  const found = new Set<GradNode>(roots);
  // A set visits what is added while it is iterated.
  for (const node of found) for (const edge of node.edges) if (edge !== null) found.add(edge.node);
  return [...found].sort((a, b) => b.sequence - a.sequence);
}

/** Those nodes from which a target can be reached. */
function leadingTo(order: readonly GradNode[], ends: ReadonlySet<GradNode>, stopAtEnds: boolean): Set<GradNode> {
  const leading = new Set<GradNode>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i];
    if (stopAtEnds && ends.has(node)) continue;
    if (node.edges.some((edge) => edge !== null && (leading.has(edge.node) || ends.has(edge.node)))) leading.add(node);
  }
  return leading;
}

function checkGradient(node: GradNode, k: number, grad: Tensor): void {
  const type = node.inputTypes[k];
  if (grad.dtype === type.dtype && shapesEqual(grad.shape, type.shape)) return;
  throw new AutogradError(
    `the gradient rule of ${node.name} gave ${grad.dtype} ${formatShape(grad.shape)} for input ${k}, which is ${type.dtype} ${formatShape(type.shape)}`,
    { op: 'backward', received: grad.shape, expected: 'a gradient of the same dtype and shape as the input' },
  );
}

function runPass(roots: readonly Root[], targets: readonly Edge[] | null, options: GradOptions): (Tensor | null)[] {
  const createGraph = options.createGraph ?? false;
  const former = setGradEnabled(createGraph);
  try {
    // Rules run in the dtypes that the forward pass chose.
    return withAutocast(null, () => new BackwardPass(roots, targets, options.retainGraph ?? createGraph, options.stopAtInputs).run());
  } finally {
    setGradEnabled(former);
  }
}

/** @throws AutogradError when no gradient can start here. */
function rootOf(output: Tensor, gradient: Tensor | null, op: string): Root {
  output.assertLive(op);
  const edge = edgeOf(output);
  if (edge === null) {
    throw new AutogradError(`the tensor (${output.dtype} ${formatShape(output.shape)}) has no gradient history`, {
      op,
      received: output.shape,
      expected: 'a result computed from tensors that require gradients, outside noGrad()',
      fix: isFloat(output.dtype)
        ? 'Call requiresGrad_() on its leaves before computing it.'
        : 'Whole numbers and booleans carry no gradients.',
    });
  }
  if (gradient === null) {
    if (sizeOf(output.shape) !== 1) {
      throw new AutogradError(`a tensor of shape ${formatShape(output.shape)} is no single number`, {
        op,
        received: output.shape,
        expected: 'a loss of one element, or the gradient of the result',
        fix: 'Reduce it with sum() or mean(), or pass a gradient of its shape.',
      });
    }
  } else if (!shapesEqual(gradient.shape, output.shape) || gradient.dtype !== output.dtype) {
    throw new AutogradError(
      `the given gradient is ${gradient.dtype} ${formatShape(gradient.shape)} and the tensor ${output.dtype} ${formatShape(output.shape)}`,
      {
        op,
        received: gradient.shape,
        expected: 'equal shapes and dtypes',
      },
    );
  }
  return { edge, gradient, like: output };
}

/** Adds the gradients of `output` with respect to every leaf to their `.grad`. @throws AutogradError */
export function backward(output: Tensor, gradient: Tensor | null = null, options: BackwardOptions = {}): void {
  runPass([rootOf(output, gradient, 'backward')], null, options);
}

/**
 * Gradients of `outputs` (weighted by `gradOutputs`, summed) with respect to `inputs`, which may be leaves or results.
 * `.grad` stays as it is. With a single input a tensor, else a list.
 * @throws AutogradError when an input does not require gradients, or (without allowUnused) the outputs do not depend on it
 */
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor, options?: GradOptions & { readonly allowUnused?: false }): Tensor;
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor, options: GradOptions): Tensor | null;
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options?: GradOptions & { readonly allowUnused?: false },
): Tensor[];
export function grad(outputs: Tensor | readonly Tensor[], inputs: readonly Tensor[], options: GradOptions): (Tensor | null)[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): Tensor | null | (Tensor | null)[] {
  const outputList = isList(outputs) ? outputs : [outputs];
  const inputList = isList(inputs) ? inputs : [inputs];
  const weights = options.gradOutputs ?? null;
  const weightList = weights === null ? [] : isList(weights) ? weights : [weights];
  if (weights !== null && weightList.length !== outputList.length) {
    throw new AutogradError(`${weightList.length} gradOutputs for ${outputList.length} outputs`, {
      op: 'grad',
      expected: 'one per output',
    });
  }
  const targets = inputList.map((input, i) => {
    const edge = edgeOf(input);
    if (edge === null) {
      throw new AutogradError(`input ${i} (${input.dtype} ${formatShape(input.shape)}) does not require gradients`, {
        op: 'grad',
        received: input.shape,
        fix: 'Call requiresGrad_() on it before computing the outputs.',
      });
    }
    return edge;
  });
  const roots = outputList.map((output, i) => rootOf(output, weightList[i] ?? null, 'grad'));
  const results = runPass(roots, targets, options);
  for (const result of results) if (result !== null) registerInScope(result);
  if (!options.allowUnused) {
    const missing = results.indexOf(null);
    if (missing >= 0) {
      for (const result of results) result?.dispose();
      throw new AutogradError(
        `the outputs do not depend on input ${missing} (${inputList[missing].dtype} ${formatShape(inputList[missing].shape)})`,
        {
          op: 'grad',
          fix: 'Leave it out, or give { allowUnused: true } to get null for it.',
        },
      );
    }
  }
  return isList(inputs) ? results : results[0];
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value);
}
