/** The path of the module whose forward is running, for graph nodes, profiles and errors. */

let path = '';

/** `encoder.0.linear`, or '' outside modules. */
export function modulePath(): string {
  return path;
}

/** Runs `fn` one level deeper. */
export function withModulePath<T>(name: string, fn: () => T): T {
  return atModulePath(path === '' ? name : `${path}.${name}`, fn);
}

/** Runs `fn` at a path. */
export function atModulePath<T>(at: string, fn: () => T): T {
  const before = path;
  path = at;
  try {
    return fn();
  } finally {
    path = before;
  }
}

const backwardMark = ' (backward)';

/** The path under which the gradient of an operation recorded at `at` runs; the same path for a gradient of a gradient. */
export function backwardPath(at: string): string {
  return at.endsWith(backwardMark) ? at : at + backwardMark;
}

/** Splits a graph node's scope into the path of its module and whether it belongs to the backward pass. */
export function parseScope(scope: string): { readonly path: string; readonly backward: boolean } {
  return scope.endsWith(backwardMark) ? { path: scope.slice(0, -backwardMark.length), backward: true } : { path: scope, backward: false };
}
