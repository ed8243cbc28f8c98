/** Attention. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, le, mul } from './binary.js';
import { dropout } from './dropout.js';
import { iotaAlong } from './iota.js';
import { matmul } from './matmul.js';
import { softmax } from './statistics.js';
import { where } from './ternary.js';
import { transpose } from './view.js';

export interface AttentionOptions {
  /** Broadcasts to [..., queries, keys]: bool (true takes part) or a float that is added to the scores. */
  readonly mask?: Tensor | null;
  /** Each query sees the keys up to its own position only. */
  readonly isCausal?: boolean;
  /** Factor of the scores; default 1 / sqrt(features). */
  readonly scale?: number;
  /** Share of the weights that is dropped. */
  readonly dropout?: number;
}

/**
 * `softmax(query @ key.T * scale + mask) @ value` (Vaswani et al., arXiv:1706.03762). query [..., T, E], key [..., S, E],
 * value [..., S, V]: [..., T, V]. Weights that the mask forbids are 0.
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  { mask = null, isCausal = false, scale, dropout: share = 0 }: AttentionOptions = {},
): Tensor {
  const features = query.shape[query.shape.length - 1];
  if (query.shape.length < 2 || key.shape.length < 2 || value.shape.length < 2 || features !== key.shape[key.shape.length - 1]) {
    throw new ShapeError(`query ${formatShape(query.shape)}, key ${formatShape(key.shape)} and value ${formatShape(value.shape)}`, {
      op: 'scaledDotProductAttention',
      received: [query.shape, key.shape, value.shape],
      expected: '[..., T, E], [..., S, E] and [..., S, V]',
    });
  }
  if (mask !== null && isCausal) {
    throw new ArgumentError('a mask together with isCausal', {
      op: 'scaledDotProductAttention',
      expected: 'one of both',
      fix: 'Put the causal limit into the mask (tril).',
    });
  }
  return composite('scaledDotProductAttention', () => {
    const raw = mul(matmul(query, transpose(key, -2, -1)), scale ?? 1 / Math.sqrt(features));
    const [queries, keys] = raw.shape.slice(-2);
    const allowed = isCausal ? le(iotaAlong(keys, 1, 2), iotaAlong(queries, 0, 2)) : mask?.dtype === 'bool' ? mask : null;
    const scores = allowed !== null ? where(allowed, raw, -Infinity) : mask === null ? raw : add(raw, mask);
    const weights = softmax(scores, -1);
    return matmul(share > 0 ? dropout(weights, share, true) : weights, value);
  });
}
