/** Smaller weights in an ONNX model: float16, or int8 with a scale for each channel. The graph computes as before. */
import { decodeTensor, encodeTensor, type GraphModel, type ModelModel, type NodeModel, type TensorModel } from '@trireme/onnx';

/** Smaller tensors stay: they would save nothing. */
const smallest = 256;

export interface Compressed {
  readonly model: ModelModel;
  /** Weights that have become smaller. */
  readonly tensors: number;
}

interface Replacement {
  readonly initializers: readonly TensorModel[];
  readonly node: NodeModel;
}

function node(opType: string, name: string, inputs: readonly string[], output: string, attributes: NodeModel['attributes']): NodeModel {
  return { name, opType, domain: '', overload: '', inputs, outputs: [output], attributes };
}

/** Puts nodes that make the weights in front, and smaller tensors in the place of theirs. */
function replaced(model: ModelModel, replace: (tensor: TensorModel) => Replacement | null): Compressed {
  const { graph } = model;
  const found = new Map<string, Replacement>();
  for (const tensor of graph.initializers) {
    const replacement = replace(tensor);
    if (replacement !== null) found.set(tensor.name, replacement);
  }
  const changed: GraphModel = {
    ...graph,
    // Old models list initializers among the inputs; what a node makes is none.
    inputs: graph.inputs.filter(({ name }) => !found.has(name)),
    initializers: graph.initializers.flatMap((tensor) => found.get(tensor.name)?.initializers ?? [tensor]),
    nodes: [...[...found.values()].map((replacement) => replacement.node), ...graph.nodes],
  };
  return { model: { ...model, graph: changed }, tensors: found.size };
}

function isLarge({ type, dims }: TensorModel): boolean {
  return type === 'float32' && dims.reduce((a, b) => a * b, 1) >= smallest;
}

/** Large float32 weights stored as float16. Where an element is beyond the range of float16 the tensor stays. */
export function halveWeights(model: ModelModel): Compressed {
  return replaced(model, (tensor) => {
    if (!isLarge(tensor)) return null;
    const data = decodeTensor(tensor) as Float32Array;
    if (data.some((value) => Math.abs(value) > 65504)) return null;
    const name = `${tensor.name}_float16`;
    return {
      initializers: [encodeTensor(data, 'float16', tensor.dims, name)],
      node: node('Cast', `${tensor.name}_cast`, [name], tensor.name, new Map([['to', { kind: 'int', value: 1n }]])),
    };
  });
}

function flag(given: NodeModel, name: string): boolean {
  const attribute = given.attributes.get(name);
  return attribute?.kind === 'int' && attribute.value !== 0n;
}

/** The axis of the weight's channels for its first use, null where the operator does not multiply by it. */
function channelAxis(user: NodeModel, name: string, rank: number): number | null {
  const at = user.inputs.indexOf(name);
  switch (user.opType) {
    case 'Conv':
      return at === 1 ? 0 : null;
    case 'ConvTranspose':
      return at === 1 ? 1 : null;
    case 'MatMul':
      return at === 1 && rank === 2 ? 1 : null;
    case 'Gemm':
      return at === 1 ? (flag(user, 'transB') ? 0 : 1) : null;
    case 'Gather':
      return at === 0 && rank === 2 ? 0 : null;
    default:
      return null;
  }
}

/** Symmetric int8: value = scale * code, with the scale of each slice along the axis so that its largest element is 127. */
function quantized(tensor: TensorModel, axis: number): { readonly codes: Int8Array; readonly scales: Float32Array } {
  const data = decodeTensor(tensor) as Float32Array;
  const channels = tensor.dims[axis];
  const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const channelOf = (i: number): number => Math.floor(i / inner) % channels;
  const scales = new Float32Array(channels);
  data.forEach((value, i) => {
    scales[channelOf(i)] = Math.max(scales[channelOf(i)], Math.abs(value) / 127);
  });
  const codes = Int8Array.from(data, (value, i) => {
    const scale = scales[channelOf(i)];
    return scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(value / scale)));
  });
  return { codes, scales };
}

/** Weights of products, convolutions and embeddings as int8. Needs opset 13, since which DequantizeLinear has an axis. */
export function quantizeWeights(model: ModelModel): Compressed {
  const users = new Map<string, NodeModel>();
  for (const user of model.graph.nodes) for (const name of user.inputs) if (!users.has(name)) users.set(name, user);
  return replaced(model, (tensor) => {
    const user = users.get(tensor.name);
    if (user === undefined || !isLarge(tensor)) return null;
    const axis = channelAxis(user, tensor.name, tensor.dims.length);
    if (axis === null) return null;
    const { codes, scales } = quantized(tensor, axis);
    if (scales.some((scale) => !Number.isFinite(scale))) return null;
    const [name, scale] = [`${tensor.name}_int8`, `${tensor.name}_scale`];
    return {
      initializers: [encodeTensor(codes, 'int8', tensor.dims, name), encodeTensor(scales, 'float32', [scales.length], scale)],
      node: node(
        'DequantizeLinear',
        `${tensor.name}_dequantize`,
        [name, scale],
        tensor.name,
        new Map([['axis', { kind: 'int', value: BigInt(axis) }]]),
      ),
    };
  });
}
