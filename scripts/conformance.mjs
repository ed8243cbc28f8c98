// Runs the tests of a standard against Trireme:
//   npm run conformance -- --suite onnx --data FOLDER [--tier wasm|native] [--filter TEXT] [--jobs N] [--timeout SECONDS] [--json] [--write-docs]
// Every folder below FOLDER with a model.onnx and test_data_set_* is a test. What happens goes to stderr, or with --json nowhere but
// for what fails; the last line of stdout is one JSON object {suite, total, passed, failed, skipped}. A skipped test has not passed.
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { writeReport } from './conformance/report.mjs';
import { runTests } from './conformance/runner.mjs';
import { findTests } from './conformance/tests.mjs';
import { bundlePackages, root } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    suite: { type: 'string', default: 'onnx' },
    data: { type: 'string' },
    tier: { type: 'string', default: process.env.TRIREME_TIER ?? 'wasm' },
    filter: { type: 'string' },
    jobs: { type: 'string' },
    timeout: { type: 'string', default: '120' },
    json: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
  },
});

/** @param {string} what @returns {never} */
function usage(what) {
  console.error(`conformance: ${what}`);
  process.exit(2);
}

const { suite, data, tier, filter } = options;
if (suite !== 'onnx') usage(`there is no suite '${suite}'; there is: onnx`);
if (data === undefined) usage('--data FOLDER is missing: the folder with the tests');
if (tier !== 'wasm' && tier !== 'native') usage(`--tier ${tier}: it is wasm or native`);
const jobs = options.jobs === undefined ? availableParallelism() : Number(options.jobs);
const timeout = Number(options.timeout);
if (!Number.isInteger(jobs) || jobs < 1) usage(`--jobs ${options.jobs}: it is a whole number from 1`);
if (!(timeout > 0)) usage(`--timeout ${options.timeout}: it is a number of seconds`);

const all = findTests(resolve(data));
const tests = all.filter((test) => filter === undefined || test.name.includes(filter));
if (tests.length === 0) usage(all.length === 0 ? `there are no tests below ${data}` : `no test's name contains '${filter}'`);

await bundlePackages(['packages/core', 'packages/onnx']);
/** @type {import('./conformance/runner.mjs').Outcome[]} */
const outcomes = await runTests(tests, { jobs, tier, timeout }, (outcome) => {
  if (outcome.status !== 'passed') console.error(`${outcome.status.toUpperCase()}  ${outcome.name}: ${outcome.reason}`);
  else if (!options.json) console.error(`pass  ${outcome.name}`);
});

const count = (/** @type {string} */ status) => outcomes.filter((outcome) => outcome.status === status).length;
const result = { suite, total: outcomes.length, passed: count('passed'), failed: count('failed'), skipped: count('skipped') };
if (options['write-docs']) {
  if (filter !== undefined) usage('--write-docs needs all tests: leave --filter out');
  writeReport(join(root, 'docs/onnx-conformance.md'), {
    folder: basename(resolve(data)),
    opset: Math.max(...outcomes.map((outcome) => outcome.opset)),
    tier,
    outcomes,
  });
}
console.log(JSON.stringify(result));
process.exitCode = result.passed === result.total ? 0 : 1;
