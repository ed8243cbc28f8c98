/**
 * Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11).
 * A block of four random words is a pure function of (counter, key), so any element of any stream can be made alone,
 * in any order and on any backend.
 *
 * How Trireme lays out its streams (kernels follow the same rule, so host and device draw the same numbers):
 * key = the 64-bit seed, low word first; counter = [i low, i high, stream, domain], one block for element i.
 * Element i takes word 0 of its block; what needs a second word (`normal`) takes word 1.
 */

/** A block: four unsigned 32-bit words. */
export type PhiloxBlock = readonly [number, number, number, number];

/** Separates the uses of one seed: equal counters of different domains never meet. */
export const philoxDomain = { tensor: 0, permutation: 1, split: 2, augmentation: 3, item: 4, sampling: 5, buffer: 6 } as const;

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

/** The high 32 bits of the unsigned product a * b. */
function mulHi(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const carry = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** Ten rounds into `out`, without allocating. The words of the counter and the key may be signed or unsigned. */
export function philoxInto(out: Uint32Array, c0: number, c1: number, c2: number, c3: number, k0: number, k1: number): void {
  let x0 = c0 >>> 0;
  let x1 = c1 >>> 0;
  let x2 = c2 >>> 0;
  let x3 = c3 >>> 0;
  let key0 = k0 | 0;
  let key1 = k1 | 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHi(multiplier0, x0);
    const low0 = Math.imul(multiplier0, x0);
    const high1 = mulHi(multiplier1, x2);
    const low1 = Math.imul(multiplier1, x2);
    x0 = (high1 ^ x1 ^ key0) >>> 0;
    x1 = low1 >>> 0;
    x2 = (high0 ^ x3 ^ key1) >>> 0;
    x3 = low0 >>> 0;
    key0 = (key0 + weyl0) | 0;
    key1 = (key1 + weyl1) | 0;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
}

/** One block of Philox4x32-10. */
export function philox4x32(counter: PhiloxBlock, key: readonly [number, number]): PhiloxBlock {
  const out = new Uint32Array(4);
  philoxInto(out, counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
  return [out[0], out[1], out[2], out[3]];
}

/** The two key words of a seed (a safe integer; negative ones are taken modulo 2^64), low word first. */
export function philoxKey(seed: number): readonly [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** One stream of a seed: element i is a pure function of (seed, domain, stream, i). */
export class PhiloxStream {
  private readonly block = new Uint32Array(4);
  private readonly key: readonly [number, number];
  private readonly stream: number;
  private readonly domain: number;

  constructor(seed: number, stream = 0, domain: number = philoxDomain.tensor) {
    this.key = philoxKey(seed);
    this.stream = stream;
    this.domain = domain;
  }

  private fill(i: number): Uint32Array {
    philoxInto(this.block, i, Math.floor(i / 2 ** 32), this.stream, this.domain, this.key[0], this.key[1]);
    return this.block;
  }

  /** Word 0 of element i: uniform over the unsigned 32-bit integers. */
  bits(i: number): number {
    return this.fill(i)[0];
  }

  /** Uniform over [0, 1) in steps of 2^-24, so every value is an exact float32 and 1 cannot occur. */
  uniform(i: number): number {
    return (this.bits(i) >>> 8) * 2 ** -24;
  }

  /** Uniform over the whole numbers 0 .. n-1, n at most 2^53 (53 random bits: the bias is below n / 2^53). */
  below(i: number, n: number): number {
    const block = this.fill(i);
    return Math.floor(((block[0] >>> 5) * 2 ** 26 + (block[1] >>> 6)) * 2 ** -53 * n);
  }

  /** Standard normal (Box-Muller over words 0 and 1; the first uniform lies in (0, 1], so the logarithm is finite). */
  normal(i: number): number {
    const block = this.fill(i);
    const radius = Math.sqrt(-2 * Math.log(((block[0] >>> 8) + 1) * 2 ** -24));
    return radius * Math.cos(2 * Math.PI * ((block[1] >>> 8) * 2 ** -24));
  }
}

/** The numbers 0 .. n-1 in an order that depends on (n, seed, epoch) alone (Fisher-Yates). */
export function permutation(n: number, seed: number, epoch = 0): Int32Array {
  const order = new Int32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  return shuffleInPlace(order, new PhiloxStream(seed, epoch, philoxDomain.permutation));
}

/** Fisher-Yates with elements 1 .. n-1 of the stream. Returns its argument. */
export function shuffleInPlace(order: Int32Array, stream: PhiloxStream): Int32Array {
  for (let i = order.length - 1; i > 0; i--) {
    const j = stream.below(i, i + 1);
    const value = order[i];
    order[i] = order[j];
    order[j] = value;
  }
  return order;
}

/** n uniform float32 numbers in [low, high) (`high` itself can occur through rounding of wide ranges, as in PyTorch). */
export function uniformArray(n: number, seed: number, low = 0, high = 1, stream = 0): Float32Array {
  const source = new PhiloxStream(seed, stream);
  return Float32Array.from({ length: n }, (_, i) => low + (high - low) * source.uniform(i));
}

/** n normal float32 numbers. */
export function normalArray(n: number, seed: number, mean = 0, std = 1, stream = 0): Float32Array {
  const source = new PhiloxStream(seed, stream);
  return Float32Array.from({ length: n }, (_, i) => mean + std * source.normal(i));
}
