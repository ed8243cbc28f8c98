/** A training in a process of its own, to be killed and resumed. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, buildSync } from 'esbuild';
import { afterAll } from 'vitest';
import { CheckpointStore } from '../../src/train/index.js';

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

export interface Result {
  readonly epochs: readonly { readonly epoch: number; readonly metrics: Readonly<Record<string, number>> }[];
}

/** The training on one tier, all along: native code that takes over in the middle changes last bits. */
export class KilledTraining {
  readonly folder: string;
  private readonly env: Record<string, string | undefined>;

  constructor(tier: 'native' | 'wasm') {
    this.folder = mkdtempSync(join(tmpdir(), 'trireme-resume-'));
    afterAll(() => rmSync(this.folder, { recursive: true, force: true }));
    this.env = { ...process.env, TRIREME_THREADS: '2', TRIREME_TIER: tier, TRIREME_CACHE: join(this.folder, 'cache') };
    writeFileSync(join(this.folder, 'package.json'), '{ "type": "module" }');
    const source = fileURLToPath(new URL('../../src/', import.meta.url));
    // Where koffi is.
    symlinkSync(fileURLToPath(new URL('../../../../node_modules', import.meta.url)), join(this.folder, 'node_modules'), 'junction');
    const build: BuildOptions = { bundle: true, format: 'esm', platform: 'neutral', external: ['node:*'], target: 'es2022' };
    buildSync({ ...build, stdin: { contents: program, resolveDir: source, loader: 'ts' }, outfile: join(this.folder, 'main.js') });
    buildSync({ ...build, entryPoints: [join(source, 'runtime/cpu/worker.ts')], outfile: join(this.folder, 'worker.js') });
    buildSync({ ...build, entryPoints: [join(source, 'runtime/native/build.ts')], outfile: join(this.folder, 'native-build.js') });
  }

  private args(name: string): string[] {
    return [join(this.folder, 'main.js'), join(this.folder, name), join(this.folder, `${name}.safetensors`)];
  }

  runToEnd(name: string, extra: Record<string, string> = {}): { result: Result; stderr: string } {
    const { stdout, stderr, status } = spawnSync(process.execPath, this.args(name), {
      encoding: 'utf8',
      env: { ...this.env, ...extra },
      timeout: 240_000,
    });
    if (status !== 0) throw new Error(`ended with ${status}: ${stderr}`);
    return { result: JSON.parse(stdout.replace(/^\.*/, '')) as Result, stderr };
  }

  /** Starts it, and kills it `delay` milliseconds after so many batches. Resolves with false when it ended before. */
  runAndKill(name: string, batches: number, delay = 0): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, this.args(name), { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
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
}

/** Every checkpoint that the manifest names is whole: load() compares the checksums. */
export async function assertWhole(directory: string): Promise<number> {
  const store = await CheckpointStore.open(directory);
  for (const entry of store.checkpoints) {
    const { weights, tensors } = await store.load(entry);
    for (const t of [...weights.values(), ...tensors.values()]) t.dispose();
  }
  return store.checkpoints.length;
}
