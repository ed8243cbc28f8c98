/** Arguments by a table of flags. */
import { parseArgs } from 'node:util';
import { UsageError } from './errors.js';
import { suggestion } from './suggest.js';

export interface Flag {
  readonly name: string;
  readonly short?: string;
  /** What stands for the value in the help; a flag without one is on or off. */
  readonly value?: string;
  readonly help: string;
  /** May be given several times. */
  readonly many?: boolean;
  /** The values that it takes, for messages and completion. */
  readonly choices?: readonly string[];
  /** A whole number, this or more. */
  readonly least?: number;
  /** The value is a folder or file. */
  readonly path?: boolean;
}

export interface Arguments {
  readonly positionals: readonly string[];
  has(name: string): boolean;
  text(name: string): string | undefined;
  number(name: string): number | undefined;
  all(name: string): readonly string[];
}

/** @throws UsageError for unknown flags, missing values and values that a flag does not take */
export function parse(args: readonly string[], flags: readonly Flag[], command: string): Arguments {
  const options = Object.fromEntries(
    flags.map(({ name, short, value }) => [
      name,
      { type: value === undefined ? 'boolean' : 'string', multiple: true, ...(short ? { short } : {}) } as const,
    ]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true, allowPositionals: true });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    const flag = flags.find((f) => f.name === name);
    if (flag === undefined) {
      const near = suggestion(
        name,
        flags.map((f) => f.name),
      )?.replace(/(Did you mean )(.*)\?/, '$1--$2?');
      throw new UsageError(`${command} has no option ${rawName}`, near?.startsWith('Did') ? near : `See trireme help ${command}.`);
    }
    if (flag.value === undefined) {
      if (inlineValue) throw new UsageError(`${rawName} takes no value`, `Write ${rawName} alone.`);
      values.set(name, []);
      continue;
    }
    const negative = value !== undefined && /^-\d/.test(value);
    if (value === undefined || (!inlineValue && value.startsWith('-') && value.length > 1 && !negative)) {
      throw new UsageError(`${rawName} has no value`, `Write ${rawName} ${flag.value}.`);
    }
    if (flag.choices && !flag.choices.includes(value)) {
      throw new UsageError(`${rawName} is ${value}`, suggestion(value, flag.choices) ?? `It takes ${flag.choices.join(', ')}.`);
    }
    if (flag.least !== undefined && !(/^\d+$/.test(value) && Number.isSafeInteger(Number(value)) && Number(value) >= flag.least)) {
      throw new UsageError(`${rawName} is ${value}`, `It takes a whole number, ${flag.least} or more.`);
    }
    if (!flag.many && values.has(name)) throw new UsageError(`${rawName} is given twice`, 'Give it once.');
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return {
    positionals,
    has: (name) => values.has(name),
    text: (name) => values.get(name)?.[0],
    number: (name) => (values.get(name)?.[0] === undefined ? undefined : Number(values.get(name)?.[0])),
    all: (name) => values.get(name) ?? [],
  };
}
