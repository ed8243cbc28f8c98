/** Whether operations are recorded. */
import { ArgumentError } from '../errors.js';

let enabled = true;

/** True when operations on tensors that require gradients are recorded. */
export function isGradEnabled(): boolean {
  return enabled;
}

/** Sets the mode and returns the former one. */
export function setGradEnabled(value: boolean): boolean {
  const former = enabled;
  enabled = value;
  return former;
}

function withMode<T>(value: boolean, op: string, fn: () => T): T {
  const former = setGradEnabled(value);
  let result: T;
  try {
    result = fn();
  } finally {
    enabled = former;
  }
  if (typeof result === 'object' && result !== null && 'then' in result && typeof result.then === 'function') {
    throw new ArgumentError('the function returned a promise, and the mode ends when it returns', {
      op,
      expected: 'a synchronous function',
      fix: `Put ${op}() around the synchronous parts inside.`,
    });
  }
  return result;
}

/** Runs `fn` without recording gradients. @throws ArgumentError when `fn` is asynchronous */
export function noGrad<T>(fn: () => T): T {
  return withMode(false, 'noGrad', fn);
}

/** Runs `fn` with recording switched on, inside a noGrad. @throws ArgumentError when `fn` is asynchronous */
export function enableGrad<T>(fn: () => T): T {
  return withMode(true, 'enableGrad', fn);
}
