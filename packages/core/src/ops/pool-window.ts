/** Windows that slide over spatial dimensions: which elements one covers, and which windows cover an element. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import type { Expr, ExprBuilder } from '../ir/expr.js';
import { allOf } from './statements.js';

/** One spatial dimension. Adaptive windows split the input evenly: [floor(o size / count), ceil((o + 1) size / count)). */
export type Window = {
  readonly size: number;
  readonly count: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly adaptive: boolean;
};

/** A position along one dimension, with the condition under which it exists (undefined: always). */
interface Place {
  readonly at: Expr;
  readonly guard: Expr | undefined;
}

function adaptiveStart(b: ExprBuilder, w: Window, o: Expr): Expr {
  return b.binary('div', b.mul(o, b.i32(w.size)), b.i32(w.count));
}
function adaptiveEnd(b: ExprBuilder, w: Window, o: Expr): Expr {
  return b.binary('div', b.add(b.mul(b.add(o, b.i32(1)), b.i32(w.size)), b.i32(w.count - 1)), b.i32(w.count));
}
const reach = (w: Window): number => w.dilation * (w.kernel - 1) + 1;

/** Element `tap` of window `o`. */
function tapPlace(b: ExprBuilder, w: Window, o: Expr, tap: number): Place {
  if (w.adaptive) {
    const at = b.add(adaptiveStart(b, w, o), b.i32(tap));
    // The first elements are in every window.
    const always = tap < Math.floor(w.size / w.count);
    return { at, guard: always ? undefined : b.binary('lt', at, adaptiveEnd(b, w, o)) };
  }
  const shift = tap * w.dilation - w.padding;
  const at = b.add(b.mul(o, b.i32(w.stride)), b.i32(shift));
  const low = shift < 0 ? b.binary('le', b.i32(0), at) : undefined;
  const high = (w.count - 1) * w.stride + shift >= w.size ? b.binary('lt', at, b.i32(w.size)) : undefined;
  return { at, guard: allOf(b, [low, high]) };
}

/** The first existing element of window `o`. */
function firstPlace(b: ExprBuilder, w: Window, o: Expr): Expr {
  if (w.adaptive) return adaptiveStart(b, w, o);
  const start = b.sub(b.mul(o, b.i32(w.stride)), b.i32(w.padding));
  if (w.padding === 0) return start;
  const steps = b.binary('div', b.sub(b.i32(w.dilation - 1), start), b.i32(w.dilation));
  return b.select(b.binary('lt', start, b.i32(0)), b.add(start, b.mul(steps, b.i32(w.dilation))), start);
}

/** How many windows can cover one element. */
function coverCount(w: Window): number {
  return w.adaptive ? Math.ceil(w.count / w.size) + 1 : Math.ceil(reach(w) / w.stride);
}

/** Candidate `j` among the windows that cover element `at`; `covers` is false for those that do not. */
function coverPlace(b: ExprBuilder, w: Window, at: Expr, j: number): Place & { readonly covers: Expr | undefined } {
  if (w.adaptive) {
    const o = b.add(b.binary('div', b.mul(at, b.i32(w.count)), b.i32(w.size)), b.i32(j));
    const guard = b.binary('lt', o, b.i32(w.count));
    return { at: o, guard, covers: b.and(b.binary('le', adaptiveStart(b, w, o), at), b.binary('lt', at, adaptiveEnd(b, w, o))) };
  }
  const shifted = b.add(at, b.i32(w.padding));
  const o = b.sub(b.binary('div', shifted, b.i32(w.stride)), b.i32(j));
  const low = j > 0 ? b.binary('le', b.i32(0), o) : undefined;
  const high = Math.floor((w.size - 1 + w.padding) / w.stride) - j >= w.count ? b.binary('lt', o, b.i32(w.count)) : undefined;
  const offset = b.sub(shifted, b.mul(o, b.i32(w.stride)));
  const within = (j + 1) * w.stride > reach(w) ? b.binary('lt', offset, b.i32(reach(w))) : undefined;
  const onGrid = w.dilation > 1 ? b.binary('eq', b.binary('rem', offset, b.i32(w.dilation)), b.i32(0)) : undefined;
  return { at: o, guard: allOf(b, [low, high]), covers: allOf(b, [within, onGrid]) };
}

/** All index tuples below the given counts, the last fastest. */
export function tuples(counts: readonly number[]): number[][] {
  return counts.reduce<number[][]>((all, count) => all.flatMap((head) => Array.from({ length: count }, (_, i) => [...head, i])), [[]]);
}

export interface WindowTap {
  /** One position a spatial dimension. */
  readonly at: readonly Expr[];
  readonly guard: Expr | undefined;
}

/** The elements that window `position` covers, in row-major order. */
export function windowTaps(b: ExprBuilder, windows: readonly Window[], position: readonly Expr[]): WindowTap[] {
  return tuples(windows.map((w) => w.kernel)).map((tap) => {
    const places = windows.map((w, d) => tapPlace(b, w, position[d], tap[d]));
    return {
      at: places.map((p) => p.at),
      guard: allOf(
        b,
        places.map((p) => p.guard),
      ),
    };
  });
}

/** The windows that may cover the element at `position`. */
export function coveringWindows(
  b: ExprBuilder,
  windows: readonly Window[],
  position: readonly Expr[],
): (WindowTap & { readonly covers: Expr | undefined })[] {
  return tuples(windows.map(coverCount)).map((candidate) => {
    const places = windows.map((w, d) => coverPlace(b, w, position[d], candidate[d]));
    return {
      at: places.map((p) => p.at),
      guard: allOf(
        b,
        places.map((p) => p.guard),
      ),
      covers: allOf(
        b,
        places.map((p) => p.covers),
      ),
    };
  });
}

/** Row-major number of the first element of a window. */
export function firstElement(b: ExprBuilder, windows: readonly Window[], position: readonly Expr[]): Expr {
  return flatPosition(
    b,
    windows,
    windows.map((w, d) => firstPlace(b, w, position[d])),
  );
}
/** Row-major number of an element among the spatial dimensions. */
export function flatPosition(b: ExprBuilder, windows: readonly Window[], at: readonly Expr[]): Expr {
  return at.reduce((flat, p, d) => b.add(b.mul(flat, b.i32(windows[d].size)), p), b.i32(0));
}

export interface WindowOptions {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  /** Behind each dimension, where that differs. Windows then only have to reach the input. */
  readonly paddingEnd?: readonly number[];
  readonly dilation: readonly number[];
  readonly ceilMode: boolean;
}

/** The windows of a pooling over `sizes`. @throws ArgumentError, ShapeError */
export function poolingWindows(sizes: readonly number[], options: WindowOptions, op: string): Window[] {
  return sizes.map((size, d) => {
    const [kernel, stride, padding, dilation] = [options.kernel[d], options.stride[d], options.padding[d], options.dilation[d]];
    const behind = options.paddingEnd?.[d] ?? padding;
    const most = options.paddingEnd === undefined ? Math.floor(kernel / 2) : dilation * (kernel - 1);
    if (kernel < 1 || stride < 1 || dilation < 1 || Math.min(padding, behind) < 0 || Math.max(padding, behind) > most) {
      throw new ArgumentError(`kernel ${kernel}, stride ${stride}, padding ${padding} and ${behind}, dilation ${dilation}`, {
        op,
        received: options,
        expected: `numbers from 1 on, and padding from 0 to ${most}`,
      });
    }
    const free = size + padding + behind - dilation * (kernel - 1) - 1;
    let count = (options.ceilMode ? Math.ceil(free / stride) : Math.floor(free / stride)) + 1;
    // The last window must start inside the input or the padding in front.
    if (options.ceilMode && (count - 1) * stride >= size + padding) count--;
    if (count < 1 || free < 0) {
      throw new ShapeError(`a window of ${kernel} (dilation ${dilation}) is larger than an input of ${size} with padding ${padding}`, {
        op,
        received: formatShape(sizes),
        expected: 'an input at least as large as the window',
      });
    }
    return { size, count, kernel, stride, padding, dilation, adaptive: false };
  });
}

/** The windows that split `sizes` into `counts` parts. */
export function adaptiveWindows(sizes: readonly number[], counts: readonly number[], op: string): Window[] {
  return sizes.map((size, d) => {
    const count = counts[d];
    if (!Number.isInteger(count) || count < 1)
      throw new ArgumentError(`output size ${count}`, { op, received: counts, expected: 'whole numbers from 1 on' });
    if (size < 1) throw new ShapeError('nothing to pool', { op, received: sizes, expected: 'extents above 0' });
    const even = size % count === 0;
    if (even) return { size, count, kernel: size / count, stride: size / count, padding: 0, dilation: 1, adaptive: false };
    let kernel = 0;
    for (let o = 0; o < count; o++) kernel = Math.max(kernel, Math.ceil(((o + 1) * size) / count) - Math.floor((o * size) / count));
    return { size, count, kernel, stride: 1, padding: 0, dilation: 1, adaptive: true };
  });
}
