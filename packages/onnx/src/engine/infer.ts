/** Shapes of all values of a graph without running it: the walk that records a program, with nothing recorded to keep. */
import { full, noGrad, type Tensor } from 'trireme';
import { traceProgram } from 'trireme/graph';
import type { Dimension, ModelModel, TypeModel } from '../model/model.js';
import { type OpRegistry, operators } from '../ops/index.js';
import { type ElementType, elementInfo } from './element-type.js';
import { DataDependentError } from './errors.js';
import { type GraphPlan, type Initializer, Planner } from './plan.js';
import { decodeTensor, sizeOf } from './transfer.js';
import { TensorValue, type Value } from './value.js';
import { bindInitializers, bindOutputs, Frame, hostInitializer, Ledger, runNode, type Walk } from './walk.js';

export interface InferredValue {
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Made from constants and shapes alone. */
  readonly isConstant: boolean;
}

export interface Inference {
  /** The tensors of the main graph by name, inputs and initializers among them. */
  readonly values: ReadonlyMap<string, InferredValue>;
  /** Nodes whose shapes depend on data, and those behind them are not among them. */
  readonly dependent: readonly string[];
  /** What operators said about shapes that do not fit. */
  readonly problems: readonly string[];
}

/** Larger initializers are not decoded, unless an operator must know their content. */
const decodedElements = 1024;

function initializerOf(initializer: Initializer): TensorValue {
  if (initializer.kind === 'sparse') return hostInitializer(initializer);
  const { type, dims } = initializer.tensor;
  const { carrier } = elementInfo[type];
  if (carrier === null || sizeOf(dims) <= decodedElements) return hostInitializer(initializer);
  const stand = full([...dims], carrier === 'bool' ? false : 0, { dtype: carrier });
  return TensorValue.ofParameter(stand, type, () => decodeTensor(initializer.tensor));
}

/** Extents of the inputs: those that the model states, and `extent` for what it leaves open. */
function inputValue(type: TypeModel | null, extent: (dim: Exclude<Dimension, number>) => number): TensorValue | null {
  if (type === null || type.kind !== 'tensor' || type.element === undefined || type.shape === null) return null;
  const shape = type.shape.map((dim) => (typeof dim === 'number' ? dim : extent(dim)));
  const { carrier } = elementInfo[type.element];
  if (carrier === null) return TensorValue.pending(type.element, shape);
  return TensorValue.ofTensor(full(shape, carrier === 'bool' ? false : 0, { dtype: carrier }), type.element);
}

/**
 * Infers the shapes of a model's main graph for inputs whose open extents are given by `extent` (name, or null for one without).
 * Nothing is computed and no large initializer is touched. What depends on data is left out, with all that follows from it.
 * @throws UnsupportedOperatorError, FormatError as loading the model does
 */
export function inferShapes(
  model: ModelModel,
  extent: (dim: Exclude<Dimension, number>) => number = () => 1,
  registry: OpRegistry = operators,
): Inference {
  const plan = new Planner(registry, model.functions).plan(model);
  const inference = { values: new Map<string, InferredValue>(), dependent: [] as string[], problems: [] as string[] };
  const { captured } = traceProgram(() => {
    noGrad(() => {
      walk(plan, model, extent, inference);
    });
    return [];
  }, []);
  for (const tensor of captured as readonly Tensor[]) tensor.dispose();
  return inference;
}

function walk(
  plan: GraphPlan,
  model: ModelModel,
  extent: (dim: Exclude<Dimension, number>) => number,
  { values, dependent, problems }: { values: Map<string, InferredValue>; dependent: string[]; problems: string[] },
): void {
  const frame = new Frame(null);
  const recording: Walk = { ledger: new Ledger(), training: false, recording: true, initializer: initializerOf };
  const constants = new Set<string>(plan.initializers.keys());
  const note = (name: string, value: Value | null | undefined): void => {
    if (value?.kind !== 'tensor') return;
    values.set(name, { type: value.type, shape: value.shape, isConstant: constants.has(name) || value.isKnown });
  };
  for (const { name, type } of model.graph.inputs) {
    if (!plan.inputs.includes(name)) continue;
    const value = inputValue(type, extent);
    if (value === null) continue;
    frame.bind(name, value);
    note(name, value);
  }
  bindInitializers(plan, frame, recording);
  for (const name of plan.initializers.keys()) note(name, frame.find(name));
  for (const planned of plan.nodes) {
    if (planned.reads.some((name) => frame.find(name) === undefined)) continue;
    try {
      bindOutputs(planned, runNode(planned, plan, frame, recording), frame, recording);
    } catch (error) {
      if (error instanceof DataDependentError) dependent.push(planned.label);
      else problems.push(error instanceof Error ? error.message : String(error));
      continue;
    }
    const isConstant =
      planned.reads.length > 0 && planned.reads.every((name) => constants.has(name) || values.get(name)?.isConstant === true);
    for (const name of planned.node.outputs) {
      if (name === '') continue;
      if (isConstant) constants.add(name);
      note(name, frame.find(name));
    }
  }
}
