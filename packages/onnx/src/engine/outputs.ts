/** What a run returns. */
import { ArgumentError, type Tensor } from 'trireme';
import type { HostArray } from './element-type.js';
import { asTensor, type TensorValue, tensorsIn, type Value } from './value.js';

/** The outputs of a run by name. They are the caller's: dispose() frees them all. */
export class OnnxOutputs implements Iterable<[string, Value]> {
  readonly #values: ReadonlyMap<string, Value>;

  constructor(values: ReadonlyMap<string, Value>) {
    this.#values = values;
  }

  get names(): readonly string[] {
    return [...this.#values.keys()];
  }
  /** Of any kind: tensor, sequence, optional, map. @throws ArgumentError when there is no such output */
  get(name: string): Value {
    const value = this.#values.get(name);
    if (value === undefined) {
      throw new ArgumentError(`there is no output '${name}'`, {
        op: 'OnnxOutputs',
        received: name,
        expected: `one of ${this.names.join(', ')}`,
      });
    }
    return value;
  }
  /** With the type it has in the model. @throws ArgumentError when it is not a tensor */
  value(name: string): TensorValue {
    return asTensor(this.get(name), `output '${name}'`);
  }
  /** On the device. @throws DTypeError for strings and complex numbers */
  tensor(name: string): Tensor {
    return this.value(name).tensor;
  }
  /** The elements in row-major order. */
  data(name: string): HostArray {
    return this.value(name).host;
  }
  [Symbol.iterator](): Iterator<[string, Value]> {
    return this.#values[Symbol.iterator]();
  }
  dispose(): void {
    for (const value of this.#values.values()) for (const t of tensorsIn(value)) t.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
