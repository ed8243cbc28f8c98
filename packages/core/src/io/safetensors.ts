/**
 * The safetensors container: an 8-byte little-endian header length, a JSON header, then the raw little-endian data.
 * The reader treats the file as hostile: every number is checked before it is used, the tensors must tile the data
 * exactly (no overlap, no hole, nothing after the last one), and names never become property keys.
 * Format: https://github.com/huggingface/safetensors#format
 */
import { type DType, dtypeInfo } from '../dtype.js';
import { ArgumentError, FormatError } from '../errors.js';
import { isDType, type StoredType, storedBytes } from './stored.js';

/** A tensor as raw bytes: row-major, little-endian, `bytes(dtype) * product(shape)` long. */
export interface RawTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface SafetensorsFile {
  /** In the order of the header. `data` are views into the decoded bytes and need not be aligned to the element size. */
  readonly tensors: Map<string, RawTensor>;
  /** The header's `__metadata__`. */
  readonly metadata: Map<string, string>;
}

/** The reference implementation's bound on the header, in bytes. */
export const maxSafetensorsHeader = 100_000_000;
/** More dimensions than any framework makes; bounds the work a shape can cause. */
const maxRank = 64;
const metadataKey = '__metadata__';
const op = 'safetensors';

/** Rows of the table are the file's names; a file may have types that tensors lack. */
const fileNames = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  bfloat16: 'BF16',
  int8: 'I8',
  uint8: 'U8',
  int16: 'I16',
  int32: 'I32',
  int64: 'I64',
  bool: 'BOOL',
  uint16: 'U16',
  uint32: 'U32',
  uint64: 'U64',
  float8e4m3: 'F8_E4M3',
  float8e5m2: 'F8_E5M2',
} as const satisfies Record<StoredType, string>;
const typeOf: ReadonlyMap<string, StoredType> = new Map(
  (Object.entries(fileNames) as [StoredType, string][]).map(([type, name]) => [name, type]),
);

/** A value from the header for a message: short, and safe for values nested too deeply to print. */
export function quote(value: unknown): string {
  let text: string;
  try {
    text = String(JSON.stringify(value));
  } catch {
    text = 'deeply nested';
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function fail(what: string, expected?: string, received?: unknown): never {
  throw new FormatError(what, {
    op,
    expected,
    received,
    fix: 'The file is damaged or not a safetensors file; save or download it again.',
  });
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * `JSON.parse` keeps the last of two equal keys without a word, so one file could mean different things to two
 * readers. Walks text that is known to be valid JSON and returns the first key repeated within the top-level object
 * or within one of the objects it holds.
 */
function duplicateKey(json: string): string | null {
  const seen: (Set<string> | null)[] = [];
  let expectKey = false;
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (c === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
      const keys = seen[seen.length - 1];
      if (expectKey && keys) {
        const key = JSON.parse(json.slice(start, i + 1)) as string;
        if (keys.has(key)) return key;
        keys.add(key);
      }
      expectKey = false;
    } else if (c === '{' || c === '[') {
      seen.push(c === '{' ? new Set() : null);
      expectKey = c === '{';
    } else if (c === '}' || c === ']') {
      seen.pop();
      expectKey = false;
    } else if (c === ',') {
      expectKey = seen[seen.length - 1] !== null;
    }
  }
  return null;
}

/** The object that a header (or an index of shards) is. @throws FormatError unless it is valid UTF-8 JSON that names every key once */
export function parseJsonObject(bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== 0x7b) fail('the header does not start with "{"', 'a JSON object');
  let header: unknown;
  let json: string;
  try {
    json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(json);
  } catch (cause) {
    throw new FormatError(`the header is not valid UTF-8 JSON (${cause instanceof Error ? cause.message : String(cause)})`, {
      op,
      cause,
      fix: 'The file is damaged or not a safetensors file; save or download it again.',
    });
  }
  if (!isRecord(header)) fail('the header is not a JSON object');
  const repeated = duplicateKey(json);
  if (repeated !== null) fail(`the header names ${quote(repeated)} twice`, 'every key once');
  return header;
}

function parseMetadata(value: unknown): Map<string, string> {
  if (!isRecord(value)) fail(`${metadataKey} is ${quote(value)}`, 'an object of strings');
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') fail(`${metadataKey} entry ${quote(key)} is ${quote(text)}`, 'a string');
    metadata.set(key, text);
  }
  return metadata;
}

/** A tensor of the header: its bytes are begin .. end-1 of the data. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly type: StoredType;
  readonly storedAs: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function parseEntry(name: string, value: unknown, dataLength: number): SafetensorsEntry {
  if (!isRecord(value)) fail(`tensor ${quote(name)} is ${quote(value)}`, 'an object with dtype, shape and data_offsets');
  // Own properties only: a header cannot make these names reach a prototype.
  const field = (key: string): unknown => (Object.hasOwn(value, key) ? value[key] : undefined);
  const dtypeName = field('dtype');
  const type = typeof dtypeName === 'string' ? typeOf.get(dtypeName) : undefined;
  if (!type) {
    fail(`tensor ${quote(name)} has dtype ${quote(dtypeName)}`, `one of ${[...typeOf.keys()].join(', ')}`, dtypeName);
  }
  const shape = field('shape');
  if (!Array.isArray(shape) || shape.length > maxRank || !shape.every(isCount)) {
    fail(`tensor ${quote(name)} has shape ${quote(shape)}`, `at most ${maxRank} whole numbers`, shape);
  }
  const offsets = field('data_offsets');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    fail(`tensor ${quote(name)} has data_offsets ${quote(offsets)}`, 'two whole numbers', offsets);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataLength) {
    fail(`tensor ${quote(name)} has data_offsets [${begin}, ${end}]`, `a range within the ${dataLength} bytes of data`, offsets);
  }
  const size = storedBytes(type, shape);
  if (size !== end - begin) {
    const wanted = Number.isNaN(size) ? 'more bytes than can be counted' : `${size} bytes`;
    fail(`tensor ${quote(name)} (${dtypeName} ${quote(shape)}) holds ${end - begin} bytes`, wanted, end - begin);
  }
  return { name, type, storedAs: fileNames[type], shape, begin, end };
}

/** The spec: the byte buffer is indexed as a whole, without holes; so the ranges in order meet end to start. */
function checkTiling(entries: readonly SafetensorsEntry[], dataLength: number): void {
  let position = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== position) {
      const problem = begin < position ? 'overlaps the one before it' : 'leaves a hole before it';
      fail(`tensor ${quote(name)} starts at byte ${begin} and ${problem}`, `a start at ${position}`);
    }
    position = end;
  }
  if (position !== dataLength) fail(`the tensors cover ${position} bytes of data`, `all ${dataLength} bytes`);
}

/**
 * The length of the header, from the first 8 bytes of a file of `fileBytes`.
 * @throws FormatError when it cannot be right.
 */
export function safetensorsHeaderLength(start: Uint8Array, fileBytes: number): number {
  if (fileBytes < 8) fail(`the file has ${fileBytes} bytes`, 'at least the 8 bytes of the header length');
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  const limit = Math.min(maxSafetensorsHeader, fileBytes - 8);
  if (length < 2 || length > limit) fail(`the header length is ${length}`, `2 to ${limit} bytes (a file of ${fileBytes})`, length);
  return length;
}

/**
 * What a header says, checked against the bytes of data behind it.
 * @param bytes the header's text.
 * @throws FormatError for anything the format does not allow.
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  dataLength: number,
): { readonly entries: readonly SafetensorsEntry[]; readonly metadata: Map<string, string> } {
  let metadata = new Map<string, string>();
  const entries: SafetensorsEntry[] = [];
  for (const [name, value] of Object.entries(parseJsonObject(bytes))) {
    if (name === metadataKey) metadata = parseMetadata(value);
    else entries.push(parseEntry(name, value, dataLength));
  }
  checkTiling(entries, dataLength);
  return { entries, metadata };
}

/**
 * Reads a safetensors file held in memory. Nothing is copied.
 * @throws FormatError for anything the format does not allow, and for dtypes Trireme does not have.
 */
export function decodeSafetensors(bytes: Uint8Array): SafetensorsFile {
  const dataStart = 8 + safetensorsHeaderLength(bytes, bytes.length);
  const { entries, metadata } = parseSafetensorsHeader(bytes.subarray(8, dataStart), bytes.length - dataStart);
  const tensors = new Map<string, RawTensor>();
  for (const { name, type, shape, begin, end } of entries) {
    if (!isDType(type)) fail(`tensor ${quote(name)} has dtype ${fileNames[type]}`, 'a dtype of tensors', fileNames[type]);
    tensors.set(name, { dtype: type, shape, data: bytes.subarray(dataStart + begin, dataStart + end) });
  }
  return { tensors, metadata };
}

function checkTensor(name: string, { dtype, shape, data }: RawTensor): void {
  if (name === metadataKey) {
    throw new ArgumentError(`a tensor cannot be named ${metadataKey}`, { op, received: name, fix: 'Rename it.' });
  }
  if (!Object.hasOwn(dtypeInfo, dtype)) {
    throw new ArgumentError(`tensor ${quote(name)} has dtype ${quote(dtype)}`, {
      op,
      received: dtype,
      expected: `one of ${Object.keys(dtypeInfo).join(', ')}`,
    });
  }
  const size = shape.length <= maxRank && shape.every(isCount) ? storedBytes(dtype, shape) : Number.NaN;
  if (size !== data.length) {
    throw new ArgumentError(`tensor ${quote(name)} (${dtype} [${shape.join(', ')}]) has ${data.length} bytes`, {
      op,
      received: data.length,
      expected: Number.isNaN(size) ? `a shape of at most ${maxRank} whole numbers` : `${size} bytes`,
    });
  }
}

/**
 * The file in pieces, the header first, for writers that need no second copy of the tensors
 * (`writeFileAtomic(path, safetensorsChunks(…))`). Same order as the reference implementation: wide elements first,
 * then by name, so that each tensor is aligned to its element size and equal content gives equal files.
 * @throws ArgumentError for a tensor whose bytes do not fit its shape.
 */
export function safetensorsChunks(
  tensors: Iterable<readonly [string, RawTensor]>,
  metadata: Iterable<readonly [string, string]> = [],
): Uint8Array[] {
  const sorted = [...tensors];
  for (const [name, tensor] of sorted) checkTensor(name, tensor);
  sorted.sort(([a, x], [b, y]) => dtypeInfo[y.dtype].bytes - dtypeInfo[x.dtype].bytes || (a < b ? -1 : a > b ? 1 : 0));
  // Written by hand: as a key of an object literal a name like __proto__ would vanish.
  const fields: string[] = [];
  const entries = [...metadata].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (entries.length) {
    const inner = entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(String(value))}`);
    fields.push(`"${metadataKey}":{${inner.join(',')}}`);
  }
  let position = 0;
  for (const [name, { dtype, shape, data }] of sorted) {
    const end = position + data.length;
    fields.push(`${JSON.stringify(name)}:{"dtype":"${fileNames[dtype]}","shape":[${shape.join(',')}],"data_offsets":[${position},${end}]}`);
    position = end;
  }
  const json = `{${fields.join(',')}}`;
  if (duplicateKey(json) !== null) {
    throw new ArgumentError(`the name ${quote(duplicateKey(json))} occurs twice`, { op, expected: 'every name once' });
  }
  const text = new TextEncoder().encode(json);
  // Spaces up to a multiple of 8 keep the data aligned.
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20, 8);
  if (header.length - 8 > maxSafetensorsHeader) {
    throw new ArgumentError(`the header has ${header.length - 8} bytes`, { op, expected: `at most ${maxSafetensorsHeader}` });
  }
  new DataView(header.buffer).setUint32(0, header.length - 8, true);
  header.set(text, 8);
  return [header, ...sorted.map(([, tensor]) => tensor.data)];
}

/**
 * A safetensors file as one array of bytes.
 * @throws ArgumentError for a tensor whose bytes do not fit its shape.
 */
export function encodeSafetensors(
  tensors: Iterable<readonly [string, RawTensor]>,
  metadata: Iterable<readonly [string, string]> = [],
): Uint8Array {
  const chunks = safetensorsChunks(tensors, metadata);
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let position = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, position);
    position += chunk.length;
  }
  return bytes;
}
