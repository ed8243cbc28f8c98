/** Automatic mixed precision: products in half precision, everything delicate in float32. */
import { ArgumentError } from '../errors.js';
import { type LowDType, withAutocast } from '../tensor/autocast.js';

export interface AutocastOptions {
  /** float16 needs a {@link GradScaler}; bfloat16, with the range of float32, needs none. Default 'bfloat16'. */
  readonly dtype?: LowDType;
  /** False: the inside computes in the dtypes of its tensors, also within an outer region. Default true. */
  readonly enabled?: boolean;
}

/**
 * Runs `fn` (forward pass and loss) with PyTorch's choice of dtypes:
 *  - matmul, linear, einsum, convolutions and attention take float32 and half-precision operands in `dtype` and give it;
 *  - softmax, losses, layer/group/RMS normalization, norms, sums, cumulative sums and products, powers, exponentials and
 *    logarithms give float32;
 *  - everything else takes its operands as they are and promotes; float64 stays.
 *
 * Parameters stay float32. Their casts happen once in a region outside jit(), and once in a Program inside it, where they
 * fuse with what surrounds them. The backward pass runs in the dtypes the forward pass chose, inside or after the region.
 * Regions nest; the innermost counts.
 * @throws ArgumentError when `fn` is asynchronous
 */
export function autocast<T>(fn: () => T, { dtype = 'bfloat16', enabled = true }: AutocastOptions = {}): T {
  if (dtype !== 'bfloat16' && dtype !== 'float16') {
    throw new ArgumentError(`the dtype is ${String(dtype)}`, { op: 'autocast', received: dtype, expected: "'bfloat16' or 'float16'" });
  }
  const result = withAutocast(enabled ? dtype : null, fn, true);
  if (result instanceof Promise) {
    throw new ArgumentError('the function returned a promise, and the region ends when it returns', {
      op: 'autocast',
      expected: 'a synchronous function',
      fix: 'Put autocast() around the synchronous parts inside.',
    });
  }
  return result;
}
