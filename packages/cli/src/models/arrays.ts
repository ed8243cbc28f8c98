/** Values of models in files: .npy, .npz and .pb. */
import { mkdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import {
  decodeValue,
  type ElementType,
  elementInfo,
  encodeTensorFile,
  type HostArray,
  type OnnxPort,
  type OnnxValue,
  TensorValue,
} from '@trireme/onnx';
import {
  decodeNpy,
  decodeNpyStrings,
  encodeNpy,
  type NpyArray,
  type NpyData,
  readFileBounded,
  readNpz,
  writeFileAtomic,
  writeNpz,
} from 'trireme/io';
import { ConfigError, reasonOf, UsageError } from '../errors.js';

const largest = 2 ** 31 - 1;

/** Where a value came from, for messages. */
export interface GivenValue {
  readonly file: string;
  readonly value: OnnxValue;
}

function valueOf({ data, dtype, shape }: NpyArray): TensorValue {
  return TensorValue.ofHost(data, dtype, shape);
}

async function oneValue(file: string, kind: OnnxPort['kind']): Promise<OnnxValue> {
  const bytes = await readFileBounded(file, largest);
  if (extname(file) === '.pb') return decodeValue(bytes, kind);
  // Text has a reader of its own.
  const header = new TextDecoder('latin1').decode(bytes.subarray(0, 128));
  if (/'descr': '[<>|=]?[US]\d/.test(header)) {
    const { data, shape } = decodeNpyStrings(bytes);
    return TensorValue.ofHost(data, 'string', shape);
  }
  return valueOf(decodeNpy(bytes));
}

/**
 * Reads `x=file.npy`, `x=file.pb`, `x=file.npz` (an archive of one array, or with one named x) and `file.npz` (arrays by their names).
 * A file without a name is for the only input, or for the one it is named after.
 * @throws UsageError for other endings and names given twice; ConfigError for files that cannot be read
 */
export async function readValues(given: readonly string[], ports: readonly OnnxPort[]): Promise<Map<string, GivenValue>> {
  const inputs = ports.map(({ name }) => name);
  const found = new Map<string, GivenValue>();
  const add = (name: string, file: string, value: OnnxValue): void => {
    if (found.has(name)) throw new UsageError(`input ${name} is given twice`, 'Give each input once.');
    found.set(name, { file, value });
  };
  for (const text of given) {
    const at = text.indexOf('=');
    const [named, file] = at > 0 ? [text.slice(0, at), text.slice(at + 1)] : [null, text];
    const ending = extname(file);
    if (ending !== '.npy' && ending !== '.npz' && ending !== '.pb') {
      throw new UsageError(`${file} is no file of values`, 'Inputs are .npy, .npz or .pb files: --input NAME=FILE.');
    }
    try {
      if (ending === '.npz') {
        const arrays = await readNpz(file);
        if (named === null) for (const [name, array] of arrays) add(name, file, valueOf(array));
        else {
          const array = arrays.get(named) ?? (arrays.size === 1 ? [...arrays.values()][0] : undefined);
          if (array === undefined) throw new UsageError(`${file} has no array ${named}`, `It has ${[...arrays.keys()].join(', ')}.`);
          add(named, file, valueOf(array));
        }
      } else {
        const own = basename(file, ending);
        const name = named ?? (inputs.includes(own) || inputs.length !== 1 ? own : inputs[0]);
        add(name, file, await oneValue(file, ports.find((port) => port.name === name)?.kind));
      }
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new ConfigError({ file, message: reasonOf(error) }, error);
    }
  }
  return found;
}

/** What .npy has no type for is written wider: 8-bit floats and bfloat16 as float32, 4-bit integers as bytes. */
function npyTypeOf(type: ElementType): NpyArray['dtype'] {
  switch (type) {
    case 'bfloat16':
    case 'float8e4m3fn':
    case 'float8e4m3fnuz':
    case 'float8e5m2':
    case 'float8e5m2fnuz':
    case 'float8e8m0':
    case 'float4e2m1':
      return 'float32';
    case 'int4':
    case 'int2':
      return 'int8';
    case 'uint4':
    case 'uint2':
      return 'uint8';
    case 'string':
      throw new ConfigError({ message: 'text cannot be written as .npy.', fix: 'Write a folder: text becomes .json there.' });
    default:
      return type;
  }
}

export function npyOf({ host, type, shape }: TensorValue): {
  readonly data: NpyData;
  readonly shape: readonly number[];
  readonly dtype: NpyArray['dtype'];
} {
  return { data: host as NpyData, shape, dtype: npyTypeOf(type) };
}

/** A name as a file name. */
const fileName = (name: string): string => name.replaceAll(/[^\w.-]/g, '_') || '_';

/**
 * Writes values to `target`: a .npz file, a .npy or .pb file (of one value), or a folder with a .npy file for each, .json for text. Returns the files.
 * @throws UsageError for a file of one value and several values
 */
export async function writeValues(target: string, values: ReadonlyMap<string, TensorValue>): Promise<string[]> {
  const ending = extname(target);
  const isFolder = (await stat(target).catch(() => null))?.isDirectory() ?? false;
  if (ending === '.npz' && !isFolder) {
    await writeNpz(
      target,
      [...values].map(([name, value]) => [name, npyOf(value)] as const),
    );
    return [target];
  }
  if ((ending === '.npy' || ending === '.pb') && !isFolder) {
    const [[name, value] = [undefined, undefined]] = values;
    if (value === undefined || values.size !== 1)
      throw new UsageError(`${target} holds one output, and there are ${values.size}`, 'Write a .npz file or a folder.');
    await writeFileAtomic(target, ending === '.npy' ? encodeNpy(npyOf(value)) : encodeTensorFile(value, name ?? ''));
    return [target];
  }
  await mkdir(target, { recursive: true });
  const files: string[] = [];
  for (const [name, value] of values) {
    const isText = value.type === 'string';
    const file = join(target, `${fileName(name)}${isText ? '.json' : '.npy'}`);
    const bytes = isText
      ? new TextEncoder().encode(`${JSON.stringify({ shape: value.shape, data: value.host })}\n`)
      : encodeNpy(npyOf(value));
    await writeFileAtomic(file, bytes);
    files.push(file);
  }
  return files;
}

export interface ValueSummary {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Of the finite elements; null without any, and for text. */
  readonly min: number | null;
  readonly max: number | null;
  readonly mean: number | null;
  /** Elements that are NaN or infinite. */
  readonly notFinite: number;
  /** The first elements; int64 as numbers. */
  readonly first: readonly (number | string)[];
}

export function numbersIn(host: HostArray): number[] {
  return Array.from(host as ArrayLike<number | bigint | string>, Number);
}

export function summarizeValue(name: string, { type, shape, host }: TensorValue): ValueSummary {
  const shown = 8;
  if (elementInfo[type].bits === 0) {
    return {
      name,
      type,
      shape,
      min: null,
      max: null,
      mean: null,
      notFinite: 0,
      first: Array.from(host as readonly string[]).slice(0, shown),
    };
  }
  let [min, max, sum, count] = [Infinity, -Infinity, 0, 0];
  for (const entry of host as Float64Array) {
    const value = Number(entry);
    if (!Number.isFinite(value)) continue;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    count++;
  }
  const known = count > 0;
  return {
    name,
    type,
    shape,
    min: known ? min : null,
    max: known ? max : null,
    mean: known ? sum / count : null,
    notFinite: host.length - count,
    first: numbersIn(host.slice(0, shown) as HostArray),
  };
}
