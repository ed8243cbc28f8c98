/** Reproducible numbers, the same on every side. */

/**
 * Reproducible values in [lo, hi), the same on every side.
 * A mulberry32-style mix of the seed and the index, so that value i needs no value before it.
 * @param {number} seed
 * @param {number} count
 * @param {number} lo
 * @param {number} hi
 * @returns {Float32Array<ArrayBuffer>}
 */
export function rnd(seed, count, lo, hi) {
  const out = new Float32Array(count);
  const start = Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < count; i++) {
    const a = (start + Math.imul(i + 1, 0x6d2b79f5)) | 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    out[i] = lo + ((hi - lo) * ((t ^ (t >>> 14)) >>> 0)) / 4294967296;
  }
  return out;
}

/**
 * Reproducible integers in [0, k).
 * @param {number} seed
 * @param {number} count
 * @param {number} k
 * @returns {Int32Array<ArrayBuffer>}
 */
export function rint(seed, count, k) {
  const unit = rnd(seed, count, 0, 1);
  const out = new Int32Array(count);
  for (let i = 0; i < count; i++) out[i] = Math.min(k - 1, Math.floor(unit[i] * k));
  return out;
}
