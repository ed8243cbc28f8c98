/** In which order lines are read: columns from left to right, in each of them from top to bottom, in a row from left to right. */
import { boundsOf, distance, type Quad } from './geometry.js';

interface Box {
  readonly index: number;
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  /** Of the line, which may be turned. */
  readonly size: number;
}

/** A column holds running text: lines at least this many times as long as high. Tables, of shorter cells, are read by rows. */
const lineLength = 5;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Places of the quads in reading order. */
export function readingOrder(quads: readonly Quad[]): number[] {
  const boxes = quads.map((quad, index): Box => {
    const [left, top, right, bottom] = boundsOf(quad);
    return { index, left, top, right, bottom, size: Math.min(distance(quad[0], quad[1]), distance(quad[0], quad[3])) };
  });
  return ordered(boxes).map(({ index }) => index);
}

function ordered(boxes: readonly Box[]): readonly Box[] {
  if (boxes.length < 2) return boxes;
  const columns = splitColumns(boxes);
  if (columns !== null) return columns.flatMap(ordered);
  // A heading across the columns hides them: above and below a cut there may be some.
  const cuts = gaps(boxes, 'top', 'bottom').map(({ at }) => [boxes.filter((b) => b.bottom <= at), boxes.filter((b) => b.top >= at)]);
  const gain = (parts: readonly Box[][]): number => Math.max(...parts.map((part) => (splitColumns(part) === null ? 0 : part.length)));
  const best = cuts.reduce<{ parts: readonly Box[][]; gain: number } | null>((found, parts) => {
    const value = gain(parts);
    return value > (found?.gain ?? 0) ? { parts, gain: value } : found;
  }, null);
  return best === null ? byRows(boxes) : best.parts.flatMap(ordered);
}

/** Empty strips between boxes. */
function gaps<Low extends 'left' | 'top', High extends 'right' | 'bottom'>(
  boxes: readonly Box[],
  low: Low,
  high: High,
): { readonly at: number; readonly size: number }[] {
  const sorted = boxes.toSorted((a, b) => a[low] - b[low]);
  const found: { at: number; size: number }[] = [];
  let end = sorted[0]?.[high] ?? 0;
  for (const box of sorted.slice(1)) {
    if (box[low] > end) found.push({ at: (box[low] + end) / 2, size: box[low] - end });
    end = Math.max(end, box[high]);
  }
  return found;
}

function splitColumns(boxes: readonly Box[]): [readonly Box[], readonly Box[]] | null {
  if (boxes.length < 4) return null;
  const size = median(boxes.map((b) => b.size));
  const isColumn = (part: readonly Box[]): boolean => part.length >= 2 && median(part.map((b) => b.right - b.left)) >= lineLength * size;
  for (const { at, size: gap } of gaps(boxes, 'left', 'right')) {
    if (gap < size / 2) continue;
    const parts = [boxes.filter((b) => b.right <= at), boxes.filter((b) => b.left >= at)] as const;
    if (parts.every(isColumn)) return [...parts];
  }
  return null;
}

/** Boxes whose middles are about as high make a row. */
function byRows(boxes: readonly Box[]): readonly Box[] {
  const middle = (b: Box): number => (b.top + b.bottom) / 2;
  const rows: Box[][] = [];
  for (const box of boxes.toSorted((a, b) => middle(a) - middle(b))) {
    const row = rows.at(-1);
    if (row !== undefined && middle(box) - median(row.map(middle)) < Math.min(box.size, ...row.map((b) => b.size)) / 2) row.push(box);
    else rows.push([box]);
  }
  return rows.flatMap((row) => row.toSorted((a, b) => a.left - b.left));
}
