/**
 * PyTorch's files (`.pt`, `.pth`, `.bin`): zip archives since version 1.6, and the stream of pickles and storages before. Nothing in a
 * file is run: it may hold tensors and plain data, and any other Python object is an error that names it.
 * Format: torch/serialization.py.
 */
import { FormatError } from '../errors.js';
import { denseStrides, sizeOf } from '../graph/layout.js';
import { isObject, PickleEndError, type PickleValue, Unpickler } from './pickle.js';
import { findGlobal, findValue, type PtStorage, type PtTensor, storageOfId } from './pytorch-pickle.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from './random-access.js';
import { readLarge } from './read-large.js';
import type { RawTensor } from './safetensors.js';
import { fromStored, storedTypes } from './stored.js';
import type { WeightEntry, WeightsFile } from './weights-file.js';
import { openZip, type ZipArchive } from './zip.js';

const op = 'pytorch';
/** Far above what the structure of a checkpoint takes; the numbers are elsewhere. */
const maxPickleBytes = 2 ** 28;
const maxDepth = 32;
const maxEntries = 1_000_000;
/** Most elements of a tensor that repeats those of a smaller storage (strides of 0). */
const maxRepeated = 2 ** 24;

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op, expected, fix: 'The file is damaged or not a PyTorch file; save or download it again.' });
}

/** Where the bytes of storages are. */
type StorageReader = (storage: PtStorage, begin: number, end: number) => Promise<Uint8Array>;

interface Checkpoint {
  readonly value: PickleValue;
  readonly read: StorageReader;
}

async function readZip(archive: ZipArchive): Promise<Checkpoint> {
  const pickleName = [...archive.entries.keys()].find((name) => /^(?:[^/]*\/)?data\.pkl$/.test(name));
  const pickleEntry = pickleName === undefined ? undefined : archive.entries.get(pickleName);
  if (pickleName === undefined || !pickleEntry) fail('the archive has no data.pkl', 'a file written by torch.save');
  const prefix = pickleName.slice(0, -'data.pkl'.length);
  const order = archive.entries.get(`${prefix}byteorder`);
  if (order) {
    if (order.size > 16) fail(`the byte order takes ${order.size} bytes`, 'little');
    const name = new TextDecoder().decode(await order.read());
    if (name !== 'little') {
      throw new FormatError(`the byte order of the file is ${JSON.stringify(name)}`, {
        op,
        received: name,
        expected: 'little',
        fix: 'Load it in PyTorch on the machine that wrote it and save it as safetensors.',
      });
    }
  }
  if (pickleEntry.size > maxPickleBytes) fail(`data.pkl has ${pickleEntry.size} bytes`, `at most ${maxPickleBytes}`);
  const value = new Unpickler(await pickleEntry.read(), { op, find: findGlobal, findValue, persistent: storageOfId }).load();
  const read: StorageReader = async ({ key, bytes }, begin, end) => {
    const entry = archive.entries.get(`${prefix}data/${key}`);
    if (!entry) fail(`the archive has no storage ${JSON.stringify(key)}`);
    if (entry.size < bytes) fail(`storage ${JSON.stringify(key)} has ${entry.size} bytes`, `${bytes} bytes`);
    // Read as a whole, the checksum is checked too.
    if (begin === 0 && end === entry.size) return entry.read();
    const inside = await entry.open();
    try {
      return await readLarge(inside, begin, end);
    } finally {
      await inside.close();
    }
  };
  return { value, read };
}

/** Older files start with this number as a pickle. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyVersion = 1001;

/** Unpickles at a position of a source, with as much of it as the pickle turns out to need. */
async function pickleAt(
  source: RandomAccess,
  position: number,
  persistent: (id: PickleValue) => PtStorage = storageOfId,
): Promise<{ value: PickleValue; end: number }> {
  for (let window = 1 << 16; ; window *= 4) {
    const end = Math.min(source.byteLength, position + Math.min(window, maxPickleBytes));
    const unpickler = new Unpickler(await source.read(position, end), { op, find: findGlobal, findValue, persistent });
    try {
      return { value: unpickler.load(), end: position + unpickler.position };
    } catch (cause) {
      if (!(cause instanceof PickleEndError) || end === source.byteLength || window >= maxPickleBytes) throw cause;
    }
  }
}

async function readLegacy(source: RandomAccess): Promise<Checkpoint> {
  const magic = await pickleAt(source, 0);
  const version = await pickleAt(source, magic.end);
  const system = await pickleAt(source, version.end);
  if (magic.value !== legacyMagic || version.value !== legacyVersion || !(system.value instanceof Map)) {
    fail('the file starts as no PyTorch file does', 'a zip archive, or the format of PyTorch before 1.6');
  }
  if (system.value.get('little_endian') !== true) fail('the file is of a big-endian machine', 'little-endian numbers');
  const elementBytes = new Map<string, number>();
  const root = await pickleAt(source, system.end, (id) => {
    const storage = storageOfId(id);
    elementBytes.set(storage.key, storage.dtype?.bytes ?? 1);
    return storage;
  });
  const keys = await pickleAt(source, root.end);
  if (!Array.isArray(keys.value)) fail('the file has no list of storages');
  const places = new Map<string, { readonly begin: number; readonly bytes: number }>();
  let at = keys.end;
  for (const key of keys.value) {
    // Each storage: the number of its elements, then these.
    const head = await source.read(at, at + 8);
    const view = new DataView(head.buffer, head.byteOffset, 8);
    const elements = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
    const width = typeof key === 'string' ? elementBytes.get(key) : undefined;
    if (typeof key !== 'string' || width === undefined) fail('the file has a storage that nothing refers to');
    const bytes = elements * width;
    if (!(at + 8 + bytes <= source.byteLength)) fail(`storage ${JSON.stringify(key)} of ${bytes} bytes passes the end of the file`);
    places.set(key, { begin: at + 8, bytes });
    at += 8 + bytes;
  }
  const read: StorageReader = async ({ key, base }, begin, end) => {
    const place = places.get(key);
    if (!place) fail(`the file has no storage ${JSON.stringify(key)}`);
    if (base + end > place.bytes) fail(`storage ${JSON.stringify(key)} has ${place.bytes} bytes`, `${base + end} bytes`);
    return readLarge(source, place.begin + base + begin, place.begin + base + end);
  };
  return { value: root.value, read };
}

/** All tensors in nested data, each place once. */
function walk(root: PickleValue): (PtTensor & { readonly path: string })[] {
  const found: (PtTensor & { readonly path: string })[] = [];
  // A pickle can name one list in many places: without a bound a short one would unfold to any size.
  let visits = 0;
  const enter = (value: PickleValue, path: string, depth: number): void => {
    if (++visits > 4 * maxEntries || found.length > maxEntries) fail('the file nests too many values', `at most ${maxEntries} tensors`);
    if (isObject(value, 'tensor')) found.push({ ...(value as PtTensor), path });
    if (!(value instanceof Map) && !Array.isArray(value)) return;
    if (depth >= maxDepth) fail(`the file nests more than ${maxDepth} levels`);
    for (const [key, item] of value.entries()) {
      const name = typeof key === 'string' || typeof key === 'number' ? String(key) : typeof key;
      enter(item, path === '' ? name : `${path}.${name}`, depth + 1);
    }
  };
  enter(root, '', 0);
  return found;
}

/** Copies elements by their strides to row-major order. */
function gatherDense({ shape, strides, dtype }: PtTensor, bytes: Uint8Array): Uint8Array {
  const width = dtype.bytes;
  const out = new Uint8Array(sizeOf(shape) * width);
  const index = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to += width) {
    for (let k = 0; k < width; k++) out[to + k] = bytes[from * width + k];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= index[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return out;
}

function isDenseView({ shape, strides }: PtTensor): boolean {
  const dense = denseStrides(shape);
  return shape.every((size, axis) => size === 1 || strides[axis] === dense[axis]);
}

async function readStored(tensor: PtTensor, name: string, read: StorageReader): Promise<Uint8Array> {
  const { shape, strides, offset, dtype, storage } = tensor;
  const size = sizeOf(shape);
  if (size === 0) return new Uint8Array(0);
  const span = shape.reduce((last, n, axis) => last + (n - 1) * strides[axis], 0) + 1;
  if (size > span && size > maxRepeated) {
    fail(`tensor ${JSON.stringify(name)} repeats ${span} elements to ${size}`, `at most ${maxRepeated} (contiguous() before saving)`);
  }
  const bytes = await read(storage, offset * dtype.bytes, (offset + span) * dtype.bytes);
  return isDenseView(tensor) ? bytes : gatherDense(tensor, bytes);
}

function entryOf(tensor: PtTensor, name: string, read: StorageReader): WeightEntry {
  const { shape, dtype } = tensor;
  const stored = (): Promise<Uint8Array> => readStored(tensor, name, read);
  return {
    name,
    shape,
    storedAs: dtype.name,
    readStored: stored,
    read: async (): Promise<RawTensor> => {
      const { type } = dtype;
      if (type === undefined) {
        throw new FormatError(`tensor ${JSON.stringify(name)} is of ${dtype.name}`, {
          op,
          received: dtype.name,
          expected: `one of ${Object.keys(storedTypes).join(', ')}`,
        });
      }
      return fromStored(type, shape, await stored(), op);
    },
  };
}

/** What training scripts put a state dict under. */
const stateKeys = ['state_dict', 'model_state_dict', 'model', 'module', 'params', 'weights'];

/** The part of a checkpoint that holds the weights. */
function selectPart(value: PickleValue, part: string | undefined): PickleValue {
  if (part !== undefined) {
    const found = value instanceof Map ? value.get(part) : undefined;
    if (found !== undefined) return found;
    const keys = value instanceof Map ? [...value.keys()].map(String).slice(0, 12) : [];
    fail(`the file has no part ${JSON.stringify(part)}`, keys.length > 0 ? `one of ${keys.join(', ')}` : 'a dictionary');
  }
  if (!(value instanceof Map) || [...value.values()].some((item) => isObject(item, 'tensor'))) return value;
  for (const key of stateKeys) {
    const inner = value.get(key);
    if (inner instanceof Map && [...inner.values()].some((item) => isObject(item, 'tensor'))) return inner;
  }
  return value;
}

export interface PyTorchFile extends WeightsFile {
  readonly format: 'pytorch';
  /** Numbers, text, lists (arrays) and dictionaries (Maps) as they are in the file; tensors are objects of kind `tensor`. */
  readonly value: PickleValue;
}

export interface PyTorchOptions {
  /**
   * Key of the checkpoint under which the weights are. Unless told otherwise: all of the file when tensors are at its top, else what is
   * under `state_dict`, `model_state_dict`, `model` and the like, else every tensor in it with the keys above it before its name.
   */
  readonly part?: string;
}

/**
 * Opens a file of torch.save; storages are read when a tensor is asked for. Close it after use.
 * @throws FormatError when it is damaged, big-endian, or holds Python objects other than tensors and plain data (the message names the
 *   object); EnvironmentError when it cannot be read.
 */
export async function openPyTorch(from: ByteSource, { part }: PyTorchOptions = {}): Promise<PyTorchFile> {
  const source = await openRandomAccess(from);
  const close = async (): Promise<void> => {
    if (source !== from) await source.close();
  };
  try {
    const start = await source.read(0, Math.min(4, source.byteLength));
    const isZip = start.length === 4 && start[0] === 0x50 && start[1] === 0x4b;
    const { value, read } = isZip
      ? await readZip(await openZip(source, { maxEntryBytes: Number.MAX_SAFE_INTEGER, maxTotalBytes: Number.MAX_SAFE_INTEGER }))
      : await readLegacy(source);
    const entries = new Map<string, WeightEntry>();
    for (const tensor of walk(selectPart(value, part))) {
      const name = tensor.path || 'tensor';
      entries.set(name, entryOf(tensor, name, read));
    }
    return { format: 'pytorch', entries, metadata: new Map(), value, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}
