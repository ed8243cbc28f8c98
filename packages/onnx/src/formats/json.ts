/** Reading untrusted JSON: own properties alone, types and ranges checked, places named in errors. */
import { FormatError } from 'trireme';

/** Deepest nesting of a document. */
const maxDepth = 200;

/**
 * JSON of bytes in UTF-8.
 * @param what names the document in messages.
 * @throws FormatError when it is no JSON, or nests too deeply
 */
export function parseJson(bytes: Uint8Array | string, what: string): unknown {
  let text: string;
  try {
    text = typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    checkDepth(text, what);
    return JSON.parse(text);
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(`${what} is no JSON (${cause instanceof Error ? cause.message : String(cause)})`, { op: what, cause });
  }
}

/** So that whatever walks the document afterwards may do so by recursion. */
function checkDepth(text: string, what: string): void {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      i++;
      while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
    } else if (c === '{' || c === '[') {
      if (++depth > maxDepth) throw new FormatError(`${what} nests more than ${maxDepth} levels`, { op: what });
    } else if (c === '}' || c === ']') depth--;
  }
}

const describe = (value: unknown): string =>
  value === undefined ? 'missing' : value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`;

/** An object of a document. Names like `__proto__` are names like any other. */
export class Config {
  readonly path: string;
  readonly #value: Readonly<Record<string, unknown>>;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FormatError(`${path} is ${describe(value)}`, { op: path, expected: 'an object' });
    }
    this.path = path;
    this.#value = value as Record<string, unknown>;
  }

  fail(what: string, expected?: string): never {
    throw new FormatError(`${this.path} ${what}`, { op: this.path.split('.')[0], expected });
  }
  get(name: string): unknown {
    return Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
  }
  keys(): string[] {
    return Object.keys(this.#value);
  }
  has(name: string): boolean {
    const value = this.get(name);
    return value !== undefined && value !== null;
  }
  #bad(name: string, expected: string): never {
    throw new FormatError(`${this.path}.${name} is ${describe(this.get(name))}`, { op: this.path.split('.')[0], expected });
  }
  object(name: string): Config {
    return new Config(this.get(name), `${this.path}.${name}`);
  }
  optionalObject(name: string): Config | null {
    return this.has(name) ? this.object(name) : null;
  }
  list(name: string, limit = 1_000_000): readonly unknown[] {
    const value = this.get(name);
    if (!Array.isArray(value)) this.#bad(name, 'a list');
    if (value.length > limit) this.fail(`.${name} has ${value.length} elements`, `at most ${limit}`);
    return value;
  }
  objects(name: string, limit?: number): Config[] {
    return this.list(name, limit).map((item, i) => new Config(item, `${this.path}.${name}[${i}]`));
  }
  string(name: string, fallback?: string): string {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    return typeof value === 'string' ? value : this.#bad(name, 'a string');
  }
  boolean(name: string, fallback?: boolean): boolean {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    return typeof value === 'boolean' ? value : this.#bad(name, 'true or false');
  }
  number(name: string, fallback?: number): number {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    return typeof value === 'number' ? value : this.#bad(name, 'a number');
  }
  /** A whole number in low .. high. */
  integer(name: string, low: number, high: number, fallback?: number): number {
    const value = this.number(name, fallback);
    if (!Number.isInteger(value) || value < low || value > high) this.fail(`.${name} is ${value}`, `a whole number from ${low} to ${high}`);
    return value;
  }
  /** Whole numbers, as many as `count` says; one number stands for all. */
  integers(name: string, count: number, fallback?: number): number[] {
    const value = this.get(name);
    if ((value === undefined || value === null) && fallback !== undefined) return new Array<number>(count).fill(fallback);
    const items = Array.isArray(value) ? value : new Array<unknown>(count).fill(value);
    if (items.length !== count || !items.every((n) => Number.isSafeInteger(n))) this.#bad(name, `${count} whole numbers`);
    return items as number[];
  }
  /** Sizes of a tensor. */
  shape(name: string): number[] {
    const value = this.list(name, 64);
    if (!value.every((n) => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0)) this.#bad(name, 'sizes');
    return value as number[];
  }
}
