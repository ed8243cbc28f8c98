/** Node's modules for the native tier, without imports that a browser's bundle would have to resolve. */

interface Modules {
  readonly buffer: typeof import('node:buffer').Buffer;
  readonly childProcess: typeof import('node:child_process');
  readonly crypto: typeof import('node:crypto');
  readonly fs: typeof import('node:fs');
  readonly module: typeof import('node:module');
  readonly os: typeof import('node:os');
  readonly path: typeof import('node:path');
  readonly threads: typeof import('node:worker_threads');
  readonly url: typeof import('node:url');
}

let modules: Modules | null = null;

/** Throws outside Node (and before 20.16). */
export function node(): Modules {
  if (modules) return modules;
  const get = typeof process === 'object' ? process.getBuiltinModule : undefined;
  if (typeof get !== 'function') throw new Error('native code needs Node 20.16 or newer');
  modules = {
    buffer: get('node:buffer').Buffer,
    childProcess: get('node:child_process'),
    crypto: get('node:crypto'),
    fs: get('node:fs'),
    module: get('node:module'),
    os: get('node:os'),
    path: get('node:path'),
    threads: get('node:worker_threads'),
    url: get('node:url'),
  };
  return modules;
}
