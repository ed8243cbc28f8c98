/**
 * Values of TensorBoard summaries, encoded. Each carries the name of the plugin that shows it (summary.proto, and the
 * plugins' metadata in https://github.com/tensorflow/tensorboard/tree/master/tensorboard/plugins).
 */
import { ArgumentError } from '../../errors.js';
import { Message } from './protobuf.js';

/** TensorFlow's numbers of element types (types.proto). */
export const tfType = {
  float32: 1,
  float64: 2,
  int32: 3,
  uint8: 4,
  int16: 5,
  int8: 6,
  string: 7,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  float16: 19,
} as const;

export function tfShape(dims: readonly number[]): Message {
  const shape = new Message();
  for (const size of dims) shape.message(2, new Message().int(1, size));
  return shape;
}

function tensorOf(type: number, dims: readonly number[]): Message {
  return new Message().int(1, type).message(2, tfShape(dims));
}
function floats(values: ArrayLike<number>, dims: readonly number[]): Message {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
  return tensorOf(tfType.float32, dims).bytes(4, bytes);
}
function doubles(values: ArrayLike<number>, dims: readonly number[]): Message {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setFloat64(8 * i, values[i], true);
  return tensorOf(tfType.float64, dims).bytes(4, bytes);
}
function strings(values: readonly (string | Uint8Array)[], dims: readonly number[]): Message {
  const tensor = tensorOf(tfType.string, dims);
  for (const value of values) {
    if (typeof value === 'string') tensor.string(8, value);
    else tensor.bytes(8, value);
  }
  return tensor;
}

/** How TensorBoard stores it: numbers over time, tensors, or a list of blobs. */
const dataClass = { scalar: 1, tensor: 2, blobs: 3 } as const;

function value(tag: string, plugin: string, kind: number, tensor: Message, content: Message = new Message()): Message {
  const data = new Message().string(1, plugin);
  const bytes = content.finish();
  // Empty fields are left out, as the reference implementation does.
  if (bytes.length > 0) data.bytes(2, bytes);
  const metadata = new Message().message(1, data);
  metadata.int(4, kind);
  return new Message().string(1, tag).message(8, tensor).message(9, metadata);
}

export function scalarValue(tag: string, scalar: number): Message {
  return value(tag, 'scalars', dataClass.scalar, floats([scalar], []));
}

/** PNG files of one size. */
export function imagesValue(tag: string, width: number, height: number, pngs: readonly Uint8Array[]): Message {
  return value(tag, 'images', dataClass.blobs, strings([String(width), String(height), ...pngs], [2 + pngs.length]));
}

/** Markdown. */
export function textValue(tag: string, text: string): Message {
  return value(tag, 'text', dataClass.tensor, strings([text], []));
}

/** Counts in buckets of equal width between the smallest and the largest finite value. */
export function histogramValue(tag: string, values: ArrayLike<number | bigint>, buckets = 30): Message {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  let finite = 0;
  for (let i = 0; i < values.length; i++) {
    const v = Number(values[i]);
    if (!Number.isFinite(v)) continue;
    finite++;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (finite === 0) return value(tag, 'histograms', dataClass.tensor, doubles([], [0, 3]));
  // One value: the reference implementation makes a bucket of width 1 around it.
  if (low === high) return value(tag, 'histograms', dataClass.tensor, doubles([low - 0.5, high + 0.5, finite], [1, 3]));
  const counts = new Float64Array(buckets);
  for (let i = 0; i < values.length; i++) {
    const v = Number(values[i]);
    if (Number.isFinite(v)) counts[Math.min(buckets - 1, Math.floor(((v - low) / (high - low)) * buckets))]++;
  }
  const rows: number[] = [];
  const edge = (k: number): number => (k === buckets ? high : low + ((high - low) * k) / buckets);
  counts.forEach((count, k) => rows.push(edge(k), edge(k + 1), count));
  return value(tag, 'histograms', dataClass.tensor, doubles(rows, [buckets, 3]));
}

/**
 * Precision over recall at `thresholds` equal steps of the predicted probability.
 * @param labels true or false (or 1 and 0) for each item
 * @param predictions probabilities, 0 to 1
 */
export function prCurveValue(tag: string, labels: ArrayLike<number | boolean>, predictions: ArrayLike<number>, thresholds = 127): Message {
  if (labels.length !== predictions.length || thresholds < 2) {
    throw new ArgumentError(`${labels.length} labels and ${predictions.length} predictions, ${thresholds} thresholds`, {
      op: 'addPrCurve',
      received: [labels.length, predictions.length],
      expected: 'as many of the one as of the other, and at least 2 thresholds',
    });
  }
  const tp = new Float64Array(thresholds);
  const fp = new Float64Array(thresholds);
  for (let i = 0; i < labels.length; i++) {
    const p = predictions[i];
    if (!(p >= 0 && p <= 1)) {
      throw new ArgumentError(`prediction ${i} is ${p}`, { op: 'addPrCurve', received: p, expected: 'a probability from 0 to 1' });
    }
    (labels[i] ? tp : fp)[Math.floor(p * (thresholds - 1))]++;
  }
  // Positive at threshold k are those in its bucket or above.
  for (let k = thresholds - 2; k >= 0; k--) {
    tp[k] += tp[k + 1];
    fp[k] += fp[k + 1];
  }
  const least = 1e-7;
  const tn = fp.map((n) => fp[0] - n);
  const fn = tp.map((n) => tp[0] - n);
  const precision = tp.map((n, k) => n / Math.max(least, n + fp[k]));
  const recall = tp.map((n, k) => n / Math.max(least, n + fn[k]));
  const rows = [tp, fp, tn, fn, precision, recall].flatMap((row) => Array.from(row));
  return value(tag, 'pr_curves', dataClass.tensor, floats(rows, [6, thresholds]), new Message().int(2, thresholds));
}

/* ---- hyperparameters ---- */

export type Hparams = Readonly<Record<string, number | string | boolean>>;

/** google.protobuf.Value */
function anyValue(v: number | string | boolean): Message {
  if (typeof v === 'number') return new Message().double(2, v);
  return typeof v === 'string' ? new Message().string(3, v) : new Message().int(4, Number(v));
}
/** DataType of plugins/hparams/api.proto */
const dataTypes = { string: 1, boolean: 2, number: 3 } as const;

function hparamsValue(tag: string, field: number, content: Message): Message {
  const nothing = floats([0], [1]);
  return value(`_hparams_/${tag}`, 'hparams', dataClass.tensor, nothing, new Message().message(field, content));
}

/** Describes the table: its columns of hyperparameters and of metrics (tags of scalars). */
export function hparamsExperiment(hparams: Hparams, metrics: readonly string[], seconds: number): Message {
  const experiment = new Message().double(3, seconds);
  for (const [name, v] of Object.entries(hparams)) {
    experiment.message(4, new Message().string(1, name).int(4, dataTypes[typeof v as keyof typeof dataTypes]));
  }
  for (const tag of metrics) experiment.message(5, new Message().message(1, new Message().string(2, tag)));
  return hparamsValue('experiment', 2, experiment);
}
/** A run's row: its hyperparameters. */
export function hparamsStart(hparams: Hparams, seconds: number, group: string): Message {
  const start = new Message();
  for (const [name, v] of Object.entries(hparams)) start.entry(1, name, anyValue(v));
  if (group !== '') start.string(4, group);
  return hparamsValue('session_start_info', 3, start.double(5, seconds));
}
export function hparamsEnd(success: boolean, seconds: number): Message {
  return hparamsValue('session_end_info', 4, new Message().int(1, success ? 1 : 2).double(2, seconds));
}
