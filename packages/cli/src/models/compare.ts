/** How far two sets of values are apart. */
import type { TensorValue } from '@trireme/onnx';
import { formatNumber } from 'trireme/train';
import { columns } from '../output.js';

export interface Comparison {
  readonly name: string;
  /** The name on the other side, where it differs. */
  readonly other: string;
  readonly type: string;
  readonly shape: readonly number[];
  /** Largest difference of two elements; Infinity where one is NaN or infinite and the other is not. */
  readonly maxDifference: number;
  readonly meanDifference: number;
  /** The largest difference as a part of the largest element; 0 where both are 0. */
  readonly relative: number;
  /** Position of the largest difference. */
  readonly at: readonly number[];
  readonly values: readonly [number, number] | null;
  /** Of the rows along the last axis the share whose largest element is at the same place; null for vectors and less. */
  readonly sameArgmax: number | null;
  /** What does not fit; null where the elements could be compared. */
  readonly mismatch: string | null;
}

function place(position: number, shape: readonly number[]): number[] {
  const at: number[] = [];
  let rest = position;
  for (const extent of shape.toReversed()) {
    at.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return at;
}

function argmax(data: ArrayLike<number | bigint>, start: number, count: number): number {
  let best = start;
  for (let i = start + 1; i < start + count; i++) if (data[i] > data[best]) best = i;
  return best - start;
}

export function compareValues(name: string, other: string, a: TensorValue, b: TensorValue): Comparison {
  const nothing = { maxDifference: Infinity, meanDifference: Infinity, relative: Infinity, at: [], values: null, sameArgmax: null };
  const base = { name, other, type: a.type, shape: a.shape };
  if (a.shape.length !== b.shape.length || a.shape.some((extent, i) => extent !== b.shape[i])) {
    return { ...base, ...nothing, mismatch: `shape [${a.shape.join(', ')}] and [${b.shape.join(', ')}]` };
  }
  if ((a.type === 'string') !== (b.type === 'string')) return { ...base, ...nothing, mismatch: `${a.type} and ${b.type}` };
  if (a.type === 'string') {
    const odd = (a.host as readonly string[]).findIndex((text, i) => text !== b.host[i]);
    const same = { maxDifference: 0, meanDifference: 0, relative: 0, at: [], values: null, sameArgmax: null, mismatch: null };
    return odd < 0
      ? { ...base, ...same }
      : { ...base, ...nothing, mismatch: `${JSON.stringify(a.host[odd])} and ${JSON.stringify(b.host[odd])}` };
  }
  const [x, y] = [a.host as Float64Array, b.host as Float64Array];
  let [largest, worst, sum, scale] = [0, -1, 0, 0];
  for (let i = 0; i < x.length; i++) {
    const [p, q] = [Number(x[i]), Number(y[i])];
    if (Number.isFinite(p)) scale = Math.max(scale, Math.abs(p));
    const difference = p === q || (Number.isNaN(p) && Number.isNaN(q)) ? 0 : Math.abs(p - q);
    const known = Number.isNaN(difference) ? Infinity : difference;
    sum += known;
    if (known > largest) {
      largest = known;
      worst = i;
    }
  }
  const last = a.shape.at(-1) ?? 0;
  const rows = a.shape.length > 1 && last > 1 ? x.length / last : 0;
  let same = 0;
  for (let row = 0; row < rows; row++) same += Number(argmax(x, row * last, last) === argmax(y, row * last, last));
  return {
    ...base,
    maxDifference: largest,
    meanDifference: x.length === 0 ? 0 : sum / x.length,
    relative: largest === 0 ? 0 : largest / (scale || 1),
    at: worst < 0 ? [] : place(worst, a.shape),
    values: worst < 0 ? null : [Number(x[worst]), Number(y[worst])],
    sameArgmax: rows > 0 ? same / rows : null,
    mismatch: null,
  };
}

/** Values of one name go together; what remains goes by place. Missing ones are mismatches. */
export function compareAll(a: ReadonlyMap<string, TensorValue>, b: ReadonlyMap<string, TensorValue>): Comparison[] {
  const others = [...b.keys()].filter((name) => !a.has(name));
  return [...a].map(([name, value]) => {
    const other = b.has(name) ? name : others.shift();
    const found = other === undefined ? undefined : b.get(other);
    if (other !== undefined && found !== undefined) return compareValues(name, other, value, found);
    return {
      name,
      other: '',
      type: value.type,
      shape: value.shape,
      maxDifference: Infinity,
      meanDifference: Infinity,
      relative: Infinity,
      at: [],
      values: null,
      sameArgmax: null,
      mismatch: 'there is none on the other side',
    };
  });
}

/** The largest of the differences, as a part of the largest element. */
export function worstOf(comparisons: readonly Comparison[]): number {
  return comparisons.reduce((worst, { relative }) => Math.max(worst, relative), 0);
}

export function comparisonTable(comparisons: readonly Comparison[]): string {
  return columns([
    ['value', 'shape', 'largest difference', 'of the largest', 'mean', 'same argmax', 'where'],
    ...comparisons.map(({ name, other, shape, maxDifference, relative, meanDifference, sameArgmax, at, values, mismatch }) => [
      name === other || other === '' ? name : `${name} / ${other}`,
      shape.join('×') || 'scalar',
      ...(mismatch === null
        ? [
            formatNumber(maxDifference),
            relative.toExponential(1),
            formatNumber(meanDifference),
            sameArgmax === null ? '-' : `${(100 * sameArgmax).toFixed(1)} %`,
            values === null ? '-' : `[${at.join(', ')}]: ${formatNumber(values[0])} and ${formatNumber(values[1])}`,
          ]
        : ['-', '-', '-', '-', mismatch]),
    ]),
  ]);
}
