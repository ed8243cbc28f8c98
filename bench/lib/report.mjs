/** Rows of a run and the Markdown made of them. */
import { WORKLOADS } from '../workloads.mjs';
import { median, proof } from './measure.mjs';

/**
 * @typedef {import('./measure.mjs').Measured} Measured
 * @typedef {import('./measure.mjs').Trouble} Trouble
 * @typedef {import('../workloads.mjs').Workload} Workload
 */

/** A factor this close to 1 is no difference: two equal processes come out that far apart. */
const MARGIN = 1.05;

/** @returns {result is Measured} */
const measured = (/** @type {Measured | Trouble} */ result) => 'times' in result;

const round = (/** @type {number} */ value, /** @type {number} */ digits = 4) => Number(value.toPrecision(digits));

/** Numbers of one side, as they stand in a row. */
function sideOf(/** @type {Measured | Trouble} */ result, /** @type {Workload} */ workload) {
  if (!measured(result) || result.times.length === 0) {
    const trouble = measured(result) ? { failed: 'nothing was measured' } : result;
    return { ms: null, trouble };
  }
  const scale = 1 / workload.opsPerCall;
  const rounds = result.roundMedians.map((ms) => ms * scale);
  const { match, fell, losses } = proof(result, workload);
  return {
    ms: median(result.times) * scale,
    rounds,
    detail: {
      range: [round(Math.min(...result.times) * scale), round(Math.max(...result.times) * scale)],
      rounds: rounds.map((ms) => round(ms)),
      calls: result.times.length,
      coldMs: round(result.coldMs * scale),
      // Cores kept busy and threads that took part, from CPU time; null where /proc does not tell.
      cores: result.busyMs > 0 && result.cpuSeconds > 0 ? round((1000 * result.cpuSeconds) / result.busyMs, 2) : null,
      busyThreads: result.cpuSeconds > 0 ? result.busyThreads : null,
      peakMB: Math.round(result.peakBytes / 1e6),
      losses,
      match,
      ...(result.info ?? {}),
    },
    fell,
    note: result.note,
  };
}

/**
 * The machine-readable row of a pairing. `ratio` is the peer's time over ours: above 1 we are ahead.
 * @param {{ workload: Workload, threads: number, tier: string, peer: string, ours: Measured | Trouble, theirs: Measured | Trouble }} run
 */
export function rowOf({ workload, threads, tier, peer, ours, theirs }) {
  const a = sideOf(ours, workload);
  const b = sideOf(theirs, workload);
  /** @type {Record<string, unknown>} */
  const row = { workload: workload.name, threads, tier: measured(ours) ? (ours.info?.tier ?? tier) : tier, peer };
  row.oursMs = a.ms === null ? null : round(a.ms);
  row.peerMs = b.ms === null ? null : round(b.ms);
  row.ratio = a.ms === null || b.ms === null ? null : round(b.ms / a.ms, 3);
  const falls = [a, b].filter((side) => side.ms !== null && side.fell !== null);
  row.lossFell = falls.length === 0 ? null : falls.every((side) => side.fell);
  row.unit = workload.unit;
  if (a.rounds && b.rounds) {
    // Nothing is claimed inside the range in which the round medians of the two sides wander.
    const low = Math.min(...b.rounds) / Math.max(...a.rounds);
    const high = Math.max(...b.rounds) / Math.min(...a.rounds);
    row.ratioRange = [round(low, 3), round(high, 3)];
    row.verdict = low > MARGIN ? 'ahead' : high < 1 / MARGIN ? 'behind' : 'within the noise';
  }
  const proved = [a, b].filter((side) => side.detail !== undefined);
  row.lossesMatch = proved.length > 0 && proved.every((side) => side.detail?.match);
  if (a.detail && b.detail) row.rssRatio = round(b.detail.peakMB / a.detail.peakMB, 3);
  row.ours = a.detail ?? a.trouble;
  row.theirs = b.detail ?? b.trouble;
  if (a.note) row.oursNote = a.note;
  if (b.note) row.peerNote = b.note;
  return row;
}

/** A row has a defect of ours: we could not do it, or a loss is not what it must be. */
export function defectOf(/** @type {any} */ row) {
  if (row.oursMs === null) return `Trireme: ${row.ours.refused ?? row.ours.failed}`;
  if (row.peerMs === null && row.theirs.failed) return `${row.peer} broke: ${row.theirs.failed}`;
  if (!row.ours.match) return `Trireme's values are not the expected ones: ${JSON.stringify(row.ours.losses)}`;
  if (row.peerMs !== null && !row.theirs.match)
    return `${row.peer}'s values are not the expected ones: ${JSON.stringify(row.theirs.losses)}`;
  if (row.lossFell === false) return 'a loss did not fall';
  return undefined;
}

const shown = (/** @type {number | null} */ ms) =>
  ms === null ? '–' : ms >= 100 ? ms.toFixed(0) : ms >= 1 ? ms.toFixed(1) : ms.toPrecision(2);
const times = (/** @type {number} */ ratio) => `${ratio >= 10 ? ratio.toFixed(0) : ratio.toPrecision(2)}×`;

/** Adds notes and gives back their mark. */
class Notes {
  /** @type {string[]} */
  list = [];

  mark(/** @type {string} */ text) {
    let at = this.list.indexOf(text);
    if (at < 0) at = this.list.push(text) - 1;
    return `<sup>${at + 1}</sup>`;
  }
}

function cell(/** @type {any} */ row, /** @type {Notes} */ notes) {
  if (!row) return ['', ''];
  if (row.peerMs === null) return [`–${notes.mark(`${row.peer}, ${row.workload}: ${row.theirs.refused ?? row.theirs.failed}`)}`, ''];
  const few = row.theirs.calls < 5 ? notes.mark(`${row.peer}, ${row.workload}: so slow that fewer than 5 calls were measured`) : '';
  const note = `${row.peerNote ? notes.mark(`${row.peer}, ${row.workload}: ${row.peerNote}`) : ''}${few}`;
  const ratio = row.ratio === null ? '' : row.verdict === 'within the noise' ? `(${times(row.ratio)})` : times(row.ratio);
  return [`${shown(row.peerMs)}${note}`, ratio === '' || row.verdict === 'within the noise' ? ratio : `**${ratio}**`];
}

/**
 * The page docs/benchmarks.md.
 * @param {any[]} rows
 * @param {{ cpu: string, node: string, versions: Record<string, string>, date: string }} machine
 */
export function page(rows, machine) {
  const notes = new Notes();
  const peers = [...new Set(rows.map((r) => r.peer))];
  const out = [
    '# Benchmarks',
    '',
    '<!-- Generated by `npm run bench`; edit bench/lib/report.mjs instead. -->',
    '',
    `${machine.cpu}, Node ${machine.node}, ${machine.date}. ${Object.entries(machine.versions)
      .map(([name, v]) => `${name} ${v}`)
      .join(', ')}.`,
    '',
    'Each pairing runs in one go, in two processes that take turns (A B A B, the idle one frozen): a cold call, a warm-up of at least',
    '3 calls and 0.7 s, then 5 rounds of at least a call and 0.7 s each. Times are medians; a time ends when the result is readable on',
    "the host. The factor is the peer's time over Trireme's from the same pairing, in brackets where the round medians of the two",
    'sides overlap, so that nothing is claimed. Workloads, data and expected losses: `bench/workloads.mjs`. Every side computes from',
    'the same numbers, and a row counts only when its losses agree.',
    '',
    'Run it: `npm run bench -- --peers tfjs-wasm,tfjs-cpu,jax-js --threads 1,2 --tier native,wasm`; see `bench/README.md`.',
  ];
  const groups = [...new Map(rows.map((r) => [`${r.tier} ${r.threads}`, { tier: r.tier, threads: r.threads }])).values()].sort(
    (x, y) => x.tier.localeCompare(y.tier) || x.threads - y.threads,
  );
  for (const { tier, threads } of groups) {
    const mine = rows.filter((r) => r.tier === tier && r.threads === threads);
    out.push('', `## ${tier === 'wasm' ? 'WebAssembly' : 'Native'} tier, ${threads} thread${threads === 1 ? '' : 's'}`, '');
    out.push(
      `| workload | unit | Trireme | ${peers.map((p) => `${p} | factor`).join(' | ')} |`,
      `| --- | --- | ---: |${' ---: | ---: |'.repeat(peers.length)}`,
    );
    for (const workload of WORKLOADS) {
      const found = mine.filter((r) => r.workload === workload.name);
      if (found.length === 0) continue;
      const own = found.map((r) => r.oursMs).filter((ms) => ms !== null);
      const bad = found.map(defectOf).find((d) => d !== undefined);
      const mark = bad ? notes.mark(`${workload.name}: ${bad}`) : '';
      const cells = peers.flatMap((p) =>
        cell(
          found.find((r) => r.peer === p),
          notes,
        ),
      );
      out.push(`| ${workload.name} | ${workload.unit} | ${own.length > 0 ? shown(median(own)) : '–'}${mark} | ${cells.join(' | ')} |`);
    }
    if (threads > 1) out.push('', busy(mine, peers, threads));
  }
  out.push(
    '',
    '## Peak memory (RSS, MB)',
    '',
    `| workload | Trireme | ${peers.join(' | ')} |`,
    `| --- | ---: |${' ---: |'.repeat(peers.length)}`,
  );
  for (const workload of WORKLOADS) {
    const found = rows.filter((r) => r.workload === workload.name);
    const own = found.map((r) => r.ours?.peakMB).filter((v) => v !== undefined);
    const others = peers.map((p) => {
      const values = found
        .filter((r) => r.peer === p)
        .map((r) => r.theirs?.peakMB)
        .filter((v) => v !== undefined);
      return values.length > 0 ? String(Math.round(median(values))) : '–';
    });
    if (found.length > 0) out.push(`| ${workload.name} | ${own.length > 0 ? Math.round(median(own)) : '–'} | ${others.join(' | ')} |`);
  }
  out.push(
    '',
    '## Losses',
    '',
    'At the steps given (for inference: the first logits); every side, the largest difference to the expected ones.',
    '',
  );
  out.push(`| workload | expected | Trireme | ${peers.join(' | ')} |`, `| --- | --- | ---: |${' ---: |'.repeat(peers.length)}`);
  for (const workload of WORKLOADS) {
    if (Object.keys(workload.losses).length === 0 || workload.kind === 'startup') continue;
    const found = rows.filter((r) => r.workload === workload.name);
    if (found.length === 0) continue;
    const expected = Object.entries(workload.losses)
      .map(([step, loss]) => (workload.kind === 'train' ? `${loss} (${step})` : `${loss}`))
      .join(', ');
    const others = peers.map((p) =>
      gap(
        found.filter((r) => r.peer === p).map((r) => r.theirs?.losses),
        workload,
      ),
    );
    out.push(
      `| ${workload.name} | ${expected} | ${gap(
        found.map((r) => r.ours?.losses),
        workload,
      )} | ${others.join(' | ')} |`,
    );
  }
  if (notes.list.length > 0) out.push('', '## Notes', '', ...notes.list.map((n, i) => `${i + 1}. ${n.replaceAll('\n', ' ')}`));
  return `${out.join('\n')}\n`;
}

function gap(/** @type {(Record<string, number> | undefined)[]} */ losses, /** @type {Workload} */ workload) {
  const differences = losses.flatMap((seen) =>
    Object.entries(seen ?? {})
      .filter(([k]) => k in workload.losses)
      .map(([k, v]) => Math.abs(v - workload.losses[Number(k)])),
  );
  return differences.length > 0 ? Math.max(...differences).toExponential(0) : '–';
}

/** The sentence about threads really used. */
function busy(/** @type {any[]} */ rows, /** @type {string[]} */ peers, /** @type {number} */ threads) {
  const cores = (/** @type {any[]} */ sides) => {
    const seen = sides.map((s) => s?.cores).filter((c) => typeof c === 'number');
    return seen.length > 0 ? `${median(seen).toFixed(1)}` : 'unknown';
  };
  const parts = peers.map((p) => `${p} ${cores(rows.filter((r) => r.peer === p).map((r) => r.theirs))}`);
  return `Asked for ${threads} threads; cores really kept busy, by CPU time (median over the rows): Trireme ${cores(rows.map((r) => r.ours))}, ${parts.join(', ')}.`;
}
