/** Attention and what belongs to it. */
import {
  add,
  arange,
  cast,
  concat,
  embedding,
  exp,
  expand,
  ge,
  le,
  logicalAnd,
  lt,
  matmul,
  mul,
  narrow,
  pad,
  permute,
  remainder,
  repeatInterleave,
  reshape,
  scaledDotProductAttention,
  scan,
  scatter,
  scope,
  select,
  softmax,
  stack,
  sub,
  sum,
  type Tensor,
  tanh,
  transpose,
  unsqueeze,
  where,
  zeros,
} from 'trireme';
import { elementTypeOf } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { axisOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { carrierOf, computed, constant, widened } from './tensors.js';

/** [B, T, heads * E] as [B, heads, T, E]; four dimensions stay as they are. */
function withHeads(x: Tensor, heads: number | undefined, name: string, ctx: OpContext): Tensor {
  if (x.ndim === 4) return x;
  if (heads === undefined) return ctx.fail(`${name} is missing`, `${name} with inputs of three dimensions`);
  const [batch, length, features] = x.shape;
  return permute(reshape(x, [batch, length, heads, features / heads]), [0, 2, 1, 3]);
}

/** [B, heads, T, E] as [B, T, heads * E]. */
function withoutHeads(x: Tensor): Tensor {
  const [batch, heads, length, features] = x.shape;
  return reshape(permute(x, [0, 2, 1, 3]), [batch, length, heads * features]);
}

/** Each key head as often as query heads share it. */
function repeatedHeads(x: Tensor, heads: number): Tensor {
  const times = heads / x.shape[1];
  return times === 1 ? x : repeatInterleave(x, times, 1);
}

/** What limits the keys a query sees. */
interface Limits {
  /** bool or float mask, as wide as the keys; null: none. */
  readonly mask: Tensor | null;
  readonly causal: boolean;
  /** Keys before and behind the own position; -1: all. */
  readonly left: number;
  readonly right: number;
  /** Keys in front of the first query: one number, or int [B, 1, 1, 1]. */
  readonly offset: number | Tensor;
  /** Keys that are no padding, int [B, 1, 1, 1]. */
  readonly valid: Tensor | null;
}

/** Where queries may see keys, bool and broadcastable to [B, heads, T, S]; null: everywhere. */
function allowedOf({ mask, causal, left, right, offset, valid }: Limits, queries: number, keys: number): Tensor | null {
  const key = reshape(arange(0, keys, { dtype: 'int32' }), [1, 1, 1, keys]);
  const parts: Tensor[] = [];
  if (mask?.dtype === 'bool') parts.push(mask);
  if (causal || left >= 0 || right >= 0) {
    const position = add(reshape(arange(0, queries, { dtype: 'int32' }), [1, 1, queries, 1]), offset);
    if (causal) parts.push(le(key, position));
    if (left >= 0) parts.push(ge(key, sub(position, left)));
    if (right >= 0) parts.push(le(key, add(position, right)));
  }
  if (valid !== null) parts.push(lt(key, valid));
  return parts.length === 0 ? null : parts.reduce((all, part) => logicalAnd(all, part));
}

/** The mask, where it is too narrow, continued with what forbids. */
function fullWidth(mask: Tensor | null, keys: number): Tensor | null {
  const missing = mask === null ? 0 : keys - mask.shape[mask.ndim - 1];
  if (mask === null || missing <= 0) return mask;
  return mask.dtype === 'bool' ? cast(pad(cast(mask, 'uint8'), [0, missing]), 'bool') : pad(mask, [0, missing], { value: -Infinity });
}

/** The softmax of scores with what is forbidden at 0, also in rows that forbid everything. */
function weightsOf(scores: Tensor, allowed: Tensor | null, bias: Tensor | null): Tensor {
  // A bias of -infinity forbids too. Scores of forbidden keys are finite, so that no NaN comes of them.
  const open = bias === null ? null : ge(bias, -3e38);
  const seen = open === null ? allowed : allowed === null ? open : logicalAnd(allowed, open);
  const biased = bias === null ? scores : add(scores, where(open ?? bias, bias, 0));
  if (seen === null) return softmax(biased, -1);
  return where(seen, softmax(where(seen, biased, biased.dtype === 'float16' ? -6e4 : -1e30), -1), 0);
}

/** What the fourth output shows: scores, scores after the soft cap, with the bias, or the weights. */
const outputModes = [0, 1, 2, 3];

const attention: OpFunction = (inputs, ctx) => {
  const { attrs } = ctx;
  const [qIn, kIn, vIn] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
  const maskIn = optionalTensorAt(inputs, 3, ctx);
  const pastKey = optionalTensorAt(inputs, 4, ctx);
  const pastValue = optionalTensorAt(inputs, 5, ctx);
  const lengths = optionalTensorAt(inputs, 6, ctx);
  if ((pastKey === null) !== (pastValue === null)) ctx.fail('one of past_key and past_value', 'both or none');
  const causal = attrs.int('is_causal', 0) !== 0;
  const [left, right] = [attrs.int('left_window_size', -1), attrs.int('right_window_size', -1)];
  const softcap = attrs.float('softcap', 0);
  const mode = attrs.int('qk_matmul_output_mode', 0);
  if (!outputModes.includes(mode)) ctx.fail(`qk_matmul_output_mode ${mode}`, '0, 1, 2 or 3');
  const precision = attrs.optionalInt('softmax_precision');
  const flat = qIn.shape.length === 3;

  const made = scope(() => {
    const q = withHeads(qIn.tensor, attrs.optionalInt('q_num_heads'), 'q_num_heads', ctx);
    const kNew = withHeads(kIn.tensor, attrs.optionalInt('kv_num_heads'), 'kv_num_heads', ctx);
    const vNew = withHeads(vIn.tensor, attrs.optionalInt('kv_num_heads'), 'kv_num_heads', ctx);
    const k = pastKey === null ? kNew : concat([pastKey.tensor, kNew], 2);
    const v = pastValue === null ? vNew : concat([pastValue.tensor, vNew], 2);
    const [batch, heads, queries, features] = q.shape;
    const keys = k.shape[2];
    const scale = attrs.optionalFloat('scale') ?? 1 / Math.sqrt(features);
    const mask = fullWidth(maskIn === null ? null : maskIn.tensor, keys);
    const valid = lengths === null ? null : cast(reshape(lengths.tensor, [batch, 1, 1, 1]), 'int32');
    const past = pastKey === null ? 0 : pastKey.shape[2];
    const offset = valid !== null && pastKey === null ? sub(valid, queries) : past;
    const windowed = left >= 0 || right >= 0;
    const plainCausal = causal && mask === null && valid === null && !windowed && past === 0;
    const allowed = plainCausal ? null : allowedOf({ mask, causal, left, right, offset, valid }, queries, keys);
    const bias = mask === null || mask.dtype === 'bool' ? null : mask;
    const simple = softcap === 0 && precision === undefined && !ctx.wants(3) && bias === null;
    const finish = (y: Tensor): Tensor => (flat ? withoutHeads(y) : y);
    const half = q.dtype === 'float16' || q.dtype === 'bfloat16';
    // Products of half precision may overflow: there the scale is put on both sides before, rounded as they are.
    const root = half ? cast(constant([Math.sqrt(scale)], 'float32', []), q.dtype) : Math.sqrt(scale);
    if (simple) {
      const shared = { enableGqa: heads !== k.shape[1], ...(plainCausal ? { isCausal: true } : { mask: allowed }) };
      const y = half
        ? scaledDotProductAttention(mul(q, root), mul(k, root), v, { ...shared, scale: 1 })
        : scaledDotProductAttention(q, k, v, { ...shared, scale });
      return [finish(y), k, v];
    }
    const seen = plainCausal ? allowedOf({ mask, causal, left, right, offset, valid }, queries, keys) : allowed;
    const raw = matmul(mul(q, root), transpose(mul(repeatedHeads(k, heads), root), 2, 3));
    const capped = softcap === 0 ? raw : mul(tanh(mul(raw, 1 / softcap)), softcap);
    const dtype =
      precision === undefined ? capped.dtype : carrierOf(elementTypeOf(precision) ?? ctx.fail('an unknown softmax_precision'), ctx);
    const weights = cast(weightsOf(cast(capped, dtype), seen, bias === null ? null : cast(bias, dtype)), q.dtype);
    const y = finish(matmul(weights, repeatedHeads(v, heads)));
    if (!ctx.wants(3)) return [y, k, v];
    const biased = (): Tensor => {
      const open = bias === null ? capped : add(capped, bias);
      return seen === null ? open : where(seen, open, -Infinity);
    };
    return [y, k, v, mode === 0 ? raw : mode === 1 ? capped : mode === 2 ? biased() : weights];
  });
  const types = [qIn.type, kIn.type, vIn.type, qIn.type];
  return made.slice(0, Math.max(1, ctx.outputCount)).map((t, k) => TensorValue.ofTensor(t, types[k]));
};

/** Attention whose scores and weights subgraphs may change (FlexAttention of ai.onnx.preview). */
const flexAttention: OpFunction = (inputs, ctx) => {
  const [q, k, v] = [0, 1, 2].map((i) => tensorAt(inputs, i, ctx));
  const heads = q.shape[1];
  const scale = ctx.attrs.optionalFloat('scale') ?? 1 / Math.sqrt(q.shape[3]);
  const precision = ctx.attrs.optionalInt('softmax_precision');
  const type = precision === undefined ? (q.type === 'float64' ? 'float64' : 'float32') : elementTypeOf(precision);
  if (type === undefined) return ctx.fail('an unknown softmax_precision');
  const modified = (name: string, t: Tensor): Tensor => {
    if (!ctx.attrs.has(name)) return t;
    const [out] = ctx.run(ctx.attrs.graph(name), [TensorValue.ofTensor(t, type)]);
    return out?.kind === 'tensor' ? out.tensor : ctx.fail(`${name} gives no tensor`);
  };
  const root = Math.sqrt(scale);
  const dtype = carrierOf(type, ctx);
  const raw = matmul(mul(q.tensor, root), transpose(mul(repeatedHeads(k.tensor, heads), root), 2, 3));
  const weights = modified('prob_mod', softmax(modified('score_mod', cast(raw, dtype)), -1));
  return computed(v.type, () => cast(matmul(weights, cast(repeatedHeads(v.tensor, heads), dtype)), v.tensor.dtype));
};

/** Rotates pairs of features by angles that grow with the position (Su et al., arXiv:2104.09864). */
const rotaryEmbedding: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const [cosCache, sinCache] = [tensorAt(inputs, 1, ctx), tensorAt(inputs, 2, ctx)];
  const positions = optionalTensorAt(inputs, 3, ctx);
  const interleaved = ctx.attrs.int('interleaved', 0) !== 0;
  const flat = x.shape.length === 3;
  return computed(x.type, () => {
    const heads = flat ? ctx.attrs.int('num_heads') : x.shape[1];
    const [batch, length] = flat ? x.shape : [x.shape[0], x.shape[2]];
    const size = flat ? x.shape[2] / heads : x.shape[3];
    const rotated = ctx.attrs.int('rotary_embedding_dim', 0) || size;
    // Heads stand where the layout of the input has them: [B, T, heads, E] or [B, heads, T, E].
    const full = flat ? reshape(x.tensor, [batch, length, heads, size]) : x.tensor;
    const headAxis = flat ? 2 : 1;
    const angles = (cache: TensorValue): Tensor => {
      const table = positions === null ? cache.tensor : embedding(positions.tensor, cache.tensor);
      return unsqueeze(table.ndim === 2 ? unsqueeze(table, 0) : table, headAxis);
    };
    const [c, s] = [angles(cosCache), angles(sinCache)];
    const half = rotated / 2;
    const part = (from: number, to: number): Tensor => narrow(full, 3, from, to - from);
    const pairs = interleaved ? reshape(part(0, rotated), [...full.shape.slice(0, 3), half, 2]) : null;
    const [a, b] = pairs === null ? [part(0, half), part(half, rotated)] : [select(pairs, 4, 0), select(pairs, 4, 1)];
    const [re, im] = [sub(mul(c, a), mul(s, b)), add(mul(s, a), mul(c, b))];
    const turned = interleaved ? reshape(stack([re, im], -1), [...full.shape.slice(0, 3), rotated]) : concat([re, im], 3);
    const whole = rotated === size ? turned : concat([turned, part(rotated, size)], 3);
    return reshape(whole, x.shape);
  });
};

/** Writes new entries of a cache along `axis` from where each sample of the batch stands; circular ones begin again in front. */
const tensorScatter: OpFunction = (inputs, ctx) => {
  const cache = tensorAt(inputs, 0, ctx);
  const update = tensorAt(inputs, 1, ctx);
  const starts = optionalTensorAt(inputs, 2, ctx);
  const mode = ctx.attrs.string('mode', 'linear');
  if (mode !== 'linear' && mode !== 'circular') ctx.fail(`mode ${mode}`, 'linear or circular');
  const rank = cache.shape.length;
  const axis = axisOf(ctx.attrs.int('axis', -2), rank, ctx);
  if (axis === 0) ctx.fail('axis 0', 'an axis behind that of the batch');
  return computed(cache.type, () => {
    const along = (n: number, at: number): number[] => cache.shape.map((_, d) => (d === at ? n : 1));
    const steps = reshape(arange(0, update.shape[axis], { dtype: 'int64' }), along(update.shape[axis], axis));
    const moved = starts === null ? steps : add(steps, reshape(cast(starts.tensor, 'int64'), along(cache.shape[0], 0)));
    const at = mode === 'circular' ? remainder(moved, cache.shape[axis]) : moved;
    return scatter(cache.tensor, axis, expand(at, update.shape), update.tensor);
  });
};

/** Recurrent attention with a state [d_k, d_v] a head; S' = e^g S + k v^T, with a correction of v in the delta rules. */
const linearAttention: OpFunction = (inputs, ctx) => {
  const [query, key, value] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
  const [past, decay, beta] = [3, 4, 5].map((k) => optionalTensorAt(inputs, k, ctx));
  const rule = ctx.attrs.string('update_rule', 'gated_delta');
  if (!['linear', 'gated', 'delta', 'gated_delta'].includes(rule)) ctx.fail(`update_rule ${rule}`, 'linear, gated, delta or gated_delta');
  const [gated, corrected] = [rule.startsWith('gated'), rule.endsWith('delta')];
  if (gated !== (decay !== null)) ctx.fail(`update_rule ${rule} ${decay === null ? 'without' : 'with'} decay`);
  if (corrected !== (beta !== null)) ctx.fail(`update_rule ${rule} ${beta === null ? 'without' : 'with'} beta`);
  const [heads, groups] = [ctx.attrs.int('q_num_heads'), ctx.attrs.int('kv_num_heads')];
  const [batch, length, width] = query.shape;
  const [dk, dv] = [width / heads, value.shape[2] / groups];
  const scale = ctx.attrs.float('scale', 0) || 1 / Math.sqrt(dk);
  const [y, state] = scope(() => {
    // Steps first, a row for each head: [T, B, groups, n].
    const steps = (t: TensorValue, parts: number): Tensor =>
      permute(reshape(widened(t.tensor), [batch, length, parts, t.shape[2] / parts]), [1, 0, 2, 3]);
    const q = reshape(mul(steps(query, heads), scale), [length, batch, groups, heads / groups, dk]);
    const extra = [...(decay === null ? [] : [exp(steps(decay, groups))]), ...(beta === null ? [] : [steps(beta, beta.shape[2])])];
    const first = past === null ? zeros([batch, groups, dk, dv], { dtype: q.dtype }) : widened(past.tensor);
    const { carry, outputs } = scan(
      ([before], [qt, kt, vt, ...rest]) =>
        scope(() => {
          const gate = gated ? rest[0] : null;
          const rate = corrected ? rest[rest.length - 1] : null;
          const kept = gate === null ? before : mul(before, unsqueeze(gate, -1));
          const column = unsqueeze(kt, -1);
          const held = rate === null ? vt : mul(rate, sub(vt, sum(mul(kept, column), 2)));
          const next = add(kept, mul(column, unsqueeze(held, -2)));
          return [[next], [matmul(qt, next)]] as const;
        }),
      [first],
      [q, steps(key, groups), steps(value, groups), ...extra],
    );
    const out = reshape(permute(outputs[0], [1, 0, 2, 3, 4]), [batch, length, heads * dv]);
    return [cast(out, query.tensor.dtype), cast(carry[0], (past ?? query).tensor.dtype)];
  });
  return [TensorValue.ofTensor(y, query.type), TensorValue.ofTensor(state, (past ?? query).type)].slice(0, Math.max(1, ctx.outputCount));
};

export const attentionOps = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
  TensorScatter: tensorScatter,
  LinearAttention: linearAttention,
} satisfies OpTable;

/** Domain ai.onnx.preview. */
export const previewOps = { FlexAttention: flexAttention } satisfies OpTable;
