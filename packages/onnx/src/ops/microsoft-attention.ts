/** Attention as com.microsoft has it, for transformers that onnxruntime's tools fused. */
import {
  add,
  arange,
  cast,
  concat,
  div,
  embedding,
  expand,
  ge,
  gt,
  le,
  logicalAnd,
  lt,
  matmul,
  mul,
  narrow,
  pad,
  permute,
  repeatInterleave,
  reshape,
  scatter,
  scope,
  softmax,
  split,
  stack,
  sub,
  sum,
  type Tensor,
  tanh,
  transpose,
  unsqueeze,
  where,
} from 'trireme';
import { TensorValue, type Value } from '../engine/value.js';
import { numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { normalizedRows } from './microsoft-fused.js';
import { dequantized } from './quantize.js';
import { widened } from './tensors.js';

/** What is added to scores that a causal limit forbids: beyond any mask. */
const forbidden = -1e30;

/** [B, T, heads * E] as [B, heads, T, E]. */
function toHeads(x: Tensor, heads: number): Tensor {
  if (x.ndim === 4) return x;
  const [batch, length, features] = x.shape;
  return permute(reshape(x, [batch, length, heads, features / heads]), [0, 2, 1, 3]);
}
/** [B, heads, T, E] as [B, T, heads * E]. */
function fromHeads(x: Tensor): Tensor {
  const [batch, heads, length, features] = x.shape;
  return reshape(permute(x, [0, 2, 1, 3]), [batch, length, heads * features]);
}

interface Scoring {
  readonly scale: number;
  /** Added to the scores, broadcast to [B, heads, T, S]. */
  readonly biases: readonly Tensor[];
  /** Where queries see keys, bool, broadcast to [B, heads, T, S]. */
  readonly allowed: Tensor | null;
  readonly softcap?: number;
  /** A score of nothing that takes its share of each row, broadcast to [heads, 1, 1]. */
  readonly sink?: Tensor | null;
}

interface Attended {
  /** [B, heads, T, V]. */
  readonly y: Tensor;
  /** Scores with their biases, before the softmax. */
  readonly scores: Tensor;
  readonly weights: Tensor;
}

function attend(q: Tensor, k: Tensor, v: Tensor, { scale, biases, allowed, softcap = 0, sink = null }: Scoring): Attended {
  const raw = mul(widened(matmul(q, transpose(k, -2, -1))), scale);
  const capped = softcap > 0 ? mul(tanh(div(raw, softcap)), softcap) : raw;
  const biased = biases.reduce((total, bias) => add(total, widened(bias)), capped);
  const scores = allowed === null ? biased : where(allowed, biased, forbidden);
  const weights = sink === null ? softmax(scores, -1) : withSink(scores, sink);
  return { y: matmul(weights.to(v.dtype), v), scores, weights };
}

function withSink(scores: Tensor, sink: Tensor): Tensor {
  const [batch, heads, queries, keys] = scores.shape;
  const column = expand(widened(sink), [batch, heads, queries, 1]);
  return narrow(softmax(concat([scores, column], -1), -1), -1, 0, keys);
}

function positions(length: number, shape: readonly number[]): Tensor {
  return reshape(arange(0, length, { dtype: 'int32' }), shape);
}

/** Each query sees the keys up to its own position; the last query stands at the last key. */
function causalLimit(queries: number, keys: number): Tensor {
  return le(positions(keys, [1, 1, 1, keys]), add(positions(queries, [1, 1, queries, 1]), keys - queries));
}

/** A mask of 0 and 1 in any of its forms as a bias of 0 and the filter value; [B], [2 * B] hold ends and starts. */
function maskBias(mask: TensorValue, batch: number, keys: number, filter: number, ctx: OpContext): Tensor {
  const rank = mask.shape.length;
  const key = positions(keys, [1, 1, 1, keys]);
  if (rank === 1) {
    const [length] = mask.shape;
    if (length !== batch && length !== 2 * batch) ctx.fail(`a mask of shape [${length}]`, `[${batch}] or [${2 * batch}]`);
    const ends = cast(reshape(narrow(mask.tensor, 0, 0, batch), [batch, 1, 1, 1]), 'int32');
    const inside = lt(key, ends);
    if (length === batch) return where(inside, 0, filter);
    const starts = cast(reshape(narrow(mask.tensor, 0, batch, batch), [batch, 1, 1, 1]), 'int32');
    return where(logicalAnd(inside, ge(key, starts)), 0, filter);
  }
  const given =
    rank === 2 ? reshape(mask.tensor, [mask.shape[0], 1, 1, mask.shape[1]]) : rank === 3 ? unsqueeze(mask.tensor, 1) : mask.tensor;
  return where(gt(given, 0), 0, filter);
}

/** Keys and values of the past in front of the new ones. */
const joined = (past: Tensor | null, present: Tensor): Tensor => (past === null ? present : concat([past, present], 2));

interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Attention with the projections inside: from `projected` on both forms are one. */
function selfAttention(
  projected: () => Tensor,
  inputs: { readonly mask: TensorValue | null; readonly past: TensorValue | null; readonly bias: TensorValue | null },
  source: TensorValue,
  ctx: OpContext,
): (TensorValue | null)[] {
  const { attrs } = ctx;
  if (attrs.int('do_rotary', 0) !== 0) ctx.fail('do_rotary', 'rotary embeddings as nodes of their own');
  if (attrs.int('past_present_share_buffer', 0) !== 0) ctx.fail('past_present_share_buffer', 'a past of its own');
  const heads = attrs.int('num_heads');
  const type = source.type;
  const made = scope(() => {
    const rows = projected();
    const width = rows.shape[2];
    const sizes = attrs.ints('qkv_hidden_sizes', [width / 3, width / 3, width / 3]);
    const [q, kNew, vNew] = split(rows, [...sizes], 2).map((part) => toHeads(part, heads));
    const past = inputs.past === null ? null : inputs.past.tensor;
    const k = joined(past === null ? null : past.select(0, 0), kNew);
    const v = joined(past === null ? null : past.select(0, 1), vNew);
    const [batch, , queries, features] = q.shape;
    const keys = k.shape[2];
    const biases: Tensor[] = [];
    if (inputs.mask !== null) biases.push(maskBias(inputs.mask, batch, keys, attrs.float('mask_filter_value', -10000), ctx));
    if (inputs.bias !== null) biases.push(inputs.bias.tensor);
    const allowed = attrs.int('unidirectional', 0) === 0 ? null : causalLimit(queries, keys);
    const { y } = attend(q, k, v, { scale: scaleOf(features, ctx), biases, allowed });
    return { y: fromHeads(y), present: ctx.wants(1) ? stack([k, v], 0) : null };
  });
  return [TensorValue.ofTensor(made.y, type), made.present === null ? null : TensorValue.ofTensor(made.present, type)];
}

function scaleOf(features: number, ctx: OpContext): number {
  const scale = ctx.attrs.float('scale', 0);
  return scale === 0 ? 1 / Math.sqrt(features) : scale;
}

const attention: OpFunction = (inputs, ctx) => {
  const [x, weights, bias] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), optionalTensorAt(inputs, 2, ctx)];
  const [mask, past, attentionBias] = [3, 4, 5].map((k) => optionalTensorAt(inputs, k, ctx));
  const projected = (): Tensor => {
    const product = matmul(x.tensor, weights.tensor);
    return bias === null ? product : add(product, bias.tensor);
  };
  return selfAttention(projected, { mask, past, bias: attentionBias }, x, ctx);
};

/** Input and weights are integers with a scale and a zero point each. */
const quantizedAttention: OpFunction = (inputs, ctx) => {
  const [x, weights, bias, xScale, wScale] = [0, 1, 2, 3, 4].map((k) => tensorAt(inputs, k, ctx));
  const [mask, xZero, wZero, past] = [5, 6, 7, 8].map((k) => optionalTensorAt(inputs, k, ctx));
  const projected = (): Tensor => {
    const left = dequantized(x.tensor, x.type, xScale.tensor, xZero === null ? null : xZero.tensor);
    const right = dequantized(weights.tensor, weights.type, wScale.tensor, wZero === null ? null : wZero.tensor);
    return add(matmul(left, right), bias.tensor);
  };
  return selfAttention(projected, { mask, past, bias: null }, bias, ctx);
};

/** Query, key and value from the forms in which they may come: apart, key and value packed, or all three packed. */
function projections(inputs: readonly (Value | null)[], heads: number, ctx: OpContext): Projected {
  const query = tensorAt(inputs, 0, ctx);
  const [key, value, bias] = [1, 2, 3].map((k) => optionalTensorAt(inputs, k, ctx));
  if (query.shape.length === 5) {
    const [q, k, v] = [0, 1, 2].map((i) => permute(query.tensor.select(3, i), [0, 2, 1, 3]));
    return { q, k, v };
  }
  const width = query.shape[2];
  const biases = bias === null ? null : split(bias.tensor, [width, width, bias.shape[0] - 2 * width], 0);
  const biased = (x: Tensor, i: number): Tensor => (biases === null || x.ndim !== 3 ? x : add(x, biases[i]));
  const q = toHeads(biased(query.tensor, 0), heads);
  if (key === null) return ctx.fail('there is no key', 'key and value, or packed projections');
  if (key.shape.length === 5) {
    const [k, v] = [0, 1].map((i) => permute(key.tensor.select(3, i), [0, 2, 1, 3]));
    return { q, k, v };
  }
  if (value === null) return ctx.fail('there is no value', 'key and value, or packed projections');
  return { q, k: toHeads(biased(key.tensor, 1), heads), v: toHeads(biased(value.tensor, 2), heads) };
}

const multiHeadAttention: OpFunction = (inputs, ctx) => {
  const { attrs } = ctx;
  const heads = attrs.int('num_heads');
  const { type } = tensorAt(inputs, 0, ctx);
  const [mask, attentionBias, pastKey, pastValue] = [4, 5, 6, 7].map((k) => optionalTensorAt(inputs, k, ctx));
  if (optionalTensorAt(inputs, 9, ctx) !== null) ctx.fail('cache_indirection', 'attention without beams');
  const made = scope(() => {
    const { q, k: kNew, v: vNew } = projections(inputs, heads, ctx);
    const k = joined(pastKey === null ? null : pastKey.tensor, kNew);
    const v = joined(pastValue === null ? null : pastValue.tensor, vNew);
    const [batch, , queries, features] = q.shape;
    const keys = k.shape[2];
    const biases: Tensor[] = [];
    if (mask !== null) biases.push(maskBias(mask, batch, keys, attrs.float('mask_filter_value', -10000), ctx));
    if (attentionBias !== null) biases.push(attentionBias.tensor);
    const allowed = attrs.int('unidirectional', 0) === 0 ? null : causalLimit(queries, keys);
    const { y, scores } = attend(q, k, v, { scale: scaleOf(features, ctx), biases, allowed });
    return { y: fromHeads(y), k, v, scores };
  });
  const results = [made.y, made.k, made.v, made.scores].map((t) => TensorValue.ofTensor(t, type));
  return results.map((result, i) => (i === 0 || ctx.wants(i) ? result : null));
};

/** Rotates pairs of features by angles given as cosines and sines [B, T, E / 2]; x is [B, heads, T, F] with F of at least E. */
function rotated(x: Tensor, cos: Tensor, sin: Tensor, interleaved: boolean): Tensor {
  const features = x.shape[3];
  const half = cos.shape[cos.ndim - 1];
  const turning = narrow(x, 3, 0, 2 * half);
  const [c, s] = [cos, sin].map((t) => unsqueeze(t, 1));
  const pairs = interleaved ? reshape(turning, [...turning.shape.slice(0, 3), half, 2]) : null;
  const [a, b] = pairs === null ? [narrow(turning, 3, 0, half), narrow(turning, 3, half, half)] : [pairs.select(4, 0), pairs.select(4, 1)];
  const [real, imaginary] = [sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s))];
  const turned = pairs === null ? concat([real, imaginary], 3) : reshape(stack([real, imaginary], 4), turning.shape);
  return features === 2 * half ? turned : concat([turned, narrow(x, 3, 2 * half, features - 2 * half)], 3);
}

const rotaryEmbedding: OpFunction = (inputs, ctx) => {
  const [x, ids, cos, sin] = [0, 1, 2, 3].map((k) => tensorAt(inputs, k, ctx));
  const { attrs } = ctx;
  if (attrs.int('is_packed_batching', 0) !== 0) ctx.fail('is_packed_batching', 'batches of equal lengths');
  const scale = attrs.float('scale', 1);
  const made = scope(() => {
    const given = attrs.int('num_heads', 0);
    const size = given > 0 ? x.shape[2] / given : 2 * cos.shape[1];
    const heads = x.shape.length === 4 ? x.shape[1] : x.shape[2] / size;
    const source = toHeads(x.tensor, heads);
    const [batch, , length] = source.shape;
    // One number is where the sequence starts.
    const rows =
      ids.shape.length === 1
        ? expand(add(reshape(ids.tensor, [1, 1]), arange(0, length, { dtype: 'int64' })), [batch, length])
        : expand(ids.tensor, [batch, length]);
    const [c, s] = [cos, sin].map((cache) => embedding(rows, cache.tensor));
    const turned = rotated(source, c, s, attrs.int('interleaved', 0) !== 0);
    const result = scale === 1 ? turned : mul(turned, scale);
    return x.shape.length === 4 ? result : fromHeads(result);
  });
  return TensorValue.ofTensor(made, x.type);
};

/** Query, key and value [B, heads, T, E] of a node that may have them packed in its first input. */
function groupedProjections(inputs: readonly (Value | null)[], heads: number, groups: number, ctx: OpContext): Projected {
  const query = tensorAt(inputs, 0, ctx);
  const [key, value] = [optionalTensorAt(inputs, 1, ctx), optionalTensorAt(inputs, 2, ctx)];
  if (key !== null && value !== null) {
    return { q: toHeads(query.tensor, heads), k: toHeads(key.tensor, groups), v: toHeads(value.tensor, groups) };
  }
  const size = query.shape[2] / (heads + 2 * groups);
  const [q, k, v] = split(query.tensor, [heads * size, groups * size, groups * size], 2);
  return { q: toHeads(q, heads), k: toHeads(k, groups), v: toHeads(v, groups) };
}

/** Writes new keys or values [B, groups, T, E] into a cache at the positions [B, 1, T, 1]. */
function written(cache: Tensor, fresh: Tensor, at: Tensor): Tensor {
  return scatter(cache, 2, cast(expand(at, fresh.shape), 'int64'), fresh);
}

const groupQueryAttention: OpFunction = (inputs, ctx) => {
  const { attrs } = ctx;
  const [heads, groups] = [attrs.int('num_heads'), attrs.int('kv_num_heads')];
  const { type } = tensorAt(inputs, 0, ctx);
  const [pastKey, pastValue] = [optionalTensorAt(inputs, 3, ctx), optionalTensorAt(inputs, 4, ctx)];
  const [lengths, total] = [tensorAt(inputs, 5, ctx), numbersOf(tensorAt(inputs, 6, ctx))[0]];
  const [cos, sin, ids, attentionBias, sink] = [7, 8, 9, 10, 11].map((k) => optionalTensorAt(inputs, k, ctx));
  for (const name of ['k_quant_type', 'v_quant_type'])
    if (attrs.string(name, 'NONE') !== 'NONE') ctx.fail(`${name} '${attrs.string(name)}'`, 'a cache of floats');
  if (attrs.int('sliding_window_cache', 0) !== 0) ctx.fail('sliding_window_cache', 'a cache of all positions');
  if (inputs.slice(14).some((value) => value !== null)) ctx.fail('inputs behind head_sink and the scales', 'none of them');
  const window = attrs.int('local_window_size', -1);
  const made = scope(() => {
    const { q: qRaw, k: kRaw, v: vNew } = groupedProjections(inputs, heads, groups, ctx);
    const [batch, , queries, features] = qRaw.shape;
    const past = pastKey === null ? 0 : pastKey.shape[2];
    const keys = Math.max(past, total);
    // A first prompt starts at 0 (shorter ones of a batch are padded behind), later steps follow what the cache holds.
    const ends = cast(reshape(lengths.tensor, [batch, 1, 1, 1]), 'int32');
    const isPrompt = queries === total;
    const starts = isPrompt ? mul(ends, 0) : sub(ends, queries - 1);
    const at = add(starts, positions(queries, [1, 1, queries, 1]));
    const turn = (x: Tensor): Tensor => {
      if (attrs.int('do_rotary', 0) === 0 || cos === null || sin === null) return x;
      const rows = ids === null ? reshape(at, [batch, queries]) : ids.tensor;
      return rotated(x, embedding(rows, cos.tensor), embedding(rows, sin.tensor), attrs.int('rotary_interleaved', 0) !== 0);
    };
    const [q, kNew] = [turn(qRaw), turn(kRaw)];
    const cache = (old: TensorValue | null, fresh: Tensor): Tensor => {
      if (old === null && queries === keys) return fresh;
      const base = old === null ? pad(mul(fresh, 0), [0, 0, 0, keys - queries]) : old.tensor;
      const missing = keys - base.shape[2];
      return written(missing > 0 ? pad(base, [0, 0, 0, missing]) : base, fresh, at);
    };
    const [k, v] = [cache(pastKey, kNew), cache(pastValue, vNew)];
    const key = positions(keys, [1, 1, 1, keys]);
    const upTo = attrs.int('causal', 1) === 0 ? le(key, ends) : le(key, at);
    const allowed = window < 0 ? upTo : logicalAnd(upTo, gt(key, sub(at, window)));
    const shared = (x: Tensor): Tensor => (groups === heads ? x : repeatInterleave(x, heads / groups, 1));
    const smooth = attrs.int('smooth_softmax', 0) !== 0;
    const drain = sink !== null ? reshape(sink.tensor, [heads, 1, 1]) : smooth ? mul(narrow(reshape(q, [-1]), 0, 0, 1), 0) : null;
    const biases = attentionBias === null ? [] : [attentionBias.tensor];
    const scale = scaleOf(features, ctx);
    const { y } = attend(q, shared(k), shared(v), { scale, biases, allowed, softcap: attrs.float('softcap', 0), sink: drain });
    return { y: fromHeads(y), k, v };
  });
  return [made.y, made.k, made.v].map((t) => TensorValue.ofTensor(t, type));
};

const embedLayerNormalization: OpFunction = (inputs, ctx) => {
  const ids = tensorAt(inputs, 0, ctx);
  const [segments, segmentTable, mask, positionIds] = [1, 4, 7, 8].map((k) => optionalTensorAt(inputs, k, ctx));
  const [words, places, gamma, beta] = [2, 3, 5, 6].map((k) => tensorAt(inputs, k, ctx));
  const made = scope(() => {
    const length = ids.shape[1];
    const position = positionIds === null ? narrow(places.tensor, 0, 0, length) : embedding(positionIds.tensor, places.tensor);
    const both = add(embedding(ids.tensor, words.tensor), position);
    const total = segments === null || segmentTable === null ? both : add(both, embedding(segments.tensor, segmentTable.tensor));
    const { y } = normalizedRows(total, gamma.tensor, beta.tensor, ctx.attrs.float('epsilon', 1e-12), true);
    const count = mask === null ? mul(narrow(ids.tensor, 1, 0, 1).reshape([-1]), 0) : sum(mask.tensor, 1);
    return { y, count: cast(count, 'int32'), total };
  });
  return [
    TensorValue.ofTensor(made.y, words.type),
    TensorValue.ofTensor(made.count, 'int32'),
    TensorValue.ofTensor(made.total, words.type),
  ];
};

export const microsoftAttentionOps = {
  Attention: attention,
  QAttention: quantizedAttention,
  MultiHeadAttention: multiHeadAttention,
  GroupQueryAttention: groupQueryAttention,
  RotaryEmbedding: rotaryEmbedding,
  EmbedLayerNormalization: embedLayerNormalization,
} satisfies OpTable;
