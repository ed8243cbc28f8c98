/** `await program.run()` in a process of its own: the event loop stays free while a network runs, and a signal ends a run. */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { machineReport } from '../../src/runtime/report.js';

function inProcess<T>(script: string, env: Record<string, string>): T {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: fileURLToPath(new URL('../../../../', import.meta.url)),
    encoding: 'utf8',
    env: { ...process.env, TRIREME_CACHE: 'off', ...env },
    timeout: 240_000,
  });
  if (status !== 0) throw new Error(`ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** ResNet-18 on pictures of 64 x 64, compiled, and a measure of the delays of the event loop. */
const prelude = `
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { add, flatten, adaptiveAvgPool2d, defaultDevice, jit, manualSeed, nn, noGrad, randn, relu } from 'trireme';
class Block extends nn.Module {
  constructor(inputs, outputs, stride) {
    super();
    this.conv1 = new nn.Conv2d(inputs, outputs, 3, { stride, padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(outputs);
    this.conv2 = new nn.Conv2d(outputs, outputs, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(outputs);
    this.down = stride > 1 ? new nn.Sequential(new nn.Conv2d(inputs, outputs, 1, { stride, bias: false }), new nn.BatchNorm2d(outputs)) : null;
  }
  forward(x) {
    const y = this.bn2.call(this.conv2.call(relu(this.bn1.call(this.conv1.call(x)))));
    return relu(add(y, this.down === null ? x : this.down.call(x)));
  }
}
class ResNet18 extends nn.Module {
  constructor() {
    super();
    this.stem = new nn.Sequential(new nn.Conv2d(3, 64, 7, { stride: 2, padding: 3, bias: false }), new nn.BatchNorm2d(64), new nn.ReLU(), new nn.MaxPool2d(3, { stride: 2, padding: 1 }));
    const stage = (inputs, outputs, stride) => [new Block(inputs, outputs, stride), new Block(outputs, outputs, 1)];
    this.body = new nn.Sequential(...stage(64, 64, 1), ...stage(64, 128, 2), ...stage(128, 256, 2), ...stage(256, 512, 2));
    this.fc = new nn.Linear(512, 10);
  }
  forward(x) {
    return this.fc.call(flatten(adaptiveAvgPool2d(this.body.call(this.stem.call(x)), 1), 1));
  }
}
manualSeed(1);
const net = new ResNet18().eval();
const forward = jit((x) => noGrad(() => net.call(x)));
const x = randn([8, 3, 64, 64]);
const delays = async (milliseconds, work) => {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  // Its first reading spans what came before it.
  await new Promise((resolve) => setTimeout(resolve, 20));
  monitor.enable();
  const end = performance.now() + milliseconds;
  let runs = 0;
  for (; performance.now() < end; runs++) await work();
  monitor.disable();
  return { p99: monitor.percentile(99) / 1e6, most: monitor.max / 1e6, runs };
};
`;

interface Delays {
  readonly p99: number;
  readonly most: number;
  readonly runs: number;
}
const tiers = machineReport().native.available ? (['wasm', 'native'] as const) : (['wasm'] as const);

describe('off the event loop', () => {
  it.each(tiers)(
    'a ResNet-18 in a loop, as %s, delays it little',
    (tier) => {
      const told = inProcess<{ idle: Delays; crowded: Delays; async: Delays; sync: Delays }>(
        `${prelude}
      for (let i = 0; i < 4; i++) (await forward.run(x)).dispose();
      const sleep = () => new Promise((resolve) => setTimeout(resolve, 10));
      const idle = await delays(500, sleep);
      const async = await delays(2500, async () => (await forward.run(x)).dispose());
      const sync = await delays(1000, async () => { forward(x).dispose(); await new Promise(setImmediate); });
      // What any process suffers here whose other threads compute.
      const busy = Array.from({ length: ${availableParallelism()} }, () => new Worker('for (;;);', { eval: true }));
      const crowded = await delays(1500, sleep);
      for (const worker of busy) await worker.terminate();
      console.log(JSON.stringify({ idle, async, sync, crowded }));
      process.exit();`,
        { TRIREME_TIER: tier },
      );
      const text = Object.entries(told).map(
        ([name, { p99, most, runs }]) => `${name} ${p99.toFixed(1)} ms (most ${most.toFixed(1)}, ${runs} rounds)`,
      );
      console.log(`event loop, ${tier}, p99: ${text.join(', ')}`);
      expect(told.async.runs).toBeGreaterThan(2);
      expect(told.async.p99).toBeLessThan(15 + 3 * told.crowded.p99);
      // A run in the foreground does hold it up: the measure works.
      expect(told.sync.p99).toBeGreaterThan(0.5 * (1000 / told.sync.runs));
    },
    240_000,
  );

  it.each(tiers)(
    'a long program, as %s, ends soon after its signal aborts; memory is intact and the next run right',
    (tier) => {
      const told = inProcess<{
        reason: string;
        whole: number;
        took: number;
        before: number;
        after: number;
        same: boolean;
        early: string;
        inputs: boolean;
      }>(
        `import { defaultDevice, jit, manualSeed, matmul, randn, memoryInfo } from 'trireme';
      manualSeed(2);
      const x = randn([384, 384]);
      const input = x.dataSync().slice();
      const long = jit((a) => { let y = a; for (let i = 0; i < 400; i++) y = matmul(y, a).mul(0.05); return y; });
      const wanted = await long.run(x);
      const start = performance.now();
      (await long.run(x)).dispose();
      const whole = performance.now() - start;
      const before = defaultDevice().stats().bytesInUse;
      const controller = new AbortController();
      const running = long.runWith({ signal: controller.signal }, x);
      let aborted = 0;
      setTimeout(() => { aborted = performance.now(); controller.abort(new Error('enough')); }, whole / 4);
      const reason = await running.then(() => 'ended', (error) => error.message);
      const took = performance.now() - aborted;
      const after = defaultDevice().stats().bytesInUse;
      const early = await long.runWith({ signal: AbortSignal.abort(new Error('never')) }, x).then(() => 'ended', (error) => error.message);
      const next = await long.runWith({ signal: new AbortController().signal }, x);
      const equal = (a, b) => a.every((v, i) => Object.is(v, b[i]));
      console.log(JSON.stringify({ reason, whole, took, before, after, early, same: equal(next.dataSync(), wanted.dataSync()), inputs: equal(x.dataSync(), input) }));
      process.exit();`,
        { TRIREME_TIER: tier },
      );
      expect(told).toMatchObject({ reason: 'enough', early: 'never', same: true, inputs: true, after: told.before });
      // A kernel is a four-hundredth of it.
      expect(told.took).toBeLessThan(Math.max(100, told.whole / 2));
    },
    120_000,
  );
});
