/** CSV and TSV files: as a table in columns, as a stream of rows, and written. */
import { ArgumentError, FormatError } from '../../errors.js';
import { writeFileAtomic } from '../../io/files.js';
import { type ByteSource, openRandomAccess, readChunks } from '../../io/random-access.js';
import type { Dataset } from '../dataset.js';
import { CsvParser, type CsvRecord, type CsvSyntax, csvError, defaultMissing } from './csv-parse.js';

/** `number` is float64 with NaN for a missing value; `integer` is int32 and never missing. */
export type CsvType = 'number' | 'integer' | 'boolean' | 'string';
export type CsvValue = number | boolean | string | null;
export type CsvRow = Readonly<Record<string, CsvValue>>;

export interface CsvOptions extends CsvSyntax {
  /** Whether the first record holds the names (true unless told otherwise), or the names. */
  readonly header?: boolean | readonly string[];
  /** Types by column. In a table the others are inferred from all values, in a stream they are strings. */
  readonly types?: Readonly<Record<string, CsvType>>;
  /** Only these columns. */
  readonly columns?: readonly string[];
}

export type CsvColumn =
  | { readonly type: 'number'; readonly data: Float64Array }
  | { readonly type: 'integer'; readonly data: Int32Array }
  | { readonly type: 'boolean'; readonly data: readonly (boolean | null)[] }
  | { readonly type: 'string'; readonly data: readonly (string | null)[] };

const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const infinity = /^([+-]?)inf(?:inity)?$/i;

function parseNumber(text: string): number | null {
  const trimmed = text.trim();
  if (number.test(trimmed)) return Number(trimmed);
  const match = infinity.exec(trimmed);
  return match ? (match[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY) : null;
}

function parseBoolean(text: string): boolean | null {
  const lower = text.trim().toLowerCase();
  return lower === 'true' ? true : lower === 'false' ? false : null;
}

/** An int32 written as digits ("1.0" is a number, not an integer). */
function parseInteger(text: string): number | null {
  const value = /^\s*[+-]?\d{1,10}\s*$/.test(text) ? Number(text) : Number.NaN;
  return value === (value | 0) ? value | 0 : null;
}

function convert(text: string | null, type: CsvType, name: string, line: number): CsvValue {
  if (type === 'string') return text;
  if (text === null) {
    if (type === 'integer') throw csvError(`${name} is missing`, line, 'an integer', 'Read the column as number to have NaN there.');
    return type === 'number' ? Number.NaN : null;
  }
  const value = type === 'number' ? parseNumber(text) : type === 'integer' ? parseInteger(text) : parseBoolean(text);
  if (value === null) throw csvError(`${name} is ${JSON.stringify(text.slice(0, 60))}`, line, `a ${type}`);
  return value;
}

async function* records(source: ByteSource, options: CsvOptions): AsyncGenerator<CsvRecord, void, void> {
  const parser = new CsvParser(options);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes?: Uint8Array): string => {
    try {
      return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
    } catch (cause) {
      throw new FormatError('the text is not UTF-8', { op: 'csv', expected: 'UTF-8', cause });
    }
  };
  for await (const chunk of readChunks(source)) yield* parser.push(decode(chunk));
  yield* parser.push(decode());
  yield* parser.end();
}

interface Rows {
  readonly names: readonly string[];
  readonly rows: AsyncIterable<CsvRecord>;
}

/** Names the columns and checks that every record has as many fields. */
async function openRows(source: ByteSource, options: CsvOptions): Promise<Rows> {
  const { header = true } = options;
  const all = records(source, options);
  let names: readonly string[] | null = typeof header === 'object' ? header : null;
  const first = names ? null : await all.next();
  if (!names) {
    if (!first || first.done) throw new FormatError('the text is empty', { op: 'csv', expected: 'at least a header' });
    const { fields } = first.value;
    names = header === true ? fields.map((field) => field ?? '') : fields.map((_, i) => String(i));
  }
  if (new Set(names).size !== names.length) {
    throw csvError('a column name occurs twice', 1, 'different names', 'Give the names: header: [...].');
  }
  for (const name of [...(options.columns ?? []), ...Object.keys(options.types ?? {})]) {
    if (!names.includes(name))
      throw new ArgumentError(`there is no column ${name}`, { op: 'csv', received: name, expected: names.join(', ') });
  }
  const width = names.length;
  return {
    names,
    rows: (async function* () {
      if (header === false && first && !first.done) yield first.value;
      for await (const record of all) {
        const { fields, line } = record;
        // An empty line; in a table of one column it is a missing value.
        if (fields.length === 1 && fields[0] === null && width > 1) continue;
        if (fields.length !== width)
          throw csvError(`the record has ${fields.length} fields`, line, `${width}: ${names.join(', ').slice(0, 200)}`);
        yield record;
      }
    })(),
  };
}

/**
 * The rows of a CSV file, one after the other, for files of any size.
 * `iterable(() => readCsvRows('big.csv', { types: { price: 'number' } }))`
 * @throws FormatError with the line where the text is malformed or a value is not of its type.
 */
export async function* readCsvRows(source: ByteSource, options: CsvOptions = {}): AsyncGenerator<CsvRow, void, void> {
  const { names, rows } = await openRows(source, options);
  const wanted = names
    .map((name, i) => ({ name, i, type: typeOf(options, name) ?? 'string' }))
    .filter(({ name }) => isWanted(options, name));
  for await (const { fields, line } of rows) {
    // No prototype: a column may be named __proto__.
    const row: Record<string, CsvValue> = Object.create(null) as Record<string, CsvValue>;
    for (const { name, i, type } of wanted) row[name] = convert(fields[i], type, name, line);
    yield row;
  }
}

function typeOf({ types = {} }: CsvOptions, name: string): CsvType | undefined {
  return Object.hasOwn(types, name) ? types[name] : undefined;
}

const isWanted = ({ columns }: CsvOptions, name: string): boolean => !columns || columns.includes(name);

/** A table in memory, by columns; a dataset of its rows. */
export class CsvTable implements Dataset<CsvRow> {
  readonly length: number;
  /** In the order of the file. */
  readonly columns: ReadonlyMap<string, CsvColumn>;

  constructor(columns: ReadonlyMap<string, CsvColumn>, length: number) {
    this.columns = columns;
    this.length = length;
  }

  get(index: number): CsvRow {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new ArgumentError(`there is no row ${index}`, { op: 'CsvTable', received: index, expected: `0 to ${this.length - 1}` });
    }
    const row: Record<string, CsvValue> = Object.create(null) as Record<string, CsvValue>;
    for (const [name, { data }] of this.columns) row[name] = data[index];
    return row;
  }

  /** @throws ArgumentError when there is no such column. */
  column(name: string): CsvColumn {
    const column = this.columns.get(name);
    if (column) return column;
    throw new ArgumentError(`there is no column ${name}`, {
      op: 'CsvTable',
      received: name,
      expected: [...this.columns.keys()].join(', '),
    });
  }

  /** Columns of numbers side by side: float32 [length, names.length], row-major, NaN where a value is missing. */
  matrix(names: readonly string[]): Float32Array {
    const out = new Float32Array(this.length * names.length);
    for (const [j, name] of names.entries()) {
      const { type, data } = this.column(name);
      if (type !== 'number' && type !== 'integer') {
        throw new ArgumentError(`column ${name} holds ${type}s`, { op: 'CsvTable', received: type, expected: 'numbers' });
      }
      for (let i = 0; i < this.length; i++) out[i * names.length + j] = data[i];
    }
    return out;
  }
}

/** The narrowest type that all values have; a column without any value is one of strings. */
function infer(values: readonly (string | null)[]): CsvType {
  const present = values.filter((value) => value !== null);
  if (present.length === 0) return 'string';
  if (present.every((value) => parseNumber(value) !== null)) {
    return present.length === values.length && present.every((value) => parseInteger(value) !== null) ? 'integer' : 'number';
  }
  return present.every((value) => parseBoolean(value) !== null) ? 'boolean' : 'string';
}

function makeColumn(type: CsvType, name: string, values: readonly (string | null)[], lines: readonly number[]): CsvColumn {
  if (type === 'string') return { type, data: values };
  const converted = values.map((value, i) => convert(value, type, name, lines[i]));
  if (type === 'boolean') return { type, data: converted as (boolean | null)[] };
  if (type === 'integer') return { type, data: Int32Array.from(converted as number[]) };
  return { type, data: Float64Array.from(converted as number[]) };
}

/**
 * Reads a CSV file (TSV with `delimiter: '\t'`) into a table.
 * @param options.maxBytes largest file, 1 GB unless told otherwise.
 * @throws FormatError with the line where the text is malformed or a value is not of its type, EnvironmentError when the
 * file cannot be read.
 */
export async function readCsv(source: ByteSource, options: CsvOptions & { readonly maxBytes?: number } = {}): Promise<CsvTable> {
  const { maxBytes = 2 ** 30 } = options;
  const access = await openRandomAccess(source);
  try {
    if (access.byteLength > maxBytes) {
      throw new FormatError(`${access.name} has ${access.byteLength} bytes`, {
        op: 'csv',
        received: access.byteLength,
        expected: `at most ${maxBytes} bytes`,
        fix: 'Read it with readCsvRows, or raise maxBytes.',
      });
    }
    const { names, rows } = await openRows(access, options);
    const wanted = names.map((name, i) => ({ name, i, values: [] as (string | null)[] })).filter(({ name }) => isWanted(options, name));
    const lines: number[] = [];
    for await (const { fields, line } of rows) {
      lines.push(line);
      for (const { i, values } of wanted) values.push(fields[i]);
    }
    const columns = wanted.map(({ name, values }) => {
      return [name, makeColumn(typeOf(options, name) ?? infer(values), name, values, lines)] as const;
    });
    return new CsvTable(new Map(columns), lines.length);
  } finally {
    if (access !== source) await access.close();
  }
}

export interface CsvWriteOptions {
  readonly delimiter?: string;
  /** Names of the columns, in order; those of the first row unless told otherwise. */
  readonly columns?: readonly string[];
}

function writeValue(value: CsvValue | undefined, delimiter: string): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '';
  const text = String(value);
  // A text that would be read as missing, or as something else, is quoted.
  const special = typeof value === 'string' && (/["\r\n]|^\s|\s$/.test(text) || text.includes(delimiter) || defaultMissing.includes(text));
  return special || text.includes(delimiter) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows as CSV text with a header; null, undefined and NaN are written as nothing. */
export function encodeCsv(rows: Iterable<CsvRow>, { delimiter = ',', columns }: CsvWriteOptions = {}): string {
  let names = columns;
  const lines: string[] = [];
  for (const row of rows) {
    names ??= Object.keys(row);
    lines.push(names.map((name) => writeValue(Object.hasOwn(row, name) ? row[name] : null, delimiter)).join(delimiter));
  }
  if (!names || names.length === 0)
    throw new ArgumentError('there are no columns', { op: 'csv', expected: 'a row, or the names of the columns' });
  return `${[names.map((name) => writeValue(name, delimiter)).join(delimiter), ...lines].join('\n')}\n`;
}

/** Writes a CSV file, whole or not at all. @throws EnvironmentError when it cannot be written. */
export async function writeCsv(path: string, rows: Iterable<CsvRow>, options: CsvWriteOptions = {}): Promise<void> {
  await writeFileAtomic(path, new TextEncoder().encode(encodeCsv(rows, options)));
}
