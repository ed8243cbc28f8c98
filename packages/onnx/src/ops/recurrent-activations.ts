/** Activation functions that recurrent operators name in their attributes. */
import { add, clamp, elu, gt, leakyRelu, mul, relu, sigmoid, softplus, softsign, type Tensor, tanh, where } from 'trireme';
import type { OpContext } from './definition.js';

/** An activation with its parameters in place. `plain` is its name in lower case when it has none. */
export interface Activation {
  readonly plain: string | null;
  readonly apply: (x: Tensor) => Tensor;
}

interface Kind {
  /** Values of alpha and beta where the node gives none; a missing one is no parameter. */
  readonly alpha?: number;
  readonly beta?: number;
  readonly apply: (x: Tensor, alpha: number, beta: number) => Tensor;
}

const kinds: Readonly<Record<string, Kind>> = {
  relu: { apply: (x) => relu(x) },
  tanh: { apply: (x) => tanh(x) },
  sigmoid: { apply: (x) => sigmoid(x) },
  affine: { alpha: 1, beta: 0, apply: (x, alpha, beta) => add(mul(x, alpha), beta) },
  leakyrelu: { alpha: 0.01, apply: (x, alpha) => leakyRelu(x, { negativeSlope: alpha }) },
  thresholdedrelu: { alpha: 1, apply: (x, alpha) => where(gt(x, alpha), x, 0) },
  scaledtanh: { alpha: 1, beta: 1, apply: (x, alpha, beta) => mul(tanh(mul(x, beta)), alpha) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, apply: (x, alpha, beta) => clamp(add(mul(x, alpha), beta), { min: 0, max: 1 }) },
  elu: { alpha: 1, apply: (x, alpha) => elu(x, { alpha }) },
  softsign: { apply: (x) => softsign(x) },
  softplus: { apply: (x) => softplus(x) },
};

/** The activations of all directions, in order; alpha and beta are taken up by those that have one. */
export function activationsOf(ctx: OpContext, fallback: readonly string[]): Activation[] {
  const alphas = [...ctx.attrs.floats('activation_alpha', [])];
  const betas = [...ctx.attrs.floats('activation_beta', [])];
  return ctx.attrs.strings('activations', fallback).map((name) => {
    const key = name.toLowerCase();
    const kind = kinds[key];
    if (kind === undefined) return ctx.fail(`activation ${name}`, Object.keys(kinds).join(', '));
    const alpha = kind.alpha === undefined ? 0 : (alphas.shift() ?? kind.alpha);
    const beta = kind.beta === undefined ? 0 : (betas.shift() ?? kind.beta);
    return { plain: kind.alpha === undefined ? key : null, apply: (x) => kind.apply(x, alpha, beta) };
  });
}
