/**
 * numpy's array files: .npy (one array) and .npz (a zip archive of them).
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1 to 3.
 */
import { ArgumentError, FormatError } from '../errors.js';
import { halfToNumber, numberToHalf } from '../ir/scalar.js';
import { readFileBounded, writeFileAtomic } from './files.js';
import type { ByteSource } from './random-access.js';
import { openZip, zipChunks } from './zip.js';

export type NpyData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export type NpyDType =
  | 'float16'
  | 'float32'
  | 'float64'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'bool'
  | 'complex64'
  | 'complex128';

/** An array in row-major order. */
export interface NpyArray {
  readonly dtype: NpyDType;
  readonly shape: readonly number[];
  /** Its own copy. float16 comes as float32 (which holds it exactly), bool as 0 and 1 in bytes, complex numbers as (real, imaginary) pairs. */
  readonly data: NpyData;
}

interface Kind {
  readonly dtype: NpyDType;
  /** numpy's code, without the byte order. */
  readonly code: string;
  readonly bytes: number;
  /** Numbers an element is made of; 1 unless told otherwise. */
  readonly parts?: number;
  readonly make: (buffer: ArrayBuffer) => NpyData;
}

const kinds: readonly Kind[] = [
  { dtype: 'bool', code: 'b1', bytes: 1, make: (buffer) => new Uint8Array(buffer) },
  { dtype: 'int8', code: 'i1', bytes: 1, make: (buffer) => new Int8Array(buffer) },
  { dtype: 'uint8', code: 'u1', bytes: 1, make: (buffer) => new Uint8Array(buffer) },
  { dtype: 'int16', code: 'i2', bytes: 2, make: (buffer) => new Int16Array(buffer) },
  { dtype: 'uint16', code: 'u2', bytes: 2, make: (buffer) => new Uint16Array(buffer) },
  { dtype: 'int32', code: 'i4', bytes: 4, make: (buffer) => new Int32Array(buffer) },
  { dtype: 'uint32', code: 'u4', bytes: 4, make: (buffer) => new Uint32Array(buffer) },
  { dtype: 'int64', code: 'i8', bytes: 8, make: (buffer) => new BigInt64Array(buffer) },
  { dtype: 'uint64', code: 'u8', bytes: 8, make: (buffer) => new BigUint64Array(buffer) },
  { dtype: 'float16', code: 'f2', bytes: 2, make: (buffer) => Float32Array.from(new Uint16Array(buffer), halfToNumber) },
  { dtype: 'float32', code: 'f4', bytes: 4, make: (buffer) => new Float32Array(buffer) },
  { dtype: 'float64', code: 'f8', bytes: 8, make: (buffer) => new Float64Array(buffer) },
  { dtype: 'complex64', code: 'c8', bytes: 8, parts: 2, make: (buffer) => new Float32Array(buffer) },
  { dtype: 'complex128', code: 'c16', bytes: 16, parts: 2, make: (buffer) => new Float64Array(buffer) },
];
const littleEndianMachine = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Turns the bytes of every number around. */
function swapBytes(bytes: Uint8Array, width: number): void {
  if (width > 1) for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

const op = 'npy';
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** numpy's own bound is 10,000 characters, above which it wants to be told that the file is trusted. */
const maxHeader = 10_000;
/** numpy's own bound. */
const maxRank = 64;

function fail(what: string, expected?: string, received?: unknown): never {
  throw new FormatError(what, { op, expected, received, fix: 'The file is damaged or not a .npy file; save or download it again.' });
}

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
}

/** The header is a Python dict literal with three keys; this reads that and nothing else. */
function parseHeader(text: string): Header {
  let descr: string | null = null;
  let fortran: boolean | null = null;
  let shape: number[] | null = null;
  const body = /^\{(.*)\}\s*$/s.exec(text)?.[1] ?? fail('the header is no dictionary');
  // A value is a string, a bool or a tuple; a list is the descr of a structured type.
  const item = /\s*'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([\d,\sL]*\)|\[)\s*(?:,|$)?/gy;
  while (item.lastIndex < body.length) {
    const at = item.lastIndex;
    const match = item.exec(body);
    if (!match) {
      if (body.slice(at).trim() === '') break;
      fail(`the header is malformed at ${JSON.stringify(body.slice(at, at + 30))}`);
    }
    const [, key, value] = match;
    if (key === 'descr') {
      if (descr !== null || !value.startsWith("'")) fail('the array has a structured type', 'a plain number type', value);
      descr = value.slice(1, -1);
    } else if (key === 'fortran_order') {
      if (fortran !== null || !/^(True|False)$/.test(value)) fail(`fortran_order is ${value}`, 'True or False');
      fortran = value === 'True';
    } else {
      if (shape !== null || !value.startsWith('(')) fail(`shape is ${value}`, 'a tuple of numbers');
      const sizes = value
        .slice(1, -1)
        .split(',')
        .map((size) => size.trim());
      if (sizes.at(-1) === '') sizes.pop();
      if (sizes.some((size) => !/^\d{1,16}L?$/.test(size))) fail(`shape is ${value}`, 'a tuple of numbers');
      shape = sizes.map((size) => Number.parseInt(size, 10));
    }
  }
  if (descr === null || fortran === null || shape === null) fail('the header lacks descr, fortran_order or shape');
  return { descr, fortran, shape };
}

/** From column-major to row-major order, elements of `width` bytes: the last index of the result varies fastest. */
function transpose(bytes: Uint8Array, shape: readonly number[], width: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  const strides: number[] = [];
  let stride = width;
  for (const size of shape) {
    strides.push(stride);
    stride *= size;
  }
  const index = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to += width) {
    for (let k = 0; k < width; k++) out[to + k] = bytes[from + k];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= index[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return out;
}

interface Start extends Header {
  /** Where the data start. */
  readonly start: number;
}

function readStart(bytes: Uint8Array): Start {
  if (bytes.length < 10 || magic.some((byte, i) => bytes[i] !== byte)) fail('the file does not start as a .npy file does');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6];
  if (version < 1 || version > 3 || bytes[7] !== 0) fail(`the format version is ${version}.${bytes[7]}`, '1.0, 2.0 or 3.0');
  const headerStart = version === 1 ? 10 : 12;
  if (bytes.length < headerStart) fail(`the file has ${bytes.length} bytes`, `at least ${headerStart}`);
  const headerBytes = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const start = headerStart + headerBytes;
  if (headerBytes > maxHeader || start > bytes.length) fail(`the header has ${headerBytes} bytes`, `at most ${maxHeader}, in the file`);
  const header = parseHeader(new TextDecoder().decode(bytes.subarray(headerStart, start)));
  if (header.shape.length > maxRank) fail(`the array has ${header.shape.length} dimensions`, `at most ${maxRank}`, header.shape.length);
  return { ...header, start };
}

/** @throws FormatError unless header and length agree exactly */
function checkSize(what: string, shape: readonly number[], width: number, bytes: number): void {
  // A size of 0 makes the array empty whatever the others are.
  const size = shape.includes(0) ? 0 : shape.reduce((product, n) => product * n, width);
  if (!Number.isSafeInteger(size) || bytes !== size) {
    fail(`the file has ${bytes} bytes of data`, `${size} bytes for ${what} [${shape.join(', ')}]`);
  }
}

function kindOf(descr: string): Kind {
  const kind = kinds.find(({ code }) => code === descr.slice(1));
  const order = descr[0];
  if (!kind || !['<', '>', '|', '='].includes(order) || (order === '|' && kind.bytes > 1)) {
    const python = descr.includes('O') ? ' (Python objects, which only Python can read)' : '';
    const text = /^[<>|=]?[US]\d+$/.test(descr) ? ' (text: decodeNpyStrings)' : '';
    fail(`the element type is ${JSON.stringify(descr)}${python}${text}`, `one of ${kinds.map(({ dtype }) => dtype).join(', ')}`, descr);
  }
  return kind;
}

/** Most bytes a header can take, with what is before it. */
export const maxNpyHeader = 12 + maxHeader;

/**
 * Type and shape of a .npy file from its start (the first {@link maxNpyHeader} bytes, or all).
 * @throws FormatError as {@link decodeNpy}
 */
export function npyInfo(start: Uint8Array): { readonly dtype: NpyDType; readonly shape: readonly number[] } {
  const { descr, shape } = readStart(start);
  return { dtype: kindOf(descr).dtype, shape };
}

/**
 * The elements of a .npy file in row-major order and in this machine's byte order, as a copy.
 * @throws FormatError as {@link decodeNpy}
 */
export function npyBytes(bytes: Uint8Array): {
  readonly dtype: NpyDType;
  readonly shape: readonly number[];
  readonly data: Uint8Array<ArrayBuffer>;
} {
  const { descr, fortran, shape, start } = readStart(bytes);
  const kind = kindOf(descr);
  checkSize(kind.dtype, shape, kind.bytes, bytes.length - start);
  // (slice() of a Buffer would be a view of memory that others use.)
  const copy = new Uint8Array(bytes.subarray(start));
  if (descr[0] === '>' ? littleEndianMachine : !littleEndianMachine) swapBytes(copy, kind.bytes / (kind.parts ?? 1));
  if (kind.dtype === 'bool' && copy.some((byte) => byte > 1)) fail('a bool is neither 0 nor 1');
  return { dtype: kind.dtype, shape, data: fortran && shape.length > 1 ? transpose(copy, shape, kind.bytes) : copy };
}

/**
 * Reads a .npy file held in memory. Python objects (pickles) and dates are refused; for text see {@link decodeNpyStrings}.
 * @throws FormatError unless header and length agree exactly.
 */
export function decodeNpy(bytes: Uint8Array): NpyArray {
  const { dtype, shape, data } = npyBytes(bytes);
  const kind = kinds.find((entry) => entry.dtype === dtype);
  return { dtype, shape, data: kind ? kind.make(data.buffer) : fail(`the element type is ${dtype}`) };
}

/**
 * Reads a .npy file of text (numpy's types U and S): a string an element, row-major. Bytes of S are taken as Latin-1.
 * @throws FormatError unless it holds text, and header and length agree exactly.
 */
export function decodeNpyStrings(bytes: Uint8Array): { readonly shape: readonly number[]; readonly data: readonly string[] } {
  const { descr, fortran, shape, start } = readStart(bytes);
  const match = /^([<>|=]?)([US])(\d{1,9})$/.exec(descr);
  if (!match) fail(`the element type is ${JSON.stringify(descr)}`, 'text (U or S)', descr);
  const [, order, kind, length] = match;
  const width = Number(length) * (kind === 'U' ? 4 : 1);
  // (Elements of no characters take no bytes: any number of them would fit.)
  if (width === 0) fail('the texts have no room for characters', 'a length of at least 1', descr);
  checkSize('text', shape, width, bytes.length - start);
  const copy = new Uint8Array(bytes.subarray(start));
  const rows = fortran && shape.length > 1 ? transpose(copy, shape, width) : copy;
  const view = new DataView(rows.buffer);
  const data: string[] = [];
  for (let at = 0; at < rows.length; at += width) {
    let text = '';
    for (let k = 0; k < width; k += kind === 'U' ? 4 : 1) {
      const code = kind === 'U' ? view.getUint32(at + k, order !== '>') : rows[at + k];
      if (code > 0x10ffff) fail(`a text has the character ${code}`);
      text += String.fromCodePoint(code);
    }
    // numpy fills texts up with zeros.
    data.push(text.replace(/\0+$/, ''));
  }
  return { shape, data };
}

/** The dtype that an array's data has by itself. */
function dtypeOf(data: NpyData): NpyDType {
  const name = data.constructor.name.replace('Array', '').replace('Big', '').toLowerCase();
  return kinds.find(({ dtype }) => dtype === name)?.dtype ?? fail(`an array of type ${data.constructor.name} has no .npy type`);
}

/** An array to write: the dtype is that of the data unless told otherwise ('float16' from float32, 'bool' from bytes, 'complex64' from pairs). */
export interface NpyInput {
  readonly data: NpyData;
  readonly shape: readonly number[];
  readonly dtype?: NpyDType;
}

/**
 * A .npy file as bytes, format version 1.0, little-endian, row-major.
 * @throws ArgumentError when data, shape and dtype do not fit one another.
 */
export function encodeNpy({ data, shape, dtype = dtypeOf(data) }: NpyInput): Uint8Array {
  const kind = kinds.find((entry) => entry.dtype === dtype);
  const natural = dtypeOf(data);
  const fits =
    dtype === natural ||
    (dtype === 'float16' && natural === 'float32') ||
    (dtype === 'bool' && natural === 'uint8') ||
    (dtype === 'complex64' && natural === 'float32') ||
    (dtype === 'complex128' && natural === 'float64');
  if (!kind || !fits) {
    throw new ArgumentError(`dtype is ${dtype}, the data a ${data.constructor.name}`, { op, received: dtype, expected: natural });
  }
  const size = shape.reduce((product, n) => product * n, kind.parts ?? 1);
  if (shape.length > maxRank || shape.some((n) => !Number.isSafeInteger(n) || n < 0) || size !== data.length) {
    throw new ArgumentError(`the array has ${data.length} elements and shape [${shape.join(', ')}]`, {
      op,
      received: shape,
      expected: `a shape of at most ${maxRank} sizes whose product is ${data.length}`,
    });
  }
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
  const order = kind.bytes === 1 ? '|' : '<';
  const text = `{'descr': '${order}${kind.code}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // Spaces and a newline bring the data to a multiple of 64 bytes.
  const headerBytes = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const values = dtype === 'float16' ? Uint16Array.from(data as Float32Array, numberToHalf) : data;
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const out = new Uint8Array(10 + headerBytes + raw.length);
  out.set(magic);
  out[6] = 1;
  new DataView(out.buffer).setUint16(8, headerBytes, true);
  out.set(new TextEncoder().encode(text.padEnd(headerBytes - 1)), 10);
  out[10 + headerBytes - 1] = 0x0a;
  out.set(dtype === 'bool' ? raw.map((byte) => (byte === 0 ? 0 : 1)) : raw, 10 + headerBytes);
  if (!littleEndianMachine) swapBytes(out.subarray(10 + headerBytes), kind.bytes / (kind.parts ?? 1));
  return out;
}

export interface NpzLimits {
  /** Most bytes of all arrays together; 2 GB unless told otherwise. */
  readonly maxBytes?: number;
  /** The arrays to read; all unless told otherwise. */
  readonly names?: readonly string[];
}

/**
 * The arrays of a .npz file (numpy's savez and savez_compressed), by name.
 * @throws FormatError when it is damaged, over the limit or lacks a name; EnvironmentError when it cannot be read.
 */
export async function readNpz(source: ByteSource, { maxBytes = 2 ** 31 - 1, names }: NpzLimits = {}): Promise<Map<string, NpyArray>> {
  const archive = await openZip(source, { maxEntryBytes: maxBytes, maxTotalBytes: names ? Number.MAX_SAFE_INTEGER : maxBytes });
  try {
    const arrays = new Map<string, NpyArray>();
    for (const name of names ?? [...archive.entries.keys()].map((entry) => entry.replace(/\.npy$/, ''))) {
      const entry = archive.entries.get(`${name}.npy`) ?? archive.entries.get(name);
      if (!entry) {
        fail(`there is no array ${JSON.stringify(name)}`, [...archive.entries.keys()].join(', ').slice(0, 200), name);
      }
      arrays.set(name, decodeNpy(await entry.read()));
    }
    return arrays;
  } finally {
    await archive.close();
  }
}

/** A .npz file in pieces, see {@link zipChunks}. */
function npzChunks(arrays: Iterable<readonly [string, NpyInput]>, compress: boolean): Promise<Uint8Array[]> {
  return zipChunks(
    [...arrays].map(([name, array]) => [`${name}.npy`, encodeNpy(array)] as const),
    { compress, align: 64 },
  );
}

/** A .npz file as bytes. @throws ArgumentError as {@link encodeNpy}. */
export async function encodeNpz(
  arrays: Iterable<readonly [string, NpyInput]>,
  { compress = false }: { readonly compress?: boolean } = {},
): Promise<Uint8Array> {
  const chunks = await npzChunks(arrays, compress);
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** Writes a .npz file, whole or not at all. @throws EnvironmentError when it cannot be written. */
export async function writeNpz(
  path: string,
  arrays: Iterable<readonly [string, NpyInput]>,
  { compress = false }: { readonly compress?: boolean } = {},
): Promise<void> {
  await writeFileAtomic(path, await npzChunks(arrays, compress));
}

/** Reads a .npy file of at most `maxBytes` (2 GB unless told otherwise). */
export async function readNpy(path: string, { maxBytes = 2 ** 31 - 1 }: { readonly maxBytes?: number } = {}): Promise<NpyArray> {
  return decodeNpy(await readFileBounded(path, maxBytes));
}

/** Writes a .npy file, whole or not at all. */
export async function writeNpy(path: string, array: NpyInput): Promise<void> {
  await writeFileAtomic(path, encodeNpy(array));
}
