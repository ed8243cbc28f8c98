/** TensorFlow.js graph models: TensorFlow's nodes, run by the ONNX engine. */
import { FormatError } from 'trireme';
import { UnsupportedOperatorError } from '../engine/errors.js';
import { OnnxModel, type OnnxModelOptions } from '../engine/onnx-model.js';
import type { Config } from '../formats/json.js';
import type { GraphModel, ModelModel, ValueInfo } from '../model/model.js';
import { elementwiseRules, type Rule } from './graph/elementwise.js';
import { inOrder, readNodes, type TfNode } from './graph/node.js';
import { shapeRules } from './graph/shapes.js';
import { spatialRules } from './graph/spatial.js';
import { Translator } from './graph/translator.js';
import { readManifest, type TfjsWeight } from './manifest.js';
import { openTfjs, type TfjsSource } from './source.js';

const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>(
  [elementwiseRules, spatialRules, shapeRules].flatMap((table): [string, Rule][] => Object.entries(table)),
);
/** The version of ONNX's operators that the translation is written in. */
const opset = 18;

/** The operations of TensorFlow that can be read. */
export const tfjsOperations: readonly string[] = [...rules.keys(), 'Const', 'Placeholder', 'PlaceholderWithDefault', 'NoOp'].sort();

const isPlaceholder = ({ op }: TfNode): boolean => op === 'Placeholder' || op === 'PlaceholderWithDefault';

function stripIndex(name: string): string {
  return name.replace(/:\d+$/, '');
}

/** Names of the outputs: those of the signature, else of the nodes that nobody uses. */
function outputNames(model: Config, nodes: ReadonlyMap<string, TfNode>): string[] {
  const signature = model.optionalObject('signature') ?? model.optionalObject('userDefinedMetadata')?.optionalObject('signature');
  const outputs = signature?.optionalObject('outputs');
  if (outputs) return outputs.keys().map((key) => stripIndex(outputs.object(key).string('name', key)));
  const used = new Set([...nodes.values()].flatMap(({ inputs }) => inputs.map(({ node }) => node)));
  return [...nodes.values()].filter(({ name, op }) => !used.has(name) && op !== 'NoOp' && op !== 'Const').map(({ name }) => name);
}

function portOf(node: TfNode): ValueInfo {
  const shape = node.shape('shape');
  return { name: node.name, type: { kind: 'tensor', element: node.type('dtype', 'float32'), shape } };
}

/** The ONNX model that does what a TensorFlow graph does; values keep TensorFlow's names at inputs and outputs. */
export function translateGraph(model: Config, weights: ReadonlyMap<string, TfjsWeight>): ModelModel {
  const nodes = readNodes(model.object('modelTopology'));
  const outputs = outputNames(model, nodes);
  if (outputs.length === 0) throw new FormatError('the graph has no outputs', { op: 'tfjs' });
  const order = inOrder(nodes, outputs);
  const missing = new Map<string, string[]>();
  for (const node of order) {
    if (rules.has(node.op) || node.op === 'Const' || isPlaceholder(node)) continue;
    missing.set(node.op, [...(missing.get(node.op) ?? []), node.name]);
  }
  if (missing.size > 0) {
    throw new UnsupportedOperatorError(
      Array.from(missing, ([opType, names]) => ({ domain: 'tensorflow', opType, opset: 1, nodes: names })),
    );
  }
  const t = new Translator(
    [...weights.values()].reduce((sum, { data }) => sum + (Array.isArray(data) ? data.length : (data as Uint8Array).byteLength), 0),
  );
  const inputs: ValueInfo[] = [];
  for (const node of order) {
    if (isPlaceholder(node)) {
      inputs.push(portOf(node));
      t.bind(node, [{ name: node.name, moved: false }]);
    } else if (node.op === 'Const') {
      const weight = weights.get(node.name) ?? node.fail('its value is not among the weights');
      t.bind(node, [{ name: t.weight(weight), moved: false }]);
    } else {
      const rule = rules.get(node.op);
      if (rule) t.bind(node, rule(node, t));
    }
  }
  const taken = new Set(inputs.map(({ name }) => name));
  const results = outputs.map((name): ValueInfo => {
    const value = t.plain(t.placed({ node: name, index: 0 }));
    // A graph's output that is an input of it needs a name of its own.
    const shown = taken.has(name) ? `${name}:0` : name;
    t.rename(t.emit('Identity', [value]), shown);
    return { name: shown, type: null };
  });
  const used = new Set(t.nodes.flatMap((node) => node.inputs));
  const graph: GraphModel = {
    name: 'tfjs',
    nodes: t.nodes,
    // Kernels are there in their own arrangement too, which nobody uses any more.
    initializers: [...t.initializers.values()].filter(({ name }) => used.has(name)),
    sparseInitializers: [],
    inputs,
    outputs: results,
    valueInfo: [],
  };
  return {
    irVersion: 9,
    producerName: 'trireme',
    producerVersion: '',
    domain: '',
    modelVersion: 0n,
    docString: '',
    opsetImports: new Map([['', opset]]),
    graph,
    functions: [],
    trainingInfo: [],
    metadata: new Map(),
  };
}

/**
 * A graph model, ready to run: `model.run({ [name of the input]: x })`. Pictures stay as they are there, [batch, height, width, channels].
 * @throws FormatError when it is damaged, UnsupportedOperatorError with all operations that are missing, EnvironmentError when a file cannot be read
 */
export async function loadGraphModel(
  source: TfjsSource,
  options: Omit<OnnxModelOptions, 'externalData' | 'maxBytes'> = {},
): Promise<OnnxModel> {
  const { model, read } = await openTfjs(source);
  return new OnnxModel(translateGraph(model, await readManifest(model, read)), options);
}
