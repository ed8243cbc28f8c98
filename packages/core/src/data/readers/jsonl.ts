/** JSON Lines: one JSON value a line. */
import { ArgumentError, FormatError } from '../../errors.js';
import { writeFileAtomic } from '../../io/files.js';
import type { ByteSource } from '../../io/random-access.js';
import { mapDataset } from '../combine.js';
import type { Dataset } from '../dataset.js';
import { type LineOptions, openLines, readLines } from './lines.js';

function parse(text: string, line: number): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FormatError(`line ${line} is not JSON (${cause instanceof Error ? cause.message : String(cause)})`, {
      op: 'jsonl',
      received: line,
      expected: 'one JSON value on each line',
      cause,
    });
  }
}

/**
 * The values of a JSONL text, one after the other; empty lines are left out.
 * @param T what the caller takes the values for; they are not checked.
 * @throws FormatError with the number of the line that is not JSON.
 */
export async function* readJsonl<T = unknown>(source: ByteSource, options: LineOptions = {}): AsyncGenerator<T, void, void> {
  let line = 0;
  for await (const text of readLines(source, options)) {
    line++;
    if (text.trim() !== '') yield parse(text, line) as T;
  }
}

/** The values of a JSONL file by index (see {@link openLines}); every line must hold one. Close it after use. */
export async function openJsonl<T = unknown>(
  source: ByteSource,
  options: LineOptions = {},
): Promise<Dataset<T> & { close(): Promise<void> }> {
  const lines = await openLines(source, options);
  return Object.assign(
    mapDataset(lines, (text, _, index) => parse(text, index + 1) as T),
    { close: () => lines.close() },
  );
}

/**
 * Values as JSONL text.
 * @throws ArgumentError for a value that JSON cannot hold (undefined, functions, bigint, cycles).
 */
export function encodeJsonl(values: Iterable<unknown>): string {
  const lines: string[] = [];
  for (const value of values) {
    let text: string | undefined;
    let cause: unknown;
    try {
      text = JSON.stringify(value);
    } catch (error) {
      cause = error;
    }
    if (text === undefined) {
      throw new ArgumentError(`value ${lines.length} cannot be written as JSON`, {
        op: 'jsonl',
        received: value,
        expected: 'plain data',
        cause,
      });
    }
    lines.push(`${text}\n`);
  }
  return lines.join('');
}

/** Writes a JSONL file, whole or not at all. @throws ArgumentError, EnvironmentError */
export async function writeJsonl(path: string, values: Iterable<unknown>): Promise<void> {
  await writeFileAtomic(path, new TextEncoder().encode(encodeJsonl(values)));
}
