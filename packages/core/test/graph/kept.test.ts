/** What compiled functions keep of the tensors they capture: prepared once, and anew whenever those have changed. */
import { describe, expect, test } from 'vitest';
import { add, conv2d, jit, linear, manualSeed, matmul, mul, nn, noGrad, randn, rsqrt, type Tensor } from '../../src/index.js';

function expectClose(actual: Tensor, expected: Tensor): void {
  const [a, b] = [actual.dataSync(), expected.dataSync()];
  expect(actual.shape).toEqual(expected.shape);
  for (let i = 0; i < a.length; i++) expect(Math.abs(Number(a[i]) - Number(b[i]))).toBeLessThanOrEqual(2e-4 * (1 + Math.abs(Number(b[i]))));
}

/** A function of one tensor and what it captures; large enough that native code takes all of it. */
interface Case {
  readonly captured: readonly Tensor[];
  readonly shape: readonly number[];
  readonly fn: (x: Tensor) => Tensor;
}
function cases(): Record<string, Case> {
  manualSeed(3);
  const [w, b] = [randn([70, 130]), randn([70])];
  const [v, s] = [randn([130, 90]), randn([90])];
  const [c1, c3] = [randn([24, 8, 1, 1]), randn([18, 24, 3, 3])];
  return {
    linear: { captured: [w, b], shape: [37, 130], fn: (x) => linear(x, w, b) },
    'one row': { captured: [w], shape: [1, 130], fn: (x) => linear(x, w) },
    'scaled product': { captured: [v, s], shape: [20, 130], fn: (x) => mul(matmul(x, v), rsqrt(add(mul(s, s), 1))) },
    convolutions: { captured: [c1, c3], shape: [2, 8, 11, 9], fn: (x) => conv2d(conv2d(x, c1).relu(), c3, null, { padding: 1 }) },
  };
}

describe.each(Object.keys(cases()))('%s', (name) => {
  test('sees every change of a captured tensor, in both ways of running', async () => {
    const { captured, shape, fn } = cases()[name];
    const compiled = jit(fn);
    for (let round = 0; round < 6; round++) {
      if (round >= 2) noGrad(() => captured[round % captured.length].mul_(-1.5).add_(0.25));
      const x = randn([...shape]);
      expectClose(round % 2 === 0 ? compiled(x) : await compiled.run(x), fn(x));
      expectClose(compiled(x), fn(x));
    }
    compiled.dispose();
  });
});

test('what depends on captured tensors alone is computed when they have changed, not in every run', () => {
  const w = randn([4, 4]);
  const compiled = jit((x: Tensor) => mul(x, rsqrt(add(mul(w, w), 1))));
  const program = compiled.compile(randn([4, 4]));
  expect(program.steps[0].kind).toBe('prepare');
  compiled(randn([4, 4])).dispose();
  const before = program.keptVersion;
  for (let i = 0; i < 3; i++) compiled(randn([4, 4])).dispose();
  expect(program.keptVersion).toBe(before);
  noGrad(() => w.add_(1));
  compiled(randn([4, 4])).dispose();
  expect(program.keptVersion).toBe(before + 1);
  compiled.dispose();
});

test('state that the function changes itself is never kept', () => {
  const state = randn([3]);
  const step = jit((x: Tensor) => {
    noGrad(() => state.add_(1));
    return mul(x, mul(state, state));
  });
  const x = randn([3]);
  for (let i = 0; i < 3; i++) expectClose(step(x), mul(x, mul(state, state)));
  step.dispose();
});

test('a run behind one that is under way sees what that one changes', async () => {
  const w = randn([64, 64]);
  const update = jit((d: Tensor) => {
    noGrad(() => w.add_(d));
    return d.sum();
  });
  const compiled = jit((x: Tensor) => mul(x, rsqrt(add(mul(w, w), 1))));
  const [x, d] = [randn([64, 64]), randn([64, 64])];
  update(d).dispose();
  compiled(x).dispose();
  const underWay = update.run(d);
  const y = compiled(x);
  await underWay;
  expectClose(y, mul(x, rsqrt(add(mul(w, w), 1))));
  update.dispose();
  compiled.dispose();
});

test('an aborted run leaves nothing half prepared', async () => {
  const w = randn([200, 200]);
  const compiled = jit((x: Tensor) => {
    let y = x;
    for (let i = 0; i < 20; i++) y = matmul(y, mul(w, 0.05));
    return y;
  });
  const program = compiled.compile(randn([200, 200]));
  const x = randn([200, 200]);
  const pointers = new Float64Array([0, x.storage.address, w.storage.address, randn([200, 200]).storage.address]);
  const controller = new AbortController();
  const run = program.executable.run(pointers, controller.signal);
  controller.abort(new Error('enough'));
  await expect(run).rejects.toThrow('enough');
  let expected = x;
  for (let i = 0; i < 20; i++) expected = matmul(expected, mul(w, 0.05));
  expectClose(compiled(x), expected);
  compiled.dispose();
});

test('a recurrent layer gives the same numbers as outside, with weights shared by all rounds of its loop', () => {
  manualSeed(5);
  const lstm = new nn.LSTM(20, 33);
  const compiled = jit((x: Tensor) => lstm.call(x)[0]);
  for (let round = 0; round < 3; round++) {
    if (round === 2) noGrad(() => lstm.parameters().forEach((p) => p.mul_(0.5)));
    const x = randn([9, 4, 20]);
    expectClose(compiled(x), lstm.call(x)[0]);
  }
  compiled.dispose();
});
