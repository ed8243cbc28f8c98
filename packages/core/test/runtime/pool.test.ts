import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ArgumentError, EnvironmentError, LifetimeError, TriremeError } from '../../src/errors.js';
import type { Kernel, Step } from '../../src/ir/kernel.js';
import { control } from '../../src/runtime/cpu/layout.js';
import type { Executable } from '../../src/runtime/device.js';
import { at, makeDevice, scalarKernel, slowKernel } from './assembled.js';

const large = 1e7;
const cells = 64;
/** About 64 x 2 microseconds. */
const work = slowKernel(cells, 2000);
const trap = slowKernel(cells, 2000, { trapAt: 40 });
const call = (kernel: Kernel): Step => ({ kind: 'call', kernel, args: [at(1)], work: large });
const endless: Step[] = [{ kind: 'repeat', count: 1_000_000, body: [call(work)] }];
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const devices = [
  { title: 'one thread and a background worker', device: makeDevice({ threads: 1 }) },
  { title: 'three threads', device: makeDevice({ threads: 3 }) },
  { title: 'no shared memory', device: makeDevice({ shared: false, threads: 3 }) },
];
afterAll(() => {
  for (const { device } of devices) device.dispose();
});

describe.each(devices)('a device with $title', ({ device }) => {
  const bytes = 4 * cells;
  let data = 0;
  const loaded: Executable[] = [];
  const load = (steps: readonly Step[], name = 'program'): Executable => {
    const executable = device.load({ name, slots: 2, arenaBytes: 0, constants: [], steps });
    loaded.push(executable);
    return executable;
  };
  const values = (): number[] => [...new Int32Array(device.heap.u8.buffer, data, cells)];
  const full = (value: number): number[] => new Array<number>(cells).fill(value);
  const clear = (): void => {
    device.bytes(data, bytes).fill(0);
  };

  beforeAll(async () => {
    await device.ready();
    data = device.allocate(bytes);
    clear();
  });
  afterEach(() => {
    for (const executable of loaded.splice(0)) executable.dispose();
    expect(device.stats()).toMatchObject({ bytesInUse: bytes, allocations: 1 });
    clear();
  });

  it('leaves the event loop free while it runs', async () => {
    const executable = load([{ kind: 'repeat', count: 1500, body: [call(work)] }]);
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    const start = performance.now();
    await executable.run([0, data]);
    const took = performance.now() - start;
    clearInterval(timer);
    expect(values()).toEqual(full(1500));
    expect(took).toBeGreaterThan(20);
    expect(turns).toBeGreaterThan(took / 60);
  });

  it('stops between kernels when the signal aborts, and runs the next program', async () => {
    const executable = load(endless);
    const next = load([call(work)]);
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 30);
    await expect(executable.run([0, data], controller.signal)).rejects.toThrow('enough');
    clear();
    await next.run([0, data]);
    next.runSync([0, data]);
    expect(values()).toEqual(full(2));
  });

  it('does not start what was aborted before', async () => {
    const executable = load(endless);
    const next = load([call(work)]);
    await expect(next.run([0, data], AbortSignal.abort(new Error('never')))).rejects.toThrow('never');
    const first = new AbortController();
    const second = new AbortController();
    const running = executable.run([0, data], first.signal);
    const queued = next.run([0, data], second.signal);
    second.abort(new Error('changed my mind'));
    await expect(queued).rejects.toThrow('changed my mind');
    first.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
  });

  it('keeps the order of runs: runSync first waits for the runs under way', async () => {
    const times2plus1 = load([call(work), { kind: 'call', kernel: scalarKernel(2, 1), args: [at(1)], work: 1 }]);
    const times3 = load([{ kind: 'call', kernel: scalarKernel(3, 0), args: [at(1)], work: 1 }]);
    const plus5 = load([{ kind: 'call', kernel: scalarKernel(1, 5), args: [at(1)], work: 1 }]);
    const cases: readonly (() => unknown)[] = [() => undefined, () => pause(0), () => pause(5)];
    for (const before of cases) {
      clear();
      const runs = [times2plus1.run([0, data]), times3.run([0, data])];
      await before();
      plus5.runSync([0, data]);
      expect(values()[0]).toBe((1 * 2 + 1) * 3 + 5);
      const last = plus5.run([0, data]);
      await Promise.all([...runs, last]);
      expect(values()[0]).toBe(19);
    }
  });

  it('takes the pointers of a run when it is called, and many runs at once', async () => {
    const executable = load([call(work)]);
    const pointers = [0, data];
    const runs = Array.from({ length: 50 }, () => executable.run(pointers));
    pointers[1] = 0;
    await Promise.all(runs);
    expect(values()).toEqual(full(50));
  });

  it('reports a kernel that trapped, names it, and goes on working', async () => {
    const bad = load([{ kind: 'repeat', count: 10, body: [call(work), call(trap), call(work)] }], 'bad program');
    const good = load([call(work), call(work)]);
    let runs = 0;
    for (let i = 0; i < 20; i++) {
      await expect(bad.run([0, data])).rejects.toThrow(TriremeError);
      await expect(bad.run([0, data])).rejects.toThrow(/program bad program: kernel slow failed.*unreachable/);
      expect(() => bad.runSync([0, data])).toThrow(TriremeError);
      clear();
      good.runSync([0, data]);
      await good.run([0, data]);
      runs = values()[0]!;
      expect(values()).toEqual(full(4));
    }
    expect(runs).toBe(4);
  });

  it('can load, allocate, grow and dispose while a program runs', async () => {
    const executable = load([{ kind: 'repeat', count: 300, body: [call(work)] }]);
    await executable.run([0, data]);
    const size = device.heap.sizeBytes;
    const run = executable.run([0, data]);
    const block = device.allocate(size);
    expect(device.heap.sizeBytes).toBeGreaterThan(size);
    for (let i = 0; i < 20; i++) load([call(work), call(slowKernel(4, 10))]);
    for (const other of loaded.splice(1)) other.dispose();
    device.free(block, size);
    await run;
    expect(values()).toEqual(full(600));
  });

  it('completes the run of a program that is disposed under way', async () => {
    const executable = load([{ kind: 'repeat', count: 100, body: [call(work)] }]);
    const run = executable.run([0, data]);
    executable.dispose();
    expect(values()).toEqual(full(100));
    await run;
  });
});

describe('the pool', () => {
  it('is not started for small programs, and is for large ones', async () => {
    const device = makeDevice({ threads: 3 });
    const data = device.allocate(4 * cells);
    const tiny: Step = { kind: 'call', kernel: work, args: [at(1)], work: 100 };
    const small = device.load({ name: 'small', slots: 2, arenaBytes: 0, constants: [], steps: [tiny, tiny] });
    for (let i = 0; i < 10; i++) small.runSync([0, data]);
    expect(device.workers).toBe(0);
    const big = device.load({ name: 'big', slots: 2, arenaBytes: 0, constants: [], steps: [call(work)] });
    const finished = (): number => Atomics.load(device.heap.i32, control.finished / 4);
    device.bytes(data, 4 * cells).fill(0);
    // The first runs do not wait for the workers; each starts one.
    big.runSync([0, data]);
    expect(device.workers).toBe(device.heap.shared ? 1 : 0);
    expect(finished()).toBe(0);
    big.runSync([0, data]);
    expect(device.workers).toBe(device.heap.shared ? 2 : 0);
    let runs = 2;
    for (; finished() === 0 && runs < 500; runs++) {
      if (!device.heap.shared && runs === 5) break;
      big.runSync([0, data]);
      await pause(2);
    }
    expect(finished() > 0).toBe(device.heap.shared);
    const results = [...new Int32Array(device.heap.u8.buffer, data, cells)];
    expect(results).toEqual(new Array<number>(cells).fill(runs));
    device.dispose();
  });

  it('ends with its device, which fails the runs under way', async () => {
    const device = makeDevice({ threads: 2 });
    const data = device.allocate(4 * cells);
    const spec = { name: 'endless', slots: 2, arenaBytes: 0, constants: [], steps: endless };
    const executable = device.load(spec);
    const runs = [executable.run([0, data]), executable.run([0, data])];
    setTimeout(() => device.dispose(), 60);
    for (const run of runs) await expect(run).rejects.toThrow(EnvironmentError);
    expect(device.workers).toBe(0);
    expect(() => device.load(spec)).toThrow(LifetimeError);
  });

  it('has a sensible number of threads', () => {
    for (const threads of [0, -1, 1.5, 1000, Number.NaN]) expect(() => makeDevice({ threads })).toThrow(ArgumentError);
    expect(makeDevice({ threads: 4, shared: false }).threads).toBe(1);
  });
});
