/** Nodes of a TensorFlow graph as JSON has them. */
import { FormatError } from 'trireme';
import type { ElementType } from '../../engine/element-type.js';
import type { Config } from '../../formats/json.js';

const maxNodes = 200_000;

/** Output `index` of a node. */
export interface Edge {
  readonly node: string;
  readonly index: number;
}

/** Types as TensorFlow.js carries them: 64-bit integers come as int32, doubles as float32. */
const types: Readonly<Record<string, ElementType>> = {
  DT_FLOAT: 'float32',
  DT_DOUBLE: 'float32',
  DT_HALF: 'float32',
  DT_INT32: 'int32',
  DT_INT64: 'int32',
  DT_INT16: 'int32',
  DT_INT8: 'int32',
  DT_UINT8: 'int32',
  DT_BOOL: 'bool',
  DT_STRING: 'string',
};
/** The numbers of DataType in types.proto. */
const codes: Readonly<Record<number, string>> = {
  1: 'DT_FLOAT',
  2: 'DT_DOUBLE',
  3: 'DT_INT32',
  4: 'DT_UINT8',
  5: 'DT_INT16',
  6: 'DT_INT8',
  7: 'DT_STRING',
  9: 'DT_INT64',
  10: 'DT_BOOL',
  19: 'DT_HALF',
};

export function edgeOf(input: string): Edge {
  const colon = input.lastIndexOf(':');
  const index = colon < 0 ? Number.NaN : Number(input.slice(colon + 1));
  return Number.isInteger(index) && index >= 0 ? { node: input.slice(0, colon), index } : { node: input, index: 0 };
}

/** Text in JSON of protocol buffers is base64 for bytes; some writers leave it as it is. */
function textOf(value: unknown): string {
  if (Array.isArray(value) && value.every((n) => typeof n === 'number')) return String.fromCharCode(...value.slice(0, 1000));
  if (typeof value !== 'string' || value.length > 10_000) throw new FormatError('an attribute is no text', { op: 'tfjs' });
  try {
    const decoded = atob(value);
    return /^[\x20-\x7e]*$/.test(decoded) ? decoded : value;
  } catch {
    return value;
  }
}

const numberOf = (value: unknown): number => {
  const n = typeof value === 'string' && /^[-+]?[\d.e+-]{1,40}$/i.test(value) ? Number(value) : value;
  if (typeof n !== 'number' || Number.isNaN(n))
    throw new FormatError(`an attribute is ${JSON.stringify(value)}`, { op: 'tfjs', expected: 'a number' });
  return n;
};

export class TfNode {
  readonly name: string;
  readonly op: string;
  /** Without control inputs, which order nodes and carry nothing. */
  readonly inputs: readonly Edge[];
  readonly #attributes: Config | null;

  constructor(config: Config) {
    this.name = config.string('name');
    this.op = config.string('op');
    const inputs = config.has('input') ? config.list('input', 100_000) : [];
    this.inputs = inputs.flatMap((input) => {
      if (typeof input !== 'string') return config.fail('.input is no list of names');
      return input.startsWith('^') ? [] : [edgeOf(input)];
    });
    this.#attributes = config.optionalObject('attr');
  }

  fail(what: string, expected?: string): never {
    throw new FormatError(`node ${JSON.stringify(this.name)} (${this.op}): ${what}`, { op: 'tfjs', expected });
  }
  #attribute(name: string): Config | null {
    return this.#attributes?.optionalObject(name) ?? null;
  }
  int(name: string, fallback: number): number {
    const value = this.#attribute(name)?.get('i');
    return value === undefined ? fallback : numberOf(value);
  }
  float(name: string, fallback: number): number {
    const value = this.#attribute(name)?.get('f');
    return value === undefined ? fallback : numberOf(value);
  }
  bool(name: string, fallback = false): boolean {
    const value = this.#attribute(name)?.get('b');
    return value === undefined ? fallback : value === true;
  }
  text(name: string, fallback: string): string {
    const value = this.#attribute(name)?.get('s');
    return value === undefined ? fallback : textOf(value);
  }
  type(name: string, fallback: ElementType): ElementType {
    const value = this.#attribute(name)?.get('type');
    if (value === undefined) return fallback;
    const key = typeof value === 'number' ? codes[value] : value;
    const type = typeof key === 'string' && Object.hasOwn(types, key) ? types[key] : undefined;
    return type ?? this.fail(`type ${JSON.stringify(value)}`, Object.keys(types).join(', '));
  }
  #list(name: string, key: string): readonly unknown[] | null {
    const list = this.#attribute(name)?.optionalObject('list');
    return list?.has(key) ? list.list(key, 10_000) : null;
  }
  ints(name: string, fallback: readonly number[]): readonly number[] {
    return this.#list(name, 'i')?.map(numberOf) ?? fallback;
  }
  texts(name: string): readonly string[] {
    return this.#list(name, 's')?.map(textOf) ?? [];
  }
  /** Sizes, null for unknown ones; null when not even the rank is known. */
  shape(name: string): (number | null)[] | null {
    const shape = this.#attribute(name)?.optionalObject('shape');
    if (!shape || shape.get('unknownRank') === true) return null;
    if (!shape.has('dim')) return [];
    return shape.objects('dim', 64).map((dim) => {
      const size = numberOf(dim.get('size') ?? -1);
      return size < 0 ? null : size;
    });
  }
}

/** The nodes of a graph by name. @throws FormatError when a name occurs twice */
export function readNodes(topology: Config): Map<string, TfNode> {
  const nodes = new Map<string, TfNode>();
  for (const config of topology.objects('node', maxNodes)) {
    const node = new TfNode(config);
    if (nodes.has(node.name)) node.fail('two nodes have this name');
    nodes.set(node.name, node);
  }
  return nodes;
}

/** Nodes in an order in which inputs come before what uses them, those alone that the outputs need. @throws FormatError for circles */
export function inOrder(nodes: ReadonlyMap<string, TfNode>, outputs: readonly string[]): TfNode[] {
  const order: TfNode[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const stack: { readonly node: TfNode; next: number }[] = [];
  const enter = (name: string, user: string): void => {
    const node = nodes.get(name);
    if (!node) throw new FormatError(`${user} uses ${JSON.stringify(name)}, which is not in the graph`, { op: 'tfjs' });
    if (state.get(name) === 'done') return;
    if (state.has(name)) node.fail('is an input of itself: the graph has a circle');
    state.set(name, 'open');
    stack.push({ node, next: 0 });
  };
  for (const output of outputs) {
    enter(output, 'the model');
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.node.inputs.length) enter(top.node.inputs[top.next++].node, `node ${JSON.stringify(top.node.name)}`);
      else {
        state.set(top.node.name, 'done');
        order.push(top.node);
        stack.pop();
      }
    }
  }
  return order;
}
