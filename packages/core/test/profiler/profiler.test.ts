import { describe, expect, it } from 'vitest';
import {
  add,
  crossEntropy,
  jit,
  manualSeed,
  matmul,
  nn,
  noGrad,
  optim,
  randn,
  relu,
  scan,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';
import { measureRoof, memoryPlot, profile, recordFunction } from '../../src/profiler/index.js';
import { defaultDevice } from '../../src/tensor/device.js';

class Net extends nn.Module {
  hidden = new nn.Linear(32, 64);
  head = new nn.Linear(64, 10);
  override forward(x: Tensor): Tensor {
    return this.head.call(relu(this.hidden.call(x)));
  }
}

function trainer() {
  manualSeed(1);
  const net = new Net();
  const optimizer = new optim.Adam(net.parameters(), { lr: 1e-3 });
  const step = jit((x: Tensor, y: Tensor) => {
    const loss = crossEntropy(net.call(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  });
  const x = randn([128, 32]);
  const y = tensor(
    Int32Array.from({ length: 128 }, (_, i) => i % 10),
    { shape: [128] },
  );
  return {
    net,
    step: () => step(x, y),
    dispose() {
      step.dispose();
      optimizer.dispose();
      net.dispose();
      x.dispose();
      y.dispose();
    },
  };
}

describe('profile', () => {
  it('changes no number: a profiled training step gives the losses and weights of one that is not', async () => {
    const [plain, profiled] = [trainer(), trainer()];
    const losses: number[] = [];
    for (let i = 0; i < 3; i++) {
      const loss = plain.step();
      losses.push(Number(loss.item()));
      loss.dispose();
    }
    const seen: number[] = [];
    await profile(
      () => {
        for (let i = 0; i < 3; i++) {
          const loss = profiled.step();
          seen.push(Number(loss.item()));
          loss.dispose();
        }
      },
      { roof: false },
    );
    expect(seen).toEqual(losses);
    expect(profiled.net.head.weight.dataSync()).toEqual(plain.net.head.weight.dataSync());
    plain.dispose();
    profiled.dispose();
  });

  it('attributes time and arithmetic to the layers, forward and backward', async () => {
    const t = trainer();
    t.step().dispose();
    // A page that is not isolated has a coarse clock: many steps, so that every layer is seen to take time.
    const steps = 30;
    const found = await profile(
      () => {
        for (let i = 0; i < steps; i++) t.step().dispose();
      },
      { roof: false },
    );
    const layers = new Map(found.layers().map((row) => [row.name, row]));
    const hidden = layers.get('Net.hidden');
    expect(hidden?.forwardMs).toBeGreaterThan(0);
    expect(hidden?.backwardMs).toBeGreaterThan(0);
    // Forward x W and backward for W: 2 * 128 * 32 * 64 each; the input needs no gradient.
    const product = steps * 2 * 128 * 32 * 64;
    expect(hidden?.flops).toBeGreaterThanOrEqual(2 * product);
    expect(hidden?.flops).toBeLessThan(2.5 * product);
    const shares = found.layers().reduce((sum, row) => sum + row.share, 0);
    expect(shares).toBeCloseTo(1, 6);
    expect(found.ops().reduce((sum, row) => sum + row.totalMs, 0)).toBeCloseTo(found.kernelMs, 6);
    expect(found.wallMs).toBeGreaterThanOrEqual(found.kernelMs);
    t.dispose();
  });

  it('counts a matrix product as two operations for each multiplication-addition and its bytes once', async () => {
    const a = randn([64, 48]);
    const b = randn([48, 80]);
    const found = await profile(() => matmul(a, b).dispose(), { roof: false });
    const [kernel] = found.kernels();
    expect(found.kernels()).toHaveLength(1);
    expect(kernel.flops).toBe(2 * 64 * 48 * 80);
    expect(kernel.bytes).toBe(4 * (64 * 48 + 48 * 80 + 64 * 80));
    a.dispose();
    b.dispose();
  });

  it('sees through control flow: each round of a scan is timed kernel by kernel', async () => {
    const xs = randn([7, 5]);
    const start = zeros([5]);
    const run = jit((x: Tensor, s: Tensor) => scan((carry, item) => [[add(carry[0], item[0])], []], [s], [x]));
    const expected = run(xs, start);
    let result: ReturnType<typeof run> | null = null;
    const found = await profile(
      () => {
        result = run(xs, start);
      },
      { roof: false },
    );
    const sums = result as unknown as typeof expected;
    expect(sums.carry[0].dataSync()).toEqual(expected.carry[0].dataSync());
    expect(Math.max(...found.kernels().map((k) => k.calls))).toBeGreaterThanOrEqual(7);
    for (const { carry } of [expected, sums]) for (const t of carry) t.dispose();
    run.dispose();
    xs.dispose();
    start.dispose();
  });

  it('names the module of eager operations too, and the regions of the user', async () => {
    const net = new Net();
    const x = randn([4, 32]);
    const found = await profile(
      async () => {
        await recordFunction('inference', async () => {
          noGrad(() => net.call(x)).dispose();
        });
      },
      { roof: false },
    );
    expect(found.layers().map((row) => row.name)).toEqual(expect.arrayContaining(['Net.hidden', 'Net.head', 'Net']));
    expect(found.events.filter((e) => e.kind === 'region').map((e) => e.name)).toEqual(['inference']);
    net.dispose();
    x.dispose();
  });

  it('writes a trace that Chrome can read: complete events in microseconds, and the heap as a counter', async () => {
    const t = trainer();
    t.step().dispose();
    const found = await profile(() => t.step().dispose(), { roof: false });
    const { traceEvents } = JSON.parse(JSON.stringify(found.chromeTrace())) as { traceEvents: Record<string, number | string>[] };
    const spans = traceEvents.filter((e) => e.ph === 'X');
    expect(spans).toHaveLength(found.events.length);
    for (const span of spans) expect(Number(span.ts) + Number(span.dur)).toBeLessThanOrEqual(found.wallMs * 1000 + 1);
    expect(traceEvents.filter((e) => e.ph === 'C')).toHaveLength(found.events.length);
    t.dispose();
  });

  it('shows the memory over time, with the peak where tensors were alive', async () => {
    const small = zeros([4]);
    const before = defaultDevice().stats().bytesInUse;
    const found = await profile(
      () => {
        const big = zeros([256, 1024]);
        const more = add(big, 1);
        big.dispose();
        more.dispose();
        add(small, 1).dispose();
      },
      { roof: false },
    );
    expect(found.peakBytes - before).toBeGreaterThanOrEqual(2 * 4 * 256 * 1024);
    const timeline = found.memoryTimeline();
    expect(timeline[timeline.length - 1].bytes).toBeLessThan(found.peakBytes);
    expect(memoryPlot(found)).toContain('</svg>');
    small.dispose();
  });

  it('compares kernels with the machine: no kernel passes the measured roof by more than noise', async () => {
    const a = randn([256, 256]);
    const found = await profile(() => {
      for (let i = 0; i < 5; i++) matmul(a, a).dispose();
    });
    expect(found.roof).toEqual(measureRoof(defaultDevice()));
    const [kernel] = found.kernels();
    expect(kernel.limit?.by).toBe('arithmetic');
    expect(kernel.limit?.reached).toBeGreaterThan(0);
    expect(found.toString()).toContain('of the roof');
    a.dispose();
  });

  it('refuses a profile inside a profile, keeps the results of a function that throws out of the way, and ends', async () => {
    await expect(profile(() => profile(() => undefined, { roof: false }), { roof: false })).rejects.toThrow(/under way/);
    await expect(
      profile(
        () => {
          throw new Error('mine');
        },
        { roof: false },
      ),
    ).rejects.toThrow('mine');
    const x = zeros([2]);
    const found = await profile(() => add(x, 1).dispose(), { roof: false, maxEvents: 0 });
    expect(found.dropped).toBe(1);
    x.dispose();
  });
});
