/** Dropout. */
import { ArgumentError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, ge, mul } from './binary.js';
import { requireKind } from './common.js';
import { rand } from './random.js';
import { where } from './ternary.js';

/** Drops the elements (or what the mask's axes of extent 1 span) with probability p and scales the rest. */
function drop(x: Tensor, p: number, maskShape: Shape): Tensor {
  if (p === 1) return where(ge(rand(maskShape), 2), x, 0);
  const kept = ge(rand(maskShape), p);
  return where(kept, mul(x, 1 / (1 - p)), 0);
}

function checked(x: Tensor, p: number, op: string): void {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`the probability ${p}`, { op, received: p, expected: 'a number from 0 to 1' });
  requireKind(x, ['float'], op);
}

/** Elements become 0 with probability `p`, the others are divided by `1 - p`; outside training nothing happens. */
export function dropout(x: Tensor, p = 0.5, training = true): Tensor {
  checked(x, p, 'dropout');
  return training && p > 0 ? composite('dropout', () => drop(x, p, x.shape)) : x;
}
/** {@link dropout} of whole channels: x is [N, C, ...]. */
export function featureDropout(x: Tensor, p = 0.5, training = true): Tensor {
  checked(x, p, 'featureDropout');
  if (!training || p === 0) return x;
  return composite('featureDropout', () =>
    drop(
      x,
      p,
      x.shape.map((extent, axis) => (axis < 2 ? extent : 1)),
    ),
  );
}

/** Where the units of self-normalising networks saturate: the limit of selu towards minus infinity. */
const saturation = -1.7580993408473766;

/**
 * Dropout that keeps mean and variance of standard normal inputs (Klambauer et al., arXiv:1706.02515): what is dropped becomes
 * selu's lower limit, and the result is scaled and shifted. `channels` drops whole channels of x [N, C, ...].
 */
export function alphaDropout(x: Tensor, p = 0.5, training = true, { channels = false }: { readonly channels?: boolean } = {}): Tensor {
  checked(x, p, 'alphaDropout');
  if (!training || p === 0) return x;
  return composite('alphaDropout', () => {
    if (p === 1) return mul(x, 0);
    const maskShape = channels ? x.shape.map((extent, axis) => (axis < 2 ? extent : 1)) : x.shape;
    const scale = 1 / Math.sqrt((1 - p) * (1 + p * saturation * saturation));
    return add(mul(where(ge(rand(maskShape), p), x, saturation), scale), -scale * saturation * p);
  });
}
