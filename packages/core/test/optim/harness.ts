/** The problem of the reference trajectories, and optimizers by name. */
import { expect } from 'vitest';
import { add, type DType, mul, nn, optim, pow, square, sub, sum, type Tensor, tensor } from '../../src/index.js';
import reference from '../reference/optimizer.json' with { type: 'json' };

interface Encoded {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
export type Options = { readonly lr: number } & Readonly<Record<string, unknown>>;
export interface TrajectoryCase {
  readonly op: string;
  readonly attrs: Options;
  readonly dtype: 'float32' | 'float64';
  readonly args: readonly [readonly Encoded[], readonly Encoded[]];
  readonly losses: Encoded;
  readonly after: Readonly<Record<string, readonly Encoded[]>>;
}
export interface SparseCase {
  readonly op: string;
  readonly attrs: Options;
  readonly args: readonly [readonly Encoded[], readonly Encoded[]];
  readonly after: Readonly<Record<string, readonly Encoded[]>>;
}
type AnyCase = (TrajectoryCase & { readonly sparse?: false }) | (SparseCase & { readonly sparse: true });
const all = reference.cases as unknown as readonly AnyCase[];
export const trajectoryCases = all.filter((c): c is TrajectoryCase => c.sparse !== true);
export const sparseCases = all.filter((c): c is SparseCase & { readonly sparse: true } => c.sparse === true);

export function decode(e: Encoded, dtype = e.dtype as DType): Tensor {
  // Inputs are float32 numbers in the float64 runs too.
  const data = e.dtype === 'float32' ? Array.from(e.data, Math.fround) : e.data.slice();
  return tensor(data, { shape: e.shape, dtype });
}

/** An optimizer by the name of its class; Lookahead around Adam. */
export function makeOptimizer(op: string, params: Tensor[], attrs: Options): optim.AnyOptimizer {
  if (op === 'Lookahead') {
    const { lr, k, alpha } = attrs as unknown as { lr: number; k: number; alpha: number };
    return new optim.Lookahead(new optim.Adam(params, { lr }), { k, alpha });
  }
  const classes = optim as unknown as Record<string, new (params: Tensor[], options: Options) => optim.AnyOptimizer>;
  return new classes[op](params, attrs);
}

/** Sum over the parameters of sum(|w| * (p - target)^2) + sum(p^4) / 4. */
export function lossOf(params: readonly Tensor[], targets: readonly Tensor[]): Tensor {
  return params
    .map((p, k) => {
      const w = tensor(
        Array.from({ length: p.numel }, (_, i) => Math.abs((((7 * i + 3) % 11) - 5.5) / 4)),
        { shape: p.shape, dtype: p.dtype },
      );
      return add(sum(mul(w, square(sub(p, targets[k])))), mul(sum(pow(p, 4)), 0.25));
    })
    .reduce((a, b) => add(a, b));
}

export function problemOf(c: TrajectoryCase): { params: Tensor[]; targets: Tensor[] } {
  return { params: c.args[0].map((e) => nn.parameter(decode(e, c.dtype))), targets: c.args[1].map((e) => decode(e, c.dtype)) };
}

export function expectNear(actual: ArrayLike<number | bigint>, expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((e, i) => expect(Math.abs(Number(actual[i]) - e)).toBeLessThanOrEqual(tolerance * (1 + Math.abs(e))));
}

/** Frees the programs of a function that may be compiled. */
export function release(fn: unknown): void {
  if (typeof fn === 'function' && 'dispose' in fn && typeof fn.dispose === 'function') fn.dispose();
}
