/** Variations of training pictures, a function of the seed, the epoch and the picture alone. */
import { PhiloxStream, philoxDomain } from 'trireme/data';
import type { Pictures } from './datasets.js';

export interface Augmentation {
  /** Most pixels to shift in each direction. */
  readonly shift: number;
  /** Mirror left and right with probability 1/2. */
  readonly mirror: boolean;
}

/** The pictures at `indices`, each shifted and mirrored at random: [n, 1, side, side] in row-major order. */
export function augment(
  { images, side }: Pictures,
  indices: Int32Array,
  { shift, mirror }: Augmentation,
  seed: number,
  epoch: number,
): Float32Array {
  const size = side * side;
  const out = new Float32Array(indices.length * size);
  const stream = new PhiloxStream(seed, epoch, philoxDomain.augmentation);
  indices.forEach((index, k) => {
    const dx = stream.below(3 * index, 2 * shift + 1) - shift;
    const dy = stream.below(3 * index + 1, 2 * shift + 1) - shift;
    const flip = mirror && stream.below(3 * index + 2, 2) === 1;
    const source = images.subarray(index * size, (index + 1) * size);
    for (let y = Math.max(0, dy); y < Math.min(side, side + dy); y++) {
      for (let x = Math.max(0, dx); x < Math.min(side, side + dx); x++) {
        const from = (y - dy) * side + (flip ? side - 1 - (x - dx) : x - dx);
        out[k * size + y * side + x] = source[from];
      }
    }
  });
  return out;
}
