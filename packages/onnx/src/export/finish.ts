/** From the graph under construction to the model in memory. */
import { type DType, Tensor } from 'trireme';
import type { ElementType, HostArray } from '../engine/element-type.js';
import { encodeTensor } from '../engine/transfer.js';
import type { AttributeModel, Dimension, GraphModel, NodeModel, TensorModel, ValueInfo } from '../model/model.js';
import { type OutAttribute, type OutConstant, OutGraph, type OutNode, type OutValue } from './graph.js';

/** Every dtype is an element type of the same name. */
const elementType = (dtype: DType): ElementType => dtype;

function hostArray(dtype: DType, values: ArrayLike<number | bigint>): HostArray {
  const numbers = (): Iterable<number> => Array.from(values, Number);
  switch (dtype) {
    case 'float64':
      return Float64Array.from(numbers());
    case 'int8':
      return Int8Array.from(numbers());
    case 'uint8':
    case 'bool':
      return Uint8Array.from(numbers());
    case 'int16':
      return Int16Array.from(numbers());
    case 'int32':
      return Int32Array.from(numbers());
    case 'int64':
      return BigInt64Array.from(values, BigInt);
    case 'float32':
    case 'float16':
    case 'bfloat16':
      return Float32Array.from(numbers());
    default:
      return dtype satisfies never;
  }
}

function tensorModel({ name, dtype, shape, content }: OutConstant): TensorModel {
  const host = content instanceof Tensor ? content.dataSync() : hostArray(dtype, content);
  return encodeTensor(host, elementType(dtype), shape, name);
}

function attribute(value: OutAttribute): AttributeModel {
  if (typeof value === 'number') return { kind: 'int', value: BigInt(value) };
  if (typeof value === 'string') return { kind: 'string', value };
  // Shapes inside of a body follow from those around it, which may change.
  if (value instanceof OutGraph)
    return { kind: 'graph', value: graphModel(value, (kind, k) => (value[kind][k].shape.length === 0 ? [] : null)) };
  if ('float' in value) return { kind: 'float', value: value.float };
  if ('strings' in value) return { kind: 'strings', value: value.strings };
  return { kind: 'ints', value: value.map(BigInt) };
}

function nodeModel({ name, op, inputs, outputs, attributes }: OutNode): NodeModel {
  return {
    name,
    opType: op,
    domain: '',
    overload: '',
    inputs,
    outputs,
    attributes: new Map(Object.entries(attributes).map(([key, value]) => [key, attribute(value)])),
  };
}

function valueInfo({ name, dtype }: OutValue, shape: readonly Dimension[] | null): ValueInfo {
  return { name, type: { kind: 'tensor', element: elementType(dtype), shape } };
}

/** Every name that nodes read, those of bodies included. */
function namesRead(graph: OutGraph, found = new Set<string>()): Set<string> {
  for (const node of graph.nodes) {
    for (const name of node.inputs) found.add(name);
    for (const value of Object.values(node.attributes)) if (value instanceof OutGraph) namesRead(value, found);
  }
  for (const { name } of graph.outputs) found.add(name);
  return found;
}

/** `dimensions` are those of the inputs and outputs where they are not just numbers. */
export function graphModel(
  graph: OutGraph,
  dimensions?: (kind: 'inputs' | 'outputs', k: number) => readonly Dimension[] | null,
): GraphModel {
  const read = namesRead(graph);
  const values = (kind: 'inputs' | 'outputs'): ValueInfo[] =>
    graph[kind].map((v, k) => valueInfo(v, dimensions === undefined ? v.shape : dimensions(kind, k)));
  return {
    name: graph.name,
    nodes: graph.nodes.map(nodeModel),
    initializers: [...graph.constants.values()].filter(({ name }) => read.has(name)).map(tensorModel),
    sparseInitializers: [],
    inputs: values('inputs'),
    outputs: values('outputs'),
    valueInfo: [],
  };
}
