/** A graph as one HTML page: nothing is loaded from elsewhere, and only the page's own script runs. */
import { createHash } from 'node:crypto';
import { type Layout, layOut, type Point } from './layout.js';
import { script, style } from './page-parts.js';

export type Category = 'io' | 'linear' | 'activation' | 'norm' | 'pool' | 'shape' | 'math' | 'control';

export interface PictureNode {
  readonly title: string;
  /** Smaller lines under the title. */
  readonly lines: readonly string[];
  readonly category: Category;
  /** What a click shows. */
  readonly details: readonly (readonly [name: string, value: string])[];
}
export interface PictureLink {
  readonly from: number;
  readonly to: number;
  /** The shape that flows. */
  readonly label: string;
  /** The name of the value. */
  readonly name: string;
}
export interface Picture {
  readonly title: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly tables: readonly { readonly title: string; readonly rows: readonly (readonly string[])[] }[];
  readonly nodes: readonly PictureNode[];
  readonly links: readonly PictureLink[];
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const lineHeight = 15;
const padding = 12;

/** Letters of the page's fonts are about this wide, in pixels. */
function boxOf({ title, lines }: PictureNode): { readonly width: number; readonly height: number } {
  const widest = Math.max(title.length * 8.6, ...lines.map((line) => line.length * 7));
  return { width: Math.max(76, Math.ceil(widest) + 2 * padding), height: 26 + (lines.length === 0 ? 0 : lines.length * lineHeight + 7) };
}

const n = (value: number): string => String(Math.round(value * 10) / 10);

/** A smooth line through the middles of the way's parts, with straight ends. */
function pathOf(points: readonly Point[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return '';
  if (rest.length < 2) return `M${n(first.x)} ${n(first.y)}${rest.map(({ x, y }) => `L${n(x)} ${n(y)}`).join('')}`;
  let path = `M${n(first.x)} ${n(first.y)}`;
  for (let i = 0; i < rest.length - 1; i++) {
    const [corner, next] = [rest[i], rest[i + 1]];
    const end = i === rest.length - 2 ? next : { x: (corner.x + next.x) / 2, y: (corner.y + next.y) / 2 };
    path += `Q${n(corner.x)} ${n(corner.y)} ${n(end.x)} ${n(end.y)}`;
  }
  return path;
}

function drawNode(node: PictureNode, index: number, { x, y }: Point): string {
  const { width, height } = boxOf(node);
  const [left, top] = [x - width / 2, y - height / 2];
  const lines = node.lines.map((line, i) => `<text x="${padding}" y="${26 + 15 + i * lineHeight}">${escape(line)}</text>`).join('');
  const body = node.lines.length === 0 ? '' : `<path class="body" d="M0 26H${n(width)}V${n(height - 5)}a5 5 0 0 1-5 5H5a5 5 0 0 1-5-5Z"/>`;
  const rounding =
    node.lines.length === 0
      ? `<rect class="head" width="${n(width)}" height="26" rx="${node.category === 'io' ? 13 : 5}"/>`
      : `<path class="head" d="M0 26V5a5 5 0 0 1 5-5H${n(width - 5)}a5 5 0 0 1 5 5V26Z"/>`;
  return `<g class="node ${node.category}" data-i="${index}" tabindex="0" transform="translate(${n(left)} ${n(top)})">${rounding}${body}<text class="title" x="${n(width / 2)}" y="18">${escape(node.title)}</text>${lines}</g>`;
}

function drawLinks(links: readonly PictureLink[], layout: Layout): string {
  const labels = new Set<string>();
  return links
    .map(({ from, to, label, name }, i) => {
      const { points, label: at } = layout.links[i];
      // Links of one value that leave together need one label.
      const key = `${from} ${label} ${n(at.x)} ${n(at.y)}`;
      const text = label === '' || labels.has(key) ? '' : `<text x="${n(at.x)}" y="${n(at.y)}">${escape(label)}</text>`;
      labels.add(key);
      return `<g class="link" data-from="${from}" data-to="${to}"><title>${escape(name)}</title><path d="${pathOf(points)}" marker-end="url(#arrow)"/>${text}</g>`;
    })
    .join('\n');
}

function drawTable({ title, rows }: Picture['tables'][number]): string {
  const body = rows.map(
    ([first, ...cells]) => `<tr><th scope="row">${escape(first)}</th>${cells.map((cell) => `<td>${escape(cell)}</td>`).join('')}</tr>`,
  );
  return `<details${rows.length > 40 ? '' : ' open'}><summary>${escape(title)}</summary><table>${body.join('')}</table></details>`;
}

/** JSON that may stand in a script element. */
function embedded(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

export function renderPage({ title, facts, tables, nodes, links }: Picture): string {
  const layout = layOut(nodes.map(boxOf), links);
  const data = `const details = ${embedded(nodes.map((node) => node.details))};\n`;
  const code = `${data}${script}`;
  const hash = createHash('sha256').update(code).digest('base64');
  const list = facts.map(([name, value]) => `<div><dt>${escape(name)}</dt><dd>${escape(value)}</dd></div>`).join('');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'">
<title>${escape(title)}</title><style>${style}</style></head><body>
<aside>
<h1>${escape(title)}</h1>
<dl>${list}</dl>
<section id="details" hidden><h2></h2><table></table></section>
${tables.map(drawTable).join('\n')}
</aside>
<main>
<nav><input id="search" type="search" placeholder="Search nodes" aria-label="Search nodes"><span id="hits"></span><button id="out" title="Smaller">−</button><button id="in" title="Larger">+</button><button id="fit" title="The whole graph">Fit</button></nav>
<svg id="graph" data-width="${n(layout.width)}" data-height="${n(layout.height)}" aria-label="Graph of the model"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8Z"/></marker></defs><g id="view">
${drawLinks(links, layout)}
${nodes.map((node, i) => drawNode(node, i, layout.nodes[i])).join('\n')}
</g></svg>
</main>
<script>${code}</script></body></html>
`;
}
