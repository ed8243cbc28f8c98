/** Where in a sequence something stands: added to it, turned into it, or as a bias of attention. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { add, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { empty, tensor } from '../ops/create.js';
import { dropout } from '../ops/dropout.js';
import { indexSelect } from '../ops/gather.js';
import { iota, iotaAlong } from '../ops/iota.js';
import { concat, stack } from '../ops/join.js';
import { abs, cos, exp, neg, sin } from '../ops/unary.js';
import { reshape } from '../ops/view.js';
import { narrow, select } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount } from './check.js';
import { normal } from './init.js';
import { buffer, Module, parameter } from './module.js';

/** Sines and cosines of each position [length, features] at wave lengths from 2 pi to 10000 * 2 pi (arXiv:1706.03762, 3.5). */
export function sinusoidalPositions(length: number, features: number, base = 10000): Tensor {
  checkCount('sinusoidalPositions', 'length', length);
  checkCount('sinusoidalPositions', 'features', features);
  return composite('sinusoidalPositions', () => {
    const pairs = Math.ceil(features / 2);
    const rates = exp(mul(iota(pairs, 'float32'), (-2 * Math.log(base)) / features));
    const angles = mul(reshape(iota(length, 'float32'), [length, 1]), rates);
    const both = reshape(stack([sin(angles), cos(angles)], 2), [length, 2 * pairs]);
    return features % 2 === 0 ? both : narrow(both, 1, 0, features);
  });
}

export interface PositionOptions {
  /** Longest sequence. Default 5000. */
  readonly maxLength?: number;
  /** Share of the sum that is dropped in training. */
  readonly dropout?: number;
  /** Sequences are [batch, steps, features]; else [steps, batch, features]. Default true. */
  readonly batchFirst?: boolean;
}

/** The rows of a table from `offset` on, shaped to be added to sequences. */
function positionsFor(op: string, table: Tensor, x: Tensor, batchFirst: boolean, offset: number | Tensor): Tensor {
  const axis = x.ndim - 2 - (batchFirst || x.ndim < 3 ? 0 : 1);
  const steps = x.shape[axis];
  const [limit, features] = table.shape;
  if (x.ndim < 2 || x.shape[x.ndim - 1] !== features || steps + (typeof offset === 'number' ? offset : 0) > limit) {
    throw new ShapeError(`a sequence of shape ${formatShape(x.shape)}`, {
      op,
      received: x.shape,
      expected: `${features} features and at most ${limit} steps`,
      fix: 'Give a larger maxLength.',
    });
  }
  const rows =
    typeof offset === 'number' ? narrow(table, 0, offset, steps) : indexSelect(table, 0, add(iota(steps), cast(offset, 'int32')));
  return axis === x.ndim - 2 ? rows : reshape(rows, [steps, 1, features]);
}

/** Adds sines and cosines of the position to [..., steps, features] (arXiv:1706.03762). */
export class SinusoidalPositionalEncoding extends Module<[x: Tensor, offset?: number | Tensor]> {
  /** [maxLength, features], computed and not part of the state. */
  table: Tensor;
  private readonly p: number;
  private readonly batchFirst: boolean;
  constructor(features: number, { maxLength = 5000, dropout: p = 0, batchFirst = true }: PositionOptions = {}) {
    super();
    this.table = buffer(sinusoidalPositions(maxLength, features), { persistent: false });
    this.p = p;
    this.batchFirst = batchFirst;
  }
  override forward(x: Tensor, offset: number | Tensor = 0): Tensor {
    return composite('SinusoidalPositionalEncoding', () =>
      dropout(add(x, positionsFor('SinusoidalPositionalEncoding', this.table, x, this.batchFirst, offset)), this.p, this.training),
    );
  }
}

/** Adds a learned vector for each position; weight [maxLength, features], normal with standard deviation 0.02. */
export class LearnedPositionalEncoding extends Module<[x: Tensor, offset?: number | Tensor]> {
  weight: Tensor;
  private readonly p: number;
  private readonly batchFirst: boolean;
  constructor(features: number, { maxLength = 5000, dropout: p = 0, batchFirst = true }: PositionOptions = {}) {
    super();
    checkCount('LearnedPositionalEncoding', 'maxLength', maxLength);
    checkCount('LearnedPositionalEncoding', 'features', features);
    this.weight = parameter(normal(empty([maxLength, features]), 0, 0.02));
    this.p = p;
    this.batchFirst = batchFirst;
  }
  override forward(x: Tensor, offset: number | Tensor = 0): Tensor {
    return composite('LearnedPositionalEncoding', () =>
      dropout(add(x, positionsFor('LearnedPositionalEncoding', this.weight, x, this.batchFirst, offset)), this.p, this.training),
    );
  }
}

export interface RotaryOptions {
  /** Default 10000. */
  readonly base?: number;
  /** Pairs are neighbours (as in the paper and GPT-J) instead of halves (as in GPT-NeoX and LLaMA). Default false. */
  readonly interleaved?: boolean;
  /** Stretches positions by this factor, for sequences longer than those of training (arXiv:2306.15595). Default 1. */
  readonly scaling?: number;
}

/** Angles [length, features / 2] by which rotary embeddings turn each pair of features, for positions from `offset` on. */
export function rotaryAngles(length: number, features: number, offset: number | Tensor = 0, options: RotaryOptions = {}): Tensor {
  const { base = 10000, scaling = 1 } = options;
  if (features % 2 !== 0)
    throw new ArgumentError(`${features} features`, { op: 'rotaryAngles', received: features, expected: 'an even number' });
  return composite('rotaryAngles', () => {
    const rates = exp(mul(iota(features / 2, 'float32'), (-2 * Math.log(base)) / features));
    const positions = add(iota(length, 'float32'), typeof offset === 'number' ? offset : cast(offset, 'float32'));
    return mul(reshape(mul(positions, 1 / scaling), [length, 1]), rates);
  });
}

/**
 * Turns pairs of the features of `x` [..., steps, features] by `angles` [steps, features / 2] (Su et al., arXiv:2104.09864):
 * products of queries and keys then depend on the difference of their positions.
 */
export function applyRotary(x: Tensor, angles: Tensor, { interleaved = false }: Pick<RotaryOptions, 'interleaved'> = {}): Tensor {
  const features = x.shape[x.ndim - 1];
  if (angles.shape[angles.ndim - 1] * 2 !== features || angles.shape[angles.ndim - 2] !== x.shape[x.ndim - 2]) {
    throw new ShapeError(`angles ${formatShape(angles.shape)} for ${formatShape(x.shape)}`, {
      op: 'applyRotary',
      received: [x.shape, angles.shape],
      expected: '[steps, features / 2]',
    });
  }
  return composite('applyRotary', () => {
    const [c, s] = [cast(cos(angles), x.dtype), cast(sin(angles), x.dtype)];
    const half = features / 2;
    if (interleaved) {
      const pairs = reshape(x, [...x.shape.slice(0, -1), half, 2]);
      const [a, b] = [select(pairs, -1, 0), select(pairs, -1, 1)];
      return reshape(stack([sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s))], -1), x.shape);
    }
    const [a, b] = [narrow(x, -1, 0, half), narrow(x, -1, half, half)];
    return concat([sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s))], -1);
  });
}

/**
 * Slopes of ALiBi for each head (Press et al., arXiv:2108.12409), as a mask to add to scores: [heads, queries, keys] with
 * -slope * distance. With `isCausal`, keys behind a query's own position get -infinity.
 */
export function alibiMask(
  heads: number,
  queries: number,
  keys: number,
  { isCausal = false }: { readonly isCausal?: boolean } = {},
): Tensor {
  checkCount('alibiMask', 'heads', heads);
  const powers = (n: number): number[] => Array.from({ length: n }, (_, i) => 2 ** ((-8 * (i + 1)) / n));
  const whole = 2 ** Math.floor(Math.log2(heads));
  // For a number of heads that is no power of two, the missing ones are every second of twice as many.
  const slopes = [...powers(whole), ...powers(2 * whole).filter((_, i) => i % 2 === 0)].slice(0, heads);
  return composite('alibiMask', () => {
    // The last query stands at the last key.
    const own = add(iotaAlong(queries, 1, 3, 'float32'), keys - queries);
    const distance = sub(iotaAlong(keys, 2, 3, 'float32'), own);
    const bias = mul(neg(abs(distance)), tensor(slopes, { shape: [heads, 1, 1] }));
    return isCausal ? bias.maskedFill(distance.gt(0), -Infinity) : bias;
  });
}
