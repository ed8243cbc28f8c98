/** Padding. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { apply1 } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Scalar } from './common.js';
import { operand } from './common.js';
import { computeType, primitive } from './define.js';
import { hostConstant } from './fill.js';
import { indexSelect } from './gather.js';
import { allOf } from './statements.js';

/** Elements added in front of and behind each axis; negative ones are cut off. */
type PadAttrs = { readonly low: readonly number[]; readonly high: readonly number[] };

/** Inputs: the tensor, and the value around it (0-d). */
const padPrimitive = primitive<PadAttrs>({
  name: 'pad',
  infer([x, value], { low, high }) {
    const shape = x.shape.map((extent, axis) => extent + low[axis] + high[axis]);
    if (shape.some((extent) => extent < 0) || value.shape.length !== 0) {
      throw new ShapeError(`${formatShape(x.shape)} cannot lose ${formatShape(low)} and ${formatShape(high)}`, {
        op: 'pad',
        received: x.shape,
        expected: 'to cut off at most what is there',
      });
    }
    return [{ dtype: x.dtype, shape }];
  },
  lowering: {
    kind: 'map',
    pointwise: false,
    element({ b, inputs, load }, indices, { low, high }) {
      const { shape } = inputs[0];
      const at = indices.map((i, axis) => b.sub(i, b.i32(low[axis])));
      const guard = allOf(
        b,
        at.flatMap((i, axis) => [
          low[axis] > 0 ? b.binary('le', b.i32(0), i) : undefined,
          high[axis] > 0 ? b.binary('lt', i, b.i32(shape[axis])) : undefined,
        ]),
      );
      const inside = load(0, at, guard);
      return [guard === undefined ? inside : b.select(guard, inside, b.cast(load(1, []), computeType(inputs[0].dtype)))];
    },
  },
  vjp: (ctx, [g]) => {
    if (g === null) return [null, null];
    const { low, high } = ctx.attrs;
    return [
      padBy(
        g,
        low.map((n) => -n),
        high.map((n) => -n),
        0,
      ),
      null,
    ];
  },
});

export const padPrimitives = [padPrimitive];

function padBy(x: Tensor, low: readonly number[], high: readonly number[], value: Scalar): Tensor {
  // A value of its own for -0, so that attributes stay comparable.
  const clean = (list: readonly number[]): number[] => list.map((n) => n + 0);
  return apply1(padPrimitive, [x, operand(value, x.dtype)], { low: clean(low), high: clean(high) });
}

export type PadMode = 'constant' | 'reflect' | 'replicate' | 'circular';
export interface PadOptions {
  readonly mode?: PadMode;
  /** What stands around the tensor in constant mode; default 0. */
  readonly value?: Scalar;
}

/** Source position of element i of a padded axis. */
function sourcePosition(i: number, size: number, mode: Exclude<PadMode, 'constant'>): number {
  switch (mode) {
    case 'reflect':
      return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
    case 'replicate':
      return Math.min(Math.max(i, 0), size - 1);
    case 'circular':
      return ((i % size) + size) % size;
    default:
      return mode satisfies never;
  }
}

/**
 * Adds elements around a tensor. `amounts` are pairs (in front, behind), the last axis first, as in PyTorch; negative ones cut.
 * reflect mirrors without repeating the border, replicate repeats the border, circular continues on the other side.
 * @throws ArgumentError for an odd number of amounts, or more than a mode can fill
 */
export function pad(x: Tensor, amounts: readonly number[], { mode = 'constant', value = 0 }: PadOptions = {}): Tensor {
  const rank = x.shape.length;
  if (amounts.length % 2 !== 0 || amounts.length > 2 * rank || amounts.some((n) => !Number.isInteger(n))) {
    throw new ArgumentError(`amounts [${amounts.join(', ')}] for ${rank} dimensions`, {
      op: 'pad',
      received: amounts,
      expected: 'two whole numbers a padded axis, the last axis first',
    });
  }
  const low = new Array<number>(rank).fill(0);
  const high = new Array<number>(rank).fill(0);
  for (let i = 0; i < amounts.length; i += 2) {
    low[rank - 1 - i / 2] = amounts[i];
    high[rank - 1 - i / 2] = amounts[i + 1];
  }
  if (mode === 'constant') return padBy(x, low, high, value);
  return composite('pad', () =>
    x.shape.reduce((current, size, axis) => {
      if (low[axis] === 0 && high[axis] === 0) return current;
      const limit = mode === 'reflect' ? size - 1 : mode === 'circular' ? size : Infinity;
      if (low[axis] > limit || high[axis] > limit || size === 0) {
        throw new ArgumentError(`${mode} padding of ${low[axis]} and ${high[axis]} for an axis of ${size} elements`, {
          op: 'pad',
          received: amounts,
          expected: `at most ${limit}`,
        });
      }
      const length = size + low[axis] + high[axis];
      if (length < 1)
        throw new ShapeError(`nothing is left of axis ${axis}`, { op: 'pad', received: amounts, expected: 'to cut off less' });
      const positions = Array.from({ length }, (_, i) => sourcePosition(i - low[axis], size, mode));
      return indexSelect(current, axis, hostConstant(positions, 'int32', [length]));
    }, x),
  );
}
