/** Normalizations and dropout. */
import {
  abs,
  add,
  avgPool2d,
  batchNorm,
  cast,
  div,
  dropout,
  eq,
  Generator,
  ge,
  groupNorm,
  instanceNorm,
  layerNorm,
  mean,
  mul,
  noGrad,
  pow,
  rand,
  reshape,
  rmsNorm,
  rsqrt,
  scope,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  where,
} from 'trireme';
import { type ElementType, elementTypeOf } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import type { NodeModel } from '../model/model.js';
import { axesOf, axisOf, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { carrierOf, computed, constant, filled, sizeOf, widened } from './tensors.js';

/* ---- batch normalization ---- */

/** Whether the statistics are those of the batch: an attribute since opset 14, before that the outputs tell. */
function usesBatch(ctx: OpContext): boolean {
  if (ctx.training === true) return true;
  if (ctx.opset >= 14) return ctx.attrs.int('training_mode', 0) !== 0;
  return ctx.outputCount > 1 && (ctx.opset >= 7 || ctx.attrs.int('is_test', 0) === 0);
}

interface Folded {
  readonly parameters: readonly TensorValue[];
  readonly epsilon: number;
  readonly factor: readonly number[];
  readonly shift: readonly number[];
}
const folds = new WeakMap<TensorValue, Folded>();

/** Factor and shift that normalize by statistics known beforehand, worked out once. (On the host: tensors would be the run's.) */
function foldedOf(parameters: readonly TensorValue[], epsilon: number): Folded {
  const found = folds.get(parameters[0]);
  if (found?.epsilon === epsilon && found.parameters.every((p, k) => p === parameters[k])) return found;
  const [scale, bias, center, spread] = parameters.map(numbersOf);
  const factor = scale.map((s, c) => s / Math.sqrt(spread[c] + epsilon));
  const shift = bias.map((b, c) => b - center[c] * factor[c]);
  const made = { parameters, epsilon, factor, shift };
  folds.set(parameters[0], made);
  return made;
}

const batchNormalization: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const parameters = [1, 2, 3, 4].map((k) => tensorAt(inputs, k, ctx));
  const eps = ctx.attrs.float('epsilon', 1e-5);
  const perElement = ctx.opset < 9 && ctx.attrs.int('spatial', 1) === 0;
  if (perElement) return perElementNormalization(x, parameters, eps);
  if (usesBatch(ctx)) return trainingNormalization(x, parameters, eps, ctx);
  const wide = parameters[0].tensor.dtype === x.tensor.dtype ? x.tensor : widened(x.tensor);
  if (parameters.every((p) => p.isKnown) && x.shape.length >= 2) {
    const shape = [x.shape[1], ...filled(x.shape.length - 2, 1)];
    const { factor, shift } = foldedOf(parameters, eps);
    return computed(x.type, () => {
      const scaled = mul(wide, constant(factor, wide.dtype, shape));
      return cast(add(scaled, constant(shift, wide.dtype, shape)), x.tensor.dtype);
    });
  }
  const [scale, bias, center, spread] = parameters.map((p) => cast(p.tensor, wide.dtype));
  return computed(x.type, () => {
    const lined = x.shape.length === 1 ? reshape(wide, [-1, 1]) : wide;
    return cast(reshape(batchNorm(lined, center, spread, scale, bias, { eps }), x.shape), x.tensor.dtype);
  });
};

/** A mean and a variance for every element of a sample. */
function perElementNormalization(x: TensorValue, parameters: readonly TensorValue[], eps: number): TensorValue {
  return computed(x.type, () => {
    const [scale, bias, center, spread] = parameters.map((p) => reshape(p.tensor, x.shape.slice(1)));
    return add(mul(mul(sub(x.tensor, center), rsqrt(add(spread, eps))), scale), bias);
  });
}

/**
 * By the statistics of the batch. The running ones take in its mean and biased variance with weight 1 - momentum; while a module
 * trains, they are tensors of its own, which are changed in place.
 */
function trainingNormalization(
  x: TensorValue,
  [scale, bias, center, spread]: readonly TensorValue[],
  eps: number,
  ctx: OpContext,
): (TensorValue | null)[] {
  const momentum = ctx.attrs.float('momentum', 0.9);
  const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  const shape = [x.shape[1], ...filled(x.shape.length - 2, 1)];
  const made = scope(() => {
    const wide = widened(x.tensor);
    const of = (p: TensorValue): Tensor => reshape(cast(p.tensor, wide.dtype), shape);
    const single = axes.every((axis) => x.shape[axis] === 1);
    const y = single
      ? add(mul(sub(wide, wide), of(scale)), of(bias))
      : batchNorm(wide, null, null, cast(scale.tensor, wide.dtype), cast(bias.tensor, wide.dtype), { training: true, eps });
    if (!ctx.wants(1) && !ctx.wants(2) && ctx.training !== true) return [cast(y, x.tensor.dtype)];
    const running = noGrad(() => {
      const batchMean = mean(wide, axes, true);
      const batchVar = mean(square(sub(wide, batchMean)), axes);
      const blend = (old: TensorValue, now: Tensor): Tensor =>
        add(mul(old.tensor, momentum), mul(cast(reshape(now, old.shape), old.tensor.dtype), 1 - momentum));
      return [blend(center, batchMean), blend(spread, batchVar)];
    });
    return [cast(y, x.tensor.dtype), ...running];
  });
  const [y, ...running] = made;
  if (ctx.training === true) {
    noGrad(() => {
      [center, spread].forEach((old, k) => {
        if (!old.isKnown) old.tensor.copy_(running[k]);
      });
    });
  }
  const values = running.map((t, k) => TensorValue.ofTensor(t, (k === 0 ? center : spread).type));
  return [TensorValue.ofTensor(y, x.type), ...values].slice(0, Math.max(1, ctx.outputCount));
}

/* ---- over parts of each sample ---- */

const instanceNormalization: OpFunction = (inputs, ctx) => {
  const [x, scale, bias] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
  const eps = ctx.attrs.float('epsilon', 1e-5);
  return computed(x.type, () => instanceNorm(x.tensor, scale.tensor, bias.tensor, { eps }));
};

const groupNormalization: OpFunction = (inputs, ctx) => {
  const [x, scale, bias] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
  const eps = ctx.attrs.float('epsilon', 1e-5);
  const groups = ctx.attrs.int('num_groups');
  if (ctx.opset >= 21) return computed(x.type, () => groupNorm(x.tensor, groups, scale.tensor, bias.tensor, { eps }));
  // Opset 18: a scale and a shift for each group.
  return computed(x.type, () => {
    const z = reshape(groupNorm(x.tensor, groups, null, null, { eps }), [x.shape[0], groups, -1]);
    return reshape(add(mul(z, reshape(scale.tensor, [groups, 1])), reshape(bias.tensor, [groups, 1])), x.shape);
  });
};

/** dtype and type of what stash_type names: that of the first stage of a normalization. */
function stash(ctx: OpContext): ElementType {
  return elementTypeOf(ctx.attrs.int('stash_type', 1)) ?? ctx.fail('an unknown stash_type');
}

const layerNormalization: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const scale = tensorAt(inputs, 1, ctx);
  const bias = optionalTensorAt(inputs, 2, ctx);
  const eps = ctx.attrs.float('epsilon', 1e-5);
  const axis = axisOf(ctx.attrs.int('axis', -1), x.shape.length, ctx);
  const normalized = x.shape.slice(axis);
  const fits = (t: TensorValue | null): boolean => t === null || t.shape.join() === normalized.join();
  const y = computed(x.type, () => {
    if (fits(scale) && fits(bias)) return layerNorm(x.tensor, normalized, scale.tensor, bias === null ? null : bias.tensor, { eps });
    const scaled = mul(layerNorm(x.tensor, normalized, null, null, { eps }), scale.tensor);
    return bias === null ? scaled : add(scaled, bias.tensor);
  });
  if (!ctx.wants(1) && !ctx.wants(2)) return y;
  const type = stash(ctx);
  const axes = normalized.map((_, i) => axis + i);
  const [center, rstd] = scope(() => {
    const wide = cast(x.tensor, carrierOf(type, ctx));
    const m = mean(wide, axes, true);
    return [m, rsqrt(add(mean(square(sub(wide, m)), axes, true), eps))];
  });
  return [y, TensorValue.ofTensor(center, type), TensorValue.ofTensor(rstd, type)].slice(0, ctx.outputCount);
};

const rmsNormalization: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const scale = tensorAt(inputs, 1, ctx);
  const eps = ctx.attrs.float('epsilon', 1e-5);
  const axis = axisOf(ctx.attrs.int('axis', -1), x.shape.length, ctx);
  const type = carrierOf(stash(ctx), ctx);
  return computed(x.type, () => {
    const wide = x.tensor.dtype === 'float64' ? x.tensor : cast(x.tensor, type);
    const z = cast(rmsNorm(wide, x.shape.slice(axis), null, { eps }), x.tensor.dtype);
    return cast(mul(z, scale.tensor), x.tensor.dtype);
  });
};

const meanVarianceNormalization: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const axes = axesOf(ctx.attrs.ints('axes', [0, 2, 3]), x.shape.length, ctx);
  return computed(x.type, () => {
    const wide = widened(x.tensor);
    const centred = sub(wide, mean(wide, axes, true));
    return cast(div(centred, add(sqrt(mean(square(centred), axes, true)), 1e-9)), x.tensor.dtype);
  });
};

const lpNormalization: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const axis = axisOf(ctx.attrs.int('axis', -1), x.shape.length, ctx);
  const p = ctx.attrs.int('p', 2);
  return computed(x.type, () => {
    const total = sum(p === 1 ? abs(x.tensor) : square(x.tensor), axis, true);
    const nothing = eq(total, 0);
    const safe = where(nothing, 1, total);
    return where(nothing, 0, p === 1 ? div(x.tensor, safe) : mul(x.tensor, rsqrt(safe)));
  });
};

/** `x / (bias + alpha / size * sum of x² over size neighbouring channels) ** beta`, the odd neighbour of an even size behind. */
const localResponseNormalization: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const size = ctx.attrs.int('size');
  const [alpha, beta, bias] = [ctx.attrs.float('alpha', 1e-4), ctx.attrs.float('beta', 0.75), ctx.attrs.float('bias', 1)];
  const before = Math.floor((size - 1) / 2);
  const [n, c, ...space] = x.shape;
  return computed(x.type, () => {
    const squares = reshape(square(x.tensor), [n, 1, c, sizeOf(space)]);
    const padding = { padding: [before, 0], paddingEnd: [size - 1 - before, 0] };
    const means = reshape(avgPool2d(squares, [size, 1], { stride: 1, ...padding }), x.shape);
    const base = add(mul(means, alpha), bias);
    if (beta !== 0.75) return div(x.tensor, pow(base, beta));
    // base ** -0.75 by roots, which cost less than a power.
    const root = rsqrt(base);
    return mul(x.tensor, mul(root, sqrt(root)));
  });
};

/* ---- dropout ---- */

/** Generators of nodes with a seed of their own. */
const generators = new WeakMap<NodeModel, Generator>();

function generatorOf(ctx: OpContext): Generator | undefined {
  const seed = ctx.attrs.optionalInt('seed');
  if (seed === undefined) return undefined;
  const found = generators.get(ctx.node) ?? new Generator(seed);
  generators.set(ctx.node, found);
  return found;
}

const dropoutOp: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const ratioInput = optionalTensorAt(inputs, 1, ctx);
  const modeInput = optionalTensorAt(inputs, 2, ctx);
  const ratio = ctx.opset < 12 ? ctx.attrs.float('ratio', 0.5) : ratioInput === null ? 0.5 : numbersOf(ratioInput)[0];
  const training = ctx.training === true || (modeInput !== null && numbersOf(modeInput)[0] !== 0);
  const masked = ctx.wants(1);
  // Before opset 10 the mask had the type of the data.
  const maskType = ctx.opset < 10 ? x.type : 'bool';
  if (!training || ratio === 0) {
    if (!masked) return x;
    const ones = filled(sizeOf(x.shape), 1);
    return [x, maskType === 'bool' ? TensorValue.ofHost(Uint8Array.from(ones), 'bool', x.shape) : onesLike(x)];
  }
  const generator = generatorOf(ctx);
  if (!masked && generator === undefined) return computed(x.type, () => dropout(x.tensor, ratio, true));
  const [y, mask] = scope(() => {
    const kept = ge(rand(x.shape, generator === undefined ? {} : { generator }), ratio);
    const scaled = mul(x.tensor, ratio === 1 ? 0 : 1 / (1 - ratio));
    return [where(kept, scaled, 0), maskType === 'bool' ? kept : cast(kept, x.tensor.dtype)];
  });
  return masked ? [TensorValue.ofTensor(y, x.type), TensorValue.ofTensor(mask, maskType)] : TensorValue.ofTensor(y, x.type);
};

function onesLike(x: TensorValue): TensorValue {
  return computed(x.type, () => cast(eq(mul(x.tensor, 0), 0), x.tensor.dtype));
}

export const normalizationOps = {
  BatchNormalization: batchNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  LpNormalization: lpNormalization,
  LRN: localResponseNormalization,
  Dropout: dropoutOp,
} satisfies OpTable;
