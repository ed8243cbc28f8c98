/** One contest: ours and peers on a workload, in turn, in one go. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EAGER, gemmEntry, gemmProbes, rnd, specOf } from '../workloads.mjs';
import { cachesIn } from './python.mjs';
import { Side, SideFailed, SideRefused } from './side.mjs';

/**
 * @typedef {object} Protocol
 * @property {number} warmCalls
 * @property {number} warmMs
 * @property {number} rounds A B A B ...: each side is measured once in a round
 * @property {number} roundMs
 * @property {number} starts processes started by the start-up workload, a side
 * @property {number} budgetMs about how long a slow side may take over a contest; beyond it calls are dropped and the row says how many there were
 */

/** @type {Protocol} */
export const FULL = { warmCalls: 3, warmMs: 700, rounds: 5, roundMs: 700, starts: 5, budgetMs: 60_000 };
/** @type {Protocol} */
export const QUICK = { warmCalls: 2, warmMs: 100, rounds: 3, roundMs: 100, starts: 2, budgetMs: 40_000 };

/** A compiler may take minutes over a training step. */
const SETUP_LIMIT_MS = 1_800_000;

export function median(/** @type {number[]} */ values) {
  const sorted = [...values].sort((a, b) => a - b);
  const mid = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
}

/**
 * @typedef {object} Measured
 * @property {number} coldMs
 * @property {number[]} times of the measured calls
 * @property {number[]} roundMedians
 * @property {number[]} values loss of every call since the first
 * @property {number[]} probe
 * @property {number} busyMs wall time of the measured rounds
 * @property {number} cpuSeconds of all threads over the measured rounds
 * @property {number} busyThreads threads that ran for at least a fifth of the measured time
 * @property {number} peakBytes
 * @property {string | undefined} note
 * @property {Record<string, unknown> | undefined} info
 * @property {number} setupMs
 */

/**
 * A failure of one side, kept as a value so that the other side's numbers survive.
 * @typedef {{ refused?: string, failed?: string }} Trouble
 */

/**
 * Runs all sides in turn, A B C A B C. Results come in the same order.
 * @param {import('./side.mjs').SideSpec[]} specs
 * @param {import('../workloads.mjs').Workload} workload
 * @param {Protocol} protocol
 * @returns {Promise<(Measured | Trouble)[]>}
 */
export async function contest(specs, workload, protocol) {
  if (workload.kind === 'startup') return startUps(specs, workload, protocol);
  /** @type {Track[]} */
  const tracks = [];
  try {
    for (const spec of specs) {
      // A process starts when the one before it is frozen.
      const track = new Track(spec, protocol);
      tracks.push(track);
      await track.guard(() => track.prepare(workload));
      if (track.trouble) await track.stop();
    }
    for (const track of tracks) await track.guard(() => track.warmUp());
    for (let round = 0; round < protocol.rounds; round++) {
      for (const track of tracks) await track.guard(() => track.round());
    }
    for (const track of tracks) await track.guard(() => track.finish());
    return tracks.map((track) => track.result());
  } finally {
    for (const track of tracks) await track.stop();
  }
}

class Track {
  constructor(/** @type {import('./side.mjs').SideSpec} */ spec, /** @type {Protocol} */ protocol) {
    /** Null where there is nothing to start. */
    this.process = spec.refused === undefined ? new Side(spec) : null;
    this.protocol = protocol;
    this.spentMs = 0;
    /** @type {Trouble | undefined} */
    this.trouble = spec.refused === undefined ? undefined : { refused: spec.refused };
    /** @type {Measured} */
    this.measured = {
      coldMs: 0,
      times: [],
      roundMedians: [],
      values: [],
      probe: [],
      busyMs: 0,
      cpuSeconds: 0,
      busyThreads: 0,
      peakBytes: 0,
      note: undefined,
      info: undefined,
      setupMs: 0,
    };
    /** @type {Map<string, number>} */
    this.threadSeconds = new Map();
  }

  get side() {
    if (!this.process) throw new SideRefused('the side was not started');
    return this.process;
  }

  async stop() {
    await this.process?.stop();
  }

  /** Does a piece of work unless the side is out already. */
  async guard(/** @type {() => Promise<void>} */ work) {
    if (this.trouble) return;
    const before = performance.now();
    try {
      await work();
    } catch (error) {
      if (error instanceof SideRefused) this.trouble = { refused: error.message };
      else if (error instanceof SideFailed) this.trouble = { failed: error.message };
      else throw error;
    }
    this.spentMs += performance.now() - before;
  }

  async run(/** @type {number} */ calls, /** @type {number} */ ms) {
    const { times, values } = await this.side.ask({ cmd: 'run', calls, ms });
    this.measured.values.push(...values);
    return /** @type {number[]} */ (times);
  }

  async prepare(/** @type {import('../workloads.mjs').Workload} */ workload) {
    const before = performance.now();
    const { note } = await this.side.ask({ cmd: 'setup', workload: workload.name, spec: specOf(workload) }, SETUP_LIMIT_MS);
    this.measured.setupMs = performance.now() - before;
    // Making the data and choosing the best way to compute is not charged.
    this.spentMs -= this.measured.setupMs;
    this.measured.note = note;
    this.measured.coldMs = (await this.run(1, 0))[0];
  }

  /** The warm-up comes in single calls so that a slow side can be cut short. */
  async warmUp() {
    const { warmCalls, warmMs, budgetMs } = this.protocol;
    let calls = 0;
    let ms = 0;
    while (calls < warmCalls || ms < warmMs) {
      const [time] = await this.run(1, 0);
      calls++;
      ms += time;
      if (this.spentMs + ms + time > budgetMs / 3) break;
    }
  }

  async round() {
    const { budgetMs, roundMs } = this.protocol;
    const { roundMedians, times } = this.measured;
    if (roundMedians.length > 0 && this.spentMs + median(times) > budgetMs) return;
    const cpuBefore = this.side.cpuByThread();
    const before = performance.now();
    const fresh = await this.run(1, roundMs);
    this.measured.busyMs += performance.now() - before;
    for (const [id, seconds] of this.side.cpuByThread()) {
      this.threadSeconds.set(id, (this.threadSeconds.get(id) ?? 0) + seconds - (cpuBefore.get(id) ?? 0));
    }
    times.push(...fresh);
    roundMedians.push(median(fresh));
  }

  async finish() {
    // Step 10 has to be reached for its loss to be compared; a side that is still short of it gets there now, if it is quick.
    const { values, times } = this.measured;
    if (values.length > 0 && values.length < 10 && this.spentMs + (10 - values.length) * median(times) < this.protocol.budgetMs) {
      await this.run(10 - values.length, 0);
    }
    this.measured.probe = (await this.side.ask({ cmd: 'probe' })).values;
    await this.stats();
    const seconds = [...this.threadSeconds.values()];
    this.measured.cpuSeconds = seconds.reduce((sum, s) => sum + s, 0);
    this.measured.busyThreads = seconds.filter((s) => s >= this.measured.busyMs / 5000).length;
  }

  async stats() {
    const { peakBytes, info } = await this.side.ask({ cmd: 'stats' });
    this.measured.peakBytes = peakBytes;
    this.measured.info = info;
  }

  /** @returns {Measured | Trouble} */
  result() {
    return this.trouble ?? this.measured;
  }
}

/** Process start to the end of the first training step, A B C A B C. */
async function startUps(
  /** @type {import('./side.mjs').SideSpec[]} */ specs,
  /** @type {import('../workloads.mjs').Workload} */ workload,
  /** @type {Protocol} */ protocol,
) {
  /** @type {Track[]} */
  const last = [];
  const times = specs.map(() => /** @type {number[]} */ ([]));
  const peaks = specs.map(() => /** @type {number[]} */ ([]));
  // One unmeasured start each: files in the page cache, and compiled code in its caches, as on a user's second start.
  for (let i = 0; i <= protocol.starts; i++) {
    for (const [k, spec] of specs.entries()) {
      if (last[k]?.trouble) continue;
      const caches = workload.emptyCaches ? mkdtempSync(join(tmpdir(), 'trireme-bench-')) : undefined;
      const track = new Track(caches === undefined ? spec : { ...spec, env: { ...spec.env, ...cachesIn(caches) } }, protocol);
      await track.guard(async () => {
        const startedAt = track.side.startedAt;
        await track.prepare(workload);
        const elapsed = performance.now() - startedAt;
        await track.stats();
        if (i > 0) {
          times[k].push(elapsed);
          peaks[k].push(track.measured.peakBytes);
        }
      });
      await track.stop();
      if (caches !== undefined) rmSync(caches, { recursive: true, force: true });
      last[k] = track;
    }
  }
  return last.map((track, k) => {
    if (track.trouble) return track.trouble;
    return { ...track.measured, times: times[k], roundMedians: times[k], peakBytes: median(peaks[k]) };
  });
}

/**
 * What the results prove about equal work.
 * @param {Measured} measured
 * @param {import('../workloads.mjs').Workload} workload
 */
export function proof(measured, workload) {
  const { values, probe } = measured;
  if (workload.kind === 'train' || workload.kind === 'startup') {
    const seen = Object.entries(workload.losses).filter(([step]) => values[Number(step) - 1] !== undefined);
    const match = seen.length > 0 && seen.every(([step, loss]) => Math.abs(values[Number(step) - 1] - loss) <= workload.tolerance);
    const losses = Object.fromEntries(seen.map(([step]) => [step, Number(values[Number(step) - 1].toFixed(5))]));
    // One step has nothing to fall from.
    const fell = workload.kind === 'startup' ? null : values.length > 1 && values[values.length - 1] < values[0];
    return { match, fell, losses };
  }
  /** @type {number[]} */
  let expected = [];
  if (workload.kind === 'gemm') expected = gemmProbes(workload.size).map((flat) => gemmEntry(workload.size, flat));
  if (['infer', 'onnx', 'op'].includes(workload.kind)) expected = Object.values(workload.losses);
  if (workload.kind === 'eager') expected = [eagerSum()];
  const match =
    probe.length === expected.length && expected.every((e, i) => Math.abs(probe[i] - e) <= workload.tolerance * Math.max(1, Math.abs(e)));
  return { match, fell: null, losses: Object.fromEntries(probe.map((v, i) => [i, Number(v.toPrecision(5))])) };
}

/** Entry 0 of the chain of float32 additions, rounded at each one. */
function eagerSum() {
  const [x, b] = [1, 2].map((seed) => rnd(seed, 1, -1, 1)[0]);
  let y = x;
  for (let i = 0; i < EAGER.ops; i++) y = Math.fround(y + b);
  return y;
}
