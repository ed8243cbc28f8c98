import { describe, expect, test } from 'vitest';
import { arange, ones, tensor, zeros } from '../../src/ops/create.js';

/** The expected texts are what PyTorch prints for the same values, but for `true`, `shape=[]`, `requiresGrad` and `gradFn`. */
describe('toString', () => {
  const text = (data: Parameters<typeof tensor>[0], options?: Parameters<typeof tensor>[1]) => tensor(data, options).toString();

  test('whole floats end in a point, others have four digits', () => {
    expect(text([1, 2, -3])).toBe('tensor([ 1.,  2., -3.])');
    expect(text([1, 2.5])).toBe('tensor([1.0000, 2.5000])');
    expect(text(Math.PI)).toBe('tensor(3.1416)');
    expect(
      text([
        [1.5, -2],
        [100, 0],
      ]),
    ).toBe('tensor([[  1.5000,  -2.0000],\n        [100.0000,   0.0000]])');
    expect(zeros([2]).toString()).toBe('tensor([0., 0.])');
  });

  test('halves round to the even digit', () => {
    expect(text([0.03125, 0.09375])).toBe('tensor([0.0312, 0.0938])');
  });

  test('scientific where the range is wide or the numbers extreme', () => {
    expect(text([1e-5, 1])).toBe('tensor([1.0000e-05, 1.0000e+00])');
    expect(text([1e10])).toBe('tensor([1.0000e+10])');
    expect(text([0.5, 2000])).toBe('tensor([5.0000e-01, 2.0000e+03])');
    expect(text([1, 1000])).toBe('tensor([   1., 1000.])');
    expect(text([1e-3, 0.5])).toBe('tensor([0.0010, 0.5000])');
  });

  test('NaN, infinities and negative zero', () => {
    expect(text([Number.NaN, 1, Number.POSITIVE_INFINITY])).toBe('tensor([nan, 1., inf])');
    expect(text([Number.NEGATIVE_INFINITY, 1.5])).toBe('tensor([  -inf, 1.5000])');
    expect(text([-0, 1])).toBe('tensor([-0., 1.])');
  });

  test('whole numbers and booleans are aligned', () => {
    expect(arange(9, 12).toString()).toBe('tensor([ 9, 10, 11])');
    expect(text([true, false])).toBe('tensor([ true, false])');
    expect(text([1, -20], { dtype: 'int32' })).toBe('tensor([  1, -20], dtype=int32)');
    expect(text([2n ** 62n])).toBe('tensor([4611686018427387904])');
  });

  test('matrices of matrices are separated by empty lines', () => {
    expect(arange(8).reshape(2, 2, 2).toString()).toBe('tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])');
  });

  test('rows longer than 80 columns are broken', () => {
    expect(arange(30).toString()).toBe(
      'tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])',
    );
  });

  test('above 1000 elements only the ends are shown', () => {
    expect(arange(0, 1001, 1, { dtype: 'float32' }).toString()).toBe('tensor([   0.,    1.,    2.,  ...,  998.,  999., 1000.])');
    expect(arange(2000).reshape(40, 50).t().toString()).toBe(
      [
        'tensor([[   0,   50,  100,  ..., 1850, 1900, 1950],',
        '        [   1,   51,  101,  ..., 1851, 1901, 1951],',
        '        [   2,   52,  102,  ..., 1852, 1902, 1952],',
        '        ...,',
        '        [  47,   97,  147,  ..., 1897, 1947, 1997],',
        '        [  48,   98,  148,  ..., 1898, 1948, 1998],',
        '        [  49,   99,  149,  ..., 1899, 1949, 1999]])',
      ].join('\n'),
    );
    expect(arange(2002).reshape(1001, 2).toString()).toContain('[   4,    5],\n        ...,\n        [1996, 1997]');
  });

  test('empty tensors, gradients and dtypes are told behind the values', () => {
    expect(zeros([0]).toString()).toBe('tensor([])');
    expect(zeros([0, 3]).toString()).toBe('tensor([], shape=[0, 3])');
    expect(zeros([0], { dtype: 'int64' }).toString()).toBe('tensor([], dtype=int64)');
    const x = ones([2], { requiresGrad: true });
    expect(x.toString()).toBe('tensor([1., 1.], requiresGrad=true)');
    expect(x.mul(2).toString()).toBe('tensor([2., 2.], gradFn=<mul>)');
    expect(ones([1], { dtype: 'float16' }).toString()).toBe('tensor([1.], dtype=float16)');
  });

  test('a suffix that does not fit goes to its own line', () => {
    const x = tensor(
      Array.from({ length: 14 }, (_, i) => i + 10),
      { dtype: 'float64' },
    );
    expect(x.toString()).toBe('tensor([10., 11., 12., 13., 14., 15., 16., 17., 18., 19., 20., 21., 22., 23.],\n       dtype=float64)');
  });

  test('a disposed tensor says so', () => {
    const x = ones([2]);
    x.dispose();
    expect(x.toString()).toBe('tensor(<disposed>, shape=[2], dtype=float32)');
  });
});
