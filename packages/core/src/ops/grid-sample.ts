/** Reading images at given positions, and the positions of affine maps (Jaderberg et al., "Spatial transformer networks"). */
import { ShapeError } from '../errors.js';
import { formatShape, type Shape, sizeOf } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, ge, le, logicalAnd, mul, sub } from './binary.js';
import { cast } from './cast.js';
import { hostConstant } from './fill.js';
import { gather } from './gather.js';
import { matmul } from './matmul.js';
import { clamp, where } from './ternary.js';
import { abs, floor, round } from './unary.js';
import { expand, reshape, transpose } from './view.js';
import { select } from './view-slice.js';

export interface GridSampleOptions {
  /** Default 'bilinear'; over three dimensions this is trilinear, and 'bicubic' tricubic. */
  readonly mode?: 'bilinear' | 'nearest' | 'bicubic';
  /** What lies outside: zeros (default), the border repeated, or the image mirrored. */
  readonly paddingMode?: 'zeros' | 'border' | 'reflection';
  /** Whether -1 and 1 are the centres of the outermost elements instead of their outer borders. */
  readonly alignCorners?: boolean;
}

/** Elements along one dimension: positions (whole numbers in a float tensor) and weights, null for 1. */
interface Tap {
  readonly at: Tensor;
  readonly weight: Tensor | null;
}

/** Mirrors at the borders: |x - low| folded into the range. */
function reflect(position: Tensor, size: number, align: boolean): Tensor {
  const [low, span] = align ? [0, size - 1] : [-0.5, size];
  if (span === 0) return mul(position, 0);
  const distance = abs(sub(position, low));
  const turns = floor(mul(distance, 1 / span));
  const extra = sub(distance, mul(turns, span));
  const odd = sub(turns, mul(floor(mul(turns, 0.5)), 2));
  return clamp(add(where(ge(odd, 1), sub(span, extra), extra), low), { min: 0, max: size - 1 });
}

/** Keys' cubic convolution kernel with a = -0.75, for taps at distances t + 1, t, 1 - t, 2 - t. */
function cubicWeights(t: Tensor): Tensor[] {
  const a = -0.75;
  const near = (x: Tensor): Tensor => add(mul(mul(sub(mul(x, a + 2), a + 3), x), x), 1);
  const far = (x: Tensor): Tensor => sub(mul(add(mul(sub(mul(x, a), 5 * a), x), 8 * a), x), 4 * a);
  const rest = sub(1, t);
  return [far(add(t, 1)), near(t), near(rest), far(add(rest, 1))];
}

function tapsOf(position: Tensor, mode: NonNullable<GridSampleOptions['mode']>): Tap[] {
  if (mode === 'nearest') return [{ at: round(position.detach()), weight: null }];
  const base = floor(position.detach());
  const t = sub(position, base);
  if (mode === 'bilinear')
    return [
      { at: base, weight: sub(1, t) },
      { at: add(base, 1), weight: t },
    ];
  return cubicWeights(t).map((weight, k) => ({ at: add(base, k - 1), weight }));
}

/**
 * Elements of x [N, C, H, W] at the positions of grid [N, H', W', 2], (x, y) with -1 and 1 at the borders: [N, C, H', W'].
 * Likewise x [N, C, D, H, W] with grid [N, D', H', W', 3], (x, y, z). Between elements it interpolates, with gradients towards
 * both.
 */
export function gridSample(
  x: Tensor,
  grid: Tensor,
  { mode = 'bilinear', paddingMode = 'zeros', alignCorners = false }: GridSampleOptions = {},
): Tensor {
  const op = 'gridSample';
  const n = x.shape.length - 2;
  if ((n !== 2 && n !== 3) || grid.shape.length !== n + 2 || grid.shape[0] !== x.shape[0] || grid.shape[n + 1] !== n) {
    throw new ShapeError(`an input of shape ${formatShape(x.shape)} and a grid of shape ${formatShape(grid.shape)}`, {
      op,
      received: [x.shape, grid.shape],
      expected: "[N, C, H, W] and [N, H', W', 2], or [N, C, D, H, W] and [N, D', H', W', 3]",
    });
  }
  return composite(op, () => {
    const [batch, channels, ...space] = x.shape;
    const wanted = grid.shape.slice(1, -1);
    const points = sizeOf(wanted);
    // Per spatial dimension in the order of the axes; the grid's components are in the opposite one.
    const taps = space.map((size, d) => {
      const unit = reshape(select(grid, n + 1, n - 1 - d), [batch, points]);
      const position = alignCorners ? mul(add(unit, 1), (size - 1) / 2) : sub(mul(add(unit, 1), size / 2), 0.5);
      // Bicubic places its taps first and moves each of them inside afterwards.
      const placed = mode === 'bicubic' ? position : inside(position, size, paddingMode, alignCorners);
      return tapsOf(placed, mode).map(({ at, weight }) =>
        mode === 'bicubic' ? { at: inside(at, size, paddingMode, alignCorners), weight } : { at, weight },
      );
    });
    const flat = reshape(x, [batch, channels, sizeOf(space)]);
    let total: Tensor | null = null;
    for (const choice of combinations(taps)) {
      const part = readTaps(flat, space, choice, [batch, channels, points]);
      total = total === null ? part : add(total, part);
    }
    return reshape(total ?? flat, [batch, channels, ...wanted]);
  });
}

function inside(position: Tensor, size: number, paddingMode: NonNullable<GridSampleOptions['paddingMode']>, align: boolean): Tensor {
  if (paddingMode === 'zeros') return position;
  return paddingMode === 'border' ? clamp(position, { min: 0, max: size - 1 }) : reflect(position, size, align);
}

/** One tap of each dimension, in every combination. */
function combinations(taps: readonly (readonly Tap[])[]): Tap[][] {
  return taps.reduce<Tap[][]>((all, along) => all.flatMap((chosen) => along.map((tap) => [...chosen, tap])), [[]]);
}

/** Elements of x [N, C, all] at one combination of taps, weighted; those outside count as 0. */
function readTaps(flat: Tensor, space: Shape, taps: readonly Tap[], [batch, channels, points]: readonly number[]): Tensor {
  let index: Tensor | null = null;
  let valid: Tensor | null = null;
  let weight: Tensor | null = null;
  taps.forEach((tap, d) => {
    const within = logicalAnd(ge(tap.at, 0), le(tap.at, space[d] - 1));
    valid = valid === null ? within : logicalAnd(valid, within);
    const at = cast(clamp(tap.at, { min: 0, max: space[d] - 1 }), 'int32');
    index = index === null ? at : add(mul(index, space[d]), at);
    if (tap.weight !== null) weight = weight === null ? tap.weight : mul(weight, tap.weight);
  });
  const spread = (t: Tensor): Tensor => expand(reshape(t, [batch, 1, points]), [batch, channels, points]);
  if (index === null || valid === null) return flat;
  const values = where(spread(valid), gather(flat, 2, spread(index)), 0);
  return weight === null ? values : mul(values, spread(weight));
}

/**
 * Positions for {@link gridSample} of affine maps theta [N, 2, 3] (or [N, 3, 4]) for results of shape `size` [N, C, H, W] (or
 * [N, C, D, H, W]): where each element of the result comes from.
 */
export function affineGrid(theta: Tensor, size: Shape, { alignCorners = false }: { readonly alignCorners?: boolean } = {}): Tensor {
  const n = size.length - 2;
  if ((n !== 2 && n !== 3) || theta.shape.length !== 3 || theta.shape[0] !== size[0] || theta.shape[1] !== n || theta.shape[2] !== n + 1) {
    throw new ShapeError(`maps of shape ${formatShape(theta.shape)} for a result of shape ${formatShape(size)}`, {
      op: 'affineGrid',
      received: [theta.shape, size],
      expected: '[N, 2, 3] and [N, C, H, W], or [N, 3, 4] and [N, C, D, H, W]',
    });
  }
  return composite('affineGrid', () => {
    const space = size.slice(2);
    const along = space.map((extent) =>
      Array.from({ length: extent }, (_, i) => {
        if (!alignCorners) return (2 * i + 1) / extent - 1;
        return extent === 1 ? 0 : (2 * i) / (extent - 1) - 1;
      }),
    );
    const points = sizeOf(space);
    const rows: number[] = [];
    for (let p = 0; p < points; p++) {
      const position: number[] = [];
      for (let d = n - 1, rest = p; d >= 0; d--) {
        position.push(along[d][rest % space[d]]);
        rest = Math.floor(rest / space[d]);
      }
      rows.push(...position, 1);
    }
    const base = hostConstant(rows, theta.dtype, [points, n + 1]);
    return reshape(matmul(expand(reshape(base, [1, points, n + 1]), [size[0], points, n + 1]), transpose(theta, 1, 2)), [
      size[0],
      ...space,
      n,
    ]);
  });
}
