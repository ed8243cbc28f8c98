/** What flows along the edges of a graph. */
import { ArgumentError, type Tensor } from 'trireme';
import type { ElementType, HostArray } from './element-type.js';
import { DataDependentError } from './errors.js';
import { fromHost, readHost } from './transfer.js';

/**
 * A tensor of a graph, on the device (a {@link Tensor} of the carrier dtype), on the host, or both: what one operator makes and the next wants
 * meet here. Initializers, shapes and what is computed from them alone stay on the host, so that a graph is recorded with
 * them as constants.
 */
export class TensorValue {
  readonly kind = 'tensor';
  readonly type: ElementType;
  readonly shape: readonly number[];
  #device: Tensor | null;
  #host: HostArray | null;
  /** Content of a parameter, for operators that must know it while a program is recorded. */
  #initial: (() => HostArray) | null = null;
  #fixed = false;

  private constructor(type: ElementType, shape: readonly number[], device: Tensor | null, host: HostArray | null) {
    this.type = type;
    this.shape = shape;
    this.#device = device;
    this.#host = host;
  }

  static ofTensor(tensor: Tensor, type: ElementType): TensorValue {
    return new TensorValue(type, tensor.shape, tensor, null);
  }
  static ofHost(host: HostArray, type: ElementType, shape: readonly number[]): TensorValue {
    return new TensorValue(type, shape, null, host);
  }
  /** On both sides: a weight that programs capture, and operators that must know its content can read. */
  static ofBoth(tensor: Tensor, host: HostArray, type: ElementType): TensorValue {
    return new TensorValue(type, tensor.shape, tensor, host);
  }
  /**
   * A trainable parameter: not known, so that nothing is folded and gradients flow. An operator that must know its content
   * while a program is recorded gets that of the model's file.
   */
  static ofParameter(tensor: Tensor, type: ElementType, initial: () => HostArray): TensorValue {
    const value = new TensorValue(type, tensor.shape, tensor, null);
    value.#initial = initial;
    return value;
  }
  /** A weight that stays what the model's file says. */
  static ofWeight(tensor: Tensor, type: ElementType, content: () => HostArray): TensorValue {
    const value = TensorValue.ofParameter(tensor, type, content);
    value.#fixed = true;
    return value;
  }
  /** Stands for an input without a dtype while a program is recorded. */
  static pending(type: ElementType, shape: readonly number[]): TensorValue {
    return new TensorValue(type, shape, null, null);
  }

  /** Whether the content is on the host already: a constant while a graph is being recorded. */
  get isKnown(): boolean {
    return this.#host !== null;
  }
  /** Content that no run changes, for what an operator works out once; null for parameters and what is computed. */
  get constant(): HostArray | null {
    return this.#host ?? (this.#fixed ? (this.#initial?.() ?? null) : null);
  }
  /** On the device, in the carrier dtype. @throws DTypeError for strings and complex numbers */
  get tensor(): Tensor {
    // A scope may have freed what was made inside of it; what is known can be made again.
    if (this.#device === null || (this.#host !== null && this.#device.isDisposed)) {
      this.#device = fromHost(this.#host ?? unknown(), this.type, this.shape);
    }
    return this.#device;
  }
  /**
   * On the host.
   * @throws DataDependentError while a graph is being recorded, when the content is not known yet: the engine then runs this node between two programs.
   */
  get host(): HostArray {
    if (this.#host !== null) return this.#host;
    if (this.#device === null) return unknown();
    try {
      const host = readHost(this.#device, this.type);
      // What has a gradient stays unknown, or it would be folded on the host and the gradient lost.
      if (this.#initial === null && !this.#device.requiresGrad) this.#host = host;
      return host;
    } catch (error) {
      if (this.#initial === null || !(error instanceof DataDependentError)) throw error;
      return this.#initial();
    }
  }
  /** The tensor on the device, if there is one already. */
  get onDevice(): Tensor | null {
    return this.#device;
  }
  /** Frees the memory on the device. What is known on the host remains. */
  dispose(): void {
    this.#device?.dispose();
    if (this.#host !== null) this.#device = null;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function unknown(): never {
  throw new DataDependentError('the content of a value was wanted while a program is being recorded', { op: 'onnx' });
}

export interface SequenceValue {
  readonly kind: 'sequence';
  /** Type of the elements, where known (an empty sequence has none to tell). */
  readonly type: ElementType | undefined;
  readonly items: readonly TensorValue[];
}
export interface OptionalValue {
  readonly kind: 'optional';
  /** null: empty. */
  readonly value: TensorValue | SequenceValue | null;
}
/** Maps of ai.onnx.ml. */
export interface MapValue {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string | bigint, number>;
}

export type Value = TensorValue | SequenceValue | OptionalValue | MapValue;

/** The tensors inside a value, in order. */
export function tensorsIn(value: Value | null): readonly TensorValue[] {
  if (value === null) return [];
  switch (value.kind) {
    case 'tensor':
      return [value];
    case 'sequence':
      return value.items;
    case 'optional':
      return tensorsIn(value.value);
    case 'map':
      return [];
    default:
      return value satisfies never;
  }
}

/** The same value with the k-th tensor inside replaced. */
export function mapTensors(value: Value, replace: (tensor: TensorValue) => TensorValue): Value {
  switch (value.kind) {
    case 'tensor':
      return replace(value);
    case 'sequence':
      return { ...value, items: value.items.map(replace) };
    case 'optional':
      return { kind: 'optional', value: value.value === null ? null : (mapTensors(value.value, replace) as TensorValue | SequenceValue) };
    case 'map':
      return value;
    default:
      return value satisfies never;
  }
}

/** @throws ArgumentError when a value is not a tensor */
export function asTensor(value: Value | null | undefined, what: string): TensorValue {
  if (value?.kind === 'tensor') return value;
  throw new ArgumentError(`${what} is ${value == null ? 'missing' : `a ${value.kind}`}`, { op: 'onnx', expected: 'a tensor' });
}
