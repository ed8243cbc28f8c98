/** Convolutions. */
import {
  add,
  concat,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  gridSample,
  matmul,
  mul,
  narrow,
  pad,
  permute,
  reshape,
  silu,
  stack,
  type Tensor,
  zeros,
} from 'trireme';
import { TensorValue } from '../engine/value.js';
import { optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { computed, constant, filled, sizeOf } from './tensors.js';
import { geometryOf, padsOf, reach, splitPadding, stridesOf } from './windows.js';

const forward = { 1: conv1d, 2: conv2d, 3: conv3d } as const;
const transposed = { 1: convTranspose1d, 2: convTranspose2d, 3: convTranspose3d } as const;

/** Number of spatial dimensions of [N, C, ...]. */
function spatialRank(x: TensorValue, ctx: OpContext): 1 | 2 | 3 {
  const n = x.shape.length - 2;
  return n === 1 || n === 2 || n === 3 ? n : ctx.fail(`an input of ${x.shape.length} dimensions`, '[N, C] and 1, 2 or 3 spatial ones');
}

const conv: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const w = tensorAt(inputs, 1, ctx);
  const b = optionalTensorAt(inputs, 2, ctx);
  const n = spatialRank(x, ctx);
  const g = geometryOf(ctx, x.shape.slice(2), ctx.attrs.ints('kernel_shape', w.shape.slice(2)));
  const options = { stride: g.stride, dilation: g.dilation, padding: g.begin, paddingEnd: g.end, groups: ctx.attrs.int('group', 1) };
  return computed(x.type, () => forward[n](x.tensor, w.tensor, b === null ? null : b.tensor, options));
};

const convTranspose: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const w = tensorAt(inputs, 1, ctx);
  const b = optionalTensorAt(inputs, 2, ctx);
  const n = spatialRank(x, ctx);
  const spatial = x.shape.slice(2);
  const kernel = ctx.attrs.ints('kernel_shape', w.shape.slice(2));
  const { stride, dilation } = stridesOf(ctx, n);
  const extra = ctx.attrs.ints('output_padding', filled(n, 0));
  const groups = ctx.attrs.int('group', 1);
  const mode = ctx.attrs.string('auto_pad', 'NOTSET');
  const same = mode === 'SAME_UPPER' || mode === 'SAME_LOWER';
  // Some exporters write batch and channels in front of the spatial extents.
  const given = ctx.attrs.optionalInts('output_shape')?.slice(-n);
  const wanted = given ?? (same ? spatial.map((size, d) => size * stride[d]) : undefined);
  const full = spatial.map((size, d) => (size - 1) * stride[d] + reach(kernel[d], dilation[d]));
  let { begin, end } = mode === 'NOTSET' || mode === '' ? padsOf(ctx, n) : { begin: filled(n, 0), end: filled(n, 0) };
  if (wanted !== undefined) {
    const split = full.map((size, d) => splitPadding(size + extra[d] - wanted[d], mode));
    [begin, end] = [split.map(([low]) => low), split.map(([, high]) => high)];
  }
  // Elements behind those that the padding in front mirrored leaves: negative ones are cut off.
  const behind = begin.map((low, d) => low - end[d] + extra[d]);
  const direct = begin.every((low, d) => low >= 0 && behind[d] >= 0 && behind[d] < Math.max(stride[d], dilation[d]));
  return computed(x.type, () => {
    const bias = b === null ? null : b.tensor;
    const run = transposed[n];
    if (direct) return run(x.tensor, w.tensor, bias, { stride, dilation, groups, padding: begin, outputPadding: behind });
    const whole = run(x.tensor, w.tensor, null, { stride, dilation, groups });
    const cut = pad(whole, begin.flatMap((low, d) => [extra[d] - end[d], -low]).toReversed());
    return bias === null ? cut : add(cut, reshape(bias, [bias.shape[0], ...filled(n, 1)]));
  });
};

/**
 * Convolution whose taps lie where `offset` moves them (Dai et al., arXiv:1703.06211), scaled by `mask` (Zhu et al., arXiv:1811.11168):
 * the taps are read by interpolation and meet the weights in one product.
 */
const deformConv: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const w = tensorAt(inputs, 1, ctx);
  const offset = tensorAt(inputs, 2, ctx);
  const b = optionalTensorAt(inputs, 3, ctx);
  const mask = optionalTensorAt(inputs, 4, ctx);
  const n = spatialRank(x, ctx);
  const groups = ctx.attrs.int('group', 1);
  const offsetGroups = ctx.attrs.int('offset_group', 1);
  const [batch, channels, ...space] = x.shape;
  const kernel = ctx.attrs.ints('kernel_shape', w.shape.slice(2));
  const { stride, dilation } = stridesOf(ctx, n);
  const { begin } = padsOf(ctx, n);
  const out = offset.shape.slice(2);
  const taps = sizeOf(kernel);
  const points = sizeOf(out);
  const rows = batch * offsetGroups;
  return computed(x.type, () => {
    const moved = reshape(offset.tensor, [rows, taps, n, points]);
    // Positions of the taps without offsets, one tensor a dimension: [1, taps, points].
    const components = space.map((size, d) => {
      const inner = sizeOf(kernel.slice(d + 1));
      const after = sizeOf(out.slice(d + 1));
      const still: number[] = [];
      for (let t = 0; t < taps; t++)
        for (let p = 0; p < points; p++)
          still.push((Math.floor(t / inner) % kernel[d]) * dilation[d] - begin[d] + (Math.floor(p / after) % out[d]) * stride[d]);
      const position = add(reshape(narrow(moved, 2, d, 1), [rows, taps, points]), constant(still, moved.dtype, [1, taps, points]));
      // From elements to the grid's coordinates, in which -1 and 1 are the outer borders.
      return add(mul(position, 2 / size), 1 / size - 1);
    });
    const flat = n === 1;
    const grid = stack(flat ? [components[0], mul(components[0], 0)] : components.toReversed(), -1);
    const shape = [rows, taps, points, grid.shape[3]];
    const image = reshape(x.tensor, [rows, channels / offsetGroups, ...(flat ? [1, ...space] : space)]);
    const read = gridSample(image, reshape(grid, n === 3 ? [rows, taps, points, 1, 3] : shape), { mode: 'bilinear' });
    let columns = reshape(read, [rows, channels / offsetGroups, taps, points]);
    if (mask !== null) columns = mul(columns, reshape(mask.tensor, [rows, 1, taps, points]));
    const grouped = reshape(columns, [batch, groups, (channels / groups) * taps, points]);
    const weight = reshape(w.tensor, [groups, w.shape[0] / groups, -1]);
    const y = reshape(matmul(weight, grouped), [batch, w.shape[0], ...out]);
    return b === null ? y : add(y, reshape(b.tensor, [w.shape[0], ...filled(n, 1)]));
  });
};

/** Depthwise convolution over time that sees the past alone; the last k - 1 inputs are the state of the next call. */
const causalConvWithState: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const w = tensorAt(inputs, 1, ctx);
  const b = optionalTensorAt(inputs, 2, ctx);
  const past = optionalTensorAt(inputs, 3, ctx);
  const activation = ctx.attrs.string('activation', 'none');
  if (!['none', 'silu', 'swish'].includes(activation)) ctx.fail(`activation ${activation}`, 'none, silu or swish');
  const [batch, channels] = x.shape;
  const before = w.shape[2] - 1;
  const state = past === null ? zeros([batch, channels, before], { dtype: x.tensor.dtype }) : past.tensor;
  const padded = before === 0 ? x.tensor : concat([state, x.tensor], 2);
  const y = computed(x.type, () => {
    const made = conv1d(padded, w.tensor, b === null ? null : b.tensor, { groups: channels });
    return activation === 'none' ? made : silu(made);
  });
  return [y, TensorValue.ofTensor(narrow(padded, 2, padded.shape[2] - before, before), x.type)];
};

/** [N, C, H, W] to blocks of pixels: where block row and column stand among the channels tells the mode. */
function blocks(x: TensorValue, ctx: OpContext, move: (t: Tensor, size: number, dcr: boolean) => Tensor): TensorValue {
  const mode = ctx.attrs.string('mode', 'DCR');
  if (mode !== 'DCR' && mode !== 'CRD') ctx.fail(`mode ${mode}`, 'DCR or CRD');
  if (x.shape.length !== 4) ctx.fail(`an input of ${x.shape.length} dimensions`, '[N, C, H, W]');
  const size = ctx.attrs.int('blocksize');
  return computed(x.type, () => move(x.tensor, size, mode === 'DCR'));
}

const depthToSpace: OpFunction = (inputs, ctx) =>
  blocks(tensorAt(inputs, 0, ctx), ctx, (x, s, dcr) => {
    const [n, c, h, w] = x.shape;
    const depth = c / (s * s);
    const split = reshape(x, dcr ? [n, s, s, depth, h, w] : [n, depth, s, s, h, w]);
    return reshape(permute(split, dcr ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3]), [n, depth, h * s, w * s]);
  });

const spaceToDepth: OpFunction = (inputs, ctx) =>
  blocks(tensorAt(inputs, 0, ctx), ctx, (x, s, dcr) => {
    const [n, c, h, w] = x.shape;
    const split = reshape(x, [n, c, h / s, s, w / s, s]);
    return reshape(permute(split, dcr ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]), [n, c * s * s, h / s, w / s]);
  });

export const convOps = {
  Conv: conv,
  ConvTranspose: convTranspose,
  DeformConv: deformConv,
  CausalConvWithState: causalConvWithState,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
} satisfies OpTable;
