/** Arrays in files: .npz archives and IDX files. */
import { ArrayDataset, type Field, type FieldArray } from 'trireme/data';
import { readFileBounded, readIdx, readNpz } from 'trireme/io';
import type { DataConfig } from '../config/read.js';
import { ConfigError } from '../errors.js';
import { splitItems } from './split.js';
import { classField, type TargetFacts } from './target.js';

export type ArrayConfig = Extract<DataConfig, { readonly type: 'npz' | 'idx' }>;
export interface ArrayFacts {
  readonly kind: 'arrays';
  readonly target: TargetFacts;
}
type Dataset = ArrayDataset<{ input: Field; target: Field }>;

interface Loaded {
  readonly data: ArrayLike<number | bigint>;
  readonly dtype: string;
  readonly shape: readonly number[];
}

const largest = 2 ** 31 - 1;

async function idxFile(file: string): Promise<Loaded> {
  return readIdx(await readFileBounded(file, largest), largest);
}

/** Bytes become numbers from 0 to 1, other whole numbers stay (token numbers), the rest is float32. */
function inputField({ data, dtype, shape }: Loaded, scale: number | undefined): Field {
  const whole = /^u?int(8|16|32|64)$/.test(dtype) && dtype !== 'uint8';
  if (whole && scale === undefined) return { data: Int32Array.from(data as ArrayLike<number>, Number), shape: shape.slice(1) };
  const factor = scale ?? (dtype === 'uint8' ? 1 / 255 : 1);
  return { data: Float32Array.from(data as ArrayLike<number>, (v) => Number(v) * factor), shape: shape.slice(1) };
}

/** (x - mean) / std of each channel of [n, C, ...], in place. */
function standardize({ data, shape }: Field, mean: readonly number[] = [0], std: readonly number[] = [1]): void {
  const [channels = 1, ...rest] = shape;
  const plane = rest.reduce((a, b) => a * b, 1);
  for (let i = 0; i < data.length; i++) {
    const c = Math.floor(i / plane) % channels;
    (data as Float32Array)[i] = (Number(data[i]) - mean[c % mean.length]) / std[c % std.length];
  }
}

/** Inputs of a file; images of IDX files get a channel axis. */
async function readInputs(config: ArrayConfig, file: string): Promise<Field> {
  if (config.type === 'npz') {
    const arrays = await readNpz(file, { names: [config.inputs] });
    const array = arrays.get(config.inputs);
    if (!array) throw new ConfigError({ file, key: 'data.inputs', message: `there is no array ${config.inputs}.` });
    return inputField(array, config.scale);
  }
  const field = inputField(await idxFile(file), undefined);
  const images = field.shape.length === 2 ? { data: field.data, shape: [1, ...field.shape] } : field;
  if (config.mean ?? config.std) standardize(images, config.mean, config.std);
  return images;
}
async function readTargets(config: ArrayConfig, file: string): Promise<Loaded> {
  if (config.type === 'idx') return idxFile(file);
  const array = (await readNpz(file, { names: [config.target] })).get(config.target);
  if (!array) throw new ConfigError({ file, key: 'data.target', message: `there is no array ${config.target}.` });
  return array;
}

function targetField(file: string, { data, shape }: Loaded, target: TargetFacts): Field {
  if (target.kind === 'number') {
    const numbers = Float32Array.from(data as ArrayLike<number>, Number);
    return { data: numbers, shape: shape.length === 1 ? [1] : shape.slice(1) };
  }
  const numbers = Int32Array.from(data as ArrayLike<number>, Number);
  const wrong = numbers.findIndex((v) => v < 0 || v >= target.classes.length);
  if (wrong >= 0)
    throw new ConfigError({
      file,
      key: 'data.target',
      message: `the target of item ${wrong} is ${numbers[wrong]}.`,
      expected: `0 to ${target.classes.length - 1}`,
    });
  return shape.length === 1 ? classField(numbers, target.kind) : { data: numbers, shape: shape.slice(1) };
}

function learnTarget(config: ArrayConfig, targets: Loaded, binary: boolean): TargetFacts {
  const whole = /int/.test(targets.dtype) || targets.dtype === 'bool';
  const asked = config.type === 'npz' ? config.targetType : undefined;
  const kind = asked ?? (whole ? (binary && targets.shape.length === 1 ? 'binary' : 'class') : 'number');
  if (kind === 'number') {
    const width = targets.shape.length === 1 ? 1 : targets.shape.slice(1).reduce((a, b) => a * b, 1);
    return { kind, names: width === 1 ? ['value'] : Array.from({ length: width }, (_, i) => String(i)) };
  }
  let top = 0;
  for (let i = 0; i < targets.data.length; i++) top = Math.max(top, Number(targets.data[i]));
  return { kind, classes: config.classNames ?? Array.from({ length: top + 1 }, (_, i) => String(i)) };
}

export async function openArrays(
  config: ArrayConfig,
  wanted: readonly string[],
  known: ArrayFacts | null,
  binary: boolean,
): Promise<{ readonly facts: ArrayFacts; readonly datasets: Readonly<Record<'train' | 'validation' | 'test', Dataset | null>> }> {
  const files = (name: 'train' | 'validation' | 'test'): readonly [inputs: string, targets: string] | null => {
    if (config.type === 'npz') {
      const file = name === 'train' ? config.path : config[name];
      return file === undefined ? null : [file, file];
    }
    const own = name === 'train' ? config : config[name];
    return own === undefined ? null : [own.images, own.labels];
  };
  const read = async ([inputs, targets]: readonly [string, string]) => {
    const [input, target] = [await readInputs(config, inputs), await readTargets(config, targets)];
    const items = input.data.length / input.shape.reduce((a, b) => a * b, 1);
    if (items !== target.shape[0]) {
      throw new ConfigError({
        file: targets,
        message: `has ${target.shape[0]} targets for ${items} items.`,
        expected: 'as many of the one as of the other',
      });
    }
    return { input, target, targets, items };
  };
  const needsMain = known === null || wanted.includes('train') || wanted.some((name) => files(name as 'test') === null);
  const main = needsMain ? await read(files('train') as readonly [string, string]) : null;
  const facts = known ?? { kind: 'arrays' as const, target: learnTarget(config, (main as NonNullable<typeof main>).target, binary) };
  const make = ({ input, target, targets }: Awaited<ReturnType<typeof read>>): Dataset =>
    new ArrayDataset({ input, target: targetField(targets, target, facts.target) });
  const labels =
    main !== null && facts.target.kind !== 'number' && main.target.shape.length === 1
      ? Array.from(main.target.data as ArrayLike<number>, Number)
      : null;
  const split =
    main === null
      ? null
      : splitItems(main.items, labels, config.split, { validation: files('validation') !== null, test: files('test') !== null });
  const whole = main === null ? null : make(main);
  const part = async (name: 'train' | 'validation' | 'test'): Promise<Dataset | null> => {
    if (!wanted.includes(name)) return null;
    const own = name === 'train' ? null : files(name);
    if (own !== null) return make(await read(own));
    const rows = split?.[name] ?? null;
    return whole === null || rows === null ? null : rows.length === whole.length ? whole : whole.subset(rows);
  };
  return { facts, datasets: { train: await part('train'), validation: await part('validation'), test: await part('test') } };
}

export async function arrayInputs(
  config: ArrayConfig,
  file: string,
): Promise<{ readonly input: Field<FieldArray>; readonly names: string[] }> {
  const input = await readInputs(config, file);
  const items = input.data.length / input.shape.reduce((a, b) => a * b, 1);
  return { input, names: Array.from({ length: items }, (_, i) => `${file}:${i}`) };
}
