import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { renderWgsl } from '../../src/codegen/wgsl/render.js';
import { dtypeInfo } from '../../src/dtype.js';
import { DTypeError } from '../../src/errors.js';
import * as t from '../../src/index.js';
import { randomBitsPrimitive, uniformPrimitive } from '../../src/ops/random-primitives.js';
import { decode, encode } from '../../src/tensor/codec.js';
import { apply1 } from '../../src/tensor/dispatch.js';
import { Gpu } from './wgsl-harness.js';

let gpu: Gpu | string;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(() => {
  if (typeof gpu !== 'string') gpu.close();
});

type Fn = (...args: t.Tensor[]) => t.Tensor | t.Tensor[];
interface Tolerance {
  readonly relative?: number;
  readonly absolute?: number;
}

/** Runs a function on WebGPU and on the CPU and compares: |difference| <= relative * |expected| + absolute. */
async function expectSame(
  ctx: TestContext,
  fn: Fn,
  args: readonly t.Tensor[],
  { relative = 1e-5, absolute = 1e-6 }: Tolerance = {},
): Promise<void> {
  if (typeof gpu === 'string') return ctx.skip(gpu);
  const jitted = t.jit(fn);
  const program = jitted.compile(...args);
  const inputs = args.map((a) => {
    const bytes = new Uint8Array(a.numel * dtypeInfo[a.dtype].bytes);
    encode(a.dataSync(), a.dtype, bytes);
    return bytes;
  });
  const [outputs, expected] = [await gpu.run(program, inputs), [jitted(...args)].flat()];
  expect(outputs).toHaveLength(expected.length);
  expected.forEach((tensor, k) => {
    const want = tensor.dataSync();
    const bytes = outputs[k]!;
    expect(bytes.byteLength).toBe(want.length * dtypeInfo[tensor.dtype].bytes);
    const got = decode(bytes, tensor.dtype);
    for (let i = 0; i < want.length; i++) {
      const [g, w] = [Number(got[i]), Number(want[i])];
      const ok = Object.is(g, w) || g === w || Math.abs(g - w) <= relative * Math.abs(w) + absolute;
      if (!ok) expect.fail(`element ${i} of output ${k} is ${g} on WebGPU, ${w} on the CPU`);
    }
  });
  jitted.dispose();
}

/** Entry points of each kernel a function compiles to. */
function dispatches(fn: Fn, ...args: t.Tensor[]): number[] {
  const jitted = t.jit(fn);
  const counts = jitted.compile(...args).kernels.map((k) => renderWgsl(k).dispatches.length);
  jitted.dispose();
  return counts;
}

const randn = (...shape: number[]): t.Tensor => t.randn(shape);
beforeAll(() => t.manualSeed(5));

describe('elementwise kernels', () => {
  test('a chain with broadcasting', (ctx) =>
    expectSame(ctx, (x, r, c) => t.mul(t.tanh(t.add(x, r)), t.exp(t.sub(c, 1))), [randn(9, 70), randn(70), randn(9, 1)]));
  test('scalars and single elements', (ctx) => expectSame(ctx, (x) => t.add(t.mul(x, 3), 0.1), [randn()]));
  test('transposed and strided views', (ctx) =>
    expectSame(ctx, (x) => [t.add(x.transpose(0, 2), 1), t.mul(x.permute(1, 2, 0), 2), x.select(1, 3).contiguous()], [randn(5, 6, 40)]));
  test('several outputs of different sizes', (ctx) =>
    expectSame(ctx, (x, y) => [t.exp(x), t.sub(y, 2), t.relu(y)], [randn(300), randn(7, 3)]));
  test('more elements than one row of workgroups holds', (ctx) => expectSame(ctx, (x) => t.add(x.t(), 1), [randn(3, 40000)]));
});

describe('mathematical functions', () => {
  const names = [
    'exp',
    'expm1',
    'log',
    'log1p',
    'sin',
    'cos',
    'tanh',
    'sigmoid',
    'erf',
    'sqrt',
    'rsqrt',
    'gelu',
    'softplus',
    'atan',
    'abs',
    'floor',
    'round',
  ] as const;
  test('agree with the CPU', (ctx) =>
    expectSame(ctx, (x) => names.map((n) => t[n](n.startsWith('log') || n.endsWith('sqrt') ? t.abs(x) : x)), [t.mul(randn(500), 3)]));
  test('powers', (ctx) => expectSame(ctx, (x, y) => t.pow(t.abs(x), y), [randn(200), randn(200)], { relative: 2e-5 }));
});

describe('not a number, infinities', () => {
  const special = (): t.Tensor => t.tensor([NaN, Infinity, -Infinity, 0, 1, -1, 2.5, -2.5, 3e38]);
  test('comparisons, maxima, exponentials and arithmetic carry them', (ctx) =>
    expectSame(ctx, (x, y) => [t.maximum(x, y), t.minimum(y, x), t.exp(x), t.add(x, y), t.relu(x), t.sub(x, x)], [
      special(),
      t.flip(special(), [0]),
    ]));
  test('in the maximum of long rows', (ctx) =>
    expectSame(ctx, (x) => t.amax(x, 1), [t.where(t.gt(randn(6, 100), 2.3), NaN, randn(6, 100))]));
  test('softmax of rows masked by -Infinity', (ctx) =>
    expectSame(ctx, (x) => t.softmax(x, 1), [t.where(t.gt(randn(6, 100), 0), -Infinity, randn(6, 100))], { absolute: 1e-8 }));
});

describe('reductions', () => {
  test('sum, mean and max over each axis and over all', (ctx) =>
    expectSame(ctx, (x) => [t.sum(x, 0), t.mean(x, 1), t.amax(x, 2), t.amin(x, [0, 2]), t.sum(x), t.mean(x, [0, 1])], [randn(5, 33, 130)], {
      absolute: 1e-5,
    }));
  test('long rows and many rows', (ctx) =>
    expectSame(ctx, (x, y) => [t.sum(x, 1), t.amax(y, 1)], [randn(3, 20000), randn(40000, 3)], { absolute: 2e-4 }));
  test('of booleans', (ctx) => expectSame(ctx, (x) => [t.any(t.gt(x, 2), 1), t.all(t.gt(x, -2), 1)], [randn(40, 65)]));
  test('of integers', (ctx) => expectSame(ctx, (x) => t.amax(x, 1), [t.randint(1000, [7, 90]).to('int32')]));
  test('softmax', (ctx) => expectSame(ctx, (x) => t.softmax(x, -1), [randn(37, 65)], { absolute: 1e-8 }));
  test('softmax of long rows', (ctx) => expectSame(ctx, (x) => t.softmax(x, -1), [randn(3, 10007)], { absolute: 1e-9 }));
  test('softmax over the first axis, and over few elements', (ctx) =>
    expectSame(ctx, (x) => [t.softmax(x, 0), t.softmax(x, 2)], [randn(50, 9, 4)]));
  test('layerNorm', (ctx) => expectSame(ctx, (x, w, b) => t.layerNorm(x, [96], w, b), [randn(21, 96), randn(96), randn(96)]));
  test('a softmax and a layerNorm are one dispatch', () => {
    expect(dispatches((x) => t.softmax(x, -1), randn(37, 65))).toEqual([1]);
    expect(dispatches((x, w, b) => t.layerNorm(x, [96], w, b), randn(21, 96), randn(96), randn(96))).toEqual([1]);
  });
});

describe('contractions', () => {
  test('odd sizes', async (ctx) => {
    for (const [m, k, n] of [
      [1, 1, 1],
      [17, 33, 19],
      [5, 100, 64],
      [64, 3, 2],
    ] as const) {
      await expectSame(ctx, (a, b) => t.matmul(a, b), [randn(m, k), randn(k, n)], { absolute: 1e-5 });
    }
  });
  test('transposed operands', (ctx) =>
    expectSame(ctx, (a, b) => t.matmul(a.t(), b.t()), [randn(20, 31), randn(18, 20)], { absolute: 1e-5 }));
  test('batches, and a broadcast operand', (ctx) =>
    expectSame(ctx, (a, b, c) => [t.matmul(a, b), t.matmul(a, c)], [randn(2, 3, 9, 21), randn(2, 3, 21, 17), randn(21, 5)], {
      absolute: 1e-5,
    }));
  test('linear, bias and gelu are one dispatch', async (ctx) => {
    const fn: Fn = (x, w, b) => t.gelu(t.linear(x, w, b));
    const args = [randn(2, 13, 40), randn(24, 40), randn(24)] as const;
    expect(dispatches(fn, ...args)).toEqual([1]);
    await expectSame(ctx, fn, args, { absolute: 1e-5 });
  });
  test('conv2d with padding, stride, dilation and groups', (ctx) =>
    expectSame(
      ctx,
      (x, w, v) => [
        t.conv2d(x, w, null, { padding: 1 }),
        t.conv2d(x, w, null, { stride: 2 }),
        t.relu(t.conv2d(x, v, null, { dilation: 2, groups: 2, padding: 2 })),
      ],
      [randn(2, 4, 11, 10), randn(6, 4, 3, 3), randn(6, 2, 3, 3)],
      { absolute: 1e-5 },
    ));
  test('gradients of a convolution', (ctx) =>
    expectSame(
      ctx,
      (x, w) => t.grad(t.sum(t.tanh(t.conv2d(x, w, null, { stride: 2, padding: 1 }))), [x, w]),
      [randn(2, 3, 9, 8).requiresGrad_(), randn(4, 3, 3, 3).requiresGrad_()],
      { absolute: 1e-5 },
    ));
  test('attention', (ctx) =>
    expectSame(ctx, (q, k, v) => t.scaledDotProductAttention(q, k, v, { isCausal: true }), [
      randn(2, 2, 40, 8),
      randn(2, 2, 40, 8),
      randn(2, 2, 40, 8),
    ]));
});

describe('element types', () => {
  test('booleans made, kept and chosen by', (ctx) =>
    expectSame(ctx, (x, y) => [t.gt(x, y), t.logicalNot(t.lt(x, 0)), t.where(t.gt(x, y), x, y)], [randn(101), randn(101)]));
  test('narrow integers and half precision', (ctx) =>
    expectSame(ctx, (a, b, h, f) => [t.add(a, 1), t.mul(b, 3), t.mul(h, 1.5), f.to('float16'), f.to('bfloat16'), f.to('int8')], [
      t.randint(200, [77]).to('uint8'),
      t.sub(t.randint(200, [77]), 100).to('int8'),
      randn(77).to('float16'),
      t.mul(randn(77), 20),
    ]));
  test('integer division and remainder, zero divisors included', (ctx) => {
    const a = t.sub(t.randint(100, [90]), 50).to('int32');
    return expectSame(ctx, (x, y) => [t.remainder(x, y), t.bitwiseXor(x, y)], [a, t.sub(t.randint(20, [90]), 10).to('int32')]);
  });
  test('64-bit types are refused by name', () => {
    expect(() => dispatches((x) => t.add(x, 1), t.zeros([3], { dtype: 'float64' }))).toThrow(DTypeError);
    expect(() => dispatches((x) => t.argmax(x, 0), randn(3))).toThrow(/i64/);
  });
});

describe('control flow and random numbers', () => {
  test('a scan of running sums', (ctx) => expectSame(ctx, (x) => t.cumsum(x, 1), [randn(9, 50)]));
  test('steps that repeat, each at its own place in memory', (ctx) =>
    expectSame(
      ctx,
      (xs, w) => {
        const { carry, outputs } = t.scan(([h], [x]) => [[t.tanh(t.add(t.matmul(h!, w), x!))], [h!]], [t.zeros([2, 5])], [xs]);
        return [carry[0]!, outputs[0]!];
      },
      [randn(6, 2, 5), randn(5, 5)],
    ));
  test('branches and loops that data decide', (ctx) => {
    const halve = (w: t.Tensor): t.Tensor[] =>
      t.whileLoop(
        (v) => t.gt(t.sum(t.abs(v)), 1),
        (v) => [t.mul(v, 0.5)],
        [w],
      );
    const shift = (w: t.Tensor): t.Tensor[] =>
      t.cond(
        t.gt(t.sum(w), 0),
        (v) => [t.add(v, 1)],
        (v) => [t.sub(v, 1)],
        [w],
      );
    return expectSame(ctx, (w) => [...halve(w), ...shift(w), ...shift(t.neg(w))], [randn(5, 5)]);
  });
  test('the same random bits as the CPU', (ctx) =>
    expectSame(
      ctx,
      (state) => [
        apply1(uniformPrimitive, [state], { length: 130, dtype: 'float32' }),
        apply1(randomBitsPrimitive, [state], { length: 130, dtype: 'int32' }),
      ],
      [t.tensor([7, 1, 3, 0], { dtype: 'int32' })],
    ));
});
