/** A side of a comparison: a child process of its own that runs only when it is asked something. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { found, pythonEnv } from './python.mjs';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/**
 * @typedef {object} SideSpec
 * @property {string} name
 * @property {string} script relative to bench/
 * @property {string[]} args
 * @property {Record<string, string | undefined>} env added to this process's; undefined takes a variable away
 * @property {string} [command] what runs the script; default this Node
 * @property {string} [refused] why this side cannot be started at all
 */

/**
 * A peer's command line, and the kinds of workload it takes part in.
 * @typedef {object} Peer
 * @property {(threads: number) => SideSpec} side
 * @property {(workload: import('../workloads.mjs').Workload) => boolean} does
 * @property {'alone' | 'together'} runs in a contest of its own with Trireme, or in one with the other native peers
 * @property {string} [need] of lib/python.mjs
 */

/** The workloads of the first list: libraries of JavaScript are asked for these. */
const FIRST = /^(gemm|eager|mlp|cnn|gpt|lstm|embedding|resnet18-infer|start-up$)/;

/** @returns {Peer} */
const javascript = (/** @type {string} */ name, /** @type {string} */ script, /** @type {string[]} */ args) => ({
  side: (threads) => ({ name, script, args: [...args, '--threads', String(threads)], env: {} }),
  does: (workload) => FIRST.test(workload.name),
  runs: 'alone',
});

/** @returns {Peer} */
const python = (
  /** @type {string} */ name,
  /** @type {string} */ need,
  /** @type {string} */ script,
  /** @type {string[]} */ args,
  /** @type {Peer['does']} */ does = () => true,
  /** @type {Record<string, string>} */ env = {},
) => ({
  side: (threads) => {
    const place = found()[need] ?? { reason: 'not set up: npm run bench:setup' };
    const base = { name, script, args: [...args, '--threads', String(threads)], env: { ...pythonEnv(threads), ...env } };
    return 'reason' in place ? { ...base, refused: place.reason } : { ...base, command: place.python };
  },
  // Models in files are ONNX Runtime's alone.
  does: (workload) => (workload.kind !== 'onnx' || name === 'onnxruntime') && does(workload),
  runs: 'together',
  need,
});

/**
 * The MKL that PaddlePaddle's wheel brings is of 2019 and takes a slow path on CPUs that are not Intel's; told to take the one for
 * AVX2, it is three times as fast. On Intel's CPUs the variable is better left alone.
 * @returns {Record<string, string>}
 */
const paddleEnv = () => (/intel/i.test(cpus()[0]?.model ?? '') ? {} : { MKL_DEBUG_CPU_TYPE: '5' });

/** @type {Peer['does']} */
const forwardOnly = ({ kind, name }) =>
  kind === 'infer' || kind === 'onnx' || kind === 'gemm' || (kind === 'op' && !/-(d[xw]|train)$/.test(name));
/** @type {Peer['does']} */
const products = ({ kind, name }) => kind === 'gemm' || (/^(conv|depthwise)-/.test(name) && !/-d[xw]$/.test(name));

/** @type {Record<string, Peer>} */
export const PEERS = {
  'tfjs-wasm': javascript('tfjs-wasm', 'peers/tfjs.mjs', ['--backend', 'wasm']),
  'tfjs-cpu': javascript('tfjs-cpu', 'peers/tfjs.mjs', ['--backend', 'cpu']),
  'jax-js': javascript('jax-js', 'peers/jax-js.mjs', []),
  torch: python('torch', 'torch', 'peers/pytorch.py', ['--mode', 'eager']),
  'torch-compile': python('torch-compile', 'torch', 'peers/pytorch.py', ['--mode', 'compile'], ({ kind }) => kind !== 'eager'),
  paddle: python('paddle', 'paddle', 'peers/paddlepaddle.py', ['--mode', 'dynamic'], () => true, paddleEnv()),
  'paddle-static': python(
    'paddle-static',
    'paddle',
    'peers/paddlepaddle.py',
    ['--mode', 'static'],
    ({ kind, name }) => kind !== 'eager' && !/-d[xw]$/.test(name),
    paddleEnv(),
  ),
  onnxruntime: python('onnxruntime', 'onnxruntime', 'peers/onnxrt.py', [], forwardOnly),
  openblas: python('openblas', 'openblas', 'peers/openblas.py', [], ({ kind }) => kind === 'gemm'),
  onednn: python('onednn', 'torch', 'peers/pytorch.py', ['--mode', 'onednn'], products),
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
    this.child = spawn(spec.command ?? process.execPath, [spec.script, ...spec.args], {
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
        // Nanoseconds on a core.
        const [ran] = readFileSync(`/proc/${this.child.pid}/task/${id}/schedstat`, 'utf8').split(' ');
        seconds.set(id, Number(ran) / 1e9);
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
