// `npm start -- ARGS`: set-up, then the digits example with ARGS. Only the example writes to stdout.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { root, setup } from './setup.mjs';

try {
  await setup();
  const { status, signal, error } = spawnSync(process.execPath, [join(root, 'examples/digits/dist/main.js'), ...process.argv.slice(2)], {
    stdio: 'inherit',
  });
  if (error) throw error;
  if (signal) process.kill(process.pid, signal);
  process.exitCode = status ?? 1;
} catch (error) {
  console.error(`trireme: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
