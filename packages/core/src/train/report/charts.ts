/** Line charts as SVG text. */
import { formatNumber } from '../callbacks/progress.js';

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
/** Text for HTML, in content and in attributes. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => escapes[c]);

export interface Series {
  readonly name: string;
  /** Points in the order of x; those that are not finite leave a gap. */
  readonly points: readonly (readonly [x: number, y: number])[];
}
export interface Chart {
  readonly title: string;
  /** What x counts. */
  readonly axis: string;
  readonly series: readonly Series[];
  /** y in powers of ten, where all values are positive. */
  readonly log?: boolean;
  readonly format?: (value: number) => string;
}

/** Colour and dash of the k-th line: told apart without colour too. */
const styles = [
  { color: 'var(--a)', dash: '' },
  { color: 'var(--b)', dash: '6 4' },
  { color: 'var(--c)', dash: '2 4' },
  { color: 'var(--d)', dash: '8 3 2 3' },
] as const;

/** Round numbers around a range: about five. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999) ?? rough;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(1, last - first) + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

/** At most `limit` points: of each stretch its lowest and highest, so that peaks stay. */
function thinned(points: Series['points'], limit: number): Series['points'] {
  if (points.length <= limit) return points;
  const kept: (readonly [number, number])[] = [];
  const stretch = points.length / (limit / 2);
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(Math.floor(start), Math.floor(start + stretch));
    const finite = part.filter(([, y]) => Number.isFinite(y));
    if (finite.length === 0) {
      kept.push(...part.slice(0, 1));
      continue;
    }
    const low = finite.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = finite.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

export function renderChart({ title, axis, series, log = false, format = formatNumber }: Chart): string {
  const [width, height, left, bottom, top, right] = [480, 270, 64, 40, 14, 14];
  const shown = series.map((s) => ({ ...s, points: thinned(s.points, 800) })).filter((s) => s.points.length > 0);
  const finite = shown.flatMap((s) => s.points.filter(([, y]) => Number.isFinite(y)));
  if (finite.length === 0) return '';
  const scaleY = log && finite.every(([, y]) => y > 0) ? Math.log10 : (y: number) => y;
  const logarithmic = scaleY === Math.log10;
  const ys = finite.map(([, y]) => scaleY(y));
  const grid = logarithmic ? wholePowers(Math.min(...ys), Math.max(...ys)) : ticks(Math.min(...ys), Math.max(...ys));
  const [low, high] = [grid[0], grid[grid.length - 1]];
  const xs = shown.flatMap((s) => s.points.map(([x]) => x));
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const x = (v: number): number => left + ((width - left - right) * (v - first)) / (last - first || 1);
  const y = (v: number): number => height - bottom - ((height - bottom - top) * (v - low)) / (high - low || 1);
  const label = (v: number): string => escapeHtml(logarithmic ? axisNumber(10 ** v) : format === formatNumber ? axisNumber(v) : format(v));
  const lines = grid
    .map(
      (v) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(v).toFixed(1)}" y2="${y(v).toFixed(1)}" class="grid"/><text x="${left - 8}" y="${(y(v) + 4).toFixed(1)}" text-anchor="end">${label(v)}</text>`,
    )
    .join('');
  const marks = xTicks(first, last)
    .map((v) => `<text x="${x(v).toFixed(1)}" y="${height - bottom + 18}" text-anchor="middle">${axisNumber(v)}</text>`)
    .join('');
  const paths = shown
    .map((s, k) => {
      const { color, dash } = styles[k % styles.length];
      const dashes = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
      return runs(s.points)
        .map((run) => {
          const [[x0, y0]] = run;
          if (run.length === 1) return `<circle cx="${x(x0).toFixed(1)}" cy="${y(scaleY(y0)).toFixed(1)}" r="4" fill="${color}"/>`;
          const points = run.map(([px, py]) => `${x(px).toFixed(1)},${y(scaleY(py)).toFixed(1)}`).join(' ');
          return `<polyline fill="none" stroke="${color}" stroke-width="2" stroke-linejoin="round"${dashes} points="${points}"/>`;
        })
        .join('');
    })
    .join('');
  const legend = shown
    .map((s, k) => {
      const { color, dash } = styles[k % styles.length];
      const final = s.points[s.points.length - 1][1];
      const key = `<svg class="key" viewBox="0 0 22 8" aria-hidden="true"><line x1="0" x2="22" y1="4" y2="4" stroke="${color}" stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
      return `<span>${key}${escapeHtml(s.name)} ${escapeHtml(Number.isFinite(final) ? format(final) : String(final))}</span>`;
    })
    .join('');
  const name = escapeHtml(title);
  return `<figure class="card"><figcaption><b>${name}</b><span class="legend">${legend}</span></figcaption><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${name} by ${escapeHtml(axis)}">${lines}${marks}<text x="${(left + width - right) / 2}" y="${height - 2}" text-anchor="middle">${escapeHtml(axis)}</text>${paths}</svg></figure>`;
}

/** A round number without the zeros that say nothing. */
function axisNumber(v: number): string {
  const size = Math.abs(v);
  const round = Number(v.toPrecision(4));
  return v !== 0 && (size >= 1e6 || size < 1e-3) ? round.toExponential() : String(round);
}

/** Powers of ten around a range of logarithms. */
function wholePowers(low: number, high: number): number[] {
  const first = Math.floor(low + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high - 1e-9));
  const step = Math.ceil((last - first) / 6);
  return Array.from({ length: Math.ceil((last - first) / step) + 1 }, (_, k) => first + k * step);
}

/** Whole numbers within a range. */
function xTicks(first: number, last: number): number[] {
  if (first === last) return [first];
  const inside = ticks(first, last).filter((v) => v > first && v < last && Number.isInteger(v));
  const space = (last - first) / 12;
  return [first, ...inside.filter((v) => v - first > space && last - v > space), last];
}

/** Unbroken stretches of finite points. */
function runs(points: Series['points']): (readonly [number, number])[][] {
  const list: (readonly [number, number])[][] = [];
  let open = false;
  for (const point of points) {
    if (!Number.isFinite(point[1])) open = false;
    else if (open) list[list.length - 1].push(point);
    else {
      list.push([point]);
      open = true;
    }
  }
  return list;
}
