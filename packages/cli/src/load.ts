/** A run from a script or a configuration file. */
import { existsSync, statSync } from 'node:fs';
import { basename, extname, join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { stringify } from 'yaml';
import { definitionOf, plainConfig } from './config/definition.js';
import { ConfigDocument, formatPath, type KeyPath } from './config/document.js';
import { type Config, configSchema, readDocument, scriptSchema } from './config/read.js';
import { ConfigError, reasonOf, UsageError } from './errors.js';
import { applyOptions, type Override } from './options.js';
import { type AnyDefinition, isOwnRun, isRun, type Options } from './run.js';

/** A change from the command line. */
export interface Setting {
  readonly path: KeyPath;
  readonly value: unknown;
}
export interface LoadOptions {
  readonly settings: readonly Setting[];
  readonly seed?: number;
  readonly epochs?: number;
  readonly output?: string;
}

export interface LoadedRun {
  /** The script or configuration, as an absolute path. */
  readonly file: string;
  readonly name: string;
  readonly definition: AnyDefinition;
  readonly options: Options;
  readonly epochs: number;
  readonly seed: number;
  /** The output folder, absolute. */
  readonly output: string;
  /** What `config.yaml` of the output folder says: started with it, the same run. */
  readonly resolved: string;
  /** Of a configuration file. */
  readonly source: { readonly document: ConfigDocument; readonly config: Config } | null;
}

const scripts = ['.js', '.mjs', '.ts', '.mts'];
const documents = ['.yaml', '.yml', '.json'];

/** Imports a script. @throws ConfigError when it cannot be loaded or exports no run */
async function importScript(file: string): Promise<AnyDefinition> {
  const typescript = file.endsWith('ts');
  const strips = (process.features as { typescript?: unknown }).typescript;
  if (typescript && !strips) {
    throw new ConfigError({
      file,
      message: `Node.js ${process.versions.node} does not run TypeScript.`,
      expected: 'Node.js 22.18 or newer, which strips types',
      fix: 'Compile the script (tsc) and give its .js file.',
    });
  }
  let exports: { readonly default?: unknown };
  try {
    exports = (await import(pathToFileURL(file).href)) as { readonly default?: unknown };
  } catch (error) {
    const position = error instanceof SyntaxError ? error.stack?.split('\n')[0] : undefined;
    const at = position?.startsWith('file:') ? ` (${position.replace(pathToFileURL(file).href, basename(file))})` : '';
    const missing = (error as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
    const stack = !(error instanceof SyntaxError) && !missing && error instanceof Error ? `\n${error.stack}` : '';
    throw new ConfigError({ file, message: `could not be loaded: ${reasonOf(error)}${at}${stack}` }, error);
  }
  const run = exports.default;
  if (!isRun(run)) {
    throw new ConfigError({
      file,
      message:
        run === undefined
          ? 'has no default export.'
          : `exports ${typeof run === 'object' ? 'an object' : `a ${typeof run}`} by default, which is no run.`,
      expected: "export default defineRun({ ... }), with defineRun from '@trireme/cli'",
    });
  }
  if (!isOwnRun(run)) {
    throw new ConfigError({
      file,
      message: 'uses another copy of trireme than this command.',
      fix: 'Start the command of its own project: npx trireme, in its folder.',
    });
  }
  return run.definition;
}

function nameFrom(file: string): string {
  const base = basename(file, extname(file));
  return ['config', 'train', 'index', 'main', 'run', 'trireme'].includes(base) ? basename(resolve(file, '..')) || base : base;
}

function checkCount(file: string, key: string, value: unknown, least: number): void {
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    throw new ConfigError({ file, key, message: `is ${String(value)}.`, expected: `a whole number, ${least} or more` });
  }
}

function finish(
  file: string,
  definition: AnyDefinition,
  options: Options,
  load: LoadOptions,
  extra: Pick<LoadedRun, 'source'> & { readonly seed?: number; readonly epochs?: number; readonly output?: string; readonly name?: string },
): Omit<LoadedRun, 'resolved'> {
  const name = extra.name ?? definition.name ?? nameFrom(file);
  const safe = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+/, '') || 'run';
  const epochs = load.epochs ?? extra.epochs ?? (typeof definition.epochs === 'function' ? definition.epochs(options) : definition.epochs);
  const seed = load.seed ?? extra.seed ?? definition.seed ?? 0;
  checkCount(file, 'epochs', epochs, 1);
  checkCount(file, 'seed', seed, 0);
  const output = resolve(load.output ?? extra.output ?? definition.output ?? join('runs', safe));
  return { file, name, definition, options, epochs, seed, output, source: extra.source };
}

/** `config.yaml` of an output folder names paths as they are, and itself as `.`. */
function resolvedText(data: object): string {
  return stringify(JSON.parse(JSON.stringify(data)) as unknown, { lineWidth: 120 });
}

/** @throws UsageError, ConfigError */
export async function loadRun(given: string, load: LoadOptions): Promise<LoadedRun> {
  const file = resolve(given);
  if (!existsSync(file))
    throw new ConfigError({ file: given, message: 'there is no such file.', expected: 'a script or a configuration file' });
  if (statSync(file).isDirectory()) {
    const inside = join(file, 'config.yaml');
    if (existsSync(inside)) return loadRun(inside, load);
    throw new ConfigError({
      file: given,
      message: 'is a folder without config.yaml.',
      expected: 'a script, a configuration file, or the output folder of a training',
    });
  }
  const ending = extname(file);
  if (scripts.includes(ending)) return loadScript(file, load, [], {});
  if (!documents.includes(ending)) {
    throw new UsageError(
      `${given} is no script and no configuration`,
      `Known are files ending in ${[...scripts, ...documents].join(', ')}.`,
    );
  }
  const document = ConfigDocument.read(file);
  const isScript = document.root.entries().some(({ key }) => key === 'run');
  for (const { path, value } of load.settings) document.set(isScript ? ['options', ...path] : path, value);
  if (isScript) {
    const { run, options, seed, epochs, output, name } = readDocument(document, scriptSchema);
    const overrides = Object.entries(options).map(([key, value]): Override => ({ path: [key], value, from: file }));
    return loadScript(run, { ...load, settings: [] }, overrides, { seed, epochs, output, name });
  }
  const config = readDocument(document, configSchema);
  const definition = definitionOf(document, config);
  const run = finish(file, definition, {}, load, { source: { document, config } });
  const resolved = { name: run.name, ...(plainConfig(config) as object), seed: run.seed, epochs: run.epochs, output: '.' };
  return { ...run, resolved: resolvedText(resolved) };
}

async function loadScript(
  file: string,
  load: LoadOptions,
  fromFile: readonly Override[],
  extra: { readonly seed?: number; readonly epochs?: number; readonly output?: string; readonly name?: string },
): Promise<LoadedRun> {
  if (!existsSync(file)) throw new ConfigError({ file, message: 'there is no such file.', expected: 'a script' });
  const definition = await importScript(file);
  const fromLine = load.settings.map(({ path, value }): Override => ({ path, value, from: `--set ${formatPath(path)}` }));
  const options = applyOptions(definition.options ?? {}, [...fromFile, ...fromLine]);
  const run = finish(file, definition, options, load, { source: null, ...extra });
  return { ...run, resolved: resolvedText({ run: file, name: run.name, options, seed: run.seed, epochs: run.epochs, output: '.' }) };
}
