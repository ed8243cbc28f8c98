/** Reads ONNX messages (onnx-ml.proto, onnx-data.proto); the numbers of their fields are in fields.ts. */
import { FormatError } from 'trireme';
import { type ElementType, elementTypeOf } from '../engine/element-type.js';
import { attributeKinds, field } from './fields.js';
import type {
  AttributeModel,
  Dimension,
  FunctionModel,
  GraphModel,
  ModelModel,
  NodeModel,
  SparseTensorModel,
  TensorContent,
  TensorModel,
  TrainingInfoModel,
  TypeModel,
  ValueInfo,
} from './model.js';
import { normalDomain } from './model.js';
import { WireMessage } from './wire.js';

/** More dimensions than any framework makes; bounds the work a shape can cause. */
const maxRank = 64;

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op: 'onnx', expected, fix: 'The file is damaged or not an ONNX model; save or download it again.' });
}

/** Elements of a shape; every dimension is a count. */
function checkDims(dims: BigInt64Array, name: string): number[] {
  if (dims.length > maxRank) fail(`tensor '${name}' has ${dims.length} dimensions`, `at most ${maxRank}`);
  const shape = Array.from(dims, Number);
  let size = 1;
  for (const n of shape) {
    size *= n;
    if (n < 0 || !Number.isSafeInteger(n) || !Number.isSafeInteger(size)) {
      fail(`tensor '${name}' has shape [${shape.join(', ')}]`, 'counts whose product is below 2^53');
    }
  }
  return shape;
}

function entries(messages: readonly WireMessage[]): Map<string, string> {
  return new Map(messages.map((m) => [m.string(field.entry.key), m.string(field.entry.value)]));
}

function externalContent(m: WireMessage, name: string): TensorContent {
  const given = entries(m.messages(field.tensor.externalData, 'external_data'));
  const location = given.get('location');
  if (!location) fail(`tensor '${name}' has external data without a location`);
  const count = (key: string): number | undefined => {
    const text = given.get(key);
    if (text === undefined || text === '') return undefined;
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) fail(`tensor '${name}' has ${key} '${text}'`, 'a whole number of bytes');
    return value;
  };
  return { kind: 'external', external: { location, offset: count('offset') ?? 0, length: count('length') } };
}

function tensorContent(m: WireMessage, type: ElementType, name: string): TensorContent {
  const f = field.tensor;
  if (m.int32(f.dataLocation) === 1) return externalContent(m, name);
  if (type === 'string') return { kind: 'strings', values: m.strings(f.stringData) };
  const raw = m.bytes(f.rawData);
  if (raw !== undefined && (raw.length > 0 || !hasTyped(m))) return { kind: 'raw', bytes: raw };
  switch (type) {
    case 'float32':
    case 'complex64':
      return { kind: 'values', values: m.floats(f.floatData) };
    case 'float64':
    case 'complex128':
      return { kind: 'values', values: m.doubles(f.doubleData) };
    case 'int64':
      return { kind: 'values', values: m.int64s(f.int64Data) };
    case 'uint64':
    case 'uint32':
      return { kind: 'values', values: m.uint64s(f.uint64Data) };
    default:
      return { kind: 'values', values: m.int32s(f.int32Data) };
  }
}

function hasTyped(m: WireMessage): boolean {
  const f = field.tensor;
  return [f.floatData, f.int32Data, f.int64Data, f.doubleData, f.uint64Data].some((number) => m.has(number));
}

export function readTensor(m: WireMessage): TensorModel {
  const f = field.tensor;
  const name = m.string(f.name);
  const code = m.int32(f.dataType);
  const type = elementTypeOf(code);
  if (type === undefined) fail(`tensor '${name}' has data type ${code}`, 'a type of TensorProto.DataType');
  if (m.has(f.segment)) fail(`tensor '${name}' is stored in segments`, 'whole tensors');
  const docString = m.string(f.docString);
  const tensor = { name, type, dims: checkDims(m.int64s(f.dims), name), content: tensorContent(m, type, name) };
  return docString === '' ? tensor : { ...tensor, docString };
}

export function readSparse(m: WireMessage): SparseTensorModel {
  const f = field.sparse;
  const values = m.message(f.values, 'TensorProto');
  const indices = m.message(f.indices, 'TensorProto');
  if (values === undefined || indices === undefined) fail('a sparse tensor without values or indices');
  const read = readTensor(values);
  return { values: read, indices: readTensor(indices), dims: checkDims(m.int64s(f.dims), read.name) };
}

function readShape(m: WireMessage | undefined): readonly Dimension[] | null {
  if (m === undefined) return null;
  return m.messages(field.shape.dim, 'Dimension').map((d) => {
    const value = d.int(field.dimension.value);
    // Exporters write -1 and 0 for what they do not know; 0 can also be meant, and then a concrete input says so.
    if (value !== undefined) return value > 0n && value < 2n ** 53n ? Number(value) : value === 0n ? 0 : null;
    return d.string(field.dimension.param) || null;
  });
}

export function readType(m: WireMessage): TypeModel | null {
  const f = field.type;
  const inner = (number: number): TypeModel | null => {
    const type = m.message(number, 'TypeProto')?.message(1, 'TypeProto');
    return type === undefined ? null : readType(type);
  };
  for (const kind of ['tensor', 'sparse'] as const) {
    const tensor = m.message(f[kind], 'TypeProto.Tensor');
    if (tensor !== undefined)
      return { kind, element: elementTypeOf(tensor.int32(1)), shape: readShape(tensor.message(2, 'TensorShapeProto')) };
  }
  if (m.has(f.sequence)) return { kind: 'sequence', of: inner(f.sequence) };
  if (m.has(f.optional)) return { kind: 'optional', of: inner(f.optional) };
  const map = m.message(f.map, 'TypeProto.Map');
  if (map === undefined) return null;
  const value = map.message(2, 'TypeProto');
  return { kind: 'map', key: elementTypeOf(map.int32(1)), value: value === undefined ? null : readType(value) };
}

function readValueInfo(m: WireMessage): ValueInfo {
  const f = field.valueInfo;
  const type = m.message(f.type, 'TypeProto');
  return { name: m.string(f.name), type: type === undefined ? null : readType(type) };
}

function readAttributeValue(m: WireMessage, kind: AttributeModel['kind'], name: string): AttributeModel {
  const f = field.attribute;
  const needed = (number: number, what: string): WireMessage =>
    m.message(number, what) ?? fail(`attribute '${name}' says it is a ${kind} and has none`);
  switch (kind) {
    case 'float':
      return { kind, value: m.float(f.float) ?? 0 };
    case 'int':
      return { kind, value: m.int(f.int) ?? 0n };
    case 'string':
      return { kind, value: m.string(f.string) };
    case 'tensor':
      return { kind, value: readTensor(needed(f.tensor, 'TensorProto')) };
    case 'graph':
      return { kind, value: readGraph(needed(f.graph, 'GraphProto')) };
    case 'sparse':
      return { kind, value: readSparse(needed(f.sparse, 'SparseTensorProto')) };
    case 'type':
      return { kind, value: readType(needed(f.type, 'TypeProto')) ?? fail(`attribute '${name}' has an empty type`) };
    case 'floats':
      return { kind, value: Array.from(m.floats(f.floats)) };
    case 'ints':
      return { kind, value: Array.from(m.int64s(f.ints)) };
    case 'strings':
      return { kind, value: m.strings(f.strings) };
    case 'tensors':
      return { kind, value: m.messages(f.tensors, 'TensorProto').map(readTensor) };
    case 'graphs':
      return { kind, value: m.messages(f.graphs, 'GraphProto').map(readGraph) };
    case 'sparses':
      return { kind, value: m.messages(f.sparses, 'SparseTensorProto').map(readSparse) };
    case 'types':
      return {
        kind,
        value: m.messages(f.types, 'TypeProto').map((t) => readType(t) ?? fail(`attribute '${name}' has an empty type`)),
      };
    case 'reference':
      return fail(`attribute '${name}' has no type`);
    default:
      return kind satisfies never;
  }
}

/** What an attribute of a model from before IR version 2 holds: its type was not written. */
function guessKind(m: WireMessage): AttributeModel['kind'] | undefined {
  const f = field.attribute;
  for (const kind of attributeKinds.values()) if (m.has(f[kind])) return kind;
  return undefined;
}

function readAttribute(m: WireMessage): [string, AttributeModel] {
  const f = field.attribute;
  const name = m.string(f.name);
  const code = m.int32(f.kind);
  const reference = m.string(f.reference);
  if (reference !== '') return [name, { kind: 'reference', value: reference, code }];
  const kind = code === 0 ? guessKind(m) : attributeKinds.get(code);
  // An empty list is written as nothing at all.
  if (kind === undefined) return code === 0 ? [name, { kind: 'ints', value: [] }] : fail(`attribute '${name}' has type ${code}`);
  return [name, readAttributeValue(m, kind, name)];
}

function readAttributes(messages: readonly WireMessage[], of: string): Map<string, AttributeModel> {
  const attributes = new Map<string, AttributeModel>();
  for (const m of messages) {
    const [name, value] = readAttribute(m);
    if (attributes.has(name)) fail(`${of} has attribute '${name}' twice`);
    attributes.set(name, value);
  }
  return attributes;
}

function readNode(m: WireMessage): NodeModel {
  const f = field.node;
  const name = m.string(f.name);
  const opType = m.string(f.opType);
  return {
    name,
    opType,
    domain: normalDomain(m.string(f.domain)),
    overload: m.string(f.overload),
    inputs: m.strings(f.input),
    outputs: m.strings(f.output),
    attributes: readAttributes(m.messages(f.attribute, 'AttributeProto'), `node '${name}' (${opType})`),
  };
}

function readGraph(m: WireMessage): GraphModel {
  const f = field.graph;
  return {
    name: m.string(f.name),
    nodes: m.messages(f.node, 'NodeProto').map(readNode),
    initializers: m.messages(f.initializer, 'TensorProto').map(readTensor),
    sparseInitializers: m.messages(f.sparseInitializer, 'SparseTensorProto').map(readSparse),
    inputs: m.messages(f.input, 'ValueInfoProto').map(readValueInfo),
    outputs: m.messages(f.output, 'ValueInfoProto').map(readValueInfo),
    valueInfo: m.messages(f.valueInfo, 'ValueInfoProto').map(readValueInfo),
    docString: m.string(f.docString),
  };
}

function readOpsets(messages: readonly WireMessage[]): Map<string, number> {
  return new Map(messages.map((m) => [normalDomain(m.string(field.opset.domain)), Number(m.int(field.opset.version) ?? 0n)]));
}

function readFunction(m: WireMessage): FunctionModel {
  const f = field.function;
  const name = m.string(f.name);
  return {
    name,
    domain: normalDomain(m.string(f.domain)),
    overload: m.string(f.overload),
    inputs: m.strings(f.input),
    outputs: m.strings(f.output),
    attributes: m.strings(f.attribute),
    attributeDefaults: readAttributes(m.messages(f.attributeProto, 'AttributeProto'), `function '${name}'`),
    nodes: m.messages(f.node, 'NodeProto').map(readNode),
    opsetImports: readOpsets(m.messages(f.opsetImport, 'OperatorSetIdProto')),
    docString: m.string(f.docString),
  };
}

function readTraining(m: WireMessage): TrainingInfoModel {
  const f = field.training;
  const graph = (number: number): GraphModel | null => {
    const inner = m.message(number, 'GraphProto');
    return inner === undefined ? null : readGraph(inner);
  };
  return {
    initialization: graph(f.initialization),
    algorithm: graph(f.algorithm),
    initializationBinding: entries(m.messages(f.initializationBinding, 'StringStringEntryProto')),
    updateBinding: entries(m.messages(f.updateBinding, 'StringStringEntryProto')),
  };
}

/**
 * A ModelProto. Tensors are views of `bytes`, not copies.
 * @throws FormatError for bytes that are not one
 */
export function decodeModel(bytes: Uint8Array): ModelModel {
  const f = field.model;
  const m = WireMessage.parse(bytes, 'ModelProto');
  const graph = m.message(f.graph, 'GraphProto');
  if (graph === undefined) fail('the model has no graph');
  const irVersion = Number(m.int(f.irVersion) ?? 0n);
  const opsetImports = readOpsets(m.messages(f.opsetImport, 'OperatorSetIdProto'));
  // Models from before IR version 3 name no versions: they are of version 1.
  if (opsetImports.size === 0) opsetImports.set('', 1);
  return {
    irVersion,
    producerName: m.string(f.producerName),
    producerVersion: m.string(f.producerVersion),
    domain: m.string(f.domain),
    modelVersion: m.int(f.modelVersion) ?? 0n,
    docString: m.string(f.docString),
    opsetImports,
    graph: readGraph(graph),
    functions: m.messages(f.functions, 'FunctionProto').map(readFunction),
    trainingInfo: m.messages(f.trainingInfo, 'TrainingInfoProto').map(readTraining),
    metadata: entries(m.messages(f.metadata, 'StringStringEntryProto')),
  };
}
