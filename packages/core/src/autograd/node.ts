/** The tape's nodes. */
import type { TensorType } from '../graph/primitive.js';
import { modulePath } from '../tensor/module-path.js';
import type { Tensor } from '../tensor/tensor.js';

/** Where the gradient of an input goes: to an output of another node. Edges hold nodes, never handles. */
export interface Edge {
  readonly node: GradNode;
  readonly outputIndex: number;
}

/** Sees the gradient of a tensor when it is complete; what it returns, if anything, takes its place. */
export type GradHook = ((grad: Tensor) => Tensor | null | undefined) | ((grad: Tensor) => void);

let lastSequence = 0;

/** One recorded operation. */
export abstract class GradNode {
  readonly name: string;
  /** Grows with each recorded operation: a topological order. 0 for leaves, which come last in a backward pass. */
  readonly sequence: number;
  /** One per input; null where no gradient goes. */
  readonly edges: readonly (Edge | null)[];
  /** dtypes and shapes of the inputs: what the gradients must look like. */
  readonly inputTypes: readonly TensorType[];
  outputCount = 1;
  /** Path of the module whose forward recorded it, '' outside modules. */
  readonly scope: string = modulePath();
  /** Hooks by output. */
  hooks: Map<number, Set<GradHook>> | null = null;

  constructor(name: string, edges: readonly (Edge | null)[], inputTypes: readonly TensorType[], leaf = false) {
    this.name = name;
    this.edges = edges;
    this.inputTypes = inputTypes;
    this.sequence = leaf ? 0 : ++lastSequence;
  }
  /**
   * Gradients of the inputs from those of the outputs (null: none arrived). Runs with recording on when the result
   * is to be differentiated again. `needs[k]`: whether the gradient of input k is wanted.
   */
  abstract backward(grads: readonly (Tensor | null)[], needs: readonly boolean[]): readonly (Tensor | null)[];
  /** Frees what was saved for backward. */
  release(): void {}
}

/** The end of the tape at a leaf. Saved aliases of the leaf share it, so gradients always reach the leaf itself. */
export class LeafNode extends GradNode {
  readonly leaf: Tensor;
  readonly edge: Edge;
  constructor(leaf: Tensor) {
    super('leaf', [], [], true);
    this.leaf = leaf;
    this.edge = { node: this, outputIndex: 0 };
  }
  override backward(): readonly (Tensor | null)[] {
    return [];
  }
}

/** A view: its gradient rule is a function of the gradient alone. */
export class ViewNode extends GradNode {
  private readonly rule: (grad: Tensor) => Tensor;
  constructor(name: string, edge: Edge, inputType: TensorType, rule: (grad: Tensor) => Tensor) {
    super(name, [edge], [inputType]);
    this.rule = rule;
  }
  override backward(grads: readonly (Tensor | null)[]): readonly (Tensor | null)[] {
    const [grad] = grads;
    return [grad === null ? null : this.rule(grad)];
  }
}

/** The edge of an input, or null when no gradient flows there. */
export function edgeOf(tensor: Tensor): Edge | null {
  if (!tensor.requiresGrad) return null;
  if (tensor.gradFn !== null) return { node: tensor.gradFn, outputIndex: tensor.outputIndex };
  tensor.accumulator ??= new LeafNode(tensor);
  return tensor.accumulator.edge;
}
