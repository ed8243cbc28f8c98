/** Files of weights: reading them as values, and writing tensors in another format. */
import { extname } from 'node:path';
import { decodeTensor, encodeTensor, TensorValue } from '@trireme/onnx';
import { isFloat } from 'trireme';
import { openWeights, type RawTensor, safetensorsChunks, type WeightsFile, writeFileAtomic, writeNpz } from 'trireme/io';
import { ConfigError, reasonOf } from '../errors.js';
import { npyOf } from './arrays.js';

/** @throws ConfigError when the file cannot be read */
export async function tensorsOfFile(file: string): Promise<WeightsFile> {
  try {
    return await openWeights(file);
  } catch (error) {
    throw new ConfigError({ file, message: reasonOf(error) }, error);
  }
}

/** The elements on the host. */
export function hostOf({ dtype, shape, data }: RawTensor): TensorValue {
  return TensorValue.ofHost(decodeTensor({ name: '', type: dtype, dims: shape, content: { kind: 'raw', bytes: data } }), dtype, shape);
}

/** Floating tensors as float16, others as they are. */
export function halved(raw: RawTensor): RawTensor {
  if (!isFloat(raw.dtype) || raw.dtype === 'float16') return raw;
  const { content } = encodeTensor(Float32Array.from(hostOf(raw).host as ArrayLike<number>), 'float16', raw.shape);
  return content.kind === 'raw' ? { dtype: 'float16', shape: raw.shape, data: content.bytes } : raw;
}

export const writtenWeights = ['.safetensors', '.npz'];

/** Writes tensors in the format of the name's ending. */
export async function writeWeights(
  target: string,
  tensors: ReadonlyMap<string, RawTensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  if (extname(target) === '.safetensors') return writeFileAtomic(target, safetensorsChunks(tensors, metadata));
  await writeNpz(
    target,
    [...tensors].map(([name, raw]) => [name, npyOf(hostOf(raw))] as const),
  );
}
