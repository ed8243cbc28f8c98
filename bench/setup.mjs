/**
 * Makes the peers that are not on npm: `npm run bench:setup`. Packages come from pip's configured index into bench/.venv, each
 * peer by itself, so that one that cannot be had here costs the table its rows and nothing else.
 *
 * BENCH_PYTHON names an interpreter to ask first: what it imports already is used from there and not installed again.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { NEEDS, probe, RECORD, VENV, VENV_PYTHON } from './lib/python.mjs';

const say = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);
const run = (/** @type {string} */ command, /** @type {string[]} */ args) =>
  spawnSync(command, args, { stdio: ['ignore', 2, 2] }).status === 0;

const SYSTEM = process.platform === 'win32' ? 'python' : 'python3';
const preferred = process.env.BENCH_PYTHON;

if (!existsSync(VENV_PYTHON) && !run(SYSTEM, ['-m', 'venv', VENV])) {
  say(`${SYSTEM} -m venv failed: the Python peers need Python 3.10 or later with its venv module (Debian: apt-get install python3-venv).`);
  process.exit(1);
}

/** @returns {import('./lib/python.mjs').Found} */
function meet(/** @type {import('./lib/python.mjs').PythonNeed} */ need) {
  const has = (/** @type {string} */ python, /** @type {string} */ note) => {
    const result = probe(python, need.modules);
    return 'error' in result ? result : { python, version: result.version, ...(note === '' ? {} : { note }) };
  };
  if (preferred !== undefined) {
    const there = has(preferred, '');
    if (!('error' in there)) return there;
  }
  const before = has(VENV_PYTHON, '');
  if (!('error' in before)) return before;
  say(`Installing ${need.pip.join(', ')} into bench/.venv ...`);
  const installed = run(VENV_PYTHON, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...need.pip]);
  const after = has(VENV_PYTHON, '');
  if (!('error' in after)) return after;
  const reason = installed ? `installed, but does not import: ${after.error}` : `pip could not install ${need.pip.join(', ')}`;
  if (need.debian === undefined) return { reason };
  const system = has(SYSTEM, `Debian's ${need.debian}`);
  return 'error' in system ? { reason: `${reason}; nor is ${need.debian} there` } : system;
}

/** @type {Record<string, import('./lib/python.mjs').Found>} */
const record = {};
for (const [name, need] of Object.entries(NEEDS)) {
  const result = meet(need);
  record[name] = result;
  say('reason' in result ? `${name}: no (${result.reason})` : `${name}: ${result.version}${result.note ? ` (${result.note})` : ''}`);
  writeFileSync(RECORD, `${JSON.stringify(record, null, 1)}\n`);
}
