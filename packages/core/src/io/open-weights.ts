/** One door to every format of weights: the content tells which it is. */
import { EnvironmentError, FormatError } from '../errors.js';
import { sizeOf } from '../graph/layout.js';
import type { Tensor } from '../tensor/tensor.js';
import { openGguf } from './gguf.js';
import { nodeModule } from './node.js';
import { maxNpyHeader, type NpyDType, npyBytes, npyInfo } from './npy.js';
import { openPyTorch, type PyTorchOptions } from './pytorch.js';
import { type ByteSource, openRandomAccess, readAll } from './random-access.js';
import { openSafetensors, openShards } from './safetensors-file.js';
import { fromStored, type StoredType, storedTypes } from './stored.js';
import { tensorFromRaw } from './weights.js';
import { checkLimit, entryNamed, type WeightEntry, type WeightsFile } from './weights-file.js';
import { openZip } from './zip.js';

const op = 'openWeights';

/** An array of numpy that is read when asked for. */
function npyEntry(name: string, start: Uint8Array, readStored: () => Promise<Uint8Array>): WeightEntry {
  const { dtype, shape } = npyInfo(start);
  return {
    name,
    shape,
    storedAs: dtype,
    readStored: async () => npyBytes(await readStored()).data,
    read: async () => {
      const { dtype: found, shape: foundShape, data } = npyBytes(await readStored());
      return fromStored(storedTypeOf(name, found), foundShape, data, 'npy');
    },
  };
}

function storedTypeOf(name: string, dtype: NpyDType): StoredType {
  if (Object.hasOwn(storedTypes, dtype)) return dtype as StoredType;
  throw new FormatError(`array ${JSON.stringify(name)} is of ${dtype}`, {
    op: 'npy',
    received: dtype,
    expected: Object.keys(storedTypes).join(', '),
    fix: 'Read it with readNpz, as numbers in pairs.',
  });
}

const noMetadata: ReadonlyMap<string, never> = new Map<string, never>();

async function openNpy(from: ByteSource): Promise<WeightsFile> {
  const source = await openRandomAccess(from);
  const close = async (): Promise<void> => {
    if (source !== from) await source.close();
  };
  try {
    const start = await source.read(0, Math.min(maxNpyHeader, source.byteLength));
    const entry = npyEntry('array', start, () => readAll(source, 2 ** 31 - 1));
    return { format: 'npy', entries: new Map([['array', entry]]), metadata: noMetadata, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function openNpz(from: ByteSource): Promise<WeightsFile> {
  const archive = await openZip(from);
  try {
    const entries = new Map<string, WeightEntry>();
    for (const [file, entry] of archive.entries) {
      if (!file.endsWith('.npy'))
        throw new FormatError(`the archive has a file ${JSON.stringify(file)}`, { op, expected: 'arrays (.npy)' });
      const name = file.slice(0, -'.npy'.length);
      const inside = await entry.open();
      entries.set(
        name,
        npyEntry(name, await inside.read(0, Math.min(maxNpyHeader, inside.byteLength)), () => entry.read()),
      );
    }
    return { format: 'npz', entries, metadata: noMetadata, close: () => archive.close() };
  } catch (cause) {
    await archive.close();
    throw cause;
  }
}

async function isPyTorchArchive(from: ByteSource): Promise<boolean> {
  const archive = await openZip(from, { maxEntryBytes: Number.MAX_SAFE_INTEGER, maxTotalBytes: Number.MAX_SAFE_INTEGER });
  try {
    return [...archive.entries.keys()].some((name) => /^(?:[^/]*\/)?data\.pkl$/.test(name));
  } finally {
    await archive.close();
  }
}

/** File names of weights in a folder, the preferred one first. */
const folderNames = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
  'diffusion_pytorch_model.safetensors',
  'adapter_model.safetensors',
];

async function inFolder(path: string): Promise<string> {
  const { join } = await nodeModule('node:path', op);
  const fs = await nodeModule('node:fs/promises', op);
  const status = await fs.stat(path).catch(() => null);
  if (!status?.isDirectory()) return path;
  const files = await fs.readdir(path);
  const name = folderNames.find((known) => files.includes(known));
  const others = files.filter((file) => /\.(safetensors|gguf)$/.test(file));
  const only = name ?? (others.length === 1 ? others[0] : undefined);
  if (only === undefined) {
    throw new EnvironmentError(`${path} has ${others.length === 0 ? 'no file of weights' : `several: ${others.slice(0, 6).join(', ')}`}`, {
      op,
      received: path,
      expected: folderNames.slice(0, 4).join(', '),
      fix: 'Give the path of the file.',
    });
  }
  return join(path, only);
}

/**
 * Opens a file of weights, whichever format it has: safetensors, an index of shards, PyTorch (.pt, .pth, .bin), .npz, .npy or GGUF. The
 * content decides, not the name. In a folder the usual names are looked for. Tensors are read when they are asked for. Close it after use.
 * @throws FormatError when it is damaged or of no known format, EnvironmentError when it cannot be read.
 */
export async function openWeights(from: ByteSource, options: PyTorchOptions = {}): Promise<WeightsFile> {
  const place = typeof from === 'string' ? await inFolder(from) : from;
  const source = await openRandomAccess(place);
  let start: Uint8Array;
  try {
    start = (await source.read(0, Math.min(9, source.byteLength))).slice();
  } finally {
    if (source !== place) await source.close();
  }
  const text = String.fromCharCode(...start);
  if (text.startsWith('PK')) return (await isPyTorchArchive(place)) ? openPyTorch(place, options) : openNpz(place);
  if (text.startsWith('GGUF')) return openGguf(place);
  if (text.startsWith('\x93NUMPY')) return openNpy(place);
  if (text[8] === '{') return openSafetensors(place);
  if (text.startsWith('{') && typeof place === 'string') return openShards(place, (path) => openWeights(path, options));
  if (start[0] === 0x80) return openPyTorch(place, options);
  throw new FormatError(`${source.name} starts with ${JSON.stringify(text)}`, {
    op,
    expected: 'safetensors, an index of shards, a file of PyTorch or numpy, or GGUF',
    fix: text.startsWith('vers')
      ? 'It is a pointer of Git LFS: fetch the file itself (git lfs pull).'
      : 'Check that the download is complete and that it is a file of weights.',
  });
}

export interface LoadWeightsOptions extends PyTorchOptions {
  /** The tensors to read; all unless told otherwise. */
  readonly names?: readonly string[] | ((name: string) => boolean);
  /** Most bytes of all tensors together; 4 GB unless told otherwise. */
  readonly maxBytes?: number;
}

/**
 * Tensors by name from a file of weights of any format, see {@link openWeights}; for `module.loadStateDict`.
 * @throws FormatError when it is damaged, lacks a name or passes the limit; EnvironmentError when it cannot be read.
 */
export async function loadWeights(from: ByteSource, options: LoadWeightsOptions = {}): Promise<Map<string, Tensor>> {
  const { names, maxBytes = 2 ** 32 } = options;
  checkLimit('loadWeights', 'maxBytes', maxBytes);
  const file = await openWeights(from, options);
  const tensors = new Map<string, Tensor>();
  try {
    const wanted =
      names === undefined
        ? [...file.entries.values()]
        : typeof names === 'function'
          ? [...file.entries.values()].filter(({ name }) => names(name))
          : names.map((name) => entryNamed(file, name));
    // Shapes are known before anything is read; an element has at least a byte once it is a tensor.
    let bytes = wanted.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const check = (): void => {
      if (bytes <= maxBytes) return;
      throw new FormatError(`the tensors have more than ${maxBytes} bytes`, {
        op: 'loadWeights',
        received: bytes,
        expected: `at most ${maxBytes} bytes`,
        fix: 'If the file is trusted, raise the limit.',
      });
    };
    check();
    bytes = 0;
    for (const entry of wanted) {
      const raw = await entry.read();
      bytes += raw.data.length;
      check();
      tensors.set(entry.name, tensorFromRaw(raw));
    }
    return tensors;
  } catch (cause) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw cause;
  } finally {
    await file.close();
  }
}
