/** Writes ONNX messages; the numbers of their fields are in fields.ts. */
import { type ElementType, elementInfo } from '../engine/element-type.js';
import { attributeKinds, field } from './fields.js';
import type {
  AttributeModel,
  Dimension,
  FunctionModel,
  GraphModel,
  ModelModel,
  NodeModel,
  SparseTensorModel,
  TensorModel,
  TrainingInfoModel,
  TypeModel,
  ValueInfo,
} from './model.js';
import { WireWriter } from './wire.js';

/** TensorProto.DataLocation.EXTERNAL. */
const external = 1;

const codeOf = (element: ElementType | undefined): number => (element === undefined ? 0 : elementInfo[element].code);

const kindCodes = new Map([...attributeKinds].map(([code, kind]) => [kind, code]));

function writeEntry(w: WireWriter, number: number, key: string, value: string): void {
  w.message(number, (m) => {
    m.string(field.entry.key, key);
    m.string(field.entry.value, value);
  });
}

function writeTensor(w: WireWriter, { name, type, dims, content, docString }: TensorModel): void {
  const f = field.tensor;
  w.ints(f.dims, dims);
  w.int(f.dataType, codeOf(type));
  w.optionalString(f.name, name);
  w.optionalString(f.docString, docString);
  switch (content.kind) {
    case 'raw':
      return w.bytes(f.rawData, content.bytes);
    case 'strings':
      for (const text of content.values) w.string(f.stringData, text);
      return;
    case 'external': {
      const { location, offset, length } = content.external;
      writeEntry(w, f.externalData, 'location', location);
      writeEntry(w, f.externalData, 'offset', String(offset));
      if (length !== undefined) writeEntry(w, f.externalData, 'length', String(length));
      return w.int(f.dataLocation, external);
    }
    case 'values': {
      const { values } = content;
      if (values instanceof Float32Array) w.floats(f.floatData, values);
      else if (values instanceof Float64Array) w.doubles(f.doubleData, values);
      else if (values instanceof Int32Array) w.ints(f.int32Data, values);
      else if (values instanceof BigInt64Array) w.ints(f.int64Data, values);
      else w.ints(f.uint64Data, values);
      return;
    }
    default:
      content satisfies never;
  }
}

function writeSparse(w: WireWriter, { values, indices, dims }: SparseTensorModel): void {
  w.message(field.sparse.values, (m) => writeTensor(m, values));
  w.message(field.sparse.indices, (m) => writeTensor(m, indices));
  w.ints(field.sparse.dims, dims);
}

function writeShape(w: WireWriter, shape: readonly Dimension[]): void {
  for (const dimension of shape) {
    w.message(field.shape.dim, (m) => {
      if (typeof dimension === 'number') m.int(field.dimension.value, dimension);
      else m.optionalString(field.dimension.param, dimension ?? undefined);
    });
  }
}

function writeType(w: WireWriter, model: TypeModel): void {
  const f = field.type;
  w.message(f[model.kind], (m) => {
    switch (model.kind) {
      case 'tensor':
      case 'sparse': {
        const { element, shape } = model;
        m.int(1, codeOf(element));
        if (shape !== null) m.message(2, (s) => writeShape(s, shape));
        return;
      }
      case 'sequence':
      case 'optional': {
        const inner = model.of;
        if (inner !== null) m.message(1, (t) => writeType(t, inner));
        return;
      }
      case 'map': {
        const { key, value } = model;
        m.int(1, codeOf(key));
        if (value !== null) m.message(2, (t) => writeType(t, value));
        return;
      }
      default:
        model satisfies never;
    }
  });
}

function writeValueInfo(w: WireWriter, { name, type, docString }: ValueInfo): void {
  const f = field.valueInfo;
  w.string(f.name, name);
  if (type !== null) w.message(f.type, (m) => writeType(m, type));
  w.optionalString(f.docString, docString);
}

function writeAttribute(w: WireWriter, name: string, attribute: AttributeModel): void {
  const f = field.attribute;
  w.string(f.name, name);
  w.int(f.kind, attribute.kind === 'reference' ? attribute.code : (kindCodes.get(attribute.kind) ?? 0));
  switch (attribute.kind) {
    case 'float':
      return w.float(f.float, attribute.value);
    case 'int':
      return w.int(f.int, attribute.value);
    case 'string':
      return w.string(f.string, attribute.value);
    case 'tensor':
      return w.message(f.tensor, (m) => writeTensor(m, attribute.value));
    case 'graph':
      return w.message(f.graph, (m) => writeGraph(m, attribute.value));
    case 'sparse':
      return w.message(f.sparse, (m) => writeSparse(m, attribute.value));
    case 'type':
      return w.message(f.type, (m) => writeType(m, attribute.value));
    case 'floats':
      return w.floats(f.floats, attribute.value);
    case 'ints':
      return w.ints(f.ints, attribute.value);
    case 'strings':
      for (const text of attribute.value) w.string(f.strings, text);
      return;
    case 'tensors':
      for (const tensor of attribute.value) w.message(f.tensors, (m) => writeTensor(m, tensor));
      return;
    case 'graphs':
      for (const graph of attribute.value) w.message(f.graphs, (m) => writeGraph(m, graph));
      return;
    case 'sparses':
      for (const sparse of attribute.value) w.message(f.sparses, (m) => writeSparse(m, sparse));
      return;
    case 'types':
      for (const type of attribute.value) w.message(f.types, (m) => writeType(m, type));
      return;
    case 'reference':
      return w.string(f.reference, attribute.value);
    default:
      attribute satisfies never;
  }
}

function writeAttributes(w: WireWriter, number: number, attributes: ReadonlyMap<string, AttributeModel>): void {
  for (const [name, attribute] of attributes) w.message(number, (m) => writeAttribute(m, name, attribute));
}

function writeNode(w: WireWriter, { name, opType, domain, overload, inputs, outputs, attributes, docString }: NodeModel): void {
  const f = field.node;
  for (const input of inputs) w.string(f.input, input);
  for (const output of outputs) w.string(f.output, output);
  w.optionalString(f.name, name);
  w.string(f.opType, opType);
  writeAttributes(w, f.attribute, attributes);
  w.optionalString(f.docString, docString);
  w.optionalString(f.domain, domain);
  w.optionalString(f.overload, overload);
}

function writeGraph(
  w: WireWriter,
  { name, nodes, initializers, sparseInitializers, inputs, outputs, valueInfo, docString }: GraphModel,
): void {
  const f = field.graph;
  for (const node of nodes) w.message(f.node, (m) => writeNode(m, node));
  w.string(f.name, name);
  for (const tensor of initializers) w.message(f.initializer, (m) => writeTensor(m, tensor));
  w.optionalString(f.docString, docString);
  for (const info of inputs) w.message(f.input, (m) => writeValueInfo(m, info));
  for (const info of outputs) w.message(f.output, (m) => writeValueInfo(m, info));
  for (const info of valueInfo) w.message(f.valueInfo, (m) => writeValueInfo(m, info));
  for (const sparse of sparseInitializers) w.message(f.sparseInitializer, (m) => writeSparse(m, sparse));
}

function writeOpsets(w: WireWriter, number: number, opsets: ReadonlyMap<string, number>): void {
  for (const [domain, version] of opsets) {
    w.message(number, (m) => {
      m.string(field.opset.domain, domain);
      m.int(field.opset.version, version);
    });
  }
}

function writeFunction(w: WireWriter, fn: FunctionModel): void {
  const f = field.function;
  w.string(f.name, fn.name);
  for (const input of fn.inputs) w.string(f.input, input);
  for (const output of fn.outputs) w.string(f.output, output);
  for (const attribute of fn.attributes) w.string(f.attribute, attribute);
  for (const node of fn.nodes) w.message(f.node, (m) => writeNode(m, node));
  w.optionalString(f.docString, fn.docString);
  writeOpsets(w, f.opsetImport, fn.opsetImports);
  w.optionalString(f.domain, fn.domain);
  writeAttributes(w, f.attributeProto, fn.attributeDefaults);
  w.optionalString(f.overload, fn.overload);
}

function writeTraining(w: WireWriter, { initialization, algorithm, initializationBinding, updateBinding }: TrainingInfoModel): void {
  const f = field.training;
  if (initialization !== null) w.message(f.initialization, (m) => writeGraph(m, initialization));
  if (algorithm !== null) w.message(f.algorithm, (m) => writeGraph(m, algorithm));
  for (const [key, value] of initializationBinding) writeEntry(w, f.initializationBinding, key, value);
  for (const [key, value] of updateBinding) writeEntry(w, f.updateBinding, key, value);
}

/** The bytes of a ModelProto in pieces, in their order: large tensors are not copied. */
export function encodeModelChunks(model: ModelModel): readonly Uint8Array[] {
  const f = field.model;
  const w = new WireWriter();
  w.int(f.irVersion, model.irVersion);
  writeOpsets(w, f.opsetImport, model.opsetImports);
  w.optionalString(f.producerName, model.producerName);
  w.optionalString(f.producerVersion, model.producerVersion);
  w.optionalString(f.domain, model.domain);
  if (model.modelVersion !== 0n) w.int(f.modelVersion, model.modelVersion);
  w.optionalString(f.docString, model.docString);
  w.message(f.graph, (m) => writeGraph(m, model.graph));
  for (const [key, value] of model.metadata) writeEntry(w, f.metadata, key, value);
  for (const info of model.trainingInfo) w.message(f.trainingInfo, (m) => writeTraining(m, info));
  for (const fn of model.functions) w.message(f.functions, (m) => writeFunction(m, fn));
  return w.chunks();
}

/** The bytes of a ModelProto. */
export function encodeModel(model: ModelModel): Uint8Array {
  const chunks = encodeModelChunks(model);
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
