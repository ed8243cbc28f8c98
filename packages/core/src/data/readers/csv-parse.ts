/** The syntax of CSV (RFC 4180, and what spreadsheets make of it): text to records, in pieces. */
import { ArgumentError, FormatError } from '../../errors.js';

export interface CsvSyntax {
  /** One character; ',' unless told otherwise. */
  readonly delimiter?: string;
  /** Texts (without quotes around them) that mean a missing value. */
  readonly missing?: readonly string[];
  /** Most characters of a record. 16 million unless told otherwise. */
  readonly maxRecordLength?: number;
}

/** One record: a text for each field, null where it is missing. */
export interface CsvRecord {
  readonly fields: (string | null)[];
  /** Line it starts on, from 1. */
  readonly line: number;
}

export const defaultMissing: readonly string[] = ['', 'NA', 'N/A', 'NaN', 'nan', 'null', 'NULL', 'None'];

/** A FormatError that names the line. */
export function csvError(what: string, line: number, expected?: string, fix?: string): FormatError {
  return new FormatError(`line ${line}: ${what}`, { op: 'csv', received: line, expected, fix });
}

const quote = 34;
const lineFeed = 10;
const carriageReturn = 13;

const states = { start: 0, plain: 1, quoted: 2, afterQuote: 3 } as const;
type State = (typeof states)[keyof typeof states];

/** Takes text piece by piece and gives the records that are complete. */
export class CsvParser {
  private readonly delimiter: number;
  private readonly missing: ReadonlySet<string>;
  private readonly maxLength: number;
  private state: State = states.start;
  /** The part of the field that earlier pieces held. */
  private field = '';
  private wasQuoted = false;
  private fields: (string | null)[] = [];
  private length = 0;
  private line = 1;
  private recordLine = 1;
  /** The last record ended with a CR, so an LF now belongs to it. */
  private afterReturn = false;
  private previousReturn = false;

  constructor({ delimiter = ',', missing = defaultMissing, maxRecordLength = 2 ** 24 }: CsvSyntax = {}) {
    if (delimiter.length !== 1 || '"\r\n'.includes(delimiter)) {
      throw new ArgumentError(`delimiter is ${JSON.stringify(delimiter)}`, { op: 'csv', received: delimiter, expected: 'one character' });
    }
    this.delimiter = delimiter.charCodeAt(0);
    this.missing = new Set(missing);
    this.maxLength = maxRecordLength;
  }

  /** The records that end in this piece. */
  *push(text: string): Generator<CsvRecord, void, void> {
    let start = 0;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (this.afterReturn) {
        this.afterReturn = false;
        if (code === lineFeed) {
          start = i + 1;
          continue;
        }
      }
      // A CR LF is one line end, within quotes too.
      if (code === carriageReturn || (code === lineFeed && !this.previousReturn)) this.line++;
      this.previousReturn = code === carriageReturn;
      if (this.state === states.quoted) {
        if (code !== quote) continue;
        this.take(text, start, i);
        this.state = states.afterQuote;
        start = i + 1;
        continue;
      }
      if (code === this.delimiter) {
        this.endField(text, start, i);
        start = i + 1;
      } else if (code === lineFeed || code === carriageReturn) {
        this.endField(text, start, i);
        start = i + 1;
        this.afterReturn = code === carriageReturn;
        yield this.endRecord();
      } else if (code === quote && this.state === states.start) {
        this.state = states.quoted;
        this.wasQuoted = true;
        start = i + 1;
      } else if (this.state === states.afterQuote) {
        if (code !== quote) {
          throw csvError(`there is ${JSON.stringify(text[i])} after a closing quote`, this.line, 'a delimiter or the end of the line');
        }
        // A doubled quote is one quote: it starts the next stretch of the field.
        this.state = states.quoted;
        start = i;
      } else if (this.state === states.start) this.state = states.plain;
    }
    if (start < text.length) this.take(text, start, text.length);
  }

  /** The last record, when the text does not end with a line end. */
  *end(): Generator<CsvRecord, void, void> {
    if (this.state === states.quoted) {
      throw csvError('a quote is not closed', this.recordLine, 'a closing quote before the end of the text');
    }
    if (this.fields.length > 0 || this.state !== states.start || this.field !== '') {
      this.endField('', 0, 0);
      yield this.endRecord();
    }
  }

  private take(text: string, start: number, end: number): void {
    this.length += end - start;
    if (this.length > this.maxLength) {
      throw csvError(
        `the record is longer than ${this.maxLength} characters`,
        this.recordLine,
        'shorter records',
        'Is a quote left open? If not, raise maxRecordLength.',
      );
    }
    this.field += text.slice(start, end);
  }

  private endField(text: string, start: number, end: number): void {
    if (this.state !== states.afterQuote) this.take(text, start, end);
    // Even empty fields take memory.
    this.length++;
    this.fields.push(!this.wasQuoted && this.missing.has(this.field) ? null : this.field);
    this.field = '';
    this.wasQuoted = false;
    this.state = states.start;
  }

  private endRecord(): CsvRecord {
    const record: CsvRecord = { fields: this.fields, line: this.recordLine };
    this.fields = [];
    this.length = 0;
    this.recordLine = this.line;
    return record;
  }
}
