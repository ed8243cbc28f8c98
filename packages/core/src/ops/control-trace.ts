/** Bodies of control flow: traced on their own, with what they use from outside made explicit. */
import { isGradEnabled } from '../autograd/mode.js';
import type { GradNode } from '../autograd/node.js';
import { LeafNode } from '../autograd/node.js';
import { ArgumentError, CompilerError } from '../errors.js';
import { denseLayout, denseStrides, sizeOf } from '../graph/layout.js';
import type { Attrs, Primitive, TensorType } from '../graph/primitive.js';
import { definePrimitive } from '../graph/primitive.js';
import type { Operand, Program, Value } from '../graph/program.js';
import { currentTrace, newValue, Trace, withTrace } from '../graph/trace.js';
import { modulePath, tracedTensor } from '../tensor/dispatch.js';
import { observer } from '../tensor/observe.js';
import { outsideScopes } from '../tensor/scope.js';
import { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';
import { copy } from './cast.js';

type ControlAttrs = { readonly outputs: readonly TensorTypeAttr[] } & Attrs;
type TensorTypeAttr = { readonly dtype: string; readonly shape: readonly number[] };

function control(kind: 'cond' | 'while' | 'scan'): Primitive {
  return definePrimitive<ControlAttrs>({
    name: kind,
    // The types follow from the traced bodies; tracing states them.
    infer: (_, { outputs }) => outputs as readonly (TensorTypeAttr & TensorType)[],
    lowering: { kind: 'control', control: kind },
    vjp: null,
  }) as Primitive;
}
export const controlPrimitives = { cond: control('cond'), while: control('while'), scan: control('scan') } as const;

/** One traced body. */
export interface Body {
  readonly program: Program;
  readonly argCount: number;
  /** Storages from outside that it reads, in the order of the inputs after the arguments. */
  readonly captured: readonly Storage[];
  /** Of those, the ones it changes in place, with their new content. */
  readonly written: ReadonlyMap<Storage, Operand>;
  /** Its results, dead after tracing but for their place on the tape. */
  readonly results: readonly Tensor[];
}

function typeOf(t: Tensor): TensorType {
  return { dtype: t.dtype, shape: t.shape };
}

/** Traces `fn` on placeholders of the given arguments. */
export function traceBody(
  name: string,
  fn: (args: Tensor[]) => readonly Tensor[],
  like: readonly TensorType[],
  requiresGrad: readonly boolean[],
): Body {
  const parent = currentTrace();
  const trace = new Trace(name, parent);
  try {
    const args = like.map((type, i) => {
      const storage = new Storage(type.dtype, sizeOf(type.shape), null, trace);
      trace.addInput(storage, type.shape);
      const tensor = new Tensor(storage, type.shape, denseStrides(type.shape), 0);
      tensor.requiresGrad = requiresGrad[i] ?? false;
      return tensor;
    });
    const results = withTrace(trace, () => outsideScopes(() => fn(args)));
    const program = withTrace(trace, () => trace.finish(results.map((t) => trace.operand(t))));
    const captured = trace.inputSources.slice(args.length);
    if (program.updates.some((u) => u.input < args.length)) {
      throw new ArgumentError('the body changes one of its arguments in place', { op: name, fix: 'Return the new value instead.' });
    }
    const written = new Map(program.updates.map((u) => [captured[u.input - args.length], u.value]));
    return { program: { ...program, updates: [] }, argCount: args.length, captured, written, results };
  } finally {
    trace.abandon();
  }
}

/**
 * Tensors from outside that a body differentiates through: the ends of its tape that are not its own arguments. Each is a
 * handle that names its place on the tape; those that are results carry no data.
 */
export function freeTensors(bodies: readonly Body[], before: number): Tensor[] {
  const found = new Map<string, Tensor>();
  const seen = new Set<GradNode>();
  const walk = (node: GradNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    node.edges.forEach((edge, k) => {
      if (edge === null) return;
      if (edge.node instanceof LeafNode) {
        const { leaf } = edge.node;
        const own = leaf.storage.trace !== null && !isOutside(leaf.storage.trace);
        if (!own) found.set(`leaf${leafNumber(leaf)}`, leaf);
      } else if (edge.node.sequence > before) walk(edge.node);
      else found.set(`${edge.node.sequence}:${edge.outputIndex}`, resultHandle(edge.node, edge.outputIndex, node.inputTypes[k]));
    });
  };
  for (const body of bodies) for (const t of body.results) if (t.gradFn !== null && t.gradFn.sequence > before) walk(t.gradFn);
  for (const body of bodies) {
    for (const t of body.results) {
      if (t.gradFn !== null && t.gradFn.sequence <= before)
        found.set(`${t.gradFn.sequence}:${t.outputIndex}`, resultHandle(t.gradFn, t.outputIndex, typeOf(t)));
    }
  }
  return [...found.values()];
}

const leafNumbers = new WeakMap<Tensor, number>();
let leafCount = 0;
function leafNumber(leaf: Tensor): number {
  let n = leafNumbers.get(leaf);
  if (n === undefined) {
    n = ++leafCount;
    leafNumbers.set(leaf, n);
  }
  return n;
}

function isOutside(trace: Trace): boolean {
  for (let t = currentTrace(); t !== null; t = t.parent) if (t === trace) return true;
  return false;
}

function resultHandle(node: GradNode, outputIndex: number, type: TensorType): Tensor {
  const handle = outsideScopes(
    () => new Tensor(new Storage(type.dtype, sizeOf(type.shape), null, currentTrace()), type.shape, denseStrides(type.shape), 0),
  );
  handle.requiresGrad = true;
  handle.gradFn = node;
  handle.outputIndex = outputIndex;
  return handle;
}

/** The parent's operand for a storage a body captured. */
function capturedOperand(trace: Trace, storage: Storage): Operand {
  const layout = denseLayout([storage.length]);
  return { value: trace.valueOf(storage, layout), layout };
}

function dense(trace: Trace, t: Tensor): Operand {
  const operand = trace.operand(t);
  const { layout, value } = operand;
  const whole =
    layout.offset === 0 && sizeOf(value.shape) === sizeOf(layout.shape) && layout.strides.join() === denseStrides(layout.shape).join();
  return whole ? operand : trace.operand(copy(t));
}

/** Gives every body the same inputs: shared constants, then state that some body writes, then its arguments. */
export interface Aligned {
  readonly programs: readonly Program[];
  readonly constants: readonly Storage[];
  readonly state: readonly Storage[];
}

/** `order` puts the inputs of a body in the order of the control primitive. */
export function align(
  bodies: readonly Body[],
  order: (constants: Value[], state: Value[], args: readonly Value[]) => readonly Value[],
): Aligned {
  const all = [...new Set(bodies.flatMap((b) => b.captured))];
  const state = all.filter((s) => bodies.some((b) => b.written.has(s)));
  const constants = all.filter((s) => !state.includes(s));
  const programs = bodies.map((body) => {
    const inputOf = (storage: Storage): Value => {
      const i = body.captured.indexOf(storage);
      return i >= 0 ? body.program.inputs[body.argCount + i] : newValue({ dtype: storage.dtype, shape: [storage.length] });
    };
    const stateValues = state.map(inputOf);
    const inputs = order(constants.map(inputOf), stateValues, body.program.inputs.slice(0, body.argCount));
    const stateOutputs = state.map(
      (s, i): Operand => body.written.get(s) ?? { value: stateValues[i], layout: denseLayout(stateValues[i].shape) },
    );
    return { ...body.program, inputs, outputs: [...stateOutputs, ...body.program.outputs] };
  });
  return { programs, constants, state };
}

/** Records a control node; its first outputs are the new content of `state`. Returns the tensors of the rest. */
export function recordControl(
  kind: 'cond' | 'while' | 'scan',
  aligned: Aligned,
  order: (constants: Operand[], state: Operand[], args: readonly Operand[]) => readonly Operand[],
  args: readonly Tensor[],
  outputs: readonly TensorType[],
  attrs: Attrs,
): Tensor[] {
  const trace = currentTrace();
  if (trace === null) throw new CompilerError(`${kind} was recorded outside a trace`);
  const { state, constants } = aligned;
  const operands = order(
    constants.map((s) => capturedOperand(trace, s)),
    state.map((s) => capturedOperand(trace, s)),
    args.map((t) => dense(trace, t)),
  );
  const types: TensorType[] = [...state.map((s) => ({ dtype: s.dtype, shape: [s.length] })), ...outputs];
  const attributes: Attrs = { ...attrs, outputs: types.map((t) => ({ dtype: t.dtype, shape: t.shape })) };
  const values = trace.record(controlPrimitives[kind], operands, attributes, modulePath(), aligned.programs);
  state.forEach((s, i) => trace.write(s, values[i]));
  const results = values.slice(state.length).map((value) => tracedTensor(trace, value));
  observer?.operation(kind, args, results);
  return results;
}

/** Whether gradients must be recorded for these arguments and free tensors. */
export function wantsGrad(args: readonly Tensor[], free: readonly Tensor[]): boolean {
  return isGradEnabled() && (free.length > 0 || args.some((t) => t.requiresGrad));
}
