/** Tensors in safetensors files. */
import { dtypeInfo } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { denseStrides, sizeOf } from '../graph/layout.js';
import { contiguous } from '../ops/view.js';
import { defaultDevice } from '../tensor/device.js';
import { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';
import { readFileBounded, writeFileAtomic } from './files.js';
import { decodeSafetensors, type RawTensor, safetensorsChunks } from './safetensors.js';

/** The bytes of a tensor, copied, row-major and little-endian. */
export function rawTensor(t: Tensor): RawTensor {
  const bare = t.detach();
  const dense = contiguous(bare);
  const bytes = sizeOf(dense.shape) * dtypeInfo[dense.dtype].bytes;
  const view = defaultDevice().bytes(dense.storage.address + dense.offset * dtypeInfo[dense.dtype].bytes, bytes);
  const data = new Uint8Array(bytes);
  data.set(view);
  dense.dispose();
  bare.dispose();
  return { dtype: t.dtype, shape: t.shape, data };
}

/** A tensor with a copy of the given bytes. */
export function tensorFromRaw({ dtype, shape, data }: RawTensor): Tensor {
  const storage = Storage.allocate(defaultDevice(), dtype, sizeOf(shape));
  defaultDevice().bytes(storage.address, data.length).set(data);
  return new Tensor(storage, shape, denseStrides(shape), 0);
}

/**
 * Writes tensors by name, for example a module's stateDict(), to a safetensors file: whole or not at all.
 * @param metadata text by name, kept in the file's header.
 * @throws EnvironmentError when the file cannot be written, ArgumentError without tensors.
 */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  if (tensors.size === 0) throw new ArgumentError('there are no tensors', { op: 'saveSafetensors', expected: 'at least one' });
  const raw = new Map([...tensors].map(([name, t]) => [name, rawTensor(t)]));
  await writeFileAtomic(path, safetensorsChunks(raw, metadata));
}

/** Tensors decoded from the bytes of a safetensors file. @throws FormatError when the file is malformed. */
export function tensorsFromSafetensors(bytes: Uint8Array): {
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Map<string, string>;
} {
  const { tensors, metadata } = decodeSafetensors(bytes);
  return { tensors: new Map([...tensors].map(([name, raw]) => [name, tensorFromRaw(raw)])), metadata };
}

/**
 * Reads a safetensors file of at most `maxBytes`.
 * @throws FormatError when it is malformed or larger, EnvironmentError when it cannot be read.
 */
export async function loadSafetensors(
  path: string,
  { maxBytes = 2 ** 31 }: { readonly maxBytes?: number } = {},
): Promise<{ readonly tensors: Map<string, Tensor>; readonly metadata: Map<string, string> }> {
  return tensorsFromSafetensors(await readFileBounded(path, maxBytes));
}
