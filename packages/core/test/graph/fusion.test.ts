import { describe, expect, test } from 'vitest';
import {
  add,
  conv2d,
  crossEntropy,
  gelu,
  jit,
  layerNorm,
  linear,
  logSoftmax,
  manualSeed,
  matmul,
  mul,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  relu,
  scaledDotProductAttention,
  softmax,
  sum,
  type Tensor,
} from '../../src/index.js';

/** Names of the kernels a function compiles to. */
function kernels(fn: (...args: Tensor[]) => unknown, ...args: Tensor[]): string[] {
  const jitted = jit(fn);
  const { kernels: list } = jitted.compile(...args);
  const names = list.map((k) => k.name);
  jitted.dispose();
  return names;
}

function expectClose(actual: Tensor, expected: Tensor, tolerance = 1e-5): void {
  const a = actual.dataSync();
  const b = expected.dataSync();
  expect(actual.shape).toEqual(expected.shape);
  for (let i = 0; i < a.length; i++)
    expect(Math.abs(Number(a[i]) - Number(b[i]))).toBeLessThanOrEqual(tolerance * (1 + Math.abs(Number(b[i]))));
}

describe('what becomes one kernel', () => {
  test('softmax over rows, and over columns', () => {
    expect(kernels((x) => softmax(x, -1), randn([8, 33]))).toHaveLength(1);
    expect(kernels((x) => softmax(x, 0), randn([33, 8]))).toHaveLength(1);
    expect(kernels((x) => logSoftmax(x, 1), randn([4, 7, 3]))).toHaveLength(1);
  });
  test('layerNorm with scale and shift', () => {
    expect(kernels((x, w, b) => layerNorm(x, [16], w, b), randn([6, 16]), randn([16]), randn([16]))).toHaveLength(1);
  });
  test('linear, bias and gelu', () => {
    const args = [randn([5, 16]), randn([8, 16]), randn([8])];
    expect(kernels((x, w, b) => gelu(linear(x, w, b)), ...args)).toHaveLength(1);
    expect(kernels((x, w, b) => gelu(linear(x, w, b), { approximate: 'tanh' }), ...args)).toHaveLength(1);
  });
  test('linear, bias and gelu on batches of sequences', () => {
    expect(kernels((x, w, b) => gelu(linear(x, w, b)), randn([2, 5, 16]), randn([8, 16]), randn([8]))).toHaveLength(1);
  });
  test('convolution, batch normalization (evaluation) and relu; what depends on parameters alone is prepared', () => {
    const bn = new nn.BatchNorm2d(6).eval();
    const jitted = jit((x: Tensor, w: Tensor) => relu(bn.call(conv2d(x, w, null, { padding: 1 }))));
    const { steps } = jitted.compile(randn([2, 3, 8, 8]), randn([6, 3, 3, 3]));
    expect(steps.map((s) => s.kind)).toEqual(['prepare', 'call']);
    jitted.dispose();
  });
  test('a residual connection after a matrix product', () => {
    expect(kernels((x, w, r) => add(matmul(x, w), r), randn([4, 8]), randn([8, 6]), randn([4, 6]))).toHaveLength(1);
  });
  test('cross entropy of logits: the rows, then their mean', () => {
    expect(kernels((x, y) => crossEntropy(x, y), randn([32, 10]), randint(10, [32])).length).toBeLessThanOrEqual(2);
  });
  test('attention: two products and a softmax', () => {
    const q = randn([2, 4, 9, 8]);
    expect(kernels((a, b, c) => scaledDotProductAttention(a, b, c, { isCausal: true }), q, q, q)).toHaveLength(3);
  });
});

test('an Adam update of all parameters is at most one kernel per dtype', () => {
  manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(7, 5), new nn.ReLU(), new nn.Linear(5, 3), new nn.ReLU(), new nn.Linear(3, 2));
  const adam = new optim.Adam(model.parameters(), { lr: 0.01 });
  const params = model.parameters();
  const grads = params.map((p) => randn(p.shape));
  const update = jit((...gs: Tensor[]) => {
    params.forEach((p, i) => {
      p.grad = gs[i];
    });
    adam.step();
    params.forEach((p) => {
      p.grad = null;
    });
  });
  const { kernels: list } = update.compile(...grads);
  const dtypes = list.map((k) => k.params[0].dtype);
  expect(new Set(dtypes).size).toBe(dtypes.length);
  // One part for each parameter.
  expect(Math.max(...list.map((k) => k.parts.length))).toBe(params.length);
});

test('fused programs give what the operations give one by one', () => {
  manualSeed(2);
  const x = randn([6, 33]);
  const w = randn([12, 33]);
  const b = randn([12]);
  const cases: [(...args: Tensor[]) => Tensor, Tensor[]][] = [
    [(a) => softmax(a, -1), [x]],
    [(a) => softmax(a, 0), [x]],
    [(a) => layerNorm(a, [33]), [x]],
    [(a, c, d) => gelu(linear(a, c, d)), [x, w, b]],
    [(a) => sum(mul(a, a), 0), [x]],
    [(a) => a.t().contiguous().mul(2).t(), [x]],
    [(a) => a.reshape([3, 2, 33]).permute([1, 0, 2]).contiguous().reshape([2, 99]).add(1), [x]],
    [
      (a) =>
        softmax(
          a
            .t()
            .slice([[null, null, 2]])
            .mul(a.t().slice([[null, null, 2]])),
          1,
        ),
      [x],
    ],
  ];
  for (const [fn, args] of cases) {
    const jitted = jit(fn);
    expectClose(
      jitted(...args),
      noGrad(() => fn(...args)),
    );
    jitted.dispose();
  }
});
