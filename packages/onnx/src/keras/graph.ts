/** The graph of a Keras model: which layer is called with what. */
import { FormatError } from 'trireme';
import { Config } from '../formats/json.js';

/** A tensor of the graph: output `tensor` of call `node` of a layer. */
export interface TensorReference {
  readonly layer: string;
  readonly node: number;
  readonly tensor: number;
}

export interface LayerCall {
  readonly layer: string;
  readonly node: number;
  readonly inputs: readonly TensorReference[];
}

export interface LayerSpec {
  readonly name: string;
  readonly className: string;
  readonly config: Config;
  /** As in the file, for the builder. */
  readonly spec: Config;
  readonly calls: readonly LayerCall[];
}

export interface KerasGraph {
  readonly layers: readonly LayerSpec[];
  readonly inputs: readonly TensorReference[];
  readonly outputs: readonly TensorReference[];
  /** Calls in an order in which every input is there before it is used. */
  readonly order: readonly LayerCall[];
}

const maxLayers = 20_000;
const keyOf = (layer: string, node: number): string => `${node}/${layer}`;

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op: 'keras', expected });
}

function reference(value: unknown): TensorReference {
  const [layer, node, tensor] = Array.isArray(value) ? value : [];
  if (typeof layer !== 'string' || !isIndex(node) || !isIndex(tensor))
    fail(`a reference is ${JSON.stringify(value)?.slice(0, 80)}`, '[layer, node, tensor]');
  return { layer, node, tensor };
}
const isIndex = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 1_000_000;

/** References nested in lists and dictionaries. */
function references(value: unknown, found: TensorReference[] = []): TensorReference[] {
  if (!Array.isArray(value)) {
    if (typeof value === 'object' && value !== null) {
      const config = new Config(value, 'keras');
      if (config.get('class_name') === '__keras_tensor__') found.push(reference(config.object('config').get('keras_history')));
      else for (const key of config.keys()) references(config.get(key), found);
    }
    return found;
  }
  if (value.length >= 3 && value.length <= 4 && typeof value[0] === 'string' && isIndex(value[1]) && isIndex(value[2]))
    found.push(reference(value));
  else for (const item of value) references(item, found);
  return found;
}

/** Inputs of one call: Keras 2's list of references, or Keras 3's arguments. */
function callInputs(node: unknown, path: string): TensorReference[] {
  if (Array.isArray(node)) {
    const found = references(node);
    for (const item of node) {
      const extra = Array.isArray(item) ? item[3] : undefined;
      const kwargs = typeof extra === 'object' && extra !== null ? Object.keys(extra) : [];
      const known = ['training', 'mask'];
      const unknown = kwargs.filter((key) => !known.includes(key) && (extra as Record<string, unknown>)[key] !== null);
      if (unknown.length > 0) fail(`${path} is called with ${unknown.join(', ')}`, 'tensors alone');
    }
    return found;
  }
  const config = new Config(node, path);
  const kwargs = config.has('kwargs') ? config.object('kwargs') : null;
  return [...references(config.get('args')), ...(kwargs?.has('initial_state') ? references(kwargs.get('initial_state')) : [])];
}

/** The graph of a Sequential model: one layer after the other. */
function sequential(specs: readonly LayerSpec[]): KerasGraph {
  const layers = specs.map((spec, i): LayerSpec => {
    const before = specs[i - 1];
    return { ...spec, calls: [{ layer: spec.name, node: 0, inputs: before ? [{ layer: before.name, node: 0, tensor: 0 }] : [] }] };
  });
  const first: LayerSpec | undefined = layers[0];
  const last = layers.at(-1);
  if (!first || !last) fail('the model has no layers');
  const start: TensorReference = { layer: first.className === 'InputLayer' ? first.name : inputName, node: 0, tensor: 0 };
  if (first.className !== 'InputLayer') layers[0] = { ...first, calls: [{ layer: first.name, node: 0, inputs: [start] }] };
  return { layers, inputs: [start], outputs: [{ layer: last.name, node: 0, tensor: 0 }], order: layers.flatMap(({ calls }) => calls) };
}

/** The input of a Sequential model that names none. (A layer's name has no blank.) */
const inputName = 'the input';

function sorted(layers: readonly LayerSpec[], inputs: readonly TensorReference[]): LayerCall[] {
  const calls = new Map<string, LayerCall>();
  for (const { calls: each } of layers) for (const call of each) calls.set(keyOf(call.layer, call.node), call);
  const waiting = new Map<string, number>();
  const users = new Map<string, LayerCall[]>();
  const ready: LayerCall[] = [];
  const given = new Set(inputs.map(({ layer, node }) => keyOf(layer, node)));
  for (const [key, call] of calls) {
    const needs = new Set(call.inputs.map(({ layer, node }) => keyOf(layer, node)).filter((need) => !given.has(need)));
    for (const need of needs) {
      if (!calls.has(need)) fail(`layer ${call.layer} uses ${JSON.stringify(need)}, which is not in the model`);
      const list = users.get(need) ?? [];
      list.push(call);
      users.set(need, list);
    }
    waiting.set(key, needs.size);
    if (needs.size === 0) ready.push(call);
  }
  const order: LayerCall[] = [];
  for (let call = ready.pop(); call !== undefined; call = ready.pop()) {
    order.push(call);
    for (const user of users.get(keyOf(call.layer, call.node)) ?? []) {
      const key = keyOf(user.layer, user.node);
      const left = (waiting.get(key) ?? 0) - 1;
      waiting.set(key, left);
      if (left === 0) ready.push(user);
    }
  }
  if (order.length < calls.size) fail('layers of the model are inputs of each other in a circle');
  return order;
}

/**
 * A model within a model has a call of its own, from when it was made: where the file counts that one, the calls that are in it start at 1.
 */
function renumbered(layers: readonly LayerSpec[], outputs: readonly TensorReference[]): LayerSpec[] {
  const last = new Map<string, number>();
  for (const { layer, node } of [...layers.flatMap(({ calls }) => calls.flatMap(({ inputs }) => inputs)), ...outputs]) {
    last.set(layer, Math.max(node, last.get(layer) ?? 0));
  }
  return layers.map((spec) => {
    const { name, spec: whole, calls } = spec;
    const isModel = whole.object('config').has('layers') || Array.isArray(whole.get('config'));
    if (!isModel || (last.get(name) ?? 0) < calls.length) return spec;
    return { ...spec, calls: calls.map((call) => ({ ...call, node: call.node + 1 })) };
  });
}

/**
 * Reads the configuration of a Sequential, Functional or Model.
 * @throws FormatError when it contradicts itself
 */
export function readGraph(className: string, config: Config | readonly unknown[], path: string): KerasGraph {
  // The first Keras wrote a Sequential as a list of layers.
  const listed = Array.isArray(config) ? config : (config as Config).list('layers', maxLayers);
  if (listed.length > maxLayers) fail(`the model has ${listed.length} layers`, `at most ${maxLayers}`);
  const names = new Set<string>();
  const specs = listed.map((item, i): LayerSpec => {
    const spec = new Config(item, `${path}.layers[${i}]`);
    const inner = spec.object('config');
    const name = spec.string('name', inner.string('name', `layer${i}`));
    if (names.has(name)) fail(`two layers are named ${JSON.stringify(name)}`);
    names.add(name);
    const nodes = spec.has('inbound_nodes') ? spec.list('inbound_nodes', 10_000) : [];
    const calls = nodes.map((node, k): LayerCall => ({ layer: name, node: k, inputs: callInputs(node, `${path}.${name}`) }));
    return { name, className: spec.string('class_name'), config: inner, spec, calls };
  });
  if (className === 'Sequential') return sequential(specs);
  const graph = config as Config;
  const inputs = references(graph.get('input_layers'));
  const outputs = references(graph.get('output_layers'));
  if (inputs.length === 0 || outputs.length === 0) fail('the model has no inputs or outputs');
  const layers = renumbered(
    specs.map((spec): LayerSpec => (spec.className === 'InputLayer' ? { ...spec, calls: [] } : spec)),
    outputs,
  );
  const order = sorted(layers, inputs);
  const known = new Set([...order, ...inputs].map(({ layer, node }) => keyOf(layer, node)));
  for (const { layer, node } of outputs)
    if (!known.has(keyOf(layer, node))) fail(`the output ${JSON.stringify(layer)} is not in the model`);
  return { layers, inputs, outputs, order };
}
