/** Values between layers. Keras keeps channels last; convolutions here want them first. */
import type { Tensor } from 'trireme';

/**
 * A value as it lies in memory: `moved` tells that the channels, last as the layers mean it, are at axis 1. Layers pass moved values on, so a chain of
 * convolutions and what is between them moves channels once at its start and once at its end.
 */
export interface Laid {
  readonly x: Tensor;
  readonly moved: boolean;
  /** bool [batch, steps]: which steps count. */
  readonly mask?: Tensor | null;
}

export const plain = (x: Tensor, mask: Tensor | null = null): Laid => ({ x, moved: false, mask });

/** The tensor as the layers mean it. */
export function channelsLast({ x, moved }: Laid): Tensor {
  if (!moved) return x;
  const n = x.ndim;
  return x.permute([0, ...Array.from({ length: n - 2 }, (_, i) => i + 2), 1]);
}

/** The tensor with channels at axis 1. */
export function channelsFirst({ x, moved }: Laid): Tensor {
  if (moved) return x;
  const n = x.ndim;
  return x.permute([0, n - 1, ...Array.from({ length: n - 2 }, (_, i) => i + 1)]);
}

/** Where an axis of the value is in memory. */
export function placeOf({ x, moved }: Laid, axis: number): number {
  const n = x.ndim;
  const at = axis < 0 ? axis + n : axis;
  if (!moved || at === 0) return at;
  return at === n - 1 ? 1 : at + 1;
}
