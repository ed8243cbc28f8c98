/** Things that a configuration asks for by the name of their class, with checked arguments. */
import { suggestion } from '../suggest.js';
import type { ConfigValue } from './document.js';
import type { JsonSchema, Reading, Schema } from './schema.js';

/** How to make one thing from plain arguments. */
export interface Entry<T> {
  readonly positional: readonly { readonly name: string; readonly schema: Schema<unknown>; readonly needed: boolean }[];
  readonly options: Readonly<Record<string, Schema<unknown>>>;
  /** Options without a default. */
  readonly needed: readonly string[];
  make(args: Readonly<Record<string, unknown>>): T;
}
export type Catalog<T> = Readonly<Record<string, Entry<T>>>;

/** A name with its arguments, as plain data. */
export interface Named {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

type Init<A extends readonly unknown[]> = Required<A> extends readonly [...infer I, unknown] ? I : never;
type Last<A extends readonly unknown[]> = Required<A> extends readonly [...unknown[], infer L] ? L : never;
type Positional<A extends readonly unknown[]> = { readonly [I in keyof A]: readonly [name: string, schema: Schema<A[I]>] };
/** A schema for every option; null for those that plain data cannot give. A new option of the class is an error of the compiler here. */
export type OptionSchemas<O> = { readonly [K in keyof Required<O>]: Schema<Exclude<O[K], undefined>> | null };

type Callable = readonly { readonly name: string; readonly schema: Schema<unknown>; readonly needed: boolean }[];

function positionalOf(list: readonly (readonly [string, Schema<unknown>])[], length: number): Callable {
  return list.map(([name, schema], i) => ({ name, schema, needed: i < length }));
}
const given = (options: object): Record<string, Schema<unknown>> =>
  Object.fromEntries(Object.entries(options).filter((entry): entry is [string, Schema<unknown>] => entry[1] !== null));

/** Arguments in the order of a call, without undefined ones at the end. */
function argumentsOf(positional: Callable, args: Readonly<Record<string, unknown>>): unknown[] {
  const list = positional.map(({ name }) => args[name]);
  while (list.length > 0 && list[list.length - 1] === undefined) list.pop();
  return list;
}
function optionsOf(names: Readonly<Record<string, unknown>>, args: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(args).filter(([name]) => Object.hasOwn(names, name)));
}

/** A function whose arguments are all positional. Those before the first default are needed. */
export function plainCall<A extends readonly unknown[], T>(
  call: (...args: A) => T,
  length: number,
  list: Positional<Required<A>>,
): Entry<T> {
  const positional = positionalOf(list as never, length);
  return { positional, options: {}, needed: [], make: (args) => call(...(argumentsOf(positional, args) as unknown as A)) };
}

/** A function whose last argument is an object of options. */
export function optionCall<A extends readonly unknown[], T>(
  call: (...args: A) => T,
  length: number,
  list: Positional<Init<A>>,
  options: OptionSchemas<Last<A>>,
  needed: readonly (keyof Last<A> & string)[] = [],
): Entry<T> {
  const positional = positionalOf(list as never, length);
  const schemas = given(options as object);
  return {
    positional,
    options: schemas,
    needed,
    make: (args) => call(...([...positional.map(({ name }) => args[name]), optionsOf(schemas, args)] as unknown as A)),
  };
}

type Class<A extends readonly unknown[], T> = new (...args: A) => T;

/** A class whose constructor has positional arguments only. */
export function plainClass<A extends readonly unknown[], T>(type: Class<A, T>, list: Positional<Required<A>>): Entry<T> {
  return plainCall((...args: A) => new type(...args), type.length, list);
}
/** A class whose constructor ends with options. */
export function optionClass<A extends readonly unknown[], T>(
  type: Class<A, T>,
  list: Positional<Init<A>>,
  options: OptionSchemas<Last<A>>,
  needed: readonly (keyof Last<A> & string)[] = [],
): Entry<T> {
  return optionCall((...args: A) => new type(...args), type.length, list, options, needed);
}

export function build<T>(catalog: Catalog<T>, { name, args }: Named): T {
  return catalog[name].make(args);
}

/** As plain data that reads back to the same: the name alone, or `{ Name: arguments }`. */
export function plainNamed({ name, args }: Named): unknown {
  return Object.keys(args).length === 0 ? name : { [name]: plainArgs(args) };
}
function plainArgs(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainArgs);
  if (typeof value !== 'object' || value === null) return value;
  if (isNamed(value)) return plainNamed(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainArgs(item)]));
}
export function isNamed(value: unknown): value is Named {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 2 && 'name' in value && 'args' in value;
}

/** The arguments at one place of a configuration. */
function readArguments<T>(name: string, entry: Entry<T>, value: ConfigValue, from: 'map' | 'call', reading: Reading): Named | undefined {
  const { positional, options, needed } = entry;
  const known: Record<string, Schema<unknown>> = { ...Object.fromEntries(positional.map((p) => [p.name, p.schema])), ...options };
  const args: Record<string, unknown> = {};
  let fine = true;
  const take = (key: string, item: ConfigValue, keyPlace: ConfigValue): void => {
    if (from === 'map' && key === 'name') return;
    if (!Object.hasOwn(known, key)) {
      const all = Object.keys(known);
      reading.add(keyPlace, `is no argument of ${name}.`, undefined, all.length === 0 ? `${name} has none.` : suggestion(key, all));
      fine = false;
      return;
    }
    const read = known[key].read(item, reading);
    if (read === undefined) fine = false;
    args[key] = read;
  };
  const takeMap = (map: ConfigValue): void => {
    for (const { key, keyPlace, value: item } of map.entries()) take(key, item, keyPlace);
  };
  const first = positional[0];
  const items = value.items();
  const last = items[items.length - 1];
  const withOptions = last?.kind === 'map' && Object.keys(options).length > 0;
  // A list may be the one argument itself: `AdaptiveAvgPool2d: [1, 1]`.
  const isArgument = positional.length === 1 && !withOptions && first.schema.accepts(value);
  if (value.kind === 'map') takeMap(value);
  else if (value.kind === 'list' && !isArgument) {
    const listed = withOptions ? items.slice(0, -1) : items;
    if (listed.length > positional.length) {
      const names = positional.map((p) => p.name).join(', ');
      reading.add(
        value,
        `${name} got ${listed.length} arguments.`,
        positional.length === 0 ? 'none' : `at most ${positional.length}: ${names}`,
      );
      return undefined;
    }
    listed.forEach((item, i) => take(positional[i].name, item, item));
    if (withOptions) takeMap(last);
  } else if (value.kind === 'list' || value.scalar !== null) {
    if (first === undefined) {
      reading.add(
        value,
        `is ${value.describe()}.`,
        Object.keys(options).length > 0 ? `a map of ${Object.keys(options).join(', ')}` : 'nothing',
      );
      return undefined;
    }
    take(first.name, value, value);
  }
  const missing = [...positional.filter((p) => p.needed).map((p) => p.name), ...needed].filter((key) => !Object.hasOwn(args, key));
  for (const key of missing) reading.add(value, `${name} needs ${key}.`, known[key].expected);
  return fine && missing.length === 0 ? { name, args } : undefined;
}

/**
 * A thing of a catalog: its name, `{ Name: arguments }`, or `{ name: Name, ... }`. Arguments are a map, a list (the last entry may be
 * a map of options), or the first one alone. `hint` may know more about a name that is not in the catalog.
 */
export function named<T>(what: string, catalog: Catalog<T>, hint?: (name: string) => string | undefined): Schema<Named> {
  const names = Object.keys(catalog);
  const entryOf = (name: string): Entry<T> | undefined => (Object.hasOwn(catalog, name) ? catalog[name] : undefined);
  const unknown = (name: string, place: ConfigValue, reading: Reading): undefined =>
    reading.add(
      place,
      `there is no ${what} ${JSON.stringify(name)}.`,
      undefined,
      hint?.(name) ?? suggestion(name, names) ?? `Known are ${names.join(', ')}.`,
    );
  return {
    expected: `the name of a ${what}, with its arguments`,
    json: jsonOf(catalog),
    accepts: (value) => value.kind === 'map' || typeof value.scalar === 'string',
    read(value, reading) {
      if (!reading.visit(value)) return undefined;
      if (value.kind === 'list' || (value.kind === 'scalar' && typeof value.scalar !== 'string')) {
        return reading.add(value, `is ${value.describe()}.`, `the name of a ${what}: ${names.slice(0, 8).join(', ')} …`);
      }
      if (value.kind === 'scalar') {
        const name = String(value.scalar);
        const entry = entryOf(name);
        if (entry === undefined) return unknown(name, value, reading);
        const missing = [...entry.positional.filter((p) => p.needed).map((p) => p.name), ...entry.needed];
        if (missing.length === 0) return { name, args: {} };
        return reading.add(value, `${name} needs ${missing.join(', ')}.`, `${name}: { ${missing.map((key) => `${key}: …`).join(', ')} }`);
      }
      const entries = value.entries();
      const tag = entries.find(({ key }) => key === 'name');
      if (tag) {
        if (typeof tag.value.scalar !== 'string') return reading.add(tag.value, `is ${tag.value.describe()}.`, `the name of a ${what}`);
        const entry = entryOf(tag.value.scalar);
        return entry === undefined
          ? unknown(tag.value.scalar, tag.value, reading)
          : readArguments(tag.value.scalar, entry, value, 'map', reading);
      }
      if (entries.length !== 1) {
        const [first] = entries;
        if (entries.length > 1 && first && entryOf(first.key)) {
          const fix = `Write one ${what} an entry, with its arguments inside: ${first.key}: { … }.`;
          return reading.add(value, `has the keys ${entries.map((e) => e.key).join(', ')}.`, `one ${what}`, fix);
        }
        return reading.add(value, `the key name is missing.`, `a ${what}: ${names.slice(0, 8).join(', ')} …`);
      }
      const [{ key, keyPlace, value: inner }] = entries;
      const entry = entryOf(key);
      return entry === undefined ? unknown(key, keyPlace, reading) : readArguments(key, entry, inner, 'call', reading);
    },
  };
}

function jsonOf<T>(catalog: Catalog<T>): JsonSchema {
  const names = Object.keys(catalog);
  const needs = (name: string): string[] => [
    ...catalog[name].positional.filter((p) => p.needed).map((p) => p.name),
    ...catalog[name].needed,
  ];
  const argumentsOfEntry = (name: string): Record<string, unknown> => ({
    ...Object.fromEntries(catalog[name].positional.map((p) => [p.name, p.schema.json])),
    ...Object.fromEntries(Object.entries(catalog[name].options).map(([key, schema]) => [key, schema.json])),
  });
  const alone = names.filter((name) => needs(name).length === 0);
  return {
    anyOf: [
      ...(alone.length > 0 ? [{ enum: alone }] : []),
      {
        type: 'object',
        minProperties: 1,
        maxProperties: 1,
        additionalProperties: false,
        properties: Object.fromEntries(
          names.map((name) => {
            const { positional } = catalog[name];
            const byName = { type: 'object', properties: argumentsOfEntry(name), required: needs(name), additionalProperties: false };
            const others = [
              ...(positional.length > 0 ? [positional[0].schema.json, { type: 'array' }] : []),
              ...(needs(name).length === 0 ? [{ type: 'null' }] : []),
            ];
            return [name, others.length > 0 ? { anyOf: [byName, ...others] } : byName];
          }),
        ),
      },
      { type: 'object', properties: { name: { enum: names } }, required: ['name'] },
    ],
  };
}
