/** Attention. */
import { ArgumentError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, type Shape } from '../graph/layout.js';
import { autocastDType, loweredAll, withAutocast } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type BlockOperands, blockwiseAttention } from './attention-blocks.js';
import { add, le, mul } from './binary.js';
import { broadcastTo } from './common.js';
import { dropout } from './dropout.js';
import { iotaAlong } from './iota.js';
import { matmul } from './matmul.js';
import { softmax } from './statistics.js';
import { where } from './ternary.js';
import { reshape, transpose, unsqueeze } from './view.js';

export interface AttentionOptions {
  /** Broadcasts to [..., queries, keys]: bool (true takes part) or a float that is added to the scores. */
  readonly mask?: Tensor | null;
  /** Each query sees the keys up to its own position only. */
  readonly isCausal?: boolean;
  /** Factor of the scores; default 1 / sqrt(features). */
  readonly scale?: number;
  /** Share of the weights that is dropped. */
  readonly dropout?: number;
  /** Key and value have fewer heads (axis -3) than the query: each serves as many query heads in a row (arXiv:2305.13245). */
  readonly enableGqa?: boolean;
  /**
   * `full` holds the scores of all queries and keys; `blockwise` never does, and computes them again for the gradient.
   * Default `auto`: blockwise for long sequences. Both give the same numbers but for rounding.
   */
  readonly algorithm?: 'auto' | 'full' | 'blockwise';
  /** Keys of a block. */
  readonly blockSize?: number;
}

const op = 'scaledDotProductAttention';

/**
 * Scores of one head from which on blocks are used. Measured forward and backward: there both ways take the same time, and
 * blocks a tenth of the memory; with a causal limit blocks leave out what nobody sees.
 */
const blockwiseFrom = 1024 * 1024;
const causalBlockwiseFrom = 512 * 512;
const defaultBlock = 128;

function checkShapes(query: Tensor, key: Tensor, value: Tensor): void {
  const features = query.shape[query.ndim - 1];
  const fits = query.ndim >= 2 && key.ndim >= 2 && value.ndim >= 2;
  if (fits && features === key.shape[key.ndim - 1] && key.shape[key.ndim - 2] === value.shape[value.ndim - 2]) return;
  throw new ShapeError(`query ${formatShape(query.shape)}, key ${formatShape(key.shape)} and value ${formatShape(value.shape)}`, {
    op,
    received: [query.shape, key.shape, value.shape],
    expected: '[..., T, E], [..., S, E] and [..., S, V]',
  });
}

/** Puts query heads that share a key head along an axis of their own: [..., groups, shared, T, E] and [..., groups, 1, S, E]. */
function grouped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | null): BlockOperands {
  const [heads, groups] = [query.shape[query.ndim - 3], key.shape[key.ndim - 3]];
  if (groups === undefined || heads % groups !== 0 || value.shape[value.ndim - 3] !== groups) {
    throw new ShapeError(`${heads} query heads on ${groups} key heads`, {
      op,
      received: [query.shape, key.shape, value.shape],
      expected: 'a number of query heads that is a multiple of the key heads',
    });
  }
  const split = (t: Tensor): Tensor => reshape(t, [...t.shape.slice(0, -3), groups, heads / groups, ...t.shape.slice(-2)]);
  const masked = mask === null || mask.ndim < 3 ? mask : mask.shape[mask.ndim - 3] === 1 ? unsqueeze(mask, -3) : split(mask);
  return { query: split(query), key: unsqueeze(key, -3), value: unsqueeze(value, -3), mask: masked };
}

/** All operands with the same number of axes. */
function sameRank({ query, key, value, mask }: BlockOperands): BlockOperands {
  const rank = Math.max(query.ndim, key.ndim, value.ndim, mask?.ndim ?? 0);
  const wide = (t: Tensor): Tensor => (t.ndim === rank ? t : reshape(t, [...new Array<number>(rank - t.ndim).fill(1), ...t.shape]));
  return { query: wide(query), key: wide(key), value: wide(value), mask: mask === null ? null : wide(mask) };
}

/** With the scores of all pairs. */
function fullAttention({ query, key, value, mask }: BlockOperands, isCausal: boolean, share: number, scale: number | null): Tensor {
  const product = matmul(query, transpose(key, -2, -1));
  const raw = scale === null ? product : mul(product, scale);
  const [queries, keys] = raw.shape.slice(-2);
  if (isCausal || mask?.dtype === 'bool') {
    const allowed = mask ?? le(iotaAlong(keys, 1, 2), iotaAlong(queries, 0, 2));
    // A row without keys has weights 0. Its scores are finite, so that no NaN comes of it.
    const weights = softmax(where(allowed, raw, query.dtype === 'float16' ? -6e4 : -1e30), -1);
    const certain = isCausal ? weights : where(allowed, weights, 0);
    return matmul(dropout(certain, share, share > 0), value);
  }
  const weights = softmax(mask === null ? raw : add(raw, mask), -1);
  return matmul(dropout(weights, share, share > 0), value);
}

/** Whether blocks can be used: leading axes of the query are those of the result, and the mask has no gradient. */
function prepared(operands: BlockOperands): BlockOperands | null {
  const same = sameRank(operands);
  const { query, key, value, mask } = same;
  if (mask?.requiresGrad) return null;
  const lead = [query, key, value, ...(mask === null ? [] : [mask])].map((t) => t.shape.slice(0, -2));
  const batch = lead.reduce<Shape>((a, b) => broadcastShapes(a, b, op), []);
  return { ...same, query: broadcastTo(query, [...batch, ...query.shape.slice(-2)]) };
}

/**
 * `softmax(query @ key.T * scale + mask) @ value` (Vaswani et al., arXiv:1706.03762). query [..., T, E], key [..., S, E],
 * value [..., S, V]: [..., T, V]. Weights that the mask forbids are 0, also where it forbids all keys.
 */
export function scaledDotProductAttention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions = {}): Tensor {
  if (autocastDType() !== null) {
    // A product as a whole: inside all is as for operands of the low dtype.
    const [q, k, v, low] = loweredAll([query, key, value, options.mask ?? null]);
    return withAutocast(null, () => scaledDotProductAttention(q, k, v, { ...options, mask: low }));
  }
  const { mask = null, isCausal = false, scale, dropout: share = 0, enableGqa = false, algorithm = 'auto' } = options;
  checkShapes(query, key, value);
  if (mask !== null && isCausal) {
    throw new ArgumentError('a mask together with isCausal', {
      op,
      expected: 'one of both',
      fix: 'Put the causal limit into the mask (tril).',
    });
  }
  const { blockSize = defaultBlock } = options;
  if (!Number.isInteger(blockSize) || blockSize < 1)
    throw new ArgumentError(`blockSize is ${blockSize}`, { op, received: blockSize, expected: 'a whole number, 1 or more' });
  return composite(op, () => {
    const factor = scale ?? 1 / Math.sqrt(query.shape[query.ndim - 1]);
    const operands = enableGqa ? grouped(query, key, value, mask) : { query, key, value, mask };
    const long = query.shape[query.ndim - 2] * key.shape[key.ndim - 2] >= (isCausal ? causalBlockwiseFrom : blockwiseFrom);
    const blocks = algorithm === 'full' || (algorithm === 'auto' && !long) ? null : prepared(operands);
    if (blocks === null && algorithm === 'blockwise')
      throw new ArgumentError('a mask that wants a gradient, and blocks', { op, fix: 'Leave algorithm out, or detach() the mask.' });
    const result =
      blocks === null
        ? fullAttention(operands, isCausal, share, factor)
        : blockwiseAttention(
            { ...blocks, query: mul(blocks.query, factor) },
            { isCausal, dropout: share, blockSize, plain: (o) => fullAttention(o, isCausal, share, null) },
          );
    return enableGqa ? reshape(result, [...query.shape.slice(0, -1), value.shape[value.ndim - 1]]) : result;
  });
}
