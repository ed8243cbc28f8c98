import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import { enableGrad, isGradEnabled, noGrad } from '../../src/autograd/mode.js';
import { ArgumentError, AutogradError } from '../../src/errors.js';
import { ones, tensor, zeros } from '../../src/ops/create.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const leaf = (data: Parameters<typeof tensor>[0]) => tensor(data, { requiresGrad: true });

describe('backward', () => {
  test('adds up the gradients of all uses of a leaf', () => {
    const x = leaf([1, 2, 3]);
    x.mul(x).add(x).sum().backward();
    expect(x.grad?.toArray()).toEqual([3, 5, 7]);
    expect(x.grad?.requiresGrad).toBe(false);
  });

  test('accumulates over calls, in the same memory', () => {
    const x = leaf([1, 2]);
    x.mul(2).sum().backward();
    const first = x.grad;
    x.mul(3).sum().backward();
    expect(x.grad).toBe(first);
    expect(x.grad?.toArray()).toEqual([5, 5]);
    x.grad = null;
    x.sum().backward();
    expect((x.grad as Tensor | null)?.toArray()).toEqual([1, 1]);
  });

  test('weights a result of several elements by the given gradient', () => {
    const x = leaf([1, 2]);
    const v = tensor([10, 100]);
    x.mul(x).backward(v);
    expect(x.grad?.toArray()).toEqual([20, 400]);
    // The gradient given stays the caller's, also where it reaches a leaf as it is.
    const y = leaf([1, 2]);
    y.reshape(2).backward(v);
    noGrad(() => y.grad?.zero_());
    expect(v.toArray()).toEqual([10, 100]);
  });

  test('leaves that share a gradient get memory of their own', () => {
    const a = leaf([1, 2]);
    const b = leaf([3, 4]);
    a.add(b).backward(ones([2]));
    noGrad(() => a.grad?.zero_());
    expect(b.grad?.toArray()).toEqual([1, 1]);
  });

  test('a broadcast operand gets the sum, in its own shape', () => {
    const x = leaf([
      [1, 2],
      [3, 4],
    ]);
    const bias = leaf([10, 20]);
    const scale = leaf(2);
    x.add(bias).mul(scale).sum().backward();
    expect(bias.grad?.toArray()).toEqual([4, 4]);
    expect(scale.grad?.item()).toBe(70);
  });

  test('nothing is recorded in noGrad, and enableGrad switches it on again', () => {
    const x = leaf([1]);
    noGrad(() => {
      expect(isGradEnabled()).toBe(false);
      expect(x.mul(2).requiresGrad).toBe(false);
      expect(x.reshape(1, 1).requiresGrad).toBe(false);
      enableGrad(() => expect(x.mul(2).requiresGrad).toBe(true));
    });
    expect(() =>
      noGrad(() => {
        throw new RangeError('x');
      }),
    ).toThrow(RangeError);
    expect(isGradEnabled()).toBe(true);
    expect(() => noGrad(async () => 1)).toThrow(ArgumentError);
  });

  test('detach cuts the graph and shares memory', () => {
    const x = leaf([2]);
    const y = x.mul(3);
    const d = y.detach();
    expect([d.requiresGrad, d.storage === y.storage]).toEqual([false, true]);
    y.mul(d).sum().backward();
    expect(x.grad?.toArray()).toEqual([18]);
  });

  test('whole numbers and comparisons carry no gradient', () => {
    const x = leaf([1, 2]);
    expect(x.gt(1).requiresGrad).toBe(false);
    expect(x.argmax().requiresGrad).toBe(false);
    expect(x.to('int32').requiresGrad).toBe(false);
  });

  test('a cast gives the gradient back in the dtype of the leaf', () => {
    const x = tensor([1, 2], { dtype: 'float16', requiresGrad: true });
    x.to('float64').mul(0.5).sum().backward();
    expect([x.grad?.dtype, x.grad?.toArray()]).toEqual(['float16', [0.5, 0.5]]);
  });

  test('walks a graph of ten thousand operations', () => {
    const x = leaf([1]);
    scope(() => {
      let y: Tensor = x;
      for (let i = 0; i < 10000; i++) y = y.add(x);
      y.sum().backward();
    });
    expect(x.grad?.item()).toBe(10001);
  });

  test('a diamond of shared results is walked once a node', () => {
    const x = leaf([1]);
    let y = x.mul(1);
    for (let i = 0; i < 30; i++) y = y.add(y);
    y.sum().backward();
    expect(x.grad?.item()).toBe(2 ** 30);
  });
});

describe('grad()', () => {
  test('gives gradients of leaves and results without touching .grad', () => {
    const x = leaf([1, 2]);
    const y = x.mul(x);
    const z = y.mul(3).sum();
    const [gx, gy] = grad(z, [x, y]);
    expect([gx.toArray(), gy.toArray(), x.grad]).toEqual([[6, 12], [3, 3], null]);
    expect(grad(x.exp().sum(), x).shape).toEqual([2]);
  });

  test('sums over several outputs with weights', () => {
    const x = leaf([1, 2]);
    const g = grad([x.mul(2), x.mul(x).sum()], x, { gradOutputs: [tensor([1, 10]), null] });
    expect(g.toArray()).toEqual([4, 24]);
  });

  test('null for inputs without influence when that is allowed', () => {
    const [x, unused] = [leaf([1]), leaf([2])];
    expect(grad(x.mul(2), [x, unused], { allowUnused: true })[1]).toBe(null);
    expect(() => grad(x.mul(2), [x, unused])).toThrow(/do not depend on input 1.*allowUnused/);
  });

  test('does not walk paths that lead to no input', () => {
    const [x, other] = [leaf([1]), leaf([2])];
    let walked = false;
    const y = other.mul(2);
    y.registerHook(() => {
      walked = true;
    });
    const z = y.mul(3).add(x);
    grad(z, x);
    expect([walked, other.grad, x.grad]).toEqual([false, null, null]);
  });
});

describe('higher derivatives', () => {
  test('of a power', () => {
    const x = leaf([2]);
    const first = grad(x.pow(4).sum(), x, { createGraph: true });
    const second = grad(first.sum(), x, { createGraph: true });
    const third = grad(second.sum(), x);
    expect([first.item(), second.item(), third.item()]).toEqual([32, 48, 48]);
  });

  test('backward with createGraph leaves a gradient that can be differentiated', () => {
    const x = leaf([3]);
    x.mul(x).mul(x).sum().backward(null, { createGraph: true });
    const g = x.grad as Tensor;
    expect([g.item(), g.requiresGrad]).toEqual([27, true]);
    x.grad = null;
    g.sum().backward();
    expect((x.grad as Tensor | null)?.item()).toBe(18);
  });

  test('a gradient penalty trains its weights', () => {
    const w = leaf([
      [1, -2],
      [0.5, 1],
    ]);
    const x = leaf([[1, 2]]);
    const g = grad(x.matmul(w).tanh().sum(), x, { createGraph: true });
    g.mul(g).sum().backward();
    expect(w.grad?.shape).toEqual([2, 2]);
    expect(Number.isFinite(w.grad?.sum().item())).toBe(true);
  });
});

describe('errors of backward', () => {
  test('a result of several elements needs a gradient', () => {
    expect(() => leaf([1, 2]).mul(2).backward()).toThrow('backward: a tensor of shape [2] is no single number');
    expect(() =>
      leaf([1, 2])
        .mul(2)
        .backward(ones([3])),
    ).toThrow(AutogradError);
  });

  test('without history there is nothing to walk', () => {
    expect(() => ones([1]).backward()).toThrow(/no gradient history.*requiresGrad_/);
    expect(() => noGrad(() => leaf([1]).mul(2)).backward()).toThrow(AutogradError);
    expect(() => grad(leaf([1]).sum(), ones([1]))).toThrow(/input 0 .* does not require gradients/);
  });

  test('a graph is walked once, unless it is retained', () => {
    const x = leaf([1, 2]);
    const y = x.mul(x).sum();
    y.backward(null, { retainGraph: true });
    y.backward();
    expect(x.grad?.toArray()).toEqual([4, 8]);
    expect(() => y.backward()).toThrow(/freed by an earlier backward pass \(at mul\).*retainGraph/);
  });

  test('saved tensors must not change before backward', () => {
    const x = leaf([1, 2]);
    const w = tensor([3, 4]);
    const y = x.mul(w).sum();
    w.add_(1);
    expect(() => y.backward()).toThrow(
      /input 1 of mul \(float32 \[2\]\) was saved for its gradient and modified in place since \(1 write\)/,
    );
    const z = x.exp();
    noGrad(() => z.detach().select(0, 0).fill_(7));
    expect(() => z.sum().backward()).toThrow(/output 0 of exp/);
    // What no rule reads may change.
    const u = x.add(w).sum();
    w.add_(1);
    u.backward();
    expect(x.grad?.toArray()).toEqual([1, 1]);
  });
});

describe('hooks', () => {
  test('see the complete gradient once, and can replace it', () => {
    const x = leaf([1, 2]);
    const y = x.mul(2);
    const seen: unknown[] = [];
    const first = y.registerHook((g) => void seen.push(g.toArray()));
    y.registerHook((g) => g.mul(10));
    y.mul(3).add(y).sum().backward();
    expect(seen).toEqual([[4, 4]]);
    expect(x.grad?.toArray()).toEqual([80, 80]);
    first.remove();
    x.grad = null;
    const z = x.mul(1);
    const handle = z.registerHook(() => zeros([2]));
    handle.remove();
    z.sum().backward();
    expect((x.grad as Tensor | null)?.toArray()).toEqual([1, 1]);
    expect(seen.length).toBe(1);
  });

  test('work on leaves, before the gradient is added to .grad', () => {
    const x = leaf([1, 2]);
    x.registerHook((g) => g.neg());
    x.mul(x).add(x).sum().backward();
    expect(x.grad?.toArray()).toEqual([-3, -5]);
  });

  test('must keep shape and dtype', () => {
    const x = leaf([1, 2]);
    x.registerHook(() => zeros([3]));
    expect(() => x.mul(2).sum().backward()).toThrow(/a hook returned float32 \[3\]/);
    expect(() => ones([1]).registerHook(() => {})).toThrow(AutogradError);
  });

  test('retainGrad keeps the gradient of a result', () => {
    const x = leaf([1, 2]);
    const y = x.mul(x).retainGrad();
    y.mul(5).sum().backward();
    expect(y.grad?.toArray()).toEqual([5, 5]);
  });
});

describe('memory', () => {
  let before = 0;
  const step = (x: Tensor, w: Tensor) => scope(() => x.matmul(w).tanh().mul(x).sub(1).mul(x).sum().backward());
  let x: Tensor;
  let w: Tensor;
  beforeEach(() => {
    [x, w] = [ones([4, 4]), ones([4, 4], { requiresGrad: true })];
    // Shared constants are made at their first use and stay.
    step(x, w);
    w.grad?.dispose();
    w.grad = null;
    before = memoryInfo().storages;
  });
  afterEach(() => {
    for (const t of [x, w, w.grad]) t?.dispose();
  });

  test('after a step only the gradients live', () => {
    step(x, w);
    expect(memoryInfo().storages).toBe(before + 1);
    for (let i = 0; i < 5; i++) step(x, w);
    expect(memoryInfo().storages).toBe(before + 1);
  });

  test('backward frees what was saved although handles of the results live on', () => {
    const loss = scope(() => {
      const y = x.matmul(w);
      const h = y.exp().mul(y);
      return h.sum();
    });
    // Saved: y, exp(y), and what the loss is.
    expect(memoryInfo().storages).toBe(before + 3);
    loss.backward();
    expect(memoryInfo().storages).toBe(before + 2);
    loss.dispose();
  });

  test('grad(), higher derivatives and errors leave nothing behind', () => {
    scope(() => {
      const y = x.matmul(w).tanh().sum();
      const g = grad(y, w, { createGraph: true });
      grad(g.mul(g).sum(), w);
    });
    scope(() => {
      const y = x.matmul(w).tanh();
      const hook = y.registerHook(() => {
        throw new RangeError('x');
      });
      const loss = y.mul(y).sum();
      expect(() => loss.backward(null, { retainGraph: true })).toThrow(RangeError);
      // Without the hook the same graph can be walked.
      hook.remove();
      loss.backward();
    });
    expect(w.grad).not.toBe(null);
    w.grad?.dispose();
    w.grad = null;
    // The graphs that were not consumed hold memory until they are garbage: only bounded, not exact.
    expect(memoryInfo().storages).toBeLessThan(before + 12);
  });

  test('a scope around forward and backward needs no other care', () => {
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      const loss = scope(() => {
        const y = x.matmul(w).softmax(-1).log().mean();
        y.backward();
        return y.detach();
      });
      loss.dispose();
      counts.push(memoryInfo().storages);
    }
    expect(counts).toEqual([counts[0], counts[0], counts[0]]);
  });
});
