/** A place to watch operations, gradient rules and compiled functions: anomaly detection looks at every result from here. */
import type { GradNode } from '../autograd/node.js';
import type { Tensor } from './tensor.js';

/** One more result of a compiled function, looked at after each run. */
export interface Inspection {
  readonly output: Tensor;
  /** @throws what there is to say about it */
  verify(output: Tensor): void;
}

export interface OpObserver {
  /** Functions compiled under one mode serve all observers of that mode. */
  readonly mode: string;
  /** After an operation ran or was recorded. */
  operation(name: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): void;
  /** Runs an operation that is made of others. */
  composite<T>(name: string, run: () => T): T;
  /** Runs the gradient rule of an operation. */
  rule<T>(node: GradNode, run: () => T): T;
  /** Traces the body of a compiled function. */
  traced<T>(name: string, body: () => T): { readonly result: T; readonly inspection: Inspection | null };
  /** An optimizer made a step. */
  stepDone(): void;
  /** A traced function makes one at each run. */
  stepTraced(): void;
}

/** Who watches at present. */
export let observer: OpObserver | null = null;

/** Sets the observer; returns the one before. */
export function setObserver(value: OpObserver | null): OpObserver | null {
  const before = observer;
  observer = value;
  return before;
}
