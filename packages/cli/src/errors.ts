/** What can go wrong, each with its exit code. */

/** Exit codes of the command. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  configuration: 3,
  interrupted: 130,
} as const;

/** The command line itself is wrong. */
export class UsageError extends Error {
  readonly fix: string | undefined;
  constructor(message: string, fix?: string) {
    super(message);
    this.name = 'UsageError';
    this.fix = fix;
  }
}

/** One thing that is wrong with a configuration or with data. */
export interface Problem {
  /** The file, or the part of the command line. */
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  readonly column?: number;
  /** `model[0].Linear.inFeatures`; '' for the whole file. */
  readonly key?: string;
  readonly message: string;
  readonly expected?: string;
  readonly fix?: string;
}

export function formatProblem({ file, line, column, key, message, expected, fix }: Problem): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  const words = [`${key ? `${key}: ` : ''}${message}`, ...(expected ? [`Expected ${expected}.`] : []), ...(fix ? [fix] : [])].join(' ');
  return place === '' ? words : `${place}: ${words}`;
}

/** A configuration, a script or data are wrong: nothing has run. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[] | Problem, cause?: unknown) {
    const list: readonly Problem[] = Array.isArray(problems) ? (problems as readonly Problem[]) : [problems as Problem];
    super(list.map(formatProblem).join('\n'), cause === undefined ? undefined : { cause });
    this.name = 'ConfigError';
    this.problems = list;
  }
}

/** The reason of the AbortSignal after SIGINT or SIGTERM. */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals;
  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.name = 'Interrupted';
    this.signal = signal;
  }
}

/** The first lines of an unexpected error, for a message. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
