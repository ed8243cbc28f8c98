/** What values a configuration may have: one description checks them, says what was expected, and becomes a JSON Schema. */
import { resolve } from 'node:path';
import type { Problem } from '../errors.js';
import { suggestion } from '../suggest.js';
import type { ConfigValue } from './document.js';

export type JsonSchema = { readonly [key: string]: unknown };

/** Gathers the problems of one reading. */
export class Reading {
  readonly problems: Problem[] = [];
  /** Relative paths start here. */
  readonly folder: string;
  private visits = 0;
  constructor(folder: string) {
    this.folder = folder;
  }
  add(value: ConfigValue, message: string, expected?: string, fix?: string): undefined {
    this.problems.push(value.problem(message, expected, fix));
    return undefined;
  }
  /** Aliases may make a small file endless. */
  visit(value: ConfigValue): boolean {
    if (value.path.length <= 64 && this.visits++ < 200_000) return true;
    if (this.problems.length === 0) this.add(value, 'is nested too deeply, or repeated too often by aliases.');
    return false;
  }
}

/** `read` gives undefined for a wrong value, after it has told the problem. */
export interface Schema<T> {
  /** In words: `a whole number, 1 or more`. */
  readonly expected: string;
  /** Whether the value is of the right kind, so that its details are worth telling. */
  accepts(value: ConfigValue): boolean;
  read(value: ConfigValue, reading: Reading): T | undefined;
  readonly json: JsonSchema;
}
export type ValueOf<S> = S extends Schema<infer T> ? T : never;

function scalar<T>(expected: string, check: (value: unknown) => value is T, json: JsonSchema): Schema<T> {
  return {
    expected,
    json,
    accepts: (value) => value.kind === 'scalar' && check(value.scalar),
    read(value, reading) {
      const { scalar: found } = value;
      if (value.kind === 'scalar' && check(found)) return found;
      return reading.add(value, `is ${value.describe()}.`, expected);
    },
  };
}

export const text = scalar('a text', (v): v is string => typeof v === 'string', { type: 'string' });
export const flag = scalar('true or false', (v): v is boolean => typeof v === 'boolean', { type: 'boolean' });

interface NumberRange {
  readonly min?: number;
  readonly max?: number;
  /** The value must be larger than this. */
  readonly above?: number;
  /** The value must be smaller than this. */
  readonly below?: number;
  readonly whole?: boolean;
}
export function numberIn({ min, max, above, below, whole = false }: NumberRange = {}): Schema<number> {
  const limits = [
    ...(min === undefined ? [] : [`${min} or more`]),
    ...(max === undefined ? [] : [`at most ${max}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ];
  const expected = [whole ? 'a whole number' : 'a number', ...limits].join(', ');
  const fits = (v: number): boolean =>
    v >= (min ?? Number.NEGATIVE_INFINITY) &&
    v <= (max ?? Number.POSITIVE_INFINITY) &&
    v > (above ?? Number.NEGATIVE_INFINITY) &&
    v < (below ?? Number.POSITIVE_INFINITY) &&
    (!whole || Number.isSafeInteger(v));
  const json = { type: whole ? 'integer' : 'number', minimum: min, maximum: max, exclusiveMinimum: above, exclusiveMaximum: below };
  return scalar(expected, (v): v is number => typeof v === 'number' && fits(v), json);
}
export const number = numberIn();
export const positive = numberIn({ above: 0 });
export const notNegative = numberIn({ min: 0 });
export const share = numberIn({ min: 0, max: 1 });
export const integer = numberIn({ whole: true });
export const whole = numberIn({ whole: true, min: 0 });
export const count = numberIn({ whole: true, min: 1 });

export function choice<const T extends string>(...values: readonly T[]): Schema<T> {
  const expected = values.length === 1 ? values[0] : `${values.slice(0, -1).join(', ')} or ${values[values.length - 1]}`;
  return {
    expected,
    json: { enum: values },
    accepts: (value) => typeof value.scalar === 'string' && (values as readonly string[]).includes(value.scalar),
    read(value, reading) {
      const found = values.find((v) => v === value.scalar);
      if (value.kind === 'scalar' && found !== undefined) return found;
      const fix = typeof value.scalar === 'string' ? suggestion(value.scalar, values) : undefined;
      return reading.add(value, `is ${value.describe()}.`, expected, fix?.startsWith('Did') ? fix : undefined);
    },
  };
}

/** A path of a file or folder, resolved against the folder of the configuration. */
export const path: Schema<string> = {
  expected: 'a path',
  json: { type: 'string' },
  accepts: (value) => typeof value.scalar === 'string' && value.scalar !== '',
  read(value, reading) {
    if (typeof value.scalar === 'string' && value.scalar !== '') return resolve(reading.folder, value.scalar);
    return reading.add(value, `is ${value.describe()}.`, 'a path');
  },
};

export function nullable<T>(inner: Schema<T>): Schema<T | null> {
  return {
    expected: `${inner.expected}, or null`,
    json: { anyOf: [inner.json, { type: 'null' }] },
    accepts: (value) => (value.kind === 'scalar' && value.scalar === null) || inner.accepts(value),
    read: (value, reading) => (value.kind === 'scalar' && value.scalar === null ? null : inner.read(value, reading)),
  };
}

export function list<T>(inner: Schema<T>, { length, min = 0 }: { readonly length?: number; readonly min?: number } = {}): Schema<T[]> {
  const expected =
    length !== undefined
      ? `a list of ${length}: each ${inner.expected}`
      : `a list${min > 0 ? ' with at least one entry' : ''}, each ${inner.expected}`;
  return {
    expected,
    json: { type: 'array', items: inner.json, minItems: length ?? (min > 0 ? min : undefined), maxItems: length },
    accepts: (value) => value.kind === 'list' && (length === undefined || value.items().length === length),
    read(value, reading) {
      const items = value.items();
      if (value.kind !== 'list') return reading.add(value, `is ${value.describe()}.`, expected);
      if ((length !== undefined && items.length !== length) || items.length < min) {
        return reading.add(value, `has ${items.length} entries.`, expected);
      }
      if (!reading.visit(value)) return undefined;
      const read = items.map((item) => inner.read(item, reading));
      return read.some((item) => item === undefined) ? undefined : (read as T[]);
    },
  };
}

/** The first alternative that takes the kind of the value. */
export function either<const S extends readonly Schema<unknown>[]>(...alternatives: S): Schema<ValueOf<S[number]>> {
  const expected = alternatives.map((s) => s.expected).join(', or ');
  return {
    expected,
    json: { anyOf: alternatives.map((s) => s.json) },
    accepts: (value) => alternatives.some((s) => s.accepts(value)),
    read(value, reading) {
      const found = alternatives.find((s) => s.accepts(value));
      if (found) return found.read(value, reading) as ValueOf<S[number]> | undefined;
      return reading.add(value, `is ${value.describe()}.`, expected);
    },
  };
}

/** Exactly two. */
export function pair<T>(inner: Schema<T>): Schema<readonly [T, T]> {
  return list(inner, { length: 2 }) as unknown as Schema<readonly [T, T]>;
}

/** A number, or a pair of them. */
export const sizeOrPair = either(count, pair(count));
/** One whole number for all dimensions, or one for each. */
export const sizes = either(count, list(count, { min: 1 }));
export const amounts = either(integer, list(integer, { min: 1 }));
export const range = pair(number);
export const numberOrRange = either(number, range);

/** A key of a map. */
export interface Key<T> {
  readonly schema: Schema<T>;
  readonly needed: boolean;
  readonly fallback?: T;
}
export const needed = <T>(schema: Schema<T>): Key<T> & { readonly needed: true } => ({ schema, needed: true });
export const optional = <T>(schema: Schema<T>): Key<T> & { readonly needed: false } => ({ schema, needed: false });
export const preset = <T>(schema: Schema<T>, fallback: T): Key<T> & { readonly needed: false; readonly fallback: T } => ({
  schema,
  needed: false,
  fallback,
});

type Keys = Readonly<Record<string, Key<unknown>>>;
type Present<K extends Keys> = {
  [N in keyof K]: K[N] extends { readonly needed: true } | { readonly fallback: unknown } ? N : never;
}[keyof K];
type KeyValue<K> = K extends Key<infer T> ? T : never;
/** What reading a map gives. */
export type MapOf<K extends Keys> = { readonly [N in Present<K>]: KeyValue<K[N]> } & {
  readonly [N in Exclude<keyof K, Present<K>>]?: KeyValue<K[N]>;
};

export interface MapSchema<T> extends Schema<T> {
  readonly keys: readonly string[];
}
/** A map with these keys and no others. `what` names it in messages. */
export function map<const K extends Keys>(what: string, keys: K): MapSchema<MapOf<K>> {
  const names = Object.keys(keys);
  const json = {
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, keys[name].schema.json])),
    required: names.filter((name) => keys[name].needed),
    additionalProperties: false,
  };
  return {
    expected: what,
    json,
    keys: names,
    accepts: (value) => value.kind === 'map',
    read(value, reading) {
      if (value.kind !== 'map') return reading.add(value, `is ${value.describe()}.`, what);
      if (!reading.visit(value)) return undefined;
      const found: Record<string, unknown> = {};
      let whole = true;
      for (const { key, keyPlace, value: inner } of value.entries()) {
        const known = Object.hasOwn(keys, key) ? keys[key] : undefined;
        if (known === undefined) {
          reading.add(keyPlace, 'is no key here.', undefined, suggestion(key, names));
          whole = false;
          continue;
        }
        // null leaves a key out, so that `--set schedule=null` takes it away.
        if (!known.needed && inner.kind === 'scalar' && inner.scalar === null && !known.schema.accepts(inner)) continue;
        const read = known.schema.read(inner, reading);
        if (read === undefined) whole = false;
        found[key] = read;
      }
      for (const name of names) {
        if (Object.hasOwn(found, name)) continue;
        const { needed: must, fallback, schema } = keys[name];
        if (must) {
          reading.add(value, `the key ${name} is missing.`, schema.expected);
          whole = false;
        } else if (fallback !== undefined) found[name] = fallback;
      }
      return whole ? (found as MapOf<K>) : undefined;
    },
  };
}

type Variants = Readonly<Record<string, Keys>>;
type TaggedOf<Tag extends string, V extends Variants> = {
  [N in keyof V & string]: MapOf<V[N]> & { readonly [T in Tag]: N };
}[keyof V & string];

/** A map with a key that tells which of several it is. */
export function tagged<const Tag extends string, const V extends Variants>(what: string, tag: Tag, variants: V): Schema<TaggedOf<Tag, V>> {
  const names = Object.keys(variants);
  const which = choice(...names);
  const maps = Object.fromEntries(names.map((name) => [name, map(what, { [tag]: needed(choice(name)), ...variants[name] })]));
  return {
    expected: what,
    json: { oneOf: names.map((name) => maps[name].json) },
    accepts: (value) => value.kind === 'map',
    read(value, reading) {
      if (value.kind !== 'map') return reading.add(value, `is ${value.describe()}.`, what);
      const entry = value.entries().find(({ key }) => key === tag);
      if (entry === undefined) return reading.add(value, `the key ${tag} is missing.`, which.expected);
      const name = which.read(entry.value, reading);
      return name === undefined ? undefined : (maps[name].read(value, reading) as TaggedOf<Tag, V> | undefined);
    },
  };
}

/** Any map of names to values. */
export function record<T>(inner: Schema<T>): Schema<Readonly<Record<string, T>>> {
  return {
    expected: `a map of names, each ${inner.expected}`,
    json: { type: 'object', additionalProperties: inner.json },
    accepts: (value) => value.kind === 'map',
    read(value, reading) {
      if (value.kind !== 'map') return reading.add(value, `is ${value.describe()}.`, this.expected);
      const entries = value.entries().map(({ key, value: item }) => [key, inner.read(item, reading)] as const);
      return entries.some(([, item]) => item === undefined) ? undefined : (Object.fromEntries(entries) as Record<string, T>);
    },
  };
}

/** Any plain data. */
export const anything: Schema<unknown> = {
  expected: 'any value',
  json: {},
  accepts: () => true,
  read(value, reading) {
    if (!reading.visit(value)) return undefined;
    if (value.kind === 'map') return Object.fromEntries(value.entries().map((e) => [e.key, anything.read(e.value, reading) ?? null]));
    if (value.kind === 'list') return value.items().map((item) => anything.read(item, reading) ?? null);
    return value.scalar;
  },
};

/** A schema that mentions itself; `name` is its definition in the JSON Schema. */
export function lazy<T>(name: string, expected: string, make: () => Schema<T>): Schema<T> {
  let made: Schema<T> | null = null;
  const get = (): Schema<T> => {
    made ??= make();
    return made;
  };
  return {
    expected,
    json: { $ref: `#/$defs/${name}` },
    accepts: (value) => get().accepts(value),
    read: (value, reading) => (reading.visit(value) ? get().read(value, reading) : undefined),
  };
}
