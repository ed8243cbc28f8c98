import { describe, expect, test } from 'vitest';
import {
  type AnomalyDetails,
  AnomalyError,
  add,
  bce,
  detectAnomaly,
  div,
  exp,
  jit,
  log,
  manualSeed,
  matmul,
  mul,
  nn,
  norm,
  ones,
  optim,
  randn,
  scaledDotProductAttention,
  scan,
  scope,
  softmax,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  TraceError,
  tensor,
  where,
  zeros,
} from '../../src/index.js';
import { release } from '../optim/harness.js';

function anomalyOf(fn: () => unknown): AnomalyDetails {
  try {
    fn();
  } catch (error) {
    if (error instanceof AnomalyError) return error.anomaly;
    throw error;
  }
  throw new Error('no anomaly was found');
}

class Faulty extends nn.Module {
  readonly first = new nn.Linear(3, 3);
  readonly second = new nn.Linear(3, 1);
  override forward(x: Tensor): Tensor {
    return this.second.call(log(square(this.first.call(x)).mul(-1)));
  }
}
class Net extends nn.Module {
  readonly encoder = new nn.Sequential(new nn.Linear(2, 3), new Faulty());
  override forward(x: Tensor): Tensor {
    return this.encoder.call(x);
  }
}

describe.each([false, true])('detectAnomaly (compiled: %s)', (compiled) => {
  const wrap = <A extends readonly unknown[], R>(fn: (...args: A) => R): ((...args: A) => R) => (compiled ? jit(fn, { name: 'step' }) : fn);

  test('names the operation and the layer of the forward pass', () => {
    manualSeed(1);
    const net = new Net();
    const step = wrap((x: Tensor) => net.call(x));
    const found = anomalyOf(() => detectAnomaly(() => step(randn([4, 2]))));
    expect(found).toMatchObject({ op: 'log', layer: 'Net.encoder.1', phase: 'forward', kind: 'NaN', step: 1, inputsFinite: true });
    expect(found.compiled).toBe(compiled ? 'step' : null);
    expect(() => detectAnomaly(() => step(randn([4, 2])))).toThrow(/log gave NaN in layer Net\.encoder\.1.*logSoftmax/s);
    net.dispose();
  });

  test('names the operation whose gradient it is', () => {
    class Distance extends nn.Module {
      override forward(x: Tensor): Tensor {
        return sqrt(sum(square(x)));
      }
    }
    const layer = new Distance();
    const x = zeros([3], { requiresGrad: true });
    const step = wrap(() => {
      layer.call(x).backward();
    });
    // The gradient of a root at 0 is infinite, and times 0 it is NaN further on: the first one counts.
    expect(anomalyOf(() => detectAnomaly(() => step()))).toMatchObject({
      op: 'sqrt',
      layer: 'Distance',
      phase: 'backward',
      kind: 'infinity',
    });
    expect(anomalyOf(() => detectAnomaly(() => step(), { infinities: false }))).toMatchObject({
      op: 'mul',
      phase: 'backward',
      kind: 'NaN',
    });
    x.grad = null;
    release(step);
    x.dispose();
  });

  test('names the step of a training, counted by the optimizer', () => {
    const p = nn.parameter(tensor([1]));
    const sgd = new optim.SGD([p], { lr: 0.5 });
    const step = wrap(() => {
      // 1, 0.5, 0, and then log(0).
      sum(add(p, mul(log(p).detach(), 0))).backward();
      sgd.step();
      sgd.zeroGrad();
    });
    const found = anomalyOf(() =>
      detectAnomaly(
        () => {
          for (let i = 0; i < 10; i++) step();
        },
        { step: 100 },
      ),
    );
    expect(found).toMatchObject({ op: 'log', kind: 'infinity', step: 102 });
    sgd.dispose();
  });

  test('says when the numbers were bad before', () => {
    const step = wrap((x: Tensor) => mul(x, 2));
    expect(anomalyOf(() => detectAnomaly(() => step(tensor([1, Number.NaN]))))).toMatchObject({ op: 'mul', inputsFinite: false });
    expect(() => detectAnomaly(() => step(tensor([Number.NaN])))).toThrow(/Check the data/);
  });

  test('lets pass what is meant: masks, guarded divisions, and sound models', () => {
    manualSeed(5);
    const x = tensor([0, 1, 2], { requiresGrad: true });
    const sound = wrap(() => {
      const safe = where(x.eq(0), 0, div(1, where(x.eq(0), 1, x)));
      const q = randn([1, 4, 8]);
      const attention = scaledDotProductAttention(q, q, q, { isCausal: true });
      const weights = softmax(where(tensor([true, false]), tensor([1, 2]), Number.NEGATIVE_INFINITY));
      const certain = bce(tensor([0, 1], { requiresGrad: true }), tensor([0, 1]));
      const loss = sum(safe)
        .add(norm(x.mul(0)))
        .add(sum(attention))
        .add(sum(weights))
        .add(certain);
      loss.backward();
      return loss.detach();
    });
    expect(Number.isFinite(detectAnomaly(() => scope(() => sound().item())))).toBe(true);
    x.grad = null;
  });

  test('finds an overflow, also in float16, unless infinities are let pass', () => {
    const step = wrap((x: Tensor) => exp(x));
    expect(anomalyOf(() => detectAnomaly(() => step(tensor([1000]))))).toMatchObject({ op: 'exp', kind: 'infinity' });
    const half = wrap((x: Tensor) => matmul(x, x));
    expect(anomalyOf(() => detectAnomaly(() => half(tensor([[300]], { dtype: 'float16' }))))).toMatchObject({ kind: 'infinity' });
    expect(detectAnomaly(() => step(tensor([1000])).item(), { infinities: false })).toBe(Number.POSITIVE_INFINITY);
  });

  test('a composite counts as one operation', () => {
    const step = wrap((x: Tensor) => softmax(x));
    expect(anomalyOf(() => detectAnomaly(() => step(tensor([Number.NaN, 1]))))).toMatchObject({ op: 'softmax', inputsFinite: false });
  });
});

test('the first operation in the order of execution is named', () => {
  const f = jit((x: Tensor) => {
    const early = log(sub(x, 2));
    const late = sqrt(sub(x, 3));
    return add(late, early);
  });
  expect(anomalyOf(() => detectAnomaly(() => f(ones([2]))))).toMatchObject({ op: 'log' });
  f.dispose();
});

test('compiled programs are instrumented only while it is on', () => {
  const f = jit((x: Tensor) => log(x));
  f(ones([2]));
  detectAnomaly(() => f(ones([2])));
  const [instrumented, plain] = f.programs;
  expect(instrumented.program.nodes.length).toBeGreaterThan(plain.program.nodes.length);
  expect(f(tensor([-1, -1])).toArray()).toEqual([Number.NaN, Number.NaN]);
  expect(() => detectAnomaly(() => f(tensor([-1, -1])))).toThrow(AnomalyError);
  expect(f.programs).toHaveLength(2);
  f.dispose();
});

test('a loop of a compiled function is named as a whole', () => {
  const f = jit((x: Tensor) => scan(([h]) => [[log(h)], []], [x], [], { length: 3 }).carry[0]);
  expect(anomalyOf(() => detectAnomaly(() => f(ones([2]).mul(0.5))))).toMatchObject({ op: 'scan', kind: 'NaN' });
  f.dispose();
});

test('asynchronous functions are watched until they end', async () => {
  const f = jit((x: Tensor) => log(x));
  const bad = tensor([-1]);
  await expect(detectAnomaly(async () => void (await f.run(bad)))).rejects.toThrow(AnomalyError);
  expect(Number.isNaN(f(bad).item())).toBe(true);
  f.dispose();
  bad.dispose();
});

test('it cannot begin inside a function that is being compiled', () => {
  expect(() => jit(() => detectAnomaly(() => ones([1])))()).toThrow(TraceError);
});
