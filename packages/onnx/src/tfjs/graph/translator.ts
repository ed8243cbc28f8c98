/** Writes the nodes of an ONNX graph that do what a TensorFlow graph does. */
import { FormatError } from 'trireme';
import type { ElementType } from '../../engine/element-type.js';
import type { AttributeModel, NodeModel, TensorModel } from '../../model/model.js';
import type { TfjsWeight } from '../manifest.js';
import type { Edge, TfNode } from './node.js';

/**
 * A value of the TensorFlow graph in the ONNX graph. `moved`: it is there with its channels, last for TensorFlow, at axis 1, as convolutions of ONNX make
 * them. What is between convolutions passes moved values on, so that no transposition is written there.
 */
export interface Placed {
  readonly name: string;
  readonly moved: boolean;
}

export type AttributeInput = number | readonly number[] | string | { readonly float: number } | { readonly graph: never };

export interface Constant {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array | BigInt64Array | readonly string[];
}

/** Nodes and values of a translated graph. */
const maxNames = 4_000_000;
/** Above this many elements a constant is not looked into for its values. */
const maxLooked = 4096;

export function transposeHost<T extends Constant['data']>(
  data: T,
  shape: readonly number[],
  axes: readonly number[],
): { data: T; shape: number[] } {
  const target = axes.map((axis) => shape[axis]);
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const steps = axes.map((axis) => strides[axis]);
  const size = target.reduce((a, b) => a * b, 1);
  const out = Array.isArray(data) ? new Array<string>(size) : new (data.constructor as new (n: number) => Float32Array)(size);
  const index = new Array<number>(axes.length).fill(0);
  let from = 0;
  for (let to = 0; to < size; to++) {
    out[to] = data[from] as never;
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      from += steps[axis];
      if (++index[axis] < target[axis]) break;
      from -= steps[axis] * target[axis];
      index[axis] = 0;
    }
  }
  return { data: out as unknown as T, shape: target };
}

/** Axes that bring the channels of `rank` dimensions to the front, and back. */
export const toFirst = (rank: number): number[] => [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];
export const toLast = (rank: number): number[] => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];

/** @throws FormatError for what is no whole number */
function big(value: number): bigint {
  if (!Number.isSafeInteger(value)) throw new FormatError(`a number is ${value}`, { op: 'tfjs', expected: 'a whole one' });
  return BigInt(value);
}

export class Translator {
  readonly nodes: NodeModel[] = [];
  readonly initializers = new Map<string, TensorModel>();
  readonly #values = new Map<string, Placed>();
  readonly #constants = new Map<string, Constant>();
  /** The other layout of a value, once it was asked for. */
  readonly #other = new Map<string, string>();
  /** Ranks of moved values. */
  readonly #ranks = new Map<string, number>();
  #count = 0;
  /** Bytes that constants may still take: a weight that many nodes use is arranged for each of them. */
  #bytesLeft: number;

  constructor(weightBytes: number) {
    this.#bytesLeft = 8 * weightBytes + 2 ** 26;
  }

  fresh(hint: string): string {
    if (this.#count >= maxNames) throw new FormatError(`the graph takes more than ${maxNames} nodes`, { op: 'tfjs' });
    return `${hint}/#${this.#count++}`;
  }
  bind(node: TfNode, values: readonly Placed[]): void {
    values.forEach((value, index) => this.#values.set(`${index}:${node.name}`, value));
  }
  has({ node, index }: Edge): boolean {
    return this.#values.has(`${index}:${node}`);
  }
  placed({ node, index }: Edge): Placed {
    const value = this.#values.get(`${index}:${node}`);
    if (value === undefined) throw new FormatError(`node ${JSON.stringify(node)} has no output ${index}`, { op: 'tfjs' });
    return value;
  }
  /** Input `k` of a node. */
  input(node: TfNode, k: number): Placed {
    const edge = node.inputs[k];
    return edge ? this.placed(edge) : node.fail(`input ${k} is missing`);
  }

  /** The name of a value as TensorFlow lays it out. */
  plain(value: Placed): string {
    if (!value.moved) return value.name;
    return this.#converted(value.name, toLast(this.rankOf(value)));
  }
  /** The name of a value of `rank` dimensions with channels at axis 1. */
  first(value: Placed, rank: number): string {
    return value.moved ? value.name : this.#converted(value.name, toFirst(rank));
  }
  #converted(name: string, perm: readonly number[]): string {
    let other = this.#other.get(name);
    if (other === undefined) {
      other = this.emit('Transpose', [name], { perm }, name);
      this.#other.set(name, other);
      this.#other.set(other, name);
    }
    return other;
  }
  moved(name: string, rank: number): Placed {
    this.#ranks.set(name, rank);
    return { name, moved: true };
  }
  rankOf({ name }: Placed): number {
    return this.#ranks.get(name) ?? 4;
  }

  /** Writes a node and gives the name of its output. */
  emit(opType: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeInput>> = {}, hint = opType): string {
    return this.emitMany(opType, inputs, attributes, 1, hint)[0];
  }
  emitMany(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeInput>>,
    outputs: number,
    hint = opType,
  ): string[] {
    const names = Array.from({ length: outputs }, () => this.fresh(hint));
    this.nodes.push({
      name: names[0] ?? '',
      opType,
      domain: '',
      overload: '',
      inputs,
      outputs: names,
      attributes: new Map(Object.entries(attributes).map(([key, value]) => [key, attributeOf(value)])),
    });
    return names;
  }

  /** Gives the output of the last node another name. */
  rename(from: string, to: string): void {
    const last = this.nodes.pop();
    if (last) this.nodes.push({ ...last, outputs: last.outputs.map((name) => (name === from ? to : name)) });
  }

  /** Writes a constant and gives its name. */
  constant(hint: string, value: Constant): string {
    this.#bytesLeft -= Array.isArray(value.data) ? value.data.length : (value.data as Uint8Array).byteLength;
    if (this.#bytesLeft < 0) throw new FormatError('the graph arranges its weights too many times', { op: 'tfjs' });
    const name = this.fresh(hint);
    this.#constants.set(name, value);
    this.initializers.set(name, tensorModel(name, value));
    return name;
  }
  ints(values: readonly number[], hint = 'ints'): string {
    return this.constant(hint, { type: 'int64', shape: [values.length], data: BigInt64Array.from(values, big) });
  }
  float(value: number): string {
    return this.constant('number', { type: 'float32', shape: [], data: Float32Array.of(value) });
  }
  weight({ dtype, shape, data, name }: TfjsWeight): string {
    if (dtype === 'complex64') throw new FormatError(`weight ${JSON.stringify(name)} is complex`, { op: 'tfjs', expected: 'real numbers' });
    return this.constant(name, { type: dtype, shape, data });
  }
  constantOf({ name }: Placed): Constant | undefined {
    return this.#constants.get(name);
  }
  /** Whole numbers of a small constant; undefined for what is computed. */
  knownInts(value: Placed): number[] | undefined {
    const known = this.#constants.get(value.name);
    if (known === undefined || known.data.length > maxLooked || Array.isArray(known.data)) return undefined;
    return Array.from(known.data as ArrayLike<number | bigint>, Number);
  }
  /** Whole numbers that must be constant. */
  needInts(node: TfNode, k: number): number[] {
    return this.knownInts(this.input(node, k)) ?? node.fail(`input ${k} is computed`, 'a constant');
  }
  /** An input as int64, as ONNX wants shapes and positions. */
  asInt64(value: Placed): string {
    const known = this.knownInts(value);
    if (known !== undefined) {
      const shape = this.constantOf(value)?.shape ?? [known.length];
      return this.constant(value.name, { type: 'int64', shape, data: BigInt64Array.from(known, big) });
    }
    return this.emit('Cast', [this.plain(value)], { to: 7 });
  }
  asInt32(name: string): string {
    return this.emit('Cast', [name], { to: 6 });
  }
  /** A constant with its axes in another order; what is computed is transposed by a node. */
  arranged(value: Placed, axes: readonly number[], reshape?: (shape: readonly number[]) => number[]): string {
    const known = this.constantOf(value);
    if (known === undefined) {
      if (reshape) throw new FormatError('a kernel is computed', { op: 'tfjs', expected: 'a constant' });
      return this.emit('Transpose', [this.plain(value)], { perm: axes });
    }
    if (known.shape.length !== axes.length)
      throw new FormatError(`a weight has shape [${known.shape.join(', ')}]`, { op: 'tfjs', expected: `${axes.length} dimensions` });
    const shape = reshape ? reshape(known.shape) : known.shape;
    const { data, shape: target } = transposeHost(known.data, shape, axes);
    return this.constant(value.name, { type: known.type, shape: target, data });
  }
}

function attributeOf(value: AttributeInput): AttributeModel {
  if (typeof value === 'number') return { kind: 'int', value: big(value) };
  if (typeof value === 'string') return { kind: 'string', value };
  if (Array.isArray(value)) return { kind: 'ints', value: (value as number[]).map(big) };
  return { kind: 'float', value: (value as { readonly float: number }).float };
}

function tensorModel(name: string, { type, shape, data }: Constant): TensorModel {
  if (Array.isArray(data)) return { name, type, dims: shape, content: { kind: 'strings', values: data } };
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return { name, type, dims: shape, content: { kind: 'raw', bytes: new Uint8Array(buffer, byteOffset, byteLength) } };
}
