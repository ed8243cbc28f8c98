/** Options of a script, changed from the command line or by a file. */
import { formatPath, type KeyPath } from './config/document.js';
import { ConfigError } from './errors.js';
import type { Options, OptionValue } from './run.js';
import { suggestion } from './suggest.js';

/** A change, and where it was asked for. */
export interface Override {
  readonly path: KeyPath;
  readonly value: unknown;
  /** `--set lr=0.1`, or a file. */
  readonly from: string;
}

const isMap = (value: unknown): value is Options => typeof value === 'object' && value !== null && !Array.isArray(value);

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object'
    ? 'a map'
    : ({ string: 'a text', number: 'a number', boolean: 'true or false' }[typeof value as string] ?? typeof value);
}

/** The value as the type of the default; the default null takes anything. */
function convert(before: OptionValue, value: unknown, { path, from }: Override): OptionValue {
  const wrong = (): never => {
    throw new ConfigError({
      file: from,
      key: formatPath(path),
      message: `is ${JSON.stringify(value)}.`,
      expected: `${kindOf(before)}, as the default ${JSON.stringify(before)}`,
    });
  };
  if (before === null) return value as OptionValue;
  // YAML reads 1.10 or true as what they look like; an option of text takes them as text.
  if (typeof before === 'string') return typeof value === 'object' ? wrong() : String(value);
  if (Array.isArray(before)) {
    if (!Array.isArray(value)) return wrong();
    const [first] = before as readonly OptionValue[];
    const odd = first === undefined ? undefined : value.find((item) => kindOf(item) !== kindOf(first));
    return odd === undefined ? (value as OptionValue) : wrong();
  }
  if (isMap(before)) {
    if (!isMap(value)) return wrong();
    return Object.entries(value).reduce<Options>(
      (all, [key, item]) => applyOption(all, { path: [...path, key], value: item, from }, [key]),
      before,
    );
  }
  return kindOf(value) === kindOf(before) ? (value as OptionValue) : wrong();
}

function applyOption(options: Options, override: Override, rest: KeyPath = override.path): Options {
  const [first, ...more] = rest;
  const key = String(first);
  if (!Object.hasOwn(options, key)) {
    throw new ConfigError({
      file: override.from,
      key: formatPath(override.path),
      message: `the run has no option ${key}.`,
      fix: suggestion(key, Object.keys(options)) ?? 'It has no options at all.',
    });
  }
  const before = options[key];
  if (more.length === 0) return { ...options, [key]: convert(before, override.value, override) };
  if (isMap(before)) return { ...options, [key]: applyOption(before, override, more) };
  if (Array.isArray(before) && more.length === 1 && typeof more[0] === 'number' && more[0] < before.length) {
    const index = more[0];
    return {
      ...options,
      [key]: (before as readonly OptionValue[]).map((item, i) => (i === index ? convert(item, override.value, override) : item)),
    };
  }
  throw new ConfigError({
    file: override.from,
    key: formatPath(override.path),
    message: `${key} is ${kindOf(before)}.`,
    expected: 'a map on the way',
  });
}

/** The defaults with the changes. @throws ConfigError for unknown names and values of another type */
export function applyOptions(defaults: Options, overrides: readonly Override[]): Options {
  return overrides.reduce((options, override) => applyOption(options, override), defaults);
}
