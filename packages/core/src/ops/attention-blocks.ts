/**
 * Attention without the matrix of all scores: keys come in blocks, and each row of the softmax is kept as its maximum and
 * its sum so far (Dao et al., "FlashAttention", arXiv:2205.14135). The backward pass computes the weights of each block
 * again from the logarithm of the sum. Memory grows with the length instead of its square.
 */
import { customFunction } from '../autograd/custom.js';
import { grad } from '../autograd/engine.js';
import { enableGrad, isGradEnabled } from '../autograd/mode.js';
import { AutogradError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { defaultGenerator } from '../tensor/generator.js';
import { composite, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, eq, ge, le, maximum, mul, sub } from './binary.js';
import { cast, copy } from './cast.js';
import { isHalf, widen } from './common.js';
import { scan } from './control.js';
import { full, zeros } from './create.js';
import { iota, iotaAlong } from './iota.js';
import { concat } from './join.js';
import { matmul } from './matmul.js';
import { rand } from './random.js';
import { amax, sum } from './reduce.js';
import { where } from './ternary.js';
import { exp, log } from './unary.js';
import { movedim, reshape, transpose } from './view.js';
import { narrow } from './view-slice.js';

/** Operands of one rank; leading axes are equal, or 1 in key and value where several queries share them. */
export interface BlockOperands {
  /** [..., T, E], times the scale of the scores. */
  readonly query: Tensor;
  /** [..., S, E]. */
  readonly key: Tensor;
  /** [..., S, V]. */
  readonly value: Tensor;
  /** bool (true takes part) or float (added), each axis equal or 1; without gradient. */
  readonly mask: Tensor | null;
}

interface BlockSettings {
  readonly isCausal: boolean;
  /** Share of the weights that is dropped. */
  readonly dropout: number;
  /** Keys of one block. */
  readonly blockSize: number;
  /** Attention from operations that record their gradient, for second derivatives. */
  readonly plain: (operands: BlockOperands) => Tensor;
}

/** Part of the queries that a causal limit lets see the same blocks of keys, at most this many parts. */
const causalParts = 8;
const smallestPart = 256;

interface Part {
  readonly start: number;
  readonly length: number;
  /** Keys that some query of the part sees. */
  readonly keys: number;
}

function partsOf(queries: number, keys: number, isCausal: boolean): Part[] {
  if (!isCausal) return [{ start: 0, length: queries, keys }];
  const size = Math.max(smallestPart, Math.ceil(queries / causalParts));
  const parts: Part[] = [];
  for (let start = 0; start < queries; start += size) {
    const length = Math.min(size, queries - start);
    parts.push({ start, length, keys: Math.min(keys, start + length) });
  }
  return parts;
}

const minus = -Infinity;

/** Walks the blocks of keys that a part of the queries sees. */
class Blocks {
  private readonly settings: BlockSettings;
  private readonly operands: BlockOperands;
  private readonly part: Part;
  private readonly rank: number;

  constructor(operands: BlockOperands, part: Part, settings: BlockSettings) {
    this.operands = operands;
    this.part = part;
    this.settings = settings;
    this.rank = operands.query.ndim;
  }

  /** [..., keys, F] as [blocks, ..., size, F], and what is left. */
  private split(x: Tensor, axis: number): { readonly blocks: Tensor | null; readonly rest: Tensor | null } {
    const { blockSize } = this.settings;
    const { keys } = this.part;
    const count = Math.floor(keys / blockSize);
    const at = axis < 0 ? axis + this.rank : axis;
    const whole = count * blockSize;
    const rest = whole < keys ? narrow(x, at, whole, keys - whole) : null;
    if (count === 0) return { blocks: null, rest };
    const some = narrow(x, at, 0, whole);
    const shape = [...some.shape.slice(0, at), count, blockSize, ...some.shape.slice(at + 1)];
    return { blocks: movedim(reshape(some, shape), at, 0), rest };
  }

  /** The mask's rows of this part. */
  private maskRows(): Tensor | null {
    const { mask } = this.operands;
    if (mask === null || mask.shape[this.rank - 2] === 1) return mask;
    return narrow(mask, this.rank - 2, this.part.start, this.part.length);
  }

  /**
   * Calls `step` for each block with the state, the block's number and key, value, mask and `more` (split along the keys'
   * axis -2); gives the last state and the outputs joined along axis -2.
   */
  fold(
    first: readonly Tensor[],
    step: (state: readonly Tensor[], block: Block) => readonly [readonly Tensor[], readonly Tensor[]],
  ): { readonly state: readonly Tensor[]; readonly outputs: Tensor[] } {
    const { key, value } = this.operands;
    const { blockSize } = this.settings;
    const rows = this.maskRows();
    const sliced = rows !== null && rows.shape[this.rank - 1] !== 1;
    const [keys, values] = [this.split(key, -2), this.split(value, -2)];
    const masks = sliced ? this.split(rows, -1) : null;
    const size = keys.blocks?.shape[0] ?? 0;
    let state = first;
    const outputs: Tensor[][] = [];
    if (keys.blocks !== null && values.blocks !== null) {
      // Counted from the part's first query, so that all parts run the same kernels.
      const starts = add(mul(iota(size), blockSize), -this.part.start);
      const xs = [keys.blocks, values.blocks, starts, ...(masks?.blocks ? [masks.blocks] : [])];
      const done = scan((carry, [k, v, start, m]) => scope(() => step(carry, { key: k, value: v, start, mask: m ?? rows })), state, xs);
      state = done.carry;
      // [blocks, ..., size, F] to [..., blocks * size, F].
      for (const out of done.outputs) {
        const joined = movedim(out, 0, this.rank - 2);
        outputs.push([reshape(joined, [...joined.shape.slice(0, this.rank - 2), size * blockSize, joined.shape[this.rank]])]);
      }
    }
    if (keys.rest !== null && values.rest !== null) {
      const start = full([], size * blockSize - this.part.start, { dtype: 'int32' });
      const [after, out] = step(state, { key: keys.rest, value: values.rest, start, mask: masks?.rest ?? rows });
      state = after;
      out.forEach((t, i) => {
        outputs[i] = [...(outputs[i] ?? []), t];
      });
    }
    return { state, outputs: outputs.map((list) => (list.length === 1 ? list[0] : concat(list, this.rank - 2))) };
  }

  /** Scores [..., rows, size] of a block, -infinity where the masks forbid. */
  scores(query: Tensor, { key, start, mask }: Block): Tensor {
    let scores = widen(matmul(query, transpose(key, -2, -1)));
    if (mask !== null) scores = mask.dtype === 'bool' ? where(mask, scores, minus) : add(scores, mask);
    if (!this.settings.isCausal) return scores;
    const [rows, size] = scores.shape.slice(-2);
    const position = add(iotaAlong(size, 1, 2), start);
    return where(le(position, iotaAlong(rows, 0, 2)), scores, minus);
  }

  /** 0 or 1 / (1 - p) for each weight of a block, null without dropout. */
  keep(shape: Shape, dtype: Tensor['dtype']): Tensor | null {
    const { dropout } = this.settings;
    if (dropout === 0) return null;
    return mul(cast(ge(rand(shape), dropout), dtype), dropout === 1 ? 0 : 1 / (1 - dropout));
  }
}

interface Block {
  readonly key: Tensor;
  readonly value: Tensor;
  /** Number of its first key, counted from the part's first query, 0-d. */
  readonly start: Tensor;
  readonly mask: Tensor | null;
}

/** Sums over blocks are kept in float32 where the operands are coarser. */
function wideType(x: Tensor): Tensor['dtype'] {
  return isHalf(x.dtype) ? 'float32' : x.dtype;
}

/** 0 in place of -infinity: rows that see no key have weights 0 and not NaN. */
function finite(x: Tensor): Tensor {
  return where(eq(x, minus), 0, x);
}

/** The rows of a part, in memory of their own where there are others: the kernels of all parts are the same then. */
function rowsOf(x: Tensor, part: Part): Tensor {
  const axis = x.ndim - 2;
  return x.shape[axis] === part.length ? x : copy(narrow(x, axis, part.start, part.length));
}

/** Result and the logarithm of the sum of exponentials of each row, for one part. */
function forwardPart(operands: BlockOperands, part: Part, settings: BlockSettings): readonly [Tensor, Tensor] {
  const blocks = new Blocks(operands, part, settings);
  const query = rowsOf(operands.query, part);
  const rows = query.shape.slice(0, -1);
  const dtype = wideType(query);
  const width = operands.value.shape[operands.value.ndim - 1];
  const first = [full([...rows, 1], minus, { dtype }), zeros([...rows, 1], { dtype }), zeros([...rows, width], { dtype })];
  const { state } = blocks.fold(first, ([highest, total, mixed], block) => {
    const scores = blocks.scores(query, block);
    const top = maximum(highest, amax(scores, -1, true));
    const base = finite(top);
    const weights = exp(sub(scores, base));
    const shrink = exp(sub(highest, base));
    const keep = blocks.keep(weights.shape, weights.dtype);
    const product = widen(matmul(cast(keep === null ? weights : mul(weights, keep), block.value.dtype), block.value));
    return [[top, add(mul(total, shrink), sum(weights, -1, true)), add(mul(mixed, shrink), product)], []];
  });
  const [top, total, mixed] = state;
  const nothing = eq(total, 0);
  return [cast(div(mixed, where(nothing, 1, total)), operands.value.dtype), where(nothing, minus, add(finite(top), log(total)))];
}

/** Gradients of query (this part), key and value (the keys of this part). */
function backwardPart(
  operands: BlockOperands,
  part: Part,
  settings: BlockSettings,
  result: Tensor,
  logSum: Tensor,
  gradient: Tensor,
): readonly [Tensor, Tensor, Tensor] {
  const blocks = new Blocks(operands, part, settings);
  const axis = operands.query.ndim - 2;
  const [query, out, g, sums] = [operands.query, result, gradient, logSum].map((t) => rowsOf(t, part));
  const base = copy(finite(sums));
  // What all weights of a row have in common in the gradient of the softmax: sum of dP * P = sum of dO * O.
  const common = sum(mul(widen(g), widen(out)), -1, true);
  const shared = (t: Tensor, like: Tensor): Tensor => {
    const axes = like.shape.flatMap((extent, i) => (extent === 1 && t.shape[i] !== 1 && i < axis ? [i] : []));
    return axes.length === 0 ? t : sum(t, axes, true);
  };
  const first = zeros(query.shape, { dtype: wideType(query) });
  const { state, outputs } = blocks.fold([first], ([soFar], block) => {
    const weights = exp(sub(blocks.scores(query, block), base));
    const keep = blocks.keep(weights.shape, weights.dtype);
    const kept = keep === null ? weights : mul(weights, keep);
    const raw = widen(matmul(g, transpose(block.value, -2, -1)));
    const dScores = cast(mul(weights, sub(keep === null ? raw : mul(raw, keep), common)), query.dtype);
    const dKey = cast(shared(matmul(transpose(dScores, -2, -1), query), block.key), block.key.dtype);
    const dValue = cast(shared(matmul(transpose(cast(kept, g.dtype), -2, -1), g), block.value), block.value.dtype);
    return [[add(soFar, widen(matmul(dScores, block.key)))], [dKey, dValue]];
  });
  return [cast(state[0], query.dtype), outputs[0], outputs[1]];
}

/** Adds a gradient of the first keys to one of at least as many. */
function addFirst(total: Tensor, part: Tensor, axis: number): Tensor {
  const [all, some] = [total.shape[axis], part.shape[axis]];
  if (all === some) return add(total, part);
  return concat([add(narrow(total, axis, 0, some), part), narrow(total, axis, some, all - some)], axis);
}

function forward(operands: BlockOperands, settings: BlockSettings): readonly [Tensor, Tensor] {
  const axis = operands.query.ndim - 2;
  const parts = partsOf(operands.query.shape[axis], operands.key.shape[axis], settings.isCausal);
  const made = parts.map((part) => composite('attention', () => forwardPart(operands, part, settings)));
  if (made.length === 1) return made[0];
  return [
    concat(
      made.map(([out]) => out),
      axis,
    ),
    concat(
      made.map(([, logSum]) => logSum),
      axis,
    ),
  ];
}

function backward(
  operands: BlockOperands,
  settings: BlockSettings,
  result: Tensor,
  logSum: Tensor,
  gradient: Tensor,
): readonly [Tensor, Tensor, Tensor] {
  const axis = operands.query.ndim - 2;
  const keys = operands.key.shape[axis];
  const parts = partsOf(operands.query.shape[axis], keys, settings.isCausal);
  const found = parts.map((part) => composite('attention', () => backwardPart(operands, part, settings, result, logSum, gradient)));
  const query =
    found.length === 1
      ? found[0][0]
      : concat(
          found.map(([q]) => q),
          axis,
        );
  const total = (which: 1 | 2): Tensor => {
    // Later parts see more keys; keys behind the last query are seen by none.
    const sums = found.map((f) => f[which]).reduceRight((all, one) => addFirst(all, one, axis));
    const missing = keys - sums.shape[axis];
    return missing === 0 ? sums : concat([sums, zeros(sums.shape.with(axis, missing), { dtype: sums.dtype })], axis);
  };
  return [query, total(1), total(2)];
}

/** softmax(query @ key.T + mask) @ value, block by block. */
export function blockwiseAttention(operands: BlockOperands, settings: BlockSettings): Tensor {
  const { query, key, value, mask } = operands;
  const wantsGrad = isGradEnabled() && [query, key, value].some((t) => t.requiresGrad);
  if (!wantsGrad) return composite('attention', () => forward(operands, settings)[0]);
  const { dropout } = settings;
  const named = ([q, k, v, m]: readonly Tensor[]): BlockOperands => ({ query: q, key: k, value: v, mask: m ?? null });
  const inputs = mask === null ? [query, key, value] : [query, key, value, mask];
  const attend = customFunction<Tensor[], Tensor>({
    name: 'scaledDotProductAttention',
    forward(ctx, ...list) {
      const random = dropout > 0 ? [defaultGenerator.snapshot()] : [];
      const [result, logSum] = forward(named(list), settings);
      ctx.saveForBackward(result, logSum, ...random, ...list);
      return result;
    },
    backward(ctx, g) {
      if (g === null) return inputs.map(() => null);
      const saved = ctx.savedTensors;
      const list = saved.slice(dropout > 0 ? 3 : 2);
      const rest = mask === null ? [] : [null];
      if (isGradEnabled()) {
        if (dropout > 0) {
          throw new AutogradError('a second derivative through blockwise attention with dropout', {
            op: 'scaledDotProductAttention',
            fix: "Pass { algorithm: 'full' }.",
          });
        }
        const wanted = list.filter((t) => t.requiresGrad);
        const out = enableGrad(() => settings.plain(named(list)));
        const found = grad([out], wanted, { gradOutputs: [g], createGraph: true, allowUnused: true, stopAtInputs: true });
        return list.map((t) => (t.requiresGrad ? found[wanted.indexOf(t)] : null));
      }
      if (dropout === 0) return [...backward(named(list), settings, saved[0], saved[1], g), ...rest];
      // The same random numbers as forward.
      const now = defaultGenerator.snapshot();
      defaultGenerator.restore(saved[2]);
      const found = backward(named(list), settings, saved[0], saved[1], g);
      defaultGenerator.restore(now);
      return [...found, ...rest];
    },
  });
  return attend(...inputs);
}
