/** A Keras model as a module. */
import { ArgumentError, FormatError, nn, type Tensor } from 'trireme';
import type { Config } from '../formats/json.js';
import { attentionLayers } from './attention.js';
import { basicLayers } from './basic.js';
import { convLayers } from './conv.js';
import { type KerasGraph, type LayerCall, readGraph, type TensorReference } from './graph.js';
import { channelsLast, type Laid, plain } from './laid.js';
import { KerasLayer, type LayerBuilder, type LayerTable } from './layer.js';
import { mergeLayers } from './merge.js';
import { normalizationLayers } from './normalization.js';
import { poolLayers } from './pool.js';
import { recurrentLayers } from './recurrent.js';
import type { LayerVariables } from './variables.js';

const builders: ReadonlyMap<string, LayerBuilder> = new Map(
  [attentionLayers, basicLayers, convLayers, poolLayers, normalizationLayers, mergeLayers, recurrentLayers].flatMap((table: LayerTable) =>
    Object.entries(table),
  ),
);
const models = new Set(['Sequential', 'Functional', 'Model']);
/** Models in models. */
const maxNesting = 16;

/** The classes of layers that can be read. */
export const kerasLayers: readonly string[] = [...builders.keys(), 'InputLayer', ...models].sort();

const keyOf = ({ layer, node, tensor }: TensorReference): string => `${node}/${tensor}/${layer}`;

/** The layers of a model and the graph of their calls. */
class GraphLayer extends KerasLayer {
  readonly layers: nn.ModuleDict<KerasLayer>;
  readonly graph: KerasGraph;
  readonly #keys: ReadonlyMap<string, string>;

  constructor(graph: KerasGraph, layers: ReadonlyMap<string, KerasLayer>) {
    super();
    this.graph = graph;
    // Names of layers may be anything; keys of state dicts have no dots, and none is a module's own name.
    const keys = new Map<string, string>();
    const taken = new Set<string>();
    for (const name of layers.keys()) {
      let key = name.replace(/[^\w-]/g, '_') || '_';
      while (taken.has(key) || key in nn.ModuleDict.prototype || reserved.has(key)) key += '_';
      taken.add(key);
      keys.set(name, key);
    }
    this.#keys = keys;
    this.layers = new nn.ModuleDict([...layers].map(([name, layer]) => [keys.get(name) ?? name, layer] as const));
  }

  override forward(inputs: readonly Laid[]): readonly Laid[] {
    const { graph } = this;
    if (inputs.length !== graph.inputs.length) {
      throw new ArgumentError(`${inputs.length} inputs`, {
        op: 'KerasModel',
        received: inputs.length,
        expected: `${graph.inputs.length}: ${graph.inputs.map(({ layer }) => layer).join(', ')}`,
      });
    }
    const values = new Map<string, Laid>();
    graph.inputs.forEach((input, i) => values.set(keyOf(input), inputs[i]));
    const find = (wanted: TensorReference): Laid => {
      const value = values.get(keyOf(wanted));
      if (!value) throw new FormatError(`layer ${wanted.layer} has no output ${wanted.tensor}`, { op: 'keras' });
      return value;
    };
    for (const call of graph.order)
      this.#run(call, call.inputs.map(find)).forEach((value, tensor) => values.set(keyOf({ ...call, tensor }), value));
    return graph.outputs.map(find);
  }

  #run({ layer }: LayerCall, inputs: readonly Laid[]): readonly Laid[] {
    const key = this.#keys.get(layer);
    // Input layers have none.
    return key === undefined ? inputs : this.layers.get(key).call(inputs);
  }
}

const reserved = new Set(['training', 'names', 'hooks', 'pathName', 'childrenNamed', '__proto__', 'constructor']);

/** A model's input or output. */
export interface KerasPort {
  readonly name: string;
  /** Batch first; null for sizes that may change, or undefined when the file does not say. */
  readonly shape: readonly (number | null)[] | undefined;
}

/**
 * A Keras model: pictures and sequences with their channels last, as in Keras. Parameters are under `layers.<name of the layer>.`, in PyTorch's arrangement
 * (`weight`, `bias`). It is trained, compiled and saved like any module.
 */
export class KerasModel extends nn.Module<Tensor[], Tensor> {
  readonly body: KerasLayer;
  readonly inputs: readonly KerasPort[];
  readonly outputNames: readonly string[];

  constructor(body: KerasLayer, inputs: readonly KerasPort[], outputNames: readonly string[]) {
    super();
    this.body = body;
    this.inputs = inputs;
    this.outputNames = outputNames;
  }
  protected override stateName(property: string): string {
    return property === 'body' ? 'model' : super.stateName(property);
  }
  /** The first output. Inputs are in the order of the model's. */
  override forward(...inputs: Tensor[]): Tensor {
    return this.outputs(...inputs)[0];
  }
  /** All outputs. */
  outputs(...inputs: Tensor[]): Tensor[] {
    return this.body.call(inputs.map((x) => plain(x))).map(channelsLast);
  }
}

interface Build {
  readonly modern: boolean;
  readonly missing: Set<string>;
}

function buildLayer(spec: Config, variables: LayerVariables, context: Build, depth: number): KerasLayer {
  const className = spec.string('class_name');
  const config = spec.get('config');
  if (models.has(className))
    return buildGraph(className, Array.isArray(config) ? config : spec.object('config'), spec.path, variables, context, depth + 1).layer;
  const builder = builders.get(className);
  if (!builder) {
    context.missing.add(className);
    return new Missing();
  }
  return builder({
    config: spec.object('config'),
    variables,
    modern: context.modern,
    build: (inner, innerVariables) => buildLayer(inner, innerVariables, context, depth + 1),
  });
}

/** Stands for a layer that cannot be read, until all of them are known. */
class Missing extends KerasLayer {
  override forward(inputs: readonly Laid[]): readonly Laid[] {
    return inputs;
  }
}

function buildGraph(
  className: string,
  config: Config | readonly unknown[],
  path: string,
  variables: LayerVariables,
  context: Build,
  depth = 0,
): { layer: GraphLayer; graph: KerasGraph } {
  if (depth > maxNesting) throw new FormatError(`models nest more than ${maxNesting} levels`, { op: 'keras' });
  const graph = readGraph(className, config, path);
  const layers = new Map<string, KerasLayer>();
  for (const { name, className: layerClass, spec } of graph.layers) {
    // The place of each layer's weights counts the layers before it: input layers too.
    const own = variables.layer(name, layerClass);
    if (layerClass !== 'InputLayer') layers.set(name, buildLayer(spec, own, context, depth));
  }
  return { layer: new GraphLayer(graph, layers), graph };
}

function portOf(graph: KerasGraph, { layer }: TensorReference): KerasPort {
  const spec = graph.layers.find(({ name }) => name === layer) ?? graph.layers[0];
  const shape = spec.config.get('batch_input_shape') ?? spec.config.get('batch_shape');
  const isShape = Array.isArray(shape) && shape.every((n) => n === null || (typeof n === 'number' && Number.isInteger(n)));
  return { name: spec.className === 'InputLayer' ? layer : 'input', shape: isShape ? (shape as (number | null)[]) : undefined };
}

/**
 * A model from its configuration (`class_name`, `config`) and weights.
 * @param modern Whether Keras 3 wrote it.
 * @throws FormatError when it contradicts itself or has layers that are not known: all of them are named
 */
export function buildKerasModel(topology: Config, variables: LayerVariables, modern: boolean): KerasModel {
  const className = topology.string('class_name');
  if (!models.has(className)) topology.fail(`.class_name is ${JSON.stringify(className)}`, [...models].join(', '));
  const config = topology.get('config');
  const context: Build = { modern, missing: new Set() };
  const built = buildGraph(className, Array.isArray(config) ? config : topology.object('config'), topology.path, variables, context);
  if (context.missing.size > 0) {
    built.layer.dispose();
    throw new FormatError(`the model has layers that are not known: ${[...context.missing].join(', ')}`, {
      op: 'keras',
      received: [...context.missing],
      expected: kerasLayers.join(', '),
      fix: 'Convert the model to ONNX instead.',
    });
  }
  const { graph } = built;
  return new KerasModel(
    built.layer,
    graph.inputs.map((input) => portOf(graph, input)),
    graph.outputs.map(({ layer }) => layer),
  );
}
