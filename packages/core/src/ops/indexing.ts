/** Indexing with numbers, slices, new axes, index tensors and masks. */
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { linkLike } from '../autograd/saved.js';
import { dtypeInfo } from '../dtype.js';
import { ArgumentError, AutogradError, DTypeError, ShapeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { broadcastShapes, formatShape, isDense, shapesEqual, sizeOf } from '../graph/layout.js';
import { createFromArray } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { add, lt, mul } from './binary.js';
import { cast, copy } from './cast.js';
import type { TensorOrScalar } from './common.js';
import { operand, stopGradient } from './common.js';
import { indexSelect } from './gather.js';
import { put } from './scatter.js';
import { nonzero } from './search.js';
import { clamp, where } from './ternary.js';
import { expand, movedim, permute, reshape, unsqueeze } from './view.js';
import type { SliceBounds } from './view-slice.js';
import { resolveSlice, select, takeSlice } from './view-slice.js';
import { assign, replaceView, writeInto } from './write-view.js';

/** A range of positions with Python's meaning; see {@link range}. */
export interface IndexRange {
  readonly start?: number | null;
  readonly stop?: number | null;
  readonly step?: number | null;
}
/** `':'`, `'1:3'`, `'::-1'`: Python's slices as text. */
export type IndexText = '...' | `${string}:${string}`;
export type IndexList = readonly (number | IndexList)[];
/**
 * One index. A number picks a position (negative: from the end) and drops the axis; a range or text like `'1:3'` keeps the
 * axis; `'...'` stands for all axes not named; null adds an axis of extent 1. A tensor or nested list of whole numbers picks
 * positions, a bool tensor picks where it is true (and takes as many axes as it has dimensions).
 */
export type IndexItem = number | IndexRange | IndexText | null | Tensor | IndexList;

/** A slice for {@link index}: `range(1, 4)` is `'1:4'`. */
export function range(start?: number | null, stop?: number | null, step?: number | null): IndexRange {
  return { start: start ?? null, stop: stop ?? null, step: step ?? null };
}

function parseText(text: string): SliceBounds {
  const parts = text.split(':').map((part) => part.trim());
  if (parts.length < 2 || parts.length > 3 || parts.some((part) => !/^([+-]?\d+)?$/.test(part))) {
    throw new ArgumentError(`index '${text}'`, { op: 'index', received: text, expected: "'start:stop:step' with whole numbers, or '...'" });
  }
  const [start, stop, step] = parts.map((part) => (part === '' ? null : Number(part)));
  return [start, stop, step ?? null];
}

/** Index tensors that meet an axis of a view, in order; basic indices are already applied to the view. */
interface Resolved {
  readonly view: Tensor;
  readonly advanced: readonly { readonly axis: number; readonly index: Tensor }[];
}

/** How many axes an item consumes. */
function axesOf(item: IndexItem): number {
  if (item === null || item === '...') return 0;
  return item instanceof Tensor && item.dtype === 'bool' ? item.shape.length : 1;
}

/** Applies numbers, ranges and new axes as views, and collects the index tensors. */
function resolve(x: Tensor, items: readonly IndexItem[]): Resolved {
  const used = items.reduce((sum: number, item) => sum + axesOf(item), 0);
  const ellipses = items.filter((item) => item === '...').length;
  if (used > x.shape.length || ellipses > 1) {
    throw new ShapeError(ellipses > 1 ? "more than one '...'" : `${used} indices for a tensor of ${x.shape.length} dimensions`, {
      op: 'index',
      received: items.length,
      expected: `at most ${x.shape.length} indices, and at most one '...'`,
    });
  }
  let view = x;
  let axis = 0;
  const advanced: { axis: number; index: Tensor }[] = [];
  for (const item of items) {
    if (item === '...') axis += x.shape.length - used;
    else if (item === null) view = unsqueeze(view, axis++);
    else if (typeof item === 'number') view = select(view, axis, item);
    else if (typeof item === 'string') view = sliceAt(view, axis++, parseText(item));
    else if (item instanceof Tensor) {
      for (const index of item.dtype === 'bool' ? maskIndices(item, view, axis) : [checkedIndex(item)])
        advanced.push({ axis: axis++, index });
    } else if (Array.isArray(item)) {
      advanced.push({ axis, index: listIndex(item as IndexList, view.shape[axis]) });
      axis++;
    } else {
      const { start, stop, step } = item as IndexRange;
      view = sliceAt(view, axis++, [start, stop, step]);
    }
  }
  return { view, advanced };
}

function sliceAt(x: Tensor, axis: number, bounds: SliceBounds): Tensor {
  return takeSlice(x, axis, resolveSlice(bounds, x.shape[axis], 'index'));
}

function checkedIndex(index: Tensor): Tensor {
  if (dtypeInfo[index.dtype].kind !== 'int') {
    throw new DTypeError(`an index tensor of ${index.dtype}`, {
      op: 'index',
      received: index.dtype,
      expected: 'whole numbers, or a bool mask',
      fix: "Convert it with to('int64').",
    });
  }
  return index;
}

/** A host list is checked against the axis. */
function listIndex(list: IndexList, extent: number): Tensor {
  const shape: number[] = [];
  for (let level: number | IndexList = list; Array.isArray(level); level = level[0]) shape.push(level.length);
  const flat = (list as readonly unknown[]).flat(Number.POSITIVE_INFINITY) as number[];
  if (flat.length !== sizeOf(shape))
    throw new ShapeError('a ragged list', { op: 'index', received: list, expected: 'nested lists of equal length' });
  for (const i of flat) {
    if (Number.isInteger(i) && i >= -extent && i < extent) continue;
    throw new ArgumentError(`index ${i} does not exist on an axis of ${extent} elements`, {
      op: 'index',
      received: i,
      expected: `whole numbers from ${-extent} to ${extent - 1}`,
    });
  }
  return createFromArray(flat, 'int64', shape);
}

/** Where a mask is true, as one index tensor for each of its axes. Reads the mask: not inside jit(). */
function maskIndices(mask: Tensor, view: Tensor, axis: number): Tensor[] {
  const part = view.shape.slice(axis, axis + mask.shape.length);
  if (!shapesEqual(mask.shape, part)) {
    throw new ShapeError(`a mask of shape ${formatShape(mask.shape)} for axes of extents ${formatShape(part)}`, {
      op: 'index',
      received: mask.shape,
      expected: 'the extents of the axes it selects from',
    });
  }
  const positions = nonzero(mask);
  return mask.shape.map((_, k) => select(positions, 1, k));
}

interface Plan {
  /** The view with the indexed axes in front, merged into one. */
  readonly rows: Tensor;
  /** Row numbers. */
  readonly index: Tensor;
  /** Shape that all index tensors broadcast to. */
  readonly indexShape: Shape;
  /** Where the index shape stands in the result. */
  readonly place: number;
}

/** Several index tensors as one index of rows. */
function planOf({ view, advanced }: Resolved): Plan {
  const axes = advanced.map(({ axis }) => axis);
  const extents = axes.map((axis) => view.shape[axis]);
  const indexShape = advanced.reduce<Shape>((shape, { index }) => broadcastShapes(shape, index.shape, 'index'), []);
  const rest = view.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  // Neighbouring index tensors put their axes where they stand; separated ones in front.
  const adjacent = axes.every((axis, k) => k === 0 || axis === axes[k - 1] + 1);
  const front = permute(view, [...axes, ...rest]);
  const rows = reshape(front, [sizeOf(extents), ...rest.map((axis) => view.shape[axis])]);
  let index: Tensor | null = null;
  advanced.forEach((entry, k) => {
    const extent = extents[k];
    const position = inBounds(entry.index, extent);
    index = index === null ? position : add(mul(index, extent), position);
  });
  const flat = index === null ? createFromArray([0], 'int64', []) : (index as Tensor);
  return { rows, index: reshape(expand(flat, indexShape), [sizeOf(indexShape)]), indexShape, place: adjacent ? axes[0] : 0 };
}

/** Negative positions counted from the end; what still lies outside is moved to the nearest end, so memory is never left. */
function inBounds(index: Tensor, extent: number): Tensor {
  const wide = dtypeInfo[index.dtype].bytes < 4 ? cast(index, 'int32') : index;
  return clamp(where(lt(wide, 0), add(wide, extent), wide), { min: 0, max: Math.max(0, extent - 1) });
}

/**
 * The part of `x` that the items name, in their order; axes without one are kept whole. Numbers, ranges and new axes alone
 * give a view; index tensors and masks give a copy, through which gradients flow.
 *
 * Index tensors broadcast with each other. Their axes stand where the first of them stands when they are neighbours (numbers
 * between them do not separate), else in front: PyTorch's rule. Positions beyond an axis are an error in host lists and
 * numbers; in index tensors they are moved to the nearest end, since checking would mean reading them.
 * @throws ShapeError, ArgumentError, DTypeError; TraceError for masks inside jit()
 */
export function index(x: Tensor, ...items: readonly IndexItem[]): Tensor {
  return composite('index', () => {
    const resolved = resolve(x, items);
    if (resolved.advanced.length === 0) return resolved.view === x ? reshape(x, x.shape) : resolved.view;
    const { rows, index: positions, indexShape, place } = planOf(resolved);
    const taken = indexSelect(rows, 0, positions);
    const shaped = reshape(taken, [...indexShape, ...rows.shape.slice(1)]);
    return moveFrontTo(shaped, indexShape.length, place);
  });
}

/** Moves the first `count` axes so that they begin at `place`. */
function moveFrontTo(x: Tensor, count: number, place: number): Tensor {
  if (place === 0 || count === 0) return x;
  const from = Array.from({ length: count }, (_, i) => i);
  return movedim(
    x,
    from,
    from.map((i) => i + place),
  );
}

/** The value with the dtype of the target, in the shape of the indexed part. */
function valueFor(x: Tensor, value: TensorOrScalar, shape: Shape): Tensor {
  const source = cast(operand(value, value instanceof Tensor ? value.dtype : x.dtype), x.dtype);
  const extra = source.shape.length - shape.length;
  const trimmed =
    extra > 0 && source.shape.slice(0, extra).every((extent) => extent === 1) ? reshape(source, source.shape.slice(extra)) : source;
  return expand(trimmed, shape);
}

export interface IndexPutOptions {
  /** Add to what is there; positions named several times add up. */
  readonly accumulate?: boolean;
}

/** A mask of all of `x` and one number need no reading: they work inside jit(). */
function asMask(x: Tensor, items: readonly IndexItem[], value: TensorOrScalar): Tensor | null {
  const [mask] = items;
  if (items.length !== 1 || !(mask instanceof Tensor) || mask.dtype !== 'bool' || mask.shape.length > x.shape.length) return null;
  if (value instanceof Tensor && sizeOf(value.shape) !== 1) return null;
  if (!shapesEqual(mask.shape, x.shape.slice(0, mask.shape.length))) return null;
  return reshape(mask, [...mask.shape, ...x.shape.slice(mask.shape.length).map(() => 1)]);
}

/**
 * A new tensor: `x` with the part that the items name replaced by `value` (broadcast to it), or with `accumulate` raised by
 * it. Of several values for one position the last stays. Gradients flow to both.
 */
export function indexPut(
  x: Tensor,
  items: readonly IndexItem[],
  value: TensorOrScalar,
  { accumulate = false }: IndexPutOptions = {},
): Tensor {
  return composite('indexPut', () => {
    const mask = asMask(x, items, value);
    if (mask !== null) {
      const filler = value instanceof Tensor ? reshape(cast(value, x.dtype), []) : value;
      return where(mask, accumulate ? add(x, filler) : filler, x);
    }
    const base = isDense(x) ? x : copy(x);
    const resolved = resolve(base, items);
    if (resolved.advanced.length === 0) {
      const { view } = resolved;
      const source = valueFor(x, value, view.shape);
      const layout = { shape: view.shape, strides: view.strides, offset: view.offset - base.offset };
      return replaceView(base, accumulate ? add(view, source) : source, layout);
    }
    const numbers = flatPositions(base, resolved);
    return put(base, reshape(numbers, [-1]), reshape(valueFor(x, value, numbers.shape), [-1]), { accumulate });
  });
}

/** For each element of the indexed part its number in the row-major order of `base`. */
function flatPositions(base: Tensor, { view, advanced }: Resolved): Tensor {
  // The same indexing applied to the numbers 0, 1, ... laid out like the base.
  return noGrad(() => {
    const wide = sizeOf(base.shape) >= 2 ** 31;
    const numbers = view.shape.reduce<Tensor>(
      (sum, extent, axis) => {
        const steps = Array.from({ length: extent }, (_, i) => i * view.strides[axis]);
        const along = view.shape.map((_, k) => (k === axis ? extent : 1));
        return add(sum, createFromArray(steps, wide ? 'int64' : 'int32', along));
      },
      createFromArray([view.offset - base.offset], wide ? 'int64' : 'int32', []),
    );
    const { rows, index: positions, indexShape, place } = planOf({ view: expand(numbers, view.shape), advanced });
    return moveFrontTo(reshape(indexSelect(rows, 0, positions), [...indexShape, ...rows.shape.slice(1)]), indexShape.length, place);
  });
}

/**
 * Overwrites the part of `x` that the items name, in place, with a tensor (broadcast to it) or number. Returns `x`.
 * An array is the list of items, so a list of positions goes inside one: `setIndex(x, [[0, 2]], 1)`.
 *
 * While gradients are recorded and `x` or `value` requires them, `x` becomes the result of the assignment: later uses see the
 * gradients of both. That needs a tensor that is no leaf requiring gradients, no view, and has no other handles.
 * @throws AutogradError where that is not so: use indexPut()
 */
export function setIndex(x: Tensor, items: IndexItem | readonly IndexItem[], value: TensorOrScalar): Tensor {
  const list = isItemList(items) ? items : [items];
  const recording = isGradEnabled() && (x.requiresGrad || (value instanceof Tensor && value.requiresGrad));
  if (recording) return rebind(x, list, value);
  noGrad(() => composite('set', () => writePart(x, list, value)));
  return x;
}

function isItemList(items: IndexItem | readonly IndexItem[]): items is readonly IndexItem[] {
  return Array.isArray(items);
}

function writePart(x: Tensor, items: readonly IndexItem[], value: TensorOrScalar): void {
  const resolved = asMask(x, items, value) === null ? resolve(x, items) : null;
  if (resolved !== null && resolved.advanced.length === 0) {
    writeInto(resolved.view, valueFor(x, value, resolved.view.shape));
  } else assign(x, indexPut(x, items, value));
}

/** In place, and on the tape: the handle takes the place of the new result. */
function rebind(x: Tensor, items: readonly IndexItem[], value: TensorOrScalar): Tensor {
  const whole = x.offset === 0 && isDense(x) && sizeOf(x.shape) === x.storage.length;
  const leaf = x.requiresGrad && x.gradFn === null;
  if (leaf || !whole || x.storage.shared) {
    const why = leaf
      ? 'the target is a leaf that requires gradients'
      : 'the memory of the target is shared with views or saved for a gradient';
    throw new AutogradError(`${why}, so the assignment cannot be recorded`, {
      op: 'set',
      received: x.shape,
      fix: 'Use indexPut(), which returns a new tensor, or noGrad() when no gradient is wanted.',
    });
  }
  composite('set', () => {
    const result = indexPut(x, items, value);
    noGrad(() => writeInto(x, stopGradient(result)));
    linkLike(x, result);
  });
  return x;
}
