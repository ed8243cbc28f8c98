/** Small data and networks for the tests of training. */
import { normalArray } from '../../src/data/philox.js';
import { BatchNorm1d, Dropout, Linear, type Module, ReLU, Sequential } from '../../src/nn/index.js';
import { tensor } from '../../src/ops/create.js';
import { manualSeed } from '../../src/tensor/generator.js';
import type { Tensor } from '../../src/tensor/tensor.js';

export interface Blobs {
  readonly points: Float32Array;
  readonly labels: Int32Array;
  readonly items: number;
}

/** Two clouds of points in the plane, hard to mix up. */
export function blobs(items = 64, seed = 3): Blobs {
  const noise = normalArray(2 * items, seed);
  const labels = Int32Array.from({ length: items }, (_, i) => i % 2);
  const points = noise.map((v, k) => v + (labels[k >> 1] === 1 ? 1.5 : -1.5));
  return { points, labels, items };
}
export const asTensors = ({ points, labels, items }: Blobs): { x: Tensor; y: Tensor } => ({
  x: tensor(points, { shape: [items, 2] }),
  y: tensor(labels),
});

/** A classifier with dropout and running statistics; the same weights each time. */
export function classifier(dropout = 0.1): Sequential {
  manualSeed(11);
  return new Sequential(new Linear(2, 16), new BatchNorm1d(16), new ReLU(), new Dropout(dropout), new Linear(16, 2));
}

/** Everything a network consists of, as numbers. */
export function weightsOf(net: Module<never, unknown>): Record<string, number[]> {
  return Object.fromEntries(Array.from(net.stateDict(), ([name, t]) => [name, Array.from(t.dataSync(), Number)]));
}
