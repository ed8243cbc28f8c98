import { afterEach, describe, expect, test } from 'vitest';
import {
  AutogradError,
  add,
  checkpoint,
  collectGarbage,
  dropout,
  grad,
  jit,
  manualSeed,
  memoryInfo,
  mul,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  randn,
  sum,
  type Tensor,
  TraceError,
  tensor,
  where,
  zeros,
} from '../../src/index.js';

const numbers = (t: Tensor): number[] => Array.from(t.dataSync() as Float32Array);

afterEach(() => {
  collectGarbage();
});

describe('specialisation', () => {
  test('one program for each combination of shapes, dtypes and static values', () => {
    const f = jit((x: Tensor, factor: number) => mul(x, factor));
    expect(numbers(f(tensor([1, 2]), 3))).toEqual([3, 6]);
    expect(numbers(f(tensor([5, 6]), 3))).toEqual([15, 18]);
    expect(f.programs).toHaveLength(1);
    expect(numbers(f(tensor([1, 2]), 4))).toEqual([4, 8]);
    expect(numbers(f(tensor([1, 2, 3]), 4))).toEqual([4, 8, 12]);
    f(tensor([1, 2], { dtype: 'int32' }), 4);
    expect(f.programs).toHaveLength(4);
    // Back to the first: no new program.
    expect(numbers(f(tensor([7, 8]), 3))).toEqual([21, 24]);
    expect(f.programs).toHaveLength(4);
  });
  test('NaN and -0 are static values like others', () => {
    const f = jit((x: Tensor, v: number) => add(x, v));
    f(tensor([1]), Number.NaN);
    f(tensor([1]), Number.NaN);
    expect(f.programs).toHaveLength(1);
  });
  test('arguments and results may be nested', () => {
    const f = jit((batch: { x: Tensor; more: Tensor[] }) => ({ total: add(batch.x, batch.more[0]), name: 'sum' }));
    const out = f({ x: tensor([1]), more: [tensor([2])] });
    expect(out.name).toBe('sum');
    expect(numbers(out.total)).toEqual([3]);
  });
  test('strided arguments are read right', () => {
    const f = jit((x: Tensor) => add(x, 1));
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(numbers(f(x.t()))).toEqual([2, 4, 3, 5]);
  });
  test('an argument may be returned as it is, and twice', () => {
    const f = jit((x: Tensor) => [x, x, add(x, 0)]);
    const outs = f(tensor([1, 2]));
    for (const t of outs) expect(numbers(t)).toEqual([1, 2]);
  });
});

describe('state', () => {
  test('what is captured and changed in place changes at every call', () => {
    const counter = zeros([]);
    const f = jit((x: Tensor) => {
      counter.add_(1);
      return mul(x, counter);
    });
    expect(numbers(f(tensor([2])))).toEqual([2]);
    expect(numbers(f(tensor([2])))).toEqual([4]);
    expect(counter.item()).toBe(2);
    counter.fill_(10);
    expect(numbers(f(tensor([2])))).toEqual([22]);
  });
  test('two states can be exchanged', () => {
    const a = tensor([1, 2]);
    const b = tensor([3, 4]);
    const f = jit(() => {
      const old = a.clone();
      a.copy_(b);
      b.copy_(old);
    });
    f();
    expect([numbers(a), numbers(b)]).toEqual([
      [3, 4],
      [1, 2],
    ]);
  });
  test('the old value of a state can be returned beside the new one', () => {
    const s = tensor([1, 2]);
    const f = jit(() => {
      const before = mul(s, 1);
      s.mul_(2);
      return [before, add(s, 0)];
    });
    expect(f().map(numbers)).toEqual([
      [1, 2],
      [2, 4],
    ]);
    expect(f().map(numbers)).toEqual([
      [2, 4],
      [4, 8],
    ]);
  });
  test('writing a slice of a state leaves the rest', () => {
    const s = zeros([3, 2]);
    const f = jit((row: Tensor) => {
      s.select(0, 1).copy_(row);
      return sum(s);
    });
    expect(f(tensor([1, 2])).item()).toBe(3);
    expect(numbers(s)).toEqual([0, 0, 1, 2, 0, 0]);
  });
  test('random numbers differ from call to call and repeat with the seed', () => {
    const f = jit(() => rand([4]));
    manualSeed(5);
    const first = [numbers(f()), numbers(f())];
    expect(first[0]).not.toEqual(first[1]);
    manualSeed(5);
    expect([numbers(f()), numbers(f())]).toEqual(first);
    manualSeed(5);
    expect(numbers(rand([4]))).toEqual(first[0]);
  });
  test('dropout masks are the same compiled and eager', () => {
    const x = ones([50]);
    const f = jit((t: Tensor) => dropout(t, 0.5, true));
    manualSeed(9);
    const compiled = numbers(f(x));
    manualSeed(9);
    expect(numbers(dropout(x, 0.5, true))).toEqual(compiled);
  });
  test('batch statistics update in place, and train() and eval() choose other programs', () => {
    manualSeed(3);
    const bn = new nn.BatchNorm1d(4);
    const f = jit((x: Tensor) => bn.call(x));
    const x = randn([8, 4]);
    f(x);
    const mean = numbers(bn.runningMean as Tensor);
    expect(mean.some((v) => v !== 0)).toBe(true);
    bn.eval();
    f(x);
    expect(numbers(bn.runningMean as Tensor)).toEqual(mean);
    expect(f.programs).toHaveLength(2);
    bn.train();
    f(x);
    expect(f.programs).toHaveLength(2);
    expect(numbers(bn.runningMean as Tensor)).not.toEqual(mean);
  });
});

test('freezing and thawing choose other programs', () => {
  const net = new nn.Sequential(new nn.Linear(3, 4), new nn.LayerNorm(4), new nn.Linear(4, 2));
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  const step = jit((x: Tensor) => {
    optimizer.zeroGrad();
    const loss = sum(mul(net.call(x), net.call(x)));
    loss.backward();
    optimizer.step();
    return loss.detach();
  });
  const moved = (): boolean[] => {
    const before = net.parameters().map((p) => p.toArray());
    step(ones([2, 3]));
    return net.parameters().map((p, i) => JSON.stringify(p.toArray()) !== JSON.stringify(before[i]));
  };
  net.at(0).requiresGrad_(false);
  net.at(1).requiresGrad_(false);
  expect(moved()).toEqual([false, false, false, false, true, true]);
  net.at(1).requiresGrad_(true);
  expect(moved()).toEqual([false, false, true, true, true, true]);
  net.at(1).requiresGrad_(false);
  expect(moved()).toEqual([false, false, false, false, true, true]);
  expect(step.programs).toHaveLength(2);
  optimizer.zeroGrad();
  optimizer.dispose();
});

describe('training steps', () => {
  function trainer(compiled: boolean, steps: number): { losses: number[]; weights: number[] } {
    manualSeed(4);
    const model = new nn.Sequential(new nn.Linear(6, 16), new nn.Tanh(), new nn.Dropout(0.1), new nn.Linear(16, 1));
    const adam = new optim.AdamW(model.parameters(), { lr: 0.01 });
    const x = randn([32, 6]);
    const y = sum(x, 1, true);
    const body = (a: Tensor, b: Tensor): Tensor => {
      adam.zeroGrad();
      const difference = model.call(a).sub(b);
      const loss = mul(difference, difference).mean();
      loss.backward();
      adam.step();
      return loss.detach();
    };
    const step = compiled ? jit(body) : body;
    const losses = Array.from({ length: steps }, () => step(x, y).item() as number);
    return { losses, weights: model.parameters().flatMap(numbers) };
  }
  test('a whole step in one program trains as the eager one does', () => {
    const eager = trainer(false, 12);
    const compiled = trainer(true, 12);
    eager.losses.forEach((loss, i) => expect(compiled.losses[i]).toBeCloseTo(loss, 5));
    eager.weights.forEach((w, i) => expect(compiled.weights[i]).toBeCloseTo(w, 4));
    expect(eager.losses[11]).toBeLessThan(eager.losses[0]);
  });
  test('gradients left behind by a compiled function are in .grad', () => {
    const w = tensor([2, 3], { requiresGrad: true });
    const f = jit((x: Tensor) => {
      sum(mul(w, x)).backward();
    });
    f(tensor([5, 7]));
    expect(numbers(w.grad as Tensor)).toEqual([5, 7]);
    // A second call adds to it.
    f(tensor([1, 1]));
    expect(numbers(w.grad as Tensor)).toEqual([6, 8]);
    f(tensor([1, 1]));
    expect(numbers(w.grad as Tensor)).toEqual([7, 9]);
  });
  test('the learning rate can change between calls', () => {
    const w = tensor([1], { requiresGrad: true });
    const sgd = new optim.SGD([w], { lr: 0.5 });
    const f = jit(() => {
      sum(w).backward();
      sgd.step();
      sgd.zeroGrad();
    });
    f();
    expect(numbers(w)).toEqual([0.5]);
    sgd.lr = 0.25;
    f();
    expect(numbers(w)).toEqual([0.25]);
  });
});

describe('errors', () => {
  test('a gradient wanted through a compiled result is refused, not lost', () => {
    const w = tensor([2], { requiresGrad: true });
    const f = jit((x: Tensor) => mul(w, x));
    const y = f(tensor([3]));
    expect(() => sum(add(y, w)).backward()).toThrow(AutogradError);
    expect(numbers(y)).toEqual([6]);
    const g = jit((x: Tensor) => mul(w, x).detach());
    expect(g(tensor([3])).requiresGrad).toBe(false);
    expect(noGrad(() => f(tensor([3]))).requiresGrad).toBe(false);
  });
  test('reading a value while tracing names the line and the remedies', () => {
    const f = jit((x: Tensor) => (x.item() as number) > 0);
    expect(() => f(tensor([1]))).toThrow(TraceError);
    expect(() => f(tensor([1]))).toThrow(/jit\.test\.ts.*:\d+:\d+.*where\(\) or cond\(\)/s);
  });
  test('a traced tensor kept beyond the trace is refused', () => {
    let kept: Tensor | null = null;
    const f = jit((x: Tensor) => {
      kept = add(x, 1);
      return kept;
    });
    f(tensor([1]));
    expect(() => add(kept as unknown as Tensor, 1)).toThrow(/trace/);
  });
  test('an exception in the traced function leaves everything usable', () => {
    let fail = true;
    const w = tensor([1], { requiresGrad: true });
    const f = jit((x: Tensor) => {
      sum(mul(w, x)).backward();
      if (fail) throw new Error('stop');
      return add(x, 1);
    });
    expect(() => f(tensor([1]))).toThrow('stop');
    expect(w.grad).toBeNull();
    fail = false;
    expect(numbers(f(tensor([1])))).toEqual([2]);
  });
});

test('a program reads well', () => {
  const f = jit((x: Tensor, w: Tensor) => where(x.gt(0), x, 0).matmul(w));
  const text = f.compile(randn([2, 3]), randn([3, 4])).toString();
  expect(text).toContain('float32[2, 3]');
  expect(text).toMatch(/return %\d+/);
  expect(text).toMatch(/kernels, arena \d+ bytes/);
});

test('ten thousand calls leave no memory behind', () => {
  const f = jit((x: Tensor) => add(x, 1));
  const x = zeros([100]);
  noGrad(() => {
    f(x).dispose();
    const before = memoryInfo().storages;
    for (let i = 0; i < 10_000; i++) f(x).dispose();
    expect(memoryInfo().storages).toBe(before);
  });
  f.dispose();
});

test('run() computes off the event loop and gives the same numbers', async () => {
  const f = jit((x: Tensor) => x.matmul(x).sum());
  const x = randn([64, 64]);
  const [a, b] = [await f.run(x), f(x)];
  expect(a.item()).toBe(b.item());
});

test('checkpoint() saves memory in a program too: the second run is not merged with the first', () => {
  const w = Array.from({ length: 6 }, () => randn([32, 32]).mul(0.1).requiresGrad_());
  const block = (x: Tensor, i: number): Tensor => x.matmul(w[i]).tanh().mul(1.1).exp().tanh();
  const arena = (save: boolean): [number, number] => {
    const f = jit((x: Tensor) => {
      let h = x;
      for (let i = 0; i < 6; i += 2) h = save ? checkpoint((t: Tensor) => block(block(t, i), i + 1), h) : block(block(h, i), i + 1);
      return grad(sum(h), w);
    });
    const x = randn([256, 32]).requiresGrad_();
    manualSeed(1);
    return [f.compile(x).arenaBytes, sum(f(ones([256, 32]).requiresGrad_())[0]).item() as number];
  };
  const [plain, plainSum] = arena(false);
  const [saved, savedSum] = arena(true);
  expect(saved).toBeLessThan(0.7 * plain);
  expect(savedSum).toBeCloseTo(plainSum, 4);
});
