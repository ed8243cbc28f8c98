/** Walking the tensors inside plain data: arrays and objects, nested. */
import { TensorBase } from './base.js';
import type { Tensor } from './tensor.js';

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Appends every tensor in `value` to `tensors` and a description of all the rest to `tokens`: strings for structure,
 * the values themselves for numbers, strings, booleans; objects other than arrays and plain ones by identity.
 */
export function flattenTree(value: unknown, tensors: Tensor[], tokens: unknown[]): void {
  if (value instanceof TensorBase) {
    tensors.push(value as Tensor);
    tokens.push('#tensor');
  } else if (Array.isArray(value)) {
    tokens.push('#array', value.length);
    for (const item of value) flattenTree(item, tensors, tokens);
  } else if (typeof value === 'object' && value !== null && isPlain(value)) {
    const keys = Object.keys(value);
    tokens.push('#object', keys.length);
    for (const key of keys) {
      tokens.push(key);
      flattenTree((value as Record<string, unknown>)[key], tensors, tokens);
    }
  } else tokens.push(value);
}

/** The same data with the k-th tensor replaced by `replace(k)`. */
export function mapTree(value: unknown, replace: (k: number) => unknown): unknown {
  let count = 0;
  const walk = (v: unknown): unknown => {
    if (v instanceof TensorBase) return replace(count++);
    if (Array.isArray(v)) return v.map(walk);
    if (typeof v === 'object' && v !== null && isPlain(v)) return Object.fromEntries(Object.entries(v).map(([k, item]) => [k, walk(item)]));
    return v;
  };
  return walk(value);
}
