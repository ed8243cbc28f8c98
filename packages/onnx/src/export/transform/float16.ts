/** Models in half precision: half the size, and what processors with float16 arithmetic run fastest. */
import { decodeTensor, encodeTensor } from '../../engine/transfer.js';
import { encodeModel } from '../../model/encode.js';
import type { AttributeModel, GraphModel, ModelModel, NodeModel, TensorModel, TypeModel, ValueInfo } from '../../model/model.js';
import { decodeModel } from '../../model/protobuf.js';
import { readCounts } from './fold.js';

export interface Float16Options {
  /** Inputs and outputs stay float32, with a cast behind and in front of them. Default true. */
  readonly keepIoTypes?: boolean;
  /** Operators that go on computing in float32, beside those that know no float16. */
  readonly float32Operators?: readonly string[];
}

const largest = 65504;
const [float32, float16] = [1n, 10n];

/** Operators without float16. */
const wide = new Set([
  'Range',
  'NonMaxSuppression',
  'TfIdfVectorizer',
  'Multinomial',
  'RoiAlign',
  'HannWindow',
  'HammingWindow',
  'BlackmanWindow',
]);
/** Inputs that are float32 whatever the others are. */
const wideInputs: Readonly<Record<string, readonly number[]>> = { Resize: [1, 2], Upsample: [1] };
/** Attributes that name an element type. */
const typeAttributes: Readonly<Record<string, string>> = {
  Cast: 'to',
  RandomNormal: 'dtype',
  RandomUniform: 'dtype',
  RandomNormalLike: 'dtype',
  RandomUniformLike: 'dtype',
  EyeLike: 'dtype',
  Bernoulli: 'dtype',
  SequenceEmpty: 'dtype',
};
/** Operators whose results are never floats. */
const otherResults = new Set([
  ...[
    'Shape',
    'Size',
    'ArgMax',
    'ArgMin',
    'NonZero',
    'Equal',
    'Less',
    'LessOrEqual',
    'Greater',
    'GreaterOrEqual',
    'Not',
    'And',
    'Or',
    'Xor',
  ],
  ...['IsNaN', 'IsInf', 'QuantizeLinear', 'ConvInteger', 'MatMulInteger', 'QLinearConv', 'QLinearMatMul', 'NonMaxSuppression'],
]);

function narrowed(tensor: TensorModel): TensorModel {
  if (tensor.type !== 'float32') return tensor;
  const values = decodeTensor(tensor) as Float32Array;
  // What is finite stays so: masks often hold the largest float32.
  const cut = values.map((x) => (Number.isFinite(x) ? Math.min(largest, Math.max(-largest, x)) : x));
  return encodeTensor(cut, 'float16', tensor.dims, tensor.name);
}

function narrowedType(type: TypeModel | null): TypeModel | null {
  if (type === null) return null;
  switch (type.kind) {
    case 'tensor':
    case 'sparse':
      return type.element === 'float32' ? { ...type, element: 'float16' } : type;
    case 'sequence':
    case 'optional':
      return { kind: type.kind, of: narrowedType(type.of) };
    case 'map':
      return type;
    default:
      return type satisfies never;
  }
}

const isFloat = ({ type }: ValueInfo): boolean => type?.kind === 'tensor' && type.element === 'float32';

function castNode(from: string, to: string, code: bigint): NodeModel {
  return {
    name: `${to}/Cast`,
    opType: 'Cast',
    domain: '',
    overload: '',
    inputs: [from],
    outputs: [to],
    attributes: new Map([['to', { kind: 'int', value: code }]]),
  };
}

/** One graph on its way; bodies know the floats around them. */
class Narrowing {
  private readonly options: Float16Options;
  private readonly floats: Set<string>;
  private readonly blocked: ReadonlySet<string>;

  constructor(options: Float16Options, outer: ReadonlySet<string>) {
    this.options = options;
    this.floats = new Set(outer);
    this.blocked = new Set([...wide, ...(options.float32Operators ?? [])]);
  }

  /** `isMain`: inputs and outputs are those of the model, which may keep their types. */
  graph(graph: GraphModel, isMain: boolean): GraphModel {
    const keep = isMain && (this.options.keepIoTypes ?? true);
    for (const info of graph.inputs) if (isFloat(info)) this.floats.add(info.name);
    const initializers = this.initializers(graph);
    const nodes: NodeModel[] = [];
    const renamed = new Map<string, string>();
    if (keep) {
      for (const info of graph.inputs) {
        if (!isFloat(info)) continue;
        renamed.set(info.name, `${info.name}:half`);
        nodes.push(castNode(info.name, `${info.name}:half`, float16));
        this.floats.add(`${info.name}:half`);
      }
    }
    const outputs = new Set(keep ? graph.outputs.map(({ name }) => name) : []);
    const ends = new Map<string, string>();
    for (const node of graph.nodes) {
      const inputs = node.inputs.map((name) => renamed.get(name) ?? name);
      const made = this.node({ ...node, inputs });
      // A float that is an output gets another name inside.
      for (const name of node.outputs) {
        if (!outputs.has(name) || !this.floats.has(name)) continue;
        renamed.set(name, `${name}:half`);
        ends.set(name, `${name}:half`);
        this.floats.add(`${name}:half`);
      }
      nodes.push(...made.map((n) => ({ ...n, outputs: n.outputs.map((name) => ends.get(name) ?? name) })));
    }
    for (const [name, half] of ends) nodes.push(castNode(half, name, float32));
    const info = (list: readonly ValueInfo[]): ValueInfo[] => list.map((v) => (keep ? v : { ...v, type: narrowedType(v.type) }));
    return { ...graph, nodes, initializers, inputs: info(graph.inputs), outputs: info(graph.outputs), valueInfo: [] };
  }

  private initializers(graph: GraphModel): TensorModel[] {
    // Those that only such inputs read stay as they are.
    const kept = new Set(graph.nodes.flatMap((node) => (wideInputs[node.opType] ?? []).flatMap((k) => node.inputs[k] ?? [])));
    const counts = readCounts(graph);
    const wideReads = new Map<string, number>();
    for (const node of graph.nodes)
      for (const k of wideInputs[node.opType] ?? []) wideReads.set(node.inputs[k], (wideReads.get(node.inputs[k]) ?? 0) + 1);
    return graph.initializers.map((tensor) => {
      if (kept.has(tensor.name) && wideReads.get(tensor.name) === counts.get(tensor.name)) return tensor;
      if (tensor.type === 'float32') this.floats.add(tensor.name);
      return narrowed(tensor);
    });
  }

  private attribute(node: NodeModel, name: string, attribute: AttributeModel): AttributeModel {
    switch (attribute.kind) {
      case 'tensor':
        return { kind: 'tensor', value: narrowed(attribute.value) };
      case 'graph':
        return { kind: 'graph', value: new Narrowing(this.options, this.floats).graph(attribute.value, false) };
      case 'int':
        return typeAttributes[node.opType] === name && attribute.value === float32 ? { kind: 'int', value: float16 } : attribute;
      default:
        return attribute;
    }
  }

  private isFloatResult(node: NodeModel, k: number): boolean {
    if (otherResults.has(node.opType)) return false;
    const typed = typeAttributes[node.opType];
    const code = typed === undefined ? undefined : node.attributes.get(typed);
    if (code?.kind === 'int') return code.value === float32;
    if ((node.opType === 'TopK' || node.opType === 'MaxPool' || node.opType === 'Unique') && k > 0) return false;
    const constant = node.attributes.get('value');
    if (constant?.kind === 'tensor') return constant.value.type === 'float32';
    if (node.opType === 'ConstantOfShape' || node.attributes.has('value_float') || node.attributes.has('value_floats')) return true;
    if (node.opType === 'Where') return this.floats.has(node.inputs[1]);
    if (node.opType === 'OneHot') return this.floats.has(node.inputs[2]);
    if (node.opType === 'DequantizeLinear') return this.floats.has(node.inputs[1]);
    if (['If', 'Loop', 'Scan'].includes(node.opType)) return this.bodyResult(node, k);
    return this.floats.has(node.inputs[0]);
  }

  /** Results of control flow are those of a body; a Loop's has the condition in front. */
  private bodyResult(node: NodeModel, k: number): boolean {
    const body = [...node.attributes.values()].find((a) => a.kind === 'graph');
    const info = body?.kind === 'graph' ? body.value.outputs[node.opType === 'Loop' ? k + 1 : k] : undefined;
    return info !== undefined && isFloat(info);
  }

  private node(node: NodeModel): NodeModel[] {
    const results = node.outputs.map((name, k) => (this.isFloatResult(node, k) ? name : null));
    const attributes = (): Map<string, AttributeModel> =>
      new Map([...node.attributes].map(([name, a]) => [name, this.attribute(node, name, a)]));
    const floatInputs = node.inputs.filter((name) => this.floats.has(name));
    const blocked = this.blocked.has(node.opType) && (floatInputs.length > 0 || results.some((name) => name !== null));
    for (const name of results) if (name !== null) this.floats.add(name);
    const own = wideInputs[node.opType] ?? [];
    if (!blocked) {
      const casts: NodeModel[] = [];
      const inputs = node.inputs.map((name, k) => {
        if (!own.includes(k) || !this.floats.has(name)) return name;
        casts.push(castNode(name, `${node.name || node.outputs[0]}:wide${k}`, float32));
        return `${node.name || node.outputs[0]}:wide${k}`;
      });
      return [...casts, { ...node, inputs, attributes: attributes() }];
    }
    const label = (name: string): string => `${name}@${node.outputs[0]}:wide`;
    const before = [...new Set(floatInputs)].map((name) => castNode(name, label(name), float32));
    const after = results.flatMap((name) => (name === null ? [] : [castNode(label(name), name, float16)]));
    const wideNode = {
      ...node,
      inputs: node.inputs.map((name) => (floatInputs.includes(name) ? label(name) : name)),
      outputs: node.outputs.map((name, k) => (results[k] === null ? name : label(name))),
    };
    return [...before, wideNode, ...after];
  }
}

/**
 * The model with float16 in the place of float32. Numbers beyond its range become its largest. Bytes give bytes, a model in
 * memory gives one.
 */
export function toFloat16<M extends ModelModel | Uint8Array>(model: M, options: Float16Options = {}): M {
  const source: ModelModel = model instanceof Uint8Array ? decodeModel(model) : model;
  const result = { ...source, graph: new Narrowing(options, new Set()).graph(source.graph, true) };
  return (model instanceof Uint8Array ? encodeModel(result) : result) as M;
}
