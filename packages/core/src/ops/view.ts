/** Views: other shapes over the same elements. None copies, except reshape of what does not lie evenly. */
import { ArgumentError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { expandLayout, formatShape, isDense, normalizeAxis, permuteLayout, reshapeLayout, shapesEqual, sizeOf } from '../graph/layout.js';
import { viewOf } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { copy } from './cast.js';
import { sumTo } from './reduce.js';

/** The tensor itself when its elements lie densely in row-major order, else a dense copy. */
export function contiguous(x: Tensor): Tensor {
  return isDense(x) ? x : copy(x);
}

/** A copy in new memory, through which gradients flow. */
export function clone(x: Tensor): Tensor {
  return copy(x);
}

/** Fills in one extent of -1. @throws ShapeError when the number of elements differs */
function resolveShape(x: Tensor, shape: Shape, op: string): Shape {
  const size = sizeOf(x.shape);
  const hole = shape.indexOf(-1);
  const bad = shape.some((extent, axis) => !Number.isInteger(extent) || extent < -1 || (extent === -1 && axis !== hole));
  let resolved = shape;
  if (!bad && hole >= 0) {
    const rest = -sizeOf(shape);
    resolved = shape.with(hole, rest === 0 ? 0 : size / rest);
  }
  if (bad || (hole >= 0 && sizeOf(shape) === 0) || !Number.isInteger(resolved[hole] ?? 0) || sizeOf(resolved) !== size) {
    throw new ShapeError(`${formatShape(x.shape)} (${size} elements) does not reshape to ${formatShape(shape)}`, {
      op,
      received: shape,
      expected: `whole numbers with product ${size}, at most one of them -1`,
    });
  }
  return resolved;
}

/** The elements in row-major order under another shape; one extent may be -1. A view where that is possible, else a copy. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const target = shape.includes(-1) || sizeOf(shape) !== sizeOf(x.shape) ? resolveShape(x, shape, 'reshape') : shape;
  const layout = reshapeLayout(x, target);
  if (layout === null) return reshape(copy(x), target);
  const from = x.shape;
  return viewOf(x, layout, 'reshape', (g) => reshape(g, from));
}

/** As {@link reshape}, but never a copy. @throws ShapeError when the elements do not lie evenly enough */
export function view(x: Tensor, shape: Shape): Tensor {
  const target = resolveShape(x, shape, 'view');
  if (reshapeLayout(x, target) === null) {
    throw new ShapeError(`${formatShape(x.shape)} with strides ${formatShape(x.strides)} is no view of shape ${formatShape(target)}`, {
      op: 'view',
      received: shape,
      expected: 'a shape whose elements lie evenly spaced',
      fix: 'Use reshape(), which copies where it has to.',
    });
  }
  return reshape(x, target);
}

/** Axis `i` of the result is axis `dims[i]` of `x`. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  const rank = x.shape.length;
  const axes = dims.map((axis) => normalizeAxis(axis, rank, 'permute'));
  if (axes.length !== rank || new Set(axes).size !== rank) {
    throw new ShapeError(`axes [${dims.join(', ')}] for ${rank} dimensions`, { op: 'permute', received: dims, expected: 'each axis once' });
  }
  const inverse = new Array<number>(rank);
  axes.forEach((axis, i) => {
    inverse[axis] = i;
  });
  return viewOf(x, permuteLayout(x, axes), 'permute', (g) => permute(g, inverse));
}

/** Exchanges two axes. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const rank = x.shape.length;
  const a = normalizeAxis(dim0, rank, 'transpose');
  const b = normalizeAxis(dim1, rank, 'transpose');
  if (rank === 0) return reshape(x, []);
  const axes = x.shape.map((_, i) => (i === a ? b : i === b ? a : i));
  return viewOf(x, permuteLayout(x, axes), 'transpose', (g) => transpose(g, a, b));
}

/** The transposed matrix; vectors and numbers as they are. @throws ShapeError above 2 dimensions */
export function t(x: Tensor): Tensor {
  if (x.shape.length > 2) {
    throw new ShapeError(`${formatShape(x.shape)} has ${x.shape.length} dimensions`, {
      op: 't',
      received: x.shape,
      expected: 'at most 2',
      fix: 'Use transpose(dim0, dim1) or permute(dims).',
    });
  }
  return x.shape.length === 2 ? transpose(x, 0, 1) : reshape(x, x.shape);
}

/** Moves axes to other places; the others keep their order. */
export function movedim(x: Tensor, source: number | readonly number[], destination: number | readonly number[]): Tensor {
  const rank = x.shape.length;
  const from = (typeof source === 'number' ? [source] : source).map((axis) => normalizeAxis(axis, rank, 'movedim'));
  const to = (typeof destination === 'number' ? [destination] : destination).map((axis) => normalizeAxis(axis, rank, 'movedim'));
  if (from.length !== to.length || new Set(from).size !== from.length || new Set(to).size !== to.length) {
    throw new ArgumentError(`from [${from.join(', ')}] to [${to.join(', ')}]`, {
      op: 'movedim',
      expected: 'as many targets as sources, each once',
    });
  }
  const rest = x.shape.map((_, i) => i).filter((i) => !from.includes(i));
  const axes = x.shape.map((_, i) => {
    const k = to.indexOf(i);
    return k >= 0 ? from[k] : (rest.shift() ?? 0);
  });
  return permute(x, axes);
}

/** Repeats axes of extent 1 without a copy, and adds axes in front; -1 keeps an extent. @throws ShapeError */
export function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.shape.length;
  const target = shape.includes(-1) ? shape.map((extent, i) => (extent === -1 && i >= lead ? x.shape[i - lead] : extent)) : shape;
  const layout = expandLayout(x, target, 'expand');
  if (layout === x) return x;
  const from = x.shape;
  return viewOf(x, layout, 'expand', (g) => sumTo(g, from));
}

/** {@link expand} under NumPy's name. */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return expand(x, shape);
}

/** {@link expand} to the shape of another tensor. */
export function expandAs(x: Tensor, other: Tensor): Tensor {
  return expand(x, other.shape);
}

/** Drops axes of extent 1: all of them, or those of `dim` that have it. */
export function squeeze(x: Tensor, dim?: number | readonly number[]): Tensor {
  const rank = x.shape.length;
  const chosen = dim === undefined ? null : (typeof dim === 'number' ? [dim] : dim).map((axis) => normalizeAxis(axis, rank, 'squeeze'));
  return dropAxes(
    x,
    x.shape.map((extent, axis) => extent === 1 && (chosen === null || chosen.includes(axis))),
    'squeeze',
  );
}

function dropAxes(x: Tensor, dropped: readonly boolean[], op: string): Tensor {
  const layout = {
    shape: x.shape.filter((_, axis) => !dropped[axis]),
    strides: x.strides.filter((_, axis) => !dropped[axis]),
    offset: x.offset,
  };
  const from = x.shape;
  return viewOf(x, layout, op, (g) => reshape(g, from));
}

/** A new axis of extent 1 before axis `dim` of the result. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const axis = normalizeAxis(dim, x.shape.length + 1, 'unsqueeze');
  const stride = axis < x.shape.length ? x.strides[axis] * x.shape[axis] : 1;
  const layout = { shape: x.shape.toSpliced(axis, 0, 1), strides: x.strides.toSpliced(axis, 0, stride), offset: x.offset };
  const from = x.shape;
  return viewOf(x, layout, 'unsqueeze', (g) => reshape(g, from));
}

/** Merges the axes from `startDim` to `endDim` into one. A number becomes a vector of one element. */
export function flatten(x: Tensor, startDim = 0, endDim = -1): Tensor {
  const rank = x.shape.length;
  const start = normalizeAxis(startDim, rank, 'flatten');
  const end = normalizeAxis(endDim, rank, 'flatten');
  if (start > end) {
    throw new ArgumentError(`startDim ${startDim} lies after endDim ${endDim}`, { op: 'flatten', expected: 'startDim <= endDim' });
  }
  if (rank === 0) return reshape(x, [1]);
  return reshape(x, [...x.shape.slice(0, start), sizeOf(x.shape.slice(start, end + 1)), ...x.shape.slice(end + 1)]);
}

/** Splits one axis into several; one of `sizes` may be -1. */
export function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  const axis = normalizeAxis(dim, x.shape.length, 'unflatten');
  const hole = sizes.indexOf(-1);
  const known = Math.abs(sizeOf(sizes));
  const resolved = hole < 0 ? sizes : sizes.with(hole, known === 0 ? 0 : x.shape[axis] / known);
  if (sizeOf(resolved) !== x.shape[axis] || resolved.some((extent) => !Number.isInteger(extent) || extent < 0)) {
    throw new ShapeError(`an axis of ${x.shape[axis]} elements does not split into ${formatShape(sizes)}`, {
      op: 'unflatten',
      received: sizes,
    });
  }
  return reshape(x, x.shape.toSpliced(axis, 1, ...resolved));
}

/** The tensor in the shape of another. */
export function reshapeAs(x: Tensor, other: Tensor): Tensor {
  return shapesEqual(x.shape, other.shape) ? x : reshape(x, other.shape);
}
