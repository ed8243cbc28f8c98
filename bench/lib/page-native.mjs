/** The second part of the page: the native tier beside libraries that are compiled ahead of time. */
import { WORKLOADS } from '../workloads.mjs';
import { median } from './measure.mjs';
import { busy, factorOf, gap, groupsOf, memory, remarks, shown, titleOf } from './page.mjs';
import { defectOf } from './rows.mjs';
import { PEERS } from './side.mjs';

/** @typedef {import('./page.mjs').Notes} Notes */

/** Peers that take part in a few workloads each share a column. */
const NARROW = ['openblas', 'onednn'];

const percent = (/** @type {number | undefined} */ share) => (share === undefined ? '' : `${Math.round(100 * share)} %`);

/** GFLOP/s or GB/s. */
function rate(/** @type {any} */ side) {
  if (side?.gflops !== undefined && !(side.gbps > side.gflops)) return `${shown(side.gflops)} GFLOP/s`;
  return side?.gbps === undefined ? '' : `${shown(side.gbps)} GB/s`;
}

function cell(/** @type {any} */ row, /** @type {Notes} */ notes, named = false) {
  if (!row) return '';
  const name = named ? `${row.peer} ` : '';
  if (row.peerMs === null) return `${name}–${notes.mark(`${row.peer}, ${row.workload}: ${row.theirs.refused ?? row.theirs.failed}`)}`;
  return `${name}${shown(row.peerMs)} ${factorOf(row)}${remarks(row, notes)}`;
}

/** Rows in which a peer is clearly ahead, with the cause that a profile showed. */
function behind(/** @type {any[]} */ rows, /** @type {Record<string, string>} */ causes) {
  const lost = rows.filter((r) => r.verdict === 'behind');
  if (lost.length === 0) return [];
  const out = ['', '#### Where a peer is ahead, and why', '', '| workload | peer | factor | cause |', '| --- | --- | ---: | --- |'];
  for (const row of lost) {
    const cause = causes[`${row.workload} ${row.threads}`] ?? causes[row.workload] ?? 'not profiled yet';
    out.push(`| ${row.workload} | ${row.peer} | ${factorOf(row)} | ${cause} |`);
  }
  return out;
}

/** How each peer was run where it had a choice. */
function ways(/** @type {any[]} */ rows) {
  const chosen = new Map(rows.filter((r) => r.theirs?.way).map((r) => [`${r.peer} ${r.workload}`, r]));
  if (chosen.size === 0) return [];
  const out = [
    '',
    '### How the peers were run',
    '',
    'Where a library has several ways to do the same, each was tried at setup and the fastest one measured. Threads are set by its own',
    'call and by `OMP_NUM_THREADS`; other settings of BLAS and OpenMP are taken out of the environment. glibc is told to keep large',
    'blocks of memory (`MALLOC_MMAP_THRESHOLD_`), which spares the peers page faults at each large result. Denormals are computed as',
    'IEEE 754 says on all sides.',
    '',
    '| peer | workload | way | instead of |',
    '| --- | --- | --- | --- |',
  ];
  for (const { peer, workload, theirs } of chosen.values()) {
    const others = Object.entries(theirs.ways ?? {}).filter(([name]) => name !== theirs.way);
    const text = [...others.map(([name, ms]) => `${name} (${shown(ms)} ms)`), ...(theirs.failedWays ?? [])].join('; ');
    out.push(`| ${peer} | ${workload} | ${theirs.way} | ${text.replaceAll('|', '/')} |`);
  }
  return out;
}

/**
 * @param {any[]} rows
 * @param {import('./page.mjs').Machine} machine
 * @param {Record<string, string>} causes
 * @param {Notes} notes
 */
export function nativePart(rows, machine, causes, notes) {
  const peers = Object.keys(PEERS).filter((p) => rows.some((r) => r.peer === p));
  const wide = peers.filter((p) => !NARROW.includes(p));
  const out = [
    '',
    'The share of the roof is the time that the machine needs at least over the time taken: for products from the multiplications and',
    'additions, for the rest from the bytes that have to move. The roof is measured by Trireme (`measureRoof`): fused arithmetic in',
    'registers, and a triad over arrays larger than the caches. More than 100 % is possible where a convolution is done with fewer',
    'multiplications, or where an array stays in the cache. int8 inference is not measured: the library has no int8 kernels yet.',
  ];
  for (const group of groupsOf(rows)) {
    const mine = rows.filter((r) => r.tier === group.tier && r.threads === group.threads);
    const roof = machine.roofs?.[`${group.tier} ${group.threads}`];
    out.push('', `### ${titleOf(group)}`, '');
    if (roof) out.push(`Roof: ${shown(roof.gflops)} GFLOP/s in float32, ${shown(roof.gbps)} GB/s.`, '');
    const narrow = peers.some((p) => NARROW.includes(p));
    const columns = [...wide, ...(narrow ? [peers.filter((p) => NARROW.includes(p)).join(', ')] : [])];
    out.push(
      `| workload | unit | Trireme | reached | of the roof | ${columns.join(' | ')} |`,
      `| --- | --- | ---: | ---: | ---: |${' ---: |'.repeat(columns.length)}`,
    );
    for (const workload of WORKLOADS) {
      const found = mine.filter((r) => r.workload === workload.name);
      if (found.length === 0) continue;
      const own = found.map((r) => r.oursMs).filter((ms) => ms !== null);
      const bad = found.map(defectOf).find((d) => d !== undefined);
      const mark = bad ? notes.mark(`${workload.name}: ${bad}`) : '';
      const of = (/** @type {string} */ p) => found.find((r) => r.peer === p);
      const cells = wide.map((p) => cell(of(p), notes));
      if (narrow) {
        const texts = NARROW.map((p) => cell(of(p), notes, true)).filter((text) => text !== '');
        cells.push(texts.join(', '));
      }
      const side = found[0].ours;
      out.push(
        `| ${workload.name} | ${workload.unit} | ${own.length > 0 ? shown(median(own)) : '–'}${mark} | ${rate(side)} | ${percent(side?.ofRoof)} | ${cells.join(' | ')} |`,
      );
    }
    out.push('', busy(mine, peers, group.threads), ...behind(mine, causes));
  }
  out.push(...ways(rows), '', '### Peak memory of these (RSS, MB)', '', ...memory(rows, peers));
  out.push('', '### Values of these', '', 'The largest difference of a side to the expected losses or outputs.', '');
  out.push(`| workload | Trireme | ${peers.join(' | ')} |`, `| --- | ---: |${' ---: |'.repeat(peers.length)}`);
  for (const workload of WORKLOADS) {
    const found = rows.filter((r) => r.workload === workload.name);
    if (found.length === 0 || workload.kind === 'startup' || Object.keys(workload.losses).length === 0) continue;
    const gaps = [found.map((r) => r.ours), ...peers.map((p) => found.filter((r) => r.peer === p).map((r) => r.theirs))];
    out.push(`| ${workload.name} | ${gaps.map((sides) => gap(sides, workload)).join(' | ')} |`);
  }
  return out;
}
