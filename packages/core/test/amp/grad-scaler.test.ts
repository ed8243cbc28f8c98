import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  autocast,
  clipGradNorm,
  GradScaler,
  jit,
  manualSeed,
  matmul,
  mseLoss,
  mul,
  nn,
  optim,
  randn,
  relu,
  scope,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.js';
import { release } from '../optim/harness.js';

/** One parameter, whose gradient is `factor` times what it is multiplied by. */
function setup(options: ConstructorParameters<typeof GradScaler>[0], compiled: boolean) {
  const p = nn.parameter(tensor([1]));
  const sgd = new optim.SGD([p], { lr: 0.5, momentum: 0.5 });
  const scaler = new GradScaler(options);
  const body = (factor: Tensor): void => {
    scaler.scale(sum(mul(p, factor))).backward();
    scaler.step(sgd);
    scaler.update();
    sgd.zeroGrad();
  };
  const step = compiled ? jit(body) : body;
  const dispose = (): void => {
    sgd.dispose();
    scaler.dispose();
    release(step);
  };
  return { p, scaler, sgd, step: (f: number) => scope(() => void step(tensor([f]))), dispose };
}

describe.each([false, true])('GradScaler (compiled: %s)', (compiled) => {
  test('leaves steps as they would be without it, and grows', () => {
    const { p, scaler, step, dispose } = setup({ initScale: 4, growthInterval: 2 }, compiled);
    const scales: number[] = [];
    for (let i = 0; i < 5; i++) {
      step(1);
      scales.push(scaler.getScale());
    }
    expect(scales).toEqual([4, 8, 8, 16, 16]);
    // v = 1, 1.5, 1.75, 1.875, 1.9375
    expect(p.item()).toBe(1 - 0.5 * (1 + 1.5 + 1.75 + 1.875 + 1.9375));
    dispose();
  });

  test('skips a step whose gradients are not finite, halves, and goes on', () => {
    const { p, scaler, sgd, step, dispose } = setup({ initScale: 8 }, compiled);
    step(1);
    const [value, velocity] = [p.item(), sgd.stateDict().tensors.get('0.momentumBuffer')?.item()];
    step(Number.POSITIVE_INFINITY);
    step(Number.NaN);
    expect([p.item(), sgd.stateDict().tensors.get('0.momentumBuffer')?.item()]).toEqual([value, velocity]);
    expect(scaler.getScale()).toBe(2);
    step(1);
    expect(p.item()).toBeLessThan(value);
    expect(scaler.getScale()).toBe(2);
    dispose();
  });

  test('its state continues', () => {
    const [a, b] = [setup({ initScale: 4, growthInterval: 3 }, compiled), setup({ growthInterval: 3 }, compiled)];
    a.step(1);
    a.step(1);
    b.scaler.loadStateDict(JSON.parse(JSON.stringify(a.scaler.stateDict())));
    for (const { step } of [a, b]) step(1);
    expect([a.scaler.getScale(), b.scaler.getScale()]).toEqual([8, 8]);
    for (const { dispose } of [a, b]) dispose();
  });

  test('clipping comes between unscale_ and step', () => {
    const p = nn.parameter(tensor([0]));
    const sgd = new optim.SGD([p], { lr: 1 });
    const scaler = new GradScaler({ initScale: 1024 });
    const body = (): Tensor => {
      scaler.scale(sum(mul(p, 10))).backward();
      scaler.unscale_(sgd);
      const length = clipGradNorm([p], 2);
      expect(() => scaler.unscale_(sgd)).toThrow(ArgumentError);
      scaler.step(sgd);
      scaler.update();
      sgd.zeroGrad();
      return length;
    };
    const run = compiled ? jit(body) : body;
    expect(run().item()).toBe(10);
    expect(p.item()).toBeCloseTo(-2, 4);
    release(run);
    sgd.dispose();
    scaler.dispose();
  });

  test('two optimizers: one overflow lowers the scale, the other step happens', () => {
    const [p, q] = [nn.parameter(tensor([1])), nn.parameter(tensor([1]))];
    const [a, b] = [new optim.SGD([p], { lr: 1 }), new optim.SGD([q], { lr: 1 })];
    const scaler = new GradScaler({ initScale: 2 });
    const body = (factor: Tensor): void => {
      scaler.scale(sum(mul(p, factor)).add(sum(q))).backward();
      scaler.step(a);
      scaler.step(b);
      scaler.update();
      for (const o of [a, b]) o.zeroGrad();
    };
    (compiled ? jit(body) : body)(tensor([Number.NaN]));
    expect([p.item(), q.item(), scaler.getScale()]).toEqual([1, 0, 1]);
    for (const o of [a, b, scaler]) o.dispose();
  });

  test('switched off it does nothing of its own', () => {
    const { p, scaler, step, dispose } = setup({ enabled: false }, compiled);
    step(1);
    expect([p.item(), scaler.getScale()]).toEqual([0.5, 1]);
    dispose();
  });
});

/** A regression in float16 whose gradients are below the smallest float16 number (6e-8) without scaling. */
function trainFloat16(how: 'float32' | 'scaled' | 'unscaled', compiled: boolean): number[] {
  manualSeed(11);
  const w1 = nn.parameter(randn([4, 16]).mul(0.5));
  const w2 = nn.parameter(randn([16, 1]).mul(0.3));
  const adam = new optim.Adam([w1, w2], { lr: 0.02, eps: 1e-16 });
  const scaler = new GradScaler({ initScale: 2 ** 24, growthInterval: 1000, enabled: how === 'scaled' });
  const x = randn([32, 4]);
  const y = relu(matmul(x, tensor([[1], [-1], [0.5], [0.25]])));
  const lossOf = (): Tensor => {
    const hidden = relu(matmul(x, w1));
    // A small loss, as terms of multi-task models are.
    return mul(mseLoss(matmul(hidden, w2), y), 1e-7);
  };
  const body = (): Tensor => {
    const loss = how === 'float32' ? lossOf() : autocast(lossOf, { dtype: 'float16' });
    scaler.scale(loss).backward();
    scaler.step(adam);
    scaler.update();
    adam.zeroGrad();
    return loss.detach();
  };
  const step = compiled ? jit(body) : body;
  const losses = Array.from({ length: 60 }, () => scope(() => step().item() * 1e7) as number);
  adam.dispose();
  scaler.dispose();
  release(step);
  return losses;
}

test('float16 learns nothing where gradients vanish, and follows float32 with scaling', () => {
  const exact = trainFloat16('float32', false);
  expect(exact[59]).toBeLessThan(0.2 * exact[0]);
  const vanished = trainFloat16('unscaled', false);
  expect(vanished[59]).toBeGreaterThan(0.95 * vanished[0]);
  for (const compiled of [false, true]) {
    const scaled = trainFloat16('scaled', compiled);
    // Stated tolerance: 5% of the first loss; the first steps are skipped while the scale comes down.
    expect(Math.abs(scaled[59] - exact[59])).toBeLessThan(0.05 * exact[0]);
    expect(scaled[59]).toBeLessThan(0.25 * scaled[0]);
  }
});

test('a scale that is too large for float16 comes down, and then steps happen', () => {
  const p = nn.parameter(tensor([[300]]));
  const sgd = new optim.SGD([p], { lr: 1e-4 });
  const scaler = new GradScaler({ initScale: 1024 });
  const step = jit((x: Tensor) => {
    const loss = autocast(
      () => {
        const y = matmul(x, p);
        return sum(mul(y, y));
      },
      { dtype: 'float16' },
    );
    scaler.scale(loss).backward();
    scaler.step(sgd);
    scaler.update();
    sgd.zeroGrad();
  });
  // The gradient at y is 600 * scale, float16 ends at 65504.
  const seen = Array.from({ length: 6 }, () => {
    step(tensor([[1]]));
    return [scaler.getScale(), p.item() === 300];
  });
  expect(seen).toEqual([
    [512, true],
    [256, true],
    [128, true],
    [64, true],
    [64, false],
    [64, false],
  ]);
  expect(p.item()).toBeCloseTo(300 - 2 * 0.06, 2);
  step.dispose();
  sgd.dispose();
  scaler.dispose();
});

test('float16 parameters with master weights are scaled on the way into the update', () => {
  const p = nn.parameter(tensor([1], { dtype: 'float16' }));
  const sgd = new optim.SGD([p], { lr: 1e4, masterWeights: true });
  const scaler = new GradScaler({ initScale: 2 ** 16 });
  const step = jit(() => {
    // Unscaled, the gradient of 1e-8 is 0 in float16.
    scaler.scale(mul(sum(p.float()), 1e-8)).backward();
    scaler.step(sgd);
    scaler.update();
    sgd.zeroGrad();
  });
  for (let i = 0; i < 10; i++) step();
  expect(sgd.stateDict().tensors.get('0.masterWeight')?.item()).toBeCloseTo(1 - 1e-3, 5);
  sum(p).backward();
  expect(() => scaler.unscale_(sgd)).toThrow(/float16/);
  sgd.zeroGrad();
  step.dispose();
  sgd.dispose();
  scaler.dispose();
});
