/** The ONNX graph under construction: nodes and constants by name, with the types and shapes that every name has. */
import type { DType, Tensor } from 'trireme';
import type { Shape } from 'trireme/graph';

/** A number, a text, a list of either, or a body; numbers that are floats in ONNX are wrapped, so that 1 is no integer. */
export type OutAttribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly strings: readonly string[] }
  | OutGraph;
export type OutAttributes = { readonly [name: string]: OutAttribute };

export interface OutNode {
  readonly name: string;
  readonly op: string;
  /** '' stands for an optional input left out. */
  readonly inputs: readonly string[];
  /** '' stands for an output nobody wants. */
  readonly outputs: readonly string[];
  readonly attributes: OutAttributes;
}

/** Content of a constant: a live tensor (a parameter), read when the model is written, or numbers. */
export type OutContent = Tensor | Float32Array | Float64Array | readonly number[];

export interface OutConstant {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly content: OutContent;
}

/** A name with what it stands for. */
export interface OutValue {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Names that are taken, over a graph and its bodies: bodies see the names around them. */
export class Names {
  readonly #taken = new Set<string>();

  /** `wanted`, or the first of `wanted_1`, `wanted_2` … that is free. */
  fresh(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.#taken.has(name); i++) name = `${wanted}_${i}`;
    this.#taken.add(name);
    return name;
  }
}

export class OutGraph {
  readonly name: string;
  readonly names: Names;
  readonly inputs: OutValue[] = [];
  readonly outputs: OutValue[] = [];
  readonly nodes: OutNode[] = [];
  readonly constants = new Map<string, OutConstant>();
  /** Shapes of everything named, as of this recording. */
  readonly shapes = new Map<string, Shape>();
  readonly #shared = new Map<string, string>();
  readonly parent: OutGraph | null;

  constructor(name: string, parent: OutGraph | null = null, names = new Names()) {
    this.name = name;
    this.parent = parent;
    this.names = parent?.names ?? names;
  }

  /** The graph in which everything lies. */
  get outermost(): OutGraph {
    return this.parent === null ? this : this.parent.outermost;
  }

  /** Gives a value that some node makes another name, everywhere. */
  rename(from: string, to: string): void {
    const name = (n: string): string => (n === from ? to : n);
    this.nodes.forEach((node, i) => {
      for (const body of Object.values(node.attributes)) if (body instanceof OutGraph) body.rename(from, to);
      if (node.inputs.includes(from) || node.outputs.includes(from)) {
        this.nodes[i] = { ...node, inputs: node.inputs.map(name), outputs: node.outputs.map(name) };
      }
    });
    this.outputs.forEach((value, k) => {
      this.outputs[k] = { ...value, name: name(value.name) };
    });
    const shape = this.shapes.get(from);
    if (shape !== undefined) this.shapes.set(to, shape);
  }

  /** Shape of a name of this graph or one around it. */
  shapeOf(name: string): Shape | undefined {
    return this.shapes.get(name) ?? this.parent?.shapeOf(name);
  }

  input(name: string, dtype: DType, shape: Shape): OutValue {
    const value = { name: this.names.fresh(name), dtype, shape };
    this.inputs.push(value);
    this.shapes.set(value.name, shape);
    return value;
  }

  /** A constant of its own. Constants of bodies lie in the outermost graph, where all bodies see them. */
  constant(name: string, dtype: DType, shape: Shape, content: OutContent): OutValue {
    const { outermost } = this;
    const value = { name: outermost.names.fresh(name), dtype, shape };
    outermost.constants.set(value.name, { ...value, content });
    outermost.shapes.set(value.name, shape);
    return value;
  }

  /** A small constant, the same for equal content. */
  literal(dtype: DType, shape: Shape, numbers: readonly number[]): OutValue {
    const { outermost } = this;
    const text = numbers.map((n) => (Object.is(n, -0) ? '-0' : String(n)));
    const key = `${dtype}|${shape.join()}|${text.join()}`;
    const known = outermost.#shared.get(key);
    if (known !== undefined) return { name: known, dtype, shape };
    const label =
      shape.length === 0 ? text[0] : shape.length === 1 && numbers.length <= 8 ? `[${text.join(',')}]` : `list_${outermost.#shared.size}`;
    const made = this.constant(`${dtype}:${label}`, dtype, shape, numbers);
    outermost.#shared.set(key, made.name);
    return made;
  }
  /** A vector of int64, as shapes and axes are given. */
  ints(...values: readonly number[]): string {
    return this.literal('int64', [values.length], values).name;
  }

  node(
    scope: string,
    op: string,
    inputs: readonly string[],
    outputs: readonly (Omit<OutValue, 'name'> | null)[],
    attributes: OutAttributes = {},
  ): OutValue[] {
    const name = this.names.fresh(scope === '' ? op : `${scope}/${op}`);
    const values = outputs.map((type, k) => ({
      name: type === null ? '' : this.names.fresh(outputs.length === 1 ? `${name}:out` : `${name}:out${k}`),
      dtype: type?.dtype ?? ('float32' as const),
      shape: type?.shape ?? [],
    }));
    for (const value of values) if (value.name !== '') this.shapes.set(value.name, value.shape);
    this.nodes.push({ name, op, inputs, outputs: values.map((v) => v.name), attributes });
    return values;
  }
}
