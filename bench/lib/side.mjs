/** A side of a comparison: a child process of its own that runs only when it is asked something. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/**
 * @typedef {object} SideSpec
 * @property {string} name
 * @property {string} script relative to bench/
 * @property {string[]} args
 * @property {Record<string, string>} env
 */

/** The command line of each peer. */
export const PEERS = {
  'tfjs-wasm': (/** @type {number} */ threads) => ({
    name: 'tfjs-wasm',
    script: 'peers/tfjs.mjs',
    args: ['--backend', 'wasm', '--threads', String(threads)],
    env: {},
  }),
  'tfjs-cpu': (/** @type {number} */ threads) => ({
    name: 'tfjs-cpu',
    script: 'peers/tfjs.mjs',
    args: ['--backend', 'cpu', '--threads', String(threads)],
    env: {},
  }),
  'jax-js': (/** @type {number} */ threads) => ({
    name: 'jax-js',
    script: 'peers/jax-js.mjs',
    args: ['--threads', String(threads)],
    env: {},
  }),
};

/** @returns {SideSpec} */
export function ours(/** @type {number} */ threads, /** @type {string} */ tier) {
  return {
    name: 'trireme',
    script: 'peers/trireme.mjs',
    args: ['--tier', tier],
    // "auto" leaves the tier to the library.
    env: { TRIREME_THREADS: String(threads), ...(tier === 'auto' ? {} : { TRIREME_TIER: tier }) },
  };
}

/** A side said no; the message is its reason. */
export class SideRefused extends Error {}
/** A side broke. */
export class SideFailed extends Error {}

/** A frozen child would outlive its parent: it could not see its stdin close. */
const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => process.exit(1));

export class Side {
  /**
   * Starts the process; it is frozen (SIGSTOP) whenever it has nothing to answer, so that no idle thread of one side takes
   * time from the other.
   * @param {SideSpec} spec
   */
  constructor(spec) {
    this.name = spec.name;
    this.startedAt = performance.now();
    this.child = spawn(process.execPath, [spec.script, ...spec.args], {
      cwd: HERE,
      env: { ...process.env, ...spec.env },
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    });
    this.printed = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      this.printed = (this.printed + chunk.toString()).slice(-4000);
    };
    this.child.stdout?.on('data', keep);
    this.child.stderr?.on('data', keep);
    this.child.stdin?.on('error', () => undefined);
    const channel = /** @type {import('node:stream').Readable} */ (this.child.stdio[3]);
    this.lines = createInterface({ input: channel })[Symbol.asyncIterator]();
    alive.add(this.child);
    this.exited = once(this.child, 'exit').then(() => alive.delete(this.child));
  }

  #signal(/** @type {'SIGSTOP' | 'SIGCONT'} */ signal) {
    if (process.platform !== 'win32' && this.child.exitCode === null) this.child.kill(signal);
  }

  /**
   * Sends a command and waits for its answer.
   * @param {Record<string, unknown>} message
   * @param {number} [limitMs]
   * @returns {Promise<any>}
   */
  async ask(message, limitMs = 600_000) {
    this.#signal('SIGCONT');
    this.child.stdin?.write(`${JSON.stringify(message)}\n`);
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new SideRefused(`no answer to "${message.cmd}" within ${Math.round(limitMs / 1000)} s`)), limitMs);
    });
    try {
      const { value, done } = await Promise.race([this.lines.next(), /** @type {Promise<never>} */ (late)]);
      if (done) {
        await this.exited;
        throw new SideFailed(
          `${this.name} ended with code ${this.child.exitCode ?? this.child.signalCode}: ${this.printed.trim().slice(-600)}`,
        );
      }
      const answer = JSON.parse(value);
      if (answer.refused !== undefined) throw new SideRefused(answer.refused);
      if (answer.error !== undefined) throw new SideFailed(answer.error);
      return answer;
    } finally {
      clearTimeout(timer);
      this.#signal('SIGSTOP');
    }
  }

  /** CPU seconds of each thread so far, by thread id; empty where there is no /proc. */
  cpuByThread() {
    /** @type {Map<string, number>} */
    const seconds = new Map();
    try {
      for (const id of readdirSync(`/proc/${this.child.pid}/task`)) {
        const stat = readFileSync(`/proc/${this.child.pid}/task/${id}/stat`, 'utf8');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        // utime and stime, in ticks of 10 ms (fields 14 and 15 of proc(5)).
        seconds.set(id, (Number(fields[11]) + Number(fields[12])) / 100);
      }
    } catch {
      // Not Linux, or the thread has just ended: report what there is.
    }
    return seconds;
  }

  async stop() {
    this.child.stdin?.end();
    this.#signal('SIGCONT');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 3000);
    await this.exited;
    clearTimeout(timer);
  }
}
