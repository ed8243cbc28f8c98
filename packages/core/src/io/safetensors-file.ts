/** safetensors files larger than the memory: read tensor by tensor, and spread over several files (shards) with an index. */
import { dtypeInfo } from '../dtype.js';
import { ArgumentError, FormatError } from '../errors.js';
import { sizeOf } from '../graph/layout.js';
import type { Tensor } from '../tensor/tensor.js';
import { fileError, readFileBounded, writeFileAtomic } from './files.js';
import { nodeModule } from './node.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from './random-access.js';
import { isRecord, parseJsonObject, parseSafetensorsHeader, quote, safetensorsChunks, safetensorsHeaderLength } from './safetensors.js';
import { rawTensor } from './weights.js';
import { checkLimit, entryAt, type WeightEntry, type WeightsFile } from './weights-file.js';

const op = 'safetensors';
const maxIndexBytes = 100_000_000;
const maxShards = 1000;

/**
 * Opens a file; only its header is read. Close it after use.
 * @throws FormatError for anything the format does not allow, EnvironmentError when it cannot be read.
 */
export async function openSafetensors(from: ByteSource): Promise<WeightsFile> {
  const source = await openRandomAccess(from);
  const close = async (): Promise<void> => {
    if (source !== from) await source.close();
  };
  try {
    const { entries, metadata } = await readEntries(source);
    return { format: 'safetensors', entries, metadata, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function readEntries(source: RandomAccess): Promise<{ entries: Map<string, WeightEntry>; metadata: Map<string, string> }> {
  const length = safetensorsHeaderLength(await source.read(0, Math.min(8, source.byteLength)), source.byteLength);
  const dataStart = 8 + length;
  const header = parseSafetensorsHeader(await source.read(8, dataStart), source.byteLength - dataStart);
  const entries = new Map<string, WeightEntry>();
  for (const { name, type, storedAs, shape, begin } of header.entries) {
    entries.set(name, entryAt(source, dataStart + begin, { name, shape, type, storedAs, op }));
  }
  return { entries, metadata: header.metadata };
}

/** The file of each tensor. */
function readWeightMap(bytes: Uint8Array): { weightMap: Map<string, string>; metadata: Map<string, string> } {
  const index = parseJsonObject(bytes);
  const map = Object.hasOwn(index, 'weight_map') ? index.weight_map : undefined;
  if (!isRecord(map)) throw new FormatError(`weight_map is ${quote(map)}`, { op, expected: 'an object of file names' });
  const weightMap = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    // A shard lies beside its index: its name must not lead elsewhere.
    if (typeof file !== 'string' || file.length > 255 || !/^[\w-][\w.-]*$/.test(file)) {
      throw new FormatError(`tensor ${quote(name)} is in the file ${quote(file)}`, { op, received: file, expected: 'a plain file name' });
    }
    weightMap.set(name, file);
  }
  const metadata = new Map<string, string>();
  const given = Object.hasOwn(index, 'metadata') ? index.metadata : undefined;
  if (isRecord(given)) {
    for (const [key, value] of Object.entries(given)) metadata.set(key, typeof value === 'string' ? value : quote(value));
  }
  return { weightMap, metadata };
}

/**
 * Opens the shards that an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) names, as one file of weights. The
 * headers of all are read at once, tensors when they are asked for. Node only.
 * @param open opens one shard: openSafetensors unless told otherwise.
 * @throws FormatError when index or shards are damaged or disagree, EnvironmentError when one cannot be read.
 */
export async function openShards(indexPath: string, open: (path: string) => Promise<WeightsFile> = openSafetensors): Promise<WeightsFile> {
  const { dirname, join } = await nodeModule('node:path', op);
  const { weightMap, metadata } = readWeightMap(await readFileBounded(indexPath, maxIndexBytes));
  const files = new Set(weightMap.values());
  if (files.size > maxShards) throw new FormatError(`the index names ${files.size} files`, { op, expected: `at most ${maxShards}` });
  const shards = new Map<string, WeightsFile>();
  const close = async (): Promise<void> => {
    for (const shard of shards.values()) await shard.close();
    shards.clear();
  };
  try {
    for (const file of files) shards.set(file, await open(join(dirname(indexPath), file)));
    const entries = new Map<string, WeightEntry>();
    for (const [name, file] of weightMap) {
      const entry = shards.get(file)?.entries.get(name);
      if (!entry) {
        throw new FormatError(`${file} has no tensor ${quote(name)}`, {
          op,
          received: name,
          expected: 'the tensors that the index names',
          fix: 'Index and shards are of different models, or a shard is damaged: download them again.',
        });
      }
      entries.set(name, entry);
    }
    return { format: [...shards.values()][0]?.format ?? 'safetensors', entries, metadata, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

export interface ShardOptions {
  /** Most bytes of tensors in one file (a larger tensor has a file of its own); 5 GB unless told otherwise. */
  readonly maxShardBytes?: number;
  /** Start of the file names; `model` unless told otherwise. */
  readonly name?: string;
  /** Text by name, kept in the header of every file. */
  readonly metadata?: ReadonlyMap<string, string>;
}

/**
 * Writes tensors to `model-00001-of-00003.safetensors` … and `model.safetensors.index.json`, as Hugging Face's libraries lay them out;
 * what fits into one file goes to `model.safetensors` alone. Each file is written whole or not at all, the index last.
 * @returns paths of the written files, the one to open (index or only file) last.
 * @throws ArgumentError without tensors, EnvironmentError when a file cannot be written.
 */
export async function saveSafetensorsSharded(
  folder: string,
  tensors: ReadonlyMap<string, Tensor>,
  { maxShardBytes = 5e9, name = 'model', metadata = new Map() }: ShardOptions = {},
): Promise<string[]> {
  checkLimit('saveSafetensorsSharded', 'maxShardBytes', maxShardBytes);
  if (tensors.size === 0 || !/^[\w-][\w.-]*$/.test(name)) {
    throw new ArgumentError(`${tensors.size} tensors, name ${quote(name)}`, {
      op: 'saveSafetensorsSharded',
      expected: 'at least one tensor, and a plain file name',
    });
  }
  const { join } = await nodeModule('node:path', op);
  const fs = await nodeModule('node:fs/promises', op);
  const shards: string[][] = [];
  let filled = Infinity;
  let total = 0;
  for (const [key, tensor] of tensors) {
    const bytes = sizeOf(tensor.shape) * dtypeInfo[tensor.dtype].bytes;
    if (filled + bytes > maxShardBytes && filled > 0) {
      shards.push([]);
      filled = 0;
    }
    shards[shards.length - 1].push(key);
    filled += bytes;
    total += bytes;
  }
  await fs.mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw fileError(op, `could not make ${folder}`, cause);
  });
  const paths: string[] = [];
  const weightMap: [string, string][] = [];
  const number = (n: number): string => String(n).padStart(5, '0');
  for (const [i, names] of shards.entries()) {
    const file = shards.length === 1 ? `${name}.safetensors` : `${name}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    const raw = new Map<string, ReturnType<typeof rawTensor>>();
    for (const key of names) {
      const tensor = tensors.get(key);
      if (tensor) raw.set(key, rawTensor(tensor));
      weightMap.push([key, file]);
    }
    await writeFileAtomic(join(folder, file), safetensorsChunks(raw, metadata));
    paths.push(join(folder, file));
  }
  if (shards.length > 1) {
    weightMap.sort(([a], [b]) => (a < b ? -1 : 1));
    // Written by hand: as a key of an object literal a name like __proto__ would vanish.
    const lines = weightMap.map(([key, file]) => `    ${JSON.stringify(key)}: ${JSON.stringify(file)}`);
    const text = `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`;
    const path = join(folder, `${name}.safetensors.index.json`);
    await writeFileAtomic(path, new TextEncoder().encode(text));
    paths.push(path);
  }
  return paths;
}
