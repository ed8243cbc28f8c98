/** A drawing of a sound: its wave, the probability of speech, and where speech was found. */
import type { Segment } from './segments.js';

const [width, height, margin] = [1200, 320, 40];
const [waveTop, waveHeight, curveTop, curveHeight] = [20, 140, 180, 100];

/** A step of 1, 2 or 5 times a power of ten seconds, for about ten marks. */
function markStep(duration: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(duration, 1e-3) / 10));
  return power * ([1, 2, 5].find((step) => duration / (step * power) <= 10) ?? 10);
}

export interface PlotInput {
  readonly samples: Float32Array;
  readonly rate: number;
  readonly probabilities: ArrayLike<number>;
  readonly frameSeconds: number;
  readonly threshold: number;
  readonly segments: readonly Segment[];
}

/** SVG. */
export function plot({ samples, rate, probabilities, frameSeconds, threshold, segments }: PlotInput): string {
  const duration = samples.length / rate;
  const x = (seconds: number): string => (margin + (seconds / duration) * (width - 2 * margin)).toFixed(1);
  const y = (p: number): string => (curveTop + (1 - p) * curveHeight).toFixed(1);
  const spans = segments.map(
    ({ start, end }) =>
      `<rect x="${x(start)}" y="${waveTop}" width="${(Number(x(end)) - Number(x(start))).toFixed(1)}" height="${curveTop + curveHeight - waveTop}" fill="#dcebd6"/>`,
  );
  // The least and greatest sample of each column of pixels.
  const columns = width - 2 * margin;
  const loudest = samples.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-9);
  const scale = waveHeight / 2 / loudest;
  const wave = Array.from({ length: columns }, (_, i) => {
    const part = samples.subarray(
      Math.floor((i * samples.length) / columns),
      Math.max(1, Math.floor(((i + 1) * samples.length) / columns)),
    );
    const [low, high] = part.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
    const middle = waveTop + waveHeight / 2;
    return `M${margin + i} ${(middle - high * scale).toFixed(1)}V${(middle - low * scale + 0.5).toFixed(1)}`;
  }).join('');
  const curve = Array.from(probabilities, (p, i) => `${x(Math.min(duration, (i + 0.5) * frameSeconds))},${y(p)}`).join(' ');
  const step = markStep(duration);
  const marks = Array.from({ length: Math.floor(duration / step) + 1 }, (_, i) => {
    const at = Number((i * step).toPrecision(6));
    return `<path d="M${x(at)} 280v6" stroke="#444"/><text x="${x(at)}" y="302" text-anchor="middle">${at} s</text>`;
  });
  const levels = [0, 0.5, 1].map((p) => `<text x="${margin - 6}" y="${Number(y(p)) + 4}" text-anchor="end">${p}</text>`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12" fill="#222">` +
    `<rect width="${width}" height="${height}" fill="white"/>${spans.join('')}` +
    `<path d="${wave}" stroke="#35618f" fill="none"/>` +
    `<path d="M${margin} ${y(threshold)}H${width - margin}" stroke="#999" stroke-dasharray="4 4"/>` +
    `<path d="M${margin} ${y(0)}H${width - margin}" stroke="#444"/>` +
    `<polyline points="${curve}" fill="none" stroke="#b4452c" stroke-width="1.5"/>` +
    `${marks.join('')}${levels.join('')}</svg>`
  );
}
