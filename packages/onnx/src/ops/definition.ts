/** What an operator is to the engine: a function of values and attributes, and the domain and versions it holds for. */

import type { TensorValue, Value } from '../engine/value.js';
import type { GraphModel, NodeModel } from '../model/model.js';

/** Attributes of the node at hand, with their types checked. A wrong type or a missing required one is a FormatError that names the node. */
export interface AttributeReader {
  has(name: string): boolean;
  int(name: string, fallback?: number): number;
  ints(name: string, fallback?: readonly number[]): readonly number[];
  float(name: string, fallback?: number): number;
  floats(name: string, fallback?: readonly number[]): readonly number[];
  string(name: string, fallback?: string): string;
  strings(name: string, fallback?: readonly string[]): readonly string[];
  tensor(name: string): TensorValue;
  tensors(name: string): readonly TensorValue[];
  graph(name: string): GraphModel;
  /** As `ints`, undefined when the attribute is not there. */
  optionalInts(name: string): readonly number[] | undefined;
  optionalInt(name: string): number | undefined;
  optionalFloat(name: string): number | undefined;
}

export interface OpContext {
  readonly node: NodeModel;
  readonly attrs: AttributeReader;
  /** Version of the operator's domain that the model imports. */
  readonly opset: number;
  /** Whether the graph is a module in training mode: Dropout drops, BatchNormalization uses the batch and updates its statistics. */
  readonly training?: boolean;
  /** Number of outputs the node names (trailing unnamed ones not counted). */
  readonly outputCount: number;
  /** Whether somebody uses output k. */
  wants(k: number): boolean;
  /** Runs a subgraph with these values for its inputs; outer values are visible to it. */
  run(graph: GraphModel, inputs: readonly Value[]): readonly Value[];
  /** @throws FormatError "node X (Op): what", with what was expected */
  fail(what: string, expected?: string): never;
}

/** Missing optional inputs are null. Returns the outputs in their order; null for an optional one that is not made. */
export type OpFunction = (inputs: readonly (Value | null)[], ctx: OpContext) => Value | readonly (Value | null)[];

/**
 * A table of operators of one domain. One function serves all versions: it looks at `ctx.opset` where they differ.
 * Names that end in `@N` are entries in force up to opset N, for old forms better kept apart.
 */
export type OpTable = { readonly [name: string]: OpFunction };
