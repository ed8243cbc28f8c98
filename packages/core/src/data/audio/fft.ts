/** Fast Fourier transforms on the host, for data workers: no tensors, float64 inside, any length. */
import { ArgumentError } from '../../errors.js';

/** Factors above this go through Bluestein's algorithm. */
const largestRadix = 13;

function factorize(n: number): number[] | null {
  const factors: number[] = [];
  let rest = n;
  for (const p of [4, 2, 3, 5, 7, 11, largestRadix]) {
    while (rest % p === 0) {
      factors.push(p);
      rest /= p;
    }
  }
  return rest === 1 ? factors : null;
}

/**
 * Complex transforms of one length: X[k] = sum over t of x[t] e^(-2 pi i k t / n), without scaling.
 * Mixed-radix Stockham (self-sorting) where the prime factors are at most 13, else Bluestein's chirp convolution.
 */
export class ComplexFft {
  readonly n: number;
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;
  private readonly factors: readonly number[] | null;
  private readonly chirp: Bluestein | null;
  private readonly workRe: Float64Array;
  private readonly workIm: Float64Array;

  constructor(n: number) {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 26) {
      throw new ArgumentError(`length ${n}`, { op: 'ComplexFft', received: n, expected: 'a whole number from 1 to 2^26' });
    }
    this.n = n;
    this.factors = factorize(n);
    this.chirp = this.factors === null ? new Bluestein(n) : null;
    const table = this.factors === null ? 0 : n;
    this.cos = new Float64Array(table);
    this.sin = new Float64Array(table);
    for (let i = 0; i < table; i++) {
      this.cos[i] = Math.cos((2 * Math.PI * i) / n);
      this.sin[i] = -Math.sin((2 * Math.PI * i) / n);
    }
    this.workRe = new Float64Array(table);
    this.workIm = new Float64Array(table);
  }

  /** In place. */
  forward(re: Float64Array, im: Float64Array): void {
    if (this.chirp !== null) {
      this.chirp.forward(re, im);
      return;
    }
    let fromRe = re;
    let fromIm = im;
    let toRe = this.workRe;
    let toIm = this.workIm;
    let stride = 1;
    for (const p of this.factors ?? []) {
      const m = this.n / stride / p;
      if (p === 2) this.radix2(fromRe, fromIm, toRe, toIm, m, stride);
      else if (p === 4) this.radix4(fromRe, fromIm, toRe, toIm, m, stride);
      else this.radix(p, fromRe, fromIm, toRe, toIm, m, stride);
      stride *= p;
      [fromRe, toRe] = [toRe, fromRe];
      [fromIm, toIm] = [toIm, fromIm];
    }
    if (fromRe !== re) {
      re.set(fromRe);
      im.set(fromIm);
    }
  }

  /** In place, scaled by 1 / n. */
  inverse(re: Float64Array, im: Float64Array): void {
    // The inverse is the forward transform with the parts exchanged, before and after.
    this.forward(im, re);
    for (let i = 0; i < this.n; i++) {
      re[i] /= this.n;
      im[i] /= this.n;
    }
  }

  private radix2(xr: Float64Array, xi: Float64Array, yr: Float64Array, yi: Float64Array, m: number, s: number): void {
    for (let q = 0; q < m; q++) {
      const wr = this.cos[q * s];
      const wi = this.sin[q * s];
      const a = s * q;
      const b = s * (q + m);
      const out = s * 2 * q;
      for (let k = 0; k < s; k++) {
        const r = xr[a + k] - xr[b + k];
        const i = xi[a + k] - xi[b + k];
        yr[out + k] = xr[a + k] + xr[b + k];
        yi[out + k] = xi[a + k] + xi[b + k];
        yr[out + s + k] = r * wr - i * wi;
        yi[out + s + k] = r * wi + i * wr;
      }
    }
  }

  private radix4(xr: Float64Array, xi: Float64Array, yr: Float64Array, yi: Float64Array, m: number, s: number): void {
    const { cos, sin } = this;
    for (let q = 0; q < m; q++) {
      const w1r = cos[q * s];
      const w1i = sin[q * s];
      const w2r = cos[2 * q * s];
      const w2i = sin[2 * q * s];
      const w3r = cos[3 * q * s];
      const w3i = sin[3 * q * s];
      const base = s * q;
      const step = s * m;
      const out = s * 4 * q;
      for (let k = 0; k < s; k++) {
        const i0 = base + k;
        const ar = xr[i0] + xr[i0 + 2 * step];
        const ai = xi[i0] + xi[i0 + 2 * step];
        const br = xr[i0] - xr[i0 + 2 * step];
        const bi = xi[i0] - xi[i0 + 2 * step];
        const cr = xr[i0 + step] + xr[i0 + 3 * step];
        const ci = xi[i0 + step] + xi[i0 + 3 * step];
        // -i (x1 - x3)
        const dr = xi[i0 + step] - xi[i0 + 3 * step];
        const di = xr[i0 + 3 * step] - xr[i0 + step];
        const o = out + k;
        yr[o] = ar + cr;
        yi[o] = ai + ci;
        let r = br + dr;
        let i = bi + di;
        yr[o + s] = r * w1r - i * w1i;
        yi[o + s] = r * w1i + i * w1r;
        r = ar - cr;
        i = ai - ci;
        yr[o + 2 * s] = r * w2r - i * w2i;
        yi[o + 2 * s] = r * w2i + i * w2r;
        r = br - dr;
        i = bi - di;
        yr[o + 3 * s] = r * w3r - i * w3i;
        yi[o + 3 * s] = r * w3i + i * w3r;
      }
    }
  }

  private radix(p: number, xr: Float64Array, xi: Float64Array, yr: Float64Array, yi: Float64Array, m: number, s: number): void {
    const { cos, sin, n } = this;
    const root = n / p;
    for (let q = 0; q < m; q++) {
      for (let j = 0; j < p; j++) {
        const wr = cos[q * j * s];
        const wi = sin[q * j * s];
        const out = s * (p * q + j);
        for (let k = 0; k < s; k++) {
          let sr = 0;
          let si = 0;
          for (let r = 0; r < p; r++) {
            const t = ((r * j) % p) * root;
            const at = k + s * (q + m * r);
            sr += xr[at] * cos[t] - xi[at] * sin[t];
            si += xr[at] * sin[t] + xi[at] * cos[t];
          }
          yr[out + k] = sr * wr - si * wi;
          yi[out + k] = sr * wi + si * wr;
        }
      }
    }
  }
}

/** L. Bluestein (1970): a transform of any length as a convolution of a power-of-two length. */
class Bluestein {
  private readonly n: number;
  private readonly size: number;
  private readonly fft: ComplexFft;
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;
  private readonly kernelRe: Float64Array;
  private readonly kernelIm: Float64Array;
  private readonly re: Float64Array;
  private readonly im: Float64Array;

  constructor(n: number) {
    this.n = n;
    let size = 1;
    while (size < 2 * n - 1) size *= 2;
    this.size = size;
    this.fft = new ComplexFft(size);
    this.cos = new Float64Array(n);
    this.sin = new Float64Array(n);
    this.kernelRe = new Float64Array(size);
    this.kernelIm = new Float64Array(size);
    this.re = new Float64Array(size);
    this.im = new Float64Array(size);
    let square = 0;
    for (let i = 0; i < n; i++) {
      // i^2 mod 2n, kept small so that the angle stays exact.
      const angle = (Math.PI * square) / n;
      this.cos[i] = Math.cos(angle);
      this.sin[i] = Math.sin(angle);
      square = (square + 2 * i + 1) % (2 * n);
      this.kernelRe[i] = this.cos[i];
      this.kernelIm[i] = this.sin[i];
      if (i > 0) {
        this.kernelRe[size - i] = this.cos[i];
        this.kernelIm[size - i] = this.sin[i];
      }
    }
    this.fft.forward(this.kernelRe, this.kernelIm);
  }

  forward(re: Float64Array, im: Float64Array): void {
    const { n, size, cos, sin, kernelRe, kernelIm } = this;
    const r = this.re.fill(0);
    const i = this.im.fill(0);
    for (let k = 0; k < n; k++) {
      r[k] = re[k] * cos[k] + im[k] * sin[k];
      i[k] = im[k] * cos[k] - re[k] * sin[k];
    }
    this.fft.forward(r, i);
    for (let k = 0; k < size; k++) {
      const product = r[k] * kernelRe[k] - i[k] * kernelIm[k];
      i[k] = r[k] * kernelIm[k] + i[k] * kernelRe[k];
      r[k] = product;
    }
    this.fft.inverse(r, i);
    for (let k = 0; k < n; k++) {
      re[k] = r[k] * cos[k] + i[k] * sin[k];
      im[k] = i[k] * cos[k] - r[k] * sin[k];
    }
  }
}

/** Transforms of real signals of one length; even lengths take a complex transform of half the length. */
export class RealFft {
  readonly n: number;
  /** floor(n / 2) + 1. */
  readonly bins: number;
  private readonly even: boolean;
  private readonly fft: ComplexFft;
  private readonly zr: Float64Array;
  private readonly zi: Float64Array;
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;

  constructor(n: number) {
    this.n = n;
    this.bins = Math.floor(n / 2) + 1;
    this.even = n % 2 === 0;
    const size = this.even ? n / 2 : n;
    this.fft = new ComplexFft(size);
    this.zr = new Float64Array(size);
    this.zi = new Float64Array(size);
    this.cos = Float64Array.from({ length: this.bins }, (_, k) => Math.cos((2 * Math.PI * k) / n));
    this.sin = Float64Array.from({ length: this.bins }, (_, k) => -Math.sin((2 * Math.PI * k) / n));
  }

  /** Bins 0 .. n/2 of the n samples of `signal` into `re` and `im` ({@link bins} elements each). */
  forward(signal: ArrayLike<number>, re: Float64Array, im: Float64Array): void {
    const { n, bins, zr, zi } = this;
    if (!this.even) {
      for (let t = 0; t < n; t++) zr[t] = signal[t];
      zi.fill(0);
      this.fft.forward(zr, zi);
      re.set(zr.subarray(0, bins));
      im.set(zi.subarray(0, bins));
      return;
    }
    const half = n / 2;
    for (let t = 0; t < half; t++) {
      zr[t] = signal[2 * t];
      zi[t] = signal[2 * t + 1];
    }
    this.fft.forward(zr, zi);
    for (let k = 0; k < bins; k++) {
      const a = k % half;
      const b = (half - k) % half;
      const evenRe = (zr[a] + zr[b]) / 2;
      const evenIm = (zi[a] - zi[b]) / 2;
      const oddRe = (zi[a] + zi[b]) / 2;
      const oddIm = (zr[b] - zr[a]) / 2;
      re[k] = evenRe + oddRe * this.cos[k] - oddIm * this.sin[k];
      im[k] = evenIm + oddRe * this.sin[k] + oddIm * this.cos[k];
    }
  }

  /** The n samples whose bins are `re` and `im`: the inverse of {@link forward}, scaled by 1 / n. */
  inverse(re: ArrayLike<number>, im: ArrayLike<number>, signal: Float64Array): void {
    const { n, bins, zr, zi } = this;
    if (!this.even) {
      for (let k = 0; k < bins; k++) {
        zr[k] = re[k];
        zi[k] = k === 0 ? 0 : im[k];
        if (k > 0) {
          zr[n - k] = re[k];
          zi[n - k] = -im[k];
        }
      }
      this.fft.inverse(zr, zi);
      signal.set(zr);
      return;
    }
    const half = n / 2;
    for (let k = 0; k < half; k++) {
      const mirrored = half - k;
      // The imaginary parts of the first and the last bin do not exist in the spectrum of a real signal.
      const imA = k === 0 ? 0 : im[k];
      const imB = mirrored === half ? 0 : im[mirrored];
      const evenRe = (re[k] + re[mirrored]) / 2;
      const evenIm = (imA - imB) / 2;
      const differenceRe = (re[k] - re[mirrored]) / 2;
      const differenceIm = (imA + imB) / 2;
      const oddRe = differenceRe * this.cos[k] + differenceIm * this.sin[k];
      const oddIm = differenceIm * this.cos[k] - differenceRe * this.sin[k];
      zr[k] = evenRe - oddIm;
      zi[k] = evenIm + oddRe;
    }
    this.fft.inverse(zr, zi);
    for (let t = 0; t < half; t++) {
      signal[2 * t] = zr[t];
      signal[2 * t + 1] = zi[t];
    }
  }
}
