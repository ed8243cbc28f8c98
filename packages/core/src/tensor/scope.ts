/**
 * Scopes free the tensors made inside them.
 *
 * There is no asynchronous scope: while one waits, other code runs and makes tensors that are not the scope's to free.
 * Asynchronous code uses `using`, `dispose()`, or a scope around each synchronous stretch.
 */
import { ArgumentError } from '../errors.js';
import { TensorBase } from './base.js';
import { observer } from './observe.js';
import type { Tensor } from './tensor.js';

let current: Tensor[] | null = null;

/** Called for each new handle. */
export function registerInScope(tensor: Tensor): void {
  if (current !== null) current.push(tensor);
}

/** Runs `fn` so that no scope owns what it makes: for what lives on (caches, saved tensors, parameters). */
export function outsideScopes<T>(fn: () => T): T {
  const saved = current;
  current = null;
  try {
    return fn();
  } finally {
    current = saved;
  }
}

/** Runs `fn` and hands over the tensors it made, which the caller now owns. Frees them when `fn` throws. */
export function collectMade<T>(made: Tensor[], fn: () => T): T {
  const saved = current;
  const start = made.length;
  current = made;
  try {
    return fn();
  } catch (error) {
    for (let i = start; i < made.length; i++) if (!made[i].kept) made[i].dispose();
    made.length = start;
    throw error;
  } finally {
    current = saved;
  }
}

/**
 * Runs `fn` and frees every tensor made inside, except those it returns (searched through arrays, objects, maps and
 * sets), those given to {@link keep}, parameters' gradients of living parameters, and what the tape needs.
 * Returned tensors belong to the enclosing scope, if there is one. When `fn` throws, everything made inside is freed.
 * @throws ArgumentError when `fn` is asynchronous (nothing is freed then).
 */
export function scope<T>(fn: () => T): T {
  const made: Tensor[] = [];
  const result = collectMade(made, fn);
  if (made.length === 0) return result;
  if (result instanceof TensorBase && result.leafGradient === null) leaveWithOne(made, result);
  else {
    if (isPromise(result)) {
      if (current !== null) for (const tensor of made) current.push(tensor);
      throw new ArgumentError('the function returned a promise, and a scope ends when its function returns', {
        op: 'scope',
        expected: 'a synchronous function',
        fix: 'Wrap the synchronous stretches between two awaits each in a scope(), or dispose tensors by hand.',
      });
    }
    const kept = new Set<TensorBase>();
    findTensors(result, kept, new Set());
    leave(made, kept);
  }
  return result;
}

/**
 * A scope around an operation that is composed of others; `name` shows in debugging output.
 * What the tape saved of the intermediates lives on through the tape's own references.
 */
export function composite<T>(name: string, fn: () => T): T {
  return observer === null ? scope(fn) : observer.composite(name, () => scope(fn));
}

/** Takes a tensor out of all scopes: it lives until dispose() or until it is garbage. Returns its argument. */
export function keep<T extends TensorBase>(tensor: T): T {
  tensor.kept = true;
  return tensor;
}

function leaveWithOne(made: readonly Tensor[], result: TensorBase): void {
  for (const tensor of made) {
    if (tensor === result) {
      if (current !== null) current.push(tensor);
    } else if (!tensor.kept) {
      // The gradient of a leaf that dies here was made for it alone.
      const gradient = tensor.leafGradient;
      if (gradient instanceof TensorBase) {
        if (gradient !== result && !gradient.kept) gradient.dispose();
      } else if (gradient !== null) for (const t of [gradient.indices, gradient.values]) if (t !== result && !t.kept) t.dispose();
      tensor.dispose();
    }
  }
}

function leave(made: readonly Tensor[], kept: ReadonlySet<TensorBase>): void {
  for (const tensor of made) {
    if (kept.has(tensor)) {
      if (current !== null) current.push(tensor);
    } else if (!tensor.kept) {
      for (const gradient of gradientTensors(tensor)) {
        if (gradient.kept) continue;
        if (!kept.has(gradient)) gradient.dispose();
        else if (current !== null) current.push(gradient);
      }
      tensor.dispose();
    }
  }
}

const none: readonly Tensor[] = [];
function gradientTensors({ leafGradient }: TensorBase): readonly Tensor[] {
  if (leafGradient === null) return none;
  return leafGradient instanceof TensorBase ? [leafGradient] : [leafGradient.indices, leafGradient.values];
}

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** Every tensor reachable through plain properties and collections, and their gradients. */
function findTensors(value: unknown, found: Set<TensorBase>, seen: Set<object>): void {
  if (typeof value !== 'object' || value === null || seen.has(value) || ArrayBuffer.isView(value)) return;
  seen.add(value);
  if (value instanceof TensorBase) {
    found.add(value);
    for (const gradient of gradientTensors(value)) found.add(gradient);
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) findTensors(item, found, seen);
  } else if (value instanceof Map) {
    for (const [key, item] of value) {
      findTensors(key, found, seen);
      findTensors(item, found, seen);
    }
  } else for (const item of Object.values(value)) findTensors(item, found, seen);
}
