import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { checkpoint } from '../../src/autograd/checkpoint.js';
import { clipGradNorm, clipGradValue } from '../../src/autograd/clip.js';
import { customFunction } from '../../src/autograd/custom.js';
import { grad } from '../../src/autograd/engine.js';
import { jvp, vjp } from '../../src/autograd/functional.js';
import { ArgumentError, AutogradError, DTypeError } from '../../src/errors.js';
import { ones, tensor, zeros } from '../../src/ops/create.js';
import { rand } from '../../src/ops/random.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const leaf = (data: Parameters<typeof tensor>[0]) => tensor(data, { requiresGrad: true });
const f64 = (data: Parameters<typeof tensor>[0]) => tensor(data, { dtype: 'float64' });

describe('vjp and jvp', () => {
  const f = (a: Tensor, b: Tensor) => a.mul(b).add(a.sin());

  test('agree with the Jacobian', () => {
    const [a, b] = [f64([0.5, 1]), f64([2, -1])];
    const { outputs, grads } = vjp(f, [a, b], f64([1, 10]));
    const values = outputs.toArray() as number[];
    expect(values[0]).toBeCloseTo(1 + Math.sin(0.5), 12);
    const [ga, gb] = grads.map((g) => g.toArray() as number[]);
    expect(ga[0]).toBeCloseTo(2 + Math.cos(0.5), 12);
    expect(ga[1]).toBeCloseTo(10 * (-1 + Math.cos(1)), 12);
    expect(gb).toEqual([0.5, 10]);
    const tangent = jvp(f, [a, b], [f64([1, 2]), f64([3, 4])]).tangents[0].toArray() as number[];
    expect(tangent[0]).toBeCloseTo(2 + Math.cos(0.5) + 3 * 0.5, 12);
    expect(tangent[1]).toBeCloseTo(2 * (-1 + Math.cos(1)) + 4, 12);
  });

  test('give zeros where there is no influence, and no history', () => {
    const { grads, outputs } = vjp((a: Tensor, _b: Tensor) => a.mul(2), [ones([2]), ones([3])]);
    expect(grads[1].toArray()).toEqual([0, 0, 0]);
    expect(outputs.requiresGrad).toBe(false);
    expect(jvp((a: Tensor) => [a, a.mul(a)], tensor([3]), tensor([1])).tangents.map((t) => t.item())).toEqual([1, 6]);
  });

  test('check their vectors', () => {
    expect(() => vjp((a: Tensor) => a.mul(2), ones([2]), ones([3]))).toThrow(ArgumentError);
    expect(() => jvp((a: Tensor) => a.mul(2), ones([2]), ones([3]))).toThrow(ArgumentError);
    expect(() => vjp((a: Tensor) => a, ones([2], { dtype: 'int32' }))).toThrow(DTypeError);
  });
});

describe('customFunction', () => {
  const cube = customFunction({
    name: 'cube',
    forward(ctx, x: Tensor, scale: number) {
      ctx.saveForBackward(x);
      return x.mul(x).mul(x).mul(scale);
    },
    backward(ctx, g) {
      const [x] = ctx.savedTensors;
      return [g === null ? null : g.mul(x).mul(x).mul(6), null];
    },
  });

  test('uses its own gradient rule, also for second derivatives', () => {
    const x = leaf([2]);
    const y = cube(x, 2);
    expect(y.toString()).toContain('gradFn=<cube>');
    const g = grad(y.sum(), x, { createGraph: true });
    expect([y.item(), g.item(), grad(g.sum(), x).item()]).toEqual([16, 24, 24]);
    checkGrads((t) => cube(t, 2), f64([1.5, -0.5]), { order: 2 });
  });

  test('is told which gradients are wanted, and forward records nothing', () => {
    const flags: unknown[] = [];
    const f = customFunction({
      forward(ctx, a: Tensor, b: Tensor) {
        flags.push([...ctx.needsInputGrad], a.mul(2).requiresGrad);
        return a.add(b);
      },
      backward: (ctx, g) => {
        flags.push([...ctx.needsInputGrad]);
        return [g, g];
      },
    });
    const [a, b] = [leaf([1]), ones([1])];
    f(a, b).sum().backward();
    expect(flags).toEqual([[true, false], false, [true, false]]);
    expect([a.grad?.item(), b.grad]).toEqual([1, null]);
  });

  test('may return its argument, several results, and saved results', () => {
    const f = customFunction({
      forward(ctx, x: Tensor) {
        const e = x.exp();
        ctx.saveForBackward(e);
        return [x, e];
      },
      backward(ctx, gx, ge) {
        const [e] = ctx.savedTensors;
        const parts = [gx, ge === null ? null : ge.mul(e)].filter((g) => g !== null);
        return parts.length === 2 ? parts[0].add(parts[1]) : parts[0];
      },
    });
    const x = leaf([0]);
    const [same, e] = f(x);
    expect(same).not.toBe(x);
    same.mul(3).add(e).sum().backward();
    expect(x.grad?.item()).toBe(4);
    expect(x.gradFn).toBe(null);
    x.grad = null;
    f(x)[1].sum().backward();
    expect((x.grad as Tensor | null)?.item()).toBe(1);
  });

  test('errors name the function', () => {
    const wrong = customFunction({ name: 'wrong', forward: (_, x: Tensor) => x.mul(2), backward: () => [] });
    expect(() =>
      wrong(leaf([1]))
        .sum()
        .backward(),
    ).toThrow('wrong: backward gave 0 gradients for 1 arguments');
    const shape = customFunction({ name: 'shape', forward: (_, x: Tensor) => x.mul(2), backward: () => zeros([3]) });
    expect(() =>
      shape(leaf([1]))
        .sum()
        .backward(),
    ).toThrow(/the gradient rule of shape gave float32 \[3\] for input 0/);
    const x = leaf([1]);
    const y = cube(x.mul(1), 1);
    y.sum().backward();
    expect(() => y.sum().backward()).toThrow(/freed/);
  });
});

describe('checkpoint', () => {
  const w = leaf([
    [0.5, -1],
    [2, 0.3],
  ]);
  const block = (x: Tensor) => x.matmul(w).tanh().mul(x).exp();

  test('gives the gradients that the function alone gives, inside it too', () => {
    const x = leaf([[1, 2]]);
    const [ax, aw] = grad(block(x).sum(), [x, w]).map((g) => g.toArray());
    checkpoint(block, x).sum().backward();
    expect([x.grad?.toArray(), w.grad?.toArray()]).toEqual([ax, aw]);
    expect(grad(checkpoint(block, x).sum(), [x, w]).map((g) => g.toArray())).toEqual([ax, aw]);
    w.grad = null;
  });

  test('draws the same random numbers again and leaves the generator where it was', () => {
    const noisy = (x: Tensor) => x.mul(rand([1000]).gt(0.5).to('float32')).exp();
    manualSeed(1);
    const x = ones([1000], { requiresGrad: true });
    const y = checkpoint(noisy, x);
    const after = rand([3]).toArray();
    const mask = y.detach().gt(2).to('float32');
    y.sum().backward();
    expect(x.grad?.sub(mask.mul(Math.E)).abs().amax().item()).toBeLessThan(1e-5);
    expect(mask.sum().item()).toBeGreaterThan(400);
    const next = rand([3]).toArray();
    manualSeed(1);
    rand([1000]);
    expect([rand([3]).toArray(), rand([3]).toArray()]).toEqual([after, next]);
  });

  test('keeps only the inputs, and frees them', () => {
    const x = ones([64, 64], { requiresGrad: true });
    const deep = (t: Tensor) => t.tanh().exp().sin().tanh().exp();
    scope(() => checkpoint(deep, x).sum().backward());
    x.grad?.dispose();
    x.grad = null;
    const before = memoryInfo();
    const y = checkpoint(deep, x);
    // The result, and the state of the random numbers.
    expect(memoryInfo().storages - before.storages).toBe(2);
    scope(() => y.sum().backward());
    y.dispose();
    expect(memoryInfo().storages - before.storages).toBe(1);
  });

  test('nests, and allows second derivatives', () => {
    const x = leaf([[1, 2]]);
    const nested = (t: Tensor) => checkpoint((u: Tensor) => checkpoint(block, u.mul(0.1)), t).sin();
    const plain = (t: Tensor) => block(t.mul(0.1)).sin();
    const second = (f: (t: Tensor) => Tensor) => {
      const g = grad(f(x).sum(), x, { createGraph: true });
      return grad(g.mul(g).sum(), x).toArray();
    };
    expect(second(nested)).toEqual(second(plain));
  });

  test('notices a function that does something else the second time', () => {
    let runs = 0;
    const changing = (x: Tensor) => (runs++ === 0 ? x.exp().exp() : x.exp());
    expect(() =>
      checkpoint(changing, leaf([1]))
        .sum()
        .backward(),
    ).toThrow(/saved 1 tensors when it ran again and 2 the first time/);
  });
});

describe('gradient clipping', () => {
  const withGrads = () => {
    const [a, b] = [leaf([1, 2]), leaf([3])];
    a.mul(tensor([3, 0]))
      .sum()
      .add(b.mul(4).sum())
      .backward();
    return [a, b];
  };

  test('scales all gradients by one factor when their norm is too large', () => {
    const [a, b] = withGrads();
    const norm = clipGradNorm([a, b], 1);
    expect(norm.item()).toBe(5);
    expect(a.grad?.select(0, 0).item()).toBeCloseTo(0.6, 5);
    expect(b.grad?.item()).toBeCloseTo(0.8, 5);
  });

  test('leaves small gradients as they are', () => {
    const [a, b] = withGrads();
    clipGradNorm([a, b], 10);
    expect([a.grad?.toArray(), b.grad?.toArray()]).toEqual([[3, 0], [4]]);
    expect(clipGradNorm([a, b], 10, { normType: Number.POSITIVE_INFINITY }).item()).toBe(4);
    expect(clipGradNorm([a, b], 10, { normType: 1 }).item()).toBe(7);
    expect(clipGradNorm([ones([2])], 1).item()).toBe(0);
  });

  test('limits elements', () => {
    const [a, b] = withGrads();
    clipGradValue([a, b], 3.5);
    expect([a.grad?.toArray(), b.grad?.toArray()]).toEqual([[3, 0], [3.5]]);
  });
});

describe('checkGrads', () => {
  test('passes right rules to second order', () => {
    checkGrads(
      (a, b) => a.matmul(b).tanh().softmax(-1),
      [
        f64([
          [0.1, 0.2],
          [0.3, -0.4],
        ]),
        f64([
          [1, 2],
          [-1, 0.5],
        ]),
      ],
      { order: 2 },
    );
  });

  test('names function, input, element and both numbers of a wrong one', () => {
    const wrong = customFunction({ forward: (_, x: Tensor) => x.mul(2), backward: (_, g) => g });
    expect(() => checkGrads((a, b) => a.add(wrong(b)), [f64([1, 2]), f64([1, 2])], { name: 'wrong' })).toThrow(
      /the gradient of wrong with respect to element \[0\] of input 1 is .*, and differences give /,
    );
    const secondWrong = customFunction({
      forward(ctx, x: Tensor) {
        ctx.saveForBackward(x);
        return x.mul(x);
      },
      backward: (ctx, g) => (g === null ? null : g.mul(ctx.savedTensors[0].detach()).mul(2)),
    });
    checkGrads(secondWrong, f64([1, 2]));
    expect(() => checkGrads(secondWrong, f64([1, 2]), { order: 2 })).toThrow(AutogradError);
  });

  test('asks for float64', () => {
    expect(() => checkGrads((a) => a.mul(2), ones([2]))).toThrow(DTypeError);
  });
});
