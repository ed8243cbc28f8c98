/** Putting columns back together: the transpose of unfold2d. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { perDimension } from './common.js';
import { hostConstant, zerosOf } from './fill.js';
import { pad } from './pad.js';
import { indexAdd } from './scatter.js';
import { reshape } from './view.js';
import type { UnfoldOptions } from './vision.js';

/**
 * Adds columns up into images (col2im): x [N, C * KH * KW, windows] gives [N, C, H, W] with outputSize [H, W]. Where windows
 * overlap, their elements are summed; x may lack the batch axis.
 * @throws ShapeError unless the windows of such images are as many as x has
 */
export function fold2d(
  x: Tensor,
  outputSize: number | readonly number[],
  kernelSize: number | readonly number[],
  options: UnfoldOptions = {},
): Tensor {
  const op = 'fold2d';
  const size = perDimension(outputSize, 2, 1, op, 'outputSize');
  const kernel = perDimension(kernelSize, 2, 1, op, 'kernelSize');
  const stride = perDimension(options.stride, 2, 1, op, 'stride');
  const padding = perDimension(options.padding, 2, 0, op, 'padding');
  const dilation = perDimension(options.dilation, 2, 1, op, 'dilation');
  if ([...kernel, ...stride, ...dilation].some((v) => v < 1) || padding.some((v) => v < 0))
    throw new ArgumentError('kernelSize, stride and dilation start at 1, padding at 0', { op, received: options });
  const count = size.map((extent, d) => Math.floor((extent + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1);
  const taps = kernel[0] * kernel[1];
  const rank = x.shape.length;
  const [rows, columns] = x.shape.slice(-2);
  if ((rank !== 2 && rank !== 3) || rows % taps !== 0 || count.some((n) => n < 1) || columns !== count[0] * count[1])
    throw new ShapeError(`columns of shape ${formatShape(x.shape)} for images of ${formatShape(size)}`, {
      op,
      received: x.shape,
      expected: `[batch, a multiple of ${taps}, ${count[0]} * ${count[1]} windows]`,
    });
  const padded = size.map((extent, d) => extent + 2 * padding[d]);
  const positions: number[] = [];
  for (let kh = 0; kh < kernel[0]; kh++)
    for (let kw = 0; kw < kernel[1]; kw++)
      for (let oh = 0; oh < count[0]; oh++)
        for (let ow = 0; ow < count[1]; ow++)
          positions.push((oh * stride[0] + kh * dilation[0]) * padded[1] + ow * stride[1] + kw * dilation[1]);
  return composite(op, () => {
    const batch = rank === 3 ? x.shape[0] : 1;
    const channels = rows / taps;
    const flat = reshape(x, [batch * channels, taps * columns]);
    const target = zerosOf(x.dtype, [batch * channels, padded[0] * padded[1]]);
    const sums = indexAdd(target, 1, hostConstant(positions, 'int32', [positions.length]), flat);
    const images = reshape(sums, [...(rank === 3 ? [batch] : []), channels, ...padded]);
    return padding.every((p) => p === 0) ? images : pad(images, [-padding[1], -padding[1], -padding[0], -padding[0]]);
  });
}
