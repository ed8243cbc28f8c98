/** Writes workloads/expected.mjs: the values of outputs, computed by PyTorch in double precision. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PEERS, Side } from './lib/side.mjs';
import { specOf, WORKLOADS } from './workloads.mjs';

const path = fileURLToPath(new URL('workloads/expected.mjs', import.meta.url));
const number = (/** @type {number} */ v) => Number(v.toPrecision(8));

/** @type {string[]} */
const lines = [];
const named = WORKLOADS.filter((w) => w.kind === 'op' || (w.kind === 'infer' && w.model !== 'resnet18'));
for (const workload of named) {
  const side = new Side({ ...PEERS.torch.side(1), args: ['--mode', 'double'] });
  await side.ask({ cmd: 'setup', workload: workload.name, spec: specOf(workload) });
  await side.ask({ cmd: 'run', calls: 1, ms: 0 });
  const { values } = await side.ask({ cmd: 'probe' });
  await side.stop();
  lines.push(`  ${/^\w+$/.test(workload.name) ? workload.name : `'${workload.name}'`}: [${values.map(number).join(', ')}],`);
  process.stderr.write(`${lines.at(-1)}\n`);
}
writeFileSync(
  path,
  `/** Values that outputs must have (\`summary\` of each), from PyTorch in double precision: node bench/expected.mjs. */\n\n/** @type {Record<string, number[]>} */\nexport const EXPECTED = {\n${lines.join('\n')}\n};\n`,
);
spawnSync('npx', ['biome', 'format', '--write', path], { stdio: 'inherit' });
