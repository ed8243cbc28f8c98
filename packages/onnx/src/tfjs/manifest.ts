/**
 * The weights of TensorFlow.js models: a manifest in model.json, shards beside it, elements as they are or quantized.
 * Format: tfjs-core/src/io/types.ts (WeightsManifestEntry).
 */
import { FormatError } from 'trireme';
import type { Config } from '../formats/json.js';

const op = 'tfjs';
const maxShards = 10_000;
const maxWeights = 200_000;
/** Shards are of 4 MB mostly; all together, bounded by what is there to be read. */
const maxTotalBytes = 2 ** 32;

export type TfjsDType = 'float32' | 'int32' | 'bool' | 'string' | 'complex64';

/** A weight: row-major. Bool as bytes of 0 and 1, complex numbers as pairs. */
export interface TfjsWeight {
  readonly name: string;
  readonly dtype: TfjsDType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array | readonly string[];
}

/** Gives a shard's content by its path in the manifest. */
export type ReadShard = (path: string) => Promise<Uint8Array>;

interface Quantization {
  readonly dtype: 'uint8' | 'uint16' | 'float16';
  readonly scale: number;
  readonly min: number;
}

interface Entry {
  readonly name: string;
  readonly dtype: TfjsDType;
  readonly shape: readonly number[];
  readonly quantization: Quantization | null;
}

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op, expected, fix: 'The model is damaged; convert or download it again.' });
}

function readEntry(config: Config): Entry {
  const name = config.string('name');
  const dtype = config.string('dtype');
  if (!['float32', 'int32', 'bool', 'string', 'complex64'].includes(dtype))
    fail(`weight ${JSON.stringify(name)} is of ${dtype}`, 'float32, int32, bool, string or complex64');
  const given = config.optionalObject('quantization');
  const kind = given?.string('dtype');
  if (kind !== undefined && !['uint8', 'uint16', 'float16'].includes(kind))
    fail(`weight ${JSON.stringify(name)} is quantized as ${kind}`, 'uint8, uint16 or float16');
  const quantization =
    given === null || kind === undefined
      ? null
      : { dtype: kind as Quantization['dtype'], scale: given.number('scale', 1), min: given.number('min', 0) };
  return { name, dtype: dtype as TfjsDType, shape: config.shape('shape'), quantization };
}

const bytesOf = { float32: 4, int32: 4, bool: 1, complex64: 8, uint8: 1, uint16: 2, float16: 2 } as const;

function half(bits: number): number {
  const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return mantissa ? Number.NaN : sign * Infinity;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15));
}

/** Values of quantized elements: code * scale + min, in float32. */
function dequantize(bytes: Uint8Array, { dtype, scale, min }: Quantization, size: number, target: TfjsDType): Float32Array | Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = dtype === 'uint8' ? (i: number) => bytes[i] : (i: number) => view.getUint16(2 * i, true);
  if (dtype === 'float16') return Float32Array.from({ length: size }, (_, i) => half(code(i)));
  const out = target === 'int32' ? new Int32Array(size) : new Float32Array(size);
  for (let i = 0; i < size; i++) out[i] = target === 'int32' ? Math.round(code(i) * scale + min) : code(i) * scale + min;
  return out;
}

/** Texts: a 4-byte length before each. */
function readStrings(bytes: Uint8Array, start: number, size: number): { data: string[]; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data: string[] = [];
  let at = start;
  if (size > bytes.length) fail(`${size} texts in ${bytes.length} bytes`);
  for (let i = 0; i < size; i++) {
    if (at + 4 > bytes.length) fail('the texts pass the end of the data');
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > bytes.length) fail('the texts pass the end of the data');
    data.push(new TextDecoder().decode(bytes.subarray(at, at + length)));
    at += length;
  }
  return { data, end: at };
}

function readGroup(entries: readonly Entry[], bytes: Uint8Array): TfjsWeight[] {
  let at = 0;
  return entries.map(({ name, dtype, shape, quantization }) => {
    const size = shape.reduce((a, b) => a * b, 1);
    if (dtype === 'string') {
      const { data, end } = readStrings(bytes, at, size);
      at = end;
      return { name, dtype, shape, data };
    }
    const length = size * bytesOf[quantization?.dtype ?? dtype];
    if (!Number.isSafeInteger(length) || at + length > bytes.length) {
      fail(`weight ${JSON.stringify(name)} [${shape.join(', ')}] passes the ${bytes.length} bytes of its group`);
    }
    const part = bytes.slice(at, at + length);
    at += length;
    if (quantization !== null) return { name, dtype, shape, data: dequantize(part, quantization, size, dtype) };
    if (dtype === 'bool') return { name, dtype, shape, data: part };
    return { name, dtype, shape, data: dtype === 'int32' ? new Int32Array(part.buffer) : new Float32Array(part.buffer) };
  });
}

/** A path that cannot lead out of the model's folder. */
function checkPath(path: unknown): string {
  if (typeof path !== 'string' || path.length > 1000) fail(`a shard is ${JSON.stringify(path)?.slice(0, 80)}`, 'a path');
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..' || /[\\:\0]/.test(part))) {
    fail(`a shard is at ${JSON.stringify(path.slice(0, 80))}`, "a path within the model's folder");
  }
  return path;
}

/**
 * Reads all weights of a manifest.
 * @throws FormatError when manifest and shards do not fit one another, or a path leads out of the model's folder
 */
export async function readManifest(model: Config, read: ReadShard): Promise<Map<string, TfjsWeight>> {
  const weights = new Map<string, TfjsWeight>();
  let total = 0;
  for (const group of model.objects('weightsManifest', maxShards)) {
    const paths = group.list('paths', maxShards).map(checkPath);
    const entries = group.objects('weights', maxWeights).map(readEntry);
    const shards: Uint8Array[] = [];
    for (const path of paths) {
      const shard = await read(path);
      total += shard.length;
      if (total > maxTotalBytes) fail(`the shards have more than ${maxTotalBytes} bytes`);
      shards.push(shard);
    }
    const bytes = new Uint8Array(shards.reduce((sum, shard) => sum + shard.length, 0));
    let at = 0;
    for (const shard of shards) {
      bytes.set(shard, at);
      at += shard.length;
    }
    for (const weight of readGroup(entries, bytes)) {
      if (weights.has(weight.name)) fail(`the weight ${JSON.stringify(weight.name)} occurs twice`);
      weights.set(weight.name, weight);
    }
  }
  return weights;
}
