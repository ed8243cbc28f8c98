/** How a tensor's elements lie in its storage. Pure functions over shapes and strides; all in elements, not bytes. */
import { ShapeError } from '../errors.js';

export type Shape = readonly number[];

/** Element [i0, i1, ...] lies at `offset + sum(i * stride)` of the storage. Strides may be 0 (expanded) or negative (flipped). */
export interface Layout {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Number of elements; 1 for a 0-d shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

export function shapesEqual(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Row-major strides. Axes of extent 0 count as 1, so strides stay meaningful for empty tensors. */
export function denseStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= Math.max(1, shape[i]);
  }
  return strides;
}

/** Row-major layout from the start of the storage. */
export function denseLayout(shape: Shape): Layout {
  return { shape, strides: denseStrides(shape), offset: 0 };
}

/** True when the elements lie in row-major order without holes (at any offset). Strides of extents below 2 do not matter. */
export function isDense(layout: { readonly shape: Shape; readonly strides: readonly number[] }): boolean {
  let stride = 1;
  for (let i = layout.shape.length - 1; i >= 0; i--) {
    const extent = layout.shape[i];
    if (extent === 0) return true;
    if (extent !== 1 && layout.strides[i] !== stride) return false;
    stride *= extent;
  }
  return true;
}

/** Resolves a possibly negative axis. @throws ShapeError when it is out of range. */
export function normalizeAxis(axis: number, rank: number, op: string): number {
  const bound = Math.max(1, rank);
  if (!Number.isInteger(axis) || axis < -bound || axis >= bound) {
    throw new ShapeError(`axis ${axis} does not exist in a tensor of ${rank} dimensions`, {
      op,
      received: axis,
      expected: `a whole number from ${-bound} to ${bound - 1}`,
    });
  }
  return axis < 0 ? axis + bound : axis;
}

/** Resolves a list of axes, without repetitions, ascending; undefined or null means all. */
export function normalizeAxes(axes: number | readonly number[] | null | undefined, rank: number, op: string): number[] {
  if (axes === undefined || axes === null) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === 'number' ? [axes] : axes).map((axis) => normalizeAxis(axis, rank, op));
  const unique = new Set(list);
  if (unique.size !== list.length) {
    throw new ShapeError(`axes [${list.join(', ')}] name one axis twice`, { op, received: axes, expected: 'each axis once' });
  }
  // A 0-d tensor accepts axis 0 and -1, as in PyTorch, and has no axes.
  return rank === 0 ? [] : [...unique].sort((a, b) => a - b);
}

/** NumPy broadcasting of two shapes. @throws ShapeError naming both. */
export function broadcastShapes(a: Shape, b: Shape, op: string): Shape {
  if (shapesEqual(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`, {
        op,
        received: [a, b],
        expected: 'equal extents from the right, or 1',
        fix: 'Reshape or unsqueeze one of them.',
      });
    }
    out[i] = x === 1 ? y : x;
  }
  return out;
}

/** The same elements read as `shape`, with stride 0 along broadcast axes. @throws ShapeError when it does not broadcast. */
export function expandLayout(layout: Layout, shape: Shape, op: string): Layout {
  if (shapesEqual(layout.shape, shape)) return layout;
  const lead = shape.length - layout.shape.length;
  const strides = new Array<number>(shape.length);
  for (let i = 0; i < shape.length; i++) {
    const extent = i < lead ? 1 : layout.shape[i - lead];
    if (i >= lead && extent === shape[i]) strides[i] = layout.strides[i - lead];
    else if (extent === 1) strides[i] = 0;
    else throw expandError(layout.shape, shape, op);
  }
  if (lead < 0) throw expandError(layout.shape, shape, op);
  return { shape, strides, offset: layout.offset };
}

function expandError(from: Shape, to: Shape, op: string): ShapeError {
  return new ShapeError(`shape ${formatShape(from)} does not expand to ${formatShape(to)}`, {
    op,
    received: from,
    expected: 'each extent equal, or 1 where it grows',
  });
}

export function permuteLayout(layout: Layout, axes: readonly number[]): Layout {
  return { shape: axes.map((a) => layout.shape[a]), strides: axes.map((a) => layout.strides[a]), offset: layout.offset };
}

/** Keeps `count` elements of `axis` from `start` on, `step` apart (a negative step walks backwards). */
export function sliceLayout(layout: Layout, axis: number, start: number, count: number, step: number): Layout {
  const shape = layout.shape.slice();
  const strides = layout.strides.slice();
  shape[axis] = count;
  strides[axis] = layout.strides[axis] * step;
  return { shape, strides, offset: layout.offset + (count > 0 ? start * layout.strides[axis] : 0) };
}

/** Removes `axis` at position `index`. */
export function selectLayout(layout: Layout, axis: number, index: number): Layout {
  return {
    shape: layout.shape.toSpliced(axis, 1),
    strides: layout.strides.toSpliced(axis, 1),
    offset: layout.offset + index * layout.strides[axis],
  };
}

/**
 * The layout of a reshape without a copy, or null when the elements of `shape` would not be evenly spaced.
 * `shape` has the same number of elements.
 */
export function reshapeLayout(layout: Layout, shape: Shape): Layout | null {
  if (isDense(layout)) return { shape, strides: denseStrides(shape), offset: layout.offset };
  // Groups of source axes that lie evenly are matched with groups of target axes of the same size.
  const source: { extent: number; stride: number }[] = [];
  for (let i = 0; i < layout.shape.length; i++) {
    const extent = layout.shape[i];
    if (extent === 1) continue;
    const last = source[source.length - 1];
    if (last && last.stride === extent * layout.strides[i]) {
      last.extent *= extent;
      last.stride = layout.strides[i];
    } else source.push({ extent, stride: layout.strides[i] });
  }
  const strides = new Array<number>(shape.length).fill(1);
  let axis = shape.length - 1;
  for (let k = source.length - 1; k >= 0; k--) {
    let { stride } = source[k];
    let left = source[k].extent;
    while (left > 1) {
      if (axis < 0) return null;
      const extent = shape[axis];
      if (extent !== 1) {
        if (left % extent !== 0) return null;
        left /= extent;
      }
      strides[axis] = stride;
      stride *= extent;
      axis--;
    }
  }
  return { shape, strides, offset: layout.offset };
}

/**
 * The layout, in the storage under `inner`, of the elements that `outer` picks from a dense array of `shape` which holds the
 * elements of `inner` in order; null when strides cannot say it.
 */
export function composeLayout(outer: Layout, shape: Shape, inner: Layout): Layout | null {
  const dense = denseStrides(shape);
  let offset = inner.offset;
  let rest = outer.offset;
  const low = shape.map((_, j) => {
    const digit = Math.floor(rest / dense[j]);
    rest -= digit * dense[j];
    offset += digit * inner.strides[j];
    return digit;
  });
  const high = low.slice();
  const strides = outer.shape.map((extent, i) => {
    const stride = outer.strides[i];
    if (extent <= 1 || stride === 0) return 0;
    // The axis must move along one axis of the array, in whole steps, without leaving it.
    const size = Math.abs(stride);
    for (let j = 0; j < shape.length; j++) {
      if (shape[j] === 1 || size % dense[j] !== 0) continue;
      const steps = (stride / dense[j]) * (extent - 1);
      const [from, to] = steps < 0 ? [low[j] + steps, high[j]] : [low[j], high[j] + steps];
      if (from < 0 || to >= shape[j]) continue;
      low[j] = from;
      high[j] = to;
      return (stride / dense[j]) * inner.strides[j];
    }
    return Number.NaN;
  });
  return strides.some(Number.isNaN) ? null : { shape: outer.shape, strides, offset };
}

/** `[2, 3]`, `[]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}
