/** Models as files: in one, or with the weights in a second one beside it. */
import { ArgumentError } from 'trireme';
import { writeFileAtomic } from 'trireme/io';
import { encodeModel, encodeModelChunks } from '../model/encode.js';
import type { ModelModel, TensorModel } from '../model/model.js';
import { decodeModel } from '../model/protobuf.js';
import { type ExportOptions, exportModel } from './export.js';
import type { Exportable } from './record.js';

export interface SaveOptions {
  /**
   * `embedded`: everything in one file, which can have 2 GB at most. `external`: large weights in `<file>.data` beside it.
   * Default `auto`: external where it has to be.
   */
  readonly weights?: 'auto' | 'embedded' | 'external';
}

/** Protocol buffers end there. */
const largestMessage = 2 ** 31 - 1;
/** Tensors of fewer bytes stay in the model's file. */
const smallestExternal = 1024;
/** Where tensors begin in the data file, so that it can be mapped into memory: large ones at pages. */
const [page, line] = [4096, 64];
const largeTensor = 64 * 1024;

/** The model with its large tensors in another file, and the content of that file. */
function externalized(model: ModelModel, location: string): { readonly model: ModelModel; readonly data: readonly Uint8Array[] } {
  const data: Uint8Array[] = [];
  let offset = 0;
  const initializers = model.graph.initializers.map((tensor): TensorModel => {
    const { content } = tensor;
    if (content.kind !== 'raw' || content.bytes.length < smallestExternal) return tensor;
    const unit = content.bytes.length >= largeTensor ? page : line;
    const start = Math.ceil(offset / unit) * unit;
    if (start > offset) data.push(new Uint8Array(start - offset));
    data.push(content.bytes);
    offset = start + content.bytes.length;
    return { ...tensor, content: { kind: 'external', external: { location, offset: start, length: content.bytes.length } } };
  });
  return { model: { ...model, graph: { ...model.graph, initializers } }, data };
}

const total = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

/**
 * Writes a model; a reader sees the old file or the new one, never a part. `model` is one in memory, or the bytes of one.
 * @throws ArgumentError when it does not fit into one file and must, EnvironmentError when the file system refuses
 */
export async function saveModel(path: string, model: ModelModel | Uint8Array, { weights = 'auto' }: SaveOptions = {}): Promise<void> {
  const source = model instanceof Uint8Array ? decodeModel(model) : model;
  if (weights !== 'external') {
    const chunks = encodeModelChunks(source);
    if (total(chunks) <= largestMessage) return writeFileAtomic(path, chunks);
    if (weights === 'embedded') {
      throw new ArgumentError(`the model has ${total(chunks)} bytes`, {
        op: 'saveModel',
        received: total(chunks),
        expected: `at most ${largestMessage} bytes in one file`,
        fix: "Pass { weights: 'external' }.",
      });
    }
  }
  const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
  const split = externalized(source, `${name}.data`);
  // The data first: a model in place finds its weights.
  if (split.data.length > 0) await writeFileAtomic(`${path}.data`, split.data);
  await writeFileAtomic(path, encodeModelChunks(split.model));
}

/**
 * A module in evaluation mode, or a function of tensors, as the bytes of an ONNX file. Example inputs give shapes and dtypes;
 * nothing is run.
 * @throws UnmappedError for operations that ONNX does not have, with the modules they are in; ArgumentError
 */
export function exportOnnx(target: Exportable, exampleInputs: readonly unknown[], options: ExportOptions = {}): Uint8Array {
  return encodeModel(exportModel(target, exampleInputs, options));
}

/**
 * {@link exportOnnx} to a file.
 * @throws what exportOnnx throws, and EnvironmentError when the file system refuses
 */
export async function saveOnnx(
  path: string,
  target: Exportable,
  exampleInputs: readonly unknown[],
  options: ExportOptions & SaveOptions = {},
): Promise<void> {
  await saveModel(path, exportModel(target, exampleInputs, options), options);
}
