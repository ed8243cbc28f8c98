/** The report page: one HTML file with curves, confusion matrix and the misclassified pictures. */
import type { ClassMetrics } from 'trireme/metrics';
import type { Pictures } from './datasets.js';
import { encodePicture } from './pictures.js';
import type { EpochResult, Predictions } from './training.js';

export interface ReportData {
  readonly title: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly epochs: readonly EpochResult[];
  readonly classNames: readonly string[];
  readonly matrix: readonly (readonly number[])[];
  readonly classes: readonly ClassMetrics[];
  readonly test: Pictures;
  readonly predictions: Predictions;
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text: string): string => text.replace(/[&<>"]/g, (c) => escapes[c]);
const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;

interface Series {
  readonly name: string;
  readonly color: string;
  /** Told apart without colour too. */
  readonly dashed: boolean;
  readonly values: readonly number[];
}

/** Round numbers around a range. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const first = Math.floor(low / step);
  const list: number[] = [];
  for (let k = first; k * step <= high + step * 0.999; k++) list.push(k * step);
  return list;
}

function chart(title: string, series: readonly Series[], format: (v: number) => string): string {
  const [width, height, left, bottom, top, right] = [460, 260, 56, 40, 16, 12];
  const all = series.flatMap((s) => s.values);
  const grid = ticks(Math.min(...all), Math.max(...all));
  const [low, high] = [grid[0], grid[grid.length - 1]];
  const count = series[0].values.length;
  const x = (i: number): number => left + ((width - left - right) * i) / Math.max(1, count - 1);
  const y = (v: number): number => height - bottom - ((height - bottom - top) * (v - low)) / (high - low || 1);
  const lines = grid
    .map(
      (v) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(v)}" y2="${y(v)}" class="grid"/><text x="${left - 8}" y="${y(v) + 4}" text-anchor="end">${format(v)}</text>`,
    )
    .join('');
  const marks = Array.from({ length: count }, (_, i) => i)
    .filter((i) => i === 0 || i === count - 1 || (i + 1) % Math.ceil(count / 6) === 0)
    .map((i) => `<text x="${x(i)}" y="${height - bottom + 18}" text-anchor="middle">${i + 1}</text>`)
    .join('');
  const paths = series
    .map(
      (s) =>
        `<polyline fill="none" stroke="${s.color}" stroke-width="2" stroke-linecap="round"${s.dashed ? ' stroke-dasharray="6 4"' : ''} points="${s.values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(' ')}"/>${count === 1 ? `<circle cx="${x(0)}" cy="${y(s.values[0])}" r="4" fill="${s.color}"/>` : ''}`,
    )
    .join('');
  const legend = series
    .map(
      (s) =>
        `<span><i style="border-top:3px ${s.dashed ? 'dashed' : 'solid'} ${s.color}"></i>${s.name} ${format(s.values[count - 1])}</span>`,
    )
    .join('');
  return `<figure><figcaption>${title} <span class="legend">${legend}</span></figcaption><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title} by epoch">${lines}${marks}<text x="${(left + width - right) / 2}" y="${height - 1}" text-anchor="middle">epoch</text>${paths}</svg></figure>`;
}

function confusion(matrix: readonly (readonly number[])[], names: readonly string[]): string {
  const head = names.map((n) => `<th scope="col">${escape(n)}</th>`).join('');
  const rows = matrix
    .map((row, i) => {
      const total = row.reduce((a, b) => a + b, 0) || 1;
      const cells = row
        .map((n, j) => {
          const share = n / total;
          const hue = i === j ? 152 : 8;
          // Mistakes are few: the square root makes them visible.
          const strength = n === 0 ? 0 : i === j ? 0.15 + 0.75 * share : 0.15 + 0.85 * Math.sqrt(share);
          return `<td style="background:hsl(${hue} 60% 45% / ${strength.toFixed(2)})">${n || '<span class="zero">·</span>'}</td>`;
        })
        .join('');
      return `<tr><th scope="row">${escape(names[i])}</th>${cells}</tr>`;
    })
    .join('');
  return `<div class="scroll"><table class="confusion"><caption>Rows: the true class. Columns: the prediction.</caption><tr><td></td>${head}</tr>${rows}</table></div>`;
}

function mistakes({ test, predictions, classNames }: ReportData): string {
  const size = test.side ** 2;
  const wrong = Array.from(predictions.classes.keys()).filter((i) => predictions.classes[i] !== test.labels[i]);
  wrong.sort((a, b) => predictions.confidence[b] - predictions.confidence[a]);
  const shown = wrong.slice(0, 48).map((i) => {
    const png = encodePicture(test.images.subarray(i * size, (i + 1) * size), test.side, Math.max(1, Math.round(72 / test.side)));
    const label = `${classNames[test.labels[i]]} taken for ${classNames[predictions.classes[i]]}, ${percent(predictions.confidence[i])}`;
    return `<figure class="mistake"><img width="72" height="72" alt="${escape(label)}" src="data:image/png;base64,${Buffer.from(png).toString('base64')}"><figcaption>${escape(classNames[test.labels[i]])} → <b>${escape(classNames[predictions.classes[i]])}</b><br>${percent(predictions.confidence[i])}</figcaption></figure>`;
  });
  const note = wrong.length > shown.length ? ` The ${shown.length} the model was surest of:` : '';
  return `<h2>Misclassified: ${wrong.length} of ${test.labels.length}</h2><p>True class → prediction, with its probability.${note}</p><div class="mistakes">${shown.join('')}</div>`;
}

/** The whole page. */
export function renderReport(data: ReportData): string {
  const { title, facts, epochs, classNames, matrix, classes } = data;
  const blue = 'var(--a)';
  const orange = 'var(--b)';
  const series = (train: (e: EpochResult) => number, test: (e: EpochResult) => number): Series[] => [
    { name: 'train', color: blue, dashed: false, values: epochs.map(train) },
    { name: 'test', color: orange, dashed: true, values: epochs.map(test) },
  ];
  const table = classes
    .map(
      (c, k) =>
        `<tr><th scope="row">${escape(classNames[k])}</th><td>${percent(c.precision)}</td><td>${percent(c.recall)}</td><td>${percent(c.f1)}</td><td>${c.support}</td></tr>`,
    )
    .join('');
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(title)}</title>
<style>
:root{color-scheme:light dark;--ink:#1c2330;--soft:#667085;--line:#d9dee7;--page:#fff;--card:#f6f8fb;--a:#2563eb;--b:#d97706}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#343b48;--page:#12161d;--card:#1b212b;--a:#6ea8fe;--b:#f5a94d}}
body{margin:0 auto;max-width:1000px;padding:24px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.6rem;margin:0 0 12px}h2{font-size:1.15rem;margin:32px 0 8px}
dl{display:flex;flex-wrap:wrap;gap:8px;margin:0}dl div{background:var(--card);border-radius:8px;padding:8px 14px}dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:16px}figure{margin:0;background:var(--card);border-radius:8px;padding:12px}
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--line)}.legend{float:right;color:var(--soft);font-size:.85rem}.legend span{margin-left:12px}.legend i{display:inline-block;width:18px;vertical-align:middle;margin-right:5px}.note{color:var(--soft);font-size:.85rem;margin:8px 0 0}
.scroll{overflow-x:auto}table{border-collapse:collapse}th,td{padding:4px 10px;text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600}caption{text-align:left;color:var(--soft);padding-bottom:6px}tr+tr{border-top:1px solid var(--line)}
.confusion td,.confusion th[scope=col]{text-align:center;min-width:34px}.zero{color:var(--line)}.mistakes{display:flex;flex-wrap:wrap;gap:10px}.mistake{padding:8px;text-align:center;font-size:.8rem}.mistake img{image-rendering:pixelated;display:block;margin:0 auto 4px;border-radius:4px}
</style>
<main>
<h1>${escape(title)}</h1>
<dl>${Object.entries(facts)
    .map(([k, v]) => `<div><dt>${escape(k)}</dt><dd>${escape(v)}</dd></div>`)
    .join('')}</dl>
<h2>Learning curves</h2>
<div class="charts">${chart(
    'Loss',
    series(
      (e) => e.trainLoss,
      (e) => e.testLoss,
    ),
    (v) => v.toFixed(2),
  )}${chart(
    'Accuracy',
    series(
      (e) => e.trainAccuracy,
      (e) => e.testAccuracy,
    ),
    percent,
  )}</div>
<p class="note">The loss in training includes label smoothing, so it lies above that of the test.</p>
<h2>Confusion matrix</h2>${confusion(matrix, classNames)}
<h2>By class</h2><div class="scroll"><table><tr><th scope="col">Class</th><th scope="col">Precision</th><th scope="col">Recall</th><th scope="col">F1</th><th scope="col">Pictures</th></tr>${table}</table></div>
${mistakes(data)}
</main>
</html>
`;
}
