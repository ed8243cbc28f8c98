/** The memory timeline as a picture. */
import type { Profile } from './profile.js';
import { formatBytes } from './table.js';

const width = 960;
const height = 320;
const margin = { left: 84, right: 16, top: 28, bottom: 36 };

const escape = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** An SVG of the heap's bytes in use over the time of a profile, with the kernel at the peak named. */
export function memoryPlot(profile: Profile): string {
  const points = profile.memoryTimeline();
  const top = Math.max(1, profile.peakBytes);
  const end = Math.max(1e-6, profile.wallMs);
  const x = (ms: number): number => margin.left + ((width - margin.left - margin.right) * ms) / end;
  const y = (bytes: number): number => height - margin.bottom - ((height - margin.top - margin.bottom) * bytes) / top;
  // A pixel column shows its highest value: no peak is lost, and the file stays small.
  const columns = new Map<number, number>();
  for (const { ms, bytes } of points) {
    const column = Math.round(x(ms));
    columns.set(column, Math.max(columns.get(column) ?? 0, bytes));
  }
  const line = [...columns].map(
    ([column, bytes], i) => `${i === 0 ? 'M' : 'H'}${column}${i === 0 ? ` ${y(bytes)}` : `V${y(bytes).toFixed(1)}`}`,
  );
  const peak = points.find((p) => p.bytes === profile.peakBytes);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = y(share * top);
    return `<line x1="${margin.left}" x2="${width - margin.right}" y1="${at}" y2="${at}" stroke="#8884"/><text x="${margin.left - 8}" y="${at + 4}" text-anchor="end">${formatBytes(share * top)}</text>`;
  });
  const mark = peak
    ? `<circle cx="${x(peak.ms)}" cy="${y(peak.bytes)}" r="3" fill="#c2410c"/><text x="${width - margin.right}" y="16" text-anchor="end">peak ${formatBytes(peak.bytes)} at ${peak.ms.toFixed(2)} ms, ${escape(peak.kernel)}</text>`
    : '';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#444"><rect width="${width}" height="${height}" fill="#fff"/>${ticks.join('')}<path d="${line.join('')}" fill="none" stroke="#2563eb" stroke-width="1.5"/>${mark}<text x="${margin.left}" y="${height - 12}">0 ms</text><text x="${width - margin.right}" y="${height - 12}" text-anchor="end">${end.toFixed(2)} ms</text></svg>\n`;
}
