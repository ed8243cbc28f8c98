/** Programs: static graphs of primitives over values. Nothing here runs; `compile.ts` turns a Program into steps. */
import type { DType } from '../dtype.js';
import type { Layout, Shape } from './layout.js';
import type { Attrs, Primitive } from './primitive.js';

/** A result, dense and row-major, written once. Identity is the object. */
export interface Value {
  readonly id: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A use of a value: any strided view of its buffer. Views cost nothing and are never nodes. */
export interface Operand {
  readonly value: Value;
  readonly layout: Layout;
}

export interface GraphNode {
  readonly id: number;
  readonly primitive: Primitive;
  readonly attrs: Attrs;
  readonly inputs: readonly Operand[];
  readonly outputs: readonly Value[];
  /** Path of the module whose forward made it (`encoder.0.linear`), '' outside modules. */
  readonly scope: string;
  /** Bodies of control flow. */
  readonly subprograms: readonly Program[];
}

export interface ProgramUpdate {
  /** Position in `inputs` of the state that changes. */
  readonly input: number;
  /** Its whole new content: a dense operand of as many elements. */
  readonly value: Operand;
}

export interface Program {
  readonly name: string;
  readonly inputs: readonly Value[];
  /** In an order in which every value is made before it is used. */
  readonly nodes: readonly GraphNode[];
  /** Copied densely to fresh buffers. */
  readonly outputs: readonly Operand[];
  /** State that changes in place when the program ends. */
  readonly updates: readonly ProgramUpdate[];
}
