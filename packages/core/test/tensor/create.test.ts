import { describe, expect, test } from 'vitest';
import { ArgumentError, AutogradError, DTypeError, ShapeError } from '../../src/errors.js';
import { arange, empty, eye, full, fullLike, linspace, ones, onesLike, tensor, zeros, zerosLike } from '../../src/ops/create.js';
import creation from '../reference/creation.json' with { type: 'json' };

describe('tensor()', () => {
  test('takes its dtype from the data', () => {
    expect(tensor([1, 2]).dtype).toBe('float32');
    expect(tensor([true]).dtype).toBe('bool');
    expect(tensor([1n]).dtype).toBe('int64');
    expect(tensor([1, true]).dtype).toBe('float32');
    expect(tensor(new Float64Array(2)).dtype).toBe('float64');
    expect(tensor(new Uint8Array(2)).dtype).toBe('uint8');
    expect(tensor(new Int32Array(2)).dtype).toBe('int32');
    expect(tensor(new Uint32Array([2 ** 32 - 1])).item()).toBe(2 ** 32 - 1);
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
  });

  test('keeps values exactly, or rounds to the dtype', () => {
    expect(tensor([2n ** 60n + 1n]).toArray()).toEqual([2n ** 60n + 1n]);
    expect(tensor([0.1]).item()).toBe(Math.fround(0.1));
    expect(tensor([1.7, -1.7], { dtype: 'int32' }).toArray()).toEqual([1, -1]);
    expect(tensor([300], { dtype: 'uint8' }).toArray()).toEqual([44]);
    expect(tensor([0, 2], { dtype: 'bool' }).toArray()).toEqual([false, true]);
    expect(tensor([1 / 3], { dtype: 'float16' }).item()).toBe(0.333251953125);
  });

  test('reads flat data in a shape', () => {
    expect(tensor(Float32Array.of(1, 2, 3, 4), { shape: [2, 2] }).toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(() => tensor([1, 2, 3], { shape: [2, 2] })).toThrow('3 values for shape [2, 2]');
  });

  test('refuses ragged data and says where', () => {
    expect(() => tensor([[1, 2], [3]])).toThrow('at [1] lies an array of 1 elements');
    expect(() => tensor([[1, 2], 3])).toThrow(ShapeError);
    expect(() => tensor(['a'] as unknown as number[])).toThrow(ArgumentError);
  });

  test('copies another tensor', () => {
    const a = ones([2], { requiresGrad: true });
    const b = tensor(a, { dtype: 'float64' });
    expect([b.requiresGrad, b.dtype, b.storage === a.storage]).toEqual([false, 'float64', false]);
  });

  test('does not share the array it was made from', () => {
    const data = Float32Array.of(1, 2);
    const t = tensor(data);
    data[0] = 9;
    const out = t.dataSync();
    out[1] = 9;
    expect(t.toArray()).toEqual([1, 2]);
  });
});

describe('filled tensors', () => {
  test('have the asked value everywhere', () => {
    expect(zeros([2, 2]).toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(ones([3], { dtype: 'int64' }).toArray()).toEqual([1, 1, 1]);
    expect(full([2], -0.5, { dtype: 'bfloat16' }).toArray()).toEqual([-0.5, -0.5]);
    expect(full([2], true).dtype).toBe('bool');
    expect(full([], Number.POSITIVE_INFINITY).item()).toBe(Number.POSITIVE_INFINITY);
    expect(Array.from(full([1000], 3).dataSync()).every((x) => x === 3)).toBe(true);
    expect(empty([4, 0]).numel).toBe(0);
    const like = tensor([[1, 2]], { dtype: 'float64' });
    expect([zerosLike(like).dtype, onesLike(like).shape, fullLike(like, 7).toArray()]).toEqual(['float64', [1, 2], [[7, 7]]]);
  });

  test('refuse shapes that are none', () => {
    expect(() => zeros([-1])).toThrow(ShapeError);
    expect(() => zeros([1.5])).toThrow(ShapeError);
    expect(() => zeros(3 as unknown as number[])).toThrow(ShapeError);
  });

  test('do not change when the array given as shape changes', () => {
    const shape = [2, 3];
    const t = zeros(shape);
    shape[0] = 9;
    expect(t.shape).toEqual([2, 3]);
  });

  test('only floating tensors take gradients', () => {
    expect(() => zeros([1], { dtype: 'int32', requiresGrad: true })).toThrow(DTypeError);
    const y = ones([1], { requiresGrad: true }).mul(2);
    expect(() => y.requiresGrad_(false)).toThrow(AutogradError);
  });
});

describe('sequences', () => {
  test('arange, linspace and eye agree with PyTorch', () => {
    for (const { op, args, outputs } of creation.cases) {
      const numbers = args as [number, number, number];
      const made = op === 'arange' ? arange(...numbers) : op === 'linspace' ? linspace(...numbers) : eye(numbers[0], numbers[1]);
      const [expected] = outputs;
      expect({ dtype: made.dtype, shape: made.shape, data: Array.from(made.dataSync(), Number) }).toEqual({
        dtype: expected.dtype,
        shape: expected.shape,
        data: (expected.data as number[]).map((x) => (expected.dtype === 'float32' ? Math.fround(x) : x)),
      });
    }
  });

  test('arange takes end, start and end, or all three', () => {
    expect(arange(3).toArray()).toEqual([0, 1, 2]);
    expect(arange(3, { dtype: 'float32' }).dtype).toBe('float32');
    expect(arange(1, 3).toArray()).toEqual([1, 2]);
    expect(arange(3, 0, -1, { dtype: 'int32' }).toArray()).toEqual([3, 2, 1]);
    expect(() => arange(0, 3, -1)).toThrow(ArgumentError);
    expect(() => arange(0, 3, 0)).toThrow(ArgumentError);
  });
});
