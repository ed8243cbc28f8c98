/** Inputs of a model: those from files checked, missing ones made up. */
import { type Dimension, type ElementType, elementInfo, type OnnxPort, type OnnxValue, TensorValue } from '@trireme/onnx';
import { ConfigError } from '../errors.js';
import { suggestion } from '../suggest.js';
import type { GivenValue } from './arrays.js';

const shapeText = (shape: readonly Dimension[]): string => `[${shape.map((extent) => extent ?? '?').join(', ')}]`;

/** numpy's name of a type, for the advice how to convert. */
function numpyName(type: ElementType): string {
  return type === 'bool' || type.startsWith('float') || type.startsWith('int') || type.startsWith('uint') ? type : 'float32';
}

/**
 * Checks names, types and shapes, and that names of extents mean the same number everywhere. Returns the values by input.
 * @throws ConfigError with everything that is wrong
 */
export function checkedInputs(model: string, ports: readonly OnnxPort[], given: ReadonlyMap<string, GivenValue>): Map<string, OnnxValue> {
  const problems: { readonly file: string; readonly message: string; readonly fix?: string }[] = [];
  const names = ports.map(({ name }) => name);
  const extents = new Map<string, { readonly extent: number; readonly input: string }>();
  for (const [name, { file, value }] of given) {
    const port = ports.find((one) => one.name === name);
    if (port === undefined) {
      problems.push({
        file,
        message: `the model has no input ${name}.`,
        fix: suggestion(name, names) ?? `Inputs are ${names.join(', ')}.`,
      });
      continue;
    }
    if (value.kind !== 'tensor') continue;
    if (port.type !== undefined && port.type !== value.type) {
      const fix = elementInfo[port.type].bits === 0 ? 'Save text.' : `Convert it, in numpy with .astype('${numpyName(port.type)}').`;
      problems.push({ file, message: `input ${name} is ${port.type}, and the array is ${value.type}.`, fix });
    }
    const { shape } = port;
    if (shape === null) continue;
    const fits = shape.length === value.shape.length && shape.every((extent, i) => typeof extent !== 'number' || extent === value.shape[i]);
    if (!fits) {
      problems.push({ file, message: `input ${name} has shape ${shapeText(shape)}, and the array ${shapeText(value.shape)}.` });
      continue;
    }
    shape.forEach((extent, i) => {
      if (typeof extent !== 'string') return;
      const before = extents.get(extent);
      if (before === undefined) extents.set(extent, { extent: value.shape[i], input: name });
      else if (before.extent !== value.shape[i]) {
        problems.push({ file, message: `${extent} is ${value.shape[i]} in input ${name}, and ${before.extent} in input ${before.input}.` });
      }
    });
  }
  const missing = ports.filter(({ name, optional, kind }) => !optional && kind !== 'optional' && !given.has(name));
  for (const { name, type, shape } of missing) {
    problems.push({
      file: model,
      message: `input ${name} (${type ?? 'no tensor'}${shape === null ? '' : ` ${shapeText(shape)}`}) is missing.`,
      fix: `Give it with --input ${name}=FILE.npy.`,
    });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return new Map([...given].map(([name, { value }]) => [name, value]));
}

/** Numbers between 0 and 1 from a seed (mulberry32): the same on every machine. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A value for an input: normal numbers for floats, 0 and 1 for others, which are indices more often than not. */
export function madeUpValue({ name, type, shape }: OnnxPort, dims: ReadonlyMap<string, number>, seed: number): TensorValue {
  if (type === undefined || shape === null || elementInfo[type].carrier === null) {
    throw new ConfigError({ message: `no value can be made up for input ${name}.`, fix: `Give it with --input ${name}=FILE.` });
  }
  const extents = shape.map((extent) => (typeof extent === 'number' ? extent : (dims.get(extent ?? '?') ?? 1)));
  const count = extents.reduce((a, b) => a * b, 1);
  const next = numbers([...name].reduce((hash, letter) => Math.imul(hash, 31) + letter.charCodeAt(0), seed));
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const bit = (): number => (next() < 0.5 ? 0 : 1);
  switch (type) {
    case 'float64':
      return TensorValue.ofHost(Float64Array.from({ length: count }, normal), type, extents);
    case 'float32':
    case 'float16':
    case 'bfloat16':
      // Few digits, so that halves hold them exactly.
      return TensorValue.ofHost(
        Float32Array.from({ length: count }, () => (type === 'float32' ? normal() : Math.round(normal() * 64) / 64)),
        type,
        extents,
      );
    case 'int64':
      return TensorValue.ofHost(
        BigInt64Array.from({ length: count }, () => BigInt(bit())),
        type,
        extents,
      );
    case 'uint64':
      return TensorValue.ofHost(
        BigUint64Array.from({ length: count }, () => BigInt(bit())),
        type,
        extents,
      );
    case 'int32':
      return TensorValue.ofHost(Int32Array.from({ length: count }, bit), type, extents);
    case 'uint32':
      return TensorValue.ofHost(Uint32Array.from({ length: count }, bit), type, extents);
    case 'int16':
      return TensorValue.ofHost(Int16Array.from({ length: count }, bit), type, extents);
    case 'uint16':
      return TensorValue.ofHost(Uint16Array.from({ length: count }, bit), type, extents);
    case 'int8':
    case 'int4':
    case 'int2':
      return TensorValue.ofHost(Int8Array.from({ length: count }, bit), type, extents);
    case 'uint8':
    case 'uint4':
    case 'uint2':
    case 'bool':
      return TensorValue.ofHost(Uint8Array.from({ length: count }, bit), type, extents);
    default:
      return TensorValue.ofHost(Float32Array.from({ length: count }, bit), type, extents);
  }
}
