/** Where words and results go. */

import { Console } from 'node:console';
import process from 'node:process';

export interface Output {
  readonly json: boolean;
  /** A line for people: on standard output, with --json on standard error. */
  say(line: string): void;
  /** The result of the command; with --json one line on standard output. */
  result(value: object): void;
}

/** Numbers that JSON does not have become text. */
export function encode(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v));
}

export function makeOutput(json: boolean): Output {
  // What a script prints must not stand beside the one line of the result.
  if (json) globalThis.console = new Console({ stdout: process.stderr, stderr: process.stderr });
  return {
    json,
    say: (line) => void (json ? process.stderr : process.stdout).write(`${line}\n`),
    result: (value) => {
      if (json) process.stdout.write(`${encode(value)}\n`);
    },
  };
}

/** Rows in columns as wide as their widest cell; cells of the last column may have any length. */
export function columns(rows: readonly (readonly string[])[], indent = ''): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  return rows
    .map((row) => `${indent}${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] + 2))).join('')}`.trimEnd())
    .join('\n');
}
