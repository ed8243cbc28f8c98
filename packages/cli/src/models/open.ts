/** Models of any format that can be run, in one shape. */
import { basename, extname } from 'node:path';
import { type Dimension, OnnxModel, type OnnxPort, type OnnxValue, TensorValue } from '@trireme/onnx';
import type { KerasModel } from '@trireme/onnx/tfjs';
import { noGrad, type Tensor } from 'trireme';
import { readFileBounded } from 'trireme/io';
import { ConfigError, reasonOf } from '../errors.js';

/** model.json holds no weights. */
const maxDocument = 2 ** 28;

/** What a path holds: a graph that runs, or weights alone. */
export type ModelKind = 'onnx' | 'tfjs' | 'keras' | 'weights';

export interface Runnable {
  readonly file: string;
  readonly inputs: readonly OnnxPort[];
  /** The tensors among the outputs; sequences become name[0], name[1] ... */
  run(inputs: ReadonlyMap<string, OnnxValue>, signal?: AbortSignal): Promise<Map<string, TensorValue>>;
  /** The model behind it. */
  readonly source: { readonly kind: 'onnx'; readonly model: OnnxModel } | { readonly kind: 'keras'; readonly model: KerasModel };
  dispose(): void;
}

/** By the ending of the name. Folders are of weights. */
export function kindOf(path: string): ModelKind {
  const name = basename(path).toLowerCase();
  if (name.endsWith('.index.json')) return 'weights';
  switch (extname(name)) {
    case '.onnx':
      return 'onnx';
    case '.json':
      return 'tfjs';
    case '.keras':
    case '.h5':
      return 'keras';
    default:
      return 'weights';
  }
}

/** The tensors among values, in order. */
function tensorsAmong(values: Iterable<readonly [string, OnnxValue]>): Map<string, TensorValue> {
  const found = new Map<string, TensorValue>();
  const add = (name: string, value: OnnxValue | null): void => {
    if (value === null) return;
    switch (value.kind) {
      case 'tensor':
        found.set(name, value);
        return;
      case 'sequence':
        value.items.forEach((item, i) => {
          add(`${name}[${i}]`, item);
        });
        return;
      case 'optional':
        add(name, value.value);
        return;
      case 'map': {
        const keys = [...value.entries.keys()];
        const isText = keys.some((key) => typeof key === 'string');
        const host = isText ? keys.map(String) : BigInt64Array.from(keys, BigInt);
        found.set(`${name}.keys`, TensorValue.ofHost(host, isText ? 'string' : 'int64', [keys.length]));
        found.set(`${name}.values`, TensorValue.ofHost(Float32Array.from(value.entries.values()), 'float32', [keys.length]));
        return;
      }
      default:
        value satisfies never;
    }
  };
  for (const [name, value] of values) add(name, value);
  return found;
}

/** Content on the host alone: what is on the device can go. */
function kept({ host, type, shape }: TensorValue): TensorValue {
  return TensorValue.ofHost(host, type, shape);
}

function onnxRunnable(file: string, model: OnnxModel): Runnable {
  return {
    file,
    inputs: model.inputs,
    source: { kind: 'onnx', model },
    async run(inputs, signal) {
      const results = await model.run(Object.fromEntries(inputs), { signal });
      const values = new Map([...tensorsAmong(results)].map(([name, value]) => [name, kept(value)]));
      results.dispose();
      return values;
    },
    dispose: () => model.dispose(),
  };
}

/** Ports in the form of ONNX: the batch and other open sizes get a name. */
function kerasPorts({ inputs }: KerasModel): OnnxPort[] {
  return inputs.map(({ name, shape }) => ({
    name,
    type: 'float32',
    kind: 'tensor',
    optional: false,
    shape: shape === undefined ? null : shape.map((extent, i): Dimension => extent ?? (i === 0 ? 'batch' : `${name}_${i}`)),
  }));
}

function kerasRunnable(file: string, model: KerasModel): Runnable {
  const inputs = kerasPorts(model);
  return {
    file,
    inputs,
    source: { kind: 'keras', model },
    async run(given) {
      const args = inputs.map(({ name }): Tensor => {
        const value = given.get(name);
        if (value?.kind !== 'tensor') throw new ConfigError({ file, message: `input ${name} is no tensor.` });
        return value.tensor;
      });
      const outputs = noGrad(() => model.outputs(...args));
      const values = new Map(outputs.map((t, i) => [model.outputNames[i], kept(TensorValue.ofTensor(t, t.dtype))] as const));
      for (const t of outputs) t.dispose();
      return values;
    },
    dispose: () => model.dispose(),
  };
}

/** Whether model.json has the nodes of TensorFlow, and not the layers of Keras. */
async function isGraphModel(file: string): Promise<boolean> {
  const document = JSON.parse(new TextDecoder().decode(await readFileBounded(file, maxDocument))) as {
    readonly format?: unknown;
    readonly modelTopology?: { readonly node?: unknown };
  } | null;
  return document?.format === 'graph-model' || document?.modelTopology?.node !== undefined;
}

/** @throws ConfigError when the file is no model that can be run */
export async function openRunnable(file: string): Promise<Runnable> {
  const kind = kindOf(file);
  try {
    switch (kind) {
      case 'onnx':
        return onnxRunnable(file, await OnnxModel.load(file));
      case 'tfjs': {
        const { loadGraphModel, loadLayersModel } = await import('@trireme/onnx/tfjs');
        return (await isGraphModel(file))
          ? onnxRunnable(file, await loadGraphModel(file))
          : kerasRunnable(file, await loadLayersModel(file));
      }
      case 'keras': {
        const { loadKeras } = await import('@trireme/onnx/keras');
        return kerasRunnable(file, await loadKeras(file));
      }
      case 'weights':
        throw new ConfigError({
          file,
          message: 'weights alone cannot be run.',
          fix: 'Models are .onnx files, model.json of TensorFlow.js, and .keras and .h5 files.',
        });
      default:
        return kind satisfies never;
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError({ file, message: reasonOf(error) }, error);
  }
}
