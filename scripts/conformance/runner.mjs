// Runs tests in child processes, so that one that crashes or hangs takes no other with it.
import { fork } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** @typedef {import('./tests.mjs').Test} Test */
/** @typedef {{ readonly name: string, readonly status: 'passed' | 'failed' | 'skipped', readonly reason: string, readonly opset: number }} Outcome */

const script = fileURLToPath(new URL('./child.mjs', import.meta.url));

/**
 * @param {readonly Test[]} tests
 * @param {{ readonly jobs: number, readonly tier: string, readonly timeout: number }} options timeout in seconds for one test
 * @param {(outcome: Outcome) => void} done called for each test as it ends
 * @returns {Promise<Outcome[]>} in the order of the tests
 */
export async function runTests(tests, { jobs, tier, timeout }, done) {
  /** @type {Outcome[]} */
  const outcomes = new Array(tests.length);
  let next = 0;

  /** One process after the other, each until it ends by itself or has to be ended. */
  const lane = async () => {
    while (next < tests.length) {
      const child = fork(script, [], {
        env: { ...process.env, TRIREME_TIER: tier, TRIREME_THREADS: process.env.TRIREME_THREADS ?? (jobs > 1 ? '1' : '2') },
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        serialization: 'advanced',
      });
      let said = '';
      child.stderr?.setEncoding('utf8').on('data', (text) => {
        said = (said + text).slice(-2000);
      });
      let alive = true;
      while (alive && next < tests.length) {
        const at = next++;
        const test = tests[at];
        const outcome = await new Promise((/** @type {(outcome: Outcome) => void} */ resolve) => {
          const end = (/** @type {Outcome} */ outcome) => {
            clearTimeout(timer);
            child.removeAllListeners('message').removeAllListeners('exit').removeAllListeners('error');
            resolve(outcome);
          };
          const failed = (/** @type {string} */ reason) => end({ name: test.name, status: 'failed', reason, opset: 0 });
          const timer = setTimeout(() => {
            alive = false;
            child.kill('SIGKILL');
            failed(`no result after ${timeout} s`);
          }, timeout * 1000);
          child.on('message', (/** @type {Omit<Outcome, 'name'>} */ { status, reason, opset }) =>
            end({ name: test.name, status, reason, opset }),
          );
          child.on('exit', (code, signal) => {
            alive = false;
            failed(`the process ended with ${signal ?? `exit code ${code}`}: ${said.trim().split('\n').slice(-3).join(' ')}`);
          });
          child.on('error', (error) => {
            alive = false;
            failed(String(error));
          });
          child.send(test);
        });
        outcomes[at] = outcome;
        done(outcome);
      }
      child.kill('SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, tests.length) }, lane));
  return outcomes;
}
