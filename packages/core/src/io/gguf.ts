/**
 * GGUF files of llama.cpp: metadata, then tensors, many of them quantized in blocks. Versions 2 and 3, little-endian.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { FormatError } from '../errors.js';
import { dequantizeGguf, ggufBlocks, isGgufBlockType } from './gguf-blocks.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from './random-access.js';
import { readLarge } from './read-large.js';
import { fromStored, type StoredType, storedTypes } from './stored.js';
import type { MetadataValue, WeightEntry, WeightsFile } from './weights-file.js';

const op = 'gguf';
/** The format's own bounds: 64 KiB for a key; 4 dimensions. */
const maxKeyBytes = 0xffff;
const maxRank = 4;
const maxTensors = 1_000_000;
const maxKeys = 1_000_000;
/** Metadata with a vocabulary has some megabytes. */
const maxMetadataBytes = 2 ** 29;
const maxNesting = 4;

/** Types of tensors by their number. `bytes` of `size` elements; those without a dtype are quantized blocks. */
interface GgufType {
  readonly name: string;
  readonly size: number;
  readonly bytes: number;
  readonly type?: StoredType;
}
const plain = (name: string, type: StoredType): GgufType => ({ name, size: 1, bytes: storedTypes[type].bytes, type });
const blocks = (name: string, size: number, bytes: number): GgufType => ({ name, size, bytes });

const types: ReadonlyMap<number, GgufType> = new Map<number, GgufType>([
  [0, plain('F32', 'float32')],
  [1, plain('F16', 'float16')],
  [2, blocks('Q4_0', 32, 18)],
  [3, blocks('Q4_1', 32, 20)],
  [6, blocks('Q5_0', 32, 22)],
  [7, blocks('Q5_1', 32, 24)],
  [8, blocks('Q8_0', 32, 34)],
  [9, blocks('Q8_1', 32, 36)],
  [10, blocks('Q2_K', 256, 84)],
  [11, blocks('Q3_K', 256, 110)],
  [12, blocks('Q4_K', 256, 144)],
  [13, blocks('Q5_K', 256, 176)],
  [14, blocks('Q6_K', 256, 210)],
  [15, blocks('Q8_K', 256, 292)],
  [16, blocks('IQ2_XXS', 256, 66)],
  [17, blocks('IQ2_XS', 256, 74)],
  [18, blocks('IQ3_XXS', 256, 98)],
  [19, blocks('IQ1_S', 256, 50)],
  [20, blocks('IQ4_NL', 32, 18)],
  [21, blocks('IQ3_S', 256, 110)],
  [22, blocks('IQ2_S', 256, 82)],
  [23, blocks('IQ4_XS', 256, 136)],
  [24, plain('I8', 'int8')],
  [25, plain('I16', 'int16')],
  [26, plain('I32', 'int32')],
  [27, plain('I64', 'int64')],
  [28, plain('F64', 'float64')],
  [29, blocks('IQ1_M', 256, 56)],
  [30, plain('BF16', 'bfloat16')],
  [34, blocks('TQ1_0', 256, 54)],
  [35, blocks('TQ2_0', 256, 66)],
  [39, blocks('MXFP4', 32, 17)],
]);

function fail(what: string, expected?: string, received?: unknown): never {
  throw new FormatError(what, { op, expected, received, fix: 'The file is damaged or not a GGUF file; download it again.' });
}

/** Reads forward; holds a piece of the file at a time. */
class Cursor {
  private readonly source: RandomAccess;
  private bytes = new Uint8Array(0);
  private view = new DataView(this.bytes.buffer);
  private start = 0;
  private at = 0;

  constructor(source: RandomAccess) {
    this.source = source;
  }
  get position(): number {
    return this.start + this.at;
  }
  /** Makes the next n bytes available; gives their place in the piece. */
  private async need(n: number): Promise<number> {
    if (this.at + n > this.bytes.length) {
      this.start = this.position;
      if (this.start + n > maxMetadataBytes) fail(`the metadata pass ${maxMetadataBytes} bytes`);
      this.bytes = new Uint8Array(
        await this.source.read(this.start, Math.max(this.start + n, Math.min(this.start + (1 << 18), this.source.byteLength))),
      );
      this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
      this.at = 0;
    }
    const place = this.at;
    this.at += n;
    return place;
  }
  async u32(): Promise<number> {
    const at = await this.need(4);
    return this.view.getUint32(at, true);
  }
  /** A size or an offset. */
  async count(): Promise<number> {
    const at = await this.need(8);
    const n = this.view.getUint32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
    return Number.isSafeInteger(n) ? n : fail(`a size of ${n}`);
  }
  async text(limit: number): Promise<string> {
    const length = await this.count();
    if (length > limit || length > this.source.byteLength) fail(`a text of ${length} bytes`, `at most ${limit}`);
    const at = await this.need(length);
    return new TextDecoder().decode(this.bytes.subarray(at, at + length));
  }
  async scalar(type: number): Promise<MetadataValue> {
    const bytes = scalarBytes.get(type);
    if (bytes === undefined) fail(`a value of type ${type}`, '0 to 12');
    const at = await this.need(bytes);
    switch (type) {
      case 0:
        return this.view.getUint8(at);
      case 1:
        return this.view.getInt8(at);
      case 2:
        return this.view.getUint16(at, true);
      case 3:
        return this.view.getInt16(at, true);
      case 4:
        return this.view.getUint32(at, true);
      case 5:
        return this.view.getInt32(at, true);
      case 6:
        return this.view.getFloat32(at, true);
      case 7:
        return this.view.getUint8(at) !== 0;
      case 10:
        return safe(this.view.getBigUint64(at, true));
      case 11:
        return safe(this.view.getBigInt64(at, true));
      default:
        return this.view.getFloat64(at, true);
    }
  }
}

const safe = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

const stringType = 8;
const arrayType = 9;
const scalarBytes: ReadonlyMap<number, number> = new Map(
  [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8].map((bytes, type) => [type, bytes] as const).filter(([, bytes]) => bytes > 0),
);

async function readValue(cursor: Cursor, type: number, fileBytes: number, depth = 0): Promise<MetadataValue> {
  if (type === stringType) return cursor.text(maxMetadataBytes);
  if (type !== arrayType) return cursor.scalar(type);
  const itemType = await cursor.u32();
  const length = await cursor.count();
  if (depth >= maxNesting) fail(`lists nest more than ${maxNesting} levels`);
  // Every element takes at least a byte: a longer list cannot be in the file.
  if (length > fileBytes - cursor.position) fail(`a list of ${length} elements`, 'fewer than the bytes of the file');
  const items: MetadataValue[] = [];
  for (let i = 0; i < length; i++) items.push(await readValue(cursor, itemType, fileBytes, depth + 1));
  return items;
}

interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgufType;
  readonly bytes: number;
  readonly offset: number;
}

async function readTensorInfo(cursor: Cursor): Promise<TensorInfo> {
  const name = await cursor.text(maxKeyBytes);
  const rank = await cursor.u32();
  if (rank > maxRank) fail(`tensor ${JSON.stringify(name)} has ${rank} dimensions`, `at most ${maxRank}`, rank);
  const sizes: number[] = [];
  for (let axis = 0; axis < rank; axis++) sizes.push(await cursor.count());
  const code = await cursor.u32();
  const type = types.get(code);
  if (!type) fail(`tensor ${JSON.stringify(name)} has type ${code}`, [...types.values()].map((known) => known.name).join(', '), code);
  const offset = await cursor.count();
  const size = sizes.includes(0) ? 0 : sizes.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(size * type.bytes) || (sizes[0] ?? 1) % type.size !== 0) {
    fail(`tensor ${JSON.stringify(name)} (${type.name}) has rows of ${sizes[0] ?? 1}`, `a multiple of ${type.size}`);
  }
  // The format names the fastest dimension first.
  return { name, shape: sizes.toReversed(), type, bytes: (size / type.size) * type.bytes, offset };
}

function entryOf(source: RandomAccess, begin: number, { name, shape, type, bytes }: TensorInfo): WeightEntry {
  const readStored = (): Promise<Uint8Array> => readLarge(source, begin, begin + bytes);
  return {
    name,
    shape,
    storedAs: type.name,
    readStored,
    read: async () => {
      if (type.type !== undefined) return fromStored(type.type, shape, await readStored(), op);
      if (!isGgufBlockType(type.name)) {
        throw new FormatError(`tensor ${JSON.stringify(name)} is quantized as ${type.name}`, {
          op,
          received: type.name,
          expected: `one of ${Object.keys(ggufBlocks).join(', ')}`,
          fix: 'Take a file of another quantization, or the blocks as they are with readStored().',
        });
      }
      const values = dequantizeGguf(type.name, await readStored());
      return { dtype: 'float32', shape, data: new Uint8Array(values.buffer) };
    },
  };
}

/**
 * Opens a file; metadata and the list of tensors are read, tensors when they are asked for: dequantized to float32, or as blocks.
 * Shapes are row-major, so the last dimension is the one the file names first. Close it after use.
 * @throws FormatError when it is damaged, of version 1 or big-endian; EnvironmentError when it cannot be read.
 */
export async function openGguf(from: ByteSource): Promise<WeightsFile> {
  const source = await openRandomAccess(from);
  const close = async (): Promise<void> => {
    if (source !== from) await source.close();
  };
  try {
    const cursor = new Cursor(source);
    if ((await cursor.u32()) !== 0x46554747) fail('the file does not start with GGUF');
    const version = await cursor.u32();
    if (version !== 2 && version !== 3) fail(`the version is ${version}`, '2 or 3, little-endian', version);
    const tensorCount = await cursor.count();
    const keyCount = await cursor.count();
    if (tensorCount > maxTensors || keyCount > maxKeys) fail(`the file names ${tensorCount} tensors and ${keyCount} keys`);
    const metadata = new Map<string, MetadataValue>();
    for (let i = 0; i < keyCount; i++) {
      const key = await cursor.text(maxKeyBytes);
      if (metadata.has(key)) fail(`the key ${JSON.stringify(key)} occurs twice`);
      metadata.set(key, await readValue(cursor, await cursor.u32(), source.byteLength));
    }
    const infos: TensorInfo[] = [];
    for (let i = 0; i < tensorCount; i++) infos.push(await readTensorInfo(cursor));
    const alignment = metadata.get('general.alignment') ?? 32;
    if (typeof alignment !== 'number' || !Number.isInteger(alignment) || alignment < 1 || alignment > 2 ** 20) {
      fail(`the alignment is ${String(alignment)}`, 'a number of bytes');
    }
    const dataStart = Math.ceil(cursor.position / alignment) * alignment;
    const entries = new Map<string, WeightEntry>();
    let free = 0;
    for (const info of infos.toSorted((a, b) => a.offset - b.offset)) {
      if (info.offset < free || dataStart + info.offset + info.bytes > source.byteLength) {
        fail(`tensor ${JSON.stringify(info.name)} overlaps another or passes the end of the file`);
      }
      free = info.offset + info.bytes;
    }
    for (const info of infos) {
      if (entries.has(info.name)) fail(`the tensor ${JSON.stringify(info.name)} occurs twice`);
      entries.set(info.name, entryOf(source, dataStart + info.offset, info));
    }
    return { format: 'gguf', entries, metadata, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}
