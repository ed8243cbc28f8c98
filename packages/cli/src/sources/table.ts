/** Tables (CSV, JSON lines, Parquet) as inputs and targets. */
import { extname } from 'node:path';
import { ArrayDataset, type Field, openParquet, readCsv, readJsonl } from 'trireme/data';
import { padWith, Tokenizer, truncateTo } from 'trireme/data/text';
import type { DataConfig, TableConfig } from '../config/read.js';
import { ConfigError } from '../errors.js';
import { suggestion } from '../suggest.js';
import { splitItems } from './split.js';
import { classField, type TargetFacts } from './target.js';

type Column =
  | { readonly kind: 'numbers'; readonly data: ArrayLike<number> }
  | { readonly kind: 'texts'; readonly data: readonly (string | null)[] }
  | { readonly kind: 'vectors'; readonly data: readonly (readonly number[])[]; readonly width: number };

interface Table {
  readonly file: string;
  readonly rows: number;
  readonly names: readonly string[];
  /** A column that there is. */
  column(name: string): Column;
}

/** What the inputs are made of. */
type Feature =
  | { readonly name: string; readonly kind: 'number'; readonly mean: number; readonly std: number }
  | { readonly name: string; readonly kind: 'category'; readonly values: readonly string[] }
  | { readonly name: string; readonly kind: 'vector'; readonly width: number };
export interface TableFacts {
  readonly kind: 'table';
  readonly features: readonly Feature[];
  readonly target: TargetFacts;
}

function columnOf(file: string, name: string, values: readonly unknown[]): Column {
  if (values.every((v) => v === null || v === undefined || typeof v === 'number' || typeof v === 'bigint')) {
    return { kind: 'numbers', data: values.map((v) => (v === null || v === undefined ? Number.NaN : Number(v))) };
  }
  const [first] = values;
  if (Array.isArray(first) || ArrayBuffer.isView(first)) {
    const vectors = values.map((v, i) => {
      const list = Array.isArray(v) || ArrayBuffer.isView(v) ? Array.from(v as ArrayLike<unknown>, Number) : [];
      if (list.length !== (first as ArrayLike<unknown>).length || list.some(Number.isNaN)) {
        throw new ConfigError({ file, message: `${name} of row ${i + 1} is no list of ${(first as ArrayLike<unknown>).length} numbers.` });
      }
      return list;
    });
    return { kind: 'vectors', data: vectors, width: vectors[0].length };
  }
  return {
    kind: 'texts',
    data: values.map((v) => (v === null || v === undefined ? null : typeof v === 'object' ? JSON.stringify(v) : String(v))),
  };
}

/** Rows of objects by columns. */
function tableOf(file: string, rows: readonly Readonly<Record<string, unknown>>[]): Table {
  const found = new Map<string, Column>();
  const column = (name: string): Column => {
    const made =
      found.get(name) ??
      columnOf(
        file,
        name,
        rows.map((row) => row[name]),
      );
    found.set(name, made);
    return made;
  };
  return { file, rows: rows.length, names: [...new Set(rows.flatMap((row) => Object.keys(row)))], column };
}

async function readTable(file: string, type: TableConfig['type'], delimiter: string): Promise<Table> {
  if (type === 'csv') {
    const table = await readCsv(file, { delimiter });
    const column = (name: string): Column => {
      const { type, data } = table.column(name);
      return type === 'number' || type === 'integer'
        ? { kind: 'numbers', data }
        : { kind: 'texts', data: data.map((v) => (v === null ? null : String(v))) };
    };
    return { file, rows: table.length, names: [...table.columns.keys()], column };
  }
  if (type === 'jsonl') {
    const rows: Record<string, unknown>[] = [];
    for await (const row of readJsonl<unknown>(file)) {
      if (typeof row !== 'object' || row === null || Array.isArray(row)) {
        throw new ConfigError({
          file,
          message: `value ${rows.length + 1} is ${JSON.stringify(row).slice(0, 40)}.`,
          expected: 'an object on each line',
        });
      }
      rows.push(row as Record<string, unknown>);
    }
    return tableOf(file, rows);
  }
  const parquet = await openParquet(file);
  const rows: Readonly<Record<string, unknown>>[] = [];
  try {
    for (let i = 0; i < parquet.length; i++) rows.push(await parquet.get(i));
  } finally {
    await parquet.close();
  }
  return tableOf(file, rows);
}

function columnNamed(table: Table, name: string, key: string): Column {
  if (table.names.includes(name)) return table.column(name);
  throw new ConfigError({
    file: table.file,
    key,
    message: `there is no column ${JSON.stringify(name)}.`,
    fix: suggestion(name, table.names),
  });
}

const targetNames = ({ target }: TableConfig): readonly string[] => (typeof target === 'string' ? [target] : target);

/** In the order of numbers where all are numbers. */
function sortedValues(values: Iterable<string>): string[] {
  const list = [...new Set(values)];
  return list.every((v) => v.trim() !== '' && Number.isFinite(Number(v))) ? list.sort((a, b) => Number(a) - Number(b)) : list.sort();
}
const textOf = (column: Column, row: number): string | null => {
  const value = column.data[row];
  return value === null || value === undefined || (typeof value === 'number' && Number.isNaN(value)) ? null : String(value);
};

/** What is to be predicted, from the training part. */
function learnTarget(config: TableConfig, table: Table, rows: Int32Array, binary: boolean): TargetFacts {
  const names = targetNames(config);
  const columns = names.map((name) => columnNamed(table, name, 'data.target'));
  const whole = (column: Column): boolean =>
    column.kind === 'numbers' && Array.from(column.data).every((v) => Number.isInteger(v) || Number.isNaN(v));
  const kind =
    config.targetType ??
    (names.length === 1 && (columns[0].kind === 'texts' || whole(columns[0])) ? (binary ? 'binary' : 'class') : 'number');
  if (kind === 'number') {
    const odd = columns.findIndex((column) => column.kind !== 'numbers');
    if (odd < 0) return { kind, names };
    throw new ConfigError({
      file: table.file,
      key: 'data.target',
      message: `the column ${names[odd]} holds no numbers.`,
      expected: 'numbers, or targetType: class',
    });
  }
  if (names.length > 1)
    throw new ConfigError({ key: 'data.target', message: `${names.length} columns hold classes.`, expected: 'one column' });
  const found = Array.from(rows, (row) => textOf(columns[0], row)).filter((v) => v !== null);
  const classes = sortedValues(found);
  if (kind === 'binary' && classes.length !== 2) {
    throw new ConfigError({
      file: table.file,
      key: 'data.target',
      message: `the column ${names[0]} has ${classes.length} values.`,
      expected: 'two, for a loss of two classes',
    });
  }
  return { kind, classes };
}

function learnFeature(config: TableConfig, table: Table, name: string, rows: Int32Array): Feature {
  const column = columnNamed(table, name, 'data.features');
  if (column.kind === 'vectors') return { name, kind: 'vector', width: column.width };
  if (column.kind === 'texts') {
    const values = sortedValues(Array.from(rows, (row) => textOf(column, row)).filter((v) => v !== null));
    if (values.length <= 1000) return { name, kind: 'category', values };
    throw new ConfigError({
      file: table.file,
      key: 'data.features',
      message: `the column ${name} has ${values.length} different texts.`,
      expected: 'at most 1000 categories',
      fix: `Leave it out (exclude: [${name}]), or read it as text with a tokenizer.`,
    });
  }
  let sum = 0;
  let present = 0;
  for (const row of rows) {
    const value = column.data[row];
    if (Number.isNaN(value)) continue;
    sum += value;
    present++;
  }
  const mean = present > 0 ? sum / present : 0;
  let squares = 0;
  for (const row of rows) if (!Number.isNaN(column.data[row])) squares += (column.data[row] - mean) ** 2;
  const std = present > 0 ? Math.sqrt(squares / present) : 0;
  return { name, kind: 'number', mean, std: config.normalize && std > 0 ? std : 1 };
}

const widthOf = (feature: Feature): number =>
  feature.kind === 'number' ? 1 : feature.kind === 'vector' ? feature.width : feature.values.length;

/** Rows as float32 [n, width]. */
function encodeInputs(config: TableConfig, table: Table, rows: Int32Array, features: readonly Feature[]): Field {
  const width = features.reduce((n, f) => n + widthOf(f), 0);
  const data = new Float32Array(rows.length * width);
  let at = 0;
  for (const feature of features) {
    const { name } = feature;
    const column = columnNamed(table, name, 'data.features');
    const wrong = (row: number, message: string, expected: string, fix?: string): never => {
      throw new ConfigError({ file: table.file, key: 'data.features', message: `${name} of row ${row + 1} ${message}.`, expected, fix });
    };
    rows.forEach((row, i) => {
      const start = i * width + at;
      if (feature.kind === 'category') {
        const value = textOf(column, row);
        const index = value === null ? -1 : feature.values.indexOf(value);
        if (index >= 0) data[start + index] = 1;
        else if (value !== null || config.missing === 'error') {
          wrong(
            row,
            value === null ? 'is missing' : `is ${JSON.stringify(value)}`,
            `one of ${feature.values.slice(0, 12).join(', ')}`,
            value === null ? 'missing: mean takes it as none of them.' : undefined,
          );
        }
        return;
      }
      if (feature.kind === 'vector') {
        if (column.kind !== 'vectors' || column.width !== feature.width) wrong(row, 'is no such list', `${feature.width} numbers`);
        else data.set(column.data[row], start);
        return;
      }
      const value = column.kind === 'numbers' ? column.data[row] : Number.NaN;
      if (column.kind !== 'numbers') wrong(row, `is ${JSON.stringify(column.data[row])}`, 'a number');
      if (Number.isNaN(value) && config.missing === 'error')
        wrong(row, 'is missing', 'a number', 'missing: mean fills it with the mean of the training data.');
      const present = Number.isNaN(value) ? feature.mean : value;
      data[start] = config.normalize ? (present - feature.mean) / feature.std : present;
    });
    at += widthOf(feature);
  }
  return { data, shape: [width] };
}

function encodeTargets(config: TableConfig, table: Table, rows: Int32Array, target: TargetFacts): Field {
  const columns = targetNames(config).map((name) => columnNamed(table, name, 'data.target'));
  const wrong = (row: number, expected: string): never => {
    const value = columns.map((c) => textOf(c, row)).join(', ');
    throw new ConfigError({
      file: table.file,
      key: 'data.target',
      message: `the target of row ${row + 1} is ${JSON.stringify(value)}.`,
      expected,
    });
  };
  if (target.kind !== 'number') {
    const numbers = new Map(target.classes.map((name, i) => [name, i]));
    return classField(
      Array.from(
        rows,
        (row) => numbers.get(textOf(columns[0], row) ?? '') ?? wrong(row, `one of ${target.classes.slice(0, 12).join(', ')}`),
      ),
      target.kind,
    );
  }
  const data = Float32Array.from({ length: rows.length * columns.length }, (_, k) => {
    const row = rows[Math.floor(k / columns.length)];
    const value = Number(columns[k % columns.length].data[row]);
    return Number.isNaN(value) ? wrong(row, 'a number') : value;
  });
  return { data, shape: [columns.length] };
}

/** Texts as token numbers, int32 [n, length]. */
async function encodeTexts(config: TableConfig, table: Table, rows: Int32Array): Promise<Field> {
  const { text = '', tokenizer: file, length } = config;
  if (file === undefined)
    throw new ConfigError({ key: 'data.tokenizer', message: 'is missing.', expected: 'the tokenizer.json that cuts the texts' });
  const tokenizer = await Tokenizer.load(file);
  tokenizer.truncation = truncateTo(length);
  tokenizer.padding = padWith(tokenizer, { length });
  const column = columnNamed(table, text, 'data.text');
  const data = new Int32Array(rows.length * length);
  rows.forEach((row, i) => void data.set(tokenizer.encode(textOf(column, row) ?? '').ids.subarray(0, length), i * length));
  return { data, shape: [length] };
}

export interface Prepared {
  readonly facts: TableFacts;
  readonly datasets: Readonly<Record<'train' | 'validation' | 'test', ArrayDataset<{ input: Field; target: Field }> | null>>;
}

/** The parts of the data that are wanted. `known`: what the training learnt. `binary`: the loss takes 0 and 1. */
export async function openTable(
  config: TableConfig,
  wanted: readonly string[],
  known: TableFacts | null,
  binary: boolean,
): Promise<Prepared> {
  const delimiter = config.type === 'csv' ? config.delimiter : ',';
  const read = (file: string): Promise<Table> => readTable(file, config.type, delimiter);
  const everything = (table: Table): Int32Array => Int32Array.from({ length: table.rows }, (_, i) => i);
  // The training file is needed for what is learnt from it, and where parts are cut from it.
  const needsMain = known === null || wanted.includes('train') || wanted.some((part) => config[part as 'test'] === undefined);
  const main = needsMain ? await read(config.path) : null;
  if (main !== null && main.rows === 0) throw new ConfigError({ file: main.file, message: 'has no rows.', expected: 'at least one' });
  let split = main === null ? null : { train: everything(main), validation: null as Int32Array | null, test: null as Int32Array | null };
  if (main !== null && config.split !== undefined) {
    const target = known?.target ?? learnTarget(config, main, everything(main), binary);
    const labels = target.kind === 'number' ? null : Array.from(encodeTargets(config, main, everything(main), target).data as Int32Array);
    split = splitItems(main.rows, labels, config.split, { validation: config.validation !== undefined, test: config.test !== undefined });
  }
  const facts = known ?? (main === null || split === null ? null : learn(config, main, split.train, binary));
  if (facts === null) throw new ConfigError({ key: 'data', message: 'nothing is known about the data.' });
  const make = async (table: Table, rows: Int32Array): Promise<ArrayDataset<{ input: Field; target: Field }>> =>
    new ArrayDataset({
      input: config.text === undefined ? encodeInputs(config, table, rows, facts.features) : await encodeTexts(config, table, rows),
      target: encodeTargets(config, table, rows, facts.target),
    });
  const part = async (name: 'train' | 'validation' | 'test') => {
    if (!wanted.includes(name)) return null;
    const own = name === 'train' ? undefined : config[name];
    if (own !== undefined) {
      const table = await read(own);
      return make(table, everything(table));
    }
    const rows = split?.[name] ?? null;
    return main === null || rows === null ? null : make(main, rows);
  };
  return { facts, datasets: { train: await part('train'), validation: await part('validation'), test: await part('test') } };
}

function learn(config: TableConfig, table: Table, rows: Int32Array, binary: boolean): TableFacts {
  const target = learnTarget(config, table, rows, binary);
  if (config.text !== undefined) return { kind: 'table', features: [], target };
  const taken = new Set([...targetNames(config), ...config.exclude]);
  const names = config.features ?? table.names.filter((name) => !taken.has(name));
  for (const name of config.exclude) columnNamed(table, name, 'data.exclude');
  if (names.length === 0) throw new ConfigError({ file: table.file, key: 'data.features', message: 'no columns are left for the inputs.' });
  return { kind: 'table', features: names.map((name) => learnFeature(config, table, name, rows)), target };
}

/** The rows of a file to predict for, all at once. Its type is that of its ending, else that of the configuration. */
export async function tableInputs(
  config: TableConfig,
  facts: TableFacts,
  file: string,
): Promise<{ readonly input: Field; readonly names: string[] }> {
  const byEnding: Readonly<Record<string, DataConfig['type']>> = {
    '.csv': 'csv',
    '.tsv': 'csv',
    '.jsonl': 'jsonl',
    '.ndjson': 'jsonl',
    '.parquet': 'parquet',
  };
  const ending = extname(file).toLowerCase();
  const type = (Object.hasOwn(byEnding, ending) ? byEnding[ending] : config.type) as TableConfig['type'];
  const delimiter = ending === '.tsv' ? '\t' : config.type === 'csv' ? config.delimiter : ',';
  const table = await readTable(file, type, delimiter);
  const rows = Int32Array.from({ length: table.rows }, (_, i) => i);
  const input = config.text === undefined ? encodeInputs(config, table, rows, facts.features) : await encodeTexts(config, table, rows);
  return { input, names: Array.from(rows, (row) => `${file}:${row + 1}`) };
}
