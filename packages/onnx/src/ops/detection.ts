/** Boxes: suppression and pooling over regions; reading images at given positions. */
import {
  add,
  affineGrid,
  amax,
  cast,
  clamp,
  concat,
  div,
  floor,
  ge,
  gridSample,
  indexSelect,
  le,
  logicalAnd,
  lt,
  maximum,
  mul,
  permute,
  reshape,
  select,
  sub,
  sum,
  type Tensor,
  unsqueeze,
  where,
  zeros,
} from 'trireme';
import { int64Value, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpFunction, OpTable } from './definition.js';
import { computed, constant } from './tensors.js';

/* ---- suppression ---- */

/** Corners of box i, smaller ones first: (x1, y1, x2, y2). */
function cornersOf(boxes: ArrayLike<number>, at: number, centred: boolean): [number, number, number, number] {
  const [a, b, c, d] = [boxes[at], boxes[at + 1], boxes[at + 2], boxes[at + 3]];
  if (centred) {
    const [w, h] = [Math.fround(c / 2), Math.fround(d / 2)];
    return [Math.fround(a - w), Math.fround(b - h), Math.fround(a + w), Math.fround(b + h)];
  }
  return [Math.min(b, d), Math.min(a, c), Math.max(b, d), Math.max(a, c)];
}

/** Shares are compared in single precision: at a threshold that is met exactly its rounding decides. */
function overlaps(boxes: ArrayLike<number>, i: number, j: number, centred: boolean, threshold: number): boolean {
  const f = Math.fround;
  const p = cornersOf(boxes, i, centred);
  const q = cornersOf(boxes, j, centred);
  const width = f(Math.min(p[2], q[2]) - Math.max(p[0], q[0]));
  const height = f(Math.min(p[3], q[3]) - Math.max(p[1], q[1]));
  if (width <= 0 || height <= 0) return false;
  const inter = f(width * height);
  const area = (b: readonly number[]): number => f(f(b[2] - b[0]) * f(b[3] - b[1]));
  const [first, second] = [area(p), area(q)];
  if (first <= 0 || second <= 0) return false;
  return f(inter / f(f(first + second) - inter)) > threshold;
}

const nonMaxSuppression: OpFunction = (inputs, ctx) => {
  const boxes = tensorAt(inputs, 0, ctx);
  const scores = tensorAt(inputs, 1, ctx);
  const scalar = (k: number): number | undefined => {
    const value = optionalTensorAt(inputs, k, ctx);
    return value === null ? undefined : numbersOf(value)[0];
  };
  const most = scalar(2) ?? 0;
  const threshold = scalar(3) ?? 0;
  const least = scalar(4);
  const centred = ctx.attrs.int('center_point_box', 0) !== 0;
  const [batch, classes, count] = scores.shape;
  const found: number[] = [];
  if (most > 0) {
    const corners = boxes.host as ArrayLike<number>;
    const values = scores.host as ArrayLike<number>;
    for (let n = 0; n < batch; n++)
      for (let c = 0; c < classes; c++) {
        const row = (n * classes + c) * count;
        const order: number[] = [];
        for (let i = 0; i < count; i++) if (least === undefined || values[row + i] > least) order.push(i);
        order.sort((i, j) => values[row + j] - values[row + i] || i - j);
        const kept: number[] = [];
        for (const i of order) {
          if (kept.length >= most) break;
          const at = (index: number): number => (n * count + index) * 4;
          if (!kept.some((j) => overlaps(corners, at(i), at(j), centred, threshold))) kept.push(i);
        }
        for (const i of kept) found.push(n, c, i);
      }
  }
  return int64Value(found, [found.length / 3, 3]);
};

/* ---- regions ---- */

/** Rows [N * H * W, C] of an image [N, C, H, W]: what one position holds lies together. */
function pixelRows(x: Tensor): Tensor {
  return reshape(permute(x, [0, 2, 3, 1]), [-1, x.shape[1]]);
}

/** Rows at positions of any shape: [..., C]. */
function rowsAt(rows: Tensor, positions: Tensor): Tensor {
  return reshape(indexSelect(rows, 0, reshape(positions, [-1])), [...positions.shape, rows.shape[1]]);
}

/** Samples of each region along one dimension: [R, bins * samples]. */
interface Samples {
  /** Neighbouring elements, whole numbers in float tensors, and the share of the second. */
  readonly low: Tensor;
  readonly high: Tensor;
  readonly share: Tensor;
  /** Whether the sample exists and lies within the image. */
  readonly valid: Tensor;
  /** Whether the sample exists. */
  readonly exists: Tensor;
}

/** `counts` [R, 1] samples a bin, evenly spread; `most` is the largest of them. */
function samplesOf(start: Tensor, extent: Tensor, bins: number, counts: Tensor, most: number, size: number): Samples {
  const dtype = start.dtype;
  const bin = constant(
    Array.from({ length: bins * most }, (_, i) => Math.floor(i / most)),
    dtype,
    [1, bins * most],
  );
  const sample = constant(
    Array.from({ length: bins * most }, (_, i) => i % most),
    dtype,
    [1, bins * most],
  );
  const each = mul(extent, 1 / bins);
  const position = add(start, add(mul(bin, each), mul(add(sample, 0.5), div(each, counts))));
  const exists = lt(sample, counts);
  const valid = logicalAnd(exists, logicalAnd(ge(position, -1), le(position, size)));
  const inside = clamp(position, { min: 0, max: size - 1 });
  const low = floor(inside.detach());
  return { low, high: clamp(add(low, 1), { max: size - 1 }), share: sub(inside, low), valid, exists };
}

/**
 * Regions of feature maps read between their elements (He et al., arXiv:1703.06870): averages, or largest of the weighted elements, of
 * evenly spread samples in each bin.
 */
const roiAlign: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const rois = tensorAt(inputs, 1, ctx);
  const batchIndices = tensorAt(inputs, 2, ctx);
  const { attrs } = ctx;
  const mode = attrs.string('mode', 'avg');
  if (mode !== 'avg' && mode !== 'max') ctx.fail(`mode ${mode}`, 'avg or max');
  const [rows, columns] = [attrs.int('output_height', 1), attrs.int('output_width', 1)];
  const ratio = attrs.int('sampling_ratio', 0);
  const scale = attrs.float('spatial_scale', 1);
  const halfPixel = ctx.opset >= 16 && attrs.string('coordinate_transformation_mode', 'half_pixel') === 'half_pixel';
  const [, channels, height, width] = x.shape;
  const regions = rois.shape[0];
  // As many samples as elements of the map a bin covers: that reads the regions.
  const countsFor = (low: number, bins: number): number[] => {
    if (ratio > 0) return new Array<number>(regions).fill(ratio);
    const list = numbersOf(rois);
    return Array.from({ length: regions }, (_, r) => {
      const extent = (list[4 * r + low + 2] - list[4 * r + low]) * scale;
      return Math.max(0, Math.ceil((halfPixel ? extent : Math.max(extent, 1)) / bins));
    });
  };
  const [countsY, countsX] = [countsFor(1, rows), countsFor(0, columns)];
  const [mostY, mostX] = [Math.max(1, ...countsY), Math.max(1, ...countsX)];
  return computed(x.type, () => {
    const box = sub(mul(rois.tensor, scale), halfPixel ? 0.5 : 0);
    const edge = (k: number): Tensor => unsqueeze(select(box, 1, k), 1);
    const extentOf = (low: number): Tensor => {
      const extent = sub(edge(low + 2), edge(low));
      return halfPixel ? extent : clamp(extent, { min: 1 });
    };
    const columnOf = (list: readonly number[]): Tensor => constant(list, box.dtype, [regions, 1]);
    const y = samplesOf(edge(1), extentOf(1), rows, columnOf(countsY), mostY, height);
    const xs = samplesOf(edge(0), extentOf(0), columns, columnOf(countsX), mostX, width);
    const pixels = pixelRows(x.tensor);
    const image = mul(reshape(cast(batchIndices.tensor, 'int32'), [regions, 1, 1]), height * width);
    const tall = (t: Tensor): Tensor => unsqueeze(t, 2);
    const wide = (t: Tensor): Tensor => unsqueeze(t, 1);
    const valid = logicalAnd(tall(y.valid), wide(xs.valid));
    const corner = (row: Tensor, column: Tensor, weight: Tensor): Tensor => {
      const at = add(image, add(mul(tall(cast(row, 'int32')), width), wide(cast(column, 'int32'))));
      return mul(rowsAt(pixels, at), unsqueeze(where(valid, weight, 0), -1));
    };
    const [hy, hx] = [sub(1, y.share), sub(1, xs.share)];
    const corners = [
      corner(y.low, xs.low, mul(tall(hy), wide(hx))),
      corner(y.low, xs.high, mul(tall(hy), wide(xs.share))),
      corner(y.high, xs.low, mul(tall(y.share), wide(hx))),
      corner(y.high, xs.high, mul(tall(y.share), wide(xs.share))),
    ];
    const binned = (t: Tensor): Tensor => reshape(t, [regions, rows, mostY, columns, mostX, channels]);
    if (mode === 'avg') {
      const total = sum(binned(corners.reduce((a, b) => add(a, b))), [2, 4]);
      const number = constant(
        countsY.map((n, r) => Math.max(1, n * countsX[r])),
        box.dtype,
        [regions, 1, 1, 1],
      );
      return permute(div(total, number), [0, 3, 1, 2]);
    }
    const exists = unsqueeze(logicalAnd(tall(y.exists), wide(xs.exists)), -1);
    const largest = corners.reduce((a, b) => maximum(a, b));
    const best = amax(binned(where(exists, largest, -Infinity)), [2, 4]);
    return permute(where(ge(best, -3e38), best, 0), [0, 3, 1, 2]);
  });
};

/** The largest elements of the bins of each region (Girshick, arXiv:1504.08083); empty bins are 0. Reads the regions. */
const maxRoiPool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const rois = tensorAt(inputs, 1, ctx);
  const [rows, columns] = ctx.attrs.ints('pooled_shape');
  const scale = ctx.attrs.float('spatial_scale', 1);
  const [, channels, height, width] = x.shape;
  const regions = rois.shape[0];
  const list = numbersOf(rois);
  const round = (v: number): number => Math.sign(v) * Math.round(Math.abs(v));
  /** Elements from and to, of bin i out of n of a region. */
  const span = (low: number, high: number, i: number, n: number, size: number): [number, number] => {
    const extent = Math.max(high - low + 1, 1) / n;
    const within = (v: number): number => Math.min(Math.max(v + low, 0), size);
    return [within(Math.floor(i * extent)), within(Math.ceil((i + 1) * extent))];
  };
  const bins: number[][] = [];
  for (let r = 0; r < regions; r++) {
    const [image, x1, y1, x2, y2] = list.slice(5 * r, 5 * r + 5).map((v, k) => (k === 0 ? v : round(v * scale)));
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        const [top, bottom] = span(y1, y2, i, rows, height);
        const [left, right] = span(x1, x2, j, columns, width);
        const bin: number[] = [];
        for (let v = top; v < bottom; v++) for (let u = left; u < right; u++) bin.push((image * height + v) * width + u);
        bins.push(bin);
      }
  }
  const most = Math.max(1, ...bins.map((bin) => bin.length));
  // Bins of fewer elements take their first one several times.
  const positions = bins.flatMap((bin) => Array.from({ length: most }, (_, k) => bin[k] ?? bin[0] ?? 0));
  return computed(x.type, () => {
    const read = rowsAt(pixelRows(x.tensor), constant(positions, 'int32', [bins.length, most]));
    const best = amax(read, 1);
    const empty = bins.map((bin) => Number(bin.length === 0));
    const pooled = empty.includes(1) ? where(constant(empty, 'bool', [bins.length, 1]), 0, best) : best;
    return permute(reshape(pooled, [regions, rows, columns, channels]), [0, 3, 1, 2]);
  });
};

/* ---- grids ---- */

const modes: Readonly<Record<string, 'bilinear' | 'nearest' | 'bicubic'>> = {
  linear: 'bilinear',
  bilinear: 'bilinear',
  nearest: 'nearest',
  cubic: 'bicubic',
  bicubic: 'bicubic',
};

const gridSampleOp: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const grid = tensorAt(inputs, 1, ctx);
  const mode = modes[ctx.attrs.string('mode', 'linear')] ?? ctx.fail('an unknown mode', Object.keys(modes).join(', '));
  const paddingMode = ctx.attrs.string('padding_mode', 'zeros');
  if (paddingMode !== 'zeros' && paddingMode !== 'border' && paddingMode !== 'reflection')
    return ctx.fail(`padding_mode ${paddingMode}`, 'zeros, border or reflection');
  const options = { mode, paddingMode, alignCorners: ctx.attrs.int('align_corners', 0) !== 0 } as const;
  return computed(x.type, () => {
    if (x.shape.length !== 3) return gridSample(x.tensor, grid.tensor, options);
    // A line is an image of one row, whose middle is at 0.
    const [n, points] = grid.shape;
    const flat = concat([grid.tensor, zeros(grid.shape, { dtype: grid.tensor.dtype })], 2);
    const read = gridSample(unsqueeze(x.tensor, 2), reshape(flat, [n, 1, points, 2]), options);
    return select(read, 2, 0);
  });
};

const affineGridOp: OpFunction = (inputs, ctx) => {
  const theta = tensorAt(inputs, 0, ctx);
  const size = numbersOf(tensorAt(inputs, 1, ctx));
  return computed(theta.type, () => affineGrid(theta.tensor, size, { alignCorners: ctx.attrs.int('align_corners', 0) !== 0 }));
};

export const detectionOps = {
  NonMaxSuppression: nonMaxSuppression,
  RoiAlign: roiAlign,
  MaxRoiPool: maxRoiPool,
  GridSample: gridSampleOp,
  AffineGrid: affineGridOp,
} satisfies OpTable;
