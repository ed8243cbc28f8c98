/**
 * The quantized blocks of GGUF files, and their values. Blocks of 32 elements hold a scale and small integers; those of 256 (k-quants)
 * scales of parts too.
 * Layouts: ggml's ggml-common.h and ggml-quants.c (dequantize_row_*).
 */
import { halfToNumber } from '../ir/scalar.js';

/** Writes the values of the block at byte `at` to `out` from `to` on. */
type Dequantize = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

interface BlockInfo {
  /** Elements of a block. */
  readonly size: number;
  /** Bytes of a block. */
  readonly bytes: number;
  readonly dequantize: Dequantize;
}

const half = (bytes: Uint8Array, at: number): number => halfToNumber(bytes[at] | (bytes[at + 1] << 8));
const int8 = (byte: number): number => (byte << 24) >> 24;

const q4_0: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 2 + j];
    out[to + j] = ((q & 15) - 8) * d;
    out[to + 16 + j] = ((q >> 4) - 8) * d;
  }
};
const q4_1: Dequantize = (bytes, at, out, to) => {
  const [d, m] = [half(bytes, at), half(bytes, at + 2)];
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 4 + j];
    out[to + j] = (q & 15) * d + m;
    out[to + 16 + j] = (q >> 4) * d + m;
  }
};
/** The fifth bits of 32 elements are together before the rest. */
function fiveBits(bytes: Uint8Array, at: number, put: (j: number, q: number) => void): void {
  const high = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 4 + j];
    put(j, (q & 15) | (((high >>> j) & 1) << 4));
    put(j + 16, (q >> 4) | (((high >>> (j + 16)) & 1) << 4));
  }
}
const q5_0: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at);
  fiveBits(bytes, at + 2, (j, q) => {
    out[to + j] = (q - 16) * d;
  });
};
const q5_1: Dequantize = (bytes, at, out, to) => {
  const [d, m] = [half(bytes, at), half(bytes, at + 2)];
  fiveBits(bytes, at + 4, (j, q) => {
    out[to + j] = q * d + m;
  });
};
const q8_0: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at);
  for (let j = 0; j < 32; j++) out[to + j] = int8(bytes[at + 2 + j]) * d;
};
const q8_1: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at);
  for (let j = 0; j < 32; j++) out[to + j] = int8(bytes[at + 4 + j]) * d;
};

const q2K: Dequantize = (bytes, at, out, to) => {
  const [d, m] = [half(bytes, at + 80), half(bytes, at + 82)];
  for (let part = 0; part < 16; part++) {
    // Parts of 16: two of each shift in 32 bytes, four shifts, then the next 32 bytes.
    const scale = bytes[at + part];
    const [dl, ml] = [d * (scale & 15), m * (scale >> 4)];
    const shift = 2 * ((part >> 1) & 3);
    const q = at + 16 + 32 * (part >> 3) + 16 * (part & 1);
    for (let l = 0; l < 16; l++) out[to + 16 * part + l] = dl * ((bytes[q + l] >> shift) & 3) - ml;
  }
};
const q3K: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at + 108);
  const scales = at + 96;
  for (let part = 0; part < 16; part++) {
    const low = part < 8 ? bytes[scales + part] & 15 : bytes[scales + part - 8] >> 4;
    const high = (bytes[scales + 8 + (part & 3)] >> (2 * (part >> 2))) & 3;
    const dl = d * ((low | (high << 4)) - 32);
    const shift = 2 * ((part >> 1) & 3);
    const mask = at + 16 * (part & 1);
    const q = mask + 32 + 32 * (part >> 3);
    const bit = 1 << (part >> 1);
    for (let l = 0; l < 16; l++) {
      out[to + 16 * part + l] = dl * (((bytes[q + l] >> shift) & 3) - (bytes[mask + l] & bit ? 0 : 4));
    }
  }
};
/** Scale and minimum `part` of the eight in 12 bytes, 6 bits each. */
function scaleAndMin(bytes: Uint8Array, at: number, part: number): [scale: number, min: number] {
  if (part < 4) return [bytes[at + part] & 63, bytes[at + part + 4] & 63];
  return [(bytes[at + part + 4] & 15) | ((bytes[at + part - 4] >> 6) << 4), (bytes[at + part + 4] >> 4) | ((bytes[at + part] >> 6) << 4)];
}
const q4K: Dequantize = (bytes, at, out, to) => {
  const [d, m] = [half(bytes, at), half(bytes, at + 2)];
  for (let part = 0; part < 8; part++) {
    const [scale, min] = scaleAndMin(bytes, at + 4, part);
    const [dl, ml] = [d * scale, m * min];
    const q = at + 16 + 32 * (part >> 1);
    const shift = 4 * (part & 1);
    for (let l = 0; l < 32; l++) out[to + 32 * part + l] = dl * ((bytes[q + l] >> shift) & 15) - ml;
  }
};
const q5K: Dequantize = (bytes, at, out, to) => {
  const [d, m] = [half(bytes, at), half(bytes, at + 2)];
  for (let part = 0; part < 8; part++) {
    const [scale, min] = scaleAndMin(bytes, at + 4, part);
    const [dl, ml] = [d * scale, m * min];
    const q = at + 48 + 32 * (part >> 1);
    const shift = 4 * (part & 1);
    for (let l = 0; l < 32; l++) {
      out[to + 32 * part + l] = dl * (((bytes[q + l] >> shift) & 15) | (((bytes[at + 16 + l] >> part) & 1) << 4)) - ml;
    }
  }
};
const q6K: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at + 208);
  for (let part = 0; part < 16; part++) {
    // Halves of 128; in each the low bits of 64 bytes, both nibbles, and the two high bits of 32 bytes.
    const [upper, quarter, odd] = [part >> 3, (part >> 1) & 3, part & 1];
    const low = at + 64 * upper + 32 * (quarter & 1) + 16 * odd;
    const high = at + 128 + 32 * upper + 16 * odd;
    const dl = d * int8(bytes[at + 192 + part]);
    for (let l = 0; l < 16; l++) {
      const q = ((bytes[low + l] >> (4 * (quarter >> 1))) & 15) | (((bytes[high + l] >> (2 * quarter)) & 3) << 4);
      out[to + 16 * part + l] = dl * (q - 32);
    }
  }
};
const q8K: Dequantize = (bytes, at, out, to) => {
  const d = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getFloat32(0, true);
  for (let j = 0; j < 256; j++) out[to + j] = int8(bytes[at + 4 + j]) * d;
};

/** Not evenly spaced: close to the quantiles of a normal distribution. */
const iq4Values = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const fp4Values = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];

function fromTable(table: readonly number[], d: number, bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  for (let j = 0; j < 16; j++) {
    out[to + j] = d * table[bytes[at + j] & 15];
    out[to + 16 + j] = d * table[bytes[at + j] >> 4];
  }
}
const iq4NL: Dequantize = (bytes, at, out, to) => fromTable(iq4Values, half(bytes, at), bytes, at + 2, out, to);
const iq4XS: Dequantize = (bytes, at, out, to) => {
  const d = half(bytes, at);
  const high = bytes[at + 2] | (bytes[at + 3] << 8);
  for (let part = 0; part < 8; part++) {
    const low = (bytes[at + 4 + (part >> 1)] >> (4 * (part & 1))) & 15;
    const scale = low | (((high >> (2 * part)) & 3) << 4);
    fromTable(iq4Values, d * (scale - 32), bytes, at + 8 + 16 * part, out, to + 32 * part);
  }
};
const mxfp4: Dequantize = (bytes, at, out, to) => fromTable(fp4Values, 2 ** (bytes[at] - 127), bytes, at + 1, out, to);

/** Quantized types by ggml's names. */
export const ggufBlocks = {
  Q4_0: { size: 32, bytes: 18, dequantize: q4_0 },
  Q4_1: { size: 32, bytes: 20, dequantize: q4_1 },
  Q5_0: { size: 32, bytes: 22, dequantize: q5_0 },
  Q5_1: { size: 32, bytes: 24, dequantize: q5_1 },
  Q8_0: { size: 32, bytes: 34, dequantize: q8_0 },
  Q8_1: { size: 32, bytes: 36, dequantize: q8_1 },
  Q2_K: { size: 256, bytes: 84, dequantize: q2K },
  Q3_K: { size: 256, bytes: 110, dequantize: q3K },
  Q4_K: { size: 256, bytes: 144, dequantize: q4K },
  Q5_K: { size: 256, bytes: 176, dequantize: q5K },
  Q6_K: { size: 256, bytes: 210, dequantize: q6K },
  Q8_K: { size: 256, bytes: 292, dequantize: q8K },
  IQ4_NL: { size: 32, bytes: 18, dequantize: iq4NL },
  IQ4_XS: { size: 256, bytes: 136, dequantize: iq4XS },
  MXFP4: { size: 32, bytes: 17, dequantize: mxfp4 },
} as const satisfies Record<string, BlockInfo>;

export type GgufBlockType = keyof typeof ggufBlocks;

export function isGgufBlockType(name: string): name is GgufBlockType {
  return Object.hasOwn(ggufBlocks, name);
}

/** The values of whole blocks, in order. */
export function dequantizeGguf(type: GgufBlockType, bytes: Uint8Array): Float32Array {
  const { size, bytes: blockBytes, dequantize } = ggufBlocks[type];
  const blocks = Math.floor(bytes.length / blockBytes);
  const out = new Float32Array(blocks * size);
  for (let block = 0; block < blocks; block++) dequantize(bytes, block * blockBytes, out, block * size);
  return out;
}
