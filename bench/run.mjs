/**
 * Side by side with the peers, in one go:
 *   npm run bench -- --peers torch,onnxruntime,tfjs-wasm --threads 1,2 --tier native,wasm --only mlp-train,gemm-512 --json --quick
 * See bench/README.md.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { contest, FULL, QUICK } from './lib/measure.mjs';
import { page } from './lib/page.mjs';
import { found } from './lib/python.mjs';
import { defectOf, rowOf } from './lib/rows.mjs';
import { ours, PEERS, Side } from './lib/side.mjs';
import { WORKLOADS } from './workloads.mjs';

const at = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const say = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);

const { values: flags } = parseArgs({
  options: {
    peers: { type: 'string' },
    threads: { type: 'string', default: '1,2' },
    tier: { type: 'string', default: 'auto' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    budget: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean' },
    'no-write': { type: 'boolean', default: false },
    'no-build': { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
  },
});

/** A comma-separated flag, checked against what there is. */
function listed(/** @type {string} */ flag, /** @type {string} */ text, /** @type {readonly string[]} */ known) {
  const names = text
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '');
  for (const name of names) {
    if (!known.includes(name)) {
      say(`--${flag}: "${name}" is not known. There are: ${known.join(', ')}.`);
      process.exit(2);
    }
  }
  return names;
}

const isSetUp = Object.keys(found()).length > 0;
const usual = Object.keys(PEERS).filter((name) => PEERS[name].need === undefined || isSetUp);
/** "native" and "javascript" stand for all peers of that kind. */
const kindOf = (/** @type {string} */ name) => (PEERS[name].runs === 'together' ? 'native' : 'javascript');
const known = Object.keys(PEERS);
const asked = flags.peers === undefined ? usual : listed('peers', flags.peers, [...known, 'native', 'javascript']);
const peers = known.filter((name) => asked.includes(name) || asked.includes(kindOf(name)));
const tiers = listed('tier', flags.tier, ['auto', 'wasm', 'native']);
const threads = flags.threads.split(',').map(Number);
if (threads.some((n) => !Number.isInteger(n) || n < 1)) {
  say(`--threads: whole numbers above 0 expected, as in 1,2; got "${flags.threads}".`);
  process.exit(2);
}
/** "gemm" stands for all of gemm-256, gemm-512, ... */
const families = [...new Set(WORKLOADS.map((w) => w.name.split('-')[0]))];
const only = flags.only === undefined ? undefined : listed('only', flags.only, [...WORKLOADS.map((w) => w.name), ...families]);
const workloads = WORKLOADS.filter((w) => only === undefined || only.includes(w.name) || only.includes(w.name.split('-')[0]));

/** The peers from npm are installed on first use, apart from the workspace. */
function install() {
  const stamp = at('node_modules/.package-lock.json');
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(at('package-lock.json')).mtimeMs) return;
  say('Installing the peers into bench/node_modules ...');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const done = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: at('.'),
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (done.status !== 0) {
    say('The peers could not be installed (npm ci in bench/).');
    process.exit(2);
  }
}

/** The library itself, built from the sources as they are. */
function build() {
  const setup = at('../scripts/setup.mjs');
  if (!existsSync(setup)) return;
  const done = spawnSync(process.execPath, [setup], { cwd: at('..'), stdio: ['ignore', 2, 2] });
  if (done.status !== 0) say('Building Trireme failed; going on with what is there.');
}

const version = (/** @type {string} */ path) => (existsSync(at(path)) ? JSON.parse(readFileSync(at(path), 'utf8')).version : 'unknown');

function thisMachine() {
  const python = Object.entries(found()).flatMap(([name, place]) =>
    'version' in place ? [[name, `${place.version}${place.note ? ` (${place.note})` : ''}`]] : [],
  );
  return {
    cpu: `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${cpus().length} cores`,
    node: process.versions.node,
    date: new Date().toISOString().slice(0, 10),
    versions: {
      Trireme: version('../packages/core/package.json'),
      'TensorFlow.js': version('node_modules/@tensorflow/tfjs/package.json'),
      'jax-js': version('node_modules/@jax-js/jax/package.json'),
      ...Object.fromEntries(python),
    },
  };
}

/** Ours on a start is what a user has: WebAssembly at once, native code when it is there. */
const ourSide = (/** @type {any} */ workload, /** @type {string} */ tier, /** @type {number} */ count) =>
  ours(count, workload.kind === 'startup' && tier === 'native' ? 'auto' : tier);

/** The machine's limits with so many threads, as our own code reaches them. */
async function roofOf(/** @type {string} */ tier, /** @type {number} */ count) {
  const side = new Side(ours(count, tier));
  try {
    return await side.ask({ cmd: 'roof' });
  } finally {
    await side.stop();
  }
}

/** Who meets whom: the native peers all in one contest, since they are about as fast; the others one by one. */
function contestsOf(/** @type {any} */ workload) {
  const taking = peers.filter((name) => PEERS[name].does(workload));
  const together = taking.filter((name) => PEERS[name].runs === 'together');
  return [...(together.length > 0 ? [together] : []), ...taking.filter((name) => PEERS[name].runs === 'alone').map((name) => [name])];
}

function tell(/** @type {any} */ row) {
  const summary = `${row.workload} ${row.tier} ${row.threads}t: Trireme ${row.oursMs ?? '–'}, ${row.peer} ${row.peerMs ?? '–'} ${row.unit}`;
  const factor = row.ratio === null ? '' : `, ${row.ratio}x (${row.ratioRange.join(' to ')}), ${row.verdict}`;
  const defect = defectOf(row);
  const refusal = row.peerMs === null ? row.theirs.refused : undefined;
  const trouble = defect ? `\n  ! ${defect.split('\n').slice(0, 6).join('\n    ')}` : '';
  const way = row.theirs?.way ? ` [${row.theirs.way}]` : '';
  const cannot = refusal ? `, ${row.peer} cannot: ${refusal}` : '';
  // What is left to compare where the machine is shared.
  const least =
    row.ratio === null ? '' : `, least ${row.ours.range[0]} and ${row.theirs.range[0]}, CPU ${row.ours.cpuMs} and ${row.theirs.cpuMs}`;
  say(`${summary}${factor}${least}${way}${cannot}${trouble}`);
}

async function measure() {
  if (peers.some((name) => PEERS[name].need === undefined)) install();
  if (!flags['no-build']) build();
  const protocol = { ...(flags.quick ? QUICK : FULL), ...(flags.budget === undefined ? {} : { budgetMs: 1000 * Number(flags.budget) }) };
  for (const tier of tiers) {
    for (const count of threads) {
      const roof = await roofOf(tier, count);
      roofs[`${tier} ${count}`] = roof;
      for (const workload of workloads) {
        for (const names of contestsOf(workload)) {
          const results = await contest([ourSide(workload, tier, count), ...names.map((n) => PEERS[n].side(count))], workload, protocol);
          for (const [i, peer] of names.entries()) {
            const row = rowOf({ workload, threads: count, tier, peer, ours: results[0], theirs: results[i + 1], roof });
            rows.push(row);
            if (flags.json) process.stdout.write(`${JSON.stringify(row)}\n`);
            tell(row);
          }
        }
      }
    }
  }
}

/** @type {any[]} */
const rows = [];
/** @type {Record<string, any>} */
const roofs = {};
if (!flags.page) await measure();

// Quick numbers are for looking, not for the page.
if (flags.page || (flags.write ?? (!flags.quick && !flags['no-write']))) {
  const store = at('data/results.json');
  const kept = existsSync(store) ? JSON.parse(readFileSync(store, 'utf8')) : { rows: [], machine: {} };
  const key = (/** @type {any} */ r) => [r.workload, r.tier, r.threads, r.peer].join(' ');
  const merged = [...new Map([...kept.rows, ...rows].map((r) => [key(r), r])).values()];
  const machine = flags.page ? kept.machine : { ...thisMachine(), roofs: { ...kept.machine.roofs, ...roofs } };
  const causes = JSON.parse(readFileSync(at('data/causes.json'), 'utf8'));
  writeFileSync(store, `${JSON.stringify({ machine, rows: merged }, null, 1)}\n`);
  mkdirSync(at('../docs'), { recursive: true });
  writeFileSync(at('../docs/benchmarks.md'), page(merged, machine, causes));
  say('Wrote docs/benchmarks.md.');
}
const defects = rows.filter((row) => defectOf(row) !== undefined);
if (defects.length > 0) say(`${defects.length} of ${rows.length} rows have a defect (marked ! above).`);
process.exitCode = defects.length > 0 ? 1 : 0;
