/** From a model to what is run: every node with its operator and what it uses, checked as a whole before anything runs. */

import { FormatError, isFloat } from 'trireme';
import type { AttributeModel, FunctionModel, GraphModel, ModelModel, NodeModel, TensorModel } from '../model/model.js';
import type { OpFunction } from '../ops/definition.js';
import type { OpRegistry } from '../ops/index.js';
import { NodeAttributes } from './attributes.js';
import { elementInfo } from './element-type.js';
import { OnnxError, type UnsupportedOperator, UnsupportedOperatorError } from './errors.js';
import { sizeOf } from './transfer.js';

/** How deep functions may call each other. */
const maxCalls = 64;

export interface PlannedNode {
  readonly node: NodeModel;
  /** `node 'conv1' (Conv)`, for messages. */
  readonly label: string;
  /** The operator; null for a call of a function. */
  readonly run: OpFunction | null;
  readonly body: GraphPlan | null;
  readonly opset: number;
  readonly attributes: NodeAttributes;
  readonly outputCount: number;
  /** Whether output k has a name. */
  readonly wanted: readonly boolean[];
  /** Names of this graph or of those around it that the node reads, those its subgraphs read included. */
  readonly reads: readonly string[];
  readonly fail: (what: string, expected?: string) => never;
}

export interface GraphPlan {
  readonly name: string;
  readonly nodes: readonly PlannedNode[];
  /** Names of the inputs in their order, initializers among them left out. */
  readonly inputs: readonly string[];
  /** Inputs that may be left out, since an initializer has their name. */
  readonly defaults: ReadonlySet<string>;
  readonly initializers: ReadonlyMap<string, Initializer>;
  readonly outputs: readonly string[];
  /** Names from around the graph. */
  readonly outer: readonly string[];
  /** What can be let go of after node i: names bound in this graph. */
  readonly lastUses: readonly (readonly string[])[];
  readonly subgraphs: ReadonlyMap<GraphModel, GraphPlan>;
}

export type Initializer =
  | { readonly kind: 'dense'; readonly tensor: TensorModel }
  | { readonly kind: 'sparse'; readonly sparse: GraphModel['sparseInitializers'][number] };

interface Surroundings {
  readonly opsets: ReadonlyMap<string, number>;
  /** Names visible from the graphs around. */
  readonly names: ReadonlySet<string>;
  /** Functions whose bodies this is inside of. */
  readonly calls: readonly string[];
  readonly subgraphs: Map<GraphModel, GraphPlan>;
}

function functionKey(domain: string, name: string, overload: string): string {
  return `${domain}:${name}:${overload}`;
}

function labelOf(node: NodeModel): string {
  const type = node.domain === '' ? node.opType : `${node.domain}.${node.opType}`;
  return `node '${node.name || node.outputs.find((name) => name !== '') || ''}' (${type})`;
}

/** The attributes of a function's node with references replaced by those of the calling node; left out where that has none. */
function substituted(
  attributes: ReadonlyMap<string, AttributeModel>,
  given: ReadonlyMap<string, AttributeModel>,
): ReadonlyMap<string, AttributeModel> {
  const out = new Map<string, AttributeModel>();
  for (const [name, attribute] of attributes) {
    if (attribute.kind === 'reference') {
      const found = given.get(attribute.value);
      if (found !== undefined) out.set(name, found);
    } else if (attribute.kind === 'graph') out.set(name, { kind: 'graph', value: substitutedGraph(attribute.value, given) });
    else if (attribute.kind === 'graphs') out.set(name, { kind: 'graphs', value: attribute.value.map((g) => substitutedGraph(g, given)) });
    else out.set(name, attribute);
  }
  return out;
}
function substitutedNodes(nodes: readonly NodeModel[], given: ReadonlyMap<string, AttributeModel>): readonly NodeModel[] {
  return nodes.map((node) => ({ ...node, attributes: substituted(node.attributes, given) }));
}
function substitutedGraph(graph: GraphModel, given: ReadonlyMap<string, AttributeModel>): GraphModel {
  return { ...graph, nodes: substitutedNodes(graph.nodes, given) };
}

function subgraphsOf(node: NodeModel): readonly GraphModel[] {
  return [...node.attributes.values()].flatMap((a) => (a.kind === 'graph' ? [a.value] : a.kind === 'graphs' ? a.value : []));
}

/** Plans the graphs of one model; problems are collected, and reported together. */
export class Planner {
  readonly #registry: OpRegistry;
  readonly #functions: ReadonlyMap<string, FunctionModel>;
  readonly #unsupported = new Map<string, { operator: Omit<UnsupportedOperator, 'nodes'>; nodes: string[] }>();

  constructor(registry: OpRegistry, functions: readonly FunctionModel[]) {
    this.#registry = registry;
    this.#functions = new Map(functions.map((f) => [functionKey(f.domain, f.name, f.overload), f]));
  }

  /**
   * @throws UnsupportedOperatorError with all operators that are missing; FormatError for a cycle, names that nothing makes or that two
   * nodes make; OnnxError for functions that call themselves
   */
  plan(model: ModelModel): GraphPlan {
    const plan = this.#graph(model.graph, { opsets: model.opsetImports, names: new Set(), calls: [], subgraphs: new Map() });
    if (this.#unsupported.size > 0) {
      throw new UnsupportedOperatorError([...this.#unsupported.values()].map(({ operator, nodes }) => ({ ...operator, nodes })));
    }
    return plan;
  }

  #graph(given: GraphModel, around: Surroundings): GraphPlan {
    const graph = withStoredConstants(given);
    const where = `graph '${graph.name}'`;
    const initializers = new Map<string, Initializer>();
    const add = (name: string, initializer: Initializer): void => {
      if (initializers.has(name)) malformed(`${where} has two initializers named '${name}'`, 'every name once');
      initializers.set(name, initializer);
    };
    for (const tensor of graph.initializers) add(tensor.name, { kind: 'dense', tensor });
    for (const sparse of graph.sparseInitializers) add(sparse.values.name, { kind: 'sparse', sparse });

    const bound = new Set<string>();
    for (const { name } of graph.inputs) {
      if (bound.has(name)) malformed(`${where} has two inputs named '${name}'`, 'every name once');
      bound.add(name);
    }
    for (const name of initializers.keys()) bound.add(name);
    const makers = new Map<string, number>();
    graph.nodes.forEach((node, i) => {
      for (const name of node.outputs) {
        if (name === '') continue;
        if (makers.has(name) || bound.has(name)) malformed(`${labelOf(node)} makes '${name}', which is made before`, 'every name once');
        makers.set(name, i);
      }
    });
    const visible = new Set([...around.names, ...bound, ...makers.keys()]);
    const planned = withGradientReads(graph.nodes.map((node) => this.#node(node, { ...around, names: visible })));
    planned.forEach(({ reads, label }) => {
      for (const name of reads) if (!visible.has(name)) malformed(`${label} reads '${name}', which nothing makes`, 'a value made before');
    });
    const outputs = graph.outputs.map((output) => output.name);
    for (const name of outputs) if (!visible.has(name)) malformed(`output '${name}' of ${where} is made by nothing`);
    const nodes = sorted(planned, makers, where);
    const own = (name: string): boolean => bound.has(name) || makers.has(name);
    return {
      name: graph.name,
      nodes,
      inputs: graph.inputs.map((input) => input.name).filter((name) => !initializers.has(name)),
      defaults: new Set(graph.inputs.map((input) => input.name).filter((name) => initializers.has(name))),
      initializers,
      outputs,
      outer: [...new Set([...planned.flatMap((p) => p.reads), ...outputs])].filter((name) => !own(name)),
      lastUses: lastUses(nodes, outputs, own),
      subgraphs: around.subgraphs,
    };
  }

  #node(node: NodeModel, around: Surroundings): PlannedNode {
    const label = labelOf(node);
    const fail = (what: string, expected?: string): never => {
      throw new FormatError(`${label}: ${what}`, { op: 'onnx', expected });
    };
    const inner = subgraphsOf(node).map((graph) => {
      const plan = this.#graph(graph, around);
      around.subgraphs.set(graph, plan);
      return plan;
    });
    const reads = [...new Set([...node.inputs.filter((name) => name !== ''), ...inner.flatMap((plan) => plan.outer)])];
    let outputCount = node.outputs.length;
    while (outputCount > 0 && node.outputs[outputCount - 1] === '') outputCount--;
    const base = {
      node,
      label,
      opset: around.opsets.get(node.domain) ?? 1,
      attributes: new NodeAttributes(node.attributes, fail),
      outputCount,
      wanted: node.outputs.map((name) => name !== ''),
      reads,
      fail,
    };
    const called = this.#functions.get(functionKey(node.domain, node.opType, node.overload));
    if (called !== undefined) return { ...base, run: null, body: this.#body(node, called, around, label) };
    const run = this.#registry.find(node.domain, node.opType, base.opset);
    if (run === undefined) this.#missing(node, base.opset);
    return { ...base, run: run ?? null, body: null };
  }

  #missing({ domain, opType, name, outputs }: NodeModel, opset: number): void {
    const key = `${domain}:${opType}`;
    const entry = this.#unsupported.get(key) ?? { operator: { domain, opType, opset }, nodes: [] };
    entry.nodes.push(name || outputs[0] || '');
    this.#unsupported.set(key, entry);
  }

  /** The body of a function for one call: with the attributes of the calling node in it. */
  #body(node: NodeModel, called: FunctionModel, around: Surroundings, label: string): GraphPlan {
    const key = functionKey(called.domain, called.name, called.overload);
    if (around.calls.includes(key) || around.calls.length >= maxCalls) {
      throw new OnnxError(`${label} calls itself through ${around.calls.join(', ')}`, {
        op: 'onnx',
        expected: 'functions without recursion',
      });
    }
    for (const name of called.attributes) {
      if (!node.attributes.has(name)) malformed(`${label} lacks attribute '${name}' of the function it calls`);
    }
    const given = new Map([...called.attributeDefaults, ...node.attributes]);
    const info = (name: string) => ({ name, type: null });
    const graph: GraphModel = {
      name: called.name,
      nodes: substitutedNodes(called.nodes, given),
      initializers: [],
      sparseInitializers: [],
      inputs: called.inputs.map(info),
      outputs: called.outputs.map(info),
      valueInfo: [],
    };
    return this.#graph(graph, {
      opsets: called.opsetImports,
      names: new Set(),
      calls: [...around.calls, key],
      subgraphs: around.subgraphs,
    });
  }
}

/**
 * Constant nodes that hold floating-point arrays become initializers: some exporters write all weights in this way, and weights are shared by
 * programs and trained by modules. Single numbers stay what they are.
 */
function withStoredConstants(graph: GraphModel): GraphModel {
  const taken = new Set(
    [...graph.inputs, ...graph.initializers, ...graph.sparseInitializers.map(({ values }) => values)].map(({ name }) => name),
  );
  const stored: TensorModel[] = [];
  const nodes = graph.nodes.filter(({ opType, domain, attributes, outputs }) => {
    const value = opType === 'Constant' && domain === '' && outputs.length === 1 ? attributes.get('value') : undefined;
    if (value?.kind !== 'tensor' || !isWeight(value.value) || outputs[0] === '' || taken.has(outputs[0])) return true;
    stored.push({ ...value.value, name: outputs[0] });
    return false;
  });
  return stored.length === 0 ? graph : { ...graph, nodes, initializers: [...graph.initializers, ...stored] };
}
function isWeight({ type, dims }: TensorModel): boolean {
  const { carrier } = elementInfo[type];
  return carrier === type && isFloat(carrier) && sizeOf(dims) > 1;
}

/** Gradient runs again what leads to its `y`, and reads what that reads. */
function withGradientReads(nodes: readonly PlannedNode[]): readonly PlannedNode[] {
  return nodes.map((planned) => {
    if (planned.node.opType !== 'Gradient' || planned.node.domain !== 'ai.onnx.preview.training') return planned;
    const fixed = new Set(planned.node.inputs);
    const wanted = new Set([planned.attributes.string('y')]);
    let before = 0;
    while (wanted.size > before) {
      before = wanted.size;
      for (const { node, reads } of nodes) {
        if (node.outputs.some((name) => wanted.has(name) && !fixed.has(name))) for (const name of reads) wanted.add(name);
      }
    }
    return { ...planned, reads: [...new Set([...planned.reads, ...wanted])] };
  });
}

function malformed(what: string, expected?: string): never {
  throw new FormatError(what, { op: 'onnx', expected, fix: 'Check the model with onnx.checker, or export it again.' });
}

/** In an order in which everything is made before it is read; that of the file where it is one already. */
function sorted(nodes: readonly PlannedNode[], makers: ReadonlyMap<string, number>, where: string): readonly PlannedNode[] {
  const out: PlannedNode[] = [];
  const state = new Uint8Array(nodes.length);
  // Without recursion: graphs are deep.
  for (let root = 0; root < nodes.length; root++) {
    const stack = [root];
    while (stack.length > 0) {
      const at = stack[stack.length - 1];
      if (state[at] === 2) {
        stack.pop();
        continue;
      }
      if (state[at] === 1) {
        state[at] = 2;
        out.push(nodes[at]);
        stack.pop();
        continue;
      }
      state[at] = 1;
      for (const name of nodes[at].reads) {
        const maker = makers.get(name);
        if (maker === undefined || state[maker] === 2) continue;
        if (state[maker] === 1)
          malformed(`${where} has a cycle through ${nodes[maker].label} and ${nodes[at].label}`, 'a graph without cycles');
        stack.push(maker);
      }
    }
  }
  return out;
}

function lastUses(nodes: readonly PlannedNode[], outputs: readonly string[], own: (name: string) => boolean): string[][] {
  const after: string[][] = nodes.map(() => []);
  const seen = new Set(outputs);
  for (let i = nodes.length - 1; i >= 0; i--) {
    for (const name of [...nodes[i].reads, ...nodes[i].node.outputs]) {
      if (name === '' || seen.has(name) || !own(name)) continue;
      seen.add(name);
      after[i].push(name);
    }
  }
  return after;
}
