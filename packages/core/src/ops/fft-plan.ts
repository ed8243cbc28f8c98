/** How a discrete Fourier transform of a length is split into passes, and the tables of roots of unity they need. */
import { type DType, isFloat } from '../dtype.js';
import { withTrace } from '../graph/trace.js';
import { defaultDevice } from '../tensor/device.js';
import { createFromArray } from '../tensor/dispatch.js';
import { keep, outsideScopes } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** One pass of the self-sorting (Stockham) transform of n = radix * blocks * run elements. */
export interface Pass {
  readonly radix: number;
  readonly blocks: number;
  readonly run: number;
  /** Where its twiddles start in the table: for p = 1 .. radix - 1 the cosines, then the sines, of blocks elements each. */
  readonly twiddles: number;
}

/**
 * A transform of `length` points by passes, or (Bluestein 1970) as a convolution of `size` >= 2 length - 1 points when a prime factor
 * is above {@link largestRadix}.
 */
export interface FftPlan {
  readonly length: number;
  readonly passes: readonly Pass[];
  readonly convolution: {
    readonly size: number;
    readonly passes: readonly Pass[];
    /** Where e^(-i pi k^2 / length) starts, k < length: cosines, then sines. */
    readonly chirp: number;
    /** Where the transform of the conjugate chirp, divided by size, starts: real, then imaginary parts. */
    readonly kernel: number;
  } | null;
  /** Where e^(-2 pi i k / (2 length)), k <= length, starts (for transforms of real numbers of twice the length): cosines, then sines. */
  readonly halves: number;
  /** Elements of the table. */
  readonly tableSize: number;
}

const largestRadix = 13;

/** Radices of the passes, or null when a larger prime divides n. */
function radicesOf(n: number): number[] | null {
  const radices: number[] = [];
  let rest = n;
  for (const radix of [4, 2, 3, 5, 7, 11, 13]) {
    while (rest % radix === 0 && rest > 1) {
      radices.push(radix);
      rest /= radix;
    }
  }
  return rest === 1 && Math.max(1, ...radices) <= largestRadix ? radices : null;
}

function passesOf(n: number, radices: readonly number[], start: number): { readonly passes: Pass[]; readonly end: number } {
  const passes: Pass[] = [];
  let run = 1;
  let at = start;
  for (const radix of radices) {
    const blocks = n / run / radix;
    passes.push({ radix, blocks, run, twiddles: at });
    at += 2 * (radix - 1) * blocks;
    run *= radix;
  }
  return { passes, end: at };
}

const plans = new Map<string, FftPlan>();
const cachedPlans = 256;

export function planFft(length: number, real: boolean): FftPlan {
  const key = `${length}:${real}`;
  const found = plans.get(key);
  if (found) return found;
  const made = makePlan(length, real);
  if (plans.size >= cachedPlans) plans.clear();
  plans.set(key, made);
  return made;
}
function makePlan(length: number, real: boolean): FftPlan {
  const radices = radicesOf(Math.max(1, length));
  const halvesSize = real ? 2 * (length + 1) : 0;
  if (radices !== null) {
    const { passes, end } = passesOf(length, radices, 0);
    return { length, passes, convolution: null, halves: end, tableSize: end + halvesSize };
  }
  let size = 4;
  while (size < 2 * length - 1) size *= 2;
  const { passes, end } = passesOf(size, radicesOf(size) ?? [], 0);
  const kernel = end + 2 * length;
  const halves = kernel + 2 * size;
  return { length, passes: [], convolution: { size, passes, chirp: end, kernel }, halves, tableSize: halves + halvesSize };
}

/** e^(-2 pi i k / n) with errors of one rounding: the angle is first brought into an eighth of the circle. */
function root(k: number, n: number): readonly [number, number] {
  const turn = ((k % n) + n) % n;
  const eighths = Math.floor((8 * turn) / n);
  // The angle from the nearest multiple of a quarter turn, as an exact fraction of the circle.
  const quarter = Math.floor((eighths + 1) / 2);
  const angle = (2 * Math.PI * (turn - (quarter * n) / 4)) / n;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  switch (quarter % 4) {
    case 0:
      return [c, -s];
    case 1:
      return [-s, -c];
    case 2:
      return [-c, s];
    default:
      return [s, c];
  }
}

function fillPasses(table: Float64Array, passes: readonly Pass[]): void {
  for (const { radix, blocks, twiddles } of passes) {
    for (let p = 1; p < radix; p++) {
      for (let j = 0; j < blocks; j++) {
        const [c, s] = root(j * p, radix * blocks);
        table[twiddles + 2 * (p - 1) * blocks + j] = c;
        table[twiddles + (2 * (p - 1) + 1) * blocks + j] = s;
      }
    }
  }
}

function buildTable(plan: FftPlan, real: boolean): Float64Array {
  const table = new Float64Array(Math.max(1, plan.tableSize));
  const { length, convolution } = plan;
  fillPasses(table, plan.passes);
  if (convolution !== null) {
    const { size, passes, chirp, kernel } = convolution;
    fillPasses(table, passes);
    const re = new Float64Array(size);
    const im = new Float64Array(size);
    for (let k = 0; k < length; k++) {
      // k^2 mod 2 length without leaving the exact integers.
      const square = Number((BigInt(k) * BigInt(k)) % BigInt(2 * length));
      const [c, s] = root(square, 2 * length);
      table[chirp + k] = c;
      table[chirp + length + k] = s;
      re[k] = c;
      im[k] = -s;
      if (k > 0) {
        re[size - k] = c;
        im[size - k] = -s;
      }
    }
    transformOnHost(re, im);
    for (let k = 0; k < size; k++) {
      table[kernel + k] = re[k] / size;
      table[kernel + size + k] = im[k] / size;
    }
  }
  if (real) {
    for (let k = 0; k <= length; k++) {
      const [c, s] = root(k, 2 * length);
      table[plan.halves + k] = c;
      table[plan.halves + length + 1 + k] = s;
    }
  }
  return table;
}

/** In-place transform of a power of two of points, for the tables only. */
function transformOnHost(re: Float64Array, im: Float64Array): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const [c, s] = root(k, size);
      for (let i = k; i < n; i += size) {
        const [x, y] = [re[i + half] * c - im[i + half] * s, re[i + half] * s + im[i + half] * c];
        re[i + half] = re[i] - x;
        im[i + half] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
}

/** Weakly held: programs and the tape keep what they use. */
const tables = new Map<string, WeakRef<Tensor>>();

/** The table of a plan as a vector. */
export function fftTable(plan: FftPlan, real: boolean, dtype: DType): Tensor {
  const key = `${plan.length}:${real}:${dtype}`;
  const found = tables.get(key)?.deref();
  if (found !== undefined && !found.isDisposed && found.storage.block?.device === defaultDevice()) return found;
  const data = buildTable(plan, real);
  const made = withTrace(null, () => keep(outsideScopes(() => createFromArray(data, isFloat(dtype) ? dtype : 'float32', [data.length]))));
  if (tables.size >= cachedPlans) tables.clear();
  tables.set(key, new WeakRef(made));
  return made;
}
