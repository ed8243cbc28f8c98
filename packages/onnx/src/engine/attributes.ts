/** Reading a node's attributes with their types checked. */

import type { AttributeModel, GraphModel, TensorModel } from '../model/model.js';
import type { AttributeReader } from '../ops/definition.js';
import { decodeTensor, densify } from './transfer.js';
import { TensorValue } from './value.js';

type Kind = AttributeModel['kind'];
type Values = { [A in AttributeModel as A['kind']]: A['value'] };

function isOf<K extends Kind>(attribute: AttributeModel, kind: K): attribute is AttributeModel & { readonly value: Values[K] } {
  return attribute.kind === kind;
}

/** A stored tensor as a value known on the host. */
export function valueOfTensor(tensor: TensorModel): TensorValue {
  return TensorValue.ofHost(decodeTensor(tensor), tensor.type, tensor.dims);
}

/** Attributes of one node; those of a function's body that refer to the calling node are replaced before. */
export class NodeAttributes implements AttributeReader {
  readonly #attributes: ReadonlyMap<string, AttributeModel>;
  readonly #fail: (what: string, expected?: string) => never;

  constructor(attributes: ReadonlyMap<string, AttributeModel>, fail: (what: string, expected?: string) => never) {
    this.#attributes = attributes;
    this.#fail = fail;
  }

  #get<K extends Kind>(name: string, kind: K): Values[K] | undefined {
    const found = this.#attributes.get(name);
    if (found === undefined) return undefined;
    if (isOf(found, kind)) return found.value;
    // An empty list does not say of what.
    const empty: Partial<Values> = { floats: [], strings: [], tensors: [], graphs: [] };
    if (found.kind === 'ints' && found.value.length === 0 && empty[kind] !== undefined) return empty[kind];
    return this.#fail(`attribute '${name}' is of kind ${found.kind}`, kind);
  }
  #needed<T>(value: T | undefined, name: string, kind: Kind): T {
    return value === undefined ? this.#fail(`attribute '${name}' is missing`, `one of kind ${kind}`) : value;
  }

  has(name: string): boolean {
    return this.#attributes.has(name);
  }
  optionalInt(name: string): number | undefined {
    const value = this.#get(name, 'int');
    return value === undefined ? undefined : Number(value);
  }
  optionalInts(name: string): readonly number[] | undefined {
    return this.#get(name, 'ints')?.map(Number);
  }
  optionalFloat(name: string): number | undefined {
    return this.#get(name, 'float');
  }
  int(name: string, fallback?: number): number {
    return this.#needed(this.optionalInt(name) ?? fallback, name, 'int');
  }
  ints(name: string, fallback?: readonly number[]): readonly number[] {
    return this.#needed(this.optionalInts(name) ?? fallback, name, 'ints');
  }
  float(name: string, fallback?: number): number {
    return this.#needed(this.optionalFloat(name) ?? fallback, name, 'float');
  }
  floats(name: string, fallback?: readonly number[]): readonly number[] {
    return this.#needed(this.#get(name, 'floats') ?? fallback, name, 'floats');
  }
  string(name: string, fallback?: string): string {
    return this.#needed(this.#get(name, 'string') ?? fallback, name, 'string');
  }
  strings(name: string, fallback?: readonly string[]): readonly string[] {
    return this.#needed(this.#get(name, 'strings') ?? fallback, name, 'strings');
  }
  tensor(name: string): TensorValue {
    const found = this.#attributes.get(name);
    if (found?.kind === 'sparse') {
      const { host, type } = densify(found.value);
      return TensorValue.ofHost(host, type, found.value.dims);
    }
    return valueOfTensor(this.#needed(this.#get(name, 'tensor'), name, 'tensor'));
  }
  tensors(name: string): readonly TensorValue[] {
    return this.#needed(this.#get(name, 'tensors'), name, 'tensors').map(valueOfTensor);
  }
  graph(name: string): GraphModel {
    return this.#needed(this.#get(name, 'graph'), name, 'graph');
  }
}
