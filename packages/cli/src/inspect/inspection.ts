/** What is in an ONNX model, as data. */
import type { Dimension, ElementType, GraphModel, ModelModel, NodeModel, TensorModel, TypeModel, ValueInfo } from '@trireme/onnx';
import { elementInfo } from '@trireme/onnx';
import { flopsOf, type KnownShape } from './flops.js';

/** A value as a walk through the graph found it. */
export interface WalkedValue {
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Computed from constants and shapes alone. */
  readonly isKnown: boolean;
}
/** By name; empty where the graph could not be walked. */
export type Walk = ReadonlyMap<string, WalkedValue>;

export interface Described {
  readonly name: string;
  /** `float32`, `sequence of int64`. */
  readonly type: string;
  /** Names stand for extents that the model leaves open; null: nothing is known. */
  readonly shape: readonly Dimension[] | null;
}
export interface Inspection {
  readonly graph: string;
  readonly producer: string;
  readonly irVersion: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly Described[];
  readonly outputs: readonly Described[];
  /** Those of subgraphs included. */
  readonly nodes: number;
  /** How often each operator occurs, the most frequent first; other domains than ai.onnx stand in front of the name. */
  readonly operators: Readonly<Record<string, number>>;
  readonly functions: readonly string[];
  readonly parameters: { readonly tensors: number; readonly elements: number; readonly bytes: number };
  /** Two for each multiply-add of products and convolutions; null where shapes are not known. */
  readonly flops: number | null;
  /** The extents that were put in for names. */
  readonly dims: Readonly<Record<string, number>>;
  /** Every edge of the graph with the shape it has for these extents. */
  readonly values: readonly { readonly name: string; readonly type: string; readonly shape: readonly number[] }[];
}

export function typeText(type: TypeModel | null): string {
  if (type === null) return '?';
  switch (type.kind) {
    case 'tensor':
      return type.element ?? '?';
    case 'sparse':
      return `sparse ${type.element ?? '?'}`;
    case 'sequence':
    case 'optional':
      return `${type.kind} of ${typeText(type.of)}`;
    case 'map':
      return `map of ${type.key ?? '?'} to ${typeText(type.value)}`;
    default:
      return type satisfies never;
  }
}

export function shapeOf(type: TypeModel | null): readonly Dimension[] | null {
  switch (type?.kind) {
    case 'tensor':
    case 'sparse':
      return type.shape;
    case 'sequence':
    case 'optional':
      return shapeOf(type.of);
    default:
      return null;
  }
}

export function shapeText(shape: readonly Dimension[] | null): string {
  if (shape === null) return '?';
  return shape.length === 0 ? 'scalar' : shape.map((extent) => extent ?? '?').join('×');
}

export function operatorName({ domain, opType }: NodeModel): string {
  return domain === '' ? opType : `${domain}:${opType}`;
}

/** The graphs inside a node: branches and bodies of loops. */
export function bodiesOf(node: NodeModel): readonly (readonly [name: string, graph: GraphModel])[] {
  return [...node.attributes].flatMap(([name, attribute]): (readonly [string, GraphModel])[] => {
    if (attribute.kind === 'graph') return [[name, attribute.value]];
    return attribute.kind === 'graphs' ? attribute.value.map((graph, i) => [`${name}[${i}]`, graph] as const) : [];
  });
}

function allNodes(graph: GraphModel): NodeModel[] {
  return graph.nodes.flatMap((node) => [node, ...bodiesOf(node).flatMap(([, body]) => allNodes(body))]);
}

export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function bytesOf({ type, dims }: TensorModel): number {
  return Math.ceil((elementsOf(dims) * elementInfo[type].bits) / 8);
}

function describe({ name, type }: ValueInfo): Described {
  return { name, type: typeText(type), shape: shapeOf(type) };
}

/** Inputs that a caller gives: in old models the initializers are listed too. */
export function givenInputs({ inputs, initializers }: GraphModel): readonly ValueInfo[] {
  const constants = new Set(initializers.map(({ name }) => name));
  return inputs.filter(({ name }) => !constants.has(name));
}

/** FLOPs of a node whose shapes the walk found. */
export function nodeFlops(node: NodeModel, shapes: (name: string) => KnownShape): number {
  return flopsOf(node, node.inputs.map(shapes), node.outputs.map(shapes));
}

/** Shapes of values: from the walk, of initializers, and what the model itself says in numbers. */
export function shapeFinder({ graph }: ModelModel, walk: Walk): (name: string) => KnownShape {
  const constants = new Map(graph.initializers.map(({ name, dims }) => [name, dims]));
  const said = new Map([...graph.inputs, ...graph.valueInfo, ...graph.outputs].map(({ name, type }) => [name, shapeOf(type)]));
  return (name) => {
    const found = walk.get(name)?.shape ?? constants.get(name);
    if (found !== undefined) return found;
    const shape = said.get(name);
    return shape?.every((extent) => typeof extent === 'number') ? (shape as readonly number[]) : undefined;
  };
}

export function inspectModel(model: ModelModel, walk: Walk, dims: Readonly<Record<string, number>>): Inspection {
  const { graph, functions } = model;
  const counts = new Map<string, number>();
  const nodes = allNodes(graph);
  for (const node of nodes) counts.set(operatorName(node), (counts.get(operatorName(node)) ?? 0) + 1);
  const shapes = shapeFinder(model, walk);
  const sparse = graph.sparseInitializers.map(({ values }) => values);
  const parameters = [...graph.initializers, ...sparse];
  return {
    graph: graph.name,
    producer: [model.producerName, model.producerVersion].filter((part) => part !== '').join(' '),
    irVersion: model.irVersion,
    opsets: Object.fromEntries([...model.opsetImports].map(([domain, version]) => [domain === '' ? 'ai.onnx' : domain, version])),
    inputs: givenInputs(graph).map(describe),
    outputs: graph.outputs.map(describe),
    nodes: nodes.length,
    operators: Object.fromEntries([...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))),
    functions: functions.map(({ domain, name }) => (domain === '' ? name : `${domain}:${name}`)),
    parameters: {
      tensors: parameters.length,
      elements: parameters.reduce((sum, { dims: shape }) => sum + elementsOf(shape), 0),
      bytes: parameters.reduce((sum, tensor) => sum + bytesOf(tensor), 0),
    },
    flops: walk.size === 0 ? null : graph.nodes.reduce((sum, node) => sum + nodeFlops(node, shapes), 0),
    dims,
    values: [...walk].map(([name, { type, shape }]) => ({ name, type, shape })),
  };
}
