/** Parquet files, read with the optional package `hyparquet`: columns and row ranges, a row group at a time. */
import type { AsyncBuffer, Compressors, FileMetaData } from 'hyparquet';
import { ArgumentError, FormatError, TriremeError } from '../../errors.js';
import { hasNodeModules, nodeModule } from '../../io/node.js';
import { optionalModule } from '../../io/optional.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from '../../io/random-access.js';
import type { Dataset } from '../dataset.js';
import { type IterableDataset, iterable } from '../iterable.js';
import { checkPages } from './parquet-pages.js';

export interface ParquetOptions {
  /** The columns to read; all unless told otherwise. */
  readonly columns?: readonly string[];
  /** Most bytes of a row group's wanted columns, decompressed (a row group is decoded as a whole). 2 GB unless told otherwise. */
  readonly maxRowGroupBytes?: number;
  /** Most values of one column in a row group. 2^26 unless told otherwise. */
  readonly maxRowGroupValues?: number;
}

/** A row: numbers, bigints (64-bit integers), strings, booleans, dates, bytes, lists; null where a value is missing. */
export type ParquetRow = Readonly<Record<string, unknown>>;
export type ParquetColumn = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | readonly unknown[];

const op = 'parquet';
type Hyparquet = Awaited<ReturnType<typeof loadHyparquet>>;
const loadHyparquet = () => optionalModule('hyparquet', op);

/** Whatever the decoder stumbles over, the file is to blame. */
async function guarded<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof TriremeError) throw cause;
    throw new FormatError(`${name} cannot be read as Parquet (${cause instanceof Error ? cause.message : String(cause)})`, {
      op,
      cause,
      fix: 'The file is damaged, or uses what hyparquet does not know: write it with snappy compression.',
    });
  }
}

/** The codecs of Node's zlib; hyparquet itself has snappy. */
async function codecs(maxBytes: number): Promise<Compressors> {
  if (!hasNodeModules()) return {};
  const zlib = await nodeModule('node:zlib', op);
  const limit = (length: number): { maxOutputLength: number } => ({ maxOutputLength: Math.min(Math.max(length, 1), maxBytes) });
  const zstd = 'zstdDecompressSync' in zlib ? (zlib.zstdDecompressSync as typeof zlib.gunzipSync) : null;
  return {
    GZIP: (input, length) => zlib.gunzipSync(input, limit(length)),
    BROTLI: (input, length) => zlib.brotliDecompressSync(input, limit(length)),
    ...(zstd ? { ZSTD: (input: Uint8Array, length: number) => zstd(input, limit(length)) } : {}),
  };
}

interface Chunk {
  readonly begin: number;
  readonly end: number;
  readonly values: number;
}

/** A Parquet file by rows. Made by {@link openParquet}. */
export class ParquetFile implements Dataset<ParquetRow> {
  /** Rows. */
  readonly length: number;
  /** The columns that are read: top-level fields of the schema. */
  readonly columns: readonly string[];
  /** First row of each row group, and the number of rows at the end. */
  readonly groupStarts: readonly number[];
  private readonly source: RandomAccess;
  private readonly library: Hyparquet;
  private readonly metadata: FileMetaData;
  private readonly file: AsyncBuffer;
  private readonly compressors: Compressors;
  private cached: { readonly group: number; readonly rows: Promise<ParquetRow[]> } | null = null;

  constructor(source: RandomAccess, library: Hyparquet, metadata: FileMetaData, compressors: Compressors, options: ParquetOptions) {
    const { maxRowGroupBytes = 2 ** 31 - 1, maxRowGroupValues = 2 ** 26 } = options;
    const names = library.parquetSchema(metadata).children.map(({ element }) => element.name);
    for (const name of options.columns ?? []) {
      if (!names.includes(name)) throw new ArgumentError(`there is no column ${name}`, { op, received: name, expected: names.join(', ') });
    }
    this.columns = options.columns ?? names;
    const starts = [0];
    const chunks: Chunk[] = [];
    for (const [i, group] of metadata.row_groups.entries()) {
      const rows = Number(group.num_rows);
      let bytes = 0;
      for (const { meta_data: column } of group.columns) {
        if (!column || !this.columns.includes(column.path_in_schema[0])) continue;
        const values = Number(column.num_values);
        bytes += Number(column.total_uncompressed_size);
        // A dictionary comes before the data.
        const begin = Math.min(
          Number(column.data_page_offset),
          Number(column.dictionary_page_offset ?? column.data_page_offset) || Number.POSITIVE_INFINITY,
        );
        const end = begin + Number(column.total_compressed_size);
        if (!(values >= 0 && bytes >= 0 && begin >= 0 && end >= begin && end <= source.byteLength))
          this.refuse(source, `row group ${i} is damaged`);
        if (values > maxRowGroupValues)
          this.refuse(source, `row group ${i} has ${values} values of ${column.path_in_schema.join('.')}`, maxRowGroupValues);
        chunks.push({ begin, end, values });
      }
      if (!(rows >= 0 && rows <= maxRowGroupValues)) this.refuse(source, `row group ${i} has ${rows} rows`, maxRowGroupValues);
      if (bytes > maxRowGroupBytes) this.refuse(source, `row group ${i} has ${bytes} bytes`, maxRowGroupBytes);
      starts.push((starts.at(-1) ?? 0) + rows);
    }
    this.groupStarts = starts;
    this.length = starts.at(-1) ?? 0;
    if (this.length !== Number(metadata.num_rows))
      this.refuse(source, `the row groups have ${this.length} rows, the file ${metadata.num_rows}`);
    this.source = source;
    this.library = library;
    this.metadata = metadata;
    this.compressors = compressors;
    this.file = {
      byteLength: source.byteLength,
      slice: async (begin, end = source.byteLength) => {
        const bytes = await source.read(begin, end);
        for (const chunk of chunks) {
          if (chunk.begin < begin || chunk.end > end) continue;
          checkPages(bytes.subarray(chunk.begin - begin, chunk.end - begin), { maxBytes: maxRowGroupBytes, values: chunk.values });
        }
        return bytes.slice().buffer;
      },
    };
  }

  private refuse(source: RandomAccess, what: string, limit?: number): never {
    throw new FormatError(`${source.name}: ${what}`, {
      op,
      expected: limit === undefined ? undefined : `at most ${limit}`,
      fix: limit === undefined ? 'The file is damaged: write or download it again.' : 'If the file is trusted, raise the limit.',
    });
  }

  private check(begin: number, end: number): void {
    if (Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end <= this.length) return;
    throw new ArgumentError(`rows ${begin} to ${end}`, { op, expected: `a range within 0 to ${this.length}` });
  }

  /**
   * The rows begin .. end-1. Reads the wanted columns of the row groups that hold them, nothing else.
   * @throws FormatError when the file is damaged.
   */
  async rows(begin = 0, end = this.length): Promise<ParquetRow[]> {
    this.check(begin, end);
    if (begin === end) return [];
    return guarded(this.source.name, async () => {
      const { file, metadata, compressors } = this;
      const rows = await this.library.parquetReadObjects({
        file,
        metadata,
        compressors,
        columns: [...this.columns],
        rowStart: begin,
        rowEnd: end,
      });
      if (rows.length !== end - begin) this.refuse(this.source, `there are ${rows.length} rows where ${end - begin} should be`);
      return rows;
    });
  }

  /**
   * One column of the rows begin .. end-1: a typed array for float, double, int32, int64 and boolean (as 0 and 1)
   * columns without missing values, else an array of values.
   */
  async column(name: string, begin = 0, end = this.length): Promise<ParquetColumn> {
    if (!this.columns.includes(name)) {
      throw new ArgumentError(`there is no column ${name}`, { op, received: name, expected: this.columns.join(', ') });
    }
    this.check(begin, end);
    const values: unknown[] = [];
    await guarded(this.source.name, async () => {
      const { file, metadata, compressors } = this;
      if (begin === end) return;
      const rows = await this.library.parquetReadObjects({ file, metadata, compressors, columns: [name], rowStart: begin, rowEnd: end });
      for (const row of rows) values.push(row[name]);
    });
    if (values.length !== end - begin)
      this.refuse(this.source, `column ${name} has ${values.length} values where ${end - begin} should be`);
    return typed(values, this.library.parquetSchema(this.metadata).children.find(({ element }) => element.name === name)?.element.type);
  }

  /** One row. Holds the row group it is in, so rows in order are read fast; shuffle with {@link stream}`().shuffle(n)`. */
  async get(index: number): Promise<ParquetRow> {
    this.check(index, index + 1);
    let group = this.cached?.group ?? 0;
    if (!this.cached || index < this.groupStarts[group] || index >= this.groupStarts[group + 1]) {
      group = this.groupStarts.findIndex((start, i) => start <= index && index < this.groupStarts[i + 1]);
      this.cached = { group, rows: this.rows(this.groupStarts[group], this.groupStarts[group + 1]) };
    }
    return (await this.cached.rows)[index - this.groupStarts[group]];
  }

  /** All rows as a stream, a row group at a time. */
  stream(): IterableDataset<ParquetRow> {
    const groups = async function* (file: ParquetFile): AsyncGenerator<ParquetRow, void, void> {
      for (let group = 0; group + 1 < file.groupStarts.length; group++) {
        yield* await file.rows(file.groupStarts[group], file.groupStarts[group + 1]);
      }
    };
    return iterable(() => groups(this));
  }

  close(): Promise<void> {
    this.cached = null;
    return this.source.close();
  }
}

function typed(values: readonly unknown[], type: string | undefined): ParquetColumn {
  const all = (kind: string): boolean => values.every((value) => typeof value === kind);
  if (type === 'FLOAT' && all('number')) return Float32Array.from(values as number[]);
  if (type === 'DOUBLE' && all('number')) return Float64Array.from(values as number[]);
  // An unsigned 32-bit column is an INT32 too.
  if (type === 'INT32' && values.every((value) => typeof value === 'number' && value === (value | 0)))
    return Int32Array.from(values as number[]);
  if (type === 'INT64' && values.every((value) => typeof value === 'bigint' && value === BigInt.asIntN(64, value))) {
    return BigInt64Array.from(values as bigint[]);
  }
  if (type === 'BOOLEAN' && all('boolean')) return Uint8Array.from(values as boolean[], Number);
  return values;
}

/**
 * Opens a Parquet file; reads its metadata only. Compression: none, snappy, in Node also gzip and brotli (and zstd where
 * Node has it). Close it after use.
 * @throws EnvironmentError without the package `hyparquet` or when the file cannot be read, FormatError when it is
 * damaged or over a limit.
 */
export async function openParquet(source: ByteSource, options: ParquetOptions = {}): Promise<ParquetFile> {
  const library = await loadHyparquet();
  const access = await openRandomAccess(source);
  try {
    return await guarded(access.name, async () => {
      const file: AsyncBuffer = {
        byteLength: access.byteLength,
        slice: async (begin, end = access.byteLength) => (await access.read(begin, end)).slice().buffer,
      };
      const metadata = await library.parquetMetadataAsync(file);
      return new ParquetFile(access, library, metadata, await codecs(options.maxRowGroupBytes ?? 2 ** 31 - 1), options);
    });
  } catch (cause) {
    if (access !== source) await access.close();
    throw cause;
  }
}
