/** Rows of a run: what a contest measured, machine-readable. */
import { workOf } from '../workloads.mjs';
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
    return /** @type {const} */ ({ ms: null, trouble });
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
      // CPU time a call, of all threads: what is left to compare where the machine is shared.
      cpuMs: result.cpuSeconds > 0 ? round((1000 * result.cpuSeconds * scale) / result.times.length) : null,
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
 * The machine's limits as Trireme's own code reaches them, and the share of them that a time stands for.
 * @typedef {{ gflops: number, gbps: number }} Roof
 */

/**
 * What was reached: GFLOP/s where products are the work, else GB/s; and the share of the time that the roof allows.
 * @param {Workload} workload
 * @param {number} ms of a call
 * @param {Roof | undefined} roof
 */
function reached(workload, ms, roof) {
  const { flops, bytes } = workOf(workload.name, workload.size);
  if (flops === 0 && bytes === 0) return {};
  const least = roof === undefined ? null : 1000 * Math.max(flops / (1e9 * roof.gflops), bytes / (1e9 * roof.gbps));
  return {
    ...(flops > 0 ? { gflops: round(flops / ms / 1e6, 3) } : {}),
    ...(bytes > 0 ? { gbps: round(bytes / ms / 1e6, 3) } : {}),
    ...(least === null ? {} : { ofRoof: round(least / ms, 3) }),
  };
}

/**
 * The row of ours and one peer. `ratio` is the peer's time over ours: above 1 we are ahead.
 * @param {{ workload: Workload, threads: number, tier: string, peer: string, ours: Measured | Trouble, theirs: Measured | Trouble, roof?: Roof }} run
 */
export function rowOf({ workload, threads, tier, peer, ours, theirs, roof }) {
  const a = sideOf(ours, workload);
  const b = sideOf(theirs, workload);
  /** @type {Record<string, unknown>} */
  const row = { workload: workload.name, threads, tier: measured(ours) && tier === 'auto' ? (ours.info?.tier ?? tier) : tier, peer };
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
  row.ours = a.detail ? { ...a.detail, ...reached(workload, a.ms, roof) } : a.trouble;
  row.theirs = b.detail ? { ...b.detail, ...reached(workload, b.ms, roof) } : b.trouble;
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
