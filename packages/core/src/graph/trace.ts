/** Recording: while a trace is active, primitives become nodes of a Program instead of running. */
import { TraceError } from '../errors.js';
import type { LeafGradient } from '../tensor/base.js';
import type { Storage } from '../tensor/storage.js';
import type { Tensor } from '../tensor/tensor.js';
import { denseLayout, isDense, type Layout, type Shape, sizeOf } from './layout.js';
import type { Attrs, Primitive, TensorType } from './primitive.js';
import type { GraphNode, Operand, Program, ProgramUpdate, Value } from './program.js';

let valueCount = 0;

/** A fresh value. */
export function newValue(type: TensorType): Value {
  return { id: ++valueCount, dtype: type.dtype, shape: type.shape };
}

/** Makes a node; its outputs follow from the primitive's shape rule. */
export function makeNode(
  primitive: Primitive,
  inputs: readonly Operand[],
  attrs: Attrs,
  scope = '',
  subprograms: readonly Program[] = [],
): GraphNode {
  const types = inputs.map((o) => ({ dtype: o.value.dtype, shape: o.layout.shape }));
  const outputs = primitive.infer(types, attrs).map(newValue);
  return { id: ++valueCount, primitive, attrs, inputs, outputs, scope, subprograms };
}

/** Whether the same leaves require gradients as did then. */
function sameTrained(trained: ReadonlyMap<Tensor, boolean>): () => boolean {
  return () => {
    for (const [leaf, requiresGrad] of trained) if (leaf.requiresGrad !== requiresGrad) return false;
    return true;
  };
}

/** The Program under construction. */
export class Trace {
  readonly name: string;
  readonly parent: Trace | null;
  private readonly inputs: Value[] = [];
  /** Storage behind each input: an argument's stand-in or captured memory. */
  private readonly sources: Storage[] = [];
  /** Captured memory, kept alive although a scope inside the traced function may let go of it. */
  private readonly held: Storage[] = [];
  private readonly nodes: GraphNode[] = [];
  /** What each storage holds at this point of the trace. */
  private readonly current = new Map<Storage, Value>();
  private readonly written = new Set<Storage>();
  private readonly leaves = new Map<Tensor, LeafGradient>();
  /** Leaves whose `.grad` was set while tracing. */
  readonly gradsWritten = new Set<Tensor>();
  /** Captured leaves, and whether they required gradients: what is recorded depends on it. */
  private readonly trained = new Map<Tensor, boolean>();
  /** Facts the trace took for granted; a compiled function checks them before each run. */
  readonly guards: (() => boolean)[] = [sameTrained(this.trained)];
  private closed = false;

  constructor(name: string, parent: Trace | null) {
    this.name = name;
    this.parent = parent;
  }

  /** Leaves whose `.grad` was read or set while tracing, with the gradient they had before. */
  get leafGrads(): ReadonlyMap<Tensor, LeafGradient> {
    return this.leaves;
  }
  /** Captured storages, by position of their input. */
  get inputSources(): readonly Storage[] {
    return this.sources;
  }

  /** Called when the gradient of a leaf is read: the Program depends on whether there was one, and on its form. */
  readLeafGrad(leaf: Tensor, before: LeafGradient): void {
    const { outermost } = this;
    if (outermost.leaves.has(leaf)) return;
    outermost.leaves.set(leaf, before);
    const had = before?.constructor;
    outermost.guards.push(() => leaf.leafGradient?.constructor === had);
  }
  /** Called when the gradient of a leaf is set. What was there before does not matter when nobody read it. */
  writeLeafGrad(leaf: Tensor, before: LeafGradient): void {
    const { outermost } = this;
    if (!outermost.leaves.has(leaf)) outermost.leaves.set(leaf, before);
    outermost.gradsWritten.add(leaf);
  }
  private get outermost(): Trace {
    let t: Trace = this;
    while (t.parent !== null) t = t.parent;
    return t;
  }
  addGuard(holds: () => boolean): void {
    this.outermost.guards.push(holds);
  }

  /** Declares `storage` as an input of the Program. */
  addInput(storage: Storage, shape: Shape): Value {
    const value = newValue({ dtype: storage.dtype, shape });
    this.inputs.push(value);
    this.sources.push(storage);
    if (storage.block !== null) {
      storage.retain();
      this.held.push(storage);
    }
    this.current.set(storage, value);
    return value;
  }

  /** The current value of a storage; real memory becomes an input at its first use. */
  valueOf(storage: Storage, layout: Layout): Value {
    this.assertOpen();
    const known = this.current.get(storage);
    if (known) return known;
    if (storage.trace !== null && storage.trace !== this.parent && !this.isAncestor(storage.trace)) {
      throw new TraceError('a tensor of another, finished trace was used', {
        op: this.name,
        fix: 'Return it from the traced function and pass it on as an argument.',
      });
    }
    const whole = layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === storage.length;
    return this.addInput(storage, whole ? layout.shape : [storage.length]);
  }
  private isAncestor(trace: Trace): boolean {
    for (let t = this.parent; t !== null; t = t.parent) if (t === trace) return true;
    return false;
  }

  /** To be called with each tensor that is used, itself or through a view. */
  noteLeaf(tensor: Tensor): void {
    // Parameters are kept. What else does not require gradients is as a rule a handle of the traced function's own.
    if (tensor.storage.trace !== null || tensor.gradFn !== null || !(tensor.requiresGrad || tensor.kept)) return;
    const { trained } = this.outermost;
    if (!trained.has(tensor)) trained.set(tensor, tensor.requiresGrad);
  }

  operand(tensor: Tensor): Operand {
    this.noteLeaf(tensor);
    const value = this.valueOf(tensor.storage, tensor);
    return { value, layout: { shape: tensor.shape, strides: tensor.strides, offset: tensor.offset } };
  }

  record(
    primitive: Primitive,
    inputs: readonly Operand[],
    attrs: Attrs,
    scope: string,
    subprograms: readonly Program[] = [],
  ): readonly Value[] {
    this.assertOpen();
    const node = makeNode(primitive, inputs, attrs, scope, subprograms);
    this.nodes.push(node);
    return node.outputs;
  }

  /** A storage whose content is `value`. */
  bind(storage: Storage, value: Value): void {
    this.current.set(storage, value);
  }

  /** Replaces the whole content of a storage. */
  write(storage: Storage, value: Value): void {
    this.assertOpen();
    this.current.set(storage, value);
    this.written.add(storage);
  }

  /** Ends the trace. `updated` are the input positions whose storages were written. */
  finish(outputs: readonly Operand[]): Program {
    this.closed = true;
    const updates: ProgramUpdate[] = [];
    this.sources.forEach((storage, input) => {
      if (!this.written.has(storage)) return;
      const value = this.current.get(storage);
      if (value && value !== this.inputs[input]) updates.push({ input, value: { value, layout: denseLayout(value.shape) } });
    });
    return { name: this.name, inputs: this.inputs, nodes: this.nodes, outputs, updates };
  }
  /** Lets go of what was captured; whoever still needs it holds it by then. The trace's tensors can no longer be used. */
  abandon(): void {
    this.closed = true;
    for (const storage of this.held) storage.release();
    this.held.length = 0;
  }

  private assertOpen(): void {
    if (!this.closed) return;
    throw new TraceError('a tensor of a finished trace was used', {
      op: this.name,
      fix: 'Tensors made inside jit() only live there: return what you need, or keep state in a tensor made outside and change it in place.',
    });
  }
}

let active: Trace | null = null;

/** The innermost trace under way, or null. */
export function currentTrace(): Trace | null {
  return active;
}

/** Runs `fn` with a trace active. */
export function withTrace<T>(trace: Trace | null, fn: () => T): T {
  const before = active;
  active = trace;
  try {
    return fn();
  } finally {
    active = before;
  }
}
