/**
 * What a primitive is: a shape/dtype rule, a gradient rule and a lowering. The families in `ops/` define them;
 * the graph compiler only ever sees this interface.
 */
import type { DType } from '../dtype.js';
import type { BufferRef, Expr, ExprBuilder, LoopVar } from '../ir/expr.js';
import type { ReduceOp, Stmt } from '../ir/kernel.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Shape } from './layout.js';
import type { Program } from './program.js';

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Attributes are plain data: they are compared in full (as JSON) by caches and CSE. */
export type AttrValue = number | string | boolean | null | readonly AttrValue[] | { readonly [name: string]: AttrValue };
export type Attrs = { readonly [name: string]: AttrValue };
export const noAttrs: Attrs = Object.freeze({});

/** What a lowering may use to describe one element. */
export interface ElementContext {
  readonly b: ExprBuilder;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  /**
   * Element of input `k` at `indices` (one i32 expression per dimension of that input), in the compute type of its
   * dtype. With a guard: 0 where it is false, and then the indices may be out of range. The element may be read from
   * memory or computed on the spot: producers are fused here.
   */
  load(k: number, indices: readonly Expr[], guard?: Expr): Expr;
}

/**
 * Each output element is a function of its indices. All outputs have the same shape. `element` returns one expression
 * per output, in the compute type of that output's dtype. `pointwise`: output element i reads element i of every input
 * (inputs are expanded to the output's shape before), so indices pass through untouched.
 */
export interface MapLowering<A> {
  readonly kind: 'map';
  readonly pointwise: boolean;
  element(ctx: ElementContext, indices: readonly Expr[], attrs: A): readonly Expr[];
}

/** Combines input 0 over `axes` (the output drops them), in the compute type of the output's dtype. */
export interface ReduceLowering<A> {
  readonly kind: 'reduce';
  readonly op: ReduceOp;
  axes(inputs: readonly TensorType[], attrs: A): readonly number[];
}

/** One axis of a contraction operand: index = offset + sum(coefficient * dim index), / dilation, 0 outside when `checked`. */
export interface AxisIndex {
  readonly terms: readonly { readonly dim: number; readonly coefficient: number }[];
  readonly offset?: number;
  readonly dilation?: number;
  readonly checked?: boolean;
}
export interface ContractionSpec {
  readonly dims: readonly { readonly extent: number; readonly role: 'batch' | 'm' | 'n' | 'k' }[];
  /** For each axis of input 0 and of input 1. */
  readonly a: readonly AxisIndex[];
  readonly b: readonly AxisIndex[];
  /** The output's axes: positions in `dims` (every one that is not k, once). */
  readonly out: readonly number[];
}
/** A generalised matrix product of inputs 0 and 1. */
export interface ContractLowering<A> {
  readonly kind: 'contract';
  spec(inputs: readonly TensorType[], attrs: A): ContractionSpec;
}

export interface LoopsContext extends ElementContext {
  /** Stores to output `k` at `indices`; `mode` other than 'set' reads, combines and writes. */
  store(k: number, indices: readonly Expr[], value: Expr, mode?: 'set' | ReduceOp): Stmt;
  /** Element of output `k` written before by the same cell. */
  loadOutput(k: number, indices: readonly Expr[]): Expr;
  /** The raw buffer of output `k` (dense, row-major). */
  output(k: number): BufferRef;
}
/**
 * A loop nest written out by the primitive. `alias`: output 0 starts as a copy of input 0 (often in place), the cells
 * change some of its elements, and input 0 must not be loaded. `stages` run one after the other.
 */
export interface LoopsLowering<A> {
  readonly kind: 'loops';
  readonly alias: boolean;
  stages(
    ctx: LoopsContext,
    attrs: A,
  ): readonly { readonly grid: number; readonly cell: LoopVar; readonly body: readonly Stmt[]; readonly work?: number }[];
}

/** Runs sub-programs; lowered by the program compiler itself. The sub-programs hang on the graph node. */
export interface ControlLowering {
  readonly kind: 'control';
  readonly control: 'cond' | 'while' | 'scan';
}

export type Lowering<A> = MapLowering<A> | ReduceLowering<A> | ContractLowering<A> | LoopsLowering<A> | ControlLowering;

/** What a gradient rule may use. Unsaved tensors are only known by type. */
export interface VjpContext<A> {
  readonly attrs: A;
  readonly inputTypes: readonly TensorType[];
  readonly outputTypes: readonly TensorType[];
  /** Whether the gradient of input k is wanted; the rule may return null where it is not. */
  needs(k: number): boolean;
  /** Input k, if the primitive saves it. */
  input(k: number): Tensor;
  /** Output k, if the primitive saves it. */
  output(k: number): Tensor;
  /** Sub-programs of a control primitive. */
  readonly subprograms: readonly Program[];
}

export interface Primitive<A extends Attrs = Attrs> {
  readonly name: string;
  /** Shapes and dtypes of the outputs. @throws ShapeError, DTypeError, ArgumentError */
  infer(inputs: readonly TensorType[], attrs: A): readonly TensorType[];
  readonly lowering: Lowering<A>;
  /** Which inputs and outputs the gradient rule reads. */
  readonly saves: { readonly inputs: readonly number[] | 'all'; readonly outputs: readonly number[] | 'all' };
  /**
   * Vector-Jacobian product, written with tensor operations (so that it can be differentiated again).
   * `grads[k]` is null when output k has no gradient. Returns one entry per input (null: no gradient).
   * `null` instead of a function: the outputs never carry gradients (comparisons, integer results).
   */
  readonly vjp: ((ctx: VjpContext<A>, grads: readonly (Tensor | null)[]) => readonly (Tensor | null)[]) | null;
  /** Elementwise cost in rough instructions, for fusion decisions (default 1). */
  readonly cost?: number;
}

const named = new Map<string, Primitive>();

/** A primitive by name, for passes that rewrite programs; undefined when its module was never loaded. */
export function primitiveNamed(name: string): Primitive | undefined {
  return named.get(name);
}

/** Checks a primitive's attribute type once and forgets it: the compiler handles attributes as data. */
export function definePrimitive<A extends Attrs>(primitive: {
  readonly name: string;
  infer(inputs: readonly TensorType[], attrs: A): readonly TensorType[];
  readonly lowering: Lowering<A>;
  readonly saves?: { readonly inputs?: readonly number[] | 'all'; readonly outputs?: readonly number[] | 'all' };
  readonly vjp: ((ctx: VjpContext<A>, grads: readonly (Tensor | null)[]) => readonly (Tensor | null)[]) | null;
  readonly cost?: number;
}): Primitive<A> {
  const complete: Primitive<A> = {
    ...primitive,
    saves: { inputs: primitive.saves?.inputs ?? [], outputs: primitive.saves?.outputs ?? [] },
  };
  named.set(complete.name, complete as Primitive);
  return complete;
}
