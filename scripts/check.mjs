// All that has to pass before a change is accepted: the tests, `npm start`, and each `check:*` script of package.json.
// Ends with the line `N passed, N failed`, where a test counts one and so does a check.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { chromium } from './browser-tests.mjs';
import { root } from './setup.mjs';

let passed = 0;
let failed = 0;

/**
 * Runs npm in the root; past its minutes it is ended with everything it started.
 * @param {readonly string[]} args
 * @param {number} minutes
 * @param {'inherit' | 'pipe'} stdout
 * @returns {Promise<{ ok: boolean, stdout: string }>}
 */
function npm(args, minutes, stdout = 'inherit') {
  const windows = process.platform === 'win32';
  const child = spawn('npm', args, { cwd: root, stdio: ['ignore', stdout, 'inherit'], detached: !windows, shell: windows });
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const timer = setTimeout(() => {
    console.error(`npm ${args.join(' ')}: stopped after ${minutes} minutes`);
    if (windows || child.pid === undefined) child.kill();
    else process.kill(-child.pid, 'SIGKILL');
  }, minutes * 60_000);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) console.error(`npm ${args.join(' ')}: ended with ${signal ?? `exit code ${code}`}`);
      resolve({ ok: code === 0, stdout: text });
    });
  });
}

/** @param {string} name @param {boolean} ok */
function count(name, ok) {
  if (ok) passed += 1;
  else failed += 1;
  console.log(`${ok ? 'pass' : 'FAIL'}  ${name}`);
}

/** Counts every test that ran, and one failure more for what failed outside of a test. */
async function tests() {
  const folder = mkdtempSync(join(tmpdir(), 'trireme-check-'));
  const report = join(folder, 'report.json');
  const { ok } = await npm(['test', '--', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`], 25);
  let results = { numPassedTests: 0, numFailedTests: 0 };
  try {
    results = JSON.parse(readFileSync(report, 'utf8'));
  } catch (error) {
    console.error(`no report of the tests: ${error}`);
  }
  rmSync(folder, { recursive: true });
  passed += results.numPassedTests;
  failed += results.numFailedTests;
  count('npm test', ok && results.numPassedTests > 0);
}

/** `npm start` has to train, and with --json to write one line of JSON and nothing else to stdout. */
async function start() {
  const { ok, stdout } = await npm(['start', '--silent', '--', '--json'], 4, 'pipe');
  process.stdout.write(stdout);
  let isObject = false;
  try {
    isObject = typeof JSON.parse(stdout) === 'object' && stdout.trimEnd().split('\n').length === 1;
  } catch (error) {
    console.error(`npm start -- --json: ${error}`);
  }
  count('npm start', ok && isObject);
}

await tests();
if (!chromium) console.error('No Chromium found, so the browser tests did not run.');
count('browser tests ran', chromium !== undefined);
await start();

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
// `check:full` takes much longer and is run by hand.
for (const name of Object.keys(scripts).filter((script) => script.startsWith('check:') && script !== 'check:full')) {
  const { ok } = await npm(['run', '--silent', name], 3);
  count(name, ok);
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
