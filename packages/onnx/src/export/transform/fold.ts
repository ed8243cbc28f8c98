/** Parts of a model that depend on no input, computed once; and normalizations made part of the convolutions before them. */
import { OnnxModel } from '../../engine/onnx-model.js';
import { decodeTensor, encodeTensor } from '../../engine/transfer.js';
import type { GraphModel, ModelModel, NodeModel, TensorModel } from '../../model/model.js';

/** Operators whose results are not the same each time. */
const random = new Set(['RandomNormal', 'RandomUniform', 'RandomNormalLike', 'RandomUniformLike', 'Multinomial', 'Bernoulli', 'Dropout']);

const hasBody = (node: NodeModel): boolean => [...node.attributes.values()].some((a) => a.kind === 'graph' || a.kind === 'graphs');

/** How often each name is read, by nodes (bodies included) and as an output. */
export function readCounts(graph: GraphModel, counts = new Map<string, number>()): Map<string, number> {
  const note = (name: string): void => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  for (const node of graph.nodes) {
    node.inputs.forEach(note);
    for (const a of node.attributes.values()) {
      if (a.kind === 'graph') readCounts(a.value, counts);
      else if (a.kind === 'graphs') for (const body of a.value) readCounts(body, counts);
    }
  }
  for (const { name } of graph.outputs) note(name);
  return counts;
}

/** Leaves out constants that nothing reads. */
export function withoutUnread(graph: GraphModel): GraphModel {
  const counts = readCounts(graph);
  return { ...graph, initializers: graph.initializers.filter(({ name }) => counts.has(name)) };
}

/** Computes what depends on constants alone: transposed, cut and added weights become weights. */
export function foldConstants(model: ModelModel): ModelModel {
  const { graph } = model;
  const open = new Set(graph.inputs.map(({ name }) => name));
  const known = new Set(graph.initializers.map(({ name }) => name).filter((name) => !open.has(name)));
  const folded = graph.nodes.filter((node) => {
    const constant = node.inputs.every((name) => name === '' || known.has(name)) && !random.has(node.opType) && !hasBody(node);
    if (constant) for (const name of node.outputs) known.add(name);
    return constant;
  });
  if (folded.length === 0) return model;
  const gone = new Set(folded);
  const rest = graph.nodes.filter((node) => !gone.has(node));
  const read = readCounts({ ...graph, nodes: rest });
  const wanted = folded.flatMap((node) => node.outputs.filter((name) => read.has(name)));
  const part = withoutUnread({ ...graph, nodes: folded, inputs: [], outputs: wanted.map((name) => ({ name, type: null })), valueInfo: [] });
  const runner = new OnnxModel({ ...model, graph: part });
  const outputs = runner.runEagerly({});
  const made = wanted.map((name): TensorModel => {
    const { host, type, shape } = outputs.value(name);
    return encodeTensor(host, type, shape, name);
  });
  outputs.dispose();
  runner.dispose();
  return { ...model, graph: withoutUnread({ ...graph, nodes: rest, initializers: [...graph.initializers, ...made] }) };
}

/** Float32 values of a constant, null for another name or type. */
function floats(constants: ReadonlyMap<string, TensorModel>, name: string | undefined): Float32Array | null {
  const tensor = name === undefined ? undefined : constants.get(name);
  return tensor?.type === 'float32' ? (decodeTensor(tensor) as Float32Array) : null;
}

/**
 * BatchNormalization behind Conv as part of its weights: w' = w g / sqrt(var + eps), b' = (b - mean) g / sqrt(var + eps) + shift.
 */
export function foldBatchNorm(model: ModelModel): ModelModel {
  const { graph } = model;
  const constants = new Map(graph.initializers.map((t) => [t.name, t]));
  const counts = readCounts(graph);
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const replaced = new Map<NodeModel, NodeModel | null>();
  for (const norm of graph.nodes) {
    const conv = norm.opType === 'BatchNormalization' && norm.domain === '' ? producers.get(norm.inputs[0]) : undefined;
    if (conv?.opType !== 'Conv' || counts.get(conv.outputs[0]) !== 1) continue;
    const [weight, gain, shift, mean, variance] = [conv.inputs[1], ...norm.inputs.slice(1)].map((name) => floats(constants, name));
    const old = conv.inputs[2] ? floats(constants, conv.inputs[2]) : new Float32Array(gain?.length ?? 0);
    const tensor = constants.get(conv.inputs[1]);
    if (!weight || !gain || !shift || !mean || !variance || old === null || tensor === undefined) continue;
    const epsilon = norm.attributes.get('epsilon');
    const eps = epsilon?.kind === 'float' ? epsilon.value : 1e-5;
    const perChannel = weight.length / gain.length;
    const factor = Float64Array.from(gain, (g, c) => g / Math.sqrt(variance[c] + eps));
    const scaled = weight.map((w, i) => w * factor[Math.floor(i / perChannel)]);
    const bias = Float32Array.from(old, (b, c) => (b - mean[c]) * factor[c] + shift[c]);
    const [weightName, biasName] = [`${conv.inputs[1]}:folded`, `${norm.inputs[2]}:folded`];
    constants.set(weightName, encodeTensor(scaled, 'float32', tensor.dims, weightName));
    constants.set(biasName, encodeTensor(bias, 'float32', [bias.length], biasName));
    replaced.set(conv, { ...conv, inputs: [conv.inputs[0], weightName, biasName], outputs: norm.outputs });
    replaced.set(norm, null);
  }
  const nodes = graph.nodes.flatMap((node) => {
    const other = replaced.get(node);
    return other === undefined ? [node] : other === null ? [] : [other];
  });
  return { ...model, graph: withoutUnread({ ...graph, nodes, initializers: [...constants.values()] }) };
}
