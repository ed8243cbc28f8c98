/** Running primitives: at once from a cache of one-operation Programs, or recorded while a function is traced. */
import { recordGrad, recordView } from '../autograd/record.js';
import { dtypeInfo } from '../dtype.js';
import { CompilerError } from '../errors.js';
import { type CompiledProgram, compileProgram } from '../graph/compile.js';
import { denseLayout, denseStrides, isDense, type Layout, sizeOf } from '../graph/layout.js';
import { runObserver } from '../graph/observe.js';
import { type Attrs, noAttrs, type Primitive, type TensorType } from '../graph/primitive.js';
import type { Operand, Program, Value } from '../graph/program.js';
import { currentTrace, makeNode, newValue, type Trace } from '../graph/trace.js';
import { beforeDeviceChange, defaultDevice } from './device.js';
import { modulePath } from './module-path.js';
import { observer } from './observe.js';
import { Storage } from './storage.js';
import { Tensor } from './tensor.js';

/* ---- eager ---- */

interface EagerEntry {
  readonly program: CompiledProgram;
  readonly outputs: readonly {
    readonly type: TensorType;
    readonly length: number;
    readonly strides: readonly number[];
  }[];
  /** Reused between calls: the arena, the inputs, the outputs. */
  readonly pointers: Float64Array;
}

/** One primitive with one set of attributes: entries by the signatures of the inputs. */
interface Variants {
  readonly upToTwo: Map<number, EagerEntry>;
  readonly many: Map<string, EagerEntry>;
}

const signatures = new Map<string, number>();

/** A number for (dtype, shape, strides): equal for tensors that the same compiled operation can take. */
export function signatureOf(t: Tensor): number {
  if (t.signature !== 0) return t.signature;
  const key = `${t.dtype}|${t.shape.join()}|${isDense(t) ? '' : t.strides.join()}`;
  let id = signatures.get(key);
  if (id === undefined) {
    id = signatures.size + 1;
    signatures.set(key, id);
  }
  t.signature = id;
  return id;
}

const plain = new Map<Primitive, Variants>();
const withAttrs = new Map<Primitive, Map<string, Variants>>();
const inPlaceVariants = new Map<Primitive, Map<string, Variants>>();
// Compiled operations belong to the device they were loaded on.
beforeDeviceChange(() => {
  for (const table of [plain, withAttrs, inPlaceVariants]) table.clear();
});

function variantsOf(primitive: Primitive, attrs: Attrs, inPlace: boolean): Variants {
  if (attrs === noAttrs && !inPlace) {
    let found = plain.get(primitive);
    if (!found) {
      found = { upToTwo: new Map(), many: new Map() };
      plain.set(primitive, found);
    }
    return found;
  }
  const table = inPlace ? inPlaceVariants : withAttrs;
  let byAttrs = table.get(primitive);
  if (!byAttrs) {
    byAttrs = new Map();
    table.set(primitive, byAttrs);
  }
  const key = JSON.stringify(attrs);
  let found = byAttrs.get(key);
  if (!found) {
    found = { upToTwo: new Map(), many: new Map() };
    byAttrs.set(key, found);
  }
  return found;
}

/** Lowest element a layout touches, relative to the storage's start. */
function lowest(layout: Layout): number {
  let low = layout.offset;
  for (let i = 0; i < layout.shape.length; i++) {
    if (layout.strides[i] < 0 && layout.shape[i] > 1) low += layout.strides[i] * (layout.shape[i] - 1);
  }
  return low;
}

function buildEntry(primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs, inPlace: boolean): EagerEntry {
  const operands: Operand[] = inputs.map((t) => {
    if (isDense(t)) {
      const value = newValue({ dtype: t.dtype, shape: t.shape });
      return { value, layout: denseLayout(t.shape) };
    }
    const offset = t.offset - lowest(t);
    let extent = offset + 1;
    for (let i = 0; i < t.shape.length; i++) if (t.strides[i] > 0) extent += t.strides[i] * Math.max(0, t.shape[i] - 1);
    return { value: newValue({ dtype: t.dtype, shape: [extent] }), layout: { shape: t.shape, strides: t.strides, offset } };
  });
  const node = makeNode(primitive, operands, attrs);
  const program: Program = {
    name: primitive.name,
    inputs: operands.map((o) => o.value),
    nodes: [node],
    outputs: inPlace ? [] : node.outputs.map((value) => ({ value, layout: denseLayout(value.shape) })),
    updates: inPlace ? [{ input: 0, value: { value: node.outputs[0], layout: denseLayout(node.outputs[0].shape) } }] : [],
  };
  const compiled = compileProgram(program, defaultDevice());
  const kept = inPlace ? [] : node.outputs;
  return {
    program: compiled,
    outputs: kept.map((v) => ({ type: v, length: sizeOf(v.shape), strides: denseStrides(v.shape) })),
    pointers: new Float64Array(1 + inputs.length + kept.length),
  };
}

function findEntry(primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs, inPlace: boolean): EagerEntry {
  const variants = variantsOf(primitive, attrs, inPlace);
  if (inputs.length <= 2 && inputs.length > 0) {
    const key = inputs.length === 1 ? signatureOf(inputs[0]) : signatureOf(inputs[0]) * 0x4000000 + signatureOf(inputs[1]);
    let entry = variants.upToTwo.get(key);
    if (!entry) {
      entry = buildEntry(primitive, inputs, attrs, inPlace);
      variants.upToTwo.set(key, entry);
    }
    return entry;
  }
  const key = inputs.map(signatureOf).join();
  let entry = variants.many.get(key);
  if (!entry) {
    entry = buildEntry(primitive, inputs, attrs, inPlace);
    variants.many.set(key, entry);
  }
  return entry;
}

function runEager(primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs, inPlace: boolean): Tensor[] {
  const entry = findEntry(primitive, inputs, attrs, inPlace);
  const { pointers, outputs } = entry;
  const results: Tensor[] = [];
  for (let i = 0; i < outputs.length; i++) {
    const out = outputs[i];
    const storage = Storage.allocate(defaultDevice(), out.type.dtype, out.length);
    const tensor = new Tensor(storage, out.type.shape, out.strides, 0);
    pointers[1 + inputs.length + i] = storage.address;
    results.push(tensor);
  }
  for (let i = 0; i < inputs.length; i++) {
    const t = inputs[i];
    t.assertLive(primitive.name);
    const first = t.offset === 0 && isDense(t) ? 0 : lowest(t);
    pointers[1 + i] = t.storage.address + first * dtypeInfo[t.dtype].bytes;
  }
  if (runObserver === null) entry.program.executable.runSync(pointers);
  else runObserver.run(entry.program, pointers, modulePath());
  return results;
}

/* ---- traced ---- */

/** A new tensor that stands for `value` in `trace`. */
export function tracedTensor(trace: Trace, value: Value): Tensor {
  const storage = new Storage(value.dtype, sizeOf(value.shape), null, trace);
  trace.bind(storage, value);
  return new Tensor(storage, value.shape, denseStrides(value.shape), 0);
}

function runTraced(trace: Trace, primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs): Tensor[] {
  for (const t of inputs) t.assertLive(primitive.name);
  const operands = inputs.map((t) => trace.operand(t));
  return trace.record(primitive, operands, attrs, modulePath()).map((value) => tracedTensor(trace, value));
}

/* ---- the entry points ---- */

/** Runs or records a primitive, and its gradient when one is wanted. Inputs already have the dtypes and shapes it asks for. */
export function apply(primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs = noAttrs): Tensor[] {
  const trace = currentTrace();
  const outputs = trace === null ? runEager(primitive, inputs, attrs, false) : runTraced(trace, primitive, inputs, attrs);
  if (primitive.vjp !== null) recordGrad(primitive, attrs, inputs, outputs, []);
  if (observer !== null) observer.operation(primitive.name, inputs, outputs);
  return outputs;
}

/** {@link apply} of a primitive with one output. */
export function apply1(primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs = noAttrs): Tensor {
  return apply(primitive, inputs, attrs)[0];
}

/**
 * Runs a primitive whose output 0 starts as a copy of input 0 (loops lowering with `alias`) on input 0's own memory.
 * Input 0 is dense. No gradient is recorded.
 */
export function applyInPlace(primitive: Primitive, inputs: readonly Tensor[], attrs: Attrs = noAttrs): void {
  const target = inputs[0];
  if (primitive.lowering.kind !== 'loops' || !primitive.lowering.alias || !isDense(target)) {
    throw new CompilerError(`${primitive.name} cannot run in place here`, { op: primitive.name });
  }
  const trace = currentTrace();
  if (trace === null) runEager(primitive, inputs, attrs, true);
  else {
    const [value] = trace.record(
      primitive,
      inputs.map((t) => trace.operand(t)),
      attrs,
      modulePath(),
    );
    trace.write(target.storage, value);
  }
  target.storage.version++;
}

/**
 * In a trace: makes `value` the whole new content of a dense target that spans its storage, without a kernel of its own.
 * Returns false where that does not apply, and has done nothing then.
 */
export function replaceWhole(target: Tensor, value: Tensor): boolean {
  const trace = currentTrace();
  if (trace === null || !isDense(target) || sizeOf(target.shape) !== target.storage.length || target.offset !== 0) return false;
  const source = trace.operand(value);
  if (!isDense(source.layout) || source.layout.offset !== 0 || sizeOf(source.value.shape) !== target.storage.length) return false;
  // Later reads of the state go through a value of its own shape.
  trace.operand(target);
  trace.write(target.storage, source.value);
  target.storage.version++;
  return true;
}

/** A view of the same storage, with its gradient rule. */
export function viewOf(t: Tensor, layout: Layout, name: string, vjp: (grad: Tensor) => Tensor): Tensor {
  t.assertLive(name);
  currentTrace()?.noteLeaf(t);
  const view = new Tensor(t.storage, layout.shape, layout.strides, layout.offset);
  if (t.requiresGrad) recordView(name, t, view, vjp);
  return view;
}

export { currentTrace } from '../graph/trace.js';
export { createFromArray, read, readSync, scalarTensor, type TypedArray } from './data.js';
export { modulePath, withModulePath } from './module-path.js';
