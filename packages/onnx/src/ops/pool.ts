/** Pooling over windows and over everything. */
import {
  abs,
  add,
  amax,
  arange,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  eq,
  floorDivide,
  indexAdd,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  mean,
  mul,
  pad,
  pow,
  remainder,
  reshape,
  scatter,
  scope,
  square,
  sum,
  type Tensor,
  where,
  zeros,
} from 'trireme';
import { TensorValue } from '../engine/value.js';
import { numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { computed, constant, sizeOf } from './tensors.js';
import { type Geometry, geometryOf, padsOf, stridesOf } from './windows.js';

const maxPools = { 1: maxPool1d, 2: maxPool2d, 3: maxPool3d } as const;
const avgPools = { 1: avgPool1d, 2: avgPool2d, 3: avgPool3d } as const;

function spatialRank(x: TensorValue, ctx: OpContext): 1 | 2 | 3 {
  const n = x.shape.length - 2;
  return n === 1 || n === 2 || n === 3 ? n : ctx.fail(`an input of ${x.shape.length} dimensions`, '[N, C] and 1, 2 or 3 spatial ones');
}

/** Whether the single window of a pooling is the whole image. */
function coversAll(g: Geometry, spatial: readonly number[]): boolean {
  return spatial.every((size, d) => g.kernel[d] === size && g.begin[d] === 0 && g.end[d] === 0 && g.dilation[d] === 1);
}

const optionsOf = (g: Geometry, ctx: OpContext) => ({
  stride: g.stride,
  padding: g.begin,
  paddingEnd: g.end,
  dilation: g.dilation,
  ceilMode: ctx.attrs.int('ceil_mode', 0) !== 0,
});

const maxPool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const n = spatialRank(x, ctx);
  const [, , ...spatial] = x.shape;
  const g = geometryOf(ctx, spatial, ctx.attrs.ints('kernel_shape'));
  const options = optionsOf(g, ctx);
  const kernel = [...g.kernel];
  if (!ctx.wants(1)) return computed(x.type, () => maxPools[n](x.tensor, kernel, options));
  const columnMajor = ctx.attrs.int('storage_order', 0) === 1;
  const [values, indices] = scope(() => {
    const found = maxPools[n](x.tensor, kernel, { ...options, returnIndices: true });
    return [found.values, overWhole(columnMajor ? columnMajorOf(found.indices, spatial) : found.indices, sizeOf(spatial))];
  });
  return [TensorValue.ofTensor(values, x.type), TensorValue.ofTensor(indices, 'int64')];
};

/** Row-major positions among spatial extents as column-major ones. */
function columnMajorOf(position: Tensor, spatial: readonly number[]): Tensor {
  let rest = position;
  let result = mul(position, 0);
  for (let d = spatial.length - 1; d >= 0; d--) {
    result = add(result, mul(remainder(rest, spatial[d]), sizeOf(spatial.slice(0, d))));
    rest = floorDivide(rest, spatial[d]);
  }
  return result;
}

/** Positions within each image [N, C, ...] as positions in the whole tensor. */
function overWhole(position: Tensor, size: number): Tensor {
  const [n, c, ...rest] = position.shape;
  return add(position, reshape(arange(0, n * c * size, size, { dtype: 'int64' }), [n, c, ...rest.map(() => 1)]));
}

const averagePool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const n = spatialRank(x, ctx);
  const [, , ...spatial] = x.shape;
  const g = geometryOf(ctx, spatial, ctx.attrs.ints('kernel_shape'));
  if (coversAll(g, spatial)) return computed(x.type, () => mean(x.tensor, spaceOf(x), true));
  const countIncludePad = ctx.attrs.int('count_include_pad', 0) !== 0;
  return computed(x.type, () => avgPools[n](x.tensor, [...g.kernel], { ...optionsOf(g, ctx), countIncludePad }));
};

/** The degree of a norm, a float in the first version. */
function degree(ctx: OpContext): number {
  return ctx.opset < 2 ? ctx.attrs.float('p', 2) : ctx.attrs.int('p', 2);
}

/** `(sum of |x| ** p) ** (1 / p)` with the sums that `total` makes; the gradient at 0 is 0. */
function normOf(x: Tensor, p: number, total: (powers: Tensor) => Tensor): Tensor {
  if (p === 1) return total(abs(x));
  const sums = total(p === 2 ? square(x) : pow(abs(x), p));
  const nothing = eq(sums, 0);
  return where(nothing, 0, pow(where(nothing, 1, sums), 1 / p));
}

const lpPool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const n = spatialRank(x, ctx);
  const g = geometryOf(ctx, x.shape.slice(2), ctx.attrs.ints('kernel_shape'));
  const options = { ...optionsOf(g, ctx), divisorOverride: 1 };
  return computed(x.type, () => normOf(x.tensor, degree(ctx), (t) => avgPools[n](t, [...g.kernel], options)));
};

const spaceOf = (x: TensorValue): number[] => x.shape.slice(2).map((_, d) => d + 2);

const globalAveragePool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  return computed(x.type, () => mean(x.tensor, spaceOf(x), true));
};
const globalMaxPool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  return computed(x.type, () => amax(x.tensor, spaceOf(x), true));
};
const globalLpPool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  return computed(x.type, () => normOf(x.tensor, degree(ctx), (t) => sum(t, spaceOf(x), true)));
};

/** Values go to the places MaxPool took them from; a larger output_shape adds zeros behind. */
const maxUnpool: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const indices = tensorAt(inputs, 1, ctx);
  const shapeInput = optionalTensorAt(inputs, 2, ctx);
  const [n, c, ...pooled] = x.shape;
  const kernel = ctx.attrs.ints('kernel_shape');
  const { stride } = stridesOf(ctx, kernel.length);
  const { begin, end } = padsOf(ctx, kernel.length);
  const usual = [n, c, ...pooled.map((size, d) => (size - 1) * stride[d] + kernel[d] - begin[d] - end[d])];
  const wanted = shapeInput === null ? usual : numbersOf(shapeInput);
  return computed(x.type, () => {
    const flat = scatter(zeros([sizeOf(usual)], { dtype: x.tensor.dtype }), 0, reshape(indices.tensor, [-1]), reshape(x.tensor, [-1]));
    const whole = reshape(flat, usual);
    if (wanted.every((extent, d) => extent === usual[d])) return whole;
    return pad(whole, wanted.flatMap((extent, d) => [extent - usual[d], 0]).toReversed());
  });
};

/** Sums of overlapping blocks into images [N, C, ...]: the transpose of cutting them into columns. */
const col2Im: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const image = numbersOf(tensorAt(inputs, 1, ctx));
  const block = numbersOf(tensorAt(inputs, 2, ctx));
  const n = image.length;
  const { stride, dilation } = stridesOf(ctx, n);
  const { begin, end } = padsOf(ctx, n);
  const padded = image.map((size, d) => size + begin[d] + end[d]);
  const count = padded.map((size, d) => Math.floor((size - dilation[d] * (block[d] - 1) - 1) / stride[d]) + 1);
  const [batch, rows, columns] = x.shape;
  const taps = sizeOf(block);
  if (rows % taps !== 0 || columns !== sizeOf(count))
    ctx.fail(`columns of shape [${x.shape.join(', ')}]`, `[N, a multiple of ${taps}, ${sizeOf(count)}]`);
  // Where each element of a channel's columns goes: the sum of a part for the tap and one for the block, of each dimension.
  const spread = (extents: readonly number[], step: readonly number[]): number[] =>
    extents.reduce<number[]>(
      (all, extent, d) => {
        const pitch = sizeOf(padded.slice(d + 1)) * step[d];
        return all.flatMap((base) => Array.from({ length: extent }, (_, i) => base + i * pitch));
      },
      [0],
    );
  const starts = spread(count, stride);
  const positions = spread(block, dilation).flatMap((tap) => starts.map((start) => start + tap));
  return computed(x.type, () => {
    const channels = rows / taps;
    const lines = reshape(x.tensor, [batch * channels, taps * columns]);
    const target = zeros([batch * channels, sizeOf(padded)], { dtype: lines.dtype });
    const whole = reshape(indexAdd(target, 1, constant(positions, 'int32'), lines), [batch, channels, ...padded]);
    if ([...begin, ...end].every((p) => p === 0)) return whole;
    return pad(whole, begin.flatMap((low, d) => [-end[d], -low]).toReversed());
  });
};

export const poolOps = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  LpPool: lpPool,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
  GlobalLpPool: globalLpPool,
  MaxUnpool: maxUnpool,
  Col2Im: col2Im,
} satisfies OpTable;
