/** The one door to Node's built-in modules, so that browser bundles never try to resolve them. */
import { EnvironmentError } from '../errors.js';

interface NodeModules {
  'node:crypto': typeof import('node:crypto');
  'node:fs': typeof import('node:fs');
  'node:fs/promises': typeof import('node:fs/promises');
  'node:os': typeof import('node:os');
  'node:path': typeof import('node:path');
  'node:worker_threads': typeof import('node:worker_threads');
  'node:zlib': typeof import('node:zlib');
}

/** True where Node's built-in modules can be imported (Node, and runtimes that imitate it). */
export function hasNodeModules(): boolean {
  return typeof process === 'object' && typeof process.versions?.node === 'string';
}

/**
 * Imports a Node built-in.
 * @throws EnvironmentError outside Node.
 */
export async function nodeModule<K extends keyof NodeModules>(name: K, op: string): Promise<NodeModules[K]> {
  if (!hasNodeModules()) {
    throw new EnvironmentError('there is no file system here', {
      op,
      expected: 'Node.js',
      fix: 'In a browser, work with the bytes themselves: fetch() them, or offer a Blob for download.',
    });
  }
  // The specifier is a variable and marked, so that no bundler follows it into the browser build.
  const specifier: string = name;
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier)) as NodeModules[K];
}
