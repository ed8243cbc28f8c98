/** Windows with different padding in front and behind, which graphs from other frameworks have. */
import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../src/index.js';
import { allClose, avgPool1d, avgPool2d, checkGrads, conv2d, gridSample, maxPool1d, pad, tensor } from '../../src/index.js';

const numbers = (shape: readonly number[]): Tensor =>
  tensor(
    Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(2.3 * i + 1)),
    { shape },
  );

describe('paddingEnd', () => {
  it('of a convolution is what pad() would put there', () => {
    const [x, w] = [numbers([1, 2, 5, 6]), numbers([3, 2, 3, 3])];
    const y = conv2d(x, w, null, { stride: 2, padding: [0, 1], paddingEnd: [1, 2] });
    const padded = conv2d(pad(x, [1, 2, 0, 1]), w, null, { stride: 2 });
    expect(y.shape).toEqual(padded.shape);
    expect(allClose(y, padded).item()).toBeTruthy();
    checkGrads((a, b) => conv2d(a, b, null, { stride: 2, padding: 0, paddingEnd: 1 }), [x, w]);
  });
  it('of a pooling may reach as far as a window still meets the input', () => {
    const x = tensor([1, 2, 3, 4], { dtype: 'float32', shape: [1, 1, 4] });
    expect(maxPool1d(x, 3, { stride: 1, padding: 2, paddingEnd: 1 }).toArray()).toEqual([[[1, 2, 3, 4, 4]]]);
    expect(() => maxPool1d(x, 3, { stride: 1, padding: 3, paddingEnd: 0 })).toThrow('padding from 0 to 2');
    expect(() => maxPool1d(x, 3, { stride: 1, padding: 2 })).toThrow('padding from 0 to 1');
  });
  it('counts in the divisor of an average only when padding does', () => {
    const x = tensor([1, 2, 3, 4], { dtype: 'float32', shape: [1, 1, 4] });
    const options = { stride: 1, padding: 0, paddingEnd: 1 };
    expect(avgPool1d(x, 2, options).toArray()).toEqual([[[1.5, 2.5, 3.5, 2]]]);
    expect(avgPool1d(x, 2, { ...options, countIncludePad: false }).toArray()).toEqual([[[1.5, 2.5, 3.5, 4]]]);
  });
});

describe('averages with dilation', () => {
  it('are over the elements that lie apart', () => {
    const x = tensor([1, 2, 3, 4, 5], { dtype: 'float32', shape: [1, 1, 5] });
    expect(avgPool1d(x, 3, { stride: 1, dilation: 2 }).toArray()).toEqual([[[3]]]);
    const around = { stride: 1, padding: 1, paddingEnd: 1, dilation: 2, countIncludePad: false };
    expect(avgPool1d(x, 2, around).toArray()).toEqual([[[2, 2, 3, 4, 4]]]);
    checkGrads((t) => avgPool2d(t, 2, { stride: 1, dilation: 2, padding: 1 }), numbers([1, 1, 4, 5]));
  });
});

describe('gridSample over three dimensions', () => {
  it('reads cubically through the elements themselves at their positions', () => {
    const x = numbers([1, 1, 2, 3, 4]);
    const at = tensor(Float64Array.of(1 / 3, 0, -1, -1, -1, 1), { shape: [1, 1, 1, 2, 3] });
    const y = gridSample(x, at, { mode: 'bicubic', paddingMode: 'border', alignCorners: true });
    const element = (z: number, r: number, c: number): number => x.index(0, 0, z, r, c).item() as number;
    expect(y.toArray()).toEqual([[[[[expect.closeTo(element(0, 1, 2), 9), expect.closeTo(element(1, 0, 0), 9)]]]]]);
  });
});
