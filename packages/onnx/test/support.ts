/** Small models for tests. */
import type { ElementType, HostArray } from '../src/engine/element-type.js';
import { encodeTensor } from '../src/engine/transfer.js';
import type {
  AttributeModel,
  Dimension,
  FunctionModel,
  GraphModel,
  ModelModel,
  NodeModel,
  TensorModel,
  ValueInfo,
} from '../src/model/model.js';

type Attribute = number | string | readonly number[] | GraphModel | TensorModel | AttributeModel;

function attributeOf(value: Attribute): AttributeModel {
  if (typeof value === 'number') return { kind: 'int', value: BigInt(value) };
  if (typeof value === 'string') return { kind: 'string', value };
  if (Array.isArray(value)) return { kind: 'ints', value: (value as readonly number[]).map(BigInt) };
  const object = value as GraphModel | TensorModel | AttributeModel;
  if ('kind' in object) return object;
  return 'nodes' in object ? { kind: 'graph', value: object } : { kind: 'tensor', value: object };
}

/** `node('Add', 'a b', 'c', {…})`; `_` stands for an input left out. */
export function node(
  opType: string,
  inputs: string,
  outputs: string,
  attributes: Readonly<Record<string, Attribute>> = {},
  more: Partial<NodeModel> = {},
): NodeModel {
  const names = (text: string): string[] => (text === '' ? [] : text.split(' ').map((name) => (name === '_' ? '' : name)));
  return {
    name: '',
    opType,
    domain: '',
    overload: '',
    inputs: names(inputs),
    outputs: names(outputs),
    attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, attributeOf(value)])),
    ...more,
  };
}

export function info(name: string, shape: readonly Dimension[] | null = null, element: ElementType = 'float32'): ValueInfo {
  return { name, type: { kind: 'tensor', element, shape } };
}

export function stored(name: string, type: ElementType, dims: readonly number[], host: HostArray): TensorModel {
  return encodeTensor(host, type, dims, name);
}
export function floats(name: string, dims: readonly number[], values: readonly number[]): TensorModel {
  return stored(name, 'float32', dims, Float32Array.from(values));
}
export function ints(name: string, values: readonly number[], dims: readonly number[] = [values.length]): TensorModel {
  return stored(name, 'int64', dims, BigInt64Array.from(values, BigInt));
}

export function graph(
  nodes: readonly NodeModel[],
  inputs: readonly ValueInfo[],
  outputs: readonly (ValueInfo | string)[],
  initializers: readonly TensorModel[] = [],
): GraphModel {
  return {
    name: 'test',
    nodes,
    inputs,
    outputs: outputs.map((output) => (typeof output === 'string' ? { name: output, type: null } : output)),
    initializers,
    sparseInitializers: [],
    valueInfo: [],
  };
}

export function model(
  main: GraphModel,
  { opset = 21, functions = [] }: { opset?: number; functions?: readonly FunctionModel[] } = {},
): ModelModel {
  return {
    irVersion: 10,
    producerName: 'test',
    producerVersion: '1',
    domain: '',
    modelVersion: 3n,
    docString: '',
    opsetImports: new Map([
      ['', opset],
      ['local', 1],
    ]),
    graph: main,
    functions,
    trainingInfo: [],
    metadata: new Map([['author', 'somebody']]),
  };
}
