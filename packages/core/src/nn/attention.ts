/** Attention with several heads. Keys of the state are those of PyTorch's MultiheadAttention. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { scaledDotProductAttention } from '../ops/attention.js';
import { add, le, mul } from '../ops/binary.js';
import { empty, zeros } from '../ops/create.js';
import { dropout } from '../ops/dropout.js';
import { iotaAlong } from '../ops/iota.js';
import { concat, repeatInterleave } from '../ops/join.js';
import { linear, matmul } from '../ops/matmul.js';
import { mean } from '../ops/reduce.js';
import { softmax } from '../ops/statistics.js';
import { where } from '../ops/ternary.js';
import { logicalNot } from '../ops/unary.js';
import { permute, reshape, transpose, unsqueeze } from '../ops/view.js';
import { narrow } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount } from './check.js';
import { constant, normal, xavierUniform } from './init.js';
import type { KVCache } from './kv-cache.js';
import { Linear } from './layers.js';
import { Module, parameter } from './module.js';
import { applyRotary, type RotaryOptions, rotaryAngles } from './rotary.js';

export interface MultiheadAttentionOptions {
  /** Share of the attention weights that is dropped in training. */
  readonly dropout?: number;
  /** Whether the projections have biases. Default true. */
  readonly bias?: boolean;
  /** Features of keys and values where they differ from embedDim. */
  readonly kdim?: number;
  readonly vdim?: number;
  /** Sequences are [batch, steps, features] instead of [steps, batch, features]. */
  readonly batchFirst?: boolean;
  /** Heads of keys and values, a divisor of numHeads; each serves several query heads (arXiv:2305.13245). Default numHeads. */
  readonly numKvHeads?: number;
  /** Turns queries and keys by their positions (arXiv:2104.09864). */
  readonly rotary?: boolean | RotaryOptions;
  /** Appends a learned key and value to each sequence. */
  readonly addBiasKv?: boolean;
  /** Appends a key and a value of 0 to each sequence. */
  readonly addZeroAttn?: boolean;
}

export interface AttentionCall {
  /** bool [batch, keys], true where a key is padding and takes no part; or a float that is added. */
  readonly keyPaddingMask?: Tensor | null;
  /** [queries, keys] or [batch * heads, queries, keys]: bool, true where attention is NOT allowed (as in PyTorch), or a float that is added. */
  readonly attnMask?: Tensor | null;
  /** Each query sees the keys up to its own position only. */
  readonly isCausal?: boolean;
  /** Whether to give the weights as well: then the scores of all pairs are held. Default false. */
  readonly needWeights?: boolean;
  /** The mean of the heads' weights instead of each. Default true. */
  readonly averageAttnWeights?: boolean;
  /** Keys and values of earlier steps: this call's are appended, and each query sees itself and what came before. */
  readonly cache?: KVCache | null;
}

/**
 * softmax(Q Kᵀ / sqrt(d)) V over several projections of query, key and value (Vaswani et al., arXiv:1706.03762). Gives
 * [output, weights or null]. Without key and value the query attends to itself.
 */
export class MultiheadAttention extends Module<
  [query: Tensor, key?: Tensor | null, value?: Tensor | null, options?: AttentionCall],
  readonly [Tensor, Tensor | null]
> {
  readonly embedDim: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly batchFirst: boolean;
  /** Projections of query, key and value, one below the other; null where kdim or vdim differ. */
  inProjWeight: Tensor | null;
  qProjWeight: Tensor | null;
  kProjWeight: Tensor | null;
  vProjWeight: Tensor | null;
  inProjBias: Tensor | null;
  biasK: Tensor | null;
  biasV: Tensor | null;
  readonly outProj: Linear;
  private readonly dropout: number;
  private readonly rotary: RotaryOptions | null;
  private readonly addZeroAttn: boolean;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    const op = 'MultiheadAttention';
    const { dropout: share = 0, bias = true, kdim = embedDim, vdim = embedDim, batchFirst = false, numKvHeads = numHeads } = options;
    checkCount(op, 'embedDim', embedDim);
    checkCount(op, 'numHeads', numHeads);
    checkCount(op, 'numKvHeads', numKvHeads);
    if (embedDim % numHeads !== 0 || numHeads % numKvHeads !== 0) {
      throw new ArgumentError(`${embedDim} features, ${numHeads} heads, ${numKvHeads} key heads`, {
        op,
        received: [embedDim, numHeads, numKvHeads],
        expected: 'heads that divide the features, and key heads that divide the heads',
      });
    }
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.numKvHeads = numKvHeads;
    this.headDim = embedDim / numHeads;
    this.batchFirst = batchFirst;
    this.dropout = share;
    this.rotary = options.rotary === true ? {} : options.rotary || null;
    this.addZeroAttn = options.addZeroAttn ?? false;
    const kv = this.headDim * numKvHeads;
    const make = (rows: number, columns: number): Tensor => parameter(xavierUniform(empty([rows, columns])));
    const packed = kdim === embedDim && vdim === embedDim;
    this.qProjWeight = packed ? null : make(embedDim, embedDim);
    this.kProjWeight = packed ? null : make(kv, kdim);
    this.vProjWeight = packed ? null : make(kv, vdim);
    this.inProjWeight = packed ? make(embedDim + 2 * kv, embedDim) : null;
    this.inProjBias = bias ? parameter(zeros([embedDim + 2 * kv])) : null;
    this.biasK = options.addBiasKv ? parameter(xavierNormalRow(kv)) : null;
    this.biasV = options.addBiasKv ? parameter(xavierNormalRow(kv)) : null;
    this.outProj = new Linear(embedDim, embedDim, { bias });
    if (this.outProj.bias !== null) constant(this.outProj.bias, 0);
  }

  override forward(
    query: Tensor,
    key: Tensor | null = null,
    value: Tensor | null = null,
    options: AttentionCall = {},
  ): readonly [Tensor, Tensor | null] {
    const [k, v] = [key ?? query, value ?? key ?? query];
    const alone = query.ndim === 2;
    this.checkInputs(query, k, v);
    const found = composite('MultiheadAttention', () => {
      const wide = (t: Tensor): Tensor => (alone ? unsqueeze(t, 0) : this.batchFirst ? t : transpose(t, 0, 1));
      const q = wide(query);
      const wideKey = k === query ? q : wide(k);
      const wideValue = v === k ? wideKey : v === query ? q : wide(v);
      const [out, weights] = this.attend(q, wideKey, wideValue, options);
      const back = alone ? out.select(0, 0) : this.batchFirst ? out : transpose(out, 0, 1);
      return weights === null ? [back] : [back, alone ? weights.select(0, 0) : weights];
    });
    return [found[0], found[1] ?? null];
  }

  private checkInputs(query: Tensor, key: Tensor, value: Tensor): void {
    const rank = query.ndim;
    if ((rank === 2 || rank === 3) && key.ndim === rank && value.ndim === rank && query.shape[rank - 1] === this.embedDim) return;
    throw new ShapeError(`query ${formatShape(query.shape)}, key ${formatShape(key.shape)} and value ${formatShape(value.shape)}`, {
      op: 'MultiheadAttention',
      received: [query.shape, key.shape, value.shape],
      expected: `${this.batchFirst ? '[batch, steps, ' : '[steps, batch, '}${this.embedDim}], or without the batch`,
    });
  }

  /** Queries, keys and values [batch, steps, features]. What is the same tensor is projected in one product. */
  private project(query: Tensor, key: Tensor, value: Tensor): readonly [Tensor, Tensor, Tensor] {
    const { inProjWeight: weight, inProjBias: bias, embedDim } = this;
    const kv = this.headDim * this.numKvHeads;
    const starts = [0, embedDim, embedDim + kv, embedDim + 2 * kv];
    if (weight === null) {
      const of = (x: Tensor, w: Tensor | null, k: number): Tensor =>
        linear(x, w as Tensor, bias === null ? null : narrow(bias, 0, starts[k], starts[k + 1] - starts[k]));
      return [of(query, this.qProjWeight, 0), of(key, this.kProjWeight, 1), of(value, this.vProjWeight, 2)];
    }
    const part = (x: Tensor, from: number, to: number): Tensor =>
      linear(
        x,
        narrow(weight, 0, starts[from], starts[to] - starts[from]),
        bias === null ? null : narrow(bias, 0, starts[from], starts[to] - starts[from]),
      );
    const cut = (x: Tensor, start: number, length: number): Tensor => narrow(x, 2, start, length);
    if (query === key && key === value) {
      const all = linear(query, weight, bias);
      return [cut(all, 0, embedDim), cut(all, embedDim, kv), cut(all, embedDim + kv, kv)];
    }
    if (key === value) {
      const both = part(key, 1, 3);
      return [part(query, 0, 1), cut(both, 0, kv), cut(both, kv, kv)];
    }
    return [part(query, 0, 1), part(key, 1, 2), part(value, 2, 3)];
  }

  /** [batch, steps, heads * d] as [batch, heads, steps, d]. */
  private heads(x: Tensor, count: number): Tensor {
    const [batch, steps] = x.shape;
    return permute(reshape(x, [batch, steps, count, this.headDim]), [0, 2, 1, 3]);
  }

  private attend(query: Tensor, key: Tensor, value: Tensor, options: AttentionCall): readonly [Tensor, Tensor | null] {
    const { numHeads, numKvHeads } = this;
    const { cache = null } = options;
    const [batch, steps] = query.shape;
    const [pq, pk, pv] = this.project(query, key, value);
    const append = (x: Tensor, own: Tensor | null): Tensor => {
      const zero = this.addZeroAttn ? [zeros([batch, 1, x.shape[2]], { dtype: x.dtype })] : [];
      const learned = own === null ? [] : [own.expand([batch, 1, x.shape[2]])];
      return learned.length + zero.length === 0 ? x : concat([x, ...learned, ...zero], 1);
    };
    let q = this.heads(pq, numHeads);
    let k = this.heads(append(pk, this.biasK), numKvHeads);
    let v = this.heads(append(pv, this.biasV), numKvHeads);
    if (this.rotary !== null) {
      const offset = cache?.length ?? 0;
      const turn = (x: Tensor): Tensor =>
        applyRotary(x, rotaryAngles(x.shape[2], this.headDim, offset, this.rotary ?? {}), this.rotary ?? {});
      q = turn(q);
      k = turn(k);
    }
    let mask: Tensor | null = null;
    let { isCausal = false } = options;
    if (cache !== null) {
      const held = cache.append(k, v);
      ({ keys: k, values: v, mask } = held);
      isCausal = false;
    }
    const given = this.maskOf(options, batch, k.shape[2], key.shape[1]);
    if (given !== null && isCausal) {
      mask = le(iotaAlong(k.shape[2], 1, 2), iotaAlong(steps, 0, 2));
      isCausal = false;
    }
    if (given !== null) mask = mask === null ? given : both(mask, given);
    const share = this.training ? this.dropout : 0;
    const settings = { mask, isCausal, dropout: share, enableGqa: numKvHeads !== numHeads };
    if (options.needWeights !== true) {
      const mixed = scaledDotProductAttention(q, k, v, settings);
      return [this.outProj.call(joined(mixed)), null];
    }
    const wide = (t: Tensor): Tensor => (numKvHeads === numHeads ? t : repeatInterleave(t, numHeads / numKvHeads, 1));
    const scores = matmul(mul(q, 1 / Math.sqrt(this.headDim)), transpose(wide(k), -2, -1));
    const allowed = isCausal ? le(iotaAlong(k.shape[2], 1, 2), iotaAlong(steps, 0, 2)) : mask;
    const limited = allowed === null ? scores : allowed.dtype === 'bool' ? where(allowed, scores, -Infinity) : add(scores, allowed);
    const weights = dropout(softmax(limited, -1), share, share > 0);
    const shown = options.averageAttnWeights === false ? weights : mean(weights, 1);
    return [this.outProj.call(joined(matmul(weights, wide(v)))), shown];
  }

  /** The masks of a call as one of [batch, heads, queries, keys]: bool (true takes part) or added. */
  private maskOf({ attnMask = null, keyPaddingMask = null }: AttentionCall, batch: number, keys: number, own: number): Tensor | null {
    // What was appended to the keys may always be seen; a cache is longer than this call's keys.
    const fit = (m: Tensor): Tensor => {
      const short = keys - m.shape[m.ndim - 1];
      const extra = keys - own;
      return short > 0 && short === extra ? concat([m, zeros([...m.shape.slice(0, -1), extra], { dtype: m.dtype })], -1) : m;
    };
    const turned = (m: Tensor): Tensor => (m.dtype === 'bool' ? logicalNot(m) : m);
    let mask: Tensor | null = null;
    if (attnMask !== null) {
      const fitted = turned(fit(attnMask));
      mask = fitted.ndim === 3 ? reshape(fitted, [batch, -1, ...fitted.shape.slice(1)]) : fitted;
    }
    if (keyPaddingMask !== null) {
      const fitted = turned(fit(keyPaddingMask.ndim === 1 ? unsqueeze(keyPaddingMask, 0) : keyPaddingMask));
      const padding = reshape(fitted, [fitted.shape[0], 1, 1, keys]);
      mask = mask === null ? padding : both(mask, padding);
    }
    return mask;
  }
}
/** The same class under the spelling most texts use. */
export { MultiheadAttention as MultiHeadAttention };

function xavierNormalRow(features: number): Tensor {
  return normal(empty([1, 1, features]), 0, Math.sqrt(2 / (features + features)));
}

/** [batch, heads, steps, d] as [batch, steps, heads * d]. */
function joined(x: Tensor): Tensor {
  const [batch, heads, steps, features] = x.shape;
  return reshape(permute(x, [0, 2, 1, 3]), [batch, steps, heads * features]);
}

/** Both masks at once. */
function both(a: Tensor, b: Tensor): Tensor {
  if (a.dtype === 'bool' && b.dtype === 'bool') return a.logicalAnd(b);
  if (a.dtype === 'bool') return where(a, b, -Infinity);
  return b.dtype === 'bool' ? where(b, a, -Infinity) : add(a, b);
}
