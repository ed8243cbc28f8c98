/**
 * Strided views as steps that ONNX has: from the shape, strides and offset of a view to Reshape, Slice, Gather, Transpose and Expand.
 * Pure functions over numbers.
 */
import { denseStrides, isDense, type Layout, type Shape, sizeOf } from 'trireme/graph';

export type ViewStep =
  | { readonly kind: 'reshape'; readonly shape: Shape }
  /** `count` elements of `axis` from `start` on, `step` apart. */
  | { readonly kind: 'slice'; readonly axis: number; readonly start: number; readonly count: number; readonly step: number }
  /** Elements at `positions` (row-major, of `shape`), whose axes take the place of `axis`. */
  | { readonly kind: 'gather'; readonly axis: number; readonly positions: readonly number[]; readonly shape: Shape }
  | { readonly kind: 'transpose'; readonly permutation: readonly number[] }
  | { readonly kind: 'expand'; readonly shape: Shape };

/** A view that has to be listed element by element is refused above this many. */
const mostListed = 1 << 20;

/** One axis of the view along one axis of the base. */
interface Placed {
  readonly axis: number;
  readonly step: number;
}
interface BaseAxis {
  /** Position of the first element. */
  readonly start: number;
  readonly placed: Placed[];
}

const same = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((extent, i) => extent === b[i]);

/** Finds for each moving axis of the view the axis of the base that it walks along. */
function place(base: Shape, layout: Layout, moving: readonly number[]): BaseAxis[] | null {
  const strides = denseStrides(base);
  let rest = layout.offset;
  const axes: BaseAxis[] = base.map((_, j) => {
    const start = Math.floor(rest / strides[j]);
    rest -= start * strides[j];
    return { start, placed: [] };
  });
  if (axes.some(({ start }, j) => start >= base[j])) return null;
  /** Lowest and highest position along base axis j with one more axis on it. */
  const fits = (j: number, axis: number, step: number): boolean => {
    let [low, high] = [axes[j].start, axes[j].start];
    for (const p of [...axes[j].placed, { axis, step }]) {
      const reach = p.step * (layout.shape[p.axis] - 1);
      if (reach < 0) low += reach;
      else high += reach;
    }
    return low >= 0 && high < base[j];
  };
  for (const axis of moving) {
    const stride = layout.strides[axis];
    const candidates = base.flatMap((extent, j) =>
      extent > 1 && stride % strides[j] === 0 && fits(j, axis, stride / strides[j]) ? [{ j, step: stride / strides[j] }] : [],
    );
    // An axis of its own before one that it shares, and whole axes before every k-th element of one.
    const best =
      candidates.find(({ j, step }) => axes[j].placed.length === 0 && Math.abs(step) === 1) ??
      candidates.find(({ j }) => axes[j].placed.length === 0) ??
      candidates[0];
    if (best === undefined) return null;
    axes[best.j].placed.push({ axis, step: best.step });
  }
  return axes;
}

/** The shape whose dense strides are the given ones, null when they do not divide one another. */
function shapeOfStrides(total: number, strides: readonly number[]): number[] | null {
  const ordered = [...new Set([...strides, 1])].sort((a, b) => b - a);
  const shape: number[] = [];
  let above = total;
  for (const stride of ordered) {
    if (above % stride !== 0) return null;
    shape.push(above / stride);
    above = stride;
  }
  return shape;
}

/** Shapes of the base in which the view may be a simple one: as it is, then split where the view's axes begin. */
function bases(base: Shape, layout: Layout, moving: readonly number[]): Shape[] {
  const total = sizeOf(base);
  const own = denseStrides(base).filter((_, j) => base[j] > 1);
  const wanted = moving.map((axis) => Math.abs(layout.strides[axis]));
  const ends = moving.map((axis) => Math.abs(layout.strides[axis]) * layout.shape[axis]).filter((end) => end < total);
  return [
    base,
    shapeOfStrides(total, [...own, ...wanted]),
    shapeOfStrides(total, wanted),
    shapeOfStrides(total, [...wanted, ...ends]),
  ].filter((shape) => shape !== null);
}

function positionsOf(layout: Layout, axis: BaseAxis): { readonly positions: number[]; readonly shape: number[] } {
  const shape = axis.placed.map((p) => layout.shape[p.axis]);
  const positions = axis.placed.reduce<number[]>(
    (all, { axis: at, step }) => all.flatMap((from) => Array.from({ length: layout.shape[at] }, (_, i) => from + i * step)),
    [axis.start],
  );
  return { positions, shape };
}

function stepsFrom(from: Shape, base: Shape, layout: Layout, axes: readonly BaseAxis[], target: Shape): ViewStep[] {
  const steps: ViewStep[] = [];
  if (!same(from, base)) steps.push({ kind: 'reshape', shape: base });
  /** Axis of the view that each axis of the intermediate shows, -1 for one of extent 1. */
  const order: number[] = [];
  let shift = 0;
  axes.forEach((axis, j) => {
    const at = j + shift;
    if (axis.placed.length > 1) {
      steps.push({ kind: 'gather', axis: at, ...positionsOf(layout, axis) });
      shift += axis.placed.length - 1;
      order.push(...axis.placed.map((p) => p.axis));
      return;
    }
    const [placed] = axis.placed;
    const [count, step] = placed === undefined ? [1, 1] : [layout.shape[placed.axis], placed.step];
    if (count !== base[j] || step !== 1) steps.push({ kind: 'slice', axis: at, start: axis.start, count, step });
    order.push(placed === undefined ? -1 : placed.axis);
  });
  const shown = order.flatMap((axis, at) => (axis < 0 ? [] : [{ axis, at }]));
  const sorted = shown.toSorted((a, b) => a.axis - b.axis);
  let shape = order.map((axis) => (axis < 0 ? 1 : layout.shape[axis]));
  if (sorted.some((entry, i) => entry !== shown[i])) {
    // Where it has as many axes, the transposed shape is the view's own.
    let next = 0;
    const idle = order.flatMap((axis, at) => (axis < 0 ? [at] : []));
    const moved =
      idle.length + sorted.length === target.length ? target.map((extent) => (extent === 1 ? idle.shift() : sorted[next++]?.at)) : [];
    const whole = moved.length > 0 && moved.every((at) => at !== undefined) && next === sorted.length;
    const permutation = whole
      ? (moved as number[])
      : [...sorted.map(({ at }) => at), ...order.flatMap((axis, at) => (axis < 0 ? [at] : []))];
    steps.push({ kind: 'transpose', permutation });
    shape = permutation.map((at) => shape[at]);
  }
  if (!same(shape, target)) steps.push({ kind: 'reshape', shape: target });
  return steps;
}

/** All elements one by one. */
function listed(from: Shape, layout: Layout, target: Shape): ViewStep[] | null {
  if (sizeOf(target) > mostListed) return null;
  const positions = target.reduce<number[]>(
    (all, extent, axis) => all.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * layout.strides[axis])),
    [layout.offset],
  );
  const flat: ViewStep[] = from.length === 1 ? [] : [{ kind: 'reshape', shape: [sizeOf(from)] }];
  return [...flat, { kind: 'gather', axis: 0, positions, shape: target }];
}

/**
 * The steps from a dense array of shape `from` to the view that `layout` gives of its elements. Axes that repeat elements
 * (stride 0) stay at extent 1 with `broadcast`. null: too many elements that follow no rule.
 */
export function planView(from: Shape, layout: Layout, broadcast: boolean): readonly ViewStep[] | null {
  const target = layout.shape.map((extent, axis) => (extent > 1 && layout.strides[axis] === 0 ? 1 : extent));
  const steps = planTarget(from, { ...layout, shape: target }, target);
  if (steps === null || broadcast || same(target, layout.shape)) return steps;
  return [...steps, { kind: 'expand', shape: layout.shape }];
}

function planTarget(from: Shape, layout: Layout, target: Shape): ViewStep[] | null {
  if (isDense(layout) && layout.offset === 0 && sizeOf(target) === sizeOf(from)) {
    return same(from, target) ? [] : [{ kind: 'reshape', shape: target }];
  }
  if (sizeOf(target) === 0) return listed(from, layout, target);
  const moving = target.flatMap((extent, axis) => (extent > 1 ? [axis] : []));
  let shared: { readonly base: Shape; readonly axes: BaseAxis[] } | null = null;
  for (const base of bases(from, layout, moving)) {
    const axes = place(base, layout, moving);
    if (axes === null) continue;
    if (axes.every(({ placed }) => placed.length <= 1)) return stepsFrom(from, base, layout, axes, target);
    shared ??= { base, axes };
  }
  return shared === null ? listed(from, layout, target) : stepsFrom(from, shared.base, layout, shared.axes, target);
}

/** What NumPy broadcasting makes of a shape beside a larger one: leading extents of 1 say nothing. */
export function withoutLeadingOnes(shape: Shape): Shape {
  const first = shape.findIndex((extent) => extent !== 1);
  return first < 0 ? [] : shape.slice(first);
}
