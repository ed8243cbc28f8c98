/** Models and functions as ONNX models. */
import { ArgumentError, scope } from 'trireme';
import type { TensorType } from 'trireme/graph';
import type { ModelModel } from '../model/model.js';
import { type DynamicExtent, Generalizer, type Sized, sizesFor } from './dynamic.js';
import { Emitter, UnmappedError } from './emitter.js';
import { graphModel } from './finish.js';
import { OutGraph } from './graph.js';
import { lower } from './lower.js';
import { type Exportable, type RecordedInput, type Recording, type Source, sourceOf } from './record.js';

export interface ExportOptions {
  /** Version of the operators, 13 to 23. Default 21. */
  readonly opset?: number;
  /** Axis 0 of every input is a batch of any size. Default false. */
  readonly dynamicBatch?: boolean;
  /**
   * Axes of any extent, by input: `{ input: { 0: 'batch', 1: 'steps' } }`, or a list of axes. Axes of one name have one extent. The
   * extents of the example inputs need not be typical, but the model must run at neighbouring ones.
   */
  readonly dynamicAxes?: Readonly<Record<string, Readonly<Record<number, string>> | readonly number[]>>;
  /** Default: `input`, or `input0` … for several; keys of objects are kept. */
  readonly inputNames?: readonly string[];
  /** Default: `output`, or `output0` … for several; keys of objects are kept. */
  readonly outputNames?: readonly string[];
  /** Free key-value pairs to store in the model. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly docString?: string;
}

const firstOpset = 13;
const lastOpset = 23;
const defaultOpset = 21;
/** The version of the file format that came with an opset. */
const irVersions: Readonly<Record<number, number>> = { 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11 };
/** More names would take more than 33 recordings. */
const mostExtents = 5;

/** One recording as a graph; `unmapped` errors name everything at once. */
function graphOf(source: Source, types: readonly TensorType[], opset: number): OutGraph {
  const recording = source.record(types);
  try {
    return writeGraph(source, recording, types, opset);
  } finally {
    recording.dispose();
  }
}

function writeGraph(source: Source, { program, captured, outputNames }: Recording, types: readonly TensorType[], opset: number): OutGraph {
  const graph = new OutGraph(source.name);
  const em = new Emitter(graph, opset, program, captured, source.root);
  types.forEach((type, k) => {
    em.define(program.inputs[k], graph.input(source.inputs[k].name, type.dtype, type.shape));
  });
  const names = outputNames.map((name) => graph.names.fresh(name));
  lower(em, program);
  if (em.unmapped.length > 0) throw new UnmappedError(em.unmapped);
  program.outputs.forEach((operand, k) => {
    const made = em.read(operand);
    const own = graph.nodes.some((node) => node.outputs.includes(made.name)) && !graph.outputs.some((out) => out.name === made.name);
    const value = own ? made : em.op('Identity', [made.name], made.dtype, made.shape);
    graph.outputs.push(value);
    graph.rename(value.name, names[k]);
  });
  return graph;
}

/** The extents that may change, and the axes that have them. */
interface Extent extends DynamicExtent {
  readonly size: number;
  readonly isBatch: boolean;
  readonly places: readonly { readonly input: number; readonly axis: number }[];
}

function extentsOf(inputs: readonly RecordedInput[], { dynamicBatch = false, dynamicAxes = {} }: ExportOptions): Extent[] {
  const found = new Map<string, { input: number; axis: number }[]>();
  const note = (name: string, input: number, axis: number): void => {
    const places = found.get(name) ?? [];
    if (!places.some((p) => p.input === input && p.axis === axis)) found.set(name, [...places, { input, axis }]);
  };
  for (const [name, axes] of Object.entries(dynamicAxes)) {
    const input = inputs.findIndex((i) => i.name === name);
    const listed = Array.isArray(axes)
      ? (axes as readonly number[]).map((a) => [a, `${name}_${a}`] as const)
      : Object.entries(axes as Record<number, string>);
    for (const [axis, label] of listed) {
      const rank = inputs[input]?.type.shape.length ?? 0;
      const at = Number(axis) < 0 ? Number(axis) + rank : Number(axis);
      if (!(at >= 0 && at < rank)) {
        throw new ArgumentError(`dynamicAxes names axis ${axis} of ${name}`, {
          op: 'exportOnnx',
          received: dynamicAxes,
          expected: `axes of the inputs ${inputs.map((i) => `${i.name} [${i.type.shape.join(', ')}]`).join(', ')}`,
        });
      }
      note(label, input, at);
    }
  }
  const named = new Set([...found.values()].flat().map(({ input, axis }) => `${input}:${axis}`));
  if (dynamicBatch) inputs.forEach(({ type }, k) => type.shape.length > 0 && !named.has(`${k}:0`) && note('batch', k, 0));
  return [...found].map(([name, places]) => {
    const sizes = new Set(places.map(({ input, axis }) => inputs[input].type.shape[axis]));
    if (sizes.size > 1) {
      throw new ArgumentError(`'${name}' is ${[...sizes].join(' and ')} in the example inputs`, {
        op: 'exportOnnx',
        received: [...sizes],
        expected: 'one extent for all axes of one name',
        fix: 'Give the axes names of their own in dynamicAxes.',
      });
    }
    const [first] = places;
    return {
      name,
      places,
      size: [...sizes][0],
      isBatch: places.every((p) => p.axis === 0),
      input: inputs[first.input].name,
      axis: first.axis,
    };
  });
}

/** Every extent in a recording but those that may change. */
function fixedExtents(source: Source, extents: readonly Extent[]): Set<number> {
  const types = source.inputs.map((i) => i.type);
  const { program, dispose } = source.record(types);
  dispose();
  const moving = new Set(extents.map((e) => e.size));
  const all = new Set<number>();
  for (const value of [...program.inputs, ...program.nodes.flatMap((node) => node.outputs)])
    for (const extent of value.shape) if (!moving.has(extent)) all.add(extent);
  return all;
}

function resized(source: Source, extents: readonly Extent[], sizes: readonly number[]): TensorType[] {
  return source.inputs.map(({ type }, k) => ({
    dtype: type.dtype,
    shape: type.shape.map((extent, axis) => {
      const i = extents.findIndex((e) => e.places.some((p) => p.input === k && p.axis === axis));
      return i < 0 ? extent : sizes[i];
    }),
  }));
}

/** Recordings at all combinations of two sizes, and one at a third. */
function generalized(source: Source, extents: readonly Extent[], opset: number): Generalizer {
  if (extents.length > mostExtents) {
    throw new ArgumentError(`${extents.length} dynamic axes`, {
      op: 'exportOnnx',
      received: extents.map((e) => e.name),
      expected: `at most ${mostExtents} names`,
    });
  }
  const used = fixedExtents(source, extents);
  const taken = new Set<number>();
  const sizes = extents.map(({ size, isBatch }) => {
    const three = sizesFor(size, isBatch, used, taken);
    for (const s of three) taken.add(s);
    return three;
  });
  const at = (chosen: readonly number[]): Sized => {
    try {
      return { sizes: chosen, graph: graphOf(source, resized(source, extents, chosen), opset) };
    } catch (cause) {
      if (!(cause instanceof Error) || cause instanceof UnmappedError) throw cause;
      throw new ArgumentError(
        `the model cannot be recorded at ${extents.map((e, i) => `${e.name} = ${chosen[i]}`).join(', ')}: ${cause.message}`,
        {
          op: 'exportOnnx',
          received: chosen,
          expected: 'a model that runs at any extent of its dynamic axes',
          fix: 'Leave the axis out of dynamicAxes (dynamicBatch), or give an example of a larger extent.',
          cause,
        },
      );
    }
  };
  const corners = Array.from({ length: 2 ** extents.length }, (_, corner) => at(sizes.map((s, i) => s[(corner >> i) & 1])));
  return new Generalizer(extents, corners, at(sizes.map((s) => s[2])));
}

/**
 * A module in evaluation mode, or a function of tensors, as an ONNX model in memory.
 * @throws UnmappedError for operations that ONNX does not have, with the modules they are in; ArgumentError
 */
export function exportModel(target: Exportable, exampleInputs: readonly unknown[], options: ExportOptions = {}): ModelModel {
  return scope(() => exported(target, exampleInputs, options));
}

function exported(target: Exportable, exampleInputs: readonly unknown[], options: ExportOptions): ModelModel {
  const { opset = defaultOpset, metadata = {}, docString = '' } = options;
  if (!Number.isInteger(opset) || opset < firstOpset || opset > lastOpset) {
    throw new ArgumentError(`opset ${opset}`, {
      op: 'exportOnnx',
      received: opset,
      expected: `a whole number from ${firstOpset} to ${lastOpset}`,
    });
  }
  const source = sourceOf(target, exampleInputs, options);
  const extents = extentsOf(source.inputs, options);
  const graph = (() => {
    if (extents.length === 0)
      return graphModel(
        graphOf(
          source,
          source.inputs.map((i) => i.type),
          opset,
        ),
      );
    const generalizer = generalized(source, extents, opset);
    return graphModel(generalizer.run(), (kind, k) => generalizer.dimensionsOf(kind, k));
  })();
  return {
    irVersion: irVersions[opset],
    producerName: 'trireme',
    producerVersion: '0.1.0',
    domain: '',
    modelVersion: 0n,
    docString,
    opsetImports: new Map([['', opset]]),
    graph,
    functions: [],
    trainingInfo: [],
    metadata: new Map(Object.entries(metadata)),
  };
}
