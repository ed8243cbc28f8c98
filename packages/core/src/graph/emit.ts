/**
 * Turns uses of values into expressions of one kernel: a load from a buffer, or the producer computed on the spot.
 */
import { dtypeInfo } from '../dtype.js';
import { CompilerError } from '../errors.js';
import type { BufferRef, Expr } from '../ir/expr.js';
import { ExprBuilder } from '../ir/expr.js';
import type { KernelParam, ReduceOp, Stmt } from '../ir/kernel.js';
import { type Affine, affineEqual, IndexAlgebra } from './affine.js';
import { denseStrides, type Shape } from './layout.js';
import type { ElementContext, LoopsContext, TensorType } from './primitive.js';
import type { GraphNode, Operand, Value } from './program.js';

export function operandType(o: Operand): TensorType {
  return { dtype: o.value.dtype, shape: o.layout.shape };
}

/** The nodes that are computed where their values are used. */
export interface Producers {
  get(value: Value): GraphNode | undefined;
}

/** The producers in `inlined` and the kernel's own `nodes`, without a copy of what may be the whole program. */
export function withNodes(inlined: Producers, nodes: readonly GraphNode[]): Producers {
  const own = new Map<Value, GraphNode>();
  for (const node of nodes) for (const v of node.outputs) own.set(v, node);
  return { get: (value) => own.get(value) ?? inlined.get(value) };
}

/** Where an element of a value computed in this kernel can be had without a load, given its flat index; null: elsewhere. */
export type Provider = (flat: Affine) => Expr | null;

/** The pointer parameters of a kernel and the values behind them. */
export class ParamTable {
  private readonly entries: { readonly buffer: BufferRef; readonly value: Value; access: KernelParam['access'] }[] = [];
  private readonly byValue = new Map<Value, (typeof this.entries)[number]>();

  buffer(value: Value, access: 'read' | 'write'): BufferRef {
    const found = this.byValue.get(value);
    if (found) {
      if (found.access !== access) found.access = 'readwrite';
      return found.buffer;
    }
    const entry = { buffer: { param: this.entries.length, dtype: value.dtype }, value, access };
    this.entries.push(entry);
    this.byValue.set(value, entry);
    return entry.buffer;
  }
  get parameters(): readonly KernelParam[] {
    return this.entries.map((p) => ({ dtype: p.buffer.dtype, access: p.access }));
  }
  /** The values behind the parameters, in order. */
  get arguments(): readonly Value[] {
    return this.entries.map((p) => p.value);
  }
}

/** What the emitters of several parts of one kernel share. */
export interface SharedKernel {
  readonly b: ExprBuilder;
  readonly params: ParamTable;
}

/** Builds one part of a kernel: its parameters and the expressions in it. */
export class KernelEmitter {
  readonly b: ExprBuilder;
  readonly algebra: IndexAlgebra;
  private readonly params: ParamTable;
  /** Values computed where they are used. */
  private readonly inlined: Producers;
  private readonly providers = new Map<Value, Provider>();
  private readonly elements = new Map<string, readonly Expr[]>();

  constructor(inlined: Producers, shared: SharedKernel = { b: new ExprBuilder(), params: new ParamTable() }) {
    this.inlined = inlined;
    this.b = shared.b;
    this.params = shared.params;
    this.algebra = new IndexAlgebra(this.b);
  }

  provide(value: Value, provider: Provider): void {
    this.providers.set(value, provider);
  }
  /** Forgets expressions built so far: a new loop computes anew. */
  newBody(): void {
    this.elements.clear();
  }

  buffer(value: Value, access: 'read' | 'write'): BufferRef {
    return this.params.buffer(value, access);
  }
  get parameters(): readonly KernelParam[] {
    return this.params.parameters;
  }
  get arguments(): readonly Value[] {
    return this.params.arguments;
  }

  /** The element of `operand` at `indices`; 0 where `guard` is false. */
  load(operand: Operand, indices: readonly Expr[], guard: Expr | null): Expr {
    const { value, layout } = operand;
    const flat = this.algebra.flatten(indices, layout.shape, layout.strides, layout.offset);
    return this.loadFlat(value, flat, guard);
  }

  private loadFlat(value: Value, flat: Affine, guard: Expr | null): Expr {
    const type = dtypeInfo[value.dtype].compute;
    const provided = this.providers.get(value)?.(flat);
    if (provided) return guard ? this.b.select(guard, provided, this.b.const(type, 0)) : provided;
    const node = this.inlined.get(value);
    if (!node) return this.b.load(this.buffer(value, 'read'), type, this.algebra.toExpr(flat), guard);
    const indices = this.algebra.unflatten(flat, value.shape).map((a) => this.algebra.toExpr(a));
    const result = this.element(node, indices, guard)[node.outputs.indexOf(value)];
    return guard ? this.b.select(guard, result, this.b.const(type, 0)) : result;
  }

  /** All outputs of a map node at `indices`. */
  element(node: GraphNode, indices: readonly Expr[], guard: Expr | null): readonly Expr[] {
    const { lowering } = node.primitive;
    if (lowering.kind !== 'map') throw new CompilerError(`${node.primitive.name} cannot be computed in place`, { op: node.primitive.name });
    const key = `${node.id}:${indices.map((e) => e.id).join()}:${guard ? guard.id : ''}`;
    const known = this.elements.get(key);
    if (known) return known;
    const made = lowering.element(this.context(node, guard), indices, node.attrs);
    this.elements.set(key, made);
    return made;
  }

  context(node: GraphNode, guard: Expr | null): ElementContext {
    return {
      b: this.b,
      inputs: node.inputs.map(operandType),
      outputs: node.outputs,
      load: (k, indices, extra) => {
        const both = extra ? (guard ? this.b.and(guard, extra) : extra) : guard;
        return this.load(node.inputs[k], indices, both);
      },
    };
  }

  loopsContext(node: GraphNode): LoopsContext {
    const flat = (k: number, indices: readonly Expr[]): Expr => this.flatOutput(node.outputs[k], indices);
    return {
      ...this.context(node, null),
      output: (k) => this.buffer(node.outputs[k], 'write'),
      loadOutput: (k, indices) => {
        const value = node.outputs[k];
        return this.b.load(this.buffer(value, 'read'), dtypeInfo[value.dtype].compute, flat(k, indices));
      },
      store: (k, indices, value, mode = 'set') => this.store(node.outputs[k], flat(k, indices), value, mode),
    };
  }

  flatOutput(value: Value, indices: readonly Expr[]): Expr {
    return this.algebra.toExpr(this.algebra.flatten(indices, value.shape, denseStrides(value.shape), 0));
  }

  store(value: Value, index: Expr, stored: Expr, mode: 'set' | ReduceOp = 'set'): Stmt {
    const buffer = this.buffer(value, 'write');
    if (mode !== 'set') this.buffer(value, 'read');
    return { kind: 'store', buffer, index, value: stored, mode };
  }

  /** A provider that answers `result` for the element at `indices` (of a value of this shape) and for no other. */
  at(shape: Shape, indices: readonly Expr[], result: () => Expr): Provider {
    const here = this.algebra.flatten(indices, shape, denseStrides(shape), 0);
    return (flat) => (affineEqual(flat, here) ? result() : null);
  }
}
