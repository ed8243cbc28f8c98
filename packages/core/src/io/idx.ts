/**
 * The IDX format of the MNIST family of datasets: two zero bytes, a type code, the number of dimensions, the
 * dimensions as big-endian 32-bit numbers, then big-endian data in row-major order.
 */
import { FormatError } from '../errors.js';
import { gunzip, isGzip } from './gzip.js';

export type IdxData = Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
export type IdxDType = 'uint8' | 'int8' | 'int16' | 'int32' | 'float32' | 'float64';

export interface IdxArray {
  readonly dtype: IdxDType;
  readonly shape: readonly number[];
  /** In the byte order of this machine; a copy, never a view of the input. */
  readonly data: IdxData;
}

interface IdxType {
  readonly dtype: IdxDType;
  readonly bytes: number;
  readonly make: (buffer: ArrayBuffer) => IdxData;
}

const types: ReadonlyMap<number, IdxType> = new Map<number, IdxType>([
  [0x08, { dtype: 'uint8', bytes: 1, make: (buffer) => new Uint8Array(buffer) }],
  [0x09, { dtype: 'int8', bytes: 1, make: (buffer) => new Int8Array(buffer) }],
  [0x0b, { dtype: 'int16', bytes: 2, make: (buffer) => new Int16Array(buffer) }],
  [0x0c, { dtype: 'int32', bytes: 4, make: (buffer) => new Int32Array(buffer) }],
  [0x0d, { dtype: 'float32', bytes: 4, make: (buffer) => new Float32Array(buffer) }],
  [0x0e, { dtype: 'float64', bytes: 8, make: (buffer) => new Float64Array(buffer) }],
]);

const op = 'idx';
/** Rows of MNIST have at most 3; more than a few means the file is something else. */
const maxRank = 8;

function fail(what: string, expected: string, received?: unknown): never {
  throw new FormatError(what, { op, expected, received, fix: 'The file is damaged or not an IDX file; download it again.' });
}

/**
 * Reads an IDX file held in memory.
 * @throws FormatError unless header and length agree exactly.
 */
export function decodeIdx(bytes: Uint8Array): IdxArray {
  if (bytes.length < 4) fail(`the file has ${bytes.length} bytes`, 'at least 4');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = types.get(bytes[2]);
  const rank = bytes[3];
  if (bytes[0] !== 0 || bytes[1] !== 0 || !type) {
    fail(`the file starts with 0x${view.getUint32(0).toString(16).padStart(8, '0')}`, 'two zero bytes and a type code');
  }
  if (rank > maxRank) fail(`the header names ${rank} dimensions`, `at most ${maxRank}`, rank);
  const start = 4 + 4 * rank;
  if (bytes.length < start) fail(`the file has ${bytes.length} bytes`, `${start} bytes of header`, bytes.length);
  const shape: number[] = [];
  let size = type.bytes;
  for (let axis = 0; axis < rank; axis++) {
    shape.push(view.getUint32(4 + 4 * axis));
    size *= shape[axis];
    if (!Number.isSafeInteger(size)) fail(`the shape [${shape.join(', ')}] is too large`, 'fewer elements', shape);
  }
  if (bytes.length - start !== size) {
    fail(`the file has ${bytes.length - start} bytes of data`, `${size} bytes for ${type.dtype} [${shape.join(', ')}]`);
  }
  const copy = bytes.slice(start);
  if (type.bytes > 1 && new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) {
    for (let i = 0; i < copy.length; i += type.bytes) copy.subarray(i, i + type.bytes).reverse();
  }
  return { dtype: type.dtype, shape, data: type.make(copy.buffer) };
}

/**
 * Reads an IDX file, gzipped or not.
 * @param maxBytes bound on the decompressed size (256 MB unless told otherwise).
 * @throws FormatError when the file is malformed or larger than the limit.
 */
export async function readIdx(bytes: Uint8Array, maxBytes = 256 * 2 ** 20): Promise<IdxArray> {
  if (!isGzip(bytes)) {
    if (bytes.length > maxBytes) fail(`the file has ${bytes.length} bytes`, `at most ${maxBytes}`, bytes.length);
    return decodeIdx(bytes);
  }
  return decodeIdx(await gunzip(bytes, maxBytes));
}
