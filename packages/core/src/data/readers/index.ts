export * from './bccd.js';
export {
  type CsvColumn,
  type CsvOptions,
  type CsvRow,
  CsvTable,
  type CsvType,
  type CsvValue,
  type CsvWriteOptions,
  encodeCsv,
  readCsv,
  readCsvRows,
  writeCsv,
} from './csv.js';
export type { CsvSyntax } from './csv-parse.js';
export * from './fashion-mnist.js';
export * from './images.js';
export * from './jsonl.js';
export * from './lines.js';
export * from './parquet.js';
export * from './tokens.js';
export * from './voc.js';
