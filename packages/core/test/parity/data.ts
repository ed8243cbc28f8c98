/** Weights and batches by formula, as tools/reference/families/parity.py computes them: bit by bit the same numbers on both sides. */

import { PhiloxStream } from '../../src/data/philox.js';
import { sizeOf } from '../../src/graph/layout.js';
import { type DType, type Tensor, tensor } from '../../src/index.js';

const weightSeed = 1;
const batchSeed = 2;

/** Uniform over [0, 1) in steps of 2^-24. */
function unit(count: number, seed: number, stream: number): Float64Array {
  const source = new PhiloxStream(seed, stream);
  return Float64Array.from({ length: count }, (_, i) => source.uniform(i));
}

/** FNV-1a of a name: each parameter has a stream of its own, whatever the order. */
function streamOf(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}

/** Matrices and kernels within 1 / sqrt(fan-in), scales of normalizations near 1, biases near 0; float32 numbers. */
export function initial(name: string, shape: readonly number[], dtype: DType): Tensor {
  const values = unit(sizeOf(shape), weightSeed, streamOf(name)).map((u) => 2 * u - 1);
  const root = Math.sqrt(sizeOf(shape.slice(1)));
  const shift = name.endsWith('weight') ? 1 : 0;
  const scaled = values.map((v) => (shape.length > 1 ? v / root : shift + 0.1 * v));
  return tensor(scaled.map(Math.fround), { shape, dtype });
}

/** One input of a step: its numbers, and whether they are whole. */
interface Part {
  readonly shape: readonly number[];
  readonly data: Float64Array;
  readonly kind: 'float' | 'int';
}
const float = (shape: readonly number[], data: Float64Array): Part => ({ shape, data, kind: 'float' });
const int = (shape: readonly number[], data: Float64Array): Part => ({ shape, data, kind: 'int' });

/** A part as a tensor: int64, or its numbers rounded to float32. */
export function toTensor({ shape, data, kind }: Part, dtype: DType): Tensor {
  return kind === 'int' ? tensor(data, { shape, dtype: 'int64' }) : tensor(data.map(Math.fround), { shape, dtype });
}

/** What the batch of one step is made of: part after part, each from a stream of its own. */
class Batch {
  private next: number;
  constructor(step: number) {
    this.next = step * 16;
  }
  unit(count: number): Float64Array {
    return unit(count, batchSeed, this.next++);
  }
  below(n: number, count: number): Float64Array {
    return this.unit(count).map((u) => Math.floor(u * n));
  }
  signal(count: number): Float64Array {
    return this.unit(count).map((u) => 2 * u - 1);
  }
  /** Labels, and for each the pattern of its class with noise. */
  classes(n: number, samples: number, size: number, noise = 1.5): { readonly values: Float64Array; readonly labels: Float64Array } {
    const labels = this.below(n, samples);
    const patterns = unit(n * size, batchSeed, 0xffffffff).map((u) => 2 * u - 1);
    const values = this.signal(samples * size).map((v, i) => patterns[labels[Math.floor(i / size)] * size + (i % size)] + noise * v);
    return { values, labels };
  }
}

function classes(step: number, n: number, samples: number, ...shape: readonly number[]): Part[] {
  const { values, labels } = new Batch(step).classes(n, samples, sizeOf(shape));
  return [float([samples, ...shape], values), int([samples], labels)];
}

/** The batches of each model: functions of the step. */
export const batches: Readonly<Record<string, (step: number) => Part[]>> = {
  mlp: (step) => classes(step, 5, 16, 12),
  cnn: (step) => classes(step, 4, 8, 2, 10, 10),
  resnet: (step) => classes(step, 4, 8, 3, 8, 8),
  lstm: (step) => {
    const b = new Batch(step);
    const labels = b.below(3, 8);
    const telling = b.unit(72);
    const tokens = b.below(11, 72).map((t, i) => (telling[i] < 0.3 ? labels[Math.floor(i / 9)] : t) + 1);
    const lengths = b.below(7, 8).map((n) => n + 3);
    const padded = tokens.map((t, i) => (i % 9 < lengths[Math.floor(i / 9)] ? t : 0));
    return [int([8, 9], padded), int([8], lengths), int([8], labels)];
  },
  // Next is 3 x + 1, now and then a step further; some targets do not count.
  gpt: (step) => {
    const b = new Batch(step);
    const first = b.below(13, 4);
    const further = b.unit(44);
    const ignored = b.unit(40);
    const inputs = new Float64Array(40);
    const targets = new Float64Array(40);
    for (let row = 0; row < 4; row++) {
      let token = first[row];
      for (let i = 0; i < 10; i++) {
        const at = row * 10 + i;
        inputs[at] = token;
        token = (3 * token + 1 + (further[row * 11 + i + 1] < 0.2 ? 1 : 0)) % 13;
        targets[at] = ignored[at] < 0.15 ? -100 : token;
      }
    }
    return [int([4, 10], inputs), int([4, 10], targets)];
  },
  recommender: (step) => {
    const b = new Batch(step);
    const sizes = b.below(4, 16);
    // As many places in every batch; the last bag takes what is left.
    const offsets = sizes.map((_, i) => sizes.slice(0, i).reduce((total, size) => total + size, 0));
    const history = b.below(40, 48);
    const tags = b.below(15, 48);
    const dense = b.signal(80);
    const weights = b.unit(48).map((u) => u + 0.5);
    const liked = sizes.map((_, i) => (dense[i * 5] + (tags[i * 3] % 3 === 0 ? 1 : 0) > 0.5 ? 1 : 0));
    return [int([48], history), int([16], offsets), int([16, 3], tags), float([16, 3], weights), float([16, 5], dense), float([16], liked)];
  },
  unet: (step) => {
    const b = new Batch(step);
    const [row, column, radius] = [b.below(12, 4), b.below(12, 4), b.below(12, 4).map((r) => r + 6)];
    const mask = new Float64Array(576).map((_, at) => {
      const n = Math.floor(at / 144);
      const i = Math.floor((at % 144) / 12);
      return (i - row[n]) ** 2 + ((at % 12) - column[n]) ** 2 < radius[n] ? 1 : 0;
    });
    const image = b.signal(576).map((v, i) => mask[i] + 0.75 * v);
    return [float([4, 1, 12, 12], image), float([4, 1, 12, 12], mask)];
  },
  // Bits of one of four patterns, and the noise: sums of four uniform numbers, which have variance 1 / 3.
  vae: (step) => {
    const b = new Batch(step);
    const bits = b.classes(4, 8, 16, 0.5).values.map((v) => (v > 0 ? 1 : 0));
    const noise = new Float64Array(24);
    for (let k = 0; k < 4; k++) b.signal(24).forEach((v, i) => (noise[i] += v));
    return [
      float([8, 1, 16], bits),
      float(
        [8, 3],
        noise.map((v) => v * 0.75),
      ),
    ];
  },
};
