/** Windows over space as TensorFlow places them. */
import { pad, type Tensor } from 'trireme';

/** Zeros in front and behind so that the output has ceil(size / stride) elements. */
export function samePadding(size: number, kernel: number, stride: number, dilation = 1): [before: number, after: number] {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

/** Paddings of each spatial dimension of x [N, C, ...]. */
export function paddingsOf(
  x: Tensor,
  padding: string,
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): { readonly padding: number[]; readonly paddingEnd: number[] } {
  const pairs = kernel.map((k, d): [number, number] =>
    padding === 'same'
      ? samePadding(x.shape[d + 2], k, stride[d], dilation[d])
      : padding === 'causal'
        ? [dilation[d] * (k - 1), 0]
        : [0, 0],
  );
  return { padding: pairs.map(([low]) => low), paddingEnd: pairs.map(([, high]) => high) };
}

/**
 * Brings the full result of a transposed convolution [N, C, ...] to the size TensorFlow gives it: what `padding` cuts off is divided as
 * for the convolution it transposes, and what it lacks is zeros behind.
 */
export function fitTransposed(y: Tensor, sizes: readonly number[]): Tensor {
  const amounts = sizes.map((size, d): [number, number] => {
    const full = y.shape[d + 2];
    const before = Math.floor(Math.max(full - size, 0) / 2);
    return [-before, size - full + before];
  });
  return amounts.every(([a, b]) => a === 0 && b === 0) ? y : pad(y, amounts.toReversed().flat());
}
