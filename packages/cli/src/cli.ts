/** From arguments to an exit code. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { type Arguments, parse } from './args.js';
import { type Command, commands, findCommand } from './commands/index.js';
import { ConfigError, exitCodes, formatProblem, Interrupted, reasonOf, UsageError } from './errors.js';
import { makeOutput, type Output } from './output.js';

function version(): string {
  // dist/main.js and src/main.ts are as deep.
  const { version: own } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string };
  return own;
}

/** What went wrong as text, as data, and as a code. */
function explain(
  error: unknown,
  command: string | null,
): { readonly code: number; readonly lines: readonly string[]; readonly data: object } {
  if (error instanceof UsageError) {
    const lines = [`trireme: ${error.message}`, ...(error.fix ? [error.fix] : []), `See trireme help${command ? ` ${command}` : ''}.`];
    return { code: exitCodes.usage, lines, data: { name: 'UsageError', message: error.message, fix: error.fix } };
  }
  if (error instanceof ConfigError) {
    const lines = error.problems.map((problem) => `trireme: ${formatProblem(problem)}`);
    return { code: exitCodes.configuration, lines, data: { name: 'ConfigError', message: error.message, problems: error.problems } };
  }
  if (error instanceof Interrupted)
    return { code: exitCodes.interrupted, lines: [], data: { name: 'Interrupted', message: error.message } };
  const known = error instanceof Error && 'details' in error && typeof error.details === 'object';
  const text = known || !(error instanceof Error) ? reasonOf(error) : (error.stack ?? error.message);
  return {
    code: exitCodes.failed,
    lines: [`trireme: ${text}`],
    data: { name: error instanceof Error ? error.name : 'Error', message: reasonOf(error) },
  };
}

function checkPositionals({ name, usage, positionals: [min, max] }: Command, { positionals }: Arguments): void {
  if (positionals.length >= min && positionals.length <= max) return;
  const what =
    positionals.length < min
      ? `${name} needs ${min === 1 ? 'an argument' : `${min} arguments`}`
      : `${name} does not take ${positionals[max]}`;
  throw new UsageError(what, `usage: trireme ${name} ${usage}`);
}

/** Runs a command line and gives its exit code. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  let output: Output = makeOutput(false);
  let command: Command | null = null;
  try {
    if (first === '--version' || first === '-v' || first === '-V') {
      process.stdout.write(`${version()}\n`);
      return exitCodes.done;
    }
    if (first === '__selftest') {
      const { selfTest } = await import('./doctor/selftest.js');
      return selfTest(rest);
    }
    if (first === undefined || first === '--help' || first === '-h') {
      const { overview } = await import('./help.js');
      (first === undefined ? process.stderr : process.stdout).write(overview(commands));
      return first === undefined ? exitCodes.usage : exitCodes.done;
    }
    if (first.startsWith('-')) throw new UsageError(`there is no option ${first} before the command`);
    if (rest.includes('--json')) output = makeOutput(true);
    command = findCommand(first);
    if (rest.includes('--help') || rest.includes('-h')) {
      const { commandHelp } = await import('./help.js');
      process.stdout.write(commandHelp(command));
      return exitCodes.done;
    }
    const parsed = parse(rest, command.flags, command.name);
    checkPositionals(command, parsed);
    return await command.run(parsed, output, rest);
  } catch (error) {
    const { code, lines, data } = explain(error, command?.name ?? null);
    for (const line of lines) process.stderr.write(`${line}\n`);
    output.result({ command: command?.name ?? first ?? null, ok: false, exitCode: code, error: data });
    return code;
  }
}
