/** Models recorded again and written as ONNX: for formats that are not ONNX, and for another opset. */
import { type Exportable, exportModel, type ModelModel, type OnnxPort } from '@trireme/onnx';
import type { Tensor } from 'trireme';
import { madeUpValue } from './inputs.js';
import type { Runnable } from './open.js';

/** Axes without a number get names; axes of one name have one extent. */
function dynamicAxes(inputs: readonly OnnxPort[]): Record<string, Record<number, string>> {
  return Object.fromEntries(
    inputs.flatMap(({ name, shape }) => {
      const axes = (shape ?? []).flatMap((extent, axis): [number, string][] =>
        typeof extent === 'number' ? [] : [[axis, extent ?? `${name}_${axis}`]],
      );
      return axes.length === 0 ? [] : [[name, Object.fromEntries(axes)]];
    }),
  );
}

/** A module where there is one output, so that weights keep their names; else a function of all outputs. */
function targetOf({ source }: Runnable): { readonly target: Exportable; readonly outputNames: readonly string[]; dispose(): void } {
  if (source.kind === 'keras') {
    const { model } = source;
    const { outputNames } = model;
    return { target: outputNames.length === 1 ? model : (...x: Tensor[]) => model.outputs(...x), outputNames, dispose: () => undefined };
  }
  const module = source.model.toModule();
  const outputNames = source.model.outputs.map(({ name }) => name);
  const all = (...x: Tensor[]): Tensor[] =>
    module.outputs(...x).map((value) => (value.kind === 'tensor' ? value.tensor : (undefined as never)));
  return { target: outputNames.length === 1 ? module : all, outputNames, dispose: () => module.dispose() };
}

/**
 * The model as ONNX. `dims` are example extents for open axes, which stay open; 2 where nothing is said.
 * @throws UnmappedError for operations that ONNX lacks; TraceError for models whose course depends on data
 */
export function reexported(runnable: Runnable, dims: ReadonlyMap<string, number>, opset: number | undefined): ModelModel {
  const { inputs } = runnable;
  const extents = new Map(
    inputs
      .flatMap(({ shape }) => shape ?? [])
      .flatMap((extent): [string, number][] => (typeof extent === 'number' ? [] : [[extent ?? '?', 2]])),
  );
  for (const [name, extent] of dims) extents.set(name, extent);
  const examples = inputs.map((port) => madeUpValue(port, extents, 1).tensor);
  const { target, outputNames, dispose } = targetOf(runnable);
  try {
    return exportModel(target, examples, {
      inputNames: inputs.map(({ name }) => name),
      outputNames,
      dynamicAxes: dynamicAxes(inputs),
      ...(opset === undefined ? {} : { opset }),
    });
  } finally {
    for (const t of examples) t.dispose();
    dispose();
  }
}
