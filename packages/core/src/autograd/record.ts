/** Writes the tape: called by dispatch for each operation on tensors that require gradients. */
import { isFloat } from '../dtype.js';
import { CompilerError } from '../errors.js';
import type { Attrs, Primitive, TensorType, VjpContext } from '../graph/primitive.js';
import type { Program } from '../graph/program.js';
import type { Tensor } from '../tensor/tensor.js';
import { isGradEnabled } from './mode.js';
import type { Edge } from './node.js';
import { edgeOf, GradNode, ViewNode } from './node.js';
import type { Saved } from './saved.js';
import { saveTensor } from './saved.js';

const noPrograms: readonly Program[] = [];

/** A primitive on the tape. */
class PrimitiveNode extends GradNode implements Omit<VjpContext<Attrs>, 'needs' | 'input' | 'output'> {
  readonly attrs: Attrs;
  readonly outputTypes: readonly TensorType[];
  readonly subprograms: readonly Program[];
  private readonly primitive: Primitive;
  private readonly savedInputs: (Saved | null)[] = [];
  private readonly savedOutputs: (Saved | null)[] = [];

  constructor(
    primitive: Primitive,
    attrs: Attrs,
    edges: readonly (Edge | null)[],
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    subprograms: readonly Program[],
  ) {
    super(primitive.name, edges, inputs.map(typeOf));
    this.primitive = primitive;
    this.attrs = attrs;
    this.outputTypes = outputs.map(typeOf);
    this.subprograms = subprograms;
  }
  save(inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const { saves } = this.primitive;
    if (saves.inputs === 'all') for (let k = 0; k < inputs.length; k++) this.savedInputs[k] = saveTensor(inputs[k]);
    else for (const k of saves.inputs) if (k < inputs.length) this.savedInputs[k] = saveTensor(inputs[k]);
    if (saves.outputs === 'all') for (let k = 0; k < outputs.length; k++) this.savedOutputs[k] = saveTensor(outputs[k]);
    else for (const k of saves.outputs) this.savedOutputs[k] = saveTensor(outputs[k]);
  }
  override backward(grads: readonly (Tensor | null)[], needs: readonly boolean[]): readonly (Tensor | null)[] {
    const { vjp } = this.primitive;
    if (vjp === null) throw new CompilerError(`${this.name} has no gradient rule but is on the tape`);
    return vjp(
      {
        attrs: this.attrs,
        inputTypes: this.inputTypes,
        outputTypes: this.outputTypes,
        subprograms: this.subprograms,
        needs: (k) => needs[k] ?? false,
        input: (k) => this.unpack(this.savedInputs, k, 'input'),
        output: (k) => this.unpack(this.savedOutputs, k, 'output'),
      },
      grads,
    );
  }
  private unpack(list: readonly (Saved | null)[], k: number, kind: 'input' | 'output'): Tensor {
    const saved = list[k];
    if (!saved) throw new CompilerError(`the gradient rule of ${this.name} reads ${kind} ${k}, which is not among its \`saves\``);
    return saved.get(this.name, `${kind} ${k}`);
  }
  override release(): void {
    for (const saved of this.savedInputs) saved?.release();
    for (const saved of this.savedOutputs) saved?.release();
  }
}

function typeOf(tensor: Tensor): TensorType {
  return { dtype: tensor.dtype, shape: tensor.shape };
}

/** The edges of all inputs, or null when none requires gradients. */
export function edgesOf(inputs: readonly Tensor[]): (Edge | null)[] | null {
  for (let k = 0; k < inputs.length; k++) if (inputs[k].requiresGrad) return inputs.map(edgeOf);
  return null;
}

/** Makes the float tensors among `outputs` results of `node`. */
export function attachOutputs(node: GradNode, outputs: readonly Tensor[]): void {
  node.outputCount = outputs.length;
  for (let k = 0; k < outputs.length; k++) {
    const output = outputs[k];
    if (!isFloat(output.dtype)) continue;
    output.requiresGrad = true;
    output.gradFn = node;
    output.outputIndex = k;
  }
}

/** Records a primitive that ran (or was traced) with recording on. Does nothing when no input requires gradients. */
export function recordGrad(
  primitive: Primitive,
  attrs: Attrs,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  subprograms: readonly Program[] = noPrograms,
): void {
  if (primitive.vjp === null || !isGradEnabled()) return;
  const edges = edgesOf(inputs);
  if (edges === null) return;
  const node = new PrimitiveNode(primitive, attrs, edges, inputs, outputs, subprograms);
  attachOutputs(node, outputs);
  node.save(inputs, outputs);
}

/**
 * Records a view. `rule` maps the gradient of the view to that of the input; it must not hold the input's handle
 * (shapes and strides only).
 */
export function recordView(name: string, input: Tensor, output: Tensor, rule: (grad: Tensor) => Tensor): void {
  const edge = isGradEnabled() ? edgeOf(input) : null;
  if (edge === null) return;
  attachOutputs(new ViewNode(name, edge, typeOf(input), rule), [output]);
}
