/** Change of sample rate by band-limited interpolation (J. O. Smith, "Digital audio resampling"), as torchaudio's resample. */
import { ArgumentError } from '../../errors.js';

export interface ResampleOptions {
  /** Zero crossings of the sinc on each side; 6 unless told otherwise. More is sharper and slower. */
  readonly lowpassFilterWidth?: number;
  /** Cut-off as share of the lower Nyquist frequency; 0.99 unless told otherwise. */
  readonly rolloff?: number;
  readonly window?: 'hann' | 'kaiser';
  /** Of the Kaiser window. */
  readonly beta?: number;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Modified Bessel function of the first kind, order 0, by its power series. */
function bessel0(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** Converts between two rates; the kernels (one for each phase) are made once. */
export class Resampler {
  readonly from: number;
  readonly to: number;
  private readonly orig: number;
  private readonly next: number;
  private readonly width: number;
  private readonly kernels: Float64Array;
  private readonly size: number;

  /** @param from @param to rates in Hz, whole numbers. @throws ArgumentError */
  constructor(from: number, to: number, options: ResampleOptions = {}) {
    const op = 'resample';
    const { lowpassFilterWidth: crossings = 6, rolloff = 0.99, window = 'hann', beta = 14.769656459379492 } = options;
    for (const rate of [from, to]) {
      if (!Number.isInteger(rate) || rate < 1) {
        throw new ArgumentError(`rate ${rate}`, { op, received: rate, expected: 'a whole number of Hz, 1 or more' });
      }
    }
    if (!(crossings >= 1) || !(rolloff > 0 && rolloff <= 1)) {
      throw new ArgumentError(`lowpassFilterWidth ${crossings}, rolloff ${rolloff}`, { op, expected: 'width >= 1, 0 < rolloff <= 1' });
    }
    this.from = from;
    this.to = to;
    const divisor = gcd(from, to);
    this.orig = from / divisor;
    this.next = to / divisor;
    const base = Math.min(this.orig, this.next) * rolloff;
    this.width = Math.ceil((crossings * this.orig) / base);
    this.size = 2 * this.width + this.orig;
    if (from !== to && this.size * this.next > 2 ** 26) {
      throw new ArgumentError(`${from} Hz to ${to} Hz needs ${this.next} filters of ${this.size} taps`, {
        op,
        expected: 'rates with a larger common divisor',
        fix: 'Round one of the rates, e.g. to a multiple of 100 Hz.',
      });
    }
    this.kernels = new Float64Array(from === to ? 0 : this.size * this.next);
    for (let phase = 0; phase < this.next && from !== to; phase++) {
      for (let i = 0; i < this.size; i++) {
        const time = ((i - this.width) / this.orig - phase / this.next) * base;
        const t = Math.max(-crossings, Math.min(crossings, time));
        const taper =
          window === 'hann'
            ? Math.cos((t * Math.PI) / crossings / 2) ** 2
            : bessel0(beta * Math.sqrt(Math.max(0, 1 - (t / crossings) ** 2))) / bessel0(beta);
        const x = t * Math.PI;
        this.kernels[phase * this.size + i] = (x === 0 ? 1 : Math.sin(x) / x) * taper * (base / this.orig);
      }
    }
  }

  /** ceil(length * to / from) samples. */
  apply(signal: Float32Array): Float32Array {
    if (this.from === this.to) return signal.slice();
    const { orig, next, width, size, kernels } = this;
    const out = new Float32Array(Math.ceil((signal.length * next) / orig));
    for (let o = 0; o < out.length; o++) {
      const phase = o % next;
      const start = Math.floor(o / next) * orig - width;
      const first = Math.max(0, -start);
      const end = Math.min(size, signal.length - start);
      let sum = 0;
      for (let i = first; i < end; i++) sum += signal[start + i] * kernels[phase * size + i];
      out[o] = sum;
    }
    return out;
  }
}

/** The signal at another rate (Hz); for many signals make one {@link Resampler}. @throws ArgumentError */
export function resample(signal: Float32Array, from: number, to: number, options: ResampleOptions = {}): Float32Array {
  return new Resampler(from, to, options).apply(signal);
}
