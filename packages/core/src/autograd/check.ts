/** Comparing gradient rules with numbers. */

import { PhiloxStream } from '../data/philox.js';
import { AutogradError, DTypeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { sizeOf } from '../graph/layout.js';
import { add, mul } from '../ops/binary.js';
import { sum } from '../ops/reduce.js';
import { createFromArray, readSync } from '../tensor/dispatch.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { grad } from './engine.js';
import { enableGrad } from './mode.js';

export interface CheckGradsOptions {
  /** 2 checks the gradient of the gradient as well. */
  readonly order?: 1 | 2;
  /** Step of the central differences. */
  readonly eps?: number;
  readonly atol?: number;
  readonly rtol?: number;
  /** Shows in the error. */
  readonly name?: string;
}

type CheckedFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/**
 * Checks the gradients of `fn` with respect to every float64 input against central differences
 * (f(x + eps) - f(x - eps)) / (2 eps), for a fixed random weighting of the outputs. Other inputs are constants.
 * Kinks (abs at 0, equal maxima) do not pass; choose inputs away from them.
 * @throws AutogradError naming function, input, element and both numbers; DTypeError without a float64 input
 */
export function checkGrads(fn: CheckedFunction, inputs: Tensor | readonly Tensor[], options: CheckGradsOptions = {}): void {
  const list = inputs instanceof Tensor ? [inputs] : inputs;
  const name = options.name ?? (fn.name === '' ? 'the function' : fn.name);
  if (!list.some((input) => input.dtype === 'float64')) {
    throw new DTypeError('no input is float64', {
      op: 'checkGrads',
      expected: "float64 inputs: float32 differences are too coarse; use to('float64')",
    });
  }
  scope(() => enableGrad(() => checkOnce(fn, list, { ...options, name }, 1)));
  if (options.order === 2) scope(() => enableGrad(() => checkOnce(gradientOf(fn), list, { ...options, name }, 2)));
}

/** The float outputs of `fn`, weighted and summed to one number. */
function project(fn: CheckedFunction, inputs: readonly Tensor[]): Tensor {
  const outputs = fn(...inputs);
  let total: Tensor | null = null;
  (outputs instanceof Tensor ? [outputs] : outputs).forEach((output, k) => {
    if (output.dtype !== 'float64') return;
    const part = sum(mul(output, weights(output.shape, k)));
    total = total === null ? part : add(total, part);
  });
  if (total === null)
    throw new DTypeError('no output is float64', { op: 'checkGrads', expected: 'a function that keeps the dtype of its inputs' });
  return total;
}

/** Fixed numbers from 0.5 to 1.5 with alternating sign, so that nothing cancels by symmetry. */
function weights(shape: Shape, k: number): Tensor {
  const stream = new PhiloxStream(20110614, k);
  return createFromArray(
    Float64Array.from({ length: sizeOf(shape) }, (_, i) => (0.5 + stream.uniform(i)) * (i % 2 === 0 ? 1 : -1)),
    'float64',
    shape,
  );
}

/** The function that gives the gradients of `fn`. */
function gradientOf(fn: CheckedFunction): CheckedFunction {
  return (...inputs) => {
    const wanted = inputs.filter((input) => input.requiresGrad);
    // Differences are taken of inputs that record nothing: they need leaves of their own.
    const leaves = wanted.length > 0 ? inputs : inputs.map(leafOf);
    const targets = leaves.filter((input) => input.requiresGrad);
    const grads = grad(project(fn, leaves), targets, { createGraph: true, allowUnused: true });
    return grads.filter((g) => g !== null);
  };
}

function leafOf(input: Tensor): Tensor {
  const leaf = new Tensor(input.storage, input.shape, input.strides, input.offset);
  leaf.requiresGrad = input.dtype === 'float64';
  return leaf;
}

function checkOnce(fn: CheckedFunction, inputs: readonly Tensor[], options: CheckGradsOptions, order: number): void {
  const { eps = 1e-6, atol = 1e-5, rtol = 1e-3, name } = options;
  const leaves = inputs.map(leafOf);
  const targets = leaves.filter((leaf) => leaf.requiresGrad);
  const value = project(fn, leaves);
  const analytic = value.requiresGrad ? grad(value, targets, { allowUnused: true }) : targets.map(() => null);
  targets.forEach((target, t) => {
    const k = leaves.indexOf(target);
    const data = readSync(target) as Float64Array;
    const g = analytic[t];
    const got = g === null ? new Float64Array(data.length) : readSync(g);
    for (let i = 0; i < data.length; i++) {
      const at = (x: number) =>
        scope(() => {
          const moved = inputs.map((input, j) => (j === k ? createFromArray(data.with(i, x), 'float64', input.shape) : input));
          return Number(readSync(project(fn, moved))[0]);
        });
      const numeric = (at(data[i] + eps) - at(data[i] - eps)) / (2 * eps);
      const found = Number(got[i]);
      if (Math.abs(found - numeric) <= atol + rtol * Math.abs(numeric)) continue;
      const element = elementName(i, target.shape);
      throw new AutogradError(
        `${order === 2 ? 'the second derivative' : 'the gradient'} of ${name} with respect to element ${element} of input ${k} is ${found}, and differences give ${numeric}`,
        {
          op: 'checkGrads',
          received: { input: k, element: i, analytic: found, numeric },
          expected: `a difference of at most ${atol} + ${rtol} * |${numeric}|`,
        },
      );
    }
  });
}

/** `[1, 2]` for a position in row-major order. */
function elementName(i: number, shape: Shape): string {
  const index: number[] = [];
  let rest = i;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return `[${index.join(', ')}]`;
}
