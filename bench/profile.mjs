/**
 * Which kernels a workload's time goes to: node bench/profile.mjs cnn-train --calls 5 (after `npm run build`).
 * Threads and tier as TRIREME_THREADS and TRIREME_TIER say.
 */
import { parseArgs } from 'node:util';
import { profile } from 'trireme/profiler';
import { prepare } from './peers/trireme/index.mjs';
import { workloadNamed } from './workloads.mjs';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { calls: { type: 'string', default: '5' }, rows: { type: 'string', default: '15' } },
});
if (positionals.length === 0) {
  process.stderr.write('Which workload? node bench/profile.mjs cnn-train\n');
  process.exit(2);
}
for (const name of positionals) {
  const { call } = prepare(workloadNamed(name));
  for (let i = 0; i < 3; i++) await call();
  const plain = [];
  const calls = Number(flags.calls);
  for (let i = 0; i < calls; i++) {
    const before = performance.now();
    await call();
    plain.push(performance.now() - before);
  }
  const found = await profile(async () => {
    for (let i = 0; i < calls; i++) await call();
  });
  console.log(`${name}: least ${Math.min(...plain).toFixed(3)} ms a call without the profiler; ${calls} calls with it:`);
  console.log(found.toString(Number(flags.rows)));
}
