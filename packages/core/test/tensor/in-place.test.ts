import { describe, expect, test } from 'vitest';
import { noGrad } from '../../src/autograd/mode.js';
import { AutogradError, DTypeError, ShapeError } from '../../src/errors.js';
import { arange, ones, tensor, zeros } from '../../src/ops/create.js';
import { memoryInfo } from '../../src/tensor/memory.js';

describe('in-place operations', () => {
  test('change the tensor and everything that views it', () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    const row = x.select(0, 1);
    expect(x.add_(10)).toBe(x);
    expect(row.toArray()).toEqual([13, 14]);
    row.mul_(tensor([2, 3]));
    expect(x.toArray()).toEqual([
      [11, 12],
      [26, 42],
    ]);
    x.t().select(0, 0).zero_();
    expect(x.toArray()).toEqual([
      [0, 12],
      [0, 42],
    ]);
  });

  test('copy_ broadcasts and converts', () => {
    const x = zeros([2, 3]);
    x.copy_(tensor([1, 2, 3], { dtype: 'int64' }));
    expect(x.toArray()).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    const n = zeros([2], { dtype: 'int32' });
    n.copy_(tensor([1.9, -1.9]));
    expect(n.toArray()).toEqual([1, -1]);
    expect(() => x.copy_(zeros([2, 4]))).toThrow(ShapeError);
  });

  test('reading and writing the same memory gives the result of a copy', () => {
    const x = arange(6);
    x.copy_(x.flip(0));
    expect(x.toArray()).toEqual([5, 4, 3, 2, 1, 0]);
    const m = arange(9).reshape(3, 3);
    m.add_(m.t());
    expect(m.toArray()).toEqual([
      [0, 4, 8],
      [4, 8, 12],
      [8, 12, 16],
    ]);
  });

  test('writes long rows, odd sizes and strided targets completely', () => {
    for (const shape of [[1], [4097], [3, 8192], [5, 7, 11], [2, 4099]]) {
      const x = zeros(shape);
      const values = arange(x.numel, { dtype: 'float32' }).reshape(shape);
      x.copy_(values);
      expect(Array.from(x.dataSync())).toEqual(Array.from(values.dataSync()));
      const t = zeros([...shape].reverse()).permute(shape.map((_, i) => shape.length - 1 - i));
      t.copy_(values);
      expect(Array.from(t.dataSync())).toEqual(Array.from(values.dataSync()));
    }
  });

  test('refuse to lose the kind of a result, and targets that overlap themselves', () => {
    expect(() => ones([2], { dtype: 'int64' }).div_(2)).toThrow(DTypeError);
    expect(() => ones([1]).expand(3).add_(1)).toThrow(ShapeError);
  });

  test('refuse tensors with gradients unless in noGrad', () => {
    const w = ones([2], { requiresGrad: true });
    expect(() => w.add_(1)).toThrow('add_: a leaf that requires gradients would be changed in place');
    expect(() => w.mul(2).zero_()).toThrow(AutogradError);
    expect(() => zeros([2]).add_(w)).toThrow(/records? none|detach/);
    noGrad(() => w.sub_(0.5));
    expect(w.toArray()).toEqual([0.5, 0.5]);
    expect(w.requiresGrad).toBe(true);
  });

  test('leave no memory behind', () => {
    const x = ones([8]);
    const change = (): unknown => x.add_(1).mul_(3).clamp_({ max: 5 }).set(['2:4'], 0);
    change();
    const before = memoryInfo().storages;
    for (let i = 0; i < 10; i++) change();
    expect(memoryInfo().storages).toBe(before);
  });
});
