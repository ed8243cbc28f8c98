/** The one door to optional packages (decoders and readers): loaded when first needed, with a clear error when missing. */
import { EnvironmentError } from '../errors.js';

interface OptionalModules {
  sharp: typeof import('sharp');
  hyparquet: typeof import('hyparquet');
  'mpg123-decoder': typeof import('mpg123-decoder');
  '@wasm-audio-decoders/flac': typeof import('@wasm-audio-decoders/flac');
}

export type OptionalModuleName = keyof OptionalModules;

const provided = new Map<string, unknown>();

/**
 * Gives an optional package by hand, for bundles: a bundler does not follow the library's own import of it.
 * `import * as hyparquet from 'hyparquet'; provideModule('hyparquet', hyparquet);`
 */
export function provideModule<K extends OptionalModuleName>(name: K, module: OptionalModules[K]): void {
  provided.set(name, module);
}

/**
 * Imports an optional package.
 * @param op what needs it, for the message.
 * @throws EnvironmentError when it is not installed, or fails to start.
 */
export async function optionalModule<K extends OptionalModuleName>(name: K, op: string): Promise<OptionalModules[K]> {
  const given = provided.get(name);
  if (given !== undefined) return given as OptionalModules[K];
  try {
    // The specifier is a variable and marked: a bundler would make the optional package a required one.
    const specifier: string = name;
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier)) as OptionalModules[K];
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    const missing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EnvironmentError(
      missing ? `the optional package ${name} is not installed` : `the optional package ${name} could not be loaded (${reason})`,
      { op, received: name, expected: `${name}`, fix: `npm install ${name} (in a bundle, import it and call provideModule).`, cause },
    );
  }
}
