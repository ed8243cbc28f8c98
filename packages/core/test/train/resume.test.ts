/** Training that is killed and resumed, in processes of its own. */
import type { Buffer } from 'node:buffer';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CheckpointStore } from '../../src/train/index.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-resume-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Dropout, running statistics, shuffling, momentum, a schedule, averages: everything that has state. */
const program = `
import { DataLoader } from './data/dataloader.ts';
import { ArrayDataset } from './data/dataset.ts';
import { normalArray } from './data/philox.ts';
import * as nn from './nn/index.ts';
import { crossEntropy } from './ops/loss.ts';
import { SGD } from './optim/index.ts';
import { OneCycleLR } from './optim/schedule/index.ts';
import { manualSeed } from './tensor/generator.ts';
import { CsvLogger, EarlyStopping, fieldsToTensors, LambdaCallback, Model, ModelCheckpoint } from './train/index.ts';

const [directory, loadable] = process.argv.slice(2);
manualSeed(21);
const net = new nn.Sequential(
  new nn.Linear(16, 192), new nn.BatchNorm1d(192), new nn.ReLU(), new nn.Dropout(0.3), new nn.Linear(192, 192), new nn.ReLU(), new nn.Linear(192, 3),
);
const data = new ArrayDataset({
  x: { data: normalArray(16 * 240, 5), shape: [16] },
  y: { data: Int32Array.from({ length: 240 }, (_, i) => (i * 7) % 3), shape: [] },
});
const loader = new DataLoader(data, { batchSize: 16, shuffle: true, seed: 9 });
const model = new Model(net).compile({
  optimizer: (p) => new SGD(p, { lr: 0.05, momentum: 0.9, weightDecay: 1e-3 }),
  loss: crossEntropy,
  clipGradNorm: 1,
  ema: 0.9,
  accumulate: 2,
  schedule: (optimizer, { steps }) => new OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: steps + 1 }),
});
const history = await model.fit(loader, {
  epochs: 6,
  seed: 3,
  resume: true,
  toTensors: fieldsToTensors('x', 'y'),
  validation: data.length ? new DataLoader(data, { batchSize: 80 }) : undefined,
  callbacks: [
    new ModelCheckpoint({ directory, everySteps: 3, keepBest: 2, keepLast: 2 }),
    new EarlyStopping({ patience: 50, restoreBest: true }),
    new CsvLogger(directory + '/log.csv'),
    new LambdaCallback({ onBatchEnd: ({ step }) => void process.stdout.write('.') }),
  ],
});
await model.save(loadable);
console.log(JSON.stringify({ epochs: history.epochs.map(({ epoch, step, metrics, lr }) => ({ epoch, step, metrics, lr })) }));
`;

writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
const source = fileURLToPath(new URL('../../src/', import.meta.url));
const build: BuildOptions = { bundle: true, format: 'esm', platform: 'neutral', external: ['node:*'], target: 'es2022' };
buildSync({ ...build, stdin: { contents: program, resolveDir: source, loader: 'ts' }, outfile: join(folder, 'main.js') });
buildSync({ ...build, entryPoints: [join(source, 'runtime/cpu/worker.ts')], outfile: join(folder, 'worker.js') });

// The same tier all along: native code that takes over in the middle changes last bits.
const env = { ...process.env, TRIREME_THREADS: '2', TRIREME_TIER: 'wasm' };
const argsFor = (name: string): string[] => [join(folder, 'main.js'), join(folder, name), join(folder, `${name}.safetensors`)];
interface Result {
  readonly epochs: readonly { readonly epoch: number; readonly metrics: Readonly<Record<string, number>> }[];
}
function runToEnd(name: string, extra: Record<string, string> = {}): { result: Result; stderr: string } {
  const { stdout, stderr, status } = spawnSync(process.execPath, argsFor(name), {
    encoding: 'utf8',
    env: { ...env, ...extra },
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(`ended with ${status}: ${stderr}`);
  return { result: JSON.parse(stdout.replace(/^\.*/, '')) as Result, stderr };
}

/** Starts it, and kills it `delay` milliseconds after so many batches. Resolves with false when it ended before. */
function runAndKill(name: string, batches: number, delay = 0): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argsFor(name), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    let seen = 0;
    let timer: NodeJS.Timeout | null = null;
    child.stderr.on('data', (text) => {
      stderr += String(text);
    });
    child.stdout.on('data', (text) => {
      seen += String(text).split('.').length - 1;
      if (seen >= batches) timer ??= setTimeout(() => child.kill('SIGKILL'), delay);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (timer !== null) clearTimeout(timer);
      if (signal === 'SIGKILL') resolve(true);
      else if (code === 0) resolve(false);
      else reject(new Error(`ended with ${code}: ${stderr}`));
    });
  });
}

/** Every checkpoint that the manifest names is whole: load() compares the checksums. */
async function assertWhole(directory: string): Promise<number> {
  const store = await CheckpointStore.open(directory);
  for (const entry of store.checkpoints) {
    const { weights, tensors } = await store.load(entry);
    for (const t of [...weights.values(), ...tensors.values()]) t.dispose();
  }
  return store.checkpoints.length;
}

describe.skipIf(process.platform === 'win32')('a training that is killed', () => {
  let whole: ReturnType<typeof runToEnd>;
  let wanted: Buffer;
  beforeAll(() => {
    whole = runToEnd('whole');
    wanted = readFileSync(join(folder, 'whole.safetensors'));
  }, 60_000);

  test('leaves whole checkpoints at any moment, and ends with the same bits once it is resumed', async () => {
    let kills = 0;
    let checkpoints = 0;
    for (let attempt = 0; attempt < 7; attempt++) {
      // A checkpoint follows batch 6, 12 ...: every other time the process dies while it writes.
      const batches = attempt % 2 === 0 ? 6 + Math.floor(14 * Math.random()) : 12;
      const killed = await runAndKill('killed', batches, 12 * Math.random());
      checkpoints = Math.max(checkpoints, await assertWhole(join(folder, 'killed')));
      if (!killed) break;
      kills++;
    }
    expect(kills).toBeGreaterThanOrEqual(3);
    expect(checkpoints).toBeGreaterThan(0);
    const { result } = runToEnd('killed');
    expect(result.epochs).toEqual(whole.result.epochs);
    expect(readFileSync(join(folder, 'killed.safetensors')).equals(wanted)).toBe(true);
    // The rows of the interrupted processes are there, once each.
    const rows = readFileSync(join(folder, 'killed', 'log.csv'), 'utf8')
      .trim()
      .split('\n');
    expect(rows.map((row) => row.split(',')[0])).toEqual(['epoch', '1', '2', '3', '4', '5', '6']);
  }, 120_000);

  test('goes on from the checkpoint before when the newest is damaged, to the same end', async () => {
    await runAndKill('damaged', 25);
    const { checkpoints } = await CheckpointStore.open(join(folder, 'damaged'));
    const path = join(folder, 'damaged', checkpoints.at(-1)!.name, 'state.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length - 9] ^= 1;
    writeFileSync(path, bytes);
    const { stderr } = runToEnd('damaged');
    expect(stderr).toMatch(/is damaged/);
    expect(readFileSync(join(folder, 'damaged.safetensors')).equals(wanted)).toBe(true);
  }, 60_000);

  test('says once that it is resumed with another number of threads', async () => {
    await runAndKill('moved', 20);
    const { stderr } = runToEnd('moved', { TRIREME_THREADS: '1' });
    expect(stderr.match(/resumed on another set-up \(threads 2 → 1\)/g)).toHaveLength(1);
  }, 60_000);

  test('keeps as many checkpoints as it was told, and nothing beside them', async () => {
    const present = readdirSync(join(folder, 'whole')).filter((name) => name !== 'log.csv');
    const { checkpoints } = await CheckpointStore.open(join(folder, 'whole'));
    expect(present.sort()).toEqual(['manifest.json', ...checkpoints.map((c) => c.name)].sort());
    expect(checkpoints.length).toBeLessThanOrEqual(4);
  });
});
