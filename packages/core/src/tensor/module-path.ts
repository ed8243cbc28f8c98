/** The path of the module whose forward is running, for graph nodes and errors. */

const path: string[] = [];

/** `encoder.0.linear`, or '' outside modules. */
export function modulePath(): string {
  return path.join('.');
}

/** Runs `fn` one level deeper. */
export function withModulePath<T>(name: string, fn: () => T): T {
  path.push(name);
  try {
    return fn();
  } finally {
    path.pop();
  }
}
