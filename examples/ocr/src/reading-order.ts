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
  // Headings and footers across the columns hide them: a part between two cuts may have some.
  const rows = byRows(boxes);
  const part = columnsWithin(rows);
  if (part === null) return rows.flat();
  const [from, to] = part;
  return [rows.slice(0, from), rows.slice(from, to), rows.slice(to)].flatMap((some) => ordered(some.flat()));
}

/** The rows, from the first to before the second, that together are columns: of those the most. */
function columnsWithin(rows: readonly (readonly Box[])[]): readonly [number, number] | null {
  let best: readonly [number, number] | null = null;
  for (let from = 0; from < rows.length; ) {
    // Further rows can only fill the gap, so the search ends with the row that does, and goes on from there.
    let to = from;
    while (to < rows.length && gaps(rows.slice(from, to + 1).flat()).length > 0) to++;
    let end = to;
    while (end > from && splitColumns(rows.slice(from, end).flat()) === null) end--;
    if (end > from && (best === null || end - from > best[1] - best[0])) best = [from, end];
    from = Math.max(from + 1, to);
  }
  return best;
}

/** Empty strips between boxes, from top to bottom. */
function gaps(boxes: readonly Box[]): { readonly at: number; readonly size: number }[] {
  const sorted = boxes.toSorted((a, b) => a.left - b.left);
  const found: { at: number; size: number }[] = [];
  let end = sorted[0]?.right ?? 0;
  for (const { left, right } of sorted.slice(1)) {
    if (left > end) found.push({ at: (left + end) / 2, size: left - end });
    end = Math.max(end, right);
  }
  return found;
}

function splitColumns(boxes: readonly Box[]): [readonly Box[], readonly Box[]] | null {
  if (boxes.length < 4) return null;
  const size = median(boxes.map((b) => b.size));
  const isColumn = (part: readonly Box[]): boolean => part.length >= 2 && median(part.map((b) => b.right - b.left)) >= lineLength * size;
  for (const { at, size: gap } of gaps(boxes)) {
    if (gap < size / 2) continue;
    const parts = [boxes.filter((b) => b.right <= at), boxes.filter((b) => b.left >= at)] as const;
    if (parts.every(isColumn)) return [...parts];
  }
  return null;
}

/** Boxes whose middles are about as high make a row. */
function byRows(boxes: readonly Box[]): readonly (readonly Box[])[] {
  const middle = (b: Box): number => (b.top + b.bottom) / 2;
  const rows: Box[][] = [];
  for (const box of boxes.toSorted((a, b) => middle(a) - middle(b))) {
    const row = rows.at(-1);
    if (row !== undefined && middle(box) - median(row.map(middle)) < Math.min(box.size, ...row.map((b) => b.size)) / 2) row.push(box);
    else rows.push([box]);
  }
  return rows.map((row) => row.toSorted((a, b) => a.left - b.left));
}
