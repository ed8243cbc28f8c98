/** Element types and shapes of HDF5. */
import { FormatError } from 'trireme';
import type { Cursor } from './hdf5-cursor.js';
import type { Variable } from './variables.js';

export interface Hdf5Type {
  readonly kind: 'float' | 'int' | 'text' | 'long text' | 'other';
  readonly bytes: number;
  readonly signed: boolean;
  readonly bigEndian: boolean;
}

const maxRank = 32;

export function readSpace(data: Cursor): number[] {
  const version = data.u8();
  const rank = data.u8();
  const flags = data.u8();
  if (version !== 1 && version !== 2) throw new FormatError(`a dataspace is of version ${version}`, { op: 'hdf5', expected: '1 or 2' });
  if (rank > maxRank) throw new FormatError(`a dataset has ${rank} dimensions`, { op: 'hdf5', expected: `at most ${maxRank}` });
  void flags;
  // Version 2 tells scalars from datasets without elements.
  const kind = data.u8();
  if (version === 2 && kind === 2) return [0];
  if (version === 1) data.skip(4);
  const shape = Array.from({ length: rank }, () => data.length());
  if (!shape.every(Number.isSafeInteger)) throw new FormatError('a dataset has dimensions beyond 2^53', { op: 'hdf5' });
  return shape;
}

export function readDatatype(data: Cursor): Hdf5Type {
  const head = data.u8();
  const [bits, bits1] = [data.u8(), data.u8()];
  data.skip(1);
  const bytes = data.u32();
  void bits1;
  if (bytes === 0 || bytes > 2 ** 20) throw new FormatError(`elements have ${bytes} bytes`, { op: 'hdf5', expected: '1 or more' });
  const bigEndian = (bits & 1) === 1;
  switch (head & 15) {
    case 0:
      return { kind: 'int', bytes, signed: (bits & 8) !== 0, bigEndian };
    case 1:
      return { kind: 'float', bytes, signed: true, bigEndian };
    case 3:
      return { kind: 'text', bytes, signed: false, bigEndian: false };
    case 8:
      // An enumeration over bytes: h5py's bool.
      return { kind: bytes === 1 ? 'int' : 'other', bytes, signed: false, bigEndian: false };
    case 9:
      return { kind: (bits & 15) === 1 ? 'long text' : 'other', bytes, signed: false, bigEndian: false };
    default:
      return { kind: 'other', bytes, signed: false, bigEndian: false };
  }
}

function half(bits: number): number {
  const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return mantissa ? Number.NaN : sign * Infinity;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15));
}

/** The elements of a dataset. `bytes` is a copy of its own. @throws FormatError for types that are no numbers */
export function decodeElements(bytes: Uint8Array, { kind, bytes: width, signed, bigEndian }: Hdf5Type, name: string): Variable['data'] {
  const copy = bytes.slice();
  if (bigEndian && width > 1) for (let i = 0; i + width <= copy.length; i += width) copy.subarray(i, i + width).reverse();
  const { buffer } = copy;
  if (kind === 'float' && width === 4) return new Float32Array(buffer);
  if (kind === 'float' && width === 8) return new Float64Array(buffer);
  if (kind === 'float' && width === 2) return Float32Array.from(new Uint16Array(buffer), half);
  if (kind === 'int' && width === 1) return signed ? new Int8Array(buffer) : copy;
  if (kind === 'int' && width === 2) return signed ? new Int16Array(buffer) : Int32Array.from(new Uint16Array(buffer));
  if (kind === 'int' && width === 4) return signed ? new Int32Array(buffer) : BigInt64Array.from(new Uint32Array(buffer), BigInt);
  if (kind === 'int' && width === 8) return new BigInt64Array(buffer);
  throw new FormatError(`${name} is of an element type (${kind}, ${width} bytes) that is no number`, {
    op: 'hdf5',
    expected: 'floats of 2, 4 or 8 bytes, or integers',
  });
}
