// What takes too long for every change: the operations on the native tier against PyTorch's numbers, real data in full, the long soak.
// Ends with a line for each and with `N passed, N failed`; exit code 1 when something failed.
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { root, setup } from './setup.mjs';

await setup();

const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'node'];
const native = { TRIREME_TIER: 'native' };
/** @type {readonly { name: string, args: readonly string[], env?: Record<string, string> }[]} */
const steps = [
  {
    name: 'operations, gradients and layers as native code',
    args: [...vitest, ...['ops', 'nn', 'autograd', 'graph', 'parity'].map((area) => `packages/core/test/${area}`)],
    env: native,
  },
  {
    name: 'training and checkpoints as native code',
    args: [...vitest, 'packages/core/test/train', 'packages/core/test/optim'],
    env: native,
  },
  { name: '100,000 damaged files', args: [...vitest, 'packages/onnx/test/fuzz'], env: { FUZZ_CASES: '100000' } },
  { name: 'Fashion-MNIST', args: ['examples/digits/dist/main.js', '--data', 'fashion-mnist', '--json'] },
  { name: 'soak', args: ['bench/soak.mjs'] },
];

let failed = 0;
for (const { name, args, env } of steps) {
  const start = performance.now();
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) failed += 1;
  console.log(`${status === 0 ? 'pass' : 'FAIL'}  ${name} (${((performance.now() - start) / 60_000).toFixed(1)} min)`);
}
console.log(`${steps.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
