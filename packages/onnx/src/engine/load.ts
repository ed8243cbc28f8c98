/** Models from files: the bounds on them, and the data they keep in other files. */
import { EnvironmentError, FormatError } from 'trireme';
import { type ByteSource, openRandomAccess, type RandomAccess, readAll } from 'trireme/io';
import type { AttributeModel, ExternalData, GraphModel, ModelModel, NodeModel, SparseTensorModel, TensorModel } from '../model/model.js';
import { decodeModel } from '../model/protobuf.js';
import { rawBytes, sizeOf } from './transfer.js';

/** Protocol buffers end at 2 GB. */
const maxModelBytes = 2 ** 31 - 1;

export interface LoadOptions {
  /** Data that the model keeps in other files, by their location in the model: for models that are not loaded from a path. */
  readonly externalData?: ReadonlyMap<string, ByteSource>;
  /** Largest model file in bytes. Default 2 GB. */
  readonly maxBytes?: number;
}

type Opener = (location: string) => Promise<RandomAccess>;

/** Loads a model and all it keeps in other files. */
export async function loadModel(source: ByteSource, options: LoadOptions = {}): Promise<ModelModel> {
  const bytes = await readAll(source, options.maxBytes ?? maxModelBytes);
  const model = decodeModel(bytes);
  if (!hasExternal(model)) return model;
  const opened = new Map<string, RandomAccess>();
  const open = opener(source, options);
  try {
    return await withExternal(model, async (external, tensor) => {
      let file = opened.get(external.location);
      if (file === undefined) {
        file = await open(external.location);
        opened.set(external.location, file);
      }
      const wanted = rawBytes(tensor.type, sizeOf(tensor.dims));
      const length = external.length ?? wanted;
      if (length !== wanted || tensor.type === 'string') {
        throw new FormatError(`tensor '${tensor.name}' takes ${wanted} bytes and has ${length} of external data`, { op: 'onnx' });
      }
      return file.read(external.offset, external.offset + length);
    });
  } finally {
    for (const file of opened.values()) await file.close();
  }
}

function opener(source: ByteSource, { externalData }: LoadOptions): Opener {
  return async (location) => {
    const given = externalData?.get(location);
    if (given !== undefined) return openRandomAccess(given);
    if (typeof source !== 'string' && !(source instanceof URL)) {
      throw new EnvironmentError(`the model keeps data in '${location}', and was not loaded from a path`, {
        op: 'onnx',
        fix: 'Load it from its path, or give the data with `externalData`.',
      });
    }
    return openRandomAccess(await pathWithin(typeof source === 'string' ? source : decodeURIComponent(source.pathname), location));
  };
}

/** The path of a file in the model's folder; a model must not name others. */
async function pathWithin(model: string, location: string): Promise<string> {
  // In variables, so that no bundler follows them into a browser's bundle.
  const [fsName, pathName]: string[] = ['node:fs/promises', 'node:path'];
  const fs = (await import(/* @vite-ignore */ /* webpackIgnore: true */ fsName)) as typeof import('node:fs/promises');
  const path = (await import(/* @vite-ignore */ /* webpackIgnore: true */ pathName)) as typeof import('node:path');
  const refuse = (why: string): never => {
    throw new FormatError(`external data at '${location}' ${why}`, {
      op: 'onnx',
      received: location,
      expected: "a path within the model's folder",
      fix: 'Do not trust this file; or put the data beside the model.',
    });
  };
  const parts = location.split(/[\\/]/);
  if (location.includes('\0') || path.isAbsolute(location) || /^[A-Za-z]:/.test(location) || parts[0] === '') refuse('is absolute');
  if (parts.includes('..')) refuse('leaves the folder');
  const folder = await fs.realpath(path.dirname(path.resolve(model)));
  const named = path.join(folder, ...parts);
  let real: string;
  try {
    real = await fs.realpath(named);
  } catch (cause) {
    throw new EnvironmentError(`the external data at '${location}' cannot be opened`, { op: 'onnx', received: named, cause });
  }
  if (!real.startsWith(folder.endsWith(path.sep) ? folder : folder + path.sep)) refuse('is a link out of the folder');
  return real;
}

/* ---- walking all tensors of a model ---- */

function* tensorsOf(graph: GraphModel): Generator<TensorModel> {
  yield* graph.initializers;
  for (const { values, indices } of graph.sparseInitializers) yield* [values, indices];
  yield* tensorsOfNodes(graph.nodes);
}
function* tensorsOfNodes(nodes: readonly NodeModel[]): Generator<TensorModel> {
  for (const node of nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === 'tensor') yield attribute.value;
      else if (attribute.kind === 'tensors') yield* attribute.value;
      else if (attribute.kind === 'graph') yield* tensorsOf(attribute.value);
      else if (attribute.kind === 'graphs') for (const graph of attribute.value) yield* tensorsOf(graph);
      else if (attribute.kind === 'sparse') yield* [attribute.value.values, attribute.value.indices];
    }
  }
}

function hasExternal(model: ModelModel): boolean {
  for (const tensor of tensorsOf(model.graph)) if (tensor.content.kind === 'external') return true;
  for (const { nodes } of model.functions) for (const tensor of tensorsOfNodes(nodes)) if (tensor.content.kind === 'external') return true;
  return false;
}

type Read = (external: ExternalData, tensor: TensorModel) => Promise<Uint8Array>;

async function inOrder<T, R>(items: readonly T[], map: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (const item of items) out.push(await map(item));
  return out;
}

/** The model with the bytes of external tensors in it. */
async function withExternal(model: ModelModel, read: Read): Promise<ModelModel> {
  const tensor = async (t: TensorModel): Promise<TensorModel> =>
    t.content.kind === 'external' ? { ...t, content: { kind: 'raw', bytes: await read(t.content.external, t) } } : t;
  const sparse = async (s: SparseTensorModel): Promise<SparseTensorModel> => ({
    values: await tensor(s.values),
    indices: await tensor(s.indices),
    dims: s.dims,
  });
  const attribute = async (a: AttributeModel): Promise<AttributeModel> => {
    switch (a.kind) {
      case 'tensor':
        return { kind: 'tensor', value: await tensor(a.value) };
      case 'tensors':
        return { kind: 'tensors', value: await inOrder(a.value, tensor) };
      case 'sparse':
        return { kind: 'sparse', value: await sparse(a.value) };
      case 'graph':
        return { kind: 'graph', value: await graph(a.value) };
      case 'graphs':
        return { kind: 'graphs', value: await inOrder(a.value, graph) };
      default:
        return a;
    }
  };
  const node = async (n: NodeModel): Promise<NodeModel> => ({
    ...n,
    attributes: new Map(
      await inOrder([...n.attributes], async ([name, a]): Promise<[string, AttributeModel]> => [name, await attribute(a)]),
    ),
  });
  const graph = async (g: GraphModel): Promise<GraphModel> => ({
    ...g,
    nodes: await inOrder(g.nodes, node),
    initializers: await inOrder(g.initializers, tensor),
    sparseInitializers: await inOrder(g.sparseInitializers, sparse),
  });
  return {
    ...model,
    graph: await graph(model.graph),
    functions: await inOrder(model.functions, async (f) => ({ ...f, nodes: await inOrder(f.nodes, node) })),
  };
}
