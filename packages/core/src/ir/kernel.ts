/**
 * Kernels: loop nests over buffers, the unit every backend renders.
 *
 * A kernel has pointer parameters and one or more independent parts. A part is a parallel loop of `grid` cells;
 * cells may run in any order on any thread, so a cell only writes what no other cell reads or writes.
 * No value crosses cells: results do not depend on the number of threads.
 */
import type { DType, ScalarType } from '../dtype.js';
import type { BufferRef, Expr, Local, LoopVar } from './expr.js';

/** Ways two values combine in an accumulator. */
export type ReduceOp = 'add' | 'mul' | 'max' | 'min' | 'and' | 'or';

/**
 * `for v in [0, extent)`. At most one loop on each path from the root is `vector`: the backend runs several
 * consecutive v at once. Everything inside it (locals, inner serial loops) has one value per lane. An
 * accumulator declared outside a vector loop and accumulated inside it is a lane-wise reduction that the
 * backend combines after the loop.
 */
export interface ForStmt {
  readonly kind: 'for';
  readonly variable: LoopVar;
  /** Constant, or an i32 expression evaluated once at entry (never inside a vector loop). */
  readonly extent: number | Expr;
  readonly mode: 'serial' | 'vector';
  readonly body: readonly Stmt[];
}
/** Declares a local in the enclosing block with its first value. */
export interface DeclareStmt {
  readonly kind: 'declare';
  readonly local: Local;
  readonly value: Expr;
}
/** Overwrites a local. Not a reduction: illegal on a local declared outside the current vector loop. */
export interface AssignStmt {
  readonly kind: 'assign';
  readonly local: Local;
  readonly value: Expr;
}
/** `local = op(local, value)`; associative, so backends may reorder lanes (in a fixed order). */
export interface AccumulateStmt {
  readonly kind: 'accumulate';
  readonly local: Local;
  readonly op: ReduceOp;
  readonly value: Expr;
}
export interface StoreStmt {
  readonly kind: 'store';
  readonly buffer: BufferRef;
  readonly index: Expr;
  /** Type is the compute type of buffer.dtype; stores narrow (integers wrap, float16/bfloat16 round to nearest even). */
  readonly value: Expr;
  /** Read-modify-write inside the cell (for scatter); `set` overwrites. Loops holding others than `set` stay serial. */
  readonly mode: 'set' | ReduceOp;
}
export interface IfStmt {
  readonly kind: 'if';
  readonly condition: Expr;
  readonly then: readonly Stmt[];
  readonly otherwise: readonly Stmt[];
}
/** Scalar only: never inside a vector loop. The condition is evaluated before every round. */
export interface WhileStmt {
  readonly kind: 'while';
  readonly condition: Expr;
  readonly body: readonly Stmt[];
}
export type Stmt = ForStmt | DeclareStmt | AssignStmt | AccumulateStmt | StoreStmt | IfStmt | WhileStmt;

/** A loop nest: cells `cell in [0, grid)` in parallel. */
export interface LoopPart {
  readonly kind: 'loops';
  readonly grid: number;
  readonly cell: LoopVar;
  readonly body: readonly Stmt[];
}

/**
 * One coordinate of a contraction operand along one axis of its array:
 * c = offset + sum(coefficient * index of dimension); when `checked`, the element exists only if
 * 0 <= c, c % dilation == 0 and c / dilation < extent (else it reads as 0). The address grows by (c / dilation) * stride.
 */
export interface Coordinate {
  readonly terms: readonly { readonly dim: number; readonly coefficient: number }[];
  readonly offset: number;
  readonly dilation: number;
  readonly extent: number;
  /** In elements. */
  readonly stride: number;
  readonly checked: boolean;
}
/** How a contraction reads an operand: element address = base + sum over coordinates. Dimensions are numbered as in {@link ContractPart.dims}. */
export interface ContractOperand {
  readonly buffer: BufferRef;
  readonly coordinates: readonly Coordinate[];
  /**
   * The content stays as it is from one call to the next (weights in inference; what a loop's rounds share): a backend may
   * keep a copy of it in a layout of its own.
   */
  readonly kept?: boolean;
}
export interface ContractDim {
  readonly extent: number;
  readonly role: 'batch' | 'm' | 'n' | 'k';
}
/**
 * out[batch, m, n] = sum over k of a[batch, m, k] * b[batch, k, n] in `type`, then `epilogue` for every output
 * element. Matrix multiplication, every convolution and its gradients, and einsum are all this one form:
 * convolution is a matrix product whose operand is read through checked coordinates (nothing is unfolded in memory).
 * Several dimensions may share a role; within a role they are ordered outer to inner.
 */
export interface ContractPart {
  readonly kind: 'contract';
  readonly type: ScalarType;
  readonly dims: readonly ContractDim[];
  readonly a: ContractOperand;
  readonly b: ContractOperand;
  /** The accumulated value, read by the epilogue. */
  readonly result: Local;
  /** One loop variable for each dimension with role batch, m or n (same order as in dims, k skipped). */
  readonly outputVars: readonly LoopVar[];
  /** declare/assign/store statements over `result` and `outputVars`; every store index is affine in outputVars. */
  readonly epilogue: readonly Stmt[];
}
export type Part = LoopPart | ContractPart;

export interface KernelParam {
  readonly dtype: DType;
  readonly access: 'read' | 'write' | 'readwrite';
}
export interface Kernel {
  readonly name: string;
  readonly params: readonly KernelParam[];
  readonly parts: readonly Part[];
}

/** Where a kernel argument lives: pointer table slot + byte offset (+ byte strides times the indices of enclosing step loops, outermost first). */
export interface Address {
  readonly slot: number;
  readonly offset: number;
  readonly loopStrides?: readonly number[];
}
/** Where a call comes from, for profiles. */
export interface CallOrigin {
  /**
   * The operations in the kernel: the scope that made each (see GraphNode.scope), and its floating-point operations: 2 for
   * each multiplication-addition of a contraction, 1 for each element an elementwise operation computes or a reduction reads.
   */
  readonly ops: readonly { readonly name: string; readonly scope: string; readonly flops: number }[];
  /** Bytes of the values it reads and writes, each counted once. */
  readonly bytes: number;
}
/** What a compiled program does, in order. Every thread walks the same steps; a barrier separates dependent ones. */
export type Step =
  | {
      readonly kind: 'call';
      readonly kernel: Kernel;
      readonly args: readonly Address[];
      readonly work: number;
      readonly origin?: CallOrigin;
    }
  | { readonly kind: 'repeat'; readonly count: number; readonly body: readonly Step[] }
  | { readonly kind: 'while'; readonly condition: Address; readonly before: readonly Step[]; readonly body: readonly Step[] }
  /**
   * What is computed from kept inputs alone, at the head of a program. A device may leave it out of runs in which they are
   * as they were; what it writes then stays in place.
   */
  | { readonly kind: 'prepare'; readonly body: readonly Step[] }
  | { readonly kind: 'branch'; readonly condition: Address; readonly then: readonly Step[]; readonly otherwise: readonly Step[] };
/** `work` of a call estimates its scalar operations; small ones run on one thread without waking the others. */
