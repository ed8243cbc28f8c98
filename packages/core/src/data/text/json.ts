/** Reading parts of an untrusted JSON document: own properties alone, types and ranges checked, places named in errors. */
import { FormatError } from '../../errors.js';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const op = 'tokenizer.json';

export function refuse(path: string, what: string, expected?: string): FormatError {
  return new FormatError(`${path} ${what}`, { op, expected });
}

const describe = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`);

/** An object of the document. Names like `__proto__` are names like any other: only own properties are seen. */
export class JsonObject {
  readonly path: string;
  readonly value: Readonly<Record<string, unknown>>;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw refuse(path, `is ${describe(value)}`, 'an object');
    }
    this.path = path;
    this.value = value as Record<string, unknown>;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.value, name) ? this.value[name] : undefined;
  }

  at(name: string): string {
    return `${this.path}.${name}`;
  }

  has(name: string): boolean {
    const value = this.get(name);
    return value !== undefined && value !== null;
  }

  object(name: string): JsonObject {
    return new JsonObject(this.get(name), this.at(name));
  }

  string(name: string, fallback?: string): string {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    if (typeof value !== 'string') throw refuse(this.at(name), `is ${describe(value)}`, 'a string');
    return value;
  }

  optionalString(name: string): string | null {
    return this.has(name) ? this.string(name) : null;
  }

  boolean(name: string, fallback?: boolean): boolean {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    if (typeof value !== 'boolean') throw refuse(this.at(name), `is ${describe(value)}`, 'true or false');
    return value;
  }

  /** A whole number in low .. high. */
  integer(name: string, low: number, high: number, fallback?: number): number {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    return checkInteger(value, this.at(name), low, high);
  }

  oneOf<T extends string>(name: string, values: readonly T[], fallback?: T): T {
    const value = this.string(name, fallback);
    const found = values.find((v) => v === value);
    if (found === undefined) throw refuse(this.at(name), `is ${JSON.stringify(value)}`, `one of ${values.join(', ')}`);
    return found;
  }

  list(name: string, limit: number): readonly unknown[] {
    return checkList(this.get(name), this.at(name), limit);
  }
}

export function checkList(value: unknown, path: string, limit: number): readonly unknown[] {
  if (!Array.isArray(value)) throw refuse(path, `is ${describe(value)}`, 'a list');
  if (value.length > limit) throw refuse(path, `has ${value.length} elements`, `at most ${limit}`);
  return value;
}

export function checkString(value: unknown, path: string): string {
  if (typeof value !== 'string') throw refuse(path, `is ${describe(value)}`, 'a string');
  return value;
}

export function checkInteger(value: unknown, path: string, low: number, high: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
    throw refuse(path, `is ${typeof value === 'number' ? value : describe(value)}`, `a whole number from ${low} to ${high}`);
  }
  return value;
}

/** Deepest nesting of sequences of parts. */
export const maxNesting = 16;

/** Parts in a sequence. */
export const maxParts = 256;

/** Largest token id: pairs of ids are kept in one number. */
export const maxTokenId = 2 ** 26 - 1;

/** A vocabulary object `{ token: id }`. */
export function readVocabulary(value: unknown, path: string): Map<string, number> {
  const entries = Object.entries(new JsonObject(value, path).value);
  if (entries.length > maxTokenId) throw refuse(path, `has ${entries.length} tokens`, `at most ${maxTokenId}`);
  const out = new Map<string, number>();
  for (const [token, id] of entries) out.set(token, checkInteger(id, `${path}[${JSON.stringify(token)}]`, 0, maxTokenId));
  return out;
}
