import { beforeEach, describe, expect, test } from 'vitest';
import { ArgumentError, LifetimeError } from '../../src/errors.js';
import { ones, tensor, zeros } from '../../src/ops/create.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import { composite, keep, scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

let before = 0;
beforeEach(() => {
  // Shared constants are made at their first use and stay.
  scope(() => void ones([2]).add(1).mul(2).sub(1));
  before = memoryInfo().storages;
});
const made = () => memoryInfo().storages - before;

describe('scope', () => {
  test('frees what was made inside, but for what it returns', () => {
    const result = scope(() => {
      const a = ones([2]);
      const b = a.add(1);
      return b.mul(a);
    });
    expect(made()).toBe(1);
    expect(result.toArray()).toEqual([2, 2]);
    result.dispose();
    expect(made()).toBe(0);
  });

  test('finds returned tensors in arrays, objects, maps and sets', () => {
    const result = scope(() => ({
      list: [ones([1])],
      map: new Map([['x', ones([1])]]),
      set: new Set([ones([1])]),
      text: 'x',
      lost: void ones([1]),
    }));
    expect(made()).toBe(3);
    expect(result.list[0].item() + (result.map.get('x')?.item() ?? 0)).toBe(2);
    scope(() => [result.list[0], ...result.map.values(), ...result.set].forEach((t) => t.dispose()));
    expect(made()).toBe(0);
  });

  test('returned tensors belong to the enclosing scope', () => {
    scope(() => {
      const inner = scope(() => ones([2]).add(1));
      expect(inner.toArray()).toEqual([2, 2]);
      expect(made()).toBe(1);
    });
    expect(made()).toBe(0);
  });

  test('keeps memory under returned views', () => {
    const row = scope(() =>
      tensor([
        [1, 2],
        [3, 4],
      ]).select(0, 1),
    );
    expect(row.toArray()).toEqual([3, 4]);
    row.dispose();
    expect(made()).toBe(0);
  });

  test('leaves tensors from outside alone, also when it returns them', () => {
    const x = ones([2]);
    const same = scope(() => x);
    expect(same).toBe(x);
    expect(x.toArray()).toEqual([1, 1]);
    x.dispose();
  });

  test('keep() takes a tensor out of all scopes', () => {
    let kept: Tensor | null = null;
    scope(() =>
      scope(() => {
        kept = keep(ones([3]));
      }),
    );
    expect((kept as Tensor | null)?.toArray()).toEqual([1, 1, 1]);
    (kept as Tensor | null)?.dispose();
    expect(made()).toBe(0);
  });

  test('frees everything when the function throws', () => {
    expect(() =>
      scope(() => {
        ones([2]).add(1);
        throw new RangeError('x');
      }),
    ).toThrow(RangeError);
    expect(made()).toBe(0);
    scope(() => void ones([1]));
    expect(made()).toBe(0);
  });

  test('using a freed tensor says what happened', () => {
    let escaped: Tensor | null = null;
    scope(() => {
      escaped = ones([2]);
    });
    expect(() => (escaped as Tensor | null)?.add(1)).toThrow(LifetimeError);
    expect(() => (escaped as Tensor | null)?.dataSync()).toThrow(/return it from its scope|return it, or call keep/);
  });

  test('refuses asynchronous functions and frees nothing under them', async () => {
    let inside: Tensor | null = null;
    expect(() =>
      scope(async () => {
        inside = ones([2]);
      }),
    ).toThrow(ArgumentError);
    expect((inside as Tensor | null)?.toArray()).toEqual([1, 1]);
    (inside as Tensor | null)?.dispose();
  });

  test('a composite is a scope too', () => {
    const y = composite('test', () => ones([2]).add(1).add(1));
    expect(made()).toBe(1);
    y.dispose();
  });

  test('gradients of a leaf outlive the scope of the backward pass; those of a leaf inside do not', () => {
    const w = ones([2], { requiresGrad: true });
    scope(() => {
      const inside = ones([2], { requiresGrad: true });
      w.mul(inside).sum().backward();
      expect(inside.grad?.toArray()).toEqual([1, 1]);
    });
    expect(w.grad?.toArray()).toEqual([1, 1]);
    expect(made()).toBe(2);
    const g = scope(() => {
      const inside = ones([2], { requiresGrad: true });
      inside.mul(2).sum().backward();
      return inside.grad;
    });
    expect(g?.toArray()).toEqual([2, 2]);
    for (const t of [w, w.grad, g]) t?.dispose();
    expect(made()).toBe(0);
  });
});

describe('lifetimes by hand', () => {
  test('memory is freed with the last handle', () => {
    const x = zeros([4]);
    const y = x.reshape(2, 2);
    x.dispose();
    x.dispose();
    expect([x.isDisposed, y.isDisposed, made()]).toEqual([true, false, 1]);
    y.dispose();
    expect(made()).toBe(0);
  });

  test('`using` disposes at the end of the block', () => {
    {
      using x = ones([2]);
      expect(x.isDisposed).toBe(false);
    }
    expect(made()).toBe(0);
  });
});
