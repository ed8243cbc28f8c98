/**
 * The dtype in which matrix products run at present. Operations ask here; `amp/` sets it.
 *
 * PyTorch's lists: products (linear, matmul, convolutions, attention) run in the low dtype; what sums many numbers or
 * spans a wide range (softmax, losses, norms, sums, powers, exponentials) in float32; everything else takes its operands
 * as they come and promotes.
 */

import { noGrad } from '../autograd/mode.js';
import { recordGrad } from '../autograd/record.js';
import type { DType } from '../dtype.js';
import { currentTrace } from '../graph/trace.js';
import { cast, castPrimitive } from '../ops/cast.js';
import { outsideScopes } from './scope.js';
import { Tensor } from './tensor.js';

export type LowDType = Extract<DType, 'float16' | 'bfloat16'>;

/** Low-precision copies of parameters, made once in a region. */
type CastCache = Map<Tensor, { readonly version: number; readonly low: Tensor }>;

interface Region {
  readonly dtype: LowDType;
  readonly casts: CastCache | null;
}

let region: Region | null = null;

/** The low dtype, null outside autocast regions. */
export function autocastDType(): LowDType | null {
  return region === null ? null : region.dtype;
}

function dropCasts(casts: CastCache | null): void {
  // What the tape saved of them lives on through its own handles.
  for (const { low } of casts?.values() ?? []) low.dispose();
  casts?.clear();
}

/** Runs `fn` with products in `dtype`; null: as their operands are. `cache` keeps the casts of parameters until `fn` ends. */
export function withAutocast<T>(dtype: LowDType | null, fn: () => T, cache = false): T {
  const before = region;
  if (dtype === null && before === null) return fn();
  // Inside a trace nothing is kept: equal casts are one node there.
  const casts = dtype === null || !cache ? null : before?.dtype === dtype ? before.casts : (new Map() as CastCache);
  region = dtype === null ? null : { dtype, casts };
  try {
    return fn();
  } finally {
    region = before;
    if (casts !== before?.casts) dropCasts(casts);
  }
}

/** `fn` bound to the present region: for code that runs again later, in the backward pass. */
export function bindAutocast<A extends readonly unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
  if (region === null) return fn;
  const { dtype } = region;
  return (...args) => withAutocast(dtype, () => fn(...args));
}

/** An operand of a product: float32 and half precision become the region's dtype. */
function lowered(x: Tensor): Tensor {
  if (region === null) return x;
  const { dtype, casts } = region;
  if (x.dtype === dtype || (x.dtype !== 'float32' && x.dtype !== 'float16' && x.dtype !== 'bfloat16')) return x;
  if (casts === null || !x.requiresGrad || x.gradFn !== null || currentTrace() !== null) return cast(x, dtype);
  let known = casts.get(x);
  if (known === undefined || known.version !== x.storage.version) {
    known?.low.dispose();
    known = { version: x.storage.version, low: outsideScopes(() => noGrad(() => cast(x, dtype))) };
    casts.set(x, known);
  }
  // Each use is a cast of its own on the tape: gradients of several uses meet in float32, as they do inside jit().
  const { storage, shape, strides, offset } = known.low;
  const use = new Tensor(storage, shape, strides, offset);
  recordGrad(castPrimitive, { dtype }, [x], [use]);
  return use;
}

/** Operands of one product, {@link lowered} together: float64 among them stays, and then nothing is lowered. */
export function loweredAll<T extends readonly (Tensor | null)[]>(operands: T): T {
  if (region === null || operands.some((x) => x?.dtype === 'float64')) return operands;
  return operands.map((x) => (x === null ? null : lowered(x))) as unknown as T;
}

/** What is added to a product in a region: a bias takes the product's dtype instead of raising it. */
export function loweredLike(x: Tensor, product: Tensor): Tensor {
  return region !== null && product.dtype === region.dtype ? lowered(x) : x;
}

/** An operand of what must be exact: half precision becomes float32 inside a region. */
export function raised(x: Tensor): Tensor {
  return region !== null && (x.dtype === 'float16' || x.dtype === 'bfloat16') ? cast(x, 'float32') : x;
}
