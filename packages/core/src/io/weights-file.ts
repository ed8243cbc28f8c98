/** What files of weights have in common once they are open: named tensors, read when they are asked for. */
import { ArgumentError, FormatError } from '../errors.js';
import type { RandomAccess } from './random-access.js';
import { readLarge } from './read-large.js';
import type { RawTensor } from './safetensors.js';
import { fromStored, type StoredType, storedBytes } from './stored.js';

export type WeightsFormat = 'safetensors' | 'pytorch' | 'npz' | 'npy' | 'gguf';

export interface WeightEntry {
  readonly name: string;
  readonly shape: readonly number[];
  /** The file's name of the element type: `F16`, `bfloat16`, `Q4_K`. */
  readonly storedAs: string;
  /**
   * The tensor: row-major, little-endian, of a dtype that holds its values (uint16 comes as int32, quantized blocks as float32).
   * @throws FormatError when the file is damaged or the type has no such dtype, EnvironmentError when it cannot be read.
   */
  read(): Promise<RawTensor>;
  /** The bytes as they are in the file, for quantized blocks and types without a dtype. */
  readStored(): Promise<Uint8Array>;
}

/** Metadata of a file: text in safetensors; numbers, truth values and lists too in GGUF. */
export type MetadataValue = string | number | bigint | boolean | readonly MetadataValue[];

export interface WeightsFile {
  readonly format: WeightsFormat;
  /** By name, in the order of the file. Names may be anything. */
  readonly entries: ReadonlyMap<string, WeightEntry>;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  close(): Promise<void>;
}

/** An entry whose elements lie in one piece of a source. */
export function entryAt(
  source: RandomAccess,
  begin: number,
  { name, shape, type, storedAs = type, op }: { name: string; shape: readonly number[]; type: StoredType; storedAs?: string; op: string },
): WeightEntry {
  const bytes = storedBytes(type, shape);
  const readStored = (): Promise<Uint8Array> => readLarge(source, begin, begin + bytes);
  return { name, shape, storedAs, readStored, read: async () => fromStored(type, shape, await readStored(), op) };
}

/** The entry of this name. @throws FormatError that lists what there is */
export function entryNamed({ entries, format }: WeightsFile, name: string): WeightEntry {
  const entry = entries.get(name);
  if (entry) return entry;
  const all = [...entries.keys()];
  throw new FormatError(`there is no tensor ${JSON.stringify(name)}`, {
    op: format,
    received: name,
    expected: `one of ${all.slice(0, 8).join(', ')}${all.length > 8 ? ` and ${all.length - 8} more` : ''}`,
  });
}

/** @throws ArgumentError unless the limit is a number of bytes */
export function checkLimit(op: string, name: string, value: number): void {
  if (!(value > 0)) throw new ArgumentError(`${name} is ${value}`, { op, received: value, expected: 'a number of bytes above 0' });
}
