/** A training as one HTML page: no scripts, nothing from elsewhere, all text escaped. */
import type { ImageData8 } from '../../data/vision/image.js';
import { encodePng } from '../../data/vision/png.js';
import { type Chart, escapeHtml, renderChart } from './charts.js';

export interface Table {
  readonly title?: string;
  readonly columns: readonly string[];
  /** The first cell of a row names it. */
  readonly rows: readonly (readonly (string | number)[])[];
}
export interface ConfusionMatrix {
  readonly classNames: readonly string[];
  /** `counts[label][prediction]` */
  readonly counts: readonly (readonly number[])[];
}
export interface SampleImage {
  readonly image: ImageData8;
  readonly caption: string;
}
/** A part of the page. */
export type ReportSection =
  | { readonly kind: 'charts'; readonly title: string; readonly charts: readonly Chart[]; readonly note?: string }
  | { readonly kind: 'table'; readonly title: string; readonly table: Table; readonly note?: string; readonly folded?: boolean }
  | { readonly kind: 'confusion'; readonly title: string; readonly matrix: ConfusionMatrix; readonly note?: string }
  | {
      readonly kind: 'images';
      readonly title: string;
      readonly images: readonly SampleImage[];
      readonly note?: string;
      /** Pixels of the longer side on the page. Default 96. */
      readonly size?: number;
    }
  | { readonly kind: 'text'; readonly title: string; readonly text: string };

export interface Report {
  readonly title: string;
  /** What matters most, at the top. */
  readonly facts: Readonly<Record<string, string | number>>;
  readonly sections: readonly ReportSection[];
}

const style = `
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6677;--line:#d9dee7;--page:#fff;--card:#f6f8fb;--a:#2563eb;--b:#c2410c;--c:#0f766e;--d:#7e22ce}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b8;--line:#343b48;--page:#12161d;--card:#1b212b;--a:#6ea8fe;--b:#fb923c;--c:#5eead4;--d:#d8b4fe}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1060px;padding:24px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.6rem;margin:0 0 12px}h2{font-size:1.15rem;margin:32px 0 8px}
dl{display:flex;flex-wrap:wrap;gap:8px;margin:0}dl div{background:var(--card);border-radius:8px;padding:8px 14px}dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:16px}.card{margin:0;background:var(--card);border-radius:8px;padding:12px}
.card svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--line)}figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;gap:4px 16px}
.legend{color:var(--soft);font-size:.85rem}.legend span{margin-left:12px;white-space:nowrap}.card svg.key{width:22px;height:8px;margin-right:5px;vertical-align:middle}.note{color:var(--soft);margin:8px 0}
.scroll{overflow-x:auto}table{border-collapse:collapse}th,td{padding:4px 10px;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.text{text-align:left;white-space:normal;overflow-wrap:anywhere}th{font-weight:600}th[scope=row]{text-align:left}tr+tr{border-top:1px solid var(--line)}
.confusion td,.confusion th[scope=col]{text-align:center;min-width:34px}.confusion th[scope=row]{text-align:right}.zero{color:var(--line)}summary{cursor:pointer;color:var(--soft)}
.images{display:flex;flex-wrap:wrap;gap:10px}.images figure{margin:0;background:var(--card);border-radius:8px;padding:8px;text-align:center;font-size:.8rem}.images figcaption{justify-content:center;overflow-wrap:anywhere}.images img{max-width:100%;height:auto;image-rendering:pixelated;display:block;margin:0 auto 4px;border-radius:4px}pre{white-space:pre-wrap;background:var(--card);border-radius:8px;padding:12px}`;

function renderTable({ title, columns, rows }: Table): string {
  const caption = title === undefined ? '' : `<caption>${escapeHtml(title)}</caption>`;
  const head = columns.map((c, k) => `<th scope="col"${k === 0 ? ' style="text-align:left"' : ''}>${escapeHtml(c)}</th>`).join('');
  const cell = (v: string | number): string =>
    typeof v === 'string' && !/^[-+\d]/.test(v) ? `<td class="text">${escapeHtml(v)}</td>` : `<td>${escapeHtml(String(v))}</td>`;
  const body = rows.map(([first, ...rest]) => `<tr><th scope="row">${escapeHtml(String(first))}</th>${rest.map(cell).join('')}</tr>`);
  return `<div class="scroll"><table>${caption}<tr>${head}</tr>${body.join('')}</table></div>`;
}

function renderConfusion({ classNames, counts }: ConfusionMatrix): string {
  const name = (k: number): string => escapeHtml(classNames[k] ?? String(k));
  const head = counts.map((_, k) => `<th scope="col">${name(k)}</th>`).join('');
  const rows = counts.map((row, i) => {
    const total = row.reduce((a, b) => a + b, 0) || 1;
    const cells = row.map((n, j) => {
      const share = n / total;
      const hue = i === j ? 152 : 8;
      // Mistakes are few: the square root makes them visible.
      const strength = n === 0 ? 0 : i === j ? 0.15 + 0.75 * share : 0.15 + 0.85 * Math.sqrt(share);
      return `<td style="background:hsl(${hue} 60% 45% / ${strength.toFixed(2)})">${n === 0 ? '<span class="zero">·</span>' : n}</td>`;
    });
    return `<tr><th scope="row">${name(i)}</th>${cells.join('')}</tr>`;
  });
  return `<p class="note">Rows: the true class. Columns: the prediction.</p><div class="scroll"><table class="confusion"><tr><td></td>${head}</tr>${rows.join('')}</table></div>`;
}

function base64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

async function renderImages(images: readonly SampleImage[], size: number): Promise<string> {
  const shown = images.map(async ({ image, caption }) => {
    const scale = size / Math.max(image.width, image.height);
    const [width, height] = [image.width, image.height].map((n) => Math.max(1, Math.round(n * scale)));
    const text = escapeHtml(caption);
    // A caption may be wider than a small picture.
    return `<figure style="max-width:${Math.max(220, width + 16)}px"><img width="${width}" height="${height}" alt="${text}" src="data:image/png;base64,${base64(await encodePng(image))}"><figcaption>${text}</figcaption></figure>`;
  });
  return `<div class="images">${(await Promise.all(shown)).join('')}</div>`;
}

async function renderSection(section: ReportSection): Promise<string> {
  const heading = `<h2>${escapeHtml(section.title)}</h2>`;
  const note = 'note' in section && section.note !== undefined ? `<p class="note">${escapeHtml(section.note)}</p>` : '';
  switch (section.kind) {
    case 'charts': {
      const charts = section.charts.map(renderChart).join('');
      return charts === '' ? '' : `${heading}${note}<div class="charts">${charts}</div>`;
    }
    case 'table': {
      const text = renderTable(section.table);
      return `${heading}${note}${section.folded ? `<details><summary>${section.table.rows.length} rows</summary>${text}</details>` : text}`;
    }
    case 'confusion':
      return `${heading}${note}${renderConfusion(section.matrix)}`;
    case 'images':
      return `${heading}${note}${await renderImages(section.images, section.size ?? 96)}`;
    case 'text':
      return `${heading}<pre>${escapeHtml(section.text)}</pre>`;
    default:
      return section satisfies never;
  }
}

/** The whole page. It loads nothing: pictures are inside, and there is no script. */
export async function renderReport({ title, facts, sections }: Report): Promise<string> {
  const list = Object.entries(facts)
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value))}</dd></div>`)
    .join('');
  const body = await Promise.all(sections.map(renderSection));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${escapeHtml(title)}</title><style>${style}
</style></head><body><main>
<h1>${escapeHtml(title)}</h1>
<dl>${list}</dl>
${body.join('\n')}
</main></body></html>
`;
}
