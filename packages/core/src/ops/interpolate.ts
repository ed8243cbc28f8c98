/** Resizing images and signals, dimension by dimension: positions and weights are computed on the host, elements are gathered. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, mul } from './binary.js';
import { hostConstant } from './fill.js';
import { indexSelect } from './gather.js';

export type InterpolateMode = 'nearest' | 'nearest-exact' | 'linear' | 'bilinear' | 'bicubic' | 'trilinear';
export interface InterpolateOptions {
  /** Default 'nearest'. */
  readonly mode?: InterpolateMode;
  /** Extents of the result; or give scaleFactor. */
  readonly size?: number | readonly number[] | null;
  readonly scaleFactor?: number | readonly number[] | null;
  /** Whether the outermost elements, not the outer borders of both grids, fall on one another. */
  readonly alignCorners?: boolean | null;
  /** Take the scale from both sizes instead of from scaleFactor. */
  readonly recomputeScaleFactor?: boolean;
}

const dimensions: Record<InterpolateMode, readonly number[]> = {
  nearest: [1, 2, 3],
  'nearest-exact': [1, 2, 3],
  linear: [1],
  bilinear: [2],
  bicubic: [2],
  trilinear: [3],
};

interface Dimension {
  readonly from: number;
  readonly to: number;
  /** Step in the input for one step in the output, where corners are not aligned. */
  readonly step: number;
}
/** Elements to combine for each output position: one list of positions and weights a tap. */
interface Tap {
  readonly positions: number[];
  readonly weights: number[];
}

const clamp = (i: number, size: number): number => Math.min(Math.max(i, 0), size - 1);

function nearestTap({ from, to, step }: Dimension, exact: boolean): Tap {
  // Positions are computed in float32, as PyTorch does: at .5 the rounding decides.
  const scale = Math.fround(step);
  const positions = Array.from({ length: to }, (_, i) =>
    clamp(Math.floor(exact ? Math.fround(Math.fround(i + 0.5) * scale) : Math.fround(i * scale)), from),
  );
  return { positions, weights: new Array<number>(to).fill(1) };
}

function sourceOf(i: number, { from, to, step }: Dimension, align: boolean): number {
  if (align) return to > 1 ? (i * (from - 1)) / (to - 1) : 0;
  return (i + 0.5) * step - 0.5;
}

function linearTaps(d: Dimension, align: boolean): Tap[] {
  const low: Tap = { positions: [], weights: [] };
  const high: Tap = { positions: [], weights: [] };
  for (let i = 0; i < d.to; i++) {
    const source = Math.max(0, sourceOf(i, d, align));
    const floor = clamp(Math.floor(source), d.from);
    const share = Math.min(1, source - floor);
    low.positions.push(floor);
    low.weights.push(1 - share);
    high.positions.push(clamp(floor + 1, d.from));
    high.weights.push(share);
  }
  return [low, high];
}

/** Keys' cubic convolution kernel (1981) with a = -0.75. */
function cubicWeight(distance: number): number {
  const a = -0.75;
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}
function cubicTaps(d: Dimension, align: boolean): Tap[] {
  const taps: Tap[] = Array.from({ length: 4 }, () => ({ positions: [], weights: [] }));
  for (let i = 0; i < d.to; i++) {
    const source = sourceOf(i, d, align);
    const floor = Math.floor(source);
    taps.forEach((tap, k) => {
      tap.positions.push(clamp(floor + k - 1, d.from));
      tap.weights.push(cubicWeight(source - (floor + k - 1)));
    });
  }
  return taps;
}

function tapsOf(mode: InterpolateMode, d: Dimension, align: boolean): Tap[] {
  switch (mode) {
    case 'nearest':
    case 'nearest-exact':
      return [nearestTap(d, mode === 'nearest-exact')];
    case 'linear':
    case 'bilinear':
    case 'trilinear':
      return linearTaps(d, align);
    case 'bicubic':
      return cubicTaps(d, align);
    default:
      return mode satisfies never;
  }
}

function combine(x: Tensor, axis: number, taps: readonly Tap[]): Tensor {
  let sum: Tensor | null = null;
  for (const { positions, weights } of taps) {
    const part = indexSelect(x, axis, hostConstant(positions, 'int32', [positions.length]));
    const shape = x.shape.map((_, i) => (i === axis ? weights.length : 1));
    const weighted = taps.length === 1 ? part : mul(part, hostConstant(weights, x.dtype, shape));
    sum = sum === null ? weighted : add(sum, weighted);
  }
  return sum ?? x;
}

/**
 * Resizes x [N, C, ...space] to `size`, or by `scaleFactor`. linear, bilinear and trilinear take the two neighbours along each
 * dimension, bicubic the four; nearest takes the one at the floor of the position, nearest-exact the one whose centre is nearest.
 */
export function interpolate(
  x: Tensor,
  { mode = 'nearest', size = null, scaleFactor = null, alignCorners = null, recomputeScaleFactor = false }: InterpolateOptions = {},
): Tensor {
  const n = x.shape.length - 2;
  if (!dimensions[mode].includes(n)) {
    throw new ShapeError(`mode '${mode}' for an input of shape ${formatShape(x.shape)}`, {
      op: 'interpolate',
      received: x.shape,
      expected: `[batch, channels] and ${dimensions[mode].join(' or ')} spatial extents`,
    });
  }
  if ((size === null) === (scaleFactor === null)) {
    throw new ArgumentError('size and scaleFactor', { op: 'interpolate', received: { size, scaleFactor }, expected: 'one of both' });
  }
  if (alignCorners !== null && mode.startsWith('nearest')) {
    throw new ArgumentError(`alignCorners with mode '${mode}'`, {
      op: 'interpolate',
      expected: 'it only with linear, bilinear, trilinear and bicubic',
    });
  }
  const spatial = x.shape.slice(2);
  const each = (value: number | readonly number[]): number[] => (typeof value === 'number' ? spatial.map(() => value) : [...value]);
  const scales = scaleFactor === null ? null : each(scaleFactor);
  const target = size === null ? spatial.map((extent, d) => Math.floor(extent * (scales?.[d] ?? 1))) : each(size);
  if (target.length !== n || target.some((extent) => !Number.isInteger(extent) || extent < 1) || spatial.some((extent) => extent < 1)) {
    throw new ArgumentError(`from ${formatShape(spatial)} to ${formatShape(target)}`, {
      op: 'interpolate',
      received: { size, scaleFactor },
      expected: `${n} extents from 1 on`,
    });
  }
  return composite('interpolate', () => {
    // A step of 1 along one dimension needs no work there, but the result is always new.
    return spatial.reduce((current, from, d) => {
      const to = target[d];
      const step = scales === null || recomputeScaleFactor ? from / to : 1 / scales[d];
      return combine(current, d + 2, tapsOf(mode, { from, to, step }, alignCorners ?? false));
    }, x);
  });
}
