/** Style and script of the page of a graph. */

export const style = `
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6677;--line:#d9dee7;--page:#fff;--card:#f6f8fb;--edge:#8a94a6;
--io:#475569;--linear:#2563eb;--activation:#b45309;--norm:#0f766e;--pool:#7e22ce;--shape:#64748b;--math:#be185d;--control:#111827}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b8;--line:#343b48;--page:#12161d;--card:#1b212b;--edge:#71809a;
--io:#64748b;--linear:#2f6fe4;--activation:#b86a14;--norm:#14857b;--pool:#8b3fd1;--shape:#556277;--math:#c02a6c;--control:#3f4a5c}}
*{box-sizing:border-box}
html,body{height:100%}
body{margin:0;display:grid;grid-template-columns:minmax(250px,340px) 1fr;font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page)}
aside{overflow:auto;padding:18px;border-right:1px solid var(--line);background:var(--card);height:100vh}
h1{font-size:1.2rem;margin:0 0 10px;overflow-wrap:anywhere}h2{font-size:1rem;margin:0 0 6px}
dl{margin:0 0 14px}dl div{display:flex;justify-content:space-between;gap:12px;padding:3px 0;border-bottom:1px solid var(--line)}dt{color:var(--soft)}dd{margin:0;text-align:right;font-weight:600;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{padding:3px 0 3px 8px;text-align:right;font-weight:400;vertical-align:top;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
th{text-align:left;padding-left:0;font-weight:600;max-width:170px}tr+tr{border-top:1px solid var(--line)}
details{margin-top:12px}summary{cursor:pointer;font-weight:600;margin-bottom:4px}
#details{background:var(--page);border:1px solid var(--line);border-radius:8px;padding:10px 12px;margin-bottom:12px}#details td{white-space:pre-wrap}
main{position:relative;height:100vh;overflow:hidden}
#graph{width:100%;height:100%;display:block;cursor:grab;touch-action:none}#graph.moving{cursor:grabbing}
nav{position:absolute;top:12px;right:12px;display:flex;gap:6px;align-items:center;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px;box-shadow:0 1px 4px #0002}
nav button,nav input{font:inherit;color:inherit;background:var(--page);border:1px solid var(--line);border-radius:5px;padding:3px 9px;min-width:32px}#hits{color:var(--soft);font-size:.8rem}
.node{cursor:pointer}.node text{font-size:11px;fill:var(--ink)}.node .title{font-size:13px;font-weight:600;text-anchor:middle;fill:#fff}
.body{fill:var(--card);stroke:var(--line)}
${['io', 'linear', 'activation', 'norm', 'pool', 'shape', 'math', 'control'].map((name) => `.${name} .head{fill:var(--${name})}`).join('')}
.node:focus{outline:none}.chosen .head,.node:focus-visible .head{stroke:var(--ink);stroke-width:2.5}.dim{opacity:.22}
.link path{fill:none;stroke:var(--edge);stroke-width:1.3;vector-effect:non-scaling-stroke}.link text{font-size:10.5px;fill:var(--soft);paint-order:stroke;stroke:var(--page);stroke-width:3px}.link.lit path{stroke:var(--linear);stroke-width:2.4}#arrow path{fill:var(--edge)}
@media(max-width:760px){body{grid-template-columns:1fr;grid-template-rows:auto 70vh;height:auto}aside{height:auto;border-right:0}main{height:70vh}}
`;

/** Pan, zoom, search and the details of the chosen node. `details` stands in front of it. */
export const script = `
const svg = document.getElementById('graph');
const view = document.getElementById('view');
const size = { width: Number(svg.dataset.width), height: Number(svg.dataset.height) };
const nodes = [...view.querySelectorAll('.node')];
const links = [...view.querySelectorAll('.link')];
let scale = 1, left = 0, top_ = 0;
const apply = () => view.setAttribute('transform', 'translate(' + left + ' ' + top_ + ') scale(' + scale + ')');
const zoom = (factor, x, y) => {
  const next = Math.min(4, Math.max(0.02, scale * factor));
  left = x - (x - left) * next / scale;
  top_ = y - (y - top_) * next / scale;
  scale = next;
  apply();
};
const fit = (least) => {
  const box = svg.getBoundingClientRect();
  scale = Math.max(least, Math.min(1, box.width / size.width, box.height / size.height));
  left = (box.width - size.width * scale) / 2;
  top_ = size.height * scale < box.height ? (box.height - size.height * scale) / 2 : 0;
  apply();
};
const middle = () => { const box = svg.getBoundingClientRect(); return [box.width / 2, box.height / 2]; };
const centre = (node) => {
  const box = svg.getBoundingClientRect(), at = node.getBoundingClientRect();
  left += box.left + box.width / 2 - (at.left + at.width / 2);
  top_ += box.top + box.height / 2 - (at.top + at.height / 2);
  apply();
};
svg.addEventListener('wheel', (event) => {
  event.preventDefault();
  const box = svg.getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 200), event.clientX - box.left, event.clientY - box.top);
  else { left -= event.deltaX; top_ -= event.deltaY; apply(); }
}, { passive: false });
let drag = null;
svg.addEventListener('pointerdown', (event) => { drag = { x: event.clientX, y: event.clientY, moved: false, id: event.pointerId }; });
svg.addEventListener('pointermove', (event) => {
  if (!drag || drag.id !== event.pointerId) return;
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  if (!drag.moved) svg.setPointerCapture(event.pointerId);
  svg.classList.add('moving');
  drag = { ...drag, x: event.clientX, y: event.clientY, moved: true };
  left += dx; top_ += dy;
  apply();
});
let dragged = false;
const drop = () => { dragged = drag !== null && drag.moved; drag = null; svg.classList.remove('moving'); };
svg.addEventListener('pointerup', drop);
svg.addEventListener('pointercancel', drop);
const panel = document.getElementById('details');
const choose = (node) => {
  for (const other of nodes) other.classList.toggle('chosen', other === node);
  for (const link of links) link.classList.toggle('lit', node !== null && (link.dataset.from === node.dataset.i || link.dataset.to === node.dataset.i));
  panel.hidden = node === null;
  if (node === null) return;
  panel.querySelector('h2').textContent = node.querySelector('.title').textContent;
  const table = panel.querySelector('table');
  table.replaceChildren(...details[Number(node.dataset.i)].map(([name, value]) => {
    const row = document.createElement('tr'), head = document.createElement('th'), cell = document.createElement('td');
    head.scope = 'row'; head.textContent = name; cell.textContent = value;
    row.append(head, cell);
    return row;
  }));
  panel.scrollIntoView({ block: 'nearest' });
};
svg.addEventListener('click', (event) => { if (!dragged) choose(event.target.closest('.node')); });
svg.addEventListener('keydown', (event) => { if (event.key === 'Enter' && event.target.closest('.node')) choose(event.target.closest('.node')); });
const search = document.getElementById('search'), hits = document.getElementById('hits');
// The first line of the details is the node's name.
const text = details.map((rows, i) => (nodes[i].textContent + ' ' + (rows[0] ?? []).join(' ')).toLowerCase());
let found = [], at = -1;
search.addEventListener('input', () => {
  const wanted = search.value.trim().toLowerCase();
  found = wanted === '' ? [] : nodes.filter((_, i) => text[i].includes(wanted));
  at = -1;
  nodes.forEach((node) => node.classList.toggle('dim', wanted !== '' && !found.includes(node)));
  hits.textContent = wanted === '' ? '' : String(found.length);
});
search.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || found.length === 0) return;
  at = (at + (event.shiftKey ? found.length - 1 : 1)) % found.length;
  hits.textContent = (at + 1) + ' of ' + found.length;
  choose(found[at]);
  centre(found[at]);
});
document.getElementById('in').addEventListener('click', () => zoom(1.3, ...middle()));
document.getElementById('out').addEventListener('click', () => zoom(1 / 1.3, ...middle()));
document.getElementById('fit').addEventListener('click', () => fit(0));
fit(0.55);
// A graph larger than the window is shown from its first node on.
if (nodes.length > 0 && size.height * scale > svg.getBoundingClientRect().height) { centre(nodes[0]); top_ -= middle()[1] - 60; apply(); }
`;
