/** Running a planned graph node by node, eagerly or while a program is recorded. */
import { FormatError, scope, type Tensor, TraceError, TriremeError } from 'trireme';
import type { GraphModel } from '../model/model.js';
import type { OpContext } from '../ops/definition.js';
import { valueOfTensor } from './attributes.js';
import { DataDependentError, OnnxError } from './errors.js';
import type { GraphPlan, Initializer, PlannedNode } from './plan.js';
import { densify } from './transfer.js';
import { TensorValue, tensorsIn, type Value } from './value.js';

/** The values bound in one graph, within those of the graphs around it. */
export class Frame {
  readonly #values = new Map<string, Value | null>();
  readonly parent: Frame | null;

  constructor(parent: Frame | null) {
    this.parent = parent;
  }
  /** undefined: not bound. */
  find(name: string): Value | null | undefined {
    for (let frame: Frame | null = this; frame !== null; frame = frame.parent) {
      const found = frame.#values.get(name);
      if (found !== undefined || frame.#values.has(name)) return found;
    }
    return undefined;
  }
  bind(name: string, value: Value | null): void {
    this.#values.set(name, value);
  }
  has(name: string): boolean {
    return this.#values.has(name);
  }
  /** Takes a name out. */
  take(name: string): Value | null | undefined {
    const found = this.#values.get(name);
    this.#values.delete(name);
    return found;
  }
  values(): readonly Value[] {
    return [...this.#values.values()].filter((value) => value !== null);
  }
}

/**
 * Counts under how many names a tensor is known, so that its memory can be given back after the last. One value can have several names, and
 * several values one tensor: operators hand on what they get.
 */
export class Ledger {
  readonly #values = new Map<TensorValue, { count: number; tensor: Tensor | null }>();
  readonly #tensors = new Map<Tensor, number>();

  retain(value: Value | null): void {
    for (const t of tensorsIn(value)) {
      const entry = this.#values.get(t);
      if (entry !== undefined) entry.count++;
      else {
        const tensor = t.onDevice;
        this.#values.set(t, { count: 1, tensor });
        if (tensor !== null) this.#tensors.set(tensor, (this.#tensors.get(tensor) ?? 0) + 1);
      }
    }
  }
  /** Takes a name away; with `dispose` false the memory stays even after the last one. */
  release(value: Value | null, dispose = true): void {
    for (const t of tensorsIn(value)) {
      const entry = this.#values.get(t);
      if (entry === undefined || --entry.count > 0) continue;
      this.#values.delete(t);
      const tensor = t.onDevice;
      if (tensor === null) continue;
      const others = (this.#tensors.get(tensor) ?? 0) - (entry.tensor === tensor ? 1 : 0);
      if (others > 0) this.#tensors.set(tensor, others);
      else {
        this.#tensors.delete(tensor);
        if (dispose) t.dispose();
      }
    }
  }
}

/** What a walk needs besides the graph. */
export interface Walk {
  readonly ledger: Ledger;
  readonly training: boolean;
  /** Whether a program is being recorded. */
  readonly recording: boolean;
  /** Runs the nodes of a subgraph or function that is between programs; by default one after the other. */
  readonly runNodes?: (plan: GraphPlan, frame: Frame, walk: Walk) => void;
  /** The value of an initializer; those of subgraphs too. */
  initializer(initializer: Initializer, plan: GraphPlan, name: string): TensorValue;
}

/** The default of {@link Walk.initializer}: known on the host. */
export function hostInitializer(initializer: Initializer): TensorValue {
  if (initializer.kind === 'dense') return valueOfTensor(initializer.tensor);
  const { host, type } = densify(initializer.sparse);
  return TensorValue.ofHost(host, type, initializer.sparse.dims);
}

/** What operators of this package see beyond {@link OpContext}. */
export interface EngineContext extends OpContext {
  readonly recording: boolean;
  /** The graph that the node is in, and a way to run it again with other values. */
  readonly plan: GraphPlan;
  readonly frame: Frame;
  readonly walk: Walk;
}

/** Values for the inputs of a node, null for those left out. */
export function inputsOf(planned: PlannedNode, frame: Frame): (Value | null)[] {
  return planned.node.inputs.map((name) => {
    if (name === '') return null;
    const value = frame.find(name);
    if (value === undefined) throw new OnnxError(`${planned.label} reads '${name}', which has no value`, { op: 'onnx' });
    return value;
  });
}

/** Runs one node. Temporaries of the operator are freed. */
export function runNode(planned: PlannedNode, plan: GraphPlan, frame: Frame, walk: Walk): readonly (Value | null)[] {
  const inputs = inputsOf(planned, frame);
  const { node, run, body } = planned;
  let result: readonly (Value | null)[] = [];
  const ctx: EngineContext = {
    node,
    attrs: planned.attributes,
    opset: planned.opset,
    training: walk.training,
    recording: walk.recording,
    outputCount: planned.outputCount,
    wants: (k) => planned.wanted[k] === true,
    run: (graph, values) => runGraph(plan.subgraphs.get(graph) ?? unplanned(graph), values, frame, walk),
    fail: planned.fail,
    plan,
    frame,
    walk,
  };
  try {
    scope(() => {
      if (run !== null) {
        const made = run(inputs, ctx);
        result = isList(made) ? made : [made];
      } else if (body !== null) result = runGraph(body, inputs, null, walk);
      // What the operator put on the device of its inputs is theirs.
      const read = planned.reads.map((name) => frame.find(name) ?? null);
      return [...result, ...read].flatMap((value) => tensorsIn(value).map((t) => t.onDevice));
    });
  } catch (error) {
    if (walk.recording && error instanceof TraceError) {
      throw new DataDependentError(`${planned.label} reads what is computed`, { op: 'onnx', cause: error });
    }
    if (error instanceof TriremeError && !(error instanceof FormatError)) error.atLayer(planned.label);
    throw error;
  }
  return result;
}

function isList(made: Value | readonly (Value | null)[]): made is readonly (Value | null)[] {
  return Array.isArray(made);
}

function unplanned(graph: GraphModel): never {
  throw new OnnxError(`subgraph '${graph.name}' is not one of the model`, { op: 'onnx' });
}

/** Binds a node's outputs to their names. */
export function bindOutputs(planned: PlannedNode, outputs: readonly (Value | null)[], frame: Frame, walk: Walk): void {
  planned.node.outputs.forEach((name, k) => {
    if (name === '') return;
    const value = outputs[k];
    if (value === undefined) planned.fail(`makes ${outputs.length} outputs`, `output ${k}, '${name}'`);
    walk.ledger.retain(value);
    frame.bind(name, value);
  });
}

export function bindInitializers(plan: GraphPlan, frame: Frame, walk: Walk): void {
  for (const [name, initializer] of plan.initializers) {
    if (frame.has(name)) continue;
    const value = walk.initializer(initializer, plan, name);
    walk.ledger.retain(value);
    // A weight that is on the device stays there.
    if (!value.isKnown) walk.ledger.retain(value);
    frame.bind(name, value);
  }
}

/** Runs a graph with values for its inputs, in order, which remain the caller's. */
export function runGraph(plan: GraphPlan, inputs: readonly (Value | null)[], outer: Frame | null, walk: Walk): readonly Value[] {
  const frame = new Frame(outer);
  for (const value of inputs) walk.ledger.retain(value);
  plan.inputs.forEach((name, i) => {
    const value = inputs[i] ?? null;
    walk.ledger.retain(value);
    frame.bind(name, value);
  });
  bindInitializers(plan, frame, walk);
  if (walk.runNodes === undefined || walk.recording) walkNodes(plan, frame, walk);
  else walk.runNodes(plan, frame, walk);
  const outputs = takeOutputs(plan, frame, walk);
  for (const value of inputs) walk.ledger.release(value, false);
  return outputs;
}

export function walkNodes(plan: GraphPlan, frame: Frame, walk: Walk): void {
  plan.nodes.forEach((planned, i) => {
    bindOutputs(planned, runNode(planned, plan, frame, walk), frame, walk);
    for (const name of plan.lastUses[i]) walk.ledger.release(frame.take(name) ?? null);
  });
}

/** The outputs, which the caller owns from here on; everything else is released. */
function takeOutputs(plan: GraphPlan, frame: Frame, walk: Walk): readonly Value[] {
  const outputs = plan.outputs.map((name) => {
    const value = frame.find(name);
    if (value == null) throw new OnnxError(`output '${name}' of graph '${plan.name}' has no value`, { op: 'onnx' });
    return value;
  });
  const given = new Set(outputs.flatMap((value) => tensorsIn(value)));
  const tensors = new Set([...given].map((t) => t.onDevice));
  for (const value of frame.values()) {
    for (const t of tensorsIn(value)) walk.ledger.release(t, !given.has(t) && !(t.onDevice !== null && tensors.has(t.onDevice)));
  }
  return outputs;
}
