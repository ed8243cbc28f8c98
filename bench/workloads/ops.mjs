/** Single operations: sizes, operands and what they cost at least. */
import { rnd } from './values.mjs';

/**
 * @typedef {object} ConvSize
 * @property {number} batch
 * @property {number} channels into and out of it
 * @property {number} side of the square images
 * @property {number} groups 1, or as many as channels
 */
/** @type {Record<string, ConvSize>} */
export const CONVS = {
  'conv-64x56': { batch: 8, channels: 64, side: 56, groups: 1 },
  'conv-128x28': { batch: 8, channels: 128, side: 28, groups: 1 },
  'conv-256x14': { batch: 8, channels: 256, side: 14, groups: 1 },
  'depthwise-144x56': { batch: 8, channels: 144, side: 56, groups: 144 },
};
export const ROWS = { rows: 4096, columns: 1024, eps: 1e-5 };
export const ATTENTION = { batch: 4, heads: 8, length: 1024, features: 64 };

/** Operands of a 3x3 convolution with padding 1: x and g [n, c, side, side], w [c, c / groups, 3, 3]. */
export function convData(/** @type {ConvSize} */ { batch, channels, side, groups }) {
  const fanIn = 9 * (channels / groups);
  const bound = 1 / Math.sqrt(fanIn);
  const image = batch * channels * side * side;
  return { x: rnd(1, image, -1, 1), w: rnd(1001, channels * fanIn, -bound, bound), g: rnd(3, image, -1, 1) };
}
/** Matrices [4096, 1024]. */
export const rowsData = () => [1, 2].map((seed) => rnd(seed, ROWS.rows * ROWS.columns, -1, 1));
/** q, k, v and the gradient of the result, each [batch, heads, length, features]. */
export function attentionData() {
  const { batch, heads, length, features } = ATTENTION;
  return [1, 2, 3, 4].map((seed) => rnd(seed, batch * heads * length * features, -1, 1));
}

/**
 * What stands for an output: its first entry, one from the middle, the last, and the root of its mean square.
 * @param {ArrayLike<number>} values
 */
export function summary(values) {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i] * values[i];
  return [values[0], values[values.length >> 1], values[values.length - 1], Math.sqrt(squares / values.length)];
}
