import { describe, expect, test } from 'vitest';
import { checkpoint } from '../../src/autograd/checkpoint.js';
import { clipGradNorm } from '../../src/autograd/clip.js';
import { customFunction } from '../../src/autograd/custom.js';
import { grad } from '../../src/autograd/engine.js';
import { noGrad } from '../../src/autograd/mode.js';
import { TraceError } from '../../src/errors.js';
import { jit } from '../../src/jit.js';
import { arange, eye, full, linspace, ones, tensor, zeros } from '../../src/ops/create.js';
import { multinomial, rand, randint, randn, randperm } from '../../src/ops/random.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const leaf = (data: Parameters<typeof tensor>[0]) => tensor(data, { requiresGrad: true });

describe('inside jit()', () => {
  test('backward leaves gradients on captured leaves, each call anew or added up', () => {
    const w = leaf([1, 2]);
    const step = jit((x: Tensor) => {
      const loss = w.mul(w).mul(x).sum();
      loss.backward();
      return loss.detach();
    });
    expect(step(tensor([1, 10])).item()).toBe(41);
    expect(w.grad?.toArray()).toEqual([2, 40]);
    step(tensor([1, 1]));
    expect(w.grad?.toArray()).toEqual([4, 44]);
    w.grad = null;
    step(tensor([1, 1]));
    expect((w.grad as Tensor | null)?.toArray()).toEqual([2, 4]);
  });

  test('float64 gradients are clipped by a float64 norm', () => {
    const w = tensor([1 / 3, 2 / 3], { dtype: 'float64', requiresGrad: true });
    w.square().mul(0.5).sum().backward();
    const norm = clipGradNorm([w], 0.1);
    expect(norm.dtype).toBe('float64');
    expect(norm.item()).toBeCloseTo(Math.sqrt(5) / 3, 14);
    const [a, b] = (w.grad as Tensor).toArray() as number[];
    expect(Math.hypot(a, b)).toBeCloseTo((0.1 * Math.sqrt(5)) / (Math.sqrt(5) + 3e-6), 14);
  });

  test('a whole training step updates its parameters', () => {
    const train = (run: (step: (x: Tensor) => Tensor) => (x: Tensor) => Tensor) => {
      const w = leaf([[0.5], [-0.25]]);
      const step = run((x) => {
        const loss = x.matmul(w).tanh().sub(1).square().mean();
        loss.backward();
        const norm = clipGradNorm([w], 0.5);
        noGrad(() => w.sub_((w.grad as Tensor).mul(0.5)));
        w.grad = null;
        return loss.detach().add(norm);
      });
      const losses = Array.from({ length: 5 }, (_, i) =>
        step(
          tensor([
            [1, i],
            [0.5, -1],
          ]),
        ).item(),
      );
      return [...losses, ...(w.reshape(-1).toArray() as number[])];
    };
    const eager = train((step) => step);
    const compiled = train((step) => jit(step));
    eager.forEach((value, i) => {
      expect(compiled[i]).toBeCloseTo(value, 5);
    });
    expect(eager[4]).toBeLessThan(eager[0]);
  });

  test('higher derivatives, custom functions and checkpoints give what they give outside', () => {
    const cube = customFunction({
      forward(ctx, x: Tensor) {
        ctx.saveForBackward(x);
        return x.pow(3);
      },
      backward: (ctx, g) => (g === null ? null : g.mul(ctx.savedTensors[0].square()).mul(3)),
    });
    const f = (x: Tensor) => {
      const inner = x.mul(1);
      const g = grad(cube(checkpoint((t: Tensor) => t.sin().exp(), inner)).sum(), inner, { createGraph: true });
      return [g, grad(g.square().sum(), inner)];
    };
    const x = leaf([0.3, -0.5]);
    const [eager, compiled] = [f(x), jit(f)(x)];
    eager.forEach((t, k) => {
      (t.toArray() as number[]).forEach((value, i) => {
        expect((compiled[k].toArray() as number[])[i]).toBeCloseTo(value, 4);
      });
    });
  });

  test('random numbers are those drawn outside, and new in each call', () => {
    const draw = () => [
      rand([3, 2]),
      randn([4]),
      randint(100, [5]),
      randperm(6),
      multinomial(ones([4]), 2),
      rand([2], { dtype: 'float64' }),
    ];
    const values = (list: Tensor[]) => list.map((t) => t.toArray());
    manualSeed(5);
    const eager = [values(draw()), values(draw())];
    manualSeed(5);
    const compiled = jit(draw);
    const found = [values(compiled()), values(compiled())];
    found.forEach((run, call) =>
      run.forEach((list, k) => {
        expect((list as number[]).flat()).toEqual((eager[call][k] as number[]).flat().map((x) => (k === 1 ? expect.closeTo(x, 5) : x)));
      }),
    );
    expect(found[0]).not.toEqual(found[1]);
    manualSeed(5);
    expect(values(compiled())).toEqual(found[0]);
  });

  test('tensors are made by the program', () => {
    const make = () => [
      zeros([2]),
      full([2], Number.NEGATIVE_INFINITY),
      full([], -0),
      full([1], 2n ** 40n + 1n),
      arange(3, 0, -1),
      arange(0, 1, 0.25),
      arange(0, 5, 2, { dtype: 'int32' }),
      linspace(-2, 3, 7),
      linspace(1, 2, 1, { dtype: 'float64' }),
      eye(2, 3),
      full([2], true),
    ];
    const eager = make();
    jit(make)().forEach((t, k) => {
      expect([t.dtype, t.shape, Array.from(t.dataSync())]).toEqual([eager[k].dtype, eager[k].shape, Array.from(eager[k].dataSync())]);
    });
  });

  test('constants made inside a scope live as long as the program', () => {
    const f = jit((x: Tensor) => scope(() => x.add(tensor([1, 2])).mul(tensor([3, 4]))));
    for (let i = 0; i < 2; i++) expect(f(ones([2])).toArray()).toEqual([6, 12]);
  });

  test('assignment into tensors, views and masks works on values and on captured state', () => {
    const state = zeros([2, 3]);
    const f = (x: Tensor, rows: Tensor) => {
      const y = x.mul(2);
      y.set([':', 1], 7);
      y.set(y.gt(9), -1);
      y.t().select(0, 0).add_(100);
      state.select(0, 1).copy_(y.select(0, 0));
      state.set([rows, 0], 5);
      return [y, x.index(rows, '::-1'), x.indexPut([rows], ones([3]), { accumulate: true })];
    };
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const rows = tensor([1, 1, 0], { dtype: 'int64' });
    const eager = f(x, rows).map((t) => t.toArray());
    const eagerState = state.toArray();
    state.zero_();
    const compiled = jit(f);
    expect(compiled(x, rows).map((t) => t.toArray())).toEqual(eager);
    expect(state.toArray()).toEqual(eagerState);
    state.zero_();
    compiled(x, rows);
    expect(state.toArray()).toEqual(eagerState);
    expect(x.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  test('gradients flow through recorded assignments', () => {
    const x = leaf([1, 2, 3]);
    const f = (t: Tensor) => {
      const out = zeros([2, 3]);
      out.set([0], t.mul(2));
      out.set([1, '::2'], t.index('0:2').square());
      return grad(out.square().sum(), t);
    };
    expect(jit(f)(x).toArray()).toEqual(f(x).toArray());
  });

  test('reading a value is refused, printing is not', () => {
    let text = '';
    const f = jit((x: Tensor) => {
      text = x.add(1).toString();
      return x;
    });
    f(ones([2]));
    expect(text).toBe('tensor(<traced>, shape=[2], dtype=float32)');
    expect(() => jit((x: Tensor) => x.mul(x.sum().item()))(ones([2]))).toThrow(TraceError);
    expect(() => jit((x: Tensor) => x.index(x.gt(0)))(ones([2]))).toThrow(TraceError);
  });
});
