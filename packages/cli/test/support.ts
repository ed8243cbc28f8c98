/** Processes and files for the tests of the command. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const main = join(root, 'packages/cli/dist/main.js');

/** A folder of this test file, from which scripts can import the packages. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'trireme-cli-'));
  // Of its own: one further up must not name the packages otherwise.
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The same device in every process: one that never changes its tier. */
const environment = { ...process.env, TRIREME_TIER: 'wasm', TRIREME_THREADS: '2', TRIREME_CACHE: '', TRIREME_CC: '', TRIREME_DEBUG: '' };

/** Runs the command. `watch` sees standard error as it comes, and may signal the process. */
export function trireme(
  folder: string,
  args: readonly string[],
  {
    env = {},
    watch,
  }: { readonly env?: Record<string, string>; readonly watch?: (text: string, kill: (signal: NodeJS.Signals) => void) => void } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: folder,
      env: { ...environment, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      stderr += String(chunk);
      watch?.(stderr, (signal) => child.kill(signal));
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, stdout, stderr: signal === null ? stderr : `${stderr}\nended by ${signal}` }));
  });
}

/** The one line of JSON on standard output. */
export function parsed<T = Record<string, unknown>>({ stdout, stderr, code }: Finished): T {
  if (!/^\{.*\}\n$/.test(stdout)) throw new Error(`no single line of JSON (exit code ${code}): ${stdout}\n${stderr}`);
  return JSON.parse(stdout) as T;
}

/** Three kinds of points with a word that tells something, some rows without a pattern. */
export function writeFlowers(file: string, rows = 90): void {
  const lines = ['width,height,colour,kind'];
  for (let i = 0; i < rows; i++) {
    const kind = i % 3;
    const wobble = ((i * 37) % 19) / 19 - 0.5;
    lines.push(
      `${(kind + wobble).toFixed(3)},${(2 - kind + ((i * 53) % 23) / 23).toFixed(3)},${i % 2 ? 'red' : 'blue'},${['iris', 'rose', 'tulip'][kind]}`,
    );
  }
  writeFileSync(file, `${lines.join('\n')}\n`);
}

export const flowers = `name: flowers
epochs: 2
seed: 4
model:
  - Linear: [4, 16]
  - ReLU
  - Dropout: 0.1
  - Linear: { inFeatures: 16, outFeatures: 3 }
data:
  type: csv
  path: flowers.csv
  target: kind
  split: { validation: 0.2, test: 0.2 }
  batchSize: 16
loss: CrossEntropyLoss
optimizer: { name: AdamW, lr: 0.02 }
schedule: OneCycleLR: { maxLr: 0.05 }
metrics: [Accuracy, F1Score]
`.replace('schedule: OneCycleLR: { maxLr: 0.05 }', 'schedule: { OneCycleLR: { maxLr: 0.05 } }');
