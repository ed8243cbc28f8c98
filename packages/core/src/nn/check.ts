/** Checks of constructor arguments. */
import { ArgumentError } from '../errors.js';

/** @throws ArgumentError unless n is a whole number from `least`. */
export function checkCount(op: string, name: string, n: number, least = 1): void {
  if (!Number.isInteger(n) || n < least)
    throw new ArgumentError(`${name} is ${n}`, { op, received: n, expected: `a whole number, ${least} or more` });
}

/** @throws ArgumentError unless p is a probability. */
export function checkProbability(op: string, p: number): number {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`p is ${p}`, { op, received: p, expected: 'a number from 0 to 1' });
  return p;
}

/** Settings as toString() shows them: `a, b, stride=[1, 1]`. Those that are undefined are left out. */
export function describe(positional: readonly unknown[], named: Readonly<Record<string, unknown>> = {}): string {
  const show = (value: unknown): string => (Array.isArray(value) ? `[${value.map(show).join(', ')}]` : String(value));
  return [
    ...positional.map(show),
    ...Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${show(value)}`])),
  ].join(', ');
}
