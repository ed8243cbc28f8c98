/**
 * The child's half of the line protocol: JSON lines in on stdin, JSON lines out on descriptor 3
 * (stdout stays free for whatever a library prints).
 *
 *   {"cmd":"setup","workload":"mlp-train"}    -> {"ok":true,"note":"..."} or {"refused":"why it cannot"}
 *   {"cmd":"run","calls":3,"ms":700}          -> {"times":[...],"values":[...]}   at least so many calls and so long
 *   {"cmd":"probe"}                           -> {"values":[...]}                 entries of an output, where there is no loss
 *   {"cmd":"stats"}                           -> {"peakBytes":...,"info":{...}}  peak resident memory so far, facts of the run
 *   {"cmd":"roof"}                            -> {"gflops":...,"gbps":...}        the machine's limits, from the side that can measure them
 *   {"cmd":"exit"}
 *
 * A setup also carries the whole workload as "spec", for a side in another language.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { workloadNamed } from '../workloads.mjs';

/** Thrown by a side that cannot do a workload; its message goes into the table. */
export class Refused extends Error {}

/**
 * @typedef {object} Prepared
 * @property {() => number | undefined | Promise<number | undefined>} call one step; ends when its result is readable on the host; a loss, if any
 * @property {() => number[] | Promise<number[]>} [probe] entries of the output, for a workload without a loss
 * @property {string} [note] shown beside the row (a workaround)
 * @property {() => Record<string, unknown>} [info] facts of the run for the machine-readable row, asked at its end
 */

function reply(/** @type {unknown} */ message) {
  writeSync(3, `${JSON.stringify(message)}\n`);
}

/**
 * Serves one side until its parent goes away.
 * @param {(workload: import('../workloads.mjs').Workload) => Prepared | Promise<Prepared>} prepare
 * @param {Record<string, () => object>} further commands of this side alone
 */
export async function serve(prepare, further = {}) {
  /** @type {Prepared | undefined} */
  let prepared;
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    try {
      if (message.cmd === 'exit') process.exit(0);
      if (message.cmd === 'stats') {
        reply({ peakBytes: process.resourceUsage().maxRSS * 1024, info: prepared?.info?.() });
        continue;
      }
      if (message.cmd in further) {
        reply(further[message.cmd]());
        continue;
      }
      if (message.cmd === 'setup') {
        prepared = await prepare(workloadNamed(message.workload));
        reply({ ok: true, note: prepared.note });
        continue;
      }
      if (!prepared) throw new Error(`"${message.cmd}" before "setup"`);
      if (message.cmd === 'probe') {
        reply({ values: prepared.probe ? await prepared.probe() : [] });
        continue;
      }
      const times = [];
      const values = [];
      const begin = performance.now();
      do {
        const before = performance.now();
        const pending = prepared.call();
        // A synchronous side is not charged for a turn of the event loop.
        const value = pending instanceof Promise ? await pending : pending;
        times.push(performance.now() - before);
        if (value !== undefined) values.push(value);
      } while (times.length < message.calls || performance.now() - begin < message.ms);
      reply({ times, values });
    } catch (error) {
      if (error instanceof Refused) reply({ refused: error.message });
      else reply({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  }
  process.exit(0);
}

/** The value after `--name` on the command line. */
export function option(/** @type {string} */ name, /** @type {string} */ fallback) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
}
