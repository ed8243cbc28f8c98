/** Text files by lines: as a stream, and by index without holding the text in memory. */
import { ArgumentError, FormatError } from '../../errors.js';
import { type ByteSource, openRandomAccess, type RandomAccess, readChunks } from '../../io/random-access.js';
import type { Dataset } from '../dataset.js';

export interface LineOptions {
  /** A longer line is refused, so that a file without line ends cannot fill the memory. 64 MB unless told otherwise. */
  readonly maxLineBytes?: number;
}

const defaultMaxLine = 2 ** 26;
const newline = 10;
const carriageReturn = 13;

function tooLong(name: string, line: number, maxLineBytes: number): FormatError {
  return new FormatError(`line ${line} of ${name} is longer than ${maxLineBytes} bytes`, {
    op: 'readLines',
    received: line,
    expected: `lines of at most ${maxLineBytes} bytes`,
    fix: 'If the file is a text file and trusted, raise maxLineBytes.',
  });
}

function decodeLine(decoder: TextDecoder, bytes: Uint8Array, name: string, line: number): string {
  const end = bytes.at(-1) === carriageReturn ? bytes.length - 1 : bytes.length;
  try {
    const text = decoder.decode(bytes.subarray(0, end));
    return line === 1 && text.startsWith('\uFEFF') ? text.slice(1) : text;
  } catch (cause) {
    throw new FormatError(`line ${line} of ${name} is not UTF-8 text`, { op: 'readLines', received: line, cause, expected: 'UTF-8' });
  }
}

const strictDecoder = (): TextDecoder => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The lines of a UTF-8 text, one after the other, without their ends (LF or CR LF).
 * @throws FormatError for text that is not UTF-8 and for lines over the limit.
 */
export async function* readLines(
  source: ByteSource,
  { maxLineBytes = defaultMaxLine }: LineOptions = {},
): AsyncGenerator<string, void, void> {
  const name = typeof source === 'string' ? source : 'the text';
  const decoder = strictDecoder();
  let line = 1;
  // Pieces of a line that the chunks so far did not end.
  let pieces: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of readChunks(source)) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      if (held + end - start > maxLineBytes) throw tooLong(name, line, maxLineBytes);
      const bytes = pieces.length === 0 ? chunk.subarray(start, end) : join([...pieces, chunk.subarray(start, end)]);
      yield decodeLine(decoder, bytes, name, line++);
      pieces = [];
      held = 0;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    held += chunk.length - start;
    if (held > maxLineBytes) throw tooLong(name, line, maxLineBytes);
    pieces.push(chunk.slice(start));
  }
  if (held > 0) yield decodeLine(decoder, join(pieces), name, line);
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/**
 * The lines of a text file by index. Memory: 8 bytes a line (where each starts); the text stays in the file.
 * Made by {@link openLines}.
 */
export class LineDataset implements Dataset<string> {
  readonly length: number;
  private readonly source: RandomAccess;
  private readonly starts: Float64Array;
  private readonly decoder = strictDecoder();

  /** @param starts where each line starts, and the end of the last one, with its line end, at the end. */
  constructor(source: RandomAccess, starts: Float64Array) {
    this.source = source;
    this.starts = starts;
    this.length = starts.length - 1;
  }

  /** @throws FormatError when the line is not UTF-8 text. */
  async get(index: number): Promise<string> {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new ArgumentError(`there is no line ${index}`, { op: 'LineDataset', received: index, expected: `0 to ${this.length - 1}` });
    }
    const bytes = await this.source.read(this.starts[index], this.starts[index + 1]);
    return decodeLine(this.decoder, bytes.at(-1) === newline ? bytes.subarray(0, -1) : bytes, this.source.name, index + 1);
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

/**
 * Opens a text file whose lines are wanted in any order; reads it once to find them. Close it after use.
 * @throws FormatError for lines over the limit, EnvironmentError when it cannot be read.
 */
export async function openLines(source: ByteSource, { maxLineBytes = defaultMaxLine }: LineOptions = {}): Promise<LineDataset> {
  const access = await openRandomAccess(source);
  try {
    let starts = new Float64Array(1024);
    let count = 1;
    let at = 0;
    const add = (position: number): void => {
      if (position - starts[count - 1] > maxLineBytes + 2) throw tooLong(access.name, count, maxLineBytes);
      if (count === starts.length) {
        const larger = new Float64Array(2 * count);
        larger.set(starts);
        starts = larger;
      }
      starts[count++] = position;
    };
    for await (const chunk of readChunks(access)) {
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, end + 1)) add(at + end + 1);
      at += chunk.length;
    }
    if (starts[count - 1] < at) add(at);
    return new LineDataset(access, starts.slice(0, count));
  } catch (cause) {
    if (access !== source) await access.close();
    throw cause;
  }
}
